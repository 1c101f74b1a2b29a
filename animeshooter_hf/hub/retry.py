"""Requests to the Hub that are made again when they may pass later, and one clear sentence when they may not.

Made again: 408, 409, 412, 423, 425, 429, every 5xx but 501, 505 and 507, connections that break or time out. The waits
grow exponentially with jitter ("full jitter", M. Brooker 2015, upper half only); `Retry-After` and the Hub's own
`ratelimit` header are obeyed. What the Hub refuses for good (no token, no permission, no such repository, no room)
becomes an `InputError`.
"""

import errno
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from animeshooter_hf.errors import InputError

__all__ = ["Conflict", "HubRefusedError", "HubUnreachableError", "Retrier", "UploadSettings", "status_of"]

T = TypeVar("T")

_MAY_PASS = frozenset({408, 409, 412, 423, 425, 429})
_NEVER_PASSES = frozenset({501, 505, 507})
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_XET_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})\b")
_XET_MAY_PASS = re.compile(r"network|connect|timed? ?out|reset|temporar", re.IGNORECASE)


class HubRefusedError(InputError):
    """The Hub will not do this, however often it is asked."""


class HubUnreachableError(InputError):
    """The Hub did not answer well, however often it was asked; a later run takes up where this one stopped."""


class Conflict(Exception):  # noqa: N818 - not an error: somebody else was faster
    """The branch has moved since its head was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadSettings:
    """How an upload goes about it; all are our choice."""

    batch_files: int = 50
    """Files that are uploaded before the next ones begin."""

    batch_bytes: int = 1 << 30
    """Bytes that are uploaded before the next ones begin; a larger file goes alone."""

    files_per_commit: int = 10_000
    """Operations in one commit. The Hub allows 25,000; with more, additions go into commits of their own before it."""

    num_threads: int = 5
    """Objects that are uploaded at the same time by the plain LFS protocol; huggingface_hub's own default."""

    max_attempts: int = 8
    """Attempts at one request before giving up."""

    max_conflicts: int = 50
    """How often a commit is made anew because somebody else was faster."""

    first_wait_seconds: float = 1.0
    """Wait after the first failure; it doubles with every further one."""

    max_wait_seconds: float = 60.0
    """Longest wait of our own; one that the Hub asks for may be longer."""

    max_retry_after_seconds: float = 3600.0
    """Longest wait that the Hub may ask for; its windows are five minutes long."""

    def __post_init__(self) -> None:
        for name in ("batch_files", "batch_bytes", "files_per_commit", "num_threads", "max_attempts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")


class Retrier:
    """Makes requests, again if need be, and counts how often it had to."""

    def __init__(
        self,
        repo: str,
        settings: UploadSettings,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.repo = repo
        self.settings = settings
        self.num_retries = 0
        self._sleep = sleep
        self._chance = chance

    def __call__(self, request: Callable[[], T]) -> T:
        """Return what a request returns, at last.

        Raises:
            HubRefusedError: If the Hub refuses for good.
            HubUnreachableError: If it does not answer well after all attempts.
        """
        attempt = 0
        while True:
            try:
                return request()
            except Exception as error:
                attempt += 1
                self.wait_after(error, attempt)

    def wait_after(self, error: Exception, attempt: int) -> None:
        """Wait before the next attempt, or raise in a sentence why there will be none.

        An error that has nothing to do with the Hub is raised as it is.
        """
        if not may_pass(error):
            refused = _refusal(error, self.repo)
            if refused is None:
                raise error
            raise refused from error
        asked = _asked_wait(error)
        if attempt >= self.settings.max_attempts or (asked or 0) > self.settings.max_retry_after_seconds:
            raise HubUnreachableError(
                f"The Hub did not take it after {attempt} attempts ({_reason(error)}). "
                "Run it again later: what has arrived is not sent again."
            ) from error
        self.num_retries += 1
        self._sleep(self._wait(attempt) if asked is None else asked + self._wait(1))

    def wait_after_conflict(self, number: int) -> None:
        """Wait until the other writer is likely done.

        Raises:
            HubUnreachableError: If somebody else was faster too often.
        """
        if number > self.settings.max_conflicts:
            raise HubUnreachableError(f"Others were faster with {self.repo} {number} times; run it again later.")
        self.num_retries += 1
        self._sleep(self._wait(min(number, 5)))

    def _wait(self, attempt: int) -> float:
        longest = min(self.settings.first_wait_seconds * 2 ** (attempt - 1), self.settings.max_wait_seconds)
        return longest * (0.5 + 0.5 * self._chance())


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, if there is one; hf_xet says it in its message only."""
    for one in _causes(error):
        response: Any = getattr(one, "response", None)
        if response is not None:
            return int(response.status_code)
        said = _XET_STATUS.search(str(one))
        if said:
            return int(said[1])
    return None


def may_pass(error: BaseException) -> bool:
    """Return whether the same request may pass later."""
    import httpx2
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = status_of(error)
    if status is not None:
        return status in _MAY_PASS or (status >= 500 and status not in _NEVER_PASSES)
    if any(isinstance(one, OfflineModeIsEnabled) or _is_no_room(one) for one in _causes(error)):
        return False
    if any(isinstance(one, httpx2.TransportError | ConnectionError | TimeoutError) for one in _causes(error)):
        return True
    return isinstance(error, RuntimeError | OSError) and bool(_XET_MAY_PASS.search(str(error)))


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return an error and what caused it, outermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found


def _is_no_room(error: BaseException) -> bool:
    """Return whether a disk is full; hf_xet says so in its message only."""
    said = _OS_ERROR.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(said[1]) if said else None
    return number in _NO_ROOM


def _headers(error: BaseException) -> Any:
    for one in _causes(error):
        response: Any = getattr(one, "response", None)
        if response is not None:
            return response.headers
    return {}


def _asked_wait(error: BaseException) -> float | None:
    """Return how many seconds the Hub asked to wait, if it did."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    headers = _headers(error)
    value = headers.get("Retry-After")
    if value and value.strip().isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit and limit.remaining == 0 else None


def _reason(error: BaseException) -> str:
    status = status_of(error)
    if status is not None:
        return f"HTTP {status}"
    last = _causes(error)[-1]
    return str(last).splitlines()[0][:200] if str(last) else type(last).__name__


def _refusal(error: BaseException, repo: str) -> InputError | None:
    """Return the sentence for an error that will not pass, or None if it is not the Hub's."""
    import httpx2
    from huggingface_hub import errors

    causes = _causes(error)
    status = status_of(error)
    if any(isinstance(one, errors.OfflineModeIsEnabled) for one in causes):
        return HubRefusedError("The Hub cannot be asked while HF_HUB_OFFLINE is set.")
    if any(map(_is_no_room, causes)):
        return HubRefusedError(f"There is no room left on this machine's disk: {_reason(error)}.")
    if status == 507:
        return HubRefusedError(f"The Hub has no room left for {repo} (HTTP 507).")
    if isinstance(error, errors.GatedRepoError):
        return HubRefusedError(f"{repo} is gated, and this token has not been let in; ask for access on its page.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubRefusedError(f"There is no {repo} on the Hub, or this token may not see it.")
    if isinstance(error, errors.RevisionNotFoundError | errors.EntryNotFoundError):
        return HubRefusedError(f"{repo} does not have it: {_reason_line(error)}")
    if status == 401:
        return HubRefusedError("The Hub does not know this token; run `hf auth login` or set HF_TOKEN.")
    if status == 403:
        return HubRefusedError(f"This token may not write to {repo}; it needs the role 'write' there.")
    if isinstance(error, errors.HFValidationError):
        return HubRefusedError(f"{str(error).rstrip('.')}.")
    if status is not None or isinstance(error, httpx2.HTTPError):
        return HubRefusedError(f"The Hub refused it ({_reason(error)}): {_reason_line(error)}")
    return None


def _reason_line(error: BaseException) -> str:
    """Return what the Hub said, on one line."""
    said = getattr(error, "server_message", None) or str(error)
    return " ".join(said.split())[:300]
