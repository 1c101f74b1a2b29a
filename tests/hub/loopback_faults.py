"""Faults that a test can order from the Hub on loopback: refusals, cut connections, waits; by request or by seed."""

import random
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Fault", "Faults", "Pause", "RandomFaults"]

STATUSES = (409, 412, 429, 500, 503)


@dataclass(slots=True)
class Pause:
    """A request that waits; the test is told when it has come, and says how it goes on."""

    reached: threading.Event = field(default_factory=threading.Event)
    is_dropped: bool = False
    _released: threading.Event = field(default_factory=threading.Event)

    def wait_until_reached(self, seconds: float = 60) -> None:
        """Return as soon as a request waits here; fail if none comes."""
        assert self.reached.wait(seconds), "no request has come to the place where it should wait"

    def release(self) -> None:
        """Let the request go on as if nothing had been."""
        self._released.set()

    def drop(self) -> None:
        """Close the connection of the request, which goes no further."""
        self.is_dropped = True
        self._released.set()

    def hold(self) -> None:
        """Wait here (called by the server)."""
        self.reached.set()
        self._released.wait()


@dataclass(slots=True)
class Fault:
    """What happens to the next requests of a kind."""

    method: str
    """GET, PUT, ...; "*" for any."""

    pattern: str
    """Regular expression that the path with its query must contain."""

    times: int = 1
    status: int | None = None
    """An answer instead of what was asked for."""

    retry_after: float | None = None
    """Seconds, sent with the status."""

    when: str = "before"
    """Where the connection is cut or the request waits: "before" anything was done, "during" the transfer of the body,
    "after" it was done but before the answer."""

    is_cut: bool = False
    pause: Pause | None = None
    skip: int = 0
    """How many requests of the kind pass first."""

    def takes(self, method: str, path: str) -> bool:
        """Return whether this request is hit, and count it."""
        if self.times <= 0 or self.method not in ("*", method) or not re.search(self.pattern, path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass(slots=True)
class RandomFaults:
    """Faults by seed: the n-th request of a kind meets the same fate in every run."""

    seed: int
    pattern: str
    """Regular expression of the paths that are hit."""

    rate: float = 0.2
    """Share of the requests that are hit."""

    kinds: Sequence[int | str] = (*STATUSES, "before", "during", "after")
    """Status codes, and places where the connection is cut."""

    in_a_row: int = 2
    """How often the same request is hit at most before it passes once."""

    num_hit: int = 0
    _seen: dict[tuple[str, str], int] = field(default_factory=dict)
    _row: dict[tuple[str, str], int] = field(default_factory=dict)

    def draw(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request, or None."""
        if not re.search(self.pattern, path) or path.startswith("/api/repos/"):
            return None
        key = method, path.split("?")[0]
        number = self._seen[key] = self._seen.get(key, 0) + 1
        chance = random.Random(f"{self.seed} {key} {number}")
        if chance.random() >= self.rate or self._row.get(key, 0) >= self.in_a_row:
            self._row[key] = 0
            return None
        self._row[key] = self._row.get(key, 0) + 1
        self.num_hit += 1
        kind = chance.choice(list(self.kinds))
        if isinstance(kind, int):
            return Fault(method, "", status=kind, retry_after=0 if kind == 429 else None)
        return Fault(method, "", when=kind, is_cut=True)


@dataclass(slots=True)
class Faults:
    """All that is ordered."""

    ordered: list[Fault] = field(default_factory=list)
    random: list[RandomFaults] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str) -> Fault | None:
        """Return what happens to a request, or None."""
        with self._lock:
            for fault in self.ordered:
                if fault.takes(method, path):
                    return fault
            drawn = (by_seed.draw(method, path) for by_seed in self.random)
            return next((fault for fault in drawn if fault), None)

    def release_all(self) -> None:
        """Let nothing wait any longer."""
        for fault in self.ordered:
            if fault.pause:
                fault.pause.drop()
