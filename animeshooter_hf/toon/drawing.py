"""Outlined shapes on an image: the pen that draws characters and scenery.

Shapes are polygons in local units; a `Brush` carries the map from those units to pixels, so that a picture drawn at
any zoom stays sharp. A canvas has three channels (a picture) or four (a cut-out). A cut-out starts as zeros: drawing
an opaque colour with a smoothed edge on it gives *premultiplied* colour and exact coverage in the fourth channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import Colour

__all__ = [
    "Brush",
    "Cutout",
    "arc",
    "box",
    "composite",
    "curve",
    "darker",
    "ellipse",
    "lighter",
    "mix",
    "polygon",
    "star",
    "vertical_gradient",
]

Points = NDArray[np.float64]
"""Shape (N, 2): x to the right, y down."""

_SUBPIXEL_BITS = 4
_FAR = 1 << 14
"""Pixels; points beyond are pulled in, which keeps OpenCV's fixed-point coordinates in range."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A drawn thing with its coverage, and where it lies in the frame."""

    x: int
    """Column of the frame at which the pixels begin."""

    y: int
    """Row of the frame at which the pixels begin."""

    pixels: NDArray[np.uint8]
    """Shape (h, w, 4): premultiplied red, green, blue, and coverage; h or w may be 0."""


@dataclass(frozen=True, slots=True)
class Brush:
    """A pen on a canvas. All methods take local units."""

    canvas: NDArray[np.uint8]
    """Shape (H, W, 3) or (H, W, 4); drawn on in place."""

    matrix: NDArray[np.float64]
    """Shape (2, 3): local units to pixels."""

    line_colour: Colour = (40, 34, 48)
    """Colour of outlines."""

    line_width: float = 3.0
    """Width of outlines, in pixels; below 0.5 there are none."""

    @property
    def scale(self) -> float:
        """Pixels in one local unit (root of the area's scale)."""
        a, b, c, d = self.matrix[0, 0], self.matrix[0, 1], self.matrix[1, 0], self.matrix[1, 1]
        return float(abs(a * d - b * c) ** 0.5)

    def at(self, x: float, y: float, *, angle: float = 0.0, scale_x: float = 1.0, scale_y: float = 1.0) -> "Brush":
        """Return a brush whose origin lies at (x, y), turned by `angle` radians and scaled."""
        cos, sin = np.cos(angle), np.sin(angle)
        inner = np.array([[cos * scale_x, -sin * scale_y], [sin * scale_x, cos * scale_y]])
        linear = self.matrix[:, :2]
        offset = linear @ np.array([x, y]) + self.matrix[:, 2]
        return Brush(self.canvas, np.column_stack((linear @ inner, offset)), self.line_colour, self.line_width)

    def with_line(self, colour: Colour | None = None, width: float | None = None) -> "Brush":
        """Return a brush with another outline; `width` is in pixels."""
        return Brush(
            self.canvas,
            self.matrix,
            self.line_colour if colour is None else colour,
            self.line_width if width is None else width,
        )

    def shape(self, points: Points, fill: Colour, *, line: bool = True) -> None:
        """Draw a filled polygon, with the outline if `line`."""
        where = self._pixels(points)
        cv2.fillPoly(self.canvas, [where], self._opaque(fill), cv2.LINE_AA, _SUBPIXEL_BITS)
        if line and self.line_width >= 0.5:
            self._trace(where, self.line_width, self.line_colour, closed=True)

    def shade(self, points: Points, fill: Colour, opacity: float) -> None:
        """Draw a filled polygon that lets through what is below; four-channel canvases must be empty there."""
        where = self._pixels(points)
        if self.canvas.shape[2] == 4:
            colour = tuple(round(value * opacity) for value in (*fill, 255))
            cv2.fillPoly(self.canvas, [where], colour, cv2.LINE_AA, _SUBPIXEL_BITS)
            return
        height, width = self.canvas.shape[:2]
        left, top = np.maximum(where.min(axis=0) // 16 - 1, 0)
        right, bottom = np.minimum(where.max(axis=0) // 16 + 2, (width, height))
        if right > left and bottom > top:
            part = self.canvas[top:bottom, left:right]
            drawn = part.copy()
            cv2.fillPoly(drawn, [where - np.array([left, top], np.int32) * 16], fill, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.addWeighted(drawn, opacity, part, 1 - opacity, 0, dst=part)

    def stroke(self, points: Points, width: float, fill: Colour, *, line: bool = True) -> None:
        """Draw a thick open curve of `width` local units, with the outline if `line`."""
        where = self._pixels(points)
        pixels = max(width * self.scale, 1.0)
        if line and self.line_width >= 0.5:
            self._trace(where, pixels + 2 * self.line_width, self.line_colour, closed=False)
        self._trace(where, pixels, fill, closed=False)

    def line(self, points: Points, colour: Colour | None = None, *, weight: float = 1.0) -> None:
        """Draw an open line, `weight` times as wide as the outline."""
        self._trace(self._pixels(points), max(self.line_width * weight, 1.0), colour or self.line_colour, closed=False)

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        mapped = points @ self.matrix[:, :2].T + self.matrix[:, 2]
        return np.round(np.clip(mapped, -_FAR, _FAR) * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def _opaque(self, colour: Colour) -> tuple[int, ...]:
        return colour if self.canvas.shape[2] == 3 else (*colour, 255)

    def _trace(self, where: NDArray[np.int32], width: float, colour: Colour, *, closed: bool) -> None:
        thickness = max(1, round(width))
        cv2.polylines(self.canvas, [where], closed, self._opaque(colour), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)


def polygon(*corners: Sequence[float]) -> Points:
    """Return the points of a polygon."""
    return np.array(corners, dtype=np.float64)


def box(x: float, y: float, width: float, height: float) -> Points:
    """Return a rectangle whose top left corner is (x, y)."""
    return polygon((x, y), (x + width, y), (x + width, y + height), (x, y + height))


@lru_cache(maxsize=256)
def _unit_arc(start: float, end: float, count: int) -> Points:
    angles = np.linspace(start, end, count)
    return np.column_stack((np.cos(angles), np.sin(angles)))


def ellipse(x: float, y: float, radius_x: float, radius_y: float | None = None, *, count: int = 26) -> Points:
    """Return an ellipse around (x, y)."""
    full = _unit_arc(0.0, 2 * np.pi * (1 - 1 / count), count)
    return full * (radius_x, radius_x if radius_y is None else radius_y) + (x, y)


def arc(x: float, y: float, radius_x: float, radius_y: float, start: float, end: float, *, count: int = 13) -> Points:
    """Return a piece of an ellipse; angles in radians, clockwise from the right."""
    return _unit_arc(start, end, count) * (radius_x, radius_y) + (x, y)


def star(x: float, y: float, radius: float, *, points: int = 5, inner: float = 0.45, angle: float = 0.0) -> Points:
    """Return a star around (x, y), one tip upwards."""
    angles = np.arange(2 * points) * np.pi / points - np.pi / 2 + angle
    radii = np.where(np.arange(2 * points) % 2 == 0, radius, radius * inner)
    return np.column_stack((x + radii * np.cos(angles), y + radii * np.sin(angles)))


@lru_cache(maxsize=16)
def _spline_weights(count: int) -> NDArray[np.float64]:
    """Return the weights of four knots at `count` steps of a Catmull-Rom spline, shape (count, 4)."""
    steps = np.linspace(0, 1, count, endpoint=False)[:, None]
    powers = np.concatenate((np.ones_like(steps), steps, steps**2, steps**3), axis=1)
    return powers @ (0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=np.float64))


def curve(*corners: Sequence[float], count: int = 6) -> Points:
    """Return a smooth open curve through the corners (Catmull-Rom)."""
    knots = np.array([corners[0], *corners, corners[-1]], dtype=np.float64)
    weights = _spline_weights(count)
    return np.concatenate([*(weights @ knots[start : start + 4] for start in range(len(corners) - 1)), knots[-1:]])


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that lies `share` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """Return the colour mixed with white."""
    return mix(colour, (255, 255, 255), share)


def darker(colour: Colour, share: float = 0.25) -> Colour:
    """Return the colour mixed with a deep blue, as painters shade."""
    return mix(colour, (34, 26, 62), share)


def vertical_gradient(canvas: NDArray[np.uint8], top: Colour, bottom: Colour, start: int, end: int) -> None:
    """Fill a picture: `top` above row `start`, `bottom` below row `end`, and a ramp between."""
    rows = np.clip((np.arange(canvas.shape[0]) - start) / max(end - start, 1), 0, 1)[:, None]
    ramp = np.asarray(top) + rows * (np.asarray(bottom, dtype=np.float64) - np.asarray(top))
    canvas[...] = np.round(ramp).astype(np.uint8)[:, None, :]


def composite(picture: NDArray[np.uint8], cutout: Cutout) -> None:
    """Lay a cut-out over a picture, in place."""
    height, width = cutout.pixels.shape[:2]
    if not height or not width:
        return
    part = picture[cutout.y : cutout.y + height, cutout.x : cutout.x + width]
    through = cv2.merge([cv2.bitwise_not(cutout.pixels[..., 3])] * 3)
    below = cv2.multiply(part, through, scale=1 / 255)
    cv2.add(below, cv2.cvtColor(cutout.pixels, cv2.COLOR_RGBA2RGB), dst=part)
