"""One config of one split as a table that is read bit by bit: footers, then single columns, then single clips.

Rows are numbered over all shards. Text comes by row group, which is small once the media are left out, and the last
ones are kept. A story is found by the smallest and largest story ID of each row group, which stand in the footers, so
nothing is read of row groups that cannot hold it.
"""

import bisect
import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.byte_source import ByteCache, ByteSource, SourceFile
from animeshooter_hf.loading.parquet_pages import MediaChunk, media_chunk, read_footer

__all__ = ["ParquetTable"]

_FOOTER_THREADS = 8


class ParquetTable:
    """The rows of one config of one split."""

    def __init__(self, sources: Sequence[ByteSource], texts: ByteCache, blocks: ByteCache) -> None:
        """Read the footers.

        Args:
            sources: The shards, in order.
            texts: Where text columns of the last row groups are kept.
            blocks: Where pages from afar, and columns that only pyarrow can read, are kept.

        Raises:
            InputError: If a shard is no Parquet file.
        """
        if any(source.is_remote for source in sources):
            with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
                self._shards = list(pool.map(lambda source: _Shard(source, texts, blocks), sources))
        else:
            self._shards = [_Shard(source, texts, blocks) for source in sources]
        self._groups = [(shard, group) for shard in self._shards for group in range(shard.num_groups)]
        counts = [shard.metadata.row_group(group).num_rows for shard, group in self._groups]
        self.group_starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        """First row of each row group, and the number of rows at the end."""
        self.column_names: list[str] = self._shards[0].column_names
        """Names of the columns at the top."""
        self._stories = _StoryFinder([shard.story_range(group) for shard, group in self._groups])
        self._rows_of_group: dict[int, dict[str, tuple[int, int]]] = {}

    def __len__(self) -> int:
        return int(self.group_starts[-1])

    @property
    def num_groups(self) -> int:
        """Number of row groups."""
        return len(self._groups)

    def leaf(self, column: str, name: str) -> str:
        """Return the dotted path of a leaf of a nested column, such as "shots.list.element.shot_index".

        Raises:
            InputError: If there is none.
        """
        return self._shards[0].leaf(column, name)

    def group_of(self, row: int) -> int:
        """Return the row group of a row."""
        return int(np.searchsorted(self.group_starts, row, side="right")) - 1

    def column(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns, row group by row group, without keeping them; dotted paths name leaves."""
        for shard, group in self._groups:
            yield shard.read(group, columns)

    def rows(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return text columns of rows of the whole table, in the order asked."""
        found = []
        for row in rows:
            number = self.group_of(row)
            shard, group = self._groups[number]
            table = shard.text(group, columns)
            found.append(table.slice(row - int(self.group_starts[number]), 1).to_pylist()[0])
        return found

    def story_rows(self, story_id: str) -> list[int]:
        """Return the rows of a story, in order; none if it has none."""
        rows: list[int] = []
        for number in self._stories.candidates(story_id):
            start, end = self._index_of(number).get(story_id, (0, 0))
            rows.extend(range(start, end))
        return rows

    def media(self, row: int, column: str) -> bytes | None:
        """Return the bytes of a media cell, or None where there are none.

        Raises:
            InputError: If the file is damaged there.
        """
        number = self.group_of(row)
        shard, group = self._groups[number]
        value = shard.media(group, row - int(self.group_starts[number]), column)
        return None if value is None else bytes(value)

    def _index_of(self, number: int) -> dict[str, tuple[int, int]]:
        """Return story -> (first row, row after the last) of a row group."""
        if number not in self._rows_of_group:
            shard, group = self._groups[number]
            ids = shard.read(group, ["story_id"])["story_id"].combine_chunks()
            runs = pc.run_end_encode(ids.cast(pa.string()))
            start = int(self.group_starts[number])
            index: dict[str, tuple[int, int]] = {}
            begin = 0
            for name, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
                index[name] = (index[name][0] if name in index else start + begin, start + end)
                begin = end
            self._rows_of_group[number] = index
        return self._rows_of_group[number]


class _StoryFinder:
    """Which row groups can hold a story, from the smallest and largest ID of each."""

    def __init__(self, ranges: Sequence[tuple[str, str] | None]) -> None:
        self._ranges = ranges
        known = [one for one in ranges if one is not None]
        self._is_sorted = len(known) == len(ranges) and all(
            before[1] <= after[0] for before, after in itertools.pairwise(known)
        )
        self._largest = [one[1] for one in known] if self._is_sorted else []

    def candidates(self, story_id: str) -> Iterator[int]:
        start = bisect.bisect_left(self._largest, story_id) if self._is_sorted else 0
        for number in range(start, len(self._ranges)):
            one = self._ranges[number]
            if one is None or one[0] <= story_id <= one[1]:
                yield number
            elif self._is_sorted:
                return


class _Shard:
    """One Parquet file."""

    def __init__(self, source: ByteSource, texts: ByteCache, blocks: ByteCache) -> None:
        self._source, self._texts, self._blocks = source, texts, blocks
        self._footer = read_footer(source)
        try:
            self.metadata = pq.read_metadata(self._footer.file())
            self._file = pq.ParquetFile(
                pa.PythonFile(SourceFile(source), mode="r"), metadata=self.metadata, pre_buffer=source.is_remote
            )
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{source.name} cannot be read as Parquet: {error}.") from error
        self.num_groups = self.metadata.num_row_groups
        self.column_names = list(self._file.schema_arrow.names)
        self._leaves = {self.metadata.schema.column(n).path: n for n in range(len(self.metadata.schema))}
        self._chunks: dict[tuple[int, int], MediaChunk | None] = {}
        self._lock = threading.Lock()

    def leaf(self, column: str, name: str) -> str:
        """Return the dotted path of a leaf."""
        for path in self._leaves:
            if path.startswith(f"{column}.") and path.endswith(f".{name}"):
                return path
        raise InputError(f"{self._source.name} has no {name} in {column}.")

    def story_range(self, group: int) -> tuple[str, str] | None:
        """Return the smallest and largest story ID of a row group, or None if the footer does not say."""
        statistics = self.metadata.row_group(group).column(self._leaves["story_id"]).statistics
        return (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of a row group; dotted paths name leaves.

        Raises:
            InputError: If the file is damaged there.
        """
        try:
            with self._lock:
                return self._file.read_row_group(group, columns=list(columns), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self._source.name} cannot be read in row group {group}: {error}.") from error

    def text(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Return columns of a row group, and keep them."""
        key = (self._source.name, group, tuple(columns))
        return self._texts.get_or_make(key, lambda: self.read(group, columns), lambda table: table.nbytes)

    def media(self, group: int, row: int, column: str) -> Any:
        """Return the bytes of a media cell, or None."""
        leaf = f"{column}.bytes"
        if leaf not in self._leaves:
            raise InputError(f"{self._source.name} has no column {leaf}.")
        key = (group, self._leaves[leaf])
        if key not in self._chunks:
            self._chunks[key] = media_chunk(self._source, self._footer, self.metadata, *key, self._blocks)
        chunk = self._chunks[key]
        if chunk is not None:
            return chunk.read(row)
        kept = (self._source.name, group, leaf)
        table = self._blocks.get_or_make(kept, lambda: self.read(group, [leaf]), lambda table: table.nbytes)
        cell = table[column][row].as_py()
        return None if cell is None else cell["bytes"]
