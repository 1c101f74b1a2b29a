"""Write shots as Parquet: our single pass against `Dataset.from_generator` and `to_parquet`; and a dataset's memory.

The same rows with real H.264 clips are written by either side, each time in a process of its own. The second table
packages stories without media, to show that memory does not grow with them.

    python benchmarks/write_parquet.py                             # 300 MB of clips, three runs
    python benchmarks/write_parquet.py --megabytes 100 --runs 5 --stories 0 --seed 1

Prints CPU and wall seconds and the memory that came on top of what the process held before it wrote: medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar

from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Character, ReferenceMask, Scene, Shot, Story
from animeshooter_hf.video import write_video

SHOTS_PER_STORY = 8
TEXT = "a character walks over the bridge while the camera follows slowly and birds rise from the river"
WORDS = TEXT.split()


def make_clips(folder: Path, count: int, seed: int) -> list[Path]:
    """Write a few clips of 49 frames, 720x480, about 140 KB each, as real shots of that size are."""
    random = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        blocks = random.integers(0, 255, (60, 90, 3), dtype=np.uint8)
        frames = [np.kron(np.roll(blocks, n, axis=1), np.ones((8, 8, 1), np.uint8)) for n in range(49)]
        paths.append(write_video(folder / f"{number}.mp4", frames, 16, crf=34))
    return paths


def shot_rows(folder: Path, megabytes: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield rows of the `shots` config until their clips hold so many megabytes."""
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, 31)) for _ in range(997)]
    clips = sorted(folder.glob("*.mp4"))
    number = size = 0
    while size < megabytes * 1_000_000:
        clip = clips[number % len(clips)].read_bytes()
        text = texts[number % len(texts)]
        story, index = divmod(number, SHOTS_PER_STORY)
        shot_id = f"v{story:05d}_000_{index:02d}"
        yield {
            "video_id": f"v{story:05d}", "story_id": f"v{story:05d}_000", "shot_id": shot_id, "shot_index": index,
            "start_time": 3.0 * index, "end_time": 3.0 * index + 3, "start_frame": 49 * index,
            "end_frame": 49 * index + 49, "clip_start_time": None, "clip_end_time": None,
            "is_prologue_or_epilogue": False, "characters": ["Mia"], "scene": "Park",
            "narrative_caption": text[:60], "descriptive_caption": text, "num_shots": SHOTS_PER_STORY,
            "storyline": texts[story % len(texts)], "video": {"path": f"{shot_id}.mp4", "bytes": clip},
        }  # fmt: skip
        number += 1
        size += len(clip)


def write_ours(folder: Path, out: Path, megabytes: int, seed: int) -> None:
    """Write the rows with our writer, story by story."""
    writer = ConfigWriter(out, "shots", "train", CONFIGS["shots"], WriterSettings())
    rows: list[dict[str, Any]] = []
    for row in shot_rows(folder, megabytes, seed):
        rows.append(row)
        if len(rows) == SHOTS_PER_STORY:
            writer.write_story(rows)
            rows = []
    if rows:
        writer.write_story(rows)
    writer.close()


def write_with_datasets(folder: Path, out: Path, megabytes: int, seed: int) -> None:
    """Write the rows as the documentation of `datasets` says."""
    disable_progress_bar()
    given = {"folder": folder, "megabytes": megabytes, "seed": seed}
    data = Dataset.from_generator(shot_rows, gen_kwargs=given, features=CONFIGS["shots"], cache_dir=str(out / "cache"))
    data.to_parquet(out / "shots.parquet")


def stories(count: int, seed: int) -> Iterator[Story]:
    """Yield stories of about the paper's size: 15 shots, 6 references with masks."""
    random = np.random.default_rng(seed)
    square = np.zeros((360, 640), bool)
    for number in range(count):
        name = f"v{number:06d}_000"
        square[:] = False
        square[(number % 200) : (number % 200) + 150, 100 : 300 + number % 99] = True
        mask = RleMask.from_array(square)
        shots = [
            Shot(
                shot_id=f"{name}_{index:02d}", index=index, start_frame=index * 90, end_frame=(index + 1) * 90,
                start_seconds=3.0 * index, end_seconds=3.0 * index + 3, characters=("Mia",), scene="Park",
                narrative_caption=" ".join(random.choice(WORDS, 11)),
                descriptive_caption=" ".join(random.choice(WORDS, 31)),
            )
            for index in range(15)
        ]  # fmt: skip
        yield Story(
            video_id=f"v{number:06d}", story_id=name, frame_rate=30, start_frame=0, end_frame=1350, shots=tuple(shots),
            storyline=" ".join(random.choice(WORDS, 34)), characters=(Character(id="Mia", appearance="grey"),),
            scenes=(Scene(id="Park", environment="grass"),),
            references=tuple(ReferenceMask(character_id="Mia", frame_index=9 * n, mask=mask) for n in range(6)),
        )  # fmt: skip


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Return CPU and wall seconds, and how many MB the process held at most beyond what it held before (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = _memory("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {**taken, "memory": _memory("VmHWM") - before}


def _memory(name: str) -> float:
    """Return a line of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1000


def run_child(arguments: list[str]) -> dict[str, float]:
    """Return what a process of its own has measured."""
    done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def compare_writers(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table of the two writers."""
    make_clips(folder, 48, arguments.seed)
    sides = ("ours", "datasets")
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(arguments.runs):
        for side in sides:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                given = ["--megabytes", str(arguments.megabytes), "--seed", str(arguments.seed)]
                found[side].append(run_child(["--side", side, "--folder", str(folder), "--into", out, *given]))
    median = {
        side: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for side, runs in found.items()
    }
    print(f"{arguments.megabytes} MB of clips in rows of `shots`, median of {arguments.runs} runs")
    print(f"{'':<28}{'CPU s':>8}{'wall s':>8}{'MB on top':>11}")
    for side, name in zip(sides, ("our writer", "from_generator + to_parquet"), strict=True):
        one = median[side]
        print(f"{name:<28}{one['cpu']:>8.2f}{one['wall']:>8.2f}{one['memory']:>11.0f}")
    ours, theirs = median["ours"], median["datasets"]
    print(
        f"{'ratio':<28}{theirs['cpu'] / ours['cpu']:>7.1f}x{theirs['wall'] / ours['wall']:>7.1f}x"
        f"{ours['memory'] / theirs['memory']:>10.2f}x"
    )


def show_memory(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the memory of packaging stories without media."""
    print("\npackaging stories (15 shots, 6 masks), no media")
    for count in (arguments.stories // 10, arguments.stories):
        with tempfile.TemporaryDirectory(dir=folder) as out:
            one = run_child(
                ["--side", "stories", "--into", out, "--stories", str(count), "--seed", str(arguments.seed)]
            )
        print(f"{count:>8,} stories   {one['cpu']:>7.1f} s CPU   {one['memory']:>6.0f} MB on top")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300, help="of clips")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--stories", type=int, default=50_000, help="a tenth of them and all of them; 0: no table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=("ours", "datasets", "stories"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side is None:
        with tempfile.TemporaryDirectory() as name:
            compare_writers(arguments, Path(name))
            if arguments.stories:
                show_memory(arguments, Path(name))
        return
    out: Path = arguments.into
    if arguments.side == "stories":
        told = stories(arguments.stories, arguments.seed)
        result = measure(lambda: write_dataset(out / "data", told, progress=False))
    else:
        write = write_ours if arguments.side == "ours" else write_with_datasets
        result = measure(lambda: write(arguments.folder, out, arguments.megabytes, arguments.seed))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
