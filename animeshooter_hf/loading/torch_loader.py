"""Batches for training: the order is a function of seed and epoch, and an epoch that was broken off goes on exactly."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import distributed
from torch.utils.data import DataLoader

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import EpochOrder, SampleKey
from animeshooter_hf.loading.torch_dataset import SkippedSample, StoryDataset, collate_stories

__all__ = ["StoryLoader"]

_MUST_AGREE = ("seed", "shuffle", "batch_size", "rank", "world_size", "drop_last", "num_samples")


class StoryLoader:
    """An iterable over the batches of one epoch after the other.

    Example:
        >>> loader = StoryLoader(view.torch(window=3), batch_size=2, num_workers=4)  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     save({"model": model.state_dict(), "loader": loader.state_dict()})
    """

    def __init__(
        self,
        dataset: StoryDataset | Any,
        *,
        batch_size: int = 1,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        collate: Callable[[Sequence[Any]], dict[str, Any]] = collate_stories,
        make_order: Callable[..., Any] | None = None,
        **loader_options: Any,
    ) -> None:
        """Prepare the order.

        Args:
            dataset: The samples; anything with a length that takes a `SampleKey` will do. Where files of a view are
                read over a network, they are shuffled by blocks.
            batch_size: Samples per batch.
            shuffle: Whether the order changes with the epoch.
            seed: Decides the order, together with the epoch.
            drop_last: Leave out what does not fill a batch on every process; else the first samples are repeated.
            rank: Which process this is; that of `torch.distributed` if None.
            world_size: Among how many processes the samples are divided; as above.
            collate: Makes a batch of samples; it must put `SkippedSample`s under "skipped".
            make_order: Makes another order from the arguments of `EpochOrder`.
            loader_options: Further arguments of `DataLoader`, such as `num_workers` or `multiprocessing_context`.
        """
        is_distributed = distributed.is_available() and distributed.is_initialized()
        view = getattr(dataset, "view", None)
        self._order = (make_order or EpochOrder)(
            num_samples=len(dataset),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_last=drop_last,
            rank=rank if rank is not None else (distributed.get_rank() if is_distributed else 0),
            world_size=world_size
            if world_size is not None
            else (distributed.get_world_size() if is_distributed else 1),
            blocks=dataset.blocks() if view is not None and view.opened.is_remote else None,
        )
        self.epoch = 0
        """The epoch that comes next, or is under way; it goes up when one is over."""
        self.skipped: list[SkippedSample] = []
        """What could not be read so far."""
        self._next_batch = 0
        self._start = 0
        self._sampler = _BatchSampler(self._order)
        self._loader: DataLoader[Any] = DataLoader(
            dataset, batch_sampler=self._sampler, collate_fn=collate, **loader_options
        )

    def __len__(self) -> int:
        """Number of batches in an epoch, those that turn out to be all skipped included."""
        return len(self._order.batches(self.epoch))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the batches of the epoch, from where `load_state_dict` says if it was called since the last time."""
        self._sampler.epoch, self._sampler.start = self.epoch, self._start
        self._next_batch, self._start = self._start, 0
        for batch in self._loader:
            self._next_batch += 1
            self.skipped += batch.pop("skipped", ())
            if batch:
                yield batch
        self.epoch, self._next_batch = self.epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; it begins at its start."""
        self.epoch, self._next_batch, self._start = epoch, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the next batch after the last one given stands, as plain numbers."""
        fixed = {name: getattr(self._order, name) for name in _MUST_AGREE}
        return {"epoch": self.epoch, "next_batch": self._next_batch, **fixed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken: the next batch is the one that would have come then.

        Raises:
            InputError: If the state belongs to another order.
        """
        for name in _MUST_AGREE:
            if state.get(name) != getattr(self._order, name):
                raise InputError(f"The state has {name} {state.get(name)}, the loader {getattr(self._order, name)}.")
        self.set_epoch(int(state["epoch"]))
        self._next_batch = self._start = int(state["next_batch"])


class _BatchSampler:
    """The batches of an epoch as keys of samples, from some batch on."""

    def __init__(self, order: Any) -> None:
        self._order, self.epoch, self.start = order, 0, 0

    def __len__(self) -> int:
        return len(self._order.batches(self.epoch)) - self.start

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for batch in self._order.batches(self.epoch)[self.start :]:
            yield [SampleKey(self.epoch, int(position)) for position in batch]
