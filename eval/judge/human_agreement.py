"""Does the judge say what people say? Order of pairs of systems on one story, and rank correlation.

A human value of a story is the mean of the raters' marks (1-5 in the paper); scales need not be the same, since only
orders count. Between systems of one story is where a judge is used, so that is what `pair_order` asks: of the pairs
that people put in an order, the part that the judge puts in the same one, a tie of the judge counting one half.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.agreement import kendall_tau
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS
from animeshooter_hf.eval.judge.judge_scores import StoryMarks
from animeshooter_hf.eval.statistics import cluster_bootstrap

__all__ = ["HumanAgreement", "HumanMarks", "human_agreement", "read_human_marks"]

_STUDY_FORMAT = "animeshooter-human-study"
"""What the report of a human study says it is."""

HumanMarks = Mapping[tuple[str, str], Mapping[str, float]]
"""(system, story) -> dimension -> mean mark of the raters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HumanAgreement:
    """One dimension."""

    dimension: str
    """Which."""

    pair_order: float | None
    """Part of the pairs in the same order, mean over stories; 1/2 is chance. None if people ordered no pair."""

    low: float | None
    """Lower end of its 95 % interval over IPs and stories; None under two stories."""

    high: float | None
    """Upper end."""

    num_pairs: int
    """Pairs that people put in an order and the judge marked."""

    kendall_tau: float | None
    """Kendall's tau-b over all marked (system, story); None if one side says the same of all."""

    tau_low: float | None
    """Lower end of its 95 % interval."""

    tau_high: float | None
    """Upper end."""

    num_marked: int
    """(system, story) that both have marked."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def human_agreement(judge: list[StoryMarks], people: HumanMarks) -> list[HumanAgreement]:
    """Return the agreement in each dimension.

    Raises:
        InputError: If nothing was marked by both.
    """
    ips = {one.story_id: one.ip_id for one in judge}
    found = [_of_dimension(judge, people, ips, name) for name in DIMENSIONS]
    if not any(one.num_marked for one in found):
        raise InputError("No story of any system was marked by both the judge and people. Are the names the same?")
    return found


def _of_dimension(judge: list[StoryMarks], people: HumanMarks, ips: Mapping[str, str], name: str) -> HumanAgreement:
    both: dict[str, dict[str, tuple[float, float]]] = {}
    for one in judge:
        mark, human = one.marks[name], people.get((one.system, one.story_id), {}).get(name)
        if mark is not None and human is not None:
            both.setdefault(one.story_id, {})[one.system] = (mark, human)
    pairs = {
        story: [_same_order(a, b) for a, b in combinations(marks.values(), 2) if a[1] != b[1]]
        for story, marks in both.items()
    }
    rates = {story: fmean(same) for story, same in pairs.items() if same}
    interval = cluster_bootstrap(list(rates.values()), [ips[story] for story in rates])
    units = [(story, *values) for story, marks in both.items() for values in marks.values()]
    stories = [story for story, _, _ in units]
    tau = kendall_tau(
        [mark for _, mark, _ in units],
        [human for _, _, human in units],
        clusters=[ips[story] for story in stories] if len(both) > 1 else None,
        stories=stories if len(both) > 1 else None,
    )
    return HumanAgreement(
        dimension=name,
        pair_order=fmean(rates.values()) if rates else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        num_pairs=sum(len(same) for same in pairs.values()),
        kendall_tau=tau.value if tau else None,
        tau_low=tau.low if tau else None,
        tau_high=tau.high if tau else None,
        num_marked=len(units),
    )


def _same_order(first: tuple[float, float], second: tuple[float, float]) -> float:
    judged, said = first[0] - second[0], first[1] - second[1]
    return 0.5 if judged == 0 else float((judged > 0) == (said > 0))


def read_human_marks(path: Path) -> HumanMarks:
    """Return the mean marks of a file, which is one of two kinds.

        a report   what `animeshooter study read --out` writes; its ratings count, its pairs do not
        JSON lines one rater's mark a line: system, story_id, dimension, value

    Raises:
        InputError: If it cannot be read, is of neither kind, or holds no ratings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text.") from error
    report = _report(text)
    lines = enumerate(text.splitlines(), start=1)
    rows = _ratings(report, path) if report else [
        _mark(line, f"Line {number} of {path}") for number, line in lines if line.strip()
    ]  # fmt: skip
    if not rows:
        raise InputError(f"{path} holds no ratings to compare with.")
    values: dict[tuple[str, str], dict[str, list[float]]] = {}
    for system, story_id, dimension, value in rows:
        values.setdefault((system, story_id), {}).setdefault(dimension, []).append(value)
    return {key: {name: fmean(found) for name, found in marks.items()} for key, marks in values.items()}


_Rating = tuple[str, str, str, float]


def _report(text: str) -> Mapping[str, Any] | None:
    """Return the report of a human study, or None if the text is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) and found.get("format") == _STUDY_FORMAT else None


def _ratings(report: Mapping[str, Any], path: Path) -> list[_Rating]:
    try:
        ratings = [vote for vote in report["votes"] if vote["part"] == "rating"]
        return [
            (vote["systems"][0], vote["story_id"], name, float(vote["answers"][name]))
            for vote in ratings
            for name in DIMENSIONS
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"The report {path} is damaged. Take what `animeshooter study read` wrote.") from error


def _mark(line: str, what: str) -> _Rating:
    try:
        row = json.loads(line)
        found = row["system"], row["story_id"], row["dimension"], row["value"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{what} must be an object with system, story_id, dimension and value.") from error
    system, story_id, dimension, value = found
    if not isinstance(system, str) or not isinstance(story_id, str) or dimension not in DIMENSIONS:
        raise InputError(f"{what} must name a system, a story and a dimension of {', '.join(DIMENSIONS)}.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 < value < 1e6:
        raise InputError(f"{what} must have a number as value, got {value!r}.")
    return system, story_id, dimension, float(value)
