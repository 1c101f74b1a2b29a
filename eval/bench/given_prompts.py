"""Read stories that somebody wrote, as JSON, YAML or CSV.

JSON and YAML hold a list of stories (or {"stories": [...]}):

    - ip: mia                         the IP; mia+leo for a story of both
      captions: ["Mia wakes up.", "Mia runs along the beach."]
      track: main                     optional: main
      storyline: "A day at the sea."  optional
      scenes: [home, beach]           optional, one for each shot
      characters: [[Mia], [Mia]]      optional, who is seen in each shot: everybody
      sounds: ["yawning", "waves"]    for the track audio, one for each shot

CSV has a row for each shot, with the columns ip, story (rows of one story say the same), caption, and if needed track,
storyline, scene, characters (apart by ;), sound.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.tracks import TRACKS

__all__ = ["GivenStory", "read_prompts"]

_KEYS = ("ip", "captions", "track", "storyline", "scenes", "characters", "sounds")
_COLUMNS = ("ip", "story", "caption", "track", "storyline", "scene", "characters", "sound")


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenStory:
    """A story as it was given."""

    ips: tuple[str, ...]
    """Whom it is about."""

    captions: tuple[str, ...]
    """One for each shot."""

    track: str = "main"
    """For which track."""

    storyline: str = ""
    """The plot."""

    scenes: tuple[str, ...] = ()
    """One for each shot; empty if not said."""

    characters: tuple[tuple[str, ...], ...] = ()
    """Who is seen in each shot; empty for everybody in each."""

    sounds: tuple[str, ...] = ()
    """What is heard in each shot; empty if not said."""


def read_prompts(path: str | Path) -> list[GivenStory]:
    """Return the stories of a file.

    Raises:
        InputError: If it cannot be read or a story is malformed; the message names it.
    """
    path = Path(path)
    try:
        if path.suffix.lower() == ".csv":
            rows: Any = _rows_of_csv(path)
        else:
            text = path.read_text(encoding="utf-8")
            rows = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is neither JSON, YAML nor CSV.") from error
    if isinstance(rows, Mapping):
        rows = rows.get("stories")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} holds no list of stories.")
    return [_read_story(row, f"story {number} of {path}") for number, row in enumerate(rows, start=1)]


def _read_story(row: Any, what: str) -> GivenStory:
    if not isinstance(row, Mapping):
        raise InputError(f"{what} must hold {', '.join(_KEYS)}, got {type(row).__name__}.")
    unknown = sorted(set(map(str, row)) - set(_KEYS))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {what}. Known keys: {', '.join(_KEYS)}.")
    ip, track, storyline = row.get("ip"), row.get("track") or "main", row.get("storyline") or ""
    if not isinstance(ip, str) or not all(part.strip() for part in ip.split("+")):
        raise InputError(f"ip of {what} must be a name, or several with + between them, got {ip!r}.")
    if track not in TRACKS or TRACKS[track].stories_like:
        own = [name for name, one in TRACKS.items() if one.stories_like is None]
        raise InputError(f"track of {what} must be one of {', '.join(own)}, got {track!r}.")
    captions = _texts(row, "captions", what, None)
    if not captions:
        raise InputError(f"{what} has no captions.")
    shown = row.get("characters") or []
    if not isinstance(shown, list) or not all(isinstance(names, list) for names in shown):
        raise InputError(f"characters of {what} must hold a list of names for each shot.")
    if len(shown) not in (0, len(captions)):
        raise InputError(f"characters of {what} must hold {len(captions)} lists, got {len(shown)}.")
    sounds = _texts(row, "sounds", what, len(captions))
    if TRACKS[track].needs_sound and not any(sounds):
        raise InputError(f"{what} is for the track {track} and needs sounds, one for each shot.")
    return GivenStory(
        ips=tuple(part.strip() for part in ip.split("+")),
        captions=captions,
        track=track,
        storyline=str(storyline),
        scenes=_texts(row, "scenes", what, len(captions)),
        characters=tuple(tuple(str(name) for name in names) for names in shown),
        sounds=sounds,
    )


def _texts(row: Mapping[str, Any], key: str, what: str, length: int | None) -> tuple[str, ...]:
    values = row.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{key} of {what} must be a list of texts.")
    if length is not None and len(values) not in (0, length):
        raise InputError(f"{key} of {what} must hold {length} texts, one for each caption, got {len(values)}.")
    if key == "captions" and not all(value.strip() for value in values):
        raise InputError(f"A caption of {what} is empty.")
    return tuple(value.strip() for value in values)


def _rows_of_csv(path: Path) -> Sequence[dict[str, Any]]:
    """Return the stories of a table of shots."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        unknown = sorted(set(columns) - set(_COLUMNS))
        missing = [name for name in ("ip", "story", "caption") if name not in columns]
        if unknown or missing:
            problem = f"lacks the column {missing[0]!r}" if missing else f"has an unknown column {unknown[0]!r}"
            raise InputError(f"{path} {problem}. Known columns: {', '.join(_COLUMNS)}.")
        shots: dict[tuple[str, str, str], list[dict[str, str]]] = {}
        for line in reader:
            cells = {name: (line.get(name) or "").strip() for name in _COLUMNS}
            shots.setdefault((cells["ip"], cells["track"], cells["story"]), []).append(cells)
    return [
        {
            "ip": ip,
            "track": track or "main",
            "storyline": next((row["storyline"] for row in rows if row["storyline"]), ""),
            "captions": [row["caption"] for row in rows],
            "scenes": [row["scene"] for row in rows] if any(row["scene"] for row in rows) else [],
            "sounds": [row["sound"] for row in rows] if any(row["sound"] for row in rows) else [],
            "characters": [[one.strip() for one in row["characters"].split(";")] for row in rows]
            if any(row["characters"] for row in rows)
            else [],
        }
        for (ip, track, _), rows in shots.items()
    ]
