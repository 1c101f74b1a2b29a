"""Turn the public release into Parquet that `load_dataset` opens by itself.

PATH is an annotation file (.json), a folder of them, or the zip as it was downloaded; several may be given. Every
spelling of the release is read. What is wrong in the files is reported to stderr and to problems.json and
problems.jsonl beside the data, per file and story; good records around a bad one are kept. With --videos the shots
are cut, the masks applied, and the configs `shots`, `references` and `audio` filled.

Beside the data stand release_extras.jsonl (what the files say and the rows do not: with it every file can be written
again), statistics.json and .txt (the paper's Table 1), availability.csv (with --videos) and reconcile.json (with
--video-ids). Stories of --audio, the release of AnimeShooter-audio, get IDs such as LvJRvwIDh0E_a003.

Example:
    animeshooter ingest dataset_anime_shooter.zip --out data/animeshooter
    animeshooter ingest picture.zip --audio audio.zip --video-ids video_ids.txt --out data/animeshooter
    animeshooter ingest annotations/ --videos videos/ --out data/animeshooter

Exit status: 0 all records kept, 1 some were lost (see the table), 2 nothing could be done.
"""

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from animeshooter_hf.dataset_builder.release.extras import EXTRAS_FILE, find_extras
from animeshooter_hf.dataset_builder.release.files import ReleaseFile, iter_release_files, list_release_paths
from animeshooter_hf.dataset_builder.release.problems import PROBLEMS, SEVERITIES, ProblemLog, severity_of
from animeshooter_hf.dataset_builder.release.reader import ReleaseDocument, read_release_documents
from animeshooter_hf.dataset_builder.release.reconcile import IdList, read_video_ids, reconcile
from animeshooter_hf.dataset_builder.release.shots import extend_tail
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import StoryCounter, VideoFacts

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos

_COUNTS = ("files", "videos", "stories", "audio_stories", "shots", "characters", "scenes", "masks", "placeholder_masks")

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
    audio_stories: int = 0
    video_ids: set[str] = field(default_factory=set)
    audio_video_ids: set[str] = field(default_factory=set)
    counter: StoryCounter = field(default_factory=StoryCounter)

    def add(self, story: Story, *, is_audio: bool) -> None:
        """Count a story; those of the audio release tell the same videos again and stay out of Table 1."""
        if is_audio:
            self.audio_video_ids.add(story.video_id)
            self.audio_stories += 1
            return
        self.counter.add(story)
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
            "videos": len(self.video_ids | self.audio_video_ids),
            "stories": self.stories,
            "audio_stories": self.audio_stories,
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
    parser.add_argument("--audio", type=Path, metavar="PATH", help="the audio release: a .json, a folder or a .zip")
    parser.add_argument("--video-ids", type=Path, metavar="FILE", help="list of IDs to compare with, one a line")
    parser.add_argument("--extend-tails", action="store_true", help="let last shots' frames reach their segment's end")
    parser.add_argument("--split-seed", type=int, default=0, metavar="N", help="decides which videos are held out")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset that stands in --out")
    parser.add_argument("--json", action="store_true", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the dataset and a summary to stdout; return 1 if records were lost."""
    started = time.perf_counter()
    out: Path = arguments.out
    _check_paths(arguments, out)
    ids = None if arguments.video_ids is None else read_video_ids(arguments.video_ids)
    # These load `datasets` and PyAV: a wrong path is refused before.
    from animeshooter_hf.dataset_builder.package import SplitSettings, check_out, write_dataset

    check_out(out, overwrite=arguments.overwrite)
    videos = None
    if arguments.videos is not None:
        from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos

        videos = ReleaseVideos(arguments.videos)
    log, tally = ProblemLog(), _Tally()
    with closing(tempfile.TemporaryFile("w+", encoding="ascii")) as extras, _no_garbage_collection():
        report = write_dataset(
            out.resolve(),
            _read_stories(arguments, videos, log, tally, extras),
            media=videos,
            splits=SplitSettings(seed=arguments.split_seed),
            overwrite=arguments.overwrite,
        )
        extras.seek(0)
        with (out / EXTRAS_FILE).open("w", encoding="ascii") as file:
            shutil.copyfileobj(extras, file)
    for what, reason in report.skipped:
        log.add("media_skipped", str(arguments.videos), None, f"{what}: {reason}")
    told = _write_reports(out, ids, videos, log, tally)
    log.write(out)
    log.print_table(sys.stderr)
    summary = {
        **tally.summary(log),
        "rows": report.rows,
        "problems": {severity: log.num_of(severity) for severity in SEVERITIES},
        **told,
        "seconds": round(time.perf_counter() - started, 2),
        "out": str(out),
    }
    sys.stdout.write(json.dumps(summary, indent=2) + "\n" if arguments.json else _summary_text(summary, out))
    return 1 if log.num_lost else 0


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Switch the collector off: records hold no cycles, and it would walk over all stories again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _write_reports(
    out: Path, ids: IdList | None, videos: "ReleaseVideos | None", log: ProblemLog, tally: _Tally
) -> dict[str, Any]:
    """Write what stands beside the data; return what the summary says of it."""
    from animeshooter_hf.dataset_builder.quality.statistics import write_statistics

    told: dict[str, Any] = {}
    lengths: dict[str, VideoFacts] | None = None
    if videos is not None:
        from animeshooter_hf.dataset_builder.release.availability import write_availability

        records = videos.availability()
        write_availability(out / "availability.csv", records)
        lengths = {one.video_id: VideoFacts(seconds=one.duration_seconds) for one in records if one.duration_seconds}
        told["availability"] = {
            status: sum(one.status == status for one in records) for status in sorted({one.status for one in records})
        }
    if tally.video_ids:
        for video_id in sorted(tally.audio_video_ids - tally.video_ids):
            log.add("audio_without_picture", "the audio release", None, video_id)
    if ids is not None:
        result = reconcile(ids, tally.video_ids | tally.audio_video_ids)
        (out / "reconcile.json").write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="ascii")
        told["video_ids"] = result.line()
    if tally.stories:
        write_statistics(tally.counter.finish(lengths), out, plots=False)
    return told


def _check_paths(arguments: argparse.Namespace, out: Path) -> None:
    """Refuse paths that hold nothing to read, or that the new dataset would replace."""
    releases = [*arguments.paths, *([arguments.audio] if arguments.audio else [])]
    for path in releases:
        list_release_paths(path, leave_out=out)
    for path in [*releases, *(path for path in (arguments.videos, arguments.video_ids) if path)]:
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{path} lies in the output folder {out}, which would be replaced. Name another --out.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{out} cannot be written: {parent} is {'closed to us' if parent.is_dir() else 'a file'}.")


def _read_stories(
    arguments: argparse.Namespace, videos: "ReleaseVideos | None", log: ProblemLog, tally: _Tally, extras: TextIO
) -> Iterator[Story]:
    """Yield the stories of all paths, fitted to their videos; write what they do not say; refuse if there is none."""

    def files(paths: Sequence[Path]) -> Iterator[ReleaseFile]:
        for path in paths:
            for file in iter_release_files(path, log, leave_out=arguments.out):
                tally.files += 1
                yield file

    releases = [(False, arguments.paths), *([(True, [arguments.audio])] if arguments.audio else [])]
    with tqdm(desc="read", unit=" stories", disable=None, file=sys.stderr) as progress:
        for is_audio, paths in releases:
            for document in read_release_documents(files(paths), log, is_audio=is_audio):
                stories = _fit(document, videos, log, extend_tails=arguments.extend_tails)
                _write_extras(document, stories, log, extras)
                for story in stories:
                    tally.add(story, is_audio=is_audio)
                    progress.update()
                    yield story
    if not tally.stories and not tally.audio_stories:
        shown = " ".join(str(path) for _, paths in releases for path in paths)
        raise InputError(f"{shown} holds no story that could be read: {_first_loss(log)}.")


def _fit(
    document: ReleaseDocument, videos: "ReleaseVideos | None", log: ProblemLog, *, extend_tails: bool
) -> list[Story]:
    """Return the stories of a file, with frames of the videos at hand."""
    fitted: list[Story] = []
    for video in document.videos:
        stories = [story for story in video.stories if story is not None]
        fitted += stories if videos is None else videos.fit_video(stories, document.file, log)
    if extend_tails:
        fitted = [extend_tail(story, Place(log, document.file, story.story_id)) for story in fitted]
    return fitted


def _write_extras(document: ReleaseDocument, stories: Sequence[Story], log: ProblemLog, extras: TextIO) -> None:
    try:
        found = find_extras(document, {story.story_id: story for story in stories})
        if found is not None:
            extras.write(found.to_line())
    except RecursionError:
        log.add("extras_lost", document.file)


def _first_loss(log: ProblemLog) -> str:
    for problem in log.entries():
        if severity_of(problem.code) == "lost":
            detail = f" ({problem.detail})" if problem.detail else ""
            return f"{problem.where} is {PROBLEMS[problem.code]}{detail}"
    return "there is no file in it"


def _summary_text(summary: dict[str, Any], out: Path) -> str:
    rows = ", ".join(f"{config} {sum(by_split.values()):,}" for config, by_split in summary["rows"].items())
    problems = ", ".join(f"{count:,} {severity}" for severity, count in summary["problems"].items())
    counts = "".join(f"{name.replace('_', ' '):18}{count:>10,}\n" for name, count in summary.items() if name in _COUNTS)
    lines = [f"{counts}rows: {rows}", f"problems: {problems}"]
    if "availability" in summary:
        lines.append("videos: " + ", ".join(f"{count:,} {word}" for word, count in summary["availability"].items()))
    if "video_ids" in summary:
        lines.append(summary["video_ids"])
    if (out / "statistics.txt").exists():
        lines.append((out / "statistics.txt").read_text(encoding="utf-8").split("\n\nHow the values")[0])
    return "\n".join([*lines, f"{summary['out']} written in {summary['seconds']} s\n"])
