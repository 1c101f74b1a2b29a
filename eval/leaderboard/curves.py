"""How a number goes over the shots of a story: the mean at each position, with its interval.

It shows what a mean hides: whether the first shot is the best one and the character drifts away afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.leaderboard.results_records import ShotRow
from animeshooter_hf.eval.statistics import cluster_bootstrap

__all__ = ["CurvePoint", "shot_curve"]

DRAWS = 1000
"""Resamples of one point. Our choice: its ends are read from a picture, so a tenth of the usual number will do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """One position in the story."""

    shot_index: int
    """From 0."""

    value: float
    """Mean over stories."""

    low: float | None
    """Lower end of the interval over IPs and stories; None for too few."""

    high: float | None
    """Upper end."""

    num_stories: int
    """Stories that have a number there."""


def shot_curve(shots: Sequence[ShotRow], key: tuple[str, str], *, draws: int = DRAWS) -> list[CurvePoint]:
    """Return the points of one number, (metric, name), by position; positions without a number are left out."""
    at: dict[int, list[ShotRow]] = {}
    for shot in shots:
        if shot.values.get(key) is not None:
            at.setdefault(shot.shot_index, []).append(shot)
    points = []
    for index, rows in sorted(at.items()):
        values = [value for row in rows if (value := row.values[key]) is not None]
        interval = cluster_bootstrap(values, [row.ip_id for row in rows], draws=draws)
        points.append(
            CurvePoint(
                shot_index=index,
                value=mean(values),
                low=None if interval is None else interval.low,
                high=None if interval is None else interval.high,
                num_stories=len(values),
            )
        )
    return points


def mean_curve(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the mean of several curves at each position that all of them have."""
    shared = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    return {index: mean([curve[index] for curve in curves]) for index in sorted(shared)}
