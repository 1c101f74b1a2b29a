"""A model on loopback that has read the film: it answers the questions of a build from the words it is sent."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from endpoint_stub import texts_of

_CUT = re.compile(r"^cut (\d+): (\d+):(\d+\.\d+)$", re.MULTILINE)


def toon_answers(film: Path) -> Callable[[dict[str, Any]], str]:
    """Return what answers the requests about a film that is one segment long."""
    script = json.loads(film.with_name(f"{film.stem}.script.json").read_text())
    (story,) = script["stories"]

    def answer(body: dict[str, Any]) -> str:
        text = "\n".join(texts_of(body))
        if "is_animation" in text:
            return json.dumps(
                {"is_animation": True, "has_burnt_in_subtitles": False, "rating": "general", "reason": "Drawn."}
            )
        if "neutral_pose" in text:
            criteria = ("complete", "matches_description", "single_figure", "neutral_pose", "sharp")
            return json.dumps({**dict.fromkeys(criteria, True), "reason": ""})
        if "cut 0:" in text:
            return json.dumps(_script(story, [60 * int(m) + float(s) for _, m, s in _CUT.findall(text)]))
        return json.dumps(
            {
                "kind": "effect",
                "type": "steps",
                "sound_description": "Dull thumps on an even beat.",
                "visual_context": "Feet on the ground.",
            }
        )

    return answer


def _script(story: dict[str, Any], cuts: list[float]) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        shot = max(story["shots"], key=lambda one: min(one["end_time"], end) - max(one["start_time"], start))
        if rows and rows[-1]["shot"] is shot:
            rows[-1]["last_cut"] = number + 1
        else:
            rows.append({"shot": shot, "first_cut": number, "last_cut": number + 1})
    return {
        "storyline": story["storyline"],
        "main characters": [
            {"ID": one["id"], "appearance": one["appearance"], "phrase": "a small cartoon creature"}
            for one in story["main_characters"]
        ],
        "main scenes": [{"ID": one["id"], "environment": one["environment"]} for one in story["main_scenes"]],
        "shots": [
            {
                "first_cut": row["first_cut"],
                "last_cut": row["last_cut"],
                "is_prologue_or_epilogue": row["shot"]["is_prologue_or_epilogue"],
                "main characters": row["shot"]["characters"],
                "scene": row["shot"]["scene"],
                "narrative caption": row["shot"]["narrative_caption"],
                "descriptive caption": row["shot"]["descriptive_caption"],
                "extra 4-second timestamp": None,
            }
            for row in rows
        ],
    }
