"""LoRA on the MLLM: add one, save it alone, load it back exactly.

Saved is an adapter and nothing else: two small files with a pointer to the model that they belong to. So a checkpoint
need not hold the MLLM's weights, and `from_pretrained` of transformers follows the pointer. The alpha is kept with the
rank; one without the other loads with another strength.

Source: AnimeShooter, arXiv 2506.03126, section B.2 trains a LoRA on the MLLM; it gives no rank.
"""

import copy
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from animeshooter_hf.errors import InputError

__all__ = ["MllmLoraSettings", "add_mllm_lora", "load_mllm_adapter", "portable_base", "save_mllm_adapter"]

_PREFIX = "base_model.model."
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_TARGETS = (
    r".*\.(language_model|text_model)\.layers\.\d+\."
    r"(self_attn\.[qkvo]_proj|linear_attn\.(in_proj_qkv|in_proj_z|out_proj))"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MllmLoraSettings:
    """Settings of a LoRA on the MLLM."""

    rank: int = 64
    """Rank. Our choice; the paper gives none."""

    alpha: float = 128
    """Strength; the LoRA's output is scaled by alpha over rank. Our choice."""

    dropout: float = 0.0
    """Dropout in front of the LoRA, in training."""

    target_modules: str = _TARGETS
    """Pattern of the linear layers that get one. Ours: the attention of the text model, and no vision tower's."""

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0 or not 0 <= self.dropout < 1:
            raise InputError(
                "A LoRA needs rank >= 1, alpha > 0 and dropout in [0, 1), "
                f"got {self.rank}, {self.alpha} and {self.dropout}."
            )


def add_mllm_lora(
    mllm: Any,
    settings: MllmLoraSettings = MllmLoraSettings(),
    *,
    adapter_name: str = "default",
) -> list[str]:
    """Add a LoRA to the MLLM in place and return the names of the layers that got one.

    It changes nothing until it is trained: its second matrix starts at 0. Only its weights take gradients afterwards.

    Raises:
        InputError: If there is one of that name already, or no layer fits the pattern.
    """
    if adapter_name in (getattr(mllm, "peft_config", None) or {}):
        raise InputError(f"The model has a LoRA {adapter_name!r} already.")
    pattern = re.compile(settings.target_modules)
    if not any(pattern.fullmatch(name) for name, _ in mllm.named_modules()):
        raise InputError(f"No layer of {type(mllm).__name__} fits the LoRA's target_modules.")
    mllm.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=settings.target_modules,
        ),
        adapter_name,
    )
    marker = f".lora_A.{adapter_name}"
    return [name.removesuffix(marker) for name, _ in mllm.named_modules() if name.endswith(marker)]


def save_mllm_adapter(
    mllm: Any, folder: str | Path, *, base: str | None = None, base_revision: str | None = None, name: str = "default"
) -> Path:
    """Write a LoRA of the MLLM, without the MLLM, and return the folder.

    Args:
        mllm: The model that has it.
        folder: Where to write.
        base: What it belongs to: a repository on the Hub, or a folder given by a relative path. None takes what the
            model was loaded from, which must then be a repository.
        base_revision: The repository's revision.
        name: Of the LoRA.

    Raises:
        InputError: If there is no such LoRA, or the pointer would only be good on this machine.
    """
    configs = getattr(mllm, "peft_config", None) or {}
    if name not in configs:
        raise InputError(f"The model has no LoRA {name!r}; it has {', '.join(sorted(configs)) or 'none'}.")
    config = copy.deepcopy(configs[name])
    config.base_model_name_or_path = portable_base(base, mllm)
    config.revision = base_revision
    config.inference_mode = True
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    # Embeddings have no LoRA here; to find that out by itself, peft would ask for the base model's files.
    weights = get_peft_model_state_dict(mllm, adapter_name=name, save_embedding_layers=False)
    tensors = {_PREFIX + key: value.detach().cpu().contiguous() for key, value in weights.items()}
    save_file(tensors, path / _WEIGHTS, metadata={"format": "pt"})
    config.save_pretrained(str(path))
    return path


def load_mllm_adapter(mllm: Any, folder: str | Path, *, name: str = "default", is_trainable: bool = False) -> None:
    """Load a LoRA that `save_mllm_adapter` wrote into an MLLM, in place.

    Args:
        mllm: The model that it belongs to.
        folder: Where it stands.
        name: Of the LoRA in the model.
        is_trainable: Whether its weights take gradients.

    Raises:
        InputError: Before the model is touched, if it cannot be read or belongs to another model.
    """
    path = Path(folder)
    _check_fits(mllm, path)
    if name in (getattr(mllm, "peft_config", None) or {}):
        raise InputError(f"The model has a LoRA {name!r} already; give another name.")
    mllm.load_adapter(str(path), adapter_name=name, is_trainable=is_trainable)


def portable_base(base: str | None, mllm: Any) -> str:
    """Return the pointer to the base model, checked to be good on other machines too.

    Args:
        base: A repository or a relative path; None takes what the model was loaded from.
        mllm: The model.

    Raises:
        InputError: If the pointer would only be good on this machine.
    """
    pointer = str(mllm.config._name_or_path) if base is None else base
    is_repository = re.fullmatch(r"[\w.-]+/[\w.-]+", pointer) and not Path(pointer).exists()
    if not (is_repository if base is None else pointer and not Path(pointer).is_absolute()):
        raise InputError(
            f"The base of the multimodal model, {pointer!r}, cannot be found from another machine. "
            "Give base= its repository on the Hub."
        )
    return pointer


def _check_fits(mllm: Any, folder: Path) -> None:
    """Raise an InputError unless the folder holds a LoRA whose layers the model has, in the same sizes."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no dict
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder} holds no LoRA that can be read: {_CONFIG} and {_WEIGHTS} are needed.") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA" or not shapes:
        raise InputError(f"{folder} holds no LoRA but {kind!r}.")
    layers = dict(mllm.named_modules())
    for key, shape in shapes.items():
        layer_name, _, matrix = key.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        layer = layers.get(layer_name)
        features = {"lora_A": getattr(layer, "in_features", None), "lora_B": getattr(layer, "out_features", None)}
        if features.get(matrix) is None or features[matrix] != shape[{"lora_A": 1, "lora_B": 0}[matrix]]:
            pointer = config.get("base_model_name_or_path")
            raise InputError(
                f"The LoRA in {folder} is for another model ({pointer}): {type(mllm).__name__} has no layer "
                f"{layer_name} of that size."
            )
