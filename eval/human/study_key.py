"""The key of a study, read back: which task shows whose film, and which tasks are checks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.human.design import PARTS, FilmKey, StudyTask
from animeshooter_hf.eval.human.write_study import KEY_FORMAT, KEY_VERSION

__all__ = ["StudyKey", "read_json", "read_key"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyKey:
    """What raters were not told."""

    study_id: str
    """What ties votes to this key."""

    systems: tuple[str, ...]
    """Names of the systems, sorted."""

    ips: Mapping[str, str]
    """IP of each story."""

    tasks: Mapping[str, StudyTask]
    """By neutral name."""

    orders: tuple[tuple[str, ...], ...]
    """Each rater's tasks."""

    def order_of(self, rater: int) -> tuple[str, ...]:
        """Return the tasks of a rater's number; numbers beyond the prepared ones begin again."""
        return self.orders[(rater - 1) % len(self.orders)]


def read_key(path: Path) -> StudyKey:
    """Read a key.

    Raises:
        InputError: If there is none, or it is something else.
    """
    data = read_json(path)
    if not isinstance(data, Mapping) or data.get("format") != KEY_FORMAT:
        raise InputError(f"{path} is no key of a study. Give the file that `animeshooter study make` called the key.")
    if data.get("version") != KEY_VERSION:
        raise InputError(f"{path} is a key of version {data.get('version')!r}; this library reads {KEY_VERSION}.")
    try:
        tasks = {name: _task(name, row) for name, row in data["tasks"].items()}
        key = StudyKey(
            study_id=str(data["study"]),
            systems=tuple(data["systems"]),
            ips=dict(data["stories"]),
            tasks=tasks,
            orders=tuple(tuple(order) for order in data["orders"]),
        )
        whole = all(name in tasks for order in key.orders for name in order) and bool(key.orders)
        if not (whole and all(film.story_id in key.ips for task in tasks.values() for film in task.films)):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"The key {path} is damaged. Take the one that `animeshooter study make` wrote.") from error
    return key


def _task(name: str, row: Mapping[str, Any]) -> StudyTask:
    if row["part"] not in PARTS or row["check"] not in ("", "wrong_ip", "repeated", "identical"):
        raise ValueError
    films = tuple(FilmKey(**film) for film in row["films"])
    if len(films) != (1 if row["part"] == "rating" else 2):
        raise ValueError
    return StudyTask(
        task_id=name,
        part=row["part"],
        story_id=row["story_id"],
        films=films,
        check=row["check"],
        repeats=row["repeats"],
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: If it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON.") from error
