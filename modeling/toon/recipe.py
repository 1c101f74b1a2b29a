"""The recipe of the toon checkpoint as settings: which stories, and how each step is trained. All of it our choice.

| step | what it stands for | what is trained |
|---|---|---|
| vae | CogVideoX's VAE | FoldedAutoencoder |
| base | CogVideoX, which nobody has to train | transformer, told by the text encoder's states of captions |
| align | the paper's first stage | MLLM and adapter, towards those states |
| multi | its second and third stage in one | everything but the VAE, stories of four shots |
| long | more of the same, from a fresh optimizer | as multi |

The paper's MLLM and video model come trained and only small parts of them are moved; here nothing comes trained, so
whole parts are. Its second stage, single shots, is left out: the first shot of a story is one.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from animeshooter_hf.modeling.toon.autoencoder_training import AutoencoderSettings
from animeshooter_hf.modeling.training.settings import (
    DropoutSettings,
    LossSettings,
    OptimizerSettings,
    PartSettings,
    PartsSettings,
    TrainSettings,
    defaults_for,
)
from animeshooter_hf.modeling.training.toon_windows import ToonWindows
from animeshooter_hf.toon.compact import CompactSettings

__all__ = ["TRAINED_STEPS", "ToonRecipe", "settings_of", "windows_of"]

TRAINED_STEPS = ("base", "align", "multi", "long")
"""The steps that are trainings of the library's own trainer."""

_FULL = PartSettings(mode="full")
_TIMES = LossSettings(timestep_sampling="logit_normal", timestep_mean=0.2, timestep_std=1.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonRecipe:
    """How much of everything."""

    world: CompactSettings = field(default_factory=CompactSettings)
    """Size and length of shots."""

    num_stories: int = 5_000
    """Stories trained on, seeds 0 to this, characters of the pool "train"."""

    autoencoder_stories: int = 1_500
    """How many of them the VAE sees."""

    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    """How the VAE is trained."""

    base_steps: int = 1_000
    """Steps of 32 shots."""

    align_steps: int = 200
    """Steps of 32 captions."""

    multi_steps: int = 800
    """Steps of 8 stories of four shots."""

    long_steps: int = 900
    """The same again."""

    seed: int = 0
    """Of weights, order, noise and dropouts."""


def windows_of(recipe: ToonRecipe, step: str) -> ToonWindows:
    """Return what a step is trained on: whole stories in multi and long, single shots else."""
    window = None if step in ("multi", "long") else 1
    return ToonWindows(range(recipe.num_stories), "train", recipe.world, window=window)


def settings_of(recipe: ToonRecipe, step: str, out: Path, *, cache: Path) -> TrainSettings:
    """Return the settings of a step of `TRAINED_STEPS`.

    Args:
        recipe: How much.
        step: Which.
        out: Folder of its training.
        cache: Folder of latents and text states, which steps share.

    Raises:
        KeyError: If there is no such step.
    """
    common: dict[str, Any] = {
        "out": str(out),
        "cache": str(cache),
        "precision": "bf16",
        "seed": recipe.seed,
        "save_every": 200,
        "keep": 1,
        "log_every": 5,
        "trackers": (),
        "licence": "apache-2.0",
    }
    data = replace(defaults_for("single").data, dataset="compact toon stories, drawn in code")
    optimizer = OptimizerSettings(
        name="muon",
        learning_rate=2e-3,
        betas=(0.9, 0.98),
        warmup_steps=60,
        schedule="linear",
        ema_decay=0.998,
    )
    made = {
        "base": TrainSettings(
            stage="single",
            condition="text",
            data=data,
            parts=PartsSettings(transformer=_FULL),
            dropout=DropoutSettings(reference=0.9, both=0.1),  # no picture is ever seen
            loss=_TIMES,
            optimizer=optimizer,
            batch_size=32,
            steps=recipe.base_steps,
            **common,
        ),
        "align": TrainSettings(
            stage="align",
            data=replace(data, require_references=False),
            parts=PartsSettings(mllm=_FULL, adapter=_FULL),
            loss=LossSettings(pad_weight=1.0),
            optimizer=optimizer,
            batch_size=32,
            steps=recipe.align_steps,
            **common,
        ),
        "multi": TrainSettings(
            stage="multi",
            data=replace(data, window=recipe.world.num_shots),
            parts=PartsSettings(mllm=_FULL, adapter=_FULL, transformer=_FULL, reference_latents=_FULL),
            dropout=DropoutSettings(both=0.1),
            loss=replace(_TIMES, context_noise=0.1, latents_noise=0.3),
            optimizer=optimizer,
            batch_size=8,
            steps=recipe.multi_steps,
            **common,
        ),
    }
    # Another order of the stories, and a gentler start, for what begins with trained weights.
    made["long"] = replace(
        made["multi"],
        steps=recipe.long_steps,
        seed=recipe.seed + 1,
        optimizer=replace(optimizer, learning_rate=1.5e-3, warmup_steps=30),
    )
    return made[step]
