"""Stories that cheat: what a naive score rewards and a control must flag.

Each attack takes a true story and returns it with other shots: a still for a film, one shot for all, the reference
pasted in, another story's film, noise. They are the adversarial rows of a leaderboard and the exam of
`shot_controls`. The same seed gives the same attack, whatever the order of the stories.

A shot that came as a file comes back as the bytes of an mp4 of the same size and rate, silent; one that came as an
array comes back as an array. A shot that cannot be read stays as it is, and fails when it is scored.

Shape letters used below
    T frames of the shot    H, W rows and columns
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.shot_media import read_picture
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, StoryPrediction
from animeshooter_hf.video.reading import FrameCursor, probe, to_rgb
from animeshooter_hf.video.writing import VideoWriter

__all__ = ["ATTACKS", "Attack", "attack_stories"]

NOISE_LEVELS = 12
"""Grey levels, up or down, of the noise that is laid over a still to make it seem to move. Our choice."""

PASTED_HEIGHT, STICKER_HEIGHT = 0.96, 0.62
"""Height of the pasted reference as a part of the frame's. Our choice."""

ZOOM_RANGE = (1.15, 1.4)
"""Zoom at the end of a Ken-Burns still; it begins between 1.05 and 1.1. Our choice: what photo films use."""

_OPAQUE = 127

Clip = NDArray[np.uint8]
"""Frames of a shot, shape (T, H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to cheat."""

    kind: str
    """What the user writes."""

    summary: str
    """What it does, in a line."""

    expected: tuple[str, ...]
    """Controls that must flag it in every story; others may too, such as "duplicate" where every shot shows the same
    reference. None for shuffled shots: with one scene and one character every order fits the script."""


ATTACKS: Mapping[str, Attack] = {
    attack.kind: attack
    for attack in (
        Attack("frozen", "the first frame of each shot stands still", ("static",)),
        Attack("frozen_noise", "a still with noise that changes from frame to frame", ("static",)),
        Attack("ken_burns", "a camera pans and zooms over the first frame", ("static",)),
        Attack("repeated", "the first shot is every shot", ("duplicate",)),
        Attack("pasted", "the reference on white", ("copy_paste",)),
        Attack("sticker", "the reference pasted on the true shots", ("copy_paste",)),
        Attack("wrong_character", "the shots of another character's story", ("wrong_character",)),
        Attack("shuffled", "the frames of each shot in random order", ("shuffled",)),
        Attack("shuffled_shots", "the shots whole, none in its place; `order_fit` tells over a corpus", ()),
        Attack("noise", "random pixels", ("noise",)),
    )
}
"""Kind -> attack."""


def attack_stories(predictions: Iterable[StoryPrediction], kind: str, seed: int = 0) -> Iterator[StoryPrediction]:
    """Yield every story attacked, with its IDs, references, captions and schedule left as they are.

    Args:
        predictions: True stories.
        kind: One of `ATTACKS`.
        seed: Chance of the attack.

    Raises:
        InputError: If there is no such attack, a story has no reference to paste, or no story of another character.

    Example:
        results = evaluate_stories(attack_stories(read_predictions("bench"), "frozen"))
    """
    if kind not in ATTACKS:
        raise InputError(f"There is no attack {kind!r}. Attacks: {', '.join(ATTACKS)}.")
    if kind == "wrong_character":
        stories = list(predictions)
        for story in stories:
            yield _with_shots(story, _another_film(story, stories, seed))
        return
    for story in predictions:
        yield _with_shots(story, _attacked_shots(story, kind, seed))


def _with_shots(story: StoryPrediction, shots: Sequence[ShotSource]) -> StoryPrediction:
    """Return the story with other shots; what was known of where characters are no longer holds."""
    return replace(story, shots=tuple(shots), regions=())


def _attacked_shots(story: StoryPrediction, kind: str, seed: int) -> list[ShotSource]:
    shots = list(story.shots)
    chance = _chance(seed, kind, story.story_id)
    if kind == "repeated":
        return [shots[0]] * len(shots)
    if kind == "shuffled_shots":
        return [shots[index] for index in _derangement(len(shots), chance)]
    if kind in ("pasted", "sticker"):
        return [
            _change(shot, _paster(read_picture(_reference(story, index)), on_white=kind == "pasted"))
            for index, shot in enumerate(shots)
        ]
    change = _CHANGES[kind]
    return [
        _change(shot, partial(change, chance=_chance(seed, kind, f"{story.story_id}/{index}")))
        for index, shot in enumerate(shots)
    ]


def _frozen(clip: Clip, chance: np.random.Generator) -> Clip:
    del chance
    return np.repeat(clip[:1], len(clip), axis=0)


def _frozen_with_noise(clip: Clip, chance: np.random.Generator) -> Clip:
    frames = [
        np.clip(clip[0] + chance.integers(-NOISE_LEVELS, NOISE_LEVELS + 1, clip[0].shape, np.int16), 0, 255)
        for _ in clip
    ]
    return np.stack(frames).astype(np.uint8)


def _ken_burns(clip: Clip, chance: np.random.Generator) -> Clip:
    """Return a film of one picture: the window shrinks and wanders, both evenly."""
    height, width = clip.shape[1:3]
    zooms = np.linspace(chance.uniform(1.05, 1.1), chance.uniform(*ZOOM_RANGE), len(clip))
    start, end = chance.uniform(0.1, 0.9, (2, 2))
    frames = []
    for share, zoom in zip(np.linspace(0, 1, len(clip)), zooms, strict=True):
        place = start + (end - start) * share
        left, top = place * (1 - 1 / zoom) * np.array([width, height])
        window = np.array([[1 / zoom, 0, left], [0, 1 / zoom, top]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        frames.append(cv2.warpAffine(clip[0], window, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))
    return np.stack(frames).astype(np.uint8)


def _shuffled(clip: Clip, chance: np.random.Generator) -> Clip:
    return clip[chance.permutation(len(clip))]


def _noise(clip: Clip, chance: np.random.Generator) -> Clip:
    return chance.integers(0, 256, clip.shape, np.uint8)


_CHANGES: Mapping[str, Callable[..., Clip]] = {
    "frozen": _frozen,
    "frozen_noise": _frozen_with_noise,
    "ken_burns": _ken_burns,
    "shuffled": _shuffled,
    "noise": _noise,
}


def _reference(story: StoryPrediction, shot_index: int) -> Picture:
    """Return the reference of whom the shot should show, or the story's first one."""
    if not story.references:
        raise InputError(f"Story {story.story_id} has no reference that could be pasted. Leave it out of this attack.")
    scheduled = story.schedule[shot_index]
    fitting = [
        picture
        for name, picture in zip(story.characters, story.references, strict=True)
        if scheduled and name == scheduled[0]
    ]
    return fitting[0] if fitting else story.references[0]


def _paster(picture: NDArray[np.uint8], *, on_white: bool) -> Callable[[Clip], Clip]:
    """Return what pastes a reference into the middle of every frame, or puts it on white."""
    alpha = picture[..., 3:] if picture.shape[2] == 4 else np.full((*picture.shape[:2], 1), 255, np.uint8)
    rows, columns = (np.flatnonzero((alpha[..., 0] > _OPAQUE).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise InputError("The reference is fully transparent and cannot be pasted.")
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cutout, cover = picture[box][..., :3], alpha[box]

    def paste(clip: Clip) -> Clip:
        height, width = clip.shape[1:3]
        scale = min((PASTED_HEIGHT if on_white else STICKER_HEIGHT) * height / cutout.shape[0], width / cutout.shape[1])
        size = (max(1, int(cutout.shape[1] * scale)), max(1, int(cutout.shape[0] * scale)))
        colours = cv2.resize(cutout, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        weight = cv2.resize(cover[..., 0], size, interpolation=cv2.INTER_AREA)[..., None] / np.float32(255)
        top, left = (height - size[1]) // 2, (width - size[0]) // 2
        pasted = np.full_like(clip, 255) if on_white else clip.copy()
        for frame in pasted:
            place = frame[top : top + size[1], left : left + size[0]]
            place[:] = np.round(colours * weight + place * (1 - weight))
        return pasted

    return paste


def _another_film(story: StoryPrediction, stories: Sequence[StoryPrediction], seed: int) -> list[ShotSource]:
    """Return as many shots of a story of another IP, which chance chooses; a short one begins anew."""
    others = sorted((one for one in stories if one.ip_id != story.ip_id), key=lambda one: one.story_id)
    if not others:
        raise InputError("The attack wrong_character needs stories of at least two IPs.")
    other = others[_chance(seed, "wrong_character", story.story_id).integers(len(others))]
    return [other.shots[index % len(other.shots)] for index in range(len(story.shots))]


def _derangement(length: int, chance: np.random.Generator) -> list[int]:
    """Return an order in which no shot keeps its place; one shot alone does."""
    if length < 2:
        return [0] * length
    while True:
        order = chance.permutation(length)
        if (order != np.arange(length)).all():
            return [int(index) for index in order]


def _chance(seed: int, kind: str, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}/{kind}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _change(source: ShotSource, change: Callable[[Clip], Clip]) -> ShotSource:
    """Return the shot with other frames, in the form in which it came; one that cannot be read as it is."""
    if isinstance(source, np.ndarray):
        return change(source) if len(source) else source
    try:
        rate = probe(source).frame_rate
        with FrameCursor(source) as cursor:
            clip = np.stack([to_rgb(frame) for _, frame in cursor.frames(0, len(cursor.index))])
    except InputError:
        return source
    return _to_mp4(change(clip), rate)


def _to_mp4(clip: Clip, rate: Fraction) -> bytes:
    with VideoWriter(None, clip.shape[2], clip.shape[1], rate) as writer:
        for frame in clip:
            writer.write_frame(frame)
    return writer.getvalue()
