"""The toon world: animated films drawn in code, with the exact truth about every frame and sound.

    attributes.py    what a character is composed of; held-out combinations
    style.py         lines and palette of a film
    drawing.py       outlined shapes;  character.py, face.py, clothing.py, props.py draw people with them
    painter.py       skies, trees, hills;  landscapes.py and buildings.py paint places with them, scenery.py keeps them
    weather.py       what moves by itself
    poses.py         what an action is made of;  actions.py the actions, and when they make a sound
    camera.py        what a shot shows;  plan.py the records of a film's plan;  direction.py makes one
    captions.py      words that never tell who somebody is
    shot_renderer.py frames and masks of one shot;  titles.py title cards;  film.py the film
    sound.py         sounds;  soundtrack.py when they are heard
    script.py        the truth as JSON, and the mp4
    compact.py       short stories of few attributes, for a model that is trained on a CPU
    command.py       `animeshooter toon`

A film is a pure function of its seed and settings: `ToonFilm.from_seed(7).frame(100)` needs no other frame.
Importing this package loads nothing heavy; names are fetched when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from animeshooter_hf.toon.actions import ACTIONS
    from animeshooter_hf.toon.attributes import ATTRIBUTES, ToonCharacter, is_held_out
    from animeshooter_hf.toon.camera import CAMERAS, ToonCamera, View
    from animeshooter_hf.toon.character import character_reference
    from animeshooter_hf.toon.direction import plan_film
    from animeshooter_hf.toon.film import ToonFilm
    from animeshooter_hf.toon.plan import TRAPS, FilmPlan, Placement, StoryPlan, ToonShot, ToonTrap
    from animeshooter_hf.toon.scenery import SCENE_KINDS, ToonScene
    from animeshooter_hf.toon.script import make_stories, render_film
    from animeshooter_hf.toon.settings import FilmSettings
    from animeshooter_hf.toon.style import ToonStyle

_HOMES = {
    "ACTIONS": "actions",
    "ATTRIBUTES": "attributes",
    "CAMERAS": "camera",
    "SCENE_KINDS": "scenery",
    "TRAPS": "plan",
    "FilmPlan": "plan",
    "FilmSettings": "settings",
    "Placement": "plan",
    "StoryPlan": "plan",
    "ToonCamera": "camera",
    "ToonCharacter": "attributes",
    "ToonFilm": "film",
    "ToonScene": "scenery",
    "ToonShot": "plan",
    "ToonStyle": "style",
    "ToonTrap": "plan",
    "View": "camera",
    "character_reference": "character",
    "is_held_out": "attributes",
    "make_stories": "script",
    "plan_film": "direction",
    "render_film": "script",
}

__all__ = [
    "ACTIONS",
    "ATTRIBUTES",
    "CAMERAS",
    "SCENE_KINDS",
    "TRAPS",
    "FilmPlan",
    "FilmSettings",
    "Placement",
    "StoryPlan",
    "ToonCamera",
    "ToonCharacter",
    "ToonFilm",
    "ToonScene",
    "ToonShot",
    "ToonStyle",
    "ToonTrap",
    "View",
    "character_reference",
    "is_held_out",
    "make_stories",
    "plan_film",
    "render_film",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
