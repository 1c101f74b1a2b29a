"""What the story view costs: a story's frames while streaming, and opening and filtering 100,000 stories of text.

The first part takes 5 evenly spaced frames of every shot of one story after the other, ours with `streaming=True`
through fsspec, against `load_dataset(..., streaming=True)` of rows that hold a story's clips as `List(Video())`. It
needs torchcodec and FFmpeg's libraries. The second part runs in a process of its own, so that its memory is its own.

Example:
    python benchmarks/story_view.py --stories 48
    python benchmarks/story_view.py --part text --text-stories 100000
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from clip_dataset import make_clips, write_stories

from animeshooter_hf import load_stories
from animeshooter_hf.features import stories as story_features
from animeshooter_hf.records import Character, ReferenceMask, Scene, Shot, Story

FRAMES = 5
BATCH = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("streaming", "text", "both"), default="both", help="what to measure")
    parser.add_argument("--stories", type=int, default=48, help="stories to stream")
    parser.add_argument("--shots", type=int, default=6, help="shots per story")
    parser.add_argument("--text-stories", type=int, default=100_000, help="stories of text")
    parser.add_argument("--seed", type=int, default=0, help="decides clips and texts")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.open:
        print(json.dumps(open_texts(settings.open)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if settings.part != "text":
            stream(Path(scratch) / "clips", settings)
        if settings.part != "streaming":
            write_texts(Path(scratch) / "text", settings.text_stories, settings.seed)
            command = [sys.executable, __file__, "--open", str(Path(scratch) / "text")]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            for name, value in json.loads(done.stdout).items():
                print(f"{name:50s} {value}")


def stream(root: Path, settings: argparse.Namespace) -> None:
    """Print the median CPU time of a story on either side, taken in turns."""
    import torch  # torchcodec works with its threads, and idle ones take CPU time too

    torch.set_num_threads(1)
    pool = make_clips(24, settings.seed)
    clips = [pool[number % len(pool)] for number in range(settings.stories * settings.shots)]
    write_stories(root / "ours", clips, settings.shots)
    sides = {"ours": our_stories(root / "ours"), "List(Video())": nested_stories(root, clips, settings.shots)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(settings.stories):
        for name, stories in sides.items():
            before = time.process_time()
            num_shots = next(stories)
            if turn >= 2:
                seconds[name].append(time.process_time() - before)
            assert num_shots == settings.shots, (name, num_shots)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"streaming, {FRAMES} frames of each shot, {name:14s} {settings.shots / value:6.1f} shots per CPU second")
    print(f"ours / List(Video()): {medians['List(Video())'] / medians['ours']:.2f} of the throughput")


def our_stories(root: Path) -> Iterator[int]:
    """Read story after story through `load_stories`."""
    for item in load_stories(f"file://{root}", streaming=True, media=("video",)):
        shapes = [item.sample_frames(shot.index, evenly(item.num_frames(shot.index))).shape for shot in item.shots]
        yield len(shapes)


def nested_stories(root: Path, clips: list[bytes], shots: int) -> Iterator[int]:
    """Read row after row through `load_dataset`."""
    from datasets import Features, List, Value, Video, load_dataset

    cells = [{"path": f"{n}.mp4", "bytes": clip} for n, clip in enumerate(clips)]
    rows = [{"id": str(n), "video": cells[n : n + shots]} for n in range(0, len(cells), shots)]
    features = Features({"id": Value("string"), "video": List(Video())})
    (root / "nested").mkdir()
    path = root / "nested" / "train.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows, schema=features.arrow_schema), path, row_group_size=10, compression="NONE"
    )
    for row in load_dataset("parquet", data_files=str(path), split="train", streaming=True):
        shapes = [decoder.get_frames_at(evenly(len(decoder))).data.shape for decoder in row["video"]]
        yield len(shapes)


def evenly(num_frames: int) -> list[int]:
    """Return the middles of `FRAMES` equal parts."""
    return [(2 * n + 1) * num_frames // (2 * FRAMES) for n in range(FRAMES)]


def write_texts(root: Path, number: int, seed: int) -> None:
    """Write a `stories` config of generated text."""
    rng = np.random.default_rng(seed)
    words = np.array([bytes(rng.integers(97, 123, rng.integers(2, 9), np.uint8)).decode() for _ in range(3000)])
    (root / "stories").mkdir(parents=True)
    schema = story_features.arrow_schema
    with pq.ParquetWriter(
        root / "stories" / "train-00000-of-00001.parquet", schema, compression="ZSTD", write_page_index=True
    ) as writer:
        for start in range(0, number, BATCH):
            rows = [_story(start + n, rng, words).to_json() for n in range(min(BATCH, number - start))]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _story(number: int, rng: np.random.Generator, words: Any) -> Story:
    def text(length: int) -> str:
        return " ".join(words[rng.integers(0, len(words), length)])

    name = f"hero-{number % 500}"
    shots = [
        Shot(shot_id=f"v{number:06d}_000_{n:02d}", index=n, narrative_caption=text(11), descriptive_caption=text(31))
        for n in range(8)
    ]
    masks = [ReferenceMask(character_id=name, frame_index=n) for n in range(3)]
    story = Story(
        video_id=f"v{number:06d}",
        story_id=f"v{number:06d}_000",
        storyline=text(60),
        characters=(Character(id=name, appearance=text(20)),),
        scenes=(Scene(id="park", environment=text(20)),),
        shots=tuple(shots),
        references=tuple(masks),
    )
    return story


def open_texts(root: Path) -> dict[str, Any]:
    """Open, filter and read the texts; return seconds and mebibytes."""
    told: dict[str, Any] = {"size on disk, MiB": sum(p.stat().st_size for p in root.rglob("*.parquet")) >> 20}
    load_stories(root, media=())  # imports and page cache
    start_memory = _memory()
    with _clock(told, "open, s"):
        view = load_stories(root, media=())
    told["stories"] = len(view)
    with _clock(told, "filter by a character, s"):
        told["of these found"] = len(view.filter(characters="hero-77"))
    with _clock(told, "select by a word of the storyline, s"):
        view.select(lambda row: "qq" in row["storyline"], ["storyline"])
    with _clock(told, "find one story and read it, s"):
        told["its shots"] = len(view.find("v000123_000").shots)
    told["memory for all that, MiB"] = _memory() - start_memory
    with _clock(told, "captions of all stories as records, s"):
        told["captions"] = sum(len(item.captions) for item in view)
    told["memory with that, MiB"] = _memory() - start_memory
    told["text kept, MiB"] = view.cache_info().text_bytes >> 20
    return told


class _clock:  # noqa: N801
    def __init__(self, told: dict[str, Any], name: str) -> None:
        self.told, self.name = told, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.told[self.name] = round(time.perf_counter() - self.start, 2)


def _memory() -> int:
    """Return the peak memory of the process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
