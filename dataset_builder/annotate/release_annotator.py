"""The annotator of films that a release tells of: it answers with what the release says, and asks nobody.

Segments are the release's, their frames moved to those of the file by time. A script is given as it was written, with
its clock of whole seconds; aligning it sets the shots to the detected cuts. Masks and sounds are the release's own.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.release.film_annotation import ToldSegment, read_annotation
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import make_audio_story_id
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.dataset_builder.release.videos import fit_to_video
from animeshooter_hf.dataset_builder.script.film_script import ScriptProblem
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.records import Shot, Story, make_shot_id, make_story_id
from animeshooter_hf.video import FrameIndex

__all__ = ["PlacedSegments", "ReleaseAnnotator", "as_audio_story", "place_segments", "told_audio", "told_references"]

MODEL_NAME = "release"
"""Who answers, for provenance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacedSegments:
    """The segments of a release with their frames in the film."""

    segments: tuple[Segment, ...]
    """Those that lie in the film, in order."""

    numbers: tuple[int, ...]
    """Their numbers in the release, by which stories are called."""

    lost: tuple[ScriptProblem, ...]
    """Why the others do not."""

    told_problems: Mapping[str, int]
    """Code of `release/problems.py` -> how often, in reading the annotation and in placing its segments."""

    def to_json(self) -> dict[str, Any]:
        """Return them as plain JSON values, as the segment stage gives them."""
        return {
            "segments": [asdict(segment) for segment in self.segments],
            "numbers": list(self.numbers),
            "problems": [asdict(problem) for problem in self.lost],
            "release_problems": dict(self.told_problems),
        }


class ReleaseAnnotator:
    """Answers for one film from its annotation file, see `release/film_annotation.py`."""

    def __init__(self, annotation: Path, *, is_audio: bool = False) -> None:
        """Take a film's annotation.

        Args:
            annotation: What a release tells of the film.
            is_audio: Whether scripts are those of the audio release.
        """
        self._annotation = annotation
        self._is_audio = is_audio

    def settings_key(self) -> Mapping[str, Any]:
        """Return the name; what the release tells is part of the requests' films."""
        return {"annotator": MODEL_NAME}

    def admit(self, request: AdmitRequest) -> Answer:
        """Answer that it is animation without subtitles: the release took in no other films."""
        del request
        return _answer(
            {
                "is_animation": True,
                "has_burnt_in_subtitles": False,
                "rating": "unknown",
                "reason": "The film is part of the release.",
            }
        )

    def write_script(self, request: ScriptRequest) -> Answer:
        """Answer with the script of the segment as it was written, also to a re-ask."""
        for one in read_annotation(self._annotation).segments:
            if one.number == request.segment_index and one.is_audio == self._is_audio:
                return _answer(one.script)
        return _invalid("the release tells of no such segment")

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """Answer nothing that can be used: the release verified its own masks once, and knows no others."""
        del request
        return _invalid("the release verifies no masks but its own")

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Answer with the sound of the annotated shot that covers most of the stretch."""
        heard = [
            (_overlap_seconds(one.story, shot, request), shot.audio)
            for one in read_annotation(self._annotation).segments
            if one.story is not None
            for shot in one.story.shots
            if shot.audio is not None
        ]
        seconds, best = max(heard, key=lambda one: one[0], default=(0.0, None))
        if best is None or seconds <= 0:
            return _invalid("the release tells of no sound there")
        texts = {"sound_description": best.sound_description, "visual_context": best.visual_context}
        return _answer({"kind": "effect", "type": best.audio_type, **texts})


def place_segments(annotation: Path, film: FilmSource, index: FrameIndex, *, is_audio: bool = False) -> PlacedSegments:
    """Return the segments of a film's annotation with their frames in the file.

    Args:
        annotation: What a release tells of the film.
        film: The film.
        index: Its time.
        is_audio: Whether those of the audio release are meant.

    Raises:
        InputError: If the annotation is missing or damaged.
    """
    log = ProblemLog()
    told = read_annotation(annotation)
    placed: list[tuple[int, Segment]] = []
    lost: list[ScriptProblem] = []
    for one in told.segments:
        if one.is_audio != is_audio:
            continue
        segment = _place(one, film, index, log)
        if isinstance(segment, Segment):
            placed.append((one.number, segment))
        else:
            lost.append(segment)
    problems = Counter(told.problems) + log.counts
    return PlacedSegments(
        segments=tuple(segment for _, segment in placed),
        numbers=tuple(number for number, _ in placed),
        lost=tuple(lost),
        told_problems=dict(sorted(problems.items())),
    )


def _place(one: ToldSegment, film: FilmSource, index: FrameIndex, log: ProblemLog) -> Segment | ScriptProblem:
    story_id = (make_audio_story_id if one.is_audio else make_story_id)(film.video_id, one.number)
    if one.story is None:
        return ScriptProblem(story_id, "segment_unreadable", "the release's segment holds no story")
    bare = replace(one.story, references=())
    story = fit_to_video(bare, film.path, film.info, index, Place(log, film.video_id, story_id))
    if story.start_frame is None or story.end_frame is None:
        return ScriptProblem(story_id, "segment_frames_missing", "nobody knows where in the film it lies")
    if story.start_frame >= story.end_frame:
        span = f"frames {bare.start_frame} to {bare.end_frame}"
        return ScriptProblem(story_id, "segment_outside_film", f"the film of {len(index)} frames lacks its {span}")
    return Segment(story.start_frame, story.end_frame)


def told_references(annotation: Path, film: FilmSource, index: FrameIndex) -> tuple[dict[str, Story], dict[str, int]]:
    """Return story ID -> the release's story with masks at the frames and size of the film, and problems of masks.

    Raises:
        InputError: If the annotation is missing or damaged.
    """
    log = ProblemLog()
    stories: dict[str, Story] = {}
    for one in read_annotation(annotation).segments:
        if one.story is not None and not one.is_audio:
            place = Place(log, film.video_id, one.story.story_id)
            fitted = fit_to_video(one.story, film.path, film.info, index, place)
            stories[make_story_id(film.video_id, one.number)] = fitted
    # What concerns time was told when the segments were placed.
    return stories, {code: count for code, count in sorted(log.counts.items()) if code.startswith("mask_")}


def as_audio_story(story: Story, number: int) -> Story:
    """Return a story under the ID of a segment of the audio release."""
    story_id = make_audio_story_id(story.video_id, number)
    shots = [replace(shot, shot_id=make_shot_id(story_id, shot.index)) for shot in story.shots]
    return replace(story, story_id=story_id, shots=tuple(shots))


def told_audio(stories: Sequence[Story], audio_stories: Sequence[Story]) -> dict[str, Any]:
    """Return what the audio stage gives, from the sounds that a release tells of.

    Args:
        stories: Of the picture release; the annotated shots of a story are its audio story.
        audio_stories: Of the audio release; they stay whole.
    """
    told: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for story in stories:
        heard = [shot for shot in story.shots if shot.audio is not None]
        if heard:
            shots = [replace(shot, index=number) for number, shot in enumerate(heard)]
            told[story.story_id] = story.with_shots(shots).to_json()
            counts["kept"] += len(heard)
    for story in audio_stories:
        told[story.story_id] = story.to_json()
        counts.update("not_annotated" if shot.audio is None else "kept" for shot in story.shots)
    return {"stories": told, "dropped": [], "stretches": [], "counts": dict(sorted(counts.items())), "answers": None}


def _answer(value: Mapping[str, Any]) -> Answer:
    return Answer(outcome="ok", text=json.dumps(value), model=MODEL_NAME)


def _invalid(detail: str) -> Answer:
    return Answer(outcome="invalid", detail=detail, model=MODEL_NAME)


def _overlap_seconds(story: Story, shot: Shot, request: AudioRequest) -> float:
    """Return how long an annotated shot and the stretch that is asked about sound together."""
    spans = [_seconds(story, shot), _seconds(request.story, request.shot)]
    if spans[0] is None or spans[1] is None:
        return 0.0
    return min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])


def _seconds(story: Story, shot: Shot) -> tuple[float, float] | None:
    if story.frame_rate is None or shot.start_frame is None or shot.end_frame is None:
        return None
    return seconds_at(shot.start_frame, story.frame_rate), seconds_at(shot.end_frame, story.frame_rate)
