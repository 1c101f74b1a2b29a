"""Rows of the configs that hold media: clips, references and sound, cut from the videos.

A clip holds exactly the frames of its shot and is decoded once before it is written, because one clip that cannot be
decoded would make its row unreadable for everybody. Sound is cut to the sample. Masks are those of the story.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.dataset_builder.release.masks import default_references
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import AUDIO_SAMPLE_RATE
from animeshooter_hf.records import ReferenceMask, Shot, Story, rle_to_json, shot_to_json
from animeshooter_hf.video import cut_clips, encode_flac, index_frames, probe, read_audio, read_frames

__all__ = ["MediaSource", "StoryMedia", "make_media", "reason_without_folder"]


class MediaSource(Protocol):
    """Where the videos are."""

    def video_path(self, video_id: str) -> Path | None:
        """Return the file of a video, or None if there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryMedia:
    """The rows that one story gives to the configs with media."""

    shots: Sequence[dict[str, Any]]
    """Rows of `shots`."""

    references: Sequence[dict[str, Any]]
    """Rows of `references`."""

    audio: Sequence[dict[str, Any]]
    """Rows of `audio`."""

    skipped: Sequence[tuple[str, str]]
    """(shot or reference, why it has no row)."""


def make_media(story: Story, path: Path, *, audio_story: Story | None = None, crf: int = 18) -> StoryMedia:
    """Return the media rows of a story.

    Args:
        story: Its shots carry frames of the video.
        path: The video.
        audio_story: The same story cut anew where picture and sound change together, each of its shots with an audio
            annotation; if None, the annotated shots of the story itself make the rows of `audio`.
        crf: Quality of the clips, x264's scale.

    Raises:
        InputError: If the video cannot be read at all.
    """
    info = probe(path)
    skipped: list[tuple[str, str]] = []
    clips = _cut_usable(path, story.shots, info.num_frames, crf, skipped)
    heard = story if audio_story is None else audio_story
    annotated = [shot for shot in heard.shots if shot.audio is not None]
    if annotated and not info.has_audio:
        skipped.extend((shot.shot_id, "the video has no sound") for shot in annotated)
        annotated = []
    audio_clips = clips if audio_story is None else _cut_usable(path, annotated, info.num_frames, crf, skipped)
    references = _reference_rows(story, path, info.num_frames, skipped)
    shots = [_shot_row(story, shot, clips[shot.shot_id])[0] for shot in story.shots if shot.shot_id in clips]
    audio = _audio_rows(heard, annotated, path, audio_clips)
    return StoryMedia(shots=shots, references=references, audio=audio, skipped=skipped)


def _shot_row(story: Story, shot: Shot, clip: bytes) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return a row of `shots`, and the audio annotation that stood in it."""
    columns = shot_to_json(shot)
    annotation = columns.pop("audio_annotation")
    row = {
        "video_id": story.video_id,
        "story_id": story.story_id,
        **columns,
        "num_shots": len(story.shots),
        "storyline": story.storyline,
        "video": {"path": f"{shot.shot_id}.mp4", "bytes": clip},
    }
    return row, annotation


def _audio_rows(story: Story, shots: Sequence[Shot], path: Path, clips: dict[str, bytes]) -> list[dict[str, Any]]:
    rows = []
    index = index_frames(path)
    for shot in shots:
        if shot.shot_id not in clips:
            continue
        row, annotation = _shot_row(story, shot, clips[shot.shot_id])
        start, end = index.seconds(shot.start_frame or 0), index.seconds(shot.end_frame or 0)
        sound, rate = read_audio(path, start_seconds=start, end_seconds=end, sample_rate=AUDIO_SAMPLE_RATE)
        flac = {"path": f"{shot.shot_id}.flac", "bytes": encode_flac(sound, rate)}
        rows.append({**row, **(annotation or {}), "audio": flac})
    return rows


def _cut_usable(
    path: Path, shots: Sequence[Shot], num_frames: int, crf: int, skipped: list[tuple[str, str]]
) -> dict[str, bytes]:
    """Return shot ID -> clip of those shots that can be cut."""
    usable = []
    for shot in shots:
        problem = _problem(shot, num_frames)
        if problem:
            skipped.append((shot.shot_id, problem))
        else:
            usable.append(shot)
    return _cut(path, usable, crf, skipped)


def _problem(shot: Shot, num_frames: int) -> str | None:
    if shot.start_frame is None or shot.end_frame is None:
        return "its frames are unknown"
    if shot.start_frame >= shot.end_frame:
        return "it holds no frame"
    if shot.end_frame > num_frames:
        return f"it ends at frame {shot.end_frame}, the video has {num_frames}"
    return None


def _cut(path: Path, shots: Sequence[Shot], crf: int, skipped: list[tuple[str, str]]) -> dict[str, bytes]:
    """Return shot ID -> clip, in one decoding pass; if the file is damaged, shot by shot around the damage."""
    spans = {shot.shot_id: (shot.start_frame or 0, shot.end_frame or 0) for shot in shots}
    try:
        cut = list(cut_clips(path, list(spans.values()), crf=crf))
        clips = dict(zip(spans, cut, strict=True))
    except InputError:
        clips = {}
        for shot_id, span in spans.items():
            try:
                clips[shot_id] = next(cut_clips(path, [span], crf=crf))
            except InputError as error:
                skipped.append((shot_id, reason_without_folder(error, path)))
    for shot_id, clip in list(clips.items()):
        start, end = spans[shot_id]
        try:
            whole = probe(clip).num_frames == end - start
            read_frames(clip, [end - start - 1] if whole else [])
        except InputError as error:
            whole, reason = False, str(error)
        else:
            reason = "its clip lost frames"
        if not whole:
            skipped.append((shot_id, reason))
            del clips[shot_id]
    return clips


def _reference_rows(story: Story, path: Path, num_frames: int, skipped: list[tuple[str, str]]) -> list[dict[str, Any]]:
    masks = [reference for reference in default_references(story) if reference.mask is not None]
    inside = [reference for reference in masks if reference.frame_index < num_frames]
    late = "its frame lies after the video's end"
    skipped.extend((_name(reference, story), late) for reference in masks if reference.frame_index >= num_frames)
    wanted = sorted({reference.frame_index for reference in inside})
    try:
        frames = dict(zip(wanted, read_frames(path, wanted), strict=True))
    except InputError as error:
        skipped.extend((_name(reference, story), reason_without_folder(error, path)) for reference in inside)
        return []
    appearances = {character.id: character.appearance for character in story.characters}
    rows = []
    for reference in sorted(inside, key=lambda one: (one.character_id, one.frame_index)):
        row = _reference_row(story, reference, frames[reference.frame_index], appearances.get(reference.character_id))
        if isinstance(row, str):
            skipped.append((_name(reference, story), row))
        else:
            rows.append(row)
    return rows


def _reference_row(
    story: Story, reference: ReferenceMask, frame: NDArray[np.uint8], appearance: str | None
) -> dict[str, Any] | str:
    """Return the row of a reference, or why there is none."""
    if reference.mask is None:
        return "it has no mask"
    try:
        mask = reference.mask.to_array()
    except ValueError as error:
        return str(error)
    if mask.shape != frame.shape[:2]:
        return f"its mask is {mask.shape[1]}x{mask.shape[0]}, the frame {frame.shape[1]}x{frame.shape[0]}"
    if not mask.any():
        return "its mask is empty"
    cutout = np.dstack([frame * mask[..., None], np.where(mask, 255, 0).astype(np.uint8)])
    name = f"{story.story_id}_{reference.character_id}_{reference.frame_index}"
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return {
        "video_id": story.video_id,
        "story_id": story.story_id,
        "character_id": reference.character_id,
        "appearance": appearance,
        "frame_index": reference.frame_index,
        "timestamp": None if story.frame_rate is None else seconds_at(reference.frame_index, story.frame_rate),
        "is_verified": None,
        "score": None,
        "image": _image_cell(frame, f"{safe}.jpg"),
        "cutout": _image_cell(cutout, f"{safe}_cutout.png"),
        "mask": _image_cell(np.where(mask, 255, 0).astype(np.uint8), f"{safe}_mask.png"),
        "mask_rle": rle_to_json(reference.mask),
    }


def _image_cell(image: NDArray[np.uint8], name: str) -> dict[str, Any]:
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    if name.endswith(".jpg"):
        picture.save(buffer, "JPEG", quality=95, subsampling=0)
    elif image.ndim == 2:
        picture.convert("1").save(buffer, "PNG")
    else:
        picture.save(buffer, "PNG", compress_level=6)
    return {"path": name, "bytes": buffer.getvalue()}


def _name(reference: ReferenceMask, story: Story) -> str:
    return f"reference of {reference.character_id} in frame {reference.frame_index} of {story.story_id}"


def reason_without_folder(error: InputError, path: Path) -> str:
    """Return what went wrong with a video, without the folder that it lies in: that is nobody's business."""
    return str(error).replace(str(path), path.name)
