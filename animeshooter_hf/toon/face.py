"""Draw a face: eyes that look and blink, mouth, teeth, nose and cheeks."""

from typing import TYPE_CHECKING

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, arc, curve, darker, ellipse, mix, polygon
from animeshooter_hf.toon.poses import Pose

if TYPE_CHECKING:
    from animeshooter_hf.toon.character import Build

__all__ = ["draw_face"]

_WHITE: Colour = (252, 252, 252)
_MOUTH: Colour = (122, 40, 52)
_TONGUE: Colour = (238, 120, 128)
_BLUSH: Colour = (246, 128, 138)
_BEAK: Colour = (250, 178, 62)


def draw_face(brush: Brush, build: "Build", pose: Pose) -> None:
    """Draw the face on a body; `pose.facing` turns it."""
    turn = pose.facing * build.half_width * 0.22
    width = float(build.half_width_at(-0.25))
    face = brush.at(turn, build.centre_y - 0.25 * build.half_height, scale_x=1 - 0.12 * abs(pose.facing))
    _draw_cheeks(face, build, width)
    _draw_eyes(face, build, pose, width)
    _draw_mouth(face, build, pose)
    _draw_nose(face, build)


def _draw_eyes(face: Brush, build: "Build", pose: Pose, width: float) -> None:
    kind = build.character.eyes
    radius = {"dot": 0.05, "round": 0.085, "oval": 0.075, "sleepy": 0.085, "sparkling": 0.098, "single": 0.135}[kind]
    centres = (0.0,) if kind == "single" else (-0.42 * width, 0.42 * width)
    for x in centres:
        y = -0.02
        if pose.eyes == "closed":
            face.line(arc(x, y, radius, radius * 0.55, 0.15, np.pi - 0.15), weight=1.25)
        elif pose.eyes == "happy":
            face.line(arc(x, y + radius * 0.4, radius, radius * 0.8, np.pi + 0.15, 2 * np.pi - 0.15), weight=1.25)
        else:
            _draw_open_eye(face, build, pose, x, y, radius)


def _draw_open_eye(face: Brush, build: "Build", pose: Pose, x: float, y: float, radius: float) -> None:
    kind, iris = build.character.eyes, build.colour("eye_colour")
    look_x, look_y = pose.gaze[0] + 0.35 * pose.facing, pose.gaze[1]
    if kind == "dot":
        dot = mix(iris, (20, 16, 30), 0.3)
        face.shape(ellipse(x + 0.02 * look_x, y + 0.02 * look_y, radius, radius * 1.25), dot, line=False)
        face.shape(ellipse(x + 0.02 * look_x + 0.016, y - 0.022, radius * 0.32), _WHITE, line=False)
        return
    tall = 1.4 if kind == "oval" else 1.15 if kind == "sparkling" else 1.0
    face.shape(ellipse(x, y, radius, radius * tall), _WHITE)
    share = 0.74 if kind == "sparkling" else 0.58
    room = radius * (1 - share) * 0.8
    centre_x, centre_y = x + room * look_x, y + room * tall * look_y
    face.shape(ellipse(centre_x, centre_y, radius * share, radius * share * tall), iris, line=False)
    face.shape(ellipse(centre_x, centre_y, radius * share * 0.52), (24, 20, 32), line=False)
    face.shape(ellipse(centre_x + radius * 0.2, centre_y - radius * 0.26, radius * 0.2), _WHITE, line=False)
    if kind == "sparkling":
        face.shape(ellipse(centre_x - radius * 0.26, centre_y + radius * 0.34, radius * 0.13), _WHITE, line=False)
    if kind == "sleepy":
        lid = arc(x, y, radius * 1.04, radius * 1.04, np.pi, 2 * np.pi)
        face.shape(lid, darker(build.colour("body_colour"), 0.1))


def _draw_mouth(face: Brush, build: "Build", pose: Pose) -> None:
    y = 0.15 if build.character.nose in ("snout", "beak") else 0.125
    half = 0.075
    if pose.mouth < 0.08:
        bend = 0.05 * pose.smile
        face.line(curve((-half, y - bend * 0.4), (0, y + bend), (half, y - bend * 0.4)), weight=1.1)
        top = y + bend * 0.6
    else:
        height = 0.025 + 0.075 * pose.mouth
        lip = curve((-half, y), (0, y + 0.02 * pose.smile), (half, y))
        chin = curve((half, y), (half * 0.7, y + height * 0.8), (0, y + height * 1.15), (-half * 0.7, y + height * 0.8))
        face.shape(np.concatenate((lip, chin)), _MOUTH)
        face.shape(ellipse(0, y + height * 0.85, half * 0.5, height * 0.25), _TONGUE, line=False)
        top = y + 0.01
    teeth = build.character.teeth
    if teeth == "fang":
        face.shape(polygon((-0.055, top - 0.012), (-0.02, top), (-0.035, top + 0.045)), _WHITE)
    elif teeth == "buck teeth":
        for x in (-0.032, 0.0):
            face.shape(polygon((x, top), (x + 0.032, top), (x + 0.03, top + 0.045), (x + 0.002, top + 0.045)), _WHITE)


def _draw_nose(face: Brush, build: "Build") -> None:
    kind, body = build.character.nose, build.colour("body_colour")
    dark = darker(body, 0.62)
    if kind == "button":
        face.shape(ellipse(0, 0.06, 0.03, 0.022), dark, line=False)
    elif kind == "triangle":
        face.shape(polygon((-0.035, 0.045), (0.035, 0.045), (0, 0.085)), dark, line=False)
    elif kind == "snout":
        face.shape(ellipse(0, 0.075, 0.085, 0.055), mix(body, _BLUSH, 0.35))
        for x in (-0.03, 0.03):
            face.shape(ellipse(x, 0.075, 0.012, 0.018), dark, line=False)
    elif kind == "beak":
        face.shape(curve((-0.075, 0.05), (0, 0.02), (0.075, 0.05), (0, 0.14), (-0.075, 0.05), count=4), _BEAK)


def _draw_cheeks(face: Brush, build: "Build", width: float) -> None:
    kind = build.character.cheeks
    for side in (-1.0, 1.0):
        x, y = side * width * 0.68, 0.1
        if kind == "blush":
            face.shape(ellipse(x, y, 0.05, 0.032), mix(build.colour("body_colour"), _BLUSH, 0.75), line=False)
        elif kind == "freckles":
            for dx, dy in ((-0.03, 0.0), (0.02, -0.02), (0.025, 0.025)):
                face.shape(ellipse(x + dx, y + dy, 0.011), darker(build.colour("body_colour"), 0.45), line=False)
        elif kind == "whiskers":
            for dy in (-0.02, 0.02):
                face.line(polygon((x - side * 0.03, y + dy * 0.4), (x + side * 0.13, y + dy * 1.6)), weight=0.7)
