"""A character's LoRA comes back exactly, several are weighed per shot, and one for another model is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from peft import LoraConfig
from PIL import Image
from safetensors.torch import load_file, save_file

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.lora import LoraInfo, base_mark, load_lora, save_lora
from animeshooter_hf.modeling.lora_registry import LoraRegistry
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import tiny_pipeline, tiny_transformer


def toy() -> AnimeShooterGenPipeline:
    made = tiny_pipeline(height=32, width=48)
    made.set_progress_bar_config(disable=True)
    return made


def frames(pipeline: AnimeShooterGenPipeline) -> NDArray[np.uint8]:
    shot: NDArray[np.uint8] = pipeline(["A fox runs."], seed=1, num_inference_steps=1).frames[0]
    return shot


def trained(seed: int, rank: int = 4, alpha: float = 64, name: str = "default") -> AnimeShooterGenPipeline:
    pipeline = toy()
    pipeline.transformer.add_adapter(
        LoraConfig(r=rank, lora_alpha=alpha, target_modules=["to_q", "to_k", "to_v"]), name
    )
    generator = torch.Generator().manual_seed(seed)
    for key, weight in pipeline.transformer.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return pipeline


@pytest.fixture(scope="module")
def mia(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    picture = folder / "Mia.PNG"
    Image.new("RGB", (8, 8), "red").save(picture)
    return save_lora(
        trained(0), folder / "mia", character="Mia", trigger="m1a", base_model="me/base", samples=[picture],
        licence="cc-by-4.0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def ink(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_lora(trained(1, rank=2, alpha=1), tmp_path_factory.mktemp("lora") / "ink")


@pytest.fixture(scope="module")
def plain() -> NDArray[np.uint8]:
    return frames(toy())


@pytest.fixture
def copy(mia: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mia, tmp_path / "copy"))


def test_one_whose_alpha_is_not_its_rank_comes_back_exactly(mia: Path, plain: NDArray[np.uint8]) -> None:
    pipeline = toy()
    info = load_lora(pipeline, mia, "mia")
    assert (info.rank, info.alpha, info.character, info.trigger) == (4, 64, "Mia", "m1a")
    assert not np.array_equal(frames(pipeline), plain)
    assert np.array_equal(frames(pipeline), frames(trained(0)))


def test_a_loaded_one_is_saved_again_byte_by_byte(mia: Path, tmp_path: Path) -> None:
    pipeline = toy()
    load_lora(pipeline, mia, "mia")
    again = save_lora(pipeline, tmp_path, "mia")
    first, second = (load_file(place / "pytorch_lora_weights.safetensors") for place in (mia, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert json.loads((again / "lora.json").read_text())["alpha"] == 64


def test_two_add_up_with_their_weights_and_none_is_the_plain_model(
    mia: Path, ink: Path, plain: NDArray[np.uint8]
) -> None:
    pipeline = toy()
    loras = LoraRegistry(pipeline)
    loras.add(mia, "mia", weight=0.5)
    loras.add(ink, "ink", weight=2.0)
    layer = pipeline.transformer.transformer_blocks[0].attn1.to_q
    assert layer.scaling == {"mia": 0.5 * 64 / 4, "ink": 2.0 * 1 / 2}
    both = frames(pipeline)
    loras.apply({"mia": 1.0})
    assert np.array_equal(frames(pipeline), frames(trained(0)))
    loras.apply({})
    assert np.array_equal(frames(pipeline), plain)
    loras.apply(loras.weights_for(["Mia"]))
    assert np.array_equal(frames(pipeline), both)


def test_a_shot_gets_the_loras_of_who_is_seen_and_those_of_nobody(mia: Path, ink: Path) -> None:
    loras = LoraRegistry(toy())
    loras.add(mia, "mia", weight=0.8)
    loras.add(ink, "ink", weight=0.3)
    assert loras.weights_for(["Mia", "Rex"]) == {"mia": 0.8, "ink": 0.3}
    assert loras.weights_for(["Rex"]) == {"ink": 0.3}
    assert loras.weights_for(["Rex"], {"mia": 1.5, "ink": 0}) == {"mia": 1.5}
    assert [info.name for info in loras.infos] == ["mia", "ink"]


def test_loading_one_leaves_the_weight_of_the_others(mia: Path, ink: Path) -> None:
    pipeline = toy()
    load_lora(pipeline, mia, "mia", 0.25)
    load_lora(pipeline, ink, "ink", 3)
    layer = pipeline.transformer.transformer_blocks[0].attn1.to_q
    assert layer.scaling == {"mia": 0.25 * 64 / 4, "ink": 3 * 1 / 2}
    assert layer.active_adapters == ["mia", "ink"]


def test_one_with_other_sizes_is_refused_before_the_model_is_touched(mia: Path) -> None:
    pipeline = toy()
    pipeline.register_modules(transformer=wider_transformer())
    with pytest.raises(InputError, match=r"is for another model \(me/base\): its .* takes or gives 32 values, and"):
        load_lora(pipeline, mia)
    assert not getattr(pipeline.transformer, "peft_config", None)


def wider_transformer() -> torch.nn.Module:
    config = {key: value for key, value in tiny_transformer().config.items() if not key.startswith("_")}
    return type(tiny_transformer()).from_config({**config, "attention_head_dim": 16})  # type: ignore[no-any-return]


def test_one_for_other_weights_of_the_same_sizes_is_refused_unless_allowed(mia: Path) -> None:
    pipeline = tiny_pipeline(seed=7, height=32, width=48)
    with pytest.raises(InputError, match=r"was trained on other weights of the same shapes \(me/base\)"):
        load_lora(pipeline, mia)
    load_lora(pipeline, mia, check_base=False)


def test_the_mark_of_a_base_does_not_change_with_loras(mia: Path) -> None:
    pipeline = toy()
    before = base_mark(pipeline.transformer)
    load_lora(pipeline, mia)
    assert base_mark(pipeline.transformer) == before
    assert base_mark(tiny_transformer()) != before


def test_one_of_another_library_is_loaded_under_its_folders_name(copy: Path) -> None:
    (copy / "lora.json").unlink()
    pipeline = toy()
    info = load_lora(pipeline, copy)
    assert (info.name, info.alpha, info.character) == ("copy", 64, None)
    assert np.array_equal(frames(pipeline), frames(trained(0)))


def test_the_card_says_what_is_known_and_nothing_else(mia: Path, ink: Path) -> None:
    card = (mia / "README.md").read_text()
    for line in ("base_model: \"me/base\"", "license: \"cc-by-4.0\"", "instance_prompt: \"m1a\"", "**Mia**",
                 "of rank 4 and alpha 64", "![samples/00.png](samples/00.png)"):  # fmt: skip
        assert line in card
    assert (mia / "samples/00.png").is_file()
    bare = (ink / "README.md").read_text()
    assert not any(word in bare for word in ("None", "{{", "base_model:", "license", "Samples", "Mia"))
    assert "**The weights of the model that it belongs to are random**" in bare


def break_weights(folder: Path) -> None:
    (folder / "pytorch_lora_weights.safetensors").write_bytes(b"x" * 20)


def remove_weights(folder: Path) -> None:
    (folder / "pytorch_lora_weights.safetensors").unlink()


def weights_of_something_else(folder: Path) -> None:
    save_file({"unet.a": torch.zeros(1)}, folder / "pytorch_lora_weights.safetensors")


def break_info(folder: Path) -> None:
    (folder / "lora.json").write_text("[]")


def add_a_key(folder: Path) -> None:
    data = json.loads((folder / "lora.json").read_text())
    (folder / "lora.json").write_text(json.dumps({**data, "colour": "red"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_weights, "pytorch_lora_weights.safetensors is missing or broken"),
        (remove_weights, "pytorch_lora_weights.safetensors is missing or broken"),
        (weights_of_something_else, "holds no LoRA of a video transformer"),
        (break_info, "lora.json is broken, or of a version"),
        (add_a_key, "lora.json is broken: .*'colour'"),
    ],
)
def test_a_broken_one_is_refused_with_one_sentence(
    pipeline: AnimeShooterGenPipeline, copy: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(copy)
    with pytest.raises(InputError, match=message) as refusal:
        load_lora(pipeline, copy)
    assert "\n" not in str(refusal.value)


def test_bad_names_weights_and_places_are_refused(pipeline: AnimeShooterGenPipeline, mia: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no LoRA at"):
        load_lora(pipeline, tmp_path / "absent")
    with pytest.raises(InputError, match="must be a number from -10 to 10, got 11"):
        load_lora(pipeline, mia, weight=11)
    with pytest.raises(InputError, match=r"1 to 64 letters, digits, _ and -, got 'a\.b'"):
        load_lora(pipeline, mia, "a.b")
    with pytest.raises(InputError, match="There is no LoRA 'x'; loaded are none"):
        LoraRegistry(pipeline).weights_for([], {"x": 1})
    with pytest.raises(InputError, match="There is no LoRA 'x'; loaded are none"):
        save_lora(pipeline, tmp_path / "out", "x")
    with pytest.raises(InputError, match="character of the LoRA a must be a text that is not empty"):
        LoraInfo(name="a", rank=1, alpha=1, character=" ")
    own = trained(0)
    with pytest.raises(InputError, match=r"There is no sample absent\.png"):
        save_lora(own, tmp_path / "out", samples=["absent.png"])
    with pytest.raises(InputError, match="A LoRA 'default' is loaded already"):
        load_lora(own, mia)
    assert not (tmp_path / "out").exists()
