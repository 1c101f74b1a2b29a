"""Measure how a shot moves, how much of it the camera alone does not explain, and whether its frames are in order.

In:  a few frames of one shot; this module never opens a file.
Out: per pair of frames the optical flow, what the camera does not explain of it, and how the picture changed.

A pan or a zoom over a still picture has flow everywhere, but once it is warped back by an affine camera nothing is
left. A character that moves leaves its own motion. What the camera does not explain must both move otherwise and look
otherwise: flow alone is loose where a drawing is flat, and pictures alone differ by noise and by the codec.

Anime holds a drawing for several frames and moves little of the picture, so only the fastest twentieth counts, and a
verdict is made over a story, never over a shot.

Shape letters used below
    H, W  rows and columns after shrinking    N  places where the camera is fitted
"""

import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.sampling import sample_frames

__all__ = [
    "FLOW_WIDTH",
    "PAIR_SECONDS",
    "SHORTEST_IN_ORDER",
    "fit_camera",
    "frame_pairs",
    "held_ratio",
    "measure_pair",
    "neighbour_pairs",
    "optical_flow",
    "shrink_to_grey",
    "step_changes",
    "top_mean",
]

FLOW_WIDTH = 256
"""Width, in pixels, of the pictures between which flow is found; all sizes below count in these pixels. Our choice."""

PAIR_SECONDS = 0.25
"""Time between the frames of a pair. Our choice: drawings "on threes" stand for 1/8 s; a quarter sees them change."""

UNIT_SECONDS = 0.125
"""Motion is told in pixels per this time, whatever lay between the frames."""

TOP_SHARE = 0.05
"""Share of the picture, the fastest, over which flow is averaged. As in VBench's dynamic degree."""

HELD_DIFFERENCE = 0.5
"""Mean change in grey levels (of 255) below which a picture counts as held. Our choice: above what a codec leaves."""

UNEXPLAINED_DIFFERENCE = 6.0
"""Grey levels by which a place must differ, after blur and with the camera taken out, to count as moved by itself.
Our choice on toon films: of 4, 6, 8 and 12 it leaves stills with noise or a camera the least beside true motion."""

SHORTEST_IN_ORDER = 32
"""Frames that a shot needs before its order is judged: below it, neighbours and distant frames are about equally
near. Our choice: a toon shot of 21 frames with a jump and a tilt passes for shuffled."""

_BLUR = 2.0
"""Standard deviation in pixels of the blur before pictures are compared: it takes noise away and spares shapes."""

_GRID = 4
"""Every fourth pixel of the flow is used for the camera."""

_CAMERA_ROUNDS, _CAMERA_SCALE = 8, 0.5
"""Rounds of re-weighting, and pixels at which a place counts half. Our choice; four rounds change little."""

_TEXTURED, _FEWEST_TEXTURED = 4.0, 50
"""Slope (Sobel, of the blurred picture) at which flow is trusted, and places needed for the others to be left out."""

_REACH = (4, 8)
"""Rows and columns, of 64, by which one picture may be moved before it is compared with another, so that a quick pan
does not pass for a change of the picture. Our choice."""

_SMALLEST_SIDE = 12
"""Pictures with a shorter side than this, after shrinking, have no flow: DIS needs patches of 8 pixels."""


def frame_pairs(num_frames: int, frame_rate: float, num_pairs: int = 5) -> tuple[tuple[int, int], ...]:
    """Return pairs of frames (earlier, later), each about `PAIR_SECONDS` apart, at the centres of equal bins.

    A shot too short for that has closer pairs, and a shot of one frame has none.

    Example:
        >>> frame_pairs(49, 16.0)
        ((4, 8), (14, 18), (24, 28), (34, 38), (44, 48))
        >>> frame_pairs(3, 24.0), frame_pairs(1, 24.0)
        (((0, 2),), ())
    """
    return _pairs(num_frames, max(1, round(PAIR_SECONDS * frame_rate)), num_pairs)


def neighbour_pairs(num_frames: int, num_pairs: int = 5) -> tuple[tuple[int, int], ...]:
    """Return pairs of frames that follow each other, at the centres of equal bins; a shot of one frame has none."""
    return _pairs(num_frames, 1, num_pairs)


def shrink_to_grey(frame: NDArray[np.uint8], width: int = FLOW_WIDTH) -> NDArray[np.uint8]:
    """Return an RGB frame as grey (H, W) of that width, its proportions kept; also a smaller frame is brought to it."""
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    kind = cv2.INTER_AREA if frame.shape[1] > width else cv2.INTER_LINEAR
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (width, min(height, 4 * width)), interpolation=kind), dtype=np.uint8)


def optical_flow(earlier_HW: NDArray[np.uint8], later_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return dense flow (H, W, 2) in pixels, columns first, by DIS (fast preset)."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow_HW2 = dis.calc(earlier_HW, later_HW, None)  # type: ignore[call-overload]  # no flow to begin with
    return np.asarray(flow_HW2, dtype=np.float32)


def fit_camera(
    places_N2: NDArray[np.float64], flow_N2: NDArray[np.float64], trusted_N: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the affine camera (3, 2) that most trusted places follow: flow = (column, row, 1) @ camera.

    Least squares, re-weighted by 1 / (1 + (residual / 0.5 px)^2): who moves otherwise loses its say.
    """
    design_N3 = np.column_stack([places_N2 / FLOW_WIDTH, np.ones(len(places_N2))])
    weights_N = trusted_N.astype(np.float64)
    camera_32: NDArray[np.float64] = np.zeros((3, 2))
    for _ in range(_CAMERA_ROUNDS):
        weighted_N3 = design_N3 * weights_N[:, None]
        normal_33 = weighted_N3.T @ design_N3 + 1e-9 * np.eye(3)
        camera_32 = np.asarray(np.linalg.solve(normal_33, weighted_N3.T @ flow_N2), dtype=np.float64)
        residual_N = np.linalg.norm(flow_N2 - design_N3 @ camera_32, axis=1)
        weights_N = trusted_N / (1.0 + (residual_N / _CAMERA_SCALE) ** 2)
    camera_32[:2] /= FLOW_WIDTH
    return camera_32


def top_mean(values: NDArray[np.float64] | NDArray[np.float32]) -> float:
    """Return the mean of the largest twentieth."""
    count = max(1, round(values.size * TOP_SHARE))
    return float(np.partition(values.ravel(), values.size - count)[values.size - count :].mean(dtype=np.float64))


def measure_pair(earlier_HW: NDArray[np.uint8], later_HW: NDArray[np.uint8], seconds: float) -> Mapping[str, float]:
    """Return what one pair of grey pictures tells.

    Args:
        earlier_HW: From `shrink_to_grey`.
        later_HW: Of the same shape.
        seconds: Time between them.

    Returns:
        `top5`, pixels per 1/8 s of the fastest twentieth; `residual`, the same of what the camera does not explain,
        among the places that it keeps in the picture; `change`, mean difference in grey levels. Flow is NaN where the
        picture is too small for it.
    """
    change = float(cv2.absdiff(earlier_HW, later_HW).mean())
    if min(earlier_HW.shape) < _SMALLEST_SIDE:
        return {"top5": float("nan"), "residual": float("nan"), "change": change}
    scale = UNIT_SECONDS / seconds
    flow_HW2 = optical_flow(earlier_HW, later_HW)
    return {
        "top5": scale * top_mean(np.hypot(flow_HW2[..., 0], flow_HW2[..., 1])),
        "residual": scale * _unexplained(earlier_HW, later_HW, flow_HW2),
        "change": change,
    }


def step_changes(pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[float, float]:
    """Return the median change between neighbours, and between the first frames of all pairs, in grey levels.

    In a film neighbours are far more alike than frames of other moments; in shuffled frames they are not. Pictures are
    compared 64 pixels wide, where noise is averaged away, and where one lies best on the other, so that a pan counts
    little. The change is the root mean square difference.
    """
    small = [tuple(_small(picture_HW) for picture_HW in pair) for pair in pairs]
    near = [_difference(first, second) for first, second in small]
    far = [_difference(one[0], other[0]) for one, other in itertools.combinations(small, 2)]
    return float(np.median(near)), float(np.median(far))


def held_ratio(changes: Sequence[float]) -> float:
    """Return the share of pairs whose picture did not change."""
    return sum(change < HELD_DIFFERENCE for change in changes) / len(changes)


def _pairs(num_frames: int, step: int, num_pairs: int) -> tuple[tuple[int, int], ...]:
    if num_frames < 2:
        return ()
    step = min(step, num_frames - 1)
    starts = [min(centre, num_frames - 1 - step) for centre in sample_frames(num_frames, num_pairs)]
    return tuple((start, start + step) for start in dict.fromkeys(starts))


def _unexplained(earlier_HW: NDArray[np.uint8], later_HW: NDArray[np.uint8], flow_HW2: NDArray[np.float32]) -> float:
    """Return the residual flow of the fastest twentieth, 0 wherever the camera alone makes the pictures agree."""
    height, width = earlier_HW.shape
    first_HW, second_HW = _blurred(earlier_HW), _blurred(later_HW)
    slope_HW = np.hypot(cv2.Sobel(first_HW, cv2.CV_32F, 1, 0), cv2.Sobel(first_HW, cv2.CV_32F, 0, 1))
    rows, columns = np.mgrid[0:height:_GRID, 0:width:_GRID]
    places_N2 = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
    flow_N2 = flow_HW2[::_GRID, ::_GRID].reshape(-1, 2).astype(np.float64)
    trusted_N = (slope_HW[::_GRID, ::_GRID] > _TEXTURED).ravel()
    if trusted_N.sum() < _FEWEST_TEXTURED:
        trusted_N[:] = True
    camera_32 = fit_camera(places_N2, flow_N2, trusted_N)
    expected_N2 = np.column_stack([places_N2, np.ones(len(places_N2))]) @ camera_32
    landed_N2 = places_N2 + expected_N2
    stays_N = ((landed_N2 >= _GRID) & (landed_N2 < np.array([width, height]) - _GRID)).all(axis=1)
    if not stays_N.any():
        return 0.0
    back = np.array([[1, 0, 0], [0, 1, 0]]) + camera_32.T
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped_HW = cv2.warpAffine(second_HW, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    differs_N = np.abs(warped_HW - first_HW)[::_GRID, ::_GRID].ravel() > UNEXPLAINED_DIFFERENCE
    residual_N = np.where(differs_N, np.linalg.norm(flow_N2 - expected_N2, axis=1), 0.0)
    return top_mean(residual_N[stays_N])


def _blurred(picture_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture_HW.astype(np.float32), (0, 0), _BLUR), dtype=np.float32)


def _small(picture_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    size = (64, max(1, round(picture_HW.shape[0] * 64 / picture_HW.shape[1])))
    small = cv2.resize(picture_HW, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    # Blurred, because places are compared to whole pixels only.
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32)


def _difference(first_HW: NDArray[np.float32], second_HW: NDArray[np.float32]) -> float:
    """Return the root mean square difference where the middle of one lies best on the other."""
    down, across = (min(reach, (side - 1) // 4) for reach, side in zip(_REACH, first_HW.shape, strict=True))
    height, width = first_HW.shape
    middle_HW = np.ascontiguousarray(first_HW[down : height - down, across : width - across])
    squares = cv2.matchTemplate(second_HW, middle_HW, cv2.TM_SQDIFF)
    return float(np.sqrt(max(float(squares.min()), 0.0) / middle_HW.size))
