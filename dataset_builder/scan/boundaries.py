"""Find shot boundaries in one decoding pass, without being fooled by flashes, shakes and whip pans.

A frame begins a new shot if *every* frame of a small window before it differs from *every* frame of a window after it.
A flash leaves a like pair on either side of it, a shake or a fast pan leaves neighbours alike; a cut leaves none. The
pictures are compared as 64x36 luma and 32x18 chroma planes, which the decoder gives without a conversion to RGB.

Measured on toon films only (see the README of the project); real animation is unmeasured until someone brings films.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.video import FrameCursor

__all__ = [
    "Boundary",
    "BoundaryScores",
    "FilmScan",
    "ShotDetector",
    "ShotSettings",
    "boundary_scores",
    "detect_boundaries",
]
__all__ += ["scan_film"]

_LUMA, _CHROMA = (64, 36), (32, 18)
_CHROMA_WEIGHT = 1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotSettings:
    """Settings of the detector. All are our choice, fixed on other films than those it was scored on."""

    before_seconds: float = 4 / 30
    """Window before a boundary."""

    after_seconds: float = 5 / 30
    """Window after it. A flash or a held blur shorter than both windows is no cut."""

    threshold: float = 14.0
    """Least difference across a boundary, in grey levels."""

    ratio: float = 2.6
    """Least ratio of that difference to the motion around it."""

    neighbourhood_seconds: float = 8 / 30
    """How far around a boundary the motion is looked at."""

    min_shot_seconds: float = 0.2
    """Of two boundaries closer than this the stronger one counts."""

    def __post_init__(self) -> None:
        for name in ("before_seconds", "after_seconds", "threshold", "ratio", "neighbourhood_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class Boundary:
    """The start of a shot inside a film."""

    frame: int
    """First frame of the new shot."""

    score: float
    """Difference across it, in grey levels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FilmScan:
    """What one pass over a film gives."""

    boundaries: tuple[Boundary, ...]
    """Where shots begin; the first frame of the film is not among them."""

    scores: NDArray[np.float32]
    """Boundary score of every frame."""

    num_frames: int
    """Frames decoded."""


class ShotDetector(Protocol):
    """Anything that finds shot boundaries in a film."""

    def __call__(self, path: Path) -> FilmScan:
        """Return what was found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryScores:
    """How well found boundaries agree with the truth."""

    precision: float | None
    """Share of the found ones that are true; None if none was found."""

    recall: float | None
    """Share of the true ones that were found; None if there is none."""

    f1: float | None
    """Their harmonic mean."""

    num_found: int
    """Boundaries found."""

    num_true: int
    """Boundaries there are."""

    num_matched: int
    """Boundaries that agree."""


def scan_film(path: Path, settings: ShotSettings | None = None) -> FilmScan:
    """Return the boundaries of a film, from one decoding pass.

    Raises:
        InputError: If the film cannot be decoded to its end.
    """
    with FrameCursor(path) as cursor:
        features = np.stack([_features(frame) for _, frame in cursor.frames(0, len(cursor.index))])
        rate = len(cursor.index) / cursor.index.seconds(len(cursor.index))
    scores = boundary_curve(features, rate, settings or ShotSettings())
    return FilmScan(
        boundaries=tuple(detect_boundaries(features, rate, settings)), scores=scores, num_frames=len(features)
    )


def boundary_curve(features_ND: NDArray[np.uint8], rate: float, settings: ShotSettings) -> NDArray[np.float32]:
    """Return for every frame the least difference between a frame before it and a frame from it on.

    Args:
        features_ND: One row per frame, as `scan_film` makes them.
        rate: Frames per second.
        settings: Windows.
    """
    before = max(1, round(settings.before_seconds * rate))
    after = max(1, round(settings.after_seconds * rate))
    distances = _distances(features_ND, before + after)
    num_frames = len(features_ND)
    curve = np.full(num_frames, np.inf, np.float32)
    for back in range(1, before + 1):
        for ahead in range(after):
            pair = np.full(num_frames, np.inf, np.float32)
            pair[: num_frames - ahead] = distances[back + ahead][ahead:]
            curve = np.minimum(curve, pair)
    curve[~np.isfinite(curve)] = 0
    return curve


def detect_boundaries(
    features_ND: NDArray[np.uint8], rate: float, settings: ShotSettings | None = None
) -> list[Boundary]:
    """Return the boundaries, in order. The arguments are those of `boundary_curve`."""
    settings = settings or ShotSettings()
    curve = boundary_curve(features_ND, rate, settings)
    motion = _distances(features_ND, 1)[1]
    motion[0] = 0
    near = max(1, round(settings.neighbourhood_seconds * rate))
    apart = max(1, round(settings.min_shot_seconds * rate))
    found: list[Boundary] = []
    for frame in np.flatnonzero(curve >= settings.threshold).tolist():
        if curve[frame] < curve[max(0, frame - apart) : frame + apart + 1].max() - 1e-6:
            continue
        around = np.concatenate([motion[max(1, frame - near) : frame], motion[frame + 1 : frame + near + 1]])
        usual = float(np.sort(around)[-3:].mean()) if len(around) else 0.0
        if curve[frame] < settings.ratio * (usual + 1):
            continue
        if found and frame - found[-1].frame < apart:
            if motion[frame] > motion[found[-1].frame]:
                found[-1] = Boundary(frame, float(curve[frame]))
            continue
        found.append(Boundary(frame, float(curve[frame])))
    return found


def boundary_scores(
    found: Sequence[int], truth: Sequence[tuple[int, int]], *, tolerance_frames: int = 1
) -> BoundaryScores:
    """Return how well boundaries agree with true ones.

    Args:
        found: Frames.
        truth: (first, last) frame of each true boundary: the same frame twice for a cut, a range for a transition.
        tolerance_frames: How far beside it a boundary still counts.
    """
    left = sorted(found)
    matched = 0
    for first, last in sorted(truth):
        hit = next((f for f in left if first - tolerance_frames <= f <= last + tolerance_frames), None)
        if hit is not None:
            left.remove(hit)
            matched += 1
    precision = matched / len(found) if found else None
    recall = matched / len(truth) if truth else None
    both = (precision or 0) + (recall or 0)
    f1 = None if precision is None or recall is None else 2 * precision * recall / both if both else 0.0
    return BoundaryScores(
        precision=precision, recall=recall, f1=f1, num_found=len(found), num_true=len(truth), num_matched=matched
    )


def _features(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the small luma and chroma planes of a frame as one row."""
    picture = frame if frame.format.name in ("yuv420p", "yuvj420p") else frame.reformat(format="yuv420p")
    planes = list(_planes(picture))
    luma = cv2.resize(planes[0], (256, 144), interpolation=cv2.INTER_LINEAR)
    parts: list[Any] = [cv2.resize(luma, _LUMA, interpolation=cv2.INTER_AREA)]
    parts += [cv2.resize(plane, _CHROMA, interpolation=cv2.INTER_LINEAR) for plane in planes[1:]]
    return np.concatenate([np.asarray(part, np.uint8).ravel() for part in parts])


def _planes(frame: av.VideoFrame) -> Iterator[NDArray[np.uint8]]:
    for number, plane in enumerate(frame.planes[:3]):
        height, width = (
            (frame.height, frame.width) if number == 0 else ((frame.height + 1) // 2, (frame.width + 1) // 2)
        )
        yield np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]


def _distances(features_ND: NDArray[np.uint8], longest: int) -> NDArray[np.float32]:
    """Return [lag, frame] -> weighted mean difference of a frame to the one `lag` before it; infinite where none is."""
    luma = _LUMA[0] * _LUMA[1]
    chroma = 2 * _CHROMA[0] * _CHROMA[1]
    weights = np.concatenate([np.full(luma, 1 / luma), np.full(chroma, _CHROMA_WEIGHT / chroma)]).astype(np.float32)
    num_frames = len(features_ND)
    distances = np.full((longest + 1, num_frames), np.inf, np.float32)
    for lag in range(1, min(longest, num_frames - 1) + 1):
        distances[lag, lag:] = cv2.absdiff(features_ND[lag:], features_ND[:-lag]).astype(np.float32) @ weights
    return distances
