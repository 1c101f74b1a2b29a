"""What a judge sees of a story: contact sheets of its shots and a picture of each character.

A cut-out reference stands on white. Our choice: it is what most image models were shown, and black hides dark hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.grid import PictureSettings, SentPicture, draw_sheet, fit_long_side, sent_picture
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_media import read_picture
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, StoryPrediction
from animeshooter_hf.video.reading import FrameCursor, to_rgb

__all__ = ["StoryPictures", "character_pictures", "read_shot", "story_pictures", "story_sheets"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryPictures:
    """A story, ready to be sent."""

    sheets: tuple[SentPicture, ...]
    """Contact sheets, in order of time."""

    first_shots: tuple[int, ...]
    """Number of the first shot on each sheet, from 0."""

    references: tuple[tuple[str, SentPicture], ...]
    """Character and picture, one of each."""


def story_pictures(prediction: StoryPrediction, settings: PictureSettings) -> StoryPictures:
    """Return the pictures of a story.

    Raises:
        InputError: If a shot or a reference cannot be read; the reason names it.
    """
    sheets, first_shots = story_sheets(prediction, settings)
    return StoryPictures(sheets=sheets, first_shots=first_shots, references=character_pictures(prediction, settings))


def story_sheets(
    prediction: StoryPrediction, settings: PictureSettings
) -> tuple[tuple[SentPicture, ...], tuple[int, ...]]:
    """Return the contact sheets, and the number of the first shot on each.

    Raises:
        InputError: If a shot cannot be read.
    """
    shots = [_named(prediction, number, source, settings) for number, source in enumerate(prediction.shots)]
    step = settings.rows_per_sheet
    first_shots = tuple(range(0, len(shots), step))
    sheets = tuple(sent_picture(draw_sheet(shots[first : first + step], settings)) for first in first_shots)
    return sheets, first_shots


def character_pictures(prediction: StoryPrediction, settings: PictureSettings) -> tuple[tuple[str, SentPicture], ...]:
    """Return the first reference of each character, on white.

    Raises:
        InputError: If one cannot be read.
    """
    chosen: dict[str, Picture] = {}
    for name, picture in zip(prediction.characters, prediction.references, strict=True):
        chosen.setdefault(name, picture)
    shown = list(chosen.items())[: settings.max_references]
    return tuple((name, sent_picture(_on_white(picture, settings.reference_long_side))) for name, picture in shown)


def read_shot(source: ShotSource, settings: PictureSettings) -> list[NDArray[np.uint8]]:
    """Return the frames of a shot that are shown, each RGB and no larger than a cell.

    Raises:
        InputError: If the shot cannot be read or has no frame.
    """
    if isinstance(source, np.ndarray):
        if not source.size:
            raise InputError("The shot has no frames.")
        frames = [source[index] for index in sample_frames(len(source), settings.frames_per_shot)]
    else:
        with FrameCursor(source) as cursor:
            if not len(cursor.index):
                raise InputError("The shot has no frames.")
            chosen = sample_frames(len(cursor.index), settings.frames_per_shot)
            frames = [to_rgb(frame) for index in chosen for _, frame in cursor.frames(index, index + 1)]
    return [fit_long_side(frame, settings.cell_long_side) for frame in frames]


def _named(
    prediction: StoryPrediction, number: int, source: ShotSource, settings: PictureSettings
) -> Sequence[NDArray[np.uint8]]:
    try:
        return read_shot(source, settings)
    except InputError as error:
        raise InputError(f"Shot {number + 1} of story {prediction.story_id}: {error}") from error


def _on_white(picture: Picture, long_side: int) -> NDArray[np.uint8]:
    image = read_picture(picture)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255.0
        image = np.round(image[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return fit_long_side(np.ascontiguousarray(image), long_side)
