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
        self._open: OrderedDict[str, dict[str, _StagedFile]] = OrderedDict()

    def story_media(self, story: Story) -> StoryMedia | None:
        """Return the rows of a story, or None if its film has none at all."""
        if story.video_id not in self._files:
            return None
        files = self._staged(story.video_id)
        rows = {config: self._rows(files, config, story.story_id) for config in MEDIA_CONFIGS}
        return StoryMedia(shots=rows["shots"], references=rows["references"], audio=rows["audio"], skipped=())

    def _rows(self, files: Mapping[str, "_StagedFile"], config: str, story_id: str) -> Sequence[dict[str, Any]]:
        rows = files[config].rows(story_id) if config in files else []
        if self._clean is not None:
            for row in rows:
                row.update({key: self._clean(row[key]) for key in _TEXTS if row.get(key)})
        return rows

    def _staged(self, video_id: str) -> Mapping[str, "_StagedFile"]:
        """Return config -> file of a film; the last films stay open, since stories come film by film."""
        if video_id not in self._open:
            self._open[video_id] = {
                config: _StagedFile(self._fetch(name)) for config, name in self._files[video_id].items()
            }
            if len(self._open) > _KEPT_FILMS:
                for file in self._open.popitem(last=False)[1].values():
                    file.close()
        return self._open[video_id]


class _StagedFile:
    """The staged rows of a film in one config; only the story that is asked for is read."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._groups: dict[str, list[int]] = {}
        for group in range(self._file.num_row_groups):
            names = self._file.read_row_group(group, columns=["story_id"])["story_id"].to_pylist()
            for name in dict.fromkeys(names):
                self._groups.setdefault(name, []).append(group)

    def rows(self, story_id: str) -> list[dict[str, Any]]:
        """Return the rows of a story, in their order."""
        found: list[dict[str, Any]] = []
        for group in self._groups.get(story_id, ()):
            found += [row for row in self._file.read_row_group(group).to_pylist() if row["story_id"] == story_id]
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()
