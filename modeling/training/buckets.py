"""Sizes of training: which one a window gets, how frames come to it, and batches of one size.

    Bucket.parse("480x720x49")      height, width, frames
    choose_bucket(buckets, ...)     the proportions of the clip first, then as many frames as it has
    fit_frames(frames, bucket)      enlarge or shrink until the frame covers the size, cut what stands over

Nothing is mirrored unless it is asked for: captions say left and right.

Shape letters used below
    F frames    H, W rows and columns
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import EpochOrder

__all__ = ["FITTING_VERSION", "Bucket", "BucketOrder", "choose_bucket", "fit_frames"]

FITTING_VERSION = f"1, cv2 {'.'.join(cv2.__version__.split('.')[:2])}"
"""Its number goes up when `fit_frames` gives other pixels, so that nothing made from the old ones is found any more."""

_SAME_PROPORTIONS = 0.01
"""Logarithm of a ratio of proportions that makes no difference: a row in a hundred."""


@dataclass(frozen=True, order=True, slots=True)
class Bucket:
    """A size of training."""

    height: int
    """Rows of a frame."""

    width: int
    """Columns of a frame."""

    num_frames: int
    """Frames of a shot."""

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.num_frames) < 1:
            raise InputError(f"A size must be at least 1x1x1, got {self}.")

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.num_frames}"

    @classmethod
    def parse(cls, text: str) -> "Bucket":
        """Return the size that is written HEIGHTxWIDTHxFRAMES.

        Raises:
            InputError: If it is not.
        """
        parts = text.split("x")
        if len(parts) != 3 or not all(part.isdecimal() and part.isascii() for part in parts):
            raise InputError(f"A bucket is written HEIGHTxWIDTHxFRAMES, such as 480x720x49, got {text!r}.")
        return cls(*(int(part) for part in parts))


def choose_bucket(
    buckets: Sequence[Bucket], *, height: int, width: int, num_frames: int | float | None = None
) -> Bucket:
    """Return the size that suits a clip best.

    That is, of the sizes whose frames it has (all, if it has too few for any), those with the nearest proportions, and
    of them the one with most frames, then the largest that need not be enlarged.

    Args:
        buckets: At least one.
        height: Rows of the clip.
        width: Its columns.
        num_frames: Frames that it gives, the last perhaps a part of one; None where that is unknown.
    """
    fitting = [one for one in buckets if num_frames is None or one.num_frames - 1 < num_frames - 1e-6] or list(buckets)

    def rank(one: Bucket) -> tuple[int, int, bool, int]:
        off = abs(math.log(one.width / one.height) - math.log(width / height))
        is_enlarged = one.height > height or one.width > width
        area = one.height * one.width
        return round(off / _SAME_PROPORTIONS), -one.num_frames, is_enlarged, area if is_enlarged else -area

    return min(fitting, key=rank)


def fit_frames(frames_FHW3: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return frames of a size: scaled until they cover it, without distortion, and cut around the middle.

    Shrinking averages areas (cv2.INTER_AREA), enlarging is bicubic. Our choice, as CogVideoX's own trainer cuts around
    the middle; a random cut would lose a character at the side just as well, and could not be cached.
    """
    rows, columns = frames_FHW3.shape[1:3]
    if (rows, columns) == (height, width):
        return frames_FHW3
    scale = max(height / rows, width / columns)
    scaled = (max(height, round(rows * scale)), max(width, round(columns * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    fitted = np.empty((len(frames_FHW3), height, width, 3), np.uint8)
    for place, frame_HW3 in zip(fitted, frames_FHW3, strict=True):
        whole = cv2.resize(frame_HW3, (scaled[1], scaled[0]), interpolation=method)
        place[:] = whole[top : top + height, left : left + width]
    return fitted


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BucketOrder:
    """The batches of one process where windows are of several sizes: each batch is of one, on all processes the same.

    It stands where an `EpochOrder` stands, and mixes as that does: windows come in its order, and a batch is given out
    as soon as enough of a size have come. What is left of a size at the end of an epoch is filled up with its first
    windows, or with `drop_last` left out.
    """

    buckets: NDArray[np.int64]
    """Number of each window's size."""

    batch_size: int = 1
    """Windows of a batch."""

    shuffle: bool = True
    """Whether the order changes with the epoch."""

    seed: int = 0
    """Decides the order, together with the epoch."""

    rank: int = 0
    """Which process this is."""

    world_size: int = 1
    """Among how many processes the windows are divided."""

    drop_last: bool = False
    """Leave out what does not fill a batch on every process."""

    blocks: NDArray[np.int64] | None = None
    """Number of each window's block, if they are to be read block by block."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must lie in 0 to world_size - 1, got {self.rank} of {self.world_size}.")

    @property
    def num_samples(self) -> int:
        """Windows in all."""
        return len(self.buckets)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the windows of each batch of an epoch, in order."""
        singles = EpochOrder(
            num_samples=self.num_samples, shuffle=self.shuffle, seed=self.seed, blocks=self.blocks
        ).batches(epoch)
        size = self.batch_size * self.world_size
        waiting: dict[int, list[int]] = {}
        seen: dict[int, list[int]] = {}
        found: list[list[int]] = []
        for single in singles:
            position = int(single[0])
            bucket = int(self.buckets[position])
            waiting.setdefault(bucket, []).append(position)
            seen.setdefault(bucket, []).append(position)
            if len(waiting[bucket]) == size:
                found.append(waiting.pop(bucket))
        if not self.drop_last:
            found += [np.resize(np.array(rest + seen[bucket]), size).tolist() for bucket, rest in waiting.items()]
        return [np.asarray(whole[self.rank :: self.world_size], np.int64) for whole in found]
