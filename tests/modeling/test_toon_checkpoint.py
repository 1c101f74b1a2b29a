"""The checkpoint that comes with the library does what it was trained for: who is seen follows the reference."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.eval.compact_reading import read_compact_story
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.toon.compact import CompactStory, plan_compact_story

SEEDS = (930_000, 930_001, 930_002)
"""Held-out characters that differ in the colour of their bodies; none of them was used to choose anything."""


@pytest.fixture(scope="module")
def stories() -> list[CompactStory]:
    return [plan_compact_story(seed, pool="held_out") for seed in SEEDS]


@pytest.fixture(scope="module")
def generated(stories: list[CompactStory]) -> dict[str, list[list[NDArray[np.uint8]]]]:
    torch.set_num_threads(1)
    pipeline = AnimeShooterGenPipeline.from_pretrained("toon")
    pipeline.set_progress_bar_config(disable=True)
    own = [Image.fromarray(story.reference()) for story in stories]
    made = {}
    for name, references in (("own", own), ("swapped", [*own[1:], own[0]])):
        outputs = pipeline.generate_batch(
            [list(story.captions) for story in stories],
            [{"Pip": picture} for picture in references],
            seeds=list(SEEDS),
            num_inference_steps=8,
        )
        made[name] = [output.frames for output in outputs]
    return made


def test_held_out_characters_are_told_from_their_reference(
    stories: list[CompactStory], generated: dict[str, list[list[NDArray[np.uint8]]]]
) -> None:
    readings = [read_compact_story(clips, story) for clips, story in zip(generated["own"], stories, strict=True)]
    identity = np.mean([reading["identity"] for reading in readings])
    chance = np.mean([reading["chance"] for reading in readings])
    assert identity > chance + 0.1
    assert np.mean([reading["body_colour_difference"] for reading in readings]) < 25


def test_a_swapped_reference_is_followed(
    stories: list[CompactStory], generated: dict[str, list[list[NDArray[np.uint8]]]]
) -> None:
    given = [
        replace(story, plan=replace(story.plan, characters=other.plan.characters))
        for story, other in zip(stories, [*stories[1:], stories[0]], strict=True)
    ]
    of_given, of_original = (
        np.mean(
            [
                read_compact_story(clips, story)["body_colour_difference"]
                for clips, story in zip(generated["swapped"], read, strict=True)
            ]
        )
        for read in (given, stories)
    )
    assert of_given < of_original - 20
