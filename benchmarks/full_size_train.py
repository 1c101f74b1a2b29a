"""Training at real size with random weights: CogVideoX-2B, an MLLM of the 8B class, a 12-layer adapter; one GPU.

For each stage it prints the time of an optimizer step, the peak memory, and the model FLOP utilisation: the operations
that the step needs (recomputed activations not counted) over the time and the GPU's peak in bfloat16. Latents are
random and in memory, as a cache would give them, so what is measured is reading, adapter, transformer and optimizer.
Each stage runs in a process of its own. `--meta` counts parameters, operations and memory on the meta device, without a
GPU. `--tiny` runs the same code at toy size on the CPU; its figures mean nothing.

Example:
    python benchmarks/full_size.py train --meta
    python benchmarks/full_size.py train --stages multi enhance --steps 8
    python benchmarks/full_size.py train --tiny
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import full_size
import numpy as np
import torch
from PIL import Image

from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.batches import BatchMaker
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.dry_run import plan_training, step_operations
from animeshooter_hf.modeling.training.optimizers import make_optimizers
from animeshooter_hf.modeling.training.parameters import prepare_parts
from animeshooter_hf.modeling.training.processes import make_accelerator
from animeshooter_hf.modeling.training.settings import TrainSettings, defaults_for
from animeshooter_hf.modeling.training.shot_model import ShotModel
from animeshooter_hf.modeling.training.windows import Window
from animeshooter_hf.records import Shot

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "B200": 2250.0}
"""Dense bfloat16, from the makers' data sheets."""

CAPTION = "A fox in a red scarf runs through a snowy forest while the light slowly changes. " * 2


class RandomWindows:
    """Windows whose latents and pictures are noise."""

    def __init__(self, size: Bucket, latent_shape: tuple[int, int, int, int], shots: int, seed: int) -> None:
        self.size, self.latent_shape, self.shots, self.seed = size, latent_shape, shots, seed

    def __len__(self) -> int:
        return 64

    def __getitem__(self, position: int) -> Window:
        noise = np.random.default_rng([self.seed, position])
        picture = noise.integers(0, 256, (self.size.height, self.size.width, 3), np.uint8)
        generator = torch.Generator().manual_seed(self.seed + position)
        shots = [
            Shot(shot_id=f"w{position}_{index}", index=index, characters=("fox",), descriptive_caption=CAPTION)
            for index in range(self.shots)
        ]
        return Window(
            story_id=f"w{position}",
            key=f"w{position}",
            shots=tuple(shots),
            size=self.size,
            references={"fox": (Image.fromarray(picture),)},
            last_frames=(None, *[picture] * (self.shots - 1)),
            latents_SFChw=torch.randn(self.shots, *self.latent_shape, generator=generator),
        )


def main(words: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="full_size.py train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--meta", action="store_true", help="count on the meta device; no GPU")
    parser.add_argument("--tiny", action="store_true", help="run at toy size on the CPU, to try the script")
    parser.add_argument("--stages", nargs="+", choices=("single", "multi", "enhance"), default=["multi", "enhance"])
    parser.add_argument("--windows", type=int, default=1, help="windows of a step")
    parser.add_argument("--steps", type=int, default=8, help="steps that are timed; two more warm up")
    parser.add_argument("--rank", type=int, default=64, help="of the LoRAs")
    parser.add_argument("--optimizer", choices=("adamw", "adamw8bit", "muon"), default="adamw")
    parser.add_argument("--keep-activations", action="store_true", help="no gradient checkpointing")
    parser.add_argument("--peak-tflops", type=float, help="of the GPU in bfloat16, where it is not known here")
    parser.add_argument("--seed", type=int, default=0, help="of weights and noise")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.one:
        print(json.dumps(run(arguments.one, arguments)))
    elif arguments.meta:
        count(arguments)
    elif not (arguments.tiny or torch.cuda.is_available()):
        parser.error("there is no GPU; --meta counts without one, and --tiny tries the script.")
    else:
        compare(arguments, words)


def settings_of(stage: str, arguments: argparse.Namespace) -> TrainSettings:
    """Return the stage's settings, in bfloat16."""
    defaults = defaults_for(stage)
    parts = defaults.parts
    rank = 2 if arguments.tiny else arguments.rank
    return replace(
        defaults,
        out="unused",
        trackers=(),
        batch_size=arguments.windows,
        precision="fp32" if arguments.tiny else "bf16",
        gradient_checkpointing=not arguments.keep_activations,
        seed=arguments.seed,
        parts=replace(parts, mllm=replace(parts.mllm, rank=rank), transformer=replace(parts.transformer, rank=rank)),
        optimizer=replace(defaults.optimizer, name=arguments.optimizer),
    )


def count(arguments: argparse.Namespace) -> None:
    """Print what a step is, from the meta device."""
    for stage in arguments.stages:
        settings = settings_of(stage, arguments)
        with torch.device("meta"):
            pipeline = full_size.build()
        plan = plan_training(settings, pipeline=pipeline, source=windows_for(pipeline, settings))
        needed = step_operations(pipeline, replace(settings, gradient_checkpointing=False), plan.size)
        print(plan.as_text() + f"without recomputing: {sum(needed.values()) / 1e12:,.0f} TFLOP a step\n")


def windows_for(pipeline: Any, settings: TrainSettings) -> RandomWindows:
    """Return windows of the size that the pipeline makes."""
    frames, height, width = pipeline.decoder.default_size
    inner = pipeline.decoder.pipeline
    spatial, temporal = inner.vae_scale_factor_spatial, inner.vae_scale_factor_temporal
    channels = pipeline.transformer.config.in_channels
    latent_shape = ((frames - 1) // temporal + 1, channels, height // spatial, width // spatial)
    return RandomWindows(Bucket(height, width, frames), latent_shape, settings.data.window, settings.seed)


def run(stage: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one stage."""
    settings = settings_of(stage, arguments)
    pipeline = tiny_training_pipeline(arguments.seed) if arguments.tiny else _real(arguments.seed)
    accelerator = make_accelerator(settings)
    named = prepare_parts(pipeline, settings.parts)
    source = windows_for(pipeline, settings)
    size = (source.size.num_frames, source.size.height, source.size.width)
    needed = sum(step_operations(pipeline, replace(settings, gradient_checkpointing=False), size).values())
    model = ShotModel(pipeline, stage=stage, gradient_checkpointing=settings.gradient_checkpointing)
    prepared = accelerator.prepare(model, *make_optimizers(named, settings.optimizer, settings.parts))
    model, optimizers = prepared[0], prepared[1:]
    batches = BatchMaker(pipeline, settings)
    seconds = []
    for step in range(arguments.steps + 2):
        windows = [source[step * arguments.windows + place] for place in range(arguments.windows)]
        full_size.synchronize()
        began = time.perf_counter()
        batch = batches(windows, step=step, positions=range(arguments.windows))
        accelerator.backward(model(batch, settings.loss).loss)
        accelerator.clip_grad_norm_([weight for _, weight in named], 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        full_size.synchronize()
        seconds.append(time.perf_counter() - began)
    is_gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if is_gpu else "CPU"
    peak = arguments.peak_tflops or next((value for key, value in PEAK_TFLOPS.items() if key in name), None)
    step_seconds = statistics.median(seconds[2:])
    rate = needed / step_seconds / 1e12
    return {
        "stage": stage,
        "device": name,
        "step_seconds": step_seconds,
        "slowest_seconds": max(seconds[2:]),
        "tflop": needed / 1e12,
        "tflops": rate,
        "mfu": rate / peak if peak and is_gpu else None,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if is_gpu else 0.0,
        "trained": sum(weight.numel() for _, weight in named),
    }


def _real(seed: int) -> Any:
    """Return the stack on the GPU in bfloat16, its VAE, which a cached training does not use, on the CPU."""
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        pipeline = full_size.build()
    torch.set_default_dtype(torch.float32)
    pipeline.vae.to("cpu")
    return pipeline


def compare(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """Run each stage in a process of its own and print its figures."""
    for stage in arguments.stages:
        command = [sys.executable, str(Path(__file__).with_name("full_size.py")), "train", *words, "--one", stage]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{stage}: failed with exit status {done.returncode}")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        use = "not known" if found["mfu"] is None else f"{found['mfu']:.1%}"
        print(f"{stage} on {found['device']}: {found['step_seconds']:.3f} s a step, slowest "
              f"{found['slowest_seconds']:.3f}; peak {found['peak_gb']:.2f} GB; {found['tflop']:,.3f} TFLOP a step, "
              f"{found['tflops']:,.3f} TFLOP/s, model FLOP utilisation {use}; "
              f"{found['trained']:,} weights trained")  # fmt: skip
