"""Memory and speed: what must be bit-equal is, hooks do fire, step caches are empty after every shot.

The accelerator is the CPU here. Sequential offload, streams and kernels need a GPU: the tests marked so run there.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import CogVideoXPipeline, CogVideoXTransformer3DModel, WanPipeline
from diffusers.hooks import HookRegistry

from animeshooter_hf.config_file import settings_from
from animeshooter_hf.errors import InputError, MissingExtraError
from animeshooter_hf.modeling.decoders import decoder_for
from animeshooter_hf.modeling.decoders.step_cache import STEP_CACHES, disable_step_cache, enable_step_cache
from animeshooter_hf.modeling.memory import MemorySettings, apply_memory, quantization_config
from animeshooter_hf.modeling.testing import tiny_pipeline
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox, tiny_wan

torch.set_num_threads(1)

STORY = ["A fox wakes up.", "It runs."]
STEP_OPTIONS: dict[str, dict[str, Any]] = {
    "pab": {"spatial_attention_timestep_skip_range": (-1, 1001)},
    "faster": {"spatial_attention_timestep_skip_range": (-1, 1001)},
    "first_block": {"threshold": 10.0},
    "mag": {"mag_ratios": [1.0] * 4, "num_inference_steps": 4, "threshold": 1.0, "retention_ratio": 0.0},
    "taylorseer": {"disable_cache_before_step": 1, "taylor_factors_dtype": torch.float32},
}


def story_pipeline() -> Any:
    pipeline = tiny_pipeline(height=16, width=32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@cache
def untouched() -> list[Any]:
    return story_pipeline()(STORY).frames


def largest_difference(frames: list[Any]) -> int:
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(frames, untouched(), strict=True))


def diffusers_hooks(module: torch.nn.Module) -> list[str]:
    registries = [getattr(part, "_diffusers_hook", None) for part in module.modules()]
    return [name for registry in registries if isinstance(registry, HookRegistry) for name in registry.hooks]


def shot(pipeline: Any, seed: int = 0, steps: int = 4) -> torch.Tensor:
    """One shot of a plain diffusers pipeline."""
    pipeline.set_progress_bar_config(disable=True)
    embeds = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(seed + 1))
    return pipeline(
        prompt_embeds=embeds[:1], negative_prompt_embeds=embeds[1:], num_frames=9, height=32, width=48,
        num_inference_steps=steps, generator=torch.Generator().manual_seed(seed), output_type="latent",
    ).frames  # fmt: skip


def cogvideox_pipeline() -> Any:
    return CogVideoXPipeline(tokenizer=None, text_encoder=None, **tiny_cogvideox())


def wan_pipeline() -> Any:
    return WanPipeline(tokenizer=None, text_encoder=None, **tiny_wan("2.2"))


def test_the_defaults_change_nothing() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings())
    assert largest_difference(pipeline(STORY).frames) == 0
    assert not any(diffusers_hooks(part) for part in (pipeline.transformer, pipeline.vae, pipeline.adapter))


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloading_a_whole_story_pipeline_changes_no_bit(offload: str) -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(offload=offload, device="cpu"))
    assert largest_difference(pipeline(STORY).frames) == 0
    assert largest_difference(pipeline(STORY).frames) == 0


def test_model_offload_hooks_fire_and_stay_after_the_story() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(offload="model", device="cpu"))
    fired = []
    hook = type(pipeline.transformer._hf_hook).pre_forward

    def count(self: Any, module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        fired.append(type(module).__name__)
        return hook(self, module, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:  # accelerate's class, not ours
        patch.setattr(type(pipeline.transformer._hf_hook), "pre_forward", count)
        pipeline(STORY)
    assert {"CogVideoXTransformer3DModel", "AutoencoderKLCogVideoX", "ShotConditionAdapter"} <= set(fired)
    assert hasattr(pipeline.transformer, "_hf_hook")


def test_group_offload_takes_blocks_of_transformers_and_leaves_of_the_rest() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(offload="group", device="cpu"))
    hooked = {
        name: sum(hasattr(module, "_diffusers_hook") for module in pipeline.components[name].modules())
        for name in ("mllm", "transformer", "vae", "adapter")
    }
    assert hooked["adapter"] == 0
    assert hooked["transformer"] < 10 < min(hooked["mllm"], hooked["vae"])


def test_group_offload_works_on_a_plain_pipeline_with_two_experts() -> None:
    expected, pipeline = shot(wan_pipeline()), wan_pipeline()
    apply_memory(pipeline, MemorySettings(offload="group", device="cpu", group_blocks=2))
    assert torch.equal(shot(pipeline), expected)


def test_weights_kept_in_8_bits_are_near_and_weights_kept_as_they_are_equal() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(layerwise_casting=("transformer", "mllm")))
    block = pipeline.transformer.transformer_blocks[0]
    assert block.ff.net[0].proj.weight.dtype == torch.float8_e4m3fn
    assert block.norm1.linear.weight.dtype == torch.float32
    assert 0 < largest_difference(pipeline(STORY).frames) < 40
    assert block.ff.net[0].proj.weight.dtype == torch.float8_e4m3fn

    near = story_pipeline()
    apply_memory(near, MemorySettings(layerwise_casting=("transformer",), storage_dtype="bfloat16"))
    assert largest_difference(near(STORY).frames) <= 2


def test_vae_slicing_and_tiling_are_switched_on() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(vae_slicing=True, vae_tiling=True))
    assert pipeline.vae.use_slicing
    assert pipeline.vae.use_tiling
    assert largest_difference(pipeline(STORY).frames) == 0  # one shot, smaller than a tile


@pytest.mark.parametrize("make", [cogvideox_pipeline, wan_pipeline])
def test_regional_compile_takes_every_block_and_touches_no_class(make: Callable[[], Any]) -> None:
    pipeline = make()
    names = type(pipeline.transformer).__dict__.get("_repeated_blocks")
    apply_memory(pipeline, MemorySettings(compile=True, compile_backend="eager"))
    transformers = [part for name, part in pipeline.components.items() if name.startswith("transformer")]
    for transformer in transformers:
        blocks = getattr(transformer, "transformer_blocks", None) or transformer.blocks
        assert all(block._compiled_call_impl is not None for block in blocks)
        assert transformer._compiled_call_impl is None
    assert type(pipeline.transformer).__dict__.get("_repeated_blocks") == names
    assert not CogVideoXTransformer3DModel._repeated_blocks


def test_compiled_blocks_make_the_same_shot() -> None:
    pipeline = cogvideox_pipeline()
    apply_memory(pipeline, MemorySettings(compile=True, compile_backend="eager"))
    assert torch.equal(shot(pipeline, steps=1), shot(cogvideox_pipeline(), steps=1))


def test_the_native_attention_backend_changes_no_bit() -> None:
    pipeline = story_pipeline()
    apply_memory(pipeline, MemorySettings(attention_backend="native"))
    assert largest_difference(pipeline(STORY).frames) == 0


@pytest.mark.parametrize("name", STEP_CACHES)
def test_a_step_cache_skips_work_and_is_empty_after_every_shot(name: str) -> None:
    pipeline, fresh = cogvideox_pipeline(), cogvideox_pipeline()
    for one in (pipeline, fresh):
        apply_memory(one, MemorySettings(step_cache=name, step_cache_options=STEP_OPTIONS[name]))
    calls = []
    pipeline.transformer.transformer_blocks[1].ff.register_forward_hook(lambda *_: calls.append("ff"))
    pipeline.transformer.transformer_blocks[1].attn1.to_q.register_forward_hook(lambda *_: calls.append("attention"))
    first = shot(pipeline, seed=0)
    assert len(calls) < 2 * 4 or name == "faster"  # "faster" saves the negative prediction, not a call
    assert not torch.equal(first, shot(cogvideox_pipeline(), seed=0))
    assert torch.equal(shot(pipeline, seed=7), shot(fresh, seed=7))


@pytest.mark.parametrize("name", ["pab", "first_block", "mag", "taylorseer"])
def test_step_caches_work_on_both_experts_of_wan(name: str) -> None:
    pipeline, fresh = wan_pipeline(), wan_pipeline()
    for one in (pipeline, fresh):
        apply_memory(one, MemorySettings(step_cache=name, step_cache_options=STEP_OPTIONS[name]))
    shot(pipeline, seed=0, steps=8)
    assert torch.equal(shot(pipeline, seed=7, steps=8), shot(fresh, seed=7, steps=8))


def test_a_step_cache_works_under_our_pipeline_and_each_shot_equals_a_fresh_run() -> None:
    settings = MemorySettings(step_cache="pab", step_cache_options=STEP_OPTIONS["pab"])
    pipeline, fresh = story_pipeline(), story_pipeline()
    apply_memory(pipeline, settings)
    apply_memory(fresh, settings)
    pipeline(["Snow falls on a roof."])
    after, first = pipeline(STORY).frames, fresh(STORY).frames
    assert all(np.array_equal(a, b) for a, b in zip(after, first, strict=True))
    assert largest_difference(first) > 0


def test_a_step_cache_can_be_changed_and_switched_off() -> None:
    pipeline = cogvideox_pipeline()
    enable_step_cache(pipeline.transformer, "pab")
    enable_step_cache(pipeline.transformer, "first_block", {"threshold": 10.0})
    disable_step_cache(pipeline.transformer)
    disable_step_cache(pipeline.transformer)
    assert not pipeline.transformer._forward_pre_hooks
    assert not diffusers_hooks(pipeline.transformer)
    assert torch.equal(shot(pipeline), shot(cogvideox_pipeline()))


def test_a_cache_that_would_find_nothing_is_refused() -> None:
    transformer = tiny_cogvideox()["transformer"]
    with pytest.raises(InputError, match="'taylorseer' finds nothing to cache in CogVideoXTransformer3DModel"):
        enable_step_cache(transformer, "taylorseer", {"cache_identifiers": ["nowhere"]})
    assert not transformer.is_cache_enabled


def test_decoders_run_with_attention_backend_compile_and_step_cache_together() -> None:
    pipeline = cogvideox_pipeline()
    apply_memory(
        pipeline,
        MemorySettings(
            attention_backend="native", step_cache="first_block", step_cache_options={"threshold": 0.0},
            vae_tiling=True, vae_slicing=True,
        ),
    )  # fmt: skip
    decoder = decoder_for(transformer=pipeline.transformer, vae=pipeline.vae, scheduler=pipeline.scheduler)
    embeds = torch.randn(1, 16, 32)
    frames = decoder.decode(
        embeds, torch.zeros_like(embeds), num_frames=9, height=32, width=48, num_inference_steps=2, guidance_scale=6.0,
        generator=torch.Generator(),
    )  # fmt: skip
    assert frames.shape == (9, 32, 48, 3)


def test_a_component_quantized_while_loading_runs(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    made = story_pipeline()
    made.save_pretrained(tmp_path)
    settings = MemorySettings(quantization={"transformer": "int8", "mllm": "int8"})
    pipeline = type(made).from_pretrained(
        tmp_path, quantization_config=quantization_config(settings), dtype=torch.bfloat16
    )
    pipeline.set_progress_bar_config(disable=True)
    apply_memory(pipeline, settings)
    weight = pipeline.transformer.transformer_blocks[0].ff.net[0].proj.weight
    assert type(weight).__name__ == "Int8Tensor"
    assert 0 < largest_difference(pipeline(STORY).frames) < 60


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_quantizer_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"mllm to nf4 needs bitsandbytes.*animeshooter-hf\[quantization\]"):
        quantization_config(MemorySettings(quantization={"mllm": "nf4"}))


def test_what_had_to_happen_while_loading_is_missed() -> None:
    assert quantization_config(MemorySettings()) is None
    with pytest.raises(InputError, match=r"transformer is not quantized\. That happens while loading"):
        apply_memory(cogvideox_pipeline(), MemorySettings(quantization={"transformer": "int8"}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"offload": "disk"}, "offload must be one of none, model, sequential, group, got 'disk'"),
        ({"group_blocks": 0}, "group_blocks must be a whole number of at least 1, got 0"),
        ({"storage_dtype": "int3"}, "storage_dtype must be one of float8_e4m3fn"),
        ({"layerwise_casting": "transformer"}, "must be a list of component names"),
        ({"quantization": {"mllm": "int2"}}, "quantization of mllm must be one of int8, float8, nf4, got 'int2'"),
        (
            {"quantization": {"mllm": "int8"}, "layerwise_casting": ("mllm",)},
            "mllm can be quantized or cast layer by layer, not both",
        ),
        ({"step_cache": "magic"}, "step_cache must be one of pab, faster, first_block, mag, taylorseer, got 'magic'"),
        ({"step_cache": "pab", "step_cache_options": {"speed": 9}}, "'pab' has no option 'speed'; it has "),
        ({"step_cache_options": {"threshold": 1}}, "step_cache_options are given, but no step_cache"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MemorySettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"offload": "model", "device": "moon"}, "device must be a device such as cuda or cuda:1, got 'moon'"),
        ({"offload": "sequential", "device": "cpu"}, "so its device cannot be the CPU"),
        ({"layerwise_casting": ("unet",)}, "The pipeline has no model 'unet'; it has transformer, vae"),
        ({"attention_backend": "flash"}, "attention backend 'flash' is not available on cpu"),
        (
            {"attention_backend": "_native_math", "step_cache": "mag"},
            "'mag' cannot be switched on: `mag_ratios` must be provided",
        ),
    ],
)
def test_what_this_pipeline_or_machine_cannot_do_is_refused(settings: dict[str, Any], message: str) -> None:
    pipeline = cogvideox_pipeline()
    with pytest.raises(InputError, match=message):
        apply_memory(pipeline, MemorySettings(**settings))
    assert torch.equal(shot(pipeline, steps=1), shot(cogvideox_pipeline(), steps=1))


def test_faster_cache_is_refused_for_wan() -> None:
    with pytest.raises(InputError, match="but Wan's pipelines make two"):
        apply_memory(wan_pipeline(), MemorySettings(step_cache="faster"))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")
def test_offloading_without_an_accelerator_is_refused() -> None:
    with pytest.raises(InputError, match='offload="model" needs an accelerator, but this machine has none'):
        apply_memory(cogvideox_pipeline(), MemorySettings(offload="model"))


def test_settings_can_be_read_from_a_file_of_settings() -> None:
    settings = settings_from({"offload": "model", "layerwise_casting": ["transformer"]}, MemorySettings)
    assert settings == MemorySettings(offload="model", layerwise_casting=("transformer",))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    "settings", [{"offload": "model"}, {"offload": "sequential"}, {"offload": "group", "group_stream": True}]
)
def test_offloading_on_a_gpu_equals_everything_on_the_gpu(settings: dict[str, Any]) -> None:
    expected = shot(cogvideox_pipeline().to("cuda")).cpu()
    pipeline = cogvideox_pipeline()
    apply_memory(pipeline, MemorySettings(**settings))
    assert torch.equal(shot(pipeline).cpu(), expected)
