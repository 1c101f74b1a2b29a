"""Places in town and indoors."""

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import arc, box, curve, darker, ellipse, lighter, mix, polygon, star
from animeshooter_hf.toon.painter import WORLD_TOP, Painter, Place

__all__ = ["BUILDINGS"]

_LIGHT: Colour = (255, 226, 142)
_GLASS: Colour = (170, 214, 236)
_WALLS: tuple[Colour, ...] = ((240, 168, 128), (246, 214, 150), (170, 200, 190), (214, 150, 156), (160, 176, 214))
_BOOKS: tuple[Colour, ...] = (
    (206, 84, 78),
    (84, 130, 180),
    (240, 190, 90),
    (110, 160, 110),
    (160, 110, 170),
    (236, 226, 204),
)


def _street(p: Painter) -> None:
    p.sky(light=p.hour != "sunset")
    far = p.choose((170, 180, 206), (196, 176, 196))
    for x in list(p.spread(0.22)):
        tall = p.random.uniform(0.25, 0.5)
        p.shape(box(x, 0.7 - tall, 0.18, tall), far, line=False)
    x = -0.3
    while x < p.width + 0.3:
        wide = p.random.uniform(0.36, 0.55)
        _house(p, x, 0.755, wide, p.random.uniform(0.42, 0.66))
        x += wide + p.random.choice((0.0, 0.0, 0.12))
    p.ground(0.75, (196, 194, 200))
    for x in np.arange(-0.5, p.width + 0.5, 0.2):
        p.stroke(polygon((x, 0.755), (x - 0.04, 0.83)), 0.005, (170, 168, 176), line=False)
    p.shape(box(-1, 0.83, p.width + 2, 0.022), (226, 224, 226))
    p.ground(0.852, (112, 114, 128))
    for x in np.arange(-0.4, p.width + 0.4, 0.42):
        p.shape(polygon((x, 1.0), (x + 0.2, 1.0), (x + 0.19, 1.025), (x - 0.01, 1.025)), (246, 240, 220), line=False)
    for x in list(p.spread(1.1)):
        p.stroke(polygon((x, 0.82), (x, 0.4)), 0.018, (70, 78, 96))
        p.shape(polygon((x - 0.035, 0.4), (x + 0.035, 0.4), (x + 0.05, 0.33), (x - 0.05, 0.33)), _LIGHT)
        if p.hour == "night":
            p.brush.shade(ellipse(x, 0.4, 0.16), p.style.grade(_LIGHT), 0.22)
    leaf = p.choose((110, 176, 98), (226, 150, 70))
    for x in list(p.spread(0.9)):
        p.tree(x + 0.4, 0.81, 0.42, leaf)


def _house(p: Painter, x: float, y: float, wide: float, tall: float) -> None:
    wall = p.choose(*_WALLS)
    p.shape(box(x, y - tall, wide, tall), wall)
    roof = darker(mix(wall, (180, 80, 70), 0.5), 0.2)
    if p.random.random() < 0.6:
        p.shape(polygon((x - 0.03, y - tall), (x + wide / 2, y - tall - 0.17), (x + wide + 0.03, y - tall)), roof)
    else:
        p.shape(box(x - 0.02, y - tall - 0.035, wide + 0.04, 0.045), roof)
    glass = p.style.grade(_LIGHT) if p.hour == "night" else p.tone(_GLASS)
    floors, columns = max(1, int(tall / 0.19)), max(2, int(wide / 0.17))
    for floor in range(floors):
        for column in range(columns):
            wx, wy = x + (column + 0.5) * wide / columns - 0.04, y - tall + 0.05 + floor * 0.18
            lowest = y - 0.16 if column == columns // 2 else y - 0.03
            if wy + 0.11 < lowest:
                p.brush.shape(box(wx, wy, 0.08, 0.1), glass)
                p.shape(box(wx - 0.008, wy + 0.1, 0.096, 0.014), lighter(wall, 0.5), line=False)
    door = x + (columns // 2 + 0.5) * wide / columns
    p.shape(box(door - 0.045, y - 0.15, 0.09, 0.15), darker(wall, 0.45))
    p.shape(ellipse(door + 0.028, y - 0.075, 0.008, count=8), _LIGHT, line=False)


def _rooftop(p: Painter) -> None:
    p.sky(0.7)
    for depth, gap, low in ((0.45, 0.2, 0.3), (0.15, 0.34, 0.16)):
        tower = p.tone(mix((70, 74, 118), (170, 150, 190), depth))
        for x in list(p.spread(gap)):
            wide, tall = p.random.uniform(0.12, 0.2), p.random.uniform(low, low + 0.3)
            p.brush.shape(box(x, 0.72 - tall, wide, tall + 0.1), tower, line=False)
            for wx in np.arange(x + 0.02, x + wide - 0.025, 0.04):
                for wy in np.arange(0.74 - tall, 0.68, 0.055):
                    if p.random.random() < 0.4:
                        p.brush.shape(box(wx, wy, 0.018, 0.028), p.style.grade(_LIGHT), line=False)
    brick = p.choose((176, 96, 84), (130, 110, 140), (150, 124, 100))
    p.shape(box(-1, 0.7, p.width + 2, 0.09), brick)
    for row in range(3):
        for x in np.arange(-0.5 + 0.05 * (row % 2), p.width + 0.5, 0.1):
            p.stroke(polygon((x, 0.7 + 0.03 * row), (x, 0.73 + 0.03 * row)), 0.004, darker(brick, 0.3), line=False)
    p.shape(box(-1, 0.685, p.width + 2, 0.022), lighter(brick, 0.3))
    floor = p.choose((120, 122, 140), (136, 120, 130), (104, 128, 134))
    p.ground(0.79, floor)
    for x in np.arange(-1, p.width + 1, 0.3):
        p.stroke(polygon((x, 0.79), (x - 0.2, 1.3)), 0.005, darker(floor, 0.2), line=False)
    for x in list(p.spread(1.2)):
        _tank(p, x, 0.8)
        p.shape(box(x + 0.5, 0.56, 0.13, 0.25), darker(brick, 0.1))
        p.shape(box(x + 0.485, 0.54, 0.16, 0.035), lighter(brick, 0.2))
        p.stroke(polygon((x + 0.85, 0.79), (x + 0.85, 0.4)), 0.008, (60, 62, 80), line=False)
        for rung in (0.42, 0.46, 0.5):
            p.stroke(polygon((x + 0.79, rung), (x + 0.91, rung)), 0.008, (60, 62, 80), line=False)


def _tank(p: Painter, x: float, y: float) -> None:
    for dx in (-0.1, 0.1):
        p.stroke(polygon((x + dx, y), (x + dx * 0.8, y - 0.2)), 0.014, (84, 74, 78))
    wood = (160, 120, 92)
    p.shape(box(x - 0.13, y - 0.4, 0.26, 0.21), wood)
    for dx in np.arange(-0.09, 0.1, 0.045):
        p.stroke(polygon((x + dx, y - 0.39), (x + dx, y - 0.2)), 0.004, darker(wood, 0.3), line=False)
    p.shape(polygon((x - 0.15, y - 0.4), (x, y - 0.52), (x + 0.15, y - 0.4)), darker(wood, 0.35))


def _wallpaper(p: Painter, wall: Colour, skirting: float) -> None:
    """Paint a papered wall down to a world height, and the skirting board."""
    p.ground(WORLD_TOP - 0.1, wall)
    kind = p.random.choice(("stripes", "dots", "plain"))
    if kind == "stripes":
        for x in np.arange(-0.5, p.width + 0.5, 0.16):
            p.shape(box(x, WORLD_TOP - 0.1, 0.07, skirting - WORLD_TOP), lighter(wall, 0.18), line=False)
    elif kind == "dots":
        for row, y in enumerate(np.arange(WORLD_TOP, skirting, 0.11)):
            for x in np.arange(-0.5 + 0.07 * (row % 2), p.width + 0.5, 0.14):
                p.shape(star(x, y, 0.017, points=4), lighter(wall, 0.3), line=False)
    p.shape(box(-1, skirting - 0.04, p.width + 2, 0.045), lighter(wall, 0.6))


def _boards(p: Painter, top: float, colour: Colour) -> None:
    """Paint a floor of boards below a world height."""
    p.ground(top, colour)
    for row, y in enumerate((0.06, 0.14, 0.24, 0.36)):
        p.stroke(polygon((-1, top + y), (p.width + 1, top + y)), 0.005, darker(colour, 0.22), line=False)
        for x in np.arange(-0.5 + 0.21 * (row % 2), p.width + 0.5, 0.62):
            p.stroke(polygon((x, top + y), (x, top + y - 0.07)), 0.005, darker(colour, 0.22), line=False)


def _window(p: Painter, x: float, y: float, wide: float, tall: float, curtain: Colour) -> None:
    top, _ = {"day": ((150, 210, 246), 0), "sunset": ((255, 186, 130), 0), "night": ((36, 42, 96), 0)}[p.hour]
    p.brush.shape(box(x, y, wide, tall), p.style.grade(top))
    p.brush.shape(ellipse(x + 0.7 * wide, y + 0.3 * tall, 0.035), p.style.grade((255, 240, 180)), line=False)
    p.brush.shape(
        arc(x + wide / 2, y + tall, wide / 2, 0.3 * tall, np.pi, 2 * np.pi), p.tone((120, 176, 110)), line=False
    )
    for bar in (
        polygon((x + wide / 2, y), (x + wide / 2, y + tall)),
        polygon((x, y + tall / 2), (x + wide, y + tall / 2)),
    ):
        p.stroke(bar, 0.014, (250, 246, 236), line=False)
    frame = box(x, y, wide, tall)
    p.stroke(np.concatenate((frame, frame[:1])), 0.024, (250, 246, 236))
    for side, edge in ((1, x - 0.05), (-1, x + wide + 0.05)):
        drape = [(edge, y - 0.04), (edge + side * 0.15, y - 0.04), (edge + side * 0.07, y + tall * 0.6)]
        p.shape(polygon(*drape, (edge + side * 0.1, y + tall + 0.06), (edge - side * 0.02, y + tall + 0.06)), curtain)
    p.stroke(polygon((x - 0.09, y - 0.045), (x + wide + 0.09, y - 0.045)), 0.016, (150, 110, 84))


def _living_room(p: Painter) -> None:
    wall = p.choose((150, 196, 190), (240, 200, 150), (206, 170, 196), (176, 200, 226), (228, 176, 160))
    _wallpaper(p, wall, 0.74)
    _boards(p, 0.745, p.choose((200, 152, 108), (176, 128, 96), (222, 184, 140)))
    cloth = p.choose((206, 88, 84), (92, 132, 184), (110, 160, 112), (230, 160, 80))
    for x in list(p.spread(1.5, 0.1)):
        _window(p, x, 0.14, 0.34, 0.32, cloth)
        _sofa(p, x + 0.82, 0.785, cloth)
        p.stroke(polygon((x + 0.5, 0.78), (x + 0.5, 0.36)), 0.014, (120, 92, 78))
        p.shape(polygon((x + 0.44, 0.36), (x + 0.47, 0.25), (x + 0.53, 0.25), (x + 0.56, 0.36)), _LIGHT)
        p.brush.shade(ellipse(x + 0.5, 0.34, 0.2), p.style.grade((255, 244, 200)), 0.16)
        for dx, dy, size in ((0.72, 0.2, 0.1), (0.92, 0.16, 0.14)):
            p.shape(box(x + dx, dy, size, size * 1.15), (176, 128, 86))
            p.shape(
                box(x + dx + 0.014, dy + 0.014, size - 0.028, size * 1.15 - 0.028),
                p.choose((200, 226, 236), (250, 226, 186)),
            )
            p.shape(ellipse(x + dx + size / 2, dy + size * 0.6, size * 0.22), p.choose(*_BOOKS), line=False)
        p.shape(box(x - 0.2, 0.66, 0.1, 0.1), (210, 120, 84))
        for lean in (-0.13, -0.05, 0.04, 0.12):
            p.stroke(
                curve((x - 0.15, 0.67), (x - 0.15 + lean * 0.5, 0.56), (x - 0.15 + lean, 0.5)), 0.03, (84, 156, 100)
            )
        p.shape(ellipse(x + 0.75, 0.93, 0.55, 0.075, count=44), lighter(cloth, 0.2))
        p.shape(ellipse(x + 0.75, 0.93, 0.44, 0.055, count=44), lighter(cloth, 0.5), line=False)


def _sofa(p: Painter, x: float, y: float, cloth: Colour) -> None:
    p.shape(
        np.concatenate((arc(x, y - 0.22, 0.27, 0.1, np.pi, 2 * np.pi), [(x + 0.27, y - 0.05), (x - 0.27, y - 0.05)])),
        cloth,
    )
    p.shape(box(x - 0.25, y - 0.15, 0.5, 0.1), lighter(cloth, 0.15))
    for side in (-1, 1):
        p.shape(ellipse(x + side * 0.28, y - 0.13, 0.05, 0.075), lighter(cloth, 0.05))
        p.shape(box(x + side * 0.27 - 0.045, y - 0.12, 0.09, 0.1), lighter(cloth, 0.05))
        p.shape(box(x + side * 0.24 - 0.015, y - 0.03, 0.03, 0.035), (110, 80, 64))
    p.shape(
        polygon((x + 0.1, y - 0.17), (x + 0.17, y - 0.26), (x + 0.24, y - 0.18), (x + 0.17, y - 0.1)),
        lighter(cloth, 0.6),
    )


def _library(p: Painter) -> None:
    wood = p.choose((150, 104, 74), (120, 84, 72), (176, 132, 92))
    wall = p.choose((108, 126, 118), (140, 108, 116), (98, 112, 146))
    _wallpaper(p, wall, 0.74)
    _boards(p, 0.745, darker(wood, 0.1))
    x = p.random.uniform(-0.4, -0.1)
    number = 0
    while x < p.width + 0.3:
        if number % 3 == 2:
            _window(p, x + 0.1, 0.08, 0.26, 0.42, darker(wall, 0.3))
            x += 0.5
        else:
            _bookcase(p, x, 0.76, p.random.uniform(0.5, 0.64), wood)
            x += 0.68
        number += 1
    for x in list(p.spread(1.4)):
        p.shape(box(x, 0.64, 0.34, 0.03), lighter(wood, 0.2))
        for dx in (0.02, 0.3):
            p.shape(box(x + dx, 0.67, 0.025, 0.13), lighter(wood, 0.2))
        p.stroke(polygon((x + 0.25, 0.64), (x + 0.25, 0.6)), 0.012, (120, 92, 60))
        p.shape(ellipse(x + 0.25, 0.55, 0.055), (110, 176, 200))
        p.shape(ellipse(x + 0.235, 0.54, 0.025, 0.03), (140, 190, 110), line=False)
        for book, y in ((0, 0.625), (1, 0.608), (2, 0.591)):
            p.shape(box(x + 0.05 + 0.01 * book, y, 0.1, 0.016), p.choose(*_BOOKS))
    carpet = p.choose((170, 70, 74), (74, 100, 150), (90, 130, 96))
    p.shape(polygon((-1, 0.86), (p.width + 1, 0.86), (p.width + 1, 1.02), (-1, 1.02)), carpet, line=False)
    for y in (0.872, 1.0):
        p.stroke(polygon((-1, y), (p.width + 1, y)), 0.01, (240, 206, 120), line=False)


def _bookcase(p: Painter, x: float, y: float, wide: float, wood: Colour) -> None:
    top = -0.06
    p.shape(box(x, top, wide, y - top), wood)
    shelf_y = top + 0.03
    while shelf_y < y - 0.15:
        p.shape(box(x + 0.025, shelf_y, wide - 0.05, 0.15), darker(wood, 0.5), line=False)
        at = x + 0.035
        while at < x + wide - 0.07:
            thick, tall = p.random.uniform(0.016, 0.032), p.random.uniform(0.09, 0.135)
            if p.random.random() < 0.9:
                p.shape(box(at, shelf_y + 0.15 - tall, thick, tall), p.random.choice(_BOOKS))
            at += thick + 0.003
        shelf_y += 0.175


_INDOOR_HOURS = {
    "day": "Daylight comes in through the windows.",
    "sunset": "Evening light comes in through the windows.",
    "night": "It is dark outside the windows.",
}
_ROOF_HOURS = {
    "sunset": "The sun is going down behind the towers.",
    "night": "The windows of the towers are lit at night.",
}

BUILDINGS: tuple[Place, ...] = (
    Place(
        "street",
        "Street",
        "on the street",
        "A street with a row of houses, lamp posts, small trees and a pavement.",
        _street,
        ("gulls",),
    ),
    Place(
        "rooftop",
        "Rooftop",
        "on the rooftop",
        "A flat roof with a water tank, chimneys and aerials above a skyline.",
        _rooftop,
        ("twinkles",),
        _ROOF_HOURS,
    ),
    Place(
        "living_room",
        "Living Room",
        "in the living room",
        "A living room with a sofa, a lamp, framed pictures, a rug and a wooden floor.",
        _living_room,
        ("motes",),
        _INDOOR_HOURS,
    ),
    Place(
        "library",
        "Library",
        "in the library",
        "A library with high bookcases, a desk with a globe and a long carpet.",
        _library,
        ("motes",),
        _INDOOR_HOURS,
    ),
)
"""Places with walls."""
