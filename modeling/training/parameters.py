"""Which weights of a pipeline are trained: all of a component, a LoRA on its linear layers, or none.

| component | usual layers of a LoRA |
|---|---|
| mllm | attention of the language layers (`backbones/lora.py`); "mlp", and "vision" for the tower's attention |
| transformer | to_q, to_k, to_v, to_out.0 of every block, as in diffusers' CogVideoX example; "mlp" is the rest of it |

Words can be combined, as in ("attention", "mlp"); any other target is the end of a layer's name.

What is trained is held in float32, whatever type the rest has: a step of 1e-4 on a weight of 1 is lost in bfloat16.
A LoRA keeps its alpha beside its rank in `peft_config`, from where `save_lora` and `save_mllm_adapter` write it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import MllmLoraSettings, add_mllm_lora
from animeshooter_hf.modeling.training.content_marks import mark_bytes
from animeshooter_hf.modeling.training.settings import PARTS, PartSettings, PartsSettings

__all__ = ["ADAPTER_NAME", "changed_parts", "frozen_marks", "part_modules", "prepare_parts", "trained_parts"]

ADAPTER_NAME = "default"
"""Name of the LoRA that is trained."""

_TRANSFORMER_ATTENTION = r"attn\d?\.(?:to_[qkv]|to_out\.0)"
_TRANSFORMER_MLP = r"(?:ff|ffn)\.net\.(?:0\.proj|2)"
_LANGUAGE = MllmLoraSettings().target_modules
_VISION = (
    r".*\.(?:visual|vision_tower|vision_model)\..*"
    r"(?:attn|self_attn|attention)\.(?:qkv|proj|[qkv]_proj|out_proj|projection_layer)"
)


def part_modules(pipeline: Any) -> dict[str, tuple[nn.Module, ...]]:
    """Return component -> its modules; Wan 2.2's second expert goes with the first."""
    found = {
        "mllm": (pipeline.mllm,),
        "adapter": (pipeline.adapter,),
        "transformer": tuple(pipeline.transformers),
        "reference_latents": (pipeline.reference_latents,),
    }
    return {name: tuple(part for part in parts if part is not None) for name, parts in found.items()}


def prepare_parts(pipeline: Any, parts: PartsSettings) -> list[tuple[str, nn.Parameter]]:
    """Freeze a pipeline, add LoRAs, and return the names and weights that are trained, in an order of their own.

    Names begin with the component's. A second call finds the LoRA that the first one added.

    Args:
        pipeline: The pipeline; it is changed in place.
        parts: How each component is trained.

    Raises:
        InputError: Before anything is changed, if a component cannot be trained that way, or nothing is trained.
    """
    modules = part_modules(pipeline)
    for name in PARTS:
        _check(name, parts[name], modules[name])
    if all(parts[name].mode == "frozen" or not modules[name] for name in PARTS):
        raise InputError("Nothing is trained: set the mode of at least one part to full or lora.")
    for part in _components(pipeline).values():
        part.requires_grad_(False)
        part.eval()
    for name in PARTS:
        for module in modules[name]:
            if parts[name].mode == "lora":
                _add_lora(name, module, parts[name])
            elif parts[name].mode == "full":
                _own_weights(name, module)
    weights = [
        (f"{prefix}.{name}", weight)
        for prefix, part in _named_modules(modules)
        for name, weight in part.named_parameters()
        if weight.requires_grad
    ]
    for _, weight in weights:
        weight.data = weight.data.float()
    return weights


def trained_parts(pipeline: Any) -> tuple[str, ...]:
    """Return the components of which weights are trained."""
    return tuple(
        name
        for name, modules in part_modules(pipeline).items()
        if any(weight.requires_grad for module in modules for weight in module.parameters())
    )


def frozen_marks(pipeline: Any) -> dict[str, str]:
    """Return component -> hash of everything in it that is not trained, buffers included; every byte counts."""
    marks = {}
    for name, part in _components(pipeline).items():
        mark = hashlib.sha256()
        for key, value in sorted(_frozen_tensors(part)):
            mark.update(f"{key} {value.dtype} {tuple(value.shape)} {_mark_tensor(value)}".encode())
        marks[name] = mark.hexdigest()
    return marks


def changed_parts(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the components whose frozen weights are others; in a right training there is none."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _components(pipeline: Any) -> dict[str, nn.Module]:
    return {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}


def _named_modules(modules: dict[str, tuple[nn.Module, ...]]) -> Iterator[tuple[str, nn.Module]]:
    for name in PARTS:
        for number, module in enumerate(modules[name]):
            yield (name if not number else f"{name}.second"), module


def _check(name: str, part: PartSettings, modules: tuple[nn.Module, ...]) -> None:
    """Raise an InputError unless a component can be trained this way."""
    if part.mode == "frozen":
        return
    if not modules:
        if name == "reference_latents" and part.mode == "full":
            return  # "full" is the stages' default, and a pipeline without the path has nothing there to train.
        raise InputError(f"The pipeline has no {name}, so its mode must be frozen.")
    if part.mode == "full":
        if any(isinstance(layer, BaseTunerLayer) for module in modules for layer in module.modules()):
            raise InputError(f"{name} has a LoRA; merge it or remove it before all weights are trained.")
        return
    if name not in ("mllm", "transformer"):
        raise InputError(f"{name} has no layers for a LoRA; its mode is frozen or full.")
    if part.rank < 1:
        raise InputError(f"The rank of a LoRA must be a whole number of at least 1, got {part.rank!r}.")
    pattern = re.compile(_target_pattern(name, part.targets))
    for module in modules:
        if not any(pattern.fullmatch(_plain(key)) for key, _ in _linear_layers(module)):
            raise InputError(f"No linear layer of {name} fits the LoRA's targets {list(part.targets) or 'by default'}.")
        config = (getattr(module, "peft_config", None) or {}).get(ADAPTER_NAME)
        if config is not None and (config.r, float(config.lora_alpha)) != (part.rank, _alpha(part)):
            raise InputError(f"{name} has a LoRA of rank {config.r} and alpha {config.lora_alpha:g} already, which "
                             f"cannot go on with rank {part.rank} and alpha {_alpha(part):g}.")  # fmt: skip


def _alpha(part: PartSettings) -> float:
    return float(part.rank if part.alpha is None else part.alpha)


def _target_pattern(name: str, targets: Iterable[str]) -> str:
    """Return the pattern of the layers that get a LoRA.

    Args:
        name: The component.
        targets: Ends of layers' names, or "attention", "mlp", "vision"; empty for the usual ones.
    """
    if name == "mllm":
        known = {"attention": _LANGUAGE, "vision": _VISION}
        known["mlp"] = r".*\.(?:language_model|text_model)\.layers\.\d+\.mlp\.(?:gate_proj|up_proj|down_proj)"
    else:
        blocks = r"(?:transformer_blocks|blocks)\.\d+\."
        known = {"attention": blocks + _TRANSFORMER_ATTENTION, "mlp": blocks + _TRANSFORMER_MLP}
    ends = [target for target in targets if target not in known]
    patterns = [known[target] for target in targets if target in known] or ([] if ends else [known["attention"]])
    patterns += [rf"(?:.*\.)?{re.escape(end)}" for end in ends]
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _add_lora(name: str, module: Any, part: PartSettings) -> None:
    """Add a LoRA that changes nothing yet, or take up the one that is there."""
    if ADAPTER_NAME in (getattr(module, "peft_config", None) or {}):
        for key, weight in module.named_parameters():
            weight.requires_grad_(".lora_" in key and f".{ADAPTER_NAME}." in f"{key}.")
        return
    alpha = _alpha(part)
    pattern = _target_pattern(name, part.targets)
    if name == "mllm":
        add_mllm_lora(module, MllmLoraSettings(rank=part.rank, alpha=alpha, target_modules=pattern),
                      adapter_name=ADAPTER_NAME)  # fmt: skip
        return
    module.add_adapter(LoraConfig(r=part.rank, lora_alpha=alpha, target_modules=pattern), ADAPTER_NAME)


def _own_weights(name: str, module: Any) -> None:
    """Let all weights of a component take gradients; the MLLM's head for words, which nothing here reads, stays."""
    module.requires_grad_(True)
    head = module.get_output_embeddings() if name == "mllm" else None
    if head is not None and head.weight is not module.get_input_embeddings().weight:
        head.requires_grad_(False)


def _linear_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for key, layer in module.named_modules():
        if isinstance(layer, nn.Linear | BaseTunerLayer):
            yield key, layer


def _plain(key: str) -> str:
    return key.replace(".base_layer", "")


def _frozen_tensors(part: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Return what is not trained, under the names that it has without a LoRA."""
    for key, weight in part.named_parameters():
        if not weight.requires_grad:
            yield _plain(key), weight
    for key, buffer in part.named_buffers():
        yield _plain(key), buffer


def _mark_tensor(value: Tensor) -> str:
    if value.is_meta:
        return "meta"
    raw = value.detach().cpu().contiguous().flatten().view(torch.uint8)
    return mark_bytes(raw.numpy().tobytes())
