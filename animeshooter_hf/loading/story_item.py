"""One story of a view, and its media on demand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.opened_dataset import OpenedDataset
from animeshooter_hf.loading.parquet_table import ParquetTable
from animeshooter_hf.records import Character, Scene, Shot, Story
from animeshooter_hf.video import read_audio

__all__ = ["ReferenceImage", "StoryItem", "read_picture"]

_MASKS = "reference_masks"
_MEDIA_COLUMNS = ("video", "audio", "image", "cutout", "mask")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ReferenceImage:
    """A reference of a character."""

    character_id: str
    """Whom it shows."""

    frame_index: int
    """Frame of the video."""

    image: NDArray[np.uint8]
    """The whole frame, shape (height, width, 3)."""

    cutout: NDArray[np.uint8]
    """Frame times mask, shape (height, width, 4); the fourth channel is alpha."""

    mask: NDArray[np.bool_]
    """The mask, shape (height, width)."""


class StoryItem:
    """One story: its text when it is asked for, its media frame by frame."""

    def __init__(self, dataset: OpenedDataset, row: int, story_id: str, *, with_masks: bool) -> None:
        self.story_id = story_id
        """ID of the story."""
        self._dataset, self._row, self._with_masks = dataset, row, with_masks
        self._text: Story | None = None
        self._whole: Story | None = None
        self._shot_rows: dict[str, int] | None = None

    def __repr__(self) -> str:
        return f"StoryItem({self.story_id}, {len(self.shots)} shots)"

    @property
    def story(self) -> Story:
        """The text as a record, with its reference masks unless the view leaves them out.

        Masks are nine tenths of the text; `shots`, `captions`, `storyline`, `characters` and `scenes` do without.
        """
        if self._whole is None:
            self._whole = self._read_story(with_masks=True) if self._with_masks else self._without_masks()
        return self._whole

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots, as records."""
        return self._without_masks().shots

    @property
    def captions(self) -> tuple[str, ...]:
        """What is seen in each shot, or what happens where there is no other caption."""
        return tuple(shot.caption for shot in self.shots)

    @property
    def storyline(self) -> str:
        """The plot."""
        return self._without_masks().storyline

    @property
    def characters(self) -> tuple[Character, ...]:
        """The main characters."""
        return self._without_masks().characters

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The main places."""
        return self._without_masks().scenes

    def clip(self, shot_index: int) -> bytes:
        """Return the mp4 of a shot.

        Raises:
            InputError: If the dataset holds no clip of it.
        """
        row = self._clip_row(shot_index)
        try:
            return self._dataset.clip(row)
        except InputError as error:
            raise self._unreadable(shot_index, error) from error

    def iter_clips(self) -> Iterator[tuple[Shot, bytes]]:
        """Yield (shot, its mp4) for every shot that has one."""
        for shot in self.shots:
            if shot.shot_id in self._rows_of_shots():
                yield shot, self.clip(shot.index)

    def has_clip(self, shot_index: int) -> bool:
        """Return whether the dataset holds a clip of a shot."""
        return self._shot(shot_index).shot_id in self._rows_of_shots()

    def num_frames(self, shot_index: int) -> int:
        """Return how many frames the clip of a shot has."""
        row = self._clip_row(shot_index)
        try:
            with self._dataset.clips.borrow(row, lambda: self._dataset.clip(row)) as decoder:
                return len(decoder)
        except InputError as error:
            raise self._unreadable(shot_index, error) from error

    def frames(self, shot_index: int, start: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """Return frames of a shot as RGB, shape (frames, height, width, 3).

        Args:
            shot_index: Position of the shot in the story.
            start: First frame, counted in the shot.
            end: Frame after the last one; the shot's end if None.

        Raises:
            InputError: If the dataset holds no clip of it, it cannot be decoded, or the range does not lie in it.
        """

        def span(index: Any) -> Sequence[int]:
            last = len(index) if end is None else end
            if not 0 <= start < last <= len(index):
                raise InputError(f"frames {start} to {last} do not lie in it, it has {len(index)}")
            return range(start, last)

        return self._decode(shot_index, span)

    def sample_frames(self, shot_index: int, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return chosen frames of a shot as RGB, shape (len(indices), height, width, 3).

        Raises:
            InputError: If the dataset holds no clip of it, it cannot be decoded, or a frame does not lie in it.
        """
        return self._decode(shot_index, lambda _: indices)

    def frames_between(self, start_frame: int, end_frame: int) -> NDArray[np.uint8]:
        """Return frames of the story across its shots as RGB, shape (frames, height, width, 3).

        Args:
            start_frame: First frame, counted in the video, as `Shot.start_frame` is.
            end_frame: Frame after the last one.

        Raises:
            InputError: If a frame belongs to no shot with a clip.
        """
        if end_frame <= start_frame:
            raise InputError(f"Frames {start_frame} to {end_frame} are no range.")
        parts, at = [], start_frame
        for shot in self.shots:
            if shot.start_frame is None or shot.end_frame is None or not shot.start_frame <= at < shot.end_frame:
                continue
            end = min(end_frame, shot.end_frame)
            parts.append(self.frames(shot.index, at - shot.start_frame, end - shot.start_frame))
            at = end
            if at == end_frame:
                return np.concatenate(parts)
        raise InputError(f"Frame {at} belongs to no shot of story {self.story_id}.")

    def thumbnail(self, shot_index: int, width: int | None = None) -> Image.Image:
        """Return the middle frame of a shot as a picture, made smaller to a width in pixels if one is given."""
        picture = Image.fromarray(self._decode(shot_index, lambda index: [len(index) // 2])[0])
        if width is not None and width < picture.width:
            picture = picture.resize((width, max(1, round(picture.height * width / picture.width))))
        return picture

    def has_audio(self, shot_index: int) -> bool:
        """Return whether the `audio` config holds the sound of a shot, as a row of its own or within a longer one."""
        return self._audio_row(shot_index) is not None

    def audio(self, shot_index: int) -> tuple[NDArray[np.float32], int]:
        """Return the sound of a shot, shape (channels, samples), and its rate.

        The rows of `audio` are cut where picture and sound change together, so a shot may be a part of one.

        Raises:
            InputError: If the dataset holds no sound of it, or it cannot be read.
        """
        found = self._audio_row(shot_index)
        shot = self._shot(shot_index)
        table = self._dataset.media_table("audio")
        sound = None if found is None or table is None else table.media(found[0], "audio")
        if found is None or sound is None:
            raise InputError(f"The dataset holds no audio of shot {shot.shot_id}.")
        try:
            samples_CT, rate = read_audio(sound)
        except InputError as error:
            raise InputError(f"The sound of shot {shot.shot_id} cannot be read: {error}") from error
        row = found[1]
        if row["shot_id"] == shot.shot_id or shot.start_seconds is None or shot.end_seconds is None:
            return samples_CT, rate
        start, end = (round((at - row["start_time"]) * rate) for at in (shot.start_seconds, shot.end_seconds))
        return samples_CT[:, max(0, start) : end], rate

    def audio_shots(self) -> list[dict[str, Any]]:
        """Return the rows of `audio` of the story, in order of time, without their clips and samples."""
        return [row for _, row in self._audio_rows()]

    def references(self, character_id: str | None = None) -> list[ReferenceImage]:
        """Return the references of a character, or of all, in order of character and frame.

        Raises:
            InputError: If a picture cannot be read.
        """
        table = self._dataset.media_table("references")
        if table is None:
            return []
        rows = table.story_rows(self.story_id)
        texts = table.rows(rows, ("character_id", "frame_index"))
        return [
            _read_reference(table, row, **text)
            for row, text in zip(rows, texts, strict=True)
            if character_id in (None, text["character_id"])
        ]

    def _decode(self, shot_index: int, choose: Any) -> NDArray[np.uint8]:
        row = self._clip_row(shot_index)
        try:
            return self._dataset.clip_frames(row, choose)
        except InputError as error:
            raise self._unreadable(shot_index, error) from error

    def _unreadable(self, shot_index: int, error: InputError) -> InputError:
        return InputError(
            f"The clip of shot {self._shot(shot_index).shot_id} cannot be read: {str(error).rstrip('.')}."
        )

    def _shot(self, shot_index: int) -> Shot:
        shots = self.shots
        if not -len(shots) <= shot_index < len(shots):
            raise InputError(f"Story {self.story_id} has {len(shots)} shots, there is no shot {shot_index}.")
        return shots[shot_index]

    def _clip_row(self, shot_index: int) -> int:
        shot = self._shot(shot_index)
        row = self._rows_of_shots().get(shot.shot_id)
        if row is None:
            raise InputError(f"The dataset holds no video of shot {shot.shot_id}.")
        return row

    def _rows_of_shots(self) -> dict[str, int]:
        if self._shot_rows is None:
            table = self._dataset.media_table("video")
            rows = [] if table is None else table.story_rows(self.story_id)
            texts = [] if table is None else table.rows(rows, ("shot_id",))
            self._shot_rows = {text["shot_id"]: row for row, text in zip(rows, texts, strict=True)}
        return self._shot_rows

    def _audio_rows(self) -> list[tuple[int, dict[str, Any]]]:
        table = self._dataset.media_table("audio")
        if table is None:
            return []
        columns = [name for name in table.column_names if name not in _MEDIA_COLUMNS]
        rows = table.story_rows(self.story_id)
        pairs = list(zip(rows, table.rows(rows, columns), strict=True))
        return sorted(pairs, key=lambda pair: (pair[1]["start_frame"] is None, pair[1]["start_frame"]))

    def _audio_row(self, shot_index: int) -> tuple[int, dict[str, Any]] | None:
        shot = self._shot(shot_index)
        for number, row in self._audio_rows():
            if row["shot_id"] == shot.shot_id:
                return number, row
            if None not in (shot.start_frame, shot.end_frame, row["start_frame"], row["end_frame"]) and (
                row["start_frame"] <= shot.start_frame and shot.end_frame <= row["end_frame"]
            ):
                return number, row
        return None

    def _without_masks(self) -> Story:
        if self._text is None:
            self._text = self._whole or self._read_story(with_masks=False)
        return self._text

    def _read_story(self, *, with_masks: bool) -> Story:
        table = self._dataset.table("stories")
        columns = [name for name in (table.column_names if table else ()) if with_masks or name != _MASKS]
        (row,) = [] if table is None else table.rows([self._row], columns)
        return Story.from_dataset_row(row)


def read_picture(table: ParquetTable, row: int, column: str, mode: str) -> NDArray[np.uint8]:
    """Return a picture of a row of `references`, shape (height, width) or (height, width, channels).

    Args:
        table: The rows of `references`.
        row: The row.
        column: "image", "cutout" or "mask".
        mode: Pillow's name of the channels wanted.

    Raises:
        InputError: If there is none, or it cannot be read.
    """
    data = table.media(row, column)
    try:
        return np.array(Image.open(BytesIO(data or b"")).convert(mode))
    except OSError as error:
        (text,) = table.rows([row], ("story_id", "character_id", "frame_index"))
        name = f"reference of {text['character_id']} in frame {text['frame_index']} of story {text['story_id']}"
        raise InputError(f"The {column} of the {name} cannot be read.") from error


def _read_reference(table: ParquetTable, row: int, character_id: str, frame_index: int) -> ReferenceImage:
    return ReferenceImage(
        character_id=character_id,
        frame_index=frame_index,
        image=read_picture(table, row, "image", "RGB"),
        cutout=read_picture(table, row, "cutout", "RGBA"),
        mask=read_picture(table, row, "mask", "L") > 127,
    )
