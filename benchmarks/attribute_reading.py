"""Measure what recovering attributes from pixels says of the truth, of spoilt truth and of wrong characters.

Toon stories are drawn, spoilt in one way at a time, and read. Nothing is learned, so there is nothing to tune but the
settings of reading; the seed of the stories is an option.

Example:
    python benchmarks/attribute_reading.py --stories 10 --seed 100
    python benchmarks/attribute_reading.py --stories 10 --seed 100 --frames-per-shot 3 --json
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.attribute_reading import ReadingSettings, matching_frames, read_shot, story_values
from animeshooter_hf.eval.bench.toon_questions import ToonWorld
from animeshooter_hf.eval.bench.toon_stories import ToonStorySettings, plan_story
from animeshooter_hf.toon import ATTRIBUTES, FilmPlan, ToonCharacter, ToonFilm
from animeshooter_hf.toon.attributes import draw_character
from animeshooter_hf.toon.style import draw_style
from animeshooter_hf.video import read_frames, write_video

Frames = NDArray[np.uint8]
NUMBERS = ("identity", "chance", "agreement", "body_colour_difference", "body_colour_drift", "line_colour_difference")


def main() -> None:
    """Read the stories and write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=10, help="stories of four shots (default %(default)s)")
    parser.add_argument("--seed", type=int, default=100, help="of the stories (default %(default)s)")
    parser.add_argument("--size", default="480x270", help="pixels (default %(default)s)")
    parser.add_argument("--frames-per-shot", type=int, default=5, help="looked at (default %(default)s)")
    parser.add_argument("--search", type=int, default=4, help="largest shift in pixels (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="write all numbers as JSON")
    arguments = parser.parse_args()
    width, height = (int(part) for part in arguments.size.split("x"))
    settings = ReadingSettings(frames_per_shot=arguments.frames_per_shot, search_pixels=arguments.search)
    found: dict[str, list[dict[str, float | None]]] = {}
    question_seconds = 0.0
    for number in range(arguments.stories):
        plan = _plan(arguments.seed, number, ToonStorySettings(width=width, height=height))
        world = ToonWorld(plan)
        start = time.process_time()
        asked = [world.shot_questions(index, settings)[0] for index in range(len(plan.shots))]
        question_seconds += time.process_time() - start
        for name, clips in _clips(plan, arguments.seed + number).items():
            chosen = [clip[list(matching_frames(len(clip), settings.frames_per_shot))] for clip in clips]
            readings = [[read_shot(clip, one, settings)] for clip, one in zip(chosen, asked, strict=True)]
            found.setdefault(name, []).append(story_values(readings))
    num_shots = 4 * arguments.stories
    means = {name: {key: _mean([row.get(key) for row in rows]) for key in NUMBERS} for name, rows in found.items()}
    if arguments.json:
        everything = {"means": means, "stories": found, "cpu_seconds_per_shot": question_seconds / num_shots}
        sys.stdout.write(json.dumps(everything) + "\n")
        return
    sys.stdout.write(f"{'':22}" + "".join(f"{key.replace('colour_', ''):>18}" for key in NUMBERS) + "\n")
    for name, row in means.items():
        cells = "".join(f"{'-' if value is None else f'{value:.3f}':>18}" for value in row.values())
        sys.stdout.write(f"{name:22}{cells}\n")
    sys.stdout.write(f"{num_shots} shots; drawing the questions: {question_seconds / num_shots:.2f} CPU-s a shot.\n")


def _plan(seed: int, number: int, settings: ToonStorySettings) -> FilmPlan:
    random = Random(f"attribute_reading/{seed}/{number}")
    character = draw_character(random, "Mobo", "held_out")
    return plan_story(f"story_{number}", [character], draw_style(random), seed=seed, num_shots=4, settings=settings)


def _clips(plan: FilmPlan, seed: int) -> dict[str, list[Frames]]:
    """Return the story spoilt in each way, clip by clip."""
    random, rng = Random(f"stranger/{seed}"), np.random.default_rng(seed)
    truth, own = _draw(plan), plan.characters[0]
    stranger = draw_character(random, own.id, "held_out")
    height, width = truth[0].shape[1:3]
    spoilt: dict[str, Callable[[Frames], Frames]] = {
        "truth": lambda clip: clip,
        "H.264, crf 23": lambda clip: _coded(clip, 23),
        "H.264, crf 35": lambda clip: _coded(clip, 35),
        "blur, sigma 1.5": lambda clip: _each(clip, lambda one: cv2.GaussianBlur(one, (0, 0), 1.5)),
        "blur, sigma 3": lambda clip: _each(clip, lambda one: cv2.GaussianBlur(one, (0, 0), 3)),
        "noise, sd 25": lambda clip: np.clip(clip + rng.normal(0, 25, clip.shape), 0, 255).astype(np.uint8),
        "half size": lambda clip: _each(clip, lambda one: cv2.resize(one, (width // 2, height // 2))),
        "twice the size": lambda clip: _each(clip, lambda one: cv2.resize(one, (2 * width, 2 * height))),
        "every other frame": lambda clip: clip[::2],
        "shifted by 3, 2": lambda clip: np.roll(clip, (3, -2), (1, 2)),
        "shifted by 12, 8": lambda clip: np.roll(clip, (12, -8), (1, 2)),
        "mirrored": lambda clip: clip[:, :, ::-1],
        "first frame frozen": lambda clip: np.repeat(clip[:1], len(clip), axis=0),
        "grey": lambda clip: np.full_like(clip, 128),
        "noise alone": lambda clip: rng.integers(0, 256, clip.shape).astype(np.uint8),
    }
    made = {name: [change(clip) for clip in truth] for name, change in spoilt.items()}
    made["other character"] = _draw(replace(plan, characters=(stranger,)))
    made["nothing in common"] = _draw(replace(plan, characters=(_opposite(own),)))
    return made


def _draw(plan: FilmPlan) -> list[Frames]:
    film = ToonFilm(plan)
    return [np.stack([film.frame(i) for i in range(shot.start_frame, shot.end_frame)]) for shot in plan.shots]


def _opposite(character: ToonCharacter) -> ToonCharacter:
    """Return a character that differs in every attribute."""
    changed = {
        name: values[(values.index(getattr(character, name)) + len(values) // 2) % len(values)]
        for name, values in ATTRIBUTES.items()
    }
    return replace(character, **changed)


def _each(clip: Frames, change: Callable[[Frames], object]) -> Frames:
    return np.stack([np.asarray(change(frame), np.uint8) for frame in clip])


def _coded(clip: Frames, crf: int) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "clip.mp4", clip, 16, crf=crf)
        return read_frames(path, range(len(clip)))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
