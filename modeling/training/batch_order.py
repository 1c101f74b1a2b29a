"""Which windows each optimizer step sees: a function of the seed and the step, so a training can begin anywhere.

An epoch is cut into batches of one size each by `buckets.BucketOrder`, for all processes together. A batch is then cut
into equal parts, one for each process and forward pass: place p of the batch belongs to forward pass p // b of the
step, passes to processes in turn. So the windows of a step are the same however many processes there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.training.buckets import BucketOrder

__all__ = ["BatchOrder", "PartSampler"]


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """The batches of a training, over all processes."""

    num_windows: int
    """Windows in the source."""

    batch_size: int
    """Windows of an optimizer step."""

    seed: int = 0
    """Decides the order."""

    buckets: NDArray[np.int64] | None = None
    """Number of each window's size, where they differ."""

    blocks: NDArray[np.int64] | None = None
    """Number of each window's block, where they are read block by block."""

    @classmethod
    def of(cls, source: Any, *, batch_size: int, seed: int) -> "BatchOrder":
        """Return the batches of a source.

        Raises:
            InputError: If it has no window.
        """
        if not len(source):
            raise InputError("There is no window to train on: no story has enough shots with clips that are long "
                             "enough; shorten data.window or data.num_frames.")  # fmt: skip
        buckets = source.bucket_numbers() if hasattr(source, "bucket_numbers") else None
        blocks = source.blocks() if hasattr(source, "blocks") else None
        return cls(num_windows=len(source), batch_size=batch_size, seed=seed, buckets=buckets, blocks=blocks)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which every window is seen."""
        return len(self._batches(0))

    def batch(self, step: int) -> list[SampleKey]:
        """Return the windows of a step, counted from 0, in the order of their places in the batch."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if self._kept[0] != epoch:
            self._kept[:] = [epoch, self._batches(epoch)]
        return [SampleKey(epoch, int(position)) for position in self._kept[1][number]]

    @cached_property
    def _kept(self) -> list[Any]:
        """The epoch that was asked for last, and its batches."""
        return [-1, []]

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        numbers = np.zeros(self.num_windows, np.int64) if self.buckets is None else self.buckets
        order = BucketOrder(buckets=numbers, batch_size=self.batch_size, seed=self.seed, blocks=self.blocks)
        return order.batches(epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSampler:
    """What one process reads, forward pass after forward pass; the `batch_sampler` of a `DataLoader`."""

    order: BatchOrder
    """The batches."""

    begins_at: int
    """Steps that are done."""

    steps: int
    """Steps of the training."""

    accumulation: int = 1
    """Forward passes of a step on each process."""

    rank: int = 0
    """This process."""

    world_size: int = 1
    """How many there are."""

    def __post_init__(self) -> None:
        parts = self.accumulation * self.world_size
        if self.order.batch_size % parts:
            raise InputError(f"batch_size {self.order.batch_size} cannot be cut into equal parts for {self.world_size} "
                             f"processes with {self.accumulation} forward passes each.")  # fmt: skip

    @property
    def part_size(self) -> int:
        """Windows of a forward pass."""
        return self.order.batch_size // (self.accumulation * self.world_size)

    def places(self, turn: int) -> range:
        """Return the places in the batch of this process's n-th forward pass of a step."""
        first = (turn * self.world_size + self.rank) * self.part_size
        return range(first, first + self.part_size)

    def __len__(self) -> int:
        return max(0, self.steps - self.begins_at) * self.accumulation

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for step in range(self.begins_at, self.steps):
            batch = self.order.batch(step)
            for turn in range(self.accumulation):
                yield [batch[place] for place in self.places(turn)]
