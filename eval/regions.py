"""Where a character is seen in a shot: a mask or a box of one of its frames.

Regions come from the truth of a toon film, from a segmenter, or from whoever wrote the predictions; nothing here looks
at pixels. A frame without a region of its own takes that of the nearest frame.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.masks import RleMask

__all__ = ["Region", "ShotRegions", "is_unnamed", "nearest_region", "parse_region", "region_to_json", "regions_key"]


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
looked for and not found. Somebody who was found and not named has a name that begins with "?", such as "?1"."""


def is_unnamed(name: str) -> bool:
    """Return whether a region's name says only that somebody was found."""
    return name.startswith("?")


def nearest_region(regions: Sequence[Region], frame: int) -> Region | None:
    """Return the region of the nearest frame, the earlier of two that are equally near; None if there is none."""
    return min(regions, key=lambda region: (abs(region.frame - frame), region.frame), default=None)


def region_to_json(region: Region) -> dict[str, Any]:
    """Return a region as a predictions file holds it."""
    if region.mask is None:
        return {"frame": region.frame, "box": list(region.box or ())}
    return {
        "frame": region.frame,
        "mask": {"size": [region.mask.height, region.mask.width], "counts": region.mask.counts},
    }


def parse_region(value: Any) -> Region:
    """Return the region of `region_to_json`'s form.

    Raises:
        ValueError: If it has another form, or its mask does not decode.
    """
    if not isinstance(value, Mapping) or set(value) not in ({"frame", "box"}, {"frame", "mask"}):
        raise ValueError(
            f'A region is {{"frame": N, "box": [...]}} or {{"frame": N, "mask": {{...}}}}, got {value!r:.80}.'
        )
    if "box" in value:
        box = value["box"]
        if not isinstance(box, list) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
            raise ValueError(f"box must hold four numbers, got {box!r:.80}.")
        return Region(frame=value["frame"], box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])))
    mask = value["mask"]
    if not isinstance(mask, Mapping) or set(mask) != {"size", "counts"} or not isinstance(mask["counts"], str):
        raise ValueError(f'mask must be {{"size": [height, width], "counts": text}}, got {mask!r:.80}.')
    size = mask["size"]
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise ValueError(f"size of a mask must be [height, width], got {size!r:.80}.")
    rle = RleMask(size[0], size[1], mask["counts"])
    if not rle.is_valid:
        raise ValueError("The counts of a mask do not add up to its size.")
    return Region(frame=value["frame"], mask=rle)


def regions_key(regions: ShotRegions) -> str:
    """Return a hash of the regions of a shot, "" where there are none."""
    if not regions:
        return ""
    text = json.dumps({name: [region_to_json(region) for region in found] for name, found in sorted(regions.items())})
    return hashlib.sha256(text.encode()).hexdigest()
