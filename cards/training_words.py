"""The part of a card that tells how the weights were trained; what nobody knows is left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TrainingFacts", "add_training"]

STAGE_WORDS = {
    "align": "condition alignment: the adapter learns to give the text encoder's features of a caption",
    "single": "single shot: from references and a caption to a shot",
    "multi": "multi shot: windows of shots, each after the true last frame of the one before",
    "enhance": "enhancement: a LoRA of the video model, from a few clips of one IP",
}
"""Stage -> what it does, after AnimeShooter, arXiv 2506.03126, appendix B.2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingFacts:
    """How weights were trained."""

    stage: str
    """One of the paper's four."""

    steps: int
    """Optimizer steps."""

    batch_size: int
    """Windows of a step."""

    window: int
    """Shots of a window."""

    num_windows: int
    """Windows in the data."""

    seed: int
    """Of the training."""

    dataset: str
    """What it was trained on, in words; "" if nobody said."""

    began_with: str
    """Where the weights came from before."""

    trained_parts: Mapping[str, str] = field(default_factory=dict)
    """Component -> how it was trained."""

    optimizer: str = ""
    """Optimizer and learning rate, in words."""

    last_loss: float | None = None
    """Mean loss of the last steps."""

    command: str = ""
    """Command that trains it again; "" where it was trained from code."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """Name -> value, of the last validation."""

    samples: Sequence[str] = ()
    """Pictures of the last validation, relative to the card."""


def add_training(card: Path, facts: TrainingFacts) -> None:
    """Write a section on the training into a card, before its limits."""
    text = card.read_text(encoding="utf-8")
    before, mark, after = text.partition("\n## Limits\n")
    card.write_text(f"{before}\n{_section(facts)}{mark}{after}", encoding="utf-8")


def _section(facts: TrainingFacts) -> str:
    rows = {
        "stage": f"`{facts.stage}`, {STAGE_WORDS.get(facts.stage, 'a stage of its own')}",
        "began with": facts.began_with,
        "data": f"{facts.dataset or 'not named'}: {facts.num_windows:,} windows of {facts.window} "
        f"shot{'s' if facts.window > 1 else ''}",
        "trained": ", ".join(f"{name} ({how})" for name, how in facts.trained_parts.items()),
        "steps": f"{facts.steps:,} with {facts.batch_size} windows each, seed {facts.seed}",
        "optimizer": facts.optimizer,
        "loss of the last steps": "" if facts.last_loss is None else f"{facts.last_loss:.4f}",
    }
    lines = ["## Training", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items() if value]
    if facts.command:
        lines += ["", "```", facts.command, "```"]
    if facts.scores:
        lines += ["", "| score of the last validation | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in facts.scores.items()]
    if facts.samples:
        lines += ["", "Stories that were generated at the end, a row for each shot with its references in front:", ""]
        lines += [f"![{name}]({name})" for name in facts.samples]
    return "\n".join(lines) + "\n"
