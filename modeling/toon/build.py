"""Train the toon checkpoint from nothing: `python -m animeshooter_hf.modeling.toon.build OUT`.

    OUT/vae          the autoencoder
    OUT/start        the pipeline with random weights around it
    OUT/base, align, multi, long    trainings of the library's trainer, each beginning with what the one before left
    OUT/toon         the checkpoint: half precision, without the text encoder, in files of at most 15 MB

A step that is there is not done again, and one that was stopped goes on where it was, so the same command finishes what
was begun. On a CPU of two cores it takes one to two hours.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.toon.autoencoder_training import train_autoencoder
from animeshooter_hf.modeling.toon.drawn_stories import draw_stories
from animeshooter_hf.modeling.toon.recipe import TRAINED_STEPS, ToonRecipe, settings_of, windows_of
from animeshooter_hf.modeling.toon.toon_card import draw_curves, draw_samples, read_scores, write_toon_card
from animeshooter_hf.modeling.toon.toon_parts import toon_pipeline
from animeshooter_hf.modeling.training.trainer import train
from animeshooter_hf.toon.compact import plan_compact_story

__all__ = ["main", "make_start", "make_vae", "save_toon", "ship", "train_step"]

logger = logging.getLogger(__name__)

_CAPTION_STORIES = 500
"""Stories whose captions make the tokenizers: more bring no new word."""

_SHARD = "15MB"
"""Largest file of weights: git hosts ask for small ones."""


def make_vae(recipe: ToonRecipe, folder: Path) -> FoldedAutoencoder:
    """Return the VAE of a folder, trained first if it is not there."""
    if not (folder / "config.json").exists():
        stories = draw_stories(range(recipe.autoencoder_stories), settings=recipe.world)
        made = train_autoencoder(stories, recipe.autoencoder)
        partial = folder.with_name(f".{folder.name}.partial")
        made.save_pretrained(partial)
        partial.rename(folder)
    vae: FoldedAutoencoder = FoldedAutoencoder.from_pretrained(folder)
    return vae


def make_start(recipe: ToonRecipe, vae: FoldedAutoencoder, **parts: Any) -> AnimeShooterGenPipeline:
    """Return the pipeline with random weights around a VAE. For `parts` see `toon_pipeline`."""
    captions = [
        caption
        for seed in range(_CAPTION_STORIES)
        for caption in plan_compact_story(seed, settings=recipe.world).captions
    ]
    return toon_pipeline(vae, captions, recipe.seed, world=recipe.world, **parts)


def train_step(recipe: ToonRecipe, step: str, out: Path) -> Path:
    """Train a step, or go on with it, and return the folder of its pipeline. Runs under torchrun too.

    Raises:
        InputError: If the step before left nothing.
    """
    before = ("start", *TRAINED_STEPS)[TRAINED_STEPS.index(step)]
    begin = out / before / "pipeline" if before != "start" else out / before
    settings = replace(settings_of(recipe, step, out / step, cache=out / "cache"), pipeline=str(begin))
    pipeline = AnimeShooterGenPipeline.from_pretrained(begin)
    pipeline.set_progress_bar_config(disable=True)
    return train(settings, source=windows_of(recipe, step), pipeline=pipeline, stories=(), command=_command())


def save_toon(pipeline: AnimeShooterGenPipeline, folder: Path) -> Path:
    """Write the checkpoint as it is shipped: half precision, no text encoder, small files."""
    parts = {**pipeline.components, "text_encoder": None, "tokenizer": None}
    shipped = AnimeShooterGenPipeline(**parts, **{key: pipeline.config[key] for key in _SETTINGS})
    shipped.to(torch.float16)
    shipped.save_pretrained(folder, licence="apache-2.0", max_shard_size=_SHARD)
    return folder


_SETTINGS = ("weights_origin", "frame_rate", "num_inference_steps", "guidance_scale", "max_image_pixels",
             "max_caption_tokens", "max_shots", "layout")  # fmt: skip


def ship(
    recipe: ToonRecipe, out: Path, folder: Path, scores: Sequence[Mapping[str, Any]] = (), **generating: Any
) -> Path:
    """Write the checkpoint of a build with its card: recipe, curve, samples, and scores where there are any.

    Args:
        recipe: How it was trained.
        out: Folder of the build.
        folder: Where to write.
        scores: For the card, see `write_toon_card`.
        generating: Options of the samples, see `draw_samples`.
    """
    pipeline = AnimeShooterGenPipeline.from_pretrained(out / TRAINED_STEPS[-1] / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    save_toon(pipeline, folder)
    draw_curves(out, folder / "samples" / "curve.png")
    draw_samples(pipeline, folder / "samples" / "stories.png", recipe.world, **generating)
    write_toon_card(folder, recipe, scores)
    return folder


def _command() -> str:
    return "python -m animeshooter_hf.modeling.toon.build OUT"


def _launch(arguments: list[str], processes: int) -> None:
    """Run this module with several processes, each with a thread of its own: two are faster so than two threads."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, "-m", "animeshooter_hf.modeling.toon.build", *arguments]
    if subprocess.run(command, env=environment, check=False).returncode:
        raise InputError("A step of the training failed; what it said stands above. The same command goes on there.")


def main(arguments: list[str] | None = None) -> None:
    """Train all steps, or the one that is named."""
    parser = argparse.ArgumentParser(
        prog="python -m animeshooter_hf.modeling.toon.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="for each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scores", type=Path, help="tables.json of benchmarks/toon_paper.py, for the card")
    parser.add_argument("--step", choices=TRAINED_STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = ToonRecipe(seed=options.seed)
    out: Path = options.out
    if options.step:
        torch.set_num_threads(1)
        train_step(recipe, options.step, out)
        return
    out.mkdir(parents=True, exist_ok=True)
    vae = make_vae(recipe, out / "vae")
    if not (out / "start" / "model_index.json").exists():
        make_start(recipe, vae).save_pretrained(out / "start")
    for step in TRAINED_STEPS:
        if not (out / step / "pipeline" / "model_index.json").exists():
            _launch([str(out), "--seed", str(options.seed), "--step", step], options.processes)
    scores = read_scores(options.scores) if options.scores else []
    ship(recipe, out, out / "toon", scores)


if __name__ == "__main__":
    main()
