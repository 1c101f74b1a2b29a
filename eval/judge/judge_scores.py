"""A judge's answers to numbers: story means, the corpus with its interval, spread over rounds, bias by position.

A story's mark is the mean over its rounds that have one; a corpus value is the mean over stories, with an interval from
drawing IPs, then stories. A story none of whose questions has an answer is None and counted.

Pairwise: a pair of orders in which both name the same system is a win, everything else a tie. The win rate counts a tie
as one half.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, variance
from typing import Any

from animeshooter_hf.eval.agreement import intraclass_correlation
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS
from animeshooter_hf.eval.judge.verdicts import JudgeRun, Verdict
from animeshooter_hf.eval.statistics import cluster_bootstrap

__all__ = ["CorpusMark", "PairScore", "StoryMarks", "corpus_marks", "pair_scores", "position_bias", "round_spread"]
__all__ += ["story_marks", "win_rates"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryMarks:
    """One story of one system."""

    system: str
    """Whose."""

    story_id: str
    """Which."""

    ip_id: str
    """Whom it is about."""

    marks: Mapping[str, float | None]
    """Dimension -> mean over rounds in [1, 10], or None."""

    rounds: tuple[Mapping[str, int], ...]
    """The marks of each round that has them, in order."""

    n_failed: int
    """Questions without an answer."""

    problem: str
    """Why the last of those has none, or ""."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusMark:
    """One number over stories, and what it rests on."""

    value: float | None
    """The mean, or None."""

    low: float | None
    """Lower end of the 95 % interval, or None under two stories."""

    high: float | None
    """Upper end."""

    n_evaluated: int
    """Stories that went in."""

    n_failed: int
    """Stories without an answer."""

    n_skipped: int
    """Stories not asked about."""

    def to_json(self, direction: str = "higher") -> dict[str, Any]:
        """Return the entry of a results file."""
        return {**asdict(self), "direction": direction}


@dataclass(frozen=True, kw_only=True, slots=True)
class PairScore:
    """Two systems against each other in one dimension."""

    first: str
    """One system."""

    second: str
    """The other."""

    dimension: str
    """One of `DIMENSIONS`."""

    wins: int
    """Pairs of orders in which both name the first."""

    losses: int
    """In which both name the second."""

    ties: int
    """All others that were answered."""

    agreement: float | None
    """Part of them in which both orders say the same; None if there are none."""

    first_position: float | None
    """Part of the single choices for one of the two that went to whoever was shown first; 1/2 is unbiased."""

    win_rate: CorpusMark
    """Of the first, ties as one half, over stories."""


def story_marks(run: JudgeRun) -> list[StoryMarks]:
    """Return the marks of each story of each system (`pointwise`, `paper`), in the order of systems and plan."""
    found = []
    for system in run.systems:
        own: dict[str, list[Verdict]] = {}
        for verdict in run.verdicts:
            if system in verdict.systems:
                own.setdefault(verdict.story_id, []).append(verdict)
        found += [_story_marks(system, verdicts) for verdicts in own.values()]
    return found


def _story_marks(system: str, verdicts: Sequence[Verdict]) -> StoryMarks:
    answered = [(verdict, verdict.answer) for verdict in verdicts]
    rounds = tuple(
        answer.scores[verdict.systems.index(system)] for verdict, answer in answered if answer and answer.scores
    )
    failed = [verdict for verdict in verdicts if verdict.answer is None]
    return StoryMarks(
        system=system,
        story_id=verdicts[0].story_id,
        ip_id=verdicts[0].ip_id,
        marks={name: fmean(marks[name] for marks in rounds) if rounds else None for name in DIMENSIONS},
        rounds=rounds,
        n_failed=len(failed),
        problem=_why(failed[-1]) if failed else "",
    )


def _why(verdict: Verdict) -> str:
    return verdict.problem if verdict.asked is None else f"{verdict.asked.reason}: {verdict.asked.detail}"


def corpus_marks(run: JudgeRun, system: str, marks: Sequence[StoryMarks] | None = None) -> dict[str, CorpusMark]:
    """Return dimension -> mean over the stories of a system."""
    own = [one for one in (marks if marks is not None else story_marks(run)) if one.system == system]
    num_skipped = sum(1 for name, _ in run.skipped if name == system)
    return {name: _corpus_mark([(one.marks[name], one.ip_id) for one in own], num_skipped) for name in DIMENSIONS}


def _corpus_mark(values: Sequence[tuple[float | None, str]], num_skipped: int) -> CorpusMark:
    kept = [(value, ip) for value, ip in values if value is not None]
    interval = cluster_bootstrap([value for value, _ in kept], [ip for _, ip in kept])
    return CorpusMark(
        value=fmean(value for value, _ in kept) if kept else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n_evaluated=len(kept),
        n_failed=len(values) - len(kept),
        n_skipped=num_skipped,
    )


def round_spread(marks: Sequence[StoryMarks]) -> dict[str, dict[str, float | int | None]]:
    """Return dimension -> how much the rounds of one story differ.

    `round_sd` is the standard deviation between rounds within a story (pooled), `icc` the part of the variance that is
    between stories, for one round (ICC(A,1)); only stories with all rounds count. None if there is one round.
    """
    most = max((len(one.rounds) for one in marks), default=0)
    whole = [one for one in marks if len(one.rounds) == most]
    found: dict[str, dict[str, float | int | None]] = {}
    for name in DIMENSIONS:
        tables = [[float(one[name]) for one in story.rounds] for story in whole]
        spread = fmean(variance(values) for values in tables) ** 0.5 if most > 1 and tables else None
        icc = intraclass_correlation(tables) if most > 1 and len(tables) > 1 else None
        found[name] = {"round_sd": spread, "icc": icc, "num_rounds": most, "num_stories": len(whole)}
    return found


def position_bias(run: JudgeRun) -> dict[str, list[float | None]]:
    """Return dimension -> per position: its mean mark minus the mean of all positions (`paper`).

    Only stories all of whose rounds were answered count; in a balanced order a difference is bias, not merit.
    """
    incomplete = {verdict.story_id for verdict in run.verdicts if verdict.answer is None}
    answers = [one.answer for one in run.verdicts if one.answer is not None and one.story_id not in incomplete]
    answers = [answer for answer in answers if answer is not None and len(answer.scores) == len(run.systems)]
    found: dict[str, list[float | None]] = {}
    for name in DIMENSIONS:
        columns = [[answer.scores[position][name] for answer in answers] for position in range(len(run.systems))]
        mean = fmean(value for column in columns for value in column) if answers else 0.0
        found[name] = [fmean(column) - mean if column else None for column in columns]
    return found


def pair_scores(run: JudgeRun) -> list[PairScore]:
    """Return each pair of systems in each dimension (`pairwise`)."""
    pairs: dict[tuple[str, str], dict[tuple[str, int], dict[tuple[str, ...], Verdict]]] = {}
    for verdict in run.verdicts:
        first, second = sorted(verdict.systems, key=run.systems.index)
        cells = pairs.setdefault((first, second), {})
        cells.setdefault((verdict.story_id, verdict.round_index), {})[verdict.systems] = verdict
    return [_pair_score(run, pair, list(cells.values()), name) for pair, cells in pairs.items() for name in DIMENSIONS]


def _pair_score(
    run: JudgeRun, pair: tuple[str, str], cells: Sequence[Mapping[tuple[str, ...], Verdict]], name: str
) -> PairScore:
    results: list[tuple[str, str, float | None]] = []
    same = first_shown = chosen = 0
    for cell in cells:
        votes = [_winner(verdict, name) for verdict in cell.values()]
        story = next(iter(cell.values()))
        decided = [(vote, verdict.systems[0]) for vote, verdict in zip(votes, cell.values(), strict=True) if vote]
        chosen += len(decided)
        first_shown += sum(vote == shown_first for vote, shown_first in decided)
        if None in votes:
            results.append((story.story_id, story.ip_id, None))
            continue
        agrees = len(set(votes)) == 1
        same += agrees
        results.append((story.story_id, story.ip_id, _points(votes[0] if agrees else "", pair[0])))
    points = [value for _, _, value in results if value is not None]
    return PairScore(
        first=pair[0],
        second=pair[1],
        dimension=name,
        wins=points.count(1.0),
        losses=points.count(0.0),
        ties=points.count(0.5),
        agreement=same / len(points) if points else None,
        first_position=first_shown / chosen if chosen else None,
        win_rate=_rate(run, results, pair),
    )


def _winner(verdict: Verdict, name: str) -> str | None:
    """Return the system chosen, "" for a tie, None without an answer."""
    answer = verdict.answer
    if answer is None or answer.choices is None:
        return None
    choice = answer.choices[name]
    return "" if choice is None else verdict.systems[choice]


def _points(winner: str | None, system: str) -> float:
    return 0.5 if not winner else float(winner == system)


def _rate(run: JudgeRun, results: Sequence[tuple[str, str, float | None]], pair: tuple[str, str]) -> CorpusMark:
    stories: dict[str, tuple[str, list[float]]] = {}
    for story_id, ip_id, value in results:
        points = stories.setdefault(story_id, (ip_id, []))[1]
        points += [] if value is None else [value]
    values = [(fmean(points) if points else None, ip_id) for ip_id, points in stories.values()]
    return _corpus_mark(values, len({story for name, story in run.skipped if name in pair}))


def win_rates(pairs: Sequence[PairScore], systems: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return system -> dimension -> mean win rate over its opponents."""
    found: dict[str, dict[str, float | None]] = {}
    for system in systems:
        found[system] = {}
        for name in DIMENSIONS:
            own = [pair for pair in pairs if pair.dimension == name and system in (pair.first, pair.second)]
            rates = [(pair.win_rate.value, pair.first == system) for pair in own]
            kept = [value if is_first else 1.0 - value for value, is_first in rates if value is not None]
            found[system][name] = fmean(kept) if kept else None
    return found
