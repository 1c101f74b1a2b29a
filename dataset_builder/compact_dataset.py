"""Compact toon stories as a dataset folder like any other, so that a small model can be trained on it.

References, captions and clips belong together, so a model that learns them has learned something.
"""

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.package_media import StoryMedia, make_media
from animeshooter_hf.dataset_builder.staged_media import StagedMedia, stage_media
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Character, ReferenceMask, Scene, Shot, Story, make_shot_id, make_story_id
from animeshooter_hf.toon.compact import CompactStory
from animeshooter_hf.video import write_video

__all__ = ["compact_record", "write_compact_dataset"]

_CRF = 4
"""Of the clips: what is so small shows every block of a coarser one. Our choice."""


def write_compact_dataset(
    folder: Path,
    stories: Sequence[CompactStory],
    *,
    enlarged: int = 1,
    with_references: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a dataset of compact stories, one film each, and return its folder.

    A film begins with a second of its reference on grey, which belongs to no shot; the mask that cuts the character out
    there is the renderer's.

    Args:
        folder: Where films and the dataset (`folder/data`) go.
        stories: With seeds of their own, after which films are called.
        enlarged: How many rows and columns a pixel becomes. Films keep colours at half the resolution, so at 2 they
            keep those of each pixel, and a model that trains at the true size gets them back.
        with_references: Whether the stories have their reference.
        overwrite: Replace a dataset that is there.

    Raises:
        InputError: If there is no story, or a dataset is there and may not be replaced.
    """
    films = folder / "films"
    films.mkdir(parents=True, exist_ok=True)
    records = [_write_film(films, story, enlarged, with_references) for story in stories]
    with tempfile.TemporaryDirectory() as staged:
        files: dict[str, dict[str, str]] = {}
        for record in records:
            media = make_media(record, films / f"{record.video_id}.mp4", crf=_CRF)
            files[record.video_id] = _stage(Path(staged), record, media)
        source = StagedMedia(files, lambda name: Path(staged) / name)
        write_dataset(folder / "data", records, media=source, overwrite=overwrite, progress=False)
    return folder / "data"


def compact_record(
    drawn: CompactStory, *, first_frame: int = 0, reference_mask: NDArray[np.bool_] | None = None
) -> Story:
    """Return a compact story as a record.

    Args:
        drawn: The story.
        first_frame: Of its film, where its first shot begins.
        reference_mask: Of the character in frame 0 of the film, where that shows its reference.
    """
    rate, length = drawn.settings.frame_rate, drawn.settings.frames_per_shot
    video_id, name = drawn.plan.film_id, drawn.character.id
    story_id = make_story_id(video_id, 0)
    starts = [first_frame + index * length for index in range(len(drawn.captions))]
    references = (
        ()
        if reference_mask is None
        else (ReferenceMask(character_id=name, frame_index=0, mask=RleMask.from_array(reference_mask)),)
    )
    return Story(
        video_id=video_id,
        story_id=story_id,
        frame_rate=Fraction(rate),
        start_frame=0,
        end_frame=starts[-1] + length,
        storyline=" ".join(drawn.captions),
        characters=(Character(id=name),),
        scenes=tuple(Scene(id=scene.id, environment=scene.kind) for scene in drawn.plan.scenes),
        shots=tuple(
            Shot(
                shot_id=make_shot_id(story_id, index),
                index=index,
                start_frame=start,
                end_frame=start + length,
                start_seconds=start / rate,
                end_seconds=(start + length) / rate,
                characters=(name,),
                scene=drawn.plan.shots[index].scene_id,
                descriptive_caption=caption,
            )
            for index, (start, caption) in enumerate(zip(starts, drawn.captions, strict=True))
        ),
        references=references,
    )


def _write_film(folder: Path, drawn: CompactStory, enlarged: int, with_references: bool) -> Story:
    """Write the film of a story and return its record."""
    rate = drawn.settings.frame_rate
    portrait, mask = _portrait(drawn)
    frames = [portrait] * rate
    for shot in range(len(drawn.captions)):
        frames += list(drawn.frames(shot))
    large = [frame.repeat(enlarged, 0).repeat(enlarged, 1) for frame in frames]
    write_video(folder / f"{drawn.plan.film_id}.mp4", large, Fraction(rate), lossless=True)
    mask = mask.repeat(enlarged, 0).repeat(enlarged, 1)
    return compact_record(drawn, first_frame=rate, reference_mask=mask if with_references else None)


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


def _stage(folder: Path, record: Story, media: StoryMedia) -> dict[str, str]:
    """Write the media rows of a film and return config -> name of the file."""
    names = {}
    for config, data in stage_media({record.story_id: media}).items():
        names[config] = f"{record.video_id}.{config}.parquet"
        (folder / names[config]).write_bytes(data)
    return names
