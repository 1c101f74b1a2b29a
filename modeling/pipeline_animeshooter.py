"""Generate a story shot by shot: each shot is conditioned on the references, the captions and the shots before it.

    chunk = [references, or the last frame of the shot before] + caption + queries
    states = MLLM(chunk, cache)            (1, Q, M)     context.py, backbones.py
    condition = adapter(states)            (1, L, D)     adapter.py
    frames = decoder(condition, noise)     (F, H, W, 3)  decoders.py

Source: AnimeShooter, arXiv 2506.03126, section 4. The paper's MLLM (NVILA-8B) is no part of transformers; Qwen-VL
models stand in its place.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import CogVideoXPipeline, DiffusionPipeline
from diffusers.loaders import CogVideoXLoraLoaderMixin
from diffusers.utils import BaseOutput, logging
from huggingface_hub import HfApi
from numpy.typing import NDArray
from peft.utils import get_peft_model_state_dict
from PIL import Image

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.model_card import write_model_card
from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone, backbone_for
from animeshooter_hf.modeling.checkpoint import check_folder, fingerprint, missing_weights, write_shim
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.decoders import ShotDecoder, decoder_for
from animeshooter_hf.modeling.prompt_layout import build_chunk
from animeshooter_hf.modeling.state import FinishedShot, StoryState
from animeshooter_hf.modeling.story_request import (
    GenerationSettings,
    ReferenceImages,
    StoryInput,
    StoryRequest,
    make_request,
    with_caption,
)

__all__ = ["AnimeShooterGenOutput", "AnimeShooterGenPipeline", "ShotResult"]

logger = logging.get_logger(__name__)

_SHOT_LIMIT = 64
"""Most shots of a story, unless the checkpoint says otherwise. Our choice; the paper generates four."""


@dataclass(frozen=True, slots=True, eq=False)
class ShotResult:
    """One shot, as soon as it is ready."""

    index: int
    """Position in the story, from 0."""

    frames: NDArray[np.uint8]
    """Shape (F, H, W, 3), RGB."""

    caption: str
    """What it was made from."""

    seed: int
    """Seed of its noise."""

    state: StoryState
    """The story up to and including this shot; save it to be able to go on from here."""


@dataclass
class AnimeShooterGenOutput(BaseOutput):
    """A generated story."""

    frames: list[Any]
    """Per shot: uint8 of shape (F, H, W, 3), or a list of PIL images."""

    fps: Fraction
    """Frames per second, exact."""

    audio: list[NDArray[np.float32]] | None
    """Per shot: sound of shape (C, T); None as long as no sound is made."""

    state: StoryState
    """What is needed to go on, or to make a shot anew."""

    notes: tuple[str, ...] = ()
    """What a viewer has to know, such as that the weights are random."""


class AnimeShooterGenPipeline(DiffusionPipeline, CogVideoXLoraLoaderMixin):
    """Multi-shot animation from a story and reference images of its characters.

    Example:
        >>> from animeshooter_hf.modeling.testing import tiny_pipeline
        >>> output = tiny_pipeline()(["A fox wakes up.", "The fox runs."], num_inference_steps=2)
        >>> len(output.frames), output.frames[0].shape, output.notes
        (2, (9, 64, 96, 3), ('The weights are random: the frames show nothing.',))
    """

    model_cpu_offload_seq = "mllm->adapter->text_encoder->transformer->vae"
    _optional_components = ["tokenizer", "text_encoder"]  # noqa: RUF012 - diffusers reads a list

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
        weights_origin: str = "random",
        frame_rate: int | float | str = 8,
        num_inference_steps: int = 50,
        guidance_scale: float = 6.0,
        max_image_pixels: int = 448 * 448,
        max_caption_tokens: int = 512,
        max_shots: int = _SHOT_LIMIT,
    ) -> None:
        """Put a pipeline together.

        Args:
            mllm: A Qwen3-VL or Qwen2.5-VL model with its language head.
            processor: Its processor.
            adapter: A `ShotConditionAdapter` that fits the MLLM and the transformer.
            transformer: A CogVideoX transformer.
            vae: Its VAE.
            scheduler: Its scheduler.
            tokenizer: T5's, only to compute null embeddings anew.
            text_encoder: T5, only for that too. The adapter stores the null embeddings.
            weights_origin: "random", or "trained: ..." with where and on what. It is written into every file.
            frame_rate: Frames per second of what the decoder makes. CogVideoX: 8.
            num_inference_steps: Denoising steps unless a call says otherwise. CogVideoX: 50.
            guidance_scale: Guidance unless a call says otherwise. CogVideoX: 6.
            max_image_pixels: Budget of each image that the MLLM sees. Our choice: 448 x 448.
            max_caption_tokens: Tokens to which a caption is cut, with a warning. Our choice.
            max_shots: Most shots of a story.

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
        )
        self.register_to_config(
            weights_origin=weights_origin,
            frame_rate=str(exact_frame_rate(frame_rate)),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            max_image_pixels=max_image_pixels,
            max_caption_tokens=max_caption_tokens,
            max_shots=max_shots,
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

    def register_to_config(self, **kwargs: Any) -> None:
        """Register settings; the last one that loading registers, `_name_or_path`, makes it check the weights.

        Every way of loading ends there, also the one through the checkpoint's `pipeline.py`.
        """
        if "_name_or_path" in kwargs:
            for name, component in self.components.items():
                missing = missing_weights(component)
                if missing:
                    raise InputError(
                        f"The checkpoint {kwargs['_name_or_path']} is not whole: {len(missing)} weights of {name} are "
                        f"missing, such as {missing[0]}."
                    )
        super().register_to_config(**kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> "AnimeShooterGenPipeline":
        """Return the pipeline of a folder or of a repository on the Hub. For the options see diffusers.

        Raises:
            InputError: If it is no checkpoint of this pipeline, or a file or a weight is missing or broken.
        """
        path = Path(pretrained_model_name_or_path)
        if path.is_dir():
            check_folder(path, "AnimeShooterGenPipeline")
        elif path.exists() or len(path.parts) != 2:
            raise InputError(f"There is no checkpoint at {path}.")
        try:
            loaded: AnimeShooterGenPipeline = super().from_pretrained(str(pretrained_model_name_or_path), **kwargs)
        except InputError:
            raise
        except Exception as error:
            # The libraries below raise a dozen kinds here, SafetensorError and bare RuntimeError among them.
            raise InputError(f"The checkpoint {path} cannot be loaded: {_first_sentence(error)}") from error
        return loaded

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Write the checkpoint, with a card and the `pipeline.py` by which plain diffusers finds this class.

        Raises:
            InputError: If `push_to_hub` is asked for here; `push_to_hub()` does that.
        """
        if kwargs.pop("push_to_hub", False):
            raise InputError("Call push_to_hub(repo_id) instead, which uploads the card that is written here.")
        super().save_pretrained(str(save_directory), *args, **kwargs)
        write_shim(Path(save_directory))
        write_model_card(self, Path(save_directory))

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the checkpoint with its card, and return its address.

        Args:
            repo_id: Such as "name/model".
            kwargs: `private`, `token`, `commit_message`, `create_pr` as in huggingface_hub.
        """
        api = HfApi(token=kwargs.pop("token", None))
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.create_repo(repo_id, private=kwargs.pop("private", None), exist_ok=True)
            message = kwargs.pop("commit_message", None) or "Upload AnimeShooterGenPipeline"
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, **kwargs)
        return str(commit)

    # ------------------------------------------------------------------------------------------------ the parts

    @property
    def backbone(self) -> Backbone:
        """The MLLM as the context sees it."""
        return backbone_for(self.mllm, self.processor, max_text_tokens=self.config.max_caption_tokens)

    @property
    def decoder(self) -> ShotDecoder:
        """The video model as this pipeline sees it."""
        return decoder_for(transformer=self.transformer, vae=self.vae, scheduler=self.scheduler)

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

    # ------------------------------------------------------------------------------------------------ LoRA

    def save_lora(self, save_directory: str | Path, adapter_name: str = "default") -> None:
        """Write a LoRA of the transformer together with its settings.

        `save_lora_weights` forgets lora_alpha unless it is handed over; a LoRA whose alpha is not its rank then comes
        back with another strength. This keeps it.

        Raises:
            InputError: If there is no LoRA of that name.
        """
        names = sorted(getattr(self.transformer, "peft_config", None) or {})
        if adapter_name not in names:
            raise InputError(f"There is no LoRA {adapter_name!r}; loaded are {', '.join(names) or 'none'}.")
        self.save_lora_weights(
            save_directory,
            transformer_lora_layers=get_peft_model_state_dict(self.transformer, adapter_name=adapter_name),
            transformer_lora_adapter_metadata=self.transformer.peft_config[adapter_name].to_dict(),
        )

    # ------------------------------------------------------------------------------------------------ null embeddings

    @torch.no_grad()
    def store_null_embeds(self) -> None:
        """Compute the text encoder's features of "" and store them in the adapter; T5 is not needed afterwards.

        Raises:
            InputError: If the pipeline has no text encoder or no tokenizer.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError("Null embeddings come from T5: load the pipeline with its tokenizer and text_encoder.")
        plain = CogVideoXPipeline(
            tokenizer=self.tokenizer,
            text_encoder=self.text_encoder,
            vae=self.vae,
            transformer=self.transformer,
            scheduler=self.scheduler,
        )
        length = self.adapter.config.condition_length
        embeds, _ = plain.encode_prompt("", do_classifier_free_guidance=False, max_sequence_length=length)
        self.adapter.set_null_embeds(embeds)

    # ------------------------------------------------------------------------------------------------ generation

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
        require_references: bool = True,
    ) -> tuple[StoryRequest, GenerationSettings]:
        """Return the checked request and settings; nothing heavy happens before this.

        Raises:
            InputError: With one sentence on what is wrong.
        """
        default_frames, default_height, default_width = self.decoder.default_size
        settings = GenerationSettings(
            num_frames=default_frames if num_frames is None else num_frames,
            height=default_height if height is None else height,
            width=default_width if width is None else width,
            num_inference_steps=self.config.num_inference_steps if num_inference_steps is None else num_inference_steps,
            guidance_scale=self.config.guidance_scale if guidance_scale is None else guidance_scale,
        )
        self.decoder.check_size(settings.num_frames, settings.height, settings.width)
        request = make_request(
            story, reference_images, max_shots=self.config.max_shots, require_references=require_references
        )
        return request, settings

    def __call__(
        self,
        story: StoryInput,
        reference_images: ReferenceImages = None,
        *,
        seed: int = 0,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        require_references: bool = True,
        callback_on_shot_end: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None = None,
        output_type: str = "np",
    ) -> AnimeShooterGenOutput:
        """Return a story's frames, all shots.

        Args:
            story: A `Story`, a row of the `stories` config, or one caption per shot.
            reference_images: Character's name -> image or images; or those of the only character.
            seed: The same seed gives the same frames; each shot's noise depends on it and the shot's index alone.
            num_frames: Frames per shot. CogVideoX: a multiple of 8, plus 1.
            height: Rows.
            width: Columns.
            num_inference_steps: Denoising steps per shot.
            guidance_scale: Weight of classifier-free guidance; 1 or less switches it off.
            require_references: Refuse a character who is seen and has no reference.
            callback_on_shot_end: Called with the pipeline and each shot as soon as it is ready.
            output_type: "np" for uint8 arrays, "pil" for lists of images.

        Raises:
            InputError: Before anything heavy, with one sentence on what is wrong.
        """
        _check_output_type(output_type)
        shots = self.stream(
            story,
            reference_images,
            seed=seed,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            require_references=require_references,
            callback_on_shot_end=callback_on_shot_end,
        )
        *_, last = shots
        return self._output(last.state, output_type)

    def begin(
        self, story: StoryInput, reference_images: ReferenceImages = None, *, seed: int = 0, **settings: Any
    ) -> StoryState:
        """Return the state of a story of which no shot is done; `resume` starts there. For the options see the call."""
        request, checked = self.check_inputs(story, reference_images, **settings)
        return StoryState.begin(
            request,
            checked,
            seed=seed,
            model_fingerprint=self.fingerprint(),
            weights_origin=self.config.weights_origin,
        )

    def stream(
        self,
        story: StoryInput,
        reference_images: ReferenceImages = None,
        *,
        callback_on_shot_end: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None = None,
        **options: Any,
    ) -> Iterator[ShotResult]:
        """Yield each shot when it is ready. The options are the call's; they are checked before this returns."""
        return self._shots_after(self.begin(story, reference_images, **options), callback_on_shot_end)

    def stream_resume(
        self,
        state: StoryState,
        callback_on_shot_end: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None = None,
    ) -> Iterator[ShotResult]:
        """Yield each shot that a state still lacks. It is checked before this returns; see `resume`."""
        self._check_state(state)
        return self._shots_after(state, callback_on_shot_end)

    def resume(
        self,
        state: StoryState,
        *,
        callback_on_shot_end: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None = None,
        output_type: str = "np",
    ) -> AnimeShooterGenOutput:
        """Return the whole story, making only the shots that the state lacks; they equal those of an unbroken run.

        Raises:
            InputError: If another model made the state.
        """
        _check_output_type(output_type)
        for shot in self.stream_resume(state, callback_on_shot_end):
            state = shot.state
        return self._output(state, output_type)

    def regenerate_shot(
        self,
        state: StoryState,
        index: int,
        *,
        caption: str | None = None,
        seed: int | None = None,
        keep_following: bool = True,
        callback_on_shot_end: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None = None,
        output_type: str = "np",
    ) -> AnimeShooterGenOutput:
        """Return the story with one shot made anew; the shots before it stay as they are.

        Args:
            state: A story in which that shot is done.
            index: The shot, from 0.
            caption: Its new descriptive caption; None keeps the old one.
            seed: Seed of its noise; None keeps the shot's seed, so with the old caption too nothing changes.
            keep_following: Keep the shots after it, frame by frame. False makes those that were done anew as well,
                from this shot's new last frame, each with its own seed.
            callback_on_shot_end: Called with the pipeline and each shot that is made.
            output_type: "np" for uint8 arrays, "pil" for lists of images.

        Raises:
            InputError: If the shot is not done, or another model made the state.
        """
        _check_output_type(output_type)
        self._check_state(state)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(state.shots):
            raise InputError(f"index must be one of the {len(state.shots)} finished shots, from 0, got {index!r}.")
        changed = state.cut_to(index)
        if caption is not None:
            changed = replace(changed, story=with_caption(state.story, index, caption))
        if seed is not None:
            changed = replace(changed, shot_seeds={**state.shot_seeds, index: seed})
        until = index + 1 if keep_following else len(state.shots)
        for shot in self._shots_after(changed, callback_on_shot_end, until=until):
            changed = shot.state
        return self._output(replace(changed, shots=(*changed.shots, *state.shots[until:])), output_type)

    def fingerprint(self) -> str:
        """Return a mark of this pipeline; a state made by a pipeline of another mark is refused."""
        return fingerprint(self.components)

    # ------------------------------------------------------------------------------------------------ inner steps

    def _check_state(self, state: StoryState) -> None:
        if state.model_fingerprint != self.fingerprint():
            raise InputError("The state was made by another model, or with other LoRAs, so it cannot be gone on with.")

    def _shots_after(
        self,
        state: StoryState,
        callback: Callable[["AnimeShooterGenPipeline", ShotResult], None] | None,
        *,
        until: int | None = None,
    ) -> Iterator[ShotResult]:
        """Yield the shots from the first one that is not done up to `until`."""
        self._warn_once()
        until = len(state.story.shots) if until is None else until
        if len(state.shots) >= until:
            return
        device = self._execution_device
        context = ShotContext(self.backbone, self.adapter.query_tokens, device=device)
        decoder = self.decoder
        with self.progress_bar(total=until) as progress:
            for index in range(until):
                # 1. Read: references or the last frame, the caption, the queries.
                with torch.no_grad():
                    states_1QM = context.append(self._chunk(state, index))
                # 2. A shot that is done had only to be read.
                if index >= len(state.shots):
                    frames_FHW3 = self._make_shot(state, index, states_1QM, decoder)
                    # 3. It joins the story, and its last frame will join the context.
                    state = state.with_shot(FinishedShot(index, frames_FHW3, state.seed_of(index)))
                    caption = state.story.shots[index].caption
                    result = ShotResult(index, frames_FHW3, caption, state.seed_of(index), state)
                    if callback is not None:
                        callback(self, result)
                    progress.update()
                    yield result
                else:
                    progress.update()

    def _chunk(self, state: StoryState, index: int) -> Any:
        return build_chunk(
            state.story.shots[index],
            references=state.references,
            last_frame=state.shots[index - 1].frames_FHW3[-1] if index else None,
            max_pixels=self.config.max_image_pixels,
        )

    @torch.no_grad()
    def _make_shot(
        self, state: StoryState, index: int, states_1QM: torch.Tensor, decoder: ShotDecoder
    ) -> NDArray[np.uint8]:
        """Return the frames of one shot; the noise is drawn on the CPU, so every device starts from the same."""
        condition_1LD = self.adapter(states_1QM)
        frames_FHW3 = decoder.decode(
            condition_1LD,
            self.adapter.null_embeds.to(condition_1LD),
            num_frames=state.settings.num_frames,
            height=state.settings.height,
            width=state.settings.width,
            num_inference_steps=state.settings.num_inference_steps,
            guidance_scale=state.settings.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(state.seed_of(index)),
        )
        self.maybe_free_model_hooks()
        return frames_FHW3

    def _output(self, state: StoryState, output_type: str) -> AnimeShooterGenOutput:
        frames: list[Any] = [shot.frames_FHW3 for shot in state.shots]
        if output_type == "pil":
            frames = [[Image.fromarray(frame) for frame in shot] for shot in frames]
        return AnimeShooterGenOutput(frames=frames, fps=self.fps, audio=None, state=state, notes=self.notes)

    def _warn_once(self) -> None:
        if not self._has_warned:
            for note in self.notes:
                logger.warning(note)
            self._has_warned = True


def _check_output_type(output_type: str) -> None:
    if output_type not in ("np", "pil"):
        raise InputError(f'output_type must be "np" or "pil", got {output_type!r}.')


def _first_sentence(error: Exception) -> str:
    """Return the first line of an error's text; libraries go on with advice that does not fit here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0] if lines else type(error).__name__}".rstrip(".") + "."
