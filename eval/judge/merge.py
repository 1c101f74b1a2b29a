"""Put a judge's marks into a results file, where a leaderboard finds them beside the other scores.

Only the pointwise protocol goes in: marks of the others depend on who else took part. What is written:

    corpus.judge_pointwise      oq, crc, msc, mcc, each with interval and coverage
    stories[].judge_pointwise   the story's marks; n_evaluated and n_failed count rounds
    signatures.judge_pointwise  exactly what was asked of whom
    manifest.judge              model, protocol, whether it is trusted, and why not
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS
from animeshooter_hf.eval.judge.exam import ExamResult
from animeshooter_hf.eval.judge.judge_scores import StoryMarks, corpus_marks, round_spread, story_marks
from animeshooter_hf.eval.judge.verdicts import JudgeRun

__all__ = ["JUDGE_METRIC", "check_results", "merge_into_results"]

JUDGE_METRIC = "judge_pointwise"
"""Name of the judge's numbers in a results file."""

RESULTS_FILE = "results.json"
"""The file of a results folder."""

_FORMAT, _VERSION = "animeshooter-scores", 2


def merge_into_results(results: Path, run: JudgeRun, system: str, exam: ExamResult | None = None) -> dict[str, Any]:
    """Write the marks of a system into its results file, and return what the file then holds.

    Args:
        results: The file, or its folder.
        run: A run of the pointwise protocol.
        system: Whose marks.
        exam: The judge's exam; without one the file says that it was not examined.

    Raises:
        InputError: If the protocol is another, the file is none of version 2, or no judged story is in it.
    """
    if run.settings.protocol != "pointwise":
        raise InputError(f"Marks of the protocol {run.settings.protocol} depend on the other systems; merge pointwise.")
    if system not in run.systems:
        raise InputError(f"The run judged no system {system!r}, only {', '.join(run.systems)}.")
    path, document = _read(results)
    known = [story["story_id"] for story in document["stories"]]
    marks = {one.story_id: one for one in story_marks(run) if one.system == system and one.story_id in known}
    if not marks:
        raise InputError(f"No story of {path} was judged. Do its results belong to the system {system!r}?")
    for story in document["stories"]:
        story[JUDGE_METRIC] = _story_entry(marks.get(story["story_id"]))
    skipped = {(system, story_id): "It was not judged." for story_id in known if story_id not in marks}
    corpus = corpus_marks(replace(run, skipped=skipped), system, list(marks.values()))
    document["corpus"][JUDGE_METRIC] = {name.lower(): mark.to_json() for name, mark in corpus.items()}
    document["signatures"][JUDGE_METRIC] = run.signature
    document.setdefault("manifest", {})["judge"] = _judge_facts(run, list(marks.values()), exam)
    write_text_atomically(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
    return document


def check_results(results: Path) -> None:
    """Refuse a results path before anything is asked.

    Raises:
        InputError: If there is no results file of version 2.
    """
    _read(results)


def _read(results: Path) -> tuple[Path, dict[str, Any]]:
    path = results / RESULTS_FILE if results.is_dir() else results
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON.") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT or document.get("version") != _VERSION:
        raise InputError(
            f"{path} is no results file of version {_VERSION}; make it with `animeshooter evaluate --out`."
        )
    stories = document.get("stories")
    if not isinstance(stories, list) or not all(isinstance(one, dict) and "story_id" in one for one in stories):
        raise InputError(f"{path} lists no stories.")
    if not isinstance(document.get("corpus"), dict) or not isinstance(document.get("signatures"), dict):
        raise InputError(f"{path} has no corpus or no signatures.")
    return path, document


def _story_entry(marks: StoryMarks | None) -> dict[str, Any]:
    values: Mapping[str, float | None] = marks.marks if marks is not None else dict.fromkeys(DIMENSIONS)
    return {
        **{name.lower(): value for name, value in values.items()},
        "n_evaluated": len(marks.rounds) if marks is not None else 0,
        "n_failed": marks.n_failed if marks is not None else 0,
        "n_skipped": int(marks is None),
    }


def _judge_facts(run: JudgeRun, marks: Sequence[StoryMarks], exam: ExamResult | None) -> dict[str, Any]:
    spread = round_spread(marks)
    facts: dict[str, Any] = {
        "model": run.model,
        "answered_by": ", ".join(run.answered_by()),
        "protocol": run.settings.protocol,
        "signature": run.signature,
        "is_trusted": exam.is_trusted if exam is not None else None,
        "exam": _exam_words(exam),
        "replies_unusable": sum(run.reply_problems().values()),
    }
    for name in DIMENSIONS:
        facts[f"round_sd_{name.lower()}"] = spread[name]["round_sd"]
        facts[f"icc_{name.lower()}"] = spread[name]["icc"]
    return facts


def _exam_words(exam: ExamResult | None) -> str:
    if exam is None:
        return "not examined"
    words = [f"{check.name} {check.num_passed}/{check.num_tested} {check.status}" for check in exam.checks]
    verdict = {True: "trusted", False: "not trusted", None: "not examined in full"}[exam.is_trusted]
    return f"{verdict}: {', '.join(words)}"
