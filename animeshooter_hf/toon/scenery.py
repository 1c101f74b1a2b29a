"""Scenes: places with a layout and a palette of their own, which stay the same whenever the place is seen again.

World units: one unit is the height of the frame in a wide shot; x runs from 0 to the world's width, y from
`WORLD_TOP` down to `WORLD_BOTTOM`; the horizon lies near 0.6 and characters stand between 0.80 and 0.94.
"""

from dataclasses import asdict, dataclass
from random import Random

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.buildings import BUILDINGS
from animeshooter_hf.toon.drawing import Brush
from animeshooter_hf.toon.landscapes import LANDSCAPES
from animeshooter_hf.toon.painter import WORLD_BOTTOM, WORLD_TOP, Painter, Place
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["SCENE_KINDS", "ToonScene", "draw_scene", "paint_scene", "world_width"]

PLACES: dict[str, Place] = {place.kind: place for place in (*LANDSCAPES, *BUILDINGS)}
"""Kind -> place."""

SCENE_KINDS: tuple[str, ...] = tuple(PLACES)
"""The kinds of places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonScene:
    """A place of one film."""

    id: str
    """Name, unique in the film."""

    kind: str
    """One of `SCENE_KINDS`."""

    hour: str
    """Time of day: "day", "sunset", "overcast" or "night"; it sets the palette."""

    seed: int
    """Layout and accents; the same seed gives the same place."""

    def __post_init__(self) -> None:
        if self.kind not in PLACES:
            raise ValueError(f"A scene's kind must be one of {', '.join(SCENE_KINDS)}, got {self.kind!r}.")
        if self.hour not in PLACES[self.kind].hours:
            raise ValueError(f"hour must be one of {', '.join(PLACES[self.kind].hours)}, got {self.hour!r}.")

    @property
    def place(self) -> Place:
        """Return what all scenes of this kind share."""
        return PLACES[self.kind]

    @property
    def environment(self) -> str:
        """Return what the place looks like, in words."""
        return f"{self.place.environment} {self.place.hours[self.hour]}"

    def to_json(self) -> dict[str, str | int]:
        """Return the scene as it stands in a film's script."""
        return asdict(self)


def draw_scene(random: Random, kind: str) -> ToonScene:
    """Return a random scene of a kind; its name is the kind's."""
    place = PLACES[kind]
    hours = tuple(place.hours)
    return ToonScene(id=place.title, kind=kind, hour=random.choice(hours), seed=random.randrange(1 << 30))


def world_width(aspect: float) -> float:
    """Return the width of the world for a frame's width divided by its height."""
    return 2.6 * max(aspect, 1.0)


def paint_scene(
    scene: ToonScene,
    style: ToonStyle,
    *,
    aspect: float,
    left: float,
    top: float,
    pixels_per_unit: float,
    width: int,
    height: int,
) -> NDArray[np.uint8]:
    """Return the picture of a part of a scene, without characters and without what moves.

    Args:
        scene: The place.
        style: Style of the film.
        aspect: Width of the film's frame divided by its height.
        left: World x of the picture's left edge.
        top: World y of its upper edge.
        pixels_per_unit: Pixels in a world unit.
        width: Pixels of the picture.
        height: Pixels of the picture.

    Returns:
        Shape (height, width, 3), RGB.
    """
    canvas = np.empty((height, width, 3), np.uint8)
    matrix = np.array(
        [[pixels_per_unit, 0, -left * pixels_per_unit], [0, pixels_per_unit, -top * pixels_per_unit]], dtype=np.float64
    )
    line: Colour = style.grade(style.line_colour)
    line_width = style.line_width * style.scenery_lines * pixels_per_unit * 0.8
    painter = Painter(
        Brush(canvas, matrix, line, line_width), Random(f"{scene.seed}/layout"), world_width(aspect), style, scene.hour
    )
    scene.place.paint(painter)
    return canvas


if WORLD_TOP >= 0 or WORLD_BOTTOM <= 1:
    raise RuntimeError("The world must reach beyond the frame, so that a camera may shake.")
