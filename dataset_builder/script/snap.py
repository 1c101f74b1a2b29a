"""Match stated times to detected cuts: in order, each cut at most once, at the least cost.

Letters in names: N times, M cuts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["snap_cost", "snap_times"]


def snap_times(
    times_N: Sequence[float],
    cuts_M: Sequence[float],
    tolerance: float,
    skip_cost: float,
    cut_skip_cost: float = 0.0,
) -> NDArray[np.int64]:
    """Return the number of the cut that each time means, -1 for none.

    A dynamic programme over both lists: a match costs the distance, a time without a cut `skip_cost`, a cut without a
    time `cut_skip_cost`. Matches never cross, so two times never share a cut. Of equal costs a match counts before a
    skipped time, and that before a skipped cut. Time and memory are N x M.

    Args:
        times_N: Stated times, ascending (equal ones allowed), in seconds.
        cuts_M: Times of the detected cuts, ascending, in seconds.
        tolerance: Largest distance of a match, in seconds.
        skip_cost: Of a time that means no cut, in seconds. A match dearer than both skips is not made.
        cut_skip_cost: Of a cut that no time means, in seconds.

    Raises:
        ValueError: If the times or cuts are not ascending and finite, or a limit is negative.
    """
    choice = _solve(times_N, cuts_M, tolerance, skip_cost, cut_skip_cost)[1]
    snapped = np.full(len(times_N), -1, np.int64)
    row, column = len(times_N), len(cuts_M)
    while row:
        taken = choice[row, column]
        if taken == _MATCH:
            snapped[row - 1] = column - 1
        row -= taken != _CUT
        column -= taken != _TIME
    return snapped


def snap_cost(
    times_N: Sequence[float], cuts_M: Sequence[float], tolerance: float, skip_cost: float, cut_skip_cost: float = 0.0
) -> float:
    """Return the least cost of a match, in seconds; the arguments are those of `snap_times`."""
    return _solve(times_N, cuts_M, tolerance, skip_cost, cut_skip_cost)[0]


_MATCH, _TIME, _CUT = 0, 1, 2


def _solve(
    times_N: Sequence[float], cuts_M: Sequence[float], tolerance: float, skip_cost: float, cut_skip_cost: float
) -> tuple[float, NDArray[np.int8]]:
    """Return the least cost, and what is done at (times, cuts) taken so far: match, skip a time or skip a cut."""
    times, cuts = np.asarray(times_N, float), np.asarray(cuts_M, float)
    for name, values in (("times", times), ("cuts", cuts)):
        if values.ndim != 1 or not np.isfinite(values).all() or (np.diff(values) < 0).any():
            raise ValueError(f"The {name} must be finite and ascending.")
    if min(tolerance, skip_cost, cut_skip_cost) < 0:
        raise ValueError("tolerance and costs must not be negative.")
    num_times, num_cuts = len(times), len(cuts)
    slope = cut_skip_cost * np.arange(num_cuts + 1)
    choice = np.full((num_times + 1, num_cuts + 1), _CUT, np.int8)
    cost = slope.copy()
    for row in range(1, num_times + 1):
        distance = np.abs(cuts - times[row - 1])
        match = np.concatenate([[np.inf], np.where(distance <= tolerance, cost[:-1] + distance, np.inf)])
        skip = cost + skip_cost
        here = np.minimum(match, skip)
        # A run of skipped cuts: the least of what stands to the left, each step dearer by the same amount.
        best = np.minimum.accumulate(here - slope) + slope
        choice[row] = np.where(here > best + 1e-12, _CUT, np.where(match <= skip, _MATCH, _TIME))
        cost = best
    choice[1:, 0] = _TIME
    return float(cost[-1]), choice
