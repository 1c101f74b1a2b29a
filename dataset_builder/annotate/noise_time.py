"""Noise in the shots of a script and their times."""

import copy
from random import Random

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

_TIMES = ("start time", "end time")
_CUTS = ("first_cut", "last_cut")


@noise_kind("duplicate_shot")
def _shot_twice(script: Script, random: Random, _: float) -> Script:
    at = random.randrange(len(script["shots"]))
    script["shots"].insert(at, copy.deepcopy(script["shots"][at]))
    return script


@noise_kind("hole interval_skipped shot_gap head_gap tail_gap no_shots shot_empty cut_inside_shot")
def _shot_missing(script: Script, random: Random, _: float) -> Script:
    del script["shots"][random.randrange(len(script["shots"]))]
    return script


@noise_kind("shots_unordered")
def _unordered(script: Script, random: Random, _: float) -> Script | None:
    if len(script["shots"]) < 2:
        return None
    at = random.randrange(len(script["shots"]) - 1)
    shots = script["shots"]
    if shots[at].get("start time", 0) == shots[at + 1].get("start time", 1):
        return None
    shots[at], shots[at + 1] = shots[at + 1], shots[at]
    return script


@noise_kind("shot_unreadable")
def _shot_as_text(script: Script, random: Random, _: float) -> Script:
    script["shots"].insert(random.randrange(len(script["shots"]) + 1), "and so on")
    return script


@noise_kind("shot_reversed")
def _reversed(script: Script, random: Random, _: float) -> Script | None:
    first, last = _TIMES if has_clock(script) else _CUTS
    shot = any_shot(script, random, lambda one: one[first] != one[last])
    if shot is None:
        return None
    shot[first], shot[last] = shot[last], shot[first]
    return script


@noise_kind("shot_overlap shot_reversed")
def _overlapping(script: Script, random: Random, _: float) -> Script | None:
    if len(script["shots"]) < 2:
        return None
    shot = random.choice(script["shots"][:-1])
    if has_clock(script):
        shot["end time"] = clock_words(clock_seconds(shot["end time"]) + random.choice([1, 2, 5]))
        return script
    if shot["last_cut"] >= script["shots"][-1]["last_cut"]:
        return None
    shot["last_cut"] += 1
    return script


@noise_kind("hole interval_skipped shot_gap shot_empty shot_reversed shot_overlap")
def _gap(script: Script, random: Random, _: float) -> Script | None:
    if len(script["shots"]) < 2:
        return None
    shot = random.choice(script["shots"][1:])
    if has_clock(script):
        shot["start time"] = clock_words(clock_seconds(shot["start time"]) + random.choice([1, 2, 5]))
    else:
        shot["first_cut"] += 1
    return script


@noise_kind("shot_gap shot_empty shot_overlap shot_reversed")
def _inclusive_ends(script: Script, _random: Random, _: float) -> Script | None:
    if not has_clock(script) or len(script["shots"]) < 2:
        return None
    for shot in script["shots"][:-1]:
        shot["end time"] = clock_words(max(clock_seconds(shot["end time"]) - 1, 0))
    return script


@noise_kind("cuts_as_intervals")
def _intervals(script: Script, _random: Random, _: float) -> Script | None:
    if has_clock(script):
        return None
    for shot in script["shots"]:
        shot["last_cut"] -= 1
    return script


@noise_kind("cut_out_of_range")
def _cut_too_high(script: Script, random: Random, _: float) -> Script | None:
    if has_clock(script):
        return None
    script["shots"][-1]["last_cut"] += random.choice([1, 5, 1000])
    return script


@noise_kind("type_coerced")
def _cuts_as_text(script: Script, random: Random, _: float) -> Script | None:
    if has_clock(script):
        return None
    for shot in script["shots"]:
        shot["first_cut"] = random.choice(["", "cut "]) + str(shot["first_cut"])
    return script


@noise_kind()
def _other_clock(script: Script, random: Random, _: float) -> Script | None:
    """Hours, one digit, decimals, plain seconds, brackets, units: all mean the same second."""
    if not has_clock(script):
        return None
    forms = ("00:{:02d}:{:02d}", "{}:{:02d}", "{:02d}:{:02d}.00", "[{:02d}:{:02d}]", "{:02d}:{:02d},0", "{}m {}s")
    for shot in script["shots"]:
        for key in _TIMES:
            seconds = clock_seconds(shot[key])
            form = random.choice((*forms, "number"))
            shot[key] = seconds if form == "number" else form.format(*divmod(seconds, 60))
    return script


@noise_kind()
def _end_as_word(script: Script, random: Random, _: float) -> Script | None:
    if not has_clock(script):
        return None
    script["shots"][-1]["end time"] = random.choice(["end", "End", "end of segment"])
    return script


@noise_kind("time_missing time_unreadable")
def _time_missing(script: Script, random: Random, _: float) -> Script:
    keys = _TIMES if has_clock(script) else _CUTS
    random.choice(script["shots"])[random.choice(keys)] = random.choice(["", None, "soon", "??"])
    return script


@noise_kind("shots_merged_times")
def _range_as_start(script: Script, random: Random, _: float) -> Script | None:
    if not has_clock(script):
        return None
    shot = random.choice(script["shots"])
    shot["start time"] = f"{shot['start time']}-{shot['end time']}"
    del shot["end time"]
    return script


@noise_kind("times_absolute")
def _absolute_times(script: Script, _random: Random, origin: float) -> Script | None:
    if not has_clock(script) or origin < 4:
        return None
    for shot in script["shots"]:
        for key in _TIMES:
            shot[key] = clock_words(clock_seconds(shot[key]) + origin)
        if isinstance(shot[SPAN], str):
            shot[SPAN] = "-".join(clock_words(clock_seconds(part) + origin) for part in shot[SPAN].split("-"))
    return script


@noise_kind("time_past_end")
def _past_end(script: Script, random: Random, _: float) -> Script | None:
    if not has_clock(script):
        return None
    last = script["shots"][-1]
    last["end time"] = clock_words(clock_seconds(last["end time"]) + random.choice([3, 20, 300]))
    return script


@noise_kind(
    "shot_outside_segment time_past_end shot_without_frames tail_gap interval_skipped hole cut_out_of_range shot_empty"
)
def _shot_after_end(script: Script, _random: Random, _: float) -> Script:
    extra = copy.deepcopy(script["shots"][-1])
    extra["narrative caption"] = "Something that never happens."
    if has_clock(script):
        extra["start time"], extra["end time"] = "30:00", "30:05"
    else:
        extra["first_cut"], extra["last_cut"] = extra["last_cut"], extra["last_cut"] + 3
    script["shots"].append(extra)
    return script


@noise_kind("shot_empty shot_without_frames")
def _empty_shot(script: Script, random: Random, _: float) -> Script:
    at = random.randrange(len(script["shots"]))
    extra = copy.deepcopy(script["shots"][at])
    first, last = _TIMES if has_clock(script) else _CUTS
    extra[last] = extra[first]
    extra["narrative caption"] = "Nothing takes no time."
    script["shots"].insert(at, extra)
    return script
