"""How far a story's score falls when its shots get worse: shots of somebody else, blur, noise, hue, occlusion.

Stories are toon films drawn from seeds and, if given, a folder of true stories such as the paper's demos. Printed per
set: the mean and HarMeanP over stories with none to all shots taken from another character's story, then the mean at
four levels of each damage, and whether it falls strictly.

    python benchmarks/sensitivity.py --first-seed 520 --films 6 --demos ../shared/release-sample/demos
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from attacks import toon_story
from numpy.typing import NDArray

from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.toon import FilmSettings
from animeshooter_hf.video.reading import probe, read_frames

Frame = NDArray[np.uint8]

LEVELS = range(4)


def blur(frame: Frame, level: int) -> Frame:
    """Gaussian blur of 1 % of the height a level."""
    return np.asarray(cv2.GaussianBlur(frame, (0, 0), 0.01 * level * len(frame)), np.uint8) if level else frame


def noise(frame: Frame, level: int) -> Frame:
    """Gaussian noise of 30 grey levels a level."""
    drawn = np.random.default_rng(0).normal(0, 30 * level + 1e-9, frame.shape)
    return np.clip(frame + drawn, 0, 255).astype(np.uint8)


def hue(frame: Frame, level: int) -> Frame:
    """All hues turned by 20 degrees a level."""
    turned = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV).astype(np.int16)
    turned[..., 0] = (turned[..., 0] + 10 * level) % 180
    return np.asarray(cv2.cvtColor(turned.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def occlusion(frame: Frame, level: int) -> Frame:
    """A grey square in the middle, a fifth of the height wide a level."""
    half = len(frame) * level // 10
    hidden = frame.copy()
    row, column = len(frame) // 2, frame.shape[1] // 2
    hidden[row - half : row + half, column - half : column + half] = 128
    return hidden


DAMAGES: dict[str, Callable[[Frame, int], Frame]] = {"blur": blur, "noise": noise, "hue": hue, "occlusion": occlusion}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=6, help="toon films (default: %(default)s)")
    parser.add_argument("--first-seed", type=int, default=520, help="their first seed (default: %(default)s)")
    parser.add_argument("--demos", type=Path, help="a folder of true stories")
    arguments = parser.parse_args(argv)
    cv2.setNumThreads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.films)
    settings = FilmSettings(width=320, height=180, seconds=24)
    sets = {"toon": [toon_story(seed, settings, 4) for seed in seeds]}
    if arguments.demos is not None:
        sets["demos"] = list(read_predictions(arguments.demos))
    for name, stories in sets.items():
        if stories:
            measure(name, [with_frames(story) for story in stories])
    return 0


def with_frames(story: StoryPrediction) -> StoryPrediction:
    """Return the story with the five frames of each shot that are looked at."""
    shots = []
    for shot in story.shots:
        count = probe(shot).num_frames
        shots.append(read_frames(shot, sorted({(2 * k + 1) * count // 10 for k in range(5)})))
    return replace(story, shots=tuple(shots))


def measure(name: str, stories: Sequence[StoryPrediction]) -> None:
    """Print the table of one set."""
    strangers = [
        next(other for other in (*stories[number:], *stories) if other.ip_id != story.ip_id)
        for number, story in enumerate(stories)
    ]
    sys.stdout.write(
        f"\n{name}: {len(stories)} stories\nshots of somebody else    mean   HarMeanP   of the whole story\n"
    )
    first = None
    for count in range(5):
        mixed = [
            replace(story, shots=(*story.shots[: len(story.shots) - count], *stranger.shots[:count]))
            for story, stranger in zip(stories, strangers, strict=True)
        ]
        results = evaluate_stories(mixed, "reference_fidelity")
        mean, paper = (results.value("reference_fidelity", key) or 0.0 for key in ("mean", "harmean_p"))
        first = paper if first is None else first
        sys.stdout.write(f"{count:>22}  {mean:6.3f}   {paper:8.3f}   {paper / first:6.2f}\n")
    sys.stdout.write("damage, levels 0 to 3\n")
    for kind, damage in DAMAGES.items():
        values = []
        for level in LEVELS:
            worse = [
                replace(s, shots=tuple(np.stack([damage(frame, level) for frame in shot]) for shot in s.shots))
                for s in stories
            ]
            values.append(evaluate_stories(worse, "reference_fidelity").value("reference_fidelity", "mean") or 0.0)
        falls = all(later < earlier for earlier, later in itertools.pairwise(values))
        shown = " > ".join(f"{value:.3f}" for value in values)
        sys.stdout.write(f"{kind:>22}  {shown}   {'falls strictly' if falls else 'DOES NOT FALL STRICTLY'}\n")


if __name__ == "__main__":
    sys.exit(main())
