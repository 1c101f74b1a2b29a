"""What the story around the shots costs: time to the first shot, time after resuming, and time over plain diffusers.

    first    first shot of a stream / the whole story; at best 1/N
    resume   the story from shot k on / the whole story; at best (N-k)/N
    shot     a shot of our pipeline / a shot of the plain diffusers pipeline, given the embeddings; at best 1

CPU time on one thread; the sides run by turns in one process, and a ratio is the median over the turns. What was made
is compared bit by bit. Toy weights: the language model's share of a shot is far larger here (printed as "reading")
than at real size, where it is below 1 % (12 PFLOP of denoising, at most 0.02 of reading), so these ratios are the
worst case.

Example:
    python benchmarks/pipeline_ratios.py --shots 4 --steps 50 --turns 5
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from PIL import Image

from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.shot_loop import StoryReader
from animeshooter_hf.modeling.testing import tiny_pipeline


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shots", type=int, default=4, help="shots of the story")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps of a shot")
    parser.add_argument("--turns", type=int, default=5, help="stories on every side")
    parser.add_argument("--seed", type=int, default=0, help="of weights, references and noise")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 144), metavar=("H", "W"), help="pixels of a frame")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = tiny_pipeline(settings.seed, height=settings.size[0], width=settings.size[1])
    pipeline.set_progress_bar_config(disable=True)
    draw = np.random.default_rng(settings.seed)
    references = {"Mia": Image.fromarray(draw.integers(0, 256, (64, 48, 3), np.uint8))}
    state = pipeline.begin(
        [f"<Mia> runs through place {number}." for number in range(settings.shots)],
        references,
        seed=settings.seed,
        num_inference_steps=settings.steps,
    )
    print(f"{settings.shots} shots of {settings.steps} steps, {settings.size[0]}x{settings.size[1]}, medians of "
          f"{settings.turns} turns")  # fmt: skip
    story_ratios(pipeline, state, settings)
    shot_ratio(pipeline, state, settings)


def story_ratios(pipeline: AnimeShooterGenPipeline, state: Any, settings: argparse.Namespace) -> None:
    """Print how long the first shot and resuming take, as shares of the whole."""
    pipeline.resume(state)
    shots, places = settings.shots, sorted({1, settings.shots // 2, settings.shots - 1})
    shares: dict[str, list[float]] = {"first": [], **{f"resume after {k}": [] for k in places}}
    equal = True
    for _ in range(settings.turns):
        whole, seconds = timed(lambda: pipeline.resume(state))
        first, until_first = timed(lambda: next(iter(pipeline.stream_resume(state))))
        equal &= np.array_equal(first.frames, whole.frames[0])
        shares["first"].append(until_first / seconds)
        for k in places:
            rest, share = timed(lambda k=k, done=whole.state: pipeline.resume(done.cut_to(k)))
            equal &= all(np.array_equal(a, b) for a, b in zip(rest.frames, whole.frames, strict=True))
            shares[f"resume after {k}"].append(share / seconds)
    bars = {"first": 1 / shots, **{f"resume after {k}": (shots - k) / shots for k in places}}
    for name, values in shares.items():
        print(f"{name:16s} {statistics.median(values):6.3f}   at best {bars[name]:.3f}, bar {bars[name] + 0.05:.3f}")
    print(f"{'bit-equal':16s} {equal!s:>6s}")


def shot_ratio(pipeline: AnimeShooterGenPipeline, state: Any, settings: argparse.Namespace) -> None:
    """Print how long a shot takes over the plain pipeline, given its embeddings."""
    order = StoryReader(pipeline, state, 1).read(state, 0)
    if order is None:
        raise RuntimeError("The first shot of a new story is not done.")
    plain = CogVideoXPipeline.from_pipe(pipeline, tokenizer=None, text_encoder=None)
    plain.set_progress_bar_config(disable=True)

    def others() -> Any:
        pictures = plain(
            prompt_embeds=order.prompt_1LD,
            negative_prompt_embeds=pipeline.adapter.null_embeds,
            num_frames=state.settings.num_frames,
            height=state.settings.height,
            width=state.settings.width,
            num_inference_steps=settings.steps,
            guidance_scale=state.settings.guidance_scale,
            generator=torch.Generator().manual_seed(state.seed_of(0)),
            output_type="pil",
        ).frames[0]
        return np.stack([np.asarray(picture) for picture in pictures])

    one = pipeline.begin(state.story.with_shots(state.story.shots[:1]), dict(state.references), seed=state.seed,
                         num_inference_steps=settings.steps)  # fmt: skip
    ratios, reading = [], []
    equal = True
    others()
    for _ in range(settings.turns * 3):
        ours, mine = timed(lambda: pipeline.resume(one).frames[0])
        theirs, plainly = timed(others)
        _, read = timed(lambda: StoryReader(pipeline, one, 1).read(one, 0))
        equal &= np.array_equal(ours, theirs)
        ratios.append(mine / plainly)
        reading.append(read / plainly)
    print(f"{'shot':16s} {statistics.median(ratios):6.3f}   of it reading {statistics.median(reading):.3f}; bar 1.050")
    print(f"{'bit-equal':16s} {equal!s:>6s}")


def timed(make: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function gives, and its CPU time in seconds."""
    start = time.process_time()
    made = make()
    return made, time.process_time() - start


if __name__ == "__main__":
    main()
