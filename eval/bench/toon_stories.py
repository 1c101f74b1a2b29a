"""Stories of the toon edition: who, where, what is done and how it is seen, shot by shot.

The cast stands in the middle of the picture, in a camera that shows it well: position is said by no caption, so a
story must not hide anything in it. There are only cuts, and nothing that looks like a boundary. Words come from the
toon world, whose captions never tell who somebody is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import (
    ACTIONS,
    SCENE_KINDS,
    FilmPlan,
    FilmSettings,
    Placement,
    StoryPlan,
    ToonCamera,
    ToonCharacter,
    ToonShot,
    ToonStyle,
    ToonTrap,
)
from animeshooter_hf.toon.camera import draw_camera
from animeshooter_hf.toon.plan import CHARACTER_HEIGHT
from animeshooter_hf.toon.scenery import draw_scene, world_width

__all__ = ["ToonStorySettings", "plan_story"]

_CLOSE_ACTIONS = ("talk", "wave", "look_around", "sleep", "ring_bell", "dance")
"""Those that a close-up shows; the same as in the films of the toon world."""

_CAMERAS = ("medium", "medium", "zoom_in", "zoom_out", "pan", "wide", "close")
"""Our choice: mostly near, so that who it is can be seen; one in seven shows the face alone."""

_MOVING_CAMERAS = ("follow", "follow", "wide")

_TOGETHER = ("jump", "wave", "dance", "spin")

_DEPTHS = (0.86, 0.82, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonStorySettings:
    """Size and length of the shots."""

    width: int = 480
    """Pixels, even. Our choice: as wide as the paper's demos; attributes are a few pixels large."""

    height: int = 270
    """Pixels, even."""

    frame_rate: Fraction = Fraction(16)
    """Frames per second; as the paper's demos."""

    num_frames: int = 49
    """Frames of a shot; as the paper's demos."""

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if value % 2 or not 96 <= value <= 2048:
                raise InputError(f"{name} of a toon story must be even and lie in 96 to 2048, got {value}.")
        if not 5 <= self.num_frames <= 1000:
            raise InputError(f"A toon shot must have 5 to 1000 frames, got {self.num_frames}.")
        if self.num_frames < self.frame_rate:
            raise InputError(f"A toon shot must last at least a second: {self.num_frames} frames at {self.frame_rate}.")


def plan_story(
    story_id: str,
    cast: Sequence[ToonCharacter],
    style: ToonStyle,
    *,
    seed: int,
    num_shots: int,
    settings: ToonStorySettings,
    places: str = "changing",
    is_heard: bool = False,
) -> FilmPlan:
    """Return the plan of one story; its shots follow each other in a film of their own.

    Args:
        story_id: Name; with the seed it decides everything that is not given.
        cast: The characters; the first one leads.
        style: Lines and palette.
        seed: Of the benchmark.
        num_shots: At least 1.
        settings: Size, rate and length of the shots.
        places: "changing": another one in each shot, as the paper's; "returning": a few that come again.
        is_heard: Choose actions that make a sound.
    """
    random = Random(f"bench/{seed}/{story_id}")
    kinds = random.sample(SCENE_KINDS, min(num_shots, len(SCENE_KINDS)))
    if places == "returning":
        kinds = kinds[: max(2, math.ceil(num_shots / 4))]
    scenes = tuple(draw_scene(random, kind) for kind in kinds)
    order = _order_places(random, len(scenes), num_shots, places)
    actions = _order_actions(random, num_shots, is_heard=is_heard)
    film = FilmSettings(
        width=settings.width,
        height=settings.height,
        frame_rate=settings.frame_rate,
        seconds=float(num_shots * settings.num_frames / settings.frame_rate),
        characters="held_out",
        cut_share=1.0,
        trap_share=0.0,
    )
    shots = []
    for index in range(num_shots):
        actors = _order_actors(random, cast, index, num_shots)
        placements, camera = _stage(random, settings, actors, actions[index], f"{story_id}/{index}")
        shots.append(
            ToonShot(
                index=index,
                story_index=0,
                start_frame=index * settings.num_frames,
                end_frame=(index + 1) * settings.num_frames,
                scene_id=scenes[order[index]].id,
                placements=placements,
                camera=camera,
                trap=ToonTrap(),
                drawn_on=random.choice((1, 2)),
                transition="cut",
                transition_half=0,
            )
        )
    story = StoryPlan(
        index=0,
        start_frame=0,
        end_frame=num_shots * settings.num_frames,
        character_ids=tuple(character.id for character in cast),
        scene_ids=tuple(dict.fromkeys(scenes[number].id for number in order)),
        goal=random.randrange(1 << 20),
    )
    return FilmPlan(
        film_id=story_id,
        seed=random.randrange(1 << 30),
        settings=film,
        style=style,
        characters=tuple(cast),
        scenes=scenes,
        stories=(story,),
        shots=tuple(shots),
    )


def _order_places(random: Random, num_places: int, num_shots: int, places: str) -> list[int]:
    if places == "changing":
        return [index % num_places for index in range(num_shots)]
    order: list[int] = []
    turn = 0
    while len(order) < num_shots:
        order += [turn % num_places] * random.randint(1, 3)
        turn += 1
    return order[:num_shots]


def _order_actions(random: Random, count: int, *, is_heard: bool) -> list[str]:
    known = [name for name, action in ACTIONS.items() if name != "idle" and (action.cue or not is_heard)]
    order: list[str] = []
    while len(order) < count:
        order += random.sample(known, len(known))
    return order[:count]


def _order_actors(random: Random, cast: Sequence[ToonCharacter], index: int, num_shots: int) -> list[str]:
    """Return who is in a shot: everybody leads in turn, and all are there at the end."""
    names = [character.id for character in cast]
    lead = names[index % len(names)]
    others = [name for name in names if name != lead]
    if index < num_shots - 1:
        others = random.sample(others, random.randint(0, len(others)))
    return [lead, *others]


def _stage(
    random: Random, settings: ToonStorySettings, actors: Sequence[str], action: str, key: str
) -> tuple[tuple[Placement, ...], ToonCamera]:
    """Return where everybody stands, and the camera."""
    aspect, seconds = settings.width / settings.height, float(settings.num_frames / settings.frame_rate)
    moves = ACTIONS[action].speed > 0
    kinds: tuple[str, ...] = _MOVING_CAMERAS if moves else _CAMERAS
    if action == "run":
        kinds = ("follow",)
    allowed = [kind for kind in kinds if kind != "close" or (action in _CLOSE_ACTIONS and len(actors) == 1)]
    kind = random.choice(allowed)
    facing = random.choice((-1.0, 1.0))
    view, world = aspect, world_width(aspect)
    room = world - 0.9 * view if kind == "follow" else 0.5 * view
    travel = min(ACTIONS[action].speed * CHARACTER_HEIGHT * seconds, room)
    reach = 0.42 * view if kind == "follow" else view / 2
    low, high = reach, world - reach
    start = random.uniform(low, high)
    if kind == "follow":
        start = random.uniform(low, max(low, high - travel))
        start = start if facing > 0 else world - start
    middle = start
    if moves and kind != "follow":
        start = middle - facing * travel / 2
    gap = min(0.42, 0.27 * view)
    sides = random.sample((-1.0, 1.0), 2)
    together = moves or (action in _TOGETHER and random.random() < 0.35)
    placements = []
    for number, name in enumerate(actors):
        offset = 0.0 if number == 0 else sides[number - 1] * gap
        placements.append(
            Placement(
                character_id=name,
                action=action if number == 0 or together else "idle",
                x=start + offset,
                y=_DEPTHS[number],
                facing=facing if number == 0 or moves else -math.copysign(1.0, offset),
                speed=travel / seconds if moves else 0.0,
                key=f"{key}/{name}/{random.randrange(1 << 30)}",
            )
        )
    camera = draw_camera(random, kind, placements[0], middle, travel * facing, aspect, len(placements))
    return tuple(placements), camera
