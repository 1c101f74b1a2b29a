"""What a training would be, before anything heavy: parameters, memory, steps of an epoch, floating-point operations.

Weights are counted on the meta device and data by its text, so nothing is loaded. Memory is an estimate:

    weights       as they are kept: trained ones in fp32, frozen ones in the type of the training
    gradients     4 bytes a trained weight
    optimizer     AdamW 8 bytes, with 8-bit states 2, Muon 4 for hidden matrices
    average       4 bytes
    activations   rough: 17 numbers a token and layer of width, 1 where they are computed twice (arXiv 2205.05198,
                  section 4.1, without the attention's own, which fused kernels do not keep)

A step's operations are those of the forward pass, once more for gradients that pass through, once more for gradients of
weights, and once more where activations are computed twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from animeshooter_hf.modeling.decoders import WanDecoder
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.training.batch_order import BatchOrder
from animeshooter_hf.modeling.training.meta_pipeline import meta_pipeline
from animeshooter_hf.modeling.training.open_training import check_parts, open_windows
from animeshooter_hf.modeling.training.optimizers import NOT_HIDDEN
from animeshooter_hf.modeling.training.parameters import prepare_parts
from animeshooter_hf.modeling.training.settings import PARTS, TrainSettings

__all__ = ["PartPlan", "TrainingPlan", "plan_training", "step_operations"]

_CAPTION = "The character walks slowly through the scene, seen from afar, while the light changes. " * 3
"""A caption of a usual length, about 50 words; the paper's are longer in detail and shorter in plot. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartPlan:
    """One component."""

    name: str
    """Of the component."""

    total: int
    """Weights, with those of a LoRA."""

    trained: int
    """Of these, trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """What a training would be."""

    settings: TrainSettings
    """The settings."""

    parts: tuple[PartPlan, ...]
    """Components."""

    memory: Mapping[str, float]
    """What -> bytes on one device."""

    size: tuple[int, int, int]
    """Frames, rows and columns of a shot."""

    num_windows: int
    """Windows of an epoch."""

    skipped: Mapping[str, int]
    """Why windows were left out -> how many."""

    steps_per_epoch: int
    """Optimizer steps in which every window is seen."""

    operations: Mapping[str, float]
    """Component -> floating-point operations of a step, over all processes."""

    def as_text(self) -> str:
        """Return it as a table."""
        settings = self.settings
        frames, height, width = self.size
        lines = [
            f"Stage {settings.stage}: {settings.steps:,} steps of {settings.batch_size} windows of "
            f"{settings.data.window} shots, {frames} x {height} x {width}, {settings.precision}",
            "",
            f"{'part':20s} {'parameters':>15s} {'trained':>15s}  how",
        ]
        for part in self.parts:
            how = settings.parts[part.name].mode if part.name in PARTS else "frozen"
            how = f"lora of rank {settings.parts[part.name].rank}" if how == "lora" else how
            lines.append(f"{part.name:20s} {part.total:15,d} {part.trained:15,d}  {how if part.trained else 'frozen'}")
        total, trained = sum(part.total for part in self.parts), sum(part.trained for part in self.parts)
        lines += [f"{'together':20s} {total:15,d} {trained:15,d}", "", "memory of one device, estimated"]
        lines += [f"  {name:18s} {value / 1e6:12,.1f} MB" for name, value in self.memory.items()]
        lines += [f"  {'together':18s} {sum(self.memory.values()) / 1e6:12,.1f} MB", ""]
        epochs = settings.steps / self.steps_per_epoch
        lines.append(f"{self.num_windows:,} windows, {self.steps_per_epoch:,} steps an epoch, {epochs:,.2f} epochs")
        lines += [f"  {number:,} windows left out: {why}" for why, number in self.skipped.items()]
        work = sum(self.operations.values())
        shares = ", ".join(f"{name} {value / work:.0%}" for name, value in self.operations.items() if value)
        lines.append(f"{work / 1e12:,.3f} TFLOP a step ({shares}), {work * settings.steps / 1e18:,.3f} EFLOP in all")
        return "\n".join(lines) + "\n"


def plan_training(settings: TrainSettings, *, pipeline: Any = None, source: Any = None) -> TrainingPlan:
    """Return what a training would be.

    Args:
        settings: Of the training.
        pipeline: What it would begin with; None reads the settings' without its weights. LoRAs are added to it.
        source: Its windows; None counts those of the settings' dataset.

    Raises:
        InputError: As the training itself would.
    """
    pipeline = meta_pipeline(settings.pipeline) if pipeline is None else pipeline
    check_parts(pipeline, settings)
    source = open_windows(settings, pipeline.decoder) if source is None else source
    order = BatchOrder.of(source, batch_size=settings.batch_size, seed=settings.seed)
    named = prepare_parts(pipeline, settings.parts)
    data, default = settings.data, pipeline.decoder.default_size
    size = (data.num_frames or default[0], data.height or default[1], data.width or default[2])
    parts = _parts(pipeline, {name for name, _ in named})
    return TrainingPlan(
        settings=settings,
        parts=parts,
        memory=_memory(pipeline, settings, named, size),
        size=size,
        num_windows=len(source),
        skipped=dict(getattr(source, "skipped", {})),
        steps_per_epoch=order.steps_per_epoch,
        operations=step_operations(pipeline, settings, size),
    )


def step_operations(pipeline: Any, settings: TrainSettings, size: tuple[int, int, int]) -> dict[str, float]:
    """Return component -> floating-point operations of an optimizer step, forward and backward.

    Args:
        pipeline: Real or on the meta device, after `prepare_parts`.
        settings: Of the training.
        size: Frames, rows and columns of a shot.
    """
    shots = settings.batch_size * settings.data.window
    tokens = window_tokens(pipeline, settings)
    has_reading_gradient = any(settings.parts[name].mode != "frozen" for name in ("mllm", "adapter"))
    mllm = settings.batch_size * _mllm_forward(pipeline, tokens)
    adapter = shots * _operations(lambda: _on_meta(pipeline.adapter)(
        torch.empty(1, pipeline.adapter.config.num_queries, pipeline.adapter.config.mllm_hidden_size, device="meta")
    ))  # fmt: skip
    found = {
        "mllm": mllm * _passes(settings, "mllm", passes_gradient=has_reading_gradient),
        "adapter": adapter * _passes(settings, "adapter", passes_gradient=has_reading_gradient),
        "transformer": 0.0,
    }
    if settings.stage != "align":
        is_passed = has_reading_gradient or settings.parts.reference_latents.mode != "frozen"
        passes = _passes(settings, "transformer", passes_gradient=is_passed)
        found["transformer"] = shots * _transformer_forward(pipeline, size) * passes
    return found


def window_tokens(pipeline: Any, settings: TrainSettings) -> int:
    """Return the tokens that the MLLM reads for a window with one reference and captions of a usual length."""
    side = int(pipeline.config.max_image_pixels**0.5)
    picture = Image.new("RGB", (side, side), "white")
    chunk = ShotChunk((picture, _CAPTION))
    one = len(pipeline.backbone.tokenize(chunk, pipeline.adapter.config.num_queries))
    return one * settings.data.window


def _passes(settings: TrainSettings, name: str, *, passes_gradient: bool) -> int:
    """Return in how many forward passes' worth a component's step is done."""
    mode = settings.parts[name].mode
    if mode == "frozen" and not passes_gradient:
        return 1
    return 2 + (mode == "full") + settings.gradient_checkpointing


def _mllm_forward(pipeline: Any, tokens: int) -> float:
    """Return the operations of reading a window: two for each weight and token, and the attention's."""
    config = pipeline.mllm.config.get_text_config()
    layers, width = config.num_hidden_layers, config.hidden_size
    text = sum(
        weight.numel()
        for name, weight in pipeline.mllm.named_parameters()
        if ".layers." in name and "visual" not in name and "vision" not in name
    )
    # Causal attention looks at half of all pairs.
    return 2.0 * text * tokens + 2.0 * layers * tokens**2 * width


def _transformer_forward(pipeline: Any, size: tuple[int, int, int]) -> float:
    """Return the operations of one forward pass of one shot."""
    transformer = pipeline.transformer
    frames, rows, columns = _latent_size(pipeline, size)
    condition = torch.empty(1, *pipeline.adapter.condition_shape, device="meta")
    time = torch.zeros(1, device="meta")
    channels = transformer.config.in_channels
    copy = _on_meta(transformer)
    if isinstance(pipeline.decoder, WanDecoder):
        clip = torch.empty(1, channels, frames, rows, columns, device="meta")
        return _operations(lambda: copy(clip, time, condition, return_dict=False))
    config = transformer.config
    frames += -frames % (config.patch_size_t or 1)
    clip = torch.empty(1, frames, channels, rows, columns, device="meta")
    options: dict[str, Any] = {"return_dict": False}
    if config.use_rotary_positional_embeddings:
        length = _tokens_of_shot(pipeline, size)
        options["image_rotary_emb"] = tuple(torch.empty(length, config.attention_head_dim, device="meta") for _ in "cs")
    if config.ofs_embed_dim:
        options["ofs"] = torch.zeros(1, device="meta")
    return _operations(lambda: copy(clip, condition, time, **options))


def _latent_size(pipeline: Any, size: tuple[int, int, int]) -> tuple[int, int, int]:
    inner = pipeline.decoder.pipeline
    spatial, temporal = inner.vae_scale_factor_spatial, inner.vae_scale_factor_temporal
    return (size[0] - 1) // temporal + 1, size[1] // spatial, size[2] // spatial


def _tokens_of_shot(pipeline: Any, size: tuple[int, int, int]) -> int:
    patch = pipeline.transformer.config.patch_size
    times, rows, columns = patch if isinstance(patch, tuple | list) else (
        pipeline.transformer.config.patch_size_t or 1, patch, patch)  # fmt: skip
    frames, height, width = _latent_size(pipeline, size)
    return int(-(-frames // times) * (height // rows) * (width // columns))


def _on_meta(module: Any) -> Any:
    """Return a copy of a diffusers model without weights, LoRAs or attention of our own."""
    with torch.device("meta"):
        return type(module).from_config(module.config).requires_grad_(False)


def _operations(call: Any) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def _parts(pipeline: Any, trained: set[str]) -> tuple[PartPlan, ...]:
    found = []
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            prefix = {"transformer_2": "transformer.second"}.get(name, name)
            weights = dict(part.named_parameters())
            mine = sum(weight.numel() for key, weight in weights.items() if f"{prefix}.{key}" in trained)
            total = sum(weight.numel() for weight in weights.values())
            found.append(PartPlan(name=name, total=total, trained=mine))
    return tuple(found)


def _memory(
    pipeline: Any, settings: TrainSettings, named: list[tuple[str, nn.Parameter]], size: tuple[int, int, int]
) -> dict[str, float]:
    trained = {name: weight.numel() for name, weight in named}
    number = sum(trained.values())
    half = 2 if settings.precision == "bf16" else 4
    used = [name for name in PARTS if not (settings.stage == "align" and name == "transformer")]
    weights = sum(
        weight.numel()
        for name in used
        for weight in (getattr(pipeline, name).parameters() if getattr(pipeline, name) is not None else ())
        if not weight.requires_grad
    )
    states = {"adamw": 8.0, "adamw8bit": 2.0}
    optimizer = states.get(settings.optimizer.name, 0.0) * number
    if settings.optimizer.name == "muon":
        optimizer = float(sum(
            count * (4 if weight.ndim == 2 and not any(part in name for part in NOT_HIDDEN) else 8)
            for (name, weight), count in zip(named, trained.values(), strict=True)
        ))  # fmt: skip
    return {
        "frozen weights": float(weights * half),
        "trained weights": 4.0 * number,
        "gradients": 4.0 * number,
        "optimizer": optimizer,
        "average": 0.0 if settings.optimizer.ema_decay is None else 4.0 * number,
        "activations, rough": _activations(pipeline, settings, size) * half,
    }


def _activations(pipeline: Any, settings: TrainSettings, size: tuple[int, int, int]) -> float:
    """Return how many numbers a forward pass of one process keeps, for one process."""
    windows = settings.batch_size // settings.accumulation
    once = 17.0
    kept = 1.0 if settings.gradient_checkpointing else once
    number = 0.0
    if any(settings.parts[name].mode != "frozen" for name in ("mllm", "adapter")):
        config = pipeline.mllm.config.get_text_config()
        per_layer = windows * window_tokens(pipeline, settings) * config.hidden_size
        number += per_layer * (kept * config.num_hidden_layers + (once if kept < once else 0))
    if settings.stage != "align":
        config = pipeline.transformer.config
        width = config.num_attention_heads * config.attention_head_dim
        tokens = _tokens_of_shot(pipeline, size) + pipeline.adapter.config.condition_length
        per_layer = windows * settings.data.window * tokens * width
        number += per_layer * (kept * config.num_layers + (once if kept < once else 0))
    return number
