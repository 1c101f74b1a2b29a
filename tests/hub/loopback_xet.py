"""Xet's part of the Hub on loopback: objects in a `local://` store, which hf_xet itself writes and reads."""

import struct
import threading
from pathlib import Path

__all__ = ["XetStore"]


class XetStore:
    """Folders that clients write to through `local://`, one for each repository: hf_xet locks the one it writes to.

    What they wrote is found by SHA-256.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pairs: dict[tuple[str, str], str] = {}
        self._read: set[Path] = set()
        self._lock = threading.Lock()

    def address(self, repo: str) -> str:
        """Return what hf_xet is told about a repository."""
        (self.folder / repo).mkdir(parents=True, exist_ok=True)
        return f"local://{self.folder / repo}"

    def hash_of(self, sha256: str, repo: str) -> str | None:
        """Return xet's hash of an object, from the shards that hf_xet has written for a repository."""
        with self._lock:
            if (repo, sha256) not in self._pairs:
                for shard in sorted(set(self._shards(repo)) - self._read):
                    self._pairs |= {(repo, known): own for known, own in _pairs(shard.read_bytes())}
                    self._read.add(shard)
            return self._pairs.get((repo, sha256))

    def stored_bytes(self) -> int:
        """Return how many bytes of chunks are stored."""
        found = self.folder.glob("*/*/xet/xorbs/**/*")
        return sum(path.stat().st_size for path in found if path.suffix != ".mdb" and path.is_file())

    def restore(self, sha256: str, repo: str, size: int, into: Path) -> None:
        """Write the raw bytes of an object to a file, complete or not at all."""
        import hf_xet

        found = self.hash_of(sha256, repo)
        assert found is not None, f"{sha256} is not in the store"
        with self._lock:
            if into.exists():
                return
            partial = into.with_name(f".{into.name}.xet")
            with hf_xet.XetSession().new_file_download_group(endpoint=self.address(repo), token="t") as group:
                group.start_download_file(hf_xet.XetFileInfo(found, size), str(partial))
            partial.replace(into)

    def _shards(self, repo: str) -> list[Path]:
        return list((self.folder / repo / "xet" / "xorbs" / "shards").glob("*.mdb"))


def _pairs(data: bytes) -> list[tuple[str, str]]:
    """Return the (SHA-256, xet hash) pairs of a shard file: 48-byte entries after a 48-byte header."""
    found: list[tuple[str, str]] = []
    at = 48
    while at + 48 <= len(data) and data[at : at + 32] != b"\xff" * 32:
        own = data[at : at + 32]
        flags, entries = struct.unpack("<II", data[at + 32 : at + 40])
        at += 48 * (1 + entries + (entries if flags >> 31 else 0))
        if flags >> 30 & 1:
            paired = data[at : at + 32]
            at += 48
            found += [(paired.hex(), _words(own)), (_words(paired), _words(own))]
    return found


def _words(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))
