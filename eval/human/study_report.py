"""What the votes of a study say: agreement, a mean per system, who is preferred, and how far metrics agree with it.

Ratings. A system's value is the mean over stories of the mean over raters, with an interval over IPs, then stories.
Two systems are compared on the same stories by the sign-flip test over IPs; Holm corrects over all pairs and
dimensions together. Krippendorff's alpha (ordinal) says how far raters agree.
Pairs. Bradley-Terry with ties and an advantage of the left side, its intervals by drawing raters and stories.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from animeshooter_hf.eval.agreement import krippendorff_alpha
from animeshooter_hf.eval.human.questions import DIMENSIONS
from animeshooter_hf.eval.human.study_key import StudyKey
from animeshooter_hf.eval.human.votes import Vote, VoteBook
from animeshooter_hf.eval.preference import Comparison, elo, rank_systems
from animeshooter_hf.eval.statistics import cluster_bootstrap, holm, paired_comparison

__all__ = ["REPORT_FORMAT", "REPORT_VERSION", "human_means", "study_report", "study_tables"]

REPORT_FORMAT, REPORT_VERSION = "animeshooter-human-study", 1
"""What the first keys of a report say."""

_ALPHA = "(agreement, alpha)"
"""Name of the row that says how far raters agree."""

_KEYS = tuple(dimension.key for dimension in DIMENSIONS)

_PREFERENCE = {"left": 1.0, "tie": 0.0, "right": -1.0}


def study_report(book: VoteBook, key: StudyKey, *, draws: int = 2_000, seed: int = 0) -> dict[str, Any]:
    """Return everything that the votes say, ready for JSON; what cannot be had is None.

    Args:
        book: Votes that were checked.
        key: Key of the study.
        draws: Draws of every interval.
        seed: Seed of the draws.
    """
    ratings = [vote for vote in book.votes if vote.task.part == "rating"]
    pairs = [vote for vote in book.votes if vote.task.part == "pair"]
    report: dict[str, Any] = {
        "format": REPORT_FORMAT,
        "version": REPORT_VERSION,
        "study": key.study_id,
        "systems": list(key.systems),
        "coverage": {
            "raters": len(book.raters),
            "raters_excluded": sum(bool(record.excluded) for record in book.raters),
            "ratings": len(ratings),
            "pairs": len(pairs),
            "stories": len({vote.task.story_id for vote in book.votes}),
            "ips": len({key.ips[vote.task.story_id] for vote in book.votes}),
        },
        "problems": dict(book.problems),
        "raters": [{**asdict(record), "checks_failed": list(record.checks_failed)} for record in book.raters],
    }
    report["ratings"] = _ratings(ratings, key, draws, seed) if ratings else None
    report["preference"] = _preference(pairs, key, draws, seed) if pairs else None
    report["votes"] = [_row(vote, key) for vote in book.votes]
    return report


def human_means(votes: Sequence[Vote]) -> dict[str, dict[str, dict[str, float]]]:
    """Return dimension -> system -> story -> mean rating over raters."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for vote in votes:
        if vote.task.part == "rating":
            film = vote.task.films[0]
            for dimension, answer in vote.answers.items():
                found.setdefault(dimension, {}).setdefault(film.system, {}).setdefault(film.story_id, []).append(answer)
    return {
        dimension: {
            system: {story: math.fsum(given) / len(given) for story, given in sorted(stories.items())}
            for system, stories in sorted(systems.items())
        }
        for dimension, systems in found.items()
    }


def _ratings(votes: Sequence[Vote], key: StudyKey, draws: int, seed: int) -> dict[str, Any]:
    means = human_means(votes)
    alpha: dict[str, Any] = {}
    systems: dict[str, dict[str, Any]] = {}
    comparisons: list[dict[str, Any]] = []
    for dimension in _KEYS:
        alpha[dimension] = _alpha(votes, dimension, key, draws, seed)
        systems[dimension] = {}
        for system, stories in means[dimension].items():
            ips = [key.ips[story] for story in stories]
            interval = cluster_bootstrap(list(stories.values()), ips, draws=draws, seed=seed)
            value = math.fsum(stories.values()) / len(stories)
            systems[dimension][system] = {
                "value": value,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "num_stories": len(stories),
                "num_ips": len(set(ips)),
                "warning": interval.warning if interval else "One story only: there is no interval.",
            }
        for first, second in itertools.combinations(means[dimension], 2):
            compared = paired_comparison(
                means[dimension][first], means[dimension][second], key.ips, draws=draws, seed=seed
            )
            if compared is not None:
                comparisons.append({"dimension": dimension, "first": first, "second": second, **asdict(compared)})
    for row, adjusted in zip(comparisons, holm([row["p_value"] for row in comparisons]), strict=True):
        row["p_value_holm"] = adjusted
    return {"alpha": alpha, "systems": systems, "comparisons": comparisons}


def _alpha(votes: Sequence[Vote], dimension: str, key: StudyKey, draws: int, seed: int) -> dict[str, Any] | None:
    raters = sorted({vote.rater for vote in votes})
    films = sorted({vote.task.films[0] for vote in votes})
    table_RU = np.full((len(raters), len(films)), np.nan)
    for vote in votes:
        table_RU[raters.index(vote.rater), films.index(vote.task.films[0])] = vote.answers[dimension]
    stories = [film.story_id for film in films]
    ips = [key.ips[story] for story in stories]
    found = krippendorff_alpha(table_RU, "ordinal", clusters=ips, stories=stories, draws=draws, seed=seed)
    return None if found is None else asdict(found)


def _preference(votes: Sequence[Vote], key: StudyKey, draws: int, seed: int) -> dict[str, Any]:
    report = {}
    for dimension in _KEYS:
        comparisons = [
            Comparison(
                left=vote.task.films[0].system,
                right=vote.task.films[1].system,
                answer=vote.answers[dimension],
                rater=vote.rater,
                story_id=vote.task.story_id,
                ip_id=key.ips[vote.task.story_id],
            )
            for vote in votes
        ]
        ranking = rank_systems(comparisons, draws=draws, seed=seed)
        report[dimension] = {
            "systems": [{**asdict(one), "elo": elo(one.strength)} for one in ranking.systems],
            "position": {
                "value": ranking.preference.position,
                "low": ranking.position_low,
                "high": ranking.position_high,
            },
            "tie_rate": ranking.tie_rate,
            "num_votes": ranking.num_votes,
            "alpha": _pair_alpha(votes, dimension, key, draws, seed),
        }
    return report


def _pair_alpha(votes: Sequence[Vote], dimension: str, key: StudyKey, draws: int, seed: int) -> dict[str, Any] | None:
    """Return how far raters agree on pairs, sides turned so that the first system by name is the left one."""
    units = sorted({(vote.task.story_id, *sorted(film.system for film in vote.task.films)) for vote in votes})
    raters = sorted({vote.rater for vote in votes})
    table_RU = np.full((len(raters), len(units)), np.nan)
    for vote in votes:
        first, second = (film.system for film in vote.task.films)
        unit = units.index((vote.task.story_id, *sorted((first, second))))
        sign = 1.0 if first < second else -1.0
        table_RU[raters.index(vote.rater), unit] = sign * _PREFERENCE[vote.answers[dimension]]
    stories = [unit[0] for unit in units]
    ips = [key.ips[story] for story in stories]
    found = krippendorff_alpha(table_RU, "ordinal", clusters=ips, stories=stories, draws=draws, seed=seed)
    return None if found is None else asdict(found)


def _row(vote: Vote, key: StudyKey) -> dict[str, Any]:
    """Return a vote with the names that the rater did not see."""
    return {
        "rater": vote.rater,
        "task": vote.task.task_id,
        "part": vote.task.part,
        "story_id": vote.task.story_id,
        "ip_id": key.ips[vote.task.story_id],
        "systems": [film.system for film in vote.task.films],
        "answers": dict(vote.answers),
        "seconds": vote.seconds,
        "watched": list(vote.watched),
    }


def study_tables(report: Mapping[str, Any]) -> str:
    """Return the report as text."""
    coverage = report["coverage"]
    lines = [
        f"{coverage['raters']} raters, {coverage['raters_excluded']} excluded; {coverage['ratings']} ratings and "
        f"{coverage['pairs']} pairs of {coverage['stories']} stories of {coverage['ips']} IPs"
    ]
    lines += [f"  left out: {what} ({times})" for what, times in report["problems"].items()]
    lines += [
        f"  rater {record['label']} left out: {record['excluded']}" for record in report["raters"] if record["excluded"]
    ]
    width = max(map(len, (*report["systems"], _ALPHA)))
    if report["ratings"]:
        lines += _table("Ratings, 1 to 5, higher is better", report["ratings"]["systems"], "value", report, width)
        lines.append(_line(_ALPHA, [report["ratings"]["alpha"][key] for key in _KEYS], "value", width))
        found = [one["warning"] for systems in report["ratings"]["systems"].values() for one in systems.values()]
        lines += [f"  {warning}" for warning in sorted(set(filter(None, found)))]
    if report["preference"]:
        ranked = {key: {one["system"]: one for one in report["preference"][key]["systems"]} for key in _KEYS}
        lines += _table("Preference, log-odds against the average", ranked, "strength", report, width)
        lines.append(_line(_ALPHA, [report["preference"][key]["alpha"] for key in _KEYS], "value", width))
    return "\n".join(lines) + "\n"


def _table(
    title: str, found: Mapping[str, Mapping[str, Any]], name: str, report: Mapping[str, Any], width: int
) -> list[str]:
    lines = ["", title, "  ".join([" " * width, *(key.rjust(18) for key in _KEYS)])]
    return lines + [_line(one, [found[key].get(one) for key in _KEYS], name, width) for one in report["systems"]]


def _line(label: str, found: Sequence[Mapping[str, Any] | None], name: str, width: int) -> str:
    return "  ".join([label.ljust(width), *(_cell(one, name) for one in found)])


def _cell(found: Mapping[str, Any] | None, key: str) -> str:
    if found is None:
        return "-".rjust(18)
    if found["low"] is None:
        return f"{found[key]:.2f}".rjust(18)
    return f"{found[key]:.2f} [{found['low']:.2f} {found['high']:.2f}]".rjust(18)
