"""Do raters agree, and do two scores put things in the same order?

Krippendorff's alpha (several raters, holes allowed), the intraclass correlation (several rounds, no holes), Kendall's
tau-b (two scores). Each is 1 for perfect agreement and about 0 for chance; an answer that cannot be had, because all
values are the same or nothing can be paired, is None, never 0 or 1.

Intervals draw IPs, then stories; everything of a story stays together.

Shape letters used below
    R raters    U units (what is rated)    V distinct values    B draws
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from animeshooter_hf.eval.statistics.resampling import drawn_counts, percentile_ends

__all__ = ["Agreement", "Level", "intraclass_correlation", "kendall_tau", "krippendorff_alpha"]

Level = Literal["nominal", "ordinal", "interval"]
"""What the distance of two ratings means: other or not, ranks between them, or their difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """A coefficient of agreement and where it may lie."""

    value: float
    """1 is perfect agreement, 0 chance, below 0 less than chance."""

    low: float | None
    """Lower end of its interval; None if no clusters were given or too few draws had a value."""

    high: float | None
    """Upper end."""

    num_units: int
    """Units that had at least two values."""

    num_values: int
    """Values in them."""


def krippendorff_alpha(
    ratings_RU: ArrayLike,
    level: Level = "ordinal",
    *,
    clusters: Sequence[str] | None = None,
    stories: Sequence[str] | None = None,
    draws: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement | None:
    """Return Krippendorff's alpha, 1 - observed over expected disagreement.

    Args:
        ratings_RU: One row per rater, one column per unit; NaN where a rater did not rate.
        level: What the distance of two ratings means.
        clusters: IP of each unit, for the interval; without it there is none.
        stories: Story of each unit, drawn inside its IP; each unit by itself if not given.
        draws: Draws of the interval.
        confidence: Level of the interval.
        seed: Seed of the draws.

    Returns:
        None if no unit has two ratings, or all of them are the same.

    Raises:
        ValueError: If the ratings are no table or the level is unknown.

    Source: Krippendorff, Content Analysis (2004), section 11.3. The interval draws units, not pairs of values.
    """
    if level not in ("nominal", "ordinal", "interval"):
        raise ValueError(f"level must be nominal, ordinal or interval, got {level!r}.")
    ratings = np.asarray(ratings_RU, dtype=np.float64)
    if ratings.ndim != 2:
        raise ValueError(f"Ratings must be a table of raters and units, got shape {ratings.shape}.")
    paired_U = (~np.isnan(ratings)).sum(axis=0) >= 2
    ratings = ratings[:, paired_U]
    values_V = np.unique(ratings[~np.isnan(ratings)])
    if len(values_V) < 2:
        return None
    counts_UV = np.stack([(ratings == value).sum(axis=0) for value in values_V], axis=1).astype(np.float64)
    coincidences_UVV = _coincidences(counts_UV)
    value = _alpha(coincidences_UVV.sum(axis=0)[None], values_V, level)[0]
    ends = None
    if clusters is not None:
        kept: list[int] = np.flatnonzero(paired_U).tolist()
        names = stories if stories is not None else [str(unit) for unit in range(len(paired_U))]
        drawn_BU = drawn_counts(
            [clusters[unit] for unit in kept], [names[unit] for unit in kept],
            draws=draws, rng=np.random.default_rng(seed),
        )  # fmt: skip
        drawn_BVV = np.tensordot(drawn_BU, coincidences_UVV, axes=1)
        ends = percentile_ends(_alpha(drawn_BVV, values_V, level), confidence)
    low, high = ends or (None, None)
    num_values = int(counts_UV.sum())
    return Agreement(value=float(value), low=low, high=high, num_units=int(paired_U.sum()), num_values=num_values)


def _coincidences(counts_UV: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each unit, how often each value meets each other value, every rating weighing one."""
    pairs_UVV = counts_UV[:, :, None] * counts_UV[:, None, :]
    diagonal = np.arange(counts_UV.shape[1])
    pairs_UVV[:, diagonal, diagonal] -= counts_UV
    return np.asarray(pairs_UVV / (counts_UV.sum(axis=1) - 1)[:, None, None])


def _alpha(coincidences_BVV: NDArray[np.float64], values_V: NDArray[np.float64], level: Level) -> NDArray[np.float64]:
    """Return one alpha per table of coincidences, NaN where all values are the same."""
    totals_BV = coincidences_BVV.sum(axis=2)
    distances_BVV = _squared_distances(totals_BV, values_V, level)
    sums_B = totals_BV.sum(axis=1)
    expected_B = np.einsum("bv,bw,bvw->b", totals_BV, totals_BV, distances_BVV)
    observed_B = np.einsum("bvw,bvw->b", coincidences_BVV, distances_BVV)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(expected_B > 0, 1 - (sums_B - 1) * observed_B / expected_B, np.nan))


def _squared_distances(
    totals_BV: NDArray[np.float64], values_V: NDArray[np.float64], level: Level
) -> NDArray[np.float64]:
    shape = (len(totals_BV), len(values_V), len(values_V))
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(len(values_V)), shape)
    if level == "interval":
        return np.broadcast_to((values_V[:, None] - values_V[None, :]) ** 2, shape)
    # The place of a value among all ratings, in the middle of its ties.
    places_BV = np.cumsum(totals_BV, axis=1) - totals_BV / 2
    return np.asarray((places_BV[:, :, None] - places_BV[:, None, :]) ** 2)


def intraclass_correlation(
    ratings_UR: ArrayLike, *, kind: Literal["absolute", "consistency"] = "absolute", averaged: bool = False
) -> float | None:
    """Return the intraclass correlation of a two-way model.

    Args:
        ratings_UR: One row per unit, one column per rater or round, none missing.
        kind: "absolute" (ICC(A,1), Shrout and Fleiss' ICC(2,1)) minds that one rater is stricter, "consistency"
            (ICC(C,1), their ICC(3,1)) does not.
        averaged: Whether the mean over all raters is judged (ICC(A,k), ICC(C,k)) and not a single rater.

    Returns:
        At most 1; None for fewer than two units or raters, or if all values are the same.

    Raises:
        ValueError: If the ratings are no table, one is missing, or the kind is unknown.

    Source: McGraw and Wong 1996, table 4.
    """
    ratings = np.asarray(ratings_UR, dtype=np.float64)
    if ratings.ndim != 2 or not np.isfinite(ratings).all():
        raise ValueError("Ratings must be a table of units and raters without holes; leave out incomplete units.")
    if kind not in ("absolute", "consistency"):
        raise ValueError(f"kind must be absolute or consistency, got {kind!r}.")
    num_units, num_raters = ratings.shape
    if num_units < 2 or num_raters < 2:
        return None
    centred = ratings - ratings.mean()
    units = num_raters * float((centred.mean(axis=1) ** 2).sum()) / (num_units - 1)
    raters = num_units * float((centred.mean(axis=0) ** 2).sum()) / (num_raters - 1)
    rest_UR = centred - centred.mean(axis=1, keepdims=True) - centred.mean(axis=0, keepdims=True)
    rest = float((rest_UR**2).sum()) / ((num_units - 1) * (num_raters - 1))
    strictness = (raters - rest) / num_units if kind == "absolute" else 0.0
    whole = units + strictness if averaged else units + (num_raters - 1) * rest + num_raters * strictness
    return (units - rest) / whole if whole > 0 else None


def kendall_tau(
    first: Sequence[float],
    second: Sequence[float],
    *,
    clusters: Sequence[str] | None = None,
    stories: Sequence[str] | None = None,
    draws: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement | None:
    """Return Kendall's tau-b of two scores of the same things, with an interval if clusters are given.

    Args:
        first: One score per thing.
        second: The other score.
        clusters: IP of each thing.
        stories: Story of each thing; each by itself if not given.
        draws: Draws of the interval. A thing that is drawn twice is no pair with itself.
        confidence: Level of the interval.
        seed: Seed of the draws.

    Returns:
        None if one of the scores is the same everywhere or there are fewer than two things.

    Raises:
        ValueError: If the scores are not equally many or not finite.
    """
    x_U, y_U = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if x_U.shape != y_U.shape or x_U.ndim != 1 or not (np.isfinite(x_U).all() and np.isfinite(y_U).all()):
        raise ValueError("Two lists of equally many finite scores are needed; leave out what has no score.")
    signs_x_UU, signs_y_UU = np.sign(x_U[:, None] - x_U), np.sign(y_U[:, None] - y_U)

    def tau(weights_BU: NDArray[np.float64]) -> NDArray[np.float64]:
        def weighed(table_UU: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.asarray(((weights_BU @ table_UU) * weights_BU).sum(axis=1))

        with np.errstate(invalid="ignore", divide="ignore"):
            return weighed(signs_x_UU * signs_y_UU) / np.sqrt(weighed(signs_x_UU**2) * weighed(signs_y_UU**2))

    value = float(tau(np.ones((1, len(x_U))))[0])
    if math.isnan(value):
        return None
    ends = None
    if clusters is not None:
        names = stories if stories is not None else [str(unit) for unit in range(len(x_U))]
        drawn_BU = drawn_counts(clusters, names, draws=draws, rng=np.random.default_rng(seed))
        ends = percentile_ends(tau(drawn_BU), confidence)
    low, high = ends or (None, None)
    return Agreement(value=value, low=low, high=high, num_units=len(x_U), num_values=2 * len(x_U))
