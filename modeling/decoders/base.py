"""What every video decoder has in common: it is a diffusers pipeline, used by composition and fed with embeddings.

A decoder checks, calls its pipeline once, and turns what comes back into uint8 frames. With nothing but the condition
its frames are bit-equal to the plain pipeline's. What else it may be given is `ShotInputs`, all of it off by default.

Several shots can be made in one call, each from its own generator, so a shot starts from the same noise alone and in
a batch. The rest differs by rounding: matrix products of another size add up in another order.

Shape letters used below
    B shots    L condition tokens    D width of the condition    F frames    H, W rows and columns    R references
    C latent channels    f, h, w latent frames, rows, columns
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.guidance import NEEDS_UNREFERENCED, BranchGuidance, GuidanceSettings

__all__ = ["PipelineDecoder", "ShotDecoder", "ShotInputs"]


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShotInputs:
    """What a decoder may be given beside the condition. A decoder that does not take a part refuses it."""

    unreferenced_embeds_BLD: Tensor | None = None
    """Condition of the context without references; a `reference_scale` needs it."""

    last_frames: Sequence[Any] | None = None
    """One PIL image per shot, with which the shot begins: for shots that go on where the one before stopped."""

    reference_latents_BRChw: Tensor | None = None
    """Reference images of each shot, as `encode_references` gives them."""

    reference_slots: tuple[int, ...] | None = None
    """Slot of each of them, where last frames of earlier shots are among them; see `ReferenceLatents.slots_of`."""

    callback_on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None
    """Called by diffusers after every step with its pipeline, the step, the timestep and the tensors below."""

    callback_tensors: tuple[str, ...] = ("latents",)
    """Names of the tensors that the callback sees and may change."""


_NOTHING = ShotInputs()


class PipelineDecoder(ABC):
    """A decoder around one diffusers pipeline."""

    transformer_classes: ClassVar[tuple[str, ...]]
    """Names of the transformer classes that this decoder runs."""

    pipeline: Any
    """The diffusers pipeline, without text encoder."""

    condition_length: int | None
    """Tokens that the condition must have, or None where any number will do."""

    trained_condition_length: int
    """Tokens of the condition with which the published checkpoints were trained."""

    text_dim: int
    """Width of the condition."""

    default_size: tuple[int, int, int]
    """Frames, height and width that the model was made for."""

    frame_rate: Fraction
    """Frames per second of what the published checkpoints make."""

    prediction_type: str
    """What the transformer predicts: "v_prediction", "flow_prediction" ..., as the scheduler says."""

    extra_inputs: frozenset[str]
    """Which of "last_frames" and "reference_latents" it takes."""

    @abstractmethod
    def check_size(self, num_frames: int, height: int, width: int) -> None:
        """Raise an InputError, naming the nearest that will do, if shots of this size cannot be made."""

    @abstractmethod
    def encode_text(self, texts: Sequence[str], *, tokenizer: Any, text_encoder: Any, length: int) -> Tensor:
        """Return the embeddings that the plain pipeline would be fed with, shape (B, L, D).

        `[""]` gives the null embeddings that the adapter stores, any other text a negative prompt.
        """

    def decode(
        self,
        prompt_embeds_1LD: Tensor,
        negative_embeds_1LD: Tensor,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float | GuidanceSettings,
        generator: torch.Generator,
        inputs: ShotInputs = _NOTHING,
    ) -> NDArray[np.uint8]:
        """Return the frames of one shot, shape (F, H, W, 3). For arguments and errors see `decode_batch`."""
        frames_BFHW3 = self.decode_batch(
            prompt_embeds_1LD,
            negative_embeds_1LD,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generators=[generator],
            inputs=inputs,
        )
        return cast(NDArray[np.uint8], frames_BFHW3[0])

    def decode_batch(
        self,
        prompt_embeds_BLD: Tensor,
        negative_embeds_BLD: Tensor,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float | GuidanceSettings,
        generators: Sequence[torch.Generator],
        inputs: ShotInputs = _NOTHING,
    ) -> NDArray[np.uint8]:
        """Return the frames of several shots, of one story or of several, shape (B, F, H, W, 3).

        Args:
            prompt_embeds_BLD: Conditions.
            negative_embeds_BLD: Negative conditions; a single one serves all.
            num_frames: Frames per shot.
            height: Rows.
            width: Columns.
            num_inference_steps: Denoising steps.
            guidance_scale: Weight of classifier-free guidance, or several weights.
            generators: One per shot; on the CPU, so that every device starts from the same noise.
            inputs: What else there is.

        Raises:
            InputError: Before anything heavy, if shapes, size or inputs are not possible.
        """
        video = self._run(
            prompt_embeds_BLD,
            negative_embeds_BLD,
            size=(num_frames, height, width),
            steps=num_inference_steps,
            guidance=guidance_scale,
            generators=generators,
            inputs=inputs,
            output_type="np",
        )
        return (video * 255).round().astype(np.uint8)

    def decode_latents(
        self,
        prompt_embeds_BLD: Tensor,
        negative_embeds_BLD: Tensor,
        *,
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float | GuidanceSettings,
        generators: Sequence[torch.Generator],
        inputs: ShotInputs = _NOTHING,
    ) -> Tensor:
        """Return the latents of several shots as the plain pipeline gives them: (B, f, C, h, w), Wan (B, C, f, h, w).

        For arguments and errors see `decode_batch`.
        """
        latents: Tensor = self._run(
            prompt_embeds_BLD,
            negative_embeds_BLD,
            size=(num_frames, height, width),
            steps=num_inference_steps,
            guidance=guidance_scale,
            generators=generators,
            inputs=inputs,
            output_type="latent",
        )
        return latents

    # ------------------------------------------------------------------------------------------------ inner steps

    def _run(
        self,
        prompt_embeds_BLD: Tensor,
        negative_embeds_BLD: Tensor,
        *,
        size: tuple[int, int, int],
        steps: int,
        guidance: float | GuidanceSettings,
        generators: Sequence[torch.Generator],
        inputs: ShotInputs,
        output_type: str,
    ) -> Any:
        """Return what the pipeline gives for these shots."""
        self.check_size(*size)
        if not isinstance(guidance, GuidanceSettings):
            guidance = GuidanceSettings(text_scale=guidance)
        self._check(prompt_embeds_BLD, negative_embeds_BLD, generators, guidance, inputs)
        dtype = self.pipeline.transformer.dtype
        prompt_BLD = prompt_embeds_BLD.to(dtype)
        negative_BLD = negative_embeds_BLD.to(dtype).expand(len(prompt_BLD), -1, -1)
        options = {
            "num_frames": size[0],
            "height": size[1],
            "width": size[2],
            "num_inference_steps": steps,
            "output_type": output_type,
            "callback_on_step_end": inputs.callback_on_step_end,
            "callback_on_step_end_tensor_inputs": list(inputs.callback_tensors),
            "generator": list(generators) if len(generators) > 1 else generators[0],
        }
        with ExitStack() as hooks:
            if guidance.is_plain:
                options |= self._plain_guidance(guidance)
            else:
                unreferenced = inputs.unreferenced_embeds_BLD
                branches = BranchGuidance(
                    guidance,
                    negative_BLD,
                    None if unreferenced is None else unreferenced.expand(len(prompt_BLD), -1, -1),
                    num_steps=lambda: len(self.pipeline.scheduler.timesteps),
                )
                hooks.enter_context(branches.on(*self._transformers()))
                options["guidance_scale"] = 1.0
            self._enter_hooks(hooks, inputs)
            return self._call(prompt_BLD, negative_BLD, inputs, options)

    def _call(
        self, prompt_embeds_BLD: Tensor, negative_embeds_BLD: Tensor, inputs: ShotInputs, options: dict[str, Any]
    ) -> Any:
        """Call the pipeline."""
        embeds = {"prompt_embeds": prompt_embeds_BLD, "negative_prompt_embeds": negative_embeds_BLD}
        return self.pipeline(**embeds, **options).frames

    def _plain_guidance(self, guidance: GuidanceSettings) -> dict[str, Any]:
        """Return the pipeline's own options of guidance."""
        return {"guidance_scale": guidance.text_scale}

    def _transformers(self) -> tuple[Any, ...]:
        """Return the transformer, and the expert of little noise where there is one."""
        return (self.pipeline.transformer,)

    def _enter_hooks(self, hooks: ExitStack, inputs: ShotInputs) -> None:
        """Hang what the inputs need on the transformer, until the shots are made. Guidance hangs there already."""
        return

    def _check(
        self,
        prompt_BLD: Tensor,
        negative_BLD: Tensor,
        generators: Sequence[torch.Generator],
        guidance: GuidanceSettings,
        inputs: ShotInputs,
    ) -> None:
        if prompt_BLD.ndim != 3 or prompt_BLD.shape[2] != self.text_dim or not len(prompt_BLD):
            raise InputError(f"The condition must have the shape (shots, tokens, {self.text_dim}), got "
                             f"{tuple(prompt_BLD.shape)}.")  # fmt: skip
        if self.condition_length not in (None, prompt_BLD.shape[1]):
            raise InputError(f"The condition must have exactly {self.condition_length} tokens, got "
                             f"{prompt_BLD.shape[1]}.")  # fmt: skip
        others = {"negative condition": negative_BLD, "condition without references": inputs.unreferenced_embeds_BLD}
        for name, other in others.items():
            if other is None:
                continue
            if other.shape[1:] != prompt_BLD.shape[1:] or len(other) not in (1, len(prompt_BLD)):
                raise InputError(f"The {name} must have the shape {tuple(prompt_BLD.shape)} of the condition, got "
                                 f"{tuple(other.shape)}.")  # fmt: skip
        if len(generators) != len(prompt_BLD):
            raise InputError(
                f"There must be one generator per shot, got {len(generators)} for {len(prompt_BLD)} shots."
            )
        given = {"last_frames": inputs.last_frames, "reference_latents": inputs.reference_latents_BRChw}
        for name, value in given.items():
            if value is None:
                continue
            if name not in self.extra_inputs:
                raise InputError(f"{type(self).__name__} takes no {name} with these weights.")
            if len(value) != len(prompt_BLD):
                raise InputError(f"There must be {name} for each of the {len(prompt_BLD)} shots, got {len(value)}.")
        self._check_guidance(guidance, inputs)

    def _check_guidance(self, guidance: GuidanceSettings, inputs: ShotInputs) -> None:
        if guidance.reference_scale is not None and inputs.unreferenced_embeds_BLD is None:
            raise InputError(NEEDS_UNREFERENCED)
        cache = type(getattr(self.pipeline.transformer, "_cache_config", None)).__name__
        if cache == "FasterCacheConfig" and not (guidance.is_plain and inputs.reference_latents_BRChw is None):
            raise InputError("FasterCache guesses the negative prediction of plain guidance, so it works with neither a"
                             " reference_scale, a schedule nor reference latents.")  # fmt: skip
