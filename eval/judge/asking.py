"""One question until there is a usable reply: asked, then repaired once, then tried anew with other seeds.

Each call is looked up in the log first and kept there after, so a run that was killed in the middle of this goes on
in the middle of this.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from animeshooter_hf.eval.judge.backends import JudgeBackend
from animeshooter_hf.eval.judge.judge_log import JudgeLog
from animeshooter_hf.eval.judge.order import position_label
from animeshooter_hf.eval.judge.parse import JudgeAnswer, ReplyProblem, parse_reply
from animeshooter_hf.eval.judge.prompts import prompt_text
from animeshooter_hf.eval.judge.protocols import JudgeSettings
from animeshooter_hf.eval.judge.question import JudgeQuestion, JudgeReply

__all__ = ["AskedQuestion", "ask_until_usable"]

_SEED_STEP = 1_000_003
"""Between the seeds of new tries, so that they are no other round's. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedQuestion:
    """What became of a question."""

    answer: JudgeAnswer | None
    """The marks or choices; None if there is no usable reply."""

    reason: str
    """Why there is none: a kind of `parse.PROBLEMS`, "blocked" or "error"; "" where there is one."""

    detail: str
    """What exactly, of the last call."""

    problems: tuple[str, ...]
    """Kind of each reply that could not be used, in order."""

    keys: tuple[str, ...]
    """Of the replies that went into it, in the log; those that were there before included."""

    num_sent: int
    """Of those, asked in this run."""

    model: str
    """Who answered last."""

    prompt_tokens: int
    """Read, in this run."""

    output_tokens: int
    """Written, in this run."""


def ask_until_usable(
    question: JudgeQuestion, backend: JudgeBackend, log: JudgeLog, settings: JudgeSettings
) -> AskedQuestion:
    """Return the answer to a question, or why there is none.

    A call that fails ends it at once: it has been retried already, and the next run asks it again.

    Raises:
        InputError: If the judge cannot be asked anything, or the log cannot be written.
    """
    labels = tuple(position_label(position) for position in range(len(question.order)))
    problems: list[str] = []
    reason = detail = model = ""
    keys: list[str] = []
    num_sent = prompt_tokens = output_tokens = 0
    answer: JudgeAnswer | None = None
    tries = _Tries(question, settings)
    for attempt, tried in enumerate(tries):
        key_settings = backend.settings_key()
        keys.append(tried.key(key_settings))
        known = log.find(keys[-1])
        reply = known or backend.ask(tried)
        answer, reason, detail = _read(reply, labels, question.protocol == "pairwise")
        if known is None:
            parsed = None if answer is None else _plain(answer, labels)
            problem = f"{reason}: {detail}" if reason else ""
            log.append(tried, key_settings, reply, attempt=attempt, parsed=parsed, problem=problem)
            num_sent += reply.outcome != "error"
            prompt_tokens += reply.prompt_tokens
            output_tokens += reply.output_tokens
        model = reply.model
        if answer is not None or reason == "error":
            break
        problems.append(reason)
        tries.note(reply, detail)
    return AskedQuestion(
        answer=answer,
        reason=reason,
        detail=detail,
        problems=tuple(problems),
        keys=tuple(keys),
        num_sent=num_sent,
        model=model,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )


class _Tries:
    """The question, its repair, and the same question with other seeds."""

    def __init__(self, question: JudgeQuestion, settings: JudgeSettings) -> None:
        self._question = question
        self._settings = settings
        self._first_reply: tuple[str, str] = ("", "")

    def note(self, reply: JudgeReply, detail: str) -> None:
        """Remember a reply that could not be used; the first one may be repaired."""
        self._first_reply = self._first_reply if self._first_reply[1] else (reply.text, detail)

    def __iter__(self) -> Iterator[JudgeQuestion]:
        question, settings = self._question, self._settings
        yield question
        text, detail = self._first_reply
        if text.strip():
            yield question.followed_by(text[:_MAX_REPAIRED_CHARACTERS], prompt_text("repair", problem=detail))
        asked = question.temperature
        warmth = None if asked is None else max(asked, settings.retry_temperature)
        for number in range(1, settings.num_retries + 1):
            yield replace(question, seed=question.seed + number * _SEED_STEP, temperature=warmth)


_MAX_REPAIRED_CHARACTERS = 20_000
"""Of an unusable reply, what the judge is shown again. Our choice."""


def _read(reply: JudgeReply, labels: tuple[str, ...], wants_choice: bool) -> tuple[JudgeAnswer | None, str, str]:
    """Return the answer, the kind of problem and its words."""
    if reply.outcome in ("error", "blocked"):
        return None, reply.outcome, reply.detail or reply.outcome
    found = parse_reply(reply.text, labels, wants_choice=wants_choice)
    if isinstance(found, ReplyProblem):
        kind = "truncated" if reply.outcome == "truncated" and found.kind in ("no_json", "empty") else found.kind
        return None, kind, str(found)
    return found, "", ""


def _plain(answer: JudgeAnswer, labels: tuple[str, ...]) -> dict[str, object]:
    """Return an answer as JSON values."""
    if answer.choices is not None:
        return {name: "tie" if choice is None else labels[choice] for name, choice in answer.choices.items()}
    return {label: dict(marks) for label, marks in zip(labels, answer.scores, strict=True)}
