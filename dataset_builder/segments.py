"""Cut a film into segments of about one minute at shot boundaries, so that no story begins inside a shot.

Source: AnimeShooter, arXiv 2506.03126, section 3: segments of about a minute, at boundaries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Segment", "SegmentSettings", "make_segments"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentSettings:
    """How long a segment is."""

    target_seconds: float = 60.0
    """Length aimed at. Paper: about a minute."""

    def __post_init__(self) -> None:
        if self.target_seconds <= 0:
            raise ValueError(f"target_seconds must be positive, got {self.target_seconds}.")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a film that becomes one story."""

    start_frame: int
    """First frame."""

    end_frame: int
    """Frame after the last one."""


def make_segments(
    boundaries: Sequence[int], num_frames: int, rate: float, settings: SegmentSettings | None = None
) -> list[Segment]:
    """Return segments that tile the film, begin at boundaries, and are as near to the target length as can be.

    The sum of squared distances to the target is the least possible (dynamic programme over the boundaries).

    Args:
        boundaries: First frames of shots, inside the film.
        num_frames: Frames of the film.
        rate: Frames per second.
        settings: Target length.

    Raises:
        ValueError: If the film has no frame, or a boundary lies outside it.
    """
    if num_frames < 1:
        raise ValueError("A film without frames has no segments.")
    target = (settings or SegmentSettings()).target_seconds * rate
    edges = sorted({0, num_frames, *boundaries})
    if edges[0] < 0 or edges[-1] > num_frames:
        raise ValueError(f"Boundaries must lie in 0 to {num_frames}.")
    best = [0.0] + [float("inf")] * (len(edges) - 1)
    origin = [0] * len(edges)
    for end in range(1, len(edges)):
        for start in range(end):
            cost = best[start] + (edges[end] - edges[start] - target) ** 2
            if cost < best[end]:
                best[end], origin[end] = cost, start
    segments: list[Segment] = []
    end = len(edges) - 1
    while end:
        segments.append(Segment(edges[origin[end]], edges[end]))
        end = origin[end]
    return segments[::-1]
