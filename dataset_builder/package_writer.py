"""Write one config's rows as Parquet, in one pass, so that every reader is served well.

A story never crosses a row group or a shard; row groups are capped by bytes, because readers fetch whole ones and
pyarrow cannot read a nested group above 2 GiB. Text is compressed and dictionary-coded, media bytes are stored as they
are. The features are embedded in the notation that `datasets` 2 to 5 all read. The same rows give the same bytes.

Source of the limits: the Hub's advice for Parquet datasets (page index, content-defined chunks) and measurements with
datasets 5.2.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

__all__ = ["ConfigWriter", "ShardFacts", "WriterSettings", "legacy_schema"]

_CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class WriterSettings:
    """How rows are grouped into files."""

    row_group_bytes: int = 32 << 20
    """A row group is closed when it holds this much. Our choice: the first row streams fast."""

    shard_bytes: int = 500 << 20
    """A shard is closed when it holds this much. The Hub's advice."""

    max_story_bytes: int = 1 << 30
    """A story that is larger than this is refused: its row group could not be read."""

    def __post_init__(self) -> None:
        if not 0 < self.row_group_bytes <= self.shard_bytes:
            raise ValueError(f"row_group_bytes must lie in 1 to shard_bytes, got {self.row_group_bytes}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFacts:
    """What was written as one file."""

    path: str
    """Relative to the dataset's folder."""

    num_rows: int
    """Rows."""

    num_bytes: int
    """Size of the file."""

    sha256: str
    """Hash of the file."""


class ConfigWriter:
    """Writes the shards of one split of one config; rows come story by story."""

    def __init__(self, root: Path, config: str, split: str, features: Features, settings: WriterSettings) -> None:
        self._root, self._config, self._split, self._settings = root, config, split, settings
        self._schema = legacy_schema(features)
        self._columns = _column_paths(self._schema)
        self._rows: list[dict[str, Any]] = []
        self._row_bytes = self._shard_bytes = 0
        self._paths: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self.num_rows = self.num_bytes = 0

    def write_story(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append all rows of a story.

        Raises:
            ValueError: If the story is too large for one row group.
        """
        size = sum(_size(row) for row in rows)
        if size > self._settings.max_story_bytes:
            raise ValueError(
                f"Story {rows[0]['story_id']} holds {size >> 20} MiB in {self._config}, "
                f"more than the {self._settings.max_story_bytes >> 20} MiB that one row group may hold."
            )
        if self._rows and self._row_bytes + size > self._settings.row_group_bytes:
            self._flush()
        self._rows.extend(rows)
        self._row_bytes += size

    def close(self) -> list[ShardFacts]:
        """Finish the last file, give the shards their final names and return what was written."""
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        shards = []
        for number, path in enumerate(self._paths):
            final = path.with_name(f"{self._split}-{number:05d}-of-{len(self._paths):05d}.parquet")
            path.replace(final)
            with final.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            shards.append(
                ShardFacts(
                    path=f"{self._config}/{final.name}",
                    num_rows=pq.read_metadata(final).num_rows,
                    num_bytes=final.stat().st_size,
                    sha256=digest,
                )
            )
        return shards

    def _flush(self) -> None:
        table = pa.Table.from_pylist(self._rows, schema=self._schema)
        if self._writer is not None and self._shard_bytes + self._row_bytes > self._settings.shard_bytes:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer, self._shard_bytes = self._open(), 0
        self._writer.write_table(table, row_group_size=max(1, len(self._rows)))
        self.num_rows += len(self._rows)
        self.num_bytes += table.nbytes
        self._shard_bytes += self._row_bytes
        self._rows, self._row_bytes = [], 0

    def _open(self) -> pq.ParquetWriter:
        path = self._root / self._config / f".{self._split}-{len(self._paths):05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._paths.append(path)
        text = [column for column in self._columns if not column.endswith(".bytes")]
        return pq.ParquetWriter(
            path,
            self._schema,
            compression={column: "ZSTD" if column in text else "NONE" for column in self._columns},
            use_dictionary=text,
            write_page_index=True,
            use_content_defined_chunking=_CHUNKING,
        )


def legacy_schema(features: Features) -> pa.Schema:
    """Return the arrow schema with the features embedded in the notation that every `datasets` reads.

    `datasets` 4 and later write `List`, which earlier ones do not know; a plain JSON list, or `Sequence` where the
    length is fixed, means the same to all of them.
    """
    schema = features.arrow_schema
    metadata = json.loads((schema.metadata or {})[b"huggingface"])
    metadata["info"]["features"] = _legacy(metadata["info"]["features"])
    return schema.with_metadata({b"huggingface": json.dumps(metadata).encode()})


def _legacy(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node.get("_type") == "List":
        feature, length = _legacy(node["feature"]), node.get("length", -1)
        return [feature] if length == -1 else {"feature": feature, "length": length, "_type": "Sequence"}
    return {key: _legacy(value) for key, value in node.items()}


def _column_paths(schema: pa.Schema) -> list[str]:
    """Return the dotted path of every leaf, as Parquet names it."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    return [leaves.column(number).path for number in range(len(leaves))]


def _size(row: Any) -> int:
    """Return about how many bytes a row takes."""
    size, values = 0, [row]
    for value in values:  # grows on the way: a row has thousands of values, and a call for each would take longer
        kind = type(value)  # a row is made of plain types
        if kind is str or kind is bytes:
            size += len(value)
        elif kind is dict:
            values += value.values()
        elif kind is list or kind is tuple:
            values += value
        else:
            size += 8
    return size
