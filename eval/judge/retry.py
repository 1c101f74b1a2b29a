"""Wait and ask again: failures that pass, and a limit on requests per minute. The clock is an argument.

Waits as long as the server asks, up to two minutes; else from half a second, doubling up to thirty, shortened by up to
a quarter at random so that many clients do not come back at once.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from animeshooter_hf.errors import InputError

__all__ = ["RETRIED_STATUSES", "Clock", "Failure", "RequestLimit", "call_with_retries"]

T = TypeVar("T")

RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
"""Statuses that may pass: timeout, conflict, too many requests, errors of the server."""

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_LONGEST_RETRY_AFTER_SECONDS = 120.0
_WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, and how it is spent."""

    now: Callable[[], float] = time.monotonic
    """Returns seconds from any start."""

    sleep: Callable[[float], None] = time.sleep
    """Returns after so many seconds."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a call, and whether asking again can help."""

    detail: str
    """One line."""

    may_pass: bool
    """Whether asking again can help."""

    retry_after_seconds: float | None = None
    """When the server wants to be asked again, if it says so."""


class RequestLimit:
    """Lets at most so many requests go per minute, over all threads; None is no limit.

    Raises:
        InputError: If the limit is below 1.
    """

    def __init__(self, per_minute: int | None, clock: Clock | None = None) -> None:
        if per_minute is not None and per_minute < 1:
            raise InputError(f"Requests per minute must be at least 1, got {per_minute}.")
        self._per_minute = per_minute
        self._clock = clock or Clock()
        self._sent: deque[float] = deque()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may go."""
        if self._per_minute is None:
            return
        with self._lock:
            now = self._clock.now()
            earliest = self._sent[-self._per_minute] + _WINDOW_SECONDS if len(self._sent) >= self._per_minute else now
            turn = max(now, earliest)
            self._sent.append(turn)
            while len(self._sent) > self._per_minute:
                self._sent.popleft()
        if turn > now:
            self._clock.sleep(turn - now)


def call_with_retries(
    call: Callable[[], T | Failure], *, max_retries: int, clock: Clock, before_call: Callable[[], None] | None = None
) -> T | Failure:
    """Return what a call returns, asking again after failures that may pass; the last failure if none did.

    Args:
        call: Does it once.
        max_retries: Attempts after the first.
        clock: Time.
        before_call: Called before each attempt, waits included.
    """
    for attempt in range(max_retries + 1):
        if before_call is not None:
            before_call()
        result = call()
        if not isinstance(result, Failure) or not result.may_pass or attempt == max_retries:
            return result
        wanted = result.retry_after_seconds
        if wanted is not None and wanted > _LONGEST_RETRY_AFTER_SECONDS:
            return result
        clock.sleep(_delay_seconds(attempt) if wanted is None else wanted)
    raise AssertionError("unreachable")


def _delay_seconds(attempt: int) -> float:
    return min(_FIRST_DELAY_SECONDS * 2.0**attempt, _LONGEST_DELAY_SECONDS) * (1 - 0.25 * random.random())
