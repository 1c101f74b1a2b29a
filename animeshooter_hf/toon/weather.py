"""What moves in a scene by itself: clouds, leaves, snow, bubbles, birds.

All of it lies behind the characters, so their masks do not depend on it, and it is a pure function of time.
"""

import math
from functools import lru_cache
from random import Random

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, curve, ellipse, lighter, mix, polygon, star
from animeshooter_hf.toon.scenery import ToonScene, world_width
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["draw_weather"]

_COUNTS = {
    "clouds": 6,
    "butterflies": 5,
    "leaves": 16,
    "gulls": 5,
    "dust": 14,
    "snow": 70,
    "twinkles": 16,
    "bubbles": 26,
    "fish": 8,
    "motes": 16,
}
_CLOUDS: dict[str, Colour] = {
    "day": (255, 255, 255),
    "sunset": (255, 214, 196),
    "overcast": (196, 206, 216),
    "night": (96, 98, 148),
}
_BRIGHT: tuple[Colour, ...] = ((250, 170, 80), (120, 180, 240), (244, 130, 160), (252, 220, 110))


@lru_cache(maxsize=128)
def _grains(seed: int, kind: str) -> tuple[tuple[float, float, float, float], ...]:
    """Return four figures of chance in [0, 1) for each thing of a kind."""
    random = Random(f"{seed}/{kind}")
    return tuple((random.random(), random.random(), random.random(), random.random()) for _ in range(_COUNTS[kind]))


def draw_weather(brush: Brush, scene: ToonScene, style: ToonStyle, aspect: float, seconds: float) -> None:
    """Draw what moves in a scene at a time, with a brush in world units."""
    width = world_width(aspect) + 0.6
    for kind in scene.place.ambient:
        for grain in _grains(scene.seed, kind):
            _DRAWERS[kind](brush, scene, style, width, grain, seconds)


_Grain = tuple[float, float, float, float]


def _cloud(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, _ = grain
    x = (a * width + (0.012 + 0.02 * b) * seconds) % width - 0.3
    at = brush.at(x, 0.13 * b, scale_x=0.7 + 0.5 * c, scale_y=0.7 + 0.4 * c)
    colour = style.grade(_CLOUDS[scene.hour])
    for dx, dy, rx, ry in ((-0.1, 0.0, 0.09, 0.04), (0.1, 0.005, 0.1, 0.04), (0.0, -0.03, 0.09, 0.055)):
        at.shape(ellipse(dx, dy, rx, ry, count=18), colour, line=False)


def _butterfly(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    x = (a * width + 0.05 * seconds + 0.05 * math.sin(1.7 * seconds + 9 * c)) % width - 0.3
    y = 0.62 + 0.1 * b + 0.03 * math.sin(3 * seconds + 7 * d)
    open_ = 0.35 + 0.65 * abs(math.sin(9 * seconds + 5 * c))
    for side in (-1, 1):
        wing = ellipse(x + side * 0.011 * open_, y, 0.012 * open_, 0.016, count=10)
        brush.shape(wing, style.grade(_BRIGHT[int(4 * d)]), line=False)


def _leaf(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    y = (b * 1.3 + (0.07 + 0.05 * c) * seconds) % 1.3 - 0.2
    x = (a * width + 0.03 * seconds) % width - 0.3 + 0.05 * math.sin(2 * seconds + 6 * d)
    at = brush.at(x, y, angle=2 * math.sin(1.5 * seconds + 9 * a))
    at.shape(ellipse(0, 0, 0.016, 0.008, count=10), style.grade(mix((150, 190, 80), (230, 150, 60), d)), line=False)


def _gull(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    x = (a * width + (0.08 + 0.05 * c) * seconds) % width - 0.3
    y = 0.06 + 0.2 * b + 0.01 * math.sin(2 * seconds + 6 * d)
    flap = 0.02 * math.sin(7 * seconds + 6 * c)
    wings = curve((x - 0.035, y - flap), (x - 0.015, y - 0.012), (x, y), (x + 0.015, y - 0.012), (x + 0.035, y - flap))
    dark = scene.hour in ("day", "overcast")
    brush.stroke(wings, 0.006, style.grade((70, 76, 96) if dark else (236, 226, 226)), line=False)


def _dust(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    x = (a * width + (0.25 + 0.2 * c) * seconds) % width - 0.3
    y = 0.72 + 0.25 * b + 0.01 * math.sin(4 * seconds + 5 * d)
    brush.stroke(polygon((x, y), (x + 0.03 + 0.03 * d, y)), 0.004, style.grade((250, 226, 176)), line=False)


def _flake(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    y = (b * 1.4 + (0.12 + 0.1 * c) * seconds) % 1.4 - 0.2
    x = (a * width + 0.04 * seconds) % width - 0.3 + 0.02 * math.sin(2 * seconds + 6 * d)
    brush.shape(ellipse(x, y, 0.004 + 0.006 * c, count=8), (255, 255, 255), line=False)


def _twinkle(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    size = 0.006 + 0.012 * max(0.0, math.sin((1.5 + 2 * c) * seconds + 6 * d))
    brush.shape(star(a * width - 0.3, 0.3 * b - 0.05, size, points=4, inner=0.3), (255, 250, 214), line=False)


def _bubble(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    y = 1.15 - (b * 1.4 + (0.1 + 0.12 * c) * seconds) % 1.4
    x = a * width - 0.3 + 0.02 * math.sin(3 * seconds + 6 * d)
    ring = ellipse(x, y, 0.006 + 0.012 * c, count=14)
    brush.with_line((226, 246, 255), max(1.0, 0.003 * brush.scale)).line(np.concatenate((ring, ring[:1])))


def _fish(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    way = 1.0 if d < 0.5 else -1.0
    x = (a * width + way * (0.05 + 0.08 * c) * seconds) % width - 0.3
    at = brush.at(x, 0.15 + 0.4 * b + 0.015 * math.sin(2 * seconds + 9 * c), scale_x=way)
    colour = style.grade(_BRIGHT[int(4 * c)])
    wag = 0.008 * math.sin(9 * seconds + 6 * d)
    at.shape(polygon((-0.02, 0), (-0.05, -0.02 + wag), (-0.05, 0.02 + wag)), lighter(colour, 0.2))
    at.shape(ellipse(0, 0, 0.034, 0.02, count=16), colour)
    at.shape(ellipse(0.017, -0.005, 0.005, count=8), (30, 30, 46), line=False)


def _mote(brush: Brush, scene: ToonScene, style: ToonStyle, width: float, grain: _Grain, seconds: float) -> None:
    a, b, c, d = grain
    x = (a * width + 0.01 * seconds) % width - 0.3
    y = 0.7 * b + 0.03 * math.sin(0.5 * seconds + 6 * d)
    brush.shape(ellipse(x, y, 0.002 + 0.003 * c, count=8), (255, 250, 226), line=False)


_DRAWERS = {
    "clouds": _cloud,
    "butterflies": _butterfly,
    "leaves": _leaf,
    "gulls": _gull,
    "dust": _dust,
    "snow": _flake,
    "twinkles": _twinkle,
    "bubbles": _bubble,
    "fish": _fish,
    "motes": _mote,
}
