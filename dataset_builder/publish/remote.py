"""What a repository on the Hub holds of ours: manifest, takedown list, changelog and shards, read as needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.dataset_source import ID_COLUMNS
from animeshooter_hf.dataset_builder.manifest import MANIFEST_FILE, MANIFEST_FORMAT, DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.publish.changelog import CHANGELOG_FILE
from animeshooter_hf.dataset_builder.publish.staging import hash_file
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIG_NAMES
from animeshooter_hf.hub.state import RemoteFile, RemoteHead
from animeshooter_hf.hub.upload import HubUploader
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = ["HubSource", "RemoteDataset", "read_remote"]

_STORIES = CONFIG_NAMES[0]
_HARMLESS = frozenset({".gitattributes", ".gitignore", "README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"})


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteDataset:
    """A dataset of ours as it stands on the Hub; empty where there is none yet."""

    head: RemoteHead
    """The commit that was read."""

    manifest: DatasetManifest | None = None
    """Its manifest; None if there is none."""

    takedown: TakedownList = field(default_factory=TakedownList)
    """Its list."""

    changelog: str = ""
    """Its changelog."""

    def stale_files(self, wished: Mapping[str, object]) -> frozenset[str]:
        """Return the files in the folders of our configs that are not wished: they would count as data."""
        return frozenset(path for path in self.head.files if path.split("/")[0] in CONFIG_NAMES and path not in wished)

    def foreign_files(self) -> tuple[str, ...]:
        """Return the files of a repository that holds something else than a dataset of ours."""
        if self.manifest is not None:
            return ()
        return tuple(sorted(set(self.head.files) - _HARMLESS))


def read_remote(uploader: HubUploader, head: RemoteHead) -> RemoteDataset:
    """Return what a head holds of ours.

    Raises:
        InputError: If its takedown list cannot be understood, or its manifest is damaged.
    """
    if head.commit is None:
        return RemoteDataset(head=head)

    def read(path: str) -> str:
        return uploader.read_text(path, str(head.commit)) if path in head.files else ""

    name = f"{TAKEDOWN_FILE} of {uploader.repo_id}"
    return RemoteDataset(
        head=head,
        manifest=_manifest(read(MANIFEST_FILE), uploader.repo_id),
        takedown=TakedownList.parse(read(TAKEDOWN_FILE), name),
        changelog=read(CHANGELOG_FILE),
    )


class HubSource:
    """A published dataset as a source for writing it anew, of which only what is needed is fetched.

    Shards of `stories` are fetched whole, since statistics are counted on them; they tell which stories must go. Of a
    shard with media the footer is read by a range request, whose smallest and largest IDs tell most of them apart, and
    only of those that may be hit the two columns of IDs.
    """

    def __init__(
        self,
        uploader: HubUploader,
        remote: RemoteDataset,
        into: Path,
        takedown: TakedownList,
    ) -> None:
        """Take a dataset as it stands at a head.

        Args:
            uploader: The repository.
            remote: What it holds.
            into: Folder for what is fetched.
            takedown: What will be taken out, beside what the dataset's own list names.

        Raises:
            InputError: If the repository holds no dataset of ours.
        """
        if remote.manifest is None or remote.head.commit is None:
            raise InputError(f"{uploader.repo_id} holds no dataset of ours: it has no manifest.json of this library.")
        self.manifest: DatasetManifest = remote.manifest
        self.takedown = remote.takedown
        self.fetched: dict[str, int] = {}
        self._uploader, self._commit, self._into = uploader, remote.head.commit, into
        self._asked = takedown
        self._files: Mapping[str, RemoteFile] = remote.head.files
        self._ids: dict[str, pa.Table] = {}
        self._listed: TakedownList | None = None

    def ids(self, shard: ShardFacts) -> pa.Table:
        """Return the columns of IDs of a shard; of one that is not hit only the smallest of each row group."""
        if shard.path not in self._ids:
            if shard.config == _STORIES:
                self._ids[shard.path] = pq.read_table(self.fetch(shard), columns=list(ID_COLUMNS), partitioning=None)
            else:
                self._check(shard)
                self._ids[shard.path] = self._uploader.retry(lambda: self._read_ids(shard))
        return self._ids[shard.path]

    def fetch(self, shard: ShardFacts) -> Path:
        """Return a local file of a shard, fetched now if it is not there yet.

        Raises:
            InputError: If it is not what the manifest says.
        """
        self._check(shard)
        path = self._into / shard.path
        if shard.path not in self.fetched:
            if not (path.is_file() and hash_file(path) == shard.sha256):
                path = self._uploader.fetch(shard.path, self._commit, self._into)
                if hash_file(path) != shard.sha256:
                    raise InputError(f"{shard.path} did not arrive as it is in {self._uploader.repo_id}; try again.")
            self.fetched[shard.path] = shard.num_bytes
        return path

    def local(self, shard: ShardFacts) -> Path | None:
        """Return None: what does not change stays on the Hub."""
        return None

    def extra_files(self) -> Mapping[str, Path]:
        """Return nothing: what else lies in the repository stays as it is."""
        return {}

    def listed_stories(self) -> TakedownList:
        """Return the stories that must go, by their plain IDs, and the videos that were asked for."""
        if self._listed is None:
            takedown = self.takedown.merge(self._asked)
            tables = [self.ids(shard) for shard in self.manifest.shards if shard.config == _STORIES]
            rows = [row for table in tables for row in table.to_pylist()]
            stories = frozenset(row["story_id"] for row in rows if takedown.hits_row(row))
            plain = frozenset(one for one in self._asked.video_ids if not one.startswith("sha256:"))
            self._listed = TakedownList(video_ids=plain, story_ids=stories)
        return self._listed

    def _check(self, shard: ShardFacts) -> None:
        stored = self._files.get(shard.path)
        if stored is None or (stored.sha256 or shard.sha256) != shard.sha256 or stored.size != shard.num_bytes:
            raise InputError(
                f"{shard.path} in {self._uploader.repo_id} is not the file that its manifest names; publish it anew."
            )

    def _read_ids(self, shard: ShardFacts) -> pa.Table:
        from huggingface_hub import HfFileSystem

        listed = self.listed_stories()
        address = f"datasets/{self._uploader.repo_id}/{shard.path}"
        api = self._uploader.api
        with HfFileSystem(endpoint=api.endpoint, token=api.token).open(
            address, "rb", revision=self._commit, cache_type="none", block_size=1 << 20
        ) as remote:
            file = pq.ParquetFile(remote, pre_buffer=True)
            if not _may_hold(file.metadata, listed):
                return _smallest_ids(file.metadata)
            return file.read(columns=list(ID_COLUMNS))


def _smallest_ids(footer: pq.FileMetaData) -> pa.Table:
    """Return the smallest IDs of each row group."""
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    smallest = [[group.column(column).statistics.min for group in groups] for column in range(len(ID_COLUMNS))]
    return pa.table(dict(zip(ID_COLUMNS, smallest, strict=True)))


def _may_hold(footer: pq.FileMetaData, listed: TakedownList) -> bool:
    """Return whether a file can hold something of a list of plain IDs, as the statistics of its row groups tell."""
    for group in range(footer.num_row_groups):
        for column, identifiers in ((0, listed.video_ids), (1, listed.story_ids)):
            found = footer.row_group(group).column(column).statistics
            if found is None or not found.has_min_max:
                return True
            if any(found.min <= one <= found.max for one in identifiers):
                return True
    return False


def _manifest(text: str, repo_id: str) -> DatasetManifest | None:
    """Return the manifest in a text; None if there is none of ours."""
    try:
        data = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(data, dict) or data.get("format") != MANIFEST_FORMAT:
        return None
    try:
        return DatasetManifest.from_json(data)
    except InputError as error:
        raise InputError(f"The manifest of {repo_id}: {error}") from error
