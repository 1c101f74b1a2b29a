"""What a training needs, at toy size: pipelines with a text encoder, a small autoencoder and the reference path."""

from typing import Any

import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents
from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.testing import tiny_pipeline

__all__ = ["tiny_folded_autoencoder", "tiny_training_pipeline"]

_LETTERS = [chr(code) for code in range(33, 127)]


def tiny_folded_autoencoder(seed: int = 0, *, latent_channels: int = 4) -> FoldedAutoencoder:
    """Return a small autoencoder whose latents have a deviation that can be seen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FoldedAutoencoder(latent_channels, (8, 8, 8, 8), scaling_factor=0.7).eval()


def tiny_training_pipeline(
    seed: int = 0,
    *,
    family: str = "qwen3_vl",
    size: int = 64,
    num_frames: int = 9,
    with_text_encoder: bool = True,
    with_reference_latents: bool = True,
    memory_frames: int = 0,
) -> Any:
    """Return `tiny_pipeline` with a folded autoencoder, a T5, and the path for reference latents.

    Args:
        seed: Of all weights.
        family: Of the MLLM.
        size: Rows and columns of a frame, a multiple of 16.
        num_frames: Frames of a shot, a multiple of 8 plus 1.
        with_text_encoder: Whether there is a T5.
        with_reference_latents: Whether references are seen as latents too.
        memory_frames: Earlier shots whose last frames are seen so.
    """
    made = tiny_pipeline(seed, family=family, height=size, width=size, num_frames=num_frames)
    parts: dict[str, Any] = {**made.components, "vae": tiny_folded_autoencoder(seed)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if with_text_encoder:
            parts |= {"text_encoder": _tiny_t5(), "tokenizer": _tiny_t5_tokenizer()}
        if with_reference_latents:
            parts["reference_latents"] = ReferenceLatents.for_transformer(
                made.transformer, max_references=2, memory_frames=memory_frames
            )
    pipeline = type(made)(
        **parts, weights_origin="random", num_inference_steps=2, max_image_pixels=made.config.max_image_pixels
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _tiny_t5() -> Any:
    sizes = {"d_model": 32, "d_ff": 37, "d_kv": 8, "num_heads": 2, "num_layers": 2}
    return T5EncoderModel(T5Config(vocab_size=len(_LETTERS) + 4, **sizes)).eval()


def _tiny_t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=pieces + [(letter, -3.0) for letter in _LETTERS], extra_ids=0)
