"""A whole pipeline at toy size, built in code: real classes, random weights, no download.

It is what the tests, the demo and the documentation run on. Everything that is random comes from the seed, so the same
seed gives the same pipeline on any machine. The frames show nothing, and the pipeline says so.
"""

from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

__all__ = ["FAMILIES", "tiny_mllm", "tiny_pipeline", "tiny_processor", "tiny_transformer", "tiny_vae"]

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
"""Families of which `tiny_mllm` makes one."""

_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_TOKEN_IDS = {token: 256 + number for number, token in enumerate(_SPECIAL_TOKENS)}
_WIDTH = 32


def tiny_pipeline(
    seed: int = 0,
    *,
    family: str = "qwen3_vl",
    num_queries: int = 8,
    condition_length: int = 16,
    height: int = 64,
    width: int = 96,
    num_frames: int = 9,
) -> AnimeShooterGenPipeline:
    """Return a pipeline of about 0.2 million random weights.

    Args:
        seed: Of the weights.
        family: One of `FAMILIES`.
        num_queries: Query tokens. Paper: 64.
        condition_length: Condition tokens. CogVideoX-2B: 226.
        height: Rows of a frame, a multiple of 16.
        width: Columns, a multiple of 16.
        num_frames: Frames of a shot, a multiple of 8 plus 1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = ShotConditionAdapter(
            num_queries=num_queries,
            mllm_hidden_size=_WIDTH,
            condition_length=condition_length,
            text_dim=_WIDTH,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
        )
        pipeline = AnimeShooterGenPipeline(
            mllm=tiny_mllm(family),
            processor=tiny_processor(family),
            adapter=adapter.eval(),
            transformer=tiny_transformer(condition_length, height, width, num_frames),
            vae=tiny_vae(),
            scheduler=CogVideoXDDIMScheduler(
                beta_start=0.00085,
                beta_end=0.0120,
                beta_schedule="scaled_linear",
                prediction_type="v_prediction",
                rescale_betas_zero_snr=True,
                snr_shift_scale=3.0,
                timestep_spacing="trailing",
                set_alpha_to_one=True,
                clip_sample=False,
            ),
            weights_origin="random",
            num_inference_steps=4,
            max_image_pixels=64 * 64,
        )
    return pipeline


def tiny_mllm(family: str = "qwen3_vl") -> Any:
    """Return a multimodal model of a family, with weights drawn from torch's current random state.

    Raises:
        ValueError: If the family is not one of `FAMILIES`.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, got {family!r}.")
    is_third = family == "qwen3_vl"
    text: dict[str, Any] = {
        "vocab_size": 256 + len(_SPECIAL_TOKENS) + 1,
        "hidden_size": _WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "bos_token_id": _TOKEN_IDS["<|endoftext|>"],
        "eos_token_id": _TOKEN_IDS["<|im_end|>"],
        "pad_token_id": _TOKEN_IDS["<|endoftext|>"],
        "rope_parameters": {
            "rope_type": "default",
            "mrope_section": [2, 1, 1],
            "rope_theta": 10_000.0,
            **({"mrope_interleaved": True} if is_third else {}),
        },
        **({"head_dim": 8} if is_third else {}),
    }
    vision: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_heads": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": _WIDTH,
        "depth": 3 if is_third else 2,
    }
    tokens = {
        "image_token_id": _TOKEN_IDS["<|image_pad|>"],
        "video_token_id": _TOKEN_IDS["<|video_pad|>"],
        "vision_start_token_id": _TOKEN_IDS["<|vision_start|>"],
        "vision_end_token_id": _TOKEN_IDS["<|vision_end|>"],
    }
    if is_third:
        vision |= {"in_channels": 3, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
        config = Qwen3VLConfig(text_config=text, vision_config=vision, **tokens)
        return Qwen3VLForConditionalGeneration(config).eval()
    vision |= {"in_chans": 3, "window_size": 32, "fullatt_block_indexes": [1]}
    older = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    return Qwen2_5_VLForConditionalGeneration(older).eval()


def tiny_processor(family: str = "qwen3_vl") -> Any:
    """Return the processor of `tiny_mllm`: bytes as tokens, images in patches of 8 x 8 pixels."""
    vocabulary = {character: number for number, character in enumerate(bytes_to_unicode().values())}
    vocabulary["<|endoftext|>"] = _TOKEN_IDS["<|endoftext|>"]
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=[], additional_special_tokens=list(_SPECIAL_TOKENS[1:]))
    patches = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    images = Qwen2VLImageProcessor(**patches, min_pixels=16 * 16, max_pixels=64 * 64)
    if family == "qwen3_vl":
        return Qwen3VLProcessor(
            image_processor=images, tokenizer=tokenizer, video_processor=Qwen3VLVideoProcessor(**patches)
        )
    return Qwen2_5_VLProcessor(
        image_processor=images, tokenizer=tokenizer, video_processor=Qwen2VLVideoProcessor(**patches)
    )


def tiny_transformer(condition_length: int = 16, height: int = 64, width: int = 96, num_frames: int = 9) -> Any:
    """Return a CogVideoX transformer of two layers, with sine positions as in CogVideoX-2B."""
    return CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=8,
        text_embed_dim=_WIDTH,
        num_layers=2,
        sample_width=width // 8,
        sample_height=height // 8,
        sample_frames=num_frames,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=condition_length,
    ).eval()


def tiny_vae() -> Any:
    """Return a CogVideoX VAE of the real depth: 8 x 8 x 4 pixels become one latent."""
    return AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    ).eval()
