"""Cameras: which part of the world a shot shows at each moment."""

import math
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from animeshooter_hf.toon.scenery import world_width

if TYPE_CHECKING:
    from animeshooter_hf.toon.plan import Placement

__all__ = ["CAMERAS", "ToonCamera", "View", "draw_camera"]

CAMERAS = ("wide", "medium", "close", "pan", "zoom_in", "zoom_out", "tilt", "follow")
"""Three that stand still, and five that move."""


_HIGH_ACTIONS = ("jump", "splash", "sleep", "slip")
"""Actions that need room above the head."""


@dataclass(frozen=True, slots=True)
class View:
    """What a camera sees at one moment."""

    x: float
    """World x of the picture's middle."""

    y: float
    """World y of the picture's middle."""

    zoom: float
    """1 shows one world unit in height, 2 shows half of that."""


@dataclass(frozen=True, slots=True)
class ToonCamera:
    """The camera of one shot."""

    kind: str
    """One of `CAMERAS`."""

    start: View
    """What it sees at the start."""

    end: View
    """What it sees at the end."""

    def view(self, share: float) -> View:
        """Return what it sees after a share of the shot; it starts and stops gently, but follows evenly."""
        share = min(max(share, 0.0), 1.0)
        eased = share if self.kind == "follow" else share * share * (3 - 2 * share)
        first, last = self.start, self.end
        return View(
            first.x + (last.x - first.x) * eased,
            first.y + (last.y - first.y) * eased,
            first.zoom * math.exp(math.log(last.zoom / first.zoom) * eased),
        )


def draw_camera(
    random: Random,
    kind: str,
    lead: "Placement",
    middle: float,
    travel: float,
    aspect: float,
    num_characters: int,
) -> ToonCamera:
    """Return a camera of a kind on a group of characters.

    Args:
        random: Source of chance.
        kind: One of `CAMERAS`.
        lead: Who acts.
        middle: World x of the group's middle.
        travel: World units that the group moves to the right.
        aspect: Width of the frame divided by its height.
        num_characters: Size of the group.
    """
    near = {1: 1.55, 2: 1.3, 3: 1.12}[num_characters]
    headroom = 0.0
    if lead.action in _HIGH_ACTIONS:
        near, headroom = min(near, 1.2), 0.1

    def clamped(x: float, y: float, zoom: float) -> View:
        half_x, half_y = aspect / (2 * zoom), 0.5 / zoom
        x = min(max(x, half_x), world_width(aspect) - half_x)
        return View(x, min(max(y, half_y), 1.0 - half_y + 0.03), zoom)

    chest = lead.y - 0.62 * lead.unit - headroom
    wide, close_up = clamped(middle, 0.5, 1.0), clamped(middle, chest, near)
    if kind == "wide":
        return ToonCamera(kind, wide, wide)
    if kind == "medium":
        return ToonCamera(kind, close_up, close_up)
    if kind == "close":
        face = clamped(lead.x, lead.y - 0.66 * lead.unit, 2.1)
        return ToonCamera(kind, face, face)
    if kind == "pan":
        way = random.choice((-1, 1)) * 0.17 * aspect
        return ToonCamera(kind, clamped(middle - way, 0.52, 1.12), clamped(middle + way, 0.52, 1.12))
    if kind == "zoom_in":
        return ToonCamera(kind, wide, close_up)
    if kind == "zoom_out":
        return ToonCamera(kind, close_up, wide)
    if kind == "tilt":
        low, high = clamped(middle, 0.8, 1.2), clamped(middle, 0.35, 1.2)
        return ToonCamera(kind, high, low)
    start = clamped(middle, chest - 0.02, min(near, 1.3))
    return ToonCamera(kind, start, clamped(middle + travel, chest - 0.02, min(near, 1.3)))
