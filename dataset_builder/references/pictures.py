"""The pictures of a film's frames, and what is drawn and measured on them for a reference image.

Frames come from the scan's samples where these are of full size, so that nothing is decoded twice; any other frame is
decoded exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import FrameCursor
from animeshooter_hf.video.reading import to_rgb

__all__ = [
    "FilmPictures",
    "FramePictures",
    "PictureNumbers",
    "cut_out",
    "encode_jpeg",
    "measure_picture",
    "outline",
    "sharpness_of",
]

_OUTLINE_COLOUR = (255, 0, 255)
_GROUND = 255
_MARGIN = 0.06
_JPEG_QUALITY = 90


class FramePictures(Protocol):
    """Gives the pictures of a film."""

    def picture(self, frame: int) -> NDArray[np.uint8]:
        """Return a frame at the film's full size, shape (height, width, 3), RGB."""


class FilmPictures:
    """The pictures of a film file; a context manager, because it keeps the file open while it is used.

    Asked in ascending order it decodes each part of the film at most once.
    """

    def __init__(self, film: Path, width: int, height: int, samples: Sequence[SampledFrame] = ()) -> None:
        """Remember where pictures are.

        Args:
            film: The file.
            width: Of the film, in pixels.
            height: Of the film, in pixels.
            samples: Frames that a scan has kept; those of another size are decoded from the film.
        """
        self._film = film
        self._size = (height, width)
        self._samples = {sample.frame: sample.jpeg for sample in samples}
        self._cursor: FrameCursor | None = None
        self.num_decoded = 0
        """Frames that had to be decoded."""

    def __enter__(self) -> "FilmPictures":
        return self

    def __exit__(self, *_: object) -> None:
        if self._cursor is not None:
            self._cursor.__exit__()
            self._cursor = None

    def picture(self, frame: int) -> NDArray[np.uint8]:
        """Return a frame at full size, shape (height, width, 3), RGB.

        Raises:
            InputError: If the film has no such frame, or it cannot be decoded.
        """
        if frame in self._samples:
            sampled = cv2.imdecode(np.frombuffer(self._samples[frame], np.uint8), cv2.IMREAD_COLOR_RGB)
            if sampled is not None and sampled.shape[:2] == self._size:
                return np.asarray(sampled, dtype=np.uint8)
        if self._cursor is None:
            self._cursor = FrameCursor(self._film)
        self.num_decoded += 1
        picture = next(to_rgb(decoded) for _, decoded in self._cursor.frames(frame, frame + 1))
        if picture.shape[:2] != self._size:
            raise InputError(f"Frame {frame} of {self._film} is {picture.shape[:2]}, the film {self._size}.")
        return picture


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureNumbers:
    """What can be measured on a cut-out without a model."""

    sharpness: float
    """See `sharpness_of`."""

    border_share: float
    """Share of the mask's outline that lies on the frame's border, 0 to 1: how much is cut off."""


def measure_picture(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> PictureNumbers:
    """Return the sharpness of a figure and how much of it the frame cuts off.

    Args:
        image: Shape (height, width, 3), RGB.
        mask: Shape (height, width); an empty one gives zeros.
    """
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    outline_length = int(mask.sum()) - int(inner.sum())
    border = np.zeros_like(mask)
    border[[0, -1], :] = True
    border[:, [0, -1]] = True
    on_border = int((mask & border).sum())
    return PictureNumbers(
        sharpness=sharpness_of(image, inner if inner.any() else mask),
        border_share=on_border / outline_length if outline_length else 0.0,
    )


def sharpness_of(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """Return the variance of the Laplacian of the grey values inside a mask; higher is sharper.

    It grows with contrast and with the size of the frame, so thresholds hold only within films of one kind.
    """
    if not mask.any():
        return 0.0
    laplacian = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F)
    return float(laplacian[mask].var())


def outline(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the frame with the mask's outline drawn on it, in magenta."""
    drawn = image.copy()
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _OUTLINE_COLOUR, max(1, round(min(mask.shape) / 240)))
    return drawn


def cut_out(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return the figure alone on white, cropped to it with a small margin; the whole ground if the mask is empty."""
    ground = np.where(mask[..., None], image, np.uint8(_GROUND))
    if not mask.any():
        return ground
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    margin = round(_MARGIN * max(np.ptp(rows), np.ptp(columns))) + 1
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return np.ascontiguousarray(ground[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1])


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return a picture as JPEG.

    Args:
        image: Shape (height, width, 3), RGB.
    """
    return bytes(cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])
