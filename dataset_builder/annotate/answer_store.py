"""Answers kept by a hash of everything that was asked, so that what was paid for once is never paid for again.

    FOLDER/ab/cd/abcd...json    one answer: raw text, outcome, tokens, model, when

The folder may be local or any address that fsspec knows. A file is written beside its place and renamed, so readers and
killed writers never leave half a file; one that is damaged all the same is treated as not there, and is replaced.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from animeshooter_hf.dataset_builder.annotate.accounting import CallLedger, CallRecord
from animeshooter_hf.dataset_builder.annotate.question import Answer, Model, Question, Usage, cache_key

__all__ = ["KEPT_OUTCOMES", "AnswerStore", "CachedModel", "KeptModel"]

KEPT_OUTCOMES = ("ok", "truncated", "blocked", "invalid")
"""Outcomes that the model itself gave; what failed or was skipped is asked again."""

_VERSION = 1


class AnswerStore:
    """A folder of answers.

    Args:
        folder: A path, or an address such as `hf://buckets/ORG/NAME/cache`.
    """

    def __init__(self, folder: str | Path) -> None:
        self._files, self._root = fsspec.url_to_fs(str(folder))

    def path(self, key: str) -> str:
        """Return where the answer of a key is."""
        return f"{self._root}/{key[:2]}/{key[2:4]}/{key}.json"

    def load(self, key: str) -> Answer | None:
        """Return the answer of a key, or None if there is none or it is damaged."""
        try:
            found = json.loads(self._files.cat_file(self.path(key)))
            kept = found["answer"]
            whole = found["version"] == _VERSION and found["key"] == key and found["sha256"] == _checksum(kept)
            answer = Answer(**{**kept, "usage": Usage(**kept["usage"])}) if whole else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return None if answer is None else replace(answer, from_cache=True)

    def save(self, key: str, question_name: str, answer: Answer) -> None:
        """Keep an answer; of several writers, the last one wins."""
        kept = asdict(replace(answer, from_cache=False))
        when = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"version": _VERSION, "key": key, "question": question_name, "when": when}
        data = json.dumps({**entry, "sha256": _checksum(kept), "answer": kept}, indent=1).encode()
        path = self.path(key)
        if not isinstance(self._files, LocalFileSystem):
            self._files.pipe_file(path, data)  # object stores show a file only when it is whole
            return
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}")
        new.write_bytes(data)
        new.replace(place)


def _checksum(kept: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


class KeptModel:
    """Asks a model and keeps what it says the moment it says it, so that a kill while it is booked loses nothing.

    Args:
        model: Whom to ask.
        store: Where answers are kept.
    """

    def __init__(self, model: Model, store: AnswerStore) -> None:
        self.name = model.name
        self._model = model
        self._store = store

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's."""
        return self._model.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the model's answer, which is kept if it is worth keeping."""
        answer = self._model.ask(question)
        if answer.outcome in KEPT_OUTCOMES:
            self._store.save(cache_key(question, self._model.settings_key()), question.name, answer)
        return answer


class CachedModel:
    """Asks a model only what is not yet known.

    Two threads that ask the same new question at the same moment both ask the model.

    Args:
        model: Whom to ask.
        store_dir: Where answers are kept; see `AnswerStore`.
        ledger: Where answers from the store are noted, at no cost.
        is_kept_inside: Whether a `KeptModel` of the same store is inside the model already.
    """

    def __init__(
        self, model: Model, store_dir: str | Path, ledger: CallLedger | None = None, *, is_kept_inside: bool = False
    ) -> None:
        self.name = model.name
        self.store = AnswerStore(store_dir)
        self._model = model if is_kept_inside else KeptModel(model, self.store)
        self._ledger = ledger

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's."""
        return self._model.settings_key()

    def ask(self, question: Question) -> Answer:
        """Return the kept answer, or the model's."""
        key = cache_key(question, self._model.settings_key())
        known = self.store.load(key)
        if known is None:
            return self._model.ask(question)
        if self._ledger is not None:
            self._ledger.append(CallRecord.of(question.name, key, known, money=0.0))
        return known
