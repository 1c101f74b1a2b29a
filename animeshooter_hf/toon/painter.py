"""What all places are painted with: skies, hills, trees, clouds, and the light of the hour."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import Brush, box, curve, darker, ellipse, lighter, mix, polygon, vertical_gradient
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["OUTDOOR_HOURS", "WORLD_BOTTOM", "WORLD_TOP", "Painter", "Place"]

WORLD_TOP = -0.3
"""World y above which nothing is painted."""

WORLD_BOTTOM = 1.3
"""World y below which nothing is painted."""

OUTDOOR_HOURS = {
    "day": "It is a clear day with a pale blue sky.",
    "sunset": "The sun is setting and the sky glows orange.",
    "overcast": "The sky is grey and the light is dull.",
    "night": "It is night and the sky is deep blue.",
}
"""Hour -> sentence of the environment."""

_SKIES: dict[str, tuple[tuple[Colour, Colour], ...]] = {
    "day": (((112, 190, 244), (220, 242, 252)), ((130, 214, 224), (236, 246, 226)), ((146, 182, 244), (244, 228, 240))),
    "sunset": (
        ((238, 130, 112), (255, 222, 152)),
        ((196, 118, 168), (255, 196, 142)),
        ((250, 164, 92), (254, 232, 180)),
    ),
    "overcast": (((160, 178, 198), (216, 224, 230)), ((176, 184, 186), (226, 226, 218))),
    "night": (((22, 28, 74), (78, 80, 146)), ((30, 22, 62), (112, 70, 130)), ((12, 40, 70), (54, 106, 136))),
}
_TINTS: dict[str, tuple[Colour, float]] = {
    "day": ((255, 255, 255), 0.0),
    "sunset": ((236, 110, 70), 0.2),
    "overcast": ((132, 144, 166), 0.28),
    "night": ((24, 30, 92), 0.42),
}


@dataclass(frozen=True, slots=True)
class Place:
    """What all scenes of one kind share."""

    kind: str
    """Name in the truth."""

    title: str
    """Name of the scene in a story."""

    where: str
    """How captions say that somebody is there."""

    environment: str
    """A sentence about it."""

    paint: Callable[["Painter"], None]
    """Paints it."""

    ambient: tuple[str, ...] = ()
    """What moves in it, see `weather.py`."""

    hours: dict[str, str] = field(default_factory=lambda: OUTDOOR_HOURS)
    """Hour -> sentence about its light."""


@dataclass(frozen=True, slots=True)
class Painter:
    """A brush in world units, with chance, style and light."""

    brush: Brush
    """Draws in world units."""

    random: Random
    """Chance of the layout."""

    width: float
    """Width of the world."""

    style: ToonStyle
    """Style of the film."""

    hour: str
    """Time of day."""

    def tone(self, colour: Colour) -> Colour:
        """Return a colour in the light of the hour and the grade of the film."""
        tint, share = _TINTS[self.hour]
        return self.style.grade(mix(colour, tint, share))

    def shape(self, points: np.ndarray, colour: Colour, *, line: bool = True) -> None:
        """Draw a polygon in a toned colour."""
        self.brush.shape(points, self.tone(colour), line=line)

    def stroke(self, points: np.ndarray, width: float, colour: Colour, *, line: bool = True) -> None:
        """Draw a thick curve in a toned colour."""
        self.brush.stroke(points, width, self.tone(colour), line=line)

    def choose(self, *colours: Colour) -> Colour:
        """Return one of the colours by chance, a little changed."""
        shift = self.random.uniform(-0.1, 0.1)
        colour = self.random.choice(colours)
        return lighter(colour, shift) if shift > 0 else darker(colour, -shift)

    def spread(self, gap: float, jitter: float = 0.3) -> Iterator[float]:
        """Yield x all over the world, about `gap` apart."""
        x = self.random.uniform(-0.5, 0.5) * gap
        while x < self.width + gap:
            yield x + self.random.uniform(-jitter, jitter) * gap
            x += gap

    def gradient(self, top: Colour, bottom: Colour, start: float, end: float) -> None:
        """Fill the whole picture with a ramp between two world heights."""
        scale, offset = self.brush.matrix[1, 1], self.brush.matrix[1, 2]
        grade = self.style.grade
        vertical_gradient(
            self.brush.canvas, grade(top), grade(bottom), round(start * scale + offset), round(end * scale + offset)
        )

    def sky(self, horizon: float = 0.62, *, light: bool = True) -> None:
        """Paint the sky of the hour, with sun, moon or stars if `light`."""
        top, bottom = self.random.choice(_SKIES[self.hour])
        self.gradient(top, bottom, -0.1, horizon)
        x = self.random.uniform(0.25, 0.75) * self.width
        if not light:
            return
        if self.hour == "night":
            self.stars(90, horizon - 0.1)
            self.brush.with_line(width=0).shape(ellipse(x, 0.16, 0.085), self.style.grade((250, 244, 214)))
            self.brush.shape(ellipse(x + 0.035, 0.14, 0.07), self.style.grade(mix(top, bottom, 0.3)), line=False)
        elif self.hour != "overcast":
            y, glow = (0.17, (255, 236, 150)) if self.hour == "day" else (0.46, (255, 226, 140))
            for radius, opacity in ((0.2, 0.18), (0.145, 0.3)):
                self.brush.shade(ellipse(x, y, radius, count=40), self.style.grade((255, 244, 200)), opacity)
            self.brush.shape(ellipse(x, y, 0.095, count=36), self.style.grade(glow), line=False)

    def stars(self, count: int, below: float) -> None:
        """Scatter stars above a world height."""
        for _ in range(count):
            x, y = self.random.uniform(0, self.width), self.random.uniform(WORLD_TOP, below)
            radius = self.random.uniform(0.0025, 0.006)
            self.brush.shape(ellipse(x, y, radius, count=8), (255, 252, 226), line=False)

    def ground(self, y: float, colour: Colour) -> None:
        """Fill everything below a world height."""
        self.shape(box(-1, y, self.width + 2, WORLD_BOTTOM - y + 0.2), colour, line=False)

    def hills(self, y: float, height: float, gap: float, colour: Colour, *, line: bool = True) -> None:
        """Paint a rolling ridge and everything below it."""
        crests = [
            (x, y - self.random.uniform(0, height) * (number % 2)) for number, x in enumerate(self.spread(gap, 0.2))
        ]
        ridge = curve((-1.2, y), *sorted(crests), (self.width + 1.5, y))
        self.shape(
            np.concatenate((ridge, [(self.width + 1.5, WORLD_BOTTOM + 0.1), (-1.2, WORLD_BOTTOM + 0.1)])),
            colour,
            line=line,
        )

    def peaks(self, y: float, height: float, gap: float, colour: Colour, cap: Colour | None = None) -> None:
        """Paint a row of mountains, with snow on top if `cap`."""
        for x in list(self.spread(gap)):
            tall = height * self.random.uniform(0.6, 1.0)
            wide = tall * self.random.uniform(0.9, 1.3)
            self.shape(polygon((x - wide, y + 0.02), (x, y - tall), (x + wide, y + 0.02)), colour)
            if cap is not None:
                w = wide * 0.32
                base = y - tall * 0.68
                edge = [(x + w, base), (x + w * 0.4, base + 0.03), (x, base - 0.015), (x - w * 0.45, base + 0.04)]
                self.shape(polygon((x, y - tall), *edge, (x - w, base)), cap)

    def tree(self, x: float, y: float, size: float, leaf: Colour, trunk: Colour = (136, 96, 70)) -> None:
        """Paint a round tree."""
        self.stroke(curve((x, y), (x + 0.01 * size, y - 0.25 * size), (x, y - 0.5 * size)), 0.09 * size, trunk)
        for dx, dy, radius in ((-0.2, -0.55, 0.21), (0.2, -0.56, 0.2), (0.0, -0.74, 0.25), (0.0, -0.52, 0.2)):
            self.shape(ellipse(x + dx * size, y + dy * size, radius * size), leaf)
        for dx, dy, radius in ((-0.2, -0.55, 0.2), (0.2, -0.56, 0.19), (0.0, -0.74, 0.24), (0.0, -0.55, 0.2)):
            self.shape(ellipse(x + dx * size, y + dy * size, radius * size), leaf, line=False)
        for dx, dy, radius in ((-0.08, -0.82, 0.1), (-0.24, -0.6, 0.07), (0.16, -0.62, 0.08)):
            self.shape(ellipse(x + dx * size, y + dy * size, radius * size), lighter(leaf, 0.2), line=False)

    def fir(self, x: float, y: float, size: float, leaf: Colour, snow: Colour | None = None) -> None:
        """Paint a fir, with snow on it if `snow`."""
        self.shape(box(x - 0.035 * size, y - 0.14 * size, 0.07 * size, 0.14 * size), (122, 88, 70))
        for level, wide in ((0.12, 0.3), (0.36, 0.24), (0.58, 0.17)):
            base, tip = y - level * size, y - (level + 0.38) * size
            self.shape(polygon((x - wide * size, base), (x, tip), (x + wide * size, base)), leaf)
            if snow is not None:
                w, low = wide * 0.4 * size, tip + 0.15 * size
                self.shape(polygon((x, tip), (x + w, low), (x, low - 0.025 * size), (x - w, low)), snow, line=False)

    def bush(self, x: float, y: float, size: float, leaf: Colour) -> None:
        """Paint a bush."""
        for dx, dy, radius in ((-0.13, -0.06, 0.11), (0.14, -0.06, 0.1), (0.0, -0.11, 0.14)):
            self.shape(ellipse(x + dx * size, y + dy * size, radius * size), leaf)
        self.shape(ellipse(x, y - 0.05 * size, 0.17 * size, 0.07 * size), leaf, line=False)
        self.shape(ellipse(x - 0.04 * size, y - 0.15 * size, 0.06 * size), lighter(leaf, 0.2), line=False)

    def grass(self, top: float, bottom: float, count: int, colour: Colour) -> None:
        """Scatter tufts of grass between two world heights."""
        for _ in range(count):
            x, y = self.random.uniform(0, self.width), self.random.uniform(top, bottom)
            size = 0.02 + 0.03 * (y - top)
            blades = polygon((x - size, y - size), (x - size * 0.3, y), (x, y - size * 1.5), (x + size * 0.3, y))
            self.shape(np.concatenate((blades, [(x + size, y - size), (x, y + size * 0.2)])), colour, line=False)

    def flowers(self, top: float, bottom: float, count: int, *colours: Colour) -> None:
        """Scatter flowers between two world heights."""
        for _ in range(count):
            x, y = self.random.uniform(0, self.width), self.random.uniform(top, bottom)
            size, colour = 0.011 + 0.02 * (y - top), self.random.choice(colours)
            self.stroke(polygon((x, y), (x, y + 3 * size)), size * 0.5, (92, 150, 80), line=False)
            for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                self.shape(ellipse(x + dx * size, y + dy * size, size, count=12), colour, line=False)
            self.shape(ellipse(x, y, size * 0.7, count=10), (252, 214, 90), line=False)

    def fence(self, y: float, colour: Colour) -> None:
        """Paint a fence from end to end of the world."""
        for rail in (0.045, 0.085):
            self.shape(box(-1, y - rail, self.width + 2, 0.016), colour)
        for post in np.arange(-0.5, self.width + 0.5, 0.17):
            self.shape(
                polygon(
                    (post, y), (post, y - 0.11), (post + 0.016, y - 0.125), (post + 0.032, y - 0.11), (post + 0.032, y)
                ),
                colour,
            )

    def rock(self, x: float, y: float, size: float, colour: Colour) -> None:
        """Paint a rock."""
        corners = ((-0.2, 0), (-0.15, -0.13), (-0.03, -0.19), (0.11, -0.14), (0.19, -0.03), (0.17, 0.02))
        self.shape(polygon(*((x + a * size, y + b * size) for a, b in corners)), colour)
        glint = ((-0.13, -0.11), (-0.03, -0.17), (0.02, -0.13), (-0.08, -0.07))
        self.shape(polygon(*((x + a * size, y + b * size) for a, b in glint)), lighter(colour, 0.25), line=False)
