"""Jobs of the uploader, each in a process of its own; see `upload_client.py` for what a job is."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopback_hub import LoopbackHub

__all__ = ["ClientServer", "RunClient", "Started", "Uploaders"]

RunClient = Callable[..., str]
"""Runs Python code as a user of the Hub would, and returns what it prints."""


class ClientServer:
    """A process of `upload_client.py` with an environment of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._number = 0
        command = [sys.executable, str(Path(__file__).parent / "upload_client.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment)

    def start(self, jobs: dict[str, dict[str, Any]]) -> "Started":
        """Start jobs, each in a process of its own."""
        self._number += 1
        out = self.folder / f"{self._number}.out"
        os.mkfifo(out)
        order = {"jobs": jobs, "out": str(out), "errors": str(out.with_suffix(".errors")), "environment": {}}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Started(out)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


class Started:
    """Jobs that run; what they say is read in a `with` block, which waits for their end."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._lines: list[dict[str, Any]] = []

    def __enter__(self) -> "Started":
        self._file = self._out.open()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.reports()
        self._file.close()

    def pids(self) -> dict[str, int]:
        """Return job -> ID of its process."""
        while not any("pids" in line for line in self._lines):
            self._lines.append(json.loads(self._file.readline()))
        return next(line["pids"] for line in self._lines if "pids" in line)

    def reports(self) -> dict[str, dict[str, Any]]:
        """Wait for the end and return what each job had to say, unless it was killed."""
        self._lines += [json.loads(line) for line in self._file]
        failed = next(line["failed"] for line in self._lines if "failed" in line)
        assert not failed, self._out.with_suffix(".errors").read_text()[-5000:]
        return {name: said for line in self._lines for name, said in line.items() if name not in ("pids", "failed")}


class Uploaders:
    """Jobs of the uploader at a Hub; see `upload_client.py` for what a job is."""

    def __init__(self, hub: LoopbackHub, server: Callable[..., ClientServer]) -> None:
        self._hub = hub
        self._server = server

    def start(self, jobs: dict[str, dict[str, Any]], *, xet: bool = False, **environment: str) -> Started:
        """Start jobs at the same time; with an environment of its own, in a client that is started for it."""
        there = {name: {"endpoint": self._hub.url, **job} for name, job in jobs.items()}
        return self._server(xet, **environment).start(there)

    def run(
        self, jobs: dict[str, dict[str, Any]], *, xet: bool = False, **environment: str
    ) -> dict[str, dict[str, Any]]:
        """Run jobs at the same time and return what each has to say: a report, or {"error": a sentence}."""
        with self.start(jobs, xet=xet, **environment) as started:
            return started.reports()
