"""What the modules of `evaluate` need beyond `evaluate` when several processes make one score.

`evaluate` has every process write a file, and the first one read them all. Left alone, a process without a story makes
all others wait and then fail, one that works longer than 100 seconds makes the first one fail, and what fails leaves
locks and files behind. Here a process without a story writes a row that counts as none, waiting is long, and a failure
says what to do and tidies up.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import evaluate

__all__ = ["PATIENCE", "SharedModule"]

PATIENCE = 3600.0
"""Seconds that a process waits for the others. Our choice: shards of video differ by minutes, and `evaluate`'s own 100
seconds end runs that are well. A process that dies at work gives its lock back, so nobody waits for the dead."""


class SharedModule(evaluate.EvaluationModule):
    """Keeps rows until `compute`, on one process or several. Subclasses say what a row is."""

    nothing: ClassVar[Mapping[str, Any]]
    """The row of a process that has none; `_compute` must know it again."""

    # Made by `evaluate`, which says nothing of their types.
    cache_file_name: Any
    file_paths: Any
    filelock: Any
    filelocks: Any
    rendez_vous_lock: Any

    def __init__(self, config_name: str | None = None, *, timeout: float = PATIENCE, **options: Any) -> None:
        """Prepare the module. See `evaluate.EvaluationModule`."""
        evaluate.EvaluationModule.__init__(self, config_name=config_name, timeout=timeout, **options)

    def _build_data_dir(self) -> str:
        """Return the folder of this module's files; a configuration may be a path, and must not become one here."""
        name = re.sub(r"[^A-Za-z0-9.-]", "_", self.config_name)[:40]
        if name != self.config_name:
            name += "-" + hashlib.sha256(self.config_name.encode()).hexdigest()[:12]
        folder = Path(self._data_dir_root) / self.name / name
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _init_writer(self, timeout: float = 1) -> None:
        """Open this process's file, and wait until every process has done so."""
        with self._tidying():
            evaluate.EvaluationModule._init_writer(self, timeout)

    def _finalize(self) -> None:
        """Close this process's file; the first process waits for all and reads them."""
        with self._tidying():
            evaluate.EvaluationModule._finalize(self)

    def _keep(self, rows: Mapping[str, Sequence[Any]]) -> None:
        """Write rows to this process's file."""
        evaluate.EvaluationModule.add_batch(self, **rows)

    def _meet(self) -> None:
        """Open this process's file before the work begins, so that processes wait for each other's start only."""
        if self.num_process > 1 and self.writer is None:
            self.selected_feature_format = self._infer_feature_from_batch({})
            self._init_writer()

    def _gather(self, **options: Any) -> dict[str, Any] | None:
        """Return what `_compute` makes of the rows of all processes; None on every process but the first.

        Raises:
            ValueError: If there is no row, or the processes do not meet.
        """
        if self.writer is None:
            if self.num_process == 1:
                raise ValueError("There is nothing to compute. Call add or add_batch first, or give the inputs here.")
            self._keep({name: [value] for name, value in self.nothing.items()})
        try:
            outcome: dict[str, Any] | None = evaluate.EvaluationModule.compute(self, **options)
        except Exception:
            self._discard()
            raise
        return outcome

    @contextmanager
    def _tidying(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as error:
            self._discard()
            if self.num_process == 1:
                raise
            raise ValueError(
                f"Process {self.process_id} of {self.num_process} did not meet all others within {self.timeout:g} s, "
                "or one of them died. Every process must load the module with the same experiment_id and cache_dir, "
                f"and call compute, even if it has nothing to add. ({error})"
            ) from error

    def _discard(self) -> None:
        """Give back locks and delete files after a failure."""
        self.writer = self.buf_writer = self.data = None
        locks = [*(self.filelocks or ()), self.filelock, self.rendez_vous_lock]
        paths = [*(self.file_paths or ()), self.cache_file_name]
        for path in paths:
            if path is not None:
                Path(path).unlink(missing_ok=True)
        for lock in locks:
            if lock is not None:
                lock.release(force=True)
        self.filelocks = self.file_paths = self.filelock = self.rendez_vous_lock = self.cache_file_name = None
        self.selected_feature_format = None
