"""Where a dataset's files are read from when they are written anew: a folder here, or something that fetches them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.release.extras import EXTRAS_FILE
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList

__all__ = ["ID_COLUMNS", "DatasetSource", "FolderSource"]

ID_COLUMNS = ("video_id", "story_id")
"""The columns that say whose a row is; every config has them."""

_MAY_GO_ALONG = (EXTRAS_FILE, "CHANGELOG.md", "LICENSE", "LICENSE.txt", "LICENSE.md")


class DatasetSource(Protocol):
    """A dataset whose files can be read one by one."""

    @property
    def manifest(self) -> DatasetManifest:
        """What the dataset holds."""

    @property
    def takedown(self) -> TakedownList:
        """The list that the dataset carries; an empty one if it carries none."""

    def ids(self, shard: ShardFacts) -> pa.Table:
        """Return the columns `ID_COLUMNS` of a shard, in the order of its rows."""

    def fetch(self, shard: ShardFacts) -> Path:
        """Return a local file of a shard, fetched now if it is not there yet."""

    def local(self, shard: ShardFacts) -> Path | None:
        """Return the file of a shard that is to lie in the new folder even if nothing changes in it.

        None says that it stays where it is, such as on the Hub; then it is not even fetched.
        """

    def extra_files(self) -> Mapping[str, Path]:
        """Return name -> file of what may go along beside shards, card and manifest, before anything is taken out."""


class FolderSource:
    """A dataset folder on this machine.

    Reports of a build (`build_report.json`, `report/`, `identities.json` ...) do not go along: they may name films and
    hold pictures of them.
    """

    def __init__(self, folder: Path) -> None:
        """Read the folder's manifest and takedown list.

        Raises:
            InputError: If it is no dataset folder of ours, or its takedown list cannot be understood.
        """
        self.folder = Path(folder)
        self.manifest = DatasetManifest.read(self.folder)
        self.takedown = TakedownList.read_beside(self.folder)

    def ids(self, shard: ShardFacts) -> pa.Table:
        """Return the columns `ID_COLUMNS` of a shard, in the order of its rows."""
        return pq.ParquetFile(self.fetch(shard)).read(columns=list(ID_COLUMNS))

    def fetch(self, shard: ShardFacts) -> Path:
        """Return the file of a shard.

        Raises:
            InputError: If it is missing, or another one than the manifest says.
        """
        path = self.folder / shard.path
        if not path.is_file():
            raise InputError(f"{path} is missing, but the manifest names it.")
        if path.stat().st_size != shard.num_bytes:
            raise InputError(f"{path} holds {path.stat().st_size} bytes, the manifest says {shard.num_bytes}.")
        return path

    def local(self, shard: ShardFacts) -> Path | None:
        """Return the file of a shard: it is to lie in the new folder too."""
        return self.fetch(shard)

    def extra_files(self) -> Mapping[str, Path]:
        """Return name -> file of what may go along."""
        paths = {name: self.folder / name for name in _MAY_GO_ALONG}
        return {name: path for name, path in paths.items() if path.is_file()}
