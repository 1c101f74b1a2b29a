"""A stage: a pure function of a film, of the results of earlier stages, and of its settings.

Its result is known by a key: a hash over the stage's name and version, its settings, the state of the files it reads
and the keys of the stages it needs. So the keys of a whole build are known before anything runs; what has a receipt
under its key is not done again, and changing one setting changes the keys of just the stages that depend on it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from animeshooter_hf.dataset_builder.engine.store import WorkStore

__all__ = ["Item", "NotYetError", "Outcome", "Stage", "StageContext", "StageResult", "file_state", "unit_keys"]

Outcome = Literal["ok", "dropped"]
"""`ok`: the result stands. `dropped`: the film goes no further, and the reason says why."""


class NotYetError(RuntimeError):
    """The unit cannot be done now, such as for want of budget; nothing is recorded and the next run tries again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """What stages run over: a film."""

    id: str
    """Unique, and safe as a file name."""

    path: Path
    """The file."""

    url: str | None = None
    """Where the video can be found, if that is known."""

    annotation: Path | None = None
    """What a release tells of the film, see `release/film_annotation.py`; None if no release does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageContext:
    """What a stage gets."""

    item: Item
    """The film."""

    inputs: Mapping[str, Mapping[str, Any]]
    """Name of a needed stage -> its output."""

    store: WorkStore
    """Where blobs of earlier stages are."""

    blob_prefix: str
    """Name under which this unit's own blobs are kept; a suffix such as ".scan" is added."""

    def fetch(self, name: str) -> Path:
        """Return a local path of a blob of an earlier stage."""
        return self.store.fetch(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageResult:
    """What a stage gives."""

    output: Mapping[str, Any]
    """JSON values; what later stages get."""

    blobs: Mapping[str, bytes | Path] = field(default_factory=dict)
    """Suffix -> content, or a local file that is taken over; kept as `blob_prefix` + suffix."""

    dropped: str | None = None
    """Why the film goes no further, in one sentence; None if it does."""


class Stage(Protocol):
    """One step of a build. It is pickled to the workers, so it holds settings and no open things."""

    @property
    def name(self) -> str:
        """Short name; also a folder of the work store."""

    @property
    def version(self) -> int:
        """Goes up when the same input gives another output."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages whose outputs it reads."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what the output depends on beside the inputs, as JSON values."""

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """Return the state of the files of a film that this stage reads itself."""

    def run(self, context: StageContext) -> StageResult:
        """Return the result.

        Raises:
            InputError: If the film cannot be used; it is dropped with this sentence.
            NotYetError: If it cannot be done now.
            Exception: Anything else counts as an attempt that failed.
        """


def unit_keys(stages: Sequence[Stage], item: Item) -> dict[str, str]:
    """Return stage -> key for one film; stages stand in an order in which each comes after those it needs.

    Raises:
        ValueError: If a stage needs one that does not come before it.
    """
    keys: dict[str, str] = {}
    for stage in stages:
        missing = [need for need in stage.needs if need not in keys]
        if missing:
            raise ValueError(f"The stage {stage.name} needs {missing[0]}, which does not come before it.")
        told = [
            stage.name,
            stage.version,
            stage.settings_key(),
            stage.item_key(item),
            [keys[need] for need in stage.needs],
        ]
        keys[stage.name] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:20]
    return keys


def file_state(path: Path) -> list[Any] | None:
    """Return a mark of a file's content (size and time of change), or None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [path.name, state.st_size, state.st_mtime_ns]
