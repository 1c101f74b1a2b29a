"""Where a character is seen in a shot: a mask or a box of one of its frames.

Regions come from the truth of a toon film, from a segmenter, or from whoever wrote the predictions; nothing here looks
at pixels. A frame without a region of its own takes that of the nearest frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.masks import RleMask

__all__ = ["Region", "ShotRegions", "nearest_region"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """The place of one character in one frame."""

    frame: int
    """Ordinal of the frame in the shot."""

    box: tuple[float, float, float, float] | None = None
    """Left, top, right, bottom as parts of width and height in [0, 1]; None if there is a mask."""

    mask: RleMask | None = None
    """The pixels, of any size of the frame's shape; None if there is a box."""

    def __post_init__(self) -> None:
        if isinstance(self.frame, bool) or not isinstance(self.frame, int) or self.frame < 0:
            raise ValueError(f"frame of a region must be a whole number from 0, got {self.frame!r}.")
        if (self.box is None) == (self.mask is None):
            raise ValueError("A region has either a box or a mask.")
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError(f"box must be left, top, right, bottom in [0, 1], in order, got {self.box}.")

    def weights(self, height: int, width: int) -> NDArray[np.float32]:
        """Return 1 inside and 0 outside, of shape (height, width); all 0 where the mask is empty."""
        if self.mask is not None:
            inside = self.mask.to_array().astype(np.float32)
            if inside.shape == (height, width):
                return inside
            return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.float32)
        left, top, right, bottom = self.box or (0.0, 0.0, 1.0, 1.0)
        weights_HW = np.zeros((height, width), dtype=np.float32)
        rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
        columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
        weights_HW[rows, columns] = 1.0
        return weights_HW


ShotRegions = Mapping[str, Sequence[Region]]
"""Character -> its regions in one shot. A character that is not in it was not looked for; one with an empty list was
looked for and not found."""


def nearest_region(regions: Sequence[Region], frame: int) -> Region | None:
    """Return the region of the nearest frame, the earlier of two that are equally near; None if there is none."""
    return min(regions, key=lambda region: (abs(region.frame - frame), region.frame), default=None)
