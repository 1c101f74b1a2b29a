"""The references stage: who can be cut out where, and what was decided about every candidate."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.release_annotator import told_references
from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks, read_script, script_path
from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult, file_state
from animeshooter_hf.dataset_builder.references.find import find_references
from animeshooter_hf.dataset_builder.references.given import count_given, judge_given
from animeshooter_hf.dataset_builder.references.pictures import FilmPictures
from animeshooter_hf.dataset_builder.references.rules import MaskRules
from animeshooter_hf.dataset_builder.references.segmenter import Segmenter, SegmenterConfig, open_segmenter
from animeshooter_hf.dataset_builder.references.truth import TruthSegmenter
from animeshooter_hf.dataset_builder.references.verdicts import ReferenceSettings, ReferenceVerdict, count_reasons
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.dataset_builder.stages.answering import (
    AnnotatorConfig,
    answering_key,
    answering_settings,
    open_annotator,
)
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of
from animeshooter_hf.records import ReferenceMask, Story, rle_to_json

__all__ = ["ReferencesStage"]


@dataclass(frozen=True, kw_only=True)
class ReferencesStage:
    """Finds the reference images of every story of a film."""

    segmenter: SegmenterConfig | None = None
    """Who finds figures; None takes the masks of the film's own script, and finds nothing without one."""

    settings: ReferenceSettings = field(default_factory=ReferenceSettings)
    """How many, and our own limits."""

    rules: MaskRules = field(default_factory=MaskRules)
    """The paper's limits."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Who verifies."""

    prompts: tuple[str, ...] = ()
    """Hashes of the prompts."""

    name = "references"
    version = 1
    needs = ("scan", "script")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {
            "segmenter": None if self.segmenter is None else self.segmenter.key(),
            "settings": settings_to_json(self.settings),
            "rules": settings_to_json(self.rules),
            "annotator": answering_settings(self.annotator),
            "prompts": list(self.prompts),
        }

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return {**answering_key(self.annotator, item), "masks": file_state(script_path(item.path))}

    def run(self, context: StageContext) -> StageResult:
        """Find the references, story by story."""
        film, scan = film_of(context), scan_of(context)
        if self.annotator.kind_for(film.path, context.item.annotation) == "release":
            return self._given(context, film, scan)
        segmenter = self._segmenter(film)
        if segmenter is None:
            return StageResult(output={"references": {}, "verdicts": [], "counts": {}, "answers": None})
        annotator = None
        # Masks that are exact need nobody's word.
        if self.annotator.verify_references and not (segmenter.is_exact and self.annotator.kind in ("auto", "script")):
            annotator = open_annotator(self.annotator, film.path, context.store.folder, context.item.annotation)
        kept: dict[str, list[dict[str, Any]]] = {}
        verdicts: list[Any] = []
        avoid = [(one.start_frame, one.end_frame) for one in scan.boundaries if one.end_frame > one.start_frame]
        with FilmPictures(film.path, film.info.width, film.info.height, scan.samples) as pictures:
            for row in context.inputs["script"]["stories"]:
                story = Story.from_json(row)
                found = find_references(
                    story,
                    context.inputs["script"]["phrases"].get(story.story_id, {}),
                    segmenter,
                    pictures,
                    annotator,
                    self.settings,
                    self.rules,
                    film=film,
                    sampled=[sample.frame for sample in scan.samples],
                    avoid=avoid,
                )
                kept[story.story_id] = [_reference_row(one) for one in found.kept]
                verdicts += found.verdicts
        if annotator is not None:
            annotator.require_answers()
        return StageResult(
            output={
                "references": kept,
                "verdicts": [one.to_json() for one in verdicts],
                "counts": count_reasons(verdicts),
                "answers": None if annotator is None else annotator.provenance(),
            }
        )

    def _given(self, context: StageContext, film: FilmSource, scan: FilmScan) -> StageResult:
        """Take the release's masks as they are; no segmenter is asked."""
        if context.item.annotation is None:
            raise ValueError(f"{film.path} has no annotation of a release.")
        given, problems = told_references(context.item.annotation, film, scan.index)
        kept: dict[str, list[dict[str, Any]]] = {}
        verdicts: list[ReferenceVerdict] = []
        for row in context.inputs["script"]["stories"]:
            story = Story.from_json(row)
            found = judge_given(
                story, given[story.story_id].references, (film.info.height, film.info.width), self.rules
            )
            kept[story.story_id] = [_reference_row(one) for one in found.kept]
            verdicts += found.verdicts
        return StageResult(
            output={
                "references": kept,
                "verdicts": [one.to_json() for one in verdicts],
                "counts": count_given(verdicts),
                "problems": problems,
                "answers": None,
            }
        )

    def _segmenter(self, film: FilmSource) -> Segmenter | None:
        if self.segmenter is not None and self.segmenter.name != "truth":
            return _open_once(self.segmenter)
        path = script_path(film.path)
        masks = read_script(path).get("masks") if path.is_file() else None
        return TruthSegmenter(SidecarMasks(masks)) if masks else None


def _reference_row(one: ReferenceMask) -> dict[str, Any]:
    return {"character_id": one.character_id, "frame_index": one.frame_index, "mask": rle_to_json(one.mask)}


@lru_cache(maxsize=1)
def _open_once(config: SegmenterConfig) -> Segmenter:
    """Return a segmenter; its weights are loaded once per process."""
    return open_segmenter(config)
