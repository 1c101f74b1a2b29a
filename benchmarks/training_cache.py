"""What the cache of frozen encoders saves: a step of training from the cache against one that encodes on the way.

Both sides run the same windows through the same `ShotModel`, forward and backward, by turns in one process on one
thread. On the way means what a trainer without a cache does: decode the clips, encode them and the references
with the VAE, and in align the captions with T5. The figures are medians of CPU time over the turns; the loss of both
sides is compared, since they must do the same work.

The pipeline is CogVideoX-2B's, each width an eighth: 30 layers of 256 in the transformer, 16 to 64 channels in the
VAE at its own depth, 24 layers of 512 in T5, so that the costs of the parts stand to each other about as they do at
full size. The multimodal model is a toy, which costs both sides the same and next to nothing. At full size it is a few
percent of a step that makes shots, but more than T5 in align, whose ratio here is therefore too high: what the cache
saves there is T5's memory.

`--source toon` draws windows of the compact world instead of decoding clips, and `--vae folded` takes the small
autoencoder of the toon model.

On a CPU the VAE takes four times as long for a clip alone as for one in a batch (PyTorch's 3-D convolution), which is
why `single`, with a window of one shot, gains more than `multi`. That says nothing about a GPU.

`--full-size` counts operations of CogVideoX-2B at 49 x 480 x 720 without running it: what the ratio comes to there if
all operations take the same time.

Example:
    python benchmarks/training_cache.py --turns 7
    python benchmarks/training_cache.py --source toon --vae folded --size 64 --frames 9 --layers 8 --stages single multi
    python benchmarks/training_cache.py --full-size
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXTransformer3DModel
from diffusers.utils import logging
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from animeshooter_hf import load_stories
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents
from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.batches import BatchMaker
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.cache_settings import CacheSettings
from animeshooter_hf.modeling.training.cached_windows import CachedWindows
from animeshooter_hf.modeling.training.feature_store import FeatureStore
from animeshooter_hf.modeling.training.parameters import prepare_parts
from animeshooter_hf.modeling.training.settings import DropoutSettings, TrainSettings, defaults_for
from animeshooter_hf.modeling.training.shot_model import ShotModel, use_fast_training_attention
from animeshooter_hf.modeling.training.story_windows import StoryWindows
from animeshooter_hf.modeling.training.toon_windows import ToonWindows
from animeshooter_hf.modeling.training.window_settings import WindowSettings
from animeshooter_hf.toon.compact import CompactSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "modeling"))
from toon_dataset import write_toon_dataset

_WIDTH, _LENGTH = 512, 226


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=["align", "single", "multi", "enhance"], help="what to measure")
    parser.add_argument("--vae", choices=("cogvideox", "folded"), default="cogvideox", help="the autoencoder")
    parser.add_argument("--source", choices=("dataset", "toon"), default="dataset", help="clips, or drawn in code")
    parser.add_argument("--turns", type=int, default=7, help="steps on every side")
    parser.add_argument("--size", type=int, default=128, help="rows and columns of a frame, a multiple of 16")
    parser.add_argument("--frames", type=int, default=17, help="of a shot, a multiple of 8 plus 1")
    parser.add_argument("--layers", type=int, default=30, help="of the transformer")
    parser.add_argument("--seed", type=int, default=0, help="of weights, films and noise")
    parser.add_argument("--full-size", action="store_true", help="count operations at full size instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    if options.full_size:
        print(count_full_size())
        return
    compact = CompactSettings(size=options.size, frames_per_shot=options.frames, frame_rate=8, num_shots=4)
    print(
        f"{options.source}, {options.vae}, {options.frames} x {options.size} x {options.size} pixels, a window a step"
    )
    print(
        f"{'stage':8s} {'cached, s':>10s} {'on the way, s':>14s} {'ratio':>7s} {'filling, s':>11s} {'kept, MiB':>10s}"
    )
    with tempfile.TemporaryDirectory() as folder:
        data = write_toon_dataset(Path(folder), seeds=range(options.seed, options.seed + 2), settings=compact)
        for stage in options.stages:
            source = make_source(stage, data, compact, options)
            print(f"{stage:8s} " + measure(stage, source, Path(folder) / f"cache-{stage}", options), flush=True)


def make_source(stage: str, data: Path, compact: CompactSettings, options: argparse.Namespace) -> Any:
    """Return the windows of a stage."""
    wanted = defaults_for(stage).data
    if options.source == "toon":
        return ToonWindows(range(options.seed, options.seed + 2), settings=compact, window=wanted.window)
    size = Bucket(options.size, options.size, options.frames)
    return StoryWindows(
        load_stories(data),
        WindowSettings(buckets=(size,), window=wanted.window, arrangement=wanted.arrangement),  # type: ignore[arg-type]
    )


def measure(stage: str, source: Any, cache: Path, options: argparse.Namespace) -> str:
    """Return a line of figures for one stage."""
    settings = replace(defaults_for(stage), dropout=DropoutSettings())
    torch.manual_seed(options.seed)
    pipeline = make_pipeline(options)
    is_align = stage == "align"
    wanted = CacheSettings(
        latents=not is_align,
        stills=False if is_align else None,
        text_states=is_align,
        is_sampled=False,
        progress=False,
    )
    begun = time.process_time()
    store = FeatureStore(cache)
    cached = CachedWindows(source, pipeline, store, wanted)
    filling = time.process_time() - begun
    step = Step(pipeline, settings)
    times: dict[str, list[float]] = {"cached": [], "on the way": []}
    for turn in range(-1, options.turns):  # the first turn warms up
        losses = []
        for name, windows in (("cached", cached), ("on the way", source)):
            spent, loss = step.run(windows, abs(turn))
            losses.append(loss)
            if turn >= 0:
                times[name].append(spent)
        if abs(losses[0] - losses[1]) > 1e-3 * abs(losses[1]):
            raise SystemExit(f"The two sides do not do the same: losses {losses}.")
    ours, theirs = (statistics.median(times[name]) for name in ("cached", "on the way"))
    ratio = statistics.median(b / a for a, b in zip(times["cached"], times["on the way"], strict=True))
    kept = store.report().file_bytes / 2**20
    return f"{ours:10.3f} {theirs:14.3f} {ratio:7.2f} {filling:11.1f} {kept:10.2f}"


class Step:
    """A step of training without an optimiser's update, so that both sides see the same weights."""

    def __init__(self, pipeline: Any, settings: TrainSettings) -> None:
        self._weights = [weight for _, weight in prepare_parts(pipeline, settings.parts)]
        use_fast_training_attention(pipeline, "cpu")
        self._model = ShotModel(pipeline, stage=settings.stage)
        self._batches, self._settings = BatchMaker(pipeline, settings), settings

    def run(self, windows: Any, number: int) -> tuple[float, float]:
        """Return CPU seconds and the loss of a step on one window."""
        begun = time.process_time()
        window = windows[SampleKey(0, number % len(windows))]
        batch = self._batches([window], step=number, positions=[0])
        loss = self._model(batch, self._settings.loss).loss
        loss.backward()
        spent = time.process_time() - begun
        for weight in self._weights:
            weight.grad = None
        return spent, float(loss.detach())


def make_pipeline(options: argparse.Namespace) -> Any:
    """Return a pipeline of CogVideoX-2B's proportions, at an eighth of its widths."""
    made = tiny_training_pipeline(options.seed, with_reference_latents=False)
    channels = 16 if options.vae == "cogvideox" else 24
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=64,
        in_channels=channels,
        out_channels=channels,
        time_embed_dim=64,
        text_embed_dim=_WIDTH,
        num_layers=options.layers,
        sample_width=options.size // 8,
        sample_height=options.size // 8,
        sample_frames=options.frames,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=_LENGTH,
    )
    vae: Any = FoldedAutoencoder(channels)
    if options.vae == "cogvideox":
        vae = AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(16, 32, 32, 64),
            latent_channels=channels,
            layers_per_block=3,
            norm_num_groups=8,
        )
    adapter = ShotConditionAdapter(
        num_queries=64,
        mllm_hidden_size=made.backbone.hidden_size,
        condition_length=_LENGTH,
        text_dim=_WIDTH,
        hidden_size=128,
        num_layers=12,
        num_heads=4,
    )
    sizes = {"d_model": _WIDTH, "d_ff": 1280, "d_kv": 64, "num_heads": 8, "num_layers": 24}
    text_encoder = T5EncoderModel(T5Config(vocab_size=len(made.tokenizer), **sizes))
    parts = {
        **made.components,
        "transformer": transformer,
        "vae": vae.eval(),
        "adapter": adapter,
        "text_encoder": text_encoder.eval(),
        "reference_latents": ReferenceLatents.for_transformer(transformer, max_references=2),
    }
    return type(made)(**parts, weights_origin="random")


def count_full_size() -> str:
    """Return lines of operations of CogVideoX-2B at 49 x 480 x 720."""
    blocks = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4}
    with torch.device("meta"):
        vae = AutoencoderKLCogVideoX(
            **blocks, block_out_channels=(128, 256, 256, 512), latent_channels=16, layers_per_block=3
        )
        transformer = CogVideoXTransformer3DModel()
        encoding = _operations(lambda: vae.encode(torch.empty(1, 3, 49, 480, 720)))
        still = _operations(lambda: vae.encode(torch.empty(1, 3, 1, 480, 720)))
        making = _operations(
            lambda: transformer(
                hidden_states=torch.empty(1, 13, 16, 60, 90),
                encoder_hidden_states=torch.empty(1, 226, 4096),
                timestep=torch.zeros(1, dtype=torch.long),
            )
        )
    lines = [f"VAE: clip {encoding:.1f}, still {still:.1f}; transformer forward {making:.1f} TFLOP"]
    for name, passes in (("frozen or LoRA", 2), ("all weights", 3)):
        lines.append(f"ratio, transformer {name}: {(passes * making + encoding + still) / (passes * making):.2f}")
    return "\n".join(lines)


def _operations(work: Any) -> float:
    """Return 1e12 floating-point operations."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return float(counter.get_total_flops()) / 1e12


if __name__ == "__main__":
    main()
