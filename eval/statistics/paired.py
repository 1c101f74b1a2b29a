"""Two systems on the same stories: difference, interval, and a test that flips whole IPs.

If the two systems are equally good, each IP's difference could as well have had the other sign. So the sum over
stories is taken for every choice of signs, all stories of one IP with one sign, and the p-value is the share of
choices that are at least as far from zero as what was seen. It assumes no normal distribution, and strong differences
between IPs do not fool it, as they fool a test that takes stories for independent.

    IPs   smallest possible p-value (2 / 2^n)
     1    1: nothing can be found
     2    .5
     5    .0625: still never below .05
     6    .031
    20    .0000019

Up to 32 IPs the p-value is exact and has no seed; beyond that signs are drawn, and p is (1 + hits) / (1 + draws), which
is never 0. An IP whose difference is exactly 0 changes nothing; if all are 0, p is 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.statistics.bootstrap import arrange, cluster_bootstrap
from animeshooter_hf.eval.statistics.power import least_detectable_difference

__all__ = ["PairedComparison", "paired_comparison", "sign_flip_p_value"]

MOST_EXACT = 32
"""IPs up to which all signs are tried: the signs of two halves, 2^16 sums each, are combined by sorting."""

_ROUNDING = 1e-12
"""Sums that differ by less than this share of all that is summed count as equal: they are one sum in another order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedComparison:
    """How two systems differ on the stories that both have."""

    difference: float
    """Mean over stories of first minus second."""

    low: float
    """Lower end of its interval (bootstrap over IPs, then stories)."""

    high: float
    """Upper end."""

    p_value: float
    """Two-sided, of the sign-flip test over IPs; not corrected for several tests (`holm` does that)."""

    num_clusters: int
    """IPs of these stories."""

    num_stories: int
    """Stories that both systems have."""

    least_detectable: float | None
    """Smallest true difference that such a study finds four times in five; None if it can find none."""

    level: float = 0.95
    """Level of the interval."""

    @property
    def smallest_p_value(self) -> float:
        """The lowest p-value that so few IPs allow."""
        return 2.0 ** (1 - self.num_clusters)


def paired_comparison(
    first: Mapping[str, float],
    second: Mapping[str, float],
    clusters: Mapping[str, str],
    *,
    draws: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedComparison | None:
    """Compare two systems on the stories that both have, or return None for fewer than two of them.

    Args:
        first: Value of each story.
        second: The same of the other system.
        clusters: IP of each story.
        draws: Draws of the interval, and of the test beyond 32 IPs.
        level: Level of the interval and of the least detectable difference.
        seed: Seed of the draws.

    Raises:
        ValueError: If a common story has no IP, or a value is not finite.
    """
    stories = sorted(set(first) & set(second))
    orphan = next((story for story in stories if story not in clusters), None)
    if orphan is not None:
        raise ValueError(f"Story {orphan} has no IP; `clusters` must name one for every story.")
    differences = [first[story] - second[story] for story in stories]
    ips = [clusters[story] for story in stories]
    interval = cluster_bootstrap(differences, ips, draws=draws, level=level, seed=seed)
    if interval is None:
        return None
    return PairedComparison(
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        p_value=sign_flip_p_value(differences, ips, draws=draws, seed=seed),
        num_clusters=interval.num_clusters,
        num_stories=interval.num_stories,
        least_detectable=least_detectable_difference(differences, ips, level=level),
        level=level,
    )


def sign_flip_p_value(
    differences: Sequence[float], clusters: Sequence[str], *, draws: int = 10_000, seed: int = 0
) -> float:
    """Return the two-sided p-value of no difference, flipping the sign of whole clusters.

    Raises:
        ValueError: If the lists do not fit together, are empty, or a value is not finite.
    """
    arranged = arrange(differences, clusters)
    if not len(arranged.values_N):
        raise ValueError("There is no difference to test.")
    sums = [math.fsum(part) for part in np.split(arranged.values_N, arranged.starts_C[1:])]
    reach = math.fsum(map(abs, sums))
    bar = abs(math.fsum(sums)) - _ROUNDING * reach
    moving = np.asarray([value for value in sums if value], dtype=np.float64)
    if bar <= 0:
        return 1.0
    if len(moving) <= MOST_EXACT:
        return _exact(moving, bar)
    return _drawn(moving, bar, draws, seed)


def _exact(sums_C: NDArray[np.float64], bar: float) -> float:
    """Return the share of all choices of signs whose sum lies at or beyond the bar, either way."""
    half = len(sums_C) // 2
    left, right = _all_sums(sums_C[:half]), np.sort(_all_sums(sums_C[half:]))
    above = len(right) - np.searchsorted(right, bar - left, side="left")
    return 2 * int(above.sum()) / 2 ** len(sums_C)  # the sums lie symmetrically about zero


def _all_sums(values_C: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(1)
    for value in values_C:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _drawn(sums_C: NDArray[np.float64], bar: float, draws: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    hits = 0
    block = max(1, 4_000_000 // len(sums_C))
    for first in range(0, draws, block):
        signs_BC = rng.integers(2, size=(min(block, draws - first), len(sums_C)), dtype=np.int8) * 2 - 1
        hits += int((np.abs(signs_BC @ sums_C) >= bar).sum())
    return (1 + hits) / (1 + draws)
