"""Faults of pictures that are no matter of taste: noise, black and flat frames, bars, and an overlay that recurs.

In:  a few frames of one shot; this module never opens a file.
Out: numbers per frame, and a map of edges that stay in their place, by which shots of different stories are compared.

Shape letters used below
    F frames    S shots    H, W rows and columns after shrinking
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["EDGE_SIZE", "bars_share", "edge_directions", "is_blank", "lasting_edges", "recurring_share"]
__all__ += ["spatial_autocorrelation"]

EDGE_SIZE = (72, 128)
"""Rows and columns of the map of lasting edges; every picture is squashed to it, so that places compare."""

AUTOCORRELATION_WIDTHS = (256, 64, 32)
"""Widths at which neighbours are compared; the lowest value counts, so that coarse noise is seen too. Our choice."""

_FLAT_DEVIATION = 3.0
"""Standard deviation in grey levels below which a picture shows nothing. Our choice; white, black and fog."""

_BAR_LEVEL, _BAR_SPREAD = 24.0, 3.0
"""Grey level and standard deviation below which a row or a column is part of a black bar. Our choice: video black is
16 in full range, and a codec leaves a little."""

_LEAST_BAR = 0.02
"""Bars thinner than this part of a side are the rim of a picture."""

_EDGE = 24.0
"""Slope (Sobel of grey levels) at which an edge counts. Our choice."""

_LASTING, _SHARED, _SAME_WAY = 0.6, 0.35, 0.8
"""For an overlay: share of a story's shots and of all other IPs' stories that have the edge, and the cosine between
both directions. Our choice."""


def spatial_autocorrelation(grey_HW: NDArray[np.uint8]) -> float:
    """Return how alike neighbouring pixels are, at the size where they are least so: about 0 for noise.

    Pictures have .4 to .9; NaN where the picture is flat, since nothing correlates there.
    """
    values: list[float] = []
    for width in AUTOCORRELATION_WIDTHS:
        if width > grey_HW.shape[1] and values:
            continue
        height = max(2, round(grey_HW.shape[0] * width / grey_HW.shape[1]))
        kind = cv2.INTER_AREA if width < grey_HW.shape[1] else cv2.INTER_NEAREST
        size = (min(width, max(2, grey_HW.shape[1])), min(height, max(2, grey_HW.shape[0])))
        picture_HW = cv2.resize(grey_HW, size, interpolation=kind).astype(np.float64)
        picture_HW -= picture_HW.mean()
        variance = float((picture_HW**2).mean())
        if variance < 1.0:
            return float("nan")
        across = float((picture_HW[:, 1:] * picture_HW[:, :-1]).mean())
        down = float((picture_HW[1:] * picture_HW[:-1]).mean())
        values.append(min(across, down) / variance)
    return min(values)


def is_blank(grey_HW: NDArray[np.uint8]) -> bool:
    """Return whether a picture is black, white or otherwise of one tone."""
    return float(grey_HW.std()) < _FLAT_DEVIATION


def bars_share(greys: Sequence[NDArray[np.uint8]]) -> float:
    """Return the share of the picture that black bars cover in every frame, above and below or left and right.

    Blank frames tell nothing and are left out; a bar must lie on both of two opposite sides.
    """
    shown = [grey_HW for grey_HW in greys if not is_blank(grey_HW)]
    if not shown:
        return 0.0
    covered = []
    for axis in (1, 0):
        dark = np.all([_dark_lines(grey_HW, axis) for grey_HW in shown], axis=0)
        thickness = min(_run(dark), _run(dark[::-1])) / len(dark)
        covered.append(2 * thickness if thickness >= _LEAST_BAR else 0.0)
    return 1.0 - (1.0 - covered[0]) * (1.0 - covered[1])


def lasting_edges(greys: Sequence[NDArray[np.uint8]]) -> NDArray[np.int8]:
    """Return the edges that stay where they are through a shot: the median slope of its frames, halved and clipped.

    Shape (2, *EDGE_SIZE): across and down. What moves leaves nothing, since its slopes have no median but zero.
    """
    slopes = []
    for grey_HW in greys:
        small = cv2.resize(grey_HW, EDGE_SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        slopes.append(np.stack([cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)]))
    return np.clip(np.round(np.median(slopes, axis=0) / 2), -127, 127).astype(np.int8)


def edge_directions(shots: Sequence[NDArray[np.int8]]) -> NDArray[np.float64]:
    """Return the mean direction of the lasting edges of shots: length 1 where all have the same one, 0 where none."""
    total_2HW = np.zeros((2, *EDGE_SIZE))
    for edges_2HW in shots:
        slope_2HW = edges_2HW.astype(np.float64) * 2
        length_HW = np.hypot(*slope_2HW)
        total_2HW += np.where(length_HW > _EDGE, slope_2HW / np.maximum(length_HW, 1.0), 0.0)
    return total_2HW / max(1, len(shots))


def recurring_share(own_2HW: NDArray[np.float64], others_2HW: NDArray[np.float64]) -> float:
    """Return the share of the picture whose edges recur, in the same place and direction, in other stories.

    What recurs as well when the others are moved sideways is taken off: horizons and floors lie alike in many films.

    Args:
        own_2HW: `edge_directions` of a story's shots.
        others_2HW: Mean of the `edge_directions` of stories of other IPs.

    Returns:
        In [0, 1]; about 0 without an overlay, some thousandths for a small watermark.
    """
    width = EDGE_SIZE[1]
    by_chance = max(_recurring(own_2HW, np.roll(others_2HW, width * k // 4, axis=2)) for k in (1, 2, 3))
    return max(0.0, _recurring(own_2HW, others_2HW) - by_chance)


def _recurring(own_2HW: NDArray[np.float64], others_2HW: NDArray[np.float64]) -> float:
    own_HW, others_HW = np.hypot(*own_2HW), np.hypot(*others_2HW)
    along_HW = (own_2HW * others_2HW).sum(axis=0)
    recurs_HW = (own_HW > _LASTING) & (others_HW > _SHARED) & (along_HW > _SAME_WAY * own_HW * others_HW)
    recurs_HW[[0, -1], :] = recurs_HW[:, [0, -1]] = False
    return float(recurs_HW.mean())


def _dark_lines(grey_HW: NDArray[np.uint8], axis: int) -> NDArray[np.bool_]:
    values = grey_HW.astype(np.float64)
    return np.asarray((values.mean(axis=axis) < _BAR_LEVEL) & (values.std(axis=axis) < _BAR_SPREAD))


def _run(flags: NDArray[np.bool_]) -> int:
    return len(flags) if flags.all() else int(np.argmin(flags))
