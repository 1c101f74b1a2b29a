"""The exact plan of a publication: each file with its size and what happens to it, and what stays here and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from animeshooter_hf.dataset_builder.publish.policy import Policy
from animeshooter_hf.dataset_builder.publish.settings import Gate

__all__ = ["FileState", "LeftOut", "PlannedFile", "PublishPlan", "show_size"]

FileState = Literal["new", "changed", "unchanged", "deleted"]
"""What happens to a file."""

_SHOWN = 12
_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """A file of the repository."""

    path: str
    """In the repository."""

    num_bytes: int
    """Its size."""

    state: FileState
    """What happens to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """Something of the folder that is not published."""

    what: str
    """Such as "config audio", "pixels of LvJRvwIDh0E" or "file build_report.json"."""

    reason: str
    """Why not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishPlan:
    """What a publication does."""

    repo_id: str
    """The repository."""

    revision: str
    """Its branch."""

    is_new: bool
    """Whether there is no such repository yet, or none that we may see."""

    policy: Policy
    """What goes up."""

    private: bool | None
    """Whether it becomes private; None leaves it."""

    gated: Gate | None
    """Who gets in; None leaves it."""

    tag: str | None
    """The tag that the commit gets; None if none."""

    rows: Mapping[str, Mapping[str, int]]
    """Config -> split -> rows, as published."""

    files: tuple[PlannedFile, ...]
    """Every file of ours in the repository, by path."""

    num_bytes: int
    """What is sent."""

    left_out: tuple[LeftOut, ...] = field(default=())
    """What stays here."""

    @property
    def changes(self) -> bool:
        """Whether there is anything to do to the files."""
        return any(file.state != "unchanged" for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {**asdict(self), "changes": self.changes}

    def to_text(self) -> str:
        """Return the plan as a person reads it."""
        lines = [f"{self.repo_id}, branch {self.revision}: {_standing(self)}", f"policy: {self.policy}"]
        for config, by_split in self.rows.items():
            rows = ", ".join(f"{split} {count:,}" for split, count in by_split.items())
            lines.append(f"  {config:12}{rows} rows")
        width = max((len(file.path) for file in self.files), default=0)
        for file in self.files:
            lines.append(f"  {file.state:10}{file.path:{width}}  {file.num_bytes:>15,} bytes")
        if self.left_out:
            lines.append("left out:")
            lines += [f"  {what}: {reason}" for what, reason in _grouped(self.left_out)]
        counts = ", ".join(
            f"{number} {state}" for state in ("new", "changed", "unchanged", "deleted")
            if (number := sum(file.state == state for file in self.files))
        )  # fmt: skip
        lines.append(f"{counts}; {self.num_bytes:,} bytes ({show_size(self.num_bytes)}) to send")
        return "\n".join(lines) + "\n"


def show_size(num_bytes: int) -> str:
    """Return a size for people.

    Example:
        >>> show_size(1_234_567)
        '1.2 MB'
    """
    value, unit = float(num_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _standing(plan: PublishPlan) -> str:
    private = {None: "visibility as it is", True: "private", False: "public"}[plan.private]
    if plan.is_new and plan.private is None:
        private = "visibility as the account's default"
    gated = "" if plan.gated is None else f", gated: {plan.gated}"
    changes = "" if plan.changes else ", nothing changed"
    tag = f"tag {plan.tag}" if plan.tag else "no new tag"
    return f"{'a new repository' if plan.is_new else 'there already'}, {private}{gated}, {tag}{changes}"


def _grouped(left_out: Sequence[LeftOut]) -> list[tuple[str, str]]:
    """Return (what, reason), long lists cut: `--json` holds them whole."""
    shown = [(one.what, one.reason) for one in left_out[:_SHOWN]]
    if len(left_out) > _SHOWN:
        shown.append((f"and {len(left_out) - _SHOWN:,} more", "see --json"))
    return shown
