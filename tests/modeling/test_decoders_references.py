"""Reference latents change nothing before training and everything after it; attention through the dispatcher."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import (
    CogVideoXDecoder,
    ReferenceLatents,
    ShotInputs,
    decoder_for,
    encode_references,
    set_attention_backend,
)
from animeshooter_hf.modeling.decoders.attention import CogVideoXDispatchProcessor, install_dispatching_attention
from animeshooter_hf.modeling.testing_decoders import COGVIDEOX_VARIANTS, tiny_cogvideox, tiny_wan

torch.set_num_threads(1)

SIZE = {"num_frames": 9, "height": 32, "width": 48, "num_inference_steps": 2, "guidance_scale": 6.0}


@cache
def parts(variant: str = "2b") -> dict[str, Any]:
    return tiny_cogvideox(variant)


@cache
def references() -> torch.Tensor:
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (50, 30, 3), np.uint8)) for _ in range(2)]
    return encode_references(parts()["vae"], images, height=32, width=48)[None]


def trained(variant: str = "2b") -> ReferenceLatents:
    path = ReferenceLatents.for_transformer(parts(variant)["transformer"])
    torch.manual_seed(3)
    torch.nn.init.normal_(path.gates)
    torch.nn.init.normal_(path.slots)
    return path


def latents(path: ReferenceLatents | None, given: torch.Tensor | None, variant: str = "2b", seed: int = 1) -> Any:
    embeds = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(seed))
    decoder = decoder_for(**parts(variant), reference_latents=path)
    inputs = ShotInputs(reference_latents_BRChw=given)
    generators = [torch.Generator().manual_seed(0)]
    return decoder.decode_latents(embeds, torch.zeros_like(embeds), generators=generators, inputs=inputs, **SIZE)


def transformer_call(variant: str = "2b", count: int = 1) -> dict[str, Any]:
    """A call as the pipeline makes it, of three latent frames (four in 1.5)."""
    transformer = parts(variant)["transformer"]
    frames = 4 if transformer.config.patch_size_t else 3
    draw = torch.Generator().manual_seed(5)
    plain = CogVideoXPipeline(tokenizer=None, text_encoder=None, **parts(variant))
    rotary = None
    if transformer.config.use_rotary_positional_embeddings:
        rotary = plain._prepare_rotary_positional_embeddings(32, 48, frames, torch.device("cpu"))
    return {
        "hidden_states": torch.randn(count, frames, 4, 4, 6, generator=draw),
        "encoder_hidden_states": torch.randn(count, 16, 32, generator=draw),
        "timestep": torch.full((count,), 500),
        "image_rotary_emb": rotary,
        "return_dict": False,
    }


def test_a_path_that_is_there_but_gets_no_references_changes_no_bit() -> None:
    assert torch.equal(latents(trained(), None), latents(None, None))


@pytest.mark.parametrize("variant", COGVIDEOX_VARIANTS)
def test_an_untrained_path_changes_nothing(variant: str) -> None:
    path = ReferenceLatents.for_transformer(parts(variant)["transformer"])
    assert not path.gates.any()
    torch.testing.assert_close(latents(path, references(), variant), latents(None, None, variant), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variant", COGVIDEOX_VARIANTS)
def test_a_trained_path_sees_the_references_and_the_order_they_come_in(variant: str) -> None:
    path = trained(variant)
    with_both = latents(path, references(), variant)
    assert (with_both - latents(None, None, variant)).abs().max() > 1e-2
    assert (with_both - latents(path, references().flip(1), variant)).abs().max() > 1e-4
    assert (with_both - latents(path, references()[:, :1], variant)).abs().max() > 1e-4
    assert torch.equal(with_both, latents(path, references(), variant))


def test_only_the_last_branch_of_guidance_sees_the_references() -> None:
    transformer, call = parts()["transformer"], transformer_call(count=2)
    with torch.no_grad():
        before = transformer(**call)[0]
        with trained().joined(transformer, references()):
            negative, full = transformer(**call)[0]
        assert torch.equal(transformer(**call)[0], before)
    torch.testing.assert_close(negative, before[0], rtol=0, atol=1e-5)
    assert (full - before[1]).abs().max() > 1e-2


@pytest.mark.parametrize("variant", ["5b", "1.5"])
def test_references_stand_at_the_times_after_the_last_frame(variant: str) -> None:
    transformer, call = parts(variant)["transformer"], transformer_call(variant)
    seen: list[Any] = []
    hook = transformer.transformer_blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["image_rotary_emb"]), with_kwargs=True
    )
    with torch.no_grad(), trained(variant).joined(transformer, references()):
        transformer(**call)
    hook.remove()
    longer = call["hidden_states"].shape[1] + 2 * (transformer.config.patch_size_t or 1)
    plain = CogVideoXPipeline(tokenizer=None, text_encoder=None, **parts(variant))
    expected = plain._prepare_rotary_positional_embeddings(32, 48, longer, torch.device("cpu"))
    for ours, theirs in zip(seen[0], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_gradients_reach_the_gates_at_once_and_the_slots_when_gates_have_moved() -> None:
    transformer, call = parts()["transformer"], transformer_call()
    path = ReferenceLatents.for_transformer(transformer)
    for moved in (False, True):
        path.zero_grad()
        with path.joined(transformer, references()):
            transformer(**call)[0].square().mean().backward()
        assert path.gates.grad is not None
        assert path.gates.grad.abs().min() > 0
        assert bool(path.slots.grad[:2].any()) is moved
        torch.nn.init.constant_(path.gates, 0.5)
    transformer.zero_grad()


def test_gradient_checkpointing_changes_no_gradient_of_the_path() -> None:
    transformer, call, path = parts()["transformer"], transformer_call(), trained()
    grads = []
    for switch in (transformer.disable_gradient_checkpointing, transformer.enable_gradient_checkpointing):
        switch()
        path.zero_grad()
        with path.joined(transformer, references()):
            transformer(**call)[0].square().mean().backward()
        grads.append(path.slots.grad.clone())
    transformer.disable_gradient_checkpointing()
    transformer.zero_grad()
    torch.testing.assert_close(grads[0], grads[1])


def test_a_saved_path_comes_back_bit_by_bit(tmp_path: Path) -> None:
    path = trained()
    path.save_pretrained(tmp_path)
    again = ReferenceLatents.from_pretrained(tmp_path)
    assert torch.equal(latents(again, references()), latents(path, references()))


def test_a_saved_path_that_lacks_a_weight_is_refused(tmp_path: Path) -> None:
    path = trained()
    path.save_pretrained(tmp_path, safe_serialization=True)
    from safetensors.torch import save_file

    save_file({"gates": path.gates.detach()}, tmp_path / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="1 weights of reference_latents are missing, such as slots"):
        ReferenceLatents.from_pretrained(tmp_path)


def test_references_are_fitted_on_white_and_give_the_same_latents_each_time() -> None:
    vae = parts()["vae"]
    cut_out = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    white = encode_references(vae, [Image.new("RGB", (48, 32), "white")], height=32, width=48)
    assert white.shape == (1, 4, 4, 6)
    assert torch.equal(encode_references(vae, [cut_out], height=32, width=48), white)


def test_references_that_do_not_fit_are_refused() -> None:
    path = ReferenceLatents.for_transformer(parts()["transformer"], max_references=1)
    with pytest.raises(InputError, match=r"shape \(shots, 1 to 1, 4, rows, columns\), got \(1, 2, 4, 4, 6\)"):
        latents(path, references())
    with pytest.raises(InputError, match="do not fit shots of shape"):
        latents(path, torch.zeros(1, 1, 4, 6, 6))
    with pytest.raises(InputError, match=r"was made for a transformer of \(3, 2, 4\) layers, heads and channels, but"):
        CogVideoXDecoder(**parts(), reference_latents=ReferenceLatents(3, 2, 4))
    with pytest.raises(InputError, match="WanDecoder has no part reference_latents"):
        decoder_for(**tiny_wan(), reference_latents=path)
    with pytest.raises(InputError, match="There is no reference image"):
        encode_references(parts()["vae"], [], height=32, width=48)
    with pytest.raises(ValueError, match="at least 1"):
        ReferenceLatents(num_layers=0)


def test_the_path_of_cogvideox_2b_has_1028_weights() -> None:
    assert sum(weight.numel() for weight in ReferenceLatents().parameters()) == 1028


@pytest.mark.parametrize("variant", COGVIDEOX_VARIANTS)
def test_dispatching_attention_equals_that_of_diffusers_bit_by_bit(variant: str) -> None:
    model, call = tiny_cogvideox(variant)["transformer"], transformer_call(variant, count=2)
    with torch.no_grad():
        before = model(**call)[0]
        install_dispatching_attention(model)
        assert {type(processor) for processor in model.attn_processors.values()} == {CogVideoXDispatchProcessor}
        assert torch.equal(model(**call)[0], before)


def test_another_backend_really_runs_and_other_models_keep_theirs() -> None:
    first, second = tiny_cogvideox()["transformer"], tiny_wan()["transformer"]
    set_attention_backend(first, "_native_math")
    backends = {processor._attention_backend.value for processor in first.attn_processors.values()}
    assert backends == {"_native_math"}
    assert {processor._attention_backend for processor in second.attn_processors.values()} == {None}
    call = transformer_call()
    with torch.no_grad(), torch.profiler.profile() as profile:
        math = first(**call)[0]
        second(torch.randn(1, 16, 2, 4, 8), torch.ones(1), torch.randn(1, 16, 32))
    names = {event.key for event in profile.key_averages()}
    assert {"aten::_scaled_dot_product_attention_math", "aten::_scaled_dot_product_flash_attention_for_cpu"} <= names
    with torch.no_grad():
        torch.testing.assert_close(math, tiny_cogvideox()["transformer"](**call)[0])


@pytest.mark.parametrize("backend", ["flash", "_native_cudnn", "nonsense"])
def test_a_backend_that_does_not_work_here_is_refused_and_nothing_changes(backend: str) -> None:
    model = tiny_cogvideox()["transformer"]
    with pytest.raises(InputError, match=f"attention backend '{backend}' is not available on cpu for torch.float32"):
        set_attention_backend(model, backend)
    assert CogVideoXDispatchProcessor not in {type(processor) for processor in model.attn_processors.values()}


def test_fused_projections_have_to_be_taken_apart_first() -> None:
    model = tiny_cogvideox()["transformer"]
    model.fuse_qkv_projections()
    with pytest.raises(InputError, match="FusedCogVideoXAttnProcessor2_0 stands in its place"):
        install_dispatching_attention(model)
    model.unfuse_qkv_projections()
    install_dispatching_attention(model)


def test_slots_tell_references_and_frames_of_earlier_shots_apart() -> None:
    path = ReferenceLatents(2, 2, 4, max_references=3, memory_frames=2)
    assert path.slots_of(2, 1) == (0, 1, 3)
    torch.nn.init.normal_(path.slots)
    given = torch.zeros(1, 2, 4, 4, 6)
    torch.testing.assert_close(path(given, path.slots_of(1, 1))[0, :, :, 0, 0], path.slots[[0, 3]])
    torch.testing.assert_close(path(given), path(given, (0, 1)))


@pytest.mark.parametrize("numbers", [(4, 0), (1, 3), (-1, 0)])
def test_more_pictures_than_there_are_slots_for_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="has room for 3 references and 2 frames of earlier shots"):
        ReferenceLatents(2, 2, 4, max_references=3, memory_frames=2).slots_of(*numbers)


@pytest.mark.parametrize("slots", [(0,), (0, 5), (0, -1)])
def test_slots_that_do_not_fit_the_latents_are_refused(slots: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="2 reference latents need as many slots below 5"):
        ReferenceLatents(2, 2, 4, max_references=3, memory_frames=2)(torch.zeros(1, 2, 4, 4, 6), slots)


def test_references_do_not_reach_into_the_slots_of_earlier_shots() -> None:
    with pytest.raises(InputError, match="1 to 3"):
        ReferenceLatents(2, 2, 4, max_references=3, memory_frames=2)(torch.zeros(1, 4, 4, 4, 6))
