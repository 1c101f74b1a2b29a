"""The pipeline runs from end to end with other language models, other video models, and its optional parts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.decoders import ReferenceLatents
from animeshooter_hf.modeling.memory import MemorySettings
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.shot_loop import StoryReader
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.testing import tiny_mllm, tiny_pipeline, tiny_processor
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox, tiny_wan
from animeshooter_hf.records import Story

Portraits = dict[str, Image.Image]
FAST: dict[str, Any] = {"seed": 3, "num_inference_steps": 2, "num_frames": 9, "height": 32, "width": 48}


def same(first: AnimeShooterGenOutput, second: AnimeShooterGenOutput) -> list[bool]:
    return [bool(np.array_equal(a, b)) for a, b in zip(first.frames, second.frames, strict=True)]


def with_decoder(parts: dict[str, Any]) -> AnimeShooterGenPipeline:
    torch.manual_seed(0)
    sizes = {"num_queries": 8, "mllm_hidden_size": 32, "condition_length": 16, "text_dim": 32}
    adapter = ShotConditionAdapter(**sizes, hidden_size=32, num_layers=1, num_heads=4).eval()
    made = AnimeShooterGenPipeline(
        mllm=tiny_mllm("qwen3_vl"), processor=tiny_processor("qwen3_vl"), adapter=adapter, **parts
    )
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def detailed() -> AnimeShooterGenPipeline:
    """A pipeline with a path for reference latents whose gates are open."""
    parts = tiny_cogvideox("2b")
    torch.manual_seed(1)
    path = ReferenceLatents.for_transformer(parts["transformer"], max_references=3)
    torch.nn.init.normal_(path.gates)
    return with_decoder({**parts, "reference_latents": path.eval()})


@pytest.mark.parametrize("family", ["llava_onevision", "smolvlm", "gemma3"])
def test_a_story_is_told_with_another_language_model(family: str, story: Story, portraits: Portraits) -> None:
    other = tiny_pipeline(family=family, height=32, width=48)
    other.set_progress_bar_config(disable=True)
    made = other(story, portraits, **FAST)
    assert same(other(story, portraits, **FAST), made) == [True] * 3
    assert same(other.resume(made.state.cut_to(1)), made) == [True] * 3
    assert same(other.regenerate_shot(made.state, 1, seed=9), made) == [True, False, True]


@pytest.mark.parametrize("variant", ["2.1", "2.2", "ti2v"])
def test_a_story_is_told_with_wan(variant: str, story: Story, portraits: Portraits, tmp_path: Path) -> None:
    wan = with_decoder(tiny_wan(variant))
    options: dict[str, Any] = {**FAST, "num_frames": 5, "height": 32, "width": 32}
    short = story.with_shots(story.shots[:2])
    made = wan(short, portraits, **options)
    assert [frames.shape for frames in made.frames] == [(5, 32, 32, 3)] * 2
    assert made.fps == (24 if variant == "ti2v" else 16)
    made.state.cut_to(1).save(tmp_path / "state")
    assert same(wan.resume(StoryState.load(tmp_path / "state")), made) == [True] * 2
    assert same(wan.regenerate_shot(made.state, 0, seed=9), made) == [False, True]
    wan.save_pretrained(tmp_path / "model")
    loaded = AnimeShooterGenPipeline.from_pretrained(tmp_path / "model")
    loaded.set_progress_bar_config(disable=True)
    assert (loaded.transformer_2 is not None) == (variant == "2.2")
    assert same(loaded.resume(StoryState.load(tmp_path / "state")), made) == [True] * 2
    with pytest.raises(InputError, match="num_frames must be a multiple of 4 plus 1"):
        wan.begin(short, portraits, **{**options, "num_frames": 6})


def test_a_shot_can_go_on_from_the_last_frame_of_the_one_before(
    pipeline: AnimeShooterGenPipeline, portraits: Portraits
) -> None:
    wan = with_decoder(tiny_wan("ti2v"))
    options: dict[str, Any] = {**FAST, "num_frames": 5, "height": 32, "width": 32}
    captions, references = ["<Mia> runs.", "<Mia> stops."], {"Mia": portraits["Mia"]}
    cut = wan(captions, references, **options)
    on = wan(captions, references, **options, shot_settings={1: {"continues": True}})
    assert same(on, cut) == [True, False]
    assert same(wan.resume(on.state.cut_to(1)), on) == [True, True]
    with pytest.raises(InputError, match=r"Shot 0 cannot begin with the last frame .*: there is none before it"):
        wan.begin(captions, references, **options, shot_settings={0: {"continues": True}})
    with pytest.raises(InputError, match=r"Shot 1 cannot begin with .*: this video model takes none"):
        pipeline.begin(captions, references, **FAST, shot_settings={1: {"continues": True}})


@pytest.mark.parametrize("variant", ["5b", "1.5"])
def test_a_shot_is_made_with_the_other_cogvideox_models(variant: str, portraits: Portraits) -> None:
    other = with_decoder(tiny_cogvideox(variant))
    made = other(["<Mia> runs."], {"Mia": portraits["Mia"]}, **FAST)
    assert made.frames[0].shape == (9, 32, 48, 3)
    assert other.fps == (16 if variant == "1.5" else 8)


def test_reference_latents_change_the_shots_of_their_characters(
    detailed: AnimeShooterGenPipeline, portraits: Portraits
) -> None:
    parts = {key: value for key, value in detailed.components.items() if value is not None}
    without = AnimeShooterGenPipeline(**{**parts, "reference_latents": None})
    without.set_progress_bar_config(disable=True)
    captions, references = ["Rain falls.", "<Mia> runs."], {"Mia": portraits["Mia"]}
    first, second = detailed(captions, references, **FAST), without(captions, references, **FAST)
    assert same(first, second) == [True, False]
    assert same(detailed.resume(first.state.cut_to(1)), first) == [True, True]


def test_more_references_than_slots_are_taken_in_turns(
    detailed: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    others = {name: [image, image.rotate(90), image.rotate(180)] for name, image in portraits.items()}
    state = detailed.begin(story, others, **FAST)
    seen, slots = StoryReader(detailed, state, 1)._seen_pictures(state, 0)
    assert slots == (0, 1, 2)
    expected = [state.references["Mia"][0], state.references["Rex"][0], state.references["Mia"][1]]
    assert len(seen) == 3
    assert all(one is two for one, two in zip(seen, expected, strict=True))


def test_a_path_with_memory_frames_sees_the_last_frames_of_earlier_shots_and_resumes_the_same(
    detailed: AnimeShooterGenPipeline, portraits: Portraits
) -> None:
    parts = {key: value for key, value in detailed.components.items() if value is not None}
    path = ReferenceLatents.for_transformer(detailed.transformer, max_references=2, memory_frames=2).eval()
    torch.nn.init.constant_(path.gates, 1.0)
    remembering = AnimeShooterGenPipeline(**{**parts, "reference_latents": path})
    remembering.set_progress_bar_config(disable=True)
    captions, references = ["<Mia> runs.", "Rain.", "<Mia> sits.", "Night."], {"Mia": portraits["Mia"]}
    first = remembering(captions, references, **FAST)
    reader = StoryReader(remembering, first.state, 4)
    assert [reader._seen_pictures(first.state, index)[1] for index in range(4)] == [(0,), (2,), (0, 2, 3), (2, 3)]
    pictures, _ = reader._seen_pictures(first.state, 3)
    for picture, shot in zip(pictures, (2, 1), strict=True):
        np.testing.assert_array_equal(np.asarray(picture), first.frames[shot][-1])
    assert same(remembering.resume(first.state.cut_to(2)), first) == [True] * 4
    path.slots.data[2] += 1.0
    assert same(remembering(captions, references, **FAST), first) == [True, False, False, False]


def test_reference_latents_are_saved_and_loaded(
    detailed: AnimeShooterGenPipeline, portraits: Portraits, tmp_path: Path
) -> None:
    made = detailed(["<Mia> runs."], {"Mia": portraits["Mia"]}, **FAST)
    detailed.save_pretrained(tmp_path)
    loaded = AnimeShooterGenPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert same(loaded(["<Mia> runs."], {"Mia": portraits["Mia"]}, **FAST), made) == [True]


def test_stories_with_reference_latents_can_be_told_side_by_side(
    detailed: AnimeShooterGenPipeline, portraits: Portraits
) -> None:
    stories = [["<Mia> runs."], ["<Rex> sits."], ["Rain."]]
    references = [{"Mia": portraits["Mia"]}, {"Rex": portraits["Rex"]}, None]
    options = {key: value for key, value in FAST.items() if key != "seed"}
    made = detailed.generate_batch(stories, references, seeds=3, **options)
    for one, story, pictures in zip(made, stories, references, strict=True):
        alone = detailed(story, pictures, **FAST)
        assert np.abs(one.frames[0].astype(int) - alone.frames[0]).max() <= 1


def test_equal_scales_of_text_and_references_are_plain_guidance(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    plain = pipeline.preview(story, portraits, **FAST, guidance_scale=4.0)
    equal = pipeline.preview(story, portraits, **FAST, guidance_scale=4.0, reference_scale=4.0)
    more = pipeline.preview(story, portraits, **FAST, guidance_scale=4.0, reference_scale=9.0)
    assert np.abs(plain.frames[0].astype(int) - equal.frames[0]).max() <= 1
    assert np.abs(plain.frames[0].astype(int) - more.frames[0]).max() > 1


def test_a_reference_scale_does_nothing_where_there_are_no_references(pipeline: AnimeShooterGenPipeline) -> None:
    first, second = (pipeline(["Rain.", "Snow."], **FAST, reference_scale=scale) for scale in (1.0, 9.0))
    assert same(first, second) == [True, True]


def test_guidance_can_grow_over_the_steps(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    constant = pipeline.preview(story, portraits, **FAST)
    growing = pipeline.preview(story, portraits, **FAST, guidance_schedule="cosine")
    assert same(constant, growing) == [False]
    assert growing.state.settings.guidance.schedule == "cosine"


def test_saving_memory_leaves_the_frames_as_they_are(story: Story, portraits: Portraits) -> None:
    short = story.with_shots(story.shots[:2])
    plain, offloaded = tiny_pipeline(height=32, width=48), tiny_pipeline(height=32, width=48)
    for one in (plain, offloaded):
        one.set_progress_bar_config(disable=True)
    offloaded.apply_memory(MemorySettings(offload="model", device="cpu", vae_slicing=True))
    options = {**FAST, "reference_scale": 3.0}
    made = plain(short, portraits, **options)
    assert same(offloaded(short, portraits, **options), made) == [True, True]
    assert same(offloaded.resume(made.state.cut_to(1)), made) == [True, True]
    with pytest.raises(InputError, match="no model 'unet'"):
        plain.apply_memory(MemorySettings(layerwise_casting=("unet",)))
