"""Scoring a set of the paper's size: one pass, few frames, and a cache, against the usual ways and against the limit.

    decode           every packet of every shot through PyAV, no frame converted: the limit of any scorer
    one pass         all metrics, our engine, no cache
    every frame      the same metrics on all frames of every shot, in one pass
    one by one       each metric in a run of its own, which decodes again
    peers' way       each metric in a run of its own, on all frames
    from cache       all metrics again, everything in the cache

CPU seconds of one process, side by side, medians of several runs; ratios are against "one pass". The set is made once:
IPs x stories x shots of drawn or toon frames, encoded as H.264.

    python benchmarks/score_stories.py /tmp/set --stories 200 --runs 3
    python benchmarks/score_stories.py /tmp/small --stories 10 --frames toon --metrics reference_fidelity shot_controls

The metrics are those that need no weights; `audio_alignment` measures loudness and the like where shots have sound.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.eval import shot_media
from animeshooter_hf.eval.predictions import PREDICTIONS_FILE, read_predictions
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.video import write_video

FRAME_RATE = Fraction(16)
NUM_IPS = 20
SHOTS = 4


def cpu_seconds() -> float:
    """Return the CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def drawn_shot(rng: np.random.Generator, num_frames: int, size: tuple[int, int], hue: int) -> NDArray[np.uint8]:
    """Return a figure of one colour that walks before a textured backdrop while the camera pans."""
    width, height = size
    coarse = rng.integers(0, 256, (8, 16, 3), np.uint8)
    backdrop = cv2.resize(coarse, (width * 2, height), interpolation=cv2.INTER_CUBIC)
    backdrop = np.clip(backdrop + rng.normal(0, 6, backdrop.shape), 0, 255).astype(np.uint8)
    colour = cv2.cvtColor(np.asarray([[[hue, 200, 220]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    frames = np.empty((num_frames, height, width, 3), np.uint8)
    start, step = int(rng.integers(0, width // 2)), float(rng.uniform(1, 6))
    for index in range(num_frames):
        left = int(start + index * step / 3) % width
        frames[index] = backdrop[:, left : left + width]
        at = (width // 4 + int(index * step), height // 2 + int(10 * np.sin(index / 2)))
        cv2.ellipse(frames[index], at, (height // 8, height // 4), 0, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.circle(frames[index], (at[0], at[1] - height // 4), height // 9, (250, 220, 190), -1, cv2.LINE_AA)
    return frames


def drawn_reference(size: tuple[int, int], hue: int) -> NDArray[np.uint8]:
    """Return the figure as a cut-out."""
    height = size[1]
    picture = np.zeros((height, height, 4), np.uint8)
    colour = cv2.cvtColor(np.asarray([[[hue, 200, 220]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0].tolist()
    at = (height // 2, height // 2)
    cv2.ellipse(picture, at, (height // 8, height // 4), 0, 0, 360, (*colour, 255), -1)
    cv2.circle(picture, (at[0], at[1] - height // 4), height // 9, (250, 220, 190, 255), -1)
    return picture


def shots_of_ip(kind: str, ip: int, count: int, num_frames: int, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of so many shots of one IP."""
    rng = np.random.default_rng([7, ip])
    if kind == "drawn":
        for _ in range(count):
            yield drawn_shot(rng, num_frames, size, hue=ip * 180 // NUM_IPS)
        return
    from animeshooter_hf.toon import FilmSettings, ToonFilm

    seed, made = 3000 + 100 * ip, 0
    while made < count:
        film = ToonFilm.from_seed(seed, FilmSettings(width=size[0], height=size[1]))
        for first in range(0, film.num_frames - num_frames, num_frames):
            yield np.stack([film.frame(index) for index in range(first, first + num_frames)])
            made += 1
            if made == count:
                return
        seed += 1


def make_set(folder: Path, kind: str, num_stories: int, num_frames: int, size: tuple[int, int]) -> Path:
    """Write the set unless it is there; return its folder."""
    place = folder / f"{kind}-{num_stories}x{SHOTS}x{num_frames}-{size[0]}x{size[1]}"
    if (place / PREDICTIONS_FILE).is_file():
        return place
    rows = []
    per_ip = -(-num_stories // NUM_IPS)
    for ip in range(min(NUM_IPS, num_stories)):
        numbers = range(ip * per_ip, min((ip + 1) * per_ip, num_stories))
        shots = shots_of_ip(kind, ip, len(numbers) * SHOTS, num_frames, size)
        (place / f"ip{ip}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn_reference(size, ip * 180 // NUM_IPS)).save(place / f"ip{ip}.png")
        for number in numbers:
            names = [f"ip{ip}/{number}_{shot}.mp4" for shot in range(SHOTS)]
            for name, frames in zip(names, shots, strict=False):
                write_video(place / name, frames, FRAME_RATE)
            captions = [f"The figure of IP {ip} walks, shot {shot}." for shot in range(SHOTS)]
            row = {"story_id": f"s{number}", "ip_id": f"ip{ip}", "shots": names, "references": [f"ip{ip}.png"]}
            rows.append({**row, "captions": captions, "scene_ids": ["a", "b", "a", "b"]})
    (place / PREDICTIONS_FILE).write_text(json.dumps(rows))
    return place


def decode_all(place: Path) -> int:
    """Decode every frame of the set without converting any; return how many there are."""
    count = 0
    for story in read_predictions(place):
        for shot in story.shots:
            with av.open(str(shot)) as container:
                count += sum(1 for _ in container.decode(video=0))
    return count


def count_converted(place: Path, metrics: Sequence[str], num_shots: int) -> float:
    """Return the frames converted per shot in one run."""
    plain, counted = shot_media.to_rgb, [0]

    def counting(frame: Any) -> NDArray[np.uint8]:
        counted[0] += 1
        return plain(frame)

    shot_media.to_rgb = counting  # type: ignore[assignment]
    try:
        evaluate_stories(place, metrics, draws=0)
    finally:
        shot_media.to_rgb = plain
    return counted[0] / num_shots


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return CPU and wall seconds."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the set is made, once")
    parser.add_argument("--stories", type=int, default=200, help="stories of 4 shots (paper: 200)")
    parser.add_argument("--num-frames", type=int, default=33, help="frames of a shot")
    parser.add_argument("--size", default="480x272", help="of a frame")
    parser.add_argument("--frames", choices=["drawn", "toon"], default="drawn", help="what the shots show")
    parser.add_argument(
        "--metrics", nargs="+", default=["reference_fidelity", "cross_shot_consistency", "shot_controls"]
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--skip-slow", action="store_true", help="leave out the runs on every frame")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = map(int, arguments.size.split("x"))
    place = make_set(arguments.folder, arguments.frames, arguments.stories, arguments.num_frames, (width, height))
    metrics, num_shots = arguments.metrics, arguments.stories * SHOTS
    with tempfile.TemporaryDirectory(dir=arguments.folder) as cache:
        evaluate_stories(place, metrics, cache=cache)  # fills the cache, and warms the file cache up
        ways: dict[str, Callable[[], Any]] = {
            "decode": lambda: decode_all(place),
            "one pass": lambda: evaluate_stories(place, metrics),
            "from cache": lambda: evaluate_stories(place, metrics, cache=cache),
            "one by one": lambda: [evaluate_stories(place, [metric]) for metric in metrics],
        }
        if not arguments.skip_slow:
            ways["every frame"] = lambda: evaluate_stories(place, metrics, frames_per_shot=1000)
            ways["peers' way"] = lambda: [evaluate_stories(place, [one], frames_per_shot=1000) for one in metrics]
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(arguments.runs):
            for name, work in ways.items():
                taken[name].append(timed(work))
    print(
        f"{arguments.stories} stories, {num_shots} shots of {arguments.num_frames} frames {arguments.size}; {metrics}"
    )
    ours = statistics.median(cpu for cpu, _ in taken["one pass"])
    for name, times in taken.items():
        cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{name:12} {cpu:8.2f} s CPU {wall:8.2f} s wall  {1000 * cpu / num_shots:7.2f} ms/shot  {cpu / ours:7.3f} x"
        )
    for metric in [*metrics, None]:
        some = metrics if metric is None else [metric]
        print(f"converted per shot, {metric or 'all metrics'}: {count_converted(place, some, num_shots):.2f} frames")


if __name__ == "__main__":
    main()
