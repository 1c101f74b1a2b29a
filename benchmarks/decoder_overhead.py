"""What our decoders cost over the plain diffusers pipelines: CPU time of a shot, given the same embeddings.

Both sides run by turns in one process on one thread; the ratio is the median over the turns. Ours gives uint8 arrays;
the plain pipeline gives PIL images, stacked to the same array, as our contract wants them ("pil"), and its own float
arrays ("np"), which is the least it can do. The frames are compared bit by bit in every turn.

Example:
    python benchmarks/decoder_overhead.py --turns 15
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXPipeline, WanPipeline

from animeshooter_hf.modeling.decoders import decoder_for
from animeshooter_hf.modeling.testing_decoders import tiny_cogvideox, tiny_wan

MODELS: dict[str, Callable[[int], tuple[dict[str, Any], dict[str, int]]]] = {
    "CogVideoX 2b": lambda seed: _cogvideox("2b", seed),
    "CogVideoX 5b": lambda seed: _cogvideox("5b", seed),
    "CogVideoX 1.5": lambda seed: _cogvideox("1.5", seed),
    "Wan 2.1": lambda seed: (tiny_wan("2.1", seed=seed), {"num_frames": 9, "height": 64, "width": 64}),
    "Wan 2.2 TI2V": lambda seed: (tiny_wan("ti2v", seed=seed), {"num_frames": 9, "height": 64, "width": 64}),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="shots on every side")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps of a shot")
    parser.add_argument("--seed", type=int, default=0, help="of weights, embeddings and noise")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':14s} {'ours, s':>8s} {'/ plain pil':>12s} {'/ plain np':>12s}   bit-equal")
    for name, make in MODELS.items():
        parts, size = make(settings.seed)
        print(f"{name:14s} " + measure(parts, {**size, "num_inference_steps": settings.steps}, settings))


def measure(parts: dict[str, Any], options: dict[str, int], settings: argparse.Namespace) -> str:
    """Return a line of figures for one model."""
    draw = torch.Generator().manual_seed(settings.seed)
    prompt, negative = torch.randn(2, 1, 16, 32, generator=draw)
    is_wan = "Wan" in type(parts["transformer"]).__name__
    more = {"expand_timesteps": parts["vae"].config.is_residual} if is_wan else {}
    plain = (WanPipeline if is_wan else CogVideoXPipeline)(tokenizer=None, text_encoder=None, **parts, **more)
    plain.set_progress_bar_config(disable=True)

    def noise() -> torch.Generator:
        return torch.Generator().manual_seed(settings.seed)

    def ours() -> Any:
        # A new decoder for every shot is the most that a pipeline would do.
        return decoder_for(**parts).decode(prompt, negative, guidance_scale=6.0, generator=noise(), **options)

    def theirs(output_type: str) -> Any:
        embeds = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
        return plain(**embeds, guidance_scale=6.0, generator=noise(), output_type=output_type, **options).frames[0]

    def pil() -> Any:
        return np.stack([np.asarray(picture) for picture in theirs("pil")])

    sides: dict[str, Callable[[], Any]] = {"ours": ours, "pil": pil, "np": lambda: theirs("np")}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    equal = True
    for turn in range(settings.turns + 2):
        made = {}
        for name, make in sides.items():
            before = time.process_time()
            made[name] = make()
            if turn >= 2:
                seconds[name].append(time.process_time() - before)
        equal &= bool(np.array_equal(made["ours"], made["pil"]))
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds["ours"], seconds[name], strict=True))
        for name in ("pil", "np")
    }
    return f"{statistics.median(seconds['ours']):8.3f} {ratios['pil']:12.3f} {ratios['np']:12.3f}   {equal}"


def _cogvideox(variant: str, seed: int) -> tuple[dict[str, Any], dict[str, int]]:
    size = {"num_frames": 17, "height": 64, "width": 96}
    return tiny_cogvideox(variant, seed=seed, layers=4, **size), size


if __name__ == "__main__":
    main()
