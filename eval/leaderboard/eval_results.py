"""`.eval_results/*.yaml` of model repositories, from which the Hub fills a benchmark's own leaderboard.

The Hub knows one number per (dataset, task), and higher is better in all of them: a distance d is written as 1 - d.
Only models that fail no control, and only numbers that are ranked, are written. What is written is read again with
huggingface_hub's parser before the file is put in its place.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml, parse_eval_result_entries

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.bench.bench_tasks import task_ids, track_task_id
from animeshooter_hf.eval.leaderboard.columns import backbone_of, column_words
from animeshooter_hf.eval.leaderboard.ranking import Board, Column, Entry

__all__ = ["entries_of", "model_folder", "task_of", "write_eval_results"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
"""A benchmark that is a dataset of the Hub."""


def write_eval_results(folder: Path, boards: Sequence[Board]) -> list[Path]:
    """Write FOLDER/ORG__MODEL/.eval_results/BENCHMARK.yaml for every model that is ranked; return the paths, sorted.

    A model with several revisions has a file for each, named by the revision.

    Raises:
        InputError: If a file cannot be written, or two systems have names that give the same file.
    """
    written: list[Path] = []
    for board in boards:
        names = [entry.system.name for entry in board.entries]
        for entry in board.entries:
            found = entries_of(board, entry)
            if not found:
                continue
            stem = (
                board.key if names.count(entry.system.name) == 1 else f"{board.key}-{safe(entry.system.revision)[:12]}"
            )
            path = folder / model_folder(entry.system.name) / ".eval_results" / f"{stem}.yaml"
            if path in written:
                raise InputError(f"Two systems would both be written to {path}; give one of them another name.")
            write_text_atomically(path, _checked_yaml(found))
            written.append(path)
    return sorted(written)


def entries_of(board: Board, entry: Entry) -> list[EvalResultEntry]:
    """Return the entries of a row; none for one that is not ranked or whose stories belong to no benchmark."""
    if entry.status != "ranked" or not _HUB_ID.fullmatch(board.benchmark.id):
        return []
    found: dict[str, EvalResultEntry] = {}
    for column in board.columns:
        task = task_of(board, column)
        cell = column.cells.get(entry.key)
        if not task or task in found or cell is None or cell.rank is None or cell.number.value is None:
            continue
        value = 1.0 - cell.number.value if column.direction == "lower" else cell.number.value
        system = entry.system
        found[task] = EvalResultEntry(
            dataset_id=board.benchmark.id,
            task_id=task,
            value=round(value, 6),
            dataset_revision=board.benchmark.revision or None,
            date=system.date or None,
            source_url=f"https://huggingface.co/datasets/{board.benchmark.id}",
            source_name=f"Evaluated by {system.evaluated_by}" if system.evaluated_by else "animeshooter evaluate",
            notes=_notes(board, entry, column),
        )
    return list(found.values())


def _notes(board: Board, entry: Entry, column: Column) -> str:
    number = column.cells[entry.key].number
    parts = [column.signature]
    if board.benchmark.track:
        parts.append(f"track {board.benchmark.track}")
    if entry.system.revision:
        parts.append(f"model revision {entry.system.revision}")
    if number.low is not None and number.high is not None:
        ends = (number.low, number.high) if column.direction == "higher" else (1 - number.high, 1 - number.low)
        parts.append(f"95 % interval {ends[0]:.4f} to {ends[1]:.4f}")
    parts.append(f"{number.n_evaluated} stories")
    if column.direction == "lower":
        parts.append("written as 1 - distance")
    return "; ".join(parts)


def task_of(board: Board, column: Column) -> str:
    """Return the task of the benchmark that a column answers, "" if it answers none.

    Tasks are those of the benchmark's `eval.yaml`. A distance has one only if it lies in [0, 1], since it is written
    as 1 - d. Numbers of the classical backbone have none: they know colour only, and the Hub cannot show that caution.
    """
    task = column_words(column.metric, column.name).task
    backbone = backbone_of(column.signature)
    if not task or backbone == "classical":
        return ""
    values = [cell.number.value for cell in column.cells.values() if cell.number.value is not None]
    if column.direction == "none" or (column.direction == "lower" and not all(0 <= value <= 1 for value in values)):
        return ""
    track = board.benchmark.track or "main"
    name = track_task_id(task.replace("{backbone}", backbone.replace("-", "_")), track)
    return name if name in task_ids([track], has_truth=True) else ""


def _checked_yaml(entries: Sequence[EvalResultEntry]) -> str:
    """Return the file, after reading it as the Hub will."""
    text = yaml.safe_dump(eval_result_entries_to_yaml(list(entries)), sort_keys=False, allow_unicode=True, width=120)
    if parse_eval_result_entries(yaml.safe_load(text)) != list(entries):
        raise InputError(
            "The evaluation results do not survive being written as YAML; look for odd signs in their texts."
        )
    return text


def model_folder(name: str) -> str:
    """Return the folder of a model, safe on every file system.

    Example:
        >>> model_folder("org/model-5b"), model_folder("../etc")
        ('org__model-5b', 'etc')
    """
    return "__".join(part for part in (safe(part) for part in name.split("/")) if part) or "unnamed"


def safe(text: str) -> str:
    """Return a text as part of a file name: letters, digits, `-`, `_` and inner dots."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip(".-")[:80]
