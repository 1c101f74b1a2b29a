"""Look after a build: how films stand, why one is not there, lift a quarantine, take over a batch."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, UnitState
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.dataset_builder.package import is_dataset_folder
from animeshooter_hf.errors import InputError

__all__ = ["explain", "manage", "status"]

_STATES = ("done", "dropped", "quarantined", "failed", "todo", "not needed")
_SHOWN_REASONS = 20


def manage(words: Sequence[str], arguments: argparse.Namespace) -> int:
    """Do `status`, `explain`, `retry` or `pour` and return the exit status.

    Raises:
        InputError: If words are missing or too many, or the folder is no work folder.
    """
    needs = {"status": (2, 2), "explain": (3, 3), "retry": (2, 3), "pour": (3, 3)}[words[0]]
    if not needs[0] <= len(words) <= needs[1]:
        raise InputError(f"animeshooter build {words[0]} takes {_USAGE[words[0]]}.")
    ledger = Ledger(WorkStore(work_folder(words[1])))
    if words[0] == "pour":
        return _pour(ledger, Path(words[2]), arguments)
    plan = ledger.read_plan()
    if words[0] == "retry":
        freed = ledger.retry(plan, matching=words[2] if len(words) > 2 else "")
        sys.stdout.write("".join(f"{unit.item}/{unit.stage}\n" for unit in freed))
        sys.stdout.write(f"{len(freed)} units will be tried again by the next build\n")
        return 0
    told = status(ledger, plan) if words[0] == "status" else explain(ledger, plan, words[2])
    sys.stdout.write(json.dumps(told, indent=1) + "\n" if arguments.json else _show(told))
    return 0


def work_folder(word: str) -> str:
    """Return the work folder that a word means: itself, or the one beside a dataset folder."""
    path = Path(word)
    beside = path.with_name(f".{path.name}.work")
    return str(beside) if "://" not in word and is_dataset_folder(path) and beside.is_dir() else word


def status(ledger: Ledger, plan: Plan) -> dict[str, Any]:
    """Return stage -> state -> films, and the films that are not there with the reason."""
    stages: dict[str, dict[str, int]] = {}
    reasons: list[dict[str, Any]] = []
    for one in ledger.states(plan):
        counts = stages.setdefault(one.unit.stage, {})
        counts[one.state] = counts.get(one.state, 0) + 1
        if one.state in ("dropped", "quarantined", "failed"):
            reasons.append(_row(one))
    return {"films": len(plan.keys), "stages": stages, "not_there": reasons}


def explain(ledger: Ledger, plan: Plan, name: str) -> dict[str, Any]:
    """Return how a film stands, stage by stage, or all that is known of one unit.

    Args:
        ledger: Of the work folder.
        plan: Of the last run.
        name: `FILM` or `FILM/STAGE`.

    Raises:
        InputError: If there is no such film or stage.
    """
    film, _, stage = name.partition("/")
    if film not in plan.keys:
        raise InputError(f"The build knows no film {film!r}; it knows {', '.join(sorted(plan.keys)[:5])} ...")
    if stage and stage not in plan.keys[film]:
        raise InputError(f"There is no stage {stage!r}; there are {', '.join(plan.keys[film])}.")
    states = [one for one in ledger.states(Plan({film: plan.keys[film]})) if stage in ("", one.unit.stage)]
    told: dict[str, Any] = {"film": film, "units": [_row(one) for one in states]}
    if stage:
        unit = states[0].unit
        receipt = ledger.receipt(unit) or {}
        told["failures"] = ledger.failures(unit)
        told["seconds"] = receipt.get("seconds")
        told["output"] = _short(receipt.get("output"))
        told["logs"] = {path.name: path.read_text(errors="replace")[-2000:] for path in _logs(ledger)}
    return told


def _logs(ledger: Ledger) -> list[Path]:
    return sorted(path for path in (ledger.store.folder / "logs").glob("*.log") if path.stat().st_size)


def _row(one: UnitState) -> dict[str, Any]:
    row: dict[str, Any] = {"film": one.unit.item, "stage": one.unit.stage, "state": one.state, "key": one.unit.key}
    if one.reason:
        row["reason"] = one.reason
    if one.attempts:
        row["attempts"] = one.attempts
    return row


def _short(value: Any) -> Any:
    """Return a receipt's output with long lists and texts cut, so that it can be read."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value[:3]] + ([f"... {len(value)} in all"] if len(value) > 3 else [])
    if isinstance(value, str) and len(value) > 200:
        return f"{value[:200]}... ({len(value)} characters)"
    return value


def _pour(ledger: Ledger, results: Path, arguments: argparse.Namespace) -> int:
    from animeshooter_hf.dataset_builder.annotate.batch import set_aside
    from animeshooter_hf.dataset_builder.annotate.open_model import pour_batch
    from animeshooter_hf.dataset_builder.build_command import settings_of

    model = settings_of(arguments).annotator.model
    if model is None:
        raise InputError("Taking over a batch needs the options of its model: give --model or --config.")
    report = pour_batch(model, ledger.store.folder, results)
    set_aside(results, ledger.store.folder / "batch")
    told = asdict(report)
    if arguments.json:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        sys.stdout.write("".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in told.items()))
    return 0


def _show(told: dict[str, Any]) -> str:
    if "stages" in told:
        lines = [f"{told['films']} films", f"{'stage':<12}" + "".join(f"{state:>13}" for state in _STATES)]
        for stage, counts in told["stages"].items():
            lines.append(f"{stage:<12}" + "".join(f"{counts.get(state, 0):>13}" for state in _STATES))
        shown = told["not_there"][:_SHOWN_REASONS]
        lines += [f"{row['state']}: {row['film']}/{row['stage']}: {row['reason']}" for row in shown]
        if len(told["not_there"]) > len(shown):
            lines.append(f"... and {len(told['not_there']) - len(shown)} more (--json shows all)")
        return "\n".join(lines) + "\n"
    lines = [
        f"{row['film']}/{row['stage']:<12} {row['state']:<12} {row.get('reason', '')}".rstrip() for row in told["units"]
    ]
    for key in ("failures", "seconds", "output", "logs"):
        if told.get(key):
            lines.append(f"{key}: {json.dumps(told[key], indent=1, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


_USAGE = {
    "status": "the work folder",
    "explain": "the work folder and FILM or FILM/STAGE",
    "retry": "the work folder and perhaps a text",
    "pour": "the work folder and the results of the batch",
}
