"""Switch the LoRAs of a transformer for one shot, and back.

Which LoRAs are switched on, and how strongly, is no part of the weights, but changes what is made; so it is part of a
pipeline's mark.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer

from animeshooter_hf.errors import InputError

__all__ = ["check_lora_names", "lora_mark", "lora_weights_set"]


def check_lora_names(transformers: Sequence[Any], weights: Mapping[str, float] | None) -> None:
    """Raise an InputError unless every LoRA is loaded into one of the transformers."""
    loaded = {name for transformer in transformers for name in _loaded(transformer)}
    for name in weights or {}:
        if name not in loaded:
            raise InputError(f"There is no LoRA {name!r}; loaded are {', '.join(sorted(loaded)) or 'none'}.")


def lora_mark(transformers: Sequence[Any]) -> str:
    """Return a mark of what is switched on, or "" where no LoRA is loaded."""
    layers = [layer for transformer in transformers for layer in _layers(transformer)]
    if not layers:
        return ""
    mark = hashlib.sha256()
    for layer in layers:
        active = [] if layer.disable_adapters else sorted(layer.active_adapters)
        scales = [(name, layer.scaling[name]) for name in active if name in layer.scaling]
        mark.update(repr(scales).encode())
    return mark.hexdigest()


@contextmanager
def lora_weights_set(transformers: Sequence[Any], weights: Mapping[str, float] | None) -> Iterator[None]:
    """Use these LoRAs with these weights, then what was used before; None leaves all as it is."""
    if weights is None:
        yield
        return
    layers = [layer for transformer in transformers for layer in _layers(transformer)]
    before = [(layer, dict(layer.scaling), list(layer.active_adapters), layer.disable_adapters) for layer in layers]
    try:
        for transformer in transformers:
            names = [name for name in weights if name in _loaded(transformer)]
            for layer in _layers(transformer):
                layer.enable_adapters(enabled=bool(names))
            if names:
                transformer.set_adapters(names, [weights[name] for name in names])
        yield
    finally:
        for layer, scaling, active, disabled in before:
            layer.scaling.update(scaling)
            layer.set_adapter(active)
            layer.enable_adapters(enabled=not disabled)


def _loaded(transformer: Any) -> list[str]:
    return sorted(getattr(transformer, "peft_config", None) or {})


def _layers(transformer: Any) -> list[Any]:
    return [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
