"""A release of toon films as its authors would have written it: their keys, whole seconds, masks at even spacing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import AudioAnnotation, Shot, Story, rle_to_json

SAMPLES_PER_SHOT = 4
"""Both ends of a shot are among them, as in the release."""


def release_video(script: dict[str, Any], video_id: str, *, sounds: bool = False) -> dict[str, Any]:
    """Return the release's JSON of a film, told from its true script."""
    masks = SidecarMasks(script["masks"])
    stories = [Story.from_json(row) for row in script["stories"]]
    return {
        "video ID": video_id,
        "url": f"https://www.youtube.com/watch?v={video_id}",
        "fps": float(stories[0].frame_rate or 24),
        "segments": [release_segment(story, masks, sounds=sounds) for story in stories],
    }


def release_segment(story: Story, masks: SidecarMasks, *, sounds: bool = False) -> dict[str, Any]:
    return {
        "start frame index": story.start_frame,
        "end frame index": story.end_frame,
        "story script": {
            "storyline": story.storyline,
            "main characters": [{"ID": one.id, "appearance": one.appearance} for one in story.characters],
            "main settings": [{"ID": one.id, "environment": one.environment} for one in story.scenes],
            "shots": [release_shot(shot, sounds=sounds) for shot in story.shots],
        },
        "reference images": [
            {
                "ID": one.id,
                "masks": [
                    {"frame index": frame, "rle mask": rle_to_json(mask)}
                    for frame in sampled_frames(story, one.id)
                    if (mask := _mask(story, masks, one.id, frame)) is not None
                ],
            }
            for one in story.characters
        ],
    }


def _mask(story: Story, masks: SidecarMasks, character_id: str, frame: int) -> RleMask | None:
    """Return a true mask, or on the end of a shot the figure as it last stood, as a segmenter may find it."""
    shot = next((one for one in story.shots if (one.start_frame or 0) <= frame < (one.end_frame or 0)), None)
    is_there = shot is not None and character_id in shot.characters
    return masks.mask_at(character_id, frame if is_there else frame - 1)


def release_shot(shot: Shot, *, sounds: bool) -> dict[str, Any]:
    clip = None
    if shot.clip_start_seconds is not None and shot.clip_end_seconds is not None:
        clip = f"{clock(shot.clip_start_seconds)}-{clock(shot.clip_end_seconds)}"
    visual: dict[str, Any] = {
        "narrative caption": shot.narrative_caption,
        "descriptive caption": shot.descriptive_caption,
    }
    if sounds:
        audio = shot.audio or AudioAnnotation(
            audio_type="step", sound_description=f"a step in shot {shot.index}", visual_context="feet on the floor"
        )
        visual["audio annotation"] = {
            "type": audio.audio_type,
            "sound description": audio.sound_description,
            "visual context": audio.visual_context,
        }
    return {
        "start time": clock(shot.start_seconds or 0),
        "end time": clock(shot.end_seconds or 0),
        "extra 4-second timestamp": clip,
        "is_prologue_or_epilogue": shot.is_prologue_or_epilogue,
        "main characters": list(shot.characters),
        "setting": shot.scene or "N/A",
        "visual annotation": visual,
    }


def sampled_frames(story: Story, character_id: str) -> list[int]:
    """Return frames at even spacing over the character's shots, the first one of the next shot among them."""
    frames: dict[int, None] = {}
    for shot in story.shots:
        if character_id in shot.characters:
            start, end = shot.start_frame or 0, shot.end_frame or 0
            step = (end - start) / (SAMPLES_PER_SHOT - 1)
            frames.update((start + round(number * step), None) for number in range(SAMPLES_PER_SHOT))
    return list(frames)


def clock(seconds: float) -> str:
    """Return MM:SS, cut off to the second as the release does."""
    return f"{int(seconds + 1e-6) // 60:02d}:{int(seconds + 1e-6) % 60:02d}"


def write_release(folder: Path, videos: Sequence[dict[str, Any]]) -> Path:
    """Write one file per video and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in videos:
        (folder / f"{video['video ID']}.json").write_text(json.dumps(video))
    return folder
