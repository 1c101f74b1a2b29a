"""What a shot or a picture is, by content: the SHA-256 of its file, its bytes or its pixels.

Hashing a file again is spared where its path, size, time of change and inode are those of a file hashed before, unless
it had changed less than two seconds before it was hashed: a clock that ticks coarsely could hide a second change.
"""

import hashlib
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animeshooter_hf.eval.story_prediction import Picture, ShotSource

__all__ = ["Content", "ContentHasher", "FileStamp", "combined_key"]

_SETTLED_NS = 2_000_000_000
"""A file that changed later than this before its hashing is hashed again next time."""

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes when a file does."""

    size: int
    """Bytes."""

    mtime_ns: int
    """Time of the last change."""

    inode: int
    """Number of the file in its file system."""

    @classmethod
    def of(cls, path: Path) -> "FileStamp | None":
        """Return a file's stamp, None if there is no such file."""
        try:
            stat = path.stat()
        except OSError:
            return None
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass(frozen=True, slots=True)
class Content:
    """What a medium held when it was hashed."""

    sha256: str
    """Hash, or "" if the file cannot be read."""

    path: Path | None = None
    """Where it stands, if it is a file."""

    stamp: FileStamp | None = None
    """The file as it was hashed."""

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was hashed."""
        return self.path is None or (self.stamp is not None and FileStamp.of(self.path) == self.stamp)


class ContentHasher:
    """Hashes media, and remembers files."""

    def __init__(self, memory: MutableMapping[str, tuple[FileStamp, str]] | None = None) -> None:
        """Take a memory from path to stamp and hash; without one it lasts as long as this object."""
        self._memory = {} if memory is None else memory

    def hash(self, source: ShotSource | Picture) -> Content:
        """Return what a medium holds."""
        if isinstance(source, bytes):
            return Content(hashlib.sha256(source).hexdigest())
        if isinstance(source, np.ndarray):
            digest = hashlib.sha256(f"{source.dtype} {source.shape} ".encode())
            digest.update(np.ascontiguousarray(source).data)
            return Content(digest.hexdigest())
        return self._hash_file(Path(source))

    def _hash_file(self, path: Path) -> Content:
        name = str(path.absolute())
        stamp = FileStamp.of(path)
        if stamp is None:
            return Content("", path)
        known = self._memory.get(name)
        if known is not None and known[0] == stamp:
            return Content(known[1], path, stamp)
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        except OSError:
            return Content("", path)
        if FileStamp.of(path) == stamp and time.time_ns() - stamp.mtime_ns > _SETTLED_NS:
            self._memory[name] = (stamp, digest.hexdigest())
        return Content(digest.hexdigest(), path, stamp)


def combined_key(parts: Mapping[str, str]) -> str:
    """Return one hash of several named texts."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()
