"""Plan a film: draw its cast and places, its shots and how long they last, and stage each of them."""

import math
from dataclasses import replace
from random import Random

from animeshooter_hf.toon.actions import ACTIONS
from animeshooter_hf.toon.attributes import draw_character
from animeshooter_hf.toon.camera import CAMERAS, ToonCamera, View, draw_camera
from animeshooter_hf.toon.plan import CHARACTER_HEIGHT, TRAPS, FilmPlan, Placement, StoryPlan, ToonShot, ToonTrap
from animeshooter_hf.toon.scenery import SCENE_KINDS, draw_scene, world_width
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.toon.style import draw_style

__all__ = ["plan_film"]

_MAIN_ACTIONS = tuple(name for name in ACTIONS if name != "idle")
_TOGETHER = ("jump", "wave", "dance", "spin")
_SYLLABLES = (
    "bo",
    "chi",
    "do",
    "fu",
    "ki",
    "ko",
    "lu",
    "mi",
    "mo",
    "na",
    "pi",
    "pu",
    "ri",
    "su",
    "ti",
    "to",
    "vi",
    "zu",
)


def plan_film(seed: int, settings: FilmSettings | None = None, *, film_id: str | None = None) -> FilmPlan:
    """Return the plan of the film of a seed.

    Args:
        seed: Seed of all chance; it must not be negative.
        settings: Size, rate, length and the like.
        film_id: Name of the film; "toon-" and the seed if None.

    Raises:
        ValueError: If the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"The seed of a film must not be negative, got {seed}.")
    settings = settings or FilmSettings()
    random = Random(f"toon/{seed}/plan")
    names = _draw_names(random, 4)
    characters = tuple(
        draw_character(random, name, settings.characters) for name in names[: random.choice((2, 3, 3, 4))]
    )
    scenes = tuple(draw_scene(random, kind) for kind in random.sample(SCENE_KINDS, 4))
    count = max(1, round(settings.seconds / 60))
    borders = [round(settings.num_frames * number / count) for number in range(count + 1)]
    stories: list[StoryPlan] = []
    shots: list[ToonShot] = []
    for index in range(count):
        cast = random.sample([character.id for character in characters], random.randint(1, min(3, len(characters))))
        places = random.sample([scene.id for scene in scenes], random.choice((1, 2, 2, 2, 3)))
        story = StoryPlan(
            index=index,
            start_frame=borders[index],
            end_frame=borders[index + 1],
            character_ids=tuple(cast),
            scene_ids=tuple(places),
            goal=random.randrange(1 << 20),
        )
        drawn = _plan_story(random, settings, story, len(shots))
        shots += drawn
        used_scenes = [shot.scene_id for shot in drawn]
        used = {placement.character_id for shot in drawn for placement in shot.placements}
        stories.append(
            replace(
                story,
                character_ids=tuple(name for name in cast if name in used),
                scene_ids=tuple(name for name in places if name in used_scenes),
            )
        )
    seen = {name for story in stories for name in (*story.character_ids, *story.scene_ids)}
    return FilmPlan(
        film_id=film_id or f"toon-{seed:04d}",
        seed=seed,
        settings=settings,
        style=draw_style(Random(f"toon/{seed}/style")),
        characters=tuple(character for character in characters if character.id in seen),
        scenes=tuple(scene for scene in scenes if scene.id in seen),
        stories=tuple(stories),
        shots=tuple(shots),
    )


def _draw_names(random: Random, count: int) -> list[str]:
    """Return names of two or three syllables that begin differently."""
    names = []
    for first in random.sample(_SYLLABLES, count):
        rest = [syllable for syllable in _SYLLABLES if syllable != first]
        names.append((first + "".join(random.sample(rest, random.choice((1, 1, 2))))).capitalize())
    return names


def _draw_lengths(random: Random, num_frames: int, settings: FilmSettings) -> list[int]:
    """Return lengths of shots that add up to a number of frames, spread like a logarithmic normal."""
    rate, mean = float(settings.frame_rate), settings.mean_shot_seconds
    shortest = max(1, math.ceil(0.38 * mean * rate))
    lengths: list[int] = []
    while sum(lengths) < num_frames:
        seconds = min(random.lognormvariate(math.log(mean) - 0.5 * 0.5**2, 0.5), 3 * mean)
        lengths.append(max(shortest, round(seconds * rate)))
    lengths[-1] -= sum(lengths) - num_frames
    if lengths[-1] < shortest and len(lengths) > 1:
        last = lengths.pop()
        lengths[-1] += last
    return lengths


def _plan_story(random: Random, settings: FilmSettings, story: StoryPlan, first_index: int) -> list[ToonShot]:
    lengths = _draw_lengths(random, story.end_frame - story.start_frame, settings)
    has_prologue = len(lengths) >= 4 and random.random() < 0.5
    has_epilogue = len(lengths) >= 5 and random.random() < 0.3
    places = _order_scenes(random, story.scene_ids, len(lengths))
    shots: list[ToonShot] = []
    start = story.start_frame
    previous: ToonShot | None = None
    for number, length in enumerate(lengths):
        is_card = (number == 0 and has_prologue) or (number == len(lengths) - 1 and has_epilogue)
        scene_id = None if is_card else places[number]
        transition, half = _draw_transition(random, settings, previous, scene_id, length)
        if first_index == 0 and number == 0:
            transition, half = "cut", 0
        if is_card:
            placements: tuple[Placement, ...] = ()
            camera = ToonCamera("wide", View(0.5, 0.5, 1.0), View(0.5, 0.5, 1.0))
            trap = ToonTrap()
        else:
            actors = _draw_actors(random, story.character_ids, number, len(lengths))
            placements, camera, trap = _stage(random, settings, actors, length, previous, scene_id, half)
        previous = ToonShot(
            index=first_index + number,
            story_index=story.index,
            start_frame=start,
            end_frame=start + length,
            scene_id=scene_id,
            placements=placements,
            camera=camera,
            trap=trap,
            drawn_on=random.choice((1, 2, 2, 2, 3, 3)),
            transition=transition,
            transition_half=half,
            title="" if not is_card else "prologue" if number == 0 else "epilogue",
        )
        shots.append(previous)
        start += length
    return shots


def _order_scenes(random: Random, scene_ids: tuple[str, ...], count: int) -> list[str]:
    """Return a scene for each shot: blocks of two to five shots, with returns to earlier places."""
    order: list[str] = []
    turn = 0
    while len(order) < count:
        left = count - len(order)
        size = min(random.randint(2, 5), left) if turn + 1 < len(scene_ids) else random.randint(2, 5)
        order += [scene_ids[turn % len(scene_ids)]] * max(1, size)
        turn += 1
    return order[:count]


def _draw_actors(random: Random, cast: tuple[str, ...], number: int, count: int) -> list[str]:
    if len(cast) == 1:
        return list(cast)
    everybody = random.sample(cast, len(cast))
    size = len(cast) if number == count - 1 else random.choice((1, 1, 2, 2, 3))
    lead = cast[number % len(cast)] if number < len(cast) else everybody[0]
    return [lead, *(name for name in everybody if name != lead)][:size]


def _draw_transition(
    random: Random, settings: FilmSettings, previous: ToonShot | None, scene_id: str | None, length: int
) -> tuple[str, int]:
    other_place = previous is not None and previous.scene_id != scene_id
    gradual = random.random() < (1 - settings.cut_share) * (1.6 if other_place else 0.6)
    kind = random.choice(("fade", "dissolve")) if gradual else "cut"
    half = round(random.uniform(0.2, 0.45) * float(settings.frame_rate))
    shorter = length if previous is None else min(length, previous.num_frames)
    half = min(half, shorter // 5)
    return (kind, half) if kind != "cut" and half >= 2 else ("cut", 0)


def _draw_trap(random: Random, settings: FilmSettings, length: int, action: str, camera: str) -> ToonTrap:
    rate = float(settings.frame_rate)
    if random.random() >= settings.trap_share or length < 1.1 * rate:
        return ToonTrap()
    kinds = [kind for kind in TRAPS if kind != "whip_pan" or (camera == "wide" and not ACTIONS[action].speed)]
    kind = random.choice(kinds)
    seconds = {"flash": 0.0, "hold": random.uniform(0.4, 0.9), "whip_pan": 0.22, "shake": 0.45, "sweep": 0.6}[kind]
    size = random.randint(1, 3) if kind == "flash" else max(2, round(seconds * rate))
    size = min(size, length // 3)
    start = round(random.uniform(0.32, 0.62) * (length - size))
    return ToonTrap(kind=kind, start_frame=start, end_frame=start + size, way=random.choice((-1.0, 1.0)))


def _stage(
    random: Random,
    settings: FilmSettings,
    actors: list[str],
    length: int,
    previous: ToonShot | None,
    scene_id: str | None,
    half: int,
) -> tuple[tuple[Placement, ...], ToonCamera, ToonTrap]:
    """Choose what happens in a shot, who stands where, and how it is seen."""
    seconds = length / float(settings.frame_rate)
    action = random.choice(_MAIN_ACTIONS)
    kinds = [kind for kind in CAMERAS if _fits(kind, action, len(actors))]
    if previous is not None and previous.scene_id == scene_id:
        kinds = [kind for kind in kinds if kind != previous.camera.kind] or kinds
    kind = random.choice(kinds)
    if kind == "close":
        actors = actors[:1]
    trap = _draw_trap(random, settings, length, action, kind)
    world, view = world_width(settings.aspect), settings.aspect
    facing = random.choice((-1.0, 1.0))
    travel = _travel(action, kind, seconds, settings)
    reach = view / 2 if kind != "follow" else view * 0.42
    low, high = reach, world - reach
    middle = random.uniform(low, high)
    if trap.kind == "whip_pan":
        middle = random.uniform(low, low + 0.4 * view) if trap.way > 0 else random.uniform(high - 0.4 * view, high)
    if travel:
        middle = (
            random.uniform(low, max(low, high - travel))
            if facing > 0
            else random.uniform(min(high, low + travel), high)
        )
        start_x = middle if kind == "follow" else middle - facing * travel / 2
        if kind != "follow":
            middle = min(max(middle, low), high)
            start_x = middle - facing * travel / 2
    else:
        start_x = middle
    gap = min(0.42, 0.27 * view) * (0.55 if random.random() < 0.25 else 1.0)
    placements = _place(random, actors, action, start_x, facing, travel / seconds, gap, f"{scene_id}/{length}")
    camera = draw_camera(random, kind, placements[0], middle, travel * facing, settings.aspect, len(placements))
    return placements, camera, trap


def _fits(kind: str, action: str, num_actors: int) -> bool:
    if action == "run":
        return kind == "follow"
    if kind == "follow":
        return ACTIONS[action].speed > 0
    if kind == "close":
        return action in ("talk", "wave", "look_around", "sleep", "ring_bell", "dance")
    return True


def _travel(action: str, kind: str, seconds: float, settings: FilmSettings) -> float:
    """Return how far somebody travels in a shot, in world units; never out of the picture or the world."""
    distance = ACTIONS[action].speed * CHARACTER_HEIGHT * seconds
    view = settings.aspect
    room = (
        world_width(view) - 0.9 * view if kind == "follow" else {"medium": 0.3, "zoom_in": 0.3}.get(kind, 0.55) * view
    )
    return min(distance, room)


def _place(
    random: Random,
    actors: list[str],
    action: str,
    x: float,
    facing: float,
    speed: float,
    gap: float,
    key: str,
) -> tuple[Placement, ...]:
    depths = random.sample((0.82, 0.86, 0.9), 3)
    sides = random.sample((-1.0, 1.0), 2)
    together = action in _TOGETHER and random.random() < 0.35
    placements = []
    for number, name in enumerate(actors):
        offset = 0.0 if number == 0 else sides[(number - 1) % 2] * gap
        travels = speed > 0
        placements.append(
            Placement(
                character_id=name,
                action=action if number == 0 or travels or together else "idle",
                x=x + offset,
                y=depths[number],
                facing=facing if number == 0 or travels else -math.copysign(1.0, offset),
                speed=speed,
                key=f"{key}/{name}/{random.randrange(1 << 30)}",
            )
        )
    return tuple(placements)
