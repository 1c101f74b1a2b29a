"""All numbers of one row, arranged as the page shows them: by story, by IP, by shot, by position."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.leaderboard.curves import CurvePoint, shot_curve
from animeshooter_hf.eval.leaderboard.ranking import Board, Column, Entry
from animeshooter_hf.eval.leaderboard.results_records import ShotRow, StoryRow

__all__ = ["ShotColumn", "SystemTable", "column_key", "make_table"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotColumn:
    """A number that single shots have."""

    key: str
    """For addresses, as `column_key` makes it."""

    metric: str
    """Metric."""

    name: str
    """Number."""

    signature: str
    """Exactly what was computed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SystemTable:
    """One row of a board in full."""

    entry: Entry
    """The row."""

    rows: Mapping[str, StoryRow]
    """Story -> what the first run that has it says, in the order of that run."""

    keys: Sequence[str]
    """Keys of the columns of which single stories have numbers."""

    values: Mapping[str, Sequence[float | None]]
    """Story -> its numbers, in the order of `keys`."""

    shot_columns: Sequence[ShotColumn]
    """Numbers of shots."""

    curves: Mapping[str, Sequence[CurvePoint]]
    """Key of a shot column -> its points."""

    shot_rows: Mapping[str, Mapping[int, Mapping[str, ShotRow]]]
    """Story -> position -> "METRIC|SIGNATURE" -> row."""

    def by_ip(self) -> list[tuple[str, int, list[float | None]]]:
        """Return (IP, stories, means of the numbers), by IP."""
        counts = Counter(row.ip_id for row in self.rows.values())
        made = []
        for ip_id, count in sorted(counts.items()):
            stories = [self.values[story] for story, row in self.rows.items() if row.ip_id == ip_id]
            columns = [[value for value in column if value is not None] for column in zip(*stories, strict=True)]
            made.append((ip_id, count, [mean(column) if column else None for column in columns]))
        return made

    def shots(self, story_id: str) -> Iterator[tuple[ShotRow, list[float | None], str]]:
        """Yield (shot, its numbers in the order of `shot_columns`, why some are missing)."""
        for _, rows in sorted(self.shot_rows.get(story_id, {}).items()):
            values = []
            for column in self.shot_columns:
                row = rows.get(f"{column.metric}|{column.signature}")
                values.append(None if row is None else row.values.get((column.metric, column.name)))
            problems = dict.fromkeys(reason for row in rows.values() for reason in row.problems.values())
            yield next(iter(rows.values())), values, " ".join(problems)

    def problems(self) -> list[tuple[str, int, str]]:
        """Return (story, position, reason) of every shot that lacks a number."""
        found = []
        for story_id in self.rows:
            for shot, _, problem in self.shots(story_id):
                if problem:
                    found.append((story_id, shot.shot_index, problem))
        return found


def column_key(board: Board, column: Column) -> str:
    """Return the key of a column for addresses: "METRIC.NAME", with a number behind other signatures than the first."""
    return _key(board, column.metric, column.name, column.signature)


def _key(board: Board, metric: str, name: str, signature: str) -> str:
    variants = list(dict.fromkeys(one.signature for one in board.columns if one.metric == metric))
    at = variants.index(signature) if signature in variants else 0
    return f"{metric}.{name}" + (f".{at + 1}" if at else "")


def make_table(board: Board, entry: Entry) -> SystemTable:
    """Return the row in full."""
    by_variant: dict[tuple[str, str], dict[str, StoryRow]] = {}
    shot_rows: dict[str, dict[int, dict[str, ShotRow]]] = {}
    shot_columns: dict[str, ShotColumn] = {}
    curves: dict[str, list[CurvePoint]] = {}
    for run in entry.runs:
        stories = {story.story_id: story for story in run.stories}
        by_variant.update({variant: stories for variant in run.signatures.items()})
        for shot in run.shots:
            rows = shot_rows.setdefault(shot.story_id, {}).setdefault(shot.shot_index, {})
            rows.update({f"{metric}|{signature}": shot for metric, signature in run.signatures.items()})
        for metric, name in dict.fromkeys(key for shot in run.shots for key in shot.values):
            signature = run.signatures.get(metric, "")
            key = _key(board, metric, name, signature)
            shot_columns[key] = ShotColumn(key=key, metric=metric, name=name, signature=signature)
            if points := shot_curve(run.shots, (metric, name)):
                curves[key] = points
    columns = [column for column in board.columns if _has_stories(by_variant, column)]
    rows_of_stories = entry.story_rows()
    return SystemTable(
        entry=entry,
        rows=rows_of_stories,
        keys=[column_key(board, column) for column in columns],
        values={
            story: [_value_of(by_variant[column.metric, column.signature].get(story), column) for column in columns]
            for story in rows_of_stories
        },
        shot_columns=list(shot_columns.values()),
        curves=curves,
        shot_rows=shot_rows,
    )


def _has_stories(by_variant: Mapping[tuple[str, str], Mapping[str, StoryRow]], column: Column) -> bool:
    stories = by_variant.get((column.metric, column.signature), {})
    return any((column.metric, column.name) in story.values for story in stories.values())


def _value_of(row: StoryRow | None, column: Column) -> float | None:
    return None if row is None else row.values.get((column.metric, column.name))
