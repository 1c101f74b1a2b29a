"""What difference between two systems can be found at all, from the spread of the stories or before there are any.

The test is the sign-flip test over IPs (paired.py). With ten or more IPs it finds what Student's t with one degree of
freedom fewer than IPs would find; with fewer, its p-values are so coarse that it finds less, and its power is worked
out by drawing IPs from a normal distribution. `benchmarks/paired_test_power.py` checks both: .80 is found as .80.

Shape letters used below
    C clusters (IPs)    F choices of signs    B draws
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from animeshooter_hf.eval.statistics.bootstrap import arrange

__all__ = ["clustered_standard_error", "least_detectable_difference", "planned_difference", "student_quantile"]

POWER = 0.8
"""Chance to find the difference if it is there. Our choice, as is usual."""

_DRAWS = 2_000
"""Studies drawn where Student's t does not serve; the chance is then known to within .01."""

_MOST_SUMS = 8_000_000
"""Bound on the sums held at once; only levels above .99 come near it."""


def least_detectable_difference(
    differences: Sequence[float], clusters: Sequence[str], *, level: float = 0.95, power: float = POWER
) -> float | None:
    """Return the smallest true difference that a study like this one finds with the given chance.

    Args:
        differences: First system minus second, one per story.
        clusters: IP of each story.
        level: 1 minus the p-value below which a difference counts.
        power: Chance to find it.

    Returns:
        The difference, or None if no difference can be found however large: the sign-flip test of n IPs knows no
        p-value below 2 / 2^n, so with five or fewer it never goes below .05.

    Raises:
        ValueError: If level or power is out of range, or the lists do not fit together.
    """
    error = clustered_standard_error(differences, clusters)
    return None if error is None else _times_error(error, len(set(clusters)), level, power)


def planned_difference(
    *, num_ips: int, stories_per_ip: int, sd_ip: float, sd_story: float, level: float = 0.95, power: float = POWER
) -> float | None:
    """Return the same before a study, from how much differences vary between IPs and between stories of one IP.

    Example:
        >>> round(planned_difference(num_ips=20, stories_per_ip=10, sd_ip=0.02, sd_story=0.03), 4)
        0.0146
    """
    if num_ips < 2 or stories_per_ip < 1:
        return None
    error = math.sqrt((sd_ip**2 + sd_story**2 / stories_per_ip) / num_ips)
    return _times_error(error, num_ips, level, power)


def clustered_standard_error(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Return the standard error of the mean over stories if IPs are drawn at random, None for fewer than two IPs.

    With equally many stories in every IP it is the standard deviation of the IPs' means over the root of their number.
    """
    arranged = arrange(values, clusters)
    num_stories, num_clusters = len(arranged.values_N), len(arranged.sizes_C)
    if num_clusters < 2:
        return None
    mean = math.fsum(arranged.values_N) / num_stories
    sums_C = np.add.reduceat(arranged.values_N - mean, arranged.starts_C)
    return math.sqrt(num_clusters / (num_clusters - 1) * math.fsum(sums_C**2)) / num_stories


def student_quantile(share: float, degrees: int) -> float:
    """Return the point below which Student's t lies with the given chance.

    Raises:
        ValueError: If the share is not between 0 and 1 or there is no degree of freedom.
    """
    if not 0 < share < 1 or degrees < 1:
        raise ValueError(f"A share between 0 and 1 and at least one degree are needed, got {share!r} and {degrees!r}.")
    if share < 0.5:
        return -student_quantile(1 - share, degrees)
    # The angle theta = atan(t / sqrt(degrees)) is bounded, so halving its range reaches any t.
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 + _half_mass(middle, degrees) / 2 < share else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _half_mass(theta: float, degrees: int) -> float:
    """Return the chance of |t| < sqrt(degrees) tan(theta), by the finite series of whole degrees of freedom.

    Source: Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even).
    """
    sine, cosine = math.sin(theta), math.cos(theta)
    if degrees == 1:
        return 2 / math.pi * theta
    term = cosine if degrees % 2 else 1.0
    series = [term]
    for power in range(2 if degrees % 2 else 1, degrees - 2, 2):
        term *= power / (power + 1) * cosine**2
        series.append(term)
    total = sine * math.fsum(series)
    return 2 / math.pi * (theta + total) if degrees % 2 else total


def _times_error(error: float, num_clusters: int, level: float, power: float) -> float | None:
    if not 0 < level < 1 or not 0 < power < 1:
        raise ValueError(f"level and power must lie between 0 and 1, got {level!r} and {power!r}.")
    if 2.0 ** (1 - num_clusters) > 1 - level:
        return None
    # From about 16 steps of the p-value on it is as good as continuous.
    if 2.0 ** (1 - num_clusters) * 16 > 1 - level:
        return error * _errors_found_by_sign_flips(num_clusters, level, power)
    degrees = num_clusters - 1
    return error * (student_quantile((1 + level) / 2, degrees) + student_quantile(power, degrees))


@lru_cache(maxsize=256)
def _errors_found_by_sign_flips(num_clusters: int, level: float, power: float) -> float:
    """Return the difference, in standard errors, that the exact sign-flip test finds with the given chance."""
    draws = max(1, min(_DRAWS, _MOST_SUMS // 2 ** (num_clusters - 1)))
    noise_BC = np.random.default_rng(0).normal(size=(draws, num_clusters))
    signs_FC = 1 - 2 * ((np.arange(2 ** (num_clusters - 1))[:, None] >> np.arange(num_clusters)) & 1)
    flipped_BF = noise_BC @ signs_FC.T.astype(np.float64)
    flips_F = signs_FC.sum(axis=1)

    def found(difference: float) -> float:
        sums_BF = np.abs(flipped_BF + difference * flips_F)
        hits_B = (sums_BF >= sums_BF[:, :1] - 1e-9).sum(axis=1)  # the first choice flips nothing
        return float((hits_B < (1 - level) * len(flips_F)).mean())

    low, high = 0.0, 20.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return (low + high) / 2 * math.sqrt(num_clusters)
