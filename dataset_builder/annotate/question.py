"""What is asked of a model and what comes back, whoever the model is.

A question is data: texts, pictures, sounds and clips in order, and the JSON schema of the answer. Its fingerprint is a
hash of all of that (media by content, never by path), so that an answer that was paid for once is never paid for again.
An answer is data too: the raw text is kept whatever it is, and the outcome says what became of the call.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = [
    "Answer", "Clip", "Model", "Outcome", "Part", "Picture", "Question", "Sound", "Text", "Usage", "cache_key",
]  # fmt: skip

Outcome = Literal["ok", "truncated", "blocked", "invalid", "error", "skipped"]
"""`ok` a whole answer; `truncated` cut off at the token limit; `blocked` refused by a filter; `invalid` no answer that
could be used; `error` the call failed for good; `skipped` not asked (budget)."""


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    text: str
    """As they are sent."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG."""

    jpeg: bytes
    """The file."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A WAV."""

    wav: bytes
    """The file."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An mp4."""

    mp4: bytes
    """The file."""


Part = Text | Picture | Sound | Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question."""

    name: str
    """Which one, such as "script"; also the name of its prompt file."""

    parts: tuple[Part, ...]
    """What the model gets, in order."""

    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, or None for free text."""

    max_output_tokens: int = 4096
    """Most tokens of the answer."""

    attempt: int = 0
    """0, or the number of the re-ask; part of the fingerprint, so that a re-ask is another question."""

    prompt_hash: str = ""
    """Hash of the prompt file, for provenance."""

    def fingerprint(self) -> str:
        """Return a SHA-256 over everything that is asked."""
        digest = hashlib.sha256()
        head = [self.name, self.schema, self.max_output_tokens, self.attempt, self.prompt_hash]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for part in self.parts:
            content = part.text.encode() if isinstance(part, Text) else _media(part)
            digest.update(f"{type(part).__name__} {len(content)} ".encode())
            digest.update(content)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call took, in tokens."""

    prompt_tokens: int = 0
    """Read."""

    cached_tokens: int = 0
    """Of those, read from the provider's cache."""

    output_tokens: int = 0
    """Written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    outcome: Outcome
    """What became of the call."""

    text: str | None = None
    """The raw text, whatever it is."""

    detail: str = ""
    """Why it is not ok, in one line."""

    model: str = ""
    """Who answered, with its version."""

    usage: Usage = field(default_factory=Usage)
    """Tokens; those of the original call if the answer came from the cache."""

    seconds: float = 0.0
    """How long the call took, retries included."""

    from_cache: bool = False
    """Whether nothing was sent."""

    lost_calls: int = 0
    """Attempts whose answer never came whole (timeout, broken connection): perhaps billed, in no count of tokens."""


class Model(Protocol):
    """Anything that answers questions."""

    name: str
    """Of the model, for provenance."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what answers depend on beside the question (model, temperature, seed ...), as JSON values."""

    def ask(self, question: Question) -> Answer:
        """Return the answer; only a defect of ours raises, everything else is an outcome. Safe to call from threads."""


def cache_key(question: Question, settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a question and of the settings it is asked with (a model's `settings_key()`)."""
    canonical = json.dumps([question.fingerprint(), settings], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _media(part: Picture | Sound | Clip) -> bytes:
    if isinstance(part, Picture):
        return part.jpeg
    return part.wav if isinstance(part, Sound) else part.mp4
