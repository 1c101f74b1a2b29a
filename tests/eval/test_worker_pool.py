"""Processes that die, and a pool that goes on."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.worker_pool import WorkerDiedError, WorkerPool

UNGUARDED = """
from animeshooter_hf.eval.worker_pool import WorkerPool
import operator

with WorkerPool(operator.neg, 1) as pool:
    print(pool.submit(3).result())
"""


def test_pieces_are_done_by_other_processes_and_come_back() -> None:
    with WorkerPool(os.getenv, 2) as pool:
        futures = [pool.submit(name) for name in ("HOME", "NOT_SET_ANYWHERE", "HOME")]
        assert [future.result() for future in futures] == [os.getenv("HOME"), None, os.getenv("HOME")]
        assert os.getpid() not in pool.process_ids


def test_a_piece_that_kills_its_process_twice_fails_and_the_others_are_done() -> None:
    with WorkerPool(signal.raise_signal, 1) as pool:
        fine, deadly, after = (pool.submit(sign) for sign in (signal.SIGCONT, signal.SIGKILL, signal.SIGCONT))
        assert fine.result() is None
        with pytest.raises(WorkerDiedError, match="died twice"):
            deadly.result()
        assert after.result() is None


def test_no_process_stays_behind() -> None:
    with WorkerPool(os.getenv, 1) as pool:
        pool.submit("HOME").result()
        (process,) = pool.process_ids
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_the_function_raises_stops_the_run_with_the_workers_traceback() -> None:
    with WorkerPool(partial(int, base=10), 1) as pool, pytest.raises(RuntimeError, match="invalid literal"):
        pool.submit("no number").result()


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    made = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert made.returncode != 0
    assert "if __name__ == '__main__':" in made.stderr.splitlines()[-1]
    assert InputError.__name__ in made.stderr
