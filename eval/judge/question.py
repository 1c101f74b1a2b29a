"""What is asked of a judge and what comes back, whoever the judge is.

A question is data: turns of texts and pictures in order. Its key is a hash of all of that, of the settings it is asked
with and of its place in the run, so that what was answered once is not asked again and what changed is.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from animeshooter_hf.eval.judge.grid import SentPicture

__all__ = ["JudgeQuestion", "JudgeReply", "Outcome", "Turn"]

Outcome = Literal["ok", "truncated", "blocked", "error"]
"""`ok` a whole reply, whatever it says; `truncated` cut off at the token limit; `blocked` refused by the model or a
filter; `error` the call failed, and may be asked again another day."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation."""

    role: Literal["user", "assistant"]
    """Who speaks."""

    parts: tuple[str | SentPicture, ...]
    """Texts and pictures, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeQuestion:
    """One question about one story."""

    protocol: str
    """One of `PROTOCOLS`."""

    story_id: str
    """Of the story."""

    ip_id: str
    """Whom it is about."""

    round_index: int
    """From 0."""

    systems: tuple[str, ...]
    """Who stands at each position. Never sent."""

    order: tuple[int, ...]
    """The same as numbers among the systems of the run."""

    turns: tuple[Turn, ...]
    """What is sent."""

    seed: int
    """Of sampling, where the judge honours it."""

    temperature: float | None
    """0 is greedy; None leaves it to the server."""

    max_output_tokens: int
    """Most tokens of the reply."""

    schema: Mapping[str, Any]
    """JSON schema of the reply, for judges that can be held to one."""

    def texts(self) -> tuple[str, ...]:
        """Return the texts of all turns."""
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, str))

    def pictures(self) -> tuple[SentPicture, ...]:
        """Return the pictures of all turns."""
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, SentPicture))

    def prompt_hash(self) -> str:
        """Return a SHA-256 of the texts and their order among the pictures, not of the pictures."""
        content = [
            [turn.role, *(part if isinstance(part, str) else None for part in turn.parts)] for turn in self.turns
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def key(self, settings: Mapping[str, Any]) -> str:
        """Return the SHA-256 of everything that is asked and of the judge's settings.

        Names of systems are not in it, nor how many others take part in the run.
        """
        ranks = [sorted(self.order).index(system) for system in self.order]
        content = [
            self.protocol,
            self.story_id,
            self.round_index,
            ranks,
            self.prompt_hash(),
            [picture.digest for picture in self.pictures()],
            self.seed,
            self.temperature,
            self.max_output_tokens,
            settings,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def followed_by(self, reply: str, words: str) -> "JudgeQuestion":
        """Return the question with the judge's reply and our answer to that at its end."""
        return replace(self, turns=(*self.turns, Turn("assistant", (reply,)), Turn("user", (words,))))


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReply:
    """What came back."""

    outcome: Outcome
    """What became of the call."""

    text: str = ""
    """As it came."""

    detail: str = ""
    """Why it is not ok, in one line."""

    model: str = ""
    """Who answered, with version or revision as far as it is known."""

    prompt_tokens: int = 0
    """Read."""

    output_tokens: int = 0
    """Written."""

    seconds: float = 0.0
    """How long the call took, retries included."""
