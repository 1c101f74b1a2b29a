"""Step caches of diffusers: reuse parts of one denoising step in the next. Faster, never exact, so off by default.

| name | what is reused | source |
|---|---|---|
| pab | outputs of attention (Pyramid Attention Broadcast) | arXiv 2408.12588 |
| faster | outputs of attention, and the negative prediction (FasterCache) | arXiv 2410.19355 |
| first_block | all blocks, as long as the first one changes little | ParaAttention |
| mag | all blocks, by magnitudes measured beforehand (MagCache) | arXiv 2506.09045 |
| taylorseer | a Taylor series of each module's output | arXiv 2503.06923 |

What a cache holds belongs to one shot. The diffusers pipelines empty it at the end of every run, so each shot equals a
fresh run. "pab" and "faster" ask for the current timestep; they are answered from the transformer's own calls, so they
work under any pipeline around it.
"""

import weakref
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from torch import nn

from animeshooter_hf.errors import InputError

__all__ = ["STEP_CACHES", "check_step_cache", "disable_step_cache", "enable_step_cache"]

STEP_CACHES: dict[str, Any] = {
    "pab": PyramidAttentionBroadcastConfig,
    "faster": FasterCacheConfig,
    "first_block": FirstBlockCacheConfig,
    "mag": MagCacheConfig,
    "taylorseer": TaylorSeerCacheConfig,
}
"""Name -> settings class of diffusers."""

_OUR_OPTIONS: dict[str, dict[str, Any]] = {
    # The paper's value for spatial attention; diffusers leaves it unset.
    "pab": {"spatial_attention_block_skip_range": 2},
    # The names that diffusers 0.42 looks for by default ("...attn", matched in full) fit neither CogVideoX ("attn1")
    # nor Wan: its TaylorSeer then caches nothing, and does not say so.
    "taylorseer": {"cache_identifiers": [r"(transformer_)?blocks\.\d+\.attn\d"]},
}
"""Options that a cache needs to do anything here."""

_CLOCKS: "weakref.WeakKeyDictionary[Any, _Clock]" = weakref.WeakKeyDictionary()


class _Clock:
    """The timestep of the transformer's last call."""

    def __init__(self, transformer: nn.Module) -> None:
        self.timestep = 1000.0
        self.hook = transformer.register_forward_pre_hook(self._read, with_kwargs=True)

    def _read(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self.timestep = float(kwargs["timestep"].max())

    def __call__(self) -> float:
        return self.timestep


def check_step_cache(name: str, options: Mapping[str, Any]) -> None:
    """Raise an InputError unless this is a step cache and it has such options."""
    if name not in STEP_CACHES:
        raise InputError(f"step_cache must be one of {', '.join(STEP_CACHES)}, got {name!r}.")
    known = {field.name for field in fields(STEP_CACHES[name])} - {"current_timestep_callback"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise InputError(f"The step cache {name!r} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}.")


def enable_step_cache(transformer: Any, name: str, options: Mapping[str, Any] | None = None) -> None:
    """Switch a step cache on, in place of any that is on.

    Args:
        transformer: A CogVideoX or Wan transformer.
        name: One of `STEP_CACHES`.
        options: Fields of its settings class. "mag" needs `mag_ratios`, which belong to one checkpoint, and
            `num_inference_steps`, which has to be the call's.

    Raises:
        InputError: If the name, an option or its value is not possible, or the cache does not fit the transformer.
    """
    options = dict(options or {})
    check_step_cache(name, options)
    is_wan = type(transformer).__name__.startswith("Wan")
    if name == "faster" and is_wan:
        raise InputError("FasterCache needs both predictions of guidance in one call, but Wan's pipelines make two.")
    if name == "faster":
        options = {"tensor_format": "BFCHW", **options}
    disable_step_cache(transformer)
    if name in ("pab", "faster"):
        clock = _Clock(transformer)
        options["current_timestep_callback"] = clock
        _CLOCKS[transformer] = clock
    hooks = _num_hooks(transformer)
    try:
        transformer.enable_cache(STEP_CACHES[name](**{**_OUR_OPTIONS.get(name, {}), **options}))
    except (ValueError, TypeError) as error:
        disable_step_cache(transformer)
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"The step cache {name!r} cannot be switched on: {first.strip()}") from error
    if _num_hooks(transformer) == hooks:
        disable_step_cache(transformer)
        raise InputError(f"With these options the step cache {name!r} finds nothing to cache in "
                         f"{type(transformer).__name__}.")  # fmt: skip


def disable_step_cache(transformer: Any) -> None:
    """Switch off the step cache, if one is on."""
    if transformer.is_cache_enabled:
        transformer.disable_cache()
    clock = _CLOCKS.pop(transformer, None)
    if clock is not None:
        clock.hook.remove()


def _num_hooks(transformer: nn.Module) -> int:
    """Return how many hooks of diffusers hang on the transformer and what it is made of."""
    registries = [getattr(module, "_diffusers_hook", None) for module in transformer.modules()]
    return sum(len(registry.hooks) for registry in registries if registry is not None)
