"""Stories that must lose one mark each: the judge's exam is whether they do.

    wrong_character   another IP's shots under this story's reference and captions: must lose CRC
    shuffled          the shots in another order under the same captions: must lose MCC
    hue_shift         one shot in other colours: must lose MSC
    noise             grain over every frame: must lose OQ

Only the frames that a judge sees are read and changed. The same story is always changed in the same way.

Shape letters used below
    F frames of a shot    H, W rows and columns
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import PictureSettings
from animeshooter_hf.eval.judge.story_pictures import read_shot
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["ATTACKS", "JudgeAttack", "shown_frames"]

HUE_TURN_DEGREES = 120
"""How far the colours of one shot are turned. Our choice: red becomes green, which nobody calls one style."""

NOISE_LEVELS = 48.0
"""Standard deviation of the grain in grey levels. Our choice: the picture can still be read."""

_SMALLEST_CHANGE = 4.0
"""Grey levels, mean over a shot; a turn of hue that changes less (grey pictures) is no attack. Our choice."""

Clip = NDArray[np.uint8]
"""Frames of one shot, shape (F, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class JudgeAttack:
    """One way to make a story worse."""

    dimension: str
    """The mark that must fall."""

    summary: str
    """What it does, in a line."""

    attack: Callable[[StoryPrediction, Sequence[StoryPrediction]], StoryPrediction]
    """Returns the worse story, given all stories as `shown_frames` returns them; raises InputError where it cannot."""


def shown_frames(story: StoryPrediction, settings: PictureSettings) -> StoryPrediction:
    """Return a story that holds only the frames a judge sees, as arrays.

    Raises:
        InputError: If a shot cannot be read.
    """
    return replace(story, shots=tuple(np.stack(read_shot(source, settings)) for source in story.shots))


def _wrong_character(story: StoryPrediction, stories: Sequence[StoryPrediction]) -> StoryPrediction:
    others = [other for other in stories if other.ip_id != story.ip_id]
    if not others:
        raise InputError("All stories are of one IP, so there is no other character.")
    other = others[int(_chance(story).integers(len(others)))]
    return replace(story, shots=tuple(other.shots[index % len(other.shots)] for index in range(len(story.shots))))


def _shuffled(story: StoryPrediction, _: Sequence[StoryPrediction]) -> StoryPrediction:
    if len(story.shots) < 2 or not story.captions:
        raise InputError("A story of one shot, or without captions, has no order to lose.")
    chance, count = _chance(story), len(story.shots)
    order = chance.permutation(count)
    while (order == np.arange(count)).any():
        order = chance.permutation(count)
    return replace(story, shots=tuple(story.shots[index] for index in order))


def _hue_shift(story: StoryPrediction, _: Sequence[StoryPrediction]) -> StoryPrediction:
    if len(story.shots) < 2:
        raise InputError("A story of one shot has one style.")
    chosen = int(_chance(story).integers(len(story.shots)))
    before = _clip(story, chosen)
    after = np.stack([_turn_hue(frame) for frame in before])
    if np.abs(after.astype(np.float32) - before).mean() < _SMALLEST_CHANGE:
        raise InputError("The shot has hardly any colour to turn.")
    return replace(story, shots=(*story.shots[:chosen], after, *story.shots[chosen + 1 :]))


def _noise(story: StoryPrediction, _: Sequence[StoryPrediction]) -> StoryPrediction:
    chance = _chance(story)

    def grain(clip: Clip) -> Clip:
        noise = chance.standard_normal(clip.shape, dtype=np.float32) * np.float32(NOISE_LEVELS)
        return np.clip(np.round(clip + noise), 0, 255).astype(np.uint8)

    return replace(story, shots=tuple(grain(_clip(story, index)) for index in range(len(story.shots))))


ATTACKS: Mapping[str, JudgeAttack] = {
    "wrong_character": JudgeAttack("CRC", "shots of another character under this reference", _wrong_character),
    "shuffled": JudgeAttack("MCC", "shots in another order than their captions", _shuffled),
    "hue_shift": JudgeAttack("MSC", "one shot in other colours", _hue_shift),
    "noise": JudgeAttack("OQ", "grain over every frame", _noise),
}
"""Name -> attack."""


def _clip(story: StoryPrediction, index: int) -> Clip:
    shot = story.shots[index]
    if not isinstance(shot, np.ndarray):
        raise ValueError("An attack needs a story of arrays; see shown_frames.")
    return shot


def _turn_hue(frame_HW3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    hsv_HW3 = np.asarray(cv2.cvtColor(frame_HW3, cv2.COLOR_RGB2HSV_FULL), dtype=np.uint8)
    hsv_HW3[..., 0] += np.uint8(round(256 * HUE_TURN_DEGREES / 360))  # a byte is one full turn
    return np.asarray(cv2.cvtColor(hsv_HW3, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def _chance(story: StoryPrediction) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(story.story_id.encode()).digest()[:16]))
