"""A board as a table: on stdout, and in Markdown for a README."""

from collections.abc import Mapping, Sequence
from typing import Any

from animeshooter_hf.eval.leaderboard.board_site import ComparedBoard
from animeshooter_hf.eval.leaderboard.columns import column_words, metric_title
from animeshooter_hf.eval.leaderboard.ranking import Cell, Column, Entry
from animeshooter_hf.eval.leaderboard.system_table import column_key

__all__ = ["board_json", "board_markdown", "board_text", "ordered_entries"]

_ORDER = ("ranked", "gated", "truth", "adversarial", "reported")


def ordered_entries(column: Column, entries: Sequence[Entry]) -> list[Entry]:
    """Return the rows as the page shows them: ranked ones first, best first, then what is not ranked."""

    def order(entry: Entry) -> tuple[int, bool, bool, float, str]:
        cell = column.cells.get(entry.key)
        value = None if cell is None else cell.number.value
        worth = 0.0 if value is None else value if column.direction == "lower" else -value
        return _ORDER.index(entry.status), cell is None or cell.rank is None, value is None, worth, entry.key

    return sorted(entries, key=order)


def board_text(compared: ComparedBoard) -> str:
    """Return the board for reading in a terminal: rank, system, headline with interval, stories, flags."""
    board, column = compared.board, compared.board.primary
    if column is None:
        return f"{board.key}: no number that can be ranked.\n"
    head, rows = _rows(compared, column)
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    about = [board.benchmark.id or "no named benchmark", board.benchmark.revision, board.benchmark.track]
    ties = sum(not one.can_be_told_apart for one in compared.neighbours.get(column_key(board, column), ()))
    notes = [f"{ties} pairs of neighbours cannot be told apart (=)."] if ties else []
    title = " · ".join(part for part in about if part)
    return "\n".join([title, *lines, *notes, f"signature: {column.signature}"]) + "\n"


def board_markdown(compared: ComparedBoard) -> str:
    """Return the board as a table of Markdown; what could be read as markup is escaped."""
    column = compared.board.primary
    if column is None:
        return ""
    head, rows = _rows(compared, column)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_escape, row)) + " |" for row in lines) + f"\n\n`{column.signature}`\n"


def board_json(compared: ComparedBoard) -> dict[str, Any]:
    """Return the board as plain JSON values, rows in the order of the table."""
    board, column = compared.board, compared.board.primary
    made: dict[str, Any] = {
        "board": board.key,
        "benchmark": board.benchmark.id,
        "revision": board.benchmark.revision,
        "track": board.benchmark.track,
        "stories": len(board.story_ids),
        "sorted_by": None if column is None else column_key(board, column),
        "rows": [],
    }
    entries = board.entries if column is None else ordered_entries(column, board.entries)
    for entry in entries:
        numbers = {
            column_key(board, one): _cell_json(one.cells[entry.key])
            for one in board.columns
            if entry.key in one.cells and (one.is_headline or board.is_reported)
        }
        made["rows"].append(
            {"system": entry.key, "status": entry.status, "fails": list(entry.failed_controls), "numbers": numbers}
        )
    return made


def _cell_json(cell: Cell) -> dict[str, Any]:
    number = cell.number
    return {
        "value": number.value,
        "low": number.low,
        "high": number.high,
        "rank": cell.rank,
        "ranks": None if cell.best_rank is None else [cell.best_rank, cell.worst_rank],
        "coverage": round(cell.coverage, 4),
    }


def _rows(compared: ComparedBoard, column: Column) -> tuple[list[str], list[list[str]]]:
    board = compared.board
    ties = {one.first for one in compared.neighbours.get(column_key(board, column), ()) if not one.can_be_told_apart}
    words = column_words(column.metric, column.name).title
    head = ["rank", "system", f"{metric_title(column.metric)}: {words}", "95 %", "stories", "flags"]
    return head, [_row(entry, column.cells.get(entry.key), ties) for entry in ordered_entries(column, board.entries)]


def _row(entry: Entry, cell: Cell | None, ties: set[str]) -> list[str]:
    flags = [f"fails {control}" for control in entry.failed_controls]
    if entry.status not in ("ranked", "gated"):
        flags.insert(0, entry.status)
    if cell is None or cell.number.value is None:
        return ["-", entry.key, "-", "-", "-", ", ".join(flags)]
    number = cell.number
    if entry.status == "ranked" and cell.rank is None:
        flags.append("too few stories")
    interval = "-" if number.low is None or number.high is None else f"{number.low:.4f}-{number.high:.4f}"
    coverage = "" if cell.coverage > 0.9995 else f" ({int(100 * cell.coverage)} %)"
    return [
        _rank(cell, ties),
        entry.key,
        f"{number.value:.4f}",
        interval,
        f"{number.n_evaluated}{coverage}",
        ", ".join(flags),
    ]


def _rank(cell: Cell, ties: set[str]) -> str:
    if cell.rank is None:
        return "-"
    span = "" if cell.best_rank in (None, cell.worst_rank) else f" ({cell.best_rank}-{cell.worst_rank})"
    return f"{cell.rank}{span}{' =' if cell.entry in ties else ''}"


def _escape(text: str) -> str:
    escapes: Mapping[str, str] = {sign: f"\\{sign}" for sign in "\\`*_[]<>|#~"} | {"\n": " ", "\r": " "}
    return "".join(escapes.get(sign, sign) for sign in text)
