"""Limits on calls: requests and tokens per minute, and calls in flight, over all threads and processes of a machine.

The state is files in one folder, locked by the kernel, so a killed process leaves nothing held:

    turn.lock       the waiting line: whoever is first holds it until there is room; the others sleep in the kernel
    slot-N.lock     one per call in flight
    window.json     the calls of the last minute, in its first line; guarded by window.lock

Only the first in line ever looks again after a nap, the others wait for the lock: nobody is busy waiting, and a large
question is not overtaken for ever by small ones.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.file_lock import locked, try_lock
from animeshooter_hf.dataset_builder.annotate.question import Answer, Model, Question, Usage
from animeshooter_hf.errors import InputError

__all__ = ["LimitedModel", "RateLimiter", "RateLimits"]

_NAP_SECONDS = 0.02
"""How often the first in line looks for a free slot."""

_LONGEST_NAP_SECONDS = 0.5
"""How often it looks whether the window has more room than it had (a call took fewer tokens than estimated)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimits:
    """What an endpoint allows. None is no limit."""

    requests: int | None = None
    """Requests per window, retries included."""

    tokens: int | None = None
    """Tokens per window, read and written; estimated before a call, exact after it."""

    in_flight: int | None = None
    """Calls at once."""

    window_seconds: float = 60.0
    """Length of the sliding window."""

    margin_seconds: float = 0.25
    """How much longer a call counts, since the server sees it a little after us."""

    def __post_init__(self) -> None:
        for name in ("requests", "tokens", "in_flight"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"The limit of {name} must be at least 1 or none, got {value}.")


@dataclass(slots=True)
class _Entry:
    """A call in the window."""

    number: int
    seconds: float
    tokens: int


class RateLimiter:
    """Lets calls pass as fast as the limits allow.

    Args:
        folder: Where the state is; limiters of the same folder share it. On a local disk.
        limits: What is allowed.
        clock: The time in seconds, the same for all who share the folder.
        sleep: Waits for so many seconds of that clock.
    """

    def __init__(
        self,
        folder: Path,
        limits: RateLimits,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._sleep = sleep

    @contextmanager
    def call(self, tokens: int) -> Iterator[Callable[[int], None]]:
        """Wait for room, and hold a slot for the length of the block.

        Args:
            tokens: The estimate. One that is larger than the whole limit passes when the window is empty.

        Yields:
            A function to tell how many tokens it took in truth.
        """
        with ExitStack() as held:
            with locked(self._folder / "turn.lock"):
                self._take_slot(held)
                number = self._wait_for_room(tokens)
            yield lambda taken: self._correct(number, taken)

    def wait_for_retry(self) -> None:
        """Wait until one more request fits; for the further attempts of a call that has its slot already.

        It does not stand in line: the first in line may be waiting for this very slot.
        """
        self._wait_for_room(0)

    def _take_slot(self, held: ExitStack) -> None:
        while self._limits.in_flight is not None:
            for number in range(self._limits.in_flight):
                with ExitStack() as attempt:
                    if attempt.enter_context(try_lock(self._folder / f"slot-{number}.lock")):
                        held.push(attempt.pop_all())
                        return
            self._sleep(_NAP_SECONDS)

    def _wait_for_room(self, tokens: int) -> int:
        """Enter a call in the window as soon as there is room, and return its number."""
        while True:
            with locked(self._folder / "window.lock"):
                now = self._clock()
                entries, next_number = self._read(now)
                wait_seconds = self._wait_seconds(entries, tokens, now)
                if wait_seconds <= 0:
                    self._write([*entries, _Entry(next_number, now, tokens)], next_number + 1)
                    return next_number
            self._sleep(min(wait_seconds, _LONGEST_NAP_SECONDS))

    def _wait_seconds(self, entries: list[_Entry], tokens: int, now: float) -> float:
        """Return how long it takes until enough old calls have left the window."""
        until = now
        num_requests, sum_tokens = len(entries) + 1, sum(entry.tokens for entry in entries) + tokens
        for entry in entries:
            if self._fits(num_requests, sum_tokens):
                break
            num_requests, sum_tokens = num_requests - 1, sum_tokens - entry.tokens
            until = entry.seconds + self._span
        return until - now

    def _fits(self, num_requests: int, num_tokens: int) -> bool:
        limits = self._limits
        return (limits.requests is None or num_requests <= limits.requests) and (
            limits.tokens is None or num_tokens <= limits.tokens
        )

    @property
    def _span(self) -> float:
        return self._limits.window_seconds + self._limits.margin_seconds

    def _correct(self, number: int, tokens: int) -> None:
        with locked(self._folder / "window.lock"):
            entries, next_number = self._read(self._clock())
            for entry in entries:
                if entry.number == number:
                    entry.tokens = tokens
            self._write(entries, next_number)

    def _read(self, now: float) -> tuple[list[_Entry], int]:
        """Return the calls that still count, oldest first, and the next number; a damaged file counts none."""
        try:
            state = json.loads((self._folder / "window.json").read_bytes().partition(b"\n")[0])
            entries = [_Entry(int(number), float(seconds), int(tokens)) for number, seconds, tokens in state["calls"]]
            next_number = int(state["next"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return [], 0
        return [entry for entry in entries if now - self._span < entry.seconds <= now], next_number

    def _write(self, entries: list[_Entry], next_number: int) -> None:
        """Write the window over the old one; what is left of a longer one stays behind the first line.

        Renaming or truncating would flush the disk twice a call, and only holders of the lock read it.
        """
        calls = [[entry.number, entry.seconds, entry.tokens] for entry in entries]
        data = json.dumps({"calls": calls, "next": next_number}).encode() + b"\n"
        path = self._folder / "window.json"
        path.touch()
        with path.open("r+b", buffering=0) as file:
            file.write(data)


class LimitedModel:
    """Asks a model within limits.

    Args:
        model: Whom to ask.
        limiter: The limits.
        estimate: Returns the tokens that a question will take, at most.
    """

    def __init__(self, model: Model, limiter: RateLimiter, estimate: Callable[[Question], Usage]) -> None:
        self.name = model.name
        self._model = model
        self._limiter = limiter
        self._estimate = estimate

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's."""
        return self._model.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the model's answer, when its turn has come."""
        estimated = self._estimate(question)
        with self._limiter.call(estimated.prompt_tokens + estimated.output_tokens) as correct:
            answer = self._model.ask(question)
            taken = answer.usage.prompt_tokens + answer.usage.output_tokens
            if taken:
                correct(taken)
        return answer
