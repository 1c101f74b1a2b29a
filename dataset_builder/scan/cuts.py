"""Hard cuts: every frame shortly before differs from every frame shortly after.

A flash leaves a like pair on either side of it, a shake or a whip pan leaves neighbours alike, a held drawing leaves
equal ones; a cut leaves none. What remains is large motion, such as something that sweeps past the camera: there the
neighbouring steps are as large, so a cut must also stand out from the steps around it.

Only frames with a large step are looked at closely, so a frame costs one comparison. Windows are in seconds, with a
least number of frames, and follow the time stamps: a variable rate changes nothing.

Shape letters used below
    N frames    D bytes of a row
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.planes import ROW_BYTES, distances, kept_texture, luma_spread

__all__ = ["CutFinder", "CutSettings"]

_CHUNK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class CutSettings:
    """Settings of the search for hard cuts. All are our choice, fixed on toon films of seeds 1000 to 1011."""

    before_seconds: float = 0.25
    """Window before a boundary."""

    after_seconds: float = 0.25
    """Window after it. A flash that is shorter than both windows is no cut."""

    min_window_frames: int = 4
    """Least frames of either window: flashes last one to three frames at any rate."""

    threshold: float = 15.0
    """Difference across a cut that is enough in any picture, in grey levels."""

    relative_threshold: float = 0.75
    """In dark or pale pictures it is also enough if the difference is this share of the picture's own contrast ..."""

    min_difference: float = 6.0
    """... and at least this, in grey levels."""

    max_kept_texture: float = 0.24
    """But not where more of the picture's texture than this stays: there a figure has moved, not the camera."""

    ratio: float = 1.65
    """Least ratio of the difference to the steps around it, where those are of a moving camera ..."""

    ratio_to_figures: float = 1.2
    """... and where those are of figures before a picture that stays, while at the cut hardly any texture stays."""

    neighbourhood_seconds: float = 0.42
    """How far around a boundary those steps are looked at."""

    min_neighbourhood_frames: int = 7
    """Least frames to either side: two drawings that are held for three frames each."""

    min_shot_seconds: float = 0.2
    """Of two cuts closer than this the stronger one counts."""

    def __post_init__(self) -> None:
        for name in (
            "before_seconds", "after_seconds", "min_window_frames", "threshold", "relative_threshold",
            "min_difference", "ratio", "ratio_to_figures", "neighbourhood_seconds", "min_neighbourhood_frames",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.min_shot_seconds < 0:
            raise ValueError(f"min_shot_seconds must not be negative, got {self.min_shot_seconds}.")
        if self.min_window_frames > _MAX_WINDOW:
            raise ValueError(f"min_window_frames must be at most {_MAX_WINDOW}, got {self.min_window_frames}.")


_MAX_WINDOW = 48
"""Most frames of a window: 0.17 s at 240 frames per second are 40."""


class CutFinder:
    """Takes the small planes of the frames in order, and knows at the end where the cuts are."""

    def __init__(self, settings: CutSettings) -> None:
        """Begin."""
        self._settings = settings
        self._rows = np.empty((_CHUNK + 2 * _MAX_WINDOW, ROW_BYTES), np.uint8)
        self._first = self._filled = self._done = 0
        self._seconds: list[float] = []
        self._steps: list[NDArray[np.float32]] = [np.zeros(1, np.float32)]
        self._across: dict[int, float] = {}
        self._needed: dict[int, float] = {}
        self._kept: dict[int, float] = {}

    def next_row(self) -> NDArray[np.uint8]:
        """Return the row that the next frame is to be written into, before `add`."""
        if self._filled == len(self._rows):
            self._look(is_last=False)
        return self._rows[self._filled]

    def add(self, seconds: float) -> None:
        """Take the row that was written, and when its frame is shown."""
        self._seconds.append(seconds)
        self._filled += 1

    def finish(self) -> tuple[list[tuple[int, float]], NDArray[np.float32], NDArray[np.float32]]:
        """Return the cuts as (frame, difference), the curve (N,) of all frames, and the steps (N,) between them.

        The curve is the difference across a frame, or where the step is small that step, which is an upper limit.
        """
        if not self._seconds:
            empty = np.zeros(0, np.float32)
            return [], empty, empty
        self._look(is_last=True)
        steps = np.concatenate(self._steps)[: len(self._seconds)]
        curve = steps.copy()
        for frame, across in self._across.items():
            curve[frame] = across
        return self._choose(curve, steps), curve, steps

    def _look(self, *, is_last: bool) -> None:
        """Compare what has come; keep as many rows as the next look needs."""
        start = max(0, self._done - self._first)
        if self._filled > 1:
            known = sum(len(part) for part in self._steps)
            fresh = max(known - self._first, 1)
            self._steps.append(distances(self._rows[fresh : self._filled], self._rows[fresh - 1 : self._filled - 1]))
        steps = np.concatenate(self._steps)
        self._steps = [steps]
        stop = self._filled if is_last else self._filled - _MAX_WINDOW
        for place in range(start, stop):
            frame = self._first + place
            if frame and steps[frame] >= self._settings.min_difference:
                self._across[frame] = self._difference_across(place)
                self._needed[frame] = self._threshold(place)
                self._kept[frame] = kept_texture(self._rows[place - 1], self._rows[place])
        self._done = self._first + stop
        kept = min(self._filled, 2 * _MAX_WINDOW)
        self._rows[:kept] = self._rows[self._filled - kept : self._filled]
        self._first += self._filled - kept
        self._filled = kept

    def _difference_across(self, place: int) -> float:
        """Return the least difference between a frame before and one after; `place` counts in the held rows."""
        settings, times = self._settings, self._seconds
        here = self._first + place
        low = here - 1
        while low > 0 and here - low < _MAX_WINDOW and times[here] - times[low - 1] <= settings.before_seconds + 1e-6:
            low -= 1
        low = max(0, min(low, here - settings.min_window_frames))
        high = here + 1
        end = self._first + self._filled
        while high < end and high - here < _MAX_WINDOW and times[high] - times[here] < settings.after_seconds - 1e-6:
            high += 1
        high = min(end, max(high, here + settings.min_window_frames))
        after = self._rows[place : high - self._first]
        before = self._rows[low - self._first : place]
        return min(float(distances(after, row[None]).min()) for row in before[::-1])

    def _threshold(self, place: int) -> float:
        settings = self._settings
        before, after = self._rows[place - 1], self._rows[place]
        spread = min(luma_spread(before), luma_spread(after))
        return min(settings.threshold, max(settings.min_difference, settings.relative_threshold * spread))

    def _choose(self, curve: NDArray[np.float32], steps: NDArray[np.float32]) -> list[tuple[int, float]]:
        times = np.asarray(self._seconds)
        settings = self._settings
        found: list[tuple[int, float]] = []
        for frame in sorted(self._across):
            across = self._across[frame]
            if across < self._needed[frame] or self._kept[frame] > settings.max_kept_texture:
                continue
            usual, kept = self._around(frame, times, steps)
            stays = kept > settings.max_kept_texture and self._kept[frame] <= settings.max_kept_texture / 2
            ratio = settings.ratio_to_figures if stays else settings.ratio
            if across < ratio * (usual + 1):
                continue
            if found and times[frame] - times[found[-1][0]] < settings.min_shot_seconds:
                if across > found[-1][1]:
                    found[-1] = (frame, across)
                continue
            found.append((frame, across))
        return found

    def _around(self, frame: int, times: NDArray[np.float64], steps: NDArray[np.float32]) -> tuple[float, float]:
        """Return the mean of the three largest steps around a frame, and the least texture that was kept in them."""
        reach = self._settings.neighbourhood_seconds
        least = self._settings.min_neighbourhood_frames
        low = min(int(np.searchsorted(times, times[frame] - reach - 1e-6)), frame - least)
        high = max(int(np.searchsorted(times, times[frame] + reach + 1e-6)), frame + least + 1)
        near = [one for one in range(max(1, low), min(high, len(steps))) if one != frame]
        largest = sorted(near, key=lambda one: -steps[one])[:3]
        if not largest:
            return 0.0, 1.0
        return float(np.mean([steps[one] for one in largest])), min(self._kept.get(one, 1.0) for one in largest)
