"""What a training works on: the pipeline that it begins with, the windows, and the cache over them."""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import load_stories
from animeshooter_hf.modeling.open_pipeline import open_pipeline
from animeshooter_hf.modeling.prompt_layout import CaptionKind
from animeshooter_hf.modeling.training.cache_settings import CacheSettings
from animeshooter_hf.modeling.training.cached_windows import CachedWindows
from animeshooter_hf.modeling.training.feature_store import FeatureStore
from animeshooter_hf.modeling.training.settings import PARTS, DataSettings, TrainSettings
from animeshooter_hf.modeling.training.story_windows import StoryWindows
from animeshooter_hf.modeling.training.validation import ValidationStory, stories_of_dataset, stories_of_windows
from animeshooter_hf.modeling.training.window_settings import window_settings

__all__ = ["cached", "check_parts", "encoders_on", "open_begin", "open_windows", "validation_stories"]


def open_begin(settings: TrainSettings) -> Any:
    """Return the pipeline that a training begins with, on the CPU, frozen weights in the type of the training.

    Raises:
        InputError: If there is no such pipeline, or none is named.
    """
    if not settings.pipeline:
        raise InputError("Name the pipeline to begin with: a folder, a Hub repository, toon, or tiny.")
    return open_pipeline(settings.pipeline, {"bf16": "bfloat16"}.get(settings.precision))


def open_windows(settings: TrainSettings, decoder: Any) -> StoryWindows:
    """Return the windows of the dataset; only text is read.

    Raises:
        InputError: If there is no such dataset, or it holds no window of that kind.
    """
    data = settings.data
    if not data.dataset:
        raise InputError("Name the dataset to train on: a folder, an address or a Hub repository.")
    media = ("video", "references") if data.references else ("video",)
    view = load_stories(data.dataset, split=data.split, media=media, streaming=data.is_streamed)
    others = {
        name: getattr(data, name)
        for name in ("place", "frame_variants", "short_shots", "on_problem", "with_titles", "horizontal_flip")
    }
    return StoryWindows(view, window_settings(data, decoder, seed=settings.seed, **others))


def check_parts(pipeline: Any, settings: TrainSettings) -> None:
    """Raise an InputError unless the pipeline has what the stage needs and some trained part takes part in it."""
    if settings.stage == "align":
        pipeline.check_text_encoder("The stage align needs features of captions, which")
        if settings.parts.adapter.mode == "frozen" and settings.parts.mllm.mode == "frozen":
            raise InputError("The stage align trains the adapter or the mllm; set the mode of one of them.")
    if settings.condition == "text":
        pipeline.check_text_encoder("The condition text needs features of captions, which")
    trained = [name for name in PARTS if settings.parts[name].mode != "frozen" and getattr(pipeline, name) is not None]
    if not trained:
        raise InputError("Nothing is trained: set the mode of at least one part to full or lora.")


def cached(source: Any, pipeline: Any, settings: TrainSettings, *, progress: bool) -> Any:
    """Return the windows with what frozen encoders give for them, which is made first where it is missing.

    Raises:
        InputError: If something cannot be read, or the disk is full.
    """
    is_align = settings.stage == "align"
    with_text = is_align or settings.condition == "text"
    folder = Path(settings.cache) if settings.cache else Path(settings.out) / "cache"
    wanted = CacheSettings(
        latents=not is_align,
        stills=False if is_align else None,
        text_states=with_text,
        caption=cast(CaptionKind, settings.data.caption),
        dtype="bfloat16" if settings.precision == "bf16" else "float32",
        on_problem=cast(Literal["raise", "skip"], settings.data.on_problem),
        seed=settings.seed,
        progress=progress,
    )
    return CachedWindows(source, pipeline, FeatureStore(folder), wanted)


def validation_stories(source: Any, settings: TrainSettings, data: DataSettings) -> list[ValidationStory]:
    """Return the stories that are generated on the way, of the dataset or of the source's windows."""
    wanted = settings.validation
    if not wanted.stories:
        return []
    if isinstance(source, StoryWindows):
        view: Any = source.view
        if wanted.split is not None:
            view = load_stories(data.dataset, split=wanted.split, media=("references",), streaming=data.is_streamed)
        return stories_of_dataset(view, data, wanted)
    return stories_of_windows(source, wanted)


class encoders_on:  # noqa: N801 - used like a function, as torch.no_grad is
    """Have frozen encoders, which no step needs, on a device for the time of a block."""

    def __init__(self, pipeline: Any, device: torch.device, names: tuple[str, ...] = ("vae", "text_encoder")) -> None:
        self._parts = [part for part in (getattr(pipeline, name) for name in names) if isinstance(part, nn.Module)]
        self._device = device

    def __enter__(self) -> None:
        for part in self._parts:
            part.to(self._device)

    def __exit__(self, *_: object) -> None:
        for part in self._parts:
            part.to("cpu")
