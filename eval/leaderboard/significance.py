"""Which neighbours of a ranking can be told apart.

Each ranked system is compared with the next one in the column: paired by story, signs flipped by IP, and Holm's
correction over all comparisons of the column. A mark between two neighbours speaks of these two only: it is not
transitive, and no groups are made of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from animeshooter_hf.eval.leaderboard.ranking import Board, Column
from animeshooter_hf.eval.statistics import PairedComparison, holm, paired_comparison

__all__ = ["LEVEL", "Neighbours", "compare_neighbours"]

LEVEL = 0.05
"""Chance of an error in a whole column below which two neighbours count as different. The usual choice."""

DRAWS = 10_000
"""Permutations and resamples of a comparison, as everywhere in this room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """Two that follow each other in a column."""

    first: str
    """Row of the better one."""

    second: str
    """Row of the next one."""

    comparison: PairedComparison
    """First minus second."""

    p_value: float
    """After Holm's correction over the column."""

    @property
    def can_be_told_apart(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_value < LEVEL


def compare_neighbours(board: Board, column: Column, *, draws: int = DRAWS) -> list[Neighbours]:
    """Return the comparisons of neighbours, best first; pairs that cannot be compared are left out.

    Nothing is compared where a number has no values of single stories (an AUC over all pairs), or where two systems
    share stories of fewer than two IPs.
    """
    ranking = column.ranking
    entries = {entry.key: entry for entry in board.entries}
    values: dict[str, dict[str, float]] = {}
    for cell in ranking:
        run = entries[cell.entry].run_of(column.metric, column.signature)
        found = {story.story_id: story.values.get((column.metric, column.name)) for story in run.stories} if run else {}
        values[cell.entry] = {story: value for story, value in found.items() if value is not None}
    made: list[tuple[str, str, PairedComparison]] = []
    for above, below in pairwise(ranking):
        compared = _compare(values[above.entry], values[below.entry], board.ip_ids, draws)
        if compared is not None:
            made.append((above.entry, below.entry, compared))
    adjusted = holm([compared.p_value for _, _, compared in made])
    return [
        Neighbours(first=first, second=second, comparison=compared, p_value=p_value)
        for (first, second, compared), p_value in zip(made, adjusted, strict=True)
    ]


def _compare(
    first: Mapping[str, float], second: Mapping[str, float], ip_ids: Mapping[str, str], draws: int
) -> PairedComparison | None:
    shared = first.keys() & second.keys()
    clusters = {story: ip_ids[story] for story in shared}
    if len(set(clusters.values())) < 2:
        return None
    return paired_comparison(first, second, clusters, draws=draws)
