"""Multimodal models of every family at toy size: real classes, random weights, real processors, no download.

Tokens are bytes. Images become patches of 8 x 8 pixels, and tiles of 32 x 32 in the families that have tiles.
`tiny_chunks` is a story for them to read.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers.convert_slow_tokenizer import bytes_to_unicode

from animeshooter_hf.modeling.backbones import Backbone, backbone_for
from animeshooter_hf.modeling.prompt_layout import ShotChunk

__all__ = ["FAMILIES", "noise_image", "tiny_backbone", "tiny_chunks", "tiny_mllm", "tiny_processor", "tiny_queries"]

_WIDTH = 32
_TILE = 32
_END = "<|endoftext|>"
_QWEN_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_SMOLVLM_ROWS = tuple(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))


@dataclass(frozen=True, slots=True)
class _Family:
    """How a family's toy is made."""

    tokens: tuple[str, ...]
    """Its special tokens, after `<|endoftext|>`."""

    make_model: Callable[[dict[str, int]], Any]
    """Token -> ID to model."""

    make_processor: Callable[[Any], Any]
    """Tokenizer to processor."""

    names: dict[str, str]
    """What the tokenizer calls some of the tokens."""


def tiny_mllm(family: str = "qwen3_vl") -> Any:
    """Return a multimodal model of a family, with weights drawn from torch's current random state.

    Raises:
        ValueError: If the family is not one of `FAMILIES`.
    """
    chosen = _family(family)
    return chosen.make_model(_token_ids(chosen)).eval()


def tiny_processor(family: str = "qwen3_vl") -> Any:
    """Return the processor of `tiny_mllm`. SmolVLM's needs the package num2words.

    Raises:
        ValueError: If the family is not one of `FAMILIES`.
    """
    chosen = _family(family)
    vocabulary = {character: number for number, character in enumerate(bytes_to_unicode().values())}
    vocabulary[_END] = _token_ids(chosen)[_END]
    tokenizer = transformers.Qwen2Tokenizer(
        vocab=vocabulary, merges=[], additional_special_tokens=list(chosen.tokens), **chosen.names
    )
    return chosen.make_processor(tokenizer)


def tiny_backbone(family: str = "qwen3_vl", seed: int = 0) -> Backbone:
    """Return the backbone of a toy model and its processor, with weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return backbone_for(tiny_mllm(family), tiny_processor(family))


def tiny_queries(num_queries: int = 8, seed: int = 0) -> torch.Tensor:
    """Return query tokens for a toy model, shape (Q, M)."""
    return torch.randn(num_queries, _WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.02


def noise_image(seed: int, height: int, width: int) -> Image.Image:
    """Return an RGB image of noise."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def tiny_chunks(seed: int = 0) -> list[ShotChunk]:
    """Return a story of four shots: references first, several images in a chunk, images of different sizes."""
    sizes = [(40, 60), (60, 40), (32, 48), (32, 48), (64, 64), (16, 64)]
    images = [noise_image(10 * seed + number, *size) for number, size in enumerate(sizes)]
    return [
        ShotChunk(("Mia:", images[0], "Rex:", images[1], "Mia meets Rex."), num_reference_segments=4),
        ShotChunk((images[2], "They walk.")),
        ShotChunk((images[3], "They sit down by the lake.")),
        ShotChunk((images[4], images[5], "They fish.")),
    ]


def _family(name: str) -> _Family:
    if name not in _FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {name!r}.")
    return _FAMILIES[name]


def _token_ids(family: _Family) -> dict[str, int]:
    return {token: 256 + number for number, token in enumerate((_END, *family.tokens))}


def _text(ids: dict[str, int], **more: Any) -> dict[str, Any]:
    """Return the settings of a text model of three layers."""
    return {
        "vocab_size": 256 + len(ids) + 1,
        "hidden_size": _WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "bos_token_id": ids[_END],
        "eos_token_id": ids.get("<|im_end|>", ids[_END]),
        "pad_token_id": ids[_END],
        **more,
    }


# -------------------------------------------------------------------------------------------------------- Qwen


def _qwen_settings(ids: dict[str, int], *, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    return {
        "text_config": _text(ids, **text),
        "vision_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": _WIDTH,
            **vision,
        },
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
    }


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0, **more}


def _qwen3_vl(ids: dict[str, int]) -> Any:
    text = {"head_dim": 8, "rope_parameters": _rope(mrope_interleaved=True)}
    vision = {"depth": 3, "in_channels": 3, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    config = transformers.Qwen3VLConfig(**_qwen_settings(ids, text=text, vision=vision))
    return transformers.Qwen3VLForConditionalGeneration(config)


def _qwen2_5_vl(ids: dict[str, int]) -> Any:
    vision = {"depth": 2, "in_chans": 3, "window_size": 32, "fullatt_block_indexes": [1]}
    config = transformers.Qwen2_5_VLConfig(**_qwen_settings(ids, text={"rope_parameters": _rope()}, vision=vision))
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def _qwen3_5(ids: dict[str, int]) -> Any:
    """Return a model of three layers of linear attention and one of full attention."""
    text = {
        "head_dim": 16,
        "num_hidden_layers": 4,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "rope_parameters": _rope(mrope_interleaved=True, partial_rotary_factor=0.5),
    }
    vision = {"depth": 2, "in_channels": 3, "num_position_embeddings": 64}
    config = transformers.Qwen3_5Config(**_qwen_settings(ids, text=text, vision=vision))
    return transformers.Qwen3_5ForConditionalGeneration(config)


def _qwen_processor(tokenizer: Any) -> Any:
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    return transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**patches, min_pixels=16 * 16, max_pixels=64 * 64),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen3VLVideoProcessor(**patches),
    )


def _qwen2_5_processor(tokenizer: Any) -> Any:
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    return transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(**patches, min_pixels=16 * 16, max_pixels=64 * 64),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(**patches),
    )


# -------------------------------------------------------------------------------------------------------- tiles


def _vision(**more: Any) -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": _TILE,
        "patch_size": 8,
        **more,
    }


def _square() -> dict[str, int]:
    return {"height": _TILE, "width": _TILE}


def _internvl(ids: dict[str, int]) -> Any:
    config = transformers.InternVLConfig(
        text_config=_text(ids, model_type="qwen2"),
        vision_config=_vision(image_size=[_TILE, _TILE], patch_size=[8, 8]),
        image_token_id=ids["<IMG_CONTEXT>"],
        downsample_ratio=0.5,
    )
    return transformers.InternVLForConditionalGeneration(config)


def _internvl_processor(tokenizer: Any) -> Any:
    return transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(size=_square(), crop_to_patches=True),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size=_square()),
        image_seq_length=4,
    )


def _llava(ids: dict[str, int]) -> Any:
    config = transformers.LlavaConfig(
        text_config=_text(ids, model_type="llama"),
        vision_config=_vision(model_type="clip_vision_model", projection_dim=16),
        image_token_index=ids["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return transformers.LlavaForConditionalGeneration(config)


def _llava_processor(tokenizer: Any) -> Any:
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(size={"shortest_edge": _TILE}, crop_size=_square()),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def _llava_onevision(ids: dict[str, int]) -> Any:
    config = transformers.LlavaOnevisionConfig(
        text_config=_text(ids, model_type="qwen2"),
        vision_config=_vision(model_type="siglip_vision_model", vision_use_head=False),
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=_PINPOINTS,
    )
    return transformers.LlavaOnevisionForConditionalGeneration(config)


_PINPOINTS = [[_TILE * rows, _TILE * columns] for rows in range(1, 4) for columns in range(1, 4)]


def _llava_onevision_processor(tokenizer: Any) -> Any:
    return transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(size=_square(), image_grid_pinpoints=_PINPOINTS),
        tokenizer=tokenizer,
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=_square()),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )


def _smolvlm(ids: dict[str, int]) -> Any:
    config = transformers.SmolVLMConfig(
        text_config=_text(ids, model_type="llama"),
        vision_config=_vision(),
        image_token_id=ids["<image>"],
        scale_factor=2,
        pad_token_id=ids[_END],
    )
    return transformers.SmolVLMForConditionalGeneration(config)


def _smolvlm_processor(tokenizer: Any) -> Any:
    edges = {"max_image_size": {"longest_edge": _TILE}, "size": {"longest_edge": 4 * _TILE}}
    return transformers.SmolVLMProcessor(
        image_processor=transformers.SmolVLMImageProcessor(**edges),
        tokenizer=tokenizer,
        video_processor=transformers.SmolVLMVideoProcessor(**edges),
        image_seq_len=4,
    )


def _gemma3(ids: dict[str, int]) -> Any:
    config = transformers.Gemma3Config(
        text_config=_text(
            ids,
            head_dim=8,
            sliding_window=64,
            layer_types=["sliding_attention", "full_attention", "full_attention"],
        ),
        vision_config=_vision(model_type="siglip_vision_model", vision_use_head=False),
        mm_tokens_per_image=4,
        image_token_index=ids["<image_soft_token>"],
        boi_token_index=ids["<start_of_image>"],
        eoi_token_index=ids["<end_of_image>"],
    )
    mllm = transformers.Gemma3ForConditionalGeneration(config)
    # It starts at 0, and then no image would be seen.
    torch.nn.init.normal_(mllm.model.multi_modal_projector.mm_input_projection_weight, std=0.5)
    return mllm


def _gemma3_processor(tokenizer: Any) -> Any:
    return transformers.Gemma3Processor(
        image_processor=transformers.Gemma3ImageProcessor(size=_square()), tokenizer=tokenizer, image_seq_length=4
    )


_FAMILIES = {
    "qwen3_vl": _Family(_QWEN_TOKENS, _qwen3_vl, _qwen_processor, {}),
    "qwen2_5_vl": _Family(_QWEN_TOKENS, _qwen2_5_vl, _qwen2_5_processor, {}),
    "qwen3_5": _Family(_QWEN_TOKENS, _qwen3_5, _qwen_processor, {}),
    "internvl": _Family(
        ("<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
        _internvl,
        _internvl_processor,
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
    "llava": _Family(("<image>",), _llava, _llava_processor, {"image_token": "<image>", "bos_token": _END}),
    "llava_onevision": _Family(
        ("<image>", "<video>"),
        _llava_onevision,
        _llava_onevision_processor,
        {"image_token": "<image>", "video_token": "<video>"},
    ),
    "smolvlm": _Family(
        ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *_SMOLVLM_ROWS),
        _smolvlm,
        _smolvlm_processor,
        {"image_token": "<image>"},
    ),
    "gemma3": _Family(
        ("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        _gemma3,
        _gemma3_processor,
        {
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
            "bos_token": _END,
        },
    ),
}

FAMILIES = tuple(_FAMILIES)
"""Families of which `tiny_mllm` makes one."""
