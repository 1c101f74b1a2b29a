"""Marks of contents: what a cached value was made from, as a hash.

A key of the cache is made of such marks alone, never of names, sizes or times, so a value whose file, model or
preparation has changed has another key and cannot be found any more. A mark is SHA-256 in hex.

A model's mark is made of all its weights and buffers, its settings, its class and the library's version (two parts,
such as 0.42; classes of ours: their source file). A revision of the Hub adds nothing to that, and the same weights from
a folder have the same mark.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from animeshooter_hf.errors import InputError

__all__ = ["mark_array", "mark_bytes", "mark_code", "mark_module", "mark_of", "mark_picture"]

_HASH_THREADS = 4
"""Weights are hashed by so many threads; hashing leaves the interpreter alone. Our choice."""

_NOT_SETTINGS = frozenset(("transformers_version", "torch_dtype", "dtype", "architectures"))
"""Keys of a transformers config that say how it was written, not what the model does; types show in the weights."""


def mark_of(*parts: Any) -> str:
    """Return the mark of plain values: texts, numbers, None, and lists and dicts of them.

    Raises:
        TypeError: If a part is something else.
    """
    return mark_bytes(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode())


def mark_bytes(data: bytes | memoryview) -> str:
    """Return the mark of a file's bytes."""
    return hashlib.sha256(data).hexdigest()


def mark_array(array: NDArray[Any]) -> str:
    """Return the mark of an array: its type, shape and values."""
    mark = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    mark.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return mark.hexdigest()


def mark_picture(image: Image.Image) -> str:
    """Return the mark of a picture's channels and pixels."""
    return mark_of("picture", image.mode, mark_array(np.asarray(image)))


@cache
def mark_code(package: str) -> str:
    """Return the mark of a package's Python files, for what is made by code instead of read from a file.

    Raises:
        InputError: If there is no such package.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"There is no package {package} whose code could be hashed.")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = sorted(root.rglob("*.py"))
    return mark_of(package, {str(file.relative_to(root)): mark_bytes(file.read_bytes()) for file in files})


def mark_module(module: nn.Module) -> str:
    """Return the mark of a model; all of it is read, which takes about a second per 2 GB.

    Raises:
        InputError: If weights are not in memory, because they were never loaded or are offloaded.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    away = next((name for name, tensor in named if tensor.is_meta), None)
    if away is not None:
        raise InputError(
            f"The weight {away} of {type(module).__name__} is not in memory, so nothing that the model computes can be "
            "cached. Load it whole, and fill the cache before offloading is switched on."
        )
    with ThreadPoolExecutor(_HASH_THREADS) as pool:
        weights = dict(zip((name for name, _ in named), pool.map(_mark_tensor, (one for _, one in named)), strict=True))
    return mark_of("module", _code_of(type(module)), _settings_of(module), weights, list(_lora_scales(module)))


def _mark_tensor(tensor: Tensor) -> str:
    # torchao's quantized weights can be unpacked, but not viewed as bytes.
    values = tensor.dequantize() if "torchao" in type(tensor).__module__ else tensor.detach()
    flat = values.cpu().contiguous().flatten()
    mark = hashlib.sha256(f"{values.dtype} {tuple(values.shape)} ".encode())
    mark.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return mark.hexdigest()


def _settings_of(module: nn.Module) -> Any:
    """Return a model's settings as plain values, without where it came from."""
    config: Any = getattr(module, "config", {})
    found = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return _plain(found)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {str(key): one for key, one in value.items() if str(key) not in _NOT_SETTINGS}
        return {key: _plain(one) for key, one in kept.items() if not key.startswith("_")}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _lora_scales(module: nn.Module) -> Iterator[Any]:
    """Yield what a LoRA does beside its weights: its scale, and whether it is active or merged."""
    for name, layer in module.named_modules():
        scales = getattr(layer, "scaling", None)
        if isinstance(scales, dict):
            active = [str(one) for one in getattr(layer, "active_adapters", ())]
            yield [name, _plain(scales), active, _plain(list(getattr(layer, "merged_adapters", ())))]


def _code_of(kind: type) -> str:
    """Return a mark of a class's code: the library and its version, or the source file where there is none."""
    library = kind.__module__.split(".")[0]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if library != "animeshooter_hf":
        try:
            return f"{name} {'.'.join(version(library).split('.')[:2])}"
        except PackageNotFoundError:
            pass
    try:
        return f"{name} {mark_bytes(Path(inspect.getfile(kind)).read_bytes())}"
    except (OSError, TypeError):  # a class that was made in a session
        return name
