"""Processes that do one piece of work after another, and may die without stopping the run.

Each process has a pipe of its own. If it is killed (by hand, or for want of memory) its pipe ends, the piece of work is
tried once more in a new process, and only then fails. Nothing here can hang on a process that is gone: no lock and no
queue is shared between processes.

Processes are spawned, not forked: a script that asks for them must guard its entry with `if __name__ == "__main__":`.
"""

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from animeshooter_hf.errors import InputError

__all__ = ["WorkerDiedError", "WorkerPool"]

_ATTEMPTS = 2
"""Times that a piece of work may kill its process before it counts as failed. Our choice: once may be chance."""


class WorkerDiedError(RuntimeError):
    """The process that did a piece of work died, twice."""


class WorkerPool:
    """Runs a function in several processes; futures hold what it returned or raised.

    Use it as a context manager: on leaving, what is not finished is dropped and no process stays behind.
    """

    def __init__(self, work: Callable[[Any], Any], num_workers: int) -> None:
        """Keep the function, which is pickled to every process; processes start when there is work."""
        self._work = work
        self._context = multiprocessing.get_context("spawn")
        self._threads = ThreadPoolExecutor(num_workers, thread_name_prefix="worker-pool")
        self._room = threading.BoundedSemaphore(4 * num_workers)
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._processes: list[tuple[BaseProcess, Connection]] = []
        self._is_closing = False

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that are running."""
        with self._lock:
            return [process.pid for process, _ in self._processes if process.pid is not None]

    def submit(self, piece: Any) -> "Future[Any]":
        """Have a piece of work done; waits while four times as many as there are processes are unfinished."""
        self._room.acquire()
        future = self._threads.submit(self._run, piece)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """End all processes; futures that are not done are cancelled or fail."""
        with self._lock:
            self._is_closing = True
            for process, _ in self._processes:
                process.terminate()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process, connection in self._processes:
            process.join()
            connection.close()
        self._processes.clear()

    def _run(self, piece: Any) -> Any:
        for _ in range(_ATTEMPTS):
            process, connection = self._process()
            try:
                connection.send(piece)
                is_done, answer = connection.recv()
            except (EOFError, OSError):
                self._forget(process, connection)
                continue
            if is_done:
                return answer
            raise RuntimeError(f"A worker failed:\n{answer}")
        raise WorkerDiedError("The process that read it died twice: it was killed, or memory ran out.")

    def _process(self) -> tuple[BaseProcess, Connection]:
        """Return this thread's process, started if there is none."""
        if getattr(self._of_thread, "pair", None) is not None:
            pair: tuple[BaseProcess, Connection] = self._of_thread.pair
            return pair
        for _ in range(_ATTEMPTS):
            process, connection = self._start()
            try:
                connection.recv()
            except (EOFError, OSError):
                self._forget(process, connection)
                continue
            self._of_thread.pair = (process, connection)
            return process, connection
        raise InputError(
            "The worker processes do not start. Guard the script's entry with `if __name__ == '__main__':`, "
            "or ask for one worker."
        )

    def _start(self) -> tuple[BaseProcess, Connection]:
        with self._lock:
            if self._is_closing:
                raise WorkerDiedError("The pool is closed.")
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(theirs, self._work), daemon=True)
            process.start()
            theirs.close()
            self._processes.append((process, ours))
        return process, ours

    def _forget(self, process: BaseProcess, connection: Connection) -> None:
        self._of_thread.pair = None
        with self._lock:
            if self._is_closing:
                return
            self._processes.remove((process, connection))
        process.kill()
        process.join()
        connection.close()


def _serve(connection: Connection, work: Callable[[Any], Any]) -> None:
    """Do one piece of work after another until the pipe ends. Ctrl-C is the main process's business."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    try:
        connection.send((True, None))
        while True:
            piece = connection.recv()
            try:
                answer = (True, work(piece))
            except Exception:
                answer = (False, traceback.format_exc())
            connection.send(answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
