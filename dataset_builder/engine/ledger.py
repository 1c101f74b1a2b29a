"""What was done and what failed, as files: the only memory of a build.

STAGE/FILM.KEY.json       receipt: outcome, reason, output
STAGE/FILM.KEY.SUFFIX     blobs of that unit
failures/STAGE/FILM.KEY.json   attempts that failed, with their reasons; a unit with too many is in quarantine
plans/RANK.json           which keys the last run wanted, so that `status` and `explain` need no settings
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.dataset_builder.engine.stage import Item, Stage, StageResult, unit_keys
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.errors import InputError

__all__ = ["Ledger", "Plan", "Unit", "UnitState"]


@dataclass(frozen=True, slots=True)
class Unit:
    """One stage of one film, under the key of its inputs."""

    stage: str
    """Name of the stage."""

    item: str
    """ID of the film."""

    key: str
    """See `unit_keys`."""

    @property
    def name(self) -> str:
        """File name of its receipt, without suffix."""
        return f"{self.stage}/{self.item}.{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitState:
    """How a unit stands."""

    unit: Unit
    """Which one."""

    state: str
    """`done`, `dropped`, `quarantined`, `failed` (will be tried again), `todo`, or `not needed` (its film stopped)."""

    reason: str = ""
    """Why it is not done."""

    attempts: int = 0
    """Attempts that failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The units of a build: film -> stage -> key, in order."""

    keys: Mapping[str, Mapping[str, str]]
    """Film -> stage -> key."""

    @classmethod
    def of(cls, stages: Sequence[Stage], items: Sequence[Item]) -> "Plan":
        """Return the plan of stages over films."""
        return cls({item.id: unit_keys(stages, item) for item in items})

    def units(self) -> Iterator[Unit]:
        """Yield every unit, film by film."""
        for item, keys in self.keys.items():
            for stage, key in keys.items():
                yield Unit(stage, item, key)


class Ledger:
    """Receipts and failures of a work store."""

    def __init__(self, store: WorkStore, *, max_attempts: int = 2) -> None:
        self.store = store
        self.max_attempts = max_attempts
        """After so many failures a unit is in quarantine."""

    def receipt(self, unit: Unit) -> dict[str, Any] | None:
        """Return a unit's receipt, or None if there is none that can be read."""
        found = self.store.read_json(f"{unit.name}.json")
        return found if isinstance(found, dict) and found.get("key") == unit.key else None

    def finished(self, stages: Sequence[str]) -> dict[str, set[str]]:
        """Return stage -> "FILM.KEY" of every receipt, by listing folders instead of asking for each."""
        return {
            stage: {name[: -len(".json")] for name in self.store.names(stage) if name.endswith(".json")}
            for stage in stages
        }

    def record(self, unit: Unit, result: StageResult, *, seconds: float) -> None:
        """Keep a result: its blobs first and the receipt last, so that a receipt is never without its blobs."""
        for suffix, content in result.blobs.items():
            if isinstance(content, bytes):
                self.store.write_bytes(f"{unit.name}{suffix}", content)
            else:
                self.store.put(f"{unit.name}{suffix}", content)
        self.store.write_json(
            f"{unit.name}.json",
            {
                "stage": unit.stage,
                "item": unit.item,
                "key": unit.key,
                "outcome": "dropped" if result.dropped else "ok",
                "reason": result.dropped,
                "output": result.output,
                "seconds": round(seconds, 3),
            },
        )
        self.store.remove(f"failures/{unit.name}.json")

    def failures(self, unit: Unit) -> list[str]:
        """Return why a unit's attempts failed, in order."""
        found = self.store.read_json(f"failures/{unit.name}.json")
        return [str(reason) for reason in found["reasons"]] if isinstance(found, dict) else []

    def fail(self, unit: Unit, reason: str) -> int:
        """Note an attempt that failed and return how many there are now."""
        reasons = [*self.failures(unit), reason]
        self.store.write_json(f"failures/{unit.name}.json", {"reasons": reasons})
        return len(reasons)

    def failed_names(self, stages: Sequence[str]) -> set[str]:
        """Return the names of the units that have failed at least once."""
        return {
            f"{stage}/{name[: -len('.json')]}" for stage in stages for name in self.store.names(f"failures/{stage}")
        }

    def write_plan(self, plan: Plan, rank: int = 0) -> None:
        """Keep the plan of a run."""
        self.store.write_json(
            f"plans/{rank:05d}.json", [[item, list(keys.items())] for item, keys in plan.keys.items()]
        )

    def read_plan(self) -> Plan:
        """Return the plan of the last run, of all ranks together.

        Raises:
            InputError: If there was no run.
        """
        keys: dict[str, dict[str, str]] = {}
        for name in sorted(self.store.names("plans")):
            keys.update((item, dict(pairs)) for item, pairs in self.store.read_json(f"plans/{name}") or ())
        if not keys:
            raise InputError(f"{self.store.root} is no work folder of a build.")
        return Plan(keys)

    def states(self, plan: Plan) -> Iterator[UnitState]:
        """Yield how every unit of a plan stands."""
        for item, keys in plan.keys.items():
            dropped = False
            for stage, key in keys.items():
                state = self._state(Unit(stage, item, key))
                if dropped and state.state == "todo":
                    state = UnitState(unit=state.unit, state="not needed")
                dropped |= state.state in ("dropped", "quarantined")
                yield state

    def retry(self, plan: Plan, *, matching: str = "") -> list[Unit]:
        """Forget the failures whose last reason, stage or film contains a text; return the units."""
        freed = []
        failed = self.failed_names(sorted({unit.stage for unit in plan.units()}))
        for unit in plan.units():
            if unit.name in failed:
                reasons = self.failures(unit)
                if any(
                    matching in text for text in (unit.item, unit.stage, f"{unit.item}/{unit.stage}", *reasons[-1:])
                ):
                    self.store.remove(f"failures/{unit.name}.json")
                    freed.append(unit)
        return freed

    def count(self, plan: Plan) -> dict[str, dict[str, int]]:
        """Return stage -> state -> number of films."""
        table: dict[str, Counter[str]] = {}
        for one in self.states(plan):
            table.setdefault(one.unit.stage, Counter())[one.state] += 1
        return {stage: dict(counts) for stage, counts in table.items()}

    def _state(self, unit: Unit) -> UnitState:
        receipt = self.receipt(unit)
        if receipt is not None:
            done = receipt["outcome"] == "ok"
            return UnitState(unit=unit, state="done" if done else "dropped", reason=receipt.get("reason") or "")
        reasons = self.failures(unit)
        if not reasons:
            return UnitState(unit=unit, state="todo")
        state = "quarantined" if len(reasons) >= self.max_attempts else "failed"
        return UnitState(unit=unit, state=state, reason=reasons[-1], attempts=len(reasons))
