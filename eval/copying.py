"""Tell copies: a shot that is another shot again, and a reference that was pasted into a shot.

In:  small pictures; this module never opens a file.
Out: how alike two shots are by perceptual hashes of their frames, and how exactly a reference is found in a frame.

A pasted reference is found by its pixels and not by key points: a character that is drawn again in another pose shares
key points with its reference (in toon films nearly as many as a sticker), but never all of its pixels. So the cut-out
is laid over the frame at many sizes and places, and the best normalised correlation over the whole of it counts. It
sees upright copies, also ones that were enlarged, shrunk, lightened or darkened; not mirrored or turned ones.

Shape letters used below
    F frames    B bits of a hash    H, W rows and columns
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError

__all__ = ["HASH_BITS", "MATCH_HEIGHT", "cut_to_box", "hash_similarity", "match_cutout", "mirror_preference"]
__all__ += ["picture_hash", "shrink_to_height"]

HASH_BITS = 63
"""Bits of a perceptual hash: the 8 x 8 lowest frequencies without the mean."""

MATCH_HEIGHT = 96
"""Height in pixels of the frame and of the cut-out when they are compared. Our choice."""

MIRROR_TEMPERATURE = 0.01
"""Of the softmax between a reference and its mirror image. ViStoryBench: .01."""

_COARSE_HEIGHT = 40
"""Height of the frame in the first search. Our choice: a cut-out of a quarter of it is ten pixels high."""

_SMALLEST_PART, _COARSE_STEP = 0.25, 1.1
"""Smallest height of a pasted cut-out as a part of the frame's, and ratio of the sizes tried. Our choice."""

_FINE_SIZES = (0.935, 0.955, 0.975, 1.0, 1.025, 1.045, 1.07)
"""Sizes tried around the best of the first search."""

_FINE_MARGIN = 4
"""Pixels around the place of the first search in which the second one looks."""

_INSIDE = 200
"""Alpha above which a pixel of the shrunk cut-out is compared: the rim is mixed with what lies behind it."""

_FEWEST_PIXELS = 30
"""Smaller cut-outs are not looked for."""


def picture_hash(grey_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return 63 bits, 0 or 1, of a picture's low frequencies: each above its median or not (pHash)."""
    small = cv2.resize(grey_HW, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()[1:]
    return (low > np.median(low)).astype(np.uint8)


def hash_similarity(first_FB: NDArray[np.uint8], second_FB: NDArray[np.uint8]) -> float:
    """Return how alike two shots are: each frame's best agreement with the other shot, averaged. In [0, 1].

    Unrelated pictures agree in about half of the bits.
    """
    first, second = first_FB.astype(np.float64) * 2 - 1, second_FB.astype(np.float64) * 2 - 1
    agreement_FF = (first @ second.T / first.shape[1] + 1) / 2
    return float((agreement_FF.max(axis=0).mean() + agreement_FF.max(axis=1).mean()) / 2)


def shrink_to_height(image: NDArray[np.uint8], height: int = MATCH_HEIGHT) -> NDArray[np.uint8]:
    """Return an image of that height with its proportions, at most six times as wide."""
    width = min(max(1, round(image.shape[1] * height / image.shape[0])), 6 * height)
    kind = cv2.INTER_AREA if image.shape[0] > height else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=kind), dtype=np.uint8)


def cut_to_box(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a reference as RGBA, cut to the box of its opaque part and shrunk to `MATCH_HEIGHT`.

    Colours outside become the mean colour, so that the rim is not darkened when it is shrunk.

    Raises:
        InputError: If nothing of it is opaque.
    """
    if image.shape[2] == 3:
        opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
        return shrink_to_height(np.concatenate([image, opaque], axis=2))
    inside = image[..., 3] > 127
    if not inside.any():
        raise InputError("The reference is fully transparent.")
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cutout, inside = image[box].copy(), inside[box]
    cutout[~inside, :3] = np.round(cutout[inside, :3].mean(axis=0)).astype(np.uint8)
    return shrink_to_height(cutout)


def match_cutout(frame_HW3: NDArray[np.uint8], cutout_HW4: NDArray[np.uint8]) -> float:
    """Return how exactly a cut-out is found in a frame: its best correlation at any place and size.

    Args:
        frame_HW3: Of the height `MATCH_HEIGHT`.
        cutout_HW4: From `cut_to_box`.

    Returns:
        In [0, 1]; a pasted cut-out has about .95, unrelated pictures up to about .8.
    """
    small_HW3 = shrink_to_height(frame_HW3, _COARSE_HEIGHT)
    best, part, place = 0.0, 0.0, (0.0, 0.0)
    size = 1.0
    while size >= _SMALLEST_PART:
        value, (row, column) = _search(small_HW3, cutout_HW4, size * _COARSE_HEIGHT)
        if value > best:
            best, part, place = value, size, (row / _COARSE_HEIGHT, column / _COARSE_HEIGHT)
        size /= _COARSE_STEP
    if best == 0.0:
        return 0.0
    fine = []
    for factor in _FINE_SIZES:
        height = min(part * factor, 1.0) * frame_HW3.shape[0]
        window = _window(frame_HW3, place, height, height * cutout_HW4.shape[1] / cutout_HW4.shape[0])
        fine.append(_search(window, cutout_HW4, height)[0])
    return max(fine)


def mirror_preference(plain: float, mirrored: float) -> float:
    """Return the softmax share, at a temperature of .01, of a reference against its mirror image.

    .5 where both are equally near; near 1 where the very reference was copied. Source: ViStoryBench.
    """
    return float(1.0 / (1.0 + np.exp(np.clip((mirrored - plain) / MIRROR_TEMPERATURE, -500.0, 500.0))))


def _search(
    picture_HW3: NDArray[np.uint8], cutout_HW4: NDArray[np.uint8], height: float
) -> tuple[float, tuple[int, int]]:
    """Return the best correlation of a cut-out of some height, and its row and column; 0 where it does not fit."""
    rows = round(height)
    columns = round(cutout_HW4.shape[1] * height / cutout_HW4.shape[0])
    if rows < 2 or columns < 2 or rows > picture_HW3.shape[0] or columns > picture_HW3.shape[1]:
        return 0.0, (0, 0)
    sized = cv2.resize(cutout_HW4, (columns, rows), interpolation=cv2.INTER_AREA)
    mask_HW = (sized[..., 3] > _INSIDE).astype(np.float32)
    if mask_HW.sum() < _FEWEST_PIXELS:
        return 0.0, (0, 0)
    found_HW = cv2.matchTemplate(
        picture_HW3.astype(np.float32),
        np.ascontiguousarray(sized[..., :3], dtype=np.float32),
        cv2.TM_CCOEFF_NORMED,
        mask=cv2.merge([mask_HW] * 3),
    )
    # Where the frame is flat the correlation is 0 / 0, which rounding may turn into anything.
    found_HW[~(np.abs(found_HW) <= 1.0 + 1e-3)] = 0.0
    place = np.unravel_index(int(found_HW.argmax()), found_HW.shape)
    return min(max(float(found_HW[place]), 0.0), 1.0), (int(place[0]), int(place[1]))


def _window(frame_HW3: NDArray[np.uint8], place: tuple[float, float], height: float, width: float) -> NDArray[np.uint8]:
    """Return the part of a frame around a place, which is given in parts of the frame's height."""
    scale = frame_HW3.shape[0]
    top, left = (max(0, int(part * scale) - _FINE_MARGIN) for part in place)
    bottom, right = int(place[0] * scale + height) + _FINE_MARGIN + 1, int(place[1] * scale + width) + _FINE_MARGIN + 1
    return np.ascontiguousarray(frame_HW3[top:bottom, left:right])
