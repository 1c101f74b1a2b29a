"""The folder in which a dataset is prepared for the Hub: kept for a rerun, gone when all is well.

It lies beside the dataset, so that shards that do not change are links and take no room. Its name is made of what goes
into it, so a rerun finds its own and never another's.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from animeshooter_hf._version import __version__
from animeshooter_hf.dataset_builder.dataset_source import DatasetSource
from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.package_rewrite import Selection, rewrite_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.retry import HubRefusedError, HubUnreachableError
from animeshooter_hf.takedown import TakedownList

__all__ = ["RenamedSource", "Staging", "cache_folder", "hash_file", "only_one", "open_staging"]


class RenamedSource:
    """A dataset whose card says something else, and whose files are compared with the manifest when they are fetched.

    See `DatasetSource`.
    """

    def __init__(self, source: DatasetSource, card: Mapping[str, Any]) -> None:
        self._source = source
        self.manifest: DatasetManifest = replace(source.manifest, card=replace(source.manifest.card, **card))
        self.takedown: TakedownList = source.takedown

    def ids(self, shard: ShardFacts) -> pa.Table:
        """Return the columns of IDs of a shard."""
        return self._source.ids(shard)

    def fetch(self, shard: ShardFacts) -> Path:
        """Return the file of a shard.

        Raises:
            InputError: If it is not what the manifest says.
        """
        path = self._source.fetch(shard)
        if hash_file(path) != shard.sha256:
            raise InputError(f"{path} is not what its manifest says; build the dataset again.")
        return path

    def local(self, shard: ShardFacts) -> Path | None:
        """Return the file of a shard: it is to lie in the new folder too."""
        return self._source.local(shard)

    def extra_files(self) -> Mapping[str, Path]:
        """Return name -> file of what may go along."""
        return self._source.extra_files()


class Staging:
    """A folder of prepared datasets, each under a key made of its content.

    A context manager: all of it goes when the block ends well or the input was bad, and stays for a rerun otherwise.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        is_of_the_hub = isinstance(error, HubRefusedError | HubUnreachableError)
        if error is None or (isinstance(error, InputError) and not is_of_the_hub):
            self.remove()

    def prepare(self, source: RenamedSource, selection: Selection, *, progress: bool = True) -> Path:
        """Return a folder that holds the dataset as it will be on the Hub, made now unless it is there already.

        Raises:
            InputError: If nothing would be left, the source is damaged, or there is no room.
        """
        folder = self.root / _key(source, selection)
        if not folder.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                rewrite_dataset(source, folder, selection, progress=progress)
            except pa.ArrowException as error:
                raise InputError(f"A shard of the dataset is damaged: {str(error).splitlines()[0]}") from error
        return folder

    def remove(self) -> None:
        """Remove it all."""
        shutil.rmtree(self.root, ignore_errors=True)
        parent = self.root.parent
        if parent.name.endswith(".publish") and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


@contextmanager
def open_staging(folder: Path, repo_id: str, staging: Path | None) -> Iterator[Staging]:
    """Give the staging of a folder for a repository to one process at a time.

    Raises:
        InputError: If another process publishes the same, or the place cannot be written.
    """
    folder = folder.resolve()
    place = staging.resolve() if staging is not None else folder.with_name(f".{folder.name}.publish")
    if staging is None and not os.access(folder.parent, os.W_OK | os.X_OK):
        place = cache_folder() / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    root = place / repo_id.replace("/", "--")
    refusal = f"Another process publishes {folder} to {repo_id}; wait until it is done."
    with only_one(str(root), refusal), Staging(root) as opened:
        yield opened


@contextmanager
def only_one(what: str, refusal: str) -> Iterator[None]:
    """Keep every other process of this user from doing the same; the lock goes when its holder dies.

    Raises:
        InputError: If another one does it already.
    """
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / hashlib.sha256(what.encode()).hexdigest()[:32]).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(refusal) from error
        yield


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder of ours in the cache of the Hub's clients."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "animeshooter"


def _key(source: RenamedSource, selection: Selection) -> str:
    """Return what the content of a prepared dataset depends on, as a short hash."""
    told = {
        "tool": __version__,
        "manifest": source.manifest.to_json(),
        "extras": {name: path.stat().st_mtime_ns for name, path in sorted(source.extra_files().items())},
        "takedown": source.takedown.merge(selection.takedown).fingerprint(),
        "selection": {**asdict(replace(selection, takedown=TakedownList(), rights=None)), "takedown": None},
        "rights": {name: one.to_row() for name, one in sorted((selection.rights or {}).items())},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:20]
