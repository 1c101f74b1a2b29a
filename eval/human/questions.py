"""What raters are asked: the paper's four dimensions, in simple words.

Source of the dimensions and of the scale 1 to 5: AnimeShooter, arXiv 2506.03126, appendix C.5. The words are ours.
"""

from dataclasses import dataclass

__all__ = ["DIMENSIONS", "HIGHEST", "LOWEST", "Dimension"]

LOWEST, HIGHEST = 1, 5
"""Ends of the scale. Paper: 1 to 5."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """One question."""

    key: str
    """Short name, as in the paper."""

    name: str
    """What it is called in tables."""

    question: str
    """What raters read beside a film, or beside two."""

    hint: str
    """What to look at."""

    low: str
    """What 1 means."""

    high: str
    """What 5 means."""

    pair_question: str
    """What raters read when they compare two films."""


DIMENSIONS = (
    Dimension(
        key="OQ",
        name="overall quality",
        question="How good is the film as a whole?",
        hint="Sharp pictures, natural movement, nothing that melts or flickers.",
        low="very bad",
        high="very good",
        pair_question="Which film is better as a whole?",
    ),
    Dimension(
        key="CRC",
        name="character-reference consistency",
        question="Does the character look like the one in the picture?",
        hint="Face, hair, colours, clothes. Another character is a 1.",
        low="somebody else",
        high="the same",
        pair_question="In which film does the character look more like the one in the picture?",
    ),
    Dimension(
        key="MSC",
        name="multi-shot style consistency",
        question="Do all shots look drawn in one style?",
        hint="Lines, colours, light. It does not matter whether you like the style.",
        low="many styles",
        high="one style",
        pair_question="In which film do the shots look more like one style?",
    ),
    Dimension(
        key="MCC",
        name="multi-shot contextual consistency",
        question="Do the shots tell the story of the text?",
        hint="Places, things and actions fit the text and follow from each other.",
        low="not at all",
        high="fully",
        pair_question="Which film tells the story of the text better?",
    ),
)
"""In the order of the paper's Table 3."""
