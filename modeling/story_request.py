"""What a user asks for, checked before anything heavy happens.

A story may come as a record, as a row of the `stories` config, or as plain captions; references as one picture or as
a list for each character. All of it ends in one `StoryRequest`.

A caption binds a character by name, and may mark the name so that a slip of the pen is found: "<Mia> runs past <Rex>."
The MLLM reads the names without the marks, as it reads them before the reference images. In a list of captions that
has marks, a shot shows the characters that its caption marks; without any, every shot shows all of them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import logging
from PIL import Image, ImageOps, UnidentifiedImageError

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.generation_settings import (
    GenerationSettings,
    ShotSettings,
    ShotSettingsInput,
    read_shot_settings,
)
from animeshooter_hf.modeling.prompt_layout import fit_image
from animeshooter_hf.records import Character, Shot, Story

__all__ = [
    "GenerationSettings",
    "ReferenceImages",
    "ShotSettings",
    "ShotSettingsInput",
    "StoryInput",
    "StoryRequest",
    "make_request",
    "read_image",
    "with_caption",
]

logger = logging.get_logger(__name__)

StoryInput = Story | Mapping[str, Any] | Sequence[str]
"""A story, a row of the `stories` config or its JSON form, or one caption per shot."""

ReferenceImages = Mapping[str, Any] | Image.Image | Sequence[Image.Image] | None
"""Character's name -> image or images; or the image or images of the only character; or none at all."""

_LARGEST_ASPECT = 50
"""Longer side over shorter side above which an image is refused; image processors break far above. Our choice."""

_LARGEST_REFERENCE = 2048 * 2048
"""Pixels to which larger references are shrunk when they come in; no model sees more. Our choice."""

_MARKED_NAME = re.compile(r"<(\w[^<>|/=\"]{0,63})>")


@dataclass(frozen=True, slots=True, eq=False)
class StoryRequest:
    """A story and its references, checked against each other."""

    story: Story
    """At least one shot, each with a caption and declared characters only."""

    references: Mapping[str, tuple[Image.Image, ...]]
    """Character's name -> images, in the order of the story's cast."""

    shot_settings: Mapping[int, ShotSettings] = field(default_factory=dict)
    """Index -> settings of the shots that have some of their own."""


def make_request(
    story: StoryInput,
    reference_images: ReferenceImages,
    *,
    max_shots: int,
    require_references: bool = True,
    shot_settings: ShotSettingsInput = None,
) -> StoryRequest:
    """Return the checked request.

    Args:
        story: See `StoryInput`.
        reference_images: See `ReferenceImages`. Arrays (uint8, H x W x 3) and paths do as well as PIL images.
        max_shots: Most shots that a story may have.
        require_references: Refuse a character who appears in a shot and has no reference.
        shot_settings: What single shots have of their own.

    Raises:
        InputError: If something is missing, unknown, or no image; the message names it.
    """
    given = _as_mapping(story, reference_images)
    record = _as_story(story, tuple(given))
    if not record.shots:
        raise InputError(f"Story {record.story_id} has no shots.")
    if len(record.shots) > max_shots:
        raise InputError(f"Story {record.story_id} has {len(record.shots)} shots; at most {max_shots} are possible.")
    record = _without_marks(record, only_marked=isinstance(story, Sequence))
    cast = [character.id for character in record.characters]
    for shot in record.shots:
        if not shot.caption.strip():
            raise InputError(f"Shot {shot.index} of story {record.story_id} has no caption.")
        for name in shot.characters:
            if name not in cast:
                raise InputError(f"Shot {shot.index} names the character {name!r}, whom the story does not declare"
                                 f" (declared: {', '.join(cast) or 'nobody'}).")  # fmt: skip
    for name in given:
        if name not in cast:
            raise InputError(f"A reference is for {name!r}, but the story declares {', '.join(cast) or 'nobody'}.")
    references = {name: _read_references(name, given[name]) for name in cast if name in given}
    seen = {name for shot in record.shots for name in shot.characters}
    missing = [name for name in cast if name in seen and name not in references]
    if missing and require_references:
        raise InputError(f"The character {missing[0]!r} has no reference image. Give one, or allow missing references"
                         " to have the character drawn from words alone.")  # fmt: skip
    return StoryRequest(record, references, read_shot_settings(shot_settings, len(record.shots)))


def read_image(value: Any, what: str) -> Image.Image:
    """Return the image that a value is, in RGB, or RGBA where a part is transparent.

    Args:
        value: A PIL image, a uint8 array (H, W, 3 or 4), or a path.
        what: What it is, for messages.

    Raises:
        InputError: If it is none of these, cannot be read, or is far too narrow.
    """
    if isinstance(value, str | Path):
        try:
            with Image.open(value) as opened:
                value = ImageOps.exif_transpose(opened)
                value.load()
        except FileNotFoundError as error:
            raise InputError(f"{what}: there is no file {value}.") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{what}: {value} is no image that can be read.") from error
    elif isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] not in (3, 4) or 0 in value.shape:
            raise InputError(f"{what} must be uint8 of shape (H, W, 3 or 4), got {value.dtype} {value.shape}.")
        value = Image.fromarray(value)
    if not isinstance(value, Image.Image):
        raise InputError(f"{what} must be an image, got {type(value).__name__}.")
    if min(value.size) < 1 or max(value.size) > _LARGEST_ASPECT * min(value.size):
        raise InputError(f"{what} is {value.width}x{value.height}, too narrow to be looked at.")
    return value.convert("RGBA" if value.has_transparency_data else "RGB")


def _as_mapping(story: StoryInput, reference_images: ReferenceImages) -> Mapping[str, Any]:
    """Return name -> image or images; an unnamed picture belongs to the story's only character."""
    if reference_images is None:
        return {}
    if isinstance(reference_images, Mapping):
        return reference_images
    names = ["the character"]
    if isinstance(story, Story):
        names = [character.id for character in story.characters]
    elif isinstance(story, Mapping):
        names = [character.id for character in _as_story(story, ()).characters]
    if len(names) != 1:
        raise InputError(f"The story has {len(names)} characters, so references must say whose they are: give a mapping"
                         " of names to images.")  # fmt: skip
    return {names[0]: reference_images}


def _as_story(story: StoryInput, names: tuple[str, ...]) -> Story:
    try:
        if isinstance(story, Story):
            return story
        if isinstance(story, Mapping):
            return Story.from_json(story)
        if isinstance(story, Sequence) and not isinstance(story, str | bytes):
            if not story:
                raise InputError("The story has no shots: the list of captions is empty.")
            return Story.from_captions(list(story), characters=[Character(id=name) for name in names])
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
    raise InputError(f"story must be a Story, a row of the stories config or a list of captions, got {story!r:.80}.")


def _read_references(name: str, value: Any) -> tuple[Image.Image, ...]:
    several = value if isinstance(value, list | tuple) else [value]
    if not several:
        raise InputError(f"The character {name!r} has an empty list of reference images.")
    return tuple(
        _shrunk(read_image(one, what), what)
        for number, one in enumerate(several)
        for what in [f"Reference {number} of {name!r}" if len(several) > 1 else f"The reference of {name!r}"]
    )


def _shrunk(image: Image.Image, what: str) -> Image.Image:
    """Return a reference of at most `_LARGEST_REFERENCE` pixels; a huge one costs time and teaches nothing."""
    if image.width * image.height <= _LARGEST_REFERENCE:
        return image
    smaller = fit_image(image, _LARGEST_REFERENCE)
    logger.warning(f"{what} is {image.width}x{image.height}; it is shrunk to {smaller.width}x{smaller.height}.")
    return smaller


def _without_marks(story: Story, *, only_marked: bool) -> Story:
    """Return the story with plain names in its captions; whom a caption marks appears in its shot.

    Args:
        story: Of which every marked name must be declared.
        only_marked: Take marks, where there are any, for the whole list of who appears.

    Raises:
        InputError: If a caption marks an unknown name.
    """
    if not any(_MARKED_NAME.search(text) for shot in story.shots for text in _captions(shot)):
        return story
    cast = [character.id for character in story.characters]
    shots = []
    for shot in story.shots:
        marked = [name for text in _captions(shot) for name in _MARKED_NAME.findall(text)]
        for name in marked:
            if name not in cast:
                raise InputError(f"The caption of shot {shot.index} names the character {name!r}, whom the story does "
                                 f"not declare (declared: {', '.join(cast) or 'nobody'}).")  # fmt: skip
        names = (() if only_marked else shot.characters) + tuple(marked)
        shots.append(
            replace(
                shot,
                characters=tuple(dict.fromkeys(names)),
                narrative_caption=_MARKED_NAME.sub(r"\1", shot.narrative_caption or "") or shot.narrative_caption,
                descriptive_caption=_MARKED_NAME.sub(r"\1", shot.descriptive_caption or "") or shot.descriptive_caption,
            )
        )
    return story.with_shots(shots)


def _captions(shot: Shot) -> list[str]:
    return [text for text in (shot.narrative_caption, shot.descriptive_caption) if text]


def with_caption(story: Story, index: int, caption: str) -> Story:
    """Return the story with another descriptive caption for one shot.

    Raises:
        InputError: If the caption is empty, or marks an unknown name.
    """
    if not isinstance(caption, str) or not caption.strip():
        raise InputError(f"caption must be a text that is not empty, got {caption!r}.")
    shots = list(story.shots)
    shots[index] = replace(shots[index], descriptive_caption=caption)
    return _without_marks(story.with_shots(shots), only_marked=False)
