"""Runs `animeshooter publish` for tests, each run in a process of its own that can be killed.

A line of JSON comes in: the runs, each (words, token, what is typed on its terminal or null), and a named pipe. Into
the pipe go two lines: the IDs of the processes, and their answers (exit status, standard output, the sentence of a
refusal), or null for one that was killed. The process itself never talks to a Hub, so what it forks begins afresh; it
is there because importing takes longer than a run.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import animeshooter_hf.dataset_builder.publish.publisher
import animeshooter_hf.dataset_builder.publish.removal
import animeshooter_hf.hub.objects  # noqa: F401 - so that the forked processes need not import it
from animeshooter_hf.dataset_builder.publish.publish_command import add_arguments, run
from animeshooter_hf.errors import InputError


def run_verb(words: list[str]) -> tuple[int, str, str]:
    """Return exit status, standard output and the sentence of a refusal, as the command line gives them."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            return run(parser.parse_args(words)), out.getvalue(), ""
        except (InputError, argparse.ArgumentError) as refusal:
            return 2, out.getvalue(), str(refusal)


def start(words: list[str], token: str, typed: str | None) -> tuple[int, int]:
    """Start a run in a process of its own; return its ID and the end of a pipe that its answer comes from."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.environ["HF_TOKEN"] = token
        if typed is not None:
            keyboard, terminal = os.openpty()
            os.write(keyboard, typed.encode())
            sys.stdin = os.fdopen(terminal)
        try:
            with os.fdopen(writer, "w") as answer:
                answer.write(json.dumps(run_verb(words)))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    return pid, reader


def read(reader: int) -> Any:
    """Return an answer; None if whoever should give it is gone."""
    with os.fdopen(reader) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def serve(runs: list[tuple[list[str], str, str | None]], path: str) -> None:
    """Run all at the same time, and tell their IDs and their answers."""
    with Path(path).open("w") as pipe:
        started = [start(*one) for one in runs]
        pipe.write(json.dumps([pid for pid, _ in started]) + "\n")
        pipe.flush()
        pipe.write(json.dumps([read(reader) for _, reader in started]) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        wanted = json.loads(line)
        if os.fork() == 0:
            serve(wanted["runs"], wanted["pipe"])
            os._exit(0)
