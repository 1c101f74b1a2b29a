"""The local runner: which unit is next, how long and how large it may be, and what happens when it fails.

One process per slot. A unit that raises, dies, hangs or grows too large counts as a failed attempt; after
`max_attempts` it is in quarantine with its reasons, and the others go on. Units are taken film by film, so that films
are finished one after the other.
"""

import fcntl
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from tqdm import tqdm

from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Plan, Unit
from animeshooter_hf.dataset_builder.engine.slot import Slot
from animeshooter_hf.dataset_builder.engine.stage import Item, Stage
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.dataset_builder.engine.worker import Job, Reply
from animeshooter_hf.errors import InputError, MissingExtraError

__all__ = ["LocalRunner", "RunReport", "RunSettings"]

_POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """How units are run. None of it changes a result."""

    slots: int = 1
    """Processes."""

    timeout_seconds: float = 3600.0
    """A unit that takes longer is killed. Our choice: a 20-minute film takes a few minutes."""

    memory_mib: int = 0
    """A unit whose process holds more is killed; 0 for no limit."""

    max_attempts: int = 2
    """After so many failures a unit is in quarantine."""

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= 256:
            raise InputError(f"The number of workers must lie in 1 to 256, got {self.slots}.")
        if self.timeout_seconds <= 0 or self.memory_mib < 0 or self.max_attempts < 1:
            raise InputError(
                "timeout_seconds and max_attempts must be positive and memory_mib not negative, got "
                f"{self.timeout_seconds}, {self.max_attempts} and {self.memory_mib}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What a run did."""

    reused: int
    """Units that had a receipt already."""

    done: Counter[str]
    """Stage -> units done now, dropped films included."""

    dropped: Mapping[str, str]
    """Film -> why it goes no further."""

    quarantined: Mapping[str, str]
    """Film -> stage and reason of the unit in quarantine."""

    waiting: Mapping[str, str]
    """Film -> why a unit could not be done now."""

    seconds: float
    """How long it took."""


@dataclass(slots=True)
class _Film:
    """How far a film is."""

    item: Item
    units: Mapping[str, Unit]
    done: set[str] = field(default_factory=set)
    running: set[str] = field(default_factory=set)
    stopped: bool = False

    def ready(self, stages: Sequence[Stage]) -> str | None:
        """Return the first stage that can be run."""
        if self.stopped:
            return None
        for stage in stages:
            if stage.name not in self.done | self.running and all(need in self.done for need in stage.needs):
                return stage.name
        return None

    def is_finished(self, stages: Sequence[Stage]) -> bool:
        return not self.running and (self.stopped or len(self.done) == len(stages))


class LocalRunner:
    """Runs stages over films on this machine.

    Args:
        stages: In an order in which each comes after those it needs.
        store: Where receipts and blobs are.
        settings: How units are run.
        clock: The time in seconds by which a unit takes too long.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        store: WorkStore,
        settings: RunSettings | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages = tuple(stages)
        self.clock = clock
        self.settings = settings or RunSettings()
        self.ledger = Ledger(store, max_attempts=self.settings.max_attempts)

    def run(self, items: Sequence[Item], *, rank: int = 0, progress: bool = True) -> RunReport:
        """Do every unit that has no receipt yet, and return what was done.

        Args:
            items: The films; their IDs are unique.
            rank: Number of this runner, where several share one store over different films.
            progress: Whether to show a bar on stderr.

        Raises:
            InputError: If another runner of this rank is at work, or the store cannot be written.
            MissingExtraError: If a stage needs an extra that is not installed.
        """
        with _lock(self.ledger.store, rank):
            plan = Plan.of(self.stages, items)
            self.ledger.write_plan(plan, rank)
            return _Run(self, items, plan, rank, progress).finish()


class _Run:
    """One call of `LocalRunner.run`."""

    def __init__(self, runner: LocalRunner, items: Sequence[Item], plan: Plan, rank: int, progress: bool) -> None:
        self._ledger, self._settings = runner.ledger, runner.settings
        self._stages = runner.stages
        self._by_name = {stage.name: stage for stage in runner.stages}
        self._rank, self._clock = rank, runner.clock
        self._began = time.monotonic()
        self._done: Counter[str] = Counter()
        self._dropped: dict[str, str] = {}
        self._quarantined: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._reused = 0
        self._slots: list[Slot] = []
        self._films = {item.id: self._resume(item, plan) for item in items}
        names = [stage.name for stage in self._stages]
        finished, failed = self._ledger.finished(names), self._ledger.failed_names(names)
        for film in self._films.values():
            self._take_receipts(film, finished, failed)
        todo = sum(len(self._stages) - len(film.done) for film in self._films.values() if not film.stopped)
        self._bar = tqdm(
            total=todo + self._reused, initial=self._reused, desc="build", unit=" units",
            disable=None if progress else True, smoothing=0.05,
        )  # fmt: skip

    def finish(self) -> RunReport:
        try:
            self._loop()
        finally:
            for slot in self._slots:
                slot.kill() if slot.job is not None else slot.close()
            self._bar.close()
        return RunReport(
            reused=self._reused,
            done=self._done,
            dropped=dict(sorted(self._dropped.items())),
            quarantined=dict(sorted(self._quarantined.items())),
            waiting=dict(sorted(self._waiting.items())),
            seconds=time.monotonic() - self._began,
        )

    def _resume(self, item: Item, plan: Plan) -> _Film:
        return _Film(item, {stage: Unit(stage, item.id, key) for stage, key in plan.keys[item.id].items()})

    def _take_receipts(self, film: _Film, finished: Mapping[str, set[str]], failed: set[str]) -> None:
        for stage in self._stages:
            unit = film.units[stage.name]
            if f"{unit.item}.{unit.key}" in finished[stage.name]:
                receipt = self._ledger.receipt(unit)
                if receipt is None:
                    continue
                self._reused += 1
                film.done.add(stage.name)
                if receipt["outcome"] == "dropped":
                    self._drop(film, receipt["reason"])
            elif unit.name in failed and len(reasons := self._ledger.failures(unit)) >= self._settings.max_attempts:
                self._quarantine(film, stage.name, reasons[-1])

    def _loop(self) -> None:
        active = [film for film in self._films.values() if not film.is_finished(self._stages)]
        while active:
            self._start_ready(active)
            busy = {slot.connection: slot for slot in self._slots if slot.job is not None}
            if not busy:
                return
            for connection in wait(list(busy), timeout=_POLL_SECONDS):
                slot = busy[connection]  # type: ignore[index]
                self._settle(slot, slot.job, slot.take())
            self._enforce_limits()
            active = [film for film in active if not film.is_finished(self._stages)]

    def _start_ready(self, active: Sequence[_Film]) -> None:
        free = [slot for slot in self._slots if slot.job is None]
        room = self._settings.slots - len(self._slots)
        for film in active:
            if not free and room <= 0:
                return
            while stage := film.ready(self._stages):
                if not free and room > 0:
                    free.append(self._open_slot())
                    room -= 1
                if not free:
                    return
                unit = film.units[stage]
                film.running.add(stage)
                needs = {need: film.units[need] for need in self._by_name[stage].needs}
                free.pop().give(Job(unit, film.item, needs))

    def _slot_name(self, number: int) -> str:
        return f"{self._rank:05d}-{number:03d}"

    def _open_slot(self) -> Slot:
        taken = {slot.name for slot in self._slots}
        slot = Slot(
            self._stages,
            self._ledger.store.root,
            self._ledger.store.folder,
            next(name for number in range(len(self._slots) + 1) if (name := self._slot_name(number)) not in taken),
            max_attempts=self._settings.max_attempts,
            threads=max(1, (os.cpu_count() or 1) // self._settings.slots),
            clock=self._clock,
        )
        self._slots.append(slot)
        return slot

    def _settle(self, slot: Slot, job: Job | None, reply: Reply) -> None:
        if job is None:
            return
        film = self._films[job.item.id]
        stage = job.unit.stage
        film.running.discard(stage)
        if reply.kind == "fatal":
            raise MissingExtraError(reply.reason) if "pip install" in reply.reason else InputError(reply.reason)
        if reply.kind == "failed":
            self._replace_if_dead(slot)
            if self._ledger.fail(job.unit, reply.reason) >= self._settings.max_attempts:
                self._quarantine(film, stage, reply.reason)
        elif reply.kind == "not yet":
            self._waiting[film.item.id] = reply.reason
            film.stopped = True
        else:
            film.done.add(stage)
            self._done[stage] += 1
            self._bar.update()
            if reply.kind == "dropped":
                self._drop(film, reply.reason)
        self._bar.set_postfix_str(f"{film.item.id} {stage}", refresh=False)

    def _drop(self, film: _Film, reason: str) -> None:
        film.stopped = True
        self._dropped[film.item.id] = reason

    def _quarantine(self, film: _Film, stage: str, reason: str) -> None:
        film.stopped = True
        self._quarantined[film.item.id] = f"{stage}: {reason}"

    def _enforce_limits(self) -> None:
        limit = self._settings.memory_mib << 20
        for slot in list(self._slots):
            job = slot.job
            if job is None:
                continue
            if slot.seconds > self._settings.timeout_seconds:
                reason = f"it took longer than {self._settings.timeout_seconds:g} s"
            elif limit and slot.memory_bytes > limit:
                reason = f"it held more than {self._settings.memory_mib} MiB"
            else:
                continue
            slot.kill()
            self._slots.remove(slot)
            slot.job = None
            self._settle(slot, job, Reply("failed", reason))

    def _replace_if_dead(self, slot: Slot) -> None:
        if slot in self._slots and not slot.is_alive:
            slot.kill()
            self._slots.remove(slot)


@contextmanager
def _lock(store: WorkStore, rank: int) -> Iterator[None]:
    """Hold the lock of a rank; the kernel frees it when the process ends, however it ends."""
    path = store.folder / f"runner-{rank:05d}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        raise InputError(f"{path.parent} cannot be written: {error.strerror}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another build is at work in {store.root}.") from error
        yield
