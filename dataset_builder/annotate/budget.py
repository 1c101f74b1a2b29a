"""A hard budget: a call that might go beyond it is not made.

Before a call its estimate is set aside, after it the true cost takes its place. The state is files in a folder, shared
by all processes of a machine:

    spent.json        what was spent so far, over all runs of the folder; guarded by budget.lock
    reserved-*.json   what is set aside for a call that is being made; locked by its process, so that when one is
                      killed its reservation is known to be orphaned, and counts as spent: it may have been billed

Answers that got lost on the way (timeouts, broken connections) count as spent by their estimate too. The one thing that
can overdraw is an estimate that is too low: after each call the estimates are raised by the worst ratio seen so far.
"""

import fcntl
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.accounting import CallLedger, CallRecord
from animeshooter_hf.dataset_builder.annotate.file_lock import locked
from animeshooter_hf.dataset_builder.annotate.prices import Price
from animeshooter_hf.dataset_builder.annotate.question import Answer, Model, Question, Usage, cache_key
from animeshooter_hf.errors import InputError

__all__ = ["Budget", "BudgetedModel"]

_ROUNDING = 1e-9
"""Money that does not count: what adding many numbers gets wrong."""

_NAP_SECONDS = 0.05
"""How often a call that waits for others to settle looks again."""


@dataclass(slots=True)
class _State:
    """What is known of the money."""

    spent: float = 0.0
    worst_ratio: float = 1.0


class Budget:
    """Money that may be spent.

    Args:
        folder: Where the state is, on a local disk; budgets of the same folder share it.
        limit: The most that may be spent, over all runs; raise it to go on.
        price: Of the model.
        estimate: Returns the tokens that a question will take, at most.

    Raises:
        InputError: If the limit is negative, or what was spent cannot be read.
    """

    def __init__(self, folder: Path, limit: float, price: Price, estimate: Callable[[Question], Usage]) -> None:
        if not limit >= 0:
            raise InputError(f"The budget must be at least 0, got {limit}.")
        folder.mkdir(parents=True, exist_ok=True)
        self.limit = limit
        self._folder = folder
        self._price = price
        self._estimate = estimate
        self._read()

    def spent(self) -> float:
        """Return what was spent so far, with what orphaned calls may have cost."""
        with locked(self._folder / "budget.lock"):
            return self._collect()[0].spent

    def reserve(self, question: Question) -> "Reservation | None":
        """Set aside what a question may cost, or return None if that would go beyond the budget.

        If only what is set aside for others stands in the way, wait until they have settled: they may cost less.
        """
        estimated = self._estimate(question)
        while True:
            with locked(self._folder / "budget.lock"):
                state, reserved = self._collect()
                raised = replace(estimated, prompt_tokens=round(estimated.prompt_tokens * state.worst_ratio))
                money = self._price.money(raised)
                if state.spent + money > self.limit + _ROUNDING:
                    return None
                if state.spent + reserved + money <= self.limit + _ROUNDING:
                    return Reservation(self._folder / f"reserved-{uuid.uuid4().hex}.json", estimated, money)
            time.sleep(_NAP_SECONDS)

    def settle(self, reservation: "Reservation", answer: Answer) -> None:
        """Put what a call cost in the place of what was set aside for it."""
        cost = self._price.money(answer.usage) + answer.lost_calls * reservation.money
        with locked(self._folder / "budget.lock"):
            state, _ = self._collect()
            estimated, taken = reservation.estimated.prompt_tokens, answer.usage.prompt_tokens
            state.worst_ratio = max(state.worst_ratio, taken / max(1, estimated))
            state.spent += cost
            self._write(state)
            reservation.drop()

    def _collect(self) -> tuple[_State, float]:
        """Return the state and what is reserved by the living; what the dead left is spent first."""
        state, reserved = self._read(), 0.0
        for path in self._folder.glob("reserved-*.json"):
            with path.open("rb") as file:
                money = float(json.loads(file.read() or b"0"))  # empty: killed before its call began
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    reserved += money
                    continue
                state.spent += money
                self._write(state)
                path.unlink()
        return state, reserved

    def _read(self) -> _State:
        path = self._folder / "spent.json"
        try:
            found = json.loads(path.read_bytes())
            return _State(float(found["spent"]), float(found["worst_ratio"]))
        except FileNotFoundError:
            return _State()
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged, so what was spent is not known. Delete it to begin at 0 again."
            ) from error

    def _write(self, state: _State) -> None:
        new = self._folder / "spent.json.new"
        new.write_text(json.dumps({"spent": state.spent, "worst_ratio": state.worst_ratio}), encoding="utf-8")
        new.replace(self._folder / "spent.json")


class Reservation:
    """Money set aside for one call; made and dropped while the budget's lock is held."""

    def __init__(self, path: Path, estimated: Usage, money: float) -> None:
        self.estimated = estimated
        self.money = money
        self._path = path
        self._file = path.open("wb")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(json.dumps(money).encode())
        self._file.flush()

    def drop(self) -> None:
        """Give back what was set aside."""
        self._path.unlink()
        self._file.close()

    def abandon(self) -> None:
        """Let go without an answer: the next look at the budget counts it as spent."""
        self._file.close()


class BudgetedModel:
    """Asks a model as long as there is money.

    Args:
        model: Whom to ask.
        budget: The money.
        ledger: Where questions that were not put are noted.
    """

    def __init__(self, model: Model, budget: Budget, ledger: CallLedger | None = None) -> None:
        self.name = model.name
        self._model = model
        self._budget = budget
        self._ledger = ledger

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's."""
        return self._model.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the model's answer; `skipped` if it might cost more than is left."""
        reservation = self._budget.reserve(question)
        if reservation is None:
            detail = f"The budget of {self._budget.limit:g} does not allow another call; raise it to go on."
            skipped = Answer(outcome="skipped", detail=detail, model=self.name)
            if self._ledger is not None:
                key = cache_key(question, self._model.settings_key())
                self._ledger.append(CallRecord.of(question.name, key, skipped, money=0.0))
            return skipped
        try:
            answer = self._model.ask(question)
        except BaseException:
            reservation.abandon()
            raise
        self._budget.settle(reservation, answer)
        return answer
