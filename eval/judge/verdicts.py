"""What came of each question of a run."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.eval.judge.asking import AskedQuestion
from animeshooter_hf.eval.judge.parse import JudgeAnswer
from animeshooter_hf.eval.judge.protocols import JudgeSettings

__all__ = ["JudgeRun", "Verdict"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One question, answered or not."""

    story_id: str
    """Its story."""

    ip_id: str
    """Whom the story is about."""

    round_index: int
    """From 0."""

    systems: tuple[str, ...]
    """Who stood at each position."""

    asked: AskedQuestion | None = None
    """What came back; None if it could not be asked."""

    problem: str = ""
    """Why it could not be asked: a file that cannot be read."""

    @property
    def answer(self) -> JudgeAnswer | None:
        """The marks or choices, or None."""
        return self.asked.answer if self.asked is not None else None

    @property
    def reason(self) -> str:
        """Why there is no answer, in a word; "" where there is one."""
        return "unreadable" if self.asked is None else self.asked.reason


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeRun:
    """All that a judge said in one run."""

    settings: JudgeSettings
    """What was asked."""

    model: str
    """Who was asked."""

    judge_settings: Mapping[str, Any]
    """How, beside the question; see `JudgeBackend.settings_key`."""

    systems: tuple[str, ...]
    """Who was judged."""

    verdicts: tuple[Verdict, ...]
    """One per question, in the order of the plan."""

    skipped: Mapping[tuple[str, str], str]
    """(system, story) -> why it was not asked about."""

    notes: tuple[str, ...] = ()
    """Cautions."""

    @property
    def signature(self) -> str:
        """Exactly what was computed."""
        return self.settings.signature(self.model, self.judge_settings)

    def failures(self) -> Mapping[str, int]:
        """Return why questions have no answer -> how many."""
        return dict(Counter(verdict.reason for verdict in self.verdicts if verdict.answer is None))

    def reply_problems(self) -> Mapping[str, int]:
        """Return what was wrong with replies -> how many, those included that a later try made good."""
        kinds = (kind for verdict in self.verdicts if verdict.asked is not None for kind in verdict.asked.problems)
        return dict(Counter(kinds))

    def answered_by(self) -> tuple[str, ...]:
        """Return the models that answered, as they call themselves."""
        return tuple(
            sorted({verdict.asked.model for verdict in self.verdicts if verdict.asked and verdict.asked.model})
        )

    def keys_of(self, system: str) -> frozenset[str]:
        """Return the log's keys of all replies that a system's marks rest on."""
        own = (verdict.asked for verdict in self.verdicts if system in verdict.systems)
        return frozenset(key for one in own if one is not None for key in one.keys)

    def calls(self) -> Mapping[str, int]:
        """Return counts of this run: questions, replies, those sent now, tokens of those."""
        asked = [verdict.asked for verdict in self.verdicts if verdict.asked is not None]
        return {
            "questions": len(self.verdicts),
            "replies": sum(len(one.keys) for one in asked),
            "sent_now": sum(one.num_sent for one in asked),
            "prompt_tokens_now": sum(one.prompt_tokens for one in asked),
            "output_tokens_now": sum(one.output_tokens for one in asked),
        }
