"""A checkpoint reloads bit by bit, also through plain diffusers, and one that is not whole is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, DiffusionPipeline
from peft import LoraConfig
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

import animeshooter_hf
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput, AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.records import Story

Portraits = dict[str, Image.Image]


@pytest.fixture(scope="session")
def checkpoint(pipeline: AnimeShooterGenPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def quiet(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drop_weight(file: Path, chosen: Callable[[str], bool]) -> str:
    weights = load_file(file)
    name = next(name for name in sorted(weights) if chosen(name))
    save_file({key: value for key, value in weights.items() if key != name}, file, metadata={"format": "pt"})
    return name


def assert_same_story(
    loaded: DiffusionPipeline, whole: AnimeShooterGenOutput, story: Story, portraits: Portraits
) -> None:
    output = quiet(loaded)(story, portraits, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(output.frames, whole.frames, strict=True))


def test_a_saved_and_loaded_pipeline_makes_the_same_frames(
    checkpoint: Path, whole: AnimeShooterGenOutput, story: Story, portraits: Portraits
) -> None:
    loaded = animeshooter_hf.AnimeShooterGenPipeline.from_pretrained(checkpoint)
    assert loaded.notes == whole.notes
    assert (loaded.text_encoder, loaded.tokenizer) == (None, None)
    assert_same_story(loaded, whole, story, portraits)


def test_a_loaded_pipeline_goes_on_with_a_state_of_the_saved_one(
    checkpoint: Path, whole: AnimeShooterGenOutput, tmp_path: Path
) -> None:
    whole.state.cut_to(1).save(tmp_path)
    loaded = quiet(AnimeShooterGenPipeline.from_pretrained(checkpoint))
    output = loaded.resume(type(whole.state).load(tmp_path))
    assert all(np.array_equal(a, b) for a, b in zip(output.frames, whole.frames, strict=True))


def test_plain_diffusers_loads_it_through_the_shim(
    checkpoint: Path, whole: AnimeShooterGenOutput, story: Story, portraits: Portraits
) -> None:
    loaded = DiffusionPipeline.from_pretrained(str(checkpoint), custom_pipeline=str(checkpoint), trust_remote_code=True)
    assert isinstance(loaded, AnimeShooterGenPipeline)
    assert_same_story(loaded, whole, story, portraits)


def test_the_plain_cogvideox_pipeline_can_use_the_checkpoint(checkpoint: Path) -> None:
    loaded = CogVideoXPipeline.from_pretrained(str(checkpoint), tokenizer=None, text_encoder=None)
    assert loaded.transformer.config.max_text_seq_length == 16


def test_module_paths_in_the_index_are_the_public_ones(checkpoint: Path) -> None:
    index = json.loads((checkpoint / "model_index.json").read_text())
    assert index["_class_name"] == "AnimeShooterGenPipeline"
    assert index["adapter"] == ["animeshooter_hf.modeling.adapter", "ShotConditionAdapter"]
    assert index["mllm"] == ["transformers", "Qwen3VLForConditionalGeneration"]
    assert index["weights_origin"] == "random"


def test_the_card_says_what_the_weights_are(checkpoint: Path) -> None:
    card = (checkpoint / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: diffusers\n")
    assert "**The weights are random.**" in card
    assert "| adapter | ShotConditionAdapter | " in card
    assert "{{" not in card
    assert "None" not in card


def test_trained_weights_are_named_and_carry_no_note(pipeline: AnimeShooterGenPipeline, tmp_path: Path) -> None:
    parts = {key: value for key, value in pipeline.components.items() if value is not None}
    trained = AnimeShooterGenPipeline(**parts, weights_origin="trained: 10 steps on toon films")
    assert trained.notes == ()
    trained.save_pretrained(tmp_path)
    assert "Weights: trained: 10 steps on toon films." in (tmp_path / "README.md").read_text()
    assert AnimeShooterGenPipeline.from_pretrained(tmp_path).config.weights_origin == trained.config.weights_origin


@pytest.mark.parametrize(
    ("part", "chosen"),
    [
        ("adapter", lambda name: name == "query_tokens"),
        ("adapter", lambda name: name == "null_embeds"),
        ("transformer", lambda name: "to_q.weight" in name),
        ("vae", lambda name: name.startswith("decoder.conv_in")),
        ("mllm", lambda name: name.endswith("q_proj.weight")),
        ("mllm", lambda name: name.endswith("lm_head.weight")),
    ],
)
@pytest.mark.parametrize("through", ["own class", "shim"])
def test_a_missing_weight_is_refused(copy: Path, part: str, chosen: Callable[[str], bool], through: str) -> None:
    (file,) = (copy / part).glob("*.safetensors")
    name = drop_weight(file, chosen)
    loader, options = {
        "own class": (AnimeShooterGenPipeline, {}),
        "shim": (DiffusionPipeline, {"custom_pipeline": str(copy), "trust_remote_code": True}),
    }[through]
    with pytest.raises(InputError) as refusal:
        loader.from_pretrained(str(copy), **options)
    assert f"is not whole: 1 weights of {part} are missing, such as {name}" in str(refusal.value)


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def remove_weights(folder: Path) -> None:
    (folder / "adapter" / "diffusion_pytorch_model.safetensors").unlink()


def remove_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def break_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


def name_another_class(folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "WanPipeline"}')


def cut_weights_short(folder: Path) -> None:
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def change_a_size(folder: Path) -> None:
    file = folder / "adapter" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "text_dim": 48}))


def name_a_missing_shard(folder: Path) -> None:
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "part-00001.safetensors"}}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_folder, "the folder vae is missing or empty"),
        (remove_weights, "cannot be loaded"),
        (remove_index, "has no model_index.json"),
        (break_index, "cannot be read as JSON"),
        (name_another_class, "is a checkpoint of WanPipeline, not of AnimeShooterGenPipeline"),
        (cut_weights_short, "cannot be loaded"),
        (change_a_size, "cannot be loaded"),
        (name_a_missing_shard, r"part-00001.safetensors is missing"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_one_sentence(
    copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises(InputError, match=message) as refusal:
        AnimeShooterGenPipeline.from_pretrained(copy)
    assert "\n" not in str(refusal.value)


def test_a_path_with_nothing_there_is_refused_without_asking_the_hub(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no checkpoint at"):
        AnimeShooterGenPipeline.from_pretrained(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="There is no checkpoint at"):
        AnimeShooterGenPipeline.from_pretrained(tmp_path / "file")


def test_saving_does_not_upload(pipeline: AnimeShooterGenPipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Call push_to_hub"):
        pipeline.save_pretrained(tmp_path, push_to_hub=True)


def test_a_lora_whose_alpha_is_not_its_rank_comes_back_exactly(tmp_path: Path, portraits: Portraits) -> None:
    pipeline = quiet(tiny_pipeline(height=32, width=48))
    before = pipeline(["A fox runs."], seed=1).frames[0]
    pipeline.transformer.add_adapter(LoraConfig(r=4, lora_alpha=64, target_modules=["to_q", "to_k", "to_v"]))
    torch.manual_seed(0)
    for name, weight in pipeline.transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    with_lora = pipeline(["A fox runs."], seed=1)
    pipeline.save_lora(tmp_path)
    other = quiet(tiny_pipeline(height=32, width=48))
    other.load_lora_weights(str(tmp_path))
    again = other(["A fox runs."], seed=1)
    assert not np.array_equal(before, with_lora.frames[0])
    assert np.array_equal(again.frames[0], with_lora.frames[0])
    with pytest.raises(InputError, match="There is no LoRA 'default'; loaded are default_0"):
        other.save_lora(tmp_path)
    with pytest.raises(InputError, match="with other LoRAs"):
        tiny_pipeline(height=32, width=48).resume(with_lora.state)


def test_null_embeddings_are_computed_by_t5_once_and_stored(tmp_path: Path) -> None:
    pipeline = tiny_pipeline(height=16, width=16, num_frames=1)
    with pytest.raises(InputError, match="Null embeddings come from T5"):
        pipeline.store_null_embeds()
    torch.manual_seed(0)
    size = {"d_model": 32, "d_ff": 32, "d_kv": 8, "num_heads": 4, "num_layers": 1}
    encoder = T5EncoderModel(T5Config(vocab_size=16, **size)).eval()
    tokenizer = T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0)], extra_ids=0)
    pipeline.register_modules(text_encoder=encoder, tokenizer=tokenizer)
    pipeline.store_null_embeds()
    stored = pipeline.adapter.null_embeds.clone()
    assert stored.abs().sum() > 0
    pipeline.register_modules(text_encoder=None, tokenizer=None)
    pipeline.save_pretrained(tmp_path)
    assert not (tmp_path / "text_encoder").exists()
    assert torch.equal(AnimeShooterGenPipeline.from_pretrained(tmp_path).adapter.null_embeds, stored)
