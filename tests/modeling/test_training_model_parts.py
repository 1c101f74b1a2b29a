"""What is trained is trained, what is frozen is frozen, and a LoRA keeps its alpha."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import backbone_for, load_mllm_adapter, save_mllm_adapter
from animeshooter_hf.modeling.lora import load_lora, save_lora
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.modeling.testing_decoders import tiny_wan
from animeshooter_hf.modeling.testing_mllms import FAMILIES, tiny_mllm
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.parameters import (
    _add_lora,
    changed_parts,
    frozen_marks,
    prepare_parts,
    trained_parts,
)
from animeshooter_hf.modeling.training.settings import PartSettings, PartsSettings, defaults_for

torch.set_num_threads(1)

FULL, FROZEN = PartSettings(mode="full"), PartSettings()


def lora(rank: int = 4, alpha: float = 64.0, targets: tuple[str, ...] = ()) -> PartSettings:
    return PartSettings(mode="lora", rank=rank, alpha=alpha, targets=targets)


def pipeline() -> Any:
    return tiny_training_pipeline(size=32)


@cache
def whole() -> Any:
    """A pipeline that no test may change."""
    return pipeline()


@pytest.mark.parametrize(
    ("stage", "components"),
    [
        ("align", {"adapter"}),
        ("single", {"mllm", "adapter", "reference_latents"}),
        ("multi", {"mllm", "adapter", "reference_latents"}),
        ("enhance", {"transformer"}),
    ],
)
def test_each_stage_trains_the_components_of_the_papers_table(stage: str, components: set[str]) -> None:
    made = pipeline()
    weights = prepare_parts(made, defaults_for(stage).parts)
    assert {name.partition(".")[0] for name, _ in weights} == components == set(trained_parts(made))
    assert len({name for name, _ in weights}) == len(weights)
    assert all(weight.requires_grad and weight.dtype == torch.float32 for _, weight in weights)
    for name in {"mllm", "transformer"} & components:
        assert all(".lora_" in key for key, _ in weights if key.startswith(name))
    asked = [weight for part in made.components.values() if isinstance(part, torch.nn.Module)
             for weight in part.parameters() if weight.requires_grad]  # fmt: skip
    assert {id(weight) for weight in asked} == {id(weight) for _, weight in weights}


def test_a_lora_that_is_not_trained_yet_changes_nothing() -> None:
    made = pipeline()
    frames = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    call = {"hidden_states": frames, "encoder_hidden_states": torch.ones(1, 16, 32), "timestep": torch.ones(1)}
    with torch.no_grad():
        before = made.transformer(**call)[0]
        prepare_parts(made, PartsSettings(transformer=lora(targets=("attention", "mlp"))))
        assert torch.equal(made.transformer(**call)[0], before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_of_the_mllm_stands_on_language_layers_and_where_asked_on_the_vision_tower(family: str) -> None:
    for targets, has_vision in (((), False), (("attention", "vision"), True)):
        mllm = tiny_mllm(family)
        _add_lora("mllm", mllm, lora(targets=targets))
        names = [name for name, weight in mllm.named_parameters() if weight.requires_grad]
        assert any("language_model" in name or "text_model" in name for name in names)
        assert any("vis" in name for name in names) is has_vision


@pytest.mark.parametrize(
    ("targets", "expected"),
    [((), 16), (("attention",), 16), (("mlp",), 8), (("attention", "mlp"), 24), (("to_q", "to_k"), 8)],
)
def test_targets_of_the_video_model_are_words_or_ends_of_names(targets: tuple[str, ...], expected: int) -> None:
    weights = prepare_parts(pipeline(), PartsSettings(transformer=lora(targets=targets)))
    assert len(weights) == expected


def test_a_lora_of_wan_stands_on_both_attentions_of_each_expert() -> None:
    parts = tiny_wan("2.2")
    made = tiny_pipeline()
    adapter = type(made.adapter)(8, 32, 16, 32, 32, 1, 4)
    wan = type(made)(made.mllm, made.processor, adapter, **parts)
    names = [name for name, _ in prepare_parts(wan, PartsSettings(transformer=lora()))]
    assert len(names) == 2 * 2 * 2 * 4 * 2
    assert sum(name.startswith("transformer.second.") for name in names) == len(names) // 2


def test_all_weights_of_the_mllm_are_trained_but_the_head_for_words_that_nobody_reads() -> None:
    made = pipeline()
    names = {name for name, _ in prepare_parts(made, PartsSettings(mllm=FULL))}
    assert "mllm.lm_head.weight" not in names
    assert len(names) == sum(1 for _ in made.mllm.parameters()) - 1


def test_trained_weights_are_held_in_float32_and_frozen_ones_stay_as_they_are() -> None:
    made = pipeline()
    made.transformer.to(torch.bfloat16)
    made.adapter.to(torch.bfloat16)
    weights = prepare_parts(made, PartsSettings(transformer=lora(), adapter=FULL))
    assert {weight.dtype for _, weight in weights} == {torch.float32}
    frozen = {weight.dtype for weight in made.transformer.parameters() if not weight.requires_grad}
    assert frozen == {torch.bfloat16}


def test_marks_of_what_is_frozen_tell_a_single_changed_value_and_where() -> None:
    made = pipeline()
    prepare_parts(made, PartsSettings(transformer=lora(), adapter=FULL))
    before = frozen_marks(made)
    assert {"mllm", "adapter", "transformer", "vae", "text_encoder", "reference_latents"} == before.keys()
    with torch.no_grad():
        for name, weight in made.transformer.named_parameters():
            if ".lora_" in name:
                weight += 1.0
        made.adapter.out.weight += 1.0
    assert changed_parts(before, frozen_marks(made)) == []
    with torch.no_grad():
        made.mllm.lm_head.weight.view(-1)[-1] += 1e-3
        made.adapter.null_embeds[0, 0, 0] += 1e-3
    assert changed_parts(before, frozen_marks(made)) == ["adapter", "mllm"]


def test_a_lora_comes_back_with_its_strength_where_alpha_is_not_the_rank(tmp_path: Path) -> None:
    trained, fresh = pipeline(), pipeline()
    prepare_parts(trained, PartsSettings(transformer=lora(rank=4, alpha=64.0), mllm=lora(rank=4, alpha=64.0)))
    torch.manual_seed(0)
    for module in (trained.transformer, trained.mllm):
        for name, weight in module.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(weight, std=0.1)
    save_lora(trained, tmp_path / "video")
    save_mllm_adapter(trained.mllm, tmp_path / "mllm", base="someone/mllm")
    call = {
        "hidden_states": torch.randn(1, 3, 4, 4, 4),
        "encoder_hidden_states": torch.ones(1, 16, 32),
        "timestep": torch.ones(1),
    }
    ids = {"input_ids": torch.arange(8)[None]}
    with torch.no_grad():
        before = fresh.transformer(**call)[0]
        load_lora(fresh, tmp_path / "video")
        load_mllm_adapter(fresh.mllm, tmp_path / "mllm")
        assert (trained.transformer(**call)[0] - before).abs().max() > 1e-3
        assert torch.equal(fresh.transformer(**call)[0], trained.transformer(**call)[0])
        assert torch.equal(fresh.mllm(**ids).logits, trained.mllm(**ids).logits)


def test_a_second_stage_takes_up_the_lora_of_the_first() -> None:
    made = pipeline()
    first = dict(prepare_parts(made, PartsSettings(mllm=lora())))
    again = dict(prepare_parts(made, PartsSettings(mllm=lora(), adapter=FULL)))
    assert {name: id(weight) for name, weight in first.items()}.items() <= {
        name: id(weight) for name, weight in again.items()
    }.items()
    prepare_parts(made, PartsSettings(transformer=lora()))
    assert trained_parts(made) == ("transformer",)
    with pytest.raises(InputError, match="has a LoRA of rank 4 and alpha 64 already, which cannot go on with rank 8"):
        prepare_parts(made, PartsSettings(mllm=lora(rank=8)))
    with pytest.raises(InputError, match="mllm has a LoRA; merge it or remove it"):
        prepare_parts(made, PartsSettings(mllm=FULL))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (PartsSettings(), "Nothing is trained"),
        (PartsSettings(transformer=lora(targets=("nowhere",))), r"No linear layer of transformer fits .*'nowhere'"),
        (PartsSettings(transformer=lora(targets=("vision",))), "No linear layer of transformer fits"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_changed(parts: PartsSettings, message: str) -> None:
    asked = [weight.requires_grad for weight in whole().transformer.parameters()]
    with pytest.raises(InputError, match=message):
        prepare_parts(whole(), parts)
    assert [weight.requires_grad for weight in whole().transformer.parameters()] == asked


def test_a_pipeline_without_a_reference_path_trains_the_rest_and_nothing_if_that_is_all() -> None:
    made = tiny_pipeline()
    assert backbone_for(made.mllm, made.processor).is_incremental
    names = [name for name, _ in prepare_parts(made, PartsSettings(adapter=FULL, reference_latents=FULL))]
    assert {name.partition(".")[0] for name in names} == {"adapter"}
    with pytest.raises(InputError, match="Nothing is trained"):
        prepare_parts(made, PartsSettings(reference_latents=FULL))


def test_a_lora_of_rank_0_and_an_unknown_component_are_refused() -> None:
    with pytest.raises(InputError, match="The rank of a LoRA must be a whole number of at least 1, got 0"):
        lora(rank=0)
    with pytest.raises(InputError, match="A LoRA of the adapter is not supported"):
        PartsSettings(adapter=lora())
    with pytest.raises(TypeError, match="nonsense"):
        replace(PartsSettings(), nonsense=FULL)
