"""The paper's claim where truth is known: reference and context against single-shot baselines, on held-out characters.

    python benchmarks/toon_paper.py --build BUILD --out OUT

BUILD is what `python -m animeshooter_hf.modeling.toon.build BUILD` left: every system begins with its steps `base`
(text to video) and `align`, as the paper's begin with CogVideoX and a trained MLLM, and is then trained by itself for
about the same CPU time. What a system never has in training it does not get later either:

| system | condition | reference | earlier shots |
|---|---|---|---|
| full | MLLM and adapter | MLLM, latents | MLLM, latents of 3 last frames |
| no reference | MLLM and adapter | - | as full |
| no context | MLLM and adapter | MLLM, latents | - |
| MLLM only | MLLM and adapter | MLLM | MLLM |
| one memory frame | MLLM and adapter | MLLM, latents | MLLM, latents of 1 last frame |
| image prompt | text encoder | latents | - (the IP-Adapter family: gated attention to a picture, shot by shot) |
| text | text encoder | - | - |
| text + LoRA | text encoder | a LoRA on 5 clips of the character | - (the paper's CogVideo-LoRA) |

Without further training: full with another character's reference, full and toon without what they were trained with,
`toon` (the checkpoint that is shipped, trained longer), and both with a LoRA on 5 clips of the character.

Each job is a process with one thread; what is done is not done again, so the same command goes on after a stop.
Frames go to OUT/frames/NAME.npz; `--tables` reads, scores and compares what is there.
"""

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from toon_reading import StoryReading, experiment_stories, questions_of, read_system, true_frames
from toon_tables import (
    LIBRARY_MEASURES,
    characters_of,
    contact_sheet,
    drift_rows,
    gates_markdown,
    library_scores,
    markdown,
    pair_rows,
    pairs_markdown,
    ratio_pair_rows,
    ratio_rows,
    system_rows,
    to_json,
    values_of,
)

from animeshooter_hf.modeling.decoders import ShotInputs, encode_references
from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.toon.recipe import ToonRecipe, settings_of
from animeshooter_hf.modeling.training.settings import DropoutSettings, PartSettings, PartsSettings, TrainSettings
from animeshooter_hf.modeling.training.toon_windows import ToonWindows
from animeshooter_hf.modeling.training.trainer import train
from animeshooter_hf.modeling.training.windows import Window, window_from_plan
from animeshooter_hf.toon.compact import CompactSettings, CompactStory, plan_compact_story

FIRST_SEED = 7_000_000
"""First seed of the stories that are scored; nothing was chosen by looking at them."""

CLIP_SEED = 8_000_000
"""First seed of the clips that LoRAs are trained on."""

_FULL, _FROZEN = PartSettings(mode="full"), PartSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """What is trained, and how."""

    condition: str = "mllm"
    """What tells the transformer about a shot: "mllm" or "text"."""

    has_reference: bool = True
    """Whether the reference is seen."""

    window: int = 4
    """Shots of a story that are seen together."""

    memory_frames: int | None = 3
    """Earlier shots whose last frames are seen as latents; None for no path of latents at all."""

    pace: float = 1.0
    """Steps for the same CPU time, over those of `full`; measured on two idle cores."""


SYSTEMS = {
    "full": System(),
    "no reference": System(has_reference=False, pace=1.1),
    "no context": System(window=1, pace=1.3),
    "image prompt": System(condition="text", window=1, pace=1.45),
    "text": System(condition="text", has_reference=False, window=1, pace=1.7),
    "MLLM only": System(memory_frames=None, pace=1.4),
    "one memory frame": System(memory_frames=1, pace=1.15),
}
MAIN = ("full", "no reference", "no context", "image prompt", "text")
"""Trained with every seed; the others with the first."""


# ---------------------------------------------------------------------------------------------------- training


def train_system(name: str, seed: int, options: argparse.Namespace) -> AnimeShooterGenPipeline:
    """Return a system that was trained from what `base` and `align` left."""
    system = SYSTEMS[name]
    out = options.out / "trained" / f"{name}-{seed}"
    if not (out / "pipeline" / "model_index.json").exists():
        pipeline = AnimeShooterGenPipeline.from_pretrained(options.build / "align" / "pipeline")
        pipeline.set_progress_bar_config(disable=True)
        pipeline = with_path(pipeline, system.memory_frames, seed)
        recipe = ToonRecipe(seed=seed)
        source = ToonWindows(range(recipe.num_stories), "train", recipe.world, window=system.window)
        train(system_settings(name, seed, out, options), source=source, pipeline=pipeline, stories=())
        shutil.rmtree(out / "state", ignore_errors=True)
    return load(out / "pipeline")


def system_settings(name: str, seed: int, out: Path, options: argparse.Namespace) -> TrainSettings:
    """Return the settings of a system's training."""
    system = SYSTEMS[name]
    is_text = system.condition == "text"
    common = settings_of(ToonRecipe(seed=seed), "multi", out, cache=options.build / "cache")
    has_path = system.memory_frames is not None and (system.has_reference or system.window > 1)
    shots = 32
    return replace(
        common,
        stage="single" if system.window == 1 else "multi",
        condition=system.condition,
        data=replace(common.data, window=system.window),
        parts=PartsSettings(
            mllm=_FROZEN if is_text else _FULL,
            adapter=_FROZEN if is_text else _FULL,
            transformer=_FULL,
            reference_latents=_FULL if has_path else _FROZEN,
        ),
        dropout=DropoutSettings(both=0.1, reference=0.0 if system.has_reference else 0.9),
        optimizer=replace(common.optimizer, warmup_steps=20),
        batch_size=shots // system.window,
        steps=round(options.steps * system.pace),
        save_every=10_000,
        log_every=10,
    )


def with_path(pipeline: AnimeShooterGenPipeline, memory_frames: int | None, seed: int) -> AnimeShooterGenPipeline:
    """Return the pipeline with a new path of latents, or with none."""
    path = None
    if memory_frames is not None:
        torch.manual_seed(seed)
        path = ReferenceLatents.for_transformer(pipeline.transformer, max_references=1, memory_frames=memory_frames)
        torch.nn.init.ones_(path.gates)
        torch.nn.init.normal_(path.slots, std=0.3)
    pipeline.register_modules(reference_latents=path)
    return pipeline


def load(folder: Path) -> AnimeShooterGenPipeline:
    """Return a pipeline for generation."""
    pipeline = AnimeShooterGenPipeline.from_pretrained(folder).to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


# ---------------------------------------------------------------------------------------------------- enhancement


class Clips:
    """Five clips of a character, each from another story, as windows of one shot."""

    def __init__(self, story: CompactStory, number: int, world: CompactSettings, num_clips: int = 5) -> None:
        self._windows: list[Window] = []
        for clip in range(num_clips):
            seed = CLIP_SEED + number * num_clips + clip
            drawn = ToonWindows([seed], "held_out", world, window=1)
            told = plan_compact_story(seed, pool="held_out", settings=world, character=story.character)
            drawn._stories[seed] = told
            self._windows.append(window_from_plan(drawn, drawn.plan(clip % world.num_shots)))

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, key: Any) -> Window:
        position = key[1] if isinstance(key, tuple) else key
        return self._windows[position]


def enhance(
    pipeline: AnimeShooterGenPipeline, clips: Clips, condition: str, options: argparse.Namespace, out: Path
) -> None:
    """Train a LoRA of the pipeline's transformer on clips; it is active afterwards."""
    recipe = ToonRecipe()
    common = settings_of(recipe, "multi", out, cache=out / "cache")
    settings = replace(
        common,
        stage="enhance",
        condition=condition,
        data=replace(common.data, window=1),
        parts=PartsSettings(transformer=PartSettings(mode="lora", rank=options.rank)),
        dropout=DropoutSettings(),
        loss=replace(common.loss, context_noise=0.0, latents_noise=0.0),
        optimizer=replace(common.optimizer, name="adamw", learning_rate=options.lora_rate, warmup_steps=5,
                          ema_decay=None),
        batch_size=len(clips),
        steps=options.lora_steps,
        save_every=10_000,
        log_every=100,
    )  # fmt: skip
    train(settings, source=clips, pipeline=pipeline, stories=())
    shutil.rmtree(out)


# ---------------------------------------------------------------------------------------------------- generation


def generate(
    pipeline: AnimeShooterGenPipeline,
    stories: Sequence[CompactStory],
    options: argparse.Namespace,
    *,
    condition: str = "mllm",
    with_reference: bool = True,
    with_context: bool = True,
    references_of: Sequence[CompactStory] | None = None,
) -> NDArray[np.uint8]:
    """Return frames of all stories, shape (N, S, F, H, W, 3)."""
    shown = [Image.fromarray(story.reference()) for story in (references_of or stories)]
    made: list[NDArray[np.uint8]] = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for first in range(0, len(stories), options.batch):
            group = range(first, min(first + options.batch, len(stories)))
            chosen = [stories[number] for number in group]
            pictures = [shown[number] if with_reference else None for number in group]
            if condition == "text":
                made.append(_by_text(pipeline, chosen, pictures, group, options))
            elif with_context:
                made.append(_by_story(pipeline, chosen, pictures, [100 * number for number in group], options))
            else:
                shots = [_one_shot(story, shot) for story in chosen for shot in range(len(story.captions))]
                seeds = [100 * number + shot for number, story in zip(group, chosen, strict=True)
                         for shot in range(len(story.captions))]  # fmt: skip
                each = [picture for picture, story in zip(pictures, chosen, strict=True) for _ in story.captions]
                frames = _by_story(pipeline, shots, each, seeds, options)
                made.append(frames[:, 0].reshape(len(chosen), -1, *frames.shape[2:]))
    return np.concatenate(made)


@dataclass(frozen=True, slots=True)
class _Told:
    """A story as far as generation needs it."""

    captions: tuple[str, ...]


def _one_shot(story: CompactStory, shot: int) -> Any:
    return _Told((story.captions[shot],))


def _by_story(
    pipeline: AnimeShooterGenPipeline,
    stories: Sequence[Any],
    pictures: Sequence[Image.Image | None],
    seeds: Sequence[int],
    options: argparse.Namespace,
) -> NDArray[np.uint8]:
    outputs = pipeline.generate_batch(
        [list(story.captions) for story in stories],
        [{} if picture is None else {"Pip": picture} for picture in pictures],
        seeds=list(seeds),
        batch_size=options.batch,
        num_inference_steps=options.denoising,
        guidance_scale=options.guidance,
        require_references=False,
    )
    return np.stack([np.stack(output.frames) for output in outputs])


def _by_text(
    pipeline: AnimeShooterGenPipeline,
    stories: Sequence[CompactStory],
    pictures: Sequence[Image.Image | None],
    numbers: Sequence[int],
    options: argparse.Namespace,
) -> NDArray[np.uint8]:
    captions = [caption for story in stories for caption in story.captions]
    each = [picture for picture, story in zip(pictures, stories, strict=True) for _ in story.captions]
    frames, height, width = pipeline.decoder.default_size
    latents: Tensor | None = None
    if each[0] is not None:
        latents = torch.stack([encode_references(pipeline.vae, [one], height=height, width=width) for one in each])
    seeds = [100 * number + shot for number, story in zip(numbers, stories, strict=True)
             for shot in range(len(story.captions))]  # fmt: skip
    length = pipeline.adapter.config.condition_length
    prompts = pipeline.decoder.encode_text(
        captions, tokenizer=pipeline.tokenizer, text_encoder=pipeline.text_encoder, length=length
    )
    made = []
    for first in range(0, len(captions), options.batch):
        part = slice(first, first + options.batch)
        made.append(
            pipeline.decoder.decode_batch(
                prompts[part],
                pipeline.adapter.null_embeds,
                num_frames=frames,
                height=height,
                width=width,
                num_inference_steps=options.denoising,
                guidance_scale=options.guidance,
                generators=[torch.Generator("cpu").manual_seed(seed) for seed in seeds[part]],
                inputs=ShotInputs(
                    reference_latents_BRChw=None if latents is None else latents[part],
                    reference_slots=None if latents is None else (0,),
                ),
            )
        )
    found = np.concatenate(made)
    return found.reshape(len(stories), -1, *found.shape[1:])


# ---------------------------------------------------------------------------------------------------- jobs


def run_job(name: str, options: argparse.Namespace) -> None:
    """Train and generate what a job is named after: `KIND:SYSTEM:SEED`."""
    torch.set_num_threads(1)
    began = time.process_time()
    kind, system_name, number = name.split(":")
    seed = int(number)
    world = ToonRecipe().world
    stories = experiment_stories(options.characters, 2, first_seed=FIRST_SEED, settings=world)
    system = SYSTEMS.get(system_name, System())
    if system_name == "toon":
        pipeline = load(options.build / "long" / "pipeline")
    else:
        pipeline = train_system(system_name, seed, options)
    trained = time.process_time()
    how: dict[str, Any] = {
        "condition": system.condition,
        "with_reference": system.has_reference,
        "with_context": system.window > 1,
    }
    if kind == "plain":
        frames = generate(pipeline, stories, options, **how)
    elif kind == "swapped":
        frames = generate(pipeline, stories, options, references_of=swapped(stories), **how)
    elif kind == "dropped reference":
        frames = generate(pipeline, stories, options, **{**how, "with_reference": False})
    elif kind == "dropped context":
        frames = generate(pipeline, stories, options, **{**how, "with_context": False})
    elif kind == "long":
        stories = long_stories()
        frames = generate(pipeline, stories, options, **how)
    elif kind == "lora":
        frames = _enhanced(pipeline, stories, world, how, name, options)
    else:
        raise SystemExit(f"There is no job {kind}.")
    folder = options.out / "frames"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.npz"
    np.savez_compressed(partial, frames=frames)
    partial.rename(folder / f"{name}.npz")
    seconds = {"train": trained - began, "all": time.process_time() - began}
    (folder / f"{name}.json").write_text(json.dumps(seconds))


def swapped(stories: Sequence[CompactStory]) -> list[CompactStory]:
    """Return each story with the next character in it."""
    others = [*stories[2:], *stories[:2]]
    return [
        replace(story, plan=replace(story.plan, characters=other.plan.characters))
        for story, other in zip(stories, others, strict=True)
    ]


def long_stories() -> list[CompactStory]:
    """Return twelve stories of fifteen shots."""
    world = replace(ToonRecipe().world, num_shots=15)
    return experiment_stories(12, 1, first_seed=FIRST_SEED + 500_000, settings=world)


def _enhanced(
    pipeline: AnimeShooterGenPipeline,
    stories: Sequence[CompactStory],
    world: CompactSettings,
    how: dict[str, Any],
    name: str,
    options: argparse.Namespace,
) -> NDArray[np.uint8]:
    """Return frames with a LoRA for each character, whose two stories follow each other."""
    kept = {key: value.clone() for key, value in pipeline.transformer.state_dict().items()}
    made = []
    for number in range(0, len(stories), 2):
        clips = Clips(stories[number], number // 2, world)
        enhance(pipeline, clips, how["condition"], options, options.out / "lora" / name)
        made.append(generate(pipeline, stories[number : number + 2], options, **how))
        pipeline.unload_lora_weights()
        pipeline.transformer.load_state_dict(kept)
    return np.concatenate(made)


def jobs_of(options: argparse.Namespace) -> list[str]:
    """Return all jobs, the most telling first."""
    first, *others = options.seeds
    jobs = [f"plain:{name}:{first}" for name in MAIN]
    jobs += ["plain:toon:0", "swapped:toon:0", "lora:toon:0", f"swapped:full:{first}", f"lora:text:{first}"]
    jobs += [f"plain:{name}:{seed}" for seed in others for name in MAIN]
    jobs += [f"plain:{name}:{first}" for name in SYSTEMS if name not in MAIN]
    jobs += ["long:toon:0", f"lora:full:{first}", "dropped reference:toon:0", "dropped context:toon:0"]
    jobs += [f"{kind}:{name}:{seed}" for seed in others for kind, name in (("swapped", "full"), ("lora", "text"))]
    return jobs


def run_jobs(options: argparse.Namespace) -> None:
    """Run what is not done, several processes at a time; one trains a system that others wait for."""
    waiting = [name for name in jobs_of(options) if not (options.out / "frames" / f"{name}.npz").exists()]
    if options.only:
        waiting = [name for name in waiting if any(part in name for part in options.only)]
    running: dict[str, subprocess.Popen[bytes]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    while waiting or running:
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                logging.info("%s: %s", name, "done" if process.returncode == 0 else f"failed, see {logs / name}.log")
        busy = {name.split(":", 1)[1] for name in running}
        ready = next((name for name in waiting if name.split(":", 1)[1] not in busy or ":toon:" in name), None)
        if ready is not None and len(running) < options.jobs:
            waiting.remove(ready)
            words = [sys.executable, __file__, *sys.argv[1:], "--job", ready]
            with (logs / f"{ready}.log").open("wb") as log:
                running[ready] = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
            logging.info("%s: begins", ready)
            continue
        time.sleep(1)


# ---------------------------------------------------------------------------------------------------- tables

NAMES = {
    "plain": "{}",
    "lora": "{} + LoRA",
    "swapped": "{}, swapped reference",
    "dropped reference": "{}, reference dropped",
    "dropped context": "{}, context dropped",
}
PAIRS = (
    ("full", "no reference"),
    ("full", "full, swapped reference"),
    ("full", "no context"),
    ("full", "image prompt"),
    ("image prompt", "text + LoRA"),
    ("full", "text + LoRA"),
    ("text + LoRA", "text"),
    ("full", "MLLM only"),
    ("full", "one memory frame"),
    ("full + LoRA", "full"),
    ("toon", "toon, swapped reference"),
    ("toon + LoRA", "toon"),
)
CLAIMS = ("identity", "body_colour_difference", "body_accuracy", "ears_accuracy")
LIBRARY_CLAIMS = ("reference_fidelity/harmean_p", "cross_shot_consistency/scene_contrast")


def write_tables(options: argparse.Namespace) -> None:
    """Score what is there and write OUT/tables.md, tables.json and contact sheets."""
    world = ToonRecipe().world
    stories = experiment_stories(options.characters, 2, first_seed=FIRST_SEED, settings=world)
    folder = options.out / "questions"
    questions = questions_of(stories, folder, num_workers=options.jobs)
    frames: dict[str, dict[int, NDArray[np.uint8]]] = {}
    for path in sorted((options.out / "frames").glob("*.npz")):
        kind, system, seed = path.stem.split(":")
        if kind in NAMES:
            frames.setdefault(NAMES[kind].format(system), {})[int(seed)] = np.load(path)["frames"]
    order = ["truth", *[name for pair in PAIRS for name in pair], *frames]
    frames = {name: frames[name] for name in dict.fromkeys(order) if name in frames}
    readings: dict[str, dict[int, list[StoryReading]]] = {
        name: {seed: read_system(list(one), questions) for seed, one in seeds.items()} for name, seeds in frames.items()
    }
    characters = characters_of(stories)
    read = {name: {seed: values_of(run) for seed, run in runs.items()} for name, runs in readings.items()}
    scores = {
        name: {seed: library_scores(list(one), stories) for seed, one in seeds.items()}
        for name, seeds in frames.items()
    }
    library = {name: {seed: run.values for seed, run in runs.items()} for name, runs in scores.items()}
    truth = library_scores([true_frames(story) for story in stories], stories)
    pairs = [pair for pair in PAIRS if pair[0] in frames and pair[1] in frames]
    rows = [
        *system_rows(read, characters),
        *ratio_rows(readings),
        *system_rows(library, characters, LIBRARY_MEASURES),
    ]
    compared = [
        *pair_rows(read, characters, pairs, CLAIMS),
        *pair_rows(library, characters, pairs, LIBRARY_CLAIMS),
        *ratio_pair_rows(readings, pairs),
    ]
    tables = [markdown(rows), pairs_markdown(compared), gates_markdown(scores, truth)]
    everything = {"systems": to_json(rows), "pairs": to_json(compared)}
    followed = {name: seeds for name, seeds in frames.items() if name.endswith("swapped reference")}
    if followed:
        given = swapped(stories)
        asked = questions_of(given, folder, num_workers=options.jobs)
        again = {
            f"{name}, as the one given": {seed: values_of(read_system(list(one), asked)) for seed, one in seeds.items()}
            for name, seeds in followed.items()
        }
        more = system_rows(again, characters_of(given), CLAIMS)
        tables.append(markdown(more))
        everything["swapped"] = to_json(more)
    long = options.out / "frames" / "long:toon:0.npz"
    if long.exists():
        told = long_stories()
        asked = questions_of(told, folder, num_workers=options.jobs)
        drifts = drift_rows({"toon": {0: read_system(list(np.load(long)["frames"]), asked)}})
        tables.append(markdown(drifts))
        everything["drift"] = to_json(drifts)
    (options.out / "tables.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    (options.out / "tables.json").write_text(json.dumps(everything, indent=1, allow_nan=False), encoding="utf-8")
    for number in range(0, min(len(stories), 12), 4):
        shown = {name: list(next(iter(seeds.values()))[number : number + 4]) for name, seeds in frames.items()}
        contact_sheet(options.out / f"sheet_{number:02d}.png", stories[number : number + 4], shown)
    sys.stdout.write("\n\n".join(tables) + "\n")


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="folder of the toon build")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="training seeds of the main systems")
    parser.add_argument("--characters", type=int, default=40)
    parser.add_argument("--steps", type=int, default=220, help="steps of full; others as many as take the same time")
    parser.add_argument("--denoising", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=1.5)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--rank", type=int, default=16, help="of LoRAs")
    parser.add_argument("--lora-steps", type=int, default=60)
    parser.add_argument("--lora-rate", type=float, default=2e-3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--only", nargs="+", help="only jobs in whose names one of these stands")
    parser.add_argument("--tables", action="store_true", help="score and compare what is there")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.job:
        run_job(options.job, options)
    elif options.tables:
        write_tables(options)
    else:
        run_jobs(options)


if __name__ == "__main__":
    main()
