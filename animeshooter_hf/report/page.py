"""One HTML page that works from disk: headline figures, then sections of text, tables, pictures and players."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = [
    "Block",
    "Figure",
    "Player",
    "Section",
    "code",
    "link",
    "picture",
    "players",
    "table",
    "text",
    "warning",
    "write_page",
]

_NUMBER = re.compile(r"[-+]?[\d.,:–/%]+")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number at the head of the page."""

    value: str
    """As it is shown."""

    name: str
    """What it is, in one line."""


@dataclass(frozen=True, slots=True)
class Player:
    """A film on the page."""

    source: str
    """Address relative to the page."""

    text: str
    """Line below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One part of a section; the functions below make them."""

    kind: Literal["text", "warning", "code", "link", "picture", "players", "table"]
    """How it is shown."""

    text: str = ""
    """Words, or the caption."""

    source: str = ""
    """Address of a picture or of another page, relative to the page."""

    players: Sequence[Player] = ()
    """Films, side by side."""

    header: Sequence[str] = ()
    """Head of a table."""

    rows: Sequence[Sequence[str]] = ()
    """Rows of a table, each as long as its head."""

    @property
    def word_columns(self) -> list[int]:
        """Positions of the columns that hold words: they are set flush left and may wrap, numbers do neither."""
        return [
            column
            for column in range(len(self.header))
            if any(row[column] != "–" and not _NUMBER.fullmatch(row[column]) for row in self.rows)
        ]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of the page."""

    title: str
    """Its heading."""

    blocks: Sequence[Block] = field(default_factory=tuple)
    """What it holds, in order."""

    @property
    def anchor(self) -> str:
        """Return the name by which a link finds it."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def text(words: str) -> Block:
    """Return a paragraph."""
    return Block(kind="text", text=words)


def warning(words: str) -> Block:
    """Return a paragraph that stands out."""
    return Block(kind="warning", text=words)


def code(words: str) -> Block:
    """Return text to be typed."""
    return Block(kind="code", text=words)


def link(source: str, words: str) -> Block:
    """Return a link to another page."""
    return Block(kind="link", source=source, text=words)


def picture(source: str, words: str) -> Block:
    """Return a picture with its caption."""
    return Block(kind="picture", source=source, text=words)


def players(films: Sequence[Player]) -> Block:
    """Return films side by side."""
    return Block(kind="players", players=films)


def table(header: Sequence[str], rows: Sequence[Sequence[object]], words: str = "") -> Block:
    """Return a table; a missing value (None) is shown as a dash.

    Raises:
        ValueError: If a row is not as long as the head.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"A row of {len(row)} cells does not fit a table of {len(header)} columns.")
    return Block(kind="table", header=header, rows=[[_cell(cell) for cell in row] for row in rows], text=words)


def write_page(
    path: Path, *, title: str, subtitle: str, headline: Sequence[Figure], sections: Sequence[Section]
) -> Path:
    """Write the page, complete or not at all, and return its path."""
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    html = environment.get_template("page.html.jinja").render(
        title=title, subtitle=subtitle, headline=headline, sections=sections
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(html, encoding="utf-8")
    return partial.replace(path)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
