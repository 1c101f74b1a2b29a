"""Train a LoRA of a CogVideoX as diffusers' example does, and as ours: time of a step, and what saving it loses.

Both train the same LoRA on the same transformer, clips and number of shots per step, with AdamW and clipped gradients,
in float32. The example (diffusers, examples/cogvideo/train_cogvideox_lora.py, Apache-2.0; its step is written anew
here) keeps latents in memory and runs T5 on the captions in every step. Ours is the stage `enhance`: the MLLM and the
adapter read windows of three shots, references and last frames included.

    python benchmarks/lora_training.py --runs 7 --seed 0

Rows: the example; the example with text states ready; ours with every window read anew, as the first time it is seen;
ours as it goes on, when the frozen parts have read it.
The bar: ours as it goes on takes at most 1.0 times as long as the example. Here T5 is a larger part of the step than at
real size, where it is under 1 %; the second row shows the step without it.

Saving: both are saved and loaded into a fresh pipeline; the bar is an error of 0 where alpha is not the rank.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from context_cache import HIDDEN, NUM_QUERIES, small_backbone
from diffusers import CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor
from transformers import T5Config, T5EncoderModel

from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.lora import load_lora, save_lora
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing import tiny_vae
from animeshooter_hf.modeling.training.batches import BatchMaker
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.parameters import prepare_parts
from animeshooter_hf.modeling.training.settings import PartSettings, PartsSettings, defaults_for
from animeshooter_hf.modeling.training.shot_model import ShotModel, use_fast_training_attention
from animeshooter_hf.modeling.training.windows import Window
from animeshooter_hf.records import Shot

BAR = 1.0
TEXT_TOKENS, TEXT_WIDTH, VOCABULARY = 226, 256, 1000
HEIGHT, WIDTH, FRAMES, LATENT_FRAMES, CHANNELS = 96, 144, 17, 5, 4
WINDOWS, SHOTS, RANK, ALPHA = 2, 3, 16, 32.0


def make_transformer(seed: int) -> Any:
    """Return a CogVideoX-2B of real structure and small size: 6 layers of width 256, about 9 million weights."""
    torch.manual_seed(seed)
    return CogVideoXTransformer3DModel(
        num_attention_heads=8,
        attention_head_dim=32,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        time_embed_dim=128,
        text_embed_dim=TEXT_WIDTH,
        num_layers=6,
        sample_width=WIDTH // 8,
        sample_height=HEIGHT // 8,
        sample_frames=FRAMES,
        max_text_seq_length=TEXT_TOKENS,
    ).eval()


def make_pipeline(seed: int) -> Any:
    """Return a pipeline around such a transformer, with the MLLM of context_cache.py."""
    backbone = small_backbone(seed)
    torch.manual_seed(seed)
    adapter = ShotConditionAdapter(NUM_QUERIES, HIDDEN, TEXT_TOKENS, TEXT_WIDTH, 128, 2, 4)
    scheduler = CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=3.0,
    )
    return AnimeShooterGenPipeline(
        backbone.mllm, backbone.processor, adapter.eval(), make_transformer(seed), tiny_vae(), scheduler
    )


def make_windows(seed: int) -> list[Window]:
    """Return windows of noise with latents ready, as the cache gives them."""
    noise = np.random.default_rng(seed)
    windows = []
    for number in range(WINDOWS):
        pictures = noise.integers(0, 256, (SHOTS + 1, HEIGHT, WIDTH, 3), np.uint8)
        shots = tuple(
            Shot(shot_id=f"s{number}_{k}", index=k, characters=("Mia",), descriptive_caption=f"Mia {number} {k}.")
            for k in range(SHOTS)
        )
        windows.append(
            Window(
                story_id=str(number),
                key=str(number),
                size=Bucket(HEIGHT, WIDTH, FRAMES),
                shots=shots,
                references={"Mia": (Image.fromarray(pictures[-1]),)},
                last_frames=(None, *pictures[: SHOTS - 1]),
                latents_SFChw=torch.randn(SHOTS, LATENT_FRAMES, CHANNELS, HEIGHT // 8, WIDTH // 8),
            )
        )
    return windows


def step_with(weights: list[Any], optimizer: Any, loss: Tensor) -> None:
    """Move the weights."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def make_example(seed: int, clips_NFChw: Tensor, *, with_text_encoder: bool) -> Callable[[], None]:
    """Return a step as diffusers' example makes it."""
    transformer, scheduler = make_transformer(seed), make_pipeline(seed).scheduler
    transformer.requires_grad_(False)
    targets = ["to_k", "to_q", "to_v", "to_out.0"]
    transformer.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights=True, target_modules=targets))
    weights = [weight for weight in transformer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    sizes = {"d_model": TEXT_WIDTH, "d_ff": 1024, "d_kv": 32, "num_heads": 8, "num_layers": 4}
    text_encoder = T5EncoderModel(T5Config(vocab_size=VOCABULARY, **sizes)).eval().requires_grad_(False)
    ids_NL = torch.randint(0, VOCABULARY, (len(clips_NFChw), TEXT_TOKENS))
    ready_NLD = text_encoder(ids_NL)[0]

    def step() -> None:
        prompt_NLD = text_encoder(ids_NL)[0] if with_text_encoder else ready_NLD
        noise = torch.randn_like(clips_NFChw)
        times_N = torch.randint(0, scheduler.config.num_train_timesteps, (len(clips_NFChw),))
        noisy = scheduler.add_noise(clips_NFChw, noise, times_N)
        told = transformer(
            hidden_states=noisy,
            encoder_hidden_states=prompt_NLD,
            timestep=times_N,
            image_rotary_emb=None,
            return_dict=False,
        )[0]
        clip_told = scheduler.get_velocity(told, noisy, times_N)
        weights_N1111 = (1 / (1 - scheduler.alphas_cumprod[times_N])).view(-1, 1, 1, 1, 1)
        loss = (weights_N1111 * (clip_told - clips_NFChw) ** 2).reshape(len(clips_NFChw), -1).mean(1).mean()
        step_with(weights, optimizer, loss)

    return step


def make_ours(seed: int, windows: list[Window], *, reads_anew: bool) -> Callable[[], None]:
    """Return a step of the stage `enhance`."""
    pipeline = make_pipeline(seed)
    settings = replace(
        defaults_for("enhance"),
        parts=PartsSettings(transformer=PartSettings(mode="lora", rank=RANK, alpha=ALPHA)),
    )
    weights = [weight for _, weight in prepare_parts(pipeline, settings.parts)]
    use_fast_training_attention(pipeline, "cpu")
    model, maker = ShotModel(pipeline, stage="enhance"), BatchMaker(pipeline, settings)
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if reads_anew:
            model.forget_conditions()
        found = model(maker(windows, step=done, positions=range(len(windows))), settings.loss)
        step_with(weights, optimizer, found.loss)

    return step


def measure(steps: dict[str, Callable[[], None]], runs: int) -> list[str]:
    """Return a line for each step: median of its CPU time, and of its ratio to the first in the same round."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(runs + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if round_number:
                times[name].append(time.process_time() - start)
    first = next(iter(times.values()))
    lines = []
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, first, strict=True))
        lines.append(f"{name:52s} {statistics.median(own) * 1e3:8.1f} ms  {ratio:5.2f}")
    return lines


def train_a_lora(pipeline: Any, alpha: float) -> None:
    """Add a LoRA whose weights are not zero."""
    prepare_parts(pipeline, PartsSettings(transformer=PartSettings(mode="lora", rank=RANK, alpha=alpha)))
    torch.manual_seed(1)
    for name, weight in pipeline.transformer.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.05)


@torch.no_grad()
def round_trip(seed: int, *, with_ours: bool, alpha: float) -> tuple[float, float]:
    """Return the largest error of the transformer's output after saving and loading, and what the LoRA changes."""
    trained, fresh = make_pipeline(seed), make_pipeline(seed)
    call = {
        "hidden_states": torch.randn(1, LATENT_FRAMES, CHANNELS, HEIGHT // 8, WIDTH // 8),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, TEXT_WIDTH),
        "timestep": torch.full((1,), 500),
        "return_dict": False,
    }
    plain = trained.transformer(**call)[0]
    train_a_lora(trained, alpha)
    told = trained.transformer(**call)[0]
    with tempfile.TemporaryDirectory() as name:
        if with_ours:
            save_lora(trained, Path(name))
            load_lora(fresh, Path(name))
        else:
            layers = get_peft_model_state_dict(trained.transformer)
            CogVideoXPipeline.save_lora_weights(name, transformer_lora_layers=layers)
            fresh.load_lora_weights(name)
    again = fresh.transformer(**call)[0]
    return float((again - told).abs().max()), float((told - plain).abs().max())


def main() -> None:
    """Print times and errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="runs of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="of weights and clips")
    parser.add_argument(
        "--alpha", type=float, default=256.0, help=f"alpha of the LoRA that is saved; its rank is {RANK}"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    windows = make_windows(arguments.seed)
    clips_NFChw = torch.cat([window.latents_SFChw for window in windows if window.latents_SFChw is not None])
    seed = arguments.seed
    steps = {
        "diffusers' example": make_example(seed, clips_NFChw, with_text_encoder=True),
        "the same with text states ready": make_example(seed, clips_NFChw, with_text_encoder=False),
        "ours, every window for the first time": make_ours(seed, windows, reads_anew=True),
        "ours, as it goes on": make_ours(seed, windows, reads_anew=False),
    }
    print(f"step of {len(clips_NFChw)} shots, LoRA of rank {RANK}: CPU time, and ratio to the first row (bar {BAR})")
    print("\n".join(measure(steps, arguments.runs)), flush=True)
    for name, with_ours in (("diffusers' example", False), ("ours", True)):
        error, effect = round_trip(seed, with_ours=with_ours, alpha=arguments.alpha)
        print(f"saved and loaded by {name}: error {error:.2g}, where the LoRA itself changes {effect:.2g}")


if __name__ == "__main__":
    main()
