"""Noise in the shape of a script: keys, containers, characters, scenes, captions and spans."""

import copy
import json
from random import Random
from typing import Any

from animeshooter_hf.dataset_builder.annotate.noise_table import (
    SPAN,
    Script,
    any_shot,
    clock_seconds,
    clock_words,
    has_clock,
    noise_kind,
)

__all__: list[str] = []

_CAPTIONS = ("narrative caption", "descriptive caption")


@noise_kind()
def _other_keys(script: Script, random: Random, _: float) -> Script:
    names = {"main scenes": "main settings", "scene": "setting", "narrative caption": "plot", SPAN: SPAN + " "}
    names |= {"descriptive caption": "descriptive_caption", "is_prologue_or_epilogue": "Is-Prologue-Or-Epilogue"}
    chosen = {key: name for key, name in names.items() if random.random() < 0.7}

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {chosen.get(key, key): rename(item) for key, item in value.items()}
        return [rename(item) for item in value] if isinstance(value, list) else value

    return dict(rename(script))


@noise_kind("unknown_key")
def _unknown_key(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])["mood"] = "cheerful"
    return script


@noise_kind("json_wrapped")
def _wrapped(script: Script, random: Random, _: float) -> Any:
    return random.choice([{"story script": script}, [script], {"segments": [{"story script": script}]}])


@noise_kind("json_wrapped")
def _json_in_json(script: Script, _random: Random, _: float) -> str:
    return json.dumps(script)


@noise_kind("list_as_object")
def _shots_as_object(script: Script, _random: Random, _: float) -> Script:
    script["shots"] = {f"shot {number}": shot for number, shot in enumerate(script["shots"], 1)}
    return script


@noise_kind("list_as_object")
def _names_as_text(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one["main characters"])
    if shot is None:
        return None
    shot["main characters"] = ", ".join(shot["main characters"])
    return script


@noise_kind("type_coerced")
def _names_as_objects(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one["main characters"])
    if shot is None:
        return None
    shot["main characters"] = [{"ID": name} for name in shot["main characters"]]
    return script


@noise_kind("characters_missing flag_missing scene_missing")
def _null_values(script: Script, random: Random, _: float) -> Script:
    shot = random.choice(script["shots"])
    for key in ("main characters", "is_prologue_or_epilogue", "scene"):
        shot[key] = None
    return script


@noise_kind("type_coerced")
def _flags_as_text(script: Script, _random: Random, _: float) -> Script:
    for shot in script["shots"]:
        shot["is_prologue_or_epilogue"] = str(shot["is_prologue_or_epilogue"])
    return script


@noise_kind("character_spelling")
def _other_case(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one["main characters"])
    if shot is None:
        return None
    change = random.choice([str.upper, str.lower])
    shot["main characters"] = [change(name) for name in shot["main characters"]]
    return script


@noise_kind("scene_spelling")
def _scene_other_case(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one["scene"])
    if shot is None:
        return None
    shot["scene"] = shot["scene"].swapcase()
    return script


@noise_kind("character_spelling undeclared_character shot_character_repeated")
def _misspelt(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: any(len(name) > 3 for name in one["main characters"]))
    if shot is None:
        return None
    name = next(name for name in shot["main characters"] if len(name) > 3)
    at = random.randrange(1, len(name))
    slip = name[:at] + name[at - 1] + name[at:]
    shot["main characters"] = [slip if one == name else one for one in shot["main characters"]]
    return script


@noise_kind("id_trimmed character_spelling")
def _blanks_in_ids(script: Script, random: Random, _: float) -> Script | None:
    if not script["main characters"]:
        return None
    one = random.choice(script["main characters"])
    one["ID"] = f" {one['ID']} "
    return script


@noise_kind("undeclared_character")
def _undeclared_character(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])["main characters"].append("Zebedee Quill")
    return script


@noise_kind("undeclared_scene")
def _undeclared_scene(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])["scene"] = "Somewhere Quite Else"
    return script


@noise_kind("scene_not_available")
def _scene_not_available(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])["scene"] = random.choice(["N/A", "none", "n.a."])
    return script


@noise_kind("unused_character too_many_characters")
def _unused_character(script: Script, _random: Random, _: float) -> Script:
    script["main characters"].append({"ID": "Zebedee", "appearance": "A small yellow snail.", "phrase": "yellow snail"})
    return script


@noise_kind("too_many_characters")
def _too_many_characters(script: Script, random: Random, _: float) -> Script:
    for name in ("Zebedee", "Quill", "Ysolde"):
        entry = {"ID": name, "appearance": f"A creature called {name}.", "phrase": "small creature"}
        script["main characters"].append(entry)
        random.choice(script["shots"])["main characters"].append(name)
    return script


@noise_kind("unused_scene scenes_many")
def _too_many_scenes(script: Script, _random: Random, _: float) -> Script:
    script["main scenes"] += [{"ID": f"Room {n}", "environment": "A room."} for n in range(4)]
    return script


@noise_kind("duplicate_character conflicting_character")
def _character_twice(script: Script, random: Random, _: float) -> Script | None:
    if not script["main characters"]:
        return None
    one = copy.deepcopy(random.choice(script["main characters"]))
    if random.random() < 0.5:
        one["appearance"] = "Something else altogether."
    script["main characters"].append(one)
    return script


@noise_kind("shot_character_repeated")
def _name_twice(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one["main characters"])
    if shot is None:
        return None
    shot["main characters"].append(shot["main characters"][0])
    return script


@noise_kind("phrase_missing phrase_long")
def _odd_phrase(script: Script, random: Random, _: float) -> Script | None:
    if not script["main characters"]:
        return None
    random.choice(script["main characters"])["phrase"] = random.choice(["", "very " * 20 + "small creature"])
    return script


@noise_kind("storyline_missing")
def _no_storyline(script: Script, random: Random, _: float) -> Script:
    script["storyline"] = random.choice([None, "", "N/A"])
    return script


@noise_kind("caption_missing")
def _no_caption(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])[random.choice(_CAPTIONS)] = random.choice(["", " ", "...", None, "N/A"])
    return script


@noise_kind("no_caption")
def _no_captions(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"]).update(dict.fromkeys(_CAPTIONS, ""))
    return script


@noise_kind("broken_text")
def _half_a_character(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])["narrative caption"] += " \ud83d"
    return script


@noise_kind("clip_span_length clip_span_outside_shot clip_span_shifted")
def _span_of_other_length(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one[SPAN])
    if shot is None:
        return None
    change = random.choice([-2, 3, 8])
    if isinstance(shot[SPAN], str):
        start, end = (clock_seconds(part) for part in shot[SPAN].split("-"))
        shot[SPAN] = f"{clock_words(start)}-{clock_words(end + change)}"
    else:
        shot[SPAN] = [shot[SPAN][0], shot[SPAN][1] + change]
    return script


@noise_kind("clip_span_outside_shot clip_span_shifted")
def _span_elsewhere(script: Script, random: Random, _: float) -> Script | None:
    shot = any_shot(script, random, lambda one: one[SPAN])
    if shot is None:
        return None
    shot[SPAN] = "10:00-10:04" if isinstance(shot[SPAN], str) else [600, 604]
    return script


@noise_kind("clip_span_dropped")
def _span_of_short_shot(script: Script, random: Random, _: float) -> Script | None:
    if not has_clock(script):
        return None
    shot = any_shot(script, random, lambda one: clock_seconds(one["end time"]) - clock_seconds(one["start time"]) <= 2)
    if shot is None:
        return None
    shot[SPAN] = "00:00-00:04"
    return script


@noise_kind("clip_span_unreadable")
def _odd_span(script: Script, random: Random, _: float) -> Script:
    random.choice(script["shots"])[SPAN] = random.choice(["the jump", [1, 2, 3], {"from": 1}, 7])
    return script
