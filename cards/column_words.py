"""One line of meaning for each column of each config, and the types in words; the card and the Croissant file use them.

A path names a column, a member of a struct, or a member of the structs in a list: "shots.audio_annotation.audio_type".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from datasets import Audio, Image, List, Value, Video

__all__ = ["CONFIG_ROWS", "column_meaning", "leaves", "type_words"]

CONFIG_ROWS: Mapping[str, str] = {
    "stories": "story: the whole hierarchy as text, no media",
    "shots": "shot, with its clip",
    "references": "reference of a character: frame, cut-out and mask",
    "audio": "shot with annotated sound, with clip and sound",
}
"""Config -> one row per ..."""

_SHOT: Mapping[str, str] = {
    "shot_id": "ID of the shot, unique in the dataset",
    "shot_index": "Position of the shot in its story, from 0",
    "start_time": "Start of the shot in seconds, from the start of the story",
    "end_time": "End of the shot in seconds, from the start of the story",
    "start_frame": "First frame of the shot, counted in the video",
    "end_frame": "Frame after the last one of the shot, counted in the video",
    "clip_start_time": "Start of the span that shows a long shot best, in seconds from the start of the story",
    "clip_end_time": "End of that span",
    "is_prologue_or_epilogue": "Whether the shot is an opening or a closing, not part of the plot",
    "characters": "IDs of the main characters in the shot",
    "scene": "ID of the scene, null where there is none",
    "narrative_caption": "What happens, in words",
    "descriptive_caption": "What is seen, in words",
}
_AUDIO: Mapping[str, str] = {
    "audio_type": "Category of the sound",
    "sound_description": "Pitch, intensity and course of the sound, in words",
    "visual_context": "What makes the sound on screen, in words",
}
_IDS: Mapping[str, str] = {
    "video_id": "ID of the video, such as a YouTube ID or the name of a file",
    "story_id": "ID of the story: the video's ID and the number of its segment",
}
_IN_STORY: Mapping[str, str] = {
    "num_shots": "Number of shots in the story",
    "storyline": "The plot of the story, in words",
}
_RLE: Mapping[str, str] = {"size": "Height and width of the mask", "counts": "The mask as COCO run-length text"}
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "stories": {
        **_IDS,
        "url": "Where the video can be found",
        "license": "Licence of the video, as its source states it; null where it is unknown",
        "rating": "For whom the video is fit: general, teen or mature; null where nobody has looked",
        "fps": "Frames per second of the annotation",
        "start_frame": "First frame of the story, counted in the video",
        "end_frame": "Frame after the last one of the story, counted in the video",
        "storyline": "The plot, in words",
        "main_characters": "The main characters",
        "main_characters.id": "Name of the character; it holds within this story only",
        "main_characters.appearance": "What the character looks like, in words",
        "main_scenes": "The main scenes",
        "main_scenes.id": "Name of the scene; it holds within this story only",
        "main_scenes.environment": "What the place looks like, in words",
        "shots": "The shots, in order of time",
        **{f"shots.{name}": words for name, words in _SHOT.items()},
        "shots.audio_annotation": "What is heard, null where it is not annotated",
        **{f"shots.audio_annotation.{name}": words for name, words in _AUDIO.items()},
        "reference_masks": "Where the characters can be cut out of a frame",
        "reference_masks.character_id": "Whom the mask shows",
        "reference_masks.frame_index": "Frame of the video",
        "reference_masks.mask": "The region of the character; null where the source gives none",
        **{f"reference_masks.mask.{name}": words for name, words in _RLE.items()},
    },
    "shots": {**_IDS, **_SHOT, **_IN_STORY, "video": "The clip: an mp4 with exactly the frames of the shot"},
    "references": {
        **_IDS,
        "character_id": "Whom the reference shows",
        "appearance": "What the character looks like, in words",
        "frame_index": "Frame of the video",
        "timestamp": "Time of that frame, in seconds of the video",
        "is_verified": "Whether the reference was checked and found good; null where nobody has looked",
        "score": "How good the check found it; null where there is no score",
        "image": "The whole frame",
        "cutout": "Frame times mask, with alpha",
        "mask": "The mask as a black-and-white picture",
        "mask_rle": "The mask as text",
        **{f"mask_rle.{name}": words for name, words in _RLE.items()},
    },
    "audio": {
        **_IDS, **_SHOT, **_AUDIO, **_IN_STORY,
        "video": "The clip: an mp4 with the picture of the shot",
        "audio": "The sound of the shot: FLAC, cut to the sample",
    },
}  # fmt: skip
_SCALARS = {
    "string": "text",
    "int32": "whole number",
    "int64": "whole number",
    "float32": "number",
    "float64": "number",
    "bool": "yes or no",
}


def column_meaning(config: str, path: str) -> str | None:
    """Return what a column, or a member of one, means; None where this file does not know it."""
    return _MEANINGS.get(config, {}).get(path)


def type_words(feature: Any) -> str:
    """Return the type of a column in words, such as "list of text"."""
    if isinstance(feature, Value):
        return _SCALARS.get(feature.dtype, feature.dtype)
    for kind, words in ((Video, "video"), (Image, "image"), (Audio, "audio")):
        if isinstance(feature, kind):
            rate = getattr(feature, "sampling_rate", None)
            return f"{words}, {rate:,} Hz" if rate else words
    if isinstance(feature, List):
        length = feature.length if feature.length is not None and feature.length >= 0 else None
        return f"list of {f'{length} x ' if length else ''}{type_words(feature.feature)}"
    return "struct"


def leaves(features: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, feature) of every column and of every member of structs, in order, parents first."""
    for name, feature in features.items():
        path = f"{prefix}{name}"
        yield path, feature
        inner = feature.feature if isinstance(feature, List) else feature
        if isinstance(inner, Mapping):
            yield from leaves(inner, f"{path}.")
