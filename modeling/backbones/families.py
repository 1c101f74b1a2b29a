"""Which families of MLLMs there are, whose class knows them, and where each family's usual weights come from.

NVILA, the paper's MLLM, is not among them: it is no part of transformers, so it runs only with code from its
repository, and its weights may not be used commercially. Loading it behind a trust flag was considered and left out: no
toy model of it can be made here, so nothing about it could be tested, and its code takes neither explicit positions
nor a cache in the way that this one does.
"""

from dataclasses import dataclass
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones.base import Backbone
from animeshooter_hf.modeling.backbones.gemma3 import Gemma3Backbone
from animeshooter_hf.modeling.backbones.llava_like import (
    InternVLBackbone,
    LlavaBackbone,
    LlavaOnevisionBackbone,
    SmolVLMBackbone,
)
from animeshooter_hf.modeling.backbones.qwen_vl import QwenVLBackbone

__all__ = ["BACKBONES", "USUAL_CHECKPOINTS", "UsualCheckpoint", "backbone_for"]

_CLASSES: tuple[type[Backbone], ...] = (
    QwenVLBackbone,
    InternVLBackbone,
    LlavaBackbone,
    LlavaOnevisionBackbone,
    SmolVLMBackbone,
    Gemma3Backbone,
)

BACKBONES: dict[str, type[Backbone]] = {name: family for family in _CLASSES for name in family.model_types}
"""`config.model_type` -> the class that knows the family."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UsualCheckpoint:
    """Weights that a family is usually loaded with. None comes with this package; check the licence yourself."""

    model_id: str
    """Repository on the Hub, which is also the source."""

    licence: str
    """Licence of the weights."""

    is_sure: bool
    """Whether the licence was read on a copy of this repository's own page; else it is believed, see `note`."""

    note: str = ""
    """What else has to be known."""


USUAL_CHECKPOINTS: dict[str, UsualCheckpoint] = {
    "qwen3_vl": UsualCheckpoint(model_id="Qwen/Qwen3-VL-8B-Instruct", licence="Apache-2.0", is_sure=True),
    "qwen2_5_vl": UsualCheckpoint(
        model_id="Qwen/Qwen2.5-VL-7B-Instruct",
        licence="Apache-2.0",
        is_sure=False,
        note="Believed; the 3B and 72B sizes have licences of their own.",
    ),
    "qwen3_5": UsualCheckpoint(model_id="Qwen/Qwen3.5-0.8B", licence="Apache-2.0", is_sure=True),
    "internvl": UsualCheckpoint(
        model_id="OpenGVLab/InternVL3_5-8B-HF",
        licence="Apache-2.0",
        is_sure=False,
        note="Read on the pages of its 4B, 14B and 30B-A3B siblings.",
    ),
    "llava": UsualCheckpoint(
        model_id="llava-hf/llava-1.5-7b-hf",
        licence="Llama 2 Community License",
        is_sure=False,
        note="Believed, since it is made from Vicuna.",
    ),
    "llava_onevision": UsualCheckpoint(
        model_id="llava-hf/llava-onevision-qwen2-7b-ov-hf",
        licence="Apache-2.0",
        is_sure=False,
        note="Read on the page of its 0.5B sibling.",
    ),
    "smolvlm": UsualCheckpoint(
        model_id="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        licence="Apache-2.0",
        is_sure=True,
        note="Its processor needs the package num2words. SmolVLM 1 is another family (idefics3).",
    ),
    "gemma3": UsualCheckpoint(
        model_id="google/gemma-3-4b-it",
        licence="Gemma Terms of Use",
        is_sure=False,
        note="Believed; no open-source licence, and the terms have to be accepted on the Hub.",
    ),
}
"""`config.model_type` -> where the family's usual weights come from."""

_NVILA_TYPES = ("llava_llama", "nvila", "vila")


def backbone_for(mllm: Any, processor: Any, *, max_text_tokens: int = 512) -> Backbone:
    """Return the backbone of a model's family.

    Raises:
        InputError: If the family is not known.
    """
    model_type = getattr(getattr(mllm, "config", None), "model_type", type(mllm).__name__)
    if model_type in _NVILA_TYPES:
        raise InputError(
            "NVILA, the paper's multimodal model, is not supported: it is no part of transformers, and its weights are "
            f"for non-commercial use (CC-BY-NC-4.0). Use {USUAL_CHECKPOINTS['qwen3_vl'].model_id} instead."
        )
    if model_type not in BACKBONES:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"The multimodal model of type {model_type!r} is not supported; supported are {known}.")
    return BACKBONES[model_type](mllm, processor, max_text_tokens=max_text_tokens)
