"""A whole pipeline at toy size, built in code: real classes, random weights, no download.

It is what the tests, the demo and the documentation run on. Everything that is random comes from the seed, so the same
seed gives the same pipeline on any machine. The frames show nothing, and the pipeline says so.
"""

from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel

from animeshooter_hf.modeling.adapter import ShotConditionAdapter
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
from animeshooter_hf.modeling.testing_mllms import FAMILIES, tiny_mllm, tiny_processor

__all__ = ["FAMILIES", "tiny_mllm", "tiny_pipeline", "tiny_processor", "tiny_transformer", "tiny_vae"]

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
