"""Cheap looks at a film's sampled pictures: does it move, is it flat, do lines of text stand near the lower edge?

All of them are scores, and only a hint: a model that looks decides where there is one. They were made on films drawn in
code. Painted and computer animation is no flatter than filmed pictures, so no score here tells animation from film.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["PictureScores", "decode_picture", "score_pictures"]

_HEIGHT = 216
_TEXT_TOP, _TEXT_BOTTOM = 0.62, 0.97
_TEXT_SIDE = 0.08
_LINE_HEIGHTS = (8, 11, 14)
_GAP = 3
_STROKES_OF_TEXT = 9.0
_SAME_PLACE = 0.06
_LINE_SIDE = 0.03
_SAME_WORDS = 0.6
_STROKE_CONTRAST = 60
_STROKE_BRIGHTNESS = 150
_FLAT_DEVIATION = 2.0
_BLOCK = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureScores:
    """What the pictures of a film tell at a glance."""

    num_pictures: int
    """Pictures that could be read."""

    change: float
    """Largest mean difference of a picture from the middle one, in grey levels of 0 to 255; near 0 for a still."""

    flat_share: float
    """Share of 8x8 blocks of one even tone, in [0, 1]; flat-coloured drawings have many, painted ones few."""

    grain: float
    """Mean difference of neighbouring pixels outside edges, in grey levels; flat-coloured drawings have little."""

    subtitles: float
    """Share of pictures with a line of text at one height near the lower edge, in [0, 1]; 0 if the words stay."""


def decode_picture(jpeg: bytes) -> NDArray[np.uint8] | None:
    """Return a JPEG as RGB, shape (height, width, 3), or None if it cannot be read."""
    raw = np.frombuffer(jpeg, np.uint8)
    picture = cv2.imdecode(raw, cv2.IMREAD_COLOR) if raw.size else None
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def score_pictures(pictures: Sequence[NDArray[np.uint8]]) -> PictureScores:
    """Return the scores of RGB pictures, in order of time; all 0 if there is none."""
    greys = [_grey(picture, pictures[0].shape) for picture in pictures]
    if not greys:
        return PictureScores(num_pictures=0, change=0, flat_share=0, grain=0, subtitles=0)
    middle = greys[len(greys) // 2].astype(np.float32)
    change = max(float(np.abs(grey - middle).mean()) for grey in greys)
    flat, grain = (float(np.mean(values)) for values in zip(*(_texture(grey) for grey in greys), strict=True))
    return PictureScores(
        num_pictures=len(greys),
        change=change,
        flat_share=flat,
        grain=grain,
        subtitles=_subtitle_share([_text_line(grey) for grey in greys]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _TextLine:
    strokes_per_row: float
    """Strokes of the best line above those of its surroundings."""

    middle: float
    """Its height in the picture, 0 at the top and 1 at the bottom."""

    strokes: NDArray[np.bool_]
    """The strokes of the picture, its sides left out."""


def _grey(picture: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    height, width = shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    size = (max(_BLOCK, round(width * _HEIGHT / height)), _HEIGHT)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _texture(grey: NDArray[np.uint8]) -> tuple[float, float]:
    """Return the share of even blocks and the grain."""
    height, width = (side - side % _BLOCK for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK).astype(np.float32)
    deviations = blocks.std(axis=(1, 3))
    steps = np.abs(np.diff(grey.astype(np.int16), axis=1))
    inside = steps[steps < 24]  # larger ones are edges
    return float((deviations < _FLAT_DEVIATION).mean()), float(inside.mean()) if inside.size else 0.0


def _text_line(grey: NDArray[np.uint8]) -> _TextLine:
    """Return the stretch of rows near the lower edge that has most strokes more than what is above and below it."""
    height, width = grey.shape
    side = round(_TEXT_SIDE * width)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (7, 7))
    thin = cv2.morphologyEx(grey, cv2.MORPH_TOPHAT, kernel)  # bright things narrower than the kernel
    strokes = ((thin > _STROKE_CONTRAST) & (grey > _STROKE_BRIGHTNESS))[:, side : width - side]
    per_row = (np.diff(strokes.astype(np.int8), axis=1) > 0).sum(axis=1)
    sums = np.concatenate([[0], np.cumsum(per_row)]).astype(np.float64)

    def mean(first: int, last: int) -> float:
        first, last = max(first, 0), min(last, height)
        return (sums[last] - sums[first]) / (last - first) if last > first else 0.0

    best, middle = 0.0, 0.0
    for line in _LINE_HEIGHTS:
        for top in range(round(_TEXT_TOP * height), round(_TEXT_BOTTOM * height) - line):
            above, below = top - _GAP, top + line + _GAP
            around = max(mean(above - line // 2, above), mean(below, below + line // 2))
            if (value := mean(top, top + line) - around) > best:
                best, middle = value, (top + line / 2) / height
    return _TextLine(best, middle, strokes)


def _subtitle_share(lines: Sequence[_TextLine]) -> float:
    """Return the share of pictures with text at the usual height; 0 if the words stay, as in a channel's mark."""
    texts = [line for line in lines if line.strokes_per_row > _STROKES_OF_TEXT]
    if not texts:
        return 0.0
    usual = float(np.median([line.middle for line in texts]))
    here = [line for line in texts if abs(line.middle - usual) <= _SAME_PLACE]
    rows = slice(round((usual - _LINE_SIDE) * _HEIGHT), round((usual + _LINE_SIDE) * _HEIGHT))
    overlaps = [_overlap(one.strokes[rows], two.strokes[rows]) for one, two in pairwise(here)]
    if overlaps and float(np.median(overlaps)) > _SAME_WORDS:
        return 0.0
    return len(here) / len(lines)


def _overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Return how much of the smaller set of strokes is in the larger one too."""
    smaller = min(np.count_nonzero(one), np.count_nonzero(two))
    return np.count_nonzero(one & two) / smaller if smaller else 1.0
