"""Generate a story shot by shot: each shot is conditioned on the references, the captions and the shots before it.

    chunk = [references, or the last frame of the shot before] + caption + queries
    states = MLLM(chunk, cache)            (1, Q, M)     context.py, backbones/
    condition = adapter(states)            (1, L, D)     adapter.py
    frames = decoder(condition, noise)     (F, H, W, 3)  decoders/

Here are the ways to ask: a call, a preview, a stream, going on, making a shot anew, several stories, a film. Each
checks first and then runs the loop over shots.

pipeline_parts.py       the components, and the checks before any heavy work
pipeline_checkpoint.py  loading, saving, uploading
shot_loop.py            the loop: read, make, join
pipeline_sound.py       the sound
pipeline_output.py      what comes back, and how it becomes a film

Source: AnimeShooter, arXiv 2506.03126, section 4. The paper's MLLM (NVILA-8B) is no part of transformers; Qwen-VL
models stand in its place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusers.utils import logging

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.film import FilmSettings
from animeshooter_hf.modeling.generation_settings import ShotSettings, ShotSettingsInput
from animeshooter_hf.modeling.pipeline_output import AnimeShooterGenOutput, ShotResult, check_output_type, frames_as
from animeshooter_hf.modeling.pipeline_parts import PipelineParts
from animeshooter_hf.modeling.pipeline_sound import StorySound
from animeshooter_hf.modeling.shot_loop import ShotCallbacks, iter_shots
from animeshooter_hf.modeling.sound import SoundSettings
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.story_request import ReferenceImages, StoryInput, with_caption
from animeshooter_hf.modeling.transitions import FilmPlan

__all__ = ["AnimeShooterGenOutput", "AnimeShooterGenPipeline", "ShotResult"]

logger = logging.get_logger(__name__)

OnShotEnd = Callable[["AnimeShooterGenPipeline", ShotResult], None]
OnStepEnd = Callable[["AnimeShooterGenPipeline", int, Any, dict[str, Any]], dict[str, Any]]


class AnimeShooterGenPipeline(PipelineParts):
    """Multi-shot animation from a story and reference images of its characters.

    Example:
        >>> from animeshooter_hf.modeling.testing import tiny_pipeline
        >>> output = tiny_pipeline()(["A fox wakes up.", "The fox runs."], num_inference_steps=2)
        >>> len(output.frames), output.frames[0].shape, output.notes
        (2, (9, 64, 96, 3), ('The weights are random: the frames show nothing.',))
    """

    # ------------------------------------------------------------------------------------------------ the ways to ask

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
        reference_scale: float | None = None,
        guidance_schedule: str = "constant",
        negative_prompt: str | None = None,
        lora_weights: Mapping[str, float] | None = None,
        shot_settings: ShotSettingsInput = None,
        require_references: bool = True,
        audio_scorer: Any = None,
        sound: SoundSettings | None = None,
        sound_folder: str | Path | None = None,
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        output_type: str = "np",
        **unknown: Any,
    ) -> AnimeShooterGenOutput:
        """Return a story's frames, all shots.

        Args:
            story: A `Story`, a row of the `stories` config, or one caption per shot. Names in captions may be marked,
                "<Mia> runs past <Rex>."; a marked name must be that of a character.
            reference_images: Character's name -> image or images; or those of the only character.
            seed: The same seed gives the same frames; each shot's noise depends on it and the shot's index alone.
            num_frames: Frames per shot. CogVideoX: a multiple of 8, plus 1.
            height: Rows.
            width: Columns.
            num_inference_steps: Denoising steps per shot.
            guidance_scale: Weight of classifier-free guidance; 1 or less switches it off.
            reference_scale: Weight of what the references add; None for plain guidance. It needs a third prediction.
            guidance_schedule: "constant", or "cosine" for guidance that grows over the steps.
            negative_prompt: What is not wanted; needs the text encoder.
            lora_weights: LoRA -> weight, of those that are loaded; None leaves what is switched on.
            shot_settings: What single shots have of their own: index -> `ShotSettings`, or a list.
            require_references: Refuse a character who is seen and has no reference.
            audio_scorer: What makes the sound: an `AudioScorer`, or a function. None makes none.
            sound: How the sound is made.
            sound_folder: Where sounds are kept, so that they are not made twice.
            callback_on_shot_end: Called with the pipeline and each shot as soon as it is ready.
            callback_on_step_end: Called after every denoising step as in diffusers: pipeline, step, timestep, tensors.
            callback_on_step_end_tensor_inputs: Names of these tensors; what the call returns takes their place.
            output_type: "np" for uint8 arrays, "pil" for lists of images.
            unknown: Refused.

        Raises:
            InputError: Before anything heavy, with one sentence on what is wrong.
        """
        # 1. Check all that was given.
        check_output_type(output_type)
        state = self.begin(
            story,
            reference_images,
            seed=seed,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            reference_scale=reference_scale,
            guidance_schedule=guidance_schedule,
            negative_prompt=negative_prompt,
            lora_weights=lora_weights,
            shot_settings=shot_settings,
            require_references=require_references,
            **unknown,
        )
        story_sound = StorySound(audio_scorer, sound, sound_folder)
        callbacks = self._callbacks(callback_on_shot_end, callback_on_step_end, callback_on_step_end_tensor_inputs)
        # 2. Make shot after shot, then the sound.
        return self._finish(state, callbacks, story_sound, output_type)

    def begin(
        self, story: StoryInput, reference_images: ReferenceImages = None, *, seed: int = 0, **settings: Any
    ) -> StoryState:
        """Return the state of a story of which no shot is done; `resume` starts there. For the options see the call."""
        request, checked = self.check_inputs(story, reference_images, **settings)
        state = StoryState.begin(
            request,
            checked,
            seed=seed,
            model_fingerprint=self.fingerprint(),
            weights_origin=self.config.weights_origin,
        )
        self._check_shots(state)
        return state

    def preview(
        self,
        story: StoryInput,
        reference_images: ReferenceImages = None,
        *,
        output_type: str = "np",
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        **options: Any,
    ) -> AnimeShooterGenOutput:
        """Return the story's first shot only; `resume(output.state)` makes the others. For the options see the call."""
        check_output_type(output_type)
        state = self.begin(story, reference_images, **options)
        callbacks = self._callbacks(callback_on_shot_end, callback_on_step_end)
        return self._finish(state, callbacks, StorySound(None), output_type, until=1)

    def stream(
        self,
        story: StoryInput,
        reference_images: ReferenceImages = None,
        *,
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        **options: Any,
    ) -> Iterator[ShotResult]:
        """Yield each shot when it is ready. The options are the call's; they are checked before this returns."""
        state = self.begin(story, reference_images, **options)
        return self._shots_after(state, self._callbacks(callback_on_shot_end, callback_on_step_end))

    def stream_resume(
        self,
        state: StoryState,
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
    ) -> Iterator[ShotResult]:
        """Yield each shot that a state still lacks. It is checked before this returns; see `resume`."""
        self._check_state(state)
        return self._shots_after(state, self._callbacks(callback_on_shot_end, callback_on_step_end))

    def resume(
        self,
        state: StoryState,
        *,
        audio_scorer: Any = None,
        sound: SoundSettings | None = None,
        sound_folder: str | Path | None = None,
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: str = "np",
    ) -> AnimeShooterGenOutput:
        """Return the whole story, making only the shots that the state lacks; they equal those of an unbroken run.

        Raises:
            InputError: If another model made the state.
        """
        check_output_type(output_type)
        self._check_state(state)
        callbacks = self._callbacks(callback_on_shot_end, callback_on_step_end)
        return self._finish(state, callbacks, StorySound(audio_scorer, sound, sound_folder), output_type)

    def regenerate_shot(
        self,
        state: StoryState,
        index: int,
        *,
        caption: str | None = None,
        seed: int | None = None,
        settings: ShotSettings | Mapping[str, Any] | None = None,
        keep_following: bool = True,
        audio_scorer: Any = None,
        sound: SoundSettings | None = None,
        sound_folder: str | Path | None = None,
        callback_on_shot_end: OnShotEnd | None = None,
        callback_on_step_end: OnStepEnd | None = None,
        output_type: str = "np",
    ) -> AnimeShooterGenOutput:
        """Return the story with one shot made anew; the shots before it stay as they are.

        Args:
            state: A story in which that shot is done.
            index: The shot, from 0.
            caption: Its new descriptive caption; None keeps the old one.
            seed: Seed of its noise; None keeps the shot's seed, so with the old caption too nothing changes.
            settings: What else it shall have of its own; what is None, or not named, stays as it is.
            keep_following: Keep the shots after it, frame by frame. False makes those that were done anew as well,
                from this shot's new last frame, each with its own seed.
            audio_scorer: See the call; with `sound_folder` only the sounds that are missing there are made.
            sound: See the call.
            sound_folder: See the call.
            callback_on_shot_end: Called with the pipeline and each shot that is made.
            callback_on_step_end: See the call.
            output_type: "np" for uint8 arrays, "pil" for lists of images.

        Raises:
            InputError: If the shot is not done, or another model made the state.
        """
        # 1. Check.
        check_output_type(output_type)
        self._check_state(state)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(state.shots):
            raise InputError(f"index must be one of the {len(state.shots)} finished shots, from 0, got {index!r}.")
        # 2. Change what was asked, and forget the shot and those after it.
        changed = state.cut_to(index)
        if caption is not None:
            changed = replace(changed, story=with_caption(state.story, index, caption))
        changes = settings.to_json() if isinstance(settings, ShotSettings) else dict(settings or {})
        if seed is not None:
            changes["seed"] = seed
        if changes:
            changed = changed.with_shot_settings(index, **changes)
            self._check_shots(changed)
        # 3. Make it, and those after it if they shall follow; put back what is kept.
        until = index + 1 if keep_following else len(state.shots)
        return self._finish(
            changed,
            self._callbacks(callback_on_shot_end, callback_on_step_end),
            StorySound(audio_scorer, sound, sound_folder),
            output_type,
            until=until,
            kept=state.shots[until:],
        )

    def generate_batch(
        self,
        stories: Sequence[StoryInput],
        reference_images: Sequence[ReferenceImages] | None = None,
        *,
        seeds: int | Sequence[int] = 0,
        batch_size: int = 4,
        callback_on_shot_end: OnShotEnd | None = None,
        output_type: str = "np",
        **options: Any,
    ) -> list[AnimeShooterGenOutput]:
        """Return several stories, told side by side: their n-th shots are denoised together.

        Each has a context and noise of its own, so a story is the same whatever stands beside it: bit by bit with
        `batch_size=1`, and up to rounding above, as products of larger matrices add up in another order.

        Args:
            stories: As in the call.
            reference_images: One for each story, as in the call.
            seeds: One for all, or one for each story.
            batch_size: Most shots that are denoised together.
            callback_on_shot_end: Called with the pipeline and each shot.
            output_type: "np" for uint8 arrays, "pil" for lists of images.
            options: Of the call, for all stories.

        Raises:
            InputError: If something is wrong with any story; the message says which. Nothing has been made then.
        """
        # 1. Check all stories.
        check_output_type(output_type)
        if isinstance(stories, str | Mapping) or not isinstance(stories, Sequence) or not stories:
            raise InputError(f"stories must be a list of at least one story, got {stories!r:.80}.")
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be a whole number of at least 1, got {batch_size!r}.")
        pictures = [None] * len(stories) if reference_images is None else reference_images
        numbers = [seeds] * len(stories) if isinstance(seeds, int) else seeds
        for name, given in (("reference_images", pictures), ("seeds", numbers)):
            if isinstance(given, Mapping) or not isinstance(given, Sequence) or len(given) != len(stories):
                raise InputError(f"{name} must be a list of one for each of the {len(stories)} stories.")
        states = []
        for number, (story, images, seed) in enumerate(zip(stories, pictures, numbers, strict=True)):
            try:
                states.append(self.begin(story, images, seed=seed, **options))
            except InputError as error:
                raise InputError(f"Story {number} of the batch: {error}") from error
        # 2. Make shot after shot of all of them.
        self._warn_once()
        callbacks = self._callbacks(callback_on_shot_end, None)
        for number, shot in iter_shots(self, states, callbacks=callbacks, batch_size=batch_size):
            states[number] = shot.state
        return [self._output(state, output_type) for state in states]

    def film(
        self,
        state: StoryState,
        path: str | Path,
        *,
        audio_scorer: Any = None,
        sound: SoundSettings | None = None,
        sound_folder: str | Path | None = None,
        settings: FilmSettings | None = None,
    ) -> FilmPlan:
        """Write the finished shots of a state as one film with sound; see `AnimeShooterGenOutput.save`."""
        story_sound = StorySound(audio_scorer, sound, sound_folder)
        return self._output(state, "np", story_sound).save(path, settings)

    # ------------------------------------------------------------------------------------------------ inner steps

    def _shots_after(
        self, state: StoryState, callbacks: ShotCallbacks, *, until: int | None = None
    ) -> Iterator[ShotResult]:
        """Yield the shots from the first one that is not done up to `until`."""
        self._warn_once()
        for _, shot in iter_shots(self, [state], until=until, callbacks=callbacks):
            yield shot

    def _finish(
        self,
        state: StoryState,
        callbacks: ShotCallbacks,
        story_sound: StorySound,
        output_type: str,
        *,
        until: int | None = None,
        kept: tuple[Any, ...] = (),
    ) -> AnimeShooterGenOutput:
        """Make the shots up to `until`, put the kept ones behind them, and return what came of it."""
        # What is wrong with the sound is said before the first shot is made.
        story_sound.check(state, self.fps, until)
        for shot in self._shots_after(state, callbacks, until=until):
            state = shot.state
        return self._output(replace(state, shots=(*state.shots, *kept)), output_type, story_sound)

    def _output(
        self, state: StoryState, output_type: str, story_sound: StorySound | None = None
    ) -> AnimeShooterGenOutput:
        made = {} if story_sound is None else story_sound.make(state, self.fps)
        return AnimeShooterGenOutput(
            frames=frames_as(state, output_type),
            fps=self.fps,
            state=state,
            notes=self.notes,
            provenance=self.provenance(state),
            **{"audio": None, **made},
        )

    def _callbacks(
        self, on_shot_end: OnShotEnd | None, on_step_end: OnStepEnd | None, tensors: Sequence[str] = ("latents",)
    ) -> ShotCallbacks:
        """Return the functions to call.

        Raises:
            InputError: If one cannot be called, or a tensor is unknown.
        """
        for name, function in (("callback_on_shot_end", on_shot_end), ("callback_on_step_end", on_step_end)):
            if function is not None and not callable(function):
                raise InputError(f"{name} must be a function, got {function!r:.80}.")
        known = self.decoder.pipeline._callback_tensor_inputs
        for tensor in tensors:
            if tensor not in known:
                raise InputError(f"The steps have no tensor {tensor!r}; they have {', '.join(known)}.")
        return ShotCallbacks(on_shot_end=on_shot_end, on_step_end=on_step_end, step_tensors=tuple(tensors))

    def _warn_once(self) -> None:
        if not self._has_warned:
            for note in self.notes:
                logger.warning(note)
            self._has_warned = True
