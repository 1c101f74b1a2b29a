"""What is heard in a film, and when: effects of actions and traps, speech, music, and the mix of them all.

The lists are the truth and the mix is made from the lists. An effect begins with the frame in which its cause is
first seen, and ends with its last sample or with its shot, whichever comes first.
"""

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.toon.actions import ACTIONS
from animeshooter_hf.toon.plan import FilmPlan, Placement, ToonShot
from animeshooter_hf.toon.poses import Syllable, syllables
from animeshooter_hf.toon.shot_renderer import ShotRenderer
from animeshooter_hf.toon.sound import note, sound_effect, syllable_sound

__all__ = ["ToonSound", "list_music", "list_sounds", "list_speech", "mix_soundtrack"]

_TRAP_SOUNDS = {"flash": "zap", "whip_pan": "whoosh", "shake": "rumble", "sweep": "whoosh"}
_SCALE = (0, 2, 4, 7, 9)
_CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
_FADE_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonSound:
    """An effect in a film."""

    kind: str
    """Name of the effect."""

    start_seconds: float
    """When it begins, from the start of the film."""

    end_seconds: float
    """When it ends."""

    start_frame: int
    """The frame with which it begins."""

    shot_index: int
    """The shot in which it is."""

    character_id: str | None
    """Who makes it, or None for what the camera meets."""

    pan: float
    """0 left to 1 right."""


def list_sounds(plan: FilmPlan) -> list[ToonSound]:
    """Return all effects of a film in order of time."""
    rate = float(plan.settings.frame_rate)
    sounds = []
    for shot in plan.shots:
        renderer = ShotRenderer(plan, shot)
        for placement in shot.placements:
            for cue in ACTIONS[placement.action].cues(shot.num_frames / rate):
                frame = shot.frame_showing(cue.seconds, rate)
                pan = renderer.horizontal_position(placement, frame)
                sounds += _sound(plan, shot, cue.kind, frame, placement.character_id, pan)
        if shot.trap.kind in _TRAP_SOUNDS:
            sounds += _sound(plan, shot, _TRAP_SOUNDS[shot.trap.kind], shot.trap.start_frame, None, 0.5)
    return sorted(sounds, key=lambda sound: (sound.start_frame, sound.kind, sound.character_id or ""))


def list_speech(plan: FilmPlan) -> list[tuple[float, float]]:
    """Return the stretches in which somebody speaks, in seconds of the film."""
    stretches: list[tuple[float, float]] = []
    for start, syllable, _, _ in sorted(_spoken(plan), key=lambda row: row[0]):
        begin, end = float(start), float(start) + syllable.length_seconds
        if stretches and begin - stretches[-1][1] < 0.4:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], end))
        else:
            stretches.append((begin, end))
    return [(round(begin, 6), round(end, 6)) for begin, end in stretches]


def list_music(plan: FilmPlan) -> list[tuple[float, float]]:
    """Return the stretches with background music, in seconds of the film."""
    rate = plan.settings.frame_rate
    stretches = []
    for story in plan.stories:
        random = Random(f"{plan.seed}/{story.index}/music")
        start, end = seconds_at(story.start_frame, rate), seconds_at(story.end_frame, rate)
        if random.random() < 0.6 and end - start > 3:
            share = random.uniform(0.25, 0.6)
            begin = start + random.uniform(0, 1 - share) * (end - start)
            stretches.append((round(begin, 3), round(begin + share * (end - start), 3)))
    return stretches


def mix_soundtrack(plan: FilmPlan) -> NDArray[np.float32]:
    """Return the sound of a film: shape (2, T) in [-1, 1], T exactly the film's length."""
    rate = plan.settings.audio_sample_rate
    mix = np.zeros((2, plan.settings.num_samples), np.float32)
    for number, sound in enumerate(list_sounds(plan)):
        wave = sound_effect(sound.kind, number % 4, rate)
        start = round(sound.start_frame / plan.settings.frame_rate * rate)
        _add(mix, _cut(wave, round(sound.end_seconds * rate) - start, rate), start, sound.pan, 0.8)
    for start_seconds, syllable, placement, pan in _spoken(plan):
        voice = syllable_sound(
            syllable.length_seconds, syllable.vowel, syllable.pitch * _voice_hz(placement.character_id), rate
        )
        _add(mix, voice, round(start_seconds * rate), pan, 0.9)
    for number, (begin, end) in enumerate(list_music(plan)):
        _add_music(mix, Random(f"{plan.seed}/{number}/tune"), begin, end, rate)
    return np.clip(mix, -1, 1)


def _sound(
    plan: FilmPlan, shot: ToonShot, kind: str, frame: int, character_id: str | None, pan: float
) -> list[ToonSound]:
    """Return one sound, or none if its frame lies beyond the shot."""
    if frame >= shot.num_frames:
        return []
    rate, sample_rate = plan.settings.frame_rate, plan.settings.audio_sample_rate
    start = seconds_at(shot.start_frame + frame, rate)
    length = len(sound_effect(kind, 0, sample_rate)) / sample_rate
    return [
        ToonSound(
            kind=kind,
            start_seconds=start,
            end_seconds=min(start + length, seconds_at(shot.end_frame, rate)),
            start_frame=shot.start_frame + frame,
            shot_index=shot.index,
            character_id=character_id,
            pan=min(max(pan, 0.0), 1.0),
        )
    ]


def _spoken(plan: FilmPlan) -> list[tuple[Fraction, Syllable, Placement, float]]:
    """Return (start in the film, syllable, who, pan) for everything that is said."""
    rate = plan.settings.frame_rate
    rows = []
    for shot in plan.shots:
        for placement in shot.placements:
            if not ACTIONS[placement.action].speaks:
                continue
            renderer = ShotRenderer(plan, shot)
            for syllable in syllables(placement.key, shot.num_frames / float(rate)):
                frame = shot.frame_showing(syllable.start_seconds, float(rate))
                start = Fraction(shot.start_frame + frame) / rate
                if start + Fraction(syllable.length_seconds) <= Fraction(shot.end_frame) / rate:
                    rows.append((start, syllable, placement, renderer.horizontal_position(placement, frame)))
    return rows


def _voice_hz(character_id: str) -> float:
    """Return the pitch of somebody's voice; it goes by the name, never by the looks."""
    return 150 + 190 * hashlib.sha256(character_id.encode()).digest()[0] / 255


def _cut(wave: NDArray[np.float32], length: int, rate: int) -> NDArray[np.float32]:
    """Return the start of a wave, faded out if it had to be cut."""
    if length >= len(wave):
        return wave
    kept = wave[: max(length, 0)].copy()
    fade = min(len(kept), round(_FADE_SECONDS * rate))
    if fade:
        kept[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return kept


def _add(mix: NDArray[np.float32], wave: NDArray[np.float32], start: int, pan: float, level: float) -> None:
    """Add a wave from a sample on, with equal power between left and right."""
    kept = wave[: max(0, mix.shape[1] - start)]
    angle = (0.25 + 0.5 * min(max(pan, 0.0), 1.0)) * math.pi / 2
    for channel, share in enumerate((math.cos(angle), math.sin(angle))):
        mix[channel, start : start + len(kept)] += np.float32(level * share * math.sqrt(2)) * kept


def _add_music(mix: NDArray[np.float32], random: Random, begin: float, end: float, rate: int) -> None:
    """Add a tune over four chords; nothing of it sounds outside [begin, end)."""
    beat = 60 / random.choice((84, 96, 108, 120))
    root, timbre = random.randint(55, 64), random.choice((0, 1))
    tune = [random.choice(_SCALE) + random.choice((0, 12)) for _ in range(16)]
    rests = [random.random() < 0.3 for _ in range(16)]
    size = round(end * rate) - round(begin * rate)
    music = np.zeros((2, size), np.float32)
    for number in range(math.ceil((end - begin) / beat)):
        start = round(number * beat * rate)
        if number % 4 == 0:
            for tone in _CHORDS[number // 4 % 4]:
                _add(music, note(root - 12 + tone, round(4 * beat, 4), 2, rate), start, 0.5, 0.1)
        if not rests[number % 16]:
            _add(music, note(root + tune[number % 16], round(1.8 * beat, 4), timbre, rate), start, 0.5, 0.16)
    fade = min(size, round(0.4 * rate))
    music[:, size - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    first = round(begin * rate)
    kept = music[:, : max(0, mix.shape[1] - first)]
    mix[:, first : first + kept.shape[1]] += kept
