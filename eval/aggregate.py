"""From shot scores to a story's numbers, and from stories to the corpus.

A similarity s lies in [0, 1], higher is better, and is clipped to [1e-6, 1] so that a harmonic mean exists. For a
distance d the formulas run on s = 1 - d and the result is turned back: the paper's DreamSim column is reproduced only
by 1 - HarMeanP(1 - d) (checked against Table 2 for all three systems).

HarMeanP mixes level and spread, and shrinks with the number of shots at equal quality (at mean .8 and deviation .04:
.622 for two shots, .606 for four, .587 for twelve), so it is compared only between stories of equally many shots.

Source: AnimeShooter, arXiv 2506.03126, appendix C.3. Sums are exact (`math.fsum`), so no order changes a digit.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "clip_similarity",
    "distance_harmean_p",
    "harmean_p",
    "harmonic_mean",
    "mean",
    "rank_auc",
    "slope",
    "within_sd",
]

SMALLEST_SIMILARITY = 1e-6
"""Lower similarities count as this one, so that one hopeless shot leaves a harmonic mean above zero."""


def clip_similarity(similarity: ArrayLike) -> NDArray[np.float64]:
    """Return similarities as float64, clipped to [1e-6, 1].

    Raises:
        ValueError: If one is NaN: a failure is null, never a number.
    """
    values = np.asarray(similarity, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("A similarity is NaN; leave out what could not be scored.")
    return np.clip(values, SMALLEST_SIMILARITY, 1.0)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean.

    Raises:
        ValueError: If there is no value.
    """
    if not len(values):
        raise ValueError("There is no mean of no values.")
    return math.fsum(values) / len(values)


def harmonic_mean(similarities: Sequence[float]) -> float:
    """Return the harmonic mean of similarities, each clipped to [1e-6, 1]."""
    clipped = clip_similarity(similarities)
    return 1.0 / mean([1.0 / float(s) for s in clipped])


def harmean_p(similarities: Sequence[float]) -> float:
    """Return the paper's HarMeanP: harmonic mean times the lowest. In (0, 1], higher is better.

    With m = min and a = mean it satisfies m^2 <= HarMeanP <= m a, and is 1 only if every similarity is 1.

    Example:
        >>> round(harmean_p([0.8, 0.8, 0.8, 0.8]), 12), round(harmean_p([0.8, 0.8, 0.8, 0.4]), 12)
        (0.64, 0.256)
    """
    return harmonic_mean(similarities) * float(clip_similarity(similarities).min())


def distance_harmean_p(distances: Sequence[float]) -> float:
    """Return HarMeanP of distances d as the paper reports it, 1 - HarMeanP(1 - d). In [0, 1), lower is better."""
    return 1.0 - harmean_p([1.0 - float(d) for d in distances])


def within_sd(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n - 1) over the shots of a story, None for fewer than two."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def slope(positions: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the least-squares slope of values over positions, None if all positions are the same.

    Raises:
        ValueError: If there are not equally many of both.
    """
    if len(positions) != len(values):
        raise ValueError(f"Positions and values must be equally many, got {len(positions)} and {len(values)}.")
    if len(set(positions)) < 2:
        return None
    centre_x, centre_y = mean(positions), mean(values)
    spread = math.fsum((x - centre_x) ** 2 for x in positions)
    return math.fsum((x - centre_x) * (y - centre_y) for x, y in zip(positions, values, strict=True)) / spread


def rank_auc(positives: ArrayLike, negatives: ArrayLike) -> float | None:
    """Return the chance that a positive lies above a negative, ties counted half; None if either is empty.

    It is the area under the ROC curve (the Mann-Whitney statistic): .5 is chance, 1 perfect.
    """
    above, below = np.asarray(positives, np.float64).ravel(), np.sort(np.asarray(negatives, np.float64).ravel())
    if not above.size or not below.size:
        return None
    less = np.searchsorted(below, above, side="left").sum()
    less_or_equal = np.searchsorted(below, above, side="right").sum()
    return float((less + less_or_equal) / 2.0 / (above.size * below.size))
