"""The probe stage: what a film says of itself. Films that are too long go no further, before anything is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult, file_state
from animeshooter_hf.dataset_builder.sources.folder import MAX_SECONDS, FilmFile, open_film
from animeshooter_hf.dataset_builder.stages.film import info_to_json

__all__ = ["ProbeStage"]


@dataclass(frozen=True, kw_only=True)
class ProbeStage:
    """Reads a film's packets once, without decoding."""

    max_seconds: float = MAX_SECONDS
    """Longer films are dropped. Paper: 20 minutes."""

    name = "probe"
    version = 1
    needs = ()

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return {"max_seconds": self.max_seconds}

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return {"film": file_state(item.path)}

    def run(self, context: StageContext) -> StageResult:
        """Probe the film."""
        film = open_film(FilmFile(video_id=context.item.id, path=context.item.path), max_seconds=self.max_seconds)
        return StageResult(output={"info": info_to_json(film.info)})
