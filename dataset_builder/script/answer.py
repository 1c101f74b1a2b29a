"""What a model's answer says: the story script in it, value by value, not yet checked against the film.

`parse_answer` is total: whatever the text is, it returns a `ParsedAnswer` and the issues found on the way. It knows
every spelling of every key that the public release, the paper's prompts and our own questions use.
"""

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from animeshooter_hf.dataset_builder.release.keys import CHARACTER, SCENE, SCRIPT, SHOT, VISUAL, fold_key, read_keys
from animeshooter_hf.dataset_builder.release.sounds import read_audio_annotation
from animeshooter_hf.dataset_builder.release.values import (
    Place,
    fold_name,
    is_nothing,
    read_flag,
    read_id,
    read_list,
    read_text,
    show,
)
from animeshooter_hf.dataset_builder.script.issues import IssueLog, ScriptIssue
from animeshooter_hf.dataset_builder.script.json_text import extract_json
from animeshooter_hf.dataset_builder.script.stated_times import read_clip_span, read_frames, read_number, read_times
from animeshooter_hf.records import AudioAnnotation, Scene

__all__ = ["ParsedAnswer", "ParsedCharacter", "ParsedShot", "parse_answer", "read_answer"]

MAX_SHOTS = 400
"""Most shots that are read. The paper's stories have 15."""

_MAX_KEYS = 64
_MAX_KEY = 80
_MAX_DECLARED = 40
_MAX_NAMES = 40
_CLOSE = 0.84
"""Least likeness of a misspelt name, as `difflib` measures it."""

_CHARACTER = {**CHARACTER, "phrase": "phrase", "short phrase": "phrase"}
_SHOT = {
    **SHOT,
    "first cut": "first_cut",
    "last cut": "last_cut",
    "start frame": "start_frame",
    "end frame": "end_frame",
    "shot": "number",
    "shot index": "number",
    "shot number": "number",
}
_SHOT_KEYS = frozenset(_SHOT) - {"number"}
_WRAPPERS = ("story script", "script", "answer", "result", "response", "output", "segment", "segments", "story", "json")


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedCharacter:
    """A declared character."""

    id: str
    """Name."""

    appearance: str = ""
    """In words."""

    phrase: str = ""
    """A few words for a segmenter; "" if none was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedShot:
    """A shot as it was stated."""

    start_seconds: float | None = None
    """Counted as the annotator counted; None if absent or unreadable."""

    end_seconds: float | None = None
    """Likewise; infinity for "end"."""

    first_cut: int | None = None
    """Number of the candidate where the shot begins."""

    last_cut: int | None = None
    """Number of the candidate where it ends."""

    frames: tuple[int, int] | None = None
    """First frame and frame after the last one, where an annotator knows them."""

    clip_span: tuple[float, float] | None = None
    """The span that shows the shot best, in seconds."""

    is_prologue_or_epilogue: bool = False
    """Whether it is outside the plot."""

    characters: tuple[str, ...] = ()
    """Declared names."""

    scene: str | None = None
    """A declared name."""

    narrative_caption: str | None = None
    """What happens."""

    descriptive_caption: str | None = None
    """What is seen."""

    audio: AudioAnnotation | None = None
    """What is heard; only the release tells of it in its scripts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnswer:
    """A story script as it was stated."""

    storyline: str = ""
    """The plot; "" if there is none."""

    characters: tuple[ParsedCharacter, ...] = ()
    """Declared characters, each name once."""

    scenes: tuple[Scene, ...] = ()
    """Declared scenes, each name once."""

    shots: tuple[ParsedShot, ...] = ()
    """In the order of the answer."""

    is_cut_off: bool = False
    """Whether the answer ended inside a shot."""

    issues: tuple[ScriptIssue, ...] = ()
    """What was found on the way."""


def parse_answer(text: object) -> ParsedAnswer:
    """Return what an answer says; it never raises, and takes time and memory linear in the text."""
    log = IssueLog()
    return replace(read_answer(text, log), issues=log.issues())


def read_answer(text: object, log: IssueLog) -> ParsedAnswer:
    """Return what an answer says, without `issues`: they go to the log."""
    found = extract_json(text, log, rank=_rank)
    if not found.is_found:
        return ParsedAnswer()
    value, incomplete = found.value, found.incomplete
    if isinstance(value, str):  # JSON written into a JSON text
        log.add("json_wrapped", detail="the script is a text")
        found = extract_json(value, log, rank=_rank)
        value, incomplete = found.value, found.incomplete
    script, is_wrapped = _unwrap(value)
    if script is None:
        log.add("not_a_script", detail=show(value))
        return ParsedAnswer()
    if is_wrapped:
        log.add("json_wrapped", detail=show(value))
    return _read_script(script, incomplete, log)


def _rank(value: Any) -> int:
    """Return how much of a script a value holds: 0 for none."""
    script, _ = _unwrap(value)
    if script is None:
        return 0
    fields = {SCRIPT.get(name): content for name, content in _folded(script).items()}
    shots = fields.get("shots")
    size = min(len(shots), MAX_SHOTS) if isinstance(shots, list) else 0
    return 1 + size * 10 + sum(name in fields for name in ("storyline", "characters", "scenes", "shots"))


def _unwrap(value: Any) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the script inside a value, and whether it was inside something else."""
    is_wrapped = False
    for _ in range(4):
        if isinstance(value, list):
            if value and all(isinstance(row, Mapping) and _looks_like_shot(row) for row in value[:4]):
                return {"shots": value}, True
            objects = [row for row in value[:MAX_SHOTS] if isinstance(row, Mapping)]
            if len(objects) != 1:
                return None, is_wrapped
            value, is_wrapped = objects[0], True
        if not isinstance(value, Mapping):
            return None, is_wrapped
        names = _folded(value)
        if any(SCRIPT.get(name) in ("shots", "storyline") for name in names):
            return value, is_wrapped
        inner = next((names[name] for name in _WRAPPERS if name in names), None)
        if inner is None:
            return None, is_wrapped
        value, is_wrapped = inner, True
    return None, is_wrapped


def _looks_like_shot(row: Mapping[Any, Any]) -> bool:
    keys = _folded(row)
    return sum(key in _SHOT_KEYS for key in keys) >= 2 and not any(SCRIPT.get(key) == "shots" for key in keys)


def _folded(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return folded key -> value for the first keys of an object that can be keys of ours."""
    names = [key for key in itertools.islice(row, _MAX_KEYS) if isinstance(key, str) and len(key) <= _MAX_KEY]
    return {fold_key(key): row[key] for key in names}


def _read_fields(row: Mapping[Any, Any], table: Mapping[str, str], what: str, place: Place) -> dict[str, Any]:
    """Return field -> value as `read_keys` does, without keys that are longer or more than any of ours."""
    if len(row) > _MAX_KEYS or any(not isinstance(key, str) or len(key) > _MAX_KEY for key in row):
        place.report("unknown_key", f"{what} has {len(row)} keys, or one longer than {_MAX_KEY} characters")
        names = [key for key in row if isinstance(key, str) and len(key) <= _MAX_KEY][:_MAX_KEYS]
        row = {key: row[key] for key in names}
    return read_keys(row, table, what, place)


def _read_script(script: Mapping[str, Any], incomplete: tuple[Any, ...], log: IssueLog) -> ParsedAnswer:
    place = log.place()
    fields = _read_fields(script, SCRIPT, "the script", place)
    storyline = _read_words(fields.get("storyline"), "the storyline", place)
    if storyline is None:
        log.add("storyline_missing", detail=f"the storyline is {show(fields.get('storyline'))}")
    characters = _read_characters(fields.get("characters"), place)
    scenes = _read_scenes(fields.get("scenes"), place)
    rows = read_list(fields.get("shots"), "the shots", place)
    if len(rows) > MAX_SHOTS:
        log.add("too_many_shots", detail=f"{len(rows)} shots, {MAX_SHOTS} are read")
        rows = rows[:MAX_SHOTS]
    is_cut_off = bool(rows) and any(rows[-1] is one for one in incomplete)
    if is_cut_off:
        log.add("answer_cut_off", detail=f"after {len(rows) - 1} whole shots")
        rows = rows[:-1]
    names = _Names("character", [one.id for one in characters], place)
    places = _Names("scene", [one.id for one in scenes], place)
    shots = [_read_shot(row, f"shot {number}", names, places, place) for number, row in enumerate(rows)]
    return ParsedAnswer(
        storyline=storyline or "",
        characters=characters,
        scenes=scenes,
        shots=tuple(shot for shot in shots if shot is not None),
        is_cut_off=is_cut_off,
    )


def _read_words(value: object, what: str, place: Place) -> str | None:
    """Return a text that says something: with at least one letter or digit, and not "N/A"."""
    if is_nothing(value):
        return None
    text = read_text(value, what, place)
    return text.strip() if text is not None and any(map(str.isalnum, text)) else None


def _read_characters(value: object, place: Place) -> tuple[ParsedCharacter, ...]:
    kept: dict[str, ParsedCharacter] = {}
    for fields in _declared(value, _CHARACTER, "character", place):
        name = fields["id"]
        appearance = _read_words(fields.get("appearance"), f"the appearance of {show(name)}", place)
        phrase = _read_words(fields.get("phrase"), f"the phrase of {show(name)}", place)
        if appearance is None:
            place.report("appearance_missing", show(name))
        one = ParsedCharacter(id=name, appearance=appearance or "", phrase=phrase or "")
        _keep_first(kept, one, one.appearance, lambda old: old.appearance, "character", place)
    return tuple(kept.values())


def _read_scenes(value: object, place: Place) -> tuple[Scene, ...]:
    kept: dict[str, Scene] = {}
    for fields in _declared(value, SCENE, "scene", place):
        if is_nothing(fields["id"]):
            place.report("scene_not_available", f"a scene is called {show(fields['id'])}")
            continue
        environment = _read_words(fields.get("environment"), f"the environment of {show(fields['id'])}", place)
        if environment is None:
            place.report("environment_missing", show(fields["id"]))
        one = Scene(id=fields["id"], environment=environment or "")
        _keep_first(kept, one, one.environment, lambda old: old.environment, "scene", place)
    return tuple(kept.values())


def _declared(value: object, table: Mapping[str, str], word: str, place: Place) -> list[dict[str, Any]]:
    """Return the fields of each declared character or scene that has a name."""
    found: list[dict[str, Any]] = []
    for item in read_list(value, f"the main {word}s", place, id_key="ID")[:_MAX_DECLARED]:
        entry = {"ID": item} if isinstance(item, str) else item
        if not isinstance(entry, Mapping):
            place.report(f"{word}_unreadable", f"a {word} is {show(entry)}")
            continue
        fields = _read_fields(entry, table, f"a {word}", place)
        name = read_id(fields.get("id"), f"the ID of a {word}", place)
        if name is None or not name.strip():
            place.report(f"{word}_unreadable", f"a {word} without an ID")
            continue
        found.append({**fields, "id": name})
    return found


def _keep_first(kept: dict[str, Any], one: Any, text: str, text_of: Any, word: str, place: Place) -> None:
    before = kept.setdefault(fold_name(one.id), one)
    if before is one:
        return
    if text and text_of(before) and text_of(before) != text:
        place.report(f"conflicting_{word}", f"{show(one.id)} is declared twice")
        return
    place.report(f"duplicate_{word}", show(one.id))
    if text and not text_of(before):
        kept[fold_name(one.id)] = replace(one, id=before.id)


class _Names:
    """The declared names of one kind, found again in other spellings."""

    def __init__(self, word: str, names: list[str], place: Place) -> None:
        self._word = word
        self._place = place
        self._declared = {fold_name(name): name for name in names}

    def find(self, name: str, what: str) -> str | None:
        """Return the declared name that is meant, or None."""
        folded = fold_name(name)
        known = self._declared.get(folded) or self._alike(folded)
        if known is None:
            self._place.report(f"undeclared_{self._word}", f"{show(name)} in {what}")
        elif known != name:
            self._place.report(f"{self._word}_spelling", f"{show(name)} in {what}, declared as {show(known)}")
        return known

    def _alike(self, folded: str) -> str | None:
        """Return the only declared name that differs by a slip of the pen; digits must be the same."""
        if not 3 <= len(folded) <= 48:
            return None
        digits = [sign for sign in folded if sign.isdigit()]
        close = [
            name
            for other, name in self._declared.items()
            if len(other) <= 48
            and [sign for sign in other if sign.isdigit()] == digits
            and difflib.SequenceMatcher(None, folded, other, autojunk=False).ratio() >= _CLOSE
        ]
        return close[0] if len(close) == 1 else None


def _read_shot(row: object, what: str, names: _Names, places: _Names, place: Place) -> ParsedShot | None:
    if not isinstance(row, Mapping):
        place.report("shot_unreadable", f"{what} is {show(row)}")
        return None
    fields = _read_fields(row, _SHOT, what, place)
    visual = fields.get("visual")
    if isinstance(visual, Mapping):
        fields = {**_read_fields(visual, VISUAL, f"the visual annotation of {what}", place), **fields}
    start, end = read_times(fields, what, place)
    for field, code in (("characters", "characters_missing"), ("flag", "flag_missing")):
        if is_nothing(fields.get(field)):
            place.report(code, what)
    return ParsedShot(
        start_seconds=start,
        end_seconds=end,
        first_cut=read_number(fields.get("first_cut"), f"the first cut of {what}", place),
        last_cut=read_number(fields.get("last_cut"), f"the last cut of {what}", place),
        frames=read_frames(fields),
        clip_span=read_clip_span(fields.get("clip_span"), what, place),
        is_prologue_or_epilogue=read_flag(fields.get("flag"), f"is_prologue_or_epilogue of {what}", place),
        characters=_read_names(fields.get("characters"), names, what, place),
        scene=_read_scene(fields.get("scene"), places, what, place),
        narrative_caption=_read_caption(fields, "narrative_caption", what, place),
        descriptive_caption=_read_caption(fields, "descriptive_caption", what, place),
        audio=read_audio_annotation(fields.get("audio"), what, place, max_keys=_MAX_KEYS),
    )


def _read_names(value: object, declared: _Names, what: str, place: Place) -> tuple[str, ...]:
    if isinstance(value, str) and "," in value and len(value) < 400:
        place.report("list_as_object", f"the characters of {what} are {show(value)}")
        value = value.split(",")
    names: dict[str, None] = {}
    for item in read_list(value, f"the characters of {what}", place)[:_MAX_NAMES]:
        if is_nothing(item):
            continue
        if isinstance(item, Mapping):
            place.report("type_coerced", f"a character of {what} is {show(item)}")
            item = next((item[key] for key in ("ID", "id", "name") if key in item), None)
        name = read_id(item, f"a character of {what}", place)
        known = None if not name else declared.find(name, what)
        if known is None:
            continue
        if known in names:
            place.report("shot_character_repeated", f"{show(name)} in {what}")
        names[known] = None
    return tuple(names)


def _read_scene(value: object, declared: _Names, what: str, place: Place) -> str | None:
    if isinstance(value, list):
        if len(value) > 1:
            place.report("scene_several", f"the scenes of {what} are {show(value)}")
        value = value[0] if value else None
    if isinstance(value, Mapping):
        place.report("type_coerced", f"the scene of {what} is {show(value)}")
        value = next((value[key] for key in ("ID", "id", "name") if key in value), None)
    if is_nothing(value):
        if isinstance(value, str) and value.strip():
            place.report("scene_not_available", f"the scene of {what} is {show(value)}")
        return None
    name = read_id(value, f"the scene of {what}", place)
    return None if not name else declared.find(name, what)


def _read_caption(fields: Mapping[str, Any], key: str, what: str, place: Place) -> str | None:
    caption = _read_words(fields.get(key), f"the {key} of {what}", place)
    if caption is None:
        place.report("caption_missing", f"{what} has no {key}: {show(fields.get(key))}")
    return caption
