"""What a training leaves behind: a pipeline that loads with `from_pretrained`, or a LoRA of the video model.

    lora/        where the video model's LoRA is all that was trained
    pipeline/    else; a LoRA of the video model is merged into its weights then, one of the MLLM stays a LoRA

Either is written aside and renamed, with a card that tells how it was trained and shows the last pictures.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from animeshooter_hf.cards.training_words import TrainingFacts, add_training
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.lora import save_lora
from animeshooter_hf.modeling.sources import repository_of
from animeshooter_hf.modeling.training.settings import PARTS, TrainSettings
from animeshooter_hf.modeling.training.train_state import reason_of

__all__ = ["dataset_words", "facts_of", "is_lora_alone", "origin_words", "save_result"]

LORA_NAME = "default"
"""Name of a LoRA in a model that is trained."""


def save_result(
    pipeline: Any,
    settings: TrainSettings,
    out: Path,
    facts: TrainingFacts,
    *,
    samples: Sequence[Path] = (),
    layout: Any = None,
) -> Path:
    """Write what was trained into the folder of the training, and return where it is.

    The pipeline is changed by it: a LoRA of its video model is merged if other parts were trained too, and it says of
    itself that it was trained.

    Args:
        pipeline: The pipeline with the trained weights.
        settings: Of the training.
        out: Its folder.
        facts: For the card.
        samples: Pictures for the card.
        layout: How stories were laid out for the MLLM, which the pipeline will keep to.

    Raises:
        InputError: If it cannot be written. What was there before is whole then, and so are the saved states.
    """
    is_lora = is_lora_alone(settings)
    folder = out / ("lora" if is_lora else "pipeline")
    partial = out / f".{folder.name}.partial"
    try:
        if partial.exists():
            shutil.rmtree(partial)
        if is_lora:
            _write_lora(pipeline, settings, partial, facts, samples)
        else:
            _write_pipeline(pipeline, settings, partial, facts, samples, layout)
        _put_in_place(partial, folder)
    except (OSError, SafetensorError, InputError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"What was trained cannot be written to {folder}: {reason_of(error)}. The saved states are "
                         "whole; make room and run the same command again.") from error  # fmt: skip
    return folder


def is_lora_alone(settings: TrainSettings) -> bool:
    """Return whether the video model's LoRA is all that is trained."""
    others = [name for name in PARTS if name != "transformer" and settings.parts[name].mode != "frozen"]
    return settings.parts.transformer.mode == "lora" and not others


def facts_of(
    settings: TrainSettings,
    *,
    step: int,
    num_windows: int,
    began_with: str,
    last_loss: float | None = None,
    scores: Mapping[str, float] | None = None,
    command: str = "",
) -> TrainingFacts:
    """Return what a card says of a training."""
    trained = {
        name: f"LoRA of rank {part.rank}" if part.mode == "lora" else "all weights"
        for name in PARTS
        for part in (settings.parts[name],)
        if part.mode != "frozen"
    }
    optimizer = settings.optimizer
    average = "" if optimizer.ema_decay is None else f", moving average of {optimizer.ema_decay}"
    return TrainingFacts(
        stage=settings.stage,
        steps=step,
        batch_size=settings.batch_size,
        window=settings.data.window,
        num_windows=num_windows,
        seed=settings.seed,
        dataset=dataset_words(settings.data.dataset),
        began_with="random weights" if began_with == "random" else began_with.removeprefix("trained: "),
        trained_parts=trained,
        optimizer=f"{optimizer.name}, learning rate {optimizer.learning_rate:g}, {optimizer.schedule}{average}",
        last_loss=last_loss,
        command=command,
        scores=scores or {},
    )


def dataset_words(dataset: str) -> str:
    """Return a dataset's name without the place where it lies on this machine."""
    is_local = dataset.startswith("file://") or Path(dataset).exists()
    return Path(dataset).name if is_local else dataset


def origin_words(facts: TrainingFacts) -> str:
    """Return the `weights_origin` of a pipeline that was trained."""
    data = f" on {facts.dataset}" if facts.dataset else ""
    return f"trained: stage {facts.stage}, {facts.steps} steps{data}, seed {facts.seed}; began with {facts.began_with}"


def _write_lora(
    pipeline: Any, settings: TrainSettings, folder: Path, facts: TrainingFacts, samples: Sequence[Path]
) -> None:
    save_lora(
        pipeline,
        folder,
        LORA_NAME,
        character=settings.character,
        trigger=settings.data.trigger or None,
        samples=list(samples),
        licence=settings.licence,
    )
    add_training(folder / "README.md", facts)


def _write_pipeline(
    pipeline: Any,
    settings: TrainSettings,
    folder: Path,
    facts: TrainingFacts,
    samples: Sequence[Path],
    layout: Any,
) -> None:
    if settings.parts.transformer.mode == "lora":
        pipeline.fuse_lora(components=["transformer"], adapter_names=[LORA_NAME])
        pipeline.unload_lora_weights()
    pipeline.register_to_config(weights_origin=origin_words(facts))
    if layout is not None:
        pipeline.register_to_config(layout=asdict(layout))
    is_pointer = settings.parts.mllm.mode != "full" and repository_of(pipeline.mllm.config) is not None
    names = [facts.dataset] if facts.dataset == settings.data.dataset and facts.dataset.count("/") == 1 else []
    pipeline.save_pretrained(folder, mllm="pointer" if is_pointer else "full", datasets=names, licence=settings.licence)
    shown = []
    for number, sample in enumerate(samples):
        (folder / "samples").mkdir(exist_ok=True)
        shown.append(f"samples/{number:02d}{sample.suffix.lower()}")
        shutil.copyfile(sample, folder / shown[-1])
    add_training(folder / "README.md", replace(facts, samples=tuple(shown)))


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename the new folder into the place of the old one, which is gone only when the new one is there."""
    old = folder.with_name(f".{folder.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    if old.exists():
        shutil.rmtree(old)
