"""The statistics report of a rebuilt dataset: the paper's Table 1 row by row, and how the values are spread.

    OUT/statistics.json    everything that was counted, with the paper's figures
    OUT/statistics.txt     the same as tables to read
    OUT/statistics.svg     histograms, where matplotlib (extra `report`) is there

The arithmetic stands in `animeshooter_hf/statistics.py`, because a dataset's card shows the same numbers.

Source: AnimeShooter, arXiv 2506.03126, Table 1.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import DISTRIBUTIONS, PAPER_TABLE_1, StoryCounter, StoryStatistics, VideoFacts

__all__ = [
    "StoryStatistics",
    "TableRow",
    "VideoFacts",
    "paper_statistics",
    "statistics_text",
    "table_1",
    "video_facts",
    "write_statistics",
]

_TABLE_1: Sequence[tuple[str, str, str]] = (
    ("video", "total", "videos"),
    ("video", "mean duration, s", "video_seconds"),
    ("story", "total", "stories"),
    ("story", "mean duration, s", "story_seconds"),
    ("story", "words of the storyline", "storyline_words"),
    ("story", "characters", "characters_per_story"),
    ("story", "scenes", "scenes_per_story"),
    ("story", "stories per video", "stories_per_video"),
    ("shot", "total", "shots"),
    ("shot", "mean duration, s", "shot_seconds"),
    ("shot", "words of the captions", "caption_words"),
    ("shot", "words, narrative", "narrative_words"),
    ("shot", "words, descriptive", "descriptive_words"),
    ("shot", "shots per story", "shots_per_story"),
)
_COUNTS: Mapping[str, str] = {
    "videos": "videos",
    "videos_without_story": "videos that tell no story",
    "stories": "stories",
    "shots": "shots",
    "prologue_or_epilogue_shots": "of these, openings and closings",
    "shots_without_scene": "of these, in no named scene",
    "characters": "characters (counted per story)",
    "references": "references",
    "references_without_mask": "of these, without a mask",
    "audio_stories": "stories with sound",
    "audio_shots": "shots with sound",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One row of Table 1."""

    level: str
    """"video", "story" or "shot"."""

    name: str
    """What is counted."""

    value: float | int | None
    """Here; None where nothing is known."""

    paper: float
    """In the paper."""

    unknown: int
    """Values that were missing and are not in the mean."""


def paper_statistics(stories: Iterable[Story], *, videos: Mapping[str, VideoFacts] | None = None) -> StoryStatistics:
    """Return the paper's statistics of stories, which are read once and not kept.

    Args:
        stories: In any order.
        videos: Video -> what is known of the file; the length of a video that is not in it is unknown.
    """
    return StoryCounter.count(stories, videos)


def video_facts(scan: FilmScan) -> VideoFacts:
    """Return what a scan knows of a film; its length is the exact one, from first to last time stamp."""
    seconds = Fraction(scan.index.seconds(scan.num_frames)).limit_denominator(10**7)
    return VideoFacts(seconds=seconds, width=scan.width, height=scan.height)


def table_1(counted: StoryStatistics) -> list[TableRow]:
    """Return the rows of the paper's Table 1."""
    return [
        TableRow(
            level=level,
            name=name,
            value=counted.value(key),
            paper=PAPER_TABLE_1[key],
            unknown=counted.distributions[key].unknown if key in counted.distributions else 0,
        )
        for level, name, key in _TABLE_1
    ]


def statistics_text(counted: StoryStatistics) -> str:
    """Return the statistics as tables to read."""
    rows = [(r.level, r.name, _show(r.value), _show(r.paper), _show(r.unknown)) for r in table_1(counted)]
    spread = [
        (
            DISTRIBUTIONS[name],
            *map(_show, (one.known, one.unknown, one.mean)),
            *map(_show, (one.minimum, one.lower_quartile, one.median, one.upper_quartile, one.maximum)),
        )
        for name, one in counted.distributions.items()
    ]
    parts = [
        "Table 1 of the paper (arXiv 2506.03126)",
        _align([("level", "what", "here", "paper", "unknown"), *rows], left=2),
        "How the values are spread",
        _align([("what", "known", "unknown", "mean", "min", "25 %", "50 %", "75 %", "max"), *spread], left=1),
        "Counts",
        _align([(words, _show(counted.counts[name])) for name, words in _COUNTS.items()], left=1),
    ]
    if counted.audio_types:
        parts += ["Sounds", _align([(name, _show(number)) for name, number in counted.audio_types.items()], left=1)]
    return "\n\n".join(parts) + "\n"


def write_statistics(counted: StoryStatistics, folder: Path, *, plots: bool = True) -> list[Path]:
    """Write the statistics into a folder and return the files.

    Args:
        counted: What `paper_statistics` returned.
        folder: Made if it is not there.
        plots: Draw histograms too; needs the extra `report`.

    Raises:
        MissingExtraError: If plots are asked for and matplotlib is not installed; the other files are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        _write(folder / "statistics.json", json.dumps(counted.to_json(), indent=1, ensure_ascii=False) + "\n"),
        _write(folder / "statistics.txt", statistics_text(counted)),
    ]
    if plots:
        from animeshooter_hf.report.plots import plot_histograms

        panels = {DISTRIBUTIONS[name]: one for name, one in counted.distributions.items() if one.known}
        papers = {DISTRIBUTIONS[name]: PAPER_TABLE_1[name] for name in DISTRIBUTIONS if name in PAPER_TABLE_1}
        if panels:
            written.append(plot_histograms(folder / "statistics.svg", panels, papers=papers))
    return written


def _write(path: Path, words: str) -> Path:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(words, encoding="utf-8")
    return partial.replace(path)


def _align(rows: Sequence[Sequence[str]], *, left: int) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _show(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
