"""Video models of every supported family at toy size: real classes, random weights, no download.

Each function returns the components that `decoder_for` takes, with weights drawn from a seed.
"""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXTransformer3DModel,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)

from animeshooter_hf.modeling.testing import tiny_vae

__all__ = ["COGVIDEOX_VARIANTS", "WAN_VARIANTS", "tiny_cogvideox", "tiny_wan"]

COGVIDEOX_VARIANTS = ("2b", "5b", "1.5")
"""Sine positions; rotary positions; rotary positions and patches in time."""

WAN_VARIANTS = ("2.1", "2.2", "ti2v")
"""One transformer; two experts; latents of 16 x 16 pixels into which a frame can enter."""

_TEXT_WIDTH = 32


def tiny_cogvideox(
    variant: str = "2b", *, seed: int = 0, height: int = 32, width: int = 48, num_frames: int = 9, layers: int = 2
) -> dict[str, Any]:
    """Return transformer, VAE and scheduler of a CogVideoX.

    Args:
        variant: One of `COGVIDEOX_VARIANTS`.
        seed: Of the weights.
        height: Rows of a frame, a multiple of 16.
        width: Columns, a multiple of 16.
        num_frames: Frames of a shot, a multiple of 8 plus 1.
        layers: Blocks of the transformer.

    Raises:
        ValueError: If the variant is another.
    """
    if variant not in COGVIDEOX_VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(COGVIDEOX_VARIANTS)}, got {variant!r}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=_TEXT_WIDTH,
            num_layers=layers,
            sample_width=width // 8,
            sample_height=height // 8,
            sample_frames=num_frames,
            patch_size=2,
            patch_size_t=2 if variant == "1.5" else None,
            patch_bias=variant != "1.5",
            max_text_seq_length=16,
            use_rotary_positional_embeddings=variant != "2b",
        )
        vae = tiny_vae()
    scheduler = CogVideoXDDIMScheduler(
        beta_start=0.00085,
        beta_end=0.0120,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        snr_shift_scale=3.0 if variant == "2b" else 1.0,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )
    return {"transformer": transformer.eval(), "vae": vae, "scheduler": scheduler}


def tiny_wan(variant: str = "2.1", *, seed: int = 0) -> dict[str, Any]:
    """Return the components of a Wan text-to-video model; two transformers and their boundary for "2.2".

    Args:
        variant: One of `WAN_VARIANTS`.
        seed: Of the weights.

    Raises:
        ValueError: If the variant is another.
    """
    if variant not in WAN_VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(WAN_VARIANTS)}, got {variant!r}.")
    channels = 48 if variant == "ti2v" else 16
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        components = {
            "transformer": _wan_transformer(channels),
            "vae": _wan_vae(is_residual=variant == "ti2v"),
            "scheduler": UniPCMultistepScheduler(
                prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
            ),
        }
        if variant == "2.2":
            components |= {"transformer_2": _wan_transformer(channels), "boundary_ratio": 0.875}
    return components


def _wan_transformer(channels: int) -> Any:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=channels,
        text_dim=_TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    ).eval()


def _wan_vae(*, is_residual: bool) -> Any:
    shared = {"dim_mult": [1, 1, 1, 1], "num_res_blocks": 1, "temperal_downsample": [False, True, True]}
    if not is_residual:
        return AutoencoderKLWan(base_dim=3, z_dim=16, **shared).eval()
    return AutoencoderKLWan(
        base_dim=3,
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        **shared,
    ).eval()
