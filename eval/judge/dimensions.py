"""What a judge marks.

Source: AnimeShooter, arXiv 2506.03126, section 5 and appendix C.4.
"""

from collections.abc import Mapping

__all__ = ["DIMENSIONS", "HIGHEST_MARK", "LOWEST_MARK"]

DIMENSIONS: Mapping[str, str] = {
    "OQ": "overall quality",
    "CRC": "character-reference consistency",
    "MSC": "multi-shot style consistency",
    "MCC": "multi-shot contextual consistency",
}
"""Short name -> name. Paper: these four."""

LOWEST_MARK, HIGHEST_MARK = 1, 10
"""Marks are whole numbers. Paper: 1-10 for a model, 1-5 for people."""
