"""Fill a feature store with what a source of windows needs, in batches, each process its share.

A process takes a few dozen windows at a time: it asks the source what they are made of, drops what the store has, reads
and encodes the rest, clips of one size together. So a file that is read over a network is read once, and pixels are in
memory for two batches only: one is read while the other is encoded. At the end processes tell each other what they
could not read and which contents they have hashed. A run that was broken off goes on with what is missing.

Shape letters used below
    B clips    F frames    H, W rows and columns
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, distributed
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.prompt_layout import caption_of, fit_image
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.cache_settings import CacheSettings
from animeshooter_hf.modeling.training.feature_encoders import (
    FeatureKeys,
    latent_statistics,
    still_latents,
    text_states,
)
from animeshooter_hf.modeling.training.feature_store import FeatureStore
from animeshooter_hf.modeling.training.vision_features import picture_features, vision_mark
from animeshooter_hf.modeling.training.windows import MediaMark, PlannedSource, WindowPlan

__all__ = ["ClipNeeds", "FeatureMaker", "FillReport", "fill_store"]

Item = TypeVar("Item")

WINDOWS_AT_A_TIME = 64
"""Windows that are dealt with together. Our choice: a network's pages of them stay in a view's memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FillReport:
    """What filling has done."""

    made: Mapping[str, int]
    """What -> how many were encoded, over all processes: "clips", "references", "captions"."""

    problems: Mapping[str, str]
    """Mark of a clip or reference, or number of a window, that could not be read -> why."""


class ClipNeeds(NamedTuple):
    """What of a clip a window needs."""

    latents: bool
    """The latents of its frames."""

    still: bool
    """The latent of its last frame."""

    frame: bool
    """Its last frame, for the MLLM, as pixels and where asked for as vision features."""


class FeatureMaker:
    """Makes values from pixels and texts, and puts them into a store."""

    def __init__(self, pipeline: Any, store: FeatureStore, keys: FeatureKeys, settings: CacheSettings) -> None:
        self._pipeline, self._store, self._keys, self._settings = pipeline, store, keys, settings
        self._dtype: torch.dtype = getattr(torch, settings.dtype)
        self.max_pixels = int(pipeline.config.max_image_pixels)
        """Budget of each picture that the MLLM sees."""

    def clip_needs(self, shot: int, num_shots: int) -> ClipNeeds:
        """Return what of a shot's clip a window needs. In a window of one shot nobody sees its last frame."""
        has_later = num_shots > 1
        return ClipNeeds(self._settings.latents, bool(self._settings.stills) and has_later, shot < num_shots - 1)

    def missing_of_clip(self, clip: MediaMark, needs: ClipNeeds) -> ClipNeeds:
        """Return which of these the store does not have."""
        store, keys = self._store, self._keys
        lacks_frame = needs.frame and keys.last_frame(clip.mark) not in store
        if needs.frame and not lacks_frame and self._settings.vision_features:
            frame = store.get(keys.last_frame(clip.mark))
            lacks_frame = frame is None or self._lacks_picture(Image.fromarray(frame["frame"].numpy()))
        return ClipNeeds(
            needs.latents and keys.latents(clip.mark) not in store,
            needs.still and keys.last_still(clip.mark) not in store,
            lacks_frame,
        )

    def lacks_reference(self, source: PlannedSource, reference: MediaMark, size: Bucket) -> bool:
        """Return whether something of a reference is missing."""
        if self._settings.stills and self._keys.still(reference.mark, size) not in self._store:
            return True
        return self._settings.vision_features and self._lacks_picture(source.picture(reference))

    def make_clips(
        self, clips: Sequence[tuple[MediaMark, ClipNeeds]], frames_BFHW3: NDArray[np.uint8], size: Bucket
    ) -> None:
        """Encode clips of one size, each as far as it is needed."""
        encoded = [number for number, (_, needs) in enumerate(clips) if needs.latents]
        if encoded:
            mean, deviation = latent_statistics(self._pipeline.vae, frames_BFHW3[encoded])
            for place, number in enumerate(encoded):
                key = self._keys.latents(clips[number][0].mark)
                self._put(key, "latents", mean=mean[place], deviation=deviation[place])
        for (clip, needs), frames_FHW3 in zip(clips, frames_BFHW3, strict=True):
            last_HW3 = frames_FHW3[-1].copy()
            if needs.still:
                latent = still_latents(self._pipeline.vae, [Image.fromarray(last_HW3)], size)[0]
                self._put(self._keys.last_still(clip.mark), "stills", latent=latent)
            if needs.frame:
                self._store.put(self._keys.last_frame(clip.mark), "frames", {"frame": torch.from_numpy(last_HW3)})
                self._make_vision(Image.fromarray(last_HW3))

    def make_reference(self, reference: MediaMark, image: Image.Image, size: Bucket) -> None:
        """Encode a reference."""
        if self._settings.stills:
            latent = still_latents(self._pipeline.vae, [image], size)[0]
            self._put(self._keys.still(reference.mark, size), "stills", latent=latent)
        self._make_vision(image)

    def make_captions(self, captions: Sequence[str]) -> None:
        """Encode captions."""
        length = self._pipeline.adapter.config.condition_length
        states_BLD, is_token_BL = text_states(self._pipeline, captions, length)
        for number, caption in enumerate(captions):
            states = {"states": states_BLD[number], "is_token": is_token_BL[number]}
            self._put(self._keys.text_states(caption), "text", **states)

    def _lacks_picture(self, image: Image.Image) -> bool:
        mark = vision_mark(fit_image(image, self.max_pixels))
        return self._keys.vision_features(mark) not in self._store

    def _make_vision(self, image: Image.Image) -> None:
        if self._settings.vision_features:
            fitted = fit_image(image, self.max_pixels)
            features = picture_features(self._pipeline.backbone, fitted)
            self._put(self._keys.vision_features(vision_mark(fitted)), "vision", **features)

    def _put(self, key: str, kind: str, **tensors: Tensor) -> None:
        kept = {name: one.to(self._dtype) if one.is_floating_point() else one for name, one in tensors.items()}
        self._store.put(key, kind, kept)


def fill_store(
    source: PlannedSource,
    maker: FeatureMaker,
    store: FeatureStore,
    keys: FeatureKeys,
    settings: CacheSettings,
    *,
    with_clips: bool,
) -> FillReport:
    """Make what is missing for every window of a source.

    Args:
        source: The windows.
        maker: Makes values.
        store: Where they are kept.
        keys: Under which keys.
        settings: What is kept.
        with_clips: Whether anything is made of clips; else they are not touched.

    Raises:
        InputError: On all processes alike, if the store cannot be written, or something cannot be read and
            `on_problem` is "raise".
    """
    rank, world_size = _place()
    filling = _Filling(source, maker, store, keys, settings, with_clips)
    sentence = ""
    try:
        with tqdm(desc="encoding", unit=" windows", disable=not (settings.progress and rank == 0)) as bar:
            shares = list(_shares(len(source), rank, world_size))
            bar.reset(sum(len(share) for share in shares))
            for share in shares:
                filling.fill(share)
                bar.update(len(share))
        store.flush()
    except InputError as error:
        sentence = str(error)
        with suppress(InputError):  # where the disk is full, that has been said
            store.flush()
    except KeyboardInterrupt:
        store.flush()
        raise
    return _agreed(source, store, filling, sentence)


@dataclass(slots=True)
class _Missing:
    """What a few windows lack, each once."""

    clips: dict[str, tuple[MediaMark, ClipNeeds, Bucket]] = field(default_factory=dict)
    references: dict[str, tuple[MediaMark, Bucket]] = field(default_factory=dict)
    captions: dict[str, str] = field(default_factory=dict)


class _Filling:
    """One process's part."""

    def __init__(
        self,
        source: PlannedSource,
        maker: FeatureMaker,
        store: FeatureStore,
        keys: FeatureKeys,
        settings: CacheSettings,
        with_clips: bool,
    ) -> None:
        self._source, self._maker, self._store, self._keys = source, maker, store, keys
        self._settings, self._with_clips = settings, with_clips
        self.made = {"clips": 0, "references": 0, "captions": 0}
        self.problems: dict[str, str] = {}
        self._seen: set[str] = set()

    def fill(self, positions: Sequence[int]) -> None:
        """Make what some windows lack."""
        missing = _Missing()
        for position in positions:
            for variant in range(self._source.num_variants or 1):
                try:
                    plan = self._source.plan(SampleKey(variant, position), with_clips=self._with_clips)
                    references = self._source.candidates(position)
                    self._look_at(plan, references, missing)
                except InputError as error:
                    self._note(f"window {position}", error)
                    break
        by_size: dict[Bucket, list[tuple[MediaMark, ClipNeeds]]] = {}
        for clip, needs, size in missing.clips.values():
            by_size.setdefault(size, []).append((clip, needs))
        for size, clips in by_size.items():
            self._make_clips(clips, size)
        for reference, size in missing.references.values():
            try:
                self._maker.make_reference(reference, self._source.picture(reference), size)
                self.made["references"] += 1
            except InputError as error:
                self._note(reference.mark, error)
        for captions in _groups(missing.captions.values(), self._settings.batch_size):
            self._maker.make_captions(captions)
            self.made["captions"] += len(captions)

    def _look_at(self, plan: WindowPlan, references: Sequence[MediaMark], missing: _Missing) -> None:
        for shot, clip in enumerate(plan.clips):
            needs = self._maker.clip_needs(shot, len(plan.shots))
            if f"{clip.mark} {needs}" in self._seen:
                continue
            self._seen.add(f"{clip.mark} {needs}")
            lacks = self._maker.missing_of_clip(clip, needs)
            if any(lacks):
                _, before, _ = missing.clips.get(clip.mark, (clip, ClipNeeds(False, False, False), plan.size))
                both = ClipNeeds(*(one or other for one, other in zip(before, lacks, strict=True)))
                missing.clips[clip.mark] = (clip, both, plan.size)
        for reference in references if self._settings.stills or self._settings.vision_features else ():
            name = f"{reference.mark} {plan.size}"
            if name not in self._seen and self._maker.lacks_reference(self._source, reference, plan.size):
                missing.references[name] = (reference, plan.size)
            self._seen.add(name)
        for shot_record in plan.shots if self._settings.text_states else ():
            caption = caption_of(shot_record, self._settings.caption)
            key = self._keys.text_states(caption)
            if key not in self._store:
                missing.captions[key] = caption

    def _make_clips(self, clips: Sequence[tuple[MediaMark, ClipNeeds]], size: Bucket) -> None:
        """Encode clips of one size, and read the next ones meanwhile."""
        groups = list(_groups(clips, self._settings.batch_size))
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read, groups[0])
            for number in range(len(groups)):
                read = coming.result()
                if number + 1 < len(groups):
                    coming = reader.submit(self._read, groups[number + 1])
                if read:
                    self._maker.make_clips([one for one, _ in read], np.stack([frames for _, frames in read]), size)
                    self.made["clips"] += len(read)

    def _read(
        self, clips: Sequence[tuple[MediaMark, ClipNeeds]]
    ) -> list[tuple[tuple[MediaMark, ClipNeeds], NDArray[np.uint8]]]:
        read = []
        for one in clips:
            try:
                read.append((one, self._source.frames(one[0])))
            except InputError as error:
                self._note(one[0].mark, error)
        return read

    def _note(self, what: str, error: InputError) -> None:
        if self._settings.on_problem == "raise":
            raise error
        self.problems[what] = str(error)


def _agreed(source: PlannedSource, store: FeatureStore, filling: _Filling, sentence: str) -> FillReport:
    """Return the report of all processes, once all are done; raise on all what one of them has raised."""
    _, world_size = _place()
    known = source.known_marks() if hasattr(source, "known_marks") else None
    told: list[Any] = [(filling.made, filling.problems, known, sentence)]
    if world_size > 1:
        mine, told = told[0], [None] * world_size
        distributed.all_gather_object(told, mine)
        if known is not None:
            for _, _, marks, _ in told:
                source.remember(marks)  # type: ignore[attr-defined]
    sentences = [one for *_, one in told if one]
    if sentences:
        raise InputError(sentences[0])
    store.refresh()
    return FillReport(
        made={name: sum(made[name] for made, *_ in told) for name in filling.made},
        problems={what: why for _, problems, *_ in told for what, why in problems.items()},
    )


def _place() -> tuple[int, int]:
    """Return which process this is, and of how many."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _shares(num_windows: int, rank: int, world_size: int) -> Iterator[range]:
    """Yield the windows of a process, a few dozen that follow each other at a time."""
    size = max(1, min(WINDOWS_AT_A_TIME, -(-num_windows // world_size)))
    for first in range(rank * size, num_windows, world_size * size):
        yield range(first, min(first + size, num_windows))


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
