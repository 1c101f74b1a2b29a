"""CPU time of 16 frames in a row from a random clip: our view against `videofolder` and against nested `List(Video())`.

Needs torchcodec and FFmpeg's libraries for the other side. Everything decodes on one thread; clips are read in the same
random order by every side, one after the other, so that the machine's moods hit all alike. Our decoder cache is held
at one clip, so that ours opens every clip anew as theirs do.

Example:
    python benchmarks/random_clips.py --clips 48 --reads 60 --seed 0
    python benchmarks/random_clips.py --folder ../shared/release-sample/demos --reads 60
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_dataset import NUM_FRAMES, make_clips, read_clips, write_stories

from animeshooter_hf import load_stories
from animeshooter_hf.loading import CacheSettings

FRAMES = 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48, help="clips to make")
    parser.add_argument("--folder", type=Path, help="read the mp4 files below this folder instead")
    parser.add_argument("--shots", type=int, default=6, help="shots per story")
    parser.add_argument("--reads", type=int, default=60, help="random reads of each side")
    parser.add_argument("--seed", type=int, default=0, help="decides clips and reads")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    clips = read_clips(settings.folder) if settings.folder else make_clips(settings.clips, settings.seed)
    print(f"{len(clips)} clips, {sum(map(len, clips)) // len(clips) >> 10} KiB on average")
    with tempfile.TemporaryDirectory() as scratch:
        measure(Path(scratch), clips, settings)


def measure(scratch: Path, clips: list[bytes], settings: argparse.Namespace) -> None:
    """Print the median CPU time of each side, and ours as a share of theirs."""
    write_stories(scratch / "data", clips, settings.shots)
    sides = {
        "our view": our_view(scratch / "data", settings.shots, CacheSettings(max_clips=1)),
        "our view, decoder cache": our_view(scratch / "data", settings.shots, CacheSettings(max_clips=len(clips))),
        "videofolder": videofolder(scratch, clips),
        "List(Video())": nested(scratch, clips, settings.shots),
    }
    rng = np.random.default_rng(settings.seed)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(settings.reads + 5):
        clip, start = int(rng.integers(len(clips))), int(rng.integers(NUM_FRAMES - FRAMES + 1))
        for name, read in sides.items():
            before = time.process_time()
            shape = read(clip, start)
            if turn >= 5:
                seconds[name].append(time.process_time() - before)
            assert sorted(shape)[:2] == [3, FRAMES], (name, shape)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        print(f"{name:26s} {1e3 * value:7.2f} ms CPU   {FRAMES / value:6.0f} frames per CPU second")
    for other in ("videofolder", "List(Video())"):
        for mine in ("our view", "our view, decoder cache"):
            print(f"{mine} / {other}: {medians[mine] / medians[other]:.2f}")


def our_view(root: Path, shots: int, caches: CacheSettings) -> Callable[[int, int], Any]:
    """Return a reader of frames through `load_stories`."""
    view = load_stories(root, media=("video",), caches=caches)
    return lambda clip, start: view[clip // shots].frames(clip % shots, start, start + FRAMES).shape


def videofolder(scratch: Path, clips: list[bytes]) -> Callable[[int, int], Any]:
    """Return a reader through `load_dataset("videofolder")`."""
    from datasets import load_dataset

    folder = scratch / "folder"
    folder.mkdir()
    for number, clip in enumerate(clips):
        (folder / f"{number:05d}.mp4").write_bytes(clip)
    rows = load_dataset("videofolder", data_dir=str(folder), split="train", cache_dir=str(scratch / "cache"))
    return lambda clip, start: rows[clip]["video"].get_frames_in_range(start, start + FRAMES).data.shape


def nested(scratch: Path, clips: list[bytes], shots: int) -> Callable[[int, int], Any]:
    """Return a reader of one row per story, its clips in a list."""
    from datasets import Dataset, Features, List, Video

    cells = [{"path": f"{n}.mp4", "bytes": clip} for n, clip in enumerate(clips)]
    groups = [cells[start : start + shots] for start in range(0, len(cells), shots)]
    rows = Dataset.from_dict({"video": groups}, features=Features({"video": List(Video())}))

    def read(clip: int, start: int) -> Any:
        decoder = rows[clip // shots]["video"][clip % shots]
        return decoder.get_frames_in_range(start, start + FRAMES).data.shape

    return read


if __name__ == "__main__":
    main()
