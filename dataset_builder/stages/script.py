"""The script stage: the story of each segment, asked, checked, mended and set to frames."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.annotate.release_annotator import (
    ReleaseAnnotator,
    as_audio_story,
    place_segments,
)
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.release.reader import make_audio_story_id
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.dataset_builder.script.align import Aligned, AlignSettings, write_segment_script
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.dataset_builder.stages.answering import (
    AnnotatorConfig,
    answering_key,
    answering_settings,
    open_annotator,
)
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of
from animeshooter_hf.errors import InputError

__all__ = ["ScriptStage"]


@dataclass(frozen=True, kw_only=True)
class ScriptStage:
    """Writes the stories of a film."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Who answers."""

    settings: AlignSettings = field(default_factory=AlignSettings)
    """How answers are checked and mended."""

    prompts: tuple[str, ...] = ()
    """Hashes of the prompts; a changed prompt is a changed setting."""

    name = "script"
    version = 1
    needs = ("scan", "segment")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {
            "annotator": answering_settings(self.annotator),
            "align": settings_to_json(self.settings),
            "prompts": list(self.prompts),
        }

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return answering_key(self.annotator, item)

    def run(self, context: StageContext) -> StageResult:
        """Ask for the script of each segment, several at once."""
        film, scan = film_of(context), scan_of(context)
        annotator = open_annotator(self.annotator, film.path, context.store.folder, context.item.annotation)
        segments = [Segment(**one) for one in context.inputs["segment"]["segments"]]
        # A release counts its segments by itself, and some of them may not be in the film.
        numbers = context.inputs["segment"].get("numbers", range(len(segments)))
        requests = [self._request(film, scan, *one) for one in zip(numbers, segments, strict=True)]
        in_flight = self.annotator.model.in_flight if self.annotator.model else 1
        with ThreadPoolExecutor(max(1, min(in_flight or 1, len(requests)))) as pool:
            told = list(pool.map(lambda one: write_segment_script(annotator, one, self.settings), requests))
        annotator.require_answers()
        output = _output(numbers, told)
        if self.annotator.kind_for(film.path, context.item.annotation) == "release":
            output |= self._audio_release(context, film, scan)
        if not output["stories"] and not output.get("audio_stories"):
            raise InputError(f"{film.path} tells no story that holds: {_first_reason(context, told)}.")
        return StageResult(output={**output, "answers": annotator.provenance()})

    def _audio_release(self, context: StageContext, film: FilmSource, scan: FilmScan) -> dict[str, Any]:
        """Return the stories of the audio release, set to frames like those of the picture release."""
        annotation = context.item.annotation
        if annotation is None:
            return {}
        placed = place_segments(annotation, film, scan.index, is_audio=True)
        annotator = ReleaseAnnotator(annotation, is_audio=True)
        parts = zip(placed.numbers, placed.segments, strict=True)
        told = [write_segment_script(annotator, self._request(film, scan, *one), self.settings) for one in parts]
        output = _output(placed.numbers, told)
        lost = [
            {"story": make_audio_story_id(film.video_id, one["segment"]), "reason": one["reason"]}
            for one in output["lost"]
        ]
        lost += [{"story": one.story_id, "reason": f"{one.code}: {one.detail}"} for one in placed.lost]
        stories = [
            as_audio_story(one.story, number) for number, one in zip(placed.numbers, told, strict=True) if one.story
        ]
        return {
            "audio_stories": [story.to_json() for story in stories],
            "audio_lost": lost,
            "audio_issues": output["issues"],
        }

    def _request(self, film: FilmSource, scan: FilmScan, number: int, segment: Segment) -> ScriptRequest:
        start, end = segment.start_frame, segment.end_frame
        return ScriptRequest(
            film=film,
            segment_index=number,
            segment=segment,
            cuts=tuple(one.frame for one in scan.boundaries if start < one.frame < end),
            samples=tuple(one for one in scan.samples if start <= one.frame < end),
            index=scan.index,
        )


def _first_reason(context: StageContext, told: Sequence[Aligned]) -> str:
    problems = context.inputs["segment"]["problems"]
    if told:
        return str(told[0].reason)
    return f"{problems[0]['code']}: {problems[0]['detail']}" if problems else "there is no segment"


def _output(numbers: Sequence[int], told: Sequence[Aligned]) -> dict[str, Any]:
    issues: Counter[str] = Counter()
    lost: list[dict[str, Any]] = []
    for number, one in zip(numbers, told, strict=True):
        issues.update(issue.code for issue in one.issues)
        if one.story is None:
            lost.append({"segment": number, "reason": one.reason})
    return {
        "stories": [one.story.to_json() for one in told if one.story],
        "phrases": {one.story.story_id: dict(one.phrases) for one in told if one.story},
        "issue_counts": dict(issues),
        "issues": [[number, asdict(issue)] for number, one in zip(numbers, told, strict=True) for issue in one.issues],
        "lost": lost,
        "attempts": [
            [
                {"outcome": attempt.answer.outcome, "model": attempt.answer.model, "text": attempt.answer.text}
                for attempt in one.attempts
            ]
            for one in told
        ],
    }
