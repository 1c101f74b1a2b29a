"""What the clips, pictures and sounds of a dataset are: sizes, frame rates, codecs; which clips are equal byte by byte.

Sizes come from the Parquet footers and hold for everything. The rest is read from a sample of the rows, spread evenly
over the files, or from all of them; one row group is in memory at a time. Nothing is decoded but the header.
"""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.statistics import Distribution, RunningDistribution

__all__ = ["MEDIA_COLUMNS", "EqualClip", "MediaReport", "MediaSummary", "count_unverified", "summarise_media"]

MEDIA_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "shots": ("video",),
    "references": ("image", "cutout", "mask"),
    "audio": ("video", "audio"),
}
"""Config -> its columns with media."""

_BATCH_ROWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaSummary:
    """One column with media."""

    num_rows: int
    """Rows."""

    total_bytes: int
    """Bytes of all media of the column, from the footers of the files."""

    num_read: int
    """Rows that were looked at."""

    num_missing: int
    """Of these, rows without media."""

    num_broken: int
    """Of these, rows whose media cannot be opened."""

    num_bytes: Distribution
    """Size of a medium."""

    seconds: Distribution
    """Length of a clip or a sound."""

    kinds: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """"size", "frame rate", "codec", "sample rate", "channels" or "format" -> value -> how often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualClip:
    """Clips that are equal byte by byte."""

    shots: tuple[str, ...]
    """Their IDs, the first few."""

    videos: tuple[str, ...]
    """Their videos."""

    splits: tuple[str, ...]
    """Their splits."""

    number: int
    """How many they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MediaReport:
    """What was found in the media."""

    columns: Mapping[str, MediaSummary] = field(default_factory=dict)
    """"shots.video", "references.image" ... -> its summary."""

    is_whole: bool = False
    """Whether every row was looked at."""

    num_equal_groups: int = 0
    """Groups of clips that are equal byte by byte, among those looked at."""

    equal_clips: tuple[EqualClip, ...] = ()
    """The largest of these groups; those over splits first."""

    equal_videos: tuple[tuple[str, ...], ...] = ()
    """Videos that share a clip."""


def summarise_media(
    files: Mapping[str, Mapping[str, Sequence[Path]]],
    *,
    sample: int | None,
    num_examples: int = 10,
    progress: bool = True,
) -> MediaReport:
    """Return what the media of a dataset are.

    Args:
        files: Config -> split -> Parquet files.
        sample: Rows to look at per config; None for all.
        num_examples: Groups of equal clips that are listed.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If a file cannot be read.
    """
    columns: dict[str, MediaSummary] = {}
    equal = _EqualClips()
    for config, by_split in files.items():
        places = [(split, path) for split, paths in by_split.items() for path in paths]
        tallies = {column: _Tally() for column in MEDIA_COLUMNS.get(config, ())}
        sizes, num_rows = _sizes(places, list(tallies))
        chosen = _choose(num_rows, sample)
        with tqdm(total=len(chosen), desc=config, unit=" rows", disable=None if progress else True) as bar:
            for split, row in _read_chosen(places, chosen, list(tallies)):
                for column, tally in tallies.items():
                    data = (row[column] or {}).get("bytes")
                    tally.add(data, column)
                    if config == "shots" and data:
                        equal.add(data, row, split)
                bar.update()
        columns |= {
            f"{config}.{column}": tally.finish(num_rows=num_rows, total_bytes=sizes[column])
            for column, tally in tallies.items()
        }
    groups = equal.groups()
    return MediaReport(
        columns=columns,
        is_whole=all(one.num_read == one.num_rows for one in columns.values()),
        num_equal_groups=len(groups),
        equal_clips=tuple(groups[:num_examples]),
        equal_videos=tuple(sorted({group.videos for group in groups if len(group.videos) > 1})),
    )


def count_unverified(paths: Sequence[Path]) -> dict[str, int]:
    """Return how many references are "verified", "rejected" and "unverified" (nobody has looked)."""
    counts: Counter[bool | None] = Counter()
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["is_verified"]):
                counts.update(batch.column(0).to_pylist())
    return {"verified": counts[True], "rejected": counts[False], "unverified": counts[None]}


class _Tally:
    """Looks at the media of one column."""

    def __init__(self) -> None:
        self._bytes, self._seconds = RunningDistribution(), RunningDistribution()
        self._kinds: dict[str, Counter[str]] = {}
        self._num_read = self._num_missing = self._num_broken = 0

    def add(self, data: bytes | None, column: str) -> None:
        self._num_read += 1
        if not data:
            self._num_missing += 1
            return
        self._bytes.add(len(data))
        try:
            facts, seconds = _LOOKS[column](data)
        except (InputError, UnidentifiedImageError, OSError, ValueError):
            self._num_broken += 1
            return
        if seconds is not None:
            self._seconds.add(seconds)
        for kind, value in facts.items():
            self._kinds.setdefault(kind, Counter())[value] += 1

    def finish(self, *, num_rows: int, total_bytes: int) -> MediaSummary:
        return MediaSummary(
            num_rows=num_rows,
            total_bytes=total_bytes,
            num_read=self._num_read,
            num_missing=self._num_missing,
            num_broken=self._num_broken,
            num_bytes=self._bytes.finish(),
            seconds=self._seconds.finish(),
            kinds={
                kind: dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0])))
                for kind, values in self._kinds.items()
            },
        )


class _EqualClips:
    """Keeps a hash per clip, and tells which are equal."""

    def __init__(self) -> None:
        self._of_hash: dict[bytes, list[tuple[str, str, str]]] = {}

    def add(self, data: bytes, row: Mapping[str, Any], split: str) -> None:
        key = hashlib.blake2b(data, digest_size=16).digest()
        self._of_hash.setdefault(key, []).append((row["shot_id"], row["video_id"], split))

    def groups(self) -> list[EqualClip]:
        found = [
            EqualClip(
                shots=tuple(shot for shot, _, _ in places[:5]),
                videos=tuple(sorted({video for _, video, _ in places})),
                splits=tuple(sorted({split for _, _, split in places})),
                number=len(places),
            )
            for places in self._of_hash.values()
            if len(places) > 1
        ]
        return sorted(found, key=lambda group: (-len(group.splits), -group.number, group.shots))


def _sizes(places: Sequence[tuple[str, Path]], columns: Sequence[str]) -> tuple[Counter[str], int]:
    """Return column -> bytes of its media, and the number of rows, from the footers."""
    sizes: Counter[str] = Counter()
    num_rows = 0
    for _, path in places:
        try:
            footer = pq.read_metadata(path)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read as Parquet.") from error
        num_rows += footer.num_rows
        for group in range(footer.num_row_groups):
            for number in range(footer.num_columns):
                column = footer.row_group(group).column(number)
                name = column.path_in_schema.removesuffix(".bytes")
                if name in columns and column.path_in_schema.endswith(".bytes"):
                    sizes[name] += column.total_compressed_size
    return sizes, num_rows


def _choose(num_rows: int, sample: int | None) -> list[int]:
    """Return the rows to look at, spread evenly and in order."""
    if sample is None or sample >= num_rows:
        return list(range(num_rows))
    return [int(number) for number in np.unique(np.linspace(0, num_rows - 1, sample).round())]


def _read_chosen(
    places: Sequence[tuple[str, Path]], chosen: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (split, row) of the chosen rows; only row groups that hold one are read."""
    wanted = set(chosen)
    first = 0
    for split, path in places:
        try:
            with pq.ParquetFile(path) as file:
                names = [name for name in ("shot_id", "video_id") if name in file.schema_arrow.names]
                for group in range(file.metadata.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    if not wanted.isdisjoint(range(first, first + count)):
                        number = first
                        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[*names, *columns]):
                            picked = [row for row in range(len(batch)) if number + row in wanted]
                            yield from ((split, row) for row in batch.take(pa.array(picked, pa.int64())).to_pylist())
                            number += len(batch)
                    first += count
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read as Parquet.") from error


def _look_at_video(data: bytes) -> tuple[dict[str, str], float]:
    from animeshooter_hf.video import probe

    info = probe(data)
    rate = float(info.frame_rate)
    return {
        "size": f"{info.width}x{info.height}",
        "frame rate": f"{rate:.3f}".rstrip("0").rstrip("."),
        "codec": info.codec,
        "sound track": "yes" if info.has_audio else "no",
    }, info.duration_seconds


def _look_at_picture(data: bytes) -> tuple[dict[str, str], None]:
    with Image.open(io.BytesIO(data)) as picture:
        return {"size": f"{picture.width}x{picture.height}", "format": f"{picture.format} {picture.mode}"}, None


def _look_at_sound(data: bytes) -> tuple[dict[str, str], float | None]:
    import av

    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.audio[0]
            seconds = None if container.duration is None else container.duration / av.time_base
            return {
                "sample rate": f"{stream.codec_context.sample_rate} Hz",
                "channels": str(stream.codec_context.channels),
                "codec": stream.codec_context.name,
            }, seconds
    except (av.FFmpegError, IndexError) as error:
        raise InputError("The sound cannot be opened.") from error


_LOOKS = {
    "video": _look_at_video,
    "image": _look_at_picture,
    "cutout": _look_at_picture,
    "mask": _look_at_picture,
    "audio": _look_at_sound,
}
