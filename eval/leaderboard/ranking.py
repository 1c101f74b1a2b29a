"""From runs to boards: what may be compared stands in one column, everything else apart.

board     one benchmark at one revision, one track. Runs that name no benchmark share a board only if they scored
the same stories. What is only reported stands on a board of its own.
row       one system at one revision; several runs of it (one per backbone, say) are one row
column    one number under one signature: two signatures are two columns, and are never ranked together
rank      only models that fail no control and have nearly all stories. The range of ranks follows from the
intervals: at best after all that lie wholly above, at worst before all that lie wholly below.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.leaderboard.columns import column_place, column_words, known_metrics
from animeshooter_hf.eval.leaderboard.results_records import (
    Benchmark,
    CorpusValue,
    GateResult,
    ResultsRun,
    StoryRow,
    System,
)

__all__ = ["SMALLEST_COVERAGE", "Board", "Cell", "Column", "Entry", "Status", "make_boards"]

SMALLEST_COVERAGE = 0.95
"""Share of the board's stories that a ranked number must rest on. Our choice: a few broken files exclude nobody, and
leaving out the worst tenth of one's stories does not pay."""

Status = Literal["ranked", "gated", "truth", "adversarial", "reported"]
"""Where a row stands: a model that fails no control, one that does, and what is only there to be looked at."""

HEADLINE_ORDER = (
    ("reference_fidelity", "harmean_p"),
    ("cross_shot_consistency", "character_pairwise"),
    ("cross_shot_consistency", "pairwise"),
    ("judge_pointwise", "crc"),
    ("paper_clip", "harmean_p"),
)
"""By which number a board is sorted at first. Paper: HarMeanP."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Entry:
    """A row: a system at one revision."""

    key: str
    """Unique on its board, stable from one making of the site to the next."""

    system: System
    """As the first of its runs says."""

    status: Status
    """Where it stands."""

    runs: tuple[ResultsRun, ...]
    """Its runs, of different signatures."""

    gates: tuple[GateResult, ...]
    """Controls of all runs, the worse result where two runs have the same."""

    @property
    def failed_controls(self) -> tuple[str, ...]:
        """Names of the controls that gate it."""
        return tuple(gate.control for gate in self.gates if gate.is_gated and not gate.is_experimental)

    def run_of(self, metric: str, signature: str) -> ResultsRun | None:
        """Return the run with this metric under this signature, or None."""
        return next((run for run in self.runs if run.signatures.get(metric) == signature), None)

    def story_rows(self) -> dict[str, StoryRow]:
        """Return story -> its row of the first run that has it."""
        rows: dict[str, StoryRow] = {}
        for run in self.runs:
            for story in run.stories:
                rows.setdefault(story.story_id, story)
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A number of a row."""

    entry: str
    """Key of the row."""

    number: CorpusValue
    """The number."""

    coverage: float
    """Share of the board's stories that it rests on, those aside to which it does not apply."""

    rank: int | None = None
    """From 1; None if it is not ranked."""

    best_rank: int | None = None
    """Rank at best; None if it is not ranked or intervals are missing."""

    worst_rank: int | None = None
    """Rank at worst."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Column:
    """One number under one signature."""

    metric: str
    """Metric."""

    name: str
    """Number."""

    signature: str
    """Exactly what was computed."""

    direction: str
    """Which way is better."""

    is_headline: bool
    """Whether it is shown at first."""

    cells: Mapping[str, Cell]
    """Row -> number; rows that have none are missing."""

    @property
    def ranking(self) -> list[Cell]:
        """Ranked cells, best first."""
        return sorted((cell for cell in self.cells.values() if cell.rank is not None), key=lambda one: one.rank or 0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Board:
    """Rows and columns that belong together."""

    key: str
    """For addresses."""

    benchmark: Benchmark
    """On what; the same for all rows."""

    is_reported: bool
    """Whether it holds numbers that somebody reported, not run again."""

    entries: tuple[Entry, ...]
    """Rows, by name."""

    columns: tuple[Column, ...]
    """Columns, by metric, signature and order in the files."""

    story_ids: tuple[str, ...]
    """Stories of the board, sorted: those that more than half of the rows have."""

    ip_ids: Mapping[str, str]
    """Story -> IP, of all stories of all rows."""

    @property
    def primary(self) -> Column | None:
        """The column by which it is sorted at first: the headline under the signature that most rows have."""
        rankable = [column for column in self.columns if column.direction != "none"]

        def order(column: Column) -> tuple[int, bool, int]:
            name = (column.metric, column.name)
            place = HEADLINE_ORDER.index(name) if name in HEADLINE_ORDER else len(HEADLINE_ORDER)
            return place, not column.is_headline, -len(column.cells)

        return min(rankable, key=order, default=None)


def make_boards(runs: Sequence[ResultsRun]) -> list[Board]:
    """Return the boards, those with most systems first and reported ones last.

    Raises:
        InputError: If a system has the same metric twice under one signature, two runs of a system differ in its kind,
            or two runs disagree about whose a story is.
    """
    groups: dict[tuple[bool, Benchmark], list[ResultsRun]] = {}
    for run in runs:
        groups.setdefault((run.system.kind == "reported", _board_of(run)), []).append(run)
    boards = [_make_board(benchmark, reported, group) for (reported, benchmark), group in groups.items()]
    boards.sort(key=lambda board: (board.is_reported, -len(board.entries), board.key))
    seen: Counter[str] = Counter()
    named = []
    for board in boards:
        seen[board.key] += 1
        named.append(board if seen[board.key] == 1 else replace(board, key=f"{board.key}-{seen[board.key]}"))
    return named


def _board_of(run: ResultsRun) -> Benchmark:
    """Return what the run may be compared on; without a benchmark, exactly the same stories."""
    if run.benchmark.id or run.system.kind == "reported":
        return run.benchmark
    names = sorted(f"{story.ip_id}\0{story.story_id}" for story in run.stories)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return Benchmark(revision=f"stories-{digest}", track=run.benchmark.track)


def _make_board(benchmark: Benchmark, is_reported: bool, runs: Sequence[ResultsRun]) -> Board:
    by_system: dict[tuple[str, str], list[ResultsRun]] = {}
    for run in runs:
        by_system.setdefault((run.system.name, run.system.revision), []).append(run)
    keys = _entry_keys(by_system)
    entries = [_make_entry(keys[name], group) for name, group in sorted(by_system.items())]
    rows = {entry.key: entry.story_rows() for entry in entries}
    held = Counter(story for stories in rows.values() for story in stories)
    story_ids = tuple(sorted(story for story, count in held.items() if 2 * count > len(entries)))
    return Board(
        key=_board_key(benchmark, is_reported),
        benchmark=benchmark,
        is_reported=is_reported,
        entries=tuple(entries),
        columns=tuple(_make_columns(entries, len(story_ids))),
        story_ids=story_ids,
        ip_ids=_ip_ids(entries),
    )


def _entry_keys(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return a key per system: its name, with the revision where it has one."""
    return {(name, revision): f"{name}@{revision[:12]}" if revision else name for name, revision in names}


def _board_key(benchmark: Benchmark, is_reported: bool) -> str:
    words = [benchmark.track, benchmark.id.rpartition("/")[2], benchmark.revision[:12]]
    slugs = ["".join(sign if sign.isalnum() else "-" for sign in word.lower()).strip("-") for word in words]
    key = "-".join(slug for slug in slugs if slug)
    return f"reported-{key}" if is_reported else key or "stories"


def _make_entry(key: str, runs: Sequence[ResultsRun]) -> Entry:
    first = runs[0]
    seen: dict[tuple[str, str], ResultsRun] = {}
    gates: dict[str, GateResult] = {}
    for run in runs:
        if run.system.kind != first.system.kind:
            raise InputError(
                f"{key} is called {first.system.kind} in {first.path} and {run.system.kind} in {run.path}."
            )
        for metric, signature in run.signatures.items():
            other = seen.setdefault((metric, signature), run)
            if other is not run:
                where = f"in {other.path} and {run.path}"
                raise InputError(f"{key} has {metric} twice under the same signature, {where}; name one of them.")
        for gate in run.gates:
            if gate.control not in gates or gate.is_gated:
                gates[gate.control] = gate
    entry = Entry(key=key, system=first.system, status="ranked", runs=tuple(runs), gates=tuple(gates.values()))
    kind = first.system.kind
    if kind != "model":
        return replace(entry, status=kind)
    return replace(entry, status="gated") if entry.failed_controls else entry


def _ip_ids(entries: Iterable[Entry]) -> dict[str, str]:
    found: dict[str, tuple[str, ResultsRun]] = {}
    for entry in entries:
        for run in entry.runs:
            for story in run.stories:
                ip_id, other = found.setdefault(story.story_id, (story.ip_id, run))
                if ip_id != story.ip_id:
                    raise InputError(
                        f"The story {story.story_id!r} belongs to {ip_id!r} in {other.path} and to {story.ip_id!r} in"
                        f" {run.path}; they cannot stand on one board."
                    )
    return {story: ip_id for story, (ip_id, _) in found.items()}


def _make_columns(entries: Sequence[Entry], num_stories: int) -> list[Column]:
    """Return a column per (metric, signature, name), in the order of the files, metric by metric."""
    found: dict[str, dict[str, dict[str, dict[str, CorpusValue]]]] = {}
    for entry in entries:
        for run in entry.runs:
            for (metric, name), number in run.corpus.items():
                variant = found.setdefault(metric, {}).setdefault(run.signatures[metric], {})
                variant.setdefault(name, {})[entry.key] = number
    status = {entry.key: entry.status for entry in entries}
    said = {(metric, name) for entry in entries for run in entry.runs for metric, name in run.headlines.items()}
    columns = []
    for metric, variants in found.items():
        for signature, names in variants.items():
            headlines = {name for name in names if column_words(metric, name).is_headline or (metric, name) in said}
            headlines = {name for name in headlines if _says_something(names[name].values())}
            places = {name: column_place(metric, name) for name in names}
            for at, name in enumerate(sorted(names, key=places.__getitem__)):
                is_headline = name in headlines or (at == 0 and metric not in known_metrics())
                columns.append(_make_column(metric, name, signature, is_headline, names[name], status, num_stories))
    return columns


def _says_something(numbers: Iterable[CorpusValue]) -> bool:
    """Return whether a number is there at all, and one way is better."""
    return any(number.value is not None and number.direction != "none" for number in numbers)


def _make_column(
    metric: str,
    name: str,
    signature: str,
    is_headline: bool,
    numbers: Mapping[str, CorpusValue],
    status: Mapping[str, Status],
    num_stories: int,
) -> Column:
    directions = {number.direction for number in numbers.values()}
    if len(directions) > 1:
        raise InputError(f"Runs disagree about which way {metric}/{name} is better, under the signature {signature!r}.")
    direction = directions.pop()
    cells = {}
    for key, number in numbers.items():
        applicable = max(num_stories, number.n_evaluated + number.n_failed + number.n_skipped) - number.n_skipped
        coverage = number.n_evaluated / applicable if applicable else 0.0
        cells[key] = Cell(entry=key, number=number, coverage=coverage)
    ranked = [cell for cell in cells.values() if _is_ranked(cell, direction, status[cell.entry])]
    cells.update({cell.entry: cell for cell in _rank(ranked, direction)})
    return Column(
        metric=metric, name=name, signature=signature, direction=direction, is_headline=is_headline, cells=cells
    )


def _is_ranked(cell: Cell, direction: str, status: Status) -> bool:
    has_value = cell.number.value is not None and direction != "none"
    return has_value and status == "ranked" and cell.coverage >= SMALLEST_COVERAGE


def _rank(cells: Sequence[Cell], direction: str) -> list[Cell]:
    """Return the cells with ranks; equal values share a rank."""
    sign = 1.0 if direction == "higher" else -1.0
    worth = {cell.entry: sign * (cell.number.value or 0.0) for cell in cells}
    spans = {}
    for cell in cells:
        low, high = cell.number.low, cell.number.high
        if low is not None and high is not None:
            spans[cell.entry] = sorted((sign * low, sign * high))
    ranked = []
    for cell in sorted(cells, key=lambda one: (-worth[one.entry], one.entry)):
        rank = 1 + sum(other > worth[cell.entry] for other in worth.values())
        if len(spans) < len(cells):
            ranked.append(replace(cell, rank=rank))
            continue
        low, high = spans[cell.entry]
        above = sum(other[0] > high for other in spans.values())
        below = sum(other[1] < low for other in spans.values())
        ranked.append(replace(cell, rank=rank, best_rank=1 + above, worst_rank=len(cells) - below))
    return ranked
