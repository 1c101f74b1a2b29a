"""Stories that are generated on the way, with fixed seeds, so that pictures of two steps can be compared.

out/validation/step_500/STORY.png    a row for each shot: its references, frames of it, its caption
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import DataSettings, ValidationSettings
from animeshooter_hf.records import Character, Shot, Story
from animeshooter_hf.report.sheets import SheetRow, contact_sheet

__all__ = ["ValidationStory", "generate_sheets", "stories_of_dataset", "stories_of_windows"]

_NAME_LENGTH = 80
"""Most characters of a file's name. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ValidationStory:
    """A story to generate."""

    story: Story
    """Its shots."""

    references: dict[str, tuple[Image.Image, ...]]
    """Character -> reference images."""


def stories_of_dataset(view: Iterable[Any], data: DataSettings, settings: ValidationSettings) -> list[ValidationStory]:
    """Return the first stories of a dataset, cut to the shots that are wanted.

    Args:
        view: Stories, as `load_stories` gives them.
        data: How many references are seen, and the trigger.
        settings: How many stories, and of how many shots.
    """
    found: list[ValidationStory] = []
    for item in view:
        if len(found) == settings.stories:
            break
        references: dict[str, tuple[Image.Image, ...]] = {}
        for reference in item.references():
            known = references.get(reference.character_id, ())
            if len(known) < data.references:
                references[reference.character_id] = (*known, Image.fromarray(reference.cutout))
        found.append(_made(item.story.story_id, item.story.shots[: settings.shots], references, data.trigger))
    return found


def stories_of_windows(source: Any, settings: ValidationSettings) -> list[ValidationStory]:
    """Return the first windows of different stories as stories, for a source that is no dataset on a disk."""
    found: dict[str, ValidationStory] = {}
    for position in range(len(source)):
        if len(found) == settings.stories:
            break
        window = source[position]
        if window.story_id not in found:
            shots = window.shots[: settings.shots]
            found[window.story_id] = _made(window.story_id, shots, dict(window.references))
    return list(found.values())


def generate_sheets(
    pipeline: Any, stories: Sequence[ValidationStory], data: DataSettings, settings: ValidationSettings, folder: Path
) -> dict[str, Path]:
    """Generate the stories, write a contact sheet for each, and return story -> file.

    Raises:
        InputError: If the pipeline cannot make one of them, or a picture cannot be written.
    """
    sheets = {}
    for one in stories:
        size = {"height": data.height, "width": data.width, "num_frames": data.num_frames}
        output = pipeline(
            one.story,
            one.references or None,
            seed=settings.seed,
            num_inference_steps=settings.steps,
            require_references=False,
            **size,
        )
        rows = []
        for shot, frames_FHW3 in zip(one.story.shots, output.frames, strict=True):
            seen = [name for name in shot.characters if name in one.references] or list(one.references)
            references = [np.asarray(image) for name in seen for image in one.references[name]]
            title = f"shot {shot.index + 1}"
            rows.append(SheetRow(frames=list(frames_FHW3), title=title, caption=shot.caption, references=references))
        name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in one.story.story_id)
        path = folder / f"{name[:_NAME_LENGTH]}.png"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            contact_sheet(rows).save(path)
        except OSError as error:
            raise InputError(f"The picture {path} cannot be written: {error.strerror or error}.") from error
        sheets[one.story.story_id] = path
    return sheets


def _made(
    story_id: str, shots: Sequence[Shot], references: dict[str, tuple[Image.Image, ...]], trigger: str = ""
) -> ValidationStory:
    """Return shots as a story of its own, with the trigger before every caption."""
    numbered = [
        replace(
            shot,
            index=index,
            narrative_caption=_triggered(shot.narrative_caption, trigger),
            descriptive_caption=_triggered(shot.descriptive_caption, trigger),
        )
        for index, shot in enumerate(shots)
    ]
    cast = dict.fromkeys([*references, *(name for shot in numbered for name in shot.characters)])
    story = Story(
        video_id=story_id,
        story_id=story_id,
        characters=tuple(Character(id=name) for name in cast),
        shots=tuple(numbered),
    )
    return ValidationStory(story=story, references=references)


def _triggered(caption: str | None, trigger: str) -> str | None:
    return f"{trigger} {caption}" if trigger and caption else caption
