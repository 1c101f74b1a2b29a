"""Reading a story chunk by chunk equals reading it in one pass, for every family of multimodal models."""

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import BACKBONES, USUAL_CHECKPOINTS, backbone_for, check_incremental
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.modeling.testing_mllms import (
    FAMILIES,
    noise_image,
    tiny_backbone,
    tiny_chunks,
    tiny_mllm,
    tiny_processor,
    tiny_queries,
)

QUERIES = tiny_queries()
CHUNKS = tiny_chunks()
toy_backbone = cache(tiny_backbone)
CACHED = [family for family in FAMILIES if family != "gemma3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_chunk_by_chunk_equals_one_pass(family: str) -> None:
    check = check_incremental(toy_backbone(family))
    assert check.passed, check
    assert check.max_abs_error <= 1e-5
    assert check.with_cache == (family in CACHED)


def test_appending_to_a_cache_is_not_exact_for_gemma_so_it_reads_everything_anew() -> None:
    backbone = toy_backbone("gemma3")
    assert not backbone.is_incremental
    assert check_incremental(backbone, with_cache=True).max_abs_error > 1e-3


def test_positions_inferred_by_the_model_would_be_wrong() -> None:
    """Why positions are explicit: this is what the obvious call gives for the second chunk."""
    backbone = backbone_for(tiny_mllm(), tiny_processor())
    cache = backbone.new_cache()
    states = []
    with torch.no_grad():
        for chunk in CHUNKS[:2]:
            tokens = backbone.tokenize(chunk, 0)
            output = backbone.mllm(
                input_ids=tokens.ids_L[None],
                mm_token_type_ids=tokens.is_image_L[None].long(),
                **tokens.images,
                past_key_values=cache,
                output_hidden_states=True,
            )
            states.append(output.hidden_states[-1])
        fresh, position = backbone.new_cache(), 0
        none = torch.zeros(1, backbone.hidden_size)
        for chunk in CHUNKS[:2]:
            tokens = backbone.tokenize(chunk, 0)
            exact, position = backbone.forward(tokens, none, cache=fresh, first_position=position)
    assert float((states[1] - exact).abs().max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_leaves_nothing_on_the_model(family: str) -> None:
    mllm = toy_backbone(family).mllm
    before = _kept_on(mllm)
    with torch.no_grad():
        context = ShotContext(toy_backbone(family), QUERIES)
        for chunk in CHUNKS[:2]:
            context.append(chunk)
    after = _kept_on(mllm)
    assert before.keys() == after.keys()
    changed = [name for name in before if not _same(before[name], after[name])]
    assert not changed
    if family.startswith("qwen"):
        assert mllm.model.rope_deltas is None


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_is_what_the_family_s_own_processor_and_model_give(family: str) -> None:
    """Tokens, pixels, positions and the normed last state, held against the plain call of transformers."""
    backbone = toy_backbone(family)
    text, options = _PLAIN_CALLS[family]
    images = [noise_image(1, 32, 32), noise_image(2, 32, 32)]
    inputs = backbone.processor(text=[text * 2 + "A fox."], images=[images], return_tensors="pt", **options)
    if family.startswith("qwen"):
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == backbone.image_token_id).long()
    tokens = backbone.tokenize(ShotChunk((*images, "A fox.")), 0)
    with torch.no_grad():
        plain = backbone.mllm.model(**inputs).last_hidden_state
        ours, _ = backbone.forward(tokens, torch.zeros(1, backbone.hidden_size))
    if family.startswith("qwen"):
        backbone.mllm.model.rope_deltas = None
    assert torch.equal(tokens.ids_L, inputs["input_ids"][0])
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=0)


_PLAIN_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_vl": ("<|vision_start|><|image_pad|><|vision_end|>", {}),
    "qwen2_5_vl": ("<|vision_start|><|image_pad|><|vision_end|>", {}),
    "qwen3_5": ("<|vision_start|><|image_pad|><|vision_end|>", {}),
    "internvl": ("<IMG_CONTEXT>", {"crop_to_patches": False}),
    "llava": ("<image>", {}),
    "llava_onevision": ("<image>", {}),
    "smolvlm": ("<image>", {"do_image_splitting": False, "size": {"longest_edge": 32}}),
    "gemma3": ("<start_of_image>", {}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_another_image_gives_other_states(family: str) -> None:
    with torch.no_grad():
        one = ShotContext(toy_backbone(family), QUERIES).append(ShotChunk((noise_image(1, 32, 32), "A fox.")))
        two = ShotContext(toy_backbone(family), QUERIES).append(ShotChunk((noise_image(2, 32, 32), "A fox.")))
    assert float((one - two).abs().max()) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_context_in_half_precision_is_finite_and_near_the_full_one(family: str) -> None:
    torch.manual_seed(0)
    backbone = backbone_for(tiny_mllm(family).to(torch.bfloat16), tiny_processor(family))
    check = check_incremental(backbone, tolerance=2e-2)
    assert check.passed, check
    assert abs(check.scale - check_incremental(toy_backbone(family)).scale) < 0.1


@pytest.mark.parametrize("family", ["qwen3_vl", "smolvlm"])
def test_gradients_reach_the_query_tokens(family: str) -> None:
    queries = QUERIES.clone().requires_grad_()
    ShotContext(toy_backbone(family), queries).append(CHUNKS[0]).sum().backward()
    assert queries.grad is not None
    assert (queries.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("family", ["internvl", "gemma3"])
def test_the_pipeline_runs_and_resumes_on_other_families(family: str) -> None:
    pipeline = tiny_pipeline(family=family, height=32, width=48)
    pipeline.set_progress_bar_config(disable=True)
    first, second = pipeline.stream(["A fox wakes up.", "It runs."], num_inference_steps=1)
    resumed = pipeline.resume(first.state)
    assert np.array_equal(resumed.frames[1], second.frames)


def test_each_family_says_where_its_usual_weights_come_from_and_under_which_licence() -> None:
    assert USUAL_CHECKPOINTS.keys() == BACKBONES.keys() == set(FAMILIES)
    assert all(usual.licence and usual.model_id.count("/") == 1 for usual in USUAL_CHECKPOINTS.values())
    assert all(usual.is_sure or usual.note for usual in USUAL_CHECKPOINTS.values())


def test_nvila_is_refused_with_the_reason_and_what_to_use_instead() -> None:
    with pytest.raises(InputError, match=r"non-commercial use .* Use Qwen/Qwen3-VL"):
        backbone_for(SimpleNamespace(config=SimpleNamespace(model_type="llava_llama")), None)


def test_an_unknown_family_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"type 'bert' is not supported; supported are gemma3, internvl"):
        backbone_for(SimpleNamespace(config=SimpleNamespace(model_type="bert")), None)


def _kept_on(mllm: nn.Module) -> dict[str, Any]:
    """Return everything that hangs on the modules of a model besides its weights and its parts."""
    kept = {
        f"{name}.{key}": value.clone() if isinstance(value, torch.Tensor) else value
        for name, module in mllm.named_modules()
        for key, value in vars(module).items()
        if key not in ("_parameters", "_modules", "_buffers", "config") and not callable(value)
    }
    return kept | {f"buffer.{name}": value.clone() for name, value in mllm.named_buffers()}


def _same(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)
