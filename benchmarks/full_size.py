"""The real-size stack with random weights: CogVideoX-2B, an MLLM of the 8B class, a 12-layer adapter with 64 queries.

Without a GPU, `--meta` builds it on the meta device and prints parameters, bytes and FLOPs of every part, counted by
torch's FLOP counter. On a GPU it generates a story at 49 x 480 x 720 and prints the time of each part against its
FLOPs, the peak memory with and without each saving, and compiled against eager. Each setting runs in a process of its
own, so that its memory is its own. `--tiny` runs the same code at toy size on the CPU; its figures mean nothing.
`full_size.py train` does the same for training (full_size_train.py).

Shapes: zai-org/CogVideoX-2b (Apache-2.0), Qwen/Qwen3-VL-8B-Instruct (Apache-2.0). Only shapes; nothing is downloaded.

Example:
    python benchmarks/full_size.py --meta
    python benchmarks/full_size.py --shots 4 --steps 50 --settings none model group tiling casting compile
    python benchmarks/full_size.py train --meta
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    Qwen2VLImageProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    T5Config,
    T5EncoderModel,
)

from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.decoders import ReferenceLatents
from animeshooter_hf.modeling.memory import MemorySettings, apply_memory
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import tiny_pipeline, tiny_processor

SETTINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "tiling": {"vae_tiling": True},
    "model": {"offload": "model"},
    "model+tiling": {"offload": "model", "vae_tiling": True},
    "group": {"offload": "group", "group_stream": True},
    "sequential": {"offload": "sequential"},
    "casting": {"layerwise_casting": ("transformer", "mllm")},
    "compile": {"compile": True},
    "cudnn": {"attention_backend": "_native_cudnn"},
    "pab": {"step_cache": "pab"},
    "first_block": {"step_cache": "first_block"},
}
"""Name -> memory settings that are compared. "sequential" is slow: give few steps."""

CHUNK = {"image": 198, "caption": 120, "queries": 64}
"""Tokens of a shot: a picture of 448 x 448 with its marks, a descriptive caption, the queries."""

BYTES = 2
"""Of a weight in bfloat16."""


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["train"]:
        import full_size_train

        return full_size_train.main(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meta", action="store_true", help="build on the meta device and count; no GPU")
    parser.add_argument("--tiny", action="store_true", help="run at toy size on the CPU, to try the script")
    parser.add_argument("--shots", type=int, default=4, help="shots of the story")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps of a shot")
    parser.add_argument("--seed", type=int, default=0, help="of weights and noise")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["none"], help="memory settings to compare")
    parser.add_argument("--one", choices=SETTINGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(run(arguments.one, arguments)))
    elif arguments.meta:
        count(arguments.shots, arguments.steps)
    elif not (arguments.tiny or torch.cuda.is_available()):
        parser.error("there is no GPU; --meta counts without one, and --tiny tries the script.")
    else:
        compare(arguments)


# ---------------------------------------------------------------------------------------------------- the stack


def build() -> AnimeShooterGenPipeline:
    """Return the whole pipeline on torch's default device, in its default type."""
    return AnimeShooterGenPipeline(
        mllm=make_mllm(),
        processor=make_processor(),
        adapter=ShotConditionAdapter(mllm_hidden_size=4096).eval(),
        transformer=CogVideoXTransformer3DModel().eval(),
        vae=make_vae(),
        scheduler=CogVideoXDDIMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True, snr_shift_scale=3.0,
            timestep_spacing="trailing", clip_sample=False,
        ),
    )  # fmt: skip


def make_mllm() -> Any:
    """Return a model of the shapes of Qwen3-VL-8B."""
    text = {
        "vocab_size": 151_936,
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 262_144,
        "rope_parameters": {
            "rope_type": "default", "mrope_section": [24, 20, 20], "rope_theta": 5e6, "mrope_interleaved": True,
        },
    }  # fmt: skip
    vision = {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    }
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision)).eval()


def make_processor() -> Any:
    """Return a processor with the real patches; its tokenizer knows bytes only, as no vocabulary is downloaded."""
    patches = {"patch_size": 16, "merge_size": 2, "temporal_patch_size": 2}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**patches, min_pixels=32 * 32, max_pixels=448 * 448),
        tokenizer=tiny_processor().tokenizer,
        video_processor=Qwen3VLVideoProcessor(**patches),
    )


def make_vae() -> Any:
    """Return CogVideoX's VAE."""
    return AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(128, 256, 256, 512),
        latent_channels=16,
        layers_per_block=3,
        temporal_compression_ratio=4,
    ).eval()


# ---------------------------------------------------------------------------------------------------- counting


def count(shots: int, steps: int) -> None:
    """Print what a shot costs, from the meta device."""
    with torch.device("meta"):
        pipeline = build()
        flops = flops_of_a_shot(pipeline, steps, shots)
        t5 = T5EncoderModel(T5Config(d_model=4096, d_ff=10_240, d_kv=64, num_heads=64, num_layers=24,
                                     feed_forward_proj="gated-gelu"))  # fmt: skip
        references = ReferenceLatents.for_transformer(pipeline.transformer)
    weights = {name: weights_of(getattr(pipeline, name)) for name in ("mllm", "adapter", "transformer", "vae")}
    print(f"One shot of 49 x 480 x 720, {steps} steps with guidance; the MLLM averaged over {shots} shots.")
    print(f"{'part':24s} {'parameters':>14s} {'GB bf16':>8s} {'PFLOP a shot':>13s} {'share':>7s}")
    total = sum(flops.values())
    for name, number in weights.items():
        share = flops[name] / total
        print(f"{name:24s} {number:14,d} {number * BYTES / 1e9:8.2f} {flops[name] / 1e15:13.4f} {share:7.2%}")
    number = sum(weights.values())
    print(f"{'together':24s} {number:14,d} {number * BYTES / 1e9:8.2f} {total / 1e15:13.4f}")
    print(f"{'reference path':24s} {weights_of(references):14,d}")
    print(f"{'T5, which is not loaded':24s} {weights_of(t5):14,d} {weights_of(t5) * BYTES / 1e9:8.2f}")
    tokens = sum(CHUNK.values())
    text = pipeline.mllm.config.text_config
    cache = text.num_hidden_layers * 2 * text.num_key_value_heads * text.head_dim * BYTES * tokens
    print(f"context: {tokens} tokens a shot, {cache / 1e6:.0f} MB of keys and values a shot")
    largest = max(weights.values()) * BYTES / 1e9
    print(f'weights on the accelerator: all {number * BYTES / 1e9:.1f} GB, offload="model" {largest:.1f} GB')


def flops_of_a_shot(pipeline: Any, steps: int, shots: int) -> dict[str, float]:
    """Return FLOPs of each part for a shot, guidance included."""
    # Both predictions of guidance are one call of batch two.
    step = flops_in(lambda: pipeline.transformer(
        torch.empty(2, 13, 16, 60, 90), torch.empty(2, 226, 4096), torch.empty(2), return_dict=False))  # fmt: skip
    tokens = sum(CHUNK.values()) * shots
    pipeline.adapter.requires_grad_(False)  # the counter looks for gradients of what it counts
    model = pipeline.mllm.model
    text = flops_in(lambda: model.language_model(
        inputs_embeds=torch.empty(1, tokens, 4096),
        position_ids=torch.empty(3, 1, tokens, dtype=torch.long),
        use_cache=False))  # fmt: skip
    # The blocks of the vision tower over the patches of one picture; its patch embedding is 0.1 % of them.
    patches, vision = (448 // 16) ** 2, pipeline.mllm.config.vision_config
    sight = 2 * patches * weights_of(model.visual.blocks) + 4 * patches**2 * vision.hidden_size * vision.depth
    return {
        "mllm": text / shots + sight,
        "adapter": flops_in(lambda: pipeline.adapter(torch.empty(1, 64, 4096))),
        "transformer": step * steps,
        "vae": flops_in(lambda: pipeline.vae.decode(torch.empty(1, 16, 13, 60, 90))),
    }


def flops_in(call: Callable[[], Any]) -> float:
    """Return the FLOPs of a call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def weights_of(module: torch.nn.Module) -> int:
    """Return the number of parameters."""
    return sum(weight.numel() for weight in module.parameters())


# ---------------------------------------------------------------------------------------------------- running


def run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one story with one memory setting.

    The times of the parts are taken with the GPU waited for at each border, which costs the overlap between them.
    """
    settings = MemorySettings(**SETTINGS[name])
    pipeline = make_pipeline(arguments, on_device=settings.offload == "none")
    apply_memory(pipeline, settings)
    pipeline.set_progress_bar_config(disable=True)
    story = [f"Shot {number}: a fox in a red scarf runs through a snowy forest." for number in range(arguments.shots)]
    options = {"num_inference_steps": arguments.steps, "seed": arguments.seed}
    # The first shot warms up: kernels are chosen, blocks are compiled.
    before = time.perf_counter()
    pipeline(story[:1], **{**options, "num_inference_steps": 2})
    warm_seconds = time.perf_counter() - before
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    parts = watch(pipeline)
    before = time.perf_counter()
    pipeline(story, **options)
    synchronize()
    seconds = (time.perf_counter() - before) / arguments.shots
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return {
        "setting": name,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "seconds": seconds,
        "parts": {part: value / arguments.shots for part, value in parts.items()},
        "warm_seconds": warm_seconds,
        "peak_gb": peak / 1e9,
    }


def make_pipeline(arguments: argparse.Namespace, *, on_device: bool) -> Any:
    """Return the stack in bfloat16 with seeded random weights."""
    if arguments.tiny:
        return tiny_pipeline(arguments.seed)
    torch.manual_seed(arguments.seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        pipeline = build()
    torch.set_default_dtype(torch.float32)
    return pipeline if on_device else pipeline.to("cpu")


def watch(pipeline: Any) -> dict[str, float]:
    """Return the seconds of each part, which fill up while the pipeline runs."""
    seconds: dict[str, float] = defaultdict(float)
    modules = {
        "mllm": pipeline.mllm,
        "adapter": pipeline.adapter,
        "transformer": pipeline.transformer,
        "vae": pipeline.vae.decoder,
    }
    began: dict[str, float] = {}

    def start(name: str) -> None:
        synchronize()
        began[name] = time.perf_counter()

    def stop(name: str) -> None:
        synchronize()
        seconds[name] += time.perf_counter() - began[name]

    for name, module in modules.items():
        module.register_forward_pre_hook(lambda *_, name=name: start(name))
        module.register_forward_hook(lambda *_, name=name: stop(name))
    return seconds


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare(arguments: argparse.Namespace) -> None:
    """Run each setting in a process of its own and print them beside each other."""
    flops: dict[str, float] = {}
    if not arguments.tiny:
        with torch.device("meta"):
            flops = flops_of_a_shot(build(), arguments.steps, arguments.shots)
    first: dict[str, Any] = {}
    for name in arguments.settings:
        command = [sys.executable, __file__, "--one", name, "--shots", str(arguments.shots),
                   "--steps", str(arguments.steps), "--seed", str(arguments.seed)]  # fmt: skip
        done = subprocess.run(command + ["--tiny"] * arguments.tiny, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{name}: failed with exit status {done.returncode}")
            continue
        figures = json.loads(done.stdout.splitlines()[-1])
        first = first or figures
        share = figures["seconds"] / first["seconds"]
        print(f"{name} on {figures['device']}: {figures['seconds']:.2f} s a shot, {share:.3f} of {first['setting']}; "
              f"peak {figures['peak_gb']:.2f} GB; warming up {figures['warm_seconds']:.1f} s")  # fmt: skip
        for part, value in figures["parts"].items():
            rate = f", {flops[part] / value / 1e12:.0f} TFLOP/s" if part in flops else ""
            print(f"    {part:12s} {value:9.3f} s{rate}")


if __name__ == "__main__":
    main()
