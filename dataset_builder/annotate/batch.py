"""Batch files: questions that can wait, at half the price, or for `vllm run-batch` on a cluster without a server.

A first run of the pipeline with a `BatchWriter` behind the cache writes what the cache lacks; somebody else has the
files answered; `read_batch` pours the answers into the cache; the next run finds them all there.

    FOLDER/requests-0001.jsonl   lines of OpenAI's batch form; custom_id is the cache key
    FOLDER/keys.jsonl            one line a question: its key, its name, its file, and where its line ends there

A question that failed in a batch is written anew once its file of requests is deleted.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.annotate.accounting import CallLedger, CallRecord
from animeshooter_hf.dataset_builder.annotate.answer_store import KEPT_OUTCOMES, AnswerStore
from animeshooter_hf.dataset_builder.annotate.chat_request import ChatSettings, read_completion
from animeshooter_hf.dataset_builder.annotate.file_lock import locked
from animeshooter_hf.dataset_builder.annotate.prices import Price
from animeshooter_hf.dataset_builder.annotate.question import Answer, Question, cache_key
from animeshooter_hf.errors import InputError

__all__ = ["BatchReport", "BatchWriter", "read_batch"]

_MOST_LINES = 50_000
"""Questions of a file. OpenAI's limit."""

_MOST_BYTES = 190_000_000
"""Size of a file. OpenAI allows 200 MB."""


class BatchWriter:
    """Writes questions to batch files instead of asking them; belongs behind a `CachedModel`.

    Args:
        chat: How questions are put; the settings of the model that would be asked.
        folder: Where the files go; on a local disk. Any number of processes may write.
        most_lines: Questions of a file.
        most_bytes: Size of a file.
    """

    def __init__(
        self, chat: ChatSettings, folder: Path, *, most_lines: int = _MOST_LINES, most_bytes: int = _MOST_BYTES
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = chat.model
        self._chat = chat
        self._folder = folder
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._index = _KeyIndex(folder)

    def settings_key(self) -> Mapping[str, Any]:
        """Return what answers depend on: the same as of the live client."""
        return self._chat.settings_key()

    def ask(self, question: Question) -> Answer:
        """Write the question down, unless it is written already; always `skipped`."""
        key = cache_key(question, self._chat.settings_key())
        line = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": self._chat.body(question)}
        self._write(key, question.name, json.dumps(line, sort_keys=True).encode() + b"\n")
        return Answer(outcome="skipped", detail="The question waits for the batch.", model=self.name)

    def _write(self, key: str, question_name: str, line: bytes) -> None:
        with locked(self._folder / "batch.lock"):
            self._index.refresh()
            known = self._index.entries.get(key)
            if known is not None and self._path(known.file).is_file():
                return
            file, begin = self._place(len(line))
            with self._path(file).open("ab", buffering=0) as requests:
                requests.truncate(begin)  # what a killed process wrote and did not register
                requests.write(line)
            self._index.append(_Entry(key, question_name, file, begin + len(line)))

    def _place(self, num_bytes: int) -> tuple[int, int]:
        """Return the number of the file that takes a line, and its length as far as it is registered."""
        last, num_lines, end = self._index.last_file()
        is_gone = num_lines > 0 and not self._path(last).is_file()
        is_full = num_lines >= self._most_lines or (num_lines > 0 and end + num_bytes > self._most_bytes)
        return (last + 1, 0) if is_gone or is_full else (last, end)

    def _path(self, file: int) -> Path:
        return self._folder / f"requests-{file:04}.jsonl"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a question is written."""

    key: str
    question: str
    file: int
    end: int


class _KeyIndex:
    """The keys of a folder, read on from where it was read to."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys.jsonl"
        self._offset = 0
        self._files: dict[int, tuple[int, int]] = {}
        self.entries: dict[str, _Entry] = {}

    def refresh(self) -> None:
        """Take in what was appended since; a torn last line waits to be cut off."""
        size = self._path.stat().st_size if self._path.is_file() else 0
        if size < self._offset:
            self._offset, self._files, self.entries = 0, {}, {}
        if size == self._offset:
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if line.endswith(b"\n"):
                    self._offset += len(line)
                    self._take(line)

    def append(self, entry: _Entry) -> None:
        """Register a question; the lock is held and the index is fresh."""
        line = json.dumps(asdict(entry), sort_keys=True).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            file.truncate(self._offset)
            file.write(line)
        self._offset += len(line)
        self._take(line)

    def last_file(self) -> tuple[int, int, int]:
        """Return the number of the last file, how many lines it has, and its length in bytes."""
        last = max(self._files, default=1)
        return (last, *self._files.get(last, (0, 0)))

    def _take(self, line: bytes) -> None:
        try:
            entry = _Entry(**json.loads(line))
            num_lines = self._files.get(entry.file, (0, 0))[0] + 1
        except (ValueError, TypeError):
            return
        self._files[entry.file] = (num_lines, entry.end)
        self.entries[entry.key] = entry


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReport:
    """What a file of results held."""

    stored: Mapping[str, int]
    """Answers that went into the cache, by outcome."""

    failed: Mapping[str, str]
    """Keys whose question failed, with the reason; they are not in the cache."""

    num_unknown: int
    """Lines that answer no question of ours."""

    num_damaged: int
    """Lines that cannot be read."""

    missing: tuple[str, ...]
    """Keys that were asked in the folder and have no answer in the cache now."""


def set_aside(results: Path, folder: Path) -> list[Path]:
    """Rename the request files whose questions occur in some results to `poured-NNNN.jsonl`, and return them.

    So the files that are left are those to be sent, and what failed is written anew by the next run.

    Args:
        results: What was poured.
        folder: The `BatchWriter`'s.
    """
    with locked(folder / "batch.lock"):
        index = _KeyIndex(folder)
        index.refresh()
        keys = {_custom_id(line) for line in _lines(results)}
        files = sorted({entry.file for key, entry in index.entries.items() if key in keys})
        renamed = []
        for number in files:
            path = folder / f"requests-{number:04}.jsonl"
            if path.is_file():
                renamed.append(path.rename(folder / f"poured-{number:04}.jsonl"))
    return renamed


def read_batch(
    results: Path,
    store: AnswerStore,
    folder: Path,
    *,
    ledger: CallLedger | None = None,
    price: Price | None = None,
) -> BatchReport:
    """Pour the results of a batch into the cache, whatever their order.

    Reading the same results twice changes nothing: an answer that is in the cache stays, and is booked once.

    Args:
        results: OpenAI's output or error file, or that of `vllm run-batch`.
        store: The cache: `CachedModel(...).store`.
        folder: The `BatchWriter`'s, to know what was asked.
        ledger: Where answers are booked.
        price: Of the model; a batch costs its `batch_factor`.

    Raises:
        InputError: If there is no such file.
    """
    if not results.is_file():
        raise InputError(f"There is no file of batch results at {results}.")
    index = _KeyIndex(folder)
    index.refresh()
    names = {key: entry.question for key, entry in index.entries.items()}
    stored: dict[str, int] = {}
    failed: dict[str, str] = {}
    num_unknown = num_damaged = 0
    for line in _lines(results):
        key, answer = _read_result(line)
        if key is None:
            num_damaged += 1
        elif key not in names:
            num_unknown += 1
        elif answer.outcome not in KEPT_OUTCOMES:
            failed[key] = answer.detail
        elif store.load(key) is None:
            store.save(key, names[key], answer)
            stored[answer.outcome] = stored.get(answer.outcome, 0) + 1
            if ledger is not None:
                money = None if price is None else price.money(answer.usage, in_batch=True)
                ledger.append(CallRecord.of(names[key], key, answer, money=money, in_batch=True))
    missing = tuple(key for key in names if store.load(key) is None)
    failed = {key: reason for key, reason in failed.items() if key in missing}
    return BatchReport(stored=stored, failed=failed, num_unknown=num_unknown, num_damaged=num_damaged, missing=missing)


def _read_result(line: bytes) -> tuple[str | None, Answer]:
    """Return the key and the answer of a line of results; no key if the line is damaged."""
    nothing = Answer(outcome="error", detail="The batch gave no answer.")
    try:
        entry = json.loads(line)
        key = entry["custom_id"]
    except (ValueError, KeyError, TypeError):
        return None, nothing
    if not isinstance(key, str):
        return None, nothing
    response = entry.get("response") if isinstance(entry.get("response"), Mapping) else {}
    error = entry.get("error")
    status = response.get("status_code")
    if error or status != 200:
        told = error or response.get("body")
        return key, replace(nothing, detail=f"Status {status}: {json.dumps(told)}"[:300])
    return key, read_completion(response.get("body"))


def _custom_id(line: bytes) -> str | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row.get("custom_id") if isinstance(row, dict) else None


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line
