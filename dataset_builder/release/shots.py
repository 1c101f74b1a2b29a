"""The shots of a story of the public release: their times, captions, characters, scenes and sounds.

Times are read as written, in seconds from the segment's start. Frames are derived from them and from the segment's
first frame, and cut at the segment's end. What contradicts itself is reported, and the rest of the shot is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from animeshooter_hf.clock import parse_clock_range
from animeshooter_hf.dataset_builder.release.keys import AUDIO, SHOT, VISUAL, read_keys
from animeshooter_hf.dataset_builder.release.values import (
    Place,
    fold_name,
    is_nothing,
    read_clock,
    read_flag,
    read_id,
    read_list,
    read_text,
    show,
)
from animeshooter_hf.records import AudioAnnotation, Character, Scene, Shot, make_shot_id

__all__ = ["place_shots", "read_shots", "report_timeline"]

_SHORT_SPAN_SECONDS = 4.0
_SAME = 1e-6
"""Seconds below which two times are the same."""


def read_shots(
    value: object,
    characters: Sequence[Character],
    scenes: Sequence[Scene],
    segment_seconds: float | None,
    place: Place,
) -> tuple[Shot, ...]:
    """Return a story's shots in order of time, numbered from 0, still without frames (see `place_shots`).

    Args:
        value: The `shots` of a story script.
        characters: The declared characters, whose spelling of a name counts.
        scenes: The declared scenes, likewise.
        segment_seconds: How long the segment is, which is what the time "end" means.
        place: Where reports go.
    """
    names = {fold_name(character.id): character.id for character in characters}
    places = {fold_name(scene.id): scene.id for scene in scenes}
    shots: list[Shot] = []
    seen: set[Shot] = set()
    for number, row in enumerate(read_list(value, "shots", place)):
        if not isinstance(row, Mapping):
            place.report("shot_unreadable", f"shot {number} is {show(row)}")
            continue
        shot = _read_shot(row, f"shot {number}", names, places, segment_seconds, place)
        if shot in seen:
            place.report("duplicate_shot", f"shot {number}")
            continue
        seen.add(shot)
        shots.append(shot)
    shots = _in_order(shots, place)
    story_id = place.story_id or "story"
    return tuple(replace(shot, shot_id=make_shot_id(story_id, index), index=index) for index, shot in enumerate(shots))


def place_shots(
    shots: Sequence[Shot], frame_at_seconds: Callable[[float], int] | None, end_frame: int | None, place: Place
) -> tuple[Shot, ...]:
    """Return the shots with their frames in the video, cut at the segment's end; None where they have none.

    Args:
        shots: Shots whose times count from the segment's start.
        frame_at_seconds: Frame of the video at a time of the segment; None where that is unknown.
        end_frame: Frame after the segment's last one; None where that is unknown.
        place: Where reports go.
    """
    placed = []
    for shot in shots:
        start, end = shot.start_seconds, shot.end_seconds
        if frame_at_seconds is None or end_frame is None or start is None or end is None:
            placed.append(replace(shot, start_frame=None, end_frame=None))
            continue
        first, after = frame_at_seconds(start), frame_at_seconds(end)
        detail = f"shot {shot.index} runs from {start:g} to {end:g} s, which is frame {first} to {after}; "
        if after > first and first >= end_frame:
            place.report("shot_outside_segment", f"{detail}the segment ends before frame {end_frame}")
        elif after > end_frame:
            place.report("shot_past_segment", f"{detail}the segment ends before frame {end_frame}")
        after = min(after, end_frame)
        if first < after:
            placed.append(replace(shot, start_frame=first, end_frame=after))
        else:
            placed.append(replace(shot, start_frame=None, end_frame=None))
    return tuple(placed)


def report_timeline(shots: Sequence[Shot], segment_seconds: float | None, place: Place) -> None:
    """Report where shots in order of time overlap or leave gaps, and where the last one ends too early."""
    covered = 0.0
    num_timed = 0
    for shot in shots:
        if shot.start_seconds is None or shot.end_seconds is None:
            continue
        num_timed += 1
        distance = shot.start_seconds - covered
        if abs(distance) > _SAME:
            code = "shot_gap" if distance > 0 else "shot_overlap"
            place.report(code, f"{abs(distance):g} s before shot {shot.index} at {shot.start_seconds:g} s")
        covered = max(covered, shot.end_seconds)
    if num_timed and segment_seconds is not None and segment_seconds - covered > _SAME:
        place.report("tail_uncovered", f"{segment_seconds - covered:.2f} s at the end of {segment_seconds:.2f} s")


def _read_shot(
    row: Mapping[Any, Any],
    what: str,
    names: Mapping[str, str],
    places: Mapping[str, str],
    segment_seconds: float | None,
    place: Place,
) -> Shot:
    fields = read_keys(row, SHOT, "a shot", place)
    visual = fields.get("visual")
    if isinstance(visual, Mapping):
        for key, value in read_keys(visual, VISUAL, "a visual annotation", place).items():
            fields.setdefault(key, value)
    elif isinstance(visual, str):
        fields.setdefault("descriptive_caption", visual)
    elif visual is not None:
        place.report("object_unreadable", f"the visual annotation of {what} is {show(visual)}")
    times = _read_times(fields, what, segment_seconds, place)
    clip = _read_clip_span(fields.get("clip_span"), times, what, place)
    return Shot(
        shot_id="unnumbered",
        index=0,
        start_seconds=times[0] if times else None,
        end_seconds=times[1] if times else None,
        clip_start_seconds=clip[0] if clip else None,
        clip_end_seconds=clip[1] if clip else None,
        is_prologue_or_epilogue=read_flag(fields.get("flag"), f"is_prologue_or_epilogue of {what}", place),
        characters=_read_names(fields.get("characters"), names, what, place),
        scene=_read_scene(fields.get("scene"), places, what, place),
        narrative_caption=_read_caption(fields, "narrative_caption", what, place),
        descriptive_caption=_read_caption(fields, "descriptive_caption", what, place),
        audio=_read_audio(fields.get("audio"), what, place),
    )


def _read_caption(fields: Mapping[str, Any], key: str, what: str, place: Place) -> str | None:
    caption = read_text(fields.get(key), f"the {key} of {what}", place)
    if caption is None:
        place.report("caption_missing", f"{what} has no {key}")
    return caption


def _read_times(
    fields: Mapping[str, Any], what: str, segment_seconds: float | None, place: Place
) -> tuple[float, float] | None:
    start, end = fields.get("start"), fields.get("end")
    if start is None and end is None and "span" in fields:
        span = parse_clock_range(fields["span"])
        if span is None:
            place.report("time_unreadable", f"{what} runs {show(fields['span'])}")
            return None
        start, end = span
    if is_nothing(start) or is_nothing(end):
        place.report("time_missing", f"{what} runs from {show(start)} to {show(end)}")
        return None
    first, last = read_clock(start), read_clock(end)
    if last is None and isinstance(end, str) and end.strip().casefold() == "end" and segment_seconds is not None:
        place.report("type_coerced", f'{what} ends at "end", read as {segment_seconds:.2f} s')
        last = segment_seconds
    if first is None or last is None:
        place.report("time_unreadable", f"{what} runs from {show(start)} to {show(end)}")
        return None
    if last < first:
        place.report("shot_reversed", f"{what} runs from {show(start)} to {show(end)}")
        return None
    if last == first:
        place.report("shot_empty", f"{what} runs from {show(start)} to {show(end)}")
    return first, last


def _read_clip_span(
    value: object, times: tuple[float, float] | None, what: str, place: Place
) -> tuple[float, float] | None:
    if is_nothing(value):
        return None
    span = parse_clock_range(value)
    if isinstance(value, list) and len(value) == 2:
        ends = [read_clock(end) for end in value]
        span = None if ends[0] is None or ends[1] is None else (ends[0], ends[1])
    if span is None or span[1] < span[0]:
        place.report("clip_span_unreadable", f"the four-second span of {what} is {show(value)}")
        return None
    if abs(span[1] - span[0] - _SHORT_SPAN_SECONDS) > _SAME:
        place.report("clip_span_length", f"the span of {what} is {span[1] - span[0]:g} s long")
    if times is not None and (span[0] < times[0] - _SAME or span[1] > times[1] + _SAME):
        place.report("clip_span_outside_shot", f"the span of {what} is {show(value)}")
    return span


def _read_names(value: object, declared: Mapping[str, str], what: str, place: Place) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for item in read_list(value, f"the characters of {what}", place):
        if is_nothing(item):
            continue
        if isinstance(item, Mapping):
            place.report("type_coerced", f"a character of {what} is {show(item)}")
            item = next((item[key] for key in ("ID", "id", "name") if key in item), None)
        name = read_id(item, f"a character of {what}", place)
        if name is None:
            continue
        known = declared.get(fold_name(name))
        if known is None:
            place.report("undeclared_character", f"{show(name)} in {what}")
        elif known != name:
            place.report("character_spelling", f"{show(name)} in {what}, declared as {show(known)}")
        if (known or name) in names:
            place.report("shot_character_repeated", f"{show(name)} in {what}")
        names[known or name] = None
    return tuple(names)


def _read_scene(value: object, declared: Mapping[str, str], what: str, place: Place) -> str | None:
    if isinstance(value, list):
        if len(value) > 1:
            place.report("scene_several", f"the scenes of {what} are {show(value)}")
        value = value[0] if value else None
    if isinstance(value, str) and is_nothing(value):
        place.report("scene_not_available", f"the scene of {what} is {show(value)}")
        return None
    name = read_id(value, f"the scene of {what}", place)
    if name is None:
        return None
    known = declared.get(fold_name(name))
    if known is None:
        place.report("undeclared_scene", f"{show(name)} in {what}")
    elif known != name:
        place.report("scene_spelling", f"{show(name)} in {what}, declared as {show(known)}")
    return known or name


def _read_audio(value: object, what: str, place: Place) -> AudioAnnotation | None:
    if isinstance(value, list):
        if len(value) > 1:
            place.report("audio_several", f"{what} has {len(value)} audio annotations")
        value = value[0] if value else None
    if is_nothing(value):
        return None
    if isinstance(value, str):
        place.report("type_coerced", f"the audio annotation of {what} is the text {show(value)}")
        value = {"sound description": value}
    if not isinstance(value, Mapping):
        place.report("object_unreadable", f"the audio annotation of {what} is {show(value)}")
        return None
    fields = read_keys(value, AUDIO, "an audio annotation", place)
    texts = {key: read_text(fields.get(key), f"the {key} of {what}", place) or "" for key in set(AUDIO.values())}
    if not any(texts.values()):
        return None
    if not texts["audio_type"]:
        place.report("audio_type_missing", f"the audio annotation of {what}")
    return AudioAnnotation(**texts)


def _in_order(shots: list[Shot], place: Place) -> list[Shot]:
    """Return the shots by their start; one without times stays behind the shot in front of it."""
    keys: list[float] = []
    for shot in shots:
        keys.append(shot.start_seconds if shot.start_seconds is not None else (keys[-1] if keys else 0.0))
    if all(before <= after for before, after in pairwise(keys)):
        return shots
    place.report("shots_unordered", "the shots are sorted by their start")
    order = sorted(range(len(shots)), key=keys.__getitem__)
    return [shots[position] for position in order]
