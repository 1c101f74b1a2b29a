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
__all__ += ["fold_key", "is_same_scalar", "read_keys"]


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


@lru_cache(maxsize=4096)
def fold_key(key: str) -> str:
    """Return a key without regard to case, underscores, hyphens and spaces."""
    return " ".join(key.casefold().replace("_", " ").replace("-", " ").split())


def read_keys(row: Mapping[Any, Any], table: Mapping[str, str], what: str, place: Place) -> dict[str, Any]:
    """Return field -> value for the known keys of an object that are not null; report the others.

    Args:
        row: A JSON object.
        table: Spelling -> field, one of the tables above.
        what: The object, in words, for reports.
        place: Where reports go.
    """
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
