"""Video decoders: a condition goes in, frames come out.

Each decoder is a diffusers pipeline used by composition and fed with `prompt_embeds`, so its frames are bit-equal to
the plain pipeline's and every improvement of diffusers arrives here. A further family is one class and a line in
`DECODERS`.

Shape letters used below
    L condition tokens    D width of the condition    F frames    H, W rows and columns
"""

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from diffusers import CogVideoXPipeline
from numpy.typing import NDArray
from torch import Tensor

from animeshooter_hf.errors import InputError

__all__ = ["DECODERS", "CogVideoXDecoder", "ShotDecoder", "decoder_for"]


class ShotDecoder(Protocol):
    """What the pipeline needs of a video model."""

    condition_length: int | None
    """Tokens that the condition must have, or None where any number will do."""

    text_dim: int
    """Width of the condition."""

    default_size: tuple[int, int, int]
    """Frames, height and width that the model was made for."""

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise an InputError if shots of this size cannot be made."""

    def decode(
        self,
        prompt_embeds_1LD: Tensor,
        negative_embeds_1LD: Tensor,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float,
        generator: torch.Generator,
    ) -> NDArray[np.uint8]:
        """Return the frames of one shot, shape (F, H, W, 3)."""


class CogVideoXDecoder:
    """CogVideoX text-to-video: 2B (sine positions, exactly 226 condition tokens) and the RoPE variants (any number)."""

    transformer_classes: ClassVar[tuple[str, ...]] = ("CogVideoXTransformer3DModel",)
    """Names of the transformer classes that this decoder runs."""

    def __init__(self, *, transformer: Any, vae: Any, scheduler: Any) -> None:
        """Compose the diffusers pipeline over these components; no text encoder is needed."""
        self.pipeline = CogVideoXPipeline(
            tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=scheduler
        )
        self.pipeline.set_progress_bar_config(disable=True)
        config = transformer.config
        self.condition_length = None if config.use_rotary_positional_embeddings else config.max_text_seq_length
        self.text_dim = config.text_embed_dim
        self._spatial = self.pipeline.vae_scale_factor_spatial
        self._temporal = self.pipeline.vae_scale_factor_temporal
        self._multiple = self._spatial * config.patch_size
        self.default_size = (
            config.sample_frames,
            config.sample_height * self._spatial,
            config.sample_width * self._spatial,
        )

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise an InputError unless frames are 8k+1 and height and width are multiples of the patch.

        One latent holds the first frame and each further one four, which would allow 4k+1. But the VAE of diffusers
        0.42 sets the first frame apart only when the latents are odd in number; 5 frames asked give 8, 13 give 16.
        """
        step = 2 * self._temporal
        if num_frames < 1 or (num_frames - 1) % step:
            below = max(1, (num_frames - 1) // step * step + 1)
            raise InputError(
                f"num_frames must be a multiple of {step} plus 1 (near: {below}, {below + step}), got {num_frames}."
            )
        for name, value in (("height", height), ("width", width)):
            if value < self._multiple or value % self._multiple:
                raise InputError(f"{name} must be a multiple of {self._multiple} pixels, got {value}.")

    def decode(
        self,
        prompt_embeds_1LD: Tensor,
        negative_embeds_1LD: Tensor,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float,
        generator: torch.Generator,
    ) -> NDArray[np.uint8]:
        """Return the frames of one shot, shape (F, H, W, 3)."""
        dtype = self.pipeline.transformer.dtype
        output = self.pipeline(
            prompt_embeds=prompt_embeds_1LD.to(dtype),
            negative_prompt_embeds=negative_embeds_1LD.to(dtype),
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generator,
            output_type="pil",
        )
        return np.stack([np.asarray(frame) for frame in output.frames[0]])


DECODERS: dict[str, Any] = {name: decoder for decoder in (CogVideoXDecoder,) for name in decoder.transformer_classes}
"""Name of the transformer's class -> decoder class."""


def decoder_for(*, transformer: Any, vae: Any, scheduler: Any) -> ShotDecoder:
    """Return the decoder of a transformer's family.

    Raises:
        InputError: If the family is not known.
    """
    # torch.compile wraps the module in a class of its own.
    name = type(getattr(transformer, "_orig_mod", transformer)).__name__
    if name not in DECODERS:
        raise InputError(f"The video transformer {name} is not supported; supported are {', '.join(sorted(DECODERS))}.")
    decoder: ShotDecoder = DECODERS[name](transformer=transformer, vae=vae, scheduler=scheduler)
    return decoder
