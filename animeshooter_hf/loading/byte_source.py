"""Bytes of a file by position, from a disk or from afar, counted; and a cache of blocks that is bounded by bytes.

A local file is mapped into memory, so a slice of it costs nothing until it is looked at. A remote one is asked for
exactly the range that is wanted, nothing is read ahead behind our back.
"""

import io
import mmap
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from animeshooter_hf.errors import InputError

__all__ = ["Buffer", "ByteCache", "ByteSource", "LocalSource", "ReadCounter", "RemoteSource", "SourceFile"]

Buffer = bytes | memoryview
"""Bytes, copied or not."""


@dataclass(slots=True)
class ReadCounter:
    """How much was read; shared by all sources of a view."""

    num_reads: int = 0
    """Ranges asked for."""

    num_bytes: int = 0
    """Bytes in them."""

    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, num_bytes: int) -> None:
        """Count one range."""
        with self._lock:
            self.num_reads += 1
            self.num_bytes += num_bytes


class ByteSource(Protocol):
    """A file whose bytes can be read by position."""

    name: str
    """How a message names it."""

    size: int
    """Bytes."""

    is_remote: bool
    """Whether a read is a request over a network, so that several small ones cost more than a large one."""

    def read(self, start: int, size: int) -> Buffer:
        """Return a range; it must lie in the file."""

    def view(self, start: int, size: int) -> Buffer:
        """Return a range of which only a part will be looked at; a mapped file does not count it as read."""

    def count(self, num_bytes: int) -> None:
        """Count what was looked at in a `view`."""


class LocalSource:
    """A file on a disk, mapped into memory."""

    is_remote = False

    def __init__(self, path: str | Path, counter: ReadCounter) -> None:
        """Map the file.

        Raises:
            InputError: If it cannot be read.
        """
        self.name = str(path)
        self._counter = counter
        try:
            with Path(path).open("rb") as file:
                self._bytes = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
            raise InputError(f"{path} cannot be read.") from error
        self.size = len(self._bytes)

    def read(self, start: int, size: int) -> Buffer:
        """Return a range, not copied."""
        self._counter.add(size)
        return self._bytes[start : start + size]

    def view(self, start: int, size: int) -> Buffer:
        """Return a range, not copied and not counted."""
        return self._bytes[start : start + size]

    def count(self, num_bytes: int) -> None:
        """Count what was looked at in a `view`."""
        self._counter.add(num_bytes)


class RemoteSource:
    """A file of a file system of fsspec."""

    is_remote = True

    def __init__(self, file_system: Any, path: str, size: int, counter: ReadCounter) -> None:
        self.name, self.size = path, size
        self._file_system, self._counter = file_system, counter
        self._file: Any = None
        self._lock = threading.Lock()

    def read(self, start: int, size: int) -> Buffer:
        """Return a range.

        Raises:
            InputError: If it cannot be had.
        """
        try:
            with self._lock:
                if self._file is None:
                    self._file = self._file_system.open(self.name, "rb", cache_type="none")
                self._file.seek(start)
                data = bytes(self._file.read(size))
        except _read_errors() as error:
            raise InputError(f"{self.name} cannot be read: {error}.") from error
        if len(data) != size:
            raise InputError(f"{self.name} ends at {start + len(data)}, but its directory says {self.size} bytes.")
        self._counter.add(size)
        return data

    view = read

    def count(self, num_bytes: int) -> None:
        """Do nothing: a remote `view` is a read."""


def _read_errors() -> tuple[type[Exception], ...]:
    """Return what a read from afar raises: OSError, and the errors of the HTTP client if one is loaded."""
    client = sys.modules.get("httpx2") or sys.modules.get("httpx")
    return (OSError,) if client is None else (OSError, client.TransportError)


class SourceFile(io.RawIOBase):
    """A source as a file object, for pyarrow."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position and return it."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def read(self, size: int = -1) -> Any:
        """Return the next bytes."""
        left = max(0, self._source.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        data = self._source.read(self._at, size) if size else b""
        self._at += size
        return data


class ByteCache:
    """What was used last, up to so many bytes. Safe between threads, never pickled."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.num_bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """Return what is kept, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: Hashable, value: Any, num_bytes: int) -> None:
        """Keep something, and forget what was not used for longest; what is larger than the cache is not kept."""
        with self._lock:
            if key in self._kept:
                self.num_bytes -= self._kept.pop(key)[1]
            if num_bytes > self.max_bytes:
                return
            self._kept[key] = (value, num_bytes)
            self.num_bytes += num_bytes
            while self.num_bytes > self.max_bytes:
                self.num_bytes -= self._kept.popitem(last=False)[1][1]

    def get_or_make(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """Return what is kept, or make it and keep it."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value, size(value))
        return value
