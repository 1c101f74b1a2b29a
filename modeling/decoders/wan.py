"""Wan text-to-video: 2.1, 2.2 with its two experts, and 2.2 TI2V, into which a frame can enter.

| checkpoint | what it is | default | licence |
|---|---|---|---|
| Wan2.1-T2V-1.3B, -14B | one transformer | 81 x 480 x 832, 16 fps | Apache-2.0 |
| Wan2.2-T2V-A14B | an expert of much noise, one of little; `boundary_ratio` | 81 x 480 x 832, 16 fps | Apache-2.0 |
| Wan2.2-TI2V-5B | latents of 16 x 16 pixels; the first may be given | 121 x 704 x 1280, 24 fps | Apache-2.0 |

The condition is read by cross-attention, so any number of tokens will do; the checkpoints were trained on 512, UMT5's
features with zeros behind them. A given first frame is kept as it is: that suits a shot which goes on where the one
before stopped, or a reference to begin with. After a cut it would repeat the picture before the cut.
Source: Wan-AI on the Hub; diffusers 0.42 for what the code does.

Shape letters used below
    B shots    L condition tokens    D width of the condition
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders.base import PipelineDecoder, ShotInputs
from animeshooter_hf.modeling.guidance import GuidanceSettings

__all__ = ["WanDecoder"]


class WanDecoder(PipelineDecoder):
    """Wan text-to-video, with a given first frame where the checkpoint is TI2V."""

    transformer_classes = ("WanTransformer3DModel",)

    def __init__(
        self,
        *,
        transformer: Any,
        vae: Any,
        scheduler: Any,
        transformer_2: Any = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool | None = None,
    ) -> None:
        """Compose the diffusers pipelines over these components; no text encoder is needed.

        Args:
            transformer: A Wan text-to-video transformer; of two experts that of much noise.
            vae: Its VAE.
            scheduler: UniPC with flow sigmas, or a flow-matching scheduler.
            transformer_2: The expert of little noise.
            boundary_ratio: Share of the noise at which it takes over.
            expand_timesteps: Whether the checkpoint is TI2V; None looks at the VAE, whose blocks tell.

        Raises:
            InputError: If it is an image-to-video transformer, or one expert comes without the other's boundary.
        """
        config = transformer.config
        if config.in_channels != vae.config.z_dim or config.image_dim is not None:
            raise InputError(f"The Wan transformer takes {config.in_channels} channels, but latents have "
                             f"{vae.config.z_dim}: it is an image-to-video model, which is not supported.")  # fmt: skip
        if (transformer_2 is None) != (boundary_ratio is None):
            raise InputError("transformer_2 and boundary_ratio belong together: give both or neither.")
        is_ti2v = bool(vae.config.is_residual) if expand_timesteps is None else expand_timesteps
        self._components = {
            "tokenizer": None,
            "text_encoder": None,
            "vae": vae,
            "transformer": transformer,
            "scheduler": scheduler,
            "transformer_2": transformer_2,
            "boundary_ratio": boundary_ratio,
            "expand_timesteps": is_ti2v,
        }
        self.pipeline = WanPipeline(**self._components)
        self.pipeline.set_progress_bar_config(disable=True)
        self.condition_length = None
        self.trained_condition_length = 512
        self.text_dim = config.text_dim
        self.prediction_type = scheduler.config.get("prediction_type", "flow_prediction")
        self.default_size = (121, 704, 1280) if is_ti2v else (81, 480, 832)
        self.frame_rate = Fraction(24 if is_ti2v else 16)
        self.extra_inputs = frozenset(("last_frames",) if is_ti2v else ())
        self._temporal = self.pipeline.vae_scale_factor_temporal
        # WanPipeline asks for 16 of its own accord.
        self._multiple = max(16, self.pipeline.vae_scale_factor_spatial * config.patch_size[1])

    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise an InputError unless frames are 4k+1 and height and width are multiples of the patch."""
        if num_frames < 1 or (num_frames - 1) % self._temporal:
            below = max(1, (num_frames - 1) // self._temporal * self._temporal + 1)
            raise InputError(f"num_frames must be a multiple of {self._temporal} plus 1 (near: {below}, "
                             f"{below + self._temporal}), got {num_frames}.")  # fmt: skip
        for name, value in (("height", height), ("width", width)):
            if value < self._multiple or value % self._multiple:
                nearest = max(1, round(value / self._multiple)) * self._multiple
                raise InputError(
                    f"{name} must be a multiple of {self._multiple} pixels, got {value}. The nearest is {nearest}."
                )

    def encode_text(self, texts: Sequence[str], *, tokenizer: Any, text_encoder: Any, length: int) -> Tensor:
        """Return UMT5's features with zeros behind them up to `length`, shape (B, L, D)."""
        plain = WanPipeline(**{**self._components, "tokenizer": tokenizer, "text_encoder": text_encoder})
        with torch.no_grad():
            embeds_BLD, _ = plain.encode_prompt(
                list(texts), do_classifier_free_guidance=False, max_sequence_length=length
            )
        return embeds_BLD

    def _plain_guidance(self, guidance: GuidanceSettings) -> dict[str, Any]:
        second = {} if guidance.low_noise_scale is None else {"guidance_scale_2": guidance.low_noise_scale}
        return {"guidance_scale": guidance.text_scale, **second}

    def _transformers(self) -> tuple[Any, ...]:
        return self.pipeline.transformer, self.pipeline.transformer_2

    def _check_guidance(self, guidance: GuidanceSettings, inputs: ShotInputs) -> None:
        super()._check_guidance(guidance, inputs)
        if guidance.low_noise_scale is not None and self.pipeline.transformer_2 is None:
            raise InputError("low_noise_scale is for Wan models of two experts, and this one has a single transformer.")

    def _call(
        self, prompt_embeds_BLD: Tensor, negative_embeds_BLD: Tensor, inputs: ShotInputs, options: dict[str, Any]
    ) -> Any:
        """Call the pipeline; the one for images mixes up the pictures of a batch, so it makes shot after shot."""
        if inputs.last_frames is None:
            return super()._call(prompt_embeds_BLD, negative_embeds_BLD, inputs, options)
        from_image = WanImageToVideoPipeline(**self._components)
        from_image.set_progress_bar_config(disable=True)
        generators = options.pop("generator")
        generators = generators if isinstance(generators, list) else [generators]
        shots = [
            from_image(
                image=image,
                prompt_embeds=prompt_embeds_BLD[number : number + 1],
                negative_prompt_embeds=negative_embeds_BLD[number : number + 1],
                generator=generators[number],
                **options,
            ).frames
            for number, image in enumerate(inputs.last_frames)
        ]
        return torch.cat(shots) if isinstance(shots[0], Tensor) else np.concatenate(shots)
