"""What a repository on the Hub holds, what it shall hold, and the difference.

Files are compared by content and never by date: files in Git LFS or xet by SHA-256, small ones in Git by Git's own hash
of a blob. A local file is hashed in pieces, at most once while an upload runs.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from animeshooter_hf.errors import InputError

__all__ = [
    "Change",
    "ContentHashes",
    "MakeChange",
    "RemoteFile",
    "RemoteHead",
    "UploadPlan",
    "make_plan",
    "next_tag",
]

GIT_BYTES = 10 << 20
"""Files from this size on are never stored in Git itself (rule of the Hub), so their Git hash is not needed."""

_PIECE_BYTES = 1 << 20
_VERSION = re.compile(r"v(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a commit on the Hub, or what will be one."""

    path: str
    """Relative to the repository."""

    size: int
    """Bytes."""

    oid: str
    """Git's hash of the blob; of the pointer for a file in LFS."""

    sha256: str | None = None
    """Hash of the content of a file in LFS; None for one in Git."""

    @property
    def content(self) -> tuple[int, str]:
        """What is equal for equal content."""
        return self.size, self.sha256 or self.oid


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """A revision of a repository."""

    commit: str | None
    """ID of the commit; None if the revision does not exist yet."""

    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    """Path -> file."""


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be otherwise than at a head."""

    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    """Path in the repository -> its new content; what is there already is not sent."""

    deleted: frozenset[str] = frozenset()
    """Paths to remove; what is not there is not an error."""

    def __post_init__(self) -> None:
        both = sorted(self.deleted & set(self.files))
        if both:
            raise InputError(f"{both[0]} cannot be written and deleted in one change.")
        for path in self.files:
            if not path or path.startswith(("/", "./")) or path.endswith("/") or ".." in path.split("/"):
                raise InputError(f"{path!r} is no path inside a repository.")


MakeChange = Callable[[RemoteHead], Change]
"""Makes the change for a head; called again when somebody else was faster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPlan:
    """The difference between a change and a head: (path, bytes) each, sorted."""

    new: tuple[tuple[str, int], ...]
    """Files that are not there yet."""

    changed: tuple[tuple[str, int], ...]
    """Files that are there with another content."""

    unchanged: tuple[tuple[str, int], ...]
    """Files that are there already."""

    deleted: tuple[tuple[str, int], ...]
    """Files that will be removed."""

    wished: Mapping[str, tuple[int, frozenset[str]]] = field(repr=False, default_factory=dict)
    """Path -> (bytes, hashes under which the content may be known) of everything there shall be afterwards."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the files to be sent, if the Hub's store has none of them."""
        return sum(size for _, size in (*self.new, *self.changed))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.new or self.changed or self.deleted)

    def differs(self, files: Mapping[str, RemoteFile]) -> list[str]:
        """Return the paths at which these files are not what is wished, sorted."""
        wrong = {path for path in self.wished if path not in files or not self._is(files[path])}
        return sorted(wrong | (set(files) - set(self.wished)))

    def _is(self, file: RemoteFile) -> bool:
        size, hashes = self.wished[file.path]
        return file.size == size and file.content[1] in hashes


class ContentHashes:
    """Hashes of local files, each file read once; for the time of one upload only."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], tuple[str, str | None]] = {}

    def of(self, source: Path | bytes) -> tuple[int, frozenset[str]]:
        """Return the size and the hashes of a content: SHA-256, and Git's hash if it is small enough for Git.

        Raises:
            InputError: If the file cannot be read.
        """
        if isinstance(source, bytes):
            return len(source), frozenset(_digests(len(source), [source]))
        try:
            status = source.stat()
            key = str(source), status.st_size, status.st_mtime_ns
            if key not in self._known:
                sha256, *git = _digests(status.st_size, _pieces(source))
                self._known[key] = sha256, git[0] if git else None
        except OSError as error:
            raise InputError(f"{source} cannot be read: {error.strerror or error}.") from error
        return status.st_size, frozenset(one for one in self._known[key] if one)

    def sha256(self, source: Path) -> bytes | None:
        """Return the SHA-256 of a file if it is known already."""
        status = source.stat()
        known = self._known.get((str(source), status.st_size, status.st_mtime_ns))
        return bytes.fromhex(known[0]) if known else None


def make_plan(change: Change, head: RemoteHead, hashes: ContentHashes | None = None) -> UploadPlan:
    """Return what has to be done at a head to make a change.

    Raises:
        InputError: If a local file cannot be read.
    """
    hashes = hashes or ContentHashes()
    new, changed, unchanged = [], [], []
    wished = {path: (file.size, frozenset({file.content[1]})) for path, file in head.files.items()}
    for path, source in sorted(change.files.items()):
        size, known_as = hashes.of(source)
        there = head.files.get(path)
        if there is None:
            new.append((path, size))
        elif there.size == size and there.content[1] in known_as:
            unchanged.append((path, size))
        else:
            changed.append((path, size))
        wished[path] = size, known_as
    deleted = [(path, head.files[path].size) for path in sorted(change.deleted) if path in head.files]
    for path, _ in deleted:
        del wished[path]
    return UploadPlan(
        new=tuple(new), changed=tuple(changed), unchanged=tuple(unchanged), deleted=tuple(deleted), wished=wished
    )


def next_tag(tags: Iterable[str]) -> str:
    """Return a free version above all that there are.

    Example:
        >>> next_tag([])
        'v1.0.0'
        >>> next_tag(["v1.0.0", "v1.9.2", "old"])
        'v1.10.0'
    """
    found = [_VERSION.fullmatch(tag) for tag in tags]
    versions = [(int(one[1]), int(one[2])) for one in found if one]
    major, minor = max(versions, default=(1, -1))
    return f"v{major}.{minor + 1}.0"


def _pieces(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _digests(size: int, pieces: Iterable[bytes]) -> list[str]:
    """Return the SHA-256 and, for a small content, Git's SHA-1 of the blob."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False) if size <= GIT_BYTES else None
    for piece in pieces:
        sha256.update(piece)
        if git:
            git.update(piece)
    return [sha256.hexdigest(), *([git.hexdigest()] if git else [])]
