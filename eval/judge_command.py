"""Let a multimodal model judge stories: quality, agreement with the reference, style and story, each from 1 to 10.

PATH is what `animeshooter evaluate` takes: a predictions file, a folder that `animeshooter generate` or `build` wrote,
or a folder in the layout of the paper's demos. Several systems are given with --system NAME=PATH.

Three protocols: `pointwise` marks one system at a time, for a leaderboard; `pairwise` sets two against each other in
both orders; `paper` shows all systems in one prompt, in rounds with the order changed, so its marks are relative.

Nothing is sent anywhere unless you name an endpoint (--base-url or OpenAI's own, with --model), a model on this machine
(--local) or recorded replies (--replay). Every reply goes into OUT/judge.jsonl at once; the same command goes on there
and asks nothing twice. Numbers go to OUT/judge.json and, with --results, into a results file for the leaderboard.

Example:
    animeshooter judge generated/ --base-url http://127.0.0.1:8000/v1 --model qwen3-vl --exam --out judged/
    animeshooter judge --system ours=generated/ --system other=other/ --protocol pairwise --model gpt-4o --out judged/
    animeshooter judge generated/ --replay judged/judge.jsonl --results scores/
    animeshooter judge generated/ --dry-run
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.judge.anchors import read_anchors
from animeshooter_hf.eval.judge.backends import EndpointJudge, EndpointSettings, JudgeBackend, ReplayJudge
from animeshooter_hf.eval.judge.estimate import estimate_run
from animeshooter_hf.eval.judge.exam import DEFAULT_NUM_STORIES, hold_exam, num_exam_questions
from animeshooter_hf.eval.judge.grid import PictureSettings
from animeshooter_hf.eval.judge.human_agreement import human_agreement, read_human_marks
from animeshooter_hf.eval.judge.judge_log import JudgeLog, copy_entries
from animeshooter_hf.eval.judge.judge_report import JudgeReport
from animeshooter_hf.eval.judge.judge_scores import story_marks
from animeshooter_hf.eval.judge.merge import check_results, merge_into_results
from animeshooter_hf.eval.judge.protocols import PROTOCOLS, JudgeSettings
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["add_arguments", "run"]

LOG_FILE, REPORT_FILE = "judge.jsonl", "judge.json"
"""What a folder holds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter judge`."""
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="stories of one system")
    parser.add_argument("--name", default="system", help="name of the system of PATH (default: %(default)s)")
    parser.add_argument("--system", action="append", default=[], metavar="NAME=PATH", help="a system; repeat it")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="pointwise", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="times everything is asked (default: 1; paper: one per system)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N stories of each system")
    parser.add_argument("--frames-per-shot", type=int, default=3, help="frames shown (default and paper: %(default)s)")
    parser.add_argument("--anchors", type=Path, metavar="FILE", help="stories with fixed marks to show first (JSON)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"folder for {LOG_FILE} and {REPORT_FILE}")
    parser.add_argument("--results", action="append", default=[], metavar="[NAME=]PATH",
                        help="results file or folder to put pointwise marks into; repeat it")  # fmt: skip
    parser.add_argument("--exam", action="store_true", help="examine the judge first, on worse versions of the stories")
    parser.add_argument("--exam-stories", type=int, default=DEFAULT_NUM_STORIES, metavar="N",
                        help="most stories of the exam (default: %(default)s)")  # fmt: skip
    parser.add_argument("--votes", type=Path, metavar="FILE",
                        help="people's marks to compare with, what `animeshooter study read --out` wrote")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="count questions, pictures and tokens; send nothing")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON instead of the table")
    _add_judge_arguments(parser)


def _add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    judge = parser.add_argument_group("the judge")
    judge.add_argument("--model", metavar="NAME", help="the endpoint's name of the model")
    judge.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible endpoint, with /v1 (default: OpenAI's)")
    judge.add_argument("--api-key-env", metavar="VARIABLE",
                       help="where the key is (default: OPENAI_API_KEY, and none with --base-url)")  # fmt: skip
    judge.add_argument("--local", metavar="CHECKPOINT", help="a model on this machine: a folder or a Hub repository")
    judge.add_argument("--revision", help="of the Hub repository")
    judge.add_argument("--device", default="cpu", help="of the local model (default: %(default)s)")
    judge.add_argument("--dtype", default="auto", help="of the local model (default: the checkpoint's)")
    judge.add_argument("--replay", type=Path, metavar="FILE", help=f"recorded replies, a {LOG_FILE}")
    judge.add_argument("--temperature", type=_temperature, default=0.0, help="or 'none' (default: %(default)s)")
    judge.add_argument("--seed", type=int, default=0, help="of sampling (default: %(default)s)")
    judge.add_argument("--max-output-tokens", type=int, default=2048, help="of a reply (default: %(default)s)")
    judge.add_argument("--structured", choices=("none", "json_object", "json_schema"), default="none",
                       help="how the endpoint is held to the form (default: %(default)s)")  # fmt: skip
    fields = ("max_completion_tokens", "max_tokens")
    judge.add_argument("--token-limit-field", choices=fields, default=fields[0],
                       help="what the endpoint calls that limit (default: %(default)s)")  # fmt: skip
    judge.add_argument("--timeout", type=float, default=300.0, metavar="SECONDS", help="default: %(default)s")
    judge.add_argument("--max-retries", type=int, default=6, help="after failures that pass (default: %(default)s)")
    judge.add_argument("--requests-per-minute", type=int, help="at most (default: no limit)")
    judge.add_argument("--workers", type=int, default=4, help="calls at once; changes no number (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter judge`: 0, or 1 if no question was answered or the judge failed its exam.

    Raises:
        InputError: If a path, an option, the judge or the output cannot be used.
    """
    systems = _read_systems(arguments)
    pictures = _pictures(arguments.frames_per_shot)
    settings = JudgeSettings(
        protocol=arguments.protocol,
        num_rounds=arguments.rounds,
        seed=arguments.seed,
        temperature=arguments.temperature,
        max_output_tokens=arguments.max_output_tokens,
        pictures=pictures,
        anchors=read_anchors(arguments.anchors, pictures) if arguments.anchors else (),
    )
    if arguments.dry_run:
        estimate = asdict(estimate_run(systems, settings))
        if arguments.exam:
            count = min(arguments.exam_stories, len(next(iter(systems.values()))))
            estimate["num_exam_questions"] = num_exam_questions(settings, count)
        sys.stdout.write(json.dumps(estimate, indent=1) + "\n")
        return 0
    results = _results(arguments, systems)
    people = read_human_marks(arguments.votes) if arguments.votes else None
    if people is not None and settings.protocol == "pairwise":
        raise InputError("Votes are compared with marks; use the protocol pointwise or paper.")
    backend = open_judge(arguments)
    log_path = arguments.out / LOG_FILE if arguments.out else None
    with JudgeLog(log_path) as log:
        report = _judge(arguments, systems, settings, backend, log)
        if people is not None:
            found = human_agreement(story_marks(report.run), people)
            report = JudgeReport(run=report.run, exam=report.exam, agreement=found, num_damaged=report.num_damaged)
    _write(arguments, report, results, log_path)
    sys.stdout.write(json.dumps(report.to_json(), allow_nan=False) + "\n" if arguments.json else report.table())
    is_answered = any(verdict.answer is not None for verdict in report.run.verdicts)
    return 0 if is_answered and (report.exam is None or report.exam.is_trusted is not False) else 1


def open_judge(arguments: argparse.Namespace) -> JudgeBackend:
    """Return the judge that the options name.

    Raises:
        InputError: If they name none or several, or it cannot be opened.
    """
    named = [arguments.replay is not None, arguments.local is not None, arguments.model is not None]
    if sum(named) != 1:
        raise InputError("Name one judge: --model (with --base-url), --local or --replay.")
    if arguments.replay is not None:
        return ReplayJudge(arguments.replay)
    if arguments.local is not None:
        from animeshooter_hf.eval.judge.local_judge import LocalJudge

        return LocalJudge(arguments.local, revision=arguments.revision, device=arguments.device, dtype=arguments.dtype)
    return EndpointJudge(
        EndpointSettings(
            model=arguments.model,
            base_url=arguments.base_url,
            api_key_env=arguments.api_key_env,
            timeout_seconds=arguments.timeout,
            max_retries=arguments.max_retries,
            requests_per_minute=arguments.requests_per_minute,
            token_limit_field=arguments.token_limit_field,
            structured=arguments.structured,
        )
    )


def _judge(
    arguments: argparse.Namespace,
    systems: dict[str, list[StoryPrediction]],
    settings: JudgeSettings,
    backend: JudgeBackend,
    log: JudgeLog,
) -> JudgeReport:
    exam = None
    if arguments.exam:
        exam = hold_exam(
            next(iter(systems.values())),
            backend,
            settings,
            log=log,
            num_stories=arguments.exam_stories,
            num_workers=arguments.workers,
            progress=True,
        )
    judged = judge_stories(systems, backend, settings, log=log, num_workers=arguments.workers, progress=True)
    return JudgeReport(run=judged, exam=exam, num_damaged=log.num_damaged)


def _write(arguments: argparse.Namespace, report: JudgeReport, results: dict[str, Path], log_path: Path | None) -> None:
    if arguments.out is not None:
        text = json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n"
        write_text_atomically(arguments.out / REPORT_FILE, text)
    for name, path in results.items():
        merge_into_results(path, report.run, name, report.exam)
        if log_path is not None and path.is_dir() and (path / LOG_FILE).resolve() != log_path.resolve():
            copy_entries(log_path, path / LOG_FILE, report.run.keys_of(name))


def _read_systems(arguments: argparse.Namespace) -> dict[str, list[StoryPrediction]]:
    if arguments.limit is not None and arguments.limit < 1:
        raise InputError(f"--limit must be at least 1, got {arguments.limit}.")
    named: dict[str, list[Path]] = {arguments.name: arguments.paths} if arguments.paths else {}
    for text in arguments.system:
        name, equals, path = text.partition("=")
        if not (equals and name.strip() and path.strip()):
            raise InputError(f"--system takes NAME=PATH, got {text!r}.")
        if name in named:
            raise InputError(f"Two systems are called {name!r}.")
        named[name] = [Path(path)]
    if not named:
        raise InputError("There is nothing to judge: name a PATH, or systems with --system NAME=PATH.")
    return {name: _stories(paths, arguments.limit) for name, paths in named.items()}


def _stories(paths: Sequence[Path], limit: int | None) -> list[StoryPrediction]:
    return list(islice((story for path in paths for story in read_predictions(path)), limit))


def _results(arguments: argparse.Namespace, systems: dict[str, list[StoryPrediction]]) -> dict[str, Path]:
    """Return system -> its results file or folder; refused before anything is asked."""
    found: dict[str, Path] = {}
    for text in arguments.results:
        name, equals, path = text.partition("=")
        if not equals or name not in systems:
            name, path = next(iter(systems)), text
            if len(systems) > 1:
                raise InputError(f"With several systems --results takes NAME=PATH, got {text!r}.")
        if name in found:
            raise InputError(f"Two results are named for the system {name!r}.")
        found[name] = Path(path)
    if found and arguments.protocol != "pointwise":
        raise InputError(f"Marks of the protocol {arguments.protocol} depend on the other systems; merge pointwise.")
    for path in found.values():
        check_results(path)
    return found


def _pictures(frames_per_shot: int) -> PictureSettings:
    if not 1 <= frames_per_shot <= 32:
        raise InputError(f"--frames-per-shot must lie in 1 to 32, got {frames_per_shot}.")
    return PictureSettings(frames_per_shot=frames_per_shot)


def _temperature(text: str) -> float | None:
    return None if text == "none" else float(text)
