"""A story is a pure function of story, references, settings and seed, and a shot depends only on what comes before."""

import logging
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from diffusers.utils import logging as diffusers_logging
from PIL import Image

from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.shot_loop import StoryReader
from animeshooter_hf.modeling.state import seed_for
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.records import Story

Portraits = dict[str, Image.Image]


def same(first: AnimeShooterGenOutput, second: AnimeShooterGenOutput) -> list[bool]:
    return [bool(np.array_equal(a, b)) for a, b in zip(first.frames, second.frames, strict=True)]


def test_a_story_has_frames_of_the_asked_size_for_every_shot(whole: AnimeShooterGenOutput) -> None:
    assert [shot.shape for shot in whole.frames] == [(9, 32, 48, 3)] * 3
    assert whole.frames[0].dtype == np.uint8
    assert whole.frames[0].std() > 1
    assert whole.fps == Fraction(8)
    assert whole.audio is None


def test_the_same_call_gives_the_same_frames(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    assert same(pipeline(story, portraits, seed=3), whole) == [True] * 3


def test_another_seed_reference_or_size_gives_other_frames(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    assert same(pipeline(story, portraits, seed=4), whole) == [False] * 3
    swapped = {"Mia": portraits["Rex"], "Rex": portraits["Mia"]}
    assert same(pipeline(story, swapped, seed=3), whole) == [False] * 3
    longer = pipeline(story.with_shots(story.shots[:1]), portraits, num_frames=17, height=16, width=32)
    assert longer.frames[0].shape == (17, 16, 32, 3)


def test_shots_do_not_depend_on_how_many_follow(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    shorter = pipeline(story.with_shots(story.shots[:2]), portraits, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(shorter.frames, whole.frames[:2], strict=True))


def test_a_story_may_be_a_record_a_row_or_captions(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    captions = [shot.caption for shot in story.shots[:1]]
    from_record = pipeline(story.with_shots(story.shots[:1]), portraits)
    from_row = pipeline(story.with_shots(story.shots[:1]).to_json(), portraits)
    from_captions = pipeline(captions, portraits)
    assert same(from_record, from_row) == same(from_record, from_captions) == [True]


def test_one_picture_belongs_to_the_only_character(pipeline: AnimeShooterGenPipeline, portraits: Portraits) -> None:
    caption = ["She wakes up."]
    row = {"story_id": "s", "main_characters": [{"id": "Mia"}], "shots": [{"descriptive_caption": caption[0]}]}
    assert same(pipeline(row, portraits["Mia"]), pipeline(row, {"Mia": [portraits["Mia"]]})) == [True]
    assert pipeline(caption, portraits["Mia"]).state.references.keys() == {"the character"}


def test_a_story_without_characters_needs_no_reference(pipeline: AnimeShooterGenPipeline) -> None:
    assert len(pipeline(["Rain falls on a lake."]).frames) == 1


def test_an_earlier_shot_moves_the_later_ones(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    shots = list(story.shots)
    shots[0] = replace(shots[0], descriptive_caption="Mia falls asleep in the snow.")
    assert same(pipeline(story.with_shots(shots), portraits, seed=3), whole) == [False] * 3


def test_frames_equal_those_of_the_plain_diffusers_pipeline_given_the_same_embeddings(
    pipeline: AnimeShooterGenPipeline, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    context = ShotContext(pipeline.backbone, pipeline.adapter.query_tokens)
    with torch.no_grad():
        embeds = pipeline.adapter(
            context.append(StoryReader(pipeline, whole.state, 3)._chunk(whole.state, 0, whole.state.references))
        )
    plain = CogVideoXPipeline.from_pipe(pipeline, tokenizer=None, text_encoder=None)
    plain.set_progress_bar_config(disable=True)
    options = {
        "prompt_embeds": embeds,
        "negative_prompt_embeds": pipeline.adapter.null_embeds,
        "num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 4, "guidance_scale": 6.0,
    }  # fmt: skip
    pictures = plain(**options, generator=torch.Generator().manual_seed(seed_for(3, 0)), output_type="pil").frames[0]
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), whole.frames[0])


def test_a_stream_yields_each_shot_before_the_next_is_made(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    seen: list[int] = []
    shots = pipeline.stream(story, portraits, seed=3, callback_on_shot_end=lambda _, shot: seen.append(shot.index))
    first = next(shots)
    assert (first.index, first.caption, first.seed) == (0, "Mia wakes up.", seed_for(3, 0))
    assert seen == [0]
    assert np.array_equal(first.frames, whole.frames[0])
    assert [shot.index for shot in shots] == [1, 2]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_story_taken_up_after_any_shot_equals_an_unbroken_one(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput, done: int
) -> None:
    made: list[int] = []
    output = pipeline.resume(whole.state.cut_to(done), callback_on_shot_end=lambda _, shot: made.append(shot.index))
    assert same(output, whole) == [True] * 3
    assert made == list(range(done, 3))


def test_a_shot_made_anew_keeps_all_others_frame_by_frame(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput
) -> None:
    edited = pipeline.regenerate_shot(whole.state, 1, caption="Rex sleeps on a red sofa.")
    assert same(edited, whole) == [True, False, True]
    assert edited.state.story.shots[1].caption == "Rex sleeps on a red sofa."
    assert same(pipeline.regenerate_shot(whole.state, 1, seed=99), whole) == [True, False, True]
    assert same(pipeline.regenerate_shot(whole.state, 1), whole) == [True] * 3


def test_a_shot_made_anew_can_take_the_following_ones_with_it(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    caption = "Rex sleeps on a red sofa."
    edited = pipeline.regenerate_shot(whole.state, 1, caption=caption, keep_following=False)
    shots = list(story.shots)
    shots[1] = replace(shots[1], descriptive_caption=caption)
    assert same(edited, pipeline(story.with_shots(shots), portraits, seed=3)) == [True] * 3


def test_a_seed_given_to_a_shot_is_kept_when_the_story_goes_on(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput
) -> None:
    edited = pipeline.regenerate_shot(whole.state, 2, seed=99)
    again = pipeline.resume(edited.state.cut_to(2))
    assert same(again, edited) == [True] * 3
    assert again.state.seed_of(2) == 99


def test_two_stories_told_by_turns_do_not_touch_each_other(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    other = pipeline.stream(["A dog barks.", "It sits."], {"dog": portraits["Rex"]})
    frames = []
    for shot in pipeline.stream(story, portraits, seed=3):
        next(other, None)
        frames.append(shot.frames)
    assert all(np.array_equal(a, b) for a, b in zip(frames, whole.frames, strict=True))
    assert pipeline.mllm.model.rope_deltas is None


def test_stale_rope_deltas_on_the_model_do_no_harm(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    stale = torch.tensor([[-777]])
    pipeline.mllm.model.rope_deltas = stale
    try:
        assert same(pipeline(story, portraits, seed=3), whole) == [True] * 3
        assert pipeline.mllm.model.rope_deltas is stale
    finally:
        pipeline.mllm.model.rope_deltas = None


def test_random_weights_say_so(whole: AnimeShooterGenOutput, caplog: pytest.LogCaptureFixture) -> None:
    assert whole.notes == ("The weights are random: the frames show nothing.",)
    assert whole.state.weights_origin == "random"
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        fresh = tiny_pipeline(height=16, width=16, num_frames=1)
        fresh.set_progress_bar_config(disable=True)
        fresh(["Rain."])
        fresh(["Snow."])
    diffusers_logging.disable_propagation()
    assert [record.message for record in caplog.records].count(whole.notes[0]) == 1


def test_pictures_can_be_had_as_pil_images(pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput) -> None:
    output = pipeline.resume(whole.state, output_type="pil")
    assert np.array_equal(np.asarray(output.frames[2][8]), whole.frames[2][8])


def test_the_noise_of_a_shot_is_a_fixed_function_of_seed_and_index() -> None:
    assert (seed_for(0, 0), seed_for(0, 1)) == (6213027144842677344, 8613600020916457518)
    assert len({seed_for(seed, index) for seed in range(20) for index in range(20)}) == 400
