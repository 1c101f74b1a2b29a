"""Say what in a film's sound is speech, music, effect or silence, and which parts may go into AnimeShooter-audio.

A voice is a comb of many harmonics; music is several tones that hold their pitch longer than a syllable does. Speech
and music may overlap (somebody speaks over a tune); an effect is what sounds beside both, silence is the rest. Such
features tell clear cases. What is near the limit is `borderline`, for a tagger or an annotator to decide.

Definition: a part counts as speech (or music) when more than `max_covered` of its time is covered by it.

Source: AnimeShooter, arXiv 2506.03126, appendix A.3: segments with long background music or speech are excluded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundFeatures

__all__ = [
    "GateSettings",
    "SoundKind",
    "SoundShares",
    "Stretch",
    "Verdict",
    "judge_shares",
    "sound_shares",
    "sound_stretches",
]

SoundKind = Literal["speech", "music", "effect", "silence"]
"""What is heard."""

Verdict = Literal["keep", "borderline", "speech", "music", "silence"]
"""`keep`, or why a part is left out; `borderline` where features alone do not tell."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSettings:
    """When sound is speech, music or silence, and how much of it is too much. All our choice, fitted on toon films."""

    max_covered: float = 0.5
    """Largest share of a part's time under speech, and under music. Our choice for the paper's "long"."""

    borderline: float = 0.12
    """Shares within this of `max_covered` are borderline."""

    min_confidence: float = 0.6
    """Speech or music that excludes a part but is found with less confidence is borderline."""

    min_sounding: float = 0.05
    """Least share of a part's time that is not silent."""

    voice_db: float = 4.5
    """Ripple of a harmonic comb from which on a hop is voiced."""

    pause_seconds: float = 0.4
    """Shorter pauses are part of speech."""

    min_speech_seconds: float = 0.3
    """Shorter voices are an effect, such as a shout."""

    partials: float = 6.0
    """Tones held at once that make full music; half of it, on the average of a second, is the limit."""

    voice_partials: float = 3.0
    """Tones that a voice itself seems to hold; taken off in and about speech."""

    min_music_seconds: float = 1.5
    """Shorter music is an effect, such as a jingle or a bell; shorter gaps are part of music."""

    silence_db: float = -55.0
    """Level below which nothing is heard."""

    def __post_init__(self) -> None:
        if not 0 < self.max_covered < 1:
            raise ValueError(f"max_covered must lie between 0 and 1, got {self.max_covered}.")
        if not 0 <= self.borderline <= min(self.max_covered, 1 - self.max_covered):
            raise ValueError(f"borderline must lie between 0 and the room about max_covered, got {self.borderline}.")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of one kind of sound."""

    start_seconds: float
    """From the first frame of the picture."""

    end_seconds: float
    """End of it."""

    kind: SoundKind
    """What is heard."""

    confidence: float
    """0.5 at the limit of the kind, 1 at twice the limit and beyond."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundShares:
    """How much of a part is covered by what."""

    speech: float
    """Share of the time under speech, 0 to 1."""

    music: float
    """Share of the time under music."""

    sounding: float
    """Share of the time that is not silent."""

    speech_confidence: float = 1.0
    """Mean confidence of the speech in it; 1 where there is none."""

    music_confidence: float = 1.0
    """Mean confidence of the music in it; 1 where there is none."""


def sound_stretches(features: SoundFeatures, settings: GateSettings | None = None) -> tuple[Stretch, ...]:
    """Return the stretches of a sound track in order of time; only speech and music may overlap.

    Args:
        features: Of the whole track.
        settings: Limits.
    """
    settings = settings or GateSettings()
    hop = features.hop_seconds
    levels = features.arrays["level_db"]
    voice = _voice_score(features, settings)
    is_speech = _cleaned(voice >= 0.5, hop, settings.pause_seconds, settings.min_speech_seconds)
    music = _music_score(features, is_speech, settings)
    is_music = _cleaned(music >= 0.5, hop, settings.min_music_seconds, settings.min_music_seconds)
    is_loud = _cleaned(levels > settings.silence_db, hop, 0.1, 0.02)
    is_effect = is_loud & ~is_speech & ~is_music
    rest = ~(is_speech | is_music | is_effect)
    loudness = np.clip(0.5 + (levels - settings.silence_db) / 40, 0, 1).astype(np.float32)
    layers: tuple[tuple[SoundKind, Mask, NDArray[np.float32]], ...] = (
        ("speech", is_speech, voice),
        ("music", is_music, music),
        ("effect", is_effect, loudness),
        ("silence", rest, 1 - loudness),
    )
    found = [
        Stretch(round(begin * hop, 6), round(end * hop, 6), kind, _confidence(score[begin:end]))
        for kind, mask, score in layers
        for begin, end in _runs(mask)
    ]
    return tuple(sorted(found, key=lambda one: (one.start_seconds, one.end_seconds, one.kind)))


def sound_shares(stretches: Sequence[Stretch], start_seconds: float, end_seconds: float) -> SoundShares:
    """Return how much of a half-open range of time is covered by what; beyond the track there is silence."""
    length = max(end_seconds - start_seconds, 1e-9)
    covered = dict.fromkeys(("speech", "music", "effect", "silence"), 0.0)
    weighted = dict(covered)
    loud: list[tuple[float, float]] = []
    for stretch in stretches:
        overlap = min(end_seconds, stretch.end_seconds) - max(start_seconds, stretch.start_seconds)
        if overlap > 0:
            covered[stretch.kind] += overlap
            weighted[stretch.kind] += overlap * stretch.confidence
            if stretch.kind != "silence":
                loud.append((max(start_seconds, stretch.start_seconds), min(end_seconds, stretch.end_seconds)))
    return SoundShares(
        speech=covered["speech"] / length,
        music=covered["music"] / length,
        sounding=_union(loud) / length,
        speech_confidence=weighted["speech"] / covered["speech"] if covered["speech"] else 1.0,
        music_confidence=weighted["music"] / covered["music"] if covered["music"] else 1.0,
    )


def judge_shares(shares: SoundShares, settings: GateSettings | None = None) -> Verdict:
    """Return whether a part with such shares is kept, left out, or borderline."""
    settings = settings or GateSettings()
    if shares.sounding < settings.min_sounding:
        return "silence"
    verdict: Verdict = "keep"
    for kind, share, confidence in (
        ("speech", shares.speech, shares.speech_confidence),
        ("music", shares.music, shares.music_confidence),
    ):
        is_over = share > settings.max_covered
        if abs(share - settings.max_covered) <= settings.borderline or (
            is_over and confidence < settings.min_confidence
        ):
            verdict = "borderline"
        elif is_over:
            return "speech" if kind == "speech" else "music"
    return verdict


def _voice_score(features: SoundFeatures, settings: GateSettings) -> NDArray[np.float32]:
    """Return 0 to 1 per hop: 0.5 at the limit of a voiced hop."""
    is_heard = features.arrays["level_db"] > settings.silence_db
    return np.where(is_heard, np.clip(features.arrays["voice_db"] / (2 * settings.voice_db), 0, 1), 0)


def _music_score(features: SoundFeatures, is_speech: Mask, settings: GateSettings) -> NDArray[np.float32]:
    """Return 0 to 1 per hop: held tones on the average of a second, 1 for `partials` of them or more."""
    reach = round(0.3 / features.hop_seconds)
    near_speech = np.convolve(is_speech, np.ones(2 * reach + 1), mode="full")[reach : reach + len(is_speech)] > 0
    partials = features.arrays["partials"] - settings.voice_partials * near_speech
    share = np.clip(partials / settings.partials, 0, 1)
    half = max(1, round(0.5 / features.hop_seconds))
    total = np.concatenate([np.zeros(1), np.cumsum(np.pad(share, half), dtype=np.float64)])
    return ((total[2 * half :] - total[: -2 * half])[: len(share)] / (2 * half)).astype(np.float32)


def _cleaned(mask: Mask, hop: float, gap_seconds: float, min_seconds: float) -> Mask:
    """Return the mask with short gaps closed and then short runs taken away."""
    closed = mask.copy()
    for (_, before), (after, _) in pairwise(_runs(mask)):
        if (after - before) * hop < gap_seconds:
            closed[before:after] = True
    for begin, end in _runs(closed):
        if (end - begin) * hop < min_seconds:
            closed[begin:end] = False
    return closed


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """Return the half-open ranges in which a mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _confidence(score: NDArray[np.float32]) -> float:
    return round(float(np.clip(score.mean(), 0, 1)), 4)


def _union(ranges: Sequence[tuple[float, float]]) -> float:
    """Return the time covered by ranges that may overlap."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(ranges):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
