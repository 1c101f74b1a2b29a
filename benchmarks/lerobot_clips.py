"""CPU time of random frames: our view against the real `lerobot` package, both with their caches of open decoders.

Two comparisons. "same files": lerobot's own reader of frames, and its cache, on the very same mp4 files. "own layout":
a `LeRobotDataset` made of the same pictures, read through the dataset; lerobot encodes them anew, with a key frame
every second frame, and joins the clips to long files. lerobot gives float32 in [0, 1], so ours is converted too.

Needs an environment of its own, for instance lerobot 0.4.4 on Python 3.11, with this library's folder on PYTHONPATH.

Example:
    python benchmarks/lerobot_clips.py --clips 24 --reads 60
    python benchmarks/lerobot_clips.py --folder ../shared/release-sample/demos --own-layout
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
from clip_dataset import NUM_FRAMES, RATE, make_clips, read_clips, write_stories

from animeshooter_hf import load_stories
from animeshooter_hf.loading import CacheSettings
from animeshooter_hf.video import read_frames

Read = Callable[[int, int, int], torch.Tensor]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=24, help="clips to make")
    parser.add_argument("--folder", type=Path, help="read the mp4 files below this folder instead")
    parser.add_argument("--reads", type=int, default=60, help="random reads of each side")
    parser.add_argument("--seed", type=int, default=0, help="decides clips and reads")
    parser.add_argument("--own-layout", action="store_true", help="measure lerobot's own dataset too")
    parser.add_argument("--codec", default="h264", help="codec of lerobot's own dataset")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    clips = read_clips(settings.folder) if settings.folder else make_clips(settings.clips, settings.seed)
    with tempfile.TemporaryDirectory() as scratch:
        sides = {"ours": ours(Path(scratch) / "data", clips), "lerobot, same files": same_files(Path(scratch), clips)}
        if settings.own_layout:
            sides["lerobot, own layout"] = own_layout(Path(scratch) / "own", clips, settings.codec)
        size = sum(map(len, clips))
        print(f"{len(clips)} clips, {size >> 10} KiB")
        for frames in (1, 16):
            measure(sides, len(clips), frames, settings.reads, settings.seed)


def measure(sides: dict[str, Read], num_clips: int, frames: int, reads: int, seed: int) -> None:
    """Print frames per CPU second of each side, and ours as a multiple."""
    rng = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for clip in range(num_clips):  # every decoder is open before it counts
        for read in sides.values():
            read(clip, 0, frames)
    for _ in range(reads):
        clip, start = int(rng.integers(num_clips)), int(rng.integers(NUM_FRAMES - frames + 1))
        for name, read in sides.items():
            before = time.process_time()
            shape = tuple(read(clip, start, frames).shape)
            seconds[name].append(time.process_time() - before)
            if shape[:2] != (frames, 3):
                raise RuntimeError(f"{name} gave {shape}")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, value in medians.items():
        line = f"{frames:2d} frames  {name:20s} {1e3 * value:7.2f} ms CPU  {frames / value:6.0f} frames/s"
        print(f"{line}  ours {value / medians['ours']:.2f}x")


def ours(root: Path, clips: list[bytes]) -> Read:
    """Return a reader through `load_stories`."""
    write_stories(root, clips, 1)
    items = list(load_stories(root, media=("video",), caches=CacheSettings(max_clips=len(clips), clip_bytes=1 << 30)))

    def read(clip: int, start: int, frames: int) -> torch.Tensor:
        images = torch.from_numpy(items[clip].frames(0, start, start + frames))
        return (images.permute(0, 3, 1, 2) / 255.0).type(torch.float32)

    return read


def same_files(scratch: Path, clips: list[bytes]) -> Read:
    """Return lerobot's reader of frames on the same files."""
    from lerobot.datasets.video_utils import decode_video_frames_torchcodec

    paths = [scratch / f"{number:05d}.mp4" for number in range(len(clips))]
    for path, clip in zip(paths, clips, strict=True):
        path.write_bytes(clip)

    def read(clip: int, start: int, frames: int) -> torch.Tensor:
        times = [(start + n) / RATE for n in range(frames)]
        return decode_video_frames_torchcodec(paths[clip], times, tolerance_s=1e-2)

    return read


def own_layout(root: Path, clips: list[bytes], codec: str) -> Read:
    """Return a reader through a `LeRobotDataset` of the same pictures, one episode per clip."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    height, width = read_frames(clips[0], [0]).shape[1:3]
    feature = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"]}
    made = LeRobotDataset.create("me/clips", RATE, {"image": feature}, root=root, vcodec=codec)
    for clip in clips:
        for image in read_frames(clip, range(NUM_FRAMES)):
            made.add_frame({"image": image, "task": "clip"})
        made.save_episode()
    made.finalize()
    print(f"lerobot's own files: {sum(path.stat().st_size for path in root.rglob('*.mp4')) >> 10} KiB")
    opened: dict[int, Any] = {}

    def read(clip: int, start: int, frames: int) -> torch.Tensor:
        if frames not in opened:
            times = {"image": [n / RATE for n in range(frames)]}
            opened[frames] = LeRobotDataset("me/clips", root=root, delta_timestamps=times, tolerance_s=1e-2)
        found = opened[frames][clip * NUM_FRAMES + start]["image"]
        return found.reshape(frames, *found.shape[-3:])

    return read


if __name__ == "__main__":
    main()
