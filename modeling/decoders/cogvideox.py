"""CogVideoX text-to-video, all three generations.

| checkpoint | positions | condition tokens | default | licence |
|---|---|---|---|---|
| CogVideoX-2B | sine, added to text and video | exactly 226 | 49 x 480 x 720, 8 fps | Apache-2.0 |
| CogVideoX-5B | rotary | any number, trained on 226 | 49 x 480 x 720, 8 fps | CogVideoX's own |
| CogVideoX1.5-5B | rotary, two frames a patch | any, trained on 226 | 81 x 768 x 1360, 16 fps | CogVideoX's own |

T5's padding is not masked, so it is part of the condition. Source: zai-org (formerly THUDM) on the Hub; diffusers 0.42
for what the code does.

Shape letters used below
    B shots    L condition tokens    D width of the condition
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from typing import Any

import torch
from diffusers import CogVideoXPipeline
from torch import Tensor, nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders.base import PipelineDecoder, ShotInputs
from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents

__all__ = ["CogVideoXDecoder"]

_SIZE_OF_1_5 = (81, 768, 1360)
"""What CogVideoX 1.5 was published for; its sample_height and sample_width are only the limit of its positions."""

_OFS = 2.0
"""The constant that diffusers gives to a transformer with an `ofs` embedding."""


class CogVideoXDecoder(PipelineDecoder):
    """CogVideoX text-to-video: 2B (sine positions, exactly 226 condition tokens), 5B and 1.5 (rotary, any number)."""

    transformer_classes = ("CogVideoXTransformer3DModel",)

    def __init__(
        self, *, transformer: Any, vae: Any, scheduler: Any, reference_latents: ReferenceLatents | None = None
    ) -> None:
        """Compose the diffusers pipeline over these components; no text encoder is needed.

        Args:
            transformer: A CogVideoX text-to-video transformer.
            vae: Its VAE.
            scheduler: Its scheduler.
            reference_latents: The path for reference latents, where the checkpoint has one.

        Raises:
            InputError: If it is an image-to-video transformer, or the reference path was made for another.
        """
        config = transformer.config
        if config.in_channels != vae.config.latent_channels:
            raise InputError(f"The CogVideoX transformer takes {config.in_channels} channels, but latents have "
                             f"{vae.config.latent_channels}: it is an image-to-video model, which is not "
                             "supported.")  # fmt: skip
        self.pipeline = CogVideoXPipeline(
            tokenizer=None, text_encoder=None, vae=vae, transformer=transformer, scheduler=scheduler
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.reference_latents = reference_latents
        if reference_latents is not None:
            reference_latents.check_fits(transformer)
        self.condition_length = None if config.use_rotary_positional_embeddings else config.max_text_seq_length
        self.trained_condition_length = config.max_text_seq_length
        self.text_dim = config.text_embed_dim
        self.prediction_type = scheduler.config.prediction_type
        self.extra_inputs = frozenset(() if reference_latents is None else ("reference_latents",))
        self._spatial = self.pipeline.vae_scale_factor_spatial
        self._temporal = self.pipeline.vae_scale_factor_temporal
        self._multiple = self._spatial * config.patch_size
        largest = (config.sample_height * self._spatial, config.sample_width * self._spatial)
        self._largest = largest if config.patch_size_t else None
        self.frame_rate = Fraction(16 if config.patch_size_t else 8)
        self.default_size = (config.sample_frames, *largest)
        if config.patch_size_t and largest > _SIZE_OF_1_5[1:]:
            self.default_size = _SIZE_OF_1_5

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
        for number, (name, value) in enumerate((("height", height), ("width", width))):
            if value < self._multiple or value % self._multiple:
                nearest = max(1, round(value / self._multiple)) * self._multiple
                raise InputError(
                    f"{name} must be a multiple of {self._multiple} pixels, got {value}. The nearest is {nearest}."
                )
            if self._largest is not None and value > self._largest[number]:
                raise InputError(f"{name} must be at most {self._largest[number]} pixels, got {value}.")

    def encode_text(self, texts: Sequence[str], *, tokenizer: Any, text_encoder: Any, length: int) -> Tensor:
        """Return T5's features, padded to `length` without a mask, shape (B, L, D)."""
        plain = CogVideoXPipeline(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=self.pipeline.vae,
            transformer=self.pipeline.transformer,
            scheduler=self.pipeline.scheduler,
        )
        with torch.no_grad():
            embeds_BLD, _ = plain.encode_prompt(
                list(texts), do_classifier_free_guidance=False, max_sequence_length=length
            )
        return embeds_BLD

    def _enter_hooks(self, hooks: ExitStack, inputs: ShotInputs) -> None:
        transformer = self.pipeline.transformer
        if self.reference_latents is not None and inputs.reference_latents_BRChw is not None:
            hooks.enter_context(
                self.reference_latents.joined(transformer, inputs.reference_latents_BRChw, inputs.reference_slots)
            )
        if transformer.config.ofs_embed_dim:
            hooks.enter_context(_with_ofs(transformer))


@contextmanager
def _with_ofs(transformer: Any) -> Iterator[None]:
    """Give the transformer its `ofs`, which the text-to-video pipeline of diffusers leaves out."""

    def add(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "ofs": kwargs["hidden_states"].new_full((1,), _OFS)}

    hook = transformer.register_forward_pre_hook(add, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
