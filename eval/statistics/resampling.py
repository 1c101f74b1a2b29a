"""How often each story or each vote stands in each draw, for statistics that are no plain mean.

Shape letters used below
    N stories or votes    B draws
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["drawn_counts", "percentile_ends"]


def drawn_counts(
    clusters: Sequence[str], members: Sequence[str], *, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how often each item is drawn if clusters are drawn, then members in each drawn cluster.

    Args:
        clusters: Cluster of each item, such as its IP.
        members: What is drawn inside a cluster, such as the story; all items of a member are drawn together.
        draws: How often to draw.
        rng: Where the chance comes from.

    Returns:
        Counts of shape (draws, number of items). They follow the items' names, not their order.

    Raises:
        ValueError: If the lists are not equally long.
    """
    if len(clusters) != len(members):
        raise ValueError(f"There must be one member per cluster entry, got {len(members)} for {len(clusters)}.")
    names = sorted(set(zip(clusters, members, strict=True)))
    position = {name: at for at, name in enumerate(names)}
    _, starts_C, sizes_C = np.unique([cluster for cluster, _ in names], return_index=True, return_counts=True)
    num_members = len(names)
    drawn_BC = rng.integers(len(sizes_C), size=(draws, len(sizes_C)))
    sizes_BC = sizes_C[drawn_BC]
    first_BC = np.arange(draws)[:, None] * num_members + starts_C[drawn_BC]
    counts = np.zeros(draws * num_members)
    for number in range(int(sizes_C.max(initial=0))):
        offsets_BC = np.minimum((rng.random(drawn_BC.shape) * sizes_BC).astype(np.intp), sizes_BC - 1)
        counts += np.bincount((first_BC + offsets_BC)[number < sizes_BC], minlength=len(counts))
    counts_BM = counts.reshape(draws, num_members)
    return counts_BM[:, [position[name] for name in zip(clusters, members, strict=True)]]


def percentile_ends(values_B: NDArray[np.float64], level: float) -> tuple[float, float] | None:
    """Return the percentile interval of what the draws gave, None if fewer than half of them gave a number."""
    finite_B = values_B[np.isfinite(values_B)]
    if 2 * len(finite_B) < len(values_B) or not len(finite_B):
        return None
    low, high = np.quantile(finite_B, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)
