"""Short stories of few attributes, small enough for a model that is trained on a CPU.

The same renderer, seen through a narrow window: one character of five attributes and three colours, four shots of five
frames at 64 x 64 pixels, six places, three cameras, five actions. Who the character is stands in the reference picture
alone; what the places look like (hour, colours, layout) stands in earlier shots alone, and a place that comes back
looks as it did; captions name action, place and camera. Everything else that a frame shows follows from the caption,
so that a generated shot can be held against the frames that the truth would have.
"""

from dataclasses import dataclass
from fractions import Fraction
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import ATTRIBUTES, COLOURS, ToonCharacter, is_held_out
from animeshooter_hf.toon.camera import ToonCamera, View
from animeshooter_hf.toon.character import character_reference
from animeshooter_hf.toon.plan import FilmPlan, Placement, StoryPlan, ToonShot, ToonTrap
from animeshooter_hf.toon.poses import blink_at
from animeshooter_hf.toon.scenery import ToonScene, draw_scene, world_width
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.toon.shot_renderer import ShotRenderer
from animeshooter_hf.toon.style import draw_style

__all__ = [
    "COMPACT_ATTRIBUTES",
    "COMPACT_COLOURS",
    "CompactSettings",
    "CompactStory",
    "compact_caption",
    "draw_compact_character",
    "plan_compact_story",
    "render_compact_shot",
]

COMPACT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "body": ("round", "boxy", "gumdrop", "peanut"),
    "hat": ("none", "cap", "top hat", "party hat"),
    "pattern": ("plain", "belly", "stripes", "spots"),
    "ears": ("none", "cat", "rabbit", "antennae"),
    "eyes": ("dot", "round", "single"),
}
"""Attribute -> the values that occur: 768 combinations, of which `is_held_out` keeps about 15 % out of training."""

COMPACT_COLOURS = ("body_colour", "pattern_colour", "hat_colour")
"""The colours that tell characters apart."""

COMPACT_SCENES: dict[str, str] = {
    "meadow": "meadow",
    "beach": "beach",
    "desert": "desert",
    "snow": "snow",
    "street": "street",
    "moon": "moon",
}
"""Kind of place -> its word in captions."""

COMPACT_ACTIONS: dict[str, str] = {
    "walk": "walks to the {way}",
    "jump": "jumps",
    "wave": "waves",
    "dance": "dances",
    "spin": "spins",
}
"""Action -> its words in captions."""

COMPACT_CAMERAS: dict[str, tuple[float, float]] = {"wide": (1.15, 0.55), "close": (1.6, 0.68), "pan": (1.15, 0.55)}
"""Camera -> zoom and world y of the picture's middle."""

_FEET_Y = 0.92
_PAN = 0.16
_FIXED = {
    "height": "medium", "hair": "none", "eye_colour": "black", "nose": "button", "cheeks": "plain", "teeth": "none",
    "accessory": "none", "tail": "none", "feet": "paws",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactSettings:
    """Size and length. All are our choice: what a small model can learn in an hour."""

    size: int = 64
    """Rows and columns of a frame, in pixels."""

    frames_per_shot: int = 5
    """Frames of a shot: an autoencoder that folds two frames wants a multiple of 4 plus 1."""

    frame_rate: int = 8
    """Frames per second."""

    num_shots: int = 4
    """Shots of a story. Paper: stories of four shots are scored."""

    reference_size: int = 64
    """Rows and columns of the reference picture."""

    @property
    def film(self) -> FilmSettings:
        """The settings of the film that a story is."""
        seconds = Fraction(self.num_shots * self.frames_per_shot, self.frame_rate)
        return FilmSettings(
            width=self.size, height=self.size, frame_rate=Fraction(self.frame_rate), seconds=float(seconds)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactStory:
    """One story: the plan that `ToonFilm` and `ShotRenderer` draw, and its words."""

    plan: FilmPlan
    """What is drawn."""

    captions: tuple[str, ...]
    """One per shot."""

    settings: CompactSettings
    """Size and length."""

    @property
    def character(self) -> ToonCharacter:
        """The only character."""
        return self.plan.characters[0]

    @property
    def scene_kinds(self) -> tuple[str, ...]:
        """Kind of place of each shot."""
        return tuple(self.plan.scene[shot.scene_id or ""].kind for shot in self.plan.shots)

    def reference(self) -> NDArray[np.uint8]:
        """Return the reference picture, RGBA of shape (size, size, 4), in the film's style; it fills the frame."""
        size = self.settings.reference_size
        drawn = character_reference(self.character, 2 * size, self.plan.style)
        rows, columns = (np.flatnonzero(drawn[..., 3].any(axis=axis)) for axis in (1, 0))
        side = int(max(np.ptp(rows), np.ptp(columns))) + 3
        top, left = (max(0, (int(line[0] + line[-1]) - side) // 2 + 1) for line in (rows, columns))
        square = drawn[top : top + side, left : left + side]
        # Colours are weighted by coverage, so that the rim is not darkened by what is transparent.
        premultiplied = np.asarray(square, dtype=np.float32) / 255.0
        premultiplied[..., :3] *= premultiplied[..., 3:]
        small = np.asarray(cv2.resize(premultiplied, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32)
        small[..., :3] /= np.maximum(small[..., 3:], 1e-3)
        return np.asarray(np.clip(np.round(small * 255.0), 0, 255), dtype=np.uint8)

    def frames(self, shot: int) -> NDArray[np.uint8]:
        """Return the true frames of a shot, shape (F, H, W, 3)."""
        return render_compact_shot(self.plan, self.plan.shots[shot])


def draw_compact_character(random: Random, character_id: str, pool: str = "all") -> ToonCharacter:
    """Return a random character of the few attributes.

    Args:
        random: Source of chance.
        character_id: Its name.
        pool: "all", or only the combinations that are in "train" or "held_out", see `is_held_out`.
    """
    while True:
        values = {name: random.choice(options) for name, options in COMPACT_ATTRIBUTES.items()}
        colours = {name: random.choice(ATTRIBUTES[name]) for name in COMPACT_COLOURS}
        body = np.array(COLOURS[colours["body_colour"]])
        while min(np.abs(body - COLOURS[colours[name]]).sum() for name in COMPACT_COLOURS[1:]) < 110:
            for name in COMPACT_COLOURS[1:]:
                colours[name] = random.choice(ATTRIBUTES[name])
        character = ToonCharacter(id=character_id, **_FIXED, **values, **colours)
        if pool == "all" or is_held_out(character) == (pool == "held_out"):
            return character


def plan_compact_story(
    seed: int,
    *,
    pool: str = "train",
    settings: CompactSettings | None = None,
    character: ToonCharacter | None = None,
    character_id: str = "Pip",
) -> CompactStory:
    """Return the story of a seed.

    The first place comes back at least once: A A B A for four shots, and so on for more.

    Args:
        seed: Seed of all chance.
        pool: Pool of characters, see `draw_compact_character`.
        settings: Size and length.
        character: Who, instead of a drawn one.
        character_id: Name of a drawn one.
    """
    settings = settings or CompactSettings()
    random = Random(f"toon/compact/{seed}")
    drawn = draw_compact_character(random, character_id, pool)
    who = character or drawn
    style = draw_style(random)
    scenes = tuple(draw_scene(random, kind) for kind in random.sample(tuple(COMPACT_SCENES), 2))
    places = {scene.id: random.uniform(0.9, world_width(1.0) - 0.9) for scene in scenes}
    order = [0, random.randrange(2), 1, 0, 1, 0, random.randrange(2)]
    shots = tuple(
        _stage(random, settings, who.id, index, scenes[order[index % len(order)]], places, seed)
        for index in range(settings.num_shots)
    )
    seen = tuple(dict.fromkeys(shot.scene_id for shot in shots if shot.scene_id))
    plan = FilmPlan(
        film_id=f"compact-{seed}",
        seed=seed,
        settings=settings.film,
        style=style,
        characters=(who,),
        scenes=tuple(scene for scene in scenes if scene.id in seen),
        stories=(
            StoryPlan(
                index=0,
                start_frame=0,
                end_frame=settings.num_shots * settings.frames_per_shot,
                character_ids=(who.id,),
                scene_ids=seen,
                goal=0,
            ),
        ),
        shots=shots,
    )
    return CompactStory(plan=plan, captions=tuple(compact_caption(plan, shot) for shot in shots), settings=settings)


def compact_caption(plan: FilmPlan, shot: ToonShot) -> str:
    """Return the caption of a shot, such as "Pip waves in the meadow, seen from afar."."""
    placement = shot.placements[0]
    action = COMPACT_ACTIONS[placement.action].format(way="right" if placement.facing > 0 else "left")
    kind = plan.scene[shot.scene_id or ""].kind
    way = "right" if shot.camera.end.x > shot.camera.start.x else "left"
    seen = {"wide": "seen from afar", "close": "seen from near", "pan": f"panning {way}"}[shot.camera.kind]
    preposition = "on" if kind in ("beach", "street", "moon") else "in"
    return f"{placement.character_id} {action} {preposition} the {COMPACT_SCENES[kind]}, {seen}."


def render_compact_shot(plan: FilmPlan, shot: ToonShot) -> NDArray[np.uint8]:
    """Return the frames of a shot, shape (F, H, W, 3), RGB."""
    renderer = ShotRenderer(plan, shot)
    return np.stack([renderer.picture(frame) for frame in range(shot.num_frames)])


def _stage(
    random: Random,
    settings: CompactSettings,
    name: str,
    index: int,
    scene: ToonScene,
    places: dict[str, float],
    seed: int,
) -> ToonShot:
    action = random.choice(tuple(COMPACT_ACTIONS))
    kind = random.choice([kind for kind in COMPACT_CAMERAS if kind != "close" or action not in ("jump", "walk")])
    facing = random.choice((-1.0, 1.0)) if action == "walk" else 1.0
    x = places[scene.id]
    speed = 0.35 if action == "walk" else 0.0
    length = settings.frames_per_shot
    seconds = length / settings.frame_rate
    zoom, middle = COMPACT_CAMERAS[kind]
    turn = random.choice((-1, 1)) * _PAN / 2 if kind == "pan" else 0.0
    return ToonShot(
        index=index,
        story_index=0,
        start_frame=index * length,
        end_frame=(index + 1) * length,
        scene_id=scene.id,
        placements=(
            Placement(
                character_id=name,
                action=action,
                x=x - facing * speed * seconds / 2,
                y=_FEET_Y,
                facing=facing,
                speed=speed,
                key=_wakeful_key(f"{seed}/{index}", seconds),
            ),
        ),
        camera=ToonCamera(kind, View(x - turn, middle, zoom), View(x + turn, middle, zoom)),
        trap=ToonTrap(),
        drawn_on=1,
        transition="cut",
        transition_half=0,
    )


def _wakeful_key(stem: str, seconds: float) -> str:
    """Return a key of chance by which nobody blinks in a shot, since no caption tells a blink."""
    moments = np.arange(0, seconds, 0.02)
    number = 0
    while any(blink_at(float(moment), f"{stem}/{number}") for moment in moments):
        number += 1
    return f"{stem}/{number}"
