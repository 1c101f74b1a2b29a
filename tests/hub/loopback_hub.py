"""A small Hub on loopback, test equipment: the part of the HTTP API that the real, unmodified clients use.

It stores blobs by hash in a folder and commits in memory. Files go up by Git LFS "basic" transfer, or through xet with
a `local://` store that hf_xet itself reads and writes. Faults can be ordered for the next requests of a kind, or by
seed. Every request is logged with the bytes it carried, so that a test can count what was sent twice.

Tokens: none is a stranger; "hf_read..." and "hf_guest..." read what is public; "hf_bad..." is known to nobody; any
other may do everything. Source of the endpoints: huggingface_hub 2.4 and datasets 5.2 as installed.
"""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path

from loopback_faults import Fault, Faults, Pause, RandomFaults
from loopback_http import Handler
from loopback_state import Repository, StoredFile
from loopback_xet import XetStore

__all__ = ["LoopbackHub", "Repository", "StoredFile", "loopback_hub"]


@dataclass(slots=True)
class LoopbackHub:
    """The server's state, and the hooks of the tests."""

    store: Path
    url: str = ""
    repositories: dict[tuple[str, str], Repository] = field(default_factory=dict)
    """(type, name) -> repository."""

    commit_faults: list[int] = field(default_factory=list)
    """Status codes for the next commits, in order."""

    cut_uploads: int = 0
    """How many of the next uploads are cut in the middle."""

    room_bytes: int | None = None
    """How many bytes more can be stored; None is without end."""

    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path with query, bytes received), in order of arrival."""

    received: Counter[str] = field(default_factory=Counter)
    """Object -> bytes of it that were received, repeats and pieces included."""

    completed: list[str] = field(default_factory=list)
    """Objects whose upload was completed, in order."""

    bytes_sent: int = 0
    """Bytes of all answers."""

    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held while the state changes, never while a request waits."""

    _xet: XetStore | None = None

    @property
    def xet(self) -> XetStore:
        """The store of xet."""
        if self._xet is None:
            self._xet = XetStore(self.store / "xet")
        return self._xet

    def order(
        self,
        method: str,
        pattern: str,
        status: int,
        *,
        times: int = 1,
        retry_after: float | None = None,
        skip: int = 0,
    ) -> None:
        """Answer the next requests of a kind with a status."""
        self.faults.ordered.append(Fault(method, pattern, times, status, retry_after, skip=skip))

    def cut(self, method: str, pattern: str, when: str, *, times: int = 1, skip: int = 0) -> None:
        """Cut the connection of the next requests of a kind: "before", "during" or "after" they take effect."""
        self.faults.ordered.append(Fault(method, pattern, times, when=when, is_cut=True, skip=skip))

    def pause_at(self, method: str, pattern: str, when: str = "before", *, skip: int = 0) -> Pause:
        """Let the next request of a kind wait, and return what says that it does and lets it go on."""
        pause = Pause()
        self.faults.ordered.append(Fault(method, pattern, when=when, pause=pause, skip=skip))
        return pause

    def random_faults(self, seed: int, pattern: str = "", **options: object) -> RandomFaults:
        """Hit requests by seed."""
        made = RandomFaults(seed, pattern, **options)  # type: ignore[arg-type]
        self.faults.random.append(made)
        return made

    def clear_faults(self) -> None:
        """Let everything pass from now on."""
        self.faults.release_all()
        self.faults.ordered.clear()
        self.faults.random.clear()

    def uploads(self) -> list[str]:
        """Return the hashes of the objects that were uploaded, in order, repeats included."""
        return list(self.completed)

    def count(self, method: str, pattern: str) -> int:
        """Return how many requests contained a text in their path."""
        return sum(one == method and pattern in path for one, path, _ in self.requests)

    def blob(self, oid: str) -> Path:
        """Return where an object is stored."""
        return self.store / oid

    def has(self, oid: str, repo: str) -> bool:
        """Return whether an object has arrived for a repository, in whichever way."""
        return self.blob(oid).exists() or self.xet.hash_of(oid, repo) is not None

    def put(self, data: bytes, oid: str) -> None:
        """Store an object, complete or not at all."""
        partial = self.store / f".{oid}.{threading.get_ident()}"
        partial.write_bytes(data)
        partial.replace(self.blob(oid))

    def put_regular(self, data: bytes) -> StoredFile:
        """Store a file of Git's own."""
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        self.put(data, oid)
        return StoredFile(oid, len(data), False)

    def raw(self, stored: StoredFile, repo: str) -> Path:
        """Return a file that holds the bytes of a stored file, made from xet's chunks if need be."""
        path = self.blob(stored.oid)
        if not path.exists():
            self.xet.restore(stored.oid, repo, stored.size, path)
        return path


@contextmanager
def loopback_hub(store: Path) -> Iterator[LoopbackHub]:
    """Run a Hub on a free port of 127.0.0.1 for the time of the block."""
    store.mkdir(parents=True, exist_ok=True)
    hub = LoopbackHub(store)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.faults.release_all()
        server.shutdown()
        server.server_close()
        thread.join()
