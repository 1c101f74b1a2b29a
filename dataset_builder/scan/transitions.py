"""Dissolves and fades, from the stretches in which one picture turns evenly into another (`blends.py`).

A dissolve is one blend of two pictures. A fade is two, to a flat picture and from it. If the pictures before and after
are alike, it was a flash; if the fit is poor and the old picture comes back soon, something swept past the camera.

Shape letters used below
    N frames    B bytes of a small picture (432)    D bytes of a row
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.blends import (
    FEWEST_FRAMES,
    LONGEST_FRAMES,
    NUM_LUMA,
    PICTURE_WEIGHTS,
    Blend,
    BlendSearch,
    TransitionSettings,
    edge_energies,
    picture_distances,
    small_pictures,
)
from animeshooter_hf.dataset_builder.scan.film_scan import Boundary
from animeshooter_hf.dataset_builder.scan.planes import ROW_BYTES

__all__ = ["TransitionFinder", "TransitionSettings"]

_CHUNK = 1024


class TransitionFinder:
    """Takes the small planes of the frames in order, and knows at the end where one shot blends into another.

    Blends are looked for block by block; of what lies behind only 432 bytes a frame are kept.
    """

    def __init__(self, settings: TransitionSettings) -> None:
        """Begin."""
        self._settings = settings
        self._rows_ND = np.empty((_CHUNK + LONGEST_FRAMES, ROW_BYTES), np.uint8)
        self._first = self._filled = self._measured = 0
        self._times: list[float] = []
        self._energies: list[NDArray[np.float32]] = []
        self._pictures: list[NDArray[np.uint8]] = []
        self._blends: list[Blend] = []

    def add(self, seconds: float, row_D: NDArray[np.uint8]) -> None:
        """Take the small planes of the next frame, and when it is shown."""
        if self._filled == len(self._rows_ND):
            self._look(is_last=False)
        self._rows_ND[self._filled] = row_D
        self._times.append(seconds)
        self._filled += 1

    def finish(self, cuts: Sequence[int]) -> list[Boundary]:
        """Return the dissolves and fades.

        Args:
            cuts: Frames that begin after a hard cut: where a fade ends in one, the cut is the boundary.
        """
        if len(self._times) <= FEWEST_FRAMES:
            return []
        self._look(is_last=True)
        film = _Film(
            self._settings,
            np.concatenate(self._pictures),
            np.concatenate(self._energies),
            np.asarray(self._times, np.float64),
        )
        return film.boundaries(self._blends, cuts)

    def _look(self, *, is_last: bool) -> None:
        """Look for blends that begin in the rows that can be left behind, and leave them."""
        fresh = self._rows_ND[self._measured - self._first : self._filled]
        self._energies.append(edge_energies(fresh[:, :NUM_LUMA]))
        self._pictures.append(small_pictures(fresh))
        self._measured = self._first + self._filled
        block = BlendSearch(
            self._settings,
            np.concatenate(self._pictures)[self._first :],
            self._rows_ND[: self._filled, :NUM_LUMA],
            np.concatenate(self._energies)[self._first :],
            np.asarray(self._times[self._first :], np.float64),
        )
        done = self._filled if is_last else self._filled - LONGEST_FRAMES
        self._blends += [
            replace(blend, start=blend.start + self._first, end=blend.end + self._first) for blend in block.blends(done)
        ]
        self._rows_ND[: self._filled - done] = self._rows_ND[done : self._filled].copy()
        self._first, self._filled = self._first + done, self._filled - done


class _Film:
    """The whole film, in which blends become boundaries."""

    def __init__(
        self,
        settings: TransitionSettings,
        pictures_NB: NDArray[np.uint8],
        energy_N: NDArray[np.float32],
        times_N: NDArray[np.float64],
    ) -> None:
        self.settings, self.pictures_NB, self.energy_N, self.times_N = settings, pictures_NB, energy_N, times_N

    def boundaries(self, blends: Sequence[Blend], cuts: Sequence[int]) -> list[Boundary]:
        separate = self._separate(blends)
        dissolves = [one for one in separate if not one.begins_flat and not one.ends_flat and not self._returns(one)]
        legs = [one for one in separate if one.begins_flat != one.ends_flat]
        found = [self._as_dissolve(blend) for blend in dissolves] + self._fades(legs, cuts)
        return sorted(found, key=lambda boundary: boundary.frame)

    def _returns(self, blend: Blend) -> bool:
        """Return whether it is no transition: the fit is poor, and the old picture comes back soon."""
        if not blend.is_doubtful:
            return False
        times, reach = self.times_N, self.settings.return_seconds
        after = np.arange(blend.end, int(np.searchsorted(times, times[blend.end] + reach)))
        before = np.arange(int(np.searchsorted(times, times[blend.start] - reach)), blend.start + 1)
        apart = picture_distances(self.pictures_NB, np.array([blend.start]), np.array([blend.end]))[0]
        nearest = min(
            picture_distances(self.pictures_NB, np.full(len(after), blend.start), after).min(initial=np.inf),
            picture_distances(self.pictures_NB, np.full(len(before), blend.end), before).min(initial=np.inf),
        )
        return bool(nearest < self.settings.return_share * apart)

    def _separate(self, blends: Sequence[Blend]) -> list[Blend]:
        """Return the best of blends that overlap, in order."""
        kept: list[Blend] = []
        for blend in sorted(blends, key=lambda one: (-one.quality, one.start, one.end)):
            if all(blend.end <= other.start or blend.start >= other.end for other in kept):
                kept.append(blend)
        return sorted(kept, key=lambda one: one.start)

    def _as_dissolve(self, blend: Blend) -> Boundary:
        start, end = self._extent(blend)
        return Boundary(
            frame=(start + end) // 2, score=blend.quality, kind="dissolve", start_frame=start, end_frame=end
        )

    def _extent(self, blend: Blend) -> tuple[int, int]:
        """Return the half-open range of frames that a blend touches, from a straight line through its shares."""
        length = blend.end - blend.start
        low, high = max(0, blend.start - length // 2), min(len(self.times_N), blend.end + length // 2 + 1)
        first = self.pictures_NB[blend.start].astype(np.float32)
        whole = self.pictures_NB[blend.end].astype(np.float32) - first
        shares = ((self.pictures_NB[low:high].astype(np.float32) - first) * whole) @ PICTURE_WEIGHTS
        shares = shares / float((whole * whole) @ PICTURE_WEIGHTS)
        times = self.times_N[low:high]
        inside = (shares > 0.12) & (shares < 0.88) & (np.arange(low, high) > blend.start) & (
            np.arange(low, high) < blend.end
        )  # fmt: skip
        if inside.sum() < 2:
            return blend.start + 1, blend.end
        slope, offset = np.polyfit(times[inside], shares[inside], 1)
        if slope <= 0:
            return blend.start + 1, blend.end
        start = low + int(np.searchsorted(times, -offset / slope + 1e-3))
        end = low + int(np.searchsorted(times, (1 - offset) / slope - 1e-3))
        middle = (blend.start + blend.end) // 2
        return min(start, middle), max(end, middle + 1)

    def _fades(self, legs: list[Blend], cuts: Sequence[int]) -> list[Boundary]:
        """Return the fades that blends to and from flat pictures make."""
        found: list[Boundary] = []
        outgoing: Blend | None = None
        for leg in [*legs, None]:
            is_pair = (
                outgoing is not None
                and leg is not None
                and leg.begins_flat
                and self.times_N[leg.start] - self.times_N[outgoing.end] <= self.settings.longest_black_seconds
            )
            if outgoing is not None and leg is not None and is_pair:
                found += self._as_fade(outgoing, leg)
                outgoing = None
                continue
            if outgoing is not None:
                found += self._as_half(outgoing, cuts)
            outgoing = None
            if leg is not None and leg.ends_flat:
                outgoing = leg
            elif leg is not None:
                found += self._as_half(leg, cuts)
        return found

    def _as_fade(self, outgoing: Blend, incoming: Blend) -> list[Boundary]:
        """Return the boundary of both halves, or none if the same picture comes back."""
        start, end = self._extent(outgoing)[0], self._extent(incoming)[1]
        before = np.arange(max(0, start - 3), start + 1)
        after = np.arange(min(end, len(self.times_N) - 1), min(end + 4, len(self.times_N)))
        pairs = np.repeat(before, len(after)), np.tile(after, len(before))
        if picture_distances(self.pictures_NB, *pairs).min() < self.settings.threshold / 2:
            return []
        low, high = max(start, outgoing.start + 1), max(start + 1, min(end, incoming.end))
        darkest = self.energy_N[low : high + 1]
        flat = np.flatnonzero(darkest <= darkest.min() * 1.5 + 1e-3)
        frame = low + (int(flat[0]) + int(flat[-1]) + 1) // 2
        quality = min(outgoing.quality, incoming.quality)
        return [Boundary(frame=frame, score=quality, kind="fade", start_frame=start, end_frame=end)]

    def _as_half(self, leg: Blend, cuts: Sequence[int]) -> list[Boundary]:
        """Return the boundary of a half without its other half: none at the film's ends and where a cut stands."""
        reach = self.settings.longest_black_seconds
        near = [self.times_N[leg.start] - reach, self.times_N[leg.end] + reach]
        flat_side = slice(leg.end, None) if leg.ends_flat else slice(0, leg.start + 1)
        stays_flat = self.energy_N[flat_side].max() <= self.settings.flat_share * max(
            self.energy_N[leg.start], self.energy_N[leg.end]
        )
        if stays_flat or any(near[0] <= self.times_N[cut] <= near[1] for cut in cuts):
            return []
        start, end = self._extent(leg)
        frame = end if leg.ends_flat else start
        return [Boundary(frame=frame, score=leg.quality, kind="fade", start_frame=start, end_frame=end)]
