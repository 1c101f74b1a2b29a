"""Stories -> the JSON of the public release, in the spelling of the file that they were read from.

`to_release_json` writes what the records hold. What they do not hold (unknown keys, times written in another way, the
order of masks) is kept beside the dataset, see `extras.py`; both together give the file back.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from animeshooter_hf.dataset_builder.release.keys import (
    AUDIO,
    CHARACTER,
    MASK,
    REFERENCE,
    RLE,
    SCENE,
    SCRIPT,
    SEGMENT,
    SHOT,
    VIDEO,
    VISUAL,
    fold_key,
    layout_of,
)  # fmt: skip
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import AudioAnnotation, ReferenceMask, Shot, Story, rle_to_json

__all__ = ["REAL_KEYS", "Spelling", "VideoShape", "find_spelling", "to_release_json"]

VideoShape = Literal["video", "segment", "segments"]
"""`video`: an object with its `segments`. `segment`: the only segment's keys stand in the video. `segments`: the bare
list."""

TimeStyle = Literal["minutes", "hours", "seconds"]
"""How a time is written: "01:02", "00:01:02" or 62."""

_TABLES = {
    "video": VIDEO, "segment": SEGMENT, "script": SCRIPT, "character": CHARACTER, "scene": SCENE, "shot": SHOT,
    "visual": VISUAL, "audio": AUDIO, "reference": REFERENCE, "mask": MASK, "rle": RLE,
}  # fmt: skip

REAL_KEYS: dict[str, dict[str, str]] = {
    "video": {"video_id": "video ID", "url": "url", "fps": "fps", "segments": "segments"},
    "segment": {
        "start_frame": "start frame index",
        "end_frame": "end frame index",
        "script": "story script",
        "references": "reference images",
    },
    "script": {
        "storyline": "storyline",
        "characters": "main characters",
        "scenes": "main settings",
        "shots": "shots",
    },
    "character": {"id": "ID", "appearance": "appearance"},
    "scene": {"id": "ID", "environment": "environment"},
    "shot": {
        "start": "start time",
        "end": "end time",
        "clip_span": "extra 4-second timestamp",
        "flag": "is_prologue_or_epilogue",
        "characters": "main characters",
        "scene": "setting",
        "visual": "visual annotation",
    },
    "visual": {
        "narrative_caption": "narrative caption",
        "descriptive_caption": "descriptive caption",
        "audio": "audio annotation",
    },
    "audio": {
        "audio_type": "type",
        "sound_description": "sound description",
        "visual_context": "visual context",
    },
    "reference": {"id": "ID", "masks": "masks"},
    "mask": {"frame": "frame index", "rle": "rle mask"},
    "rle": {"size": "size", "counts": "counts"},
}
"""Kind of object -> field -> key, as in the real file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """How one video's file spells its keys; the release has several ways, each file keeps to one."""

    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind -> field -> key, in the order of the file, where that differs from `REAL_KEYS`."""

    times: TimeStyle = "minutes"
    """How times are written."""

    placeholder: Any = None
    """What stands where a mask should be, if the file has a placeholder there."""

    def of(self, kind: str) -> Mapping[str, str]:
        """Return field -> key of a kind of object."""
        return self.keys.get(kind) or REAL_KEYS[kind]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without what is as in the real file."""
        row = {"keys": self.keys, "times": self.times, "placeholder": self.placeholder}
        return {key: value for key, value in row.items() if value not in ({}, "minutes", None)}


def to_release_json(
    stories: Sequence[Story | None], spelling: Spelling | None = None, *, shape: VideoShape = "video"
) -> Any:
    """Return one video's stories in the form of the public release, ready for `json.dumps`.

    Args:
        stories: The stories of one video, in order; None leaves an empty segment in its place.
        spelling: How keys and times are written; as in the real file if None.
        shape: Where the segments stand.

    Raises:
        ValueError: If there is no story, or they are of several videos.
    """
    told = [story for story in stories if story is not None]
    if len({story.video_id for story in told}) != 1:
        raise ValueError(f"One video's stories are needed, got those of {len({s.video_id for s in told})}.")
    writer = _Writer(spelling or Spelling())
    segments = [{} if story is None else writer.segment(story) for story in stories]
    if shape == "segments":
        return segments
    rate = told[0].frame_rate
    fields = {"video_id": told[0].video_id, "url": told[0].url, "fps": None if rate is None else float(rate)}
    if shape == "segment":
        return {**writer.row("video", fields), **segments[0]}
    return writer.row("video", {**fields, "segments": segments})


def find_spelling(video: Any) -> Spelling:
    """Return how a video of the release spells its keys, from the first object of each kind that has the key."""
    found: dict[str, dict[str, str]] = {}
    first: dict[str, Any] = {}
    seen: set[tuple[str, tuple[str, ...]]] = set()

    def look(kind: str, row: Any) -> dict[str, Any]:
        if not isinstance(row, dict):
            return {}
        keys = tuple(row)
        layout = layout_of(keys, _TABLES[kind])
        if (kind, keys) not in seen:
            seen.add((kind, keys))
            known = found.setdefault(kind, {})
            for key in keys:
                name = _TABLES[kind].get(fold_key(key))
                if name is not None:
                    known.setdefault(name, key)
        if layout:
            return dict(zip(layout, row.values(), strict=True))
        fields: dict[str, Any] = {}
        for key, value in row.items():
            name = _TABLES[kind].get(fold_key(key))
            if name is not None:
                fields.setdefault(name, value)
        return fields

    top = {"segments": video} if isinstance(video, list) else look("video", video)
    segments = top.get("segments") if "segments" in top else [video]
    for segment in _items(segments):
        fields = look("segment", segment)
        fields = {**fields, **look("script", fields.get("script"))}
        for kind in ("character", "scene"):
            for row in _items(fields.get(f"{kind}s"))[:1]:
                look(kind, row)
        for row in _items(fields.get("shots")):
            shot = look("shot", row)
            shot = {**look("visual", shot.get("visual")), **shot}
            look("audio", shot.get("audio"))
            first.setdefault("time", shot.get("start"))
        for row in _items(fields.get("references"))[:1]:
            for mask in _items(look("reference", row).get("masks"))[:1]:
                rle = look("mask", mask).get("rle")
                if isinstance(look("rle", rle).get("counts"), str):
                    first.setdefault("rle", rle)
    return Spelling(
        keys={kind: keys for kind, keys in found.items() if keys and not _is_real(kind, keys)},
        times=_time_style(first.get("time")),
        placeholder=first.get("rle") if _is_placeholder(first.get("rle")) else None,
    )


def _is_real(kind: str, keys: Mapping[str, str]) -> bool:
    """Return whether keys are the real file's, in its order; an address or a sound may be absent all the same."""
    expected = [(name, key) for name, key in REAL_KEYS[kind].items() if name in keys or name not in ("audio", "url")]
    return list(keys.items()) == expected


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_placeholder(rle: Any) -> bool:
    """Return whether a mask holds a sentence instead of runs, and else only numbers."""
    if not isinstance(rle, dict) or not any(isinstance(value, str) and " " in value for value in rle.values()):
        return False
    flat = [item for value in rle.values() for item in (value if isinstance(value, list) else [value])]
    return len(flat) <= 8 and all(isinstance(item, str | int | float) for item in flat)


def _time_style(value: Any) -> TimeStyle:
    if isinstance(value, int | float):
        return "seconds"
    return "hours" if isinstance(value, str) and value.count(":") == 2 else "minutes"


class _Writer:
    """Writes records as objects of the release."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self._of = {kind: spelling.of(kind) for kind in REAL_KEYS}
        self._clock = _CLOCKS[spelling.times]

    def row(self, kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return an object in the file's order of keys; what is null is left out."""
        known = self._of[kind]
        row = {key: value for name, key in known.items() if (value := fields.get(name)) is not None}
        if len(row) == len(fields):  # each field has its key, which is nearly always so
            return row
        for name, value in fields.items():
            if name not in known and value not in (None, False, "", []):
                row[REAL_KEYS[kind].get(name) or name.replace("_", " ")] = value
        return row

    def segment(self, story: Story) -> dict[str, Any]:
        """Return a segment."""
        characters = [self.row("character", {"id": c.id, "appearance": c.appearance}) for c in story.characters]
        scenes = [self.row("scene", {"id": s.id, "environment": s.environment}) for s in story.scenes]
        shots = [self._shot(shot) for shot in story.shots]
        script = {"storyline": story.storyline, "characters": characters, "scenes": scenes, "shots": shots}
        fields = {
            "start_frame": story.start_frame,
            "end_frame": story.end_frame,
            "references": self._references(story.references),
        }
        if "script" in self._of["segment"]:
            return self.row("segment", {**fields, "script": self.row("script", script)})
        return self.row("segment", {**fields, **script})

    def _shot(self, shot: Shot) -> dict[str, Any]:
        known, clock = self._of["shot"], self._clock
        start, end, clip = shot.start_seconds, shot.end_seconds, None
        if shot.clip_start_seconds is not None and shot.clip_end_seconds is not None:
            clip = f"{_minutes(shot.clip_start_seconds)}-{_minutes(shot.clip_end_seconds)}"
        fields: dict[str, Any] = {
            "clip_span": clip,
            "flag": shot.is_prologue_or_epilogue,
            "characters": list(shot.characters),
            "scene": shot.scene,
        }
        if start is not None and end is not None:
            if "span" in known and "start" not in known:
                fields["span"] = f"{_minutes(start)}-{_minutes(end)}"
            else:
                fields |= {"start": clock(start), "end": clock(end)}
        visual = {
            "narrative_caption": shot.narrative_caption,
            "descriptive_caption": shot.descriptive_caption,
        }
        audio = None if shot.audio is None else self._audio(shot.audio)
        if "audio" in known or "visual" not in known:
            fields["audio"] = audio
        else:
            visual["audio"] = audio  # type: ignore[assignment]
        if "visual" not in known:
            return self.row("shot", {**fields, **visual})
        return self.row("shot", {**fields, "visual": self.row("visual", visual)})

    def _audio(self, audio: AudioAnnotation) -> dict[str, Any]:
        texts = {name: getattr(audio, name) for name in ("audio_type", "sound_description", "visual_context")}
        return self.row("audio", {name: text or None for name, text in texts.items()})

    def _references(self, references: Sequence[ReferenceMask]) -> list[dict[str, Any]]:
        """Return the masks by character, in the order in which the characters are first seen."""
        masks: dict[str, list[dict[str, Any]]] = {}
        is_nested = "rle" in self._of["mask"]
        placeholder = self._spelling.placeholder
        plain = self._plain_mask()
        for reference in references:
            if plain is not None and reference.mask is not None:
                masks.setdefault(reference.character_id, []).append(plain(reference.frame_index, reference.mask))
                continue
            rle = rle_to_json(reference.mask) or copy.deepcopy(placeholder)
            fields: dict[str, Any] = {"frame": reference.frame_index}
            if rle is not None and reference.mask is not None:
                rle = self.row("rle", rle)
            fields |= {"rle": rle} if is_nested else dict(rle or {})
            masks.setdefault(reference.character_id, []).append(self.row("mask", fields))
        return [self.row("reference", {"id": name, "masks": rows}) for name, rows in masks.items()]

    def _plain_mask(self) -> Callable[[int, RleMask], dict[str, Any]] | None:
        """Return what writes a mask as nearly all files do, the frame and the runs in an object; else None."""
        of_mask, of_rle = self._of["mask"], self._of["rle"]
        if tuple(of_mask) != ("frame", "rle") or tuple(of_rle) != ("size", "counts"):
            return None
        frame, rle, size, counts = *of_mask.values(), *of_rle.values()
        return lambda index, mask: {frame: index, rle: {size: [mask.height, mask.width], counts: mask.counts}}


@lru_cache(maxsize=4096)
def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60):02d}:{_two_digits(seconds % 60)}"


def _hours(seconds: float) -> str:
    return f"{int(seconds // 3600):02d}:{_minutes(seconds % 3600)}"


_CLOCKS: dict[TimeStyle, Callable[[float], Any]] = {"minutes": _minutes, "hours": _hours, "seconds": float}


def _two_digits(seconds: float) -> str:
    whole = f"{seconds:09.6f}"
    return whole.rstrip("0").rstrip(".") if "." in whole and not whole.endswith(".000000") else whole[:2]
