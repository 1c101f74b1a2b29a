"""The backends in one table: what each is for, where its weights are, and under which licence. Nothing is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass

from animeshooter_hf.eval.backbones.base import BACKBONES, backbone_class

__all__ = ["BackboneRow", "backbone_table", "format_backbone_table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneRow:
    """One backend."""

    name: str
    """What the user writes."""

    source: str
    """Hub ID of the usual weights, or where else they are."""

    license: str
    """Licence of the weights."""

    license_is_read: bool
    """Whether it was read where the weights are published; otherwise it is what we believe."""

    is_gated: bool
    """Whether it must be accepted on the Hub first."""

    has_text: bool
    """Whether it reads captions."""

    purpose: str
    """What it is good for."""

    note: str
    """A caution, or empty."""


def backbone_table() -> list[BackboneRow]:
    """Return a row for each image backend, in the order of the registry."""
    rows = []
    for name in BACKBONES:
        found = backbone_class(name)
        rows.append(
            BackboneRow(
                name=name,
                source=found.source,
                license=found.license,
                license_is_read=found.license_is_read,
                is_gated=found.is_gated,
                has_text=found.has_text,
                purpose=found.purpose,
                note=found.note,
            )
        )
    return rows


def format_backbone_table(rows: Sequence[BackboneRow] | None = None) -> str:
    """Return the table as lines of text for a terminal; a licence that was not read ends in a question mark."""
    cells = [("backend", "weights", "licence", "text", "for")]
    for row in backbone_table() if rows is None else rows:
        license_ = row.license + ("" if row.license_is_read else " ?") + (", gated" if row.is_gated else "")
        cells.append((row.name, row.source, license_, "yes" if row.has_text else "", row.purpose))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    lines = ["  ".join([*(line[i].ljust(widths[i]) for i in range(4)), line[4]]).rstrip() for line in cells]
    return "\n".join([*lines, "?: believed, not read where the weights are published."])
