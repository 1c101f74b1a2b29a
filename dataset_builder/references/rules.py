"""The paper's rules for a mask: cleaned, then kept or rejected, with the numbers that decided.

Source: AnimeShooter, arXiv 2506.03126, section 3: opening and closing with kernel 5, more than 15 contours or more than
5 components are discarded, the largest component is kept, below 5 % or above 90 % of the image is discarded.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CleanedMask", "MaskRules", "clean_mask", "rule_reason"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskRules:
    """Thresholds, all from the paper."""

    kernel: int = 5
    """Side of the square that opens and closes. Paper: 5."""

    max_contours: int = 15
    """More are rejected. Paper: 15."""

    max_components: int = 5
    """More are rejected. Paper: 5."""

    min_area: float = 0.05
    """Least share of the image. Paper: 5 %."""

    max_area: float = 0.90
    """Largest share of the image. Paper: 90 %."""

    def __post_init__(self) -> None:
        if self.kernel < 1 or not 0 <= self.min_area < self.max_area <= 1:
            raise ValueError(f"kernel must be at least 1 and 0 <= min_area < max_area <= 1, got {self}.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CleanedMask:
    """A mask after the rules."""

    mask: NDArray[np.bool_]
    """The largest component after opening and closing."""

    reason: str | None
    """Why it is rejected, or None if it is kept."""

    num_contours: int
    """Contours after cleaning."""

    num_components: int
    """Components after cleaning."""

    area: float
    """Share of the image that the largest component covers."""


def clean_mask(mask: NDArray[np.bool_], rules: MaskRules | None = None) -> CleanedMask:
    """Return a mask after the paper's rules, with the numbers that decided.

    Args:
        mask: Shape (height, width).
        rules: Thresholds.
    """
    rules = rules or MaskRules()
    kernel = np.ones((rules.kernel, rules.kernel), np.uint8)
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    cleaned = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel)
    contours, _ = cv2.findContours(cleaned, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    left, top, width, height = cv2.boundingRect(cleaned)
    part = np.s_[top : top + height, left : left + width]  # labelling is the dear step, so it sees no empty margin
    count, kept = 1, np.zeros(mask.shape, bool)
    if width:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(cleaned[part], connectivity=8)
        kept[part] = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    area = float(kept.mean())
    return CleanedMask(
        mask=kept,
        reason=rule_reason(len(contours), count - 1, area, rules),
        num_contours=len(contours),
        num_components=count - 1,
        area=area,
    )


def rule_reason(num_contours: int, num_components: int, area: float, rules: MaskRules) -> str | None:
    """Return which rule rejects a cleaned mask of these numbers, the first one in the paper's order, or None."""
    if num_contours > rules.max_contours:
        return "too_many_contours"
    if num_components > rules.max_components:
        return "too_many_components"
    if area < rules.min_area:
        return "too_small"
    return "too_large" if area > rules.max_area else None
