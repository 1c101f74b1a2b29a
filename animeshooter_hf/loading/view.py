"""A joined view of a dataset: stories with their clips, references and sound, each decoded when it is touched.

The Parquet files are read in place, without `datasets` and without a copy in a cache. When a view is opened, only the
IDs of its stories are read; text comes when a story is looked at, and a clip's bytes when a frame of it is asked for,
and nothing beside it. Where the files are afar (`streaming=True`), the same holds for what goes over the network.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.dataset_files import find_dataset
from animeshooter_hf.loading.opened_dataset import MEDIA, CacheInfo, CacheSettings, OpenedDataset
from animeshooter_hf.loading.parquet_table import ParquetTable
from animeshooter_hf.loading.story_item import StoryItem
from animeshooter_hf.optional import require
from animeshooter_hf.takedown import TakedownList

if TYPE_CHECKING:
    from animeshooter_hf.loading.torch_dataset import StoryDataset

__all__ = ["StoryView", "load_stories"]


def load_stories(
    path_or_repo: str | Path,
    split: str = "train",
    *,
    media: Sequence[str] = ("video", "references", "audio"),
    takedown: TakedownList | str | Path | None = None,
    streaming: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    with_masks: bool = True,
    caches: CacheSettings | None = None,
) -> "StoryView":
    """Return the stories of a dataset folder, or of a dataset repository on the Hub, in the order of the dataset.

    Args:
        path_or_repo: A folder, an ID such as "ORG/NAME" (or "hf://datasets/ORG/NAME"), which is downloaded to the
            Hub's cache first unless `streaming`, or with `streaming` any address that fsspec knows.
        split: Split to open.
        media: What will be looked at beside the text: any of `MEDIA`. A config that is not there gives nothing.
        takedown: A takedown list, or its file. Its stories are left out, as are those of the dataset's own
            `takedown.txt`.
        streaming: Read by ranges and download nothing as a whole.
        revision: Branch, tag or commit of the repository.
        token: Token of the Hub; None for the one that is stored.
        with_masks: Whether `StoryItem.story` carries the reference masks, which are most of the text.
        caches: How much is kept in memory.

    Raises:
        InputError: If there is no such folder or split, it is no dataset of this layout, or a takedown list cannot be
            read or understood.
        ValueError: If `media` holds an unknown name.

    Example:
        >>> view = load_stories("out/dataset", media=("video",))  # doctest: +SKIP
        >>> view[0].frames(2, 10, 26).shape  # frames 10 to 26 of the third shot  # doctest: +SKIP
        (16, 480, 720, 3)
    """
    for name in media:
        if name not in MEDIA:
            raise ValueError(f"media must be some of {', '.join(MEDIA)}, got {name!r}.")
    configs = [MEDIA[name] for name in media]
    files = find_dataset(path_or_repo, split, configs, streaming=streaming, revision=revision, token=token)
    unwanted = files.takedown
    if takedown is not None:
        unwanted = unwanted.merge(takedown if isinstance(takedown, TakedownList) else TakedownList.read(takedown))
    dataset = OpenedDataset(files, media, caches or CacheSettings())
    table = dataset.table("stories")
    names = [name for name in ("story_id", "video_id") if table and name in table.column_names]
    if len(names) < 2 or table is None:
        raise InputError(f"{files.name} is no dataset of ours: its stories have no IDs.")
    ids = pa.concat_tables([part.cast(_IDS) for part in table.column(names)])
    rows = np.arange(len(table), dtype=np.int64)
    if len(unwanted):
        hit = (unwanted.hits_story(*pair) for pair in zip(*(ids[name].to_pylist() for name in names), strict=True))
        rows = rows[~np.fromiter(hit, np.bool_, len(rows))]
    return StoryView(dataset, ids["story_id"].combine_chunks(), rows, with_masks=with_masks)


_IDS = pa.schema({"story_id": pa.string(), "video_id": pa.string()})


class StoryView(Sequence[StoryItem]):
    """Some stories of one split. A part of a view shares the caches of the whole."""

    def __init__(
        self, dataset: OpenedDataset, ids: pa.StringArray, rows: NDArray[np.int64], *, with_masks: bool
    ) -> None:
        self._dataset, self._ids, self._rows, self._with_masks = dataset, ids, rows, with_masks
        self._positions: dict[str, int] | None = None

    def __reduce__(self) -> Any:
        return _restore, (self._dataset, self._ids, self._rows, self._with_masks)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"StoryView({self._dataset.files.name}, {len(self)} stories)"

    def __iter__(self) -> Iterator[StoryItem]:
        return (self[position] for position in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> StoryItem: ...
    @overload
    def __getitem__(self, index: slice) -> "StoryView": ...
    def __getitem__(self, index: int | slice) -> "StoryItem | StoryView":
        if isinstance(index, slice):
            return self._with_rows(self._rows[index])
        row = int(self._rows[index])
        return StoryItem(self._dataset, row, self._ids[row].as_py(), with_masks=self._with_masks)

    @property
    def story_ids(self) -> list[str]:
        """The IDs of the stories."""
        return self._ids.take(pa.array(self._rows)).to_pylist()

    def find(self, story_id: str) -> StoryItem:
        """Return the story with an ID.

        Raises:
            InputError: If there is none.
        """
        if self._positions is None:
            self._positions = {name: position for position, name in enumerate(self.story_ids)}
        if story_id not in self._positions:
            example = next(iter(self._positions), "none")
            raise InputError(f"There is no story {story_id}; the split has {len(self)}, such as {example}.")
        return self[self._positions[story_id]]

    def filter(
        self,
        *,
        characters: str | Sequence[str] = (),
        scenes: str | Sequence[str] = (),
        min_shots: int = 0,
        max_shots: int | None = None,
    ) -> "StoryView":
        """Return the stories that fit every condition; only the columns in question are read.

        Args:
            characters: Names of main characters that a story must have, all of them.
            scenes: Names of main scenes that it must have.
            min_shots: Fewest shots.
            max_shots: Most shots; None for any number.
        """
        wanted = [("main_characters", name) for name in _names(characters)]
        wanted += [("main_scenes", name) for name in _names(scenes)]
        table = self._table()
        counted = table.leaf("shots", "shot_index") if min_shots > 0 or max_shots is not None else None
        columns = sorted({column for column, _ in wanted}) + ([counted] if counted else [])
        keep = np.ones(len(table), np.bool_)
        start = 0
        for part in table.column(columns) if columns else ():
            fits = keep[start : start + len(part)]
            for column, name in wanted:
                fits &= _has_name(part[column].combine_chunks(), name)
            if counted:
                lengths = pc.fill_null(pc.list_value_length(part["shots"]), 0).to_numpy()
                fits &= (lengths >= min_shots) & (lengths <= (max_shots if max_shots is not None else lengths))
            start += len(part)
        return self._with_rows(self._rows[keep[self._rows]])

    def select(self, predicate: Callable[[Mapping[str, Any]], bool], columns: Sequence[str]) -> "StoryView":
        """Return the stories for which a predicate holds; it is given the named columns, and no others are read.

        Raises:
            InputError: If there is no such column.

        Example:
            >>> view.select(lambda row: "train" in row["storyline"], ["storyline"])  # doctest: +SKIP
        """
        keep = np.zeros(len(self._table()), np.bool_)
        for rows, part in self._parts(columns):
            keep[rows] = [bool(predicate(row)) for row in part.to_pylist()]
        return self._with_rows(self._rows[keep[self._rows]])

    def iter_tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield columns of the stories as Arrow tables, one after the other, in the order of the dataset.

        The fastest way to all captions: `view.iter_tables(["story_id", "shots"])`.

        Raises:
            InputError: If there is no such column.
        """
        for _, part in self._parts(columns):
            yield part

    def torch(self, **settings: Any) -> "StoryDataset":
        """Return the stories as a dataset of PyTorch; the arguments are those of `StoryDataset`.

        Raises:
            MissingExtraError: If torch is not installed.
        """
        require("torch", extra="modeling", purpose="A dataset of PyTorch")
        from animeshooter_hf.loading.torch_dataset import StoryDataset

        return StoryDataset(self, **settings)

    def cache_info(self) -> CacheInfo:
        """Return what was read and what is kept, in this process, since the view was opened."""
        return self._dataset.cache_info()

    @property
    def opened(self) -> OpenedDataset:
        """The tables and caches behind the view."""
        return self._dataset

    def _parts(self, columns: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
        """Yield (rows of the whole table, columns of them) for the stories of this view."""
        table = self._table()
        for name in columns:
            if name not in table.column_names:
                raise InputError(f"There is no column {name!r}; there are {', '.join(table.column_names)}.")
        is_mine = np.zeros(len(table), np.bool_)
        is_mine[self._rows] = True
        start = 0
        for part in table.column(columns):
            here = np.flatnonzero(is_mine[start : start + len(part)])
            yield here + start, part if len(here) == len(part) else part.take(pa.array(here))
            start += len(part)

    def _table(self) -> ParquetTable:
        table = self._dataset.table("stories")
        if table is None:
            raise InputError(f"{self._dataset.files.name} holds no stories.")
        return table

    def _with_rows(self, rows: NDArray[np.int64]) -> "StoryView":
        return StoryView(self._dataset, self._ids, rows, with_masks=self._with_masks)


def _restore(dataset: OpenedDataset, ids: pa.StringArray, rows: NDArray[np.int64], with_masks: bool) -> StoryView:
    return StoryView(dataset, ids, rows, with_masks=with_masks)


def _names(given: str | Sequence[str]) -> Sequence[str]:
    return (given,) if isinstance(given, str) else given


def _has_name(lists: Any, name: str) -> NDArray[np.bool_]:
    """Return for each list of records whether one of them has an ID."""
    found = np.zeros(len(lists), np.bool_)
    parents = pc.list_parent_indices(lists).to_numpy()
    names = pc.struct_field(pc.list_flatten(lists), "id")
    found[parents[pc.fill_null(pc.equal(names, name), False).to_numpy(zero_copy_only=False)]] = True
    return found
