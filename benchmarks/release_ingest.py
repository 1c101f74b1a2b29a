"""Ingest a zip of the real release's shape, and say how far from the limit it is: inflate + parse + write Parquet.

The zip is made here: videos of five stories, fifteen shots each, some 180 masks of 720x720 in COCO runs, about 236 KB
zipped per video (the real zip: 6.2 GB for 29,428 videos, 211 KB each). Figures are processor seconds of this process.

    python benchmarks/release_ingest.py --videos 60 --runs 3 --seed 0

Prints videos per CPU second of each step, of the whole path from zip to Parquet, with the extras (what makes the files
again) and statistics on top, and the ratio to the limit. The bar: 100 videos per CPU second.
"""

import argparse
import gc
import io
import json
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.dataset_builder.release.extras import find_extras
from animeshooter_hf.dataset_builder.release.files import iter_release_files
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_documents
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.masks import RleMask
from animeshooter_hf.statistics import StoryCounter

STORIES, SHOTS, MASKS, SIDE = 5, 15, 36, 720
TEXT = "a girl with red hair walks over the old stone bridge while birds rise slowly from the quiet river below"


def make_region(random: np.random.Generator, roughness: float) -> NDArray[np.bool_]:
    """Return one region with a rough outline, as a segmenter gives it."""
    coarse = random.normal(size=(12, 12)).astype(np.float32)
    field = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    field += roughness * random.normal(size=(SIDE // 4, SIDE // 4)).astype(np.float32).repeat(4, 0).repeat(4, 1)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    centre = random.uniform(200, 520, 2)
    return np.hypot(rows - centre[0], columns - centre[1]) < 160 + 40 * field


def make_mask(regions: list[NDArray[np.bool_]], random: np.random.Generator) -> dict[str, Any]:
    """Return a mask that no other frame has: a region, moved and with other columns."""
    region = np.roll(regions[int(random.integers(len(regions)))], random.integers(0, SIDE, 2), axis=(0, 1))
    region[:, random.integers(0, SIDE, 40)] ^= True
    return {"size": [SIDE, SIDE], "counts": RleMask.from_array(region).counts}


def make_release_video(number: int, regions: list[NDArray[np.bool_]], random: np.random.Generator) -> dict[str, Any]:
    """Return the JSON of one video, with the captions' lengths of the paper's Table 1."""

    def words(count: int) -> str:
        return " ".join(random.choice(TEXT.split(), count))

    segments = []
    for story in range(STORIES):
        shots = [
            {
                "start time": f"00:{4 * n:02d}",
                "end time": f"00:{4 * n + 4:02d}" if n < 14 else "01:00",
                "extra 4-second timestamp": f"00:{4 * n:02d}-00:{4 * n + 4:02d}" if n < 14 else "00:56-01:00",
                "is_prologue_or_epilogue": False,
                "main characters": ["Girl"] if n % 2 else ["Girl", "Dog"],
                "setting": "Bridge",
                "visual annotation": {"narrative caption": words(11), "descriptive caption": words(31)},
            }
            for n in range(SHOTS)
        ]
        script = {
            "storyline": words(34),
            "main characters": [{"ID": name, "appearance": words(18)} for name in ("Girl", "Dog")],
            "main settings": [{"ID": name, "environment": words(12)} for name in ("Bridge", "House")],
            "shots": shots,
        }
        first = 1800 * story
        references = [
            {
                "ID": name,
                "masks": [
                    {"frame index": first + int(frame), "rle mask": make_mask(regions, random)}
                    for frame in random.permutation(1800)[: MASKS // 2]
                ],
            }
            for name in ("Girl", "Dog")
        ]
        segments.append(
            {
                "start frame index": first,
                "end frame index": first + 1800,
                "story script": script,
                "reference images": references,
            }
        )
    return {"video ID": f"bench{number:06d}", "url": f"https://example.org/{number}", "fps": 30.0, "segments": segments}


def make_zip(path: Path, videos: int, seed: int, roughness: float) -> None:
    """Write the zip."""
    random = np.random.default_rng(seed)
    regions = [make_region(random, roughness) for _ in range(40)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(videos):
            video = make_release_video(number, regions, random)
            archive.writestr(f"dataset_changed_keys/{video['video ID']}.json", json.dumps(video))


def inflate(path: Path) -> list[bytes]:
    """Read every member."""
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist()]


def write_rows(rows: list[dict[str, Any]]) -> None:
    """Build an Arrow table of rows and write it as Parquet, plainly."""
    table = pa.Table.from_pylist(rows, schema=CONFIGS["stories"].arrow_schema)
    pq.write_table(table, io.BytesIO(), compression="zstd")


def ingest(path: Path, folder: Path, *, with_reports: bool) -> int:
    """Read the zip into stories and write them as Parquet, as `animeshooter ingest` does; return the stories."""
    log, counter, extras = ProblemLog(), StoryCounter(), io.StringIO()
    writer = ConfigWriter(folder, "stories", "train", CONFIGS["stories"], WriterSettings())
    count = 0
    for document in read_release_documents(iter_release_files(path, log), log):
        if with_reports:
            found = find_extras(document)
            extras.write("" if found is None else found.to_line())
        for story in document.stories:
            if with_reports:
                counter.add(story)
            writer.write_story([story.to_json()])
            count += 1
    writer.close()
    return count


def seconds_of(work: Callable[[], Any], runs: int) -> float:
    """Return the median of the processor seconds that it takes."""
    taken = []
    gc.disable()  # as the command does
    for _ in range(runs):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def main() -> None:
    """Make the zip, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--roughness", type=float, default=0.04, help="of the masks' outlines: more makes longer runs")
    arguments = parser.parse_args()
    videos, runs = arguments.videos, arguments.runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "release.zip"
        make_zip(path, videos, arguments.seed, arguments.roughness)
        texts = inflate(path)
        log = ProblemLog()
        documents = list(read_release_documents(iter_release_files(path, log), log))
        rows = [story.to_json() for document in documents for story in document.stories]
        print(f"{videos} videos, {path.stat().st_size / videos / 1e3:.0f} KB zipped and ", end="")
        print(f"{sum(map(len, texts)) / videos / 1e3:.0f} KB of JSON each, {len(rows)} stories")
        steps = {
            "inflate": seconds_of(lambda: inflate(path), runs),
            "parse JSON": seconds_of(lambda: [json.loads(text) for text in texts], runs),
            "rows to Parquet": seconds_of(lambda: write_rows(rows), runs),
        }
        limit = sum(steps.values())
        for step, seconds in steps.items():
            print(f"{step:36}{videos / seconds:8.0f} videos per CPU second")
        print(f"{'limit: these three':36}{videos / limit:8.0f}")
        for label, with_reports in (("zip to Parquet", False), ("the same, extras and statistics", True)):
            taken = seconds_of(lambda reports=with_reports: ingest(path, folder, with_reports=reports), runs)
            print(f"{label:36}{videos / taken:8.0f}   {limit / taken:.2f} of the limit")


if __name__ == "__main__":
    main()
