"""Ask again after failures that pass: for clients whose own retries ignore what the server asks for.

Waits like the `openai` package: as long as the server asks, up to two minutes; else from half a second, doubling up to
eight, shortened by up to a quarter at random so that many clients do not come back at once.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["RETRIED_STATUSES", "Failure", "call_with_retries"]

T = TypeVar("T")

RETRIED_STATUSES = frozenset({408, 409, 429, *range(500, 600)})
"""Statuses that may pass: timeout, conflict, too many requests, errors of the server."""

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 8.0
_LONGEST_RETRY_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Failure:
    """What an exception says about asking again."""

    may_pass: bool
    """Whether asking again can help."""

    retry_after_seconds: float | None = None
    """When the server wants to be asked again, if it says so."""


def call_with_retries(
    call: Callable[[], T],
    classify: Callable[[Exception], Failure | None],
    *,
    max_retries: int,
    before_retry: Callable[[], None] | None = None,
) -> T:
    """Return what a call returns, asking again after failures that may pass.

    Args:
        call: Does it once.
        classify: Tells about an exception; None for one that is no failure of the endpoint.
        max_retries: Attempts after the first.
        before_retry: Called after the wait and before each further attempt.

    Raises:
        Exception: The last failure, or one that does not pass.
    """
    for attempt in range(max_retries + 1):
        try:
            return call()
        except Exception as error:
            failure = classify(error)
            if failure is None or not failure.may_pass or attempt == max_retries:
                raise
            if (failure.retry_after_seconds or 0.0) > _LONGEST_RETRY_AFTER_SECONDS:
                raise
        time.sleep(failure.retry_after_seconds or _delay_seconds(attempt))
        if before_retry is not None:
            before_retry()
    raise AssertionError("unreachable")


def _delay_seconds(attempt: int) -> float:
    return min(_FIRST_DELAY_SECONDS * 2**attempt, _LONGEST_DELAY_SECONDS) * (1 - 0.25 * random.random())
