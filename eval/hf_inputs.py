"""The inputs of the modules of `evaluate`: columns with an entry per story, checked as a predictions file is.

`evaluate.combine(...).add_batch` hands on two columns only, predictions and references. So an entry of `predictions`
may also be a whole story, as an object of a predictions file.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.predictions import parse_story
from animeshooter_hf.eval.regions import Region, region_to_json
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["COLUMNS", "INPUTS", "make_stories"]

COLUMNS: Mapping[str, str] = {
    "story_ids": "story_id",
    "ip_ids": "ip_id",
    "captions": "captions",
    "scene_ids": "scene_ids",
    "characters": "shot_characters",
    "reference_characters": "reference_characters",
    "regions": "regions",
    "sound": "sound",
    "sound_captions": "sound_captions",
    "tracks": "track",
}
"""Optional column -> key of a predictions file."""

INPUTS = """
Args:
    predictions: one entry per story: the paths of its shots in order; or an object as in a predictions file.
    references: one entry per story: its reference images (RGBA cut-outs are best), paths or
        {"character": name, "image": path}.
    story_ids: optional, one name per story.
    ip_ids: optional, one name per story; stories of one IP share it. By default those with equal references share one.
    captions: optional, one list per story with the caption of each shot.
    scene_ids: optional, one list per story with the scene of each shot, or None.
    characters: optional, one list per story: per shot, the names of those who should be seen.
    reference_characters: optional, one list per story: whom each reference shows.
    regions: optional, one list per story: per shot, an object from names to lists of {"frame": n, "box": [l, t, r, b]}
        or {"frame": n, "mask": {"size": [h, w], "counts": text}}. A name "?..." is somebody found and not named.
    sound: optional, one list per story: a sound file beside each shot, or None.
    sound_captions: optional, one list per story: what should be heard in each shot.
    tracks: optional, one name per story.
    per_story: `compute` only: also return the list `per_story`.
Returns:
    Flat numbers (`None` where there is nothing to score), coverage counts, and `signature`.
"""


def make_stories(
    predictions: Sequence[Any] | None,
    references: Sequence[Any] | None,
    columns: Mapping[str, Any],
    *,
    prefix: str,
    start: int,
) -> list[StoryPrediction]:
    """Return the stories of some columns.

    Args:
        predictions: As in `INPUTS`.
        references: As in `INPUTS`; None for none.
        columns: Optional columns; one that is None is not given.
        prefix: What stories without a name are called, with a number behind it.
        start: The first number.

    Raises:
        InputError: If a column is unknown, holds another number of entries, or an entry is malformed.
    """
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise InputError(f"Unknown input {unknown[0]!r}. Inputs: predictions, references, {', '.join(COLUMNS)}.")
    if predictions is None:
        raise InputError("predictions are missing: give one list of shot paths per story.")
    given = {name: column for name, column in columns.items() if column is not None}
    for name, column in {"predictions": predictions, "references": references, **given}.items():
        if column is not None and (isinstance(column, str | Mapping) or len(column) != len(predictions)):
            raise InputError(f"{name} must hold one entry for each of {len(predictions)} stories, got {column!r:.80}.")
    stories = []
    for index, entry in enumerate(predictions):
        row = _row(index, entry)
        if references is not None and references[index] is not None:
            _add(row, index, _references(index, references[index]))
        _add(row, index, {COLUMNS[name]: _plain(column[index]) for name, column in given.items()})
        row.setdefault("story_id", f"{prefix}{start + index}")
        row.setdefault("ip_id", _ip_of(row.get("references") or ()))
        stories.append(parse_story(row, f"predictions[{index}]", Path()))
    return stories


def _row(index: int, entry: Any) -> dict[str, Any]:
    """Return an entry of `predictions` as an object of a predictions file."""
    if isinstance(entry, Mapping):
        return {key: _plain(value) for key, value in entry.items() if value is not None}
    shots = _plain(entry)
    if not isinstance(shots, list) or not all(isinstance(path, str) for path in shots):
        raise InputError(f"predictions[{index}] must be a list of paths or an object, got {entry!r:.80}.")
    return {"shots": shots}


def _references(index: int, entry: Any) -> dict[str, Any]:
    """Return the keys that an entry of `references` stands for."""
    pictures = _plain(entry)
    if not isinstance(pictures, list):
        raise InputError(f"references[{index}] must be a list of paths, got {entry!r:.80}.")
    if pictures and all(isinstance(one, Mapping) and set(one) == {"character", "image"} for one in pictures):
        return {
            "references": [one["image"] for one in pictures],
            "reference_characters": [one["character"] for one in pictures],
        }
    if not all(isinstance(path, str) for path in pictures):
        raise InputError(
            f'references[{index}] must be a list of paths, or of {{"character": name, "image": path}}, '
            f"got {entry!r:.80}."
        )
    return {"references": pictures} if pictures else {}


def _add(row: dict[str, Any], index: int, more: Mapping[str, Any]) -> None:
    """Add keys to a story; the same key twice is refused, since one of them would be lost."""
    for key, value in more.items():
        if value is None:
            continue
        if key in row:
            raise InputError(f"{key!r} of predictions[{index}] is given twice.")
        row[key] = value


def _plain(value: Any) -> Any:
    """Return a value as JSON would hold it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Region):
        return region_to_json(value)
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inside) for inside in value]
    return value


def _ip_of(references: Sequence[Any]) -> str:
    """Return a name for an IP that is known by its references only."""
    return "+".join(sorted(f"file:{Path(path).resolve()}" for path in references if isinstance(path, str))) or "unknown"
