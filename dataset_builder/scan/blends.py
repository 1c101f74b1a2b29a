"""Find stretches of a film in which every frame is a blend of the two ends.

For two frames s and e some time apart, a frame k between them is fitted as (1 - a) s + a e. In a dissolve

- what the fit leaves over is small beside the difference of the ends,
- the share `a` runs evenly from 0 to 1 (a cut jumps, a flash comes back),
- the edges fade as blends of two pictures do: their energy is a(1 - a) times that of the difference below the straight
  line between the ends. Motion, pans and zooms keep their edges, so they miss this by far; it is what tells a dissolve
  from a slow camera, even where the pictures themselves move on during the transition.

Shape letters used below
    N frames    C candidates (pairs of s and e)    B bytes of a small picture (432)    E bytes of luma
    D bytes of a row
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.planes import CHROMA_SIZE, LUMA_SIZE

__all__ = [
    "FEWEST_FRAMES",
    "LONGEST_FRAMES",
    "NUM_LUMA",
    "PICTURE_WEIGHTS",
    "Blend",
    "BlendSearch",
    "TransitionSettings",
    "edge_energies",
    "picture_distances",
    "small_pictures",
]

_SMALL = (16, 9)
_NUM_SMALL, NUM_LUMA = _SMALL[0] * _SMALL[1], LUMA_SIZE[0] * LUMA_SIZE[1]
PICTURE_WEIGHTS = np.concatenate(
    [np.full(_NUM_SMALL, 1 / _NUM_SMALL), np.full(2 * _NUM_SMALL, 1.2 / (2 * _NUM_SMALL))]
).astype(np.float32)  # fmt: skip
_SHARES = (1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6)
_CHUNK = 1024
FEWEST_FRAMES, LONGEST_FRAMES = 4, 256
_REACH = (8, 4)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransitionSettings:
    """Settings of the search for dissolves and fades. All are our choice, fixed on toon films of seeds 1000 to 1011."""

    longest_seconds: float = 2.0
    """Longest dissolve, and longest half of a fade."""

    threshold: float = 14.0
    """Least difference of the ends, in grey levels."""

    max_residual: float = 0.36
    """Most that the blend may leave over, as a share of that difference ..."""

    short_seconds: float = 0.3
    """... and less, in proportion, in blends shorter than this."""

    max_unevenness: float = 0.25
    """Most that the share of the new picture may be off a straight line."""

    min_edge_dip: float = 0.7
    """Least median dip of the edges, as a share of that of a perfect blend."""

    max_edge_dip: float = 1.5
    """Most; a motion blur dips deeper."""

    min_edge_change: float = 0.5
    """Least energy of the edges of the difference, as a share of that of both ends: other pictures, not other light."""

    flat_share: float = 0.12
    """A picture is flat, as in the middle of a fade, if its edges have at most this share of the other end's energy."""

    longest_black_seconds: float = 3.0
    """Longest flat stretch in the middle of a fade."""

    moved_share: float = 0.4
    """If the old picture, moved, leaves less than this share of the squared difference, the camera has moved."""

    doubtful_residual: float = 0.25
    """Where the blend leaves over more than this, it may be something that sweeps past the camera: no boundary ..."""

    return_seconds: float = 1.0
    """... if the old picture comes back within this time ..."""

    return_share: float = 0.74
    """... to within this share of the difference of the ends."""

    def __post_init__(self) -> None:
        for name in ("longest_seconds", "threshold", "max_residual", "max_unevenness", "flat_share"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True)
class Blend:
    """A stretch in which one picture turns into another."""

    start: int
    """Last frame of the old picture."""

    end: int
    """First frame of the new one."""

    quality: float
    """Difference of the ends, less what speaks against a blend."""

    begins_flat: bool
    """Whether the old picture is a flat one."""

    ends_flat: bool
    """Whether the new picture is a flat one."""

    is_doubtful: bool
    """Whether the fit is so poor that it may be something else."""


class BlendSearch:
    """A stretch of frames in which blends are looked for; frames count from its start."""

    def __init__(
        self,
        settings: TransitionSettings,
        small_NB: NDArray[np.uint8],
        luma_NE: NDArray[np.uint8],
        energy_N: NDArray[np.float32],
        times_N: NDArray[np.float64],
    ) -> None:
        self.settings, self.small_NB, self.luma_NE = settings, small_NB, luma_NE
        self.energy_N, self.times_N = energy_N, times_N

    def blends(self, stop: int) -> list[Blend]:
        """Return every pair of frames with a blend between them that begins before `stop`, for a row of lengths."""
        count = len(self.times_N)
        if count < 2:
            return []
        rate = (count - 1) / max(float(self.times_N[-1] - self.times_N[0]), 1e-6)
        longest = min(count - 1, LONGEST_FRAMES, round(self.settings.longest_seconds * rate))
        found: list[Blend] = []
        length = 3.0
        while round(length) <= longest:
            found += self._blends_of_length(round(length), stop)
            length = max(length + 1, length * 1.25)
        return found

    def _blends_of_length(self, length: int, stop: int) -> list[Blend]:
        settings = self.settings
        starts = np.arange(0, min(stop, len(self.times_N) - length), max(1, length // 8))
        apart = picture_distances(self.small_NB, starts, starts + length)
        keep = apart >= settings.threshold
        starts, apart = starts[keep], apart[keep]
        if not len(starts):
            return []
        residual, unevenness, places = self._fit(starts, length, apart)
        duration = self.times_N[starts + length] - self.times_N[starts]
        allowed = settings.max_residual * np.minimum(1.0, duration / settings.short_seconds)
        keep = (residual <= allowed) & (unevenness <= settings.max_unevenness)
        found = []
        for place in np.flatnonzero(keep).tolist():
            start = int(starts[place])
            end = start + length
            low, high = sorted((float(self.energy_N[start]), float(self.energy_N[end])))
            is_leg = low <= settings.flat_share * high
            if not self._edges_dip(start, end, places):
                continue
            if not is_leg and (length < FEWEST_FRAMES or self._is_moved(start, end)):
                continue
            quality = apart[place] * (1 - residual[place]) * (1 - unevenness[place])
            begins = bool(is_leg and self.energy_N[start] < self.energy_N[end])
            ends = is_leg and not begins
            found.append(
                Blend(start, end, float(quality), begins, ends, bool(residual[place] > settings.doubtful_residual))
            )
        return found

    def _fit(self, starts_C: NDArray[Any], length: int, apart_C: NDArray[Any]) -> tuple[Any, Any, list[int]]:
        """Return what the blend leaves over, and how uneven its shares run, per candidate; and the places looked at."""
        times = self.times_N
        first = self.small_NB[starts_C].astype(np.float32)
        whole = self.small_NB[starts_C + length].astype(np.float32) - first
        square = (whole * whole) @ PICTURE_WEIGHTS
        duration = times[starts_C + length] - times[starts_C]
        places = sorted({min(max(round(share * length), 1), length - 1) for share in _SHARES})
        left, uneven = np.zeros(len(starts_C), np.float32), np.zeros(len(starts_C), np.float32)
        for place in places:
            part = self.small_NB[starts_C + place].astype(np.float32) - first
            share = ((part * whole) @ PICTURE_WEIGHTS) / square
            expected = (times[starts_C + place] - times[starts_C]) / np.maximum(duration, 1e-9)
            uneven = np.maximum(uneven, np.abs(share - expected))
            left += np.abs(part - share[:, None] * whole) @ PICTURE_WEIGHTS
        return left / (len(places) * apart_C), uneven, places

    def _edges_dip(self, start: int, end: int, places: list[int]) -> bool:
        """Return whether the edges between fade as those of a blend."""
        difference = self.luma_NE[end].astype(np.float32) - self.luma_NE[start].astype(np.float32)
        full = float(edge_energies(difference[None])[0])
        duration = max(float(self.times_N[end] - self.times_N[start]), 1e-9)
        if full < self.settings.min_edge_change * (self.energy_N[start] + self.energy_N[end]):
            return False
        dips = []
        for place in places:
            share = float(self.times_N[start + place] - self.times_N[start]) / duration
            straight = (1 - share) * self.energy_N[start] + share * self.energy_N[end]
            if 0.2 < share < 0.8:
                dips.append((straight - self.energy_N[start + place]) / (share * (1 - share) * full + 1e-6))
        if not dips or min(dips) < 0.6 * self.settings.min_edge_dip:
            return False
        return bool(self.settings.min_edge_dip <= np.median(dips) <= self.settings.max_edge_dip)

    def _is_moved(self, start: int, end: int) -> bool:
        """Return whether the new picture is mostly the old one, moved sideways or up: a slow pan of fine texture."""
        (across, down), (width, height) = _REACH, LUMA_SIZE
        first, last = (self.luma_NE[one].reshape(height, width) for one in (start, end))
        middle = np.ascontiguousarray(last[down : height - down, across : width - across])
        differences = cv2.matchTemplate(first.astype(np.float32), middle.astype(np.float32), cv2.TM_SQDIFF)
        return bool(differences.min() < self.settings.moved_share * differences[down, across])


def small_pictures(rows_ND: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the planes of rows as 16x9 each, shape (N, B). A tall picture of all rows is made small in one go."""
    luma = np.ascontiguousarray(rows_ND[:, :NUM_LUMA]).reshape(-1, LUMA_SIZE[0])
    parts = [cv2.resize(luma, (_SMALL[0], len(rows_ND) * _SMALL[1]), interpolation=cv2.INTER_AREA)]
    for chroma_ND in np.split(rows_ND[:, NUM_LUMA:], 2, axis=1):
        tall = np.ascontiguousarray(chroma_ND).reshape(-1, CHROMA_SIZE[0])
        parts.append(cv2.resize(tall, (_SMALL[0], len(rows_ND) * _SMALL[1]), interpolation=cv2.INTER_AREA))
    return np.concatenate([np.asarray(part, np.uint8).reshape(len(rows_ND), -1) for part in parts], axis=1)


def picture_distances(
    pictures_NB: NDArray[np.uint8], first_C: NDArray[Any], second_C: NDArray[Any]
) -> NDArray[np.float32]:
    """Return how far apart small pictures are, in grey levels, for pairs of frames (C,)."""
    found = np.empty(len(first_C), np.float32)
    for start in range(0, len(first_C), _CHUNK):
        part = slice(start, start + _CHUNK)
        change = cv2.absdiff(pictures_NB[first_C[part]], pictures_NB[second_C[part]])
        found[part] = change.astype(np.float32) @ PICTURE_WEIGHTS
    return found


def edge_energies(edges_NE: NDArray[Any]) -> NDArray[np.float32]:
    """Return the mean squared step between neighbouring pixels, per picture."""
    found = np.empty(len(edges_NE), np.float32)
    for start in range(0, len(edges_NE), _CHUNK):
        planes = edges_NE[start : start + _CHUNK].reshape(-1, *LUMA_SIZE[::-1]).astype(np.float32)
        across, down = np.diff(planes, axis=2), np.diff(planes, axis=1)
        energy = (across * across).mean((1, 2)) + (down * down).mean((1, 2))
        found[start : start + _CHUNK] = energy
    return found
