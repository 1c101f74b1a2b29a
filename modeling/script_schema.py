"""The form of a written story: its JSON schema, how it is found in an answer, and what is wrong with it.

An answer comes from a language model, so it may be anything: fenced, cut off, nested a million deep, of other types.
Nothing here raises on it; it is described by a list of problems, which also is what a repair is asked with.

The form is the JSON form of a story (`records.Story`) without what has not been filmed yet. Keys that are not in it are
left out; values of another type are problems.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from animeshooter_hf.records import Character

__all__ = ["example_form", "parse_script", "script_problems", "script_schema"]

MAX_ANSWER_CHARACTERS = 400_000
"""Longer answers are not read. A story of 64 shots takes about 50,000."""

_MAX_CAPTION = 2_000
_MAX_NAME = 60
_MAX_SCENES = 5
_MAX_ROWS = 50
_MAX_STARTS = 20
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, marks that turn the direction of writing, and halves of characters."""

_LOOKS = re.compile(r"\b(wearing|wears|dressed in|clad in|\w+-haired|\w+-furred)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{4,}")
_COMMON = {
    "with", "that", "this", "from", "have", "they", "their", "about", "into", "over", "very", "young", "small",
    "large", "little", "tall", "short", "long", "round", "body", "face",
}  # fmt: skip


def script_schema(num_shots: int, names: Sequence[str], *, with_sound: bool) -> dict[str, Any]:
    """Return the JSON schema, in the part of the language that strict endpoints take.

    Args:
        num_shots: Exactly so many.
        names: Characters who are given; empty if the writer invents them.
        with_sound: Whether each shot says what is heard.
    """
    text = {"type": "string"}
    name = {"type": "string", "enum": list(names)} if names else text
    shot = {
        "characters": {"type": "array", "items": name},
        "scene": text,
        "narrative_caption": text,
        "descriptive_caption": text,
    }
    if with_sound:
        shot["audio_annotation"] = _object({"audio_type": text, "sound_description": text, "visual_context": text})
    return _object(
        {
            "storyline": text,
            "main_characters": {"type": "array", "items": _object({"id": name, "appearance": text})},
            "main_scenes": {"type": "array", "items": _object({"id": text, "environment": text})},
            "shots": {"type": "array", "items": _object(shot), "minItems": num_shots, "maxItems": num_shots},
        }
    )


def example_form(*, with_sound: bool) -> str:
    """Return the form as it stands in the prompt, for endpoints and models that know no schema."""
    shot: dict[str, Any] = {
        "characters": ["id", "..."], "scene": "id", "narrative_caption": "...", "descriptive_caption": "...",
    }  # fmt: skip
    if with_sound:
        shot["audio_annotation"] = {"audio_type": "...", "sound_description": "...", "visual_context": "..."}
    return json.dumps(
        {
            "storyline": "...",
            "main_characters": [{"id": "...", "appearance": "..."}],
            "main_scenes": [{"id": "...", "environment": "..."}],
            "shots": [shot],
        }
    )


def parse_script(answer: str) -> dict[str, Any] | None:
    """Return the JSON object that is a script, or None if there is none that is whole.

    Thoughts before `</think>`, a Markdown fence, and words before and after are passed over. Only an object with shots
    counts: of an answer that was cut off, smaller objects inside it may be whole.
    """
    found = _objects(answer[:MAX_ANSWER_CHARACTERS].rpartition("</think>")[2])
    return next((one for one in found if "shots" in one), None)


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects that begin at one of the first braces."""
    decoder, found, position = json.JSONDecoder(parse_constant=_no_constant), [], text.find("{")
    for _ in range(_MAX_STARTS):
        if position < 0:
            break
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            found.append(value)
        position = text.find("{", end)
    return found


def script_problems(
    script: Mapping[str, Any] | None,
    *,
    num_shots: int,
    characters: Sequence[Character] = (),
    with_sound: bool = False,
    captions_without_identity: bool = True,
) -> list[str]:
    """Return all that is wrong with a script, in words that a model can mend it by; empty if it can be used.

    Args:
        script: What `parse_script` found.
        num_shots: Shots that were asked for.
        characters: Characters who were given; then nobody else may be declared, and all must be.
        with_sound: Whether each shot must say what is heard.
        captions_without_identity: Refuse captions that describe what characters look like. It is a rule of thumb: words
            such as "wearing" (English only), or two words of somebody's appearance in one caption.
    """
    if script is None:
        return ["The answer holds no whole JSON object with shots."]
    problems = _text_problems(script, "storyline", "the story")
    cast = _declared(script, "main_characters", "appearance", problems)
    scenes = _declared(script, "main_scenes", "environment", problems)
    given = [character.id for character in characters]
    if given and sorted(cast) != sorted(given):
        problems.append(f"main_characters must be exactly {_listed(given)}, and are {_listed(list(cast))}.")
    if len(scenes) > _MAX_SCENES:
        problems.append(f"There are {len(scenes)} main_scenes; at most {_MAX_SCENES} are allowed.")
    shots = script.get("shots")
    if not isinstance(shots, list):
        return [*problems, "shots must be a list."]
    if len(shots) != num_shots:
        problems.append(f"There are {len(shots)} shots; exactly {num_shots} were asked for.")
    looks = {**cast, **{character.id: character.appearance for character in characters if character.appearance}}
    for number, shot in enumerate(shots[:num_shots], start=1):
        if not isinstance(shot, Mapping):
            problems.append(f"Shot {number} must be an object.")
            continue
        problems += _shot_problems(shot, f"shot {number}", list(cast), list(scenes), with_sound)
        if captions_without_identity:
            problems += _identity_problems(shot, f"shot {number}", looks)
    return problems


def _shot_problems(
    shot: Mapping[str, Any], where: str, cast: list[str], scenes: list[str], with_sound: bool
) -> list[str]:
    problems = _text_problems(shot, "narrative_caption", where) + _text_problems(shot, "descriptive_caption", where)
    seen = shot.get("characters")
    if not isinstance(seen, list) or not all(isinstance(name, str) for name in seen):
        problems.append(f"characters of {where} must be a list of names.")
        seen = cast
    for name in seen:
        if name not in cast:
            problems.append(f"{where} shows {name[:_MAX_NAME]!r}, who is not among the main_characters.")
    scene = shot.get("scene")
    if not isinstance(scene, str) or scene not in scenes:
        problems.append(f"scene of {where} must be the id of one of the main_scenes, got {str(scene)[:_MAX_NAME]!r}.")
    captions = _captions(shot)
    for name in cast:
        if name not in seen and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", captions):
            problems.append(f"A caption of {where} names {name!r}, who is not in its list of characters.")
    if with_sound:
        sound = shot.get("audio_annotation")
        if isinstance(sound, Mapping):
            for key in ("audio_type", "sound_description", "visual_context"):
                problems += _text_problems(sound, key, f"the audio_annotation of {where}")
        else:
            problems.append(f"{where} has no audio_annotation.")
    return problems


def _identity_problems(shot: Mapping[str, Any], where: str, looks: Mapping[str, str]) -> list[str]:
    """Return a problem for each sign that a caption says what somebody looks like."""
    captions = _captions(shot)
    problems = []
    if found := _LOOKS.search(captions):
        problems.append(f"A caption of {where} describes what somebody looks like ({found[0]!r}); leave that out.")
    words = {word.lower() for word in _WORD.findall(captions)}
    names = {word.lower() for name in looks for word in _WORD.findall(name)}
    for name, appearance in looks.items():
        told = {word.lower() for word in _WORD.findall(appearance)} - _COMMON - names
        if len(both := sorted(told & words)) >= 2:
            problems.append(f"A caption of {where} repeats the appearance of {name!r} ({', '.join(both[:4])}).")
    return problems


def _declared(script: Mapping[str, Any], key: str, text_key: str, problems: list[str]) -> dict[str, str]:
    """Return id -> text of a list of characters or scenes; what is wrong with it goes to the problems."""
    rows = script.get(key)
    if not isinstance(rows, list):
        problems.append(f"{key} must be a list.")
        return {}
    declared: dict[str, str] = {}
    for number, row in enumerate(rows[:_MAX_ROWS], start=1):
        name = row.get("id") if isinstance(row, Mapping) else None
        if not _is_name(name):
            problems.append(f"Entry {number} of {key} needs an id: a text of one line, at most {_MAX_NAME} characters.")
            continue
        if name in declared:
            problems.append(f"{key} declares {name!r} twice.")
        problems += _text_problems(row, text_key, repr(name))
        text = row.get(text_key)
        declared[name] = text if isinstance(text, str) else ""
    return declared


def _is_name(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and 0 < len(name.strip()) == len(name) <= _MAX_NAME and not (
        _UNFIT.search(name) or "\n" in name or "\t" in name
    )  # fmt: skip


def _text_problems(row: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        return [f"{key} of {where} must be a text that is not empty."]
    if len(value) > _MAX_CAPTION:
        return [f"{key} of {where} has {len(value)} characters; at most {_MAX_CAPTION} are allowed."]
    if _UNFIT.search(value):
        return [f"{key} of {where} holds control characters."]
    return []


def _captions(shot: Mapping[str, Any]) -> str:
    return " ".join(str(shot.get(key) or "") for key in ("narrative_caption", "descriptive_caption"))[
        : 2 * _MAX_CAPTION
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:_MAX_NAME]) for name in names[:10]) or "nobody"


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON.")
