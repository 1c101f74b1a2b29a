"""Several tests at once: Holm's step-down correction."""

import math
from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the adjusted p-values, in the given order.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than the one before it and no larger than 1. A
    result below .05 then holds with a chance of at most .05 for even one false finding among all m.

    Raises:
        ValueError: If a p-value does not lie in 0 to 1.

    Example:
        >>> [round(p, 12) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    for p in p_values:
        if not (0 <= p <= 1) or math.isnan(p):
            raise ValueError(f"A p-value must lie in 0 to 1, got {p!r}.")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = largest
    return adjusted
