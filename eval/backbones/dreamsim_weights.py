"""Read DreamSim's published checkpoints: base networks and LoRA, merged into plain weights, nothing left over.

The authors' package downloads a zip whose folder holds torch files of the base networks and one folder with a LoRA:

    dino_vitb16        dino_vitb16_pretrain.pth (DINO's full training state), dino_vitb16_single_lora/
    clip_vitb32        clip_vitb32_pretrain.pth.tar, clip_vitb32_single_lora/
    open_clip_vitb32   open_clip_vitb32_pretrain.pth.tar, open_clip_vitb32_single_lora/
    ensemble           the three at vitb16, ensemble_lora/

DINO's own weights come from torch.hub there and lie in checkpoints/dino_vitbase16_pretrain.pth afterwards; without that
file the teacher of the training state is taken, which is the same network.

`write_merged` keeps the merged weights as one safetensors file, which loads faster and is no pickle.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.pretrained import Checkpoint, read_state

__all__ = ["MERGED_FILE", "read_dreamsim", "write_merged"]

MERGED_FILE = "dreamsim_merged.safetensors"
"""What `write_merged` makes."""

_LORA_FOLDERS = {1: "{branch}_single_lora", 3: "ensemble_lora"}
_ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model.extractor_list.{index}.model."


def read_dreamsim(checkpoint: Checkpoint, branches: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Return branch -> merged weights under DINO's names; those of CLIP have a "proj" of shape (width, D) as well.

    Args:
        checkpoint: A folder as the authors' zip has it, or with the file of `write_merged`.
        branches: Such as ("clip_vitb32",), or the three of the ensemble.

    Raises:
        InputError: If a file, a branch or a weight is missing, or one is left over.
    """
    merged = checkpoint.folder / MERGED_FILE
    if merged.is_file():
        return _read_merged(merged, branches)
    lora = checkpoint.folder / _LORA_FOLDERS[len(branches)].format(branch=branches[0])
    settings, weights = _read_lora(lora)
    states = {}
    for index, branch in enumerate(branches):
        base = _read_base(checkpoint.folder, branch)
        states[branch] = _merge(base, settings, weights, _PREFIX.format(index=index), lora)
    if weights:
        raise InputError(f"{lora} holds weights that are not known: {len(weights)}, such as {min(weights)}.")
    return states


def write_merged(states: Mapping[str, Mapping[str, Tensor]], folder: Path) -> Path:
    """Write merged weights as one safetensors file, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MERGED_FILE
    partial = path.with_suffix(".partial")
    named = {
        f"{branch}.{name}": weight.contiguous() for branch, state in states.items() for name, weight in state.items()
    }
    save_file(named, partial)
    partial.replace(path)
    return path


def _read_merged(path: Path, branches: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    states: dict[str, dict[str, Tensor]] = {}
    for name, weight in read_state(path).items():
        branch, _, rest = name.partition(".")
        states.setdefault(branch, {})[rest] = weight
    if set(states) != set(branches):
        raise InputError(f"{path} holds {', '.join(sorted(states))}; this backend is {', '.join(branches)}.")
    return states


def _read_base(folder: Path, branch: str) -> dict[str, Tensor]:
    if branch.startswith("dino"):
        return _read_dino(folder, branch)
    state = read_state(_existing(folder / f"{branch}_pretrain.pth.tar")).get("state_dict")
    if not isinstance(state, dict) or "proj" not in state:
        raise InputError(f"{folder / branch}_pretrain.pth.tar lacks weights: state_dict with proj.")
    return {name: weight.float() for name, weight in state.items()}


def _read_dino(folder: Path, branch: str) -> dict[str, Tensor]:
    hub = folder / "checkpoints" / "dino_vitbase16_pretrain.pth"
    if hub.is_file():
        return {name: weight.float() for name, weight in read_state(hub).items()}
    path = _existing(folder / f"{branch}_pretrain.pth")
    teacher = read_state(path).get("teacher")
    if not isinstance(teacher, dict):
        raise InputError(f"{path} lacks weights: it has no teacher. Put dino_vitbase16_pretrain.pth into {hub.parent}.")
    names = {name.removeprefix("module."): weight for name, weight in teacher.items()}
    prefix = "backbone."
    return {name.removeprefix(prefix): weight.float() for name, weight in names.items() if name.startswith(prefix)}


def _read_lora(folder: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    path = _existing(folder / "adapter_config.json")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        kind = (settings.get("bias", "none"), bool(settings.get("use_rslora")), bool(settings.get("use_dora")))
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as the settings of a LoRA: {error}.") from error
    if kind != ("none", False, False) or rank < 1 or settings.get("fan_in_fan_out"):
        raise InputError(f"{path} is of a LoRA that is not plain: bias, rsLoRA, DoRA or fan_in_fan_out.")
    file = next((folder / name for name in _ADAPTER_FILES if (folder / name).is_file()), folder / _ADAPTER_FILES[0])
    return {"rank": rank, "scale": alpha / rank}, read_state(_existing(file))


def _merge(
    base: dict[str, Tensor], settings: Mapping[str, Any], lora: dict[str, Tensor], prefix: str, folder: Path
) -> dict[str, Tensor]:
    """Return the base with W + scale B A for every pair, and take the pairs out of the LoRA."""
    state = dict(base)
    layers = sorted({name.split(".lora_")[0] for name in lora if name.startswith(prefix)})
    if not layers:
        raise InputError(f"{folder} lacks weights: none begins with {prefix}.")
    for layer in layers:
        pair = [lora.pop(f"{layer}.lora_{half}.weight", None) for half in ("A", "B")]
        name = f"{layer.removeprefix(prefix)}.weight"
        if pair[0] is None or pair[1] is None or name not in state:
            raise InputError(f"{folder} does not fit the base network: {layer}.")
        low, high = pair[0].float(), pair[1].float()
        if low.shape != (settings["rank"], state[name].shape[1]) or high.shape != (state[name].shape[0], len(low)):
            raise InputError(f"{folder} has weights of another shape: {layer}.")
        state[name] = state[name] + settings["scale"] * torch.matmul(high, low)
    depth = len({name.split(".")[1] for name in base if name.startswith("blocks.")})
    if len(layers) % depth:
        raise InputError(f"{folder} lacks weights: {len(layers)} layers for {depth} blocks.")
    return state


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"The checkpoint is not whole: {path} is missing.")
    return path
