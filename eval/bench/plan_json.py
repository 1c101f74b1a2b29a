"""The plan of a toon film as JSON, complete: the film that is made of it is the same to the pixel.

`script.py` of the toon world writes what a film shows; this writes what it is drawn from.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import (
    FilmPlan,
    FilmSettings,
    Placement,
    StoryPlan,
    ToonCamera,
    ToonCharacter,
    ToonScene,
    ToonShot,
    ToonStyle,
    ToonTrap,
    View,
)
from animeshooter_hf.toon.settings import RENDERER_VERSION

__all__ = ["plan_from_json", "plan_to_json"]


def plan_to_json(plan: FilmPlan) -> str:
    """Return a plan as one line of JSON, without what pixels do not depend on twice."""
    data = {
        "renderer_version": RENDERER_VERSION,
        "film_id": plan.film_id,
        "seed": plan.seed,
        "settings": plan.settings.to_json(),
        "style": plan.style.to_json(),
        "characters": [asdict(character) for character in plan.characters],
        "scenes": [asdict(scene) for scene in plan.scenes],
        "stories": [asdict(story) for story in plan.stories],
        "shots": [asdict(shot) for shot in plan.shots],
    }
    return json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def plan_from_json(text: str) -> FilmPlan:
    """Return the plan of its JSON.

    Raises:
        InputError: If it is of another version of the renderer, which would draw other pixels, or is damaged.
    """
    try:
        data = json.loads(text)
        version = data["renderer_version"]
        if version != RENDERER_VERSION:
            raise InputError(
                f"The truth was drawn by version {version} of the toon renderer, this one is {RENDERER_VERSION}; "
                "make the benchmark again, or use the library that made it."
            )
        return _read_plan(data)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The plan of a toon story is damaged: {error}.") from error


def _read_plan(data: Mapping[str, Any]) -> FilmPlan:
    style = dict(data["style"])
    red, green, blue = style.pop("line_colour")
    return FilmPlan(
        film_id=data["film_id"],
        seed=data["seed"],
        settings=FilmSettings.from_json(data["settings"]),
        style=ToonStyle(line_colour=(red, green, blue), **style),
        characters=tuple(ToonCharacter(**row) for row in data["characters"]),
        scenes=tuple(ToonScene(**row) for row in data["scenes"]),
        stories=tuple(
            StoryPlan(**{**row, **{key: tuple(row[key]) for key in ("character_ids", "scene_ids")}})
            for row in data["stories"]
        ),
        shots=tuple(_read_shot(row) for row in data["shots"]),
    )


def _read_shot(row: Mapping[str, Any]) -> ToonShot:
    camera = row["camera"]
    return ToonShot(
        **{
            **row,
            "placements": tuple(Placement(**one) for one in row["placements"]),
            "camera": ToonCamera(camera["kind"], View(**camera["start"]), View(**camera["end"])),
            "trap": ToonTrap(**row["trap"]),
        }
    )
