"""The look that all shots of one film share: lines, shading and the grade of its colours."""

import colorsys
from dataclasses import asdict, dataclass
from functools import lru_cache
from random import Random
from typing import Any

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import mix

__all__ = ["SHADINGS", "ToonStyle", "draw_style"]

SHADINGS = ("flat", "cel", "soft")
"""How bodies are shaded: not at all, with a hard shadow, with a shadow and a light."""

_LINE_COLOURS: tuple[Colour, ...] = ((40, 34, 48), (66, 42, 34), (34, 42, 84), (28, 62, 58), (84, 34, 62))


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonStyle:
    """Line and palette of a film."""

    line_width: float = 0.0075
    """Width of a character's outline, as a share of the frame's height, in a medium shot."""

    line_colour: Colour = (40, 34, 48)
    """Colour of outlines."""

    shading: str = "cel"
    """One of `SHADINGS`."""

    scenery_lines: float = 0.5
    """Width of outlines in the scenery, as a share of those of characters; 0 is none."""

    saturation: float = 1.0
    """Strength of all colours."""

    warmth: float = 0.0
    """-1 bluish to 1 reddish."""

    def __post_init__(self) -> None:
        if self.shading not in SHADINGS:
            raise ValueError(f"shading must be one of {', '.join(SHADINGS)}, got {self.shading!r}.")

    def grade(self, colour: Colour) -> Colour:
        """Return a colour as it looks in this film."""
        return _grade(colour, self.saturation, self.warmth)

    def to_json(self) -> dict[str, Any]:
        """Return the style as it stands in a film's script."""
        return {**asdict(self), "line_colour": list(self.line_colour)}


@lru_cache(maxsize=4096)
def _grade(colour: Colour, saturation: float, warmth: float) -> Colour:
    hue, lightness, strength = colorsys.rgb_to_hls(*(value / 255 for value in colour))
    parts = colorsys.hls_to_rgb(hue, lightness, min(1.0, strength * saturation))
    red, green, blue = (round(part * 255) for part in parts)
    tint: Colour = (255, 190, 120) if warmth > 0 else (120, 170, 255)
    return mix((red, green, blue), tint, 0.12 * abs(warmth))


def draw_style(random: Random) -> ToonStyle:
    """Return a random style."""
    return ToonStyle(
        line_width=round(random.uniform(0.0045, 0.0105), 4),
        line_colour=random.choice(_LINE_COLOURS),
        shading=random.choice(SHADINGS),
        scenery_lines=random.choice((0.0, 0.45, 0.7)),
        saturation=round(random.uniform(0.8, 1.15), 2),
        warmth=round(random.uniform(-1, 1), 2),
    )
