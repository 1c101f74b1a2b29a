"""What a release file says and the dataset's rows do not, kept beside the dataset in `release_extras.jsonl`.

One line per file of the release: which stories it gave, how it spells its keys, and the changes that make the file of
what the rows say: unknown keys with their values, times and names as they were written, the order of masks, masks that
were scaled. Rows and extras together give every file back, see `restore_release`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.release.changes import Change, apply_changes, find_changes
from animeshooter_hf.dataset_builder.release.reader import ReleaseDocument
from animeshooter_hf.dataset_builder.release.rewrite import Spelling, VideoShape, find_spelling, to_release_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["EXTRAS_FILE", "FileExtras", "VideoExtras", "find_extras", "read_extras", "restore_file", "restore_release"]

EXTRAS_FILE = "release_extras.jsonl"
"""Its name in the dataset's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoExtras:
    """One video of a file."""

    path: tuple[str | int, ...]
    """Keys and positions that lead to it in the file."""

    shape: VideoShape
    """Where its segments stand."""

    story_ids: tuple[str | None, ...]
    """The story of each segment; None where it gave none."""

    spelling: Spelling
    """How it spells its keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileExtras:
    """One file of the release."""

    file: str
    """Its name, as in the problem log."""

    videos: tuple[VideoExtras, ...]
    """Its videos that gave stories."""

    changes: tuple[Change, ...]
    """What makes the file of what the rows say."""

    def to_line(self) -> str:
        """Return the line of JSON, in ASCII."""
        videos = [
            {"path": one.path, "shape": one.shape, "story_ids": one.story_ids, "spelling": one.spelling.to_json()}
            for one in self.videos
        ]
        return json.dumps({"file": self.file, "videos": videos, "changes": self.changes}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "FileExtras":
        """Return the extras of a line.

        Raises:
            ValueError: If it is none.
        """
        try:
            row = json.loads(line)
            videos = tuple(
                VideoExtras(
                    path=tuple(one["path"]),
                    shape=one["shape"],
                    story_ids=tuple(one["story_ids"]),
                    spelling=Spelling(**one["spelling"]),
                )
                for one in row["videos"]
            )
            changes = tuple(Change(tuple(path), action, value) for path, action, value in row["changes"])
            return cls(file=row["file"], videos=videos, changes=changes)
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{line[:80]!r} is no line of {EXTRAS_FILE}: {error!r}.") from error


def find_extras(document: ReleaseDocument, stories: Mapping[str, Story] | None = None) -> FileExtras | None:
    """Return what a file says and its rows do not; None if no row came from it.

    Args:
        document: What was read from the file.
        stories: Story ID -> the story as it stands in the dataset, if it was changed since it was read.
    """
    if not document.videos:
        return None
    videos = []
    for video in document.videos:
        videos.append(
            VideoExtras(
                path=video.path,
                shape=video.shape,
                story_ids=tuple(None if story is None else story.story_id for story in video.stories),
                spelling=find_spelling(_at(document.data, video.path)),
            )
        )
    known = {story.story_id: story for story in document.stories} if stories is None else stories
    told = _tell(videos, known.__getitem__)
    return FileExtras(file=document.file, videos=tuple(videos), changes=tuple(find_changes(told, document.data)))


def restore_file(extras: FileExtras, story_of: Callable[[str], Story]) -> Any:
    """Return the JSON value of a file of the release from its rows and extras.

    Args:
        extras: What the rows do not say.
        story_of: Story ID -> the story as it stands in the dataset.

    Raises:
        LookupError: If a story is missing, or is not the one that the extras were made for.
    """
    return apply_changes(_tell(extras.videos, story_of), extras.changes)


def read_extras(folder: Path) -> Iterator[FileExtras]:
    """Yield the extras of a dataset's folder.

    Raises:
        InputError: If there are none, or a line is damaged.
    """
    try:
        with (folder / EXTRAS_FILE).open(encoding="ascii") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield FileExtras.from_line(line)
                except ValueError as error:
                    raise InputError(f"Line {number} of {folder / EXTRAS_FILE} is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"{folder} holds no {EXTRAS_FILE}: was it made by `animeshooter ingest`?") from error


def restore_release(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield (file name, JSON value) for each file that a dataset's folder was made from.

    Raises:
        InputError: If the folder is no dataset of `animeshooter ingest`, or a story is missing in it.
    """
    table = _StoryTable(folder)
    for extras in read_extras(folder):
        try:
            yield extras.file, restore_file(extras, table.story)
        except LookupError as error:
            raise InputError(f"{extras.file} cannot be restored from {folder}: {error}.") from error


class _StoryTable:
    """The stories of a dataset's folder by ID; one row group is held at a time."""

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[pq.ParquetFile, int]] = {}
        for path in sorted((folder / "stories").glob("*.parquet")):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                names = file.read_row_group(group, columns=["story_id"]).column("story_id").to_pylist()
                self._places.update(dict.fromkeys(names, (file, group)))
        self._at: tuple[pq.ParquetFile, int] | None = None
        self._stories: dict[str, Story] = {}

    def story(self, story_id: str) -> Story:
        place = self._places[story_id]
        if place != self._at:
            rows = place[0].read_row_group(place[1]).to_pylist()
            self._stories = {row["story_id"]: Story.from_dataset_row(row) for row in rows}
            self._at = place
        return self._stories[story_id]


def _tell(videos: Sequence[VideoExtras], story_of: Callable[[str], Story]) -> Any:
    """Return what the rows say of a file, in the file's form."""
    root: list[Any] = [None]
    for video in videos:
        stories = [None if story_id is None else story_of(story_id) for story_id in video.story_ids]
        here: Any = root
        step: str | int = 0
        for key in video.path:
            here[step] = here[step] if here[step] is not None else ([] if isinstance(key, int) else {})
            here, step = here[step], key
            if isinstance(here, list) and isinstance(step, int):
                here.extend([None] * (step + 1 - len(here)))
            elif isinstance(here, dict):
                here.setdefault(step, None)
        here[step] = to_release_json(stories, video.spelling, shape=video.shape)
    return root[0]


def _at(data: Any, path: Sequence[str | int]) -> Any:
    for step in path:
        data = data[step]
    return data
