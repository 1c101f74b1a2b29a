"""Compact stories: few attributes, identity in the reference alone, places that come back as they were."""

import re
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from animeshooter_hf.toon.attributes import ATTRIBUTES, is_held_out
from animeshooter_hf.toon.captions import identity_words
from animeshooter_hf.toon.compact import (
    COMPACT_ATTRIBUTES,
    COMPACT_COLOURS,
    CompactSettings,
    draw_compact_character,
    plan_compact_story,
)
from animeshooter_hf.toon.film import ToonFilm


def test_a_story_is_a_function_of_its_seed() -> None:
    one, two, other = plan_compact_story(3), plan_compact_story(3), plan_compact_story(4)
    assert one == two
    assert one != other
    np.testing.assert_array_equal(one.frames(1), two.frames(1))
    np.testing.assert_array_equal(one.reference(), two.reference())


def test_a_story_has_the_shape_that_its_settings_say() -> None:
    story = plan_compact_story(5, settings=CompactSettings(size=32, frames_per_shot=9, num_shots=6, reference_size=48))
    assert len(story.captions) == len(story.scene_kinds) == 6
    assert story.frames(5).shape == (9, 32, 32, 3)
    assert story.reference().shape == (48, 48, 4)


def test_a_film_of_the_same_plan_shows_the_same_frames() -> None:
    story = plan_compact_story(8)
    film = ToonFilm(story.plan)
    length = story.settings.frames_per_shot
    np.testing.assert_array_equal(np.stack([film.frame(2 * length + k) for k in range(length)]), story.frames(2))


@pytest.mark.parametrize("pool", ["train", "held_out"])
def test_characters_come_from_the_pool_and_vary_in_the_few_attributes_alone(pool: str) -> None:
    drawn = [draw_compact_character(Random(seed), "Pip", pool) for seed in range(60)]
    assert {is_held_out(one) for one in drawn} == {pool == "held_out"}
    for name in ATTRIBUTES:
        values = {getattr(one, name) for one in drawn}
        if name in COMPACT_ATTRIBUTES:
            assert values == set(COMPACT_ATTRIBUTES[name])
        elif name not in COMPACT_COLOURS:
            assert len(values) == 1


def test_captions_never_tell_who_it_is_nor_what_a_place_looks_like() -> None:
    for seed in range(40):
        story = plan_compact_story(seed)
        words = set(re.findall(r"[a-z]+", " ".join(story.captions).lower()))
        assert not words & identity_words()
        assert not words & {"day", "night", "sunset", "overcast"}


def test_the_first_place_comes_back_as_it_was() -> None:
    for seed in range(20):
        story = plan_compact_story(seed)
        first, last = story.plan.shots[0], story.plan.shots[3]
        assert first.scene_id == last.scene_id != story.plan.shots[2].scene_id
        still = [
            replace(shot, placements=(), camera=first.camera, start_frame=0, end_frame=5) for shot in (first, last)
        ]
        pictures = [ToonFilm(replace(story.plan, shots=(shot,))).renderer(shot).picture(0) for shot in still]
        np.testing.assert_array_equal(*pictures)


def test_a_given_character_changes_nothing_but_the_character() -> None:
    story = plan_compact_story(11)
    other = plan_compact_story(11, character=draw_compact_character(Random(99), "Pip", "held_out"))
    assert other.captions == story.captions
    assert other.plan.scenes == story.plan.scenes
    assert other.character != story.character
    assert (other.frames(0) != story.frames(0)).any()


def test_the_reference_fills_its_frame_and_is_cut_out() -> None:
    for seed in range(10):
        alpha = plan_compact_story(seed).reference()[..., 3] > 127
        rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) >= 56
        assert 0.15 < alpha.mean() < 0.8


def test_nobody_blinks_because_no_caption_tells_a_blink() -> None:
    for seed in range(10):
        story = plan_compact_story(seed)
        renderer = ToonFilm(story.plan).renderer(story.plan.shots[0])
        poses = [renderer.pose(story.plan.shots[0].placements[0], frame) for frame in range(5)]
        assert len({pose.eyes for pose in poses} - {"happy"}) <= 1
