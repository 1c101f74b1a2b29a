"""Checkpoints: refuse one that is not whole, and write what makes one usable by itself.

Both libraries load a file in which weights are missing with no more than a warning, and what is missing is random or
empty then. Here that is an error.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    """Return a mark of a pipeline: its classes, its scheduler's settings, and some values of every weight and LoRA.

    It is quick for any size, since it looks at the first values of each weight only; settings that saving and loading
    rewrite are left out.
    """
    mark = hashlib.sha256()
    for name, component in sorted(components.items()):
        if component is None:
            continue
        mark.update(f"{name} {type(component).__name__}".encode())
        if isinstance(component, nn.Module):
            for weight_name, weight in sorted(component.named_parameters()):
                mark.update(f"{weight_name} {tuple(weight.shape)}".encode())
                if not weight.is_meta:
                    mark.update(weight.detach().flatten()[:_LOOKED_AT].float().cpu().numpy().tobytes())
        elif name == "scheduler":
            public = {key: value for key, value in dict(component.config).items() if not key.startswith("_")}
            mark.update(json.dumps(public, sort_keys=True, default=str).encode())
    return mark.hexdigest()


_LOOKED_AT = 16
"""Values of each weight that go into the mark."""


def write_shim(folder: Path) -> None:
    """Write `pipeline.py`, by which the base class of diffusers finds our pipeline."""
    (folder / "pipeline.py").write_text(SHIM, encoding="utf-8")
