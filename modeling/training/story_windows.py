"""Windows of the stories of a dataset, local or streamed, as `load_stories` opens it.

What is random (frames, references, draws) is a function of the seed, the epoch and the content or the number of the
window, so a training that goes on sees what an unbroken one sees, in any number of processes. Clips are known by the
hash of their bytes, which are read once for that when a window is first asked for. No pixel outlives its window.

Shape letters used below
    F frames    H, W rows and columns
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import MEDIA, StoryView
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.loading.parquet_table import ParquetTable
from animeshooter_hf.modeling.training.buckets import FITTING_VERSION, Bucket, choose_bucket, fit_frames
from animeshooter_hf.modeling.training.content_marks import mark_bytes, mark_of
from animeshooter_hf.modeling.training.window_index import ShotRows, find_windows
from animeshooter_hf.modeling.training.window_settings import WindowSettings
from animeshooter_hf.modeling.training.windows import (
    MediaMark,
    Window,
    WindowPlan,
    epoch_and_position,
    window_from_plan,
)
from animeshooter_hf.records import Shot
from animeshooter_hf.video.reading import FrameIndex

__all__ = ["StoryWindows"]

_TEXT = (
    "story_id", "shot_id", "start_frame", "end_frame", "is_prologue_or_epilogue", "characters", "scene",
    "narrative_caption", "descriptive_caption",
)  # fmt: skip
_MODES = {"cutout": "RGBA", "image": "RGB"}
_DECODED_BY = f"av {av.__version__.split('.')[0]}"


class _Clip(NamedTuple):
    """How to find the frames of a shot."""

    row: int
    size: Bucket
    variant: int
    is_flipped: bool


class StoryWindows:
    """Windows of a view of stories; see `windows.PlannedSource`. It may be pickled."""

    def __init__(self, view: StoryView, settings: WindowSettings) -> None:
        """Find the windows; only text is read.

        Args:
            view: The stories, opened with "video", and with "references" unless `references` is 0.
            settings: What is wanted.

        Raises:
            InputError: If the view lacks what is needed, or no window is left.
        """
        self.view = _of_ip(view, settings.ip_id)
        self.settings = settings
        self.num_variants = settings.frame_variants
        self._ids = self.view.story_ids
        table = self._table("video")
        has_references = self._has_references()
        rows = ShotRows.read(table, self._ids, settings.frame_rate)
        found = find_windows(rows, settings, has_references)
        self.skipped: Mapping[str, int] = found.skipped
        """Reason -> windows that were left out."""
        self._firsts = found.firsts_K
        self._frames_N, self._story_N = rows.frames_N, rows.story_N
        self._check(has_references)
        self._clip_marks: dict[int, str] = {}
        self._picture_marks: dict[int, str] = {}
        self._story_sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._firsts)

    def __getitem__(self, key: int | SampleKey) -> Window:
        """Return a window with its pixels, of epoch 0 if the key is a plain number.

        Raises:
            InputError: If it cannot be read, and `on_problem` is "raise" or no other can be read either.
        """
        epoch, position = epoch_and_position(key, len(self))
        problems: list[str] = []
        for number in range(len(self)):
            try:
                window = window_from_plan(self, self.plan(SampleKey(epoch, (position + number) % len(self))))
            except InputError as error:
                if self.settings.on_problem == "raise":
                    raise
                problems.append(str(error))
                continue
            return replace(window, problems=tuple(problems))
        raise InputError(f"No window of {self.view.opened.files.name} can be read. The first problem: {problems[0]}")

    def plan(self, key: int | SampleKey, *, with_clips: bool = True) -> WindowPlan:
        """Return what a window is made of; for the marks of its clips their bytes are read, once in a process."""
        epoch, position = epoch_and_position(key, len(self))
        rows = self._rows_of(epoch, position)
        texts = self._table("video").rows(rows, _TEXT)
        size = self._size_of(rows)
        variant = epoch if self.num_variants is None else epoch % self.num_variants
        shots = tuple(self._shot(text, index) for index, text in enumerate(texts))
        clips = list(zip(rows, texts, strict=True)) if with_clips else []
        return WindowPlan(
            story_id=texts[0]["story_id"],
            key="+".join(shot.shot_id for shot in shots),
            shots=shots,
            size=size,
            clips=tuple(self._clip(row, text, size, variant) for row, text in clips),
            references=self._references_of(rows, shots, np.random.default_rng([self.settings.seed, epoch, position])),
        )

    def candidates(self, position: int) -> tuple[MediaMark, ...]:
        """Return every reference that a window may have."""
        if self.settings.arrangement == "drawn":
            rows = self._firsts.tolist()
        else:
            rows = self._rows_of(0, epoch_and_position(position, len(self))[1])
        return tuple(self._picture(row) for _, row in self._reference_rows(rows))

    def known_marks(self) -> Mapping[str, Mapping[int, str]]:
        """Return the hashes of all clips and references that were read so far, for another process to `remember`."""
        return {"clips": self._clip_marks, "pictures": self._picture_marks}

    def remember(self, marks: Mapping[str, Mapping[int, str]]) -> None:
        """Take over hashes, so that their contents need not be read again."""
        self._clip_marks |= marks["clips"]
        self._picture_marks |= marks["pictures"]

    def leave_out(self, marks: Collection[str]) -> None:
        """Draw none of these clips any more, since they cannot be read; windows of shots in a row stay as they are.

        Raises:
            InputError: If too few are left for a window.
        """
        if self.settings.arrangement == "drawn":
            texts = self._table("video").rows(self._firsts.tolist(), _TEXT)
            variants = range(self.num_variants or 1)
            keep = [
                not any(self._clip(row, text, self.settings.buckets[0], one).mark in marks for one in variants)
                for row, text in zip(self._firsts.tolist(), texts, strict=True)
            ]
            self._firsts = self._firsts[keep]
            self._check(self._has_references())

    def frames(self, clip: MediaMark) -> NDArray[np.uint8]:
        """Return the frames of a clip, shape (F, H, W, 3).

        Raises:
            InputError: If it cannot be decoded, or is too short and `short_shots` does not say to repeat.
        """
        handle: _Clip = clip.handle
        sampling = self.settings.sampling(handle.size)

        def choose(index: FrameIndex) -> Sequence[int]:
            self._check_length(index, handle.size)
            return sampling.choose(index, self._rng_of(handle))

        try:
            frames_FHW3 = self.view.opened.clip_frames(handle.row, choose)
        except InputError as error:
            raise self._unreadable(handle.row, error) from error
        fitted = fit_frames(frames_FHW3, handle.size.height, handle.size.width)
        return np.ascontiguousarray(fitted[:, :, ::-1]) if handle.is_flipped else fitted

    def picture(self, reference: MediaMark) -> Image.Image:
        """Return a reference.

        Raises:
            InputError: If it cannot be read.
        """
        kind = self.settings.reference_kind
        data = self._table("references").media(reference.handle, kind) or b""
        try:
            return Image.open(BytesIO(data)).convert(_MODES[kind])
        except OSError as error:
            (text,) = self._table("references").rows([reference.handle], ("story_id", "character_id"))
            raise InputError(
                f"The {kind} of a reference of {text['character_id']} in story {text['story_id']} cannot be read."
            ) from error

    def bucket_numbers(self) -> NDArray[np.int64]:
        """Return for each window the number of its size; with several sizes a frame of each story is decoded."""
        if len(self.settings.buckets) == 1:
            return np.zeros(len(self), np.int64)
        return np.asarray(
            [self.settings.buckets.index(self._size_of(self._rows_of(0, one))) for one in range(len(self))], np.int64
        )

    def blocks(self) -> NDArray[np.int64] | None:
        """Return the row group of each window where files are read over a network, so that each is read once."""
        if not self.view.opened.is_remote:
            return None
        starts = self._table("video").group_starts
        return np.searchsorted(starts, self._firsts, side="right").astype(np.int64) - 1

    # ------------------------------------------------------------------------------------------------ inner steps

    def _check(self, has_references: NDArray[np.bool_]) -> None:
        """Raise an InputError, with what was left out, unless there is a window."""
        settings, name = self.settings, self.view.opened.files.name
        reasons = "; ".join(f"{number} left out because {why}" for why, number in self.skipped.items())
        shots = "a clip" if settings.window == 1 else f"{settings.window} clips in a row"
        if settings.without_references == "skip" and len(self._ids) and not has_references.any():
            raise InputError(
                f"No story of {name} has a reference picture, so nothing would be learned from them. Build it with "
                "references, or set require_references to false."
            )
        if not len(self):
            raise InputError(f"No story of {name} has {shots} to train on{f': {reasons}' if reasons else ''}.")
        if settings.arrangement == "drawn" and len(self) < settings.window:
            raise InputError(
                f"Windows of {settings.window} clips cannot be drawn from the {len(self)} of {name} that can be used"
                f"{f': {reasons}' if reasons else ''}."
            )

    def _table(self, kind: str) -> ParquetTable:
        table = self.view.opened.media_table(kind)
        if table is None:
            name = self.view.opened.files.name
            is_asked = kind in self.view.opened.media
            why = f"{name} has no config {MEDIA[kind]}" if is_asked else "the view leaves them out"
            raise InputError(f"Training needs the media {kind!r}, but {why}.")
        return table

    def _has_references(self) -> NDArray[np.bool_]:
        """Return for each story of the view whether it has a reference."""
        table = self.view.opened.media_table("references")
        if table is None or not self.settings.references:
            return np.zeros(len(self._ids), np.bool_)
        named = {name for part in table.column(["story_id"]) for name in part["story_id"].unique().to_pylist()}
        return np.asarray([name in named for name in self._ids], np.bool_)

    def _rows_of(self, epoch: int, position: int) -> list[int]:
        first, length = int(self._firsts[position]), self.settings.window
        if self.settings.arrangement == "consecutive":
            return list(range(first, first + length))
        others = self._firsts[self._firsts != first]
        rng = np.random.default_rng([self.settings.seed, epoch, position, length])
        return [first, *rng.permutation(others)[: length - 1].tolist()]

    def _size_of(self, rows: Sequence[int]) -> Bucket:
        """Return the size of a window: that of its first clip's story, with frames that every shot has."""
        if len(self.settings.buckets) == 1:
            return self.settings.buckets[0]
        story = int(self._story_N[rows[0]])
        if story not in self._story_sizes:
            self._story_sizes[story] = self._frame_size(rows[0])
        height, width = self._story_sizes[story]
        frames = float(self._frames_N[list(rows)].min())
        return choose_bucket(self.settings.buckets, height=height, width=width, num_frames=frames)

    def _frame_size(self, row: int) -> tuple[int, int]:
        """Return height and width of a clip; of one that cannot be read any, since no window of it will be."""
        try:
            height, width = self.view.opened.clip_frames(row, lambda _: [0]).shape[1:3]
        except InputError as error:
            if self.settings.on_problem == "skip":
                return self.settings.buckets[0].height, self.settings.buckets[0].width
            raise self._unreadable(row, error) from error
        return height, width

    def _shot(self, text: Mapping[str, Any], index: int) -> Shot:
        def told(caption: str | None) -> str | None:
            return f"{self.settings.trigger} {caption}" if self.settings.trigger and caption else caption

        return Shot(
            shot_id=text["shot_id"],
            index=index,
            start_frame=text["start_frame"],
            end_frame=text["end_frame"],
            is_prologue_or_epilogue=bool(text["is_prologue_or_epilogue"]),
            characters=tuple(text["characters"] or ()),
            scene=text["scene"],
            narrative_caption=told(text["narrative_caption"]),
            descriptive_caption=told(text["descriptive_caption"]),
        )

    def _clip(self, row: int, text: Mapping[str, Any], size: Bucket, variant: int) -> MediaMark:
        settings = self.settings
        is_flipped = settings.horizontal_flip and bool(
            _rng("flip", settings.seed, variant, text["story_id"]).integers(2)
        )
        # Where nothing is random, all variants are the same, and so are their marks.
        chance = [settings.seed, variant] if settings.place == "random" else None
        made = [settings.frame_rate, settings.place, chance, str(size), is_flipped, _DECODED_BY, FITTING_VERSION]
        return MediaMark(mark_of("frames", self._clip_mark(row), made), _Clip(row, size, variant, is_flipped))

    def _clip_mark(self, row: int) -> str:
        """Return the mark of a clip's bytes; one without any has a mark too, and is refused when it is decoded."""
        if row not in self._clip_marks:
            try:
                self._clip_marks[row] = mark_bytes(self.view.opened.clip(row))
            except InputError:
                return mark_of("no clip", row)
        return self._clip_marks[row]

    def _rng_of(self, clip: _Clip) -> np.random.Generator:
        """Return what decides where the frames lie: of the content, so that a longer dataset changes nothing."""
        return _rng("frames", self.settings.seed, clip.variant, self._clip_mark(clip.row))

    def _check_length(self, index: FrameIndex, size: Bucket) -> None:
        rate = self.settings.frame_rate
        length, step = (float(len(index)), 1.0) if rate is None else (index.seconds(len(index)), 1 / rate)
        if self.settings.short_shots != "repeat" and (size.num_frames - 1) * step >= length - 1e-6:
            at = "" if rate is None else f" at {rate:g} per second"
            raise InputError(
                f"it gives {int(length / step + 1e-6)} frames{at} and {size.num_frames} are wanted; ask for fewer, or "
                'set short_shots to "skip" or "repeat"'
            )

    def _unreadable(self, row: int, error: InputError) -> InputError:
        (text,) = self._table("video").rows([row], ("shot_id",))
        return InputError(f"The clip of shot {text['shot_id']} cannot be read: {str(error).rstrip('.')}.")

    def _reference_rows(self, rows: Sequence[int]) -> list[tuple[str, int]]:
        """Return (character, row of `references`) of the stories of some shots."""
        table = self.view.opened.media_table("references")
        if table is None or not self.settings.references:
            return []
        stories = dict.fromkeys(self._ids[self._story_N[row]] for row in rows)
        found = [row for story_id in stories for row in table.story_rows(story_id)]
        names = [text["character_id"] for text in table.rows(found, ("character_id",))]
        return list(zip(names, found, strict=True))

    def _references_of(
        self, rows: Sequence[int], shots: Sequence[Shot], rng: np.random.Generator
    ) -> tuple[tuple[str, MediaMark], ...]:
        """Return the references of an epoch: those of the shots' characters, or of all where none of those has one."""
        by_name: dict[str, list[int]] = {}
        for name, row in self._reference_rows(rows):
            by_name.setdefault(name, []).append(row)
        shown = {name for shot in shots for name in shot.characters}
        wanted = [name for name in by_name if name in shown] or list(by_name)
        return tuple(
            (name, self._picture(row))
            for name in wanted
            for row in rng.permutation(by_name[name])[: self.settings.references].tolist()
        )

    def _picture(self, row: int) -> MediaMark:
        if row not in self._picture_marks:
            kind = self.settings.reference_kind
            data = self._table("references").media(row, kind) or b""
            self._picture_marks[row] = mark_of("reference", kind, mark_bytes(data))
        return MediaMark(self._picture_marks[row], row)


def _of_ip(view: StoryView, ip_id: str | None) -> StoryView:
    if ip_id is None:
        return view
    found = view.select(lambda row: ip_id in (row["video_id"], row["story_id"]), ["video_id", "story_id"])
    if not len(found):
        counted = Counter(view.story_ids)
        raise InputError(f"No story of {view.opened.files.name} has the video or story ID {ip_id}; it has "
                         f"{len(counted)}, such as {next(iter(counted), 'none')}.")  # fmt: skip
    return found


def _rng(*parts: Any) -> np.random.Generator:
    """Return a generator of chance that depends on these values alone."""
    return np.random.default_rng(int(mark_of(*parts)[:16], 16))
