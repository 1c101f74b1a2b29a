"""A drawn world for the scores: two-coloured figures that walk before plain backdrops."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import write_video

SIZE = (96, 160)
FIGURES = {
    "fox": ((222, 120, 30), (250, 220, 170)),
    "frog": ((60, 160, 70), (190, 220, 90)),
    "witch": ((120, 60, 170), (200, 70, 90)),
}
BACKDROPS = {"field": (150, 190, 120), "night": (30, 34, 70), "desert": (214, 190, 140), "sea": (70, 140, 190)}


def draw_figure(picture: np.ndarray, name: str, x: int, y: int, radius: int = 20) -> None:
    body, face = FIGURES[name]
    cv2.ellipse(picture, (x, y), (radius, int(radius * 1.4)), 0, 0, 360, body, -1)
    cv2.circle(picture, (x, y - radius // 2), radius // 2, face, -1)


def draw_shot(name: str, backdrop: str, num_frames: int = 12, *, start: int = 70, noise: int = 6) -> np.ndarray:
    """Return uint8 (frames, 96, 160, 3)."""
    rng = np.random.default_rng([num_frames, start, *backdrop.encode()])
    frames = np.empty((num_frames, *SIZE, 3), np.uint8)
    for index in range(num_frames):
        frames[index] = BACKDROPS[backdrop]
        draw_figure(frames[index], name, start + index, 50)
    return np.clip(frames + rng.integers(-noise, noise + 1, frames.shape), 0, 255).astype(np.uint8)


def draw_reference(name: str) -> np.ndarray:
    """Return an RGBA cut-out, uint8 (64, 48, 4); the colour under the alpha is black."""
    picture = np.zeros((64, 48, 3), np.uint8)
    draw_figure(picture, name, 24, 32)
    alpha = np.zeros((64, 48), np.uint8)
    cv2.ellipse(alpha, (24, 32), (20, 28), 0, 0, 360, 255, -1)
    return np.dstack([picture, alpha])


def make_story(name: str, number: int = 0, shots: tuple[str, ...] = tuple(BACKDROPS)) -> StoryPrediction:
    return StoryPrediction(
        story_id=f"{name}_{number}",
        ip_id=name,
        shots=tuple(draw_shot(name, backdrop, start=66 + 3 * number) for backdrop in shots),
        references=(draw_reference(name),),
        scene_ids=shots,
    )


@pytest.fixture(scope="session")
def drawn() -> SimpleNamespace:
    """The drawing functions above, for the tests to call."""
    return SimpleNamespace(shot=draw_shot, reference=draw_reference, story=make_story, figures=tuple(FIGURES))


@pytest.fixture(scope="session")
def stories() -> list[StoryPrediction]:
    return [make_story(name, number) for name in FIGURES for number in range(2)]


@pytest.fixture
def story_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write stories as a folder in the layout of the paper's demos."""

    def write(*names: str, num_shots: int = 2) -> Path:
        folder = tmp_path / "demos"
        for name in names:
            (folder / name).mkdir(parents=True)
            for number, backdrop in enumerate(list(BACKDROPS)[:num_shots], start=1):
                write_video(
                    folder / name / f"generated_video_1_{number}_demo.mp4", draw_shot(name, backdrop), Fraction(12)
                )
            Image.fromarray(draw_reference(name)).save(folder / f"{name}_ref.png")
            captions = [f"It walks through the {backdrop}." for backdrop in list(BACKDROPS)[:num_shots]]
            (folder / f"{name}.json").write_text(json.dumps({"1": {"captions": captions, "audio": []}}))
        return folder

    return write
