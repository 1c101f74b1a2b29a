"""Keep what was taken from shots and references on disk, under the hash of the file and of what was asked.

A key is made of contents and signatures (`engine.py`), so an entry is never stale: what changed has another key. The
cache is also how a run that was killed goes on. It is one SQLite file: several runs may share it, a killed one leaves
it whole, and an entry that does not match its checksum counts as absent. A file that is damaged altogether is thrown
away with a warning, and one that can no longer be written is left alone: a cache never stops a run.
"""

import json
import logging
import os
import sqlite3
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.content_hash import FileStamp

__all__ = ["CacheEntry", "EmbeddingCache", "default_cache_folder"]

_log = logging.getLogger(__name__)

_FILE = "embeddings-1.sqlite3"
"""The number is that of the form of keys and entries."""

_SIZE_LIMIT = 8 << 30
"""Bytes of entries; the least recently used go first. Our choice: about 150,000 shots of the classical backend."""

_FLUSH_ENTRIES, _FLUSH_SECONDS = 64, 1.0
"""Entries are written when so many wait, or the last were written so long ago: what a killed run may lose."""

_TRIM_BYTES = 256 << 20
"""The size is looked at after so many bytes of new entries."""

_FRESH_SECONDS = 3600
"""An entry used more recently is not noted as used again."""

_BUSY_MS = 30_000

_LARGEST_QUERY = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, used INTEGER, size INTEGER, checksum INTEGER, payload BLOB);
CREATE INDEX IF NOT EXISTS entries_by_use ON entries (used, size);
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, sha256 TEXT);
"""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What is kept under one key."""

    facts: Mapping[str, Any]
    """A few plain values."""

    arrays: Mapping[str, NDArray[Any]]
    """Numbers; they may be read-only."""


def default_cache_folder() -> Path:
    """Return where `animeshooter evaluate` keeps its cache.

    `$ANIMESHOOTER_CACHE/eval` if that variable is set, otherwise `animeshooter/eval` in `$XDG_CACHE_HOME`, which is
    `~/.cache` unless it is set.
    """
    own = os.environ.get("ANIMESHOOTER_CACHE")
    if own:
        return Path(own).expanduser() / "eval"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "animeshooter" / "eval"


class EmbeddingCache:
    """A cache in a folder. Use it as a context manager, from one thread."""

    def __init__(self, folder: str | Path, *, size_limit: int = _SIZE_LIMIT) -> None:
        """Open the cache of a folder, made if it is not there.

        Args:
            folder: Where it stands.
            size_limit: Bytes that its entries may take.

        Raises:
            InputError: If the folder cannot be made or written.
        """
        self.folder = Path(folder)
        self._limit = size_limit
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The cache {self.folder} cannot be made: {error.strerror}.") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise InputError(f"The cache {self.folder} cannot be written. Name another folder, or go without one.")
        self._waiting: list[tuple[str, int, int, int, bytes]] = []
        self._touched: list[str] = []
        self._flushed = time.monotonic()
        self._untrimmed = 0
        self._database: sqlite3.Connection | None = None
        self._open()
        self.files: MutableMapping[str, tuple[FileStamp, str]] = _FileMemory(self)
        """Path -> stamp and hash of a file."""
        self.numbers: MutableMapping[str, float] = _Numbers(self)
        """Key -> one number."""

    def __enter__(self) -> "EmbeddingCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, keys: Sequence[str]) -> dict[str, CacheEntry]:
        """Return the entries that are there and whole."""
        found: dict[str, CacheEntry] = {}
        for start in range(0, len(keys), _LARGEST_QUERY):
            part = keys[start : start + _LARGEST_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, used, checksum, payload FROM entries WHERE key IN ({marks})"
            for key, used, checksum, payload in self._query(query, part):
                entry = _unpack(payload) if zlib.crc32(payload) == checksum else None
                if entry is None:
                    _log.warning("An entry of the cache %s is damaged and is made anew.", self.folder)
                    continue
                found[key] = entry
                if time.time() - used > _FRESH_SECONDS:
                    self._touched.append(key)
        return found

    def put(self, key: str, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep an entry; it is on disk within about a second of further entries, or when the cache is closed."""
        payload = _pack(facts, arrays)
        self._waiting.append((key, int(time.time()), len(payload), zlib.crc32(payload), payload))
        if len(self._waiting) >= _FLUSH_ENTRIES or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and remove what has been unused for longest if there is too much."""
        waiting, self._waiting = self._waiting, []
        self._flushed = time.monotonic()
        if waiting:
            self._write("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", waiting)
            self._untrimmed += sum(size for _, _, size, _, _ in waiting)
        if self._untrimmed > min(_TRIM_BYTES, self._limit // 8):
            self._trim()

    @property
    def size(self) -> int:
        """Bytes of all entries that are written."""
        return int(next(iter(self._query("SELECT COALESCE(SUM(size), 0) FROM entries", ())), (0,))[0])

    def clear(self) -> None:
        """Remove all entries."""
        self._waiting.clear()
        self._drop()
        self._open()

    def close(self) -> None:
        """Write what waits and let go of the file."""
        self.flush()
        now = int(time.time())
        if self._touched:
            self._write("UPDATE entries SET used = ? WHERE key = ?", [(now, key) for key in self._touched])
            self._touched.clear()
        if self._untrimmed:
            self._trim()
        if self._database is not None:
            self._database.close()
            self._database = None

    def _trim(self) -> None:
        self._untrimmed = 0
        excess = self.size - self._limit
        if excess <= 0:
            return
        excess += self._limit // 10
        gone = []
        for key, size in self._query("SELECT key, size FROM entries ORDER BY used, key", ()):
            if excess <= 0:
                break
            gone.append((key,))
            excess -= size
        self._write("DELETE FROM entries WHERE key = ?", gone)
        self._write("PRAGMA incremental_vacuum", [()])

    def _open(self) -> None:
        for _ in range(2):
            try:
                self._database = sqlite3.connect(self.folder / _FILE, isolation_level=None)
                self._database.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
                self._database.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.executescript(_TABLES)
                return
            except sqlite3.Error as error:
                self._give_up(error)
                if self._database is None and not _is_damage(error):
                    return

    def _query(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._database is None:
            return []
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._recover(error)
            return []

    def _write(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if self._database is None or not rows:
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany(statement, rows) if rows != [()] else self._database.execute(statement)
            except sqlite3.Error:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._recover(error)

    def _recover(self, error: sqlite3.Error) -> None:
        self._give_up(error)
        if _is_damage(error):
            self._open()

    def _give_up(self, error: sqlite3.Error) -> None:
        """Let go of the file; throw it away if it is damaged."""
        if _is_damage(error):
            _log.warning("The cache %s is damaged (%s) and starts anew.", self.folder, error)
            self._drop()
            return
        _log.warning("The cache %s is not used any more: %s.", self.folder, error)
        if self._database is not None:
            self._database.close()
        self._database = None

    def _drop(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = None
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"{_FILE}{suffix}").unlink(missing_ok=True)


class _FileMemory(MutableMapping[str, "tuple[FileStamp, str]"]):
    """Hashes of files, kept with the entries; all are read at once, since a lookup each would cost more."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        rows = cache._query("SELECT path, size, mtime_ns, inode, sha256 FROM files", ())
        self._known = {path: (FileStamp(*stamp), sha256) for path, *stamp, sha256 in rows}
        self._new: list[tuple[Any, ...]] = []

    def __getitem__(self, path: str) -> tuple[FileStamp, str]:
        return self._known[path]

    def __setitem__(self, path: str, value: tuple[FileStamp, str]) -> None:
        self._known[path] = value
        stamp, sha256 = value
        row = (path, stamp.size, stamp.mtime_ns, stamp.inode, sha256)
        self._cache._write("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", [row])

    def __delitem__(self, path: str) -> None:
        del self._known[path]
        self._cache._write("DELETE FROM files WHERE path = ?", [(path,)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


class _Numbers(MutableMapping[str, float]):
    """Single numbers, kept as entries without arrays."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        self._known: dict[str, float] = {}

    def __contains__(self, key: object) -> bool:
        if key not in self._known and isinstance(key, str):
            self._known |= {name: float(entry.facts["number"]) for name, entry in self._cache.get([key]).items()}
        return key in self._known

    def __getitem__(self, key: str) -> float:
        if key not in self:
            raise KeyError(key)
        return self._known[key]

    def __setitem__(self, key: str, value: float) -> None:
        self._known[key] = value
        self._cache.put(key, {"number": value}, {})

    def __delitem__(self, key: str) -> None:
        raise TypeError("Numbers are only added; empty the cache as a whole.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _is_damage(error: sqlite3.Error) -> bool:
    """Return whether the file itself is broken, unlike a full disk or a lock that is held too long."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.OperationalError | sqlite3.ProgrammingError | sqlite3.InterfaceError
    )


def _pack(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    head = {
        "facts": dict(facts),
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in whole.items()],
    }
    text = json.dumps(head).encode()
    text += b" " * (-(4 + len(text)) % 8)  # numbers begin where the processor likes them
    return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in whole.values())])


def _unpack(payload: bytes) -> CacheEntry | None:
    """Return an entry, None if its bytes are of another form."""
    try:
        (length,) = struct.unpack_from("<I", payload)
        head = json.loads(payload[4 : 4 + length])
        offset = 4 + length
        arrays = {}
        for name, kind, shape in head["arrays"]:
            dtype = np.dtype(kind)
            count = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(payload, dtype, count, offset).reshape(shape)
            offset += count * dtype.itemsize
        return CacheEntry(head["facts"], arrays)
    except (struct.error, ValueError, KeyError, TypeError):
        return None
