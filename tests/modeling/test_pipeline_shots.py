"""What single shots have of their own is kept in the state, so going on and making anew give the same frames."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.utils import logging as diffusers_logging
from peft import LoraConfig
from PIL import Image
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.prompt_layout import LayoutSettings
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.story_request import ShotSettings
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.records import Story

Portraits = dict[str, Image.Image]

OWN = {
    0: ShotSettings(num_frames=17, num_inference_steps=1),
    1: ShotSettings(seed=99, guidance_scale=2.0, reference_scale=3.0),
    2: ShotSettings(negative_prompt="blurred", lora_weights={"style": 0.5}, audio_prompt="rain"),
}


def same(first: AnimeShooterGenOutput, second: AnimeShooterGenOutput) -> list[bool]:
    return [bool(np.array_equal(a, b)) for a, b in zip(first.frames, second.frames, strict=True)]


@pytest.fixture(scope="module")
def rich() -> AnimeShooterGenPipeline:
    """A pipeline with T5 and two LoRAs, of which none is switched on."""
    made = tiny_pipeline(height=32, width=48)
    made.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    size = {"d_model": 32, "d_ff": 32, "d_kv": 8, "num_heads": 4, "num_layers": 1}
    encoder = T5EncoderModel(T5Config(vocab_size=16, **size)).eval()
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), ("r", -1.0), ("b", -1.0)]
    made.register_modules(text_encoder=encoder, tokenizer=T5Tokenizer(vocab=vocabulary, extra_ids=0))
    for name in ("style", "hero"):
        made.transformer.add_adapter(LoraConfig(r=2, lora_alpha=8, target_modules=["to_q", "to_v"]), adapter_name=name)
    for name, weight in made.transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    made.transformer.disable_adapters()
    return made


@pytest.fixture(scope="module")
def plain(rich: AnimeShooterGenPipeline, story: Story, portraits: Portraits) -> AnimeShooterGenOutput:
    return rich(story, portraits, seed=3, num_inference_steps=2)


@pytest.fixture(scope="module")
def varied(rich: AnimeShooterGenPipeline, story: Story, portraits: Portraits) -> AnimeShooterGenOutput:
    return rich(story, portraits, seed=3, num_inference_steps=2, shot_settings=OWN)


def test_each_shot_is_made_with_its_own_settings(varied: AnimeShooterGenOutput) -> None:
    assert [len(frames) for frames in varied.frames] == [17, 9, 9]
    assert [shot.seed for shot in varied.state.shots][1] == 99
    assert varied.state.settings_of(0).num_inference_steps == 1
    assert varied.state.settings_of(1).num_inference_steps == 2


@pytest.mark.parametrize("own", [{"seed": 7}, {"negative_prompt": "b"}, {"guidance_scale": 2.0}, {"num_frames": 17},
                                 {"reference_scale": 2.0}, {"lora_weights": {"style": 0.5}}])  # fmt: skip
def test_a_setting_of_the_last_shot_changes_that_shot_only(
    rich: AnimeShooterGenPipeline, story: Story, portraits: Portraits, plain: AnimeShooterGenOutput, own: dict[str, Any]
) -> None:
    changed = rich(story, portraits, seed=3, num_inference_steps=2, shot_settings={2: own})
    assert same(changed, plain) == [True, True, False]
    assert same(rich.regenerate_shot(plain.state, 2, settings=own), changed) == [True] * 3


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_story_with_such_shots_goes_on_from_disk_bit_by_bit(
    rich: AnimeShooterGenPipeline, varied: AnimeShooterGenOutput, tmp_path: Path, done: int
) -> None:
    loaded = StoryState.load(varied.state.cut_to(done).save(tmp_path))
    assert loaded.asks_the_same(varied.state)
    assert same(rich.resume(loaded), varied) == [True] * 3


def test_making_a_shot_anew_without_a_change_changes_nothing(
    rich: AnimeShooterGenPipeline, varied: AnimeShooterGenOutput
) -> None:
    assert same(rich.regenerate_shot(varied.state, 1, keep_following=False), varied) == [True] * 3


def test_settings_of_a_shot_that_is_made_anew_join_those_it_had(
    rich: AnimeShooterGenPipeline, varied: AnimeShooterGenOutput
) -> None:
    edited = rich.regenerate_shot(varied.state, 1, settings={"num_frames": 17}, seed=5)
    assert edited.state.shot_settings[1] == replace(OWN[1], num_frames=17, seed=5)
    assert same(edited, varied) == [True, False, True]


def test_a_states_first_version_can_still_be_read(varied: AnimeShooterGenOutput, tmp_path: Path) -> None:
    path = varied.state.cut_to(0).save(tmp_path) / "state.json"
    data = json.loads(path.read_text())
    new = {"reference_scale", "guidance_schedule", "negative_prompt", "lora_weights", "layout", "max_image_pixels",
           "max_caption_tokens"}  # fmt: skip
    old = {key: value for key, value in data.items() if key != "shot_settings"}
    old |= {"format_version": 1, "shot_seeds": {"1": 99}}
    old["settings"] = {key: value for key, value in data["settings"].items() if key not in new}
    path.write_text(json.dumps(old))
    loaded = StoryState.load(tmp_path)
    assert loaded.seed_of(1) == 99
    assert loaded.settings.num_frames == varied.state.settings.num_frames
    assert loaded.settings.layout == LayoutSettings()


def test_loras_of_a_shot_leave_the_pipeline_as_it_was(
    rich: AnimeShooterGenPipeline, varied: AnimeShooterGenOutput, plain: AnimeShooterGenOutput, story: Story,
    portraits: Portraits,
) -> None:  # fmt: skip
    assert rich.fingerprint() == varied.state.model_fingerprint
    assert same(rich(story, portraits, seed=3, num_inference_steps=2), plain) == [True] * 3


def test_a_story_that_is_broken_off_in_the_middle_of_a_step_leaves_nothing_behind(
    rich: AnimeShooterGenPipeline, varied: AnimeShooterGenOutput
) -> None:
    def stop(given: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        raise KeyboardInterrupt

    for done in (1, 2):  # Three predictions per step; then LoRAs.
        with pytest.raises(KeyboardInterrupt):
            rich.resume(varied.state.cut_to(done), callback_on_step_end=stop)
    assert rich.fingerprint() == varied.state.model_fingerprint
    assert same(rich.resume(varied.state.cut_to(0)), varied) == [True] * 3


def test_a_state_made_with_other_active_loras_is_refused(
    rich: AnimeShooterGenPipeline, plain: AnimeShooterGenOutput
) -> None:
    rich.transformer.enable_adapters()
    try:
        rich.transformer.set_adapters(["style"], [0.5])
        half = rich.fingerprint()
        rich.transformer.set_adapters(["style"], [0.7])
        assert len({half, rich.fingerprint(), plain.state.model_fingerprint}) == 3
        with pytest.raises(InputError, match="with other LoRAs"):
            rich.resume(plain.state)
    finally:
        rich.transformer.set_adapters(["style", "hero"], [1.0, 1.0])
        rich.transformer.disable_adapters()


def test_weights_of_loras_for_a_whole_story_equal_switching_them_on(
    rich: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    short = story.with_shots(story.shots[:1])
    asked = rich(short, portraits, num_inference_steps=2, lora_weights={"hero": 0.5})
    rich.transformer.enable_adapters()
    try:
        rich.transformer.set_adapters(["hero"], [0.5])
        switched = rich(short, portraits, num_inference_steps=2)
        without = rich(short, portraits, num_inference_steps=2, lora_weights={})
    finally:
        rich.transformer.set_adapters(["style", "hero"], [1.0, 1.0])
        rich.transformer.disable_adapters()
    assert same(asked, switched) == [True]
    assert same(without, rich(short, portraits, num_inference_steps=2)) == [True]
    assert same(asked, without) == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative_prompt": "blurred"}, "Negative prompts come from T5: load the pipeline with its tokenizer"),
        ({"shot_settings": {1: {"negative_prompt": "b"}}}, "Shot 1: Negative prompts come from T5"),
        ({"lora_weights": {"style": 1.0}}, "There is no LoRA 'style'; loaded are none"),
        ({"shot_settings": {0: {"lora_weights": {"x": 1}}}}, "Shot 0: There is no LoRA 'x'"),
        ({"shot_settings": {0: {"num_frames": 8}}}, "Shot 0: num_frames must be a multiple of 8 plus 1"),
        ({"shot_settings": {0: {"transition": "dissolve:10"}}}, "Shot 0 has 9 frames, but its transitions take 10"),
        ({"shot_settings": {2: {"seed": 1}}}, "shot_settings are for shot 2"),
        ({"reference_scale": -1}, "reference_scale must lie in 0 to 100"),
        ({"guidance_schedule": "linear"}, "schedule must be one of constant, cosine"),
        ({"num_frame": 9}, "There is no option 'num_frame'; there are seed, num_frames, height"),
    ],
)
def test_what_shots_cannot_be_made_with_is_refused_before_anything_heavy(
    pipeline: AnimeShooterGenPipeline, options: dict[str, Any], message: str
) -> None:
    for ask in (pipeline.stream, pipeline, pipeline.preview):
        with pytest.raises(InputError) as refusal:
            ask(["Rain.", "Snow."], **options)
        assert message in str(refusal.value)


def test_a_preview_is_the_first_shot_and_the_story_goes_on_from_it(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    preview = pipeline.preview(story, portraits, seed=3)
    assert len(preview.frames) == 1
    assert np.array_equal(preview.frames[0], whole.frames[0])
    assert not preview.state.is_complete
    assert same(pipeline.resume(preview.state), whole) == [True] * 3


def test_a_callback_sees_every_step_and_its_tensors_without_changing_them(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    steps: list[tuple[int, tuple[int, ...]]] = []

    def watch(given: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert given is pipeline
        assert int(timestep) > 0
        steps.append((step, tuple(tensors["latents"].shape)))
        return {}

    assert same(pipeline(story, portraits, seed=3, callback_on_step_end=watch), whole) == [True] * 3
    assert [step for step, _ in steps] == [0, 1, 2, 3] * 3
    assert steps[0][1] == (1, 3, 4, 4, 6)


def test_a_callback_may_change_the_latents(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput
) -> None:
    def flip(given: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"latents": -tensors["latents"]}

    assert same(pipeline.preview(story, portraits, seed=3, callback_on_step_end=flip), whole_of(whole, 1)) == [False]


def test_callbacks_that_cannot_be_called_are_refused(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput
) -> None:
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"callback_on_shot_end": 5}, "callback_on_shot_end must be a function, got 5"),
        ({"callback_on_step_end": "x"}, "callback_on_step_end must be a function, got 'x'"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "The steps have no tensor 'noise'; they have latents"),
    ]
    for options, message in refusals:
        with pytest.raises(InputError, match=message):
            pipeline(["Rain."], **options)
    with pytest.raises(InputError, match=r"state must be a StoryState, got 'out/'; StoryState\.load reads"):
        pipeline.resume("out/")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="callback_on_shot_end must be a function"):
        pipeline.stream_resume(whole.state, 5)  # type: ignore[arg-type]


def whole_of(output: AnimeShooterGenOutput, num_shots: int) -> AnimeShooterGenOutput:
    return replace(output, frames=output.frames[:num_shots])


def test_there_is_a_bar_for_the_story_and_one_for_each_shot(capsys: pytest.CaptureFixture[str]) -> None:
    shown = tiny_pipeline(height=16, width=16, num_frames=1)
    shown(["Rain.", "Snow."], num_inference_steps=2)
    bars = capsys.readouterr().err
    assert "shot 1:" in bars
    assert "shot 2:" in bars
    shown.set_progress_bar_config(disable=True)
    shown(["Rain."], num_inference_steps=2)
    assert "shot 1" not in capsys.readouterr().err


def test_the_layout_belongs_to_the_pipeline_and_to_its_states(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits, whole: AnimeShooterGenOutput, tmp_path: Path
) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    layout = LayoutSettings(frames_per_past_shot=2, window_shots=1)
    settings = {"num_inference_steps": 4, "max_image_pixels": 64 * 64}
    other = AnimeShooterGenPipeline(**parts, layout=layout, **settings)
    other.set_progress_bar_config(disable=True)
    made = other(story, portraits, seed=3)
    assert made.state.settings.layout == layout
    assert same(made, whole) == [True, False, False]
    # A state keeps the layout that it was begun with, whatever the pipeline's own is.
    assert same(pipeline.resume(StoryState.load(made.state.cut_to(1).save(tmp_path / "state"))), made) == [True] * 3
    other.save_pretrained(tmp_path / "model")
    assert AnimeShooterGenPipeline.from_pretrained(tmp_path / "model").layout == layout


@pytest.mark.parametrize("layout", [{"frames": 2}, {"caption": "long"}])
def test_an_unknown_layout_is_refused(pipeline: AnimeShooterGenPipeline, layout: dict[str, Any]) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    with pytest.raises(InputError, match=r"layout has a key that is unknown|caption must be one of"):
        AnimeShooterGenPipeline(**parts, layout=layout)


def test_a_caption_that_is_cut_is_warned_about_and_cut_again_when_going_on(
    pipeline: AnimeShooterGenPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    short = AnimeShooterGenPipeline(**parts, num_inference_steps=1, max_caption_tokens=8)
    short.set_progress_bar_config(disable=True)
    diffusers_logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        made = short(["Rain falls on a very long lake.", "It stops."])
    diffusers_logging.disable_propagation()
    assert any("is cut to 8; lost" in record.message for record in caplog.records)
    assert same(pipeline.resume(made.state.cut_to(1)), made) == [True, True]


def test_several_references_of_a_character_are_all_seen(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    one = pipeline.preview(story, portraits, num_inference_steps=1)
    two = pipeline.preview(story, {**portraits, "Mia": [portraits["Mia"], portraits["Rex"]]}, num_inference_steps=1)
    assert same(one, two) == [False]


def test_stories_side_by_side_equal_each_told_alone(
    pipeline: AnimeShooterGenPipeline, story: Story, portraits: Portraits
) -> None:
    stories: list[Any] = [story, ["A dog barks.", "It sits."]]
    references: list[Any] = [portraits, {"dog": portraits["Rex"]}]
    options: dict[str, Any] = {"num_inference_steps": 2, "shot_settings": {1: {"guidance_scale": 3.0}}}
    alone = [
        pipeline(one, two, seed=seed, **options) for one, two, seed in zip(stories, references, [3, 4], strict=True)
    ]
    exact = pipeline.generate_batch(stories, references, seeds=[3, 4], batch_size=1, **options)
    assert [same(one, two) for one, two in zip(exact, alone, strict=True)] == [[True] * 3, [True] * 2]
    together = pipeline.generate_batch(stories, references, seeds=[3, 4], **options)
    for one, two in zip(together, alone, strict=True):
        for a, b in zip(one.frames, two.frames, strict=True):
            assert np.abs(a.astype(int) - b).max() <= 1


@pytest.mark.parametrize(
    ("stories", "options", "message"),
    [
        ([], {}, "stories must be a list of at least one story"),
        ("Rain.", {}, "stories must be a list of at least one story"),
        ([["Rain."]], {"batch_size": 0}, "batch_size must be a whole number"),
        ([["Rain."]], {"seeds": [1, 2]}, "seeds must be a list of one for each of the 1 stories"),
        ([["Rain."]], {"reference_images": {}}, "reference_images must be a list of one for each"),
        ([["Rain."], []], {}, "Story 1 of the batch: The story has no shots"),
        ([["Rain."]], {"num_frames": 8}, "Story 0 of the batch: num_frames must be"),
    ],
)
def test_a_batch_that_cannot_be_made_is_refused(
    pipeline: AnimeShooterGenPipeline, stories: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        pipeline.generate_batch(stories, **options)
