"""Votes, checked against the key: what may be counted, what may not, and why.

A rater is a session: two people who entered one number are two raters. Of several files of one session the latest
counts, since each holds all earlier votes. What is wrong with a single vote (a task that does not exist or was not
shown to this number, a second vote on a task, an answer out of range) leaves out this vote and is counted; a file that
is no votes file, or of another study, is refused as a whole.

A rater is left out by rule, never by hand:
    failed checks    at least half of the attention checks that were answered, and at least two
    one answer       the same answer to every question of a part (ratings, pairs), over at least ten tasks
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.human.design import PARTS, StudyTask
from animeshooter_hf.eval.human.questions import DIMENSIONS, HIGHEST, LOWEST
from animeshooter_hf.eval.human.study_key import StudyKey, read_json

__all__ = ["ExclusionRule", "RaterRecord", "Vote", "VoteBook", "check_passed", "read_votes"]

VOTES_FORMAT, VOTES_VERSION = "animeshooter-study-votes", 1
"""What the first keys of a votes file say."""

_KEYS = tuple(dimension.key for dimension in DIMENSIONS)
_SIDES = ("left", "tie", "right")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExclusionRule:
    """When a rater's votes are left out."""

    failed_share: float = 0.5
    """Share of the answered checks that must be failed. Our choice."""

    fewest_failed: int = 2
    """And so many at least, so that one slip costs nobody. Our choice."""

    fewest_same: int = 10
    """Tasks of a part from which on one and the same answer to every question is no opinion. Our choice."""

    highest_wrong: int = 2
    """A film with a character of another IP may get at most so much in CRC. Our choice: the page says that it is 1."""

    largest_step: int = 1
    """Answers to a film and to its repetition may differ by so much. Our choice."""

    most_not_tied: int = 1
    """Of the answers to two identical films so many may be no tie. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """One answered task."""

    rater: str
    """Label of the rater."""

    task: StudyTask
    """What was shown."""

    answers: Mapping[str, Any]
    """Dimension -> 1 to 5, or left, tie or right."""

    seconds: float
    """Time on the task."""

    watched: tuple[float, ...]
    """Share of each film that was seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RaterRecord:
    """One rater."""

    label: str
    """Number, with a letter if several sessions have it."""

    num_votes: int
    """Valid votes, checks included."""

    num_unplayable: int
    """Tasks whose film did not play."""

    checks_seen: int
    """Attention checks answered."""

    checks_failed: tuple[str, ...]
    """Sorts of the failed ones."""

    is_finished: bool
    """Whether all tasks were answered."""

    excluded: str
    """Why the votes are left out, "" if they count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteBook:
    """Everything that came in."""

    votes: tuple[Vote, ...]
    """Votes that count: of raters that are not excluded, and no checks. By rater and task."""

    raters: tuple[RaterRecord, ...]
    """All raters."""

    problems: Mapping[str, int]
    """What was wrong with votes or files -> how often."""


def read_votes(paths: Sequence[Path], key: StudyKey, rule: ExclusionRule | None = None) -> VoteBook:
    """Read votes files.

    Raises:
        InputError: If a file is no votes file or belongs to another study.
    """
    rule = rule or ExclusionRule()
    problems: Counter[str] = Counter()
    sessions: dict[tuple[int, str], Mapping[str, Any]] = {}
    for path in paths:
        data = _file(path, key)
        name = (data["rater"], data["session"])
        if name in sessions:
            problems["an older file of the same session"] += 1
        if name not in sessions or data["revision"] > sessions[name]["revision"]:
            sessions[name] = data
    counted: list[Vote] = []
    records = []
    for label, (number, session) in sorted(_labels(sessions).items()):
        votes, num_unplayable = _votes(label, number, sessions[number, session], key, problems)
        record = _record(label, votes, num_unplayable, key.order_of(number), rule)
        records.append(record)
        if not record.excluded:
            counted += [vote for vote in votes.values() if not vote.task.check]
    return VoteBook(votes=tuple(counted), raters=tuple(records), problems=dict(sorted(problems.items())))


def check_passed(vote: Vote, others: Mapping[str, Vote], rule: ExclusionRule) -> bool | None:
    """Return whether an attention check was passed; None if the film that it repeats was not rated."""
    task, answers = vote.task, vote.answers
    if task.check == "repeated":
        before = others.get(task.repeats)
        if before is None:
            return None
        return all(abs(answers[key] - before.answers[key]) <= rule.largest_step for key in _KEYS)
    if task.check == "identical":
        return sum(answers[key] != "tie" for key in _KEYS) <= rule.most_not_tied
    if task.part == "rating":
        return bool(answers["CRC"] <= rule.highest_wrong)
    own_side = "left" if task.films[0].story_id == task.story_id else "right"
    return bool(answers["CRC"] == own_side)


def _file(path: Path, key: StudyKey) -> Mapping[str, Any]:
    data = read_json(path)
    if not isinstance(data, Mapping) or data.get("format") != VOTES_FORMAT:
        raise InputError(f"{path} is no votes file. Give what raters saved at the end of the study.")
    if data.get("version") != VOTES_VERSION:
        raise InputError(f"{path} is a votes file of version {data.get('version')!r}; {VOTES_VERSION} is read.")
    if data.get("study") != key.study_id:
        raise InputError(f"{path} belongs to study {data.get('study')!r}, the key to study {key.study_id!r}.")
    number, session, revision = data.get("rater"), data.get("session"), data.get("revision")
    is_whole = all(isinstance(value, int) and not isinstance(value, bool) for value in (number, revision))
    if not is_whole or not isinstance(session, str) or not isinstance(data.get("votes"), list) or int(number or 0) < 1:
        raise InputError(f"{path} is damaged: rater, session, revision or votes are missing or of the wrong kind.")
    return data


def _labels(sessions: Mapping[tuple[int, str], Any]) -> dict[str, tuple[int, str]]:
    """Return a label for each session: its number, and a letter where several have it."""
    of_number: dict[int, list[str]] = {}
    for number, session in sorted(sessions):
        of_number.setdefault(number, []).append(session)
    labels = {}
    for number, found in of_number.items():
        for at, session in enumerate(found):
            labels[f"{number:03d}" + (f"-{at + 1}" if len(found) > 1 else "")] = (number, session)
    return labels


def _votes(
    label: str, number: int, data: Mapping[str, Any], key: StudyKey, problems: Counter[str]
) -> tuple[dict[str, Vote], int]:
    shown = set(key.order_of(number))
    votes: dict[str, Vote] = {}
    unplayable: set[str] = set()
    for row in data["votes"]:
        name = row.get("task") if isinstance(row, Mapping) else None
        if not isinstance(name, str) or name not in key.tasks:
            problems["a vote on an unknown task"] += 1
        elif name not in shown:
            problems["a vote on a task that this number was not shown"] += 1
        elif name in votes or name in unplayable:
            problems["a second vote on one task"] += 1
        elif row.get("answers") is None:
            unplayable.add(name)
        elif (answers := _answers(row["answers"], key.tasks[name])) is None:
            problems["an answer that is missing or out of range"] += 1
        else:
            task = key.tasks[name]
            seconds, watched = _number(row.get("seconds")), row.get("watched")
            shares = watched if isinstance(watched, list) and len(watched) == len(task.films) else [0.0] * 2
            votes[name] = Vote(
                rater=label,
                task=task,
                answers=answers,
                seconds=seconds,
                watched=tuple(_number(share) for share in shares[: len(task.films)]),
            )
    return dict(sorted(votes.items())), len(unplayable)


def _answers(given: Any, task: StudyTask) -> dict[str, Any] | None:
    if not isinstance(given, Mapping) or set(given) != set(_KEYS):
        return None
    if task.part == "pair":
        return dict(given) if all(isinstance(side, str) and side in _SIDES for side in given.values()) else None
    for value in given.values():
        if isinstance(value, bool) or not isinstance(value, int) or not LOWEST <= value <= HIGHEST:
            return None
    return dict(given)


def _number(value: Any) -> float:
    """Return a measure of the page as a number that is not negative; what is none was not measured, so 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return max(0.0, float(value))


def _record(
    label: str, votes: Mapping[str, Vote], num_unplayable: int, order: Sequence[str], rule: ExclusionRule
) -> RaterRecord:
    checks = [(vote.task.check, check_passed(vote, votes, rule)) for vote in votes.values() if vote.task.check]
    seen = [(check, passed) for check, passed in checks if passed is not None]
    failed = tuple(check for check, passed in seen if not passed)
    excluded = ""
    if len(failed) >= max(rule.fewest_failed, math.ceil(rule.failed_share * len(seen))):
        excluded = f"failed {len(failed)} of {len(seen)} attention checks"
    elif any(_is_one_answer(votes, part, rule) for part in PARTS):
        excluded = "gave one answer to everything"
    return RaterRecord(
        label=label,
        num_votes=len(votes),
        num_unplayable=num_unplayable,
        checks_seen=len(seen),
        checks_failed=failed,
        is_finished=len(votes) + num_unplayable == len(order),
        excluded=excluded,
    )


def _is_one_answer(votes: Mapping[str, Vote], part: str, rule: ExclusionRule) -> bool:
    of_part = [vote for vote in votes.values() if vote.task.part == part]
    given = {answer for vote in of_part for answer in vote.answers.values()}
    return len(given) == 1 and len(of_part) >= rule.fewest_same
