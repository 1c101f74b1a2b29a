"""Draw the things that belong to an action: ball, bell, puddle, drops, sleep letters, dizzy stars."""

import math

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, arc, curve, ellipse, lighter, polygon, star
from animeshooter_hf.toon.poses import Pose, Prop

__all__ = ["BEHIND", "draw_props"]

_BRASS: Colour = (246, 200, 86)
_WATER: Colour = (124, 190, 232)
BEHIND = frozenset({"puddle"})
"""Things that lie behind the body."""


def draw_props(
    brush: Brush,
    pose: Pose,
    *,
    behind: bool,
    hand: tuple[float, float] = (0.0, 0.0),
    ground: Brush | None = None,
) -> None:
    """Draw the props of a pose that lie behind the body, or those before it.

    Args:
        brush: Brush whose origin lies at the feet.
        pose: Carries the props.
        behind: Which of the two to draw.
        hand: Where the hand at the right of the picture is, in units of `brush`; it holds the bell.
        ground: Brush that does not lean with the body, for things that stand for themselves.
    """
    for prop in pose.props:
        if (prop.kind in BEHIND) == behind:
            if prop.kind == "bell":
                _draw_bell(brush.at(*hand, angle=prop.phase))
            else:
                _DRAWERS[prop.kind]((ground or brush).at(prop.x, prop.y - pose.y), prop)


def _draw_bell(brush: Brush) -> None:
    brush.stroke(polygon((0, 0), (0, 0.04)), 0.03, (120, 84, 60))
    brush.shape(ellipse(0.0, 0.215, 0.03), (150, 110, 50))
    brush.shape(curve((-0.1, 0.2), (-0.06, 0.09), (0, 0.04), (0.06, 0.09), (0.1, 0.2)), _BRASS)


def _draw_ball(brush: Brush, prop: Prop) -> None:
    turned = brush.at(0, 0, angle=prop.phase)
    turned.shape(ellipse(0, 0, 0.11), (244, 96, 84))
    turned.shape(arc(0, 0, 0.108, 0.108, -0.5, 0.5), (252, 250, 240), line=False)
    turned.shape(arc(0, 0, 0.108, 0.108, math.pi - 0.5, math.pi + 0.5), (252, 250, 240), line=False)
    turned.shape(ellipse(0, 0, 0.03), (250, 210, 90), line=False)


def _draw_puddle(brush: Brush, prop: Prop) -> None:
    brush.shape(ellipse(0, 0, 0.5, 0.085), _WATER)
    ring = 0.25 + 0.2 * (1 - prop.phase)
    brush.with_line(lighter(_WATER, 0.6)).line(arc(0, 0, ring, ring * 0.16, 0.2, math.pi - 0.2), weight=0.7)


def _draw_drops(brush: Brush, prop: Prop) -> None:
    share = prop.phase
    if share >= 0.8:
        return
    for number in range(9):
        angle = math.pi * (0.1 + 0.8 * number / 8)
        reach = (0.5 + 0.12 * (number * 7 % 3)) * share
        x = math.cos(angle) * (0.3 + reach)
        y = -math.sin(angle) * reach * 1.7 + 1.3 * share * share
        if y < 0.02:
            brush.shape(ellipse(x, y, 0.035 * (1 - 0.5 * share), 0.05 * (1 - 0.5 * share), count=12), _WATER)


def _draw_letters(brush: Brush, prop: Prop) -> None:
    for number in range(3):
        share = (prop.phase + number / 3) % 1
        size = 0.03 + 0.075 * share
        letter = brush.at(0.32 * share + 0.03 * math.sin(9 * share), -0.42 * share, angle=0.2)
        strokes = polygon((-size, -size), (size, -size), (-size, size), (size, size))
        letter.stroke(strokes, size * 0.42, (246, 246, 255))


def _draw_stars(brush: Brush, prop: Prop) -> None:
    for number in range(4):
        angle = 4.2 * prop.phase + number * math.pi / 2
        x, y = 0.34 * math.cos(angle) - 0.22, 0.08 * math.sin(angle)
        brush.shape(star(x, y, 0.065), (255, 222, 96))


_DRAWERS = {
    "ball": _draw_ball,
    "puddle": _draw_puddle,
    "drops": _draw_drops,
    "letters": _draw_letters,
    "stars": _draw_stars,
}
