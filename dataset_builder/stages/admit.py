"""The admit stage: which films are taken in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.engine.stage import Item, NotYetError, StageContext, StageResult
from animeshooter_hf.dataset_builder.quality.admit import AdmitSettings, admit_film
from animeshooter_hf.dataset_builder.stages.answering import (
    AnnotatorConfig,
    answering_key,
    answering_settings,
    open_annotator,
)
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of

__all__ = ["AdmitStage"]


@dataclass(frozen=True, kw_only=True)
class AdmitStage:
    """Decides by rules first, and by the annotator's word where there is one."""

    settings: AdmitSettings = field(default_factory=AdmitSettings)
    """When a film is taken in."""

    annotator: AnnotatorConfig = field(default_factory=AnnotatorConfig)
    """Who looks at the pictures."""

    prompts: tuple[str, ...] = ()
    """Hashes of the prompts."""

    name = "admit"
    version = 1
    needs = ("scan",)

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {
            "settings": settings_to_json(self.settings),
            "annotator": answering_settings(self.annotator),
            "prompts": list(self.prompts),
        }

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return answering_key(self.annotator, item)

    def run(self, context: StageContext) -> StageResult:
        """Decide."""
        film = film_of(context)
        annotator = open_annotator(self.annotator, film.path, context.store.folder, context.item.annotation)
        decided = admit_film(film, scan_of(context), annotator, self.settings)
        annotator.require_answers()
        if not decided.is_decided:
            answer = decided.answer
            raise NotYetError(f"it is not known whether it is animation: {answer.detail if answer else 'no answer'}")
        reasons = "; ".join(decided.reasons)
        return StageResult(
            output={**decided.to_json(), "answers": annotator.provenance()},
            dropped=None if decided.admitted else f"{film.path} is left out: {reasons}.",
        )
