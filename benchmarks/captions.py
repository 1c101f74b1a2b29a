"""Read all captions: our `stories` config against the same stories with their clips nested in the row.

Both are opened with plain `load_dataset`, streaming, and read row by row, as a user would. The nested layout is what
one gets by putting clips into the story's row: `datasets` cannot project inside a list, so every clip's bytes come
along and a decoder is opened for each. That needs torchcodec and FFmpeg; where they do not work, only the row is
measured in which the user has switched decoding off by hand. Then both are put on a Hub on loopback, which counts the
bytes that a reader of all captions costs. At last a `stories` config of many stories is opened, filtered and streamed.

    python benchmarks/captions.py
    python benchmarks/captions.py --stories 40 --runs 5 --many 0 --seed 1

Prints shots per CPU second (the median of several runs, side by side in one process), bytes, seconds and memory.
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
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if "HF_ENDPOINT" not in os.environ:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import Dataset, Features, List, Value, Video, load_dataset
from write_parquet import WORDS, make_clips, stories

from animeshooter_hf.dataset_builder.package import SplitSettings, write_dataset
from animeshooter_hf.records import Character, Scene, Shot, Story

ROOT = Path(__file__).parents[1]
SHOTS = 15
ALL_FOR_TRAINING = SplitSettings(validation=0, test=0)


def nested_features(*, decode: bool) -> Features:
    """Return the columns of the nested layout."""
    shot = {"descriptive_caption": Value("string"), "video": Video(decode=decode)}
    return Features({"story_id": Value("string"), "shots": List(shot)})


def write_nested(folder: Path, told: list[Story], clips: list[bytes]) -> None:
    """Write the stories with a clip in every shot, as `datasets` itself writes them."""
    folder.mkdir()
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
        for story in told
    ]
    Dataset.from_list(rows, features=nested_features(decode=False)).to_parquet(folder / "train.parquet")


def read_stories(place: str, cache: Path) -> int:
    """Read every caption of the `stories` config of a folder or repository."""
    data = load_dataset(place, "stories", split="train", streaming=True, columns=["shots"], cache_dir=str(cache))
    return sum(len(shot["descriptive_caption"]) > 0 for row in data for shot in row["shots"])


def read_nested(place: str, cache: Path, *, decode: bool) -> int:
    """Read every caption of the nested layout, with a decoder opened per clip as is the default, or without."""
    data = load_dataset(
        place, split="train", streaming=True, columns=["shots"], features=nested_features(decode=decode),
        cache_dir=str(cache),
    )  # fmt: skip
    return sum(len(shot["descriptive_caption"]) > 0 for row in data for shot in row["shots"])


def can_decode(folder: Path, cache: Path) -> bool:
    """Return whether torchcodec really works here."""
    try:
        return read_nested(str(folder), cache, decode=True) > 0
    except (ImportError, OSError, RuntimeError) as error:
        print(
            f"torchcodec does not work here, so the nested layout is not measured as a plain user reads it: {error!r}"
        )
        return False


def compare_speed(folder: Path, runs: int, expected: int) -> None:
    """Print shots per CPU second of each layout."""
    ours, nested, cache = str(folder / "data"), str(folder / "nested"), folder / "cache"
    layouts: dict[str, Callable[[], int]] = {"stories": partial(read_stories, ours, cache)}
    if can_decode(folder / "nested", cache):
        layouts["nested"] = partial(read_nested, nested, cache, decode=True)
    layouts["nested, not decoded"] = partial(read_nested, nested, cache, decode=False)
    seconds: dict[str, list[float]] = {name: [] for name in layouts}
    for _ in range(runs + 1):
        for name, read in layouts.items():
            began = time.process_time()
            count = read()
            seconds[name].append(time.process_time() - began)
            if count != expected:
                raise SystemExit(f"{name}: {count} captions read, {expected} written")
    rates = {name: expected / statistics.median(values[1:]) for name, values in seconds.items()}
    for name, rate in rates.items():
        ratio = "" if name == "stories" else f"   stories: {rates['stories'] / rate:,.0f}x"
        print(f"{name:<22}{rate:>12,.0f} shots per CPU second{ratio}")


@contextmanager
def published(folder: Path) -> Iterator[tuple[Any, dict[str, str]]]:
    """Put both layouts on a Hub on loopback; give the Hub and the environment of its readers."""
    sys.path.insert(0, str(ROOT / "tests" / "hub"))
    from loopback_hub import loopback_hub

    upload = (
        "import sys; from huggingface_hub import HfApi; api = HfApi()\n"
        "for name in ('data', 'nested'):\n"
        "    api.create_repo(f'org/{name}', repo_type='dataset')\n"
        "    api.upload_folder(repo_id=f'org/{name}', repo_type='dataset', folder_path=f'{sys.argv[1]}/{name}')\n"
    )
    with loopback_hub(folder / "hub") as hub:
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(folder / "home"),
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        subprocess.run([sys.executable, "-c", upload, str(folder)], env=environment, check=True, capture_output=True)
        yield hub, environment


def compare_bytes(folder: Path) -> None:
    """Print the bytes that the Hub sent to a reader of all captions."""
    sent: dict[str, int] = {}
    with published(folder) as (hub, environment):
        for name in ("data", "nested"):
            before = hub.bytes_sent
            run_child("read", f"org/{name}", str(folder / f"cache-{name}"), environment=environment)
            sent[name] = hub.bytes_sent - before
    print(
        f"over HTTP: stories {sent['data']:,} bytes, nested {sent['nested']:,}: 1/{sent['nested'] / sent['data']:,.0f}"
    )


def many_stories(count: int, seed: int) -> Iterator[Story]:
    """Yield stories of the paper's length, text only; each has one of 500 characters."""
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, 31)) for _ in range(5000)]
    shots = tuple(
        Shot(shot_id=f"s_{index:02d}", index=index, start_seconds=3.0 * index, end_seconds=3.0 * index + 3)
        for index in range(SHOTS)
    )
    for number in range(count):
        name = f"v{number // 5:06d}_{number % 5:03d}"
        hero = f"Hero {number * 7919 % 500}"
        told = tuple(
            replace(
                shot, shot_id=f"{name}_{shot.index:02d}", characters=(hero,), scene="Park",
                narrative_caption=texts[(number + shot.index) % 5000][:60],
                descriptive_caption=texts[(number * SHOTS + shot.index) % 5000],
            )
            for shot in shots
        )  # fmt: skip
        yield Story(
            video_id=name[:7], story_id=name, frame_rate=30, start_frame=0, end_frame=1350, shots=told,
            storyline=texts[number % 5000], characters=(Character(id=hero, appearance="grey"),),
            scenes=(Scene(id="Park", environment="grass"),),
        )  # fmt: skip


def read_many(folder: str, cache: str, count: int) -> dict[str, Any]:
    """Open, filter and stream a large `stories` config with plain `datasets`; return seconds and memory."""
    load = partial(load_dataset, folder, split="train", streaming=True, cache_dir=cache)
    began = time.perf_counter()
    next(iter(load()))
    opened = time.perf_counter() - began

    began = time.perf_counter()
    names = load(columns=["story_id", "main_characters"])
    hits = names.filter(lambda heroes: any(one["id"] == "Hero 42" for one in heroes), input_columns="main_characters")
    found = sum(1 for _ in hits)
    filtered = time.perf_counter() - began

    memory: dict[int, int] = {}
    began = time.perf_counter()
    for number, _ in enumerate(load(), 1):
        if number in (count // 10, count // 2, count):
            memory[number] = _resident_megabytes()
    return {
        "opened": opened, "filtered": filtered, "found": found, "streamed": time.perf_counter() - began,
        "memory": memory,
    }  # fmt: skip


def _resident_megabytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000


def show_many(folder: Path, count: int, seed: int) -> None:
    """Print what it takes to open, filter and stream many stories."""
    began = time.process_time()
    write_dataset(folder / "many", many_stories(count, seed), splits=ALL_FOR_TRAINING, progress=False)
    size = sum(path.stat().st_size for path in (folder / "many").rglob("*.parquet"))
    print(f"\n{count:,} stories, {size / 1e6:,.0f} MB, written in {time.process_time() - began:.0f} s of CPU")
    told = run_child("many", str(folder / "many"), str(folder / "cache-many"), str(count), environment=dict(os.environ))
    print(f"opened, first story        {told['opened']:>6.1f} s")
    print(f"filtered by a character    {told['filtered']:>6.1f} s, {told['found']:,} stories found")
    shown = ", ".join(f"{memory} MB after {int(number):,}" for number, memory in told["memory"].items())
    print(f"streamed, every column     {told['streamed']:>6.1f} s; held: {shown}")


def run_child(*arguments: str, environment: dict[str, str]) -> Any:
    """Return what a process of its own has found out."""
    command = [sys.executable, __file__, "--child", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=60, help="of 15 shots, written in both layouts")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--many", type=int, default=100_000, help="stories of the large config; 0: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        task, place, cache, *rest = arguments.child
        if task == "many":
            found: Any = read_many(place, cache, int(rest[0]))
        else:
            is_nested = place.endswith("nested")
            found = read_nested(place, Path(cache), decode=False) if is_nested else read_stories(place, Path(cache))
        sys.stdout.write(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        clips = [path.read_bytes() for path in make_clips(folder / "clips", 6, arguments.seed)]
        told = list(stories(arguments.stories, arguments.seed))
        write_dataset(folder / "data", told, splits=ALL_FOR_TRAINING, progress=False)
        write_nested(folder / "nested", told, clips)
        print(f"{len(told)} stories, {SHOTS * len(told)} shots, clips of {len(clips[0]) // 1024} KiB")
        compare_speed(folder, arguments.runs, SHOTS * len(told))
        compare_bytes(folder)
        if arguments.many:
            show_many(folder, arguments.many, arguments.seed)


if __name__ == "__main__":
    main()
