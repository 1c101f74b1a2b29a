"""One toy pipeline per process; making a story of three shots with it takes less than a second."""

import numpy as np
import pytest
import torch
from PIL import Image

from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.records import Character, Story

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pipeline() -> AnimeShooterGenPipeline:
    made = tiny_pipeline(height=32, width=48)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="session")
def portraits() -> dict[str, Image.Image]:
    noise = np.random.default_rng(0)
    return {name: Image.fromarray(noise.integers(0, 256, (70, 50, 3), np.uint8)) for name in ("Mia", "Rex")}


@pytest.fixture(scope="session")
def story() -> Story:
    captions = ["Mia wakes up.", "Rex runs past Mia.", "They eat soup."]
    return Story.from_captions(captions, story_id="soup", characters=[Character(id="Mia"), Character(id="Rex")])


@pytest.fixture(scope="session")
def whole(pipeline: AnimeShooterGenPipeline, story: Story, portraits: dict[str, Image.Image]) -> AnimeShooterGenOutput:
    return pipeline(story, portraits, seed=3)
