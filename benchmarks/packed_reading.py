"""Read training windows in one causal pass, and in a pass for each shot: CPU time, difference of states and gradients.

The MLLM is that of `context_cache.py`: a Qwen3-VL of real structure and small size, vision tower included, random
weights. Each window has three shots of an image of 12 x 16 patches, a caption of a length of its own and 64 queries.

    python benchmarks/packed_reading.py --runs 7 --seed 0

The bars: separate passes take at least 1.7 times as long, forward alone and with the backward pass into the queries
and a LoRA of the MLLM, and no state differs by more than 1e-5. Theory says 2: six shots are read instead of three.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from context_cache import HEIGHT, HIDDEN, NUM_QUERIES, WIDTH, cpu_seconds, small_backbone
from torch import Tensor

from animeshooter_hf.modeling.backbones import Backbone, MllmLoraSettings, add_mllm_lora
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.testing_mllms import noise_image
from animeshooter_hf.modeling.training.packed_reading import read_windows

BAR, TOLERANCE = 1.7, 1e-5
WORDS = 60

Reader = Callable[[Tensor], Tensor]
"""Queries to states, (B, S, Q, M)."""


def make_windows(count: int, num_shots: int, seed: int) -> list[list[ShotChunk]]:
    """Return windows whose captions have different lengths, as in a real batch."""
    return [
        [
            ShotChunk((
                noise_image(seed + 100 * number + shot, HEIGHT, WIDTH),
                f"{number} {shot} ".ljust(WORDS - 7 * (number % 3), "x"),
            ))
            for shot in range(num_shots)
        ]
        for number in range(count)
    ]  # fmt: skip


def make_readers(backbone: Backbone, windows: list[list[ShotChunk]]) -> tuple[Reader, Reader]:
    """Return the packed reading, and one that passes once for each shot, all windows together."""

    def packed(queries: Tensor) -> Tensor:
        return read_windows(backbone, queries, windows)

    def separate(queries: Tensor) -> Tensor:
        shots = range(len(windows[0]))
        passes = [read_windows(backbone, queries, [window[: shot + 1] for window in windows]) for shot in shots]
        return torch.stack([states[:, -1] for states in passes], dim=1)

    return packed, separate


def forward_and_backward(read: Reader, queries: Tensor) -> None:
    """Bring gradients to the queries and the LoRA."""
    queries.grad = None
    read(queries).square().mean().backward()


def compare(name: str, slow: Callable[[], object], fast: Callable[[], object], runs: int) -> tuple[str, float]:
    """Return a line, and the ratio of the times, after one round that does not count."""
    slow(), fast()
    pairs = [(cpu_seconds(slow), cpu_seconds(fast)) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    times = [statistics.median(column) for column in zip(*pairs, strict=True)]
    met = "met" if ratio >= BAR else "MISSED"
    return (
        f"{name:22s} separate {times[0]:7.3f} s  packed {times[1]:7.3f} s  ratio {ratio:5.2f}  bar {BAR}: {met}",
        ratio,
    )


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2, help="windows of a batch")
    parser.add_argument("--shots", type=int, default=3, help="shots of a window")
    parser.add_argument("--runs", type=int, default=7, help="runs of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="of weights and images")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone = small_backbone(arguments.seed)
    add_mllm_lora(backbone.mllm, MllmLoraSettings(rank=16, alpha=16))
    windows = make_windows(arguments.windows, arguments.shots, arguments.seed)
    packed, separate = make_readers(backbone, windows)
    queries = (torch.randn(NUM_QUERIES, HIDDEN) * 0.02).requires_grad_(True)

    with torch.no_grad():
        difference = float((packed(queries) - separate(queries)).abs().max())
    gradients = []
    for read in (separate, packed):
        forward_and_backward(read, queries)
        gradients.append(queries.grad.clone())  # type: ignore[union-attr]
    relative = float((gradients[1] - gradients[0]).abs().max() / gradients[0].abs().max())
    print(f"largest difference of a state {difference:.1e} (bar {TOLERANCE:.0e}: "
          f"{'met' if difference <= TOLERANCE else 'MISSED'}), of a gradient, relative {relative:.1e}")  # fmt: skip

    with torch.no_grad():
        print(compare("forward", lambda: separate(queries), lambda: packed(queries), arguments.runs)[0], flush=True)
    print(
        compare(
            "forward and backward",
            lambda: forward_and_backward(separate, queries),
            lambda: forward_and_backward(packed, queries),
            arguments.runs,
        )[0]
    )


if __name__ == "__main__":
    main()
