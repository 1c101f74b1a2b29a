"""Every reply on disk the moment it comes: a log in JSON lines, from which a run that was killed goes on.

One line per call: its key, what was asked in hashes, the raw reply, what it was read as, tokens, seed, model and time.
A line is written with one call and forced to disk. A kill can cut the last line off; it is left out when the log is
read, and that question is asked again. A line in the middle that is damaged is counted and treated the same.
"""

import fcntl
import json
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import write_text_atomically
from animeshooter_hf.eval.judge.question import JudgeQuestion, JudgeReply

__all__ = ["JudgeLog", "LogContent", "LogEntry", "copy_entries", "read_entries"]

_VERSION = 1

_MAX_KEPT_CHARACTERS = 1_000_000
"""A longer reply is kept up to here. Our choice; it is refused as too long anyway."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One call."""

    key: str
    """See `JudgeQuestion.key`."""

    settings: Mapping[str, Any]
    """The judge's."""

    reply: JudgeReply
    """What came."""

    record: Mapping[str, Any] = field(default_factory=dict)
    """The whole line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogContent:
    """What a log holds."""

    entries: tuple[LogEntry, ...]
    """In order."""

    num_damaged: int
    """Lines that could not be read."""


class JudgeLog:
    """A log that is read once and then grows. Safe to use from threads; one process at a time.

    Args:
        path: The file, which is made if need be; None keeps the log in memory only.

    Raises:
        InputError: If the file cannot be opened, or another process writes to it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._replies: dict[str, JudgeReply] = {}
        self._file: Any = None
        self.num_damaged = 0
        """Lines that could not be read when the log was opened."""
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise InputError(f"Another run is writing to {path}. Wait for it, or name another folder.") from error
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}.") from error
        content = read_entries(path)
        self.num_damaged = content.num_damaged
        self._replies = {entry.key: entry.reply for entry in content.entries if entry.reply.outcome != "error"}
        self._end_line(path)

    def __enter__(self) -> "JudgeLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; other processes may write then."""
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self._replies)

    def find(self, key: str) -> JudgeReply | None:
        """Return the reply to a question that was answered, or None."""
        with self._lock:
            return self._replies.get(key)

    def append(
        self,
        question: JudgeQuestion,
        settings: Mapping[str, Any],
        reply: JudgeReply,
        *,
        attempt: int,
        parsed: Any,
        problem: str,
    ) -> None:
        """Keep a reply, on disk before this returns; a call that failed is noted and will be asked again.

        Raises:
            InputError: If the disk takes no more.
        """
        key = question.key(settings)
        record = {
            "version": _VERSION,
            "key": key,
            "protocol": question.protocol,
            "story_id": question.story_id,
            "ip_id": question.ip_id,
            "round": question.round_index,
            "systems": question.systems,
            "attempt": attempt,
            "seed": question.seed,
            "temperature": question.temperature,
            "prompt_hash": question.prompt_hash(),
            "picture_hashes": [picture.digest for picture in question.pictures()],
            "settings": dict(settings),
            "reply": asdict(reply) | {"text": reply.text[:_MAX_KEPT_CHARACTERS]},
            "parsed": parsed,
            "problem": problem,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            if self._file is not None:
                try:
                    self._file.write(line)
                    self._file.flush()
                    os.fsync(self._file.fileno())
                except OSError as error:
                    raise InputError(f"{self._file.name} cannot be written: {error.strerror}.") from error
            if reply.outcome != "error":
                self._replies[key] = reply

    def _end_line(self, path: Path) -> None:
        """End a line that a kill cut off, so that the next one stands by itself."""
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._file.write(b"\n")
                    self._file.flush()


def read_entries(path: Path) -> LogContent:
    """Return what a log holds; lines that cannot be read are counted.

    Raises:
        InputError: If the file cannot be read.
    """
    entries, num_damaged = [], 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                entry = _read_entry(line)
                num_damaged += entry is None
                if entry is not None:
                    entries.append(entry)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    return LogContent(entries=tuple(entries), num_damaged=num_damaged)


def _read_entry(line: bytes) -> LogEntry | None:
    try:
        record = json.loads(line)
        if record["version"] != _VERSION or not isinstance(record["settings"], dict):
            return None
        reply = JudgeReply(**record["reply"])
        return LogEntry(key=record["key"], settings=record["settings"], reply=reply, record=record)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def copy_entries(source: Path, target: Path, keys: Collection[str]) -> int:
    """Write the lines of some calls to a file beside results, replacing it; returns how many.

    Raises:
        InputError: If a file cannot be read or written.
    """
    own = [entry.record for entry in read_entries(source).entries if entry.key in keys]
    write_text_atomically(target, "".join(json.dumps(record) + "\n" for record in own))
    return len(own)
