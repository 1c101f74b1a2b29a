"""A dataset folder of compact toon stories, written as any dataset is.

References, captions and clips belong together, so a model that learns them has learned something.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Character, ReferenceMask, Scene, Shot, Story, make_shot_id, make_story_id
from animeshooter_hf.toon.compact import CompactSettings, CompactStory, plan_compact_story
from animeshooter_hf.video import write_video

__all__ = ["write_toon_dataset"]


def write_toon_dataset(
    folder: Path,
    *,
    seeds: Sequence[int] = range(2),
    settings: CompactSettings | None = None,
    with_references: bool = True,
) -> Path:
    """Write a dataset of compact stories, one film each, and return its folder.

    A film begins with a second of its reference on grey, which belongs to no shot; the mask that cuts the character out
    there is the renderer's.

    Args:
        folder: Where films and the dataset (`folder/data`) go.
        seeds: Of the stories.
        settings: Size and length; 4 shots of 9 frames at 64 x 64 pixels if None.
        with_references: Whether the stories have their reference.
    """
    settings = settings or CompactSettings(size=64, frames_per_shot=9, frame_rate=8, num_shots=4)
    films = folder / "films"
    films.mkdir(parents=True, exist_ok=True)
    stories = [_write_film(films, plan_compact_story(seed, settings=settings), with_references) for seed in seeds]
    write_dataset(folder / "data", stories, media=_Films(films), progress=False)
    return folder / "data"


class _Films:
    """A folder of films, as a media source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def video_path(self, video_id: str) -> Path | None:
        """Return the film of a video."""
        path = self._folder / f"{video_id}.mp4"
        return path if path.exists() else None


def _write_film(folder: Path, drawn: CompactStory, with_references: bool) -> Story:
    """Write the film of a story and return its record."""
    settings = drawn.settings
    rate, length = settings.frame_rate, settings.frames_per_shot
    video_id = drawn.plan.film_id
    portrait, mask = _portrait(drawn)
    frames = [portrait] * rate
    for shot in range(settings.num_shots):
        frames += list(drawn.frames(shot))
    write_video(folder / f"{video_id}.mp4", frames, Fraction(rate), crf=10)
    story_id = make_story_id(video_id, 0)
    name = drawn.character.id
    scenes = tuple(Scene(id=scene.id, environment=scene.kind) for scene in drawn.plan.scenes)
    return Story(
        video_id=video_id,
        story_id=story_id,
        frame_rate=Fraction(rate),
        start_frame=0,
        end_frame=len(frames),
        storyline=" ".join(drawn.captions),
        characters=(Character(id=name),),
        scenes=scenes,
        shots=tuple(
            Shot(
                shot_id=make_shot_id(story_id, index),
                index=index,
                start_frame=rate + index * length,
                end_frame=rate + (index + 1) * length,
                start_seconds=1 + index * length / rate,
                end_seconds=1 + (index + 1) * length / rate,
                characters=(name,),
                scene=drawn.plan.shots[index].scene_id,
                descriptive_caption=caption,
            )
            for index, caption in enumerate(drawn.captions)
        ),
        references=(ReferenceMask(character_id=name, frame_index=0, mask=RleMask.from_array(mask)),)
        if with_references
        else (),
    )


def _portrait(drawn: CompactStory) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a frame that shows the reference on grey, and the character's mask in it."""
    reference = drawn.reference()
    size = drawn.settings.size
    frame = np.full((size, size, 3), 128, np.uint8)
    mask = np.zeros((size, size), np.bool_)
    rows, columns = min(size, reference.shape[0]), min(size, reference.shape[1])
    is_seen = reference[:rows, :columns, 3] > 127
    mask[:rows, :columns] = is_seen
    frame[:rows, :columns][is_seen] = reference[:rows, :columns, :3][is_seen]
    return frame, mask
