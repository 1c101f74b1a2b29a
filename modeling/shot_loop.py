"""The loop over shots, of one story or of several at once.

    read    each story's next chunk goes into its context; a shot that is done had only to be read
    make    shots of the same settings are denoised together, each from its own noise
    join    the frames join the story, and the last of them will join the context

Shape letters used below
    Q query tokens    M width of the MLLM    L condition tokens    D width of the condition
    F frames    H, W rows and columns    R references    C latent channels    h, w latent rows and columns
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils import logging
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.backbones import Backbone, backbone_for
from animeshooter_hf.modeling.context import ShotContext
from animeshooter_hf.modeling.decoders import ShotInputs, encode_references
from animeshooter_hf.modeling.generation_settings import GenerationSettings
from animeshooter_hf.modeling.lora_weights import lora_weights_set
from animeshooter_hf.modeling.pipeline_output import ShotResult
from animeshooter_hf.modeling.prompt_layout import build_chunk
from animeshooter_hf.modeling.state import FinishedShot, StoryState

__all__ = ["ShotCallbacks", "ShotMaker", "ShotOrder", "StoryReader", "iter_shots"]

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotCallbacks:
    """Functions that a caller wants to be called on the way."""

    on_shot_end: Callable[[Any, ShotResult], None] | None = None
    """(pipeline, shot), as soon as a shot is ready."""

    on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None
    """(pipeline, step, timestep, tensors) -> tensors, after every denoising step, as in diffusers."""

    step_tensors: tuple[str, ...] = ("latents",)
    """Names of the tensors that the latter sees and may change."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShotOrder:
    """A shot that was read and waits to be made."""

    state: StoryState
    """Its story, up to the shot before."""

    index: int
    """The shot."""

    settings: GenerationSettings
    """What it is made with."""

    prompt_1LD: Tensor
    """Its condition."""

    unreferenced_1LD: Tensor | None
    """The condition of the context without references, where a reference scale needs it."""

    references: tuple[Image.Image, ...]
    """Pictures whose latents it sees: references, then last frames of earlier shots, the latest first; none where the
    checkpoint has no path for them."""

    slots: tuple[int, ...]
    """Slot of each of them in that path."""

    first_frame: Image.Image | None
    """The frame with which it begins, where it goes on from the shot before."""

    @property
    def kind(self) -> tuple[str, tuple[int, ...], bool]:
        """What has to be equal in shots that are made together."""
        settings = json.dumps(self.settings.to_json(), sort_keys=True)
        return settings, self.slots, self.first_frame is not None


class StoryReader:
    """Reads one story for a pipeline, shot by shot."""

    def __init__(self, pipeline: Any, state: StoryState, until: int) -> None:
        """Open the contexts of a story of which the shots before `until` will be read."""
        self._pipeline = pipeline
        self._max_pixels = state.settings.max_image_pixels or pipeline.config.max_image_pixels
        max_tokens = state.settings.max_caption_tokens or pipeline.config.max_caption_tokens
        backbone = backbone_for(pipeline.mllm, pipeline.processor, max_text_tokens=max_tokens)
        self._context = self._open_context(backbone, state)
        # A second context costs as much again; it is read only if a shot to be made asks for it.
        made = range(len(state.shots), until)
        self._unreferenced: ShotContext | None = None
        if any(state.settings_of(index).reference_scale is not None for index in made):
            self._unreferenced = self._open_context(backbone, state)

    @torch.no_grad()
    def read(self, state: StoryState, index: int) -> ShotOrder | None:
        """Read a shot; return what it is made from, or None where it is done."""
        states_1QM = self._context.append(self._chunk(state, index, state.references))
        unreferenced_1QM = None
        if self._unreferenced is not None:
            unreferenced_1QM = self._unreferenced.append(self._chunk(state, index, {}))
        if index < len(state.shots):
            return None
        settings = state.settings_of(index)
        adapter = self._pipeline.adapter
        frame_HW3 = state.frame_to_continue(index)
        needs_second = settings.reference_scale is not None and unreferenced_1QM is not None
        seen, slots = self._seen_pictures(state, index)
        return ShotOrder(
            state=state,
            index=index,
            settings=settings,
            prompt_1LD=adapter(states_1QM),
            unreferenced_1LD=adapter(unreferenced_1QM) if needs_second else None,
            references=seen,
            slots=slots,
            first_frame=None if frame_HW3 is None else Image.fromarray(frame_HW3),
        )

    def _open_context(self, backbone: Backbone, state: StoryState) -> ShotContext:
        return ShotContext(
            backbone,
            self._pipeline.adapter.query_tokens,
            layout=state.settings.layout,
            device=self._pipeline._execution_device,
        )

    def _chunk(self, state: StoryState, index: int, references: Mapping[str, Sequence[Image.Image]]) -> Any:
        return build_chunk(
            state.story.shots[index],
            references=references,
            last_frame=state.shots[index - 1].frames_FHW3 if index else None,
            max_pixels=self._max_pixels,
            layout=state.settings.layout,
        )

    def _seen_pictures(self, state: StoryState, index: int) -> tuple[tuple[Image.Image, ...], tuple[int, ...]]:
        """Return what the shot sees as latents, and the slot of each.

        These are references of its characters, the first of each, then the second ..., as far as slots go, and last
        frames of the shots before it, where the checkpoint was trained with them.
        """
        path = self._pipeline.reference_latents
        if path is None:
            return (), ()
        seen = [images for name, images in state.references.items() if name in state.story.shots[index].characters]
        turns = max((len(images) for images in seen), default=0)
        ordered = [images[turn] for turn in range(turns) for images in seen if turn < len(images)]
        limit = path.config.max_references
        if len(ordered) > limit:
            logger.warning(f"Shot {index} has {len(ordered)} references; the first {limit} are seen as latents.")
        references = ordered[:limit]
        past = [state.shots[number] for number in range(index - 1, max(-1, index - 1 - path.config.memory_frames), -1)]
        memory = [Image.fromarray(shot.frames_FHW3[-1]) for shot in past]
        return (*references, *memory), path.slots_of(len(references), len(memory))


class ShotMaker:
    """Makes shots that were read."""

    def __init__(self, pipeline: Any, callbacks: ShotCallbacks) -> None:
        """Compose the decoder, once for a run."""
        self._pipeline = pipeline
        self._callbacks = callbacks
        self._decoder = pipeline.decoder
        self._negatives: dict[str, Tensor] = {}

    @torch.no_grad()
    def make(self, orders: Sequence[ShotOrder]) -> NDArray[np.uint8]:
        """Return the frames of shots of the same kind, shape (shots, F, H, W, 3).

        The noise is drawn on the CPU, so every device starts from the same.
        """
        settings = orders[0].settings
        prompt_BLD = torch.cat([order.prompt_1LD for order in orders])
        self._name_bar(orders)
        with lora_weights_set(self._pipeline.transformers, settings.lora_weights):
            frames_BFHW3: NDArray[np.uint8] = self._decoder.decode_batch(
                prompt_BLD,
                self._negative(settings.negative_prompt).to(prompt_BLD),
                num_frames=settings.num_frames,
                height=settings.height,
                width=settings.width,
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=settings.guidance,
                generators=[torch.Generator("cpu").manual_seed(order.state.seed_of(order.index)) for order in orders],
                inputs=self._inputs(orders, settings),
            )
        self._pipeline.maybe_free_model_hooks()
        return frames_BFHW3

    def _negative(self, text: str | None) -> Tensor:
        """Return the negative condition, shape (1, L, D): the stored one, or that of a text."""
        if text is None:
            return self._pipeline.adapter.null_embeds
        if text not in self._negatives:
            self._negatives[text] = self._pipeline.encode_text(text)
        return self._negatives[text]

    def _inputs(self, orders: Sequence[ShotOrder], settings: GenerationSettings) -> ShotInputs:
        unreferenced = [order.unreferenced_1LD for order in orders if order.unreferenced_1LD is not None]
        latents = [
            encode_references(self._pipeline.vae, order.references, height=settings.height, width=settings.width)
            for order in orders
            if order.references
        ]
        first_frames = [order.first_frame for order in orders if order.first_frame is not None]
        on_step_end = self._callbacks.on_step_end

        def step_end(_: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            # Our pipeline in place of the one inside the decoder, which the caller never sees.
            return {} if on_step_end is None else on_step_end(self._pipeline, step, timestep, tensors) or {}

        return ShotInputs(
            unreferenced_embeds_BLD=torch.cat(unreferenced) if unreferenced else None,
            last_frames=first_frames or None,
            reference_latents_BRChw=torch.stack(latents) if latents else None,
            reference_slots=orders[0].slots if latents else None,
            callback_on_step_end=None if on_step_end is None else step_end,
            callback_tensors=self._callbacks.step_tensors,
        )

    def _name_bar(self, orders: Sequence[ShotOrder]) -> None:
        """Give the bar of the denoising steps the shot's name, and the settings of the pipeline's own bar."""
        names = ", ".join(str(order.index + 1) for order in orders)
        options = {"leave": False, **getattr(self._pipeline, "_progress_bar_config", {}), "desc": f"shot {names}"}
        self._decoder.pipeline.set_progress_bar_config(**options)


def iter_shots(
    pipeline: Any,
    states: Sequence[StoryState],
    *,
    until: int | None = None,
    callbacks: ShotCallbacks,
    batch_size: int = 1,
) -> Iterator[tuple[int, ShotResult]]:
    """Yield the number of the story and the shot, for each shot that is not done.

    Args:
        pipeline: The pipeline.
        states: Stories; each goes on where it is.
        until: Shots of each story that shall be done in the end; None for all.
        callbacks: What to call on the way.
        batch_size: Most shots that are denoised together; each of another story.
    """
    states = list(states)
    goals = [len(state.story.shots) if until is None else min(until, len(state.story.shots)) for state in states]
    running = [number for number, state in enumerate(states) if len(state.shots) < goals[number]]
    if not running:
        return
    readers = {number: StoryReader(pipeline, states[number], goals[number]) for number in running}
    maker = ShotMaker(pipeline, callbacks)
    with pipeline.progress_bar(total=sum(goals[number] for number in running)) as progress:
        for index in range(max(goals[number] for number in running)):
            # 1. Read: references or the last frame, the caption, the queries.
            orders: dict[int, ShotOrder] = {}
            for number in running:
                if index >= goals[number]:
                    continue
                order = readers[number].read(states[number], index)
                if order is None:
                    progress.update()
                else:
                    orders[number] = order
            # 2. Make the shots that are not done.
            for group in _groups(orders, batch_size):
                frames_BFHW3 = maker.make([orders[number] for number in group])
                # 3. Each joins its story, and its last frame will join the context.
                for number, frames_FHW3 in zip(group, frames_BFHW3, strict=True):
                    result = _joined(states[number], index, frames_FHW3)
                    states[number] = result.state
                    if callbacks.on_shot_end is not None:
                        callbacks.on_shot_end(pipeline, result)
                    progress.update()
                    yield number, result


def _groups(orders: Mapping[int, ShotOrder], batch_size: int) -> list[list[int]]:
    """Return the numbers of stories whose shots are made together."""
    kinds: dict[tuple[str, tuple[int, ...], bool], list[int]] = {}
    for number, order in orders.items():
        kinds.setdefault(order.kind, []).append(number)
    return [
        numbers[start : start + batch_size]
        for numbers in kinds.values()
        for start in range(0, len(numbers), batch_size)
    ]


def _joined(state: StoryState, index: int, frames_FHW3: NDArray[np.uint8]) -> ShotResult:
    seed = state.seed_of(index)
    grown = state.with_shot(FinishedShot(index, frames_FHW3, seed))
    return ShotResult(index, frames_FHW3, state.story.shots[index].caption, seed, grown)
