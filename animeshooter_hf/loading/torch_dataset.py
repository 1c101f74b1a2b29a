"""Stories as a dataset of PyTorch: a sample is a few consecutive shots of a story, with references, captions and sound.

Shape letters used below
    S shots in a sample    F frames per shot    C channels    H height    W width    K reference images
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.loading.frame_sampling import FrameSampling
from animeshooter_hf.loading.opened_dataset import MEDIA
from animeshooter_hf.loading.parquet_table import ParquetTable
from animeshooter_hf.loading.story_item import read_picture
from animeshooter_hf.loading.view import StoryView

__all__ = ["SkippedSample", "StoryDataset", "collate_stories"]

_TEXT = ("shot_id", "shot_index", "characters", "narrative_caption", "descriptive_caption", "storyline")
_MODES = {"image": "RGB", "cutout": "RGBA", "mask": "L"}


@dataclass(frozen=True, slots=True)
class SkippedSample:
    """A sample that could not be read."""

    story_id: str
    """Its story."""

    reason: str
    """Why, in a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class _Windows:
    """Rows of `shots`: sample n takes `counts[n]` rows from `firsts[n]` on."""

    firsts: NDArray[np.int64]
    counts: NDArray[np.int64]
    stories: NDArray[np.int64]


class StoryDataset(Dataset[Any]):
    """Samples of consecutive shots; map-style, for any sampler and number of workers, forked or spawned.

    A sample is a dict of `story_id`, `shot_ids`, `shot_indices`, `characters` (per shot), `captions`, `storyline`,
    `frames` (uint8 of shape (S, F, C, H, W), or a list of (F, C, H, W) where the shots differ), `frame_indices`, and
    where asked for `references` (K, C, H, W) with `reference_characters`, and `audio` (a list of (channels, samples)
    per shot, None where there is none) with `audio_rates`.
    """

    def __init__(
        self,
        view: StoryView,
        *,
        window: int | None = 1,
        step: int = 1,
        sampling: FrameSampling | None = None,
        references: int = 0,
        reference_kind: Literal["image", "cutout"] = "image",
        audio: bool = False,
        as_float: bool = False,
        transform: Callable[[dict[str, Any]], Any] | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        """Find the samples; only IDs are read.

        Args:
            view: The stories, opened with "video", and with "references" and "audio" where those are asked for.
            window: Consecutive shots per sample, each with a clip; None makes each story a sample.
            step: How many shots further the next window of the same story begins.
            sampling: Which frames of each shot; all of them if None.
            references: Reference images per sample, chosen anew in each epoch from the characters of its shots first.
            reference_kind: The whole frame, or the character alone (RGBA).
            audio: Whether sound is read.
            as_float: Frames and references as float32 in [0, 1] instead of uint8.
            transform: Applied to each sample, in the worker.
            on_error: What a sample that cannot be read does: raise, or become a `SkippedSample`, which
                `collate_stories` sets apart and `StoryLoader` counts.
            seed: Decides frames and references, together with epoch and shot.

        Raises:
            InputError: If the view was opened without the media in question, or holds no such window.
            ValueError: If an argument is out of range.
        """
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1, got {window}.")
        if step < 1 or references < 0:
            raise ValueError(f"step must be at least 1 and references not negative, got {step} and {references}.")
        if on_error not in ("raise", "skip") or reference_kind not in ("image", "cutout"):
            raise ValueError(
                f"on_error is raise or skip, reference_kind image or cutout, got {on_error!r}, {reference_kind!r}."
            )
        self.view = view
        self.sampling = sampling or FrameSampling()
        self.num_references, self.reference_kind, self.audio = references, reference_kind, audio
        self.as_float, self.transform, self.on_error, self.seed = as_float, transform, on_error, seed
        for kind, is_asked in (("video", True), ("references", references > 0), ("audio", audio)):
            if is_asked:
                self._table(kind)
        self._ids = view.story_ids
        self._windows = _find_windows(self._table("video"), self._ids, window, step)
        if not len(self):
            shots = "a clip" if window in (None, 1) else f"{window} consecutive clips"
            raise InputError(f"No story of {view.opened.files.name} has {shots}.")

    def __len__(self) -> int:
        return len(self._windows.firsts)

    def __getitem__(self, key: int | SampleKey) -> Any:
        """Return a sample, of epoch 0 if the key is a plain number."""
        epoch, position = key if isinstance(key, tuple) else (0, key)
        if not -len(self) <= position < len(self):
            raise IndexError(f"There are {len(self)} samples, there is no sample {position}.")
        position %= len(self)
        try:
            sample = self._read(position, epoch)
        except InputError as error:
            if self.on_error == "raise":
                raise
            return SkippedSample(self._ids[self._windows.stories[position]], str(error))
        return sample if self.transform is None else self.transform(sample)

    def blocks(self) -> NDArray[np.int64]:
        """Return the row group of each sample, for an order that reads each of them once."""
        starts = self._table("video").group_starts
        return np.searchsorted(starts, self._windows.firsts, side="right").astype(np.int64) - 1

    def _table(self, kind: str) -> ParquetTable:
        table = self.view.opened.media_table(kind)
        if table is None:
            name = self.view.opened.files.name
            why = (
                f"{name} has no config {MEDIA[kind]}" if kind in self.view.opened.media else "the view leaves them out"
            )
            raise InputError(f"The samples need the media {kind!r}, but {why}.")
        return table

    def _read(self, position: int, epoch: int) -> dict[str, Any]:
        first, count = int(self._windows.firsts[position]), int(self._windows.counts[position])
        rows = range(first, first + count)
        texts = self._table("video").rows(rows, _TEXT)
        rng = np.random.default_rng([self.seed, epoch, first])
        sample: dict[str, Any] = {
            "story_id": self._ids[self._windows.stories[position]],
            "shot_ids": [text["shot_id"] for text in texts],
            "shot_indices": torch.tensor([text["shot_index"] for text in texts]),
            "characters": [text["characters"] or [] for text in texts],
            "captions": [text["descriptive_caption"] or text["narrative_caption"] or "" for text in texts],
            "storyline": texts[0]["storyline"] or "",
        }
        if self.num_references:
            sample |= self._read_references(sample, rng)
        frames, indices = zip(
            *(self._read_frames(row, text, rng) for row, text in zip(rows, texts, strict=True)), strict=True
        )
        sample["frames"], sample["frame_indices"] = _stack(frames), _stack(indices)
        if self.audio:
            item = self.view.find(sample["story_id"])
            sounds = [item.audio(n) if item.has_audio(n) else None for n in sample["shot_indices"].tolist()]
            sample["audio"] = [None if sound is None else torch.from_numpy(sound[0]) for sound in sounds]
            sample["audio_rates"] = [None if sound is None else sound[1] for sound in sounds]
        return sample

    def _read_frames(self, row: int, text: Mapping[str, Any], rng: np.random.Generator) -> tuple[Any, Any]:
        chosen: list[int] = []

        def choose(index: Any) -> Sequence[int]:
            chosen.extend(self.sampling.choose(index, rng))
            return chosen

        try:
            frames_FHWC = self.view.opened.clip_frames(row, choose)
        except InputError as error:
            raise InputError(f"The clip of shot {text['shot_id']} cannot be read: {str(error).rstrip('.')}.") from error
        return self._pixels(frames_FHWC), torch.tensor(chosen)

    def _read_references(self, sample: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        table = self._table("references")
        rows = table.story_rows(sample["story_id"])
        if not rows:
            raise InputError(f"Story {sample['story_id']} has no reference.")
        names = [text["character_id"] for text in table.rows(rows, ("character_id",))]
        shown = {name for characters in sample["characters"] for name in characters}
        order = sorted(rng.permutation(len(rows)).tolist(), key=lambda n: names[n] not in shown)
        turns: dict[str, int] = {}
        ranked: list[tuple[bool, int, int, int]] = []
        for number in order:  # one of each character before the second of any
            turn = turns[names[number]] = turns.get(names[number], -1) + 1
            ranked.append((names[number] not in shown, turn, len(ranked), number))
        best = [number for *_, number in sorted(ranked)]
        chosen = [best[n % len(best)] for n in range(self.num_references)]
        mode = _MODES[self.reference_kind]
        pictures = [self._pixels(read_picture(table, rows[n], self.reference_kind, mode)[None])[0] for n in chosen]
        return {"references": _stack(pictures), "reference_characters": [names[n] for n in chosen]}

    def _pixels(self, images_NHWC: NDArray[np.uint8]) -> torch.Tensor:
        images = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2)
        return images.to(torch.float32).div_(255) if self.as_float else images


def collate_stories(samples: Sequence[Any]) -> dict[str, Any]:
    """Return a batch: tensors of one shape are stacked, all else is a list; `skipped` holds what could not be read."""
    kept = [sample for sample in samples if not isinstance(sample, SkippedSample)]
    batch: dict[str, Any] = {name: _stack([sample[name] for sample in kept]) for name in (kept[0] if kept else ())}
    batch["skipped"] = [sample for sample in samples if isinstance(sample, SkippedSample)]
    return batch


def _stack(values: Sequence[Any]) -> Any:
    is_even = all(isinstance(value, torch.Tensor) and value.shape == values[0].shape for value in values)
    return torch.stack(list(values)) if is_even else list(values)


def _find_windows(table: ParquetTable, story_ids: Sequence[str], window: int | None, step: int) -> _Windows:
    """Return the windows of the stories in question, in the order of the rows."""
    places = {name: number for number, name in enumerate(story_ids)}
    found: list[tuple[int, int, int]] = []
    run_story, run_start, row, last_index = "", 0, 0, -1

    def close(end: int) -> None:
        if run_story in places and end > run_start:
            size = window or end - run_start
            found.extend(
                (first, size, places[run_story]) for first in range(run_start, end - size + 1, step if window else size)
            )

    for part in table.column(["story_id", "shot_index"]):
        for story_id, index in zip(part["story_id"].to_pylist(), part["shot_index"].to_pylist(), strict=True):
            if story_id != run_story or (window is not None and index != last_index + 1):
                close(row)
                run_story, run_start = story_id, row
            last_index = index
            row += 1
    close(row)
    columns = np.asarray(found, np.int64).reshape(-1, 3).T
    return _Windows(firsts=columns[0].copy(), counts=columns[1].copy(), stories=columns[2].copy())
