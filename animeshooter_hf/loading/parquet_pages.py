"""Read one value of a media column from a Parquet file without touching its neighbours.

pyarrow reads whole row groups, tens of megabytes for one clip. Media bytes are stored plain and uncompressed, in pages
of about a megabyte whose places stand in the file's page index; so the page that holds a row can be found, and in it
the value by its length, with a few hundred lines less than a general reader needs. What is stored in another way
(compressed, dictionary-coded, nested, without page index) is not for this file: `media_chunk` gives None and the caller
asks pyarrow.

Source: the Apache Parquet format (PageHeader, OffsetIndex, the hybrid of run lengths and bit packing) and Thrift's
compact protocol, in which its headers are written.
"""

import bisect
import struct
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.byte_source import Buffer, ByteCache, ByteSource

__all__ = ["Footer", "MediaChunk", "media_chunk", "read_footer"]

_MAGIC = b"PAR1"
_TAIL_BYTES = 64 << 10
"""First guess of how long footer and page indexes are together."""

_DATA_PAGE, _DATA_PAGE_V2, _PLAIN = 0, 3, 0
_HEADER_BYTES = 256
"""A page header is a few dozen bytes, more where it carries statistics, which media have not."""

_READ_AHEAD_BYTES = 8 << 20
"""How much is asked for at once, at most, where pages are read one after the other from afar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Footer:
    """The end of a Parquet file."""

    tail: Buffer
    """The last bytes of the file: the metadata, and most often the page indexes before it."""

    tail_offset: int
    """Where they begin in the file."""

    metadata: Buffer
    """Thrift's FileMetaData."""

    def file(self) -> pa.BufferReader:
        """Return a file that holds nothing but the end, for pyarrow to read the metadata from."""
        return pa.BufferReader(bytes(self.tail))


def read_footer(source: ByteSource) -> Footer:
    """Return the end of a Parquet file, in one read, or two if it is long.

    Raises:
        InputError: If it is no Parquet file.
    """
    size = min(source.size, _TAIL_BYTES)
    tail = source.read(source.size - size, size)
    if size < 12 or bytes(tail[-4:]) != _MAGIC:
        raise InputError(f"{source.name} is no Parquet file, or it is cut off.")
    length = int.from_bytes(tail[-8:-4], "little")
    if length + 8 > source.size:
        raise InputError(f"{source.name} is damaged: its footer is longer than the file.")
    if length + 8 > size:
        size = length + 8
        tail = source.read(source.size - size, size)
    return Footer(tail=tail, tail_offset=source.size - size, metadata=tail[-8 - length : -8])


class MediaChunk:
    """The values of one media column in one row group."""

    def __init__(self, source: ByteSource, pages: "_Pages", max_level: int, blocks: ByteCache) -> None:
        self._source, self._pages, self._max_level, self._blocks = source, pages, max_level, blocks
        self._expected = -1
        self._ahead = 0

    def read(self, row: int) -> Buffer | None:
        """Return the value of a row of the row group, or None where it is null.

        Raises:
            InputError: If the page is damaged.
        """
        number = bisect.bisect_right(self._pages.first_rows, row) - 1
        page = self._page(number)
        try:
            value, looked_at = _value(page, row - self._pages.first_rows[number], self._max_level)
        except (IndexError, KeyError, struct.error) as error:
            raise InputError(f"{self._source.name} is damaged: page {number} cannot be understood.") from error
        self._source.count(looked_at)
        return value

    def _page(self, number: int) -> Buffer:
        """Return a page; one from afar is kept, and pages that are read in order come several at a time."""
        start, size = self._pages.offsets[number], self._pages.sizes[number]
        if not self._source.is_remote:
            return self._source.view(start, size)
        kept = self._blocks.get((self._source.name, start))
        if kept is None:
            self._ahead = min(max(size, 2 * self._ahead), _READ_AHEAD_BYTES) if number == self._expected else 0
            last = number
            while last + 1 < len(self._pages.offsets) and self._pages.end(last + 1) - start <= self._ahead:
                last += 1
            data = memoryview(self._source.read(start, self._pages.end(last) - start))
            for one in range(number, last + 1):
                begin = self._pages.offsets[one] - start
                page = bytes(data[begin : begin + self._pages.sizes[one]])
                self._blocks.put((self._source.name, self._pages.offsets[one]), page, len(page))
                kept = page if one == number else kept
            self._expected = last + 1
        return kept


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pages:
    offsets: list[int]
    sizes: list[int]
    first_rows: list[int]

    def end(self, number: int) -> int:
        return self.offsets[number] + self.sizes[number]


def media_chunk(
    source: ByteSource, footer: Footer, metadata: Any, group: int, column: int, blocks: ByteCache
) -> MediaChunk | None:
    """Return a column of a row group that can be read value by value, or None if it is stored in another way.

    Args:
        source: The file.
        footer: Its end.
        metadata: The same as pyarrow reads it.
        group: Number of the row group.
        column: Number of the leaf column.
        blocks: Where pages from afar are kept.
    """
    facts, leaf = metadata.row_group(group).column(column), metadata.schema.column(column)
    is_plain = facts.compression == "UNCOMPRESSED" and not facts.has_dictionary_page
    if not (
        is_plain and facts.has_offset_index and leaf.physical_type == "BYTE_ARRAY" and not leaf.max_repetition_level
    ):
        return None
    chunk = _read_struct(footer.metadata, 0)[0][4][group][1][column]
    start, length = chunk[4], chunk[5]
    if start >= footer.tail_offset:
        raw = footer.tail[start - footer.tail_offset : start - footer.tail_offset + length]
    else:
        raw = source.read(start, length)
    places = _read_struct(raw, 0)[0][1]
    pages = _Pages(
        offsets=[place[1] for place in places],
        sizes=[place[2] for place in places],
        first_rows=[place.get(3, 0) for place in places],
    )
    return MediaChunk(source, pages, leaf.max_definition_level, blocks)


def _value(page: Buffer, row: int, max_level: int) -> tuple[Buffer | None, int]:
    """Return the value of a row of a page (None if null), and how many bytes were looked at."""
    header, at = _read_struct(page[:_HEADER_BYTES], 0)
    if header[1] == _DATA_PAGE and header[5][2] == _PLAIN:
        num_levels = int.from_bytes(page[at : at + 4], "little") if max_level else -4
        levels, at = page[at + 4 : at + 4 + num_levels], at + 4 + num_levels
        num_rows = header[5][1]
    elif header[1] == _DATA_PAGE_V2 and header[8][4] == _PLAIN:
        num_levels = header[8][5]
        levels, at = page[at : at + num_levels], at + num_levels
        num_rows = header[8][1]
    else:
        raise KeyError("the page is of another kind")
    is_there = _decode_levels(levels, num_rows, max_level) if max_level else [True] * num_rows
    if not is_there[row]:
        return None, at
    for _ in range(sum(is_there[:row])):
        at += 4 + int.from_bytes(page[at : at + 4], "little")
    size = int.from_bytes(page[at : at + 4], "little")
    if at + 4 + size > len(page):
        raise IndexError("the value is longer than its page")
    return page[at + 4 : at + 4 + size], size + 64


def _decode_levels(data: Buffer, num_values: int, max_level: int) -> list[bool]:
    """Return for each row whether its value is there, from run lengths and bit packs."""
    width = max_level.bit_length()
    levels: list[bool] = []
    at = 0
    while len(levels) < num_values:
        head, at = _read_varint(data, at)
        if head & 1:
            size = (head >> 1) * width
            bits = int.from_bytes(data[at : at + size], "little")
            mask = (1 << width) - 1
            levels += [bits >> (width * n) & mask == max_level for n in range((head >> 1) * 8)]
            at += size
        else:
            size = (width + 7) // 8
            levels += [int.from_bytes(data[at : at + size], "little") == max_level] * (head >> 1)
            at += size
    return levels[:num_values]


def _read_varint(data: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _read_zigzag(data: Buffer, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _read_struct(data: Buffer, at: int) -> tuple[dict[int, Any], int]:
    """Return number of field -> value of a struct in Thrift's compact protocol, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if not head:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_zigzag(data, at)
        kind = head & 15
        if kind in (1, 2):
            fields[number] = kind == 1
        else:
            fields[number], at = _read_value(data, at, kind)


def _read_value(data: Buffer, at: int, kind: int) -> tuple[Any, int]:
    if kind in (4, 5, 6):
        return _read_zigzag(data, at)
    if kind == 8:
        size, at = _read_varint(data, at)
        return data[at : at + size], at + size
    if kind == 12:
        return _read_struct(data, at)
    if kind in (9, 10):
        return _read_list(data, at)
    if kind in (1, 2, 3):
        return data[at], at + 1
    if kind == 7:
        return struct.unpack("<d", data[at : at + 8])[0], at + 8
    raise KeyError(f"Thrift has no type {kind} here")


def _read_list(data: Buffer, at: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    size = head >> 4
    if size == 15:
        size, at = _read_varint(data, at)
    values = []
    for _ in range(size):
        value, at = _read_value(data, at, head & 15)
        values.append(value)
    return values, at
