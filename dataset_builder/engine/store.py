"""Files of a build under one root: a local folder, or any place that fsspec knows (`hf://buckets/...`, `s3://...`).

A file is there whole or not at all: locally it is written beside its place and renamed, elsewhere it is put by one
request. Truth is files and nothing else, so that several machines may work under one root.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["WorkStore"]


class WorkStore:
    """Named files under a root; names are relative, with slashes."""

    def __init__(self, root: str | Path) -> None:
        """Open a root; it is made when the first file is written.

        Raises:
            InputError: If the URL's protocol is unknown.
        """
        self.root = str(root)
        self._local = None if "://" in self.root else Path(self.root)
        self._fs: Any = None
        if self._local is None:
            import fsspec

            try:
                self._fs, self._base = fsspec.core.url_to_fs(self.root)
            except (ValueError, ImportError) as error:
                raise InputError(f"{self.root} cannot be opened: {error}.") from error

    def __reduce__(self) -> tuple[type["WorkStore"], tuple[str]]:
        return WorkStore, (self.root,)

    @property
    def folder(self) -> Path:
        """The root as a local folder, for what must be local: logs, locks, caches.

        A remote root gets a folder of its own below the user's cache.
        """
        if self._local is not None:
            return self._local
        safe = "".join(letter if letter.isalnum() else "_" for letter in self.root)
        return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "animeshooter_hf" / "work" / safe

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, whole."""
        if self._local is None:
            path = f"{self._base}/{name}"
            self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            self._fs.pipe_file(path, content)
            return
        final = self._local / name
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".{final.name}.partial-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        try:
            partial.write_bytes(content)
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file, whole."""
        self.write_bytes(name, (json.dumps(data, ensure_ascii=False, sort_keys=True) + "\n").encode())

    def put(self, name: str, path: Path) -> None:
        """Take over a local file; it is moved where that is possible."""
        if self._local is None:
            self.write_bytes(name, path.read_bytes())
            path.unlink()
            return
        final = self._local / name
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)

    def read_bytes(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is none."""
        try:
            if self._local is None:
                return bytes(self._fs.cat_file(f"{self._base}/{name}"))
            return (self._local / name).read_bytes()
        except FileNotFoundError:
            return None

    def read_json(self, name: str) -> Any:
        """Return the value of a JSON file, or None if there is none or it is damaged."""
        content = self.read_bytes(name)
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            return None

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        return bool(self._fs.exists(f"{self._base}/{name}")) if self._local is None else (self._local / name).exists()

    def names(self, folder: str) -> set[str]:
        """Return the names of the files directly in a folder of the root, without the folder; hidden ones left out."""
        try:
            if self._local is None:
                found = (path.rsplit("/", 1)[-1] for path in self._fs.ls(f"{self._base}/{folder}", detail=False))
            else:
                found = (entry.name for entry in os.scandir(self._local / folder))
            return {name for name in found if not name.startswith(".")}
        except FileNotFoundError:
            return set()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self._local is None:
            if self.exists(name):
                self._fs.rm_file(f"{self._base}/{name}")
        else:
            (self._local / name).unlink(missing_ok=True)

    def fetch(self, name: str) -> Path:
        """Return a local path of a file: the file itself, or a copy of a remote one.

        Raises:
            FileNotFoundError: If there is none.
        """
        if self._local is not None:
            return self._local / name
        copy = self.folder / name
        if not copy.exists():
            content = self.read_bytes(name)
            if content is None:
                raise FileNotFoundError(f"{self.root}/{name}")
            WorkStore(self.folder).write_bytes(name, content)
        return copy
