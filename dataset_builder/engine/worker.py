"""What runs in a slot: take a unit, run its stage, keep its receipt, say so; until the driver is gone.

The worker writes receipts itself, so that a driver that dies in between loses nothing that was finished. It dies with
its driver: the kernel kills it where it can (Linux), and elsewhere a thread watches a pipe that only the driver holds.
"""

import contextlib
import ctypes
import faulthandler
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from animeshooter_hf.dataset_builder.engine.ledger import Ledger, Unit
from animeshooter_hf.dataset_builder.engine.stage import Item, NotYetError, Stage, StageContext, StageResult
from animeshooter_hf.dataset_builder.engine.store import WorkStore
from animeshooter_hf.errors import InputError, MissingExtraError

__all__ = ["Job", "Reply", "main", "run_unit"]

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Job:
    """A unit to be done."""

    unit: Unit
    """Which one."""

    item: Item
    """Its film."""

    needs: Mapping[str, Unit]
    """The units whose outputs it reads."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a job."""

    kind: str
    """`ok`, `dropped`, `failed`, `not yet`, or `fatal` (no unit can be done)."""

    reason: str = ""
    """Why it is not ok."""


def run_unit(job: Job, stage: Stage, ledger: Ledger) -> Reply:
    """Do a unit in this process and keep its receipt."""
    began = time.monotonic()
    try:
        inputs = {}
        for name, need in job.needs.items():
            receipt = ledger.receipt(need)
            if receipt is None:
                return Reply("failed", f"the receipt of {need.name} is gone")
            inputs[name] = receipt["output"]
        context = StageContext(item=job.item, inputs=inputs, store=ledger.store, blob_prefix=job.unit.name)
        result = stage.run(context)
    except NotYetError as error:
        return Reply("not yet", str(error))
    except MissingExtraError as error:
        return Reply("fatal", str(error))
    except InputError as error:
        result = StageResult(output={}, dropped=str(error))
    except Exception as error:
        traceback.print_exc()
        return Reply("failed", f"{type(error).__name__}: {str(error)[:500]}")
    try:
        ledger.record(job.unit, result, seconds=time.monotonic() - began)
    except OSError as error:
        return Reply("fatal", f"{ledger.store.root} cannot be written: {error.strerror or error}.")
    return Reply("dropped" if result.dropped else "ok", result.dropped or "")


def main(connection_fd: int, lifeline_fd: int) -> None:
    """Serve jobs that come over a connection until it is closed."""
    _die_with_driver(lifeline_fd)
    faulthandler.enable()
    connection = Connection(connection_fd)
    path, payload = pickle.loads(connection.recv_bytes())
    sys.path[:] = path
    stages, root, max_attempts, scratch = pickle.loads(payload)
    by_name: dict[str, Stage] = {stage.name: stage for stage in stages}
    ledger = Ledger(WorkStore(root), max_attempts=max_attempts)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tempfile.tempdir = str(scratch)
    try:
        while True:
            try:
                job: Job = connection.recv()
            except EOFError:
                return
            connection.send(run_unit(job, by_name[job.unit.stage], ledger))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _die_with_driver(lifeline_fd: int) -> None:
    driver = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != driver:
        os._exit(1)

    def watch() -> None:
        os.read(lifeline_fd, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
