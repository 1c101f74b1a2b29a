"""Condition a story on an append-only cache and by reading everything anew for each shot: CPU time and difference.

The MLLM is a Qwen3-VL of real structure and small size (4 text layers of width 256, vision tower included, random
weights). Each shot adds an image of 12 x 16 patches, a caption and 64 queries, 174 tokens in all.

    python benchmarks/context_cache.py --shots 3 8 16 --runs 5 --seed 0
    python benchmarks/context_cache.py --layouts --num-shots 8

The bars: reading anew takes at least 1.7, 3.3 and 5 times as long at 3, 8 and 16 shots, and no state differs by more
than 1e-5. With --layouts it prints what each option of the layout costs: tokens, time, bytes of the cache. What an
option is worth can only be measured with trained weights.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from animeshooter_hf.modeling.backbones import Backbone, backbone_for
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, build_chunk
from animeshooter_hf.modeling.testing_mllms import noise_image, tiny_mllm, tiny_processor
from animeshooter_hf.records import Shot

BARS = {3: 1.7, 8: 3.3, 16: 5.0}
HEIGHT, WIDTH, PATCH = 192, 256, 16
CAPTION_TOKENS, NUM_QUERIES, HIDDEN = 60, 64, 256

LAYOUTS = {
    "default": LayoutSettings(),
    "2 frames of the past shot": LayoutSettings(frames_per_past_shot=2),
    "4 frames of the past shot": LayoutSettings(frames_per_past_shot=4),
    "narrative caption": LayoutSettings(caption="narrative"),
    "both captions": LayoutSettings(caption="both"),
    "queries do not stay": LayoutSettings(keep_queries=False),
    "window of 4 shots": LayoutSettings(window_shots=4),
    "window of 2 shots": LayoutSettings(window_shots=2),
}


def small_backbone(seed: int) -> Backbone:
    """Return a Qwen3-VL of about 6 million random weights, with bytes as tokens."""
    torch.manual_seed(seed)
    ids = tiny_mllm("qwen3_vl").config
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": 1000,
            "hidden_size": HIDDEN,
            "intermediate_size": 768,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "max_position_embeddings": 32_768,
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [16, 8, 8],
                "mrope_interleaved": True,
                "rope_theta": 1e6,
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": HIDDEN,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=ids.image_token_id,
        video_token_id=ids.video_token_id,
        vision_start_token_id=ids.vision_start_token_id,
        vision_end_token_id=ids.vision_end_token_id,
    )
    processor = tiny_processor("qwen3_vl")
    processor.image_processor = Qwen2VLImageProcessor(
        patch_size=PATCH, merge_size=2, temporal_patch_size=2, min_pixels=PATCH**2, max_pixels=HEIGHT * WIDTH
    )
    return backbone_for(Qwen3VLForConditionalGeneration(config).eval(), processor)


@torch.no_grad()
def read(context: ShotContext, chunks: list[ShotChunk]) -> Tensor:
    """Return the states of all shots."""
    return torch.cat([context.append(chunk) for chunk in chunks])


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(backbone: Backbone, queries: Tensor, num_shots: int, runs: int, seed: int) -> str:
    """Return a line on a story of some shots."""
    chunks = [
        ShotChunk((noise_image(seed + index, HEIGHT, WIDTH), f"{index:02d} ".ljust(CAPTION_TOKENS, "x")))
        for index in range(num_shots)
    ]

    def cached() -> Tensor:
        return read(ShotContext(backbone, queries), chunks)

    def anew() -> Tensor:
        return read(ShotContext(backbone, queries, is_incremental=False), chunks)

    difference = float((cached() - anew()).abs().max())
    pairs = [(cpu_seconds(anew), cpu_seconds(cached)) for _ in range(runs)]
    ratio = statistics.median(slow / fast for slow, fast in pairs)
    slow, fast = (statistics.median(column) for column in zip(*pairs, strict=True))
    bar = BARS.get(num_shots)
    told = "" if bar is None else f"  bar {bar}: {'met' if ratio >= bar and difference <= 1e-5 else 'MISSED'}"
    return (
        f"{num_shots:3d} shots  anew {slow:7.3f} s  cached {fast:7.3f} s  ratio {ratio:5.2f}  "
        f"largest difference {difference:.1e}{told}"
    )


def layout_chunks(layout: LayoutSettings, num_shots: int, seed: int) -> list[ShotChunk]:
    """Return a story in a layout; captions have the paper's mean lengths, 10.6 and 30.8 words of 1.3 tokens each."""
    frames = np.stack([np.asarray(noise_image(seed + index, HEIGHT, WIDTH)) for index in range(9)])
    references = {"Mia": [noise_image(seed + 100, HEIGHT, WIDTH)]}
    shots = [
        Shot(shot_id=f"s_{index}", index=index, narrative_caption="n".ljust(14, "x"), descriptive_caption="d" * 40)
        for index in range(num_shots)
    ]
    return [
        build_chunk(
            shot,
            references=references,
            last_frame=frames if shot.index else None,
            max_pixels=HEIGHT * WIDTH,
            layout=layout,
        )
        for shot in shots
    ]


def measure_layouts(backbone: Backbone, queries: Tensor, num_shots: int, runs: int, seed: int) -> list[str]:
    """Return a table of what each option costs, times as ratios to the default of the same round."""
    stories = {name: layout_chunks(layout, num_shots, seed) for name, layout in LAYOUTS.items()}
    contexts: dict[str, ShotContext] = {}
    seconds: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    for _ in range(runs + 1):
        for name, layout in LAYOUTS.items():
            context = contexts[name] = ShotContext(backbone, queries, layout=layout)
            seconds[name].append(cpu_seconds(lambda context=context, name=name: read(context, stories[name])))  # type: ignore[misc]
    titles = ("tokens/shot", "in context", "cache, KiB", "ms/shot", "ratio")
    lines = [f"{'layout':28s} " + " ".join(f"{title:>11s}" for title in titles)]
    for name, context in contexts.items():
        later = [len(backbone.tokenize(chunk, len(queries))) for chunk in stories[name][1:]]
        ratio = statistics.median(a / b for a, b in zip(seconds[name][1:], seconds["default"][1:], strict=True))
        milliseconds = statistics.median(seconds[name][1:]) * 1e3 / num_shots
        lines.append(
            f"{name:28s} {statistics.mean(later):11.0f} {context.num_tokens:11d} {context.cache_bytes / 1024:11.0f} "
            f"{milliseconds:11.1f} {ratio:11.2f}"
        )
    return lines


def main() -> None:
    """Print the comparison, or the table of layouts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, nargs="+", default=[3, 8, 16], help="lengths of the stories")
    parser.add_argument("--layouts", action="store_true", help="print what each option of the layout costs instead")
    parser.add_argument("--num-shots", type=int, default=8, help="shots of the story for --layouts")
    parser.add_argument("--runs", type=int, default=5, help="runs of which the median counts")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the images")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone = small_backbone(arguments.seed)
    queries = torch.randn(NUM_QUERIES, HIDDEN) * 0.02
    if arguments.layouts:
        print("\n".join(measure_layouts(backbone, queries, arguments.num_shots, arguments.runs, arguments.seed)))
        print("What an option is worth can only be measured with trained weights.")
        return
    for num_shots in arguments.shots:
        print(compare(backbone, queries, num_shots, arguments.runs, arguments.seed), flush=True)


if __name__ == "__main__":
    main()
