"""Every spelling of every key in the public release, and how an object's keys are read.

The project page, the real files, the prompts of the paper and the users of the release spell the same things
differently: `main scenes` or `main settings`, `narrative caption`, `narrative_caption` or `plot`. Case, underscores
and hyphens never matter.

Source: the AnimeShooter project page and release files; the prompts in the paper's appendix.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from animeshooter_hf.dataset_builder.release.values import Place, show

__all__ = ["AUDIO", "CHARACTER", "MASK", "REFERENCE", "RLE", "SCENE", "SCRIPT", "SEGMENT", "SHOT", "VIDEO"]
__all__ += ["fold_key", "is_same_scalar", "is_short", "layout_of", "read_keys"]


def _table(**spellings: str) -> dict[str, str]:
    return {alias: field for field, aliases in spellings.items() for alias in aliases.split(" | ")}


VIDEO = _table(
    video_id="video id | id | videoid | youtube id",
    url="url | video url",
    fps="fps | frame rate | framerate",
    segments="segments | segment",
)
"""Keys of a video."""

SCRIPT = _table(
    storyline="storyline | story line",
    characters="main characters | characters",
    scenes="main scenes | main settings | scenes | settings",
    shots="shots",
)
"""Keys of a story script."""

SEGMENT = {
    **_table(
        start_frame="start frame index | start frame",
        end_frame="end frame index | end frame",
        script="story script | script",
        references="reference images | references",
    ),
    **SCRIPT,
}
"""Keys of a segment; the script's keys may also stand in it directly."""

CHARACTER = _table(id="id | name", appearance="appearance | description")
"""Keys of a declared character."""

SCENE = _table(id="id | name", environment="environment | description")
"""Keys of a declared scene."""

AUDIO = _table(audio_type="type | audio type", sound_description="sound description", visual_context="visual context")
"""Keys of an audio annotation."""

_CAPTIONS = _table(
    narrative_caption="narrative caption | plot",
    descriptive_caption="descriptive caption | caption",
)

SHOT = {
    **_table(
        start="start time | start",
        end="end time | end",
        span="timestamp | time",
        clip_span="extra 4 second timestamp | extra 4 second segment",
        flag="is prologue or epilogue | prologue or epilogue",
        characters="main characters | characters | character",
        scene="scene | setting | main scene | main setting",
        visual="visual annotation",
        audio="audio annotation",
    ),
    **_CAPTIONS,
}
"""Keys of a shot; the visual annotation's keys may also stand in it directly."""

VISUAL = {**_CAPTIONS, **_table(audio="audio annotation")}
"""Keys of a visual annotation."""

REFERENCE = _table(id="id | name | character", masks="masks | mask")
"""Keys of a character's reference images."""

MASK = _table(frame="frame index | frame", rle="rle mask | rle | mask", size="size", counts="counts")
"""Keys of one reference mask; size and counts may also stand in it directly."""

RLE = _table(size="size", counts="counts")
"""Keys of a run-length mask."""


def is_same_scalar(one: object, other: object) -> bool:
    """Return whether two JSON values are equal and neither list nor object: those may be nested too deep to compare."""
    return isinstance(one, str | int | float) and type(one) is type(other) and one == other


def fold_key(key: str) -> str:
    """Return a key without regard to case, underscores, hyphens and spaces."""
    return _fold_short(key) if len(key) <= _LONGEST_KEY else _fold(key)


def _fold(key: str) -> str:
    return " ".join(key.casefold().replace("_", " ").replace("-", " ").split())


_fold_short = lru_cache(maxsize=4096)(_fold)


def read_keys(row: Mapping[Any, Any], table: Mapping[str, str], what: str, place: Place) -> dict[str, Any]:
    """Return field -> value for the known keys of an object that are not null; report the others.

    Args:
        row: A JSON object.
        table: Spelling -> field, one of the tables above.
        what: The object, in words, for reports.
        place: Where reports go.
    """
    layout = layout_of(tuple(row), table)
    if layout:
        values = row.values()
        if None not in values:
            return dict(zip(layout, values, strict=True))
        return {field: value for field, value in zip(layout, values, strict=True) if value is not None}
    fields: dict[str, Any] = {}
    for key, value in row.items():
        field = table.get(fold_key(key) if isinstance(key, str) else "")
        if field is None:
            place.report("unknown_key", f"{what}: {show(key)}")
        elif value is None:
            continue
        elif field not in fields:
            fields[field] = value
        elif not is_same_scalar(fields[field], value):
            place.report("key_conflict", f"{what}: {show(key)} is {show(value)}, {show(fields[field])} counts")
    return fields


_LAYOUTS: dict[tuple[int, tuple[Any, ...]], tuple[str, ...]] = {}
_MAX_LAYOUTS = 4096
_MOST_KEYS = 64
_LONGEST_KEY = 128
"""Objects of more keys than that and longer keys are not remembered, so that no file can fill the memory with them."""


def is_short(keys: tuple[Any, ...]) -> bool:
    """Return whether an object's keys may be remembered: neither many nor long."""
    return len(keys) <= _MOST_KEYS and all(len(key) <= _LONGEST_KEY for key in keys if isinstance(key, str))


def layout_of(keys: tuple[Any, ...], table: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fields of an object's keys, in their order; none where a key is unknown or a field comes twice.

    A release has millions of objects with the same few rows of keys, so each is looked up once.

    Args:
        keys: All keys of the object.
        table: Spelling -> field, one of the tables above.
    """
    layout = _LAYOUTS.get((id(table), keys))
    if layout is None:
        fields = [table.get(fold_key(key)) if isinstance(key, str) else None for key in keys]
        is_plain = None not in fields and len(set(fields)) == len(fields)
        layout = tuple(field for field in fields if field is not None) if is_plain else ()
        if not is_short(keys):
            return layout
        if len(_LAYOUTS) >= _MAX_LAYOUTS:
            _LAYOUTS.clear()
        _LAYOUTS[id(table), keys] = layout
    return layout
