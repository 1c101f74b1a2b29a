"""One worker process of a runner: started when needed, watched, and killed with all that it has started."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

from animeshooter_hf.dataset_builder.engine.stage import Stage
from animeshooter_hf.dataset_builder.engine.worker import Job, Reply

__all__ = ["Slot"]

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_START = "import sys; from animeshooter_hf.dataset_builder.engine.worker import main; main(*map(int, sys.argv[1:]))"


class Slot:
    """A place where one unit at a time is done, in a process of its own.

    It is an ordinary child with a pipe, not one of `multiprocessing`: that would import the caller's main module anew,
    which breaks scripts without a guard and notebooks.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        root: str,
        folder: Path,
        name: str,
        *,
        max_attempts: int,
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the process.

        Args:
            stages: What it can do.
            root: The work store.
            folder: A local folder for its log and its scratch files.
            name: Names both; the scratch files of a former slot of the name are removed.
            max_attempts: See `Ledger`.
            threads: How many threads numerical libraries may start in it.
            clock: The time in seconds, to tell how long a unit has been running.
        """
        self._clock = clock
        self.name = name
        """Its name."""
        self.job: Job | None = None
        """What it is doing."""
        self.started = 0.0
        """When that began, on the clock."""
        self.log = folder / "logs" / f"{name}.log"
        """What the process printed, such as the place of a crash."""
        ours, theirs = Pipe()
        lifeline_read, self._lifeline = os.pipe()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        search = os.pathsep.join(path for path in sys.path if path)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), str(lifeline_read)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(), lifeline_read),
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": search},
            )
        theirs.close()
        os.close(lifeline_read)
        self.connection: Connection = ours
        payload = pickle.dumps((tuple(stages), root, max_attempts, folder / "scratch" / name))
        self.connection.send_bytes(pickle.dumps((list(sys.path), payload)))

    def give(self, job: Job) -> None:
        """Let it do a unit."""
        self.job, self.started = job, self._clock()
        self.connection.send(job)

    def take(self) -> Reply:
        """Return what became of the unit; a process that died is a failure with its signal or exit status."""
        self.job = None
        try:
            reply = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            return Reply("failed", self._death())
        return reply if isinstance(reply, Reply) else Reply("failed", "the worker answered nonsense")

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def seconds(self) -> float:
        """How long the unit at hand has been running."""
        return self._clock() - self.started

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process; 0 where it cannot be told."""
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE
        except (OSError, IndexError, ValueError):
            return 0

    def kill(self) -> None:
        """End the process and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._close()

    def close(self) -> None:
        """Let the process end by itself; kill it if it does not."""
        self.connection.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()
        with contextlib.suppress(OSError):
            os.close(self._lifeline)

    def _death(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the worker closed its pipe"
        if status < 0:
            name = (
                signal.Signals(-status).name if -status in {int(one) for one in signal.Signals} else f"signal {-status}"
            )
            return f"the worker was killed by {name}"
        return f"the worker ended with status {status}"
