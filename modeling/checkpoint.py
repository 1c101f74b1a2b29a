"""Checkpoints: refuse one that is not whole, and write what makes one usable by itself.

Both libraries load a file in which weights are missing with no more than a warning, and what is missing is random or
empty then. Here that is an error.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from animeshooter_hf.errors import InputError

__all__ = ["check_folder", "fingerprint", "missing_weights", "write_shim"]

SHIM = '''import animeshooter_hf


class AnimeShooterGenPipeline(animeshooter_hf.AnimeShooterGenPipeline):
    """So that `DiffusionPipeline.from_pretrained(..., custom_pipeline=..., trust_remote_code=True)` finds the class."""
'''
"""The checkpoint's `pipeline.py`. diffusers takes it only if exactly one pipeline class stands in it."""


def check_folder(folder: Path, pipeline_class: str) -> None:
    """Raise an InputError unless a folder holds a checkpoint of the pipeline with all the files that it names."""
    index = folder / "model_index.json"
    try:
        named = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no checkpoint: it has no model_index.json.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{index} cannot be read as JSON.") from error
    if not isinstance(named, dict) or named.get("_class_name") != pipeline_class:
        found = named.get("_class_name") if isinstance(named, dict) else type(named).__name__
        raise InputError(f"{folder} is a checkpoint of {found}, not of {pipeline_class}.")
    for name, entry in named.items():
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] is None:
            continue
        part = folder / name
        if not part.is_dir() or not any(part.iterdir()):
            raise InputError(f"The checkpoint {folder} is not whole: the folder {name} is missing or empty.")
        for shards in part.glob("*.safetensors.index.json"):
            _check_shards(shards)


def _check_shards(index: Path) -> None:
    try:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{index} cannot be read.") from error
    for file in sorted(files):
        if not (index.parent / file).is_file():
            raise InputError(f"The checkpoint is not whole: {index.parent / file} is missing.")


def missing_weights(component: Any) -> list[str]:
    """Return the names of weights that a component's checkpoint should have held and did not.

    diffusers leaves such a weight on the "meta" device; transformers makes it random and does not mark it as loaded.
    """
    if not isinstance(component, nn.Module) or getattr(component, "hf_quantizer", None) is not None:
        return []
    named = [*component.named_parameters(), *component.named_buffers()]
    if type(component).__module__.startswith("transformers."):
        weights = [(name, weight) for name, weight in component.named_parameters() if "lora_" not in name]
        was_loaded = any(getattr(weight, "_is_hf_initialized", False) for _, weight in weights)
        unmarked = [name for name, weight in weights if not getattr(weight, "_is_hf_initialized", False)]
        return unmarked if was_loaded else []
    hooked = any(hasattr(module, "_hf_hook") for module in component.modules())
    return [] if hooked else [name for name, weight in named if weight.is_meta]


def fingerprint(components: Mapping[str, Any]) -> str:
    """Return a mark of a pipeline: its classes, settings, LoRAs and query tokens.

    It is quick for any size, so it does not look at every weight; the query tokens differ between any two trainings.
    """
    mark = hashlib.sha256()
    for name, component in sorted(components.items()):
        if component is None:
            continue
        config = getattr(component, "config", None)
        raw = config.to_dict() if config is not None and hasattr(config, "to_dict") else dict(config or {})
        public = {key: value for key, value in raw.items() if not key.startswith("_") and key not in _FLEETING}
        mark.update(f"{name} {type(component).__name__} {json.dumps(public, sort_keys=True, default=str)}".encode())
        mark.update(repr(sorted(getattr(component, "peft_config", {}) or {})).encode())
        queries = getattr(component, "query_tokens", None)
        if isinstance(queries, torch.Tensor):
            mark.update(queries.detach().float().cpu().numpy().tobytes())
    return mark.hexdigest()


_FLEETING = ("transformers_version", "dtype", "torch_dtype", "architectures", "attn_implementation")
"""Settings that saving and loading change."""


def write_shim(folder: Path) -> None:
    """Write `pipeline.py`, by which the base class of diffusers finds our pipeline."""
    (folder / "pipeline.py").write_text(SHIM, encoding="utf-8")
