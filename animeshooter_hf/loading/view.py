"""A joined view of a dataset folder: stories with their clips, references and sound, each decoded when it is touched.

The Parquet files are read in place, without `datasets` and without a copy in a cache. Only text is read when the view
is opened; a clip's bytes are read when a frame of it is asked for, and nothing beside it.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot, Story
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList
from animeshooter_hf.video import iter_frames, probe, read_audio, read_frames

__all__ = ["MEDIA", "ReferenceImage", "StoryItem", "StoryView", "load_stories"]

MEDIA = {"video": "shots", "references": "references", "audio": "audio"}
"""What can be joined -> the config that holds it."""

_KEPT_ROW_GROUPS = 2


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


def load_stories(
    path_or_repo: str | Path,
    split: str = "train",
    *,
    media: Sequence[str] = ("video", "references", "audio"),
    takedown: TakedownList | str | Path | None = None,
) -> "StoryView":
    """Return the stories of a dataset folder, or of a dataset repository on the Hub, in order of their IDs.

    Args:
        path_or_repo: A folder, or an ID such as "ORG/NAME", which is downloaded to the Hub's cache first.
        split: Split to open.
        media: What will be looked at beside the text: any of `MEDIA`. A config that is not there gives nothing.
        takedown: A takedown list, or its file. Its stories are left out, as are those of the dataset's own
            `takedown.txt`.

    Raises:
        InputError: If there is no such folder or split, it is no dataset of this layout, or a takedown list cannot be
            read or understood.
        ValueError: If `media` holds an unknown name.
    """
    for name in media:
        if name not in MEDIA:
            raise ValueError(f"media must be some of {', '.join(MEDIA)}, got {name!r}.")
    root = Path(path_or_repo)
    if not root.exists() and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(path_or_repo)):
        root = _download(str(path_or_repo), split, media)
    if not root.is_dir():
        raise InputError(f"There is no dataset folder {path_or_repo}.")
    if not (root / "stories").is_dir():
        raise InputError(f"{root} is no dataset of ours: it has no folder `stories`.")
    tables = {kind: _Shards.find(root, MEDIA[kind], split) for kind in media}
    stories = _Shards.find(root, "stories", split)
    if stories is None:
        found = sorted({path.name.split("-")[0] for path in (root / "stories").glob("*.parquet")})
        raise InputError(f"{root} has no split {split!r}. Its splits: {', '.join(found) or 'none'}.")
    unwanted = TakedownList.read_beside(root)
    if takedown is not None:
        unwanted = unwanted.merge(takedown if isinstance(takedown, TakedownList) else TakedownList.read(takedown))
    rows = [row for group in range(len(stories.groups)) for row in stories.read(group).to_pylist()]
    rows = [row for row in rows if not unwanted.hits_row(row)]
    return StoryView([StoryItem(Story.from_dataset_row(row), tables) for row in rows])


class StoryView(Sequence["StoryItem"]):
    """The stories of one split."""

    def __init__(self, items: Sequence["StoryItem"]) -> None:
        self._items = list(items)
        self._positions = {item.story.story_id: position for position, item in enumerate(self._items)}

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator["StoryItem"]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> "StoryItem": ...
    @overload
    def __getitem__(self, index: slice) -> "StoryView": ...
    def __getitem__(self, index: int | slice) -> "StoryItem | StoryView":
        return StoryView(self._items[index]) if isinstance(index, slice) else self._items[index]

    def find(self, story_id: str) -> "StoryItem":
        """Return the story with an ID.

        Raises:
            InputError: If there is none.
        """
        if story_id not in self._positions:
            example = next(iter(self._positions), "none")
            raise InputError(f"There is no story {story_id}; the split has {len(self)}, such as {example}.")
        return self._items[self._positions[story_id]]


class StoryItem:
    """One story, and its media on demand."""

    def __init__(self, story: Story, tables: "dict[str, _Shards | None]") -> None:
        self.story = story
        """The text: a `Story`."""
        self._tables = tables

    def __repr__(self) -> str:
        return f"StoryItem({self.story.story_id}, {len(self.story.shots)} shots)"

    @property
    def shots(self) -> tuple[Shot, ...]:
        """The shots, as records."""
        return self.story.shots

    def clip(self, shot_index: int) -> bytes:
        """Return the mp4 of a shot.

        Raises:
            InputError: If the dataset holds no clip of it.
        """
        return self._media("video", shot_index, "video")

    def num_frames(self, shot_index: int) -> int:
        """Return how many frames the clip of a shot has."""
        return probe(self.clip(shot_index)).num_frames

    def frames(self, shot_index: int, start: int = 0, end: int | None = None) -> NDArray[np.uint8]:
        """Return frames of a shot as RGB, shape (frames, height, width, 3).

        Args:
            shot_index: Position of the shot in the story.
            start: First frame, counted in the shot.
            end: Frame after the last one; the shot's end if None.

        Raises:
            InputError: If the dataset holds no clip of it, or the range does not lie in it.
        """
        return np.stack([frame.image for frame in iter_frames(self.clip(shot_index), start, end)])

    def sample_frames(self, shot_index: int, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return chosen frames of a shot as RGB, shape (len(indices), height, width, 3)."""
        return read_frames(self.clip(shot_index), indices)

    def has_audio(self, shot_index: int) -> bool:
        """Return whether the `audio` config holds the sound of a shot, as a row of its own or within a longer one."""
        return self._audio_row(shot_index) is not None

    def audio(self, shot_index: int) -> tuple[NDArray[np.float32], int]:
        """Return the sound of a shot, shape (channels, samples), and its rate.

        The rows of `audio` are cut where picture and sound change together, so a shot may be a part of one.

        Raises:
            InputError: If the dataset holds no sound of it.
        """
        row = self._audio_row(shot_index)
        shot = self.story.shots[shot_index]
        if row is None:
            raise InputError(f"The dataset holds no audio of shot {shot.shot_id}.")
        table = self._tables["audio"]
        group, number = row["place"]
        samples_CT, rate = read_audio(bytes(table.read(group, "audio")["audio"][number]["bytes"].as_py()))  # type: ignore[union-attr]
        if row["shot_id"] == shot.shot_id or shot.start_seconds is None or shot.end_seconds is None:
            return samples_CT, rate
        start, end = (round((at - row["start_time"]) * rate) for at in (shot.start_seconds, shot.end_seconds))
        return samples_CT[:, max(0, start) : end], rate

    def audio_shots(self) -> list[dict[str, Any]]:
        """Return the rows of `audio` of the story, in order, without their clips and samples."""
        table = self._tables.get("audio")
        return [] if table is None else table.spans_of(self.story.story_id)

    def _audio_row(self, shot_index: int) -> dict[str, Any] | None:
        shot = self.story.shots[shot_index]
        for row in self.audio_shots():
            if row["shot_id"] == shot.shot_id:
                return row
            if None not in (shot.start_frame, shot.end_frame, row["start_frame"], row["end_frame"]) and (
                row["start_frame"] <= shot.start_frame and shot.end_frame <= row["end_frame"]
            ):
                return row
        return None

    def references(self, character_id: str | None = None) -> list[ReferenceImage]:
        """Return the references of a character, or of all, in order of character and frame."""
        table = self._tables.get("references")
        if table is None:
            return []
        rows = table.story_rows(self.story.story_id)
        return [_reference(row) for row in rows if character_id in (None, row["character_id"])]

    def _media(self, kind: str, shot_index: int, column: str) -> bytes:
        shot = self.story.shots[shot_index]
        table = self._tables.get(kind)
        place = None if table is None else table.rows_of(self.story.story_id).get(shot.shot_id)
        if table is None or place is None:
            raise InputError(f"The dataset holds no {kind} of shot {shot.shot_id}.")
        group, row = place
        return bytes(table.read(group, column)[column][row]["bytes"].as_py())


class _Shards:
    """The Parquet files of one split of one config, row group by row group."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [pq.ParquetFile(path, memory_map=True) for path in paths]
        self.groups = [(file, group) for file in self._files for group in range(file.metadata.num_row_groups)]
        self._kept: OrderedDict[tuple[int, str | None], Any] = OrderedDict()
        self._index: dict[str, dict[str, tuple[int, int]]] | None = None
        self._spans: dict[str, list[dict[str, Any]]] = {}

    @classmethod
    def find(cls, root: Path, config: str, split: str) -> "_Shards | None":
        paths = sorted((root / config).glob(f"{split}-*-of-*.parquet"))
        return cls(paths) if paths else None

    def read(self, group: int, column: str | None = None) -> Any:
        """Return a row group as a table, whole or one column of it; the last ones are kept."""
        key = (group, column)
        if key not in self._kept:
            file, number = self.groups[group]
            self._kept[key] = file.read_row_group(number, columns=None if column is None else [column])
            if len(self._kept) > _KEPT_ROW_GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    def rows_of(self, story_id: str) -> dict[str, tuple[int, int]]:
        """Return shot ID -> (row group, row) of a story; the index is read once, text columns only."""
        if self._index is None:
            self._index = {}
            for number, (file, group) in enumerate(self.groups):
                names = [name for name in ("story_id", "shot_id", "frame_index") if name in file.schema_arrow.names]
                table = file.read_row_group(group, columns=names)
                for row, values in enumerate(table.to_pylist()):
                    name = values.get("shot_id", str(row))
                    self._index.setdefault(values["story_id"], {})[name] = (number, row)
        return self._index.get(story_id, {})

    def spans_of(self, story_id: str) -> list[dict[str, Any]]:
        """Return the rows of a story without media, each with its place in the files, in order of time."""
        if story_id not in self._spans:
            rows = []
            for group, number in self.rows_of(story_id).values():
                columns = [
                    name for name in self.groups[group][0].schema_arrow.names if name not in ("video", "audio", "image")
                ]
                table = self.groups[group][0].read_row_group(self.groups[group][1], columns=columns)
                rows.append({**table.slice(number, 1).to_pylist()[0], "place": (group, number)})
            self._spans[story_id] = sorted(rows, key=lambda row: (row["start_frame"] is None, row["start_frame"]))
        return self._spans[story_id]

    def story_rows(self, story_id: str) -> list[dict[str, Any]]:
        """Return the whole rows of a story."""
        places = list(self.rows_of(story_id).values())
        return [self.read(group).slice(row, 1).to_pylist()[0] for group, row in places]


def _reference(row: dict[str, Any]) -> ReferenceImage:
    def picture(name: str, mode: str) -> NDArray[Any]:
        return np.asarray(Image.open(BytesIO(row[name]["bytes"])).convert(mode))

    return ReferenceImage(
        character_id=row["character_id"],
        frame_index=row["frame_index"],
        image=picture("image", "RGB"),
        cutout=picture("cutout", "RGBA"),
        mask=picture("mask", "L") > 127,
    )


def _download(repo_id: str, split: str, media: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    configs = ["stories", *(MEDIA[kind] for kind in media)]
    patterns = [TAKEDOWN_FILE, *(f"{config}/{split}-*.parquet" for config in configs)]
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise InputError(f"The dataset {repo_id} is no folder here and cannot be had from the Hub.") from error
