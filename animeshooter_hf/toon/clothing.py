"""Draw what a character wears and the hair under it."""

import math
from typing import TYPE_CHECKING

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, arc, box, curve, darker, ellipse, lighter, polygon, star

if TYPE_CHECKING:
    from animeshooter_hf.toon.character import Build

__all__ = ["draw_accessory", "draw_cape", "draw_hair", "draw_hat"]

_GOLD: Colour = (250, 206, 84)


def draw_hair(brush: Brush, build: "Build", facing: float) -> None:
    """Draw the hair in the colour of the pattern."""
    kind, colour = build.character.hair, build.colour("pattern_colour")
    x, y = build.place(0, -0.97)
    if kind == "tuft":
        for tip_x, tip_y in ((-0.1, -0.11), (0.1, -0.11), (0.0, -0.16)):
            brush.shape(polygon((x - 0.05, y + 0.03), (x + tip_x, y + tip_y), (x + 0.05, y + 0.03)), colour)
    elif kind == "curl":
        spiral = [
            (x + 0.09 * (1 - t) * math.cos(7 * t), y - 0.1 - 0.09 * (1 - t) * math.sin(7 * t)) for t in (0.1, 0.4, 0.7)
        ]
        brush.stroke(curve((x, y + 0.03), (x + 0.08, y - 0.04), *spiral), 0.03, colour)
    elif kind == "fringe":
        left, right = build.place(-0.97, -0.66), build.place(0.97, -0.66)
        top = build.outline(-1.0, -0.66, inset=-0.01, count=8)
        shift = 0.05 * facing
        locks = [
            (right[0], right[1] + 0.03),
            (0.16 + shift, y + 0.11),
            (0.06 + shift, y + 0.19),
            (-0.05 + shift, y + 0.1),
        ]
        lower = [*locks, (-0.16 + shift, y + 0.17), (left[0], left[1] + 0.03)]
        half = len(top) // 2
        brush.shape(np.concatenate((top[half:][::1], top[:half], np.array(lower))), colour)
    elif kind == "mohawk":
        tips = [
            (x - 0.2, y + 0.09),
            (x - 0.17, y - 0.08),
            (x - 0.09, y - 0.03),
            (x - 0.05, y - 0.15),
            (x + 0.02, y - 0.06),
        ]
        tips += [(x + 0.08, y - 0.16), (x + 0.12, y - 0.04), (x + 0.2, y - 0.08), (x + 0.2, y + 0.09), (x, y + 0.05)]
        brush.shape(np.array(tips), colour)


def draw_hat(brush: Brush, build: "Build", side: float) -> None:
    """Draw the hat, a little to the side that the character faces."""
    kind, colour = build.character.hat, build.colour("hat_colour")
    width = max(float(build.half_width_at(-0.72)), 0.19)
    hat = brush.at(0.02 * side, build.centre_y - 0.78 * build.half_height, angle=0.07 * side)
    if kind == "cap":
        hat.shape(
            curve((width * side, 0.01), (width * side + 0.16 * side, 0.05), (width * 0.1 * side, 0.05)), darker(colour)
        )
        hat.shape(arc(0, 0.05, width * 1.08, 0.24, np.pi, 2 * np.pi), colour)
        hat.shape(ellipse(0, -0.19, 0.028), darker(colour))
    elif kind == "wizard":
        cone = curve((-width * 0.85, 0.03), (-0.06, -0.25), (0.12 * side, -0.52), (0.07, -0.24), (width * 0.85, 0.03))
        hat.shape(cone, colour)
        hat.shape(ellipse(0, 0.04, width * 1.35, 0.06), darker(colour, 0.15))
        hat.shape(star(0.0, -0.13, 0.06), _GOLD, line=False)
    elif kind == "top hat":
        hat.shape(box(-width * 0.8, -0.3, width * 1.6, 0.33), colour)
        hat.shape(box(-width * 0.8, -0.06, width * 1.6, 0.07), darker(colour, 0.5), line=False)
        hat.shape(ellipse(0, 0.03, width * 1.3, 0.05), colour)
    elif kind == "beanie":
        hat.shape(arc(0, 0.03, width * 1.06, 0.25, np.pi, 2 * np.pi), colour)
        hat.stroke(polygon((-width * 0.98, 0.03), (width * 0.98, 0.03)), 0.07, lighter(colour, 0.35))
        hat.shape(ellipse(0, -0.23, 0.065), lighter(colour, 0.6))
    elif kind == "crown":
        w = width * 0.85
        tips = polygon(
            (-w, 0.04), (-w * 1.1, -0.2), (-w * 0.5, -0.08), (0, -0.25), (w * 0.5, -0.08), (w * 1.1, -0.2), (w, 0.04)
        )
        hat.shape(tips, _GOLD)
        for x in (-0.55, 0.0, 0.55):
            hat.shape(ellipse(x * w, -0.015, 0.028), colour)
    elif kind == "flower":
        bloom = hat.at(width * 0.62 * side, -0.02)
        for turn in range(5):
            angle = turn * 2 * np.pi / 5 - np.pi / 2
            bloom.shape(ellipse(0.075 * np.cos(angle), 0.075 * np.sin(angle), 0.058), colour)
        bloom.shape(ellipse(0, 0, 0.045), _GOLD)
    elif kind == "party hat":
        hat.shape(polygon((-width * 0.62, 0.03), (0, -0.4), (width * 0.62, 0.03)), colour)
        for x, y in ((-0.05, -0.06), (0.06, -0.1), (-0.01, -0.2)):
            hat.shape(ellipse(x, y, 0.024), lighter(colour, 0.65), line=False)
        hat.shape(ellipse(0, -0.4, 0.05), lighter(colour, 0.65))


def draw_cape(brush: Brush, build: "Build", side: float) -> None:
    """Draw the cape that hangs behind the body."""
    left, right = build.place(-0.9, 0.0), build.place(0.9, 0.0)
    hem = -0.06
    flare = build.half_width * 1.3
    edge = curve((flare - 0.06 * side, hem), (0.1, hem + 0.03), (-0.1, hem - 0.02), (-flare - 0.06 * side, hem))
    brush.shape(np.concatenate((np.array([left, right]), edge)), build.colour("accessory_colour"))


def draw_accessory(brush: Brush, build: "Build", facing: float) -> None:
    """Draw what is worn in front."""
    kind, colour = build.character.accessory, build.colour("accessory_colour")
    turn = facing * build.half_width * 0.2
    x, y = turn, build.centre_y + 0.34 * build.half_height
    wide = float(build.half_width_at(0.3))
    collar = curve((-wide, y - 0.06), (turn * 0.6, y + 0.035), (wide, y - 0.06))
    if kind == "scarf":
        end = brush.at(x + 0.5 * wide, y)
        end.shape(polygon((-0.06, 0), (0.06, -0.02), (0.08, 0.21), (-0.04, 0.23)), darker(colour, 0.12))
        brush.stroke(collar, 0.085, colour)
    elif kind == "glasses":
        _draw_glasses(brush, build, facing, colour)
    elif kind == "bow tie":
        for side in (-1, 1):
            brush.shape(polygon((x, y), (x + side * 0.12, y - 0.07), (x + side * 0.12, y + 0.07)), colour)
        brush.shape(ellipse(x, y, 0.032), darker(colour, 0.2))
    elif kind == "cape":
        brush.stroke(collar, 0.03, colour)
        brush.shape(ellipse(x, y + 0.02, 0.042), _GOLD)
    elif kind == "satchel":
        strap = curve((-wide * 0.85, y - 0.07), (0.0, y + 0.1), (wide * 0.72, y + 0.26))
        brush.stroke(strap, 0.028, darker(colour, 0.3))
        bag = brush.at(wide * 0.66, y + 0.27)
        bag.shape(box(-0.1, -0.07, 0.2, 0.16), colour)
        bag.shape(polygon((-0.1, -0.07), (0.1, -0.07), (0, 0.03)), darker(colour, 0.2))
    elif kind == "necklace":
        for share in np.linspace(-0.8, 0.8, 7):
            bead_y = y - 0.06 + 0.1 * (1 - share * share)
            brush.shape(ellipse(x * 0.6 + wide * share, bead_y, 0.03), colour)


def _draw_glasses(brush: Brush, build: "Build", facing: float, colour: Colour) -> None:
    width = float(build.half_width_at(-0.25))
    face = brush.at(
        facing * build.half_width * 0.22, build.centre_y - 0.25 * build.half_height, scale_x=1 - 0.12 * abs(facing)
    )
    rim = face.with_line(colour, max(face.line_width * 1.3, 1.5))
    single = build.character.eyes == "single"
    radius = 0.17 if single else min(0.125, width * 0.38)
    centres = (0.0,) if single else (-0.42 * width, 0.42 * width)
    for x in centres:
        ring = ellipse(x, -0.02, radius)
        rim.line(np.concatenate((ring, ring[:1])))
    if not single:
        rim.line(polygon((-0.42 * width + radius, -0.03), (0.42 * width - radius, -0.03)))
    for side, x in ((-1, centres[0]), (1, centres[-1])):
        rim.line(polygon((x + side * radius, -0.03), (side * width * 1.02, -0.06)))
