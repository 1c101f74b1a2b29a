"""Who is seen in a compact toon story is read exactly from its frames."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from animeshooter_hf.eval.compact_reading import read_compact_story
from animeshooter_hf.toon.compact import CompactSettings, draw_compact_character, plan_compact_story

STORY = plan_compact_story(41, pool="held_out", settings=CompactSettings(num_shots=2))
TRUTH = [STORY.frames(shot) for shot in range(2)]


def test_the_truth_reads_as_itself() -> None:
    values = read_compact_story(TRUTH, STORY)
    assert values["identity"] == 1
    assert values["body_colour_difference"] == 0


def test_a_stranger_in_the_same_places_reads_far_lower() -> None:
    stranger = draw_compact_character(Random("stranger"), STORY.character.id)
    other = replace(STORY, plan=replace(STORY.plan, characters=(stranger,)))
    values = read_compact_story([other.frames(shot) for shot in range(2)], STORY)
    assert (values["identity"] or 0) < 0.6


def test_frames_of_another_size_and_number_are_fitted() -> None:
    doubled = [clip.repeat(2, 0).repeat(2, 1).repeat(2, 2) for clip in TRUTH]
    assert read_compact_story(doubled, STORY)["identity"] == 1


def test_clips_that_are_no_story_of_these_shots_are_refused() -> None:
    with pytest.raises(ValueError, match="There must be 2 clips"):
        read_compact_story(TRUTH[:1], STORY)
    with pytest.raises(ValueError, match="There must be 2 clips as uint8"):
        read_compact_story([clip.astype(np.float32) for clip in TRUTH], STORY)
