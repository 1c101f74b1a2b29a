"""Cut a segment where picture *and* sound change together, into audio shots longer than 3 seconds.

An audio shot is a union of neighbouring picture shots, so its ends are cuts of the picture and exact to the frame. A
cut is joint if what is heard in the seconds before it differs from what is heard after it: in loudness, in colour, or
because one side is silent. From left to right, an audio shot ends at the first joint cut that makes it long enough;
what is left at the end and too short joins the last one. No other choice of joint cuts gives more audio shots.

Source: AnimeShooter, arXiv 2506.03126, appendix A.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundFeatures
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.video import FrameIndex

__all__ = ["AudioShot", "JointSettings", "SoundChange", "joint_shots", "sound_change", "true_joint_shots"]


_STEADY_SHARE = 0.15
_SPECTRUM_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class JointSettings:
    """When picture and sound change together. All our choice but the length, fitted on toon films."""

    min_seconds: float = 3.0
    """Audio shots are longer than this. Paper: 3."""

    window_seconds: float = 3.0
    """How far to either side of a cut the sound is compared; never beyond the next cut."""

    silence_db: float = -55.0
    """Level below which nothing is heard."""

    min_sounding: float = 0.02
    """A side that sounds for less than this share of its time is silent."""

    level_db: float = 6.0
    """Difference of the mean levels that is one whole change."""

    timbre_db: float = 3.5
    """Difference of the spectra that is one whole change."""

    min_change: float = 1.0
    """A cut with at least this much change in all is joint."""

    def __post_init__(self) -> None:
        for name in ("min_seconds", "window_seconds", "level_db", "timbre_db"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundChange:
    """How the sound changes at a cut of the picture."""

    frame: int
    """First frame after the cut."""

    sounding_before: float
    """Share of the time before it that is not silent."""

    sounding_after: float
    """The same after it."""

    level_db: float
    """Difference of the mean levels of what sounds; 0 if a side is silent."""

    timbre_db: float
    """Difference of the spectra of what sounds; 0 if a side is silent."""

    score: float
    """Changes in units of the settings; joint from `JointSettings.min_change` on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioShot:
    """A part of a segment between two joint changes."""

    start_frame: int
    """First frame, counted in the film."""

    end_frame: int
    """Frame after the last one."""

    start_seconds: float
    """When it begins, from the first frame of the picture."""

    end_seconds: float
    """When it ends."""

    cuts: tuple[int, ...]
    """Frames of the cuts inside it, at which it was not divided."""

    change: SoundChange | None
    """The change with which it begins; None at the start of the segment."""


def joint_shots(
    boundaries: Sequence[int],
    index: FrameIndex,
    features: SoundFeatures,
    settings: JointSettings | None = None,
    *,
    segment: Segment | None = None,
) -> list[AudioShot]:
    """Return the audio shots that tile a segment.

    Args:
        boundaries: First frames of the picture's shots; those outside the segment are not looked at.
        index: Time of the film.
        features: Of its sound.
        settings: Limits.
        segment: Which frames; the whole film if None. One that is not longer than `min_seconds` has no audio shot.

    Raises:
        ValueError: If the segment does not lie in the film.
    """
    settings = settings or JointSettings()
    segment = segment or Segment(0, len(index))
    if not 0 <= segment.start_frame < segment.end_frame <= len(index):
        raise ValueError(f"Frames {segment.start_frame} to {segment.end_frame} do not lie in {len(index)} frames.")
    cuts = sorted({frame for frame in boundaries if segment.start_frame < frame < segment.end_frame})
    edges = [segment.start_frame, *cuts, segment.end_frame]
    times = [index.seconds(frame) for frame in edges]
    changes = {
        frame: sound_change(features, frame, times[number], times[number + 1], times[number + 2], settings)
        for number, frame in enumerate(cuts)
    }
    joint = [frame for frame in cuts if changes[frame].score >= settings.min_change]
    ends = _choose(joint, segment, index, settings.min_seconds)
    starts = [segment.start_frame, *ends[:-1]] if ends else []
    return [
        AudioShot(
            start_frame=start,
            end_frame=end,
            start_seconds=index.seconds(start),
            end_seconds=index.seconds(end),
            cuts=tuple(frame for frame in cuts if start < frame < end),
            change=changes.get(start),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def sound_change(
    features: SoundFeatures,
    frame: int,
    before_seconds: float,
    cut_seconds: float,
    after_seconds: float,
    settings: JointSettings | None = None,
) -> SoundChange:
    """Return how the sound changes at a cut, from the shot before it to the shot after it.

    Args:
        features: Of the film's sound.
        frame: First frame after the cut.
        before_seconds: Start of the shot before the cut.
        cut_seconds: The cut.
        after_seconds: End of the shot after the cut.
        settings: Limits and units.
    """
    settings = settings or JointSettings()
    window = settings.window_seconds
    spans = [
        slice(round(begin / features.hop_seconds), round(end / features.hop_seconds))
        for begin, end in (
            (max(before_seconds, cut_seconds - window), cut_seconds),
            (cut_seconds, min(after_seconds, cut_seconds + window)),
        )
    ]
    bands_HB = features.bands()
    sides = [10 ** (bands_HB[span].astype(np.float64) / 10) for span in spans]
    steady_B = np.quantile(np.concatenate(sides), _STEADY_SHARE, axis=0) if sum(map(len, sides)) else 0.0
    before, after = (
        _side(features.arrays["level_db"][span], power_HB, steady_B, settings)
        for span, power_HB in zip(spans, sides, strict=True)
    )
    level_db = timbre_db = 0.0
    if before.is_silent or after.is_silent:
        score = 0.0 if before.is_silent and after.is_silent else 2 * settings.min_change
    else:
        level_db = abs(before.level_db - after.level_db)
        timbre_db = float(np.sqrt(np.mean(np.square(before.spectrum_B - after.spectrum_B))))
        score = max(level_db / settings.level_db, timbre_db / settings.timbre_db)
    return SoundChange(
        frame=frame,
        sounding_before=round(before.sounding, 4),
        sounding_after=round(after.sounding, 4),
        level_db=round(level_db, 3),
        timbre_db=round(timbre_db, 3),
        score=round(score, 4),
    )


def true_joint_shots(
    script: Mapping[str, Any], settings: JointSettings | None = None, *, segment: Segment | None = None
) -> list[tuple[int, int]]:
    """Return the audio shots of a toon film as half-open ranges of frames, from its script alone.

    A cut is truly joint if the kinds of sounds (speech is one, background music is none) that are heard in the
    `window_seconds` before it, back to the cut before, are others than those after it. The audio shots follow from
    the joint cuts by the rule at the top of this file.

    Args:
        script: With `boundaries`, `sounds`, `speech`, `frame_rate` and `num_frames`.
        settings: Limits.
        segment: Which frames; the whole film if None.
    """
    settings = settings or JointSettings()
    rate = Fraction(script["frame_rate"])
    segment = segment or Segment(0, int(script["num_frames"]))
    cuts = [int(one["frame"]) for one in script["boundaries"]]
    cuts = [frame for frame in cuts if segment.start_frame < frame < segment.end_frame]
    edges = [segment.start_frame, *cuts, segment.end_frame]
    heard = [("speech", float(begin), float(end)) for begin, end in script["speech"]]
    heard += [(str(one["kind"]), float(one["start_seconds"]), float(one["end_seconds"])) for one in script["sounds"]]

    def kinds(begin: float, end: float) -> set[str]:
        return {kind for kind, start, stop in heard if min(end, stop) - max(begin, start) > 0.02}

    joint: list[int] = []
    for number, frame in enumerate(cuts):
        before, cut, after = (float(one / rate) for one in edges[number : number + 3])
        window = settings.window_seconds
        if kinds(max(before, cut - window), cut) != kinds(cut, min(after, cut + window)):
            joint.append(frame)
    index = _Rate(rate)
    ends = _choose(joint, segment, index, settings.min_seconds)
    return list(zip([segment.start_frame, *ends[:-1]], ends, strict=True)) if ends else []


@dataclass(frozen=True, slots=True)
class _Rate:
    """Time of a film of constant rate, as far as `_choose` needs it."""

    rate: Fraction

    def seconds(self, frame: int) -> float:
        return float(frame / self.rate)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Side:
    """What is heard on one side of a cut."""

    sounding: float
    is_silent: bool
    level_db: float = 0.0
    spectrum_B: NDArray[np.float64]


def _side(
    levels_H: NDArray[np.float32],
    power_HB: NDArray[np.float64],
    steady_B: NDArray[np.float64] | float,
    settings: JointSettings,
) -> _Side:
    """Return what is heard on one side, less what sounds all the time on both (a tune, a hum)."""
    is_heard = levels_H > settings.silence_db
    sounding = float(is_heard.mean()) if len(is_heard) else 0.0
    if sounding < settings.min_sounding:
        return _Side(sounding=sounding, is_silent=True, spectrum_B=np.zeros(power_HB.shape[1]))
    power_B = np.maximum(power_HB[is_heard] - steady_B, 0).mean(axis=0) + 1e-9
    return _Side(
        sounding=sounding,
        is_silent=False,
        level_db=float(10 * np.log10(power_B.sum())),
        spectrum_B=10 * np.log10(power_B / power_B.sum() + _SPECTRUM_FLOOR),
    )


def _choose(joint: Sequence[int], segment: Segment, index: FrameIndex | _Rate, min_seconds: float) -> list[int]:
    """Return the ends of the audio shots, from left to right; none if the segment is too short."""
    ends: list[int] = []
    start = segment.start_frame
    for frame in (*joint, segment.end_frame):
        if index.seconds(frame) - index.seconds(start) > min_seconds:
            ends.append(frame)
            start = frame
    if ends:
        ends[-1] = segment.end_frame
    return ends
