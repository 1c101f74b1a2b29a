"""Less memory and more speed for any diffusers pipeline with our component names, in one call.

| setting | exact? | what it does |
|---|---|---|
| offload="model" | bit-equal | one component at a time on the accelerator |
| offload="sequential" | bit-equal, a GPU is needed to see it | one layer at a time; slow |
| offload="group" | bit-equal | groups of layers, with `group_stream` fetched ahead |
| layerwise_casting | no | weights kept in 8 bits, computed with in the model's type |
| quantization | no | weights in 8 or 4 bits; done while loading, see `quantization_config` |
| vae_slicing | equal up to rounding | the VAE takes one shot of a batch after the other |
| vae_tiling | no | the VAE takes one tile after the other; seams are blended |
| compile | equal up to rounding | the transformer's blocks, compiled once for all of them |
| attention_backend | equal up to rounding | another kernel for attention |
| step_cache | no | see decoders/step_cache.py |

What is said about exactness is tested on the CPU at toy size, where "the accelerator" is the CPU itself, sequential
offload aside. What only a GPU can show (memory saved, time won, kernels, streams) is measured by
benchmarks/full_size.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import ModelMixin, PipelineQuantizationConfig
from diffusers.hooks import apply_group_offloading, apply_layerwise_casting
from torch import nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders.attention import check_attention_backend, set_attention_backend
from animeshooter_hf.modeling.decoders.step_cache import check_step_cache, enable_step_cache
from animeshooter_hf.optional import require

__all__ = ["OFFLOADS", "QUANTIZATIONS", "MemorySettings", "apply_memory", "quantization_config"]

OFFLOADS = ("none", "model", "sequential", "group")
"""Ways to keep components off the accelerator while they wait."""

QUANTIZATIONS = ("int8", "float8", "nf4")
"""8-bit integers and 8-bit floats by torchao, 4-bit normal floats by bitsandbytes."""

_STORAGE_DTYPES = ("float8_e4m3fn", "float8_e5m2", "bfloat16", "float16")
_TRANSFORMERS = ("transformer", "transformer_2")
_SMALL = ("adapter", "reference_latents")
"""Components with weights that are read outside a forward; they stay on the accelerator instead of going to "meta"."""

_OF_TRANSFORMERS_LIBRARY = ("mllm", "text_encoder")
_BLOCKS = {"CogVideoXTransformer3DModel": ["CogVideoXBlock"]}
"""Blocks of transformers for which diffusers 0.42 names none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySettings:
    """What to save and speed up; the defaults change nothing."""

    offload: str = "none"
    """One of `OFFLOADS`."""

    device: str | None = None
    """The accelerator, such as "cuda" or "cuda:1"; None takes the one that is there."""

    group_blocks: int = 1
    """Blocks of the transformer that come and go together; for offload="group"."""

    group_stream: bool = False
    """Fetch the next group while this one computes; for offload="group", CUDA only."""

    layerwise_casting: tuple[str, ...] = ()
    """Components whose weights are kept in `storage_dtype`. "transformer" is the one that pays."""

    storage_dtype: str = "float8_e4m3fn"
    """Type of weights at rest: float8_e4m3fn, float8_e5m2, bfloat16 or float16."""

    quantization: Mapping[str, str] = field(default_factory=dict)
    """Component -> one of `QUANTIZATIONS`. It happens while loading; here it is only checked that it did."""

    vae_tiling: bool = False
    """Decode tile by tile."""

    vae_slicing: bool = False
    """Decode the shots of a batch one by one."""

    compile: bool = False
    """Compile the blocks of the transformer."""

    compile_backend: str = "inductor"
    """Backend of torch.compile. "eager" only traces."""

    attention_backend: str | None = None
    """Name of a backend of diffusers, such as "flash", "sage", "_native_cudnn"."""

    step_cache: str | None = None
    """One of `STEP_CACHES`: pab, faster, first_block, mag, taylorseer."""

    step_cache_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the step cache, by diffusers' names."""

    def __post_init__(self) -> None:
        if self.offload not in OFFLOADS:
            raise InputError(f"offload must be one of {', '.join(OFFLOADS)}, got {self.offload!r}.")
        if isinstance(self.group_blocks, bool) or not isinstance(self.group_blocks, int) or self.group_blocks < 1:
            raise InputError(f"group_blocks must be a whole number of at least 1, got {self.group_blocks!r}.")
        if self.storage_dtype not in _STORAGE_DTYPES:
            raise InputError(f"storage_dtype must be one of {', '.join(_STORAGE_DTYPES)}, got {self.storage_dtype!r}.")
        if isinstance(self.layerwise_casting, str):
            raise InputError("layerwise_casting must be a list of component names, got a text.")
        for component, kind in self.quantization.items():
            if kind not in QUANTIZATIONS:
                raise InputError(f"The quantization of {component} must be one of {', '.join(QUANTIZATIONS)}, got "
                                 f"{kind!r}.")  # fmt: skip
            if component in self.layerwise_casting:
                raise InputError(f"{component} can be quantized or cast layer by layer, not both.")
        if self.step_cache is not None:
            check_step_cache(self.step_cache, self.step_cache_options)
        elif self.step_cache_options:
            raise InputError("step_cache_options are given, but no step_cache.")


def quantization_config(settings: MemorySettings) -> PipelineQuantizationConfig | None:
    """Return what `from_pretrained(..., quantization_config=...)` takes, or None where nothing is quantized.

    Give `dtype=torch.bfloat16` beside it: torchao loads what it quantizes in bfloat16, and the VAE has to follow.

    Raises:
        MissingExtraError: If torchao or bitsandbytes is needed and not installed.
    """
    if not settings.quantization:
        return None
    mapping = {component: _quantization(component, kind) for component, kind in settings.quantization.items()}
    return PipelineQuantizationConfig(quant_mapping=mapping)


def apply_memory(pipeline: Any, settings: MemorySettings) -> None:
    """Set up a pipeline that is loaded; once, before the first shot.

    Args:
        pipeline: Any `DiffusionPipeline`, of whose components those with known names are treated.
        settings: What to do.

    Raises:
        InputError: If a component is missing, a backend or the accelerator is not there, or what had to happen while
            loading did not. Nothing has been changed then.
    """
    device = _device(settings)
    transformers = [module for name in _TRANSFORMERS if (module := pipeline.components.get(name)) is not None]
    _check(pipeline, settings, transformers)
    if settings.attention_backend is not None:
        for transformer in transformers:
            check_attention_backend(transformer, settings.attention_backend, device=device)
    # Of what follows only a step cache can still be refused, and that undoes itself.
    if settings.step_cache is not None:
        for transformer in transformers:
            enable_step_cache(transformer, settings.step_cache, settings.step_cache_options)
    if settings.attention_backend is not None:
        for transformer in transformers:
            set_attention_backend(transformer, settings.attention_backend, device=device)
    for name in settings.layerwise_casting:
        _cast_layerwise(pipeline.components[name], getattr(torch, settings.storage_dtype))
    if settings.vae_tiling:
        pipeline.vae.enable_tiling()
    if settings.vae_slicing:
        pipeline.vae.enable_slicing()
    _offload(pipeline, settings, device)
    if settings.compile:
        for transformer in transformers:
            _compile_blocks(transformer, settings.compile_backend)


def _device(settings: MemorySettings) -> torch.device | None:
    """Return the accelerator, or None where components stay where they are."""
    if settings.device is not None:
        try:
            device = torch.device(settings.device)
        except RuntimeError as error:
            raise InputError(f"device must be a device such as cuda or cuda:1, got {settings.device!r}.") from error
        if device.type == "cpu" and settings.offload == "sequential":
            raise InputError('offload="sequential" fetches layers to an accelerator, so its device cannot be the CPU.')
        return device
    if settings.offload == "none":
        return None
    if not torch.accelerator.is_available():
        raise InputError(f'offload="{settings.offload}" needs an accelerator, but this machine has none.')
    return torch.accelerator.current_accelerator()


def _check(pipeline: Any, settings: MemorySettings, transformers: list[Any]) -> None:
    """Refuse what cannot be done before anything is changed."""
    modules = sorted(name for name, part in pipeline.components.items() if isinstance(part, nn.Module))
    for name in (*settings.layerwise_casting, *settings.quantization):
        if name not in modules:
            raise InputError(f"The pipeline has no model {name!r}; it has {', '.join(modules)}.")
    needs_transformer = settings.compile or settings.attention_backend or settings.step_cache
    if needs_transformer and not transformers:
        raise InputError("compile, attention_backend and step_cache need a component named transformer.")
    if (settings.vae_tiling or settings.vae_slicing) and "vae" not in modules:
        raise InputError("vae_tiling and vae_slicing need a component named vae.")
    for name in settings.quantization:
        if getattr(pipeline.components[name], "hf_quantizer", None) is None:
            raise InputError(f"{name} is not quantized. That happens while loading: from_pretrained(..., "
                             "quantization_config=quantization_config(settings)).")  # fmt: skip


def _quantization(component: str, kind: str) -> Any:
    """Return the quantization settings of one component, of the library that loads it."""
    library = require("transformers" if component in _OF_TRANSFORMERS_LIBRARY else "diffusers", extra="modeling",
                      purpose="Quantization")  # fmt: skip
    purpose = f"Quantization of {component} to {kind}"
    if kind == "nf4":
        require("bitsandbytes", extra="quantization", purpose=purpose)
        return library.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    torchao = require("torchao.quantization", extra="quantization", purpose=purpose)
    weights = torchao.Int8WeightOnlyConfig() if kind == "int8" else torchao.Float8WeightOnlyConfig()
    return library.TorchAoConfig(weights)


def _cast_layerwise(component: Any, storage_dtype: torch.dtype) -> None:
    """Keep the weights of linear and convolution layers in another type; norms and embeddings stay."""
    if isinstance(component, ModelMixin):
        component.enable_layerwise_casting(storage_dtype=storage_dtype, compute_dtype=component.dtype)
    else:
        apply_layerwise_casting(component, storage_dtype=storage_dtype, compute_dtype=component.dtype)


def _offload(pipeline: Any, settings: MemorySettings, device: torch.device | None) -> None:
    if settings.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif settings.offload == "sequential":
        # An attribute of this pipeline, not of its class.
        pipeline._exclude_from_cpu_offload = [*pipeline._exclude_from_cpu_offload, *_SMALL]
        pipeline.enable_sequential_cpu_offload(device=device)
    elif settings.offload == "group":
        for name, component in pipeline.components.items():
            if isinstance(component, nn.Module) and name in _SMALL:
                component.to(device)
            elif isinstance(component, nn.Module):
                # Only the video transformers are lists of blocks at the top; the MLLM and the VAE go leaf by leaf.
                is_blocks = name in _TRANSFORMERS
                apply_group_offloading(
                    component,
                    onload_device=device,
                    offload_device=torch.device("cpu"),
                    offload_type="block_level" if is_blocks else "leaf_level",
                    num_blocks_per_group=settings.group_blocks if is_blocks else None,
                    use_stream=settings.group_stream,
                )


def _compile_blocks(transformer: Any, backend: str) -> None:
    """Compile one kind of block for all layers; the list of blocks is set on this model, not on its class."""
    blocks = _BLOCKS.get(type(transformer).__name__)
    if blocks and not getattr(transformer, "_repeated_blocks", None):
        transformer._repeated_blocks = blocks
    transformer.compile_repeated_blocks(backend=backend)
