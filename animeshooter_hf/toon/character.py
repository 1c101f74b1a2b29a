"""Draw a character: body, limbs, and what belongs to its action.

Local units: one unit is the height of a medium character without ears and hat; the origin lies between its feet and
y points down, so its head is near (0, -1). Drawn from the back to the front: tail and cape, legs, ears, body with its
pattern, face, hair, hat, accessory, arms. The things of an action are cut-outs of their own, behind and before the
body, so that they are no part of the character's mask.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import COLOURS, Colour, ToonCharacter
from animeshooter_hf.toon.clothing import draw_accessory, draw_cape, draw_hair, draw_hat
from animeshooter_hf.toon.drawing import Brush, Cutout, Points, curve, darker, ellipse, lighter, mix, polygon, star
from animeshooter_hf.toon.face import draw_face
from animeshooter_hf.toon.poses import Pose
from animeshooter_hf.toon.props import BEHIND, draw_props
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["HEIGHTS", "Build", "build_of", "character_reference", "draw_character_cutouts", "draw_figure"]

HEIGHTS = {"short": 0.8, "medium": 1.0, "tall": 1.2}
"""Height of a character beside a medium one."""

_BODIES = {
    "round": (0.37, 0.36),
    "egg": (0.33, 0.41),
    "pear": (0.38, 0.40),
    "boxy": (0.32, 0.38),
    "gumdrop": (0.35, 0.40),
    "peanut": (0.34, 0.42),
}
_LEGS = {"paws": 0.15, "boots": 0.17, "long legs": 0.3}


@dataclass(frozen=True, slots=True)
class Build:
    """The figures of a body, in local units, that everything drawn on it needs."""

    character: ToonCharacter
    """Whose body it is."""

    style: ToonStyle
    """Style of the film."""

    half_width: float
    """Half the greatest width."""

    half_height: float
    """Half the body's height."""

    centre_y: float
    """Where the body's middle lies."""

    def colour(self, name: str) -> Colour:
        """Return the graded colour of an attribute such as "hat_colour"."""
        return self.style.grade(COLOURS[getattr(self.character, name)])

    def half_width_at(self, v: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return half the width at a height, from -1 (top) over 0 (middle) to 1 (bottom)."""
        v = np.clip(np.asarray(v, dtype=np.float64), -1, 1)
        circle = np.sqrt(1 - v**2)
        kind = self.character.body
        if kind == "egg":
            share = circle * (1 + 0.16 * v)
        elif kind == "pear":
            share = circle**0.8 * (0.82 + 0.3 * v) / 1.02
        elif kind == "boxy":
            share = (1 - np.abs(v) ** 5) ** 0.2
        elif kind == "gumdrop":
            share = (1 - ((1 - v) / 2) ** 2.2) ** 0.5 * (1 - np.clip(v, 0, 1) ** 12) ** 0.25
        elif kind == "peanut":
            share = circle**0.7 * (0.86 + 0.14 * np.cos(2.2 * np.pi * (v + 0.08)))
        else:
            share = circle
        return self.half_width * share

    def outline(self, top: float = -1.0, bottom: float = 1.0, *, inset: float = 0.0, count: int = 17) -> Points:
        """Return the outline of the body, or of a band of it; `inset` narrows it."""
        angles = np.linspace(math.acos(-top), math.acos(-bottom), count)
        v = -np.cos(angles)
        widths = self.half_width_at(v) * (1 - inset)
        y = self.centre_y + self.half_height * v
        return np.concatenate((np.column_stack((widths, y)), np.column_stack((-widths[::-1], y[::-1]))))

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Return the point at a share of the half width and half height, such as (0, -1) for the crown."""
        return u * float(self.half_width_at(v)), self.centre_y + v * self.half_height


def build_of(character: ToonCharacter, style: ToonStyle) -> Build:
    """Return the figures of a character's body."""
    half_width, half_height = _BODIES[character.body]
    return Build(character, style, half_width, half_height, -_LEGS[character.feet] - half_height * 0.93)


def draw_character_cutouts(
    character: ToonCharacter,
    pose: Pose,
    style: ToonStyle,
    *,
    feet_x: float,
    feet_y: float,
    pixels_per_unit: float,
    line_width: float,
    frame_width: int,
    frame_height: int,
) -> tuple[list[Cutout], Cutout, list[Cutout]]:
    """Return the things behind a character, the character, and the things before it, as far as they lie in the frame.

    Args:
        character: Who.
        pose: How it stands.
        style: Style of the film.
        feet_x: Column of the feet before the pose moves them, in pixels.
        feet_y: Row of the same point.
        pixels_per_unit: Pixels of a medium character's height.
        line_width: Pixels of the outline.
        frame_width: Pixels of the frame.
        frame_height: Pixels of the frame.
    """
    size = pixels_per_unit * HEIGHTS[character.height]
    x, y = feet_x + pose.x * pixels_per_unit, feet_y + pose.y * size
    left, right = math.floor(x - 1.15 * size), math.ceil(x + 1.15 * size)
    top, bottom = math.floor(y - 1.75 * size * max(pose.stretch, 1)), math.ceil(y + 0.6 * size)
    left, right = max(left, 0), min(right, frame_width)
    top, bottom = max(top, 0), min(bottom, frame_height)
    shape = (max(bottom - top, 0), max(right - left, 0), 4)
    matrix = np.array([[size, 0, x - left], [0, size, y - top]], dtype=np.float64)
    line = style.grade(style.line_colour)

    def cut(draw: Callable[[Brush], None]) -> Cutout:
        canvas = np.zeros(shape, np.uint8)
        if canvas.size:
            draw(Brush(canvas, matrix, line, line_width))
        return Cutout(left, top, canvas)

    kinds = {prop.kind for prop in pose.props}
    behind = [cut(lambda brush: draw_props(brush, pose, behind=True))] if kinds & BEHIND else []
    front = [cut(lambda brush: _draw_front_props(brush, character, pose, style))] if kinds - BEHIND else []
    return behind, cut(lambda brush: draw_figure(brush, character, pose, style)), front


def _draw_front_props(brush: Brush, character: ToonCharacter, pose: Pose, style: ToonStyle) -> None:
    hand = _arm(build_of(character, style), pose, 1.0)[-1]
    draw_props(_squeezed(brush, pose), pose, behind=False, hand=hand, ground=brush)


def draw_figure(brush: Brush, character: ToonCharacter, pose: Pose, style: ToonStyle) -> None:
    """Draw a character with a brush whose origin lies at its feet."""
    build = build_of(character, style)
    squeezed = _squeezed(brush, pose)
    side = -1.0 if pose.facing < 0 else 1.0
    _draw_tail(squeezed, build, -side)
    if character.accessory == "cape":
        draw_cape(squeezed, build, side)
    _draw_legs(squeezed, build, pose, side)
    _draw_ears(squeezed, build)
    _draw_body(squeezed, build)
    draw_face(squeezed, build, pose)
    draw_hair(squeezed, build, pose.facing)
    draw_hat(squeezed, build, side)
    draw_accessory(squeezed, build, pose.facing)
    _draw_arms(squeezed, build, pose)


def character_reference(character: ToonCharacter, size: int = 256, style: ToonStyle | None = None) -> NDArray[np.uint8]:
    """Return a picture of a character alone, in a neutral pose, cut out.

    Args:
        character: Who.
        size: Height and width in pixels, at least 16.
        style: Style to draw in; the default one if None.

    Returns:
        Shape (size, size, 4): red, green, blue (not premultiplied, 0 where nothing is) and coverage.

    Raises:
        ValueError: If the size is too small.
    """
    if size < 16:
        raise ValueError(f"A reference picture needs at least 16 pixels, got {size}.")
    style = style or ToonStyle()
    _, cutout, _ = draw_character_cutouts(
        character,
        Pose(facing=0.0),
        style,
        feet_x=size / 2,
        feet_y=size * 0.92,
        pixels_per_unit=size * 0.46,
        line_width=max(1.0, style.line_width * size * 1.2),
        frame_width=size,
        frame_height=size,
    )
    picture = np.zeros((size, size, 4), np.uint8)
    height, width = cutout.pixels.shape[:2]
    picture[cutout.y : cutout.y + height, cutout.x : cutout.x + width] = cutout.pixels
    coverage = picture[..., 3:].astype(np.float32)
    straight = picture[..., :3] * 255.0 / np.maximum(coverage, 1)
    picture[..., :3] = np.clip(np.round(straight), 0, 255).astype(np.uint8)
    return picture


def _draw_tail(brush: Brush, build: Build, side: float) -> None:
    kind, body = build.character.tail, build.colour("body_colour")
    x, y = build.place(0.75 * side, 0.55)
    if kind == "fluffy":
        for dx, dy, radius in ((0.1, 0.0, 0.1), (0.2, -0.07, 0.125), (0.27, -0.19, 0.1)):
            brush.shape(ellipse(x + side * dx, y + dy, radius), body)
        brush.shape(ellipse(x + side * 0.27, y - 0.21, 0.065), build.colour("pattern_colour"), line=False)
    elif kind == "thin":
        tail = curve((x, y), (x + side * 0.18, y + 0.06), (x + side * 0.3, y - 0.1), (x + side * 0.24, y - 0.27))
        brush.stroke(tail, 0.045, body)
        brush.shape(ellipse(x + side * 0.24, y - 0.28, 0.045), build.colour("pattern_colour"))
    elif kind == "stub":
        brush.shape(ellipse(x + side * 0.06, y, 0.09), lighter(body))
    elif kind == "leaf":
        tip = (x + side * 0.36, y - 0.22)
        lower = curve((x, y), (x + side * 0.22, y + 0.06), tip)
        upper = curve(tip, (x + side * 0.12, y - 0.2), (x, y))
        brush.shape(np.concatenate((lower, upper)), build.colour("pattern_colour"))
        brush.line(curve((x, y), (x + side * 0.18, y - 0.07), tip), weight=0.6)


def _draw_legs(brush: Brush, build: Build, pose: Pose, side: float) -> None:
    feet, body = build.character.feet, build.colour("body_colour")
    hip_y = build.centre_y + build.half_height * 0.7
    spread = build.half_width * 0.45
    limb = mix(body, build.style.line_colour, 0.12)
    shoe = darker(build.colour("accessory_colour"), 0.15) if feet == "boots" else limb
    for hip_side, (forward, lift) in ((-1, pose.left_foot), (1, pose.right_foot)):
        hip = (hip_side * spread, hip_y)
        foot_x, foot_y = hip_side * spread + forward * side, -lift - 0.035
        knee = ((hip[0] + foot_x) / 2 + 0.25 * lift * side, (hip[1] + foot_y) / 2)
        brush.stroke(curve(hip, knee, (foot_x, foot_y)), 0.075 if feet == "long legs" else 0.1, limb)
        if feet == "boots":
            brush.stroke(polygon((foot_x, foot_y - 0.09), (foot_x, foot_y)), 0.1, shoe)
        brush.shape(ellipse(foot_x + 0.035 * side, foot_y, 0.1, 0.06), shoe)


def _draw_ears(brush: Brush, build: Build) -> None:
    kind, body, inner = build.character.ears, build.colour("body_colour"), build.colour("pattern_colour")
    for side in (-1.0, 1.0):
        x, y = build.place(0.75 * side, -0.72)
        if kind == "cat":
            tip = (x + side * 0.09, y - 0.27)
            brush.shape(polygon((x - side * 0.14, y - 0.02), tip, (x + side * 0.12, y + 0.1)), body)
            brush.shape(
                polygon((x - side * 0.06, y - 0.03), (x + side * 0.07, y - 0.19), (x + side * 0.08, y + 0.04)),
                inner,
                line=False,
            )
        elif kind == "bear":
            brush.shape(ellipse(x + side * 0.01, y - 0.05, 0.115), body)
            brush.shape(ellipse(x + side * 0.01, y - 0.05, 0.06), inner, line=False)
        elif kind == "rabbit":
            ear = brush.at(x - side * 0.05, y, angle=side * 0.2)
            ear.shape(ellipse(0, -0.2, 0.075, 0.24), body)
            ear.shape(ellipse(0, -0.2, 0.035, 0.16), inner, line=False)
        elif kind == "floppy":
            ear = brush.at(x, y + 0.02, angle=-side * 0.55)
            ear.shape(ellipse(side * 0.02, 0.13, 0.085, 0.19), mix(body, inner, 0.55))
        elif kind == "antennae":
            foot = (x - side * 0.08, y)
            tip = (x + side * 0.06, y - 0.27)
            brush.line(curve(foot, (x - side * 0.06, y - 0.16), tip), weight=1.6)
            brush.shape(ellipse(*tip, 0.05), inner)
        elif kind == "horns":
            horn = curve((x - side * 0.12, y), (x + side * 0.02, y - 0.12), (x + side * 0.0, y - 0.23))
            back = curve((x + side * 0.0, y - 0.23), (x + side * 0.13, y - 0.1), (x + side * 0.06, y + 0.08))
            brush.shape(np.concatenate((horn, back)), lighter(inner, 0.35))


def _draw_body(brush: Brush, build: Build) -> None:
    colour, shading = build.colour("body_colour"), build.style.shading
    outline = build.outline()
    brush.shape(outline, colour if shading == "flat" else darker(colour, 0.16), line=False)
    if shading != "flat":
        middle = np.array([0.0, build.centre_y])
        brush.shape((outline - middle) * 0.92 + middle - (0.025, 0.022), colour, line=False)
    _draw_pattern(brush, build)
    if shading == "soft":
        x, y = build.place(-0.5, -0.62)
        brush.at(x, y, angle=-0.6).shape(ellipse(0, 0, 0.07, 0.035), lighter(colour, 0.5), line=False)
    brush.line(np.concatenate((outline, outline[:1])))


def _draw_pattern(brush: Brush, build: Build) -> None:
    kind, colour = build.character.pattern, build.colour("pattern_colour")
    if kind == "belly":
        x, y = build.place(0, 0.42)
        brush.shape(ellipse(x, y, build.half_width * 0.58, build.half_height * 0.46), colour, line=False)
    elif kind == "stripes":
        for top in (-0.92, 0.22, 0.58):
            brush.shape(build.outline(top, top + 0.19, inset=0.01, count=6), colour, line=False)
    elif kind == "two-tone":
        brush.shape(build.outline(0.16, 1.0, inset=0.01), colour, line=False)
    elif kind == "spots":
        for u, v, radius in ((-0.62, 0.3, 0.06), (0.1, 0.42, 0.07), (0.66, 0.2, 0.05), (-0.25, 0.72, 0.05)):
            brush.shape(ellipse(*build.place(u, v), radius), colour, line=False)
        for u, v, radius in ((0.5, 0.68, 0.055), (-0.66, -0.5, 0.045), (0.62, -0.56, 0.04)):
            brush.shape(ellipse(*build.place(u, v), radius), colour, line=False)
    elif kind == "zigzag":
        teeth = [build.place(u, 0.3 if number % 2 else 0.14) for number, u in enumerate(np.linspace(-0.97, 0.97, 9))]
        lower = [build.place(u, 0.56 if number % 2 else 0.4) for number, u in enumerate(np.linspace(-0.97, 0.97, 9))]
        brush.shape(np.array(teeth + lower[::-1]), colour, line=False)
    elif kind == "patch":
        x, y = build.place(0.42, -0.24)
        brush.shape(ellipse(x, y, build.half_width * 0.44, build.half_height * 0.4), colour, line=False)
        brush.shape(ellipse(*build.place(-0.5, 0.55), 0.085, 0.07), colour, line=False)
    elif kind == "star":
        brush.shape(star(*build.place(0, 0.45), build.half_width * 0.46), colour, line=False)


def _squeezed(brush: Brush, pose: Pose) -> Brush:
    return brush.at(0, 0, angle=pose.lean, scale_x=1 / pose.stretch, scale_y=pose.stretch)


def _arm(build: Build, pose: Pose, side: float) -> tuple[tuple[float, float], ...]:
    """Return shoulder, elbow and hand of the arm at the left (-1) or right (1) of the picture."""
    angle, reach = pose.left_arm if side < 0 else pose.right_arm, 0.27
    x, y = build.place(side * 0.93, 0.12)
    bend = 0.6 * reach
    elbow = (x + side * bend * math.sin(angle - 0.45), y + bend * math.cos(angle - 0.45))
    return (x, y), elbow, (x + side * reach * math.sin(angle), y + reach * math.cos(angle))


def _draw_arms(brush: Brush, build: Build, pose: Pose) -> None:
    colour = build.colour("body_colour")
    for side in (-1.0, 1.0):
        joints = _arm(build, pose, side)
        brush.stroke(curve(*joints), 0.07, colour)
        brush.shape(ellipse(*joints[-1], 0.06), lighter(colour, 0.15))
