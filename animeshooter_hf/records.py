"""The records that every room shares: a story, its characters, scenes and shots, and what a shot sounds like.

A record is frozen and checks itself when made. Its JSON form is the row of the `stories` config, key for key
(see `features.py`), and this file is the only place where that form is read and written. The many spellings of the
public release are read by `dataset_builder.release`, which ends in these records too.

Time: frames are counted from the start of the *video*, ranges are half-open; `start_seconds` and `end_seconds`
are counted from the start of the *story*, as in the paper's annotation.

Source: AnimeShooter, arXiv 2506.03126, section 3 (hierarchy) and the released annotation files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from animeshooter_hf.clock import exact_frame_rate, seconds_at
from animeshooter_hf.masks import RleMask

__all__ = [
    "AudioAnnotation",
    "Character",
    "ReferenceMask",
    "Scene",
    "Shot",
    "Story",
    "make_shot_id",
    "make_story_id",
]


def make_story_id(video_id: str, segment_index: int) -> str:
    """Return the ID of a video's n-th segment, such as "LvJRvwIDh0E_003"."""
    return f"{video_id}_{segment_index:03d}"


def make_shot_id(story_id: str, shot_index: int) -> str:
    """Return the ID of a story's n-th shot, such as "LvJRvwIDh0E_003_07"."""
    return f"{story_id}_{shot_index:02d}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Character:
    """A main character of one story."""

    id: str
    """Name within the story. The same name in another story may be somebody else."""

    appearance: str = ""
    """What the character looks like, in words."""

    def __post_init__(self) -> None:
        _require_text("Character.id", self.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A main place of one story."""

    id: str
    """Name within the story."""

    environment: str = ""
    """What the place looks like, in words."""

    def __post_init__(self) -> None:
        _require_text("Scene.id", self.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioAnnotation:
    """What a shot of AnimeShooter-audio sounds like (paper, appendix A.3)."""

    audio_type: str
    """Category of the effect, such as "footsteps"."""

    sound_description: str = ""
    """Pitch, intensity and temporal pattern, in words."""

    visual_context: str = ""
    """The source of the sound on screen, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceMask:
    """Where a character is in one frame of the video; frame times mask is a reference image."""

    character_id: str
    """The `Character.id` in the same story."""

    frame_index: int
    """Frame of the original video."""

    mask: RleMask | None = None
    """The region, or None where the release holds a placeholder."""

    def __post_init__(self) -> None:
        _require_text("ReferenceMask.character_id", self.character_id)
        if self.frame_index < 0:
            raise ValueError(f"ReferenceMask.frame_index must not be negative, got {self.frame_index}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """One shot of a story. Times may be missing in a story that has not been filmed yet."""

    shot_id: str
    """Unique in the dataset."""

    index: int
    """Position in the story, from 0."""

    start_frame: int | None = None
    """First frame, counted in the video."""

    end_frame: int | None = None
    """Frame after the last one, counted in the video."""

    start_seconds: float | None = None
    """Start, counted from the start of the story."""

    end_seconds: float | None = None
    """End, counted from the start of the story."""

    clip_start_seconds: float | None = None
    """Start of the span that shows a long shot best (the release's "extra 4-second timestamp")."""

    clip_end_seconds: float | None = None
    """End of that span."""

    is_prologue_or_epilogue: bool = False
    """Whether it is an opening or a closing that is not part of the plot."""

    characters: tuple[str, ...] = ()
    """`Character.id` of those who appear."""

    scene: str | None = None
    """`Scene.id`, or None where there is none."""

    narrative_caption: str | None = None
    """What happens, in words."""

    descriptive_caption: str | None = None
    """What is seen, in words."""

    audio: AudioAnnotation | None = None
    """What is heard, where annotated."""

    def __post_init__(self) -> None:
        _require_text("Shot.shot_id", self.shot_id)
        if self.index < 0:
            raise ValueError(f"Shot.index must not be negative, got {self.index}.")
        object.__setattr__(self, "characters", tuple(self.characters))
        _require_range(self.shot_id, "frames", self.start_frame, self.end_frame)
        _require_range(self.shot_id, "seconds", self.start_seconds, self.end_seconds)
        _require_range(self.shot_id, "clip seconds", self.clip_start_seconds, self.clip_end_seconds)

    @property
    def num_frames(self) -> int | None:
        """Frames in the shot, or None where its frames are unknown."""
        if self.start_frame is None or self.end_frame is None:
            return None
        return self.end_frame - self.start_frame

    @property
    def caption(self) -> str:
        """The descriptive caption, or the narrative one where there is no other; "" where there is none."""
        return self.descriptive_caption or self.narrative_caption or ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """About a minute of one video: a storyline, its characters, scenes and shots."""

    video_id: str
    """ID of the video, such as a YouTube ID or a file's stem."""

    story_id: str
    """Unique in the dataset; `make_story_id` makes it."""

    url: str | None = None
    """Where the video can be found."""

    frame_rate: Fraction | None = None
    """Frames per second of the annotation, exact; None where the release leaves it out."""

    start_frame: int | None = None
    """First frame of the segment in the video."""

    end_frame: int | None = None
    """Frame after the segment's last one."""

    storyline: str = ""
    """The plot, in words."""

    characters: tuple[Character, ...] = ()
    """Main characters. Paper: one to three."""

    scenes: tuple[Scene, ...] = ()
    """Main scenes. Paper: one to three; the release holds up to five."""

    shots: tuple[Shot, ...] = ()
    """In order of time."""

    references: tuple[ReferenceMask, ...] = ()
    """Where the characters can be cut out, in order of frame."""

    license: str | None = None
    """Licence of the video, as its source states it; None where it is unknown."""

    rating: str | None = None
    """For whom the video is fit: "general", "teen" or "mature"; None where nobody has looked."""

    def __post_init__(self) -> None:
        _require_text("Story.video_id", self.video_id)
        _require_text("Story.story_id", self.story_id)
        for name in ("characters", "scenes", "shots", "references"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.frame_rate is not None:
            object.__setattr__(self, "frame_rate", exact_frame_rate(self.frame_rate))
        _require_range(self.story_id, "frames", self.start_frame, self.end_frame)
        for kind, records in (("character", self.characters), ("scene", self.scenes)):
            names = [record.id for record in records]
            if len(set(names)) != len(names):
                raise ValueError(f"Story {self.story_id} declares a {kind} twice: {', '.join(sorted(names))}.")
        for position, shot in enumerate(self.shots):
            if shot.index != position:
                raise ValueError(f"Story {self.story_id}: shot {position} carries the index {shot.index}.")

    @property
    def duration_seconds(self) -> float | None:
        """Length of the segment, or None where frames or rate are unknown."""
        if self.frame_rate is None or self.start_frame is None or self.end_frame is None:
            return None
        return seconds_at(self.end_frame - self.start_frame, self.frame_rate)

    @classmethod
    def from_captions(
        cls, captions: Sequence[str], *, story_id: str = "story", characters: Sequence[Character] = ()
    ) -> "Story":
        """Return a story that has only captions yet, one shot each, with every character in every shot.

        Raises:
            ValueError: If there is no caption, or one is empty.
        """
        if isinstance(captions, str) or not captions:
            raise ValueError(f"captions must be a list of at least one text, got {captions!r}.")
        for number, caption in enumerate(captions):
            _require_text(f"Caption {number}", caption)
        shots = [
            Shot(
                shot_id=make_shot_id(story_id, index),
                index=index,
                descriptive_caption=caption,
                characters=tuple(character.id for character in characters),
            )
            for index, caption in enumerate(captions)
        ]
        return cls(video_id=story_id, story_id=story_id, characters=tuple(characters), shots=tuple(shots))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Story":
        """Return the story of its JSON form; what is absent or null keeps its default.

        Args:
            data: The keys of a `stories` row. A shot needs neither `shot_id` nor `shot_index`.

        Raises:
            ValueError: If a key is unknown or a value does not fit; the message names the key and the story.
        """
        if not isinstance(data, Mapping):
            raise ValueError(f"A story must be a JSON object, got {type(data).__name__}.")
        name = data.get("story_id") or data.get("video_id") or "story"
        if not isinstance(name, str):
            raise ValueError(f"story_id must be a text, got {name!r}.")
        rate = data.get("fps")
        fields = _read(data, f"story {name}", {**_STORY_KEYS, "fps": "frame_rate"}, nested=_STORY_LISTS)
        shots = _read_list(data, "shots", f"story {name}")
        return cls(
            **{
                **fields,
                "video_id": fields.get("video_id", name),
                "story_id": name,
                "frame_rate": None if rate is None else exact_frame_rate(rate),
                "characters": tuple(
                    Character(**_read(row, f"a character of story {name}", _CHARACTER_KEYS))
                    for row in _read_list(data, "main_characters", f"story {name}")
                ),
                "scenes": tuple(
                    Scene(**_read(row, f"a scene of story {name}", _SCENE_KEYS))
                    for row in _read_list(data, "main_scenes", f"story {name}")
                ),
                "shots": tuple(_shot_from_json(row, index, name) for index, row in enumerate(shots)),
                "references": tuple(
                    _reference_from_json(row, name) for row in _read_list(data, "reference_masks", f"story {name}")
                ),
            }
        )

    @classmethod
    def from_dataset_row(cls, row: Mapping[str, Any]) -> "Story":
        """Return the story of a row of the `stories` config; the same keys as the JSON form."""
        return cls.from_json(row)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: the row of the `stories` config, every key present, absent values null."""
        return {
            "video_id": self.video_id,
            "story_id": self.story_id,
            "url": self.url,
            "license": self.license,
            "rating": self.rating,
            "fps": None if self.frame_rate is None else float(self.frame_rate),
            "start_frame": self.start_frame,
            "end_frame": self.end_frame,
            "storyline": self.storyline,
            "main_characters": [{"id": c.id, "appearance": c.appearance} for c in self.characters],
            "main_scenes": [{"id": s.id, "environment": s.environment} for s in self.scenes],
            "shots": [shot_to_json(shot) for shot in self.shots],
            "reference_masks": [
                {"character_id": r.character_id, "frame_index": r.frame_index, "mask": rle_to_json(r.mask)}
                for r in self.references
            ],
        }

    def with_shots(self, shots: Sequence[Shot]) -> "Story":
        """Return the same story with other shots."""
        return replace(self, shots=tuple(shots))


_STORY_KEYS = {
    "video_id": "video_id",
    "story_id": "story_id",
    "url": "url",
    "license": "license",
    "rating": "rating",
    "start_frame": "start_frame",
    "end_frame": "end_frame",
    "storyline": "storyline",
}
_STORY_LISTS = ("main_characters", "main_scenes", "shots", "reference_masks")
_CHARACTER_KEYS = {"id": "id", "appearance": "appearance"}
_SCENE_KEYS = {"id": "id", "environment": "environment"}
_AUDIO_KEYS = {key: key for key in ("audio_type", "sound_description", "visual_context")}
_SHOT_KEYS = {
    "shot_id": "shot_id",
    "shot_index": "index",
    "start_time": "start_seconds",
    "end_time": "end_seconds",
    "start_frame": "start_frame",
    "end_frame": "end_frame",
    "clip_start_time": "clip_start_seconds",
    "clip_end_time": "clip_end_seconds",
    "is_prologue_or_epilogue": "is_prologue_or_epilogue",
    "characters": "characters",
    "scene": "scene",
    "narrative_caption": "narrative_caption",
    "descriptive_caption": "descriptive_caption",
}
_TEXTS = {
    "scene",
    "storyline",
    "url",
    "license",
    "rating",
    "id",
    "appearance",
    "environment",
    "video_id",
    "story_id",
    "shot_id",
    *_AUDIO_KEYS,
}
_TEXTS |= {"narrative_caption", "descriptive_caption"}
_WHOLE = {"start_frame", "end_frame", "index"}
_SECONDS = {"start_seconds", "end_seconds", "clip_start_seconds", "clip_end_seconds"}


def shot_to_json(shot: Shot) -> dict[str, Any]:
    """Return a shot as it stands in the `shots` list of a story's JSON form."""
    audio = shot.audio
    return {
        "shot_id": shot.shot_id,
        "shot_index": shot.index,
        "start_time": shot.start_seconds,
        "end_time": shot.end_seconds,
        "start_frame": shot.start_frame,
        "end_frame": shot.end_frame,
        "clip_start_time": shot.clip_start_seconds,
        "clip_end_time": shot.clip_end_seconds,
        "is_prologue_or_epilogue": shot.is_prologue_or_epilogue,
        "characters": list(shot.characters),
        "scene": shot.scene,
        "narrative_caption": shot.narrative_caption,
        "descriptive_caption": shot.descriptive_caption,
        "audio_annotation": None if audio is None else {key: getattr(audio, key) for key in _AUDIO_KEYS},
    }


def rle_to_json(mask: RleMask | None) -> dict[str, Any] | None:
    """Return a mask as COCO writes it, `{"size": [height, width], "counts": text}`, or None."""
    return None if mask is None else {"size": [mask.height, mask.width], "counts": mask.counts}


def _shot_from_json(row: Mapping[str, Any], index: int, story_id: str) -> Shot:
    where = f"shot {index} of story {story_id}"
    fields = _read(row, where, _SHOT_KEYS, nested=("audio_annotation",))
    audio = row.get("audio_annotation")
    if isinstance(audio, Mapping) and any(value is not None for value in audio.values()):
        fields["audio"] = AudioAnnotation(**_read(audio, f"the audio annotation of {where}", _AUDIO_KEYS))
    return Shot(**{"shot_id": make_shot_id(story_id, index), "index": index, **fields})


def _reference_from_json(row: Mapping[str, Any], story_id: str) -> ReferenceMask:
    where = f"a reference mask of story {story_id}"
    fields = _read(row, where, {"character_id": "character_id", "frame_index": "frame_index"}, nested=("mask",))
    rle = row.get("mask")
    if rle is not None and rle.get("size") and rle.get("counts") is not None:
        height, width = rle["size"]
        fields["mask"] = RleMask(int(height), int(width), rle["counts"])
    return ReferenceMask(**fields)


def _read(row: Mapping[str, Any], where: str, keys: Mapping[str, str], *, nested: Sequence[str] = ()) -> dict[str, Any]:
    """Return field -> value for the keys of a JSON object that are present and not null."""
    if not isinstance(row, Mapping):
        raise ValueError(f"Expected {where} to be a JSON object, got {type(row).__name__}.")
    unknown = sorted(set(row) - set(keys) - set(nested))
    if unknown:
        allowed = ", ".join(sorted([*keys, *nested]))
        raise ValueError(f"Unknown key {unknown[0]!r} in {where}. Known keys: {allowed}.")
    fields = {field: row[key] for key, field in keys.items() if row.get(key) is not None and key != "fps"}
    for field, value in fields.items():
        expected = _expectation(field, value)
        if expected:
            raise ValueError(f"{field} in {where} must be {expected}, got {value!r}.")
    return fields


def _expectation(field: str, value: object) -> str | None:
    """Return what a field must be, in words, if the value is not that."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    rules = (
        (field in _TEXTS, isinstance(value, str), "a text"),
        (field in _WHOLE, is_number and isinstance(value, int), "a whole number"),
        (field in _SECONDS, is_number, "a number"),
        (field == "is_prologue_or_epilogue", isinstance(value, bool), "true or false"),
        (field == "characters", _is_text_list(value), "a list of texts"),
    )
    return next((words for applies, fits, words in rules if applies and not fits), None)


def _read_list(data: Mapping[str, Any], key: str, where: str) -> Sequence[Any]:
    value = data.get(key)
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise ValueError(f"{key} in {where} must be a list, got {type(value).__name__}.")
    return value


def _is_text_list(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _require_text(what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be a text that is not empty, got {value!r}.")


def _require_range(name: str, unit: str, start: float | None, end: float | None) -> None:
    if (start is None) != (end is None):
        raise ValueError(f"{name}: {unit} need both a start and an end, got {start} and {end}.")
    if start is None or end is None:
        return
    if not (math.isfinite(start) and math.isfinite(end)) or start < 0 or end < start:
        raise ValueError(f"{name}: {unit} must satisfy 0 <= start <= end, got {start} and {end}.")
