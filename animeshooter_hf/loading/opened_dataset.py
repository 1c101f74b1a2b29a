"""An opened dataset: its tables and caches. It crosses to another process as a description, never with handles."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.byte_source import ByteCache, ReadCounter
from animeshooter_hf.loading.clip_decoder import ClipCache
from animeshooter_hf.loading.dataset_files import DatasetFiles
from animeshooter_hf.loading.parquet_table import ParquetTable

__all__ = ["MEDIA", "CacheInfo", "CacheSettings", "OpenedDataset"]

MEDIA = {"video": "shots", "references": "references", "audio": "audio"}
"""What can be joined -> the config that holds it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings:
    """How much a view keeps; per process. Our choice: little beside a training process, enough for a few stories."""

    max_clips: int = 16
    """Clips whose decoder stays open."""

    clip_bytes: int = 256 << 20
    """Memory of those clips and decoders."""

    text_bytes: int = 64 << 20
    """Text of the row groups that were read last."""

    block_bytes: int = 256 << 20
    """Pages of media that were read last from afar."""

    def __post_init__(self) -> None:
        for name in ("max_clips", "clip_bytes", "text_bytes", "block_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheInfo:
    """What a view has read and kept in this process."""

    num_reads: int
    """Ranges of files that were read."""

    bytes_read: int
    """Bytes in them."""

    clips_opened: int
    """Clips that were opened for decoding."""

    clips_reused: int
    """How often a clip was still open."""

    clips_kept: int
    """Clips open now."""

    clip_bytes: int
    """About the memory that they hold."""

    frames_decoded: int
    """Frames that went through a decoder, on the way to others included."""

    text_bytes: int
    """Text kept."""

    block_bytes: int
    """Pages of media kept."""


class OpenedDataset:
    """The tables of one split; opened when first needed, anew in every process."""

    def __init__(self, files: DatasetFiles, media: Sequence[str], settings: CacheSettings) -> None:
        self.files, self.media, self.settings = files, tuple(media), settings
        self._lock = threading.Lock()
        self._process = -1
        self._open_anew()

    def __reduce__(self) -> Any:
        return OpenedDataset, (self.files, self.media, self.settings)

    @property
    def is_remote(self) -> bool:
        """Whether the files are read over a network."""
        return self.files.protocol is not None

    def table(self, config: str) -> ParquetTable | None:
        """Return the rows of a config, or None if it is not there.

        Raises:
            InputError: If one of its files cannot be read.
        """
        if self._process != os.getpid():
            self._open_anew()
        with self._lock:
            if config not in self._tables:
                sources = self.files.open(config, self._counter)
                self._tables[config] = ParquetTable(sources, self._texts, self._blocks) if sources else None
            return self._tables[config]

    def media_table(self, kind: str) -> ParquetTable | None:
        """Return the rows that hold a kind of media, or None if it was not asked for or is not there."""
        return self.table(MEDIA[kind]) if kind in self.media else None

    def clip_frames(self, row: int, choose: Callable[[Any], Sequence[int]]) -> NDArray[np.uint8]:
        """Return frames of a row of `shots`.

        Args:
            row: The row.
            choose: Given the clip's index of frames, returns which ones.

        Raises:
            InputError: If the clip is not there or cannot be decoded.
        """
        table = self.media_table("video")
        if table is None:
            raise InputError("the dataset holds no video")
        with self.clips.borrow(row, lambda: self.clip(row)) as decoder:
            return decoder.read(choose(decoder.index))

    def clip(self, row: int) -> bytes:
        """Return the mp4 of a row of `shots`.

        Raises:
            InputError: If there is none.
        """
        table = self.media_table("video")
        clip = None if table is None else table.media(row, "video")
        if clip is None:
            raise InputError("the dataset holds no clip of it")
        return clip

    def cache_info(self) -> CacheInfo:
        """Return what was read and what is kept."""
        counts = self.clips.counts
        return CacheInfo(
            num_reads=self._counter.num_reads,
            bytes_read=self._counter.num_bytes,
            clips_opened=counts.opened,
            clips_reused=counts.reused,
            clips_kept=len(self.clips),
            clip_bytes=self.clips.num_bytes,
            frames_decoded=counts.decoded,
            text_bytes=self._texts.num_bytes,
            block_bytes=self._blocks.num_bytes,
        )

    def _open_anew(self) -> None:
        """Forget handles and caches: they belong to the process that made them."""
        self._lock = threading.Lock()
        self._counter = ReadCounter()
        self._texts, self._blocks = ByteCache(self.settings.text_bytes), ByteCache(self.settings.block_bytes)
        self.clips = ClipCache(self.settings.max_clips, self.settings.clip_bytes)
        """The clips that are open."""
        self._tables: dict[str, ParquetTable | None] = {}
        self._process = os.getpid()
