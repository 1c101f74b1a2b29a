"""COCO run-length masks: the text form in which the dataset keeps a character's region.

A mask of height h and width w is read column by column; the runs alternate between outside and inside and begin with
outside. From the fourth run on, each is stored as the difference to the run two before it, in groups of five bits.
pycocotools does the coding where it is installed; otherwise the codec here, which gives the same bytes.

Source: the format of COCO's `maskApi`, as the AnimeShooter release uses it (paper, section on reference images).
"""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

try:
    from pycocotools import mask as _coco
except ImportError:  # the codec below gives the same bytes
    _coco = None

__all__ = ["RleMask", "decode_runs", "encode_runs"]

MAX_MASK_PIXELS = 1 << 28
"""Larger masks are refused before anything is allocated. Our choice: 16k x 16k."""


@dataclass(frozen=True, slots=True)
class RleMask:
    """A binary mask in COCO's compressed run-length form."""

    height: int
    """Rows, in pixels."""

    width: int
    """Columns, in pixels."""

    counts: str
    """COCO's compressed runs."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.height * self.width > MAX_MASK_PIXELS:
            raise ValueError(f"A mask needs between 1 and {MAX_MASK_PIXELS} pixels, got {self.height}x{self.width}.")

    @classmethod
    def from_array(cls, mask: NDArray[np.bool_] | NDArray[np.uint8], *, coco: ModuleType | None = _coco) -> "RleMask":
        """Return the mask of a two-dimensional array; every non-zero pixel is inside.

        Raises:
            ValueError: If the array is not two-dimensional or is empty.
        """
        if mask.ndim != 2 or mask.size == 0:
            raise ValueError(f"A mask must have the shape (height, width) and some pixels, got {mask.shape}.")
        height, width = mask.shape
        inside = mask.astype(bool)
        if coco is not None:
            return cls(height, width, coco.encode(np.asfortranarray(inside, dtype=np.uint8))["counts"].decode())
        flat = inside.ravel(order="F")
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
        return cls(height, width, encode_runs([0, *runs] if flat[0] else runs))

    def to_array(self, *, coco: ModuleType | None = _coco) -> NDArray[np.bool_]:
        """Return the mask as booleans of shape (height, width).

        Raises:
            ValueError: If the counts are no COCO runs, or do not add up to height x width.
        """
        runs = decode_runs(self.counts, limit=self.height * self.width)
        if sum(runs) != self.height * self.width:
            raise ValueError(f"The runs add up to {sum(runs)} pixels, not to {self.height}x{self.width}.")
        if coco is not None:
            rle = {"size": [self.height, self.width], "counts": self.counts.encode()}
            return np.asarray(coco.decode(rle), dtype=bool)
        inside = np.zeros(len(runs), dtype=bool)
        inside[1::2] = True
        return np.repeat(inside, runs).reshape(self.width, self.height).T

    @property
    def is_valid(self) -> bool:
        """Whether the counts decode to exactly height x width pixels."""
        try:
            return sum(decode_runs(self.counts, limit=self.height * self.width)) == self.height * self.width
        except ValueError:
            return False

    @property
    def area(self) -> int:
        """Pixels inside the mask.

        Raises:
            ValueError: If the counts are no COCO runs.
        """
        return sum(decode_runs(self.counts, limit=self.height * self.width)[1::2])


def decode_runs(counts: str, *, limit: int) -> list[int]:
    """Return the run lengths of COCO's compressed text, the first one outside the mask.

    Args:
        counts: The text.
        limit: Pixels of the mask; a run beyond it is refused, so that damaged text cannot ask for memory.

    Raises:
        ValueError: If a character, a run, or the end of the text is not COCO's.
    """
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError(f"{counts[:40]!r} is not COCO run-length text.")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if not 0 <= value <= limit:
            raise ValueError(f"{counts[:40]!r} is not COCO run-length text: a run of {value} pixels.")
        runs.append(value)
        value = shift = 0
    if shift or not runs:
        raise ValueError(f"{counts[:40]!r} is not COCO run-length text: it ends inside a run.")
    return runs


def encode_runs(runs: list[int]) -> str:
    """Return COCO's compressed text for run lengths, the first one outside the mask."""
    text = bytearray()
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            text.append((group | 0x20 if more else group) + 48)
    return text.decode("ascii")
