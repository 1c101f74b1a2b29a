"""In which order an epoch gives the samples: a function of seed and epoch, whatever the number of workers.

Files on a disk are read in any order, so all samples are shuffled. What is read over a network is shuffled by blocks
(row groups): the blocks are put into a random order, and the samples of a few blocks that follow each other are mixed,
so that every block is read once. The batches of one stretch of blocks form a lane, and the lanes take turns; as a
`DataLoader` deals batches to its workers in turn, a worker reads its own blocks where the number of workers divides the
number of lanes, and every number of workers gives the same batches.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EpochOrder", "SampleKey"]

BUFFER_BLOCKS = 2
"""Blocks whose samples are mixed. Our choice: with all lanes, 8 blocks of 32 MB are in use, what a view keeps."""

LANES = 4
"""Stretches of blocks that are read at the same time. Our choice: 1, 2 or 4 workers each have blocks of their own."""


class SampleKey(NamedTuple):
    """Which sample, and in which epoch: frames are chosen anew in each."""

    epoch: int
    """Epoch, from 0."""

    position: int
    """Number of the sample in the dataset."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EpochOrder:
    """The batches of one process."""

    num_samples: int
    """Samples in the dataset."""

    batch_size: int = 1
    """Samples per batch; the last batch may have fewer."""

    shuffle: bool = True
    """Whether the order changes with the epoch; else it is that of the dataset."""

    seed: int = 0
    """Decides the order, together with the epoch."""

    rank: int = 0
    """Which process this is."""

    world_size: int = 1
    """Among how many processes the samples are divided."""

    drop_last: bool = False
    """Leave out what does not fill a batch on every process; else the first samples are repeated for that."""

    blocks: NDArray[np.int64] | None = None
    """Number of each sample's block, if the samples are to be read block by block."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in 0 to world_size - 1, got {self.rank} of {self.world_size}.")

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the samples of each batch of an epoch, in order."""
        order = self._order(epoch)
        share = len(order) // self.world_size if self.drop_last else -(-len(order) // self.world_size)
        if len(order):
            order = np.resize(order, share * self.world_size)
        if self.blocks is None:
            mine = order[self.rank :: self.world_size]
        else:
            mine = order[self.rank * share : (self.rank + 1) * share]
        batches = [mine[start : start + self.batch_size] for start in range(0, len(mine), self.batch_size)]
        if self.drop_last and batches and len(batches[-1]) < self.batch_size:
            batches.pop()
        return batches if self.blocks is None or not self.shuffle else _take_turns(batches)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return np.arange(self.num_samples, dtype=np.int64)
        rng = np.random.default_rng([self.seed, epoch])
        if self.blocks is None:
            return rng.permutation(self.num_samples).astype(np.int64)
        by_block = np.argsort(self.blocks, kind="stable").astype(np.int64)
        _, starts = np.unique(self.blocks[by_block], return_index=True)
        parts = np.split(by_block, starts[1:])
        shuffled = [parts[number] for number in rng.permutation(len(parts))]
        mixed = [
            rng.permutation(np.concatenate(shuffled[start : start + BUFFER_BLOCKS]))
            for start in range(0, len(shuffled), BUFFER_BLOCKS)
        ]
        return np.concatenate(mixed) if mixed else np.zeros(0, np.int64)


def _take_turns(batches: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return the batches in turn from stretches of them; the one that is not full stays the last."""
    last = [batches.pop()] if batches else []
    bounds = np.linspace(0, len(batches), LANES + 1).round().astype(int)
    lanes = [batches[start:end] for start, end in itertools.pairwise(bounds)]
    longest = max((len(lane) for lane in lanes), default=0)
    return [lane[turn] for turn in range(longest) for lane in lanes if turn < len(lane)] + last
