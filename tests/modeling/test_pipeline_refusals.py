"""What cannot be used is refused with one sentence, before the language model or the decoder is touched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.shot_loop import StoryReader
from animeshooter_hf.modeling.testing import tiny_pipeline, tiny_transformer
from animeshooter_hf.records import Story

PORTRAIT = Image.new("RGB", (20, 30), "red")
ROW = {
    "story_id": "s",
    "main_characters": [{"id": "Mia"}, {"id": "Rex"}],
    "shots": [{"descriptive_caption": "Mia walks.", "characters": ["Mia"]}],
}


def with_shots(*shots: dict[str, Any]) -> dict[str, Any]:
    return {**ROW, "shots": list(shots)}


@pytest.mark.parametrize(
    ("story", "references", "options", "message"),
    [
        ([], None, {}, "no shots"),
        (with_shots(), {"Mia": PORTRAIT}, {}, "Story s has no shots"),
        (["Rain."] * 200, None, {}, "has 200 shots; at most 64"),
        ("Rain.", None, {}, "must be a Story, a row"),
        (7, None, {}, "must be a Story, a row"),
        (["Rain.", ""], None, {}, "Caption 1 must be a text"),
        ({"story_id": "s", "shots": [{"caption": "Rain."}]}, None, {}, "Unknown key 'caption'"),
        (with_shots({"characters": ["Mia"]}), {"Mia": PORTRAIT}, {}, "Shot 0 of story s has no caption"),
        (with_shots({"descriptive_caption": "Hi.", "characters": ["Bob"]}), {}, {}, "names the character 'Bob', whom"),
        (ROW, None, {}, "The character 'Mia' has no reference image"),
        (ROW, {"Mia": []}, {}, "'Mia' has an empty list"),
        (ROW, {"Bob": PORTRAIT}, {}, "A reference is for 'Bob', but the story declares Mia, Rex"),
        (ROW, {"Mia": 5}, {}, "The reference of 'Mia' must be an image, got int"),
        (ROW, {"Mia": [PORTRAIT, np.zeros((4, 4))]}, {}, "Reference 1 of 'Mia' must be uint8"),
        (ROW, {"Mia": Image.new("RGB", (2, 400))}, {}, "is 2x400, too narrow"),
        (ROW, {"Mia": "absent.png"}, {}, "there is no file absent.png"),
        (ROW, PORTRAIT, {}, "has 2 characters, so references must say whose they are"),
        (["Rain."], None, {"num_frames": 8}, "num_frames must be a multiple of 8 plus 1 (near: 1, 9), got 8"),
        (["Rain."], None, {"num_frames": 13}, "(near: 9, 17), got 13"),
        (["Rain."], None, {"num_frames": 0}, "num_frames must be a whole number of at least 1, got 0"),
        (["Rain."], None, {"num_frames": 2.5}, "num_frames must be a whole number"),
        (["Rain."], None, {"height": 40}, "height must be a multiple of 16 pixels, got 40"),
        (["Rain."], None, {"width": 8}, "width must be a multiple of 16 pixels, got 8"),
        (["Rain."], None, {"num_inference_steps": 0}, "num_inference_steps must be a whole number"),
        (["Rain."], None, {"num_inference_steps": 5000}, "at most 1000, got 5000"),
        (["Rain."], None, {"guidance_scale": float("nan")}, "guidance_scale must lie in 0 to 100, got nan"),
        (["Rain."], None, {"seed": -1}, "seed must be a whole number from 0"),
    ],
)
def test_bad_input_is_refused_before_anything_heavy(
    pipeline: AnimeShooterGenPipeline, story: Any, references: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        pipeline.stream(story, references, **options)  # Not iterated: the check comes first.
    assert message in str(refusal.value)


def test_a_file_that_is_no_image_is_refused(pipeline: AnimeShooterGenPipeline, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"fox\.png is no image"):
        pipeline(ROW, {"Mia": tmp_path / "fox.png"})


def test_an_unknown_output_type_is_refused(pipeline: AnimeShooterGenPipeline) -> None:
    with pytest.raises(InputError, match='output_type must be "np" or "pil", got \'latent\''):
        pipeline(["Rain."], output_type="latent")


def test_missing_references_can_be_allowed(pipeline: AnimeShooterGenPipeline) -> None:
    assert len(pipeline(ROW, {}, require_references=False).frames) == 1


@pytest.mark.parametrize("index", [3, -1, True, 1.0])
def test_only_a_finished_shot_can_be_made_anew(
    pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput, index: Any
) -> None:
    with pytest.raises(InputError, match="index must be one of the 3 finished shots"):
        pipeline.regenerate_shot(whole.state, index)


def test_an_empty_caption_is_no_edit(pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput) -> None:
    with pytest.raises(InputError, match="caption must be a text that is not empty"):
        pipeline.regenerate_shot(whole.state, 0, caption=" ")


@pytest.mark.parametrize("layout", [{}, {"keep_queries": False}, {"window_shots": 1}, {"frames_per_past_shot": 2}])
@pytest.mark.parametrize("family", ["qwen3_vl", "smolvlm", "llava_onevision"])
def test_a_story_fits_the_context_exactly_as_far_as_it_can_be_read(
    story: Story, portraits: dict[str, Image.Image], family: str, layout: dict[str, Any]
) -> None:
    tiny = tiny_pipeline(family=family, height=32, width=48)
    parts = {key: value for key, value in tiny.components.items() if value is not None}
    tiny = AnimeShooterGenPipeline(**parts, layout=layout, num_inference_steps=1, max_image_pixels=64 * 64)
    tiny.set_progress_bar_config(disable=True)
    state = tiny(story, portraits).state
    reader = StoryReader(tiny, state, 3)
    most = 0
    for index in range(3):
        reader.read(state, index)
        most = max(most, reader._context.num_tokens + (0 if tiny.layout.keep_queries else 8))
    config = tiny.mllm.config.get_text_config()
    config.max_position_embeddings = most
    tiny.stream(story, portraits)
    config.max_position_embeddings = most - 1
    with pytest.raises(InputError, match=f"Shot [12] needs .* but the model's context holds {most - 1}"):
        tiny.stream(story, portraits)  # Not iterated: the check comes first.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"mllm_hidden_size": 64}}, "states of width 64, but the multimodal model gives 32"),
        ({"adapter": {"text_dim": 64}}, "a condition of width 64, but the transformer takes 32"),
        ({"adapter": {"condition_length": 8}}, "8 condition tokens, but the transformer takes exactly 16"),
        ({"weights_origin": "somewhere"}, "weights_origin must be"),
        ({"mllm": "vae"}, "The multimodal model of type 'AutoencoderKLCogVideoX' is not supported"),
        ({"transformer": "vae"}, "The video transformer AutoencoderKLCogVideoX is not supported"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    pipeline: AnimeShooterGenPipeline, changes: dict[str, Any], message: str
) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    for name, change in changes.items():
        if name == "adapter":
            sizes = {"num_queries": 8, "mllm_hidden_size": 32, "condition_length": 16, "text_dim": 32}
            change = ShotConditionAdapter(**{**sizes, **change}, hidden_size=8, num_layers=1, num_heads=1)
        parts[name] = parts["vae"] if change == "vae" else change
    with pytest.raises(InputError, match=message):
        AnimeShooterGenPipeline(**parts)


def test_a_state_of_another_model_is_refused(pipeline: AnimeShooterGenPipeline, whole: AnimeShooterGenOutput) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    other = AnimeShooterGenPipeline(**{**parts, "transformer": tiny_transformer(height=48, width=48)})
    with pytest.raises(InputError, match="made by another model"):
        other.resume(whole.state)
