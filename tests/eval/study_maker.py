"""Toy films of two systems, and raters who vote on them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import write_video

DIMENSIONS = ("OQ", "CRC", "MSC", "MCC")
QUALITY = {"secretfox": 4.2, "hiddenowl": 2.4}
SIZES = {"secretfox": (48, 64), "hiddenowl": (36, 64)}
RATES = {"secretfox": 12, "hiddenowl": 8}
IPS = {"s1": "red", "s2": "red", "s3": "green", "s4": "green", "s5": "blue", "s6": "blue"}


def make_predictions(folder: Path, *, num_frames: int = 6) -> dict[str, list[StoryPrediction]]:
    """Two systems, six stories of three IPs, two shots each; files carry the system's name in their tags."""
    rng = np.random.default_rng(0)
    tags = PngInfo()
    tags.add_text("Software", "secretfox and hiddenowl")
    cutout = np.zeros((30, 20, 4), np.uint8)
    cutout[5:25, 4:16] = (200, 40, 40, 255)
    folder.mkdir(parents=True, exist_ok=True)
    reference = folder / "reference.png"
    Image.fromarray(cutout).save(reference, pnginfo=tags)
    made: dict[str, list[StoryPrediction]] = {}
    for system in QUALITY:
        for story, ip in IPS.items():
            shots = []
            for shot in range(2):
                frames = np.full((num_frames, *SIZES[system], 3), 40 + 90 * shot, np.uint8)
                frames[:, 10:30, 10:40, ("red", "green", "blue").index(ip)] = rng.integers(180, 255)
                path = folder / system / f"{story}_{shot}.mp4"
                write_video(path, list(frames), RATES[system], metadata={"title": f"by {system}", "comment": story})
                shots.append(path)
            made.setdefault(system, []).append(
                StoryPrediction(
                    story_id=story,
                    ip_id=ip,
                    shots=tuple(shots),
                    references=(reference,),
                    captions=("Mia looks up & says 1 < 2.", "Mia goes home."),
                )
            )
    return made


def write_predictions(path: Path, predictions: Sequence[StoryPrediction]) -> Path:
    """Write a predictions file."""
    rows = [
        {
            "story_id": one.story_id,
            "ip_id": one.ip_id,
            "shots": list(map(str, one.shots)),
            "references": list(map(str, one.references)),
            "captions": list(one.captions),
        }
        for one in predictions
    ]
    path.write_text(json.dumps(rows))
    return path


Answers = Callable[[Mapping[str, Any]], dict[str, Any]]
"""From a task of the key to answers."""


def attentive(rng: np.random.Generator) -> Answers:
    """A rater who sees the quality of each system, passes all checks, and knows a film when it comes again."""
    given: dict[tuple[str, str], dict[str, Any]] = {}

    def answers(task: Mapping[str, Any]) -> dict[str, Any]:
        films = [(film["system"], film["story_id"]) for film in task["films"]]
        for film in films:
            if film not in given:
                noise = rng.normal(0, 0.6, len(DIMENSIONS))
                given[film] = {
                    key: int(np.clip(round(QUALITY[film[0]] + error), 1, 5))
                    for key, error in zip(DIMENSIONS, noise, strict=True)
                }
        if len(films) == 1:
            return given[films[0]] | ({"CRC": 1} if task["check"] == "wrong_ip" else {})
        gaps = {key: given[films[0]][key] - given[films[1]][key] for key in DIMENSIONS}
        sides = {key: "left" if gap > 0 else "right" if gap < 0 else "tie" for key, gap in gaps.items()}
        if task["check"] == "wrong_ip":
            sides["CRC"] = "left" if films[0][1] == task["story_id"] else "right"
        return sides

    return answers


def careless(rng: np.random.Generator) -> Answers:
    """A rater who clicks at random."""

    def answers(task: Mapping[str, Any]) -> dict[str, Any]:
        if len(task["films"]) == 1:
            return {key: int(rng.integers(1, 6)) for key in DIMENSIONS}
        return {key: ("left", "tie", "right")[rng.integers(3)] for key in DIMENSIONS}

    return answers


def always(value: int, side: str = "tie") -> Answers:
    """A rater who gives one answer."""
    return lambda task: dict.fromkeys(DIMENSIONS, value if len(task["films"]) == 1 else side)


def votes_of(key: Mapping[str, Any], rater: int, answers: Answers, **changes: Any) -> dict[str, Any]:
    """What the page would save for a rater."""
    order = key["orders"][(rater - 1) % len(key["orders"])]
    votes = [
        {
            "task": name,
            "answers": answers(key["tasks"][name]),
            "seconds": 12.5,
            "watched": [1.0] * len(key["tasks"][name]["films"]),
        }
        for name in order
    ]
    return {
        "format": "animeshooter-study-votes",
        "version": 1,
        "study": key["study"],
        "rater": rater,
        "session": f"{rater:016x}",
        "revision": len(votes),
        "finished": True,
        "votes": votes,
        **changes,
    }


def write_votes(folder: Path, *files: Mapping[str, Any]) -> list[Path]:
    """Write votes files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for data in files:
        paths.append(folder / f"votes-{len(list(folder.iterdir())):03d}.json")
        paths[-1].write_text(json.dumps(data))
    return paths
