"""Turn the public release into Parquet that `load_dataset` opens by itself.

PATH is an annotation file (.json), a folder of them, or the zip as it was downloaded; several may be given. Every
spelling of the release is read. What is wrong in the files is reported to stderr and to problems.json and
problems.jsonl beside the data, per file and story; good records around a bad one are kept. With --videos the shots
are cut, the masks applied, and the configs `shots`, `references` and `audio` filled.

Example:
    animeshooter ingest dataset_anime_shooter.zip --out data/animeshooter
    animeshooter ingest annotations/ --videos videos/ --out data/animeshooter

Exit status: 0 all records kept, 1 some were lost (see the table), 2 nothing could be done.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from animeshooter_hf.dataset_builder.release.files import ReleaseFile, iter_release_files, list_release_paths
from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, SEVERITIES, ProblemLog, severity_of
from animeshooter_hf.dataset_builder.release.reader import read_release_files
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos

_COUNTS = ("files", "videos", "stories", "shots", "characters", "scenes", "masks", "placeholder_masks")

__all__ = ["add_arguments", "run"]


@dataclass(slots=True)
class _Tally:
    """What was read so far."""

    files: int = 0
    stories: int = 0
    shots: int = 0
    characters: int = 0
    scenes: int = 0
    masks: int = 0
    video_ids: set[str] = field(default_factory=set)

    def add(self, story: Story) -> None:
        """Count a story."""
        self.video_ids.add(story.video_id)
        self.stories += 1
        self.shots += len(story.shots)
        self.characters += len(story.characters)
        self.scenes += len(story.scenes)
        self.masks += len(story.references)

    def summary(self, log: ProblemLog) -> dict[str, int]:
        """Return the counts by name."""
        return {
            "files": self.files,
            "videos": len(self.video_ids),
            "stories": self.stories,
            "shots": self.shots,
            "characters": self.characters,
            "scenes": self.scenes,
            "masks": self.masks,
            "placeholder_masks": log.counts["mask_placeholder"],
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a .json, a folder or a .zip")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the dataset")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="holds <video ID>.mp4, .mkv, .webm, .mov or .avi")
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="decides which videos are held out")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset that stands in --out")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the dataset and a summary to stdout; return 1 if records were lost."""
    started = time.perf_counter()
    out: Path = arguments.out
    _check_paths(arguments.paths, out, arguments.videos)
    # These load `datasets` and PyAV: a wrong path is refused before.
    from animeshooter_hf.dataset_builder.package import SplitSettings, check_out, write_dataset

    check_out(out, overwrite=arguments.overwrite)
    videos = None
    if arguments.videos is not None:
        from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos

        videos = ReleaseVideos(arguments.videos)
    log, tally = ProblemLog(), _Tally()
    report = write_dataset(
        out.resolve(),
        _read_stories(arguments.paths, out, videos, log, tally),
        media=videos,
        splits=SplitSettings(seed=arguments.split_seed),
        overwrite=arguments.overwrite,
    )
    for what, reason in report.skipped:
        log.add("media_skipped", str(arguments.videos), None, f"{what}: {reason}")
    log.write(out)
    log.print_table(sys.stderr)
    summary = {
        **tally.summary(log),
        "rows": report.rows,
        "problems": {severity: log.num_of(severity) for severity in SEVERITIES},
        "seconds": round(time.perf_counter() - started, 2),
        "out": str(out),
    }
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if arguments.json else _summary_text(summary))
    return 1 if log.num_lost else 0


def _check_paths(paths: Sequence[Path], out: Path, videos: Path | None) -> None:
    """Refuse paths that hold nothing to read, or that the new dataset would replace."""
    for path in paths:
        list_release_paths(path, leave_out=out)
    for path in [*paths, *([videos] if videos else [])]:
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{path} lies in the output folder {out}, which would be replaced. Name another --out.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{out} cannot be written: {parent} is {'closed to us' if parent.is_dir() else 'a file'}.")


def _read_stories(
    paths: Sequence[Path], out: Path, videos: "ReleaseVideos | None", log: ProblemLog, tally: _Tally
) -> Iterator[Story]:
    """Yield the stories of all paths, fitted to their videos; refuse if there is none."""

    def files() -> Iterator[ReleaseFile]:
        for path in paths:
            for file in iter_release_files(path, log, leave_out=out):
                tally.files += 1
                yield file

    with tqdm(desc="read", unit=" stories", disable=None, file=sys.stderr) as progress:
        for file, story in read_release_files(files(), log):
            fitted = story if videos is None else videos.fit(story, Place(log, file, story.story_id))
            tally.add(fitted)
            progress.update()
            yield fitted
    if not tally.stories:
        raise InputError(f"{' '.join(map(str, paths))} holds no story that could be read: {_first_loss(log)}.")


def _first_loss(log: ProblemLog) -> str:
    for problem in log.entries():
        if severity_of(problem.code) == "lost":
            detail = f" ({problem.detail})" if problem.detail else ""
            return f"{problem.where} is {PROBLEMS[problem.code]}{detail}"
    return "there is no file in it"


def _summary_text(summary: dict[str, Any]) -> str:
    rows = ", ".join(f"{config} {sum(by_split.values()):,}" for config, by_split in summary["rows"].items())
    problems = ", ".join(f"{count:,} {severity}" for severity, count in summary["problems"].items())
    counts = "".join(f"{name.replace('_', ' '):18}{count:>10,}\n" for name, count in summary.items() if name in _COUNTS)
    return f"{counts}rows: {rows}\nproblems: {problems}\n{summary['out']} written in {summary['seconds']} s\n"
