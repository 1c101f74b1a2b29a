"""Do metrics and judges put films in the same order as people?

Each film (system and story) has a mean rating and a value of each metric; Kendall's tau-b compares the two orders, with
an interval over IPs, then stories. Metrics of which lower is better are turned, so that above 0 always means agreement.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.agreement import kendall_tau
from animeshooter_hf.eval.human.study_key import StudyKey, read_json

__all__ = ["agreement_table", "metric_agreement", "read_metric_values"]

_ABOUT_STORY = ("story_id", "ip_id", "track", "flags", "captions")
_COUNTS = ("n_evaluated", "n_failed", "n_skipped")

MetricValues = dict[str, dict[str, float]]
"""Metric -> story -> value, higher is better."""


def read_metric_values(path: Path) -> tuple[str, MetricValues]:
    """Return the system of a results file, "" if it names none, and its values per story.

    Args:
        path: A file of `animeshooter evaluate --out`, or the folder of one.

    Raises:
        InputError: If it is none.
    """
    file = path / "results.json" if path.is_dir() else path
    data = read_json(file)
    if not isinstance(data, Mapping) or data.get("format") != "animeshooter-scores":
        raise InputError(f"{path} is no results file. Give what `animeshooter evaluate --out` wrote.")
    try:
        system = (data.get("system") or {}).get("name") or ""
        corpus = data.get("corpus") or {}
        values: MetricValues = {}
        for story in data["stories"]:
            for metric, numbers in story.items():
                if metric in _ABOUT_STORY or not isinstance(numbers, Mapping):
                    continue
                for name, value in numbers.items():
                    if name in _COUNTS or not _is_number(value):
                        continue
                    direction = ((corpus.get(metric) or {}).get(name) or {}).get("direction", "higher")
                    turned = -value if direction == "lower" else value
                    values.setdefault(f"{metric}/{name}", {})[story["story_id"]] = float(turned)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The results file {path} is damaged.") from error
    return str(system), values


def metric_agreement(
    means: Mapping[str, Mapping[str, Mapping[str, float]]],
    metrics: Mapping[str, MetricValues],
    key: StudyKey,
    *,
    draws: int = 2_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return one row per dimension and metric: tau with interval, and how many films it rests on.

    Args:
        means: Dimension -> system -> story -> mean rating.
        metrics: System -> its values.
        key: Key of the study, for the IPs.
        draws: Draws of each interval.
        seed: Seed of the draws.
    """
    rows: list[dict[str, Any]] = []
    for dimension, systems in means.items():
        for metric in sorted({name for values in metrics.values() for name in values}):
            films = [
                (system, story)
                for system, stories in systems.items()
                for story in stories
                if story in metrics.get(system, {}).get(metric, {})
            ]
            people = [systems[system][story] for system, story in films]
            machine = [metrics[system][metric][story] for system, story in films]
            stories = [story for _, story in films]
            ips = [key.ips[story] for story in stories]
            found = kendall_tau(people, machine, clusters=ips, stories=stories, draws=draws, seed=seed)
            tau = asdict(found) if found else {"value": None, "low": None, "high": None}
            rows.append(
                {
                    "dimension": dimension,
                    "metric": metric,
                    "tau": {name: tau[name] for name in ("value", "low", "high")},
                    "num_films": len(films),
                    "num_systems": len({system for system, _ in films}),
                }
            )
    return rows


def agreement_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text, the closest agreement first."""
    lines = ["", "Agreement with metrics, Kendall's tau-b over films"]
    width = max((len(row["metric"]) for row in rows), default=0)
    for row in sorted(rows, key=lambda row: -(row["tau"]["value"] if row["tau"]["value"] is not None else -2)):
        tau = row["tau"]
        text = "-" if tau["value"] is None else f"{tau['value']:.2f}"
        if tau["low"] is not None:
            text += f" [{tau['low']:.2f} {tau['high']:.2f}]"
        lines.append(f"  {row['dimension']:<4} {row['metric'].ljust(width)}  {text:<20} {row['num_films']} films")
    return "\n".join(lines) + "\n"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
