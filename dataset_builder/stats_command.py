"""Count what a dataset holds, beside the paper's Table 1, and what may be wrong in it.

DATASET is a dataset folder, a repository on the Hub (ORG/NAME), or the paper's release: an annotation file (.json), a
folder or a zip of them. It tells the paper's Table 1 row by row, how every value is spread, and each split; shots that
overlap or stand out of order, missing captions and clips, unknown names, private data; equal captions, stories that are
nearly the same, clips that are equal byte by byte, and what of all that lies over two splits; and sizes, frame rates
and codecs of the media.

The media of a folder are sampled (--media sample); those of a repository are not fetched unless --media says so. Equal
clips are found among those that are looked at, so --media all is needed to find all of them.

Example:
    animeshooter stats out/dataset
    animeshooter stats ORG/NAME --split test --json
    animeshooter stats out/dataset --media all --plots plots/ --out statistics/
    animeshooter stats dataset_anime_shooter.zip --out statistics/

Exit status: 0 all was read, 1 something could not be read (lost records, media that do not open), 2 nothing could be
counted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, ProblemLog, severity_of
from animeshooter_hf.dataset_builder.stats_source import StatsSource, open_stats_source
from animeshooter_hf.errors import InputError

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("dataset", metavar="DATASET", help="a dataset folder, ORG/NAME, or the paper's release")
    parser.add_argument("--split", default="all", metavar="S", help='a split, or "all" (the default)')
    parser.add_argument(
        "--media",
        choices=("none", "sample", "all"),
        help="which media to look at (default: sample for a folder, none for a repository)",
    )
    parser.add_argument("--sample", type=int, default=200, metavar="N", help="media to look at per config (200)")
    parser.add_argument(
        "--shortest-shot", type=float, default=0.5, metavar="S", help="flag shots below so many seconds (0.5)"
    )
    parser.add_argument(
        "--longest-shot", type=float, default=30.0, metavar="S", help="flag shots above so many seconds (30)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write text and JSON into this folder")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw SVG plots into this folder (extra report)")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the statistics to stdout; return 1 if something could not be read."""
    if arguments.sample < 1:
        raise InputError(f"--sample must be at least 1, got {arguments.sample}.")
    for folder in (arguments.out, arguments.plots):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file, not a folder to write to.")
    if arguments.plots is not None:
        from animeshooter_hf.optional import require

        require("matplotlib", extra="report", purpose="--plots")
    from animeshooter_hf.dataset_builder.quality.dataset_stats import StatsCounter
    from animeshooter_hf.dataset_builder.quality.media_summary import summarise_media
    from animeshooter_hf.dataset_builder.quality.stats_report import draw_stats, stats_json, stats_text, write_stats
    from animeshooter_hf.dataset_builder.quality.story_flags import FlagSettings

    settings = FlagSettings(shortest_shot_seconds=arguments.shortest_shot, longest_shot_seconds=arguments.longest_shot)
    source = open_stats_source(arguments.dataset, with_media=arguments.media in ("sample", "all"))
    splits = _splits(source, arguments.split)
    counter = StatsCounter(settings)
    total = sum(source.num_stories.get(split, 0) for split in splits) or None
    with tqdm(total=total, desc="count", unit=" stories", disable=None, file=sys.stderr) as bar:
        for split in splits:
            counter.add(source.stories(split), split, bar.update)
    if not counter.num_stories:
        raise InputError(f"{arguments.dataset} holds no story that can be counted{_first_loss(source.log)}.")
    files = {
        config: {split: paths for split, paths in by_split.items() if split in splits}
        for config, by_split in source.media.items()
    }
    wanted = arguments.media or ("none" if source.is_remote else "sample")
    sample = None if wanted == "all" else arguments.sample
    media = None if wanted == "none" or not files else summarise_media(files, sample=sample)
    stats = counter.finish(source.name, files=files, media=media, lost=_lost(source.log))
    written = [
        *(write_stats(stats, arguments.out) if arguments.out else []),
        *(draw_stats(stats, arguments.plots) if arguments.plots else []),
    ]
    sys.stdout.write(
        json.dumps(stats_json(stats), indent=1, ensure_ascii=False) + "\n" if arguments.json else stats_text(stats)
    )
    for path in written:
        sys.stderr.write(f"{path} written\n")
    return 1 if stats.num_problems else 0


def _splits(source: StatsSource, wanted: str) -> Sequence[str]:
    if wanted == "all":
        return source.splits
    if wanted not in source.splits:
        raise InputError(f"{source.name} has no split {wanted!r}. Its splits: {', '.join(source.splits)}.")
    return (wanted,)


def _lost(log: ProblemLog | None) -> dict[str, int]:
    """Return what was lost in reading a release, in words, with its number."""
    if log is None:
        return {}
    return {PROBLEMS[code]: number for code, number in log.counts.items() if number and severity_of(code) == "lost"}


def _first_loss(log: ProblemLog | None) -> str:
    lost = next(iter(_lost(log).items()), None)
    return f": {lost[1]} {lost[0]}" if lost else ""
