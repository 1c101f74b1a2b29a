"""The annotator that knows: answers every request from the script beside a film, as a perfect model would.

It serves to measure the stages, and to build a dataset of films that bring their truth. Shots are taken by their
frames, whatever segment is asked for; storyline, characters and scenes are those of the story that overlaps most.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks, read_script, script_path
from animeshooter_hf.dataset_builder.script.question import ScriptMode, clock_text
from animeshooter_hf.dataset_builder.script.timeline import candidate_frames
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.records import Shot, Story
from animeshooter_hf.video import read_frames

__all__ = ["TruthAnnotator", "script_segments", "truth_sidecar"]

MODEL_NAME = "truth"
"""Who answers, for provenance."""

MAX_CHARACTERS = 3
"""Characters that a perfect answer declares. Paper: one to three."""

MIN_OVERLAP = 0.5
"""Least overlap (IoU) of a mask with the true one to be called good."""

_OUTLINE_DIFFERENCE = 32
"""Grey levels by which an outline differs from the frame that it was drawn on."""


class TruthAnnotator:
    """Answers from `NAME.script.json` beside `NAME.mp4`.

    Args:
        mode: How scripts state time: "cuts" and "clock" as `script/question.py` asks; "frames" states the exact frames,
            which no model can, so that a dataset built of them equals the truth.
    """

    def __init__(self, mode: ScriptMode | str = "cuts") -> None:
        if mode not in ("cuts", "clock", "frames"):
            raise ValueError(f'mode must be "cuts", "clock" or "frames", got {mode!r}.')
        self.mode = mode

    def settings_key(self) -> Mapping[str, Any]:
        """Return the mode; the films' scripts are part of the requests' films."""
        return {"annotator": MODEL_NAME, "mode": self.mode}

    def admit(self, request: AdmitRequest) -> Answer:
        """Answer that it is animation without subtitles."""
        _script_of(request.film)
        return _answer(
            {
                "is_animation": True,
                "has_burnt_in_subtitles": False,
                "rating": "general",
                "reason": "The film is drawn, and nobody's words are written on it.",
            }
        )

    def write_script(self, request: ScriptRequest) -> Answer:
        """Answer with the true shots of the segment."""
        script = _script_of(request.film)
        stories = _stories(script)
        start, end = request.segment.start_frame, request.segment.end_frame
        shots = [(shot, story) for story in stories for shot in story.shots if _overlap(shot, start, end) > 0]
        if not shots:
            return Answer(outcome="invalid", detail="the truth tells of no shot there", model=MODEL_NAME)
        main = max(stories, key=lambda story: _overlap(story, start, end))
        return _answer(_script_json(request, script, main, shots, self.mode))

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """Answer yes to every criterion if the outlined mask is the character's true one, by and large."""
        from animeshooter_hf.dataset_builder.references.verify import CRITERIA

        share = _true_share(request, _script_of(request.film))
        is_true = share >= MIN_OVERLAP
        return _answer({**dict.fromkeys(CRITERIA, is_true), "reason": f"IoU with the true mask is {share:.2f}"})

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Answer with the true sound of a stretch."""
        from animeshooter_hf.dataset_builder.audio.describe import true_audio

        return _answer(true_audio(_script_of(request.film), request))


def truth_sidecar(request: ScriptRequest) -> Answer:
    """Return the script of a segment with exact frames, for films that bring their own; see `script_segments`."""
    return TruthAnnotator("frames").write_script(request)


def script_segments(film: FilmSource) -> list[Segment]:
    """Return the segments that a film's own script tells of, in order.

    Raises:
        InputError: If there is no script, or it is not of this film.
    """
    stories = _stories(_script_of(film))
    return [
        Segment(story.start_frame, story.end_frame)
        for story in stories
        if story.start_frame is not None and story.end_frame is not None
    ]


def _answer(value: Mapping[str, Any]) -> Answer:
    return Answer(outcome="ok", text=json.dumps(value, ensure_ascii=False), model=MODEL_NAME)


def _script_of(film: FilmSource) -> dict[str, Any]:
    path = script_path(film.path)
    return _load(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=2)
def _load(path: Path, _state: int) -> dict[str, Any]:
    return read_script(path)


def _stories(script: Mapping[str, Any]) -> list[Story]:
    """Return the stories that can be read; `sidecar.check_script` says what is wrong with the others."""
    stories = []
    for row in script["stories"]:
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
            stories.append(Story.from_json(row))
    return stories


def _overlap(span: Shot | Story, start: int, end: int) -> int:
    """Return how many frames of a range a shot or story covers."""
    if span.start_frame is None or span.end_frame is None:
        return 0
    return min(span.end_frame, end) - max(span.start_frame, start)


def _script_json(
    request: ScriptRequest, script: Mapping[str, Any], main: Story, shots: Sequence[tuple[Shot, Story]], mode: str
) -> dict[str, Any]:
    """Return the answer's JSON: the main story's plot and the shots of the segment."""
    known = {character.id: character for _, story in shots for character in story.characters}
    known |= {character.id: character for character in main.characters}
    acting = Counter(name for shot, _ in shots for name in shot.characters)
    guests = sorted(set(acting) - {one.id for one in main.characters}, key=lambda name: (-acting[name], name))
    names = [*(one.id for one in main.characters), *(name for name in guests if name in known)][:MAX_CHARACTERS]
    scenes = {scene.id: scene for scene in main.scenes}
    shown = {shot.scene for shot, _ in shots}
    scenes |= {scene.id: scene for _, story in shots for scene in story.scenes if scene.id in shown}
    rows = _placed_rows(request, shots, mode)
    return {
        "storyline": main.storyline,
        "main characters": [
            {"ID": name, "appearance": known[name].appearance, "phrase": _phrase(script, name)} for name in names
        ],
        "main scenes": [{"ID": scene.id, "environment": scene.environment} for scene in scenes.values()],
        "shots": [{**times, **_shot_json(shot, set(names), span)} for shot, times, span in rows],
    }


def _shot_json(shot: Shot, declared: set[str], span: Any) -> dict[str, Any]:
    return {
        "is_prologue_or_epilogue": shot.is_prologue_or_epilogue,
        "main characters": [name for name in shot.characters if name in declared],
        "scene": shot.scene,
        "narrative caption": shot.narrative_caption,
        "descriptive caption": shot.descriptive_caption,
        "extra 4-second timestamp": span,
    }


def _placed_rows(
    request: ScriptRequest, shots: Sequence[tuple[Shot, Story]], mode: str
) -> list[tuple[Shot, dict[str, Any], Any]]:
    """Return (shot, the keys of its time, its four-second span) for each shot that the mode can tell of."""
    start, end = request.segment.start_frame, request.segment.end_frame
    spans = [(shot, max(start, shot.start_frame or 0), min(end, shot.end_frame or 0)) for shot, _ in shots]
    origins = {shot.shot_id: story.start_frame or 0 for shot, story in shots}

    def clip(shot: Shot) -> list[float] | None:
        if shot.clip_start_seconds is None or shot.clip_end_seconds is None:
            return None
        move = 0.0
        if origins[shot.shot_id] != start:
            move = request.index.seconds(origins[shot.shot_id]) - request.index.seconds(start)
        return [shot.clip_start_seconds + move, shot.clip_end_seconds + move]

    if mode == "cuts":
        return _rows_by_cuts(request, spans, clip)
    rows: list[tuple[Shot, dict[str, Any], Any]] = []
    for shot, first, last in spans:
        span = clip(shot)
        if mode == "frames":
            rows.append((shot, {"start frame": first, "end frame": last}, span))
            continue
        times = [clock_text(request.index.seconds_between(start, frame)) for frame in (first, last)]
        text = None if span is None else "-".join(clock_text(max(0.0, second)) for second in span)
        rows.append((shot, {"start time": times[0], "end time": times[1]}, text))
    return rows


def _rows_by_cuts(
    request: ScriptRequest, spans: Sequence[tuple[Shot, int, int]], clip: Any
) -> list[tuple[Shot, dict[str, Any], Any]]:
    """Give each stretch between candidates to the shot that covers most of it; neighbours of one shot are one."""
    frames = candidate_frames(request)
    rows: list[tuple[Shot, dict[str, Any], Any]] = []
    for number in range(len(frames) - 1):
        start, end = frames[number], frames[number + 1]
        shot = max(spans, key=lambda one: min(one[2], end) - max(one[1], start))[0]  # used at once
        if rows and rows[-1][0] is shot:
            rows[-1][1]["last_cut"] = number + 1
        else:
            rows.append((shot, {"first_cut": number, "last_cut": number + 1}, clip(shot)))
    return rows


def _phrase(script: Mapping[str, Any], name: str) -> str:
    """Return a few words for a character, from its attributes if the script has them."""
    values = (script.get("characters") or {}).get(name) or {}
    words = [values.get(key) for key in ("height", "body_colour", "body")]
    phrase = " ".join(str(word) for word in words if word) + " cartoon creature"
    if values.get("hat", "none") != "none":
        phrase += f" with {values.get('hat_colour', '')} {values['hat']}"
    return phrase.strip()


def _true_share(request: VerifyRequest, script: Mapping[str, Any]) -> float:
    """Return the overlap (IoU) of the mask that was outlined in the frame with the true mask, 0 to 1."""
    from animeshooter_hf.dataset_builder.references.pictures import encode_jpeg

    truth = SidecarMasks(script.get("masks") or {}).mask_at(request.character.id, request.frame)
    outlined = cv2.imdecode(np.frombuffer(request.frame_jpeg, np.uint8), cv2.IMREAD_COLOR)
    frame = read_frames(request.film.path, [request.frame])[0]
    plain = cv2.imdecode(np.frombuffer(encode_jpeg(frame), np.uint8), cv2.IMREAD_COLOR)
    if truth is None or outlined is None or plain is None or outlined.shape[:2] != (truth.height, truth.width):
        return 0.0
    drawn = (np.abs(outlined.astype(np.int16) - plain).max(2) > _OUTLINE_DIFFERENCE).astype(np.uint8)
    # JPEG leaves gaps in a thin line; which closing mends them depends on the picture, so the best fit counts.
    return max(_overlap_share(_filled(drawn, size), truth.to_array()) for size in (3, 7, 11))


def _filled(line: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """Return what a drawn line encloses, with the line, after closing gaps that are smaller than the size."""
    closed = cv2.morphologyEx(line, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    mask = np.zeros(line.shape, np.uint8)
    cv2.drawContours(mask, contours, -1, 1, cv2.FILLED)
    return mask.astype(bool)


def _overlap_share(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0
