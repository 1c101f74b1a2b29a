"""The looks stage: what the characters of a film look like, as vectors. It exists only where identities are linked.

A vector is the mean over a character's cut-outs; linking over all films (`quality/all_films.py`) needs no more of them.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from animeshooter_hf.dataset_builder.engine.stage import Item, StageContext, StageResult
from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig, open_configured
from animeshooter_hf.dataset_builder.references.linking import CharacterLook, ImageEmbedder, describe_characters
from animeshooter_hf.dataset_builder.references.pictures import FilmPictures
from animeshooter_hf.dataset_builder.stages.film import film_of, scan_of
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["LooksStage", "read_looks"]


@dataclass(frozen=True, kw_only=True)
class LooksStage:
    """Describes every character of every story that has references."""

    embedder: EmbedderConfig = field(default_factory=EmbedderConfig)
    """Who makes vectors of cut-outs."""

    name = "looks"
    version = 1
    needs = ("scan", "script", "references")

    def settings_key(self) -> Mapping[str, Any]:
        """See `Stage`."""
        return self.embedder.key()

    def item_key(self, item: Item) -> Mapping[str, Any]:
        """See `Stage`."""
        return {}

    def run(self, context: StageContext) -> StageResult:
        """Describe the characters."""
        film, scan = film_of(context), scan_of(context)
        embedder = _open_once(self.embedder)
        references = context.inputs["references"]["references"]
        looks: list[CharacterLook] = []
        with FilmPictures(film.path, film.info.width, film.info.height, scan.samples) as pictures:
            for row in context.inputs["script"]["stories"]:
                story = Story.from_json({**row, "reference_masks": references.get(row["story_id"], [])})
                looks += describe_characters(
                    story.story_id, story.references, pictures, embedder, max_cutouts=self.embedder.max_cutouts
                )
        if not looks:
            return StageResult(output={"looks": None, "characters": [], "embedder": embedder.settings_key()})
        kept = io.BytesIO()
        np.save(kept, np.stack([one.embeddings.mean(0) for one in looks]).astype(np.float32))
        return StageResult(
            output={
                "looks": f"{context.blob_prefix}.npy",
                "characters": [[one.story_id, one.character_id, len(one.embeddings)] for one in looks],
                "embedder": embedder.settings_key(),
            },
            blobs={".npy": kept.getvalue()},
        )


def read_looks(output: Mapping[str, Any], path: Path | None) -> tuple[CharacterLook, ...]:
    """Return the looks of a film from the stage's output.

    Args:
        output: Of the stage.
        path: Its blob; None where nobody has a look.

    Raises:
        InputError: If the blob is missing or damaged.
    """
    if path is None:
        return ()
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"The looks {path} cannot be read: {error}.") from error
    told = output["characters"]
    if rows.ndim != 2 or len(rows) != len(told):
        raise InputError(f"The looks {path} are those of {len(rows)} characters, not of {len(told)}.")
    return tuple(
        CharacterLook(story_id=story_id, character_id=name, embeddings=row[None])
        for (story_id, name, _), row in zip(told, rows, strict=True)
    )


@lru_cache(maxsize=1)
def _open_once(config: EmbedderConfig) -> ImageEmbedder:
    """Return an embedder; its weights are loaded once per process."""
    return open_configured(config)
