"""Write one config's rows as Parquet, in one pass, so that every reader is served well.

A story never crosses a row group or a shard; row groups are capped by bytes, because readers fetch whole ones and
pyarrow cannot read a nested group above 2 GiB. Text is compressed and dictionary-coded, media bytes are stored as they
are. The features are embedded in the notation that `datasets` 2 to 5 all read. The same rows give the same bytes.

Source of the limits: the Hub's advice for Parquet datasets (page index, content-defined chunks) and measurements with
datasets 5.2.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Audio, Features, Image, Video

from animeshooter_hf.dataset_builder.manifest import ShardFacts
from animeshooter_hf.errors import InputError

__all__ = ["ConfigWriter", "ShardFacts", "WriterSettings", "legacy_schema", "open_parquet", "shard_facts"]

_ROWS_AT_ONCE = 64
_CHUNKING = {"min_chunk_size": 256 << 10, "max_chunk_size": 1 << 20, "norm_level": 0}


@dataclass(frozen=True, kw_only=True, slots=True)
class WriterSettings:
    """How rows are grouped into files."""

    row_group_bytes: int = 32 << 20
    """A row group is closed when it holds this much. Our choice: the first row streams fast."""

    shard_bytes: int = 500 << 20
    """A shard is closed when it holds this much. The Hub's advice."""

    max_story_bytes: int = 256 << 20
    """A story that is larger than this is refused, so no row group is larger. Our choice: a reader holds a whole one,
    and from 2 GiB on pyarrow cannot read a nested one at all."""

    def __post_init__(self) -> None:
        if not 0 < self.row_group_bytes <= self.shard_bytes:
            raise ValueError(f"row_group_bytes must lie in 1 to shard_bytes, got {self.row_group_bytes}.")


class ConfigWriter:
    """Writes the shards of one split of one config; rows come story by story."""

    def __init__(self, root: Path, config: str, split: str, features: Features, settings: WriterSettings) -> None:
        self._root, self._config, self._split, self._settings = root, config, split, settings
        self._schema = legacy_schema(features)
        is_media = {name for name, feature in features.items() if isinstance(feature, Audio | Image | Video)}
        self._media = {name: _MediaCells(settings.row_group_bytes) for name in features if name in is_media}
        self._text_schema = pa.schema([field for field in self._schema if field.name not in self._media])
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._row_bytes = self._shard_bytes = 0
        self._paths: list[Path] = []
        self._memory_bytes: list[int] = []
        self._writer: pq.ParquetWriter | None = None

    def write_story(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append all rows of a story.

        Raises:
            InputError: If the story is too large for one row group; nothing of it is written then.
            ValueError: If a media cell has no name with an extension, by which viewers know what it is.
        """
        size = sum(_size(row) for row in rows)
        if size > self._settings.max_story_bytes:
            raise InputError(
                f"Story {rows[0]['story_id']} holds {size:,} bytes in {self._config}, "
                f"more than the {self._settings.max_story_bytes:,} bytes that one row group may hold."
            )
        for row in rows:
            self._check_names(row)
        if self._row_bytes and self._row_bytes + size > self._settings.row_group_bytes:
            self._flush()
        for row in rows:
            for name, cells in self._media.items():
                cells.add(row.get(name))
            self._rows.append({key: value for key, value in row.items() if key not in self._media})
        self._row_bytes += size
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._pack()

    def close(self) -> list[ShardFacts]:
        """Finish the last file, give the shards their final names and return what was written."""
        if self._row_bytes:
            self._flush()
        if self._writer is not None:
            self._writer.close()
        shards = []
        for number, (path, memory_bytes) in enumerate(zip(self._paths, self._memory_bytes, strict=True)):
            final = path.with_name(f"{self._split}-{number:05d}-of-{len(self._paths):05d}.parquet")
            path.replace(final)
            shards.append(shard_facts(self._root, final, memory_bytes))
        return shards

    def _check_names(self, row: dict[str, Any]) -> None:
        for name in self._media:
            cell = row.get(name)
            if cell is not None and cell["bytes"] is not None and not PurePosixPath(cell["path"] or "").suffix:
                raise ValueError(
                    f"The {name} of a row of {row['story_id']} in {self._config} must have a path with an extension, "
                    f"got {cell['path']!r}."
                )

    def _pack(self) -> None:
        """Turn the texts so far into a table, which takes less room than rows."""
        if self._rows:
            self._tables.append(pa.Table.from_pylist(self._rows, schema=self._text_schema))
        self._rows = []

    def _flush(self) -> None:
        """Write a row group."""
        self._pack()
        # In one piece: where the pieces end must not show in the file.
        text = pa.concat_tables(self._tables).combine_chunks()
        self._tables = []
        columns = [
            self._media[field.name].finish(field.type) if field.name in self._media else text[field.name]
            for field in self._schema
        ]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        if self._writer is not None and self._shard_bytes + self._row_bytes > self._settings.shard_bytes:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer, self._shard_bytes = self._open(), 0
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._memory_bytes[-1] += table.nbytes
        self._shard_bytes += self._row_bytes
        self._row_bytes = 0

    def _open(self) -> pq.ParquetWriter:
        path = self._root / self._config / f".{self._split}-{len(self._paths):05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._paths.append(path)
        self._memory_bytes.append(0)
        return open_parquet(path, self._schema)


class _MediaCells:
    """The cells of a media column; their bytes lie behind each other, so a row group is held once, not three times."""

    def __init__(self, room_bytes: int) -> None:
        self._room_bytes = room_bytes
        self._start()

    def _start(self) -> None:
        self._data = np.empty(self._room_bytes, np.uint8)  # takes memory only as far as it is written to
        self._ends = [0]
        self._paths: list[str | None] = []
        self._has_bytes: list[bool] = []
        self._is_null: list[bool] = []

    def add(self, cell: Mapping[str, Any] | None) -> None:
        """Append a cell, `{"path": ..., "bytes": ...}` or None."""
        data = None if cell is None else cell["bytes"]
        start = self._ends[-1]
        end = start + len(data or b"")
        if end > len(self._data):
            larger = np.empty(max(end, 2 * len(self._data)), np.uint8)
            larger[:start] = self._data[:start]
            self._data = larger
        self._data[start:end] = np.frombuffer(data or b"", np.uint8)
        self._ends.append(end)
        self._paths.append(None if cell is None else cell["path"])
        self._has_bytes.append(data is not None)
        self._is_null.append(cell is None)

    def finish(self, kind: pa.StructType) -> pa.StructArray:
        """Return the cells so far, and begin anew."""
        number = len(self._paths)
        offsets = pa.array(self._ends, pa.int32()).buffers()[1]
        has_all = all(self._has_bytes)
        validity = None if has_all else pa.array([1 if has else None for has in self._has_bytes]).buffers()[0]
        data = pa.py_buffer(self._data[: self._ends[-1]])
        leaves = {
            "bytes": pa.Array.from_buffers(pa.binary(), number, [validity, offsets, data]),
            "path": pa.array(self._paths, pa.string()),
        }
        mask = pa.array(self._is_null) if any(self._is_null) else None
        cells = pa.StructArray.from_arrays([leaves[field.name] for field in kind], fields=list(kind), mask=mask)
        self._start()
        return cells


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a writer with the settings that all our files have; a leaf called `bytes` holds media."""
    columns = _column_paths(schema)
    text = [column for column in columns if not column.endswith(".bytes")]
    return pq.ParquetWriter(
        path,
        schema,
        compression={column: "ZSTD" if column in text else "NONE" for column in columns},
        use_dictionary=text,
        write_page_index=True,
        use_content_defined_chunking=_CHUNKING,
    )


def shard_facts(root: Path, path: Path, memory_bytes: int) -> ShardFacts:
    """Return what is to be known of a finished file.

    Args:
        root: The dataset's folder.
        path: The file, in the folder of its config.
        memory_bytes: Size of its rows in Arrow.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ShardFacts(
        path=path.relative_to(root).as_posix(),
        num_rows=pq.read_metadata(path).num_rows,
        num_bytes=path.stat().st_size,
        sha256=digest,
        memory_bytes=memory_bytes,
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
