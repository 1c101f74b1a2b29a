"""Places under the open sky, under the sea, and on the moon."""

import numpy as np

from animeshooter_hf.toon.attributes import Colour
from animeshooter_hf.toon.drawing import arc, box, curve, darker, ellipse, lighter, mix, polygon, star
from animeshooter_hf.toon.painter import WORLD_BOTTOM, Painter, Place

__all__ = ["LANDSCAPES"]

_WHITE: Colour = (250, 250, 252)


def _meadow(p: Painter) -> None:
    p.sky()
    green = p.choose((126, 190, 96), (156, 196, 88), (110, 184, 128))
    p.hills(0.6, 0.16, 0.7, mix(green, (170, 206, 220), 0.45))
    p.hills(0.66, 0.1, 0.5, lighter(green, 0.14))
    for x in list(p.spread(0.9)):
        p.tree(x, 0.69, p.random.uniform(0.3, 0.48), darker(green, 0.25))
    p.hills(0.72, 0.03, 0.6, green)
    p.fence(0.76, p.choose((246, 238, 222), (190, 140, 98), (232, 214, 170)))
    path = curve(
        (-1, 0.87),
        *((x, 0.88 + 0.03 * (-1) ** n) for n, x in enumerate(np.arange(0, p.width, 0.6))),
        (p.width + 1, 0.87),
    )
    p.stroke(path, 0.1, (232, 208, 160), line=False)
    p.grass(0.76, 1.1, 70, darker(green, 0.2))
    p.flowers(0.78, 1.1, 46, *p.random.sample([(250, 250, 250), (250, 150, 180), (246, 110, 92), (170, 130, 230)], 2))


def _forest(p: Painter) -> None:
    p.sky(light=False)
    green = p.choose((72, 146, 92), (96, 150, 70), (60, 132, 112), (206, 134, 62))
    trunk = p.choose((126, 90, 70), (110, 84, 84))
    p.hills(0.45, 0.2, 0.4, mix(green, (190, 220, 210), 0.55), line=False)
    for depth, gap in ((0.55, 0.22), (0.25, 0.42)):
        bark, base = mix(trunk, (176, 206, 196), depth), 0.72 + 0.06 * (0.55 - depth)
        for x in list(p.spread(gap)):
            wide = p.random.uniform(0.04, 0.06) * (1.5 - depth)
            p.shape(
                polygon(
                    (x - wide * 1.6, base),
                    (x - wide, 0.5),
                    (x - wide, -0.4),
                    (x + wide, -0.4),
                    (x + wide, 0.5),
                    (x + wide * 1.6, base),
                ),
                bark,
            )
        for x in list(p.spread(0.26)):
            p.shape(
                ellipse(x, -0.08 + 0.08 * depth, p.random.uniform(0.15, 0.24)),
                mix(green, (190, 220, 210), depth * 0.7),
                line=depth < 0.5,
            )
    p.hills(0.74, 0.02, 0.5, lighter(green, 0.1))
    for x in list(p.spread(0.5)):
        p.bush(x, 0.77, p.random.uniform(0.6, 1.1), darker(green, 0.12))
    p.grass(0.78, 1.15, 80, darker(green, 0.25))
    cap = p.choose((226, 80, 74), (240, 170, 80), (170, 120, 210))
    for x in list(p.spread(0.55)):
        y = p.random.uniform(0.79, 1.0)
        p.shape(box(x - 0.012, y - 0.04, 0.024, 0.045), (246, 236, 214))
        p.shape(arc(x, y - 0.035, 0.042, 0.045, np.pi, 2 * np.pi), cap)
        p.shape(ellipse(x - 0.01, y - 0.06, 0.009, count=10), _WHITE, line=False)


def _beach(p: Painter) -> None:
    p.sky(0.5)
    sea = p.choose((62, 160, 204), (70, 186, 186), (84, 140, 214))
    p.shape(box(-1, 0.5, p.width + 2, 0.3), sea, line=False)
    p.shape(box(-1, 0.5, p.width + 2, 0.03), lighter(sea, 0.25), line=False)
    for _ in range(46):
        x, y = p.random.uniform(0, p.width), p.random.uniform(0.54, 0.7)
        p.stroke(curve((x, y), (x + 0.04, y - 0.008), (x + 0.09, y)), 0.006, lighter(sea, 0.45), line=False)
    boat = p.random.uniform(0.3, 0.8) * p.width
    p.shape(polygon((boat - 0.1, 0.51), (boat + 0.1, 0.51), (boat + 0.07, 0.55), (boat - 0.07, 0.55)), (214, 96, 78))
    p.shape(polygon((boat, 0.5), (boat, 0.34), (boat + 0.085, 0.49)), _WHITE)
    sand = p.choose((246, 222, 166), (250, 214, 176), (236, 214, 184))
    shore = curve(
        (-1, 0.72),
        *((x, 0.72 + 0.015 * (-1) ** n) for n, x in enumerate(np.arange(0, p.width, 0.35))),
        (p.width + 1, 0.72),
    )
    p.stroke(shore, 0.035, _WHITE, line=False)
    p.shape(
        np.concatenate((shore + np.array([0, 0.012]), [(p.width + 1, WORLD_BOTTOM + 0.2), (-1, WORLD_BOTTOM + 0.2)])),
        sand,
        line=False,
    )
    for x in list(p.spread(1.5)):
        _palm(p, x, 0.8, p.random.uniform(0.75, 0.95))
    cloth = p.choose((240, 96, 92), (80, 150, 220), (250, 180, 70))
    for x in list(p.spread(1.3)):
        _parasol(p, x + 0.5, 0.79, cloth)
    for x in list(p.spread(0.5)):
        y = p.random.uniform(0.92, 1.15)
        p.shape(star(x, y, 0.03, angle=x * 7), (246, 138, 110))
        p.shape(ellipse(x + 0.2, y - 0.03, 0.022, 0.016), (250, 240, 232))


def _palm(p: Painter, x: float, y: float, size: float) -> None:
    trunk = curve((x, y), (x + 0.05 * size, y - 0.4 * size), (x + 0.16 * size, y - 0.75 * size))
    p.stroke(trunk, 0.055 * size, (176, 130, 88))
    top_x, top_y = x + 0.16 * size, y - 0.76 * size
    for dx, dy in ((-0.34, 0.06), (0.34, 0.08), (-0.26, -0.12), (0.28, -0.1), (-0.1, 0.18), (0.16, 0.18)):
        upper = curve(
            (top_x, top_y),
            (top_x + dx * 0.5 * size, top_y + (dy - 0.14) * size),
            (top_x + dx * size, top_y + dy * size),
        )
        lower = curve(
            (top_x + dx * size, top_y + dy * size),
            (top_x + dx * 0.5 * size, top_y + (dy - 0.05) * size),
            (top_x, top_y),
        )
        p.shape(np.concatenate((upper, lower)), (92, 172, 94))


def _parasol(p: Painter, x: float, y: float, cloth: Colour) -> None:
    p.stroke(polygon((x, y), (x + 0.03, y - 0.36)), 0.014, (236, 226, 206))
    for number in range(6):
        start = np.pi + number * np.pi / 6
        wedge = np.concatenate(
            (arc(x + 0.03, y - 0.32, 0.22, 0.15, start, start + np.pi / 6, count=5), [(x + 0.03, y - 0.32)])
        )
        p.shape(wedge, cloth if number % 2 else _WHITE)


def _desert(p: Painter) -> None:
    p.sky()
    sand = p.choose((240, 196, 120), (232, 168, 110), (246, 212, 150))
    for x in list(p.spread(0.9)):
        wide, tall = p.random.uniform(0.14, 0.26), p.random.uniform(0.16, 0.3)
        mesa = mix((198, 110, 84), sand, 0.35)
        p.shape(
            polygon((x - wide * 1.2, 0.64), (x - wide, 0.64 - tall), (x + wide, 0.64 - tall), (x + wide * 1.25, 0.64)),
            mesa,
        )
        p.shape(
            polygon(
                (x - wide * 1.05, 0.64 - tall * 0.6),
                (x - wide, 0.64 - tall * 0.72),
                (x + wide, 0.64 - tall * 0.72),
                (x + wide * 1.07, 0.64 - tall * 0.6),
            ),
            darker(mesa, 0.15),
            line=False,
        )
    p.hills(0.64, 0.08, 0.6, mix(sand, (255, 240, 210), 0.25))
    p.hills(0.72, 0.05, 0.8, sand)
    for x in list(p.spread(0.55)):
        _cactus(p, x, p.random.uniform(0.73, 0.78), p.random.uniform(0.55, 1.0))
    p.hills(0.81, 0.02, 0.5, darker(sand, 0.07), line=False)
    for x in list(p.spread(0.6)):
        p.rock(x, p.random.uniform(0.84, 1.1), p.random.uniform(0.2, 0.45), (190, 132, 100))
    for _ in range(60):
        x, y = p.random.uniform(0, p.width), p.random.uniform(0.83, 1.2)
        p.stroke(curve((x, y), (x + 0.05, y - 0.006), (x + 0.1, y)), 0.006, darker(sand, 0.18), line=False)


def _cactus(p: Painter, x: float, y: float, size: float) -> None:
    green = (96, 160, 96)
    p.stroke(polygon((x, y), (x, y - 0.36 * size)), 0.075 * size, green)
    for side, low, high in ((-1, 0.14, 0.27), (1, 0.2, 0.33)):
        arm = curve(
            (x, y - low * size), (x + side * 0.1 * size, y - low * size), (x + side * 0.11 * size, y - high * size)
        )
        p.stroke(arm, 0.05 * size, green)
    p.stroke(polygon((x, y), (x, y - 0.35 * size)), 0.06 * size, green, line=False)
    p.shape(ellipse(x, y - 0.4 * size, 0.028 * size), (246, 130, 160))


def _snow(p: Painter) -> None:
    p.sky()
    stone = p.choose((128, 146, 180), (150, 138, 176), (120, 156, 172))
    p.peaks(0.62, 0.42, 0.5, stone, _WHITE)
    snow = p.choose((238, 244, 252), (230, 240, 248), (246, 240, 248))
    p.hills(0.64, 0.06, 0.6, darker(snow, 0.1))
    green = p.choose((60, 124, 104), (76, 120, 92))
    for x in list(p.spread(0.28)):
        p.fir(x, p.random.uniform(0.68, 0.73), p.random.uniform(0.24, 0.42), green, _WHITE)
    p.hills(0.75, 0.03, 0.7, snow)
    for x in list(p.spread(1.2)):
        _snowman(p, x, 0.8)
    for _ in range(40):
        x, y = p.random.uniform(0, p.width), p.random.uniform(0.8, 1.2)
        p.stroke(curve((x, y), (x + 0.06, y - 0.01), (x + 0.13, y)), 0.008, darker(snow, 0.12), line=False)


def _snowman(p: Painter, x: float, y: float) -> None:
    for dy, radius in ((-0.07, 0.085), (-0.19, 0.062), (-0.285, 0.045)):
        p.shape(ellipse(x, y + dy, radius), (250, 252, 255))
    for dx in (-0.015, 0.015):
        p.shape(ellipse(x + dx, y - 0.295, 0.006, count=8), (50, 46, 60), line=False)
    p.shape(polygon((x, y - 0.288), (x + 0.05, y - 0.278), (x, y - 0.272)), (244, 146, 70))
    for dy in (-0.21, -0.175):
        p.shape(ellipse(x, y + dy, 0.007, count=8), (50, 46, 60), line=False)
    p.stroke(polygon((x + 0.055, y - 0.2), (x + 0.13, y - 0.26)), 0.01, (120, 88, 66), line=False)


def _farm(p: Painter) -> None:
    p.sky()
    field = p.choose((214, 196, 96), (146, 186, 92), (196, 176, 110))
    p.hills(0.6, 0.1, 0.8, mix(field, (180, 210, 220), 0.4))
    p.hills(0.66, 0.03, 0.7, field)
    for x in np.arange(-0.5, p.width + 0.5, 0.09):
        p.stroke(polygon((x, 0.68), (x * 1.16 - p.width * 0.08, 0.8)), 0.014, darker(field, 0.18), line=False)
    wall = p.choose((200, 74, 66), (232, 226, 214), (96, 130, 170))
    for x in list(p.spread(1.7)):
        _barn(p, x + 0.3, 0.75, wall)
    for x in list(p.spread(0.8)):
        y = p.random.uniform(0.75, 0.78)
        p.shape(np.concatenate((arc(x, y, 0.1, 0.13, np.pi, 2 * np.pi), [(x + 0.1, y)])), (240, 206, 104))
        p.stroke(curve((x - 0.07, y - 0.03), (x, y - 0.04), (x + 0.07, y - 0.03)), 0.007, (206, 164, 76), line=False)
    earth = p.choose((192, 150, 108), (170, 190, 104))
    p.ground(0.79, earth)
    p.fence(0.815, (250, 246, 236))
    p.grass(0.82, 1.15, 70, mix(earth, (96, 150, 80), 0.7))


def _barn(p: Painter, x: float, y: float, wall: Colour) -> None:
    p.shape(box(x + 0.27, y - 0.46, 0.13, 0.46), (206, 212, 220))
    p.shape(arc(x + 0.335, y - 0.46, 0.065, 0.07, np.pi, 2 * np.pi), (160, 170, 186))
    p.shape(box(x - 0.22, y - 0.27, 0.44, 0.27), wall)
    roof = ((-0.26, -0.25), (-0.18, -0.38), (0, -0.46), (0.18, -0.38), (0.26, -0.25))
    p.shape(polygon(*((x + a, y + b) for a, b in roof)), darker(wall, 0.4))
    p.shape(box(x - 0.08, y - 0.18, 0.16, 0.18), lighter(wall, 0.65))
    for start, end in (((-0.08, -0.18), (0.08, 0)), ((0.08, -0.18), (-0.08, 0))):
        p.stroke(polygon((x + start[0], y + start[1]), (x + end[0], y + end[1])), 0.014, wall, line=False)
    p.shape(ellipse(x, y - 0.33, 0.035), lighter(wall, 0.65))


def _moon(p: Painter) -> None:
    p.gradient(
        *p.random.choice([((10, 10, 26), (40, 34, 78)), ((6, 16, 32), (26, 54, 82)), ((22, 8, 34), (72, 34, 84))]),
        -0.1,
        0.7,
    )
    p.stars(170, 0.62)
    x = p.random.uniform(0.3, 0.7) * p.width
    sea = p.choose((74, 140, 214), (214, 130, 90), (150, 196, 120))
    p.brush.shade(ellipse(x, 0.2, 0.2, count=40), lighter(sea, 0.5), 0.2)
    p.brush.shape(ellipse(x, 0.2, 0.15, count=40), sea, line=False)
    for dx, dy, rx, ry in ((-0.05, -0.05, 0.05, 0.035), (0.05, 0.02, 0.06, 0.03), (-0.03, 0.08, 0.04, 0.02)):
        p.brush.shape(ellipse(x + dx, 0.2 + dy, rx, ry), mix(sea, (240, 244, 226), 0.55), line=False)
    dust = p.choose((190, 188, 200), (208, 190, 172), (170, 180, 196))
    p.hills(0.66, 0.07, 0.45, darker(dust, 0.25))
    p.hills(0.74, 0.03, 0.6, dust)
    for gap in (0.35, 0.5):
        for x in list(p.spread(gap)):
            y = p.random.uniform(0.77, 1.15)
            wide = p.random.uniform(0.04, 0.11) * (0.5 + y - 0.7)
            p.shape(ellipse(x, y, wide, wide * 0.34), darker(dust, 0.22))
            p.shape(ellipse(x, y + wide * 0.07, wide * 0.85, wide * 0.24), darker(dust, 0.1), line=False)
    for x in list(p.spread(1.4)):
        p.shape(
            np.concatenate((arc(x, 0.75, 0.17, 0.17, np.pi, 2 * np.pi), [(x + 0.17, 0.77), (x - 0.17, 0.77)])),
            (226, 234, 240),
        )
        p.shape(box(x - 0.045, 0.66, 0.09, 0.11), (120, 150, 176))
        p.stroke(polygon((x + 0.45, 0.78), (x + 0.45, 0.5)), 0.01, (226, 226, 232))
        p.shape(polygon((x + 0.455, 0.5), (x + 0.6, 0.53), (x + 0.455, 0.585)), (240, 120, 90))


def _reef(p: Painter) -> None:
    top, bottom = p.random.choice(
        [((96, 206, 224), (24, 92, 160)), ((120, 222, 200), (20, 108, 138)), ((106, 176, 236), (44, 60, 150))]
    )
    p.gradient(top, bottom, -0.2, 0.85)
    for x in list(p.spread(0.5)):
        p.brush.shade(polygon((x, -0.4), (x + 0.12, -0.4), (x - 0.16, 0.9), (x - 0.42, 0.9)), (255, 255, 240), 0.1)
    p.hills(0.62, 0.16, 0.5, mix(bottom, (40, 60, 110), 0.3), line=False)
    sand = p.choose((236, 214, 160), (216, 206, 190), (244, 204, 176))
    p.hills(0.76, 0.03, 0.5, mix(sand, bottom, 0.2))
    corals: list[Colour] = [(244, 116, 128), (250, 166, 92), (182, 122, 220), (250, 208, 100)]
    for x in list(p.spread(0.42)):
        colour, size = p.random.choice(corals), p.random.uniform(0.7, 1.2)
        base = p.random.uniform(0.77, 0.8)
        if p.random.random() < 0.5:
            for dx, tall in ((-0.1, 0.16), (-0.04, 0.26), (0.04, 0.2), (0.1, 0.13)):
                p.stroke(
                    curve(
                        (x, base), (x + dx * 0.7 * size, base - 0.5 * tall * size), (x + dx * size, base - tall * size)
                    ),
                    0.03 * size,
                    colour,
                )
        else:
            fan = arc(x, base, 0.15 * size, 0.2 * size, np.pi, 2 * np.pi)
            p.shape(fan, colour)
            for dx in (-0.08, 0.0, 0.08):
                p.stroke(
                    polygon((x, base), (x + dx * size, base - 0.14 * size)), 0.008, darker(colour, 0.25), line=False
                )
    for x in list(p.spread(0.3)):
        sway = [(x + 0.02 * (-1) ** n, 0.82 - 0.07 * n) for n in range(p.random.randint(3, 6))]
        p.stroke(curve(*sway), 0.022, p.choose((70, 160, 110), (110, 170, 80)))
    p.ground(0.84, mix(sand, bottom, 0.1))
    for x in list(p.spread(0.4)):
        p.rock(x, p.random.uniform(0.86, 1.15), p.random.uniform(0.15, 0.35), mix((140, 130, 150), bottom, 0.2))


LANDSCAPES: tuple[Place, ...] = (
    Place(
        "meadow",
        "Meadow",
        "in the meadow",
        "A meadow with rolling hills, round trees, flowers, a fence and a winding path.",
        _meadow,
        ("clouds", "butterflies"),
    ),
    Place(
        "forest",
        "Forest",
        "in the forest",
        "A forest with high trunks, bushes, mushrooms and thick foliage overhead.",
        _forest,
        ("leaves",),
    ),
    Place(
        "beach",
        "Beach",
        "on the beach",
        "A sandy beach with palm trees, striped parasols, starfish and a boat out at sea.",
        _beach,
        ("gulls",),
    ),
    Place(
        "desert",
        "Desert",
        "in the desert",
        "A desert with dunes, flat-topped mountains, cacti and scattered rocks.",
        _desert,
        ("clouds", "dust"),
    ),
    Place(
        "snow",
        "Snowy Mountains",
        "in the snowy mountains",
        "A snow field with firs and a snowman below high mountains.",
        _snow,
        ("snow",),
    ),
    Place(
        "farm",
        "Farm",
        "on the farm",
        "A farm with a barn, a silo, haystacks and ploughed fields behind a fence.",
        _farm,
        ("clouds", "gulls"),
    ),
    Place(
        "moon",
        "Moon Base",
        "on the moon",
        "A dusty plain on the moon with craters, domes and flags under the stars.",
        _moon,
        ("twinkles",),
        {"day": "A planet hangs in the dark sky."},
    ),
    Place(
        "reef",
        "Coral Reef",
        "at the coral reef",
        "A sea floor with corals, seaweed and rocks, lit from above.",
        _reef,
        ("bubbles", "fish"),
        {"day": "Rays of light fall through the water."},
    ),
)
"""Places without walls."""
