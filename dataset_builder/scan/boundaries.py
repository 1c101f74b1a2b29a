"""How well found shot boundaries agree with true ones."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["BoundaryScores", "boundary_scores", "recall_by_kind"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryScores:
    """How well found boundaries agree with the truth."""

    precision: float | None
    """Share of the found ones that are true; None if none was found."""

    recall: float | None
    """Share of the true ones that were found; None if there is none."""

    f1: float | None
    """Their harmonic mean."""

    num_found: int
    """Boundaries found."""

    num_true: int
    """Boundaries there are."""

    num_matched: int
    """Boundaries that agree."""

    @classmethod
    def of(cls, *, num_found: int, num_true: int, num_matched: int) -> "BoundaryScores":
        """Return the scores of these counts."""
        precision = num_matched / num_found if num_found else None
        recall = num_matched / num_true if num_true else None
        both = (precision or 0) + (recall or 0)
        f1 = None if precision is None or recall is None else 2 * precision * recall / both if both else 0.0
        return cls(
            precision=precision, recall=recall, f1=f1, num_found=num_found, num_true=num_true, num_matched=num_matched
        )


def boundary_scores(
    found: Sequence[int], truth: Sequence[tuple[int, int]], *, tolerance_frames: int = 1
) -> BoundaryScores:
    """Return how well boundaries agree with true ones.

    Args:
        found: Frames.
        truth: (first, last) frame of each true boundary: the same frame twice for a cut, a range for a transition.
        tolerance_frames: How far beside it a boundary still counts.
    """
    matched = sum(_match(found, truth, tolerance_frames))
    return BoundaryScores.of(num_found=len(found), num_true=len(truth), num_matched=matched)


def recall_by_kind(
    found: Sequence[int], truth: Sequence[tuple[int, int, str]], *, tolerance_frames: int = 1
) -> dict[str, tuple[int, int]]:
    """Return kind -> (true boundaries found, true boundaries), each found boundary used once over all kinds."""
    ordered = sorted(truth, key=lambda one: one[:2])
    hits = _match(found, [one[:2] for one in ordered], tolerance_frames)
    table: dict[str, tuple[int, int]] = {}
    for (_, _, kind), hit in zip(ordered, hits, strict=True):
        before = table.get(kind, (0, 0))
        table[kind] = (before[0] + hit, before[1] + 1)
    return table


def _match(found: Sequence[int], truth: Sequence[tuple[int, int]], tolerance_frames: int) -> list[bool]:
    """Return for each true boundary, in order of time, whether one was found for it."""
    left = sorted(found)
    hits: list[bool] = []
    for first, last in sorted(truth):
        hit = next((one for one in left if first - tolerance_frames <= one <= last + tolerance_frames), None)
        if hit is not None:
            left.remove(hit)
        hits.append(hit is not None)
    return hits
