"""Title cards: a turning sunburst with a few words, before or after a story."""

import math
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, ellipse, lighter, polygon, star
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["draw_title_card"]

_CARD_COLOURS: tuple[Colour, ...] = ((240, 130, 100), (92, 160, 210), (250, 190, 90), (150, 120, 200), (110, 180, 130))
_FONT = cv2.FONT_HERSHEY_TRIPLEX


def draw_title_card(canvas: NDArray[np.uint8], style: ToonStyle, words: str, seconds: float, key: str) -> None:
    """Draw a title card on a whole picture; a line break in the words starts a new line."""
    height, width = canvas.shape[:2]
    random = Random(f"{key}/card")
    colour = style.grade(random.choice(_CARD_COLOURS))
    canvas[...] = colour
    matrix = np.array([[height, 0, width / 2], [0, height, height / 2]], dtype=np.float64)
    line_width = max(1.0, style.line_width * height)
    brush = Brush(canvas, matrix, style.grade(style.line_colour), line_width)
    reach = 0.8 * math.hypot(width / height, 1)
    for ray in range(12):
        angle = 0.12 * seconds + ray * math.pi / 6
        corners = [(reach * math.cos(angle + turn), reach * math.sin(angle + turn)) for turn in (0, math.pi / 12)]
        brush.shape(polygon((0, 0), *corners), lighter(colour, 0.25), line=False)
    half = min(0.42 * width / height, 0.62)
    brush.shape(ellipse(0, 0, half, 0.27, count=48), (252, 246, 228))
    for number in range(3):
        x = (number - 1) * half * 0.3
        bob = 0.015 * math.sin(4 * seconds + number)
        brush.shape(star(x, 0.195 + bob - 0.02 * abs(number - 1), 0.03), style.grade((252, 206, 84)))
    _write(canvas, words.split("\n"), brush.line_colour, half * 1.5 * height)


def _write(canvas: NDArray[np.uint8], lines: list[str], colour: Colour, room: float) -> None:
    """Write lines in the middle of a picture, as large as `room` pixels of width allow."""
    height, width = canvas.shape[:2]
    widest = max(cv2.getTextSize(line, _FONT, 1.0, 1)[0][0] for line in lines)
    scale = min(room / max(widest, 1), height / 360 * 1.5)
    for number, line in enumerate(lines):
        (wide, tall), _ = cv2.getTextSize(line, _FONT, scale, 1)
        base = height * 0.45 + tall / 2 + (number - (len(lines) - 1) / 2) * height * 0.12
        where = (round(width / 2 - wide / 2), round(base))
        cv2.putText(canvas, line, where, _FONT, scale, colour, max(1, round(height / 180)), cv2.LINE_AA)
