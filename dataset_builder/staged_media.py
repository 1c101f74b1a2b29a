"""The media rows of a film, made by a worker and kept as Parquet until the dataset is packaged.

One file per film and config, one row group per story that has rows, so that packaging takes over rows without touching
a decoder, and a stopped build does not cut a clip twice.
"""

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.package_media import StoryMedia
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.records import Story

__all__ = ["MEDIA_CONFIGS", "StagedMedia", "stage_media"]

MEDIA_CONFIGS = ("shots", "references", "audio")
"""The configs that hold media."""

_KEPT_FILMS = 2
_TEXTS = (
    "storyline", "narrative_caption", "descriptive_caption", "appearance", "audio_type", "sound_description",
    "visual_context",
)  # fmt: skip


def stage_media(media: Mapping[str, StoryMedia]) -> dict[str, bytes]:
    """Return config -> Parquet file of the rows of a film's stories; a config without rows has none.

    Args:
        media: Story ID -> its rows.
    """
    files: dict[str, bytes] = {}
    for config in MEDIA_CONFIGS:
        schema = CONFIGS[config].arrow_schema
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, schema, compression="NONE", use_dictionary=False) as writer:
            empty = True
            for made in media.values():
                rows = getattr(made, config)
                if rows:
                    writer.write_table(pa.Table.from_pylist(list(rows), schema=schema), row_group_size=len(rows))
                    empty = False
        if not empty:
            files[config] = sink.getvalue()
    return files


class StagedMedia:
    """The staged rows of all films; a source of media for `write_dataset`."""

    def __init__(
        self,
        files: Mapping[str, Mapping[str, str]],
        fetch: Callable[[str], Path],
        *,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        """Take note of the files.

        Args:
            files: Video ID -> config -> name of the staged file.
            fetch: Name -> local path.
            clean: What is done to every text that somebody wrote, such as taking private data out.
        """
        self._files, self._fetch, self._clean = files, fetch, clean
        self._open: OrderedDict[str, dict[str, dict[str, list[dict[str, Any]]]]] = OrderedDict()

    def story_media(self, story: Story) -> StoryMedia | None:
        """Return the rows of a story, or None if its film has none at all."""
        if story.video_id not in self._files:
            return None
        by_config = self._rows(story.video_id)
        rows: dict[str, Sequence[dict[str, Any]]] = {
            config: by_config.get(config, {}).get(story.story_id, []) for config in MEDIA_CONFIGS
        }
        return StoryMedia(shots=rows["shots"], references=rows["references"], audio=rows["audio"], skipped=())

    def _rows(self, video_id: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Return config -> story -> rows of a film; the last films stay open, since stories come film by film."""
        if video_id not in self._open:
            opened: dict[str, dict[str, list[dict[str, Any]]]] = {}
            for config, name in self._files[video_id].items():
                by_story = opened.setdefault(config, {})
                for row in pq.read_table(self._fetch(name)).to_pylist():
                    if self._clean is not None:
                        row.update({key: self._clean(row[key]) for key in _TEXTS if row.get(key)})
                    by_story.setdefault(row["story_id"], []).append(row)
            self._open[video_id] = opened
            if len(self._open) > _KEPT_FILMS:
                self._open.popitem(last=False)
        return self._open[video_id]
