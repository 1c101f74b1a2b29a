"""Which frames of a shot a sample takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from animeshooter_hf.video.reading import FrameIndex

__all__ = ["FrameSampling"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameSampling:
    """Which frames of a shot are taken. A shot that is too short repeats its last frame."""

    num_frames: int | None = None
    """How many; None takes all that the stride or the rate leaves."""

    stride: int = 1
    """Take every n-th frame."""

    frame_rate: float | None = None
    """Take so many frames per second of the shot, whatever its own rate; None takes them as they are."""

    place: Literal["random", "start", "center", "even"] = "random"
    """Where the frames lie: a stretch anywhere, at the start, in the middle; or spread evenly over the whole shot."""

    def __post_init__(self) -> None:
        if self.num_frames is not None and self.num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {self.num_frames}.")
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}.")
        if self.frame_rate is not None and (not self.frame_rate > 0 or self.stride != 1):
            raise ValueError(
                f"frame_rate must be positive and stands without a stride, got {self.frame_rate} and {self.stride}."
            )
        if self.place not in ("random", "start", "center", "even"):
            raise ValueError(f"place must be random, start, center or even, got {self.place!r}.")
        if self.place == "even" and (self.num_frames is None or self.stride != 1 or self.frame_rate is not None):
            raise ValueError("place 'even' needs num_frames, and neither a stride nor a frame_rate.")

    def choose(self, index: FrameIndex, rng: np.random.Generator) -> Sequence[int]:
        """Return ordinals of frames, ascending, `num_frames` of them if that is given.

        Args:
            index: When each frame of the shot is shown.
            rng: Decides where a random stretch lies.
        """
        if self.place == "even" and self.num_frames is not None:
            return [(2 * n + 1) * len(index) // (2 * self.num_frames) for n in range(self.num_frames)]
        if self.frame_rate is not None:
            length, step = index.seconds(len(index)), 1 / self.frame_rate
        else:
            length, step = float(len(index)), float(self.stride)
        count = self.num_frames or max(1, int(np.ceil(length / step - 1e-6)))
        start = self._start(length - (count - 1) * step, rng)
        points = start + step * np.arange(count)
        if self.frame_rate is None:
            frames = points.astype(np.int64)
        else:  # the frame that is on the screen at that time
            ticks = (points + 1e-6) / float(index.time_base) + int(index.pts[0])
            frames = np.searchsorted(index.pts, ticks, side="right") - 1
        return np.clip(frames, 0, len(index) - 1).tolist()

    def _start(self, room: float, rng: np.random.Generator) -> float:
        """Return where a stretch begins that leaves `room` for its first frame, in frames or seconds."""
        if room <= 0 or self.place == "start" or self.num_frames is None:
            return 0.0
        if self.frame_rate is None:
            whole = max(1, int(room))
            return float(rng.integers(whole) if self.place == "random" else (whole - 1) // 2)
        return float(rng.random() * room if self.place == "random" else room / 2)
