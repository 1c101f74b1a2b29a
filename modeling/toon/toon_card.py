"""What the card of the toon checkpoint says beside the usual: recipe, seed, data, curve, samples, scores."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import MissingExtraError
from animeshooter_hf.modeling.toon.recipe import TRAINED_STEPS, ToonRecipe, settings_of
from animeshooter_hf.modeling.training.train_log import read_log
from animeshooter_hf.optional import require
from animeshooter_hf.toon.compact import CompactSettings, CompactStory, plan_compact_story

__all__ = ["data_hash", "draw_curves", "draw_samples", "read_scores", "write_toon_card"]

_HASHED_STORIES = 32

SAMPLE_SEEDS = (920_000, 920_002, 920_004)
"""Stories that the card shows: none that is scored."""

_ZOOM = 2
_BEGINS = "<!-- toon: begins -->"
_ENDS = "<!-- toon: ends -->"


def data_hash(world: CompactSettings) -> str:
    """Return the SHA-256 of captions and pixels of the first stories that are trained on."""
    digest = hashlib.sha256()
    for seed in range(_HASHED_STORIES):
        story = plan_compact_story(seed, pool="train", settings=world)
        digest.update("\n".join(story.captions).encode())
        digest.update(story.reference().tobytes())
        for shot in range(world.num_shots):
            digest.update(story.frames(shot).tobytes())
    return digest.hexdigest()


def draw_curves(out: Path, path: Path) -> bool:
    """Draw the losses of all steps of a build side by side; return False where matplotlib is not installed."""
    try:
        figures: Any = require("matplotlib.figure", extra="report", purpose="The curve")
    except MissingExtraError:
        return False
    figure = figures.Figure(figsize=(10, 2.6), layout="constrained")
    axes = figure.subplots(1, len(TRAINED_STEPS))
    for one, step in zip(axes, TRAINED_STEPS, strict=True):
        lines = read_log(out / step)
        losses = np.array([line["loss"] for line in lines])
        steps = np.array([line["step"] for line in lines])
        one.plot(steps, losses, color="0.8", linewidth=0.6)
        width = max(1, len(losses) // 20)
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        one.plot(steps[width - 1 :], smooth, color="C0", linewidth=1.2)
        one.set_title(step, fontsize=9)
        one.tick_params(labelsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    return True


def draw_samples(
    pipeline: Any, path: Path, world: CompactSettings, seeds: Sequence[int] = SAMPLE_SEEDS, **options: Any
) -> None:
    """Draw held-out stories: reference, then first and last frame of each shot, of the truth and below as generated."""
    rows = []
    for seed in seeds:
        story = plan_compact_story(seed, pool="held_out", settings=world)
        made = pipeline(list(story.captions), {"Pip": Image.fromarray(story.reference())}, seed=seed, **options)
        truth = [story.frames(shot) for shot in range(world.num_shots)]
        rows += [_row(story, truth), _row(story, made.frames)]
    picture = Image.fromarray(np.concatenate(rows))
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (_ZOOM * picture.width, _ZOOM * picture.height)
    picture.resize(size, Image.Resampling.NEAREST).save(path, optimize=True)


def write_toon_card(folder: Path, recipe: ToonRecipe, scores: Sequence[Mapping[str, Any]] = ()) -> None:
    """Add what is known to the checkpoint's card, or put it in the place of what stood there.

    Args:
        folder: The checkpoint.
        recipe: How it was trained.
        scores: Rows of `benchmarks/toon_paper.py`: system, measure, value, low, high.
    """
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8")
    if _BEGINS in text:
        text = text[: text.index(_BEGINS)] + text[text.index(_ENDS) + len(_ENDS) :].lstrip("\n")
    place = text.index("## Parts")
    card.write_text(text[:place] + "\n".join(_words(folder, recipe, scores)) + "\n\n" + text[place:], encoding="utf-8")


def _words(folder: Path, recipe: ToonRecipe, scores: Sequence[Mapping[str, Any]]) -> list[str]:
    world = recipe.world
    lines = [
        _BEGINS,
        "## Training",
        "",
        "From nothing, on stories that are drawn in code, with the library's own trainer:",
        "",
        "    python -m animeshooter_hf.modeling.toon.build OUT",
        "",
        f"Seed {recipe.seed}; {recipe.num_stories:,} stories of {world.num_shots} shots of {world.frames_per_shot} "
        f"frames, {world.size} x {world.size} pixels, characters of the pool `train`. SHA-256 of captions and pixels "
        f"of the first {_HASHED_STORIES} stories: `{data_hash(world)}`.",
        "",
        "| step | stands for | steps | batch | learns |",
        "|---|---|---|---|---|",
        f"| vae | CogVideoX's VAE | {recipe.autoencoder.steps:,} | {recipe.autoencoder.batch_size} groups of frames | "
        "the autoencoder |",
    ]
    stands_for = {"base": "CogVideoX itself", "align": "the paper's stage 1", "multi": "the paper's stages 2 and 3",
                  "long": "more of the same"}  # fmt: skip
    learns = {"base": "the transformer, told by a frozen table of words in T5's place", "align": "MLLM and adapter"}
    for step in TRAINED_STEPS:
        made = settings_of(recipe, step, Path("OUT"), cache=Path("OUT"))
        unit = "stories" if made.data.window > 1 else "shots"
        lines.append(
            f"| {step} | {stands_for[step]} | {made.steps:,} | {made.batch_size} {unit} | "
            f"{learns.get(step, 'all but the autoencoder')} |"
        )
    lines += ["", "No label that only the renderer knows was used: it saw captions, pixels and reference pictures."]
    for name, words in (
        ("curve", "Loss by optimizer step"),
        ("stories", "Held-out characters: truth, and below as made"),
    ):
        if (folder / "samples" / f"{name}.png").exists():
            lines += ["", f"![{words}](samples/{name}.png)", f"{words}."]
    if scores:
        lines += ["", "## Scores", "", *_table(scores)]
    return [*lines, _ENDS]


def _table(scores: Sequence[Mapping[str, Any]]) -> list[str]:
    systems = list(dict.fromkeys(row["system"] for row in scores))
    cells = {(row["measure"], row["system"]): row for row in scores}
    lines = [f"| | {' | '.join(systems)} |", f"|---|{'---|' * len(systems)}"]
    for measure in dict.fromkeys(row["measure"] for row in scores):
        shown = [cells.get((measure, system)) for system in systems]
        texts = ["-" if row is None else f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in shown]
        lines.append(f"| {measure} | {' | '.join(texts)} |")
    words = "Held-out characters, two stories each; 95 % intervals over characters. `benchmarks/toon_paper.py`."
    return [*lines, "", words]


def _row(story: CompactStory, clips: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    size = story.settings.size
    reference = Image.fromarray(story.reference())
    white = Image.new("RGBA", reference.size, "white")
    opaque = Image.alpha_composite(white, reference).convert("RGB").resize((size, size))
    gap = np.full((size, 4, 3), 255, np.uint8)
    parts = [np.asarray(opaque)]
    for clip in clips:
        parts += [gap, clip[0], clip[-1]]
    return np.concatenate(
        [np.concatenate(parts, axis=1), np.full((4, sum(p.shape[1] for p in parts), 3), 255, np.uint8)]
    )


def read_scores(path: Path, systems: Sequence[str] = ("toon", "toon, swapped reference", "toon + LoRA")) -> list[Any]:
    """Return the rows of these systems out of the experiment's tables.json."""
    rows = json.loads(path.read_text(encoding="utf-8"))["systems"]
    return [row for row in rows if row["system"] in systems and row["measure"] in _SHOWN]


_SHOWN = ("identity", "body_accuracy", "ears_accuracy", "hat_accuracy", "pattern_accuracy", "eyes_accuracy",
          "body_colour_difference", "sky_ratio", "ground_ratio", "reference_fidelity/harmean_p")  # fmt: skip
