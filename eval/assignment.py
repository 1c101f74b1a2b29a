"""Who is who in a shot of several characters: its regions are assigned to those whom the script puts into it.

In:  how alike each region is to each of the story's characters; this module never loads a model.
Out: how well the cast is met. Names that regions bear are claims to be checked, not the truth.

The assignment is the one with the highest sum of similarities, each region and each character used once: the Hungarian
method (Kuhn 1955; with potentials, as Jonker and Volgenant 1987), which for a handful of characters needs no library.
`cast_fidelity` has the form of Panoptic Quality (Kirillov et al., arXiv 1801.00868): mean likeness times the F1 of
finding the cast, with similarity in the place of overlap.

Shape letters used below
    R regions of a shot    C characters of the story that have a reference    N, M any rows and columns
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean

__all__ = ["ASSIGNMENT_NAMES", "assign", "shot_assignment"]

ASSIGNMENT_NAMES = (
    "cast_fidelity",
    "assigned_fidelity",
    "binding_accuracy",
    "swap_margin",
    "found_rate",
    "count_error",
    "unscheduled_regions",
)
"""Numbers of a shot."""


def assign(scores_NM: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) with the highest sum of scores, each row and column used at most once.

    Args:
        scores_NM: Finite numbers, of any sign.

    Returns:
        min(N, M) pairs, rows ascending.

    Raises:
        ValueError: If it is no matrix, or a score is not finite.
    """
    if scores_NM.ndim != 2 or not np.isfinite(scores_NM).all():
        raise ValueError(f"Scores must be finite and of shape (rows, columns), got shape {scores_NM.shape}.")
    num_rows, num_columns = scores_NM.shape
    if num_rows > num_columns:
        return sorted((row, column) for column, row in assign(scores_NM.T))
    costs = (-scores_NM).tolist()
    row_of = [-1] * num_columns
    row_price, column_price = [0.0] * num_rows, [0.0] * num_columns
    for row in range(num_rows):
        _add_row(row, costs, row_of, row_price, column_price)
    return sorted((row, column) for column, row in enumerate(row_of) if row >= 0)


def _add_row(
    new: int, costs: list[list[float]], row_of: list[int], row_price: list[float], column_price: list[float]
) -> None:
    """Assign one more row at least cost: the shortest path from it to a free column, moving others along."""
    num_columns = len(column_price)
    distance = [math.inf] * num_columns
    came_from = [-1] * num_columns
    is_done = [False] * num_columns
    reached: list[int] = []
    row, last, travelled = new, -1, 0.0
    while True:
        for column in range(num_columns):
            if not is_done[column]:
                through = travelled + costs[row][column] - row_price[row] - column_price[column]
                if through < distance[column]:
                    distance[column], came_from[column] = through, last
        last = min((column for column in range(num_columns) if not is_done[column]), key=distance.__getitem__)
        travelled = distance[last]
        is_done[last] = True
        if row_of[last] < 0:
            break
        reached.append(last)
        row = row_of[last]
    row_price[new] += travelled
    for column in reached:
        row_price[row_of[column]] += travelled - distance[column]
        column_price[column] -= travelled - distance[column]
    while last >= 0:
        before = came_from[last]
        row_of[last] = row_of[before] if before >= 0 else new
        last = before


def shot_assignment(
    similarity_RC: NDArray[np.float64], names: Sequence[str | None], characters: Sequence[str], scheduled: Sequence[str]
) -> dict[str, float | None]:
    """Return how well a shot meets its cast.

    Args:
        similarity_RC: Likeness of each region to each of `characters`, in [0, 1].
        names: Whom each region claims to show; None for one that was found without a name.
        characters: The story's characters that have a reference.
        scheduled: Who should be seen, with a reference or without.

    Returns:
        `cast_fidelity`     2 x sum of the regions' similarities to whom they claim to be / (regions + scheduled),
                            [0, 1]; 0 if nobody is found. An unnamed region claims to be the one it is assigned to
        `assigned_fidelity` mean similarity of the assigned pairs, whatever the names claim, [0, 1]
        `binding_accuracy`  share of regions that are most alike to whom they claim to be; a tie does not count
        `swap_margin`       likeness to the claimed character minus the best other one, mean over regions, [-1, 1]
        `found_rate`        share of the scheduled characters whom a region claims to be
        `count_error`       |regions - scheduled|
        `unscheduled_regions`  regions for whom nobody is left in the schedule
        Higher is better for the first five, lower for the last two. None where there is no region, or, for the third
        and fourth, no second character.

    Raises:
        ValueError: If the shapes do not fit, or nobody who is scheduled has a reference.
    """
    if similarity_RC.shape != (len(names), len(characters)):
        raise ValueError(f"Expected a similarity per region and character, got {similarity_RC.shape}.")
    due = [column for column, name in enumerate(characters) if name in set(scheduled)]
    if not due:
        raise ValueError("Nobody who is scheduled has a reference.")
    claims = _claims(similarity_RC, names, characters, due)
    claimed = [float(similarity_RC[row, column]) for row, column in claims.items() if column in due]
    candidates = [row for row, name in enumerate(names) if name is None or claims.get(row) in due]
    assigned = assign(similarity_RC[np.ix_(candidates, due)])
    likeness = [float(similarity_RC[candidates[row], due[column]]) for row, column in assigned]
    strangers = sum(1 for name in names if name is not None and name not in set(scheduled))
    surplus = len(candidates) - len(claimed)
    margins = [_margin(similarity_RC[row], own) for row, own in claims.items()] if len(characters) > 1 else []
    return {
        "cast_fidelity": 2.0 * math.fsum(claimed) / (len(candidates) + strangers + len(due)),
        "assigned_fidelity": mean(likeness) if likeness else None,
        "binding_accuracy": mean([float(margin > 0) for margin in margins]) if margins else None,
        "swap_margin": mean(margins) if margins else None,
        "found_rate": len(claimed) / len(due),
        "count_error": float(abs(len(names) - len(set(scheduled)))),
        "unscheduled_regions": float(strangers + surplus),
    }


def _claims(
    similarity_RC: NDArray[np.float64], names: Sequence[str | None], characters: Sequence[str], due: Sequence[int]
) -> dict[int, int]:
    """Return region -> the character that it claims to be; unnamed ones are assigned to those whom no name claims."""
    claims = {row: characters.index(name) for row, name in enumerate(names) if name in characters}
    unnamed = [row for row, name in enumerate(names) if name is None]
    free = [column for column in due if column not in claims.values()]
    pairs = assign(similarity_RC[np.ix_(unnamed, free)])
    return claims | {unnamed[row]: free[column] for row, column in pairs}


def _margin(similarity_C: NDArray[np.float64], own: int) -> float:
    return float(similarity_C[own] - np.delete(similarity_C, own).max())
