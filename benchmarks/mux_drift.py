"""Do picture and sound of a long story end together? Ours beside diffusers' own exporter.

The same shots, of noise and of sound with a click where each shot begins, are written by

    mux_story      the shared writer: cuts only
    export_film    transitions, loudness, chapters
    encode_video   diffusers.utils.export_utils, which takes one array of frames and one of samples

and read back with PyAV: where the last frame ends, where the last sample ends, and for each shot how far the click lies
from the picture's cut (a dissolve has none). One AAC frame is 1024 samples. Times are CPU seconds, medians of several
runs side by side; our encoder runs on one thread, diffusers' on as many as it likes. `encode_video` leaves the encoder
its own settings, so sizes are not comparable.

    python benchmarks/mux_drift.py
    python benchmarks/mux_drift.py --shots 64 --frame-rate 30000/1001 --dissolve 8
"""

import argparse
import contextlib
import io
import json
import statistics
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import torch
from diffusers.utils.export_utils import encode_video
from numpy.typing import NDArray

from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.modeling.film import FilmSettings, export_film
from animeshooter_hf.modeling.transitions import Transition, plan_film
from animeshooter_hf.video import MuxShot, mux_story

AAC_FRAME = 1024


def make_shots(arguments: argparse.Namespace, rate: Fraction) -> tuple[list[Any], list[NDArray[np.float32]]]:
    """Return frames and sounds; each shot is of one colour plus noise, and its sound begins with a click."""
    random = np.random.default_rng(arguments.seed)
    shots, sounds = [], []
    for index in range(arguments.shots):
        noise = random.integers(0, 30, (arguments.frames, arguments.height, arguments.width, 3))
        shots.append((noise + 60 + 120 * (index % 2)).astype(np.uint8))
        sound = random.normal(0, 0.002, (2, round(arguments.frames / rate * arguments.sample_rate) + 5)).astype(
            np.float32
        )
        sound[:, arguments.sample_rate // 100 : arguments.sample_rate // 50] += 0.5
        sounds.append(sound)
    return shots, sounds


def measure(path: Path, starts: list[Fraction]) -> dict[str, Any]:
    """Return what a file's own time stamps say, in seconds; clicks are found in the decoded sound."""
    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        rate = sound.codec_context.sample_rate
        frames = [(frame.pts * picture.time_base, int(frame.to_ndarray(format="gray").mean()))
                  for frame in container.decode(picture)]  # fmt: skip
        picture_rate = Fraction(picture.average_rate or 1)
        picture_end = frames[-1][0] + 1 / picture_rate
        sound_end = Fraction(sound.duration or 0) * sound.time_base
    with av.open(str(path)) as container:
        blocks = [(frame.pts * frame.time_base, frame.to_ndarray()) for frame in container.decode(audio=0)]
    first = blocks[0][0]
    samples = np.abs(np.concatenate([block for _, block in blocks], axis=1)).max(axis=0)
    cuts = [Fraction(0)] + [when for (when, level), (_, before) in zip(frames[1:], frames, strict=False)
                            if abs(level - before) > 60]  # fmt: skip
    offsets = []
    for cut, start in zip(cuts, starts, strict=False):
        begin = max(0, round((start - first) * rate) - rate // 4)
        loud = np.flatnonzero(samples[begin : begin + rate // 2] > 0.1 * samples.max())
        if len(loud):
            offsets.append(float((begin + int(loud[0])) / rate + first - Fraction(1, 100) - cut))
    difference = float(sound_end - picture_end)
    return {
        "frames": len(frames), "rate": str(picture_rate), "picture_ends_s": round(float(picture_end), 6),
        "sound_ends_s": round(float(sound_end), 6), "end_difference_ms": round(1000 * difference, 3),
        "end_difference_aac_frames": round(difference * rate / AAC_FRAME, 3), "cuts_found": len(cuts),
        "click_after_cut_ms": [round(1000 * value, 2) for value in (min(offsets), max(offsets))],
    }  # fmt: skip


def timed(write: Callable[[], Any], runs: int) -> float:
    """Return the median CPU seconds of writing."""
    seconds = []
    for _ in range(runs):
        begin = time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):
            write()
        seconds.append(time.process_time() - begin)
    return round(statistics.median(seconds), 3)


def main() -> None:
    """Write, read back, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--frames", type=int, default=49, help="frames per shot")
    parser.add_argument("--frame-rate", default="23.976")
    parser.add_argument("--sample-rate", type=int, default=44_100)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--height", type=int, default=64)
    parser.add_argument("--dissolve", type=int, default=0, help="also write with dissolves of so many frames")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rate = exact_frame_rate(arguments.frame_rate)
    shots, sounds = make_shots(arguments, rate)
    pairs = list(zip(shots, sounds, strict=True))
    frames, joined = torch.from_numpy(np.concatenate(shots)), _joined(sounds, arguments, rate)
    with TemporaryDirectory() as name:
        folder = Path(name)
        writers: dict[str, tuple[Callable[[], Any], Transition]] = {
            "mux_story": (lambda: mux_story(
                folder / "mux_story.mp4", [MuxShot(*pair) for pair in pairs], rate, sample_rate=arguments.sample_rate
            ), Transition()),
            "export_film": (lambda: export_film(
                folder / "export_film.mp4", shots, rate, sounds=sounds, sample_rate=arguments.sample_rate
            ), Transition()),
            "encode_video": (lambda: encode_video(
                frames, float(rate), str(folder / "encode_video.mp4"), torch.from_numpy(joined), arguments.sample_rate
            ), Transition()),
        }  # fmt: skip
        if arguments.dissolve:
            dissolve = Transition(kind="dissolve", num_frames=arguments.dissolve)
            writers["export_film, dissolves"] = (lambda: export_film(
                folder / "export_film, dissolves.mp4", shots, rate, sounds=sounds, sample_rate=arguments.sample_rate,
                settings=FilmSettings(transitions=dissolve),
            ), dissolve)  # fmt: skip
        for label, (write, transition) in writers.items():
            plan = plan_film([len(shot) for shot in shots], rate, transition)
            cpu_seconds = timed(write, arguments.runs)
            starts = [span.start_frame / rate for span in plan.spans]
            found = measure(folder / f"{label}.mp4", starts) | {"expected_s": round(float(plan.seconds), 6)}
            print(json.dumps({"writer": label, **found, "cpu_s": cpu_seconds}))


def _joined(sounds: list[NDArray[np.float32]], arguments: argparse.Namespace, rate: Fraction) -> NDArray[np.float32]:
    """Return the sounds end to end at exact places, as the best that a user of `encode_video` can hand over."""
    ends = [round(arguments.frames * number / rate * arguments.sample_rate) for number in range(len(sounds) + 1)]
    parts = [sound[:, : end - start] for sound, start, end in zip(sounds, ends, ends[1:], strict=False)]
    return np.concatenate(parts, axis=1)


if __name__ == "__main__":
    main()
