"""The judge's own exam: does it see what anybody sees? A judge that fails is not to be trusted, and the results say so.

Each story is held against a worse version of itself (`attacks.py`) under the protocol of the run. It passes where the
version loses the mark that was attacked: a lower mean mark, or, pairwise, the loss in both orders. A fifth check holds
a story against itself: marks may differ by one at most, and, pairwise, no order may name a winner.

A check is passed if the lower end of the 95 % interval of its pass rate (Wilson) is above one half, and counts as not
tested below four stories. Our choice: half is what a judge gets who guesses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from typing import Any, Literal

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.attacks import ATTACKS, shown_frames
from animeshooter_hf.eval.judge.backends import JudgeBackend
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.judge_scores import story_marks
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.run import judge_stories
from animeshooter_hf.eval.judge.verdicts import JudgeRun
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["CheckResult", "ExamResult", "hold_exam", "num_exam_questions", "wilson_interval"]

DEFAULT_NUM_STORIES = 12
"""Stories of an exam. Our choice: enough that two slips do not fail a check, few enough to pay for."""

_LEAST_TESTED = 4
"""Stories below which a check says nothing: four of four have a lower end of .51."""

_GREATEST_DIFFERENCE = 1.0
"""Marks by which a judge may differ from itself on one story. Our choice."""

_ORIGINAL, _OTHER = "original", "other"

Status = Literal["passed", "failed", "not tested"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check over all stories."""

    name: str
    """An attack, or "identical"."""

    dimension: str
    """The mark that must fall; "all" where none may."""

    summary: str
    """What was done to the story."""

    stories: Mapping[str, bool | None]
    """Story -> whether the judge saw it; None without an answer, or where the check does not apply."""

    pass_rate: float | None
    """Part of the stories with an answer; None if there are none."""

    low: float | None
    """Lower end of its 95 % interval."""

    high: float | None
    """Upper end."""

    status: Status
    """What it means."""

    @property
    def num_tested(self) -> int:
        """Stories with an answer."""
        return sum(passed is not None for passed in self.stories.values())

    @property
    def num_passed(self) -> int:
        """Stories on which the judge saw it."""
        return sum(passed is True for passed in self.stories.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class ExamResult:
    """All checks."""

    checks: tuple[CheckResult, ...]
    """In the order of `ATTACKS`, then "identical"."""

    left_out: Mapping[str, str]
    """Story -> why it could not be used."""

    @property
    def is_trusted(self) -> bool | None:
        """True if every check was passed, False if one was failed, None if one was not tested."""
        statuses = {check.status for check in self.checks}
        if "failed" in statuses:
            return False
        return None if "not tested" in statuses else True

    def failed_checks(self) -> tuple[str, ...]:
        """Return the names of the checks that the judge failed."""
        return tuple(check.name for check in self.checks if check.status == "failed")

    def to_json(self) -> dict[str, Any]:
        """Return the exam as JSON values."""
        checks = [
            asdict(check) | {"num_tested": check.num_tested, "num_passed": check.num_passed} for check in self.checks
        ]
        return {"is_trusted": self.is_trusted, "checks": checks, "left_out": dict(self.left_out)}


def hold_exam(
    stories: Sequence[StoryPrediction],
    backend: JudgeBackend,
    settings: JudgeSettings,
    *,
    log: JudgeLog | None = None,
    num_stories: int = DEFAULT_NUM_STORIES,
    num_workers: int = 4,
    progress: bool = False,
) -> ExamResult:
    """Return how a judge fares on worse versions of stories.

    Args:
        stories: True stories; they are taken evenly over IPs.
        backend: The judge.
        settings: As in the run that the exam is for.
        log: As in `judge_stories`.
        num_stories: Most stories.
        num_workers: As in `judge_stories`.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If no story can be used, or the judge cannot be asked at all.
    """
    if num_stories < 1:
        raise InputError(f"An exam needs at least one story, got {num_stories}.")
    log = JudgeLog() if log is None else log  # an empty log is false
    originals, left_out = _readable(stories, settings, num_stories)
    if not originals:
        raise InputError("No story can be used for the exam: each needs a reference and shots that can be read.")

    def judge(others: Sequence[StoryPrediction] | None, asked: JudgeSettings) -> JudgeRun:
        named = {story.story_id for story in others} if others is not None else None
        systems = {_ORIGINAL: [story for story in originals if named is None or story.story_id in named]}
        if others is not None:
            systems[_OTHER] = list(others)
        return judge_stories(systems, backend, asked, log=log, num_workers=num_workers, progress=progress)

    checks = [_attack_check(name, originals, settings, judge) for name in ATTACKS]
    return ExamResult(checks=(*checks, _identical_check(originals, settings, judge)), left_out=left_out)


def num_exam_questions(settings: JudgeSettings, num_stories: int) -> int:
    """Return how many questions an exam asks at most, without repairs and new tries."""
    if settings.protocol == "pointwise":
        rounds = settings.num_rounds or 1
        return num_stories * (max(rounds, 2) + rounds * len(ATTACKS))
    per_check = settings.num_rounds or 2 if settings.protocol == "paper" else 2 * (settings.num_rounds or 1)
    return num_stories * per_check * (len(ATTACKS) + 1)


def wilson_interval(num_passed: int, num_tested: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a rate, also honest where all or none passed; None without a test.

    Source: Wilson 1927.
    """
    if not num_tested:
        return None
    z = 1.959963984540054
    rate, weight = num_passed / num_tested, z * z / num_tested
    centre = (rate + weight / 2) / (1 + weight)
    half = z * sqrt(rate * (1 - rate) / num_tested + weight / (4 * num_tested)) / (1 + weight)
    return max(0.0, centre - half), min(1.0, centre + half)


_Judge = Callable[[Sequence[StoryPrediction] | None, JudgeSettings], JudgeRun]


def _attack_check(
    name: str, originals: Sequence[StoryPrediction], settings: JudgeSettings, judge: _Judge
) -> CheckResult:
    attack = ATTACKS[name]
    attacked: list[StoryPrediction] = []
    stories: dict[str, bool | None] = dict.fromkeys(story.story_id for story in originals)
    for story in originals:
        try:
            attacked.append(attack.attack(story, originals))
        except InputError:
            continue  # it does not apply: None
    if attacked:
        run = judge(attacked, settings)
        stories |= _losses(run, attack.dimension)
    return _result(name, attack.dimension, attack.summary, stories)


def _identical_check(originals: Sequence[StoryPrediction], settings: JudgeSettings, judge: _Judge) -> CheckResult:
    stories: dict[str, bool | None] = dict.fromkeys(story.story_id for story in originals)
    if settings.protocol == "pointwise":
        run = judge(None, replace(settings, num_rounds=2))
        summary = "the same story, asked twice"
    else:
        run = judge(originals, settings)
        summary = "the same story under two names"
    for story_id in stories:
        stories[story_id] = _is_even(run, story_id)
    return _result("identical", "all", summary, stories)


def _losses(run: JudgeRun, dimension: str) -> dict[str, bool | None]:
    """Return story -> whether the worse version lost."""
    if run.settings.protocol == "pairwise":
        return {story_id: _lost_both(run, story_id, dimension) for story_id in _ids(run)}
    marks = {(one.system, one.story_id): one.marks[dimension] for one in story_marks(run)}
    found: dict[str, bool | None] = {}
    for story_id in _ids(run):
        true, worse = marks.get((_ORIGINAL, story_id)), marks.get((_OTHER, story_id))
        found[story_id] = None if true is None or worse is None else worse < true
    return found


def _lost_both(run: JudgeRun, story_id: str, dimension: str) -> bool | None:
    winners = []
    for verdict in run.verdicts:
        if verdict.story_id != story_id:
            continue
        if verdict.answer is None or verdict.answer.choices is None:
            return None
        choice = verdict.answer.choices[dimension]
        winners.append(None if choice is None else verdict.systems[choice])
    return all(winner == _ORIGINAL for winner in winners) if winners else None


def _is_even(run: JudgeRun, story_id: str) -> bool | None:
    """Return whether the judge says the same of the same story."""
    verdicts = [verdict for verdict in run.verdicts if verdict.story_id == story_id]
    answers = [verdict.answer for verdict in verdicts if verdict.answer is not None]
    if not verdicts or len(answers) < len(verdicts):
        return None
    if run.settings.protocol == "pairwise":
        return all(choice is None for answer in answers for choice in (answer.choices or {}).values())
    marks = [mark for answer in answers for mark in answer.scores]
    return all(
        max(one[name] for one in marks) - min(one[name] for one in marks) <= _GREATEST_DIFFERENCE for name in DIMENSIONS
    )


def _ids(run: JudgeRun) -> list[str]:
    return list(dict.fromkeys(verdict.story_id for verdict in run.verdicts))


def _result(name: str, dimension: str, summary: str, stories: Mapping[str, bool | None]) -> CheckResult:
    tested = [passed for passed in stories.values() if passed is not None]
    interval = wilson_interval(sum(tested), len(tested))
    status: Status = "not tested"
    if interval is not None and len(tested) >= _LEAST_TESTED:
        status = "passed" if interval[0] > 0.5 else "failed"
    return CheckResult(
        name=name,
        dimension=dimension,
        summary=summary,
        stories=dict(stories),
        pass_rate=sum(tested) / len(tested) if tested else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        status=status,
    )


def _readable(
    stories: Sequence[StoryPrediction], settings: JudgeSettings, num_stories: int
) -> tuple[list[StoryPrediction], dict[str, str]]:
    """Return stories with a reference whose frames can be read, evenly over IPs, and why others cannot be used."""
    by_ip: dict[str, list[StoryPrediction]] = {}
    for story in stories:
        by_ip.setdefault(story.ip_id, []).append(story)
    depth = max((len(own) for own in by_ip.values()), default=0)
    order = [own[turn] for turn in range(depth) for own in by_ip.values() if turn < len(own)]
    found: list[StoryPrediction] = []
    left_out: dict[str, str] = {}
    for story in order:
        if len(found) == num_stories:
            break
        if not story.references:
            left_out[story.story_id] = "It has no reference."
            continue
        try:
            found.append(shown_frames(story, settings.pictures))
        except InputError as error:
            left_out[story.story_id] = str(error)
    return found, left_out
