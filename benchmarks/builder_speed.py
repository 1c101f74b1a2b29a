"""How fast `AnimeShooterBuilder` is beside plain `load_dataset("parquet")`, and beside passing rows through Python.

Generated shots with clips of random bytes are prepared as Arrow and streamed once, with captions read and media left
encoded. Ratios of CPU seconds (children included), medians of several runs; "rows" is the same builder handing each row
to `datasets` as a Python dict, as a `GeneratorBasedBuilder` usually does.

Example:
    python benchmarks/builder_speed.py --shots 2000 --clip-bytes 100000 --runs 5
"""

import argparse
import os
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets

from animeshooter_hf import AnimeShooterBuilder
from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.features import CONFIGS


class RowsBuilder(AnimeShooterBuilder):
    """The same builder by way of Python rows."""

    _prepare_split = datasets.GeneratorBasedBuilder._prepare_split
    _prepare_split_single = datasets.GeneratorBasedBuilder._prepare_split_single
    _get_examples_iterable_for_split = datasets.GeneratorBasedBuilder._get_examples_iterable_for_split


def main() -> None:
    """Write the shots, time all ways in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=2000, help="rows (default: 2000)")
    parser.add_argument("--clip-bytes", type=int, default=100_000, help="size of a clip (default: 100000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the bytes (default: 0)")
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        write_shots(folder, arguments)
        ways: dict[str, Callable[[Path], Any]] = {
            "prepare, load_dataset": lambda cache: load(folder, cache, streaming=False),
            "prepare, builder": lambda cache: prepare(AnimeShooterBuilder, folder, cache),
            "prepare, rows": lambda cache: prepare(RowsBuilder, folder, cache),
            "stream, load_dataset": lambda cache: read(load(folder, cache, streaming=True)),
            "stream, builder": lambda cache: read(stream(AnimeShooterBuilder, folder, cache)),
            "stream, rows": lambda cache: read(stream(RowsBuilder, folder, cache)),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for run in range(arguments.runs + 1):  # the first warms up
            for way, work in ways.items():
                taken = measure(work, Path(name) / "cache")
                if run:
                    seconds[way].append(taken)
    for way, taken_each in seconds.items():
        base = seconds[f"{way.split(',')[0]}, load_dataset"]
        ratio = statistics.median(one / other for one, other in zip(taken_each, base, strict=True))
        print(f"{way:24} {statistics.median(taken_each):7.3f} CPU s   {ratio:6.2f} of load_dataset")


def write_shots(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the `shots` config alone."""
    generator = random.Random(arguments.seed)
    writer = ConfigWriter(folder, "shots", "train", CONFIGS["shots"], WriterSettings())
    for number in range(arguments.shots):
        story_id = f"v{number:06d}_000"
        clip = {"path": f"{story_id}.mp4", "bytes": generator.randbytes(arguments.clip_bytes)}
        caption = {"narrative_caption": f"Mia does {number}.", "characters": ["Mia"], "video": clip}
        writer.write_story(
            [{**dict.fromkeys(CONFIGS["shots"]), "video_id": story_id[:7], "story_id": story_id, **caption}]
        )
    writer.close()


def load(folder: Path, cache: Path, *, streaming: bool) -> Any:
    """Open the files plainly."""
    files = {"train": str(folder / "shots" / "*.parquet")}
    return datasets.load_dataset("parquet", data_files=files, split="train", streaming=streaming, cache_dir=str(cache))


def prepare(kind: type[AnimeShooterBuilder], folder: Path, cache: Path) -> Any:
    """Prepare the files through a builder."""
    builder = kind(config_name="shots", data_dir=folder, cache_dir=str(cache))
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


def stream(kind: type[AnimeShooterBuilder], folder: Path, cache: Path) -> Any:
    """Open the files through a builder, streamed."""
    return kind(config_name="shots", data_dir=folder, cache_dir=str(cache)).as_streaming_dataset(split="train")


def read(dataset: Any) -> int:
    """Read all captions, media left encoded."""
    return sum(len(row["narrative_caption"]) for row in dataset.decode(False))


def measure(work: Callable[[Path], Any], cache: Path) -> float:
    """Return the CPU seconds of one piece of work with an empty cache."""
    shutil.rmtree(cache, ignore_errors=True)
    before = os.times()
    work(cache)
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


if __name__ == "__main__":
    main()
