"""The statistics of a dataset as text, as JSON, and as plots.

DIR/statistics.json, statistics.txt      the whole: the paper's Table 1 row by row, distributions, counts
DIR/dataset_stats.json, dataset_stats.txt    that, by split, and flags, duplicates, leakage, media
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.quality.dataset_stats import DatasetStats
from animeshooter_hf.dataset_builder.quality.media_summary import MediaReport, MediaSummary
from animeshooter_hf.dataset_builder.quality.statistics import statistics_text, table_1, write_statistics
from animeshooter_hf.dataset_builder.quality.story_flags import FLAGS
from animeshooter_hf.statistics import DISTRIBUTIONS, PAPER_TABLE_1, StoryStatistics

__all__ = ["draw_stats", "stats_json", "stats_text", "write_stats"]

_FIELDS = {
    "storyline": "storylines",
    "narrative_caption": "narrative captions",
    "descriptive_caption": "descriptive captions",
}


def stats_json(stats: DatasetStats) -> dict[str, Any]:
    """Return everything as JSON values."""
    return {
        "dataset": stats.name,
        "table_1": [asdict(row) for row in table_1(stats.whole)],
        **stats.whole.to_json(),
        "splits": {split: _split_json(one) for split, one in stats.splits.items()},
        "flags": {
            "stories": stats.flags.num_flagged_stories,
            "counts": dict(stats.flags.counts),
            "examples": {flag: list(places) for flag, places in stats.flags.examples.items()},
            "splits": {split: dict(counts) for split, counts in stats.flags_of_splits.items()},
        },
        "duplicates": asdict(stats.texts),
        "leakage": [asdict(finding) for finding in stats.leakage],
        "missing_media": asdict(stats.missing),
        "media": None if stats.media is None else _media_json(stats.media),
        "lost_records": dict(stats.lost),
    }


def stats_text(stats: DatasetStats) -> str:
    """Return everything as tables to read."""
    parts = [stats.name, statistics_text(stats.whole).rstrip("\n")]
    if len(stats.splits) > 1:
        parts += ["By split", _splits_table(stats)]
    parts += ["What may be wrong", _flags_table(stats), "Texts that say the same", _texts_table(stats)]
    parts += _near_stories(stats)
    if len(stats.splits) > 1:
        parts += ["Leakage over splits", _leakage_lines(stats)]
    if missing := _missing_rows(stats):
        parts += ["Media beside the stories", _align(missing, left=1)]
    if stats.media is not None and stats.media.columns:
        share = "all rows" if stats.media.is_whole else "a sample of the rows, spread evenly; sizes are of all"
        parts += [f"Media ({share})", _media_table(stats.media), *_equal_clips(stats.media)]
    if stats.lost:
        parts += ["Lost in reading", _align([(name, f"{number:,}") for name, number in stats.lost.items()], left=1)]
    return "\n\n".join(parts) + "\n"


def write_stats(stats: DatasetStats, folder: Path) -> list[Path]:
    """Write text and JSON into a folder, made if it is not there, and return the files."""
    written = write_statistics(stats.whole, folder, plots=False)
    for name, words in (
        ("dataset_stats.json", json.dumps(stats_json(stats), indent=1, ensure_ascii=False) + "\n"),
        ("dataset_stats.txt", stats_text(stats)),
    ):
        partial = folder / f".{name}.partial"
        partial.write_text(words, encoding="utf-8")
        written.append(partial.replace(folder / name))
    return written


def draw_stats(stats: DatasetStats, folder: Path) -> list[Path]:
    """Draw the plots into a folder and return them as SVG files.

    Raises:
        MissingExtraError: If matplotlib (extra `report`) is not installed.
    """
    from animeshooter_hf.report import plots

    panels = {DISTRIBUTIONS[name]: one for name, one in stats.whole.distributions.items() if one.known}
    papers = {DISTRIBUTIONS[name]: PAPER_TABLE_1[name] for name in DISTRIBUTIONS if name in PAPER_TABLE_1}
    drawn: list[Path] = []
    if panels:
        drawn.append(plots.plot_histograms(folder / "distributions.svg", panels, papers=papers))
    ratios = {
        DISTRIBUTIONS[name]: one.mean / PAPER_TABLE_1[name]
        for name, one in stats.whole.distributions.items()
        if one.mean is not None and name in PAPER_TABLE_1
    }
    if ratios:
        drawn.append(plots.plot_ratios(folder / "table_1.svg", ratios, title="Means here over the paper's Table 1"))
    raised = {FLAGS[flag]: number for flag, number in stats.flags.counts.items() if number}
    if raised:
        drawn.append(plots.plot_counts(folder / "flags.svg", raised, title="What may be wrong"))
    if len(stats.splits) > 1:
        spread = {
            split: {name: one.distributions[name] for name in ("shot_seconds", "shots_per_story", "descriptive_words")}
            for split, one in stats.splits.items()
        }
        drawn.append(plots.plot_splits(folder / "splits.svg", spread, labels=DISTRIBUTIONS))
    if stats.whole.audio_types:
        first = dict(list(stats.whole.audio_types.items())[:25])
        title = "Sounds" if len(first) == len(stats.whole.audio_types) else f"The {len(first)} most frequent sounds"
        drawn.append(plots.plot_counts(folder / "sounds.svg", first, title=title))
    return drawn


def _split_json(one: StoryStatistics) -> dict[str, Any]:
    data = one.to_json()
    del data["paper_table_1"]
    return data


def _media_json(media: MediaReport) -> dict[str, Any]:
    data = asdict(media)
    for column, one in media.columns.items():
        data["columns"][column] |= {"num_bytes": one.num_bytes.to_json(), "seconds": one.seconds.to_json()}
    return data


def _splits_table(stats: DatasetStats) -> str:
    names = [("videos", "videos"), ("stories", "stories"), ("shots", "shots")]
    names += [(name, f"mean, {words}") for name, words in DISTRIBUTIONS.items() if name in PAPER_TABLE_1]
    rows = [("what", *stats.splits, "all", "paper")]
    for name, words in names:
        values = [*(one.value(name) for one in stats.splits.values()), stats.whole.value(name), PAPER_TABLE_1[name]]
        if any(value is not None for value in values[:-1]):
            rows.append((words, *map(_show, values)))
    return _align(rows, left=1)


def _flags_table(stats: DatasetStats) -> str:
    rows = [
        (FLAGS[flag], f"{number:,}", ", ".join(stats.flags.examples.get(flag, ())))
        for flag, number in stats.flags.counts.items()
        if number
    ]
    if not rows:
        return "nothing"
    head = ("stories in which anything was found", f"{stats.flags.num_flagged_stories:,}", "")
    return _align([("what", "number", "such as"), head, *rows], left=1, last_left=True)


def _texts_table(stats: DatasetStats) -> str:
    head = ("what", "long enough", "equal to another", "different ones", "most frequent", "in two splits")
    rows = [
        (
            _FIELDS[name],
            *map(_show, (one.num_texts, one.num_equal, one.num_groups, one.most, one.num_across_splits)),
        )
        for name, one in stats.texts.fields.items()
    ]
    return _align([head, *rows], left=1)


def _near_stories(stats: DatasetStats) -> list[str]:
    if not stats.texts.num_near_pairs:
        return []
    rows = [
        (*pair.stories, f"{pair.num_shared:,}", f"{pair.share:.0%}", "two splits" if pair.is_across_splits else "")
        for pair in stats.texts.near
    ]
    words = (
        f"Pairs of stories that share most captions: {stats.texts.num_near_pairs:,}, "
        f"of these over two splits: {stats.texts.num_near_across_splits:,}"
    )
    return [words, _align([("story", "other story", "captions", "share", ""), *rows], left=2)]


def _leakage_lines(stats: DatasetStats) -> str:
    if not stats.leakage:
        return "no video, and no group of videos that share a clip, is in two splits"
    rows = [
        (finding.code.replace("_", " "), finding.group, ", ".join(finding.videos)) for finding in stats.leakage[:20]
    ]
    more = [] if len(stats.leakage) <= 20 else [("... and", f"{len(stats.leakage) - 20:,} more", "")]
    return _align([*rows, *more], left=3)


def _missing_rows(stats: DatasetStats) -> list[tuple[str, str]]:
    missing = stats.missing
    counted = [
        ("shots without a clip", missing.shots_without_clip),
        ("clips of no shot", missing.clips_without_shot),
        ("stories with annotated sound, but no sound", missing.stories_without_sound),
        *((f"references, {word}", number) for word, number in missing.references.items()),
    ]
    return [(words, _show(number)) for words, number in counted if number is not None]


def _media_table(media: MediaReport) -> str:
    head = ("column", "rows", "read", "missing", "broken", "bytes", "mean", "median", "max", "s, mean", "what")
    rows = [
        (
            column,
            *map(_show, (one.num_rows, one.num_read, one.num_missing, one.num_broken)),
            *map(_show_bytes, (one.total_bytes, one.num_bytes.mean, one.num_bytes.median, one.num_bytes.maximum)),
            _show(one.seconds.mean) if one.seconds.known else "",
            _kinds(one),
        )
        for column, one in media.columns.items()
    ]
    return _align([head, *rows], left=1, last_left=True)


def _kinds(one: MediaSummary) -> str:
    """Return the most frequent values of each kind, such as "640x360; h264"."""
    words = []
    for kind, values in one.kinds.items():
        shown = ", ".join(
            f"{value} ({number:,})" if len(values) > 1 else value for value, number in list(values.items())[:3]
        )
        more = f", {len(values) - 3} more" if len(values) > 3 else ""
        words.append(f"{kind} {shown}{more}")
    return "; ".join(words)


def _equal_clips(media: MediaReport) -> list[str]:
    if not media.num_equal_groups:
        return []
    rows = [
        (f"{group.number:,}", ", ".join(group.shots), " and ".join(group.splits) if len(group.splits) > 1 else "")
        for group in media.equal_clips
    ]
    return [f"Groups of clips that are equal byte by byte: {media.num_equal_groups:,}", _align(rows, left=3)]


def _align(rows: Sequence[Sequence[str]], *, left: int, last_left: bool = False) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lefts = {*range(left), *([len(widths) - 1] if last_left else [])}
    lines = [
        "  ".join(
            cell.ljust(width) if column in lefts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _show(value: float | int | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _show_bytes(number: float | None) -> str:
    if number is None:
        return "–"
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} B"
