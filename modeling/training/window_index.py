"""Which windows a dataset has: found from text alone, without a clip, and what was left out is counted.

Shape letters used below
    N rows of `shots`    K windows    S shots in a window
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from animeshooter_hf.loading.parquet_table import ParquetTable
from animeshooter_hf.modeling.training.window_settings import WindowSettings

__all__ = ["ShotRows", "WindowIndex", "find_windows"]

_COLUMNS = (
    "story_id", "shot_index", "start_frame", "end_frame", "start_time", "end_time", "is_prologue_or_epilogue",
    "narrative_caption", "descriptive_caption",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShotRows:
    """What of the rows of `shots` says whether they can be used."""

    story_N: NDArray[np.int64]
    """Number of the story in the view; -1 for one that is not in it."""

    index_N: NDArray[np.int64]
    """`shot_index`."""

    frames_N: NDArray[np.float64]
    """Frames that the shot gives at the wanted rate, the last perhaps a part of one; infinite where its length is not
    told. It has room for n frames if this is above n - 1."""

    is_title_N: NDArray[np.bool_]
    """Whether it is an opening or a closing."""

    has_caption_N: NDArray[np.bool_]
    """Whether there is a caption."""

    @classmethod
    def read(cls, table: ParquetTable, story_ids: Sequence[str], frame_rate: float | None) -> "ShotRows":
        """Read them, row group by row group."""
        places = {name: number for number, name in enumerate(story_ids)}
        columns = [name for name in _COLUMNS if name in table.column_names]
        parts = [_read_part(part, places, frame_rate) for part in table.column(columns)]
        joined = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 5
        return cls(
            story_N=joined[0].astype(np.int64),
            index_N=joined[1].astype(np.int64),
            frames_N=joined[2].astype(np.float64),
            is_title_N=joined[3].astype(np.bool_),
            has_caption_N=joined[4].astype(np.bool_),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WindowIndex:
    """The windows, as rows of `shots`."""

    firsts_K: NDArray[np.int64]
    """First row of each window; of drawn ones its first clip, which is also the pool that the others come from."""

    skipped: Mapping[str, int]
    """Reason -> windows that were left out for it."""


def find_windows(rows: ShotRows, settings: WindowSettings, has_references: NDArray[np.bool_]) -> WindowIndex:
    """Return the windows that can be trained on.

    Args:
        rows: The shots.
        settings: What is wanted of them.
        has_references: For each story of the view, whether it has a reference.
    """
    length = settings.window if settings.arrangement == "consecutive" else 1
    fewest = min(size.num_frames for size in settings.buckets)
    firsts = _starts(rows, settings, length)
    reasons = {
        "a shot has no caption": _any_of(~rows.has_caption_N, firsts, length),
        "its story has no reference": ~has_references[rows.story_N[firsts]],
        f"a shot has fewer than {fewest} frames": _any_of(rows.frames_N <= fewest - 1 + 1e-6, firsts, length),
    }
    if settings.without_references == "keep":
        del reasons["its story has no reference"]
    if settings.short_shots != "skip":
        del reasons[f"a shot has fewer than {fewest} frames"]
    keep = np.ones(len(firsts), np.bool_)
    skipped: dict[str, int] = {}
    for reason, is_so in reasons.items():
        if (is_so & keep).any():
            skipped[reason] = int((is_so & keep).sum())
        keep &= ~is_so
    firsts_K = firsts[keep]
    if settings.max_clips is not None:
        firsts_K = _of_first_clips(firsts_K, length, settings.max_clips)
    return WindowIndex(firsts_K=firsts_K, skipped=skipped)


def _any_of(flags_N: NDArray[np.bool_], firsts: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    """Return for each window whether a flag is set on one of its rows."""
    counts = np.concatenate([[0], np.cumsum(flags_N)])
    return np.asarray(counts[firsts + length] > counts[firsts])


def _of_first_clips(firsts_K: NDArray[np.int64], length: int, max_clips: int) -> NDArray[np.int64]:
    """Return the windows that need no other clips than the first so many."""
    clips: dict[int, None] = {}
    kept = []
    for first in firsts_K.tolist():
        needed = [row for row in range(first, first + length) if row not in clips]
        if len(clips) + len(needed) <= max_clips:
            clips |= dict.fromkeys(needed)
            kept.append(first)
    return np.asarray(kept, np.int64)


def _starts(rows: ShotRows, settings: WindowSettings, length: int) -> NDArray[np.int64]:
    """Return the first rows of all windows within stretches of shots of one story, one after the other."""
    usable_N = rows.story_N >= 0
    if not settings.with_titles:
        usable_N &= ~rows.is_title_N
    number = np.arange(len(usable_N), dtype=np.int64)
    breaks_N = np.ones(len(usable_N) + 1, np.bool_)
    breaks_N[1:-1] = (rows.story_N[1:] != rows.story_N[:-1]) | (rows.index_N[1:] != rows.index_N[:-1] + 1)
    breaks_N[1:-1] |= ~usable_N[1:] | ~usable_N[:-1]
    begins_N = np.maximum.accumulate(np.where(breaks_N[:-1], number, 0))
    # From behind: the row after the last of each row's stretch.
    ends_N = np.minimum.accumulate(np.where(breaks_N[1:], number + 1, len(number))[::-1])[::-1]
    fits_N = usable_N & (number + length <= ends_N) & ((number - begins_N) % settings.step == 0)
    return number[fits_N]


def _read_part(part: pa.Table, places: Mapping[str, int], frame_rate: float | None) -> tuple[NDArray[np.generic], ...]:
    def numbers(name: str) -> NDArray[np.float64]:
        return pc.cast(part[name], pa.float64()).to_numpy(zero_copy_only=False)

    if frame_rate is None:
        frames = numbers("end_frame") - numbers("start_frame")
    else:
        frames = (numbers("end_time") - numbers("start_time")) * frame_rate
    has_caption = np.zeros(len(part), np.bool_)
    for name in ("narrative_caption", "descriptive_caption"):
        lengths = pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(part[name], "")))
        has_caption |= lengths.to_numpy(zero_copy_only=False) > 0
    return (
        np.asarray([places.get(name, -1) for name in part["story_id"].to_pylist()], np.int64),
        numbers("shot_index"),
        np.where(np.isnan(frames), np.inf, frames),
        pc.fill_null(part["is_prologue_or_epilogue"], False).to_numpy(zero_copy_only=False),
        has_caption,
    )
