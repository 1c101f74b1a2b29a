"""Find when single sounds begin and end.

A sound begins where many bands of the spectrum rise at once. It ends where the level has fallen to silence, has lost
`fall_db` from its peak, or where the next sound begins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundFeatures

__all__ = ["EventSettings", "SoundEvent", "sound_events"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventSettings:
    """When something counts as a sound of its own. All our choice, fitted on toon films."""

    rise_db: float = 45.0
    """Rise summed over the bands, within a hop, that begins a sound."""

    apart_seconds: float = 0.06
    """Least distance of two beginnings."""

    silence_db: float = -55.0
    """Level below which nothing is heard."""

    fall_db: float = 40.0
    """A sound has ended when it has lost this much from its peak."""


@dataclass(frozen=True, slots=True)
class SoundEvent:
    """A sound."""

    start_seconds: float
    """When it begins, from the first frame of the picture."""

    end_seconds: float
    """When it ends."""

    rise_db: float
    """How much the bands rose."""

    peak_db: float
    """Its highest level, in dB of full scale."""


def sound_events(features: SoundFeatures, settings: EventSettings | None = None) -> tuple[SoundEvent, ...]:
    """Return the sounds of a track in order of their beginning."""
    settings = settings or EventSettings()
    levels_H, hop = features.arrays["level_db"], features.hop_seconds
    starts = _starts(features.arrays["onset"], levels_H, round(settings.apart_seconds / hop), settings)
    events: list[SoundEvent] = []
    for number, start in enumerate(starts):
        limit = starts[number + 1] if number + 1 < len(starts) else len(levels_H)
        end = _end(levels_H[start:limit], settings) + start
        events.append(
            SoundEvent(
                start_seconds=round((start + 0.5) * hop, 6),
                end_seconds=round(end * hop, 6),
                rise_db=round(float(features.arrays["onset"][start]), 2),
                peak_db=round(float(levels_H[start:end].max()), 2),
            )
        )
    return tuple(events)


def _starts(
    onset_H: NDArray[np.float32], levels_H: NDArray[np.float32], apart: int, settings: EventSettings
) -> list[int]:
    """Return the hops at which sounds begin: the strongest rises, no two nearer than `apart` hops."""
    next_level_H = np.maximum(levels_H, np.append(levels_H[1:], -np.inf))
    candidates = np.flatnonzero((onset_H >= settings.rise_db) & (next_level_H > settings.silence_db))
    chosen: list[int] = []
    taken = np.zeros(len(onset_H) + apart, bool)
    for hop in candidates[np.argsort(-onset_H[candidates], kind="stable")].tolist():
        if not taken[hop]:
            chosen.append(hop)
            taken[max(0, hop - apart + 1) : hop + apart] = True
    return sorted(chosen)


def _end(levels_H: NDArray[np.float32], settings: EventSettings) -> int:
    """Return after how many hops a sound has ended; at least one."""
    peak = int(levels_H[:20].argmax())
    limit = max(settings.silence_db, float(levels_H[peak]) - settings.fall_db)
    below = np.flatnonzero(levels_H[peak:] < limit)
    return max(1, peak + int(below[0]) if len(below) else len(levels_H))
