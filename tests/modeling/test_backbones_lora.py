"""A LoRA on the MLLM is saved by itself and comes back exactly, with its own alpha."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import (
    MllmLoraSettings,
    add_mllm_lora,
    load_mllm_adapter,
    save_mllm_adapter,
)
from animeshooter_hf.modeling.testing_mllms import FAMILIES, tiny_mllm

SETTINGS = MllmLoraSettings(rank=4, alpha=64)


def toy(family: str) -> nn.Module:
    torch.manual_seed(0)
    return tiny_mllm(family)  # type: ignore[no-any-return]


def trained(family: str) -> nn.Module:
    mllm = toy(family)
    add_mllm_lora(mllm, SETTINGS)
    for name, weight in mllm.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    return mllm


@torch.no_grad()
def logits(mllm: nn.Module) -> Tensor:
    return mllm(input_ids=torch.arange(60, 90)[None]).logits  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_comes_back_exactly_with_alpha_other_than_rank(family: str, tmp_path: Path) -> None:
    mllm = trained(family)
    save_mllm_adapter(mllm, tmp_path, base="some/repository")
    loaded = toy(family)
    before = logits(loaded)
    load_mllm_adapter(loaded, tmp_path)
    assert torch.equal(logits(loaded), logits(mllm))
    assert float((logits(loaded) - before).abs().max()) > 0.1
    assert loaded.peft_config["default"].lora_alpha == 64


def test_only_the_adapter_is_written_and_the_pointer_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toy("qwen3_vl").save_pretrained("base")
    mllm = trained("qwen3_vl")
    save_mllm_adapter(mllm, "adapter", base="base", base_revision="abc")
    assert sorted(path.name for path in Path("adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    config = json.loads(Path("adapter/adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("base", "abc")
    assert str(tmp_path) not in json.dumps(config)
    save_mllm_adapter(mllm, "adapter", base="base")
    reloaded = AutoModelForImageTextToText.from_pretrained("adapter")
    assert torch.equal(logits(reloaded), logits(mllm))


def test_a_lora_starts_without_effect_and_is_all_that_is_trained() -> None:
    mllm = toy("qwen3_vl")
    before = logits(mllm)
    layers = add_mllm_lora(mllm, SETTINGS)
    assert torch.equal(logits(mllm), before)
    assert len(layers) == 12
    assert all("language_model" in layer for layer in layers)
    assert all(weight.requires_grad == ("lora_" in name) for name, weight in mllm.named_parameters())


def test_a_loaded_lora_can_be_trained_on_or_not(tmp_path: Path) -> None:
    save_mllm_adapter(trained("qwen3_vl"), tmp_path, base="some/repository")
    for is_trainable in (False, True):
        mllm = toy("qwen3_vl")
        load_mllm_adapter(mllm, tmp_path, is_trainable=is_trainable)
        flags = {weight.requires_grad for name, weight in mllm.named_parameters() if "lora_" in name}
        assert flags == {is_trainable}


def test_a_pointer_that_is_good_on_this_machine_only_is_refused(tmp_path: Path) -> None:
    mllm = trained("qwen3_vl")
    with pytest.raises(InputError, match="Give base= its repository on the Hub"):
        save_mllm_adapter(mllm, tmp_path, base=str(tmp_path))
    mllm.config._name_or_path = str(tmp_path)
    with pytest.raises(InputError, match="cannot be found from another machine"):
        save_mllm_adapter(mllm, tmp_path)
    mllm.config._name_or_path = "Qwen/Qwen3-VL-8B-Instruct"
    save_mllm_adapter(mllm, tmp_path)
    pointer = json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert pointer == "Qwen/Qwen3-VL-8B-Instruct"


def test_a_lora_for_another_model_is_refused_and_the_model_stays_as_it_was(tmp_path: Path) -> None:
    save_mllm_adapter(trained("qwen3_5"), tmp_path, base="some/repository")
    mllm = toy("qwen3_vl")
    names = [name for name, _ in mllm.named_modules()]
    with pytest.raises(InputError, match=r"is for another model \(some/repository\)"):
        load_mllm_adapter(mllm, tmp_path)
    assert [name for name, _ in mllm.named_modules()] == names


@pytest.mark.parametrize("text", ["{", "[]", '{"peft_type": "IA3"}', None])
def test_a_folder_without_a_readable_lora_is_refused(text: str | None, tmp_path: Path) -> None:
    save_mllm_adapter(trained("qwen3_vl"), tmp_path, base="some/repository")
    if text is None:
        (tmp_path / "adapter_model.safetensors").write_bytes(b"broken")
    else:
        (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(InputError, match="holds no LoRA"):
        load_mllm_adapter(toy("qwen3_vl"), tmp_path)


def test_names_and_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    mllm = trained("qwen3_vl")
    save_mllm_adapter(mllm, tmp_path, base="some/repository")
    with pytest.raises(InputError, match="has a LoRA 'default' already"):
        add_mllm_lora(mllm)
    with pytest.raises(InputError, match="has a LoRA 'default' already"):
        load_mllm_adapter(mllm, tmp_path)
    with pytest.raises(InputError, match="has no LoRA 'other'; it has default"):
        save_mllm_adapter(mllm, tmp_path, name="other")
    with pytest.raises(InputError, match="No layer of"):
        add_mllm_lora(toy("qwen3_vl"), MllmLoraSettings(target_modules="nothing"))
    with pytest.raises(InputError, match="rank >= 1"):
        MllmLoraSettings(rank=0)
