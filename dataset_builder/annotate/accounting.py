"""The ledger of calls: what was asked, what became of it, and what it took in tokens, seconds and money.

One JSON object a line, appended by any number of processes of a machine; a line that a killed process left torn is
skipped and counted when the ledger is read.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.prices import Price
from animeshooter_hf.dataset_builder.annotate.question import Answer, Model, Question, cache_key

__all__ = ["CallLedger", "CallRecord", "CallSummary", "CallTotals", "RecordedModel", "read_calls", "summarise_calls"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CallRecord:
    """One call."""

    question: str
    """Name of the question."""

    key: str
    """Cache key."""

    model: str
    """Who answered."""

    outcome: str
    """What became of it."""

    prompt_tokens: int = 0
    """Read; 0 for an answer from the cache, as all tokens."""

    cached_tokens: int = 0
    """Of those, read from the provider's cache."""

    output_tokens: int = 0
    """Written."""

    seconds: float = 0.0
    """How long it took."""

    money: float | None = None
    """What it cost, in the price table's currency; None if the model has no price."""

    from_cache: bool = False
    """Whether nothing was sent."""

    in_batch: bool = False
    """Whether the answer came from a batch file."""

    lost_calls: int = 0
    """Attempts whose answer got lost on the way."""

    detail: str = ""
    """Why it is not ok."""

    when: str = ""
    """UTC, ISO 8601."""

    @classmethod
    def of(
        cls, question_name: str, key: str, answer: Answer, *, money: float | None, in_batch: bool = False
    ) -> "CallRecord":
        """Return the record of an answer; one from the cache took nothing now."""
        record = cls(
            question=question_name, key=key, model=answer.model, outcome=answer.outcome, money=money,
            from_cache=answer.from_cache, in_batch=in_batch, detail=answer.detail,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )  # fmt: skip
        if answer.from_cache:
            return record
        return replace(
            record,
            **asdict(answer.usage),
            seconds=round(answer.seconds, 3),
            lost_calls=answer.lost_calls,
        )


class CallLedger:
    """A file to which calls are appended.

    Args:
        path: The file, on a local disk.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: CallRecord) -> None:
        """Append a record as one whole line, after a line that somebody left torn if need be."""
        line = json.dumps(asdict(record), sort_keys=True).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)


def read_calls(path: Path) -> tuple[list[CallRecord], int]:
    """Return the calls of a ledger in order, and how many lines are damaged. A ledger that is not there is empty."""
    calls: list[CallRecord] = []
    num_damaged = 0
    names = {field.name for field in fields(CallRecord)}
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
            calls.append(CallRecord(**{name: value for name, value in entry.items() if name in names}))
        except (ValueError, TypeError, AttributeError):
            num_damaged += bool(line.strip())
    return calls, num_damaged


@dataclass(frozen=True, kw_only=True, slots=True)
class CallTotals:
    """Sums over calls."""

    calls: int = 0
    """Questions that were put, cache or not; batch answers too."""

    from_cache: int = 0
    """Of those, answered from the cache."""

    prompt_tokens: int = 0
    """Read."""

    cached_tokens: int = 0
    """Of those, read from the provider's cache."""

    output_tokens: int = 0
    """Written."""

    seconds: float = 0.0
    """Spent waiting for answers, over all threads."""

    money: float = 0.0
    """Spent, as far as prices are known."""

    without_price: int = 0
    """Calls that took tokens of a model without a price."""

    lost_calls: int = 0
    """Attempts whose answer got lost on the way: perhaps billed, in no other sum."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSummary:
    """The ledger in short."""

    total: CallTotals
    """Over everything."""

    by_question_and_outcome: Mapping[tuple[str, str], CallTotals]
    """By the question's name and the outcome, sorted."""

    damaged_lines: int = 0
    """Lines that could not be read."""


def summarise_calls(ledger: Path) -> CallSummary:
    """Return the totals of a ledger by question and outcome."""
    calls, num_damaged = read_calls(ledger)
    groups: dict[tuple[str, str], list[CallRecord]] = {}
    for call in calls:
        groups.setdefault((call.question, call.outcome), []).append(call)
    return CallSummary(
        total=_sum(calls),
        by_question_and_outcome={key: _sum(groups[key]) for key in sorted(groups)},
        damaged_lines=num_damaged,
    )


def _sum(calls: Iterable[CallRecord]) -> CallTotals:
    calls = list(calls)
    return CallTotals(
        calls=len(calls),
        from_cache=sum(call.from_cache for call in calls),
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        cached_tokens=sum(call.cached_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        seconds=sum(call.seconds for call in calls),
        money=sum(call.money or 0.0 for call in calls),
        without_price=sum(call.money is None and call.prompt_tokens + call.output_tokens > 0 for call in calls),
        lost_calls=sum(call.lost_calls for call in calls),
    )


class RecordedModel:
    """Asks a model and writes each call to the ledger.

    Args:
        model: Whom to ask.
        ledger: Where calls go.
        price: Of the model, if known.
    """

    def __init__(self, model: Model, ledger: CallLedger, price: Price | None) -> None:
        self.name = model.name
        self._model = model
        self._ledger = ledger
        self._price = price

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's."""
        return self._model.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the model's answer."""
        answer = self._model.ask(question)
        money = None if self._price is None else self._price.money(answer.usage)
        key = cache_key(question, self._model.settings_key())
        self._ledger.append(CallRecord.of(question.name, key, answer, money=money))
        return answer
