"""One segment of the public release -> one `Story`.

The segment's own checks stand here: its frames, what its script declares, and whether declarations, shots and
reference masks agree with each other.
"""

import bisect
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

from animeshooter_hf.clock import frame_at, seconds_at
from animeshooter_hf.dataset_builder.release.keys import CHARACTER, SCENE, SCRIPT, SEGMENT, read_keys
from animeshooter_hf.dataset_builder.release.masks import read_references
from animeshooter_hf.dataset_builder.release.shots import place_shots, read_shots, report_timeline
from animeshooter_hf.dataset_builder.release.values import (
    Place,
    read_id,
    read_list,
    read_text,
    read_whole,
    show,
)
from animeshooter_hf.records import Character, ReferenceMask, Scene, Shot, Story

__all__ = ["read_story"]

_Declared = TypeVar("_Declared", Character, Scene)


def read_story(segment: object, *, video_id: str, url: str | None, rate: Fraction | None, place: Place) -> Story | None:
    """Return the story of a segment, or None if it is no segment or holds no story script.

    Args:
        segment: An element of a video's `segments`.
        video_id: The video's ID.
        url: Where the video can be found.
        rate: Frames per second of the annotation, None if unknown.
        place: Where reports go; its `story_id` becomes the story's.
    """
    if not isinstance(segment, Mapping):
        place.report("segment_unreadable", f"a segment is {show(segment)}")
        return None
    fields = read_keys(segment, SEGMENT, "a segment", place)
    script = fields.get("script")
    if isinstance(script, Mapping):
        fields.update(read_keys(script, SCRIPT, "a story script", place))
    elif not any(key in fields for key in ("storyline", "shots")):
        place.report("script_missing", f"the story script is {show(script)}")
        return None
    start_frame, end_frame = _read_frames(fields, place)
    seconds, frame_at_seconds = None, None
    if rate is not None and start_frame is not None and end_frame is not None:
        seconds = seconds_at(end_frame - start_frame, rate)
        frame_at_seconds = _frame_in_video(start_frame, rate)
    storyline = read_text(fields.get("storyline"), "the storyline", place)
    if storyline is None:
        place.report("storyline_missing")
    characters = _read_declared(fields.get("characters"), Character, "character", place)
    scenes = _read_declared(fields.get("scenes"), Scene, "scene", place)
    shots = read_shots(fields.get("shots"), characters, scenes, seconds, place)
    shots = place_shots(shots, frame_at_seconds, end_frame, place)
    report_timeline(shots, seconds, place)
    references = read_references(fields.get("references"), characters, place)
    _report_unused(characters, scenes, shots, references, place)
    _report_reference_frames(references, shots, start_frame, end_frame, place)
    return Story(
        video_id=video_id,
        story_id=place.story_id or video_id,
        url=url,
        frame_rate=rate,
        start_frame=start_frame,
        end_frame=end_frame,
        storyline=storyline or "",
        characters=characters,
        scenes=scenes,
        shots=shots,
        references=references,
    )


def _frame_in_video(start_frame: int, rate: Fraction) -> Callable[[float], int]:
    """Return seconds in the segment -> frame in the video; the same times come again and again."""
    return lru_cache(maxsize=64)(lambda seconds: start_frame + frame_at(seconds, rate))


def _read_frames(fields: Mapping[str, Any], place: Place) -> tuple[int | None, int | None]:
    start = read_whole(fields.get("start_frame"), "the start frame index", place)
    end = read_whole(fields.get("end_frame"), "the end frame index", place)
    if start is None or end is None:
        place.report("segment_frames_missing", f"frames {show(start)} to {show(end)}")
        return None, None
    if end < start:
        place.report("segment_reversed", f"frames {start} to {end}")
        return None, None
    return start, end


def _read_declared(value: object, kind: type[_Declared], word: str, place: Place) -> tuple[_Declared, ...]:
    """Return the declared characters or scenes, each ID once."""
    table, field = (CHARACTER, "appearance") if kind is Character else (SCENE, "environment")
    kept: dict[str, _Declared] = {}
    for item in read_list(value, f"the main {word}s", place, id_key="ID"):
        entry = {"ID": item} if isinstance(item, str) else item
        if not isinstance(entry, Mapping):
            place.report(f"{word}_unreadable", f"a {word} is {show(entry)}")
            continue
        fields = read_keys(entry, table, f"a {word}", place)
        name = read_id(fields.get("id"), f"the ID of a {word}", place)
        if name is None:
            place.report(f"{word}_unreadable", f"a {word} without an ID")
            continue
        text = read_text(fields.get(field), f"the {field} of {show(name)}", place)
        if text is None:
            place.report(f"{field}_missing", show(name))
        _declare(kind(**{"id": name, field: text or ""}), text, field, kept, word, place)
    return tuple(kept.values())


def _declare(
    record: _Declared, text: str | None, field: str, kept: dict[str, _Declared], word: str, place: Place
) -> None:
    before = kept.setdefault(record.id, record)
    if before is record:
        return
    earlier = getattr(before, field)
    if text and earlier and earlier != text:
        place.report(f"conflicting_{word}", f"{show(record.id)}: {show(text)} left out")
        return
    place.report(f"duplicate_{word}", show(record.id))
    if text and not earlier:
        kept[record.id] = record


def _report_unused(
    characters: Sequence[Character],
    scenes: Sequence[Scene],
    shots: Sequence[Shot],
    references: Sequence[ReferenceMask],
    place: Place,
) -> None:
    acting = {name for shot in shots for name in shot.characters}
    shown = {shot.scene for shot in shots}
    pictured = {reference.character_id for reference in references}
    for character in characters:
        if character.id not in acting:
            place.report("unused_character", show(character.id))
        if character.id not in pictured:
            place.report("character_without_reference", show(character.id))
    for scene in scenes:
        if scene.id not in shown:
            place.report("unused_scene", show(scene.id))


def _report_reference_frames(
    references: Sequence[ReferenceMask],
    shots: Sequence[Shot],
    start_frame: int | None,
    end_frame: int | None,
    place: Place,
) -> None:
    """Report the references that lie outside the segment, outside every shot, or in a shot of others."""
    if start_frame is None or end_frame is None:
        return
    placed = sorted(
        (shot.start_frame, shot.end_frame, frozenset(shot.characters))
        for shot in shots
        if shot.start_frame is not None and shot.end_frame is not None
    )
    starts = [start for start, _, _ in placed]
    ends: dict[int, set[str]] = {}
    for _, end, names in placed:
        ends.setdefault(end, set()).update(names)
    for reference in references:
        frame, name = reference.frame_index, reference.character_id
        # Shots hardly ever overlap, so the last two that start in time are those that can hold the frame.
        behind = bisect.bisect_right(starts, frame)
        around = [acting for _, stop, acting in placed[max(0, behind - 2) : behind] if frame < stop]
        if around and (name in around[0] or name in around[-1]):
            continue
        detail = f"{show(name)} in frame {frame}"
        if frame < start_frame or frame > end_frame:
            place.report("reference_outside_segment", f"{detail}, the segment runs from {start_frame} to {end_frame}")
        elif name in ends.get(frame, ()):
            place.report("boundary_reference", detail)
        elif not around:
            if placed:
                place.report("reference_outside_shots", detail)
        else:
            place.report("reference_in_other_shot", detail)
