"""Read all captions: our `stories` config against the same stories with their media nested in the row.

Both are opened with plain `load_dataset` and read column by column, as a user would. The nested layout is what one gets
by putting clips into the story's row; `datasets` cannot project inside a list, so every clip's bytes come along and a
decoder is opened for each. That needs torchcodec and FFmpeg; where they do not work, only the second row is measured,
in which the user has switched decoding off by hand.

    python benchmarks/ingest_captions.py --stories 40 --runs 5

Prints shots per CPU second of either layout and their ratio: the median of several runs, side by side in one process.
"""

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import Dataset, Features, List, Value, Video, load_dataset

from animeshooter_hf import Shot, Story
from animeshooter_hf.dataset_builder.package import SplitSettings, write_dataset
from animeshooter_hf.video import write_video

SHOTS = 6
TEXT = "a character walks over the bridge while the camera follows slowly and birds rise from the river"
WORDS = TEXT.split()


def make_clips(folder: Path, count: int) -> list[bytes]:
    """Return a few real clips of about 100 KB, 720x480, 49 frames."""
    random = np.random.default_rng(0)
    clips = []
    for number in range(count):
        blocks = random.integers(0, 255, (60, 90, 3), dtype=np.uint8)
        noise = [np.kron(np.roll(blocks, n, axis=1), np.ones((8, 8, 1), np.uint8)) for n in range(49)]
        clips.append(write_video(folder / f"{number}.mp4", noise, 16, crf=34).read_bytes())
    return clips


def make_stories(count: int) -> list[Story]:
    """Return stories with captions of the paper's length."""
    random = np.random.default_rng(1)
    stories = []
    for number in range(count):
        shots = [
            Shot(
                shot_id=f"v{number:05d}_000_{index:02d}",
                index=index,
                narrative_caption=" ".join(random.choice(WORDS, 11)),
                descriptive_caption=" ".join(random.choice(WORDS, 31)),
            )
            for index in range(SHOTS)
        ]
        stories.append(Story(video_id=f"v{number:05d}", story_id=f"v{number:05d}_000", shots=tuple(shots)))
    return stories


def write_nested(path: Path, stories: list[Story], clips: list[bytes]) -> None:
    """Write the same stories with a clip in every shot, as `datasets` itself writes them."""
    features = Features(
        {
            "story_id": Value("string"),
            "shots": List({"descriptive_caption": Value("string"), "video": Video()}),
        }
    )
    rows = [
        {
            "story_id": story.story_id,
            "shots": [
                {
                    "descriptive_caption": shot.descriptive_caption,
                    "video": {"path": f"{shot.shot_id}.mp4", "bytes": clips[shot.index % len(clips)]},
                }
                for shot in story.shots
            ],
        }
        for story in stories
    ]
    Dataset.from_list(rows, features=features).to_parquet(path)


def read_stories(folder: Path, cache: Path) -> int:
    """Read every caption of the `stories` config."""
    data = load_dataset(str(folder), "stories", split="train", streaming=True, columns=["shots"], cache_dir=str(cache))
    return sum(len(shot["descriptive_caption"]) > 0 for row in data for shot in row["shots"])


def read_nested(path: Path, cache: Path, *, decode: bool = False) -> int:
    """Read every caption of the nested layout, with a decoder opened per clip as is the default, or without."""
    features = Features(
        {
            "story_id": Value("string"),
            "shots": List({"descriptive_caption": Value("string"), "video": Video(decode=decode)}),
        }
    )
    data = load_dataset(
        "parquet", data_files=str(path), split="train", streaming=True, columns=["shots"], features=features,
        cache_dir=str(cache),
    )  # fmt: skip
    return sum(len(shot["descriptive_caption"]) > 0 for row in data for shot in row["shots"])


def can_decode(path: Path, cache: Path) -> bool:
    """Return whether torchcodec really works here."""
    try:
        return read_nested(path, cache, decode=True) > 0
    except (ImportError, OSError, RuntimeError):
        return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=200)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stories, clips = make_stories(arguments.stories), make_clips(folder, 6)
        write_dataset(folder / "data", stories, splits=SplitSettings(validation=0, test=0), progress=False)
        write_nested(folder / "nested.parquet", stories, clips)
        stored = sum(path.stat().st_size for path in (folder / "data" / "stories").iterdir())
        nested_bytes = (folder / "nested.parquet").stat().st_size
        layouts = [
            ("stories", read_stories, folder / "data"),
            ("nested, not decoded", read_nested, folder / "nested.parquet"),
        ]
        if can_decode(folder / "nested.parquet", folder / "cache"):
            layouts.append(("nested", partial(read_nested, decode=True), folder / "nested.parquet"))
        else:
            print("torchcodec does not work here: the plain nested layout cannot be read and is not measured")
        seconds: dict[str, list[float]] = {layout: [] for layout, _, _ in layouts}
        for _ in range(arguments.runs + 1):
            for layout, read, path in layouts:
                began = time.process_time()
                count = read(path, folder / "cache")
                seconds[layout].append(time.process_time() - began)
                if count != arguments.stories * SHOTS:
                    raise SystemExit(f"{layout}: {count} captions read, {arguments.stories * SHOTS} written")
        shots = arguments.stories * SHOTS
        rates = {layout: shots / statistics.median(values[1:]) for layout, values in seconds.items()}
        print(
            f"{arguments.stories} stories, {shots} shots, clips of {len(clips[0]) // 1024} KiB, {arguments.runs} runs"
        )
        for layout, rate in rates.items():
            ratio = "" if layout == "stories" else f"   {rates['stories'] / rate:8.0f} x slower"
            size = stored if layout == "stories" else nested_bytes
            print(f"{layout:<20} {rate:10,.0f} shots per CPU second   {size:12,} bytes{ratio}")
        print(f"bytes: 1/{nested_bytes / stored:,.0f}")


if __name__ == "__main__":
    main()
