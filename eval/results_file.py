"""Results as JSON, version 2: written by `animeshooter evaluate`, read by `animeshooter leaderboard`.

A null is a value that could not be had; there is no NaN. Version 1 is refused: it has no intervals, no controls and
other names of shot values, and scoring again is cheap.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.results import (
    CurvePoint,
    GateResult,
    MetricValue,
    Results,
    ShotScore,
    StoryScore,
    SystemInfo,
)

__all__ = ["FORMAT", "RESULTS_FILE", "VERSION", "read_results", "results_from_json", "results_to_json"]
__all__ += ["write_results"]

FORMAT, VERSION = "animeshooter-scores", 2
"""What the first keys of a results file say."""

RESULTS_FILE = "results.json"
"""Name of the file in a results folder."""

_COUNTS = ("n_evaluated", "n_failed", "n_skipped")


def results_to_json(results: Results) -> dict[str, Any]:
    """Return results as plain JSON values; None becomes null."""
    captions: dict[str, list[str]] = {}
    for shot in results.shots:
        captions.setdefault(shot.story_id, []).append(shot.caption)
    return {
        "format": FORMAT,
        "version": VERSION,
        "system": asdict(results.system),
        "benchmark": None if results.benchmark is None else dict(results.benchmark),
        "signatures": dict(results.signatures),
        "headlines": dict(results.headlines),
        "note": results.note,
        "settings": dict(results.settings),
        "coverage": results.coverage,
        "corpus": {
            metric: {name: asdict(entry) for name, entry in entries.items()}
            for metric, entries in results.corpus.items()
        },
        "curves": {name: [asdict(point) for point in points] for name, points in results.curves.items()},
        "gates": [asdict(gate) for gate in results.gates],
        "stories": [
            {
                "story_id": story_id,
                "ip_id": results.ip_ids[story_id],
                "track": results.tracks.get(story_id, ""),
                "flags": list(results.flags.get(story_id, ())),
                "captions": captions.get(story_id, []),
                **{
                    metric: {**score.values, **{name: getattr(score, name) for name in _COUNTS}}
                    for metric, score in scores.items()
                },
            }
            for story_id, scores in results.stories.items()
        ],
        "shots": [
            {
                "story_id": shot.story_id,
                "ip_id": shot.ip_id,
                "shot_index": shot.shot_index,
                "caption": shot.caption,
                "num_frames": shot.num_frames,
                "values": dict(shot.values),
                "problems": dict(shot.problems),
            }
            for shot in results.shots
        ],
        "manifest": dict(results.manifest),
    }


def results_from_json(data: Any, what: str) -> Results:
    """Return the results that `results_to_json` made.

    Args:
        data: The parsed file.
        what: How a message names it.

    Raises:
        InputError: If it is no results file, or one of another version.
    """
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise InputError(f"{what} is no results file of `animeshooter evaluate`.")
    if data.get("version") != VERSION:
        raise InputError(
            f"{what} is a results file of version {data.get('version')!r}, and only {VERSION} is read. "
            "Score the stories again."
        )
    try:
        return _parse(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{what} is a damaged results file: {error!r:.120}.") from error


def _parse(data: Mapping[str, Any]) -> Results:
    metrics = tuple(data["signatures"])
    stories = {}
    for row in data["stories"]:
        scores = {}
        for metric in metrics:
            values = {name: value for name, value in row[metric].items() if name not in _COUNTS}
            scores[metric] = StoryScore(values=values, **{name: row[metric][name] for name in _COUNTS})
        stories[row["story_id"]] = scores
    return Results(
        system=SystemInfo(**data["system"]),
        benchmark=data["benchmark"],
        signatures=data["signatures"],
        headlines=data["headlines"],
        note=data["note"],
        settings=data["settings"],
        corpus={
            metric: {name: MetricValue(**entry) for name, entry in entries.items()}
            for metric, entries in data["corpus"].items()
        },
        curves={name: tuple(CurvePoint(**point) for point in points) for name, points in data["curves"].items()},
        gates=tuple(GateResult(**gate) for gate in data["gates"]),
        stories=stories,
        ip_ids={row["story_id"]: row["ip_id"] for row in data["stories"]},
        tracks={row["story_id"]: row["track"] for row in data["stories"] if row["track"]},
        flags={row["story_id"]: tuple(row["flags"]) for row in data["stories"] if row["flags"]},
        shots=tuple(ShotScore(**shot) for shot in data["shots"]),
        manifest=data["manifest"],
    )


def read_results(path: str | Path) -> Results:
    """Return the results in a file, or in a folder that `animeshooter evaluate --out FOLDER/` wrote.

    Raises:
        InputError: If there is no such file, or it holds something else.
    """
    path = Path(path)
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no results file {file}.") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON.") from error
    return results_from_json(data, str(file))


def write_results(results: Results, path: str | Path) -> None:
    """Write results as JSON; the file is complete or not there.

    Raises:
        InputError: If it cannot be written.
    """
    text = json.dumps(results_to_json(results), indent=1, ensure_ascii=False, allow_nan=False)
    write_text_atomically(Path(path), text + "\n")
