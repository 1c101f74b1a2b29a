"""What one decoding pass over a film gives, and how it is kept.

Time is exact: a frame is its ordinal, and its presentation time stamp stands in `FilmScan.index`. Ranges are half-open
and absolute in the film; seconds are derived. A scan is written as one file (`save`), so that no later stage decodes
the film again to look at it.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundFeatures
from animeshooter_hf.video import FrameIndex

__all__ = ["Boundary", "BoundaryKind", "FilmScan", "SampledFrame"]

BoundaryKind = Literal["cut", "fade", "dissolve"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """The start of a shot inside a film."""

    frame: int
    """First frame of the new shot; in a transition its middle."""

    score: float
    """How sure the detector is; its own scale."""

    kind: BoundaryKind = "cut"
    """How the picture changes."""

    start_frame: int
    """First frame that the transition touches; equal to `frame` for a cut."""

    end_frame: int
    """Frame after the last one that it touches; equal to `frame` for a cut."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampledFrame:
    """One frame that was kept as a picture."""

    frame: int
    """Ordinal in the film."""

    jpeg: bytes
    """The picture at full size (or at the largest side that the settings allow)."""

    phash: int
    """64-bit perceptual hash of the picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FilmScan:
    """What one pass over a film gives."""

    width: int
    """Of the film, in pixels."""

    height: int
    """Of the film, in pixels."""

    index: FrameIndex
    """When each frame is shown: time stamps, time base, key frames."""

    boundaries: tuple[Boundary, ...]
    """Where shots begin, in order; the first frame of the film is not among them."""

    curve: NDArray[np.float32]
    """Boundary score of every frame, shape (frames,)."""

    samples: tuple[SampledFrame, ...]
    """About one frame per second, more in short films (at least 16 where there are as many), in order."""

    detector: str
    """Which detector found the boundaries, with its version."""

    sound: SoundFeatures | None = None
    """Features of the sound; None where the film has none."""

    problems: tuple[str, ...] = field(default_factory=tuple)
    """What was odd but did no harm, as `code: detail`."""

    @property
    def num_frames(self) -> int:
        """Frames of the film."""
        return len(self.index)
