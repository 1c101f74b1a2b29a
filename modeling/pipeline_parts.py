"""The half of the pipeline that puts its parts together and checks what is asked of them."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from animeshooter_hf._version import __version__
from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone, backbone_for
from animeshooter_hf.modeling.checkpoint import fingerprint
from animeshooter_hf.modeling.context_room import check_room
from animeshooter_hf.modeling.decoders import PipelineDecoder, decoder_for
from animeshooter_hf.modeling.generation_settings import GenerationSettings, ShotSettingsInput
from animeshooter_hf.modeling.lora_weights import check_lora_names, lora_mark
from animeshooter_hf.modeling.memory import MemorySettings, apply_memory
from animeshooter_hf.modeling.pipeline_checkpoint import PipelineCheckpoint
from animeshooter_hf.modeling.prompt_layout import LayoutSettings
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.story_request import ReferenceImages, StoryInput, StoryRequest, make_request
from animeshooter_hf.modeling.transitions import plan_film

__all__ = ["PipelineParts"]

_SHOT_LIMIT = 64
"""Most shots of a story, unless the checkpoint says otherwise. Our choice; the paper generates four."""

_OPTIONS = (
    "seed", "num_frames", "height", "width", "num_inference_steps", "guidance_scale", "reference_scale",
    "guidance_schedule", "negative_prompt", "lora_weights", "shot_settings", "require_references",
)  # fmt: skip
"""What every way to ask for a story takes."""


class PipelineParts(PipelineCheckpoint):
    """Components, settings, and the checks that come before any heavy work."""

    model_cpu_offload_seq = "mllm->adapter->text_encoder->reference_latents->transformer->transformer_2->vae"
    # diffusers reads a list.
    _optional_components = ["tokenizer", "text_encoder", "reference_latents", "transformer_2"]  # noqa: RUF012

    def __init__(
        self,
        mllm: Any,
        processor: Any,
        adapter: Any,
        transformer: Any,
        vae: Any,
        scheduler: Any,
        tokenizer: Any = None,
        text_encoder: Any = None,
        reference_latents: Any = None,
        transformer_2: Any = None,
        weights_origin: str = "random",
        frame_rate: int | float | str | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 6.0,
        max_image_pixels: int = 448 * 448,
        max_caption_tokens: int = 512,
        max_shots: int = _SHOT_LIMIT,
        layout: LayoutSettings | Mapping[str, Any] | None = None,
        boundary_ratio: float | None = None,
        expand_timesteps: bool | None = None,
    ) -> None:
        """Put a pipeline together.

        Args:
            mllm: A multimodal language model of a family in `BACKBONES`, with its language head.
            processor: Its processor.
            adapter: A `ShotConditionAdapter` that fits the MLLM and the transformer.
            transformer: A CogVideoX or Wan transformer.
            vae: Its VAE.
            scheduler: Its scheduler.
            tokenizer: Of the text encoder.
            text_encoder: T5 (Wan: UMT5), for negative prompts and to compute null embeddings anew. The adapter stores
                the null embeddings, so it can be left out.
            reference_latents: The path by which the transformer sees references as latents (CogVideoX).
            transformer_2: The expert of little noise (Wan 2.2).
            weights_origin: "random", or "trained: ..." with where and on what. It is written into every file.
            frame_rate: Frames per second of what the decoder makes; None for what its family was made for.
            num_inference_steps: Denoising steps unless a call says otherwise. CogVideoX: 50.
            guidance_scale: Guidance unless a call says otherwise. CogVideoX: 6.
            max_image_pixels: Budget of each image that the MLLM sees. Our choice: 448 x 448.
            max_caption_tokens: Tokens to which a caption is cut, with a warning. Our choice.
            max_shots: Most shots of a story.
            layout: How stories are laid out for the MLLM, as in training.
            boundary_ratio: See `WanDecoder`.
            expand_timesteps: See `WanDecoder`.

        Raises:
            InputError: If a family is not supported, the parts do not fit together, or the origin is another text.
        """
        super().__init__()
        if weights_origin != "random" and not weights_origin.startswith("trained: "):
            raise InputError(f'weights_origin must be "random" or start with "trained: ", got {weights_origin!r}.')
        self.register_modules(
            mllm=mllm,
            processor=processor,
            adapter=adapter,
            transformer=transformer,
            vae=vae,
            scheduler=scheduler,
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            reference_latents=reference_latents,
            transformer_2=transformer_2,
        )
        self.register_to_config(boundary_ratio=boundary_ratio, expand_timesteps=expand_timesteps)
        self.register_to_config(
            weights_origin=weights_origin,
            frame_rate=str(exact_frame_rate(self.decoder.frame_rate if frame_rate is None else frame_rate)),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            max_image_pixels=max_image_pixels,
            max_caption_tokens=max_caption_tokens,
            max_shots=max_shots,
            layout=asdict(_as_layout(layout)),
        )
        self._has_warned = False
        self._check_parts()

    def _check_parts(self) -> None:
        backbone, decoder = self.backbone, self.decoder
        config = self.adapter.config
        if config.mllm_hidden_size != backbone.hidden_size:
            raise InputError(f"The adapter reads states of width {config.mllm_hidden_size}, but the multimodal model"
                             f" gives {backbone.hidden_size}.")  # fmt: skip
        if config.text_dim != decoder.text_dim:
            raise InputError(f"The adapter gives a condition of width {config.text_dim}, but the transformer takes"
                             f" {decoder.text_dim}.")  # fmt: skip
        if decoder.condition_length not in (None, config.condition_length):
            raise InputError(f"The adapter gives {config.condition_length} condition tokens, but the transformer takes"
                             f" exactly {decoder.condition_length}.")  # fmt: skip

    # ------------------------------------------------------------------------------------------------ the parts

    @property
    def backbone(self) -> Backbone:
        """The MLLM as the context sees it."""
        return backbone_for(self.mllm, self.processor, max_text_tokens=self.config.max_caption_tokens)

    @property
    def decoder(self) -> PipelineDecoder:
        """The video model as this pipeline sees it."""
        return decoder_for(
            transformer=self.transformer,
            vae=self.vae,
            scheduler=self.scheduler,
            reference_latents=self.reference_latents,
            transformer_2=self.transformer_2,
            boundary_ratio=self.config.boundary_ratio,
            expand_timesteps=self.config.expand_timesteps,
        )

    @property
    def transformers(self) -> list[Any]:
        """The video transformer, and the second expert where there is one."""
        return [part for part in (self.transformer, self.transformer_2) if part is not None]

    @property
    def layout(self) -> LayoutSettings:
        """How stories are laid out for the MLLM."""
        return LayoutSettings(**self.config.layout)

    @property
    def fps(self) -> Fraction:
        """Frames per second of what the decoder makes, exact."""
        return Fraction(self.config.frame_rate)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a viewer has to know about what this pipeline makes."""
        if self.config.weights_origin == "random":
            return ("The weights are random: the frames show nothing.",)
        return ()

    def provenance(self, state: StoryState) -> dict[str, Any]:
        """Return what is written into every film: that it is AI-generated, by what, from which weights and seed."""
        return {
            "ai_generated": True,
            "generator": f"AnimeShooterGenPipeline, animeshooter_hf {__version__}",
            "weights_origin": self.config.weights_origin,
            "model_fingerprint": state.model_fingerprint,
            "story_id": state.story.story_id,
            "seed": state.seed,
        }

    def fingerprint(self) -> str:
        """Return a mark of this pipeline and its active LoRAs; a state of a pipeline of another mark is refused."""
        loras = lora_mark(self.transformers)
        mark = fingerprint(self.components)
        return hashlib.sha256(f"{mark} {loras}".encode()).hexdigest() if loras else mark

    def apply_memory(self, settings: MemorySettings) -> None:
        """Save memory and time; once, before the first shot. What is exact and what is not, `memory.py` says.

        Raises:
            InputError: If something is not possible here. Nothing has been changed then.
        """
        apply_memory(self, settings)

    # ------------------------------------------------------------------------------------------------ checking

    def check_inputs(
        self,
        story: StoryInput,
        reference_images: ReferenceImages = None,
        *,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        reference_scale: float | None = None,
        guidance_schedule: str = "constant",
        negative_prompt: str | None = None,
        lora_weights: Mapping[str, float] | None = None,
        shot_settings: ShotSettingsInput = None,
        require_references: bool = True,
        **unknown: Any,
    ) -> tuple[StoryRequest, GenerationSettings]:
        """Return the checked request and settings; nothing heavy happens before this.

        Raises:
            InputError: With one sentence on what is wrong.
        """
        for name in unknown:
            raise InputError(f"There is no option {name!r}; there are {', '.join(_OPTIONS)}.")
        default_frames, default_height, default_width = self.decoder.default_size
        settings = GenerationSettings(
            num_frames=default_frames if num_frames is None else num_frames,
            height=default_height if height is None else height,
            width=default_width if width is None else width,
            num_inference_steps=self.config.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidance_scale=self.config.guidance_scale if guidance_scale is None else guidance_scale,
            reference_scale=reference_scale,
            guidance_schedule=guidance_schedule,
            negative_prompt=negative_prompt,
            lora_weights=lora_weights,
            layout=self.layout,
            max_image_pixels=self.config.max_image_pixels,
            max_caption_tokens=self.config.max_caption_tokens,
        )
        self._check_settings(settings)
        request = make_request(
            story,
            reference_images,
            max_shots=self.config.max_shots,
            require_references=require_references,
            shot_settings=shot_settings,
        )
        return request, settings

    def _check_settings(self, settings: GenerationSettings) -> None:
        """Raise an InputError unless shots can be made with these settings."""
        self.decoder.check_size(settings.num_frames, settings.height, settings.width)
        if settings.negative_prompt is not None:
            self.check_text_encoder("Negative prompts")
        check_lora_names(self.transformers, settings.lora_weights)

    def _check_shots(self, state: StoryState) -> None:
        """Raise an InputError unless every shot can be made with its own settings, all can be joined, and all read."""
        takes_frame = "last_frames" in self.decoder.extra_inputs
        for index, own in state.shot_settings.items():
            if own.continues and (index == 0 or not takes_frame):
                why = "there is none before it" if index == 0 else "this video model takes none"
                raise InputError(f"Shot {index} cannot begin with the last frame of the shot before: {why}.")
            try:
                self._check_settings(state.settings_of(index))
            except InputError as error:
                raise InputError(f"Shot {index}: {error}") from error
        lengths = [state.settings_of(index).num_frames for index in range(len(state.story.shots))]
        if any(own.transition is not None for own in state.shot_settings.values()):
            plan_film(lengths, self.fps, state.all_transitions)
        check_room(
            self.backbone,
            state.story,
            state.references,
            num_queries=self.adapter.config.num_queries,
            shot_size=(min(lengths), state.settings.height, state.settings.width),
            max_pixels=state.settings.max_image_pixels or self.config.max_image_pixels,
            layout=state.settings.layout,
        )

    def _check_state(self, state: StoryState) -> None:
        if not isinstance(state, StoryState):
            raise InputError(f"state must be a StoryState, got {state!r:.80}; StoryState.load reads a folder.")
        if state.model_fingerprint != self.fingerprint():
            raise InputError("The state was made by another model, or with other LoRAs, so it cannot be gone on with.")
        self._check_settings(state.settings)
        self._check_shots(state)


def _as_layout(layout: LayoutSettings | Mapping[str, Any] | None) -> LayoutSettings:
    if isinstance(layout, LayoutSettings):
        return layout
    try:
        return LayoutSettings(**(layout or {}))
    except TypeError as error:
        raise InputError(f"layout has a key that is unknown: {', '.join(layout or {})}.") from error
