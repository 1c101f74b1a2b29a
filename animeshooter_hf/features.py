"""The typed features of the four configs; what `load_dataset` gives back, column by column.

`stories`     one row per story: the whole hierarchy, no media bytes, so that captions stay cheap to read
`shots`       one row per shot, its clip embedded
`references`  one row per character reference: the frame, the cut-out and the mask
`audio`       AnimeShooter-audio: one row per shot with its synchronised sound and its description

Text and media stand in different configs on purpose: nested media would be decoded for every caption read.

The package needs datasets 5; with older ones only this file and the reader of the release work, for the loading script:
before 4.0 there was no `List`, before 3.2 no `Video`.
"""

from typing import Any

import datasets
from datasets import Audio, Features, Image, Value

__all__ = ["AUDIO_SAMPLE_RATE", "CONFIGS", "CONFIG_NAMES", "audio", "references", "shots", "stories"]

AUDIO_SAMPLE_RATE = 44_100
"""Samples per second of the `audio` config. Our choice: what the paper's text-to-audio model gives."""


def _list(feature: Any, length: int = -1) -> Any:
    if hasattr(datasets, "List"):
        return datasets.List(feature, length=length)
    return [feature] if length == -1 else datasets.Sequence(feature, length=length)


_TEXT, _WHOLE, _NUMBER, _FLAG = Value("string"), Value("int32"), Value("float64"), Value("bool")
_VIDEO = datasets.Video() if hasattr(datasets, "Video") else {"bytes": Value("binary"), "path": _TEXT}
_IDS = {"video_id": _TEXT, "story_id": _TEXT}
_RLE = {"size": _list(_WHOLE, length=2), "counts": _TEXT}
_SHOT = {
    "shot_id": _TEXT,
    "shot_index": _WHOLE,
    "start_time": _NUMBER,
    "end_time": _NUMBER,
    "start_frame": _WHOLE,
    "end_frame": _WHOLE,
    "clip_start_time": _NUMBER,
    "clip_end_time": _NUMBER,
    "is_prologue_or_epilogue": _FLAG,
    "characters": _list(_TEXT),
    "scene": _TEXT,
    "narrative_caption": _TEXT,
    "descriptive_caption": _TEXT,
}
_AUDIO = {"audio_type": _TEXT, "sound_description": _TEXT, "visual_context": _TEXT}

stories = Features(
    {
        **_IDS,
        "url": _TEXT,
        "license": _TEXT,
        "rating": _TEXT,
        "fps": _NUMBER,
        "start_frame": _WHOLE,
        "end_frame": _WHOLE,
        "storyline": _TEXT,
        "main_characters": _list({"id": _TEXT, "appearance": _TEXT}),
        "main_scenes": _list({"id": _TEXT, "environment": _TEXT}),
        "shots": _list({**_SHOT, "audio_annotation": _AUDIO}),
        "reference_masks": _list({"character_id": _TEXT, "frame_index": _WHOLE, "mask": _RLE}),
    }
)
"""One row per story. `start_time` and `end_time` count from the story's start, frames from the video's."""

shots = Features({**_IDS, **_SHOT, "num_shots": _WHOLE, "storyline": _TEXT, "video": _VIDEO})
"""One row per shot; `video` is an H.264 mp4 that holds exactly the shot's frames."""

references = Features(
    {
        **_IDS,
        "character_id": _TEXT,
        "appearance": _TEXT,
        "frame_index": _WHOLE,
        "timestamp": _NUMBER,
        "is_verified": _FLAG,
        "score": Value("float32"),
        "image": Image(),
        "cutout": Image(),
        "mask": Image(),
        "mask_rle": _RLE,
    }
)
"""One row per reference; `cutout` is frame times mask with alpha, `timestamp` is seconds in the video."""

audio = Features(
    {
        **_IDS,
        **_SHOT,
        **_AUDIO,
        "num_shots": _WHOLE,
        "storyline": _TEXT,
        "video": _VIDEO,
        "audio": Audio(sampling_rate=AUDIO_SAMPLE_RATE),
    }
)
"""One row per shot with sound; `audio` is FLAC, cut to the sample."""

CONFIGS: dict[str, Features] = {"stories": stories, "shots": shots, "references": references, "audio": audio}
"""Config name -> features, in the order in which the README lists them. The first one is the default."""

CONFIG_NAMES = tuple(CONFIGS)
