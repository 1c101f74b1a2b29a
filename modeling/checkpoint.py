"""Checkpoints: refuse one that is not whole, and write what makes one usable by itself.

Both libraries load a file in which weights are missing with no more than a warning, and what is missing is random or
empty then. Here that is an error.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

# diffusers looks for the classes that model_index.json names among modules that are imported, and imports none itself.
import animeshooter_hf.modeling.adapter
import animeshooter_hf.modeling.decoders.reference_latents  # noqa: F401 - see above
from animeshooter_hf.errors import InputError

__all__ = [
    "HOLDS_LORA",
    "align_weights",
    "check_folder",
    "fingerprint",
    "is_ours",
    "missing_weights",
    "write_component_shims",
    "write_shim",
]

HOLDS_LORA = "animeshooter_holds_lora"
"""Key of a component's config.json that says that a LoRA belongs to it, so that one that was lost is found out."""

_ALIGNMENT = 64
"""Bytes; torch's own allocations on the CPU begin at multiples of it."""

SHIM = '''import animeshooter_hf


class AnimeShooterGenPipeline(animeshooter_hf.AnimeShooterGenPipeline):
    """So that `DiffusionPipeline.from_pretrained(..., custom_pipeline=..., trust_remote_code=True)` finds the class."""
'''
"""The checkpoint's `pipeline.py`. diffusers takes it only if exactly one pipeline class stands in it."""


def check_folder(folder: Path, pipeline_class: str, *, given: Iterable[str] = ()) -> None:
    """Raise an InputError unless a folder holds a checkpoint of the pipeline with all the files that it names.

    Args:
        folder: The checkpoint.
        pipeline_class: Name of the class that it must be of.
        given: Components that are not loaded from the folder, and need not be there.
    """
    index = folder / "model_index.json"
    try:
        named = json.loads(index.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder} is no checkpoint: it has no model_index.json.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{index} cannot be read as JSON.") from error
    if not isinstance(named, dict) or named.get("_class_name") != pipeline_class:
        found = named.get("_class_name") if isinstance(named, dict) else type(named).__name__
        raise InputError(f"{folder} is a checkpoint of {found}, not of {pipeline_class}.")
    for name, entry in named.items():
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] is None or name in given:
            continue
        if not all(isinstance(word, str) for word in entry):
            raise InputError(f"{index} names the class of {name} as {entry!r}, not as a library and a class.")
        part = folder / name
        if not part.is_dir() or not any(part.iterdir()):
            raise InputError(f"The checkpoint {folder} is not whole: the folder {name} is missing or empty.")
        for shards in part.glob("*.safetensors.index.json"):
            _check_shards(shards)
        for weights in sorted(part.glob("*.safetensors")):
            _check_readable(weights)


def _check_shards(index: Path) -> None:
    try:
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{index} cannot be read.") from error
    for file in sorted(files):
        if not (index.parent / file).is_file():
            raise InputError(f"The checkpoint is not whole: {index.parent / file} is missing.")


def _check_readable(weights: Path) -> None:
    """Raise an InputError unless a file has a whole header and is as long as that says; its tensors are not read."""
    try:
        with safe_open(weights, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise InputError(f"{weights} cannot be loaded: it is broken, or no safetensors file.") from error


def missing_weights(component: Any) -> list[str]:
    """Return the names of weights that a component's checkpoint should have held and did not.

    diffusers leaves such a weight on the "meta" device; transformers makes it random and does not mark it as loaded.
    A LoRA that belongs to a model and did not come with it counts too: diffusers downloads none.
    """
    if not isinstance(component, nn.Module) or getattr(component, "hf_quantizer", None) is not None:
        return []
    config = getattr(component, "config", None)
    if getattr(config, HOLDS_LORA, False) and not getattr(component, "peft_config", None):
        return ["adapter_model.safetensors"]
    named = [*component.named_parameters(), *component.named_buffers()]
    if type(component).__module__.startswith("transformers."):
        weights = [(name, weight) for name, weight in component.named_parameters() if "lora_" not in name]
        was_loaded = any(getattr(weight, "_is_hf_initialized", False) for _, weight in weights)
        unmarked = [name for name, weight in weights if not getattr(weight, "_is_hf_initialized", False)]
        return unmarked if was_loaded else []
    hooked = any(hasattr(module, "_hf_hook") for module in component.modules())
    return [] if hooked else [name for name, weight in named if weight.is_meta]


def align_weights(components: Mapping[str, Any]) -> None:
    """Move weights in the CPU's memory to where new ones lie, at multiples of 64 bytes.

    Loaded ones lie wherever the file has them, and kernels round otherwise where vectors begin elsewhere: frames of a
    Wan that was saved and loaded differed by a grey level.
    """
    for component in components.values():
        if isinstance(component, nn.Module):
            for tensor in (*component.parameters(), *component.buffers()):
                if tensor.device.type == "cpu" and type(tensor.data) is Tensor and tensor.data_ptr() % _ALIGNMENT:
                    tensor.data = tensor.data.clone()


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
                    # torchao's quantized weights can be unpacked, but not flattened.
                    values = weight.dequantize() if "torchao" in type(weight).__module__ else weight.detach()
                    mark.update(values.flatten()[:_LOOKED_AT].float().cpu().numpy().tobytes())
        elif name == "scheduler":
            public = {key: value for key, value in dict(component.config).items() if not key.startswith("_")}
            mark.update(json.dumps(public, sort_keys=True, default=str).encode())
    return mark.hexdigest()


_LOOKED_AT = 16
"""Values of each weight that go into the mark."""


def write_shim(folder: Path) -> None:
    """Write `pipeline.py`, by which the base class of diffusers finds our pipeline."""
    (folder / "pipeline.py").write_text(SHIM, encoding="utf-8")


def write_component_shims(folder: Path) -> None:
    """Write a file beside each component whose class is ours.

    The base class of diffusers refuses to download a repository that names another library's class without one, and
    runs it if it is told to trust the repository. Our own class never does.
    """
    named = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for name, entry in named.items():
        if is_ours(entry):
            module, class_name = entry
            text = f'from {module} import {class_name}\n\n__all__ = ["{class_name}"]\n'
            (folder / name / f"{module}.py").write_text(text, encoding="utf-8")


def is_ours(entry: Any) -> bool:
    """Return whether an entry of model_index.json names a class of this library."""
    return isinstance(entry, list) and len(entry) == 2 and str(entry[0]).startswith("animeshooter_hf.")
