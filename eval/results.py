"""What scoring returns: numbers per shot, per story and for the corpus, each with its coverage.

A value that could not be had is None, never 0, and counted: `n_failed` where a file or an embedding failed,
`n_skipped` where the question does not arise (one shot has no pair, a shot without a reference has no fidelity).
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["MetricValue", "Results", "ShotScore", "StoryScore", "check_writable", "write_text_atomically"]

FORMAT, VERSION = "animeshooter-scores", 1
"""What the first keys of a results file say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricValue:
    """One number and what it rests on."""

    value: float | None
    """The number, or None if there is nothing to make it from."""

    n_evaluated: int
    """Stories that went in."""

    n_failed: int = 0
    """Stories left out because something failed."""

    n_skipped: int = 0
    """Stories to which the question does not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotScore:
    """One shot."""

    story_id: str
    """Its story."""

    ip_id: str
    """Its story's IP."""

    shot_index: int
    """Position in the story, from 0."""

    caption: str
    """Its caption, or ""."""

    num_frames: int
    """Frames looked at; fewer than asked for where the shot is shorter, 0 where it could not be read."""

    values: Mapping[str, float | None]
    """`reference_fidelity`, `retrieval_at_1` and `margin`, as far as asked for."""

    problems: Mapping[str, str]
    """Metric -> why it failed or was skipped; empty where all is well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryScore:
    """One metric of one story."""

    values: Mapping[str, float | None]
    """Name -> number."""

    n_evaluated: int
    """Shots that went in."""

    n_failed: int
    """Shots that could not be read or compared."""

    n_skipped: int
    """Shots to which the metric does not apply."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """All scores of one run."""

    signatures: Mapping[str, str]
    """Metric -> exactly what was computed; only equal signatures may be compared."""

    note: str
    """The backend's caution, or ""."""

    settings: Mapping[str, Any]
    """The settings of the run."""

    corpus: Mapping[str, Mapping[str, MetricValue]]
    """Metric -> name -> mean over stories (or the pooled contrast) with its coverage."""

    stories: Mapping[str, Mapping[str, StoryScore]]
    """Story -> metric -> its scores, in the order given."""

    ip_ids: Mapping[str, str]
    """Story -> its IP."""

    shots: tuple[ShotScore, ...]
    """Every shot of every story, in order."""

    @property
    def num_shots_failed(self) -> int:
        """Shots of which some metric failed or was skipped."""
        return sum(1 for shot in self.shots if shot.problems)

    def value(self, metric: str, name: str) -> float | None:
        """Return a corpus value, such as `value("reference_fidelity", "harmean_p")`."""
        return self.corpus[metric][name].value

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain JSON values; `None` becomes null."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "signatures": dict(self.signatures),
            "note": self.note,
            "settings": dict(self.settings),
            "coverage": {
                "stories": len(self.stories),
                "ips": len(set(self.ip_ids.values())),
                "shots": len(self.shots),
                "shots_with_problems": self.num_shots_failed,
            },
            "corpus": {
                metric: {name: asdict(entry) for name, entry in entries.items()}
                for metric, entries in self.corpus.items()
            },
            "stories": [
                {
                    "story_id": story_id,
                    "ip_id": self.ip_ids[story_id],
                    **{
                        metric: {
                            **score.values,
                            "n_evaluated": score.n_evaluated,
                            "n_failed": score.n_failed,
                            "n_skipped": score.n_skipped,
                        }
                        for metric, score in scores.items()
                    },
                }
                for story_id, scores in self.stories.items()
            ],
            "shots": [
                {
                    "story_id": shot.story_id,
                    "ip_id": shot.ip_id,
                    "shot_index": shot.shot_index,
                    "caption": shot.caption,
                    "num_frames": shot.num_frames,
                    **shot.values,
                    "problems": dict(shot.problems),
                }
                for shot in self.shots
            ],
        }

    def write(self, path: str | Path) -> None:
        """Write the results as JSON; the file is complete or not there.

        Raises:
            InputError: If it cannot be written.
        """
        write_text_atomically(Path(path), json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n")

    def table(self) -> str:
        """Return a table for reading: a line per story, a line for the corpus, and what it rests on."""
        columns = [
            (metric, name, title)
            for metric, names in _TABLE.items()
            if metric in self.corpus
            for name, title in names
            if name in self.corpus[metric] and (name not in _OPTIONAL or self.corpus[metric][name].value is not None)
        ]
        head = ["story", "IP", "shots", *(title for _, _, title in columns)]
        rows = [head]
        for story_id, scores in self.stories.items():
            counts = next(iter(scores.values()))
            total = counts.n_evaluated + counts.n_failed + counts.n_skipped
            shots = str(total) if counts.n_evaluated == total else f"{counts.n_evaluated}/{total}"
            values = [_number(scores[metric].values.get(name)) for metric, name, _ in columns]
            rows.append([story_id, self.ip_ids[story_id], shots, *values])
        scored = sum(1 for shot in self.shots if not shot.problems)
        shots = f"{scored}/{len(self.shots)}" if scored < len(self.shots) else str(scored)
        corpus = [_number(self.corpus[metric][name].value) for metric, name, _ in columns]
        rows.append(["corpus", f"{len(set(self.ip_ids.values()))} IPs", shots, *corpus])
        return "\n".join([*_align(rows), "", *self._footnotes()]) + "\n"

    def _footnotes(self) -> list[str]:
        lines = []
        contrast = self.corpus.get("reference_fidelity", {})
        if "auc" in contrast:
            parts = [f"{name} {_number(contrast[name].value)}" for name in ("auc", "macro_auc", "retrieval_at_1")]
            lines.append(f"own reference against those of other IPs: {', '.join(parts)}")
        for metric, name in (("reference_fidelity", "harmean_p"), ("cross_shot_consistency", "pairwise")):
            if metric in self.corpus:
                entry = self.corpus[metric][name]
                counts = f"{entry.n_evaluated} stories, {entry.n_failed} failed, {entry.n_skipped} not applicable"
                lines.append(f"{metric}/{name}: {counts}")
        problems = [shot for shot in self.shots if shot.problems]
        for shot in problems[:10]:
            reasons = "; ".join(dict.fromkeys(shot.problems.values()))
            lines.append(f"no score: {shot.story_id} shot {shot.shot_index + 1}: {reasons}")
        if len(problems) > 10:
            lines.append(f"no score: {len(problems) - 10} more shots; see `shots` in the results file")
        lines += [f"signature: {signature}" for signature in self.signatures.values()]
        return [*lines, *([f"note: {self.note}"] if self.note else [])]


_TABLE: dict[str, tuple[tuple[str, str], ...]] = {
    "reference_fidelity": (
        ("mean", "fidelity"),
        ("min", "min"),
        ("harmean_p", "HarMeanP"),
        ("within_sd", "sd"),
        ("slope", "slope"),
    ),
    "cross_shot_consistency": (
        ("pairwise", "pairwise"),
        ("foreground_pairwise", "foreground"),
        ("background_pairwise", "background"),
        ("adjacent", "adjacent"),
        ("anchor", "anchor"),
        ("scene_contrast", "scene contrast"),
    ),
}

_OPTIONAL = ("scene_contrast",)
"""Columns that stand in the table only where some story has them."""


def check_writable(path: Path) -> None:
    """Refuse a results path before anything is computed.

    Raises:
        InputError: If it is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file, such as {path / 'results.json'}.")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {folder} is no folder that can be written to.")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file by way of a temporary sibling, so that it is complete or not there.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], *lines[1:-1], "-" * max(map(len, lines)), lines[-1]]
