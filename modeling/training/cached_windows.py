"""Windows with latents, text states and vision features in place of pixels, each made once and kept on disk.

    windows = CachedWindows(StoryWindows(view, settings), pipeline, FeatureStore("out/cache"), CacheSettings())
    windows[0].latents_SFChw

What is missing is made when the object is made, on all processes together. After that no frozen encoder is needed: a
window is a few reads of a file, and the object may go to workers. A value whose clip, model or preparation has changed
is not found, since its key has changed too, so nothing in the folder ever has to be deleted for it.

Shape letters used below
    S shots    F, f frames and latent frames    H, W rows and columns    R references    C latent channels
    h, w latent rows and columns    L text tokens    D width of the text encoder
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.prompt_layout import caption_of, fit_image
from animeshooter_hf.modeling.training.cache_filling import FeatureMaker, FillReport, fill_store
from animeshooter_hf.modeling.training.cache_settings import CacheSettings
from animeshooter_hf.modeling.training.draws import draw_seed
from animeshooter_hf.modeling.training.feature_encoders import FeatureKeys
from animeshooter_hf.modeling.training.feature_store import FeatureStore
from animeshooter_hf.modeling.training.vision_features import mark_vision, vision_mark
from animeshooter_hf.modeling.training.windows import (
    MediaMark,
    PlannedSource,
    Window,
    WindowPlan,
    WindowSource,
    epoch_and_position,
    pictures_of_plan,
    plan_of_window,
)

__all__ = ["CachedWindows"]

_log = logging.getLogger(__name__)


class CachedWindows:
    """A source of windows over another one; see `windows.WindowSource`."""

    def __init__(
        self,
        source: WindowSource | PlannedSource,
        pipeline: Any,
        store: FeatureStore,
        settings: CacheSettings | None = None,
    ) -> None:
        """Make what is missing.

        Args:
            source: The windows. One that cannot plan is asked for its pixels each time; its clips and references must
                be the same in every epoch.
            pipeline: Its VAE, and where asked for its text encoder and MLLM. It is not kept for workers.
            store: Where values are kept.
            settings: What is cached.

        Raises:
            InputError: If something needed is not there, a window cannot be read, the disk is full, or the source takes
                other frames in every epoch.
        """
        settings = settings or CacheSettings()
        if settings.stills is None:
            settings = replace(settings, stills=pipeline.reference_latents is not None)
        self.source: PlannedSource = source if isinstance(source, PlannedSource) else _ByPixels(source)
        if self.source.num_variants is None:
            raise InputError("A cache needs clips to become the same frames again; set frame_variants to a number.")
        if settings.text_states:
            pipeline.check_text_encoder("Text states")
        self._settings, self._store = settings, store
        if settings.is_verified:
            store.verify()
        self._keys = FeatureKeys.of(
            pipeline,
            settings.dtype,
            with_text=settings.text_states,
            text_length=pipeline.adapter.config.condition_length,
            vision=mark_vision(pipeline.backbone) if settings.vision_features else "",
        )
        self._maker: FeatureMaker | None = FeatureMaker(pipeline, store, self._keys, settings)
        self._max_pixels = self._maker.max_pixels
        self._process = os.getpid()
        # Where nothing is made of clips, they are not even hashed.
        self._with_clips = settings.latents or _has_past(self.source)
        self.report: FillReport = fill_store(
            self.source, self._maker, store, self._keys, settings, with_clips=self._with_clips
        )
        """What was made, and what could not be read."""
        num_windows = len(self.source)
        if self.report.problems and hasattr(self.source, "leave_out"):
            self.source.leave_out(self.report.problems)
        self._positions = self._readable_positions()
        left_out = num_windows - len(self._positions)
        cannot = {"something of them cannot be read": left_out} if left_out else {}
        self.skipped: Mapping[str, int] = {**getattr(source, "skipped", {}), **cannot}
        """Reason -> windows that were left out, those that the source left out included."""
        if left_out:
            _log.warning(
                "%d windows are left out; the first problem: %s", left_out, next(iter(self.report.problems.values()))
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maker": None}

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: int | SampleKey) -> Window:
        """Return a window without pixels, of epoch 0 if the key is a plain number.

        Raises:
            InputError: If a value is gone or damaged, and this process cannot make it again.
        """
        epoch, position = epoch_and_position(key, len(self))
        plan = self._plan(epoch, int(self._positions[position]))
        references = pictures_of_plan(self.source, plan)
        frames = [self._last_frame(plan, clip) for clip in plan.clips[:-1]]
        states = [self._text(shot_caption) for shot_caption in self._captions(plan)]
        return Window(
            story_id=plan.story_id,
            key=plan.key,
            shots=plan.shots,
            size=plan.size,
            references=references,
            last_frames=(None, *frames),
            latents_SFChw=self._latents(plan, epoch, position) if self._settings.latents else None,
            reference_latents_RChw=self._reference_stills(plan) if self._settings.stills else None,
            last_latents_SChw=self._last_stills(plan) if self._settings.stills and len(plan.shots) > 1 else None,
            text_states_SLD=torch.stack([one["states"] for one in states]) if states else None,
            is_token_SL=torch.stack([one["is_token"] for one in states]) if states else None,
            vision_features=self._vision(references, frames) if self._settings.vision_features else None,
        )

    def bucket_numbers(self) -> NDArray[np.int64] | None:
        """Return for each window the number of its size, as the source tells them."""
        numbers: NDArray[np.int64] | None = (
            self.source.bucket_numbers() if hasattr(self.source, "bucket_numbers") else None
        )
        return None if numbers is None else numbers[self._positions]

    def blocks(self) -> NDArray[np.int64] | None:
        """Return for each window the number of its block, where the source is read block by block."""
        blocks = self.source.blocks() if hasattr(self.source, "blocks") else None
        return None if blocks is None else blocks[self._positions]

    # ------------------------------------------------------------------------------------------------ inner steps

    def _plan(self, epoch: int, position: int) -> WindowPlan:
        return self.source.plan(SampleKey(epoch, position), with_clips=self._with_clips)

    def _readable_positions(self) -> NDArray[np.int64]:
        """Return the windows that nothing is missing of.

        Raises:
            InputError: If there is none.
        """
        everything = np.arange(len(self.source), dtype=np.int64)
        problems = self.report.problems
        if not problems:
            return everything
        keep = [position for position in everything.tolist() if not self._is_marred(position)]
        if not keep:
            raise InputError(f"No window can be read. The first problem: {next(iter(problems.values()))}")
        return np.asarray(keep, np.int64)

    def _is_marred(self, position: int) -> bool:
        if f"window {position}" in self.report.problems:
            return True
        marks = [one.mark for one in self.source.candidates(position)]
        for variant in range(self.source.num_variants or 1):
            marks += [clip.mark for clip in self._plan(variant, position).clips]
        return any(mark in self.report.problems for mark in marks)

    def _value(self, key: str, plan: WindowPlan, make: Callable[[FeatureMaker], None]) -> dict[str, Tensor]:
        found = self._store.get(key)
        if found is None and self._maker is not None and self._process == os.getpid():
            make(self._maker)
            self._store.flush()
            found = self._store.get(key)
        if found is None:
            raise InputError(
                f"The cache {self._store.folder} has lost a part of window {plan.key}: a file of it is damaged or was "
                "removed. Run the same command again; what is missing is made anew."
            )
        return found

    def _clip_value(self, key: str, plan: WindowPlan, clip: MediaMark) -> dict[str, Tensor]:
        def make(maker: FeatureMaker) -> None:
            needs = maker.clip_needs(plan.clips.index(clip), len(plan.clips))
            maker.make_clips([(clip, needs)], self.source.frames(clip)[None], plan.size)

        return self._value(key, plan, make)

    def _latents(self, plan: WindowPlan, epoch: int, position: int) -> Tensor:
        """Return the latents of all shots: the mean, or a draw that depends on seed, epoch, window and shot."""
        latents = []
        for shot, clip in enumerate(plan.clips):
            value = self._clip_value(self._keys.latents(clip.mark), plan, clip)
            latent = value["mean"]
            if self._settings.is_sampled:
                seed = draw_seed(self._settings.seed, epoch, position, f"posterior of shot {shot}")
                noise = torch.randn(latent.shape, generator=torch.Generator("cpu").manual_seed(seed))
                latent = (latent.float() + value["deviation"].float() * noise).to(latent.dtype)
            latents.append(latent)
        return torch.stack(latents)

    def _last_frame(self, plan: WindowPlan, clip: MediaMark) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self._clip_value(self._keys.last_frame(clip.mark), plan, clip)["frame"].numpy()
        return frame

    def _last_stills(self, plan: WindowPlan) -> Tensor:
        stills = [self._clip_value(self._keys.last_still(clip.mark), plan, clip) for clip in plan.clips]
        return torch.stack([one["latent"] for one in stills])

    def _reference_stills(self, plan: WindowPlan) -> Tensor | None:
        ordered = [one for name in dict.fromkeys(name for name, _ in plan.references) for one in _of(plan, name)]

        def still(reference: MediaMark) -> Tensor:
            def make(maker: FeatureMaker) -> None:
                maker.make_reference(reference, self.source.picture(reference), plan.size)

            return self._value(self._keys.still(reference.mark, plan.size), plan, make)["latent"]

        return torch.stack([still(one) for one in ordered]) if ordered else None

    def _captions(self, plan: WindowPlan) -> list[str]:
        return [caption_of(shot, self._settings.caption) for shot in plan.shots] if self._settings.text_states else []

    def _text(self, caption: str) -> dict[str, Tensor]:
        key = self._keys.text_states(caption)
        found = self._store.get(key)
        if found is None and self._maker is not None and self._process == os.getpid():
            self._maker.make_captions([caption])
            self._store.flush()
            found = self._store.get(key)
        if found is None:
            raise InputError(f"The cache {self._store.folder} has lost the states of the caption {caption!r:.60}: run "
                             "the same command again; what is missing is made anew.")  # fmt: skip
        return found

    def _vision(
        self, references: Mapping[str, tuple[Image.Image, ...]], frames: list[NDArray[np.uint8]]
    ) -> dict[str, Mapping[str, Tensor]]:
        """Return the features of all pictures; one that is missing is left out, and the tower reads it."""
        pictures = [image for images in references.values() for image in images]
        pictures += [Image.fromarray(frame) for frame in frames]
        found: dict[str, Mapping[str, Tensor]] = {}
        for picture in pictures:
            mark = vision_mark(fit_image(picture, self._max_pixels))
            features = self._store.get(self._keys.vision_features(mark))
            if features is not None:
                found[mark] = features
        return found


class _ByPixels:
    """A source that plans by looking at the pixels. It holds those of one window at a time."""

    num_variants: int | None = 1

    def __init__(self, source: WindowSource) -> None:
        self._source = source
        self._last: tuple[int, Window] | None = None

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, key: int | SampleKey) -> Window:
        return self._source[key]

    def plan(self, key: int | SampleKey, *, with_clips: bool = True) -> WindowPlan:
        """Return the plan of a window; clips and pictures are known by their number in it."""
        _, position = epoch_and_position(key, len(self))
        plan = plan_of_window(self._window(position))
        clips = plan.clips if with_clips else ()
        return replace(
            plan,
            clips=tuple(MediaMark(clip.mark, (position, shot)) for shot, clip in enumerate(clips)),
            references=tuple(
                (name, MediaMark(one.mark, (position, number))) for number, (name, one) in enumerate(plan.references)
            ),
        )

    def candidates(self, position: int) -> tuple[MediaMark, ...]:
        """Return the references of a window."""
        return tuple(reference for _, reference in self.plan(position).references)

    def frames(self, clip: MediaMark) -> NDArray[np.uint8]:
        """Return the frames of a clip."""
        position, shot = clip.handle
        frames_SFHW3 = self._window(position).frames_SFHW3
        if frames_SFHW3 is None:
            raise InputError(f"Window {position} has no pixels.")
        return frames_SFHW3[shot]

    def picture(self, reference: MediaMark) -> Image.Image:
        """Return a reference."""
        position, number = reference.handle
        return [image for images in self._window(position).references.values() for image in images][number]

    def _window(self, position: int) -> Window:
        last = self._last
        if last is None or last[0] != position:
            last = self._last = (position, self._source[position])
        return last[1]


def _has_past(source: PlannedSource) -> bool:
    """Return whether a shot sees the last frame of another, so that clips are needed even without their latents."""
    for position in range(len(source)):
        try:
            return len(source.plan(position, with_clips=False).shots) > 1
        except InputError:
            continue
    return False


def _of(plan: WindowPlan, character: str) -> list[MediaMark]:
    return [reference for name, reference in plan.references if name == character]
