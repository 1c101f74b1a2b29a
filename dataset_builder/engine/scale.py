"""The local runner as a rank of somebody else's engine: Slurm, Ray or HF Jobs, through datatrove.

datatrove starts the ranks and keeps their logs; each rank runs our runner over its share of the films, never raises for
a film, and writes receipts under the shared root. What is done is known from receipts alone, so a launch may be
repeated, resized, or followed by a run on one machine. The extra `scale` brings datatrove.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.engine.runner import LocalRunner, RunSettings
from animeshooter_hf.dataset_builder.engine.stage import Item, Stage
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["LAUNCHERS", "BuildRank", "launch"]

LAUNCHERS: dict[str, str] = {
    "processes": "datatrove.executor.local",
    "slurm": "datatrove.executor.slurm",
    "ray": "datatrove.executor.ray",
    "jobs": "datatrove.executor.jobs",
}
"""Launcher -> module of its executor. `processes` is datatrove's own local executor."""

_EXECUTORS = {
    "processes": "LocalPipelineExecutor",
    "slurm": "SlurmPipelineExecutor",
    "ray": "RayPipelineExecutor",
    "jobs": "JobsPipelineExecutor",
}
_GUARD = "import sys; from animeshooter_hf.dataset_builder.engine.scale import _guarded; _guarded(*sys.argv[1:])"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRank:
    """One rank's share of a build; datatrove calls it as a step of a pipeline."""

    stages: tuple[Stage, ...]
    """What is done to each film."""

    root: str
    """The work store, which all ranks share."""

    settings: RunSettings
    """How each rank runs its units."""

    items: tuple[Item, ...]
    """The films of all ranks."""

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        """Run every `world_size`-th film, beginning with number `rank`."""
        runner = LocalRunner(self.stages, WorkStore(self.root), self.settings)
        runner.run(self.items[rank::world_size], rank=rank, progress=False)
        return data


def launch(build: BuildRank, *, launcher: str, ranks: int, options: Mapping[str, Any] | None = None) -> None:
    """Start a build on an engine and return when it has taken the work (`slurm`) or done it (the others).

    Args:
        build: What is to be done.
        launcher: One of `LAUNCHERS`.
        ranks: Number of tasks.
        options: Arguments of datatrove's executor, such as `partition` and `time` for Slurm.

    Raises:
        InputError: If the launcher is unknown, ranks is not positive, or the engine refuses the options.
        MissingExtraError: If datatrove is not installed.
    """
    if launcher not in LAUNCHERS:
        raise InputError(f"There is no launcher {launcher!r}; there are {', '.join(LAUNCHERS)}.")
    if ranks < 1:
        raise InputError(f"The number of ranks must be positive, got {ranks}.")
    module = require(LAUNCHERS[launcher], extra="scale", purpose=f"The launcher {launcher}")
    given = {"logging_dir": f"{build.root}/datatrove", **(options or {})}
    if launcher == "processes":
        _launch_processes(build, ranks, given)
        return
    try:
        # Our receipts say what is done; datatrove's own marks would keep a rank with failures from being run again.
        executor = getattr(module, _EXECUTORS[launcher])([build], tasks=ranks, skip_completed=False, **given)
    except TypeError as error:
        raise InputError(f"The launcher {launcher} does not take these options: {error}.") from error
    executor.run()


def _launch_processes(build: BuildRank, ranks: int, options: Mapping[str, Any]) -> None:
    """Run datatrove's local executor in a process group of its own, which dies with us.

    By itself it leaves its manager and its pool behind when its driver is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "build.pickle"
        path.write_bytes(pickle.dumps((list(sys.path), pickle.dumps((build, ranks, dict(options))))))
        lifeline_read, lifeline_write = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _GUARD, str(path), str(lifeline_read)],
                stdin=subprocess.DEVNULL,
                pass_fds=(lifeline_read,),
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(name for name in sys.path if name)},
            )
            os.close(lifeline_read)
            status = process.wait()
        finally:
            os.close(lifeline_write)
    if status:
        raise InputError(f"The launcher ended with status {status}; its messages stand above.")


def _guarded(path: str, lifeline_fd: str) -> None:
    def watch() -> None:
        os.read(int(lifeline_fd), 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    search, payload = pickle.loads(Path(path).read_bytes())
    sys.path[:] = search
    build, ranks, options = pickle.loads(payload)
    from datatrove.executor.local import LocalPipelineExecutor

    # With one worker the ranks run in this very process, one after the other.
    settings: dict[str, Any] = {"workers": ranks, "start_method": "spawn", **options}
    LocalPipelineExecutor([build], tasks=ranks, skip_completed=False, **settings).run()
