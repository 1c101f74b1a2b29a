"""The families of multimodal language models, and the only code that knows them.

A backbone turns chunks into tokens and tokens into hidden states. A further family is a class in a file of its own and
a line in `families.py`; `check_incremental` tells whether its append-only context is exact.
"""

from animeshooter_hf.modeling.backbones.base import Backbone, ChunkTokens, EncodedImages
from animeshooter_hf.modeling.backbones.check import IncrementalCheck, check_incremental
from animeshooter_hf.modeling.backbones.families import BACKBONES, USUAL_CHECKPOINTS, UsualCheckpoint, backbone_for
from animeshooter_hf.modeling.backbones.gemma3 import Gemma3Backbone
from animeshooter_hf.modeling.backbones.llava_like import (
    InternVLBackbone,
    LlavaBackbone,
    LlavaOnevisionBackbone,
    SmolVLMBackbone,
)
from animeshooter_hf.modeling.backbones.lora import (
    MllmLoraSettings,
    add_mllm_lora,
    load_mllm_adapter,
    save_mllm_adapter,
)
from animeshooter_hf.modeling.backbones.qwen_vl import QwenVLBackbone

__all__ = [
    "BACKBONES",
    "USUAL_CHECKPOINTS",
    "Backbone",
    "ChunkTokens",
    "EncodedImages",
    "Gemma3Backbone",
    "IncrementalCheck",
    "InternVLBackbone",
    "LlavaBackbone",
    "LlavaOnevisionBackbone",
    "MllmLoraSettings",
    "QwenVLBackbone",
    "SmolVLMBackbone",
    "UsualCheckpoint",
    "add_mllm_lora",
    "backbone_for",
    "check_incremental",
    "load_mllm_adapter",
    "save_mllm_adapter",
]
