"""From the fields of the page to a story that can be begun, or to one sentence for each field that is wrong."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.story_request import read_image
from animeshooter_hf.records import Character, Story

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
    from animeshooter_hf.modeling.state import StoryState

__all__ = [
    "FIELDS",
    "MAX_CHARACTERS",
    "CastMember",
    "FormError",
    "StoryForm",
    "begin_story",
    "read_seed",
    "read_story",
]

MAX_CHARACTERS = 6
"""Characters whose references the page has room for. Paper: one to three."""

FIELDS = (
    "story",
    *(f"character_{number}" for number in range(MAX_CHARACTERS)),
    "characters",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "num_frames",
    "size",
)
"""Every place beside which a sentence may stand."""

_LONGEST_STORY = 2_000_000


class FormError(InputError):
    """Something in the form is wrong; `fields` says what, one sentence for each field."""

    def __init__(self, fields: dict[str, str]) -> None:
        """Keep the sentences of the fields."""
        super().__init__(" ".join(fields.values()))
        self.fields = fields


@dataclass(frozen=True, slots=True)
class CastMember:
    """One row of characters as it was filled in."""

    name: str
    """As it stands in the story."""

    images: tuple[str, ...] = ()
    """Files of reference images."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was filled in."""
        return not self.name.strip() and not self.images


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryForm:
    """The fields as they came from the page."""

    text: str
    """One line per shot, or a story as JSON."""

    cast: tuple[CastMember, ...] = ()
    """Rows of characters, empty ones among them."""

    allow_missing_references: bool = False
    """Draw a character without a reference from words alone."""

    seed: str = "0"
    """A text: numbers of JavaScript lose digits above 2**53."""

    num_inference_steps: float | None = None
    """None takes the model's, as for the ones below."""

    guidance_scale: float | None = None
    """Weight of classifier-free guidance."""

    num_frames: float | None = None
    """Frames per shot."""

    height: float | None = None
    """Rows."""

    width: float | None = None
    """Columns."""


def begin_story(pipeline: "AnimeShooterGenPipeline", form: StoryForm) -> "StoryState":
    """Return the state of the story that a form asks for, no shot done; nothing heavy happens.

    Raises:
        FormError: With one sentence for each field that is wrong.
    """
    errors: dict[str, str] = {}
    story = _try(errors, "story", lambda: read_story(form.text, [member.name.strip() for member in form.cast]))
    references = _read_cast(form, errors)
    seed = _try(errors, "seed", lambda: read_seed(form.seed))
    settings = _read_settings(form, errors)
    if settings is not None:
        _check_settings(pipeline, settings, errors)
    if errors or story is None or seed is None or settings is None:
        raise FormError(errors)
    required = not form.allow_missing_references
    try:
        return pipeline.begin(story, references or None, seed=seed, require_references=required, **settings)
    except InputError as error:
        about_cast = "reference" in str(error).lower()
        raise FormError({"characters" if about_cast else "story": str(error)}) from error


def read_story(text: str, names: list[str]) -> Story:
    """Return the story of a text: JSON if it starts with a brace, else one line per shot.

    Args:
        text: What was written.
        names: Characters of a story in plain lines, all of them in every shot; JSON brings its own.

    Raises:
        InputError: If there is no shot, or it is no story.
    """
    if len(text) > _LONGEST_STORY:
        raise InputError(f"The story has {len(text):,} letters; at most {_LONGEST_STORY:,} are possible.")
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        return _story_of_json(text.lstrip("\ufeff"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError("Write the story first: one line for each shot.")
    cast = [Character(id=name) for name in dict.fromkeys(name for name in names if name)]
    return Story.from_captions(lines, characters=cast)


def _story_of_json(text: str) -> Story:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"The story starts with a brace, but is no JSON that can be read{where}.") from error
    try:
        story = Story.from_json(data)
    except (ValueError, TypeError) as error:
        raise InputError(str(error)) from error
    if not story.shots:
        raise InputError(f"Story {story.story_id} has no shots.")
    return story


def read_seed(text: str) -> int:
    """Return the seed that a text holds.

    Raises:
        InputError: If it is no whole number from 0 to 2**63 - 1.
    """
    digits = text.strip()
    if re.fullmatch(r"[0-9]{1,19}", digits) is None or int(digits) >= 2**63:
        raise InputError(f"The seed must be a whole number from 0 to 2**63 - 1, got {digits[:40]!r}.")
    return int(digits)


def _read_cast(form: StoryForm, errors: dict[str, str]) -> dict[str, list[Image.Image]]:
    """Return name -> reference images, and note what is wrong in which row."""
    references: dict[str, list[Image.Image]] = {}
    seen: set[str] = set()
    for row, member in enumerate(form.cast):
        if member.is_empty:
            continue
        name, field = member.name.strip(), f"character_{row}"
        if not name:
            errors[field] = "Say who this is: the name as it stands in the story."
        elif name in seen:
            errors[field] = f"{name!r} stands here twice; put all references of a character into one row."
        seen.add(name)
        images = _try(errors, field, partial(_read_images, member))
        if images and field not in errors:
            references[name] = images
    return references


def _read_images(member: CastMember) -> list[Image.Image]:
    images = []
    for number, path in enumerate(member.images, start=1):
        try:
            images.append(read_image(path, f"Picture {number}"))
        except InputError as error:
            # The message names a file by where the upload was put; that is of no use to a visitor.
            raise InputError(str(error).replace(f"{path} is", "this is").replace(str(path), "it")) from error
    return images


def _read_settings(form: StoryForm, errors: dict[str, str]) -> dict[str, Any] | None:
    """Return the settings that were filled in, whole numbers made whole."""
    settings: dict[str, Any] = {}
    for name in ("num_inference_steps", "num_frames", "height", "width"):
        value = getattr(form, name)
        if value is not None and value % 1:
            errors[_field_of(name)] = f"{name} must be a whole number, got {value}."
        else:
            settings[name] = None if value is None else int(value)
    settings["guidance_scale"] = None if form.guidance_scale is None else float(form.guidance_scale)
    return settings if not errors.keys() & {"num_inference_steps", "num_frames", "size"} else None


def _check_settings(pipeline: "AnimeShooterGenPipeline", settings: dict[str, Any], errors: dict[str, str]) -> None:
    """Ask the pipeline about the settings alone, so that what it says can stand beside the right field."""
    try:
        pipeline.check_inputs(["A shot."], None, require_references=False, **settings)
    except InputError as error:
        errors[_field_of(str(error))] = str(error)


def _field_of(words: str) -> str:
    """Return the field that a message of the pipeline, or a setting, belongs to."""
    for name in ("num_inference_steps", "guidance_scale", "num_frames"):
        if name in words:
            return name
    return "size"


def _try(errors: dict[str, str], field: str, read: Callable[[], Any]) -> Any:
    """Return what is read, or None after noting what is wrong with the field."""
    try:
        return read()
    except ValueError as error:
        errors[field] = str(error)
    return None
