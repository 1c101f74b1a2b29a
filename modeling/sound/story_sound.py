"""The sound of a whole story, shot by shot: what is asked for, how long, from which noise, and kept for next time.

A shot's sound depends on its prompt, its length, the scorer and its own seed, and on no other shot. Sounds that stand
in the folder already are taken from there, so a run that was stopped goes on, and editing one shot scores one shot.

Shape letters used below
    C channels    T samples
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.sound.scorer import AudioScorer, CallableScorer, as_scorer, checked_sound, sound_seed_for
from animeshooter_hf.records import Shot, Story
from animeshooter_hf.video.sound import audio_frames

__all__ = ["SoundSettings", "iter_sounds", "score_story", "sound_prompt"]

_FORMAT = 1
"""Goes up when the same question is answered with another sound; what was kept is then made anew."""

_NO_SOUND = ("silence", "silent", "none", "no sound")


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundSettings:
    """How the sound of a story is made."""

    sample_rate: int = 44_100
    """Samples per second of what comes back, whatever the model's own rate is."""

    too_long: Literal["loop", "refuse"] = "loop"
    """What to do with a shot longer than the model's longest sound: repeat that sound, or raise. Our choice: repeat."""

    crossfade_seconds: float = 1.0
    """How long the repeated sound's end and beginning overlap, at equal power; at most half of the sound."""

    def __post_init__(self) -> None:
        rate = self.sample_rate
        if isinstance(rate, bool) or not isinstance(rate, int) or not 8_000 <= rate <= 192_000:
            raise InputError(f"sample_rate must be a whole number from 8000 to 192000, got {rate!r}.")
        if self.too_long not in ("loop", "refuse"):
            raise InputError(f'too_long must be "loop" or "refuse", got {self.too_long!r}.')
        if not 0 <= self.crossfade_seconds <= 60:
            raise InputError(f"crossfade_seconds must lie in 0 to 60, got {self.crossfade_seconds!r}.")


def sound_prompt(story: Story, index: int) -> str:
    """Return what a shot should sound like, in words, or "" where nothing is to be heard.

    The shot's annotation is taken if there is one (paper, appendix A.3: type, description, source on screen). Without
    one the text is written from the captions: what happens, then where.
    """
    shot = story.shots[index]
    if shot.audio is None:
        return _prompt_of_captions(story, shot)
    kind = shot.audio.audio_type.strip()
    if kind.lower() in _NO_SOUND:
        return ""
    return " ".join(_sentence(part) for part in (kind, shot.audio.sound_description, shot.audio.visual_context) if part)


def score_story(
    story: Story,
    durations: Sequence[Fraction | float],
    scorer: Any,
    *,
    seed: int = 0,
    settings: SoundSettings | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> list[NDArray[np.float32]]:
    """Return the sound of each shot, stereo float32 of shape (2, T), exactly as long as the shot, rounded to samples.

    Args:
        story: Captions, scenes and sound annotations.
        durations: Seconds of each shot.
        scorer: An `AudioScorer`, a function (prompt, seconds, generator) -> (samples, rate), or None for silence.
        seed: Of the story. Each shot's seed comes from this and its index.
        settings: Rate, and what to do with long shots.
        folder: Where sounds are kept; those that stand there for the same question are not made again.
        progress: Show a bar on stderr.

    Raises:
        InputError: If lengths do not fit the story, a shot is too long and may not be repeated, the scorer returns
            something else than sound, or the folder cannot be written.
    """
    sounds = iter_sounds(story, durations, scorer, seed=seed, settings=settings, folder=folder)
    return list(tqdm(sounds, total=len(story.shots), desc="sound", unit="shot", disable=not progress))


def iter_sounds(
    story: Story,
    durations: Sequence[Fraction | float],
    scorer: Any,
    *,
    seed: int = 0,
    settings: SoundSettings | None = None,
    folder: str | Path | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Yield the sound of each shot when it is ready; all that can be refused is refused before. See `score_story`."""
    settings = settings or SoundSettings()
    chosen = as_scorer(scorer)
    _check_request(story, durations, chosen, seed, settings)
    if folder is not None and isinstance(chosen, CallableScorer) and chosen.name is None:
        raise InputError("Sounds of a function are kept under its name: give CallableScorer(function, name=...).")
    place = None if folder is None else _open_folder(Path(folder))
    return _iter_sounds(story, durations, chosen, seed, settings, place)


def _iter_sounds(
    story: Story,
    durations: Sequence[Fraction | float],
    scorer: AudioScorer,
    seed: int,
    settings: SoundSettings,
    folder: Path | None,
) -> Iterator[NDArray[np.float32]]:
    for index in range(len(story.shots)):
        prompt = sound_prompt(story, index)
        num_samples = round(Fraction(durations[index]) * settings.sample_rate)
        if not prompt:
            yield np.zeros((2, num_samples), np.float32)
            continue
        shot_seed = sound_seed_for(seed, index)
        question = {
            "format": _FORMAT, "prompt": prompt, "num_samples": num_samples, "seed": shot_seed,
            "scorer": dict(scorer.provenance), "settings": asdict(settings),
        }  # fmt: skip
        mark = hashlib.sha256(json.dumps(question, sort_keys=True, default=str).encode()).hexdigest()[:24]
        path = None if folder is None else folder / f"sound_{index:02d}-{mark}.npy"
        sound_CT = _kept(path, num_samples)
        if sound_CT is None:
            sound_CT = _make(scorer, prompt, num_samples, shot_seed, settings, f"shot {index}")
            _keep(path, sound_CT, index)
        yield sound_CT


def _make(
    scorer: AudioScorer, prompt: str, num_samples: int, seed: int, settings: SoundSettings, where: str
) -> NDArray[np.float32]:
    """Return one shot's sound at the story's rate."""
    seconds = num_samples / settings.sample_rate
    asked = seconds if scorer.max_seconds is None else min(seconds, scorer.max_seconds)
    generator = torch.Generator("cpu").manual_seed(seed)
    samples_CT, rate = checked_sound(scorer(prompt, asked, generator), where)
    if not samples_CT.shape[1]:
        raise InputError(f"The scorer returned no samples for {where}.")
    samples_CT = _resampled(samples_CT, rate, settings.sample_rate)
    if samples_CT.shape[0] == 1:
        samples_CT = np.repeat(samples_CT, 2, axis=0)
    if asked < seconds:
        samples_CT = _looped(samples_CT, num_samples, round(settings.crossfade_seconds * settings.sample_rate))
    fitted_CT = np.zeros((2, num_samples), np.float32)
    fitted_CT[:, : samples_CT.shape[1]] = samples_CT[:, :num_samples]
    return fitted_CT


def _looped(samples_CT: NDArray[np.float32], num_samples: int, overlap: int) -> NDArray[np.float32]:
    """Return the sound repeated until it is long enough; each end crosses the next beginning at equal power."""
    length = samples_CT.shape[1]
    overlap = min(overlap, length // 2)
    rise_T = np.sin((np.arange(overlap) + 0.5) * (np.pi / 2 / max(1, overlap))).astype(np.float32)
    step = length - overlap
    times = max(1, math.ceil((num_samples - overlap) / step))
    looped_CT = np.zeros((2, overlap + times * step), np.float32)
    for turn in range(times):
        piece_CT = samples_CT.copy()
        if turn:
            piece_CT[:, :overlap] *= rise_T
        if turn < times - 1:
            piece_CT[:, length - overlap :] *= rise_T[::-1]
        looped_CT[:, turn * step : turn * step + length] += piece_CT
    return looped_CT


def _resampled(samples_CT: NDArray[np.float32], native: int, rate: int) -> NDArray[np.float32]:
    """Return the samples at another rate; the length is the rounded one."""
    if native == rate:
        return samples_CT
    layout = "mono" if samples_CT.shape[0] == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    blocks = [
        block.to_ndarray() for frame in audio_frames(samples_CT, native, 0) for block in resampler.resample(frame)
    ]
    blocks += [block.to_ndarray() for block in resampler.resample(None)]
    length = round(Fraction(samples_CT.shape[1] * rate, native))
    resampled_CT = np.concatenate(blocks, axis=1)[:, :length] if blocks else np.zeros((len(samples_CT), 0), np.float32)
    return np.pad(resampled_CT, ((0, 0), (0, length - resampled_CT.shape[1])))


def _prompt_of_captions(story: Story, shot: Shot) -> str:
    """Return a text about events and place; the narrative caption tells what happens, the other what it looks like."""
    happens = shot.narrative_caption or shot.descriptive_caption or story.storyline
    places = {scene.id: scene.environment or scene.id for scene in story.scenes}
    where = places.get(shot.scene or "", "")
    parts = ["Sound effects and ambience of an animated scene", happens, f"The place: {where}" if where else ""]
    return " ".join(_sentence(part) for part in (*parts, "No speech, no music") if part)


def _sentence(text: str) -> str:
    words = " ".join(text.split())
    return words if words.endswith((".", "!", "?")) else f"{words}."


def _check_request(
    story: Story, durations: Sequence[Fraction | float], scorer: AudioScorer, seed: int, settings: SoundSettings
) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {seed!r}.")
    if len(durations) != len(story.shots):
        raise InputError(
            f"Story {story.story_id} has {len(story.shots)} shots, but {len(durations)} lengths were given."
        )
    for index, seconds in enumerate(durations):
        if isinstance(seconds, bool) or not isinstance(seconds, int | float | Fraction) or not 0 < seconds <= 3600:
            raise InputError(f"The length of shot {index} must be a number of seconds up to 3600, got {seconds!r}.")
        limit = scorer.max_seconds
        if limit is not None and seconds > limit and settings.too_long == "refuse":
            raise InputError(f"Shot {index} lasts {float(seconds):.2f} s, but the sound model makes up to {limit:.2f} s"
                             ' at once; allow too_long="loop", or shorten the shot.')  # fmt: skip


def _open_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".partial-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
    return folder


def _kept(path: Path | None, num_samples: int) -> NDArray[np.float32] | None:
    """Return the sound that stands in the folder, or None if there is none that is whole."""
    if path is None or not path.is_file():
        return None
    try:
        sound_CT = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    is_whole = isinstance(sound_CT, np.ndarray) and sound_CT.dtype == np.float32 and sound_CT.shape == (2, num_samples)
    return sound_CT if is_whole else None


def _keep(path: Path | None, sound_CT: NDArray[np.float32], index: int) -> None:
    """Write the sound under its final name only when it is whole; other sounds of the shot go."""
    if path is None:
        return
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            np.save(file, sound_CT, allow_pickle=False)
        partial.replace(path)
        for stale in path.parent.glob(f"sound_{index:02d}-*.npy"):
            if stale != path:
                stale.unlink()
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
