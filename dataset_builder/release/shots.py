"""The shots of a story of the public release: their times, captions, characters, scenes and sounds.

Times are read as written, in seconds from the segment's start. Frames are derived from them and from the segment's
first frame, and cut at the segment's end. What contradicts itself is reported, and the rest of the shot is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

from animeshooter_hf.dataset_builder.release.drafts import draft_shot, place_shot
from animeshooter_hf.dataset_builder.release.keys import SHOT, VISUAL, read_keys
from animeshooter_hf.dataset_builder.release.sounds import read_audio_annotation
from animeshooter_hf.dataset_builder.release.values import (
    Place,
    fold_name,
    is_nothing,
    read_clock,
    read_clock_range,
    read_flag,
    read_id,
    read_list,
    read_text,
    show,
)
from animeshooter_hf.records import AudioAnnotation, Character, Scene, Shot, Story, make_shot_id

__all__ = ["extend_tail", "place_shots", "read_shots", "report_timeline"]

_SHORT_SPAN_SECONDS = 4.0
_ROUNDED_TAIL_SECONDS = Fraction(3, 2)
"""Most that is put down to rounding. Seen in the release: 0.6 to 1.4 s."""
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
    names = _Declared({fold_name(character.id): character.id for character in characters})
    places = _Declared({fold_name(scene.id): scene.id for scene in scenes})
    shots: list[_Told] = []
    seen: set[_Told] = set()
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
    story_id = place.story_id or "story"
    return tuple(
        draft_shot(make_shot_id(story_id, index), index, *shot) for index, shot in enumerate(_in_order(shots, place))
    )


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
            placed.append(_without_frames(shot))
            continue
        first, after = frame_at_seconds(start), frame_at_seconds(end)
        if after > end_frame:
            detail = f"shot {shot.index} runs from {start:g} to {end:g} s, which is frame {first} to {after}; "
            code = "shot_outside_segment" if after > first >= end_frame else "shot_past_segment"
            place.report(code, f"{detail}the segment ends before frame {end_frame}")
        after = min(after, end_frame)
        placed.append(place_shot(shot, first, after) if first < after else _without_frames(shot))
    return tuple(placed)


def _without_frames(shot: Shot) -> Shot:
    return shot if shot.start_frame is None else replace(shot, start_frame=None, end_frame=None)


def extend_tail(story: Story, place: Place) -> Story:
    """Return the story with its last shot's frames up to the segment's end, where only rounding parts them.

    The release's times are cut to whole seconds, so the last shot of every segment ends too early. The shot keeps its
    times as they were written; only its frames are moved, so that both can be told apart.

    Args:
        story: A story whose shots have frames.
        place: Where it is reported.
    """
    placed = [shot for shot in story.shots if shot.end_frame is not None]
    if not placed or story.end_frame is None or story.frame_rate is None:
        return story
    last = max(placed, key=lambda shot: shot.end_frame or 0)
    missing = story.end_frame - (last.end_frame or 0)
    if not 0 < missing <= _ROUNDED_TAIL_SECONDS * story.frame_rate:
        return story
    place.report("tail_extended", f"{missing} frames of shot {last.index}")
    shots = [replace(shot, end_frame=story.end_frame) if shot is last else shot for shot in story.shots]
    return story.with_shots(shots)


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


class _Declared:
    """The names that a story declares, of characters or of scenes."""

    __slots__ = ("exact", "folded")

    def __init__(self, folded: Mapping[str, str]) -> None:
        self.folded = folded
        """What `fold_name` makes of a name -> the name as declared."""
        self.exact = frozenset(name for name in folded.values() if not is_nothing(name))
        """Names that mean just what they say: most shots name nobody else."""


class _Told(NamedTuple):
    """What a shot says: the arguments of `draft_shot`, without its number."""

    times: tuple[float, float] | None
    clip: tuple[float, float] | None
    is_prologue_or_epilogue: bool
    characters: tuple[str, ...]
    scene: str | None
    narrative_caption: str | None
    descriptive_caption: str | None
    audio: AudioAnnotation | None


def _read_shot(
    row: Mapping[Any, Any],
    what: str,
    names: _Declared,
    places: _Declared,
    segment_seconds: float | None,
    place: Place,
) -> _Told:
    fields = read_keys(row, SHOT, "a shot", place)
    visual = fields.get("visual")
    if isinstance(visual, Mapping):
        for key, value in read_keys(visual, VISUAL, "a visual annotation", place).items():
            fields.setdefault(key, value)
    elif isinstance(visual, str):
        fields.setdefault("descriptive_caption", visual)
    elif visual is not None:
        place.report("object_unreadable", f"the visual annotation of {what} is {show(visual)}")
    get = fields.get
    times = _read_times(fields, what, segment_seconds, place)
    clip = _read_clip_span(get("clip_span"), times, what, place)
    flag = get("flag")
    return _Told(
        times,
        clip,
        flag if flag is False else read_flag(flag, f"is_prologue_or_epilogue of {what}", place),
        _read_names(get("characters"), names, what, place),
        _read_scene(get("scene"), places, what, place),
        _read_caption(get("narrative_caption"), "narrative_caption", what, place),
        _read_caption(get("descriptive_caption"), "descriptive_caption", what, place),
        read_audio_annotation(get("audio"), what, place),
    )


def _read_caption(value: object, key: str, what: str, place: Place) -> str | None:
    if type(value) is str and value.isascii() and value and not value.isspace():
        return value
    caption = read_text(value, f"the {key} of {what}", place)
    if caption is None:
        place.report("caption_missing", f"{what} has no {key}")
    return caption


def _read_times(
    fields: Mapping[str, Any], what: str, segment_seconds: float | None, place: Place
) -> tuple[float, float] | None:
    start, end = fields.get("start"), fields.get("end")
    if start is None and end is None and "span" in fields:
        span = read_clock_range(fields["span"])
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
    span = read_clock_range(value)
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


def _read_names(value: object, declared: _Declared, what: str, place: Place) -> tuple[str, ...]:
    names: dict[str, None] = {}
    if type(value) is list and all(type(item) is str and item in declared.exact for item in value):
        names = dict.fromkeys(value)
        if len(names) == len(value):
            return tuple(names)
        names.clear()
    for item in read_list(value, f"the characters of {what}", place):
        if is_nothing(item):
            continue
        if isinstance(item, Mapping):
            place.report("type_coerced", f"a character of {what} is {show(item)}")
            item = next((item[key] for key in ("ID", "id", "name") if key in item), None)
        name = read_id(item, f"a character of {what}", place)
        if name is None:
            continue
        known = declared.folded.get(fold_name(name))
        if known is None:
            place.report("undeclared_character", f"{show(name)} in {what}")
        elif known != name:
            place.report("character_spelling", f"{show(name)} in {what}, declared as {show(known)}")
        if (known or name) in names:
            place.report("shot_character_repeated", f"{show(name)} in {what}")
        names[known or name] = None
    return tuple(names)


def _read_scene(value: object, declared: _Declared, what: str, place: Place) -> str | None:
    if type(value) is str and value in declared.exact:
        return value
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
    known = declared.folded.get(fold_name(name))
    if known is None:
        place.report("undeclared_scene", f"{show(name)} in {what}")
    elif known != name:
        place.report("scene_spelling", f"{show(name)} in {what}, declared as {show(known)}")
    return known or name


def _in_order(shots: list[_Told], place: Place) -> list[_Told]:
    """Return the shots by their start; one without times stays behind the shot in front of it."""
    keys: list[float] = []
    for shot in shots:
        keys.append(shot.times[0] if shot.times else (keys[-1] if keys else 0.0))
    if keys == sorted(keys):
        return shots
    place.report("shots_unordered", "the shots are sorted by their start")
    order = sorted(range(len(shots)), key=keys.__getitem__)
    return [shots[position] for position in order]
