"""Frames of shots drawn as contact sheets: a row per shot, its frames from left to right, nothing written on them.

The bytes are a function of the pixels (for one version of the PNG library); what tells pictures apart is a hash of the
pixels themselves.

Shape letters used below
    H, W  rows and columns of pixels
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["PictureSettings", "SentPicture", "draw_sheet", "fit_long_side", "sent_picture"]

_GREY = 128
"""Colour of gutters and of cells without a frame: neutral. Our choice."""

_COMPRESSION = 1
"""Of PNG, 0 to 9. Our choice: on sheets of the paper's demos 1 takes a fifth of the time of 6, for 13 % more bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSettings:
    """How a story is shown."""

    frames_per_shot: int = 3
    """Frames in a row, the middles of equal bins. Paper: 3."""

    cell_long_side: int = 512
    """Pixels of a frame's longer side; smaller frames are not enlarged. Our choice: faces stay readable, and three
    frames side by side (1544 pixels) fit what most models look at without scaling."""

    gutter: int = 4
    """Pixels between frames. Our choice."""

    rows_per_sheet: int = 6
    """Most shots on one sheet; a longer story gets several. Paper: 4 shots on one. Our choice: 6 rows of 3:2 frames
    stay near 2048 pixels."""

    reference_long_side: int = 512
    """Pixels of a reference's longer side. Our choice."""

    max_references: int = 8
    """Most characters shown, one reference each. Our choice."""

    def __post_init__(self) -> None:
        for name in ("frames_per_shot", "cell_long_side", "rows_per_sheet", "reference_long_side", "max_references"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.gutter < 0:
            raise ValueError(f"gutter must be at least 0, got {self.gutter}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SentPicture:
    """A picture as it is sent."""

    pixels: NDArray[np.uint8] = field(compare=False, repr=False)
    """RGB, shape (H, W, 3)."""

    digest: str
    """SHA-256 of its size and pixels."""

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    def png(self) -> bytes:
        """Return the file, without metadata. It is made when it is sent: what the log answers costs no encoding."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, format="PNG", compress_level=_COMPRESSION)
        return buffer.getvalue()


def draw_sheet(
    shots: Sequence[Sequence[NDArray[np.uint8]]], settings: PictureSettings | None = None
) -> NDArray[np.uint8]:
    """Return a contact sheet as uint8 of shape (H, W, 3).

    Args:
        shots: Per shot, its frames (uint8, RGB), at most `frames_per_shot` of any size; a missing one leaves grey.
        settings: Sizes.

    Raises:
        ValueError: If there is no frame, a shot has too many, or a frame is not RGB of uint8.
    """
    settings = settings or PictureSettings()
    columns = settings.frames_per_shot
    if not any(len(frames) for frames in shots):
        raise ValueError("A contact sheet needs at least one frame.")
    if any(len(frames) > columns for frames in shots):
        raise ValueError(f"A shot must have at most {columns} frames on a sheet.")
    cells = [[fit_long_side(frame, settings.cell_long_side) for frame in frames] for frames in shots]
    height = max(cell.shape[0] for row in cells for cell in row)
    width = max(cell.shape[1] for row in cells for cell in row)
    gutter = settings.gutter
    sheet_HW3 = np.full(
        (len(cells) * (height + gutter) - gutter, columns * (width + gutter) - gutter, 3), _GREY, dtype=np.uint8
    )
    for row, frames in enumerate(cells):
        for column, cell_HW3 in enumerate(frames):
            top = row * (height + gutter) + (height - cell_HW3.shape[0]) // 2
            left = column * (width + gutter) + (width - cell_HW3.shape[1]) // 2
            sheet_HW3[top : top + cell_HW3.shape[0], left : left + cell_HW3.shape[1]] = cell_HW3
    return sheet_HW3


def fit_long_side(image_HW3: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """Return an RGB picture whose longer side has at most that many pixels; it is never enlarged.

    Raises:
        ValueError: If it is not uint8 of shape (H, W, 3) with at least one pixel.
    """
    if image_HW3.dtype != np.uint8 or image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.size == 0:
        raise ValueError(f"A frame must be uint8 of shape (rows, columns, 3), got {image_HW3.dtype} {image_HW3.shape}.")
    height, width = image_HW3.shape[:2]
    longest = max(height, width)
    if longest <= long_side:
        return image_HW3
    size = (max(1, round(width * long_side / longest)), max(1, round(height * long_side / longest)))
    return np.asarray(cv2.resize(image_HW3, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def sent_picture(image_HW3: NDArray[np.uint8]) -> SentPicture:
    """Return an RGB picture, ready to be sent, with the hash of its pixels."""
    height, width = image_HW3.shape[:2]
    pixels = np.ascontiguousarray(image_HW3)
    digest = hashlib.sha256(f"{height}x{width} ".encode() + pixels.tobytes()).hexdigest()
    return SentPicture(pixels=pixels, digest=digest)
