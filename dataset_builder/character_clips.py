"""A new toon character: a few clips to learn it from, its reference, and a story that no clip tells.

    FOLDER/data             dataset of the clips, each from another story, for `animeshooter train --stage enhance`
    FOLDER/films            their films
    FOLDER/reference.png    the character in the look of the story, cut out (RGBA)
    FOLDER/story.json       the story, for `animeshooter generate`; none of its captions is a clip's
    FOLDER/truth.npy        its true frames, uint8 of shape (S, F, H, W, 3), which a model never sees
    FOLDER/character.json   seeds and words, written last; `read_character_clips` makes the same stories of it again

It stands in this room because it writes a dataset; a model is not needed for it.

Shape letters used above
    S shots    F frames of a shot    H, W rows and columns
"""

import json
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from animeshooter_hf.dataset_builder.compact_dataset import compact_record, write_compact_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon.compact import COMPACT_ATTRIBUTES, COMPACT_COLOURS, CompactSettings, CompactStory
from animeshooter_hf.toon.compact import plan_compact_story as plan

__all__ = ["CharacterClips", "draw_character_clips", "read_character_clips", "write_character_dataset"]

_MOST_CLIPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class CharacterClips:
    """A held-out character, in a story and in clips."""

    story: CompactStory
    """The story that is to be told."""

    clips: tuple[CompactStory, ...]
    """The first shots of stories of other seeds: other places, other looks."""


def draw_character_clips(
    seed: int, *, num_clips: int = 5, settings: CompactSettings | None = None, character_id: str = "Pip"
) -> CharacterClips:
    """Return the character of a seed, from the pool that no training sees, with a story and clips of it.

    The story has the seed after it, and clips those after that whose caption is neither the story's nor another clip's.

    Args:
        seed: Of the character.
        num_clips: Clips. Paper: 5 to 6 to enhance a model by one IP.
        settings: Size and length of the story's shots, which are the clips' too.
        character_id: Its name.

    Raises:
        InputError: If there are to be no clips, or more than there are different ones.
    """
    if not 1 <= num_clips <= _MOST_CLIPS:
        raise InputError(f"num_clips must lie in 1 to {_MOST_CLIPS}, got {num_clips}.")
    settings = settings or CompactSettings()
    who = plan(seed, pool="held_out", character_id=character_id).character
    story = plan(seed + 1, settings=settings, character=who)
    clips: list[CompactStory] = []
    told = set(story.captions)
    for number in count(seed + 2):
        if len(clips) == num_clips:
            return CharacterClips(story=story, clips=tuple(clips))
        clip = _first_shot(plan(number, settings=settings, character=who))
        if not told & set(clip.captions):
            told |= set(clip.captions)
            clips.append(clip)
    raise AssertionError("seeds do not end")


def _first_shot(story: CompactStory) -> CompactStory:
    """Return a story cut off after its first shot."""
    shots = story.plan.shots[:1]
    scenes = tuple(scene for scene in story.plan.scenes if scene.id == shots[0].scene_id)
    return replace(story, plan=replace(story.plan, shots=shots, scenes=scenes), captions=story.captions[:1])


def write_character_dataset(
    folder: Path,
    seed: int,
    *,
    num_clips: int = 5,
    settings: CompactSettings | None = None,
    character_id: str = "Pip",
    overwrite: bool = False,
) -> CharacterClips:
    """Write all that stands above for the character of a seed, and return it; see `draw_character_clips`.

    Raises:
        InputError: If the number of clips cannot be, or `folder/data` is there and may not be replaced.
    """
    drawn = draw_character_clips(seed, num_clips=num_clips, settings=settings, character_id=character_id)
    story, who = drawn.story, drawn.story.character
    try:
        write_compact_dataset(folder, drawn.clips, enlarged=2, overwrite=overwrite)
        Image.fromarray(story.reference()).save(folder / "reference.png")
        np.save(folder / "truth.npy", np.stack([story.frames(shot) for shot in range(len(story.captions))]))
        _write_json(folder / "story.json", compact_record(story).to_json())
        facts = {
            "seed": seed,
            "num_clips": num_clips,
            "character_id": who.id,
            "settings": asdict(story.settings),
            "attributes": {name: getattr(who, name) for name in (*COMPACT_ATTRIBUTES, *COMPACT_COLOURS)},
            "captions": list(story.captions),
            "clip_captions": [clip.captions[0] for clip in drawn.clips],
        }
        _write_json(folder / "character.json", facts)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
    return drawn


def read_character_clips(folder: Path) -> CharacterClips:
    """Return what `write_character_dataset` has written into a folder, drawn again from its seed.

    Raises:
        InputError: If it was not written by it.
    """
    try:
        facts = json.loads((folder / "character.json").read_text(encoding="utf-8"))
        settings = CompactSettings(**facts["settings"])
        drawn = draw_character_clips(
            facts["seed"], num_clips=facts["num_clips"], settings=settings, character_id=facts["character_id"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no character that was drawn: character.json cannot be read.") from error
    if list(drawn.story.captions) != facts["captions"]:
        raise InputError(f"{folder} was drawn by another version of the toon world; draw it anew.")
    return drawn


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
