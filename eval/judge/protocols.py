"""Which questions there are: one system at a time, two against each other, or all in one prompt.

    pointwise   one system, a fixed rubric with anchors: marks that do not depend on who else takes part
    pairwise    two systems, each pair in both orders: who is better, where disagreement of the orders is a tie
    paper       all systems in one prompt, rounds in a cyclic Latin square: marks that are relative to the others

Source: AnimeShooter, arXiv 2506.03126, appendix C.4 and figure 11 (reference first, captions second, a sheet of 3
frames per shot for each system, marks 1-10 on OQ, CRC, MSC and MCC, 3 rounds with the order changed). The words are
ours.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.anchors import Anchor, anchor_parts
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS, HIGHEST_MARK, LOWEST_MARK
from animeshooter_hf.eval.judge.grid import PictureSettings, SentPicture
from animeshooter_hf.eval.judge.layout import story_parts
from animeshooter_hf.eval.judge.order import latin_orders, position_label
from animeshooter_hf.eval.judge.prompts import prompt_text, prompts_hash
from animeshooter_hf.eval.judge.question import JudgeQuestion, Turn
from animeshooter_hf.eval.judge.story_pictures import StoryPictures

__all__ = ["PROTOCOLS", "JudgeSettings", "make_question", "plan_orders"]

PROTOCOLS = ("pointwise", "pairwise", "paper")
"""How questions are put."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSettings:
    """What is asked, and how often. Who is asked is the backend's."""

    protocol: str = "pointwise"
    """One of `PROTOCOLS`."""

    num_rounds: int | None = None
    """Times that everything is asked. None: 1, and for `paper` the number of systems, so that each stands at each
    position once. Paper: 3 rounds for 3 systems."""

    seed: int = 0
    """Of the first round; each round adds 1."""

    temperature: float | None = 0.0
    """Of sampling; None leaves it to the server. Our choice: 0."""

    retry_temperature: float = 0.7
    """Of new tries after replies that cannot be used. Our choice: at 0 a new seed would change nothing."""

    num_retries: int = 3
    """New tries with new seeds, after one request to repair the reply. Our choice."""

    max_output_tokens: int = 2048
    """Most tokens of a reply. Our choice: room for feedback on three systems."""

    pictures: PictureSettings = field(default_factory=PictureSettings)
    """How stories are shown."""

    anchors: tuple[Anchor, ...] = ()
    """Stories with fixed marks that stand before the one in question (`pointwise`)."""

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InputError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {self.protocol!r}.")
        if self.num_rounds is not None and self.num_rounds < 1:
            raise InputError(f"The number of rounds must be at least 1, got {self.num_rounds}.")
        if self.num_retries < 0 or self.max_output_tokens < 1:
            raise InputError("num_retries must be at least 0 and max_output_tokens at least 1.")
        for name in ("temperature", "retry_temperature"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 2:
                raise InputError(f"{name} must lie in 0 to 2, got {value}.")
        if self.anchors and self.protocol != "pointwise":
            raise InputError(
                f"Anchors belong to the protocol pointwise; {self.protocol} compares systems with each other."
            )

    def signature(self, model: str, judge_settings: Mapping[str, Any]) -> str:
        """Return exactly what is computed; only equal signatures may be compared."""
        pictures, rounds = self.pictures, "k" if self.num_rounds is None else self.num_rounds
        judge = hashlib.sha256(json.dumps(judge_settings, sort_keys=True).encode()).hexdigest()[:8]
        anchors = "+".join(anchor.digest[:8] for anchor in self.anchors) or "none"
        return (
            f"judge_{self.protocol}|{model}|judge:{judge}|prompts:{prompts_hash(self.protocol)}|anchors:{anchors}"
            f"|grid:{pictures.frames_per_shot}bc@{pictures.cell_long_side},{pictures.rows_per_sheet}rows|refs:white"
            f"@{pictures.reference_long_side}|rounds:{rounds}|t:{self.temperature}|seed:{self.seed}"
            f"|retry:{self.num_retries}@{self.retry_temperature}|tokens:{self.max_output_tokens}|v1"
        )


def plan_orders(settings: JudgeSettings, num_systems: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the questions about one story: (round, which system stands at each position).

    Raises:
        InputError: If the protocol needs more systems.
    """
    if num_systems < (1 if settings.protocol == "pointwise" else 2):
        raise InputError(f"The protocol {settings.protocol} compares systems: name at least two.")
    rounds = settings.num_rounds or (num_systems if settings.protocol == "paper" else 1)
    if settings.protocol == "pointwise":
        return tuple((number, (system,)) for number in range(rounds) for system in range(num_systems))
    if settings.protocol == "pairwise":
        pairs = combinations(range(num_systems), 2)
        return tuple((number, order) for a, b in pairs for number in range(rounds) for order in ((a, b), (b, a)))
    return tuple(enumerate(latin_orders(num_systems, rounds)))


def make_question(
    settings: JudgeSettings,
    *,
    story_id: str,
    ip_id: str,
    captions: Sequence[str],
    round_index: int,
    order: Sequence[int],
    names: Sequence[str],
    pictures: Sequence[StoryPictures],
) -> JudgeQuestion:
    """Return one question.

    Args:
        settings: What is asked.
        story_id: Of the story.
        ip_id: Whom it is about.
        captions: One per shot, or none.
        round_index: From 0.
        order: Which system stands at each position.
        names: Names of all systems of the run; they are not sent.
        pictures: Of all systems of the run, at the same places.
    """
    labels = tuple(position_label(position) for position in range(len(order)))
    words: dict[str, str | int] = {"frames_per_shot": settings.pictures.frames_per_shot}
    if settings.protocol == "paper":
        words |= {"num_systems": len(order), "labels": _list(labels)}
    parts: list[str | SentPicture] = [prompt_text(settings.protocol, **words)]
    for number, anchor in enumerate(settings.anchors, start=1):
        parts += anchor_parts(anchor, number)
    parts += story_parts(captions, [pictures[system] for system in order], labels)
    answer_words = {"labels": _list(labels)} if settings.protocol == "paper" else {}
    parts.append(prompt_text(f"{settings.protocol}_answer", **answer_words))
    return JudgeQuestion(
        protocol=settings.protocol,
        story_id=story_id,
        ip_id=ip_id,
        round_index=round_index,
        systems=tuple(names[system] for system in order),
        order=tuple(order),
        turns=(Turn("user", tuple(parts)),),
        seed=settings.seed + round_index,
        temperature=settings.temperature,
        max_output_tokens=settings.max_output_tokens,
        schema=_schema(settings.protocol, labels),
    )


def _list(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def _schema(protocol: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of a reply, in the strict form that all servers take."""
    feedback = _object({name: {"type": "string"} for name in DIMENSIONS})
    if protocol == "pairwise":
        choice = {"type": "string", "enum": [*labels, "tie"]}
        return _object({"choices": _object(dict.fromkeys(DIMENSIONS, choice)), "feedback": feedback})
    mark = {"type": "integer", "minimum": LOWEST_MARK, "maximum": HIGHEST_MARK}
    marks = _object({"scores": _object(dict.fromkeys(DIMENSIONS, mark)), "feedback": feedback})
    if protocol == "pointwise":
        return marks
    return _object({**dict.fromkeys(labels, marks), "comparative_analysis": {"type": "string"}})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
