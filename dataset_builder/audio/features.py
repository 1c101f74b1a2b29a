"""Cheap features of a film's sound, gathered inside the pass that decodes its picture.

PLACEHOLDER OF THE CONTRACT: the owner of `audio/` writes the real body of this file first.
"""

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["SoundAccumulator", "SoundFeatures"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SoundFeatures:
    """Features of a sound track, one row per hop, counted from the first frame of the picture."""

    hop_seconds: float
    """Distance of two rows."""

    arrays: dict[str, NDArray[np.float32]]
    """Name -> one value per hop."""


class SoundAccumulator:
    """Takes the decoded frames of a sound track in order."""

    def __init__(self, origin_seconds: Fraction) -> None:
        """Begin; `origin_seconds` is the time stamp of the picture's first frame, which becomes second 0."""

    def add(self, frame: av.AudioFrame) -> None:
        """Take a decoded frame."""

    def finish(self) -> SoundFeatures | None:
        """Return the features, or None if no frame came."""
