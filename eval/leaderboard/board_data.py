"""A board as plain values for the page: what it must know at first, and what it loads when somebody looks closer.

In the first data a cell is a list [value, low, high, stories in, failed, not applicable, rank, best rank, worst rank,
coverage], None where a row has no such number. Numbers are rounded to five digits, which is more than a page shows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from animeshooter_hf.eval.leaderboard.columns import backbone_of, column_words, metric_title, variant_label
from animeshooter_hf.eval.leaderboard.curves import mean_curve
from animeshooter_hf.eval.leaderboard.ranking import SMALLEST_COVERAGE, Board, Cell, Entry
from animeshooter_hf.eval.leaderboard.significance import Neighbours
from animeshooter_hf.eval.leaderboard.system_table import ShotColumn, SystemTable, column_key

__all__ = ["Picture", "board_data", "story_data", "story_list_data", "system_data"]

Picture = tuple[str, int, int]
"""Path, width and height of a strip of frames."""


def board_data(board: Board, neighbours: Mapping[str, Sequence[Neighbours]]) -> dict[str, Any]:
    """Return what the page must know of a board at first; `neighbours` is by key of the column."""
    place = {entry.key: at for at, entry in enumerate(board.entries)}
    primary = board.primary
    return {
        "key": board.key,
        "benchmark": board.benchmark.id,
        "revision": board.benchmark.revision,
        "track": board.benchmark.track,
        "isReported": board.is_reported,
        "stories": len(board.story_ids),
        "ips": len({board.ip_ids[story] for story in board.story_ids}),
        "smallestCoverage": SMALLEST_COVERAGE,
        "primary": None if primary is None else column_key(board, primary),
        "variants": _variants(board),
        "columns": [
            {
                "key": column_key(board, column),
                "variant": f"{column.metric}|{column.signature}",
                "title": column_words(column.metric, column.name).title,
                "name": column.name,
                "meaning": column_words(column.metric, column.name).meaning,
                "direction": column.direction,
                "isHeadline": column.is_headline,
                "ties": {
                    place[one.first]: [place[one.second], *_neighbours(one)]
                    for one in neighbours.get(column_key(board, column), ())
                },
            }
            for column in board.columns
        ],
        "systems": [_system(board, entry) for entry in board.entries],
    }


def _variants(board: Board) -> list[dict[str, Any]]:
    """Return each (metric, signature) once, with the cautions of its runs."""
    found = list(dict.fromkeys((column.metric, column.signature) for column in board.columns))
    data = []
    for metric, signature in found:
        runs = [run for entry in board.entries if (run := entry.run_of(metric, signature)) is not None]
        data.append(
            {
                "key": f"{metric}|{signature}",
                "metric": metric,
                "title": metric_title(metric),
                "label": variant_label(signature, [other for name, other in found if name == metric]),
                "backbone": backbone_of(signature),
                "signature": signature,
                "notes": list(dict.fromkeys(run.note for run in runs if run.note)),
                "systems": len(runs),
            }
        )
    return data


def _neighbours(one: Neighbours) -> list[Any]:
    found = one.comparison
    return [
        number(found.difference),
        number(found.low),
        number(found.high),
        number(one.p_value),
        found.num_clusters,
        found.num_stories,
        number(found.least_detectable),
        one.can_be_told_apart,
    ]


def _system(board: Board, entry: Entry) -> dict[str, Any]:
    system = entry.system
    stories = entry.story_rows()
    return {
        "key": entry.key,
        "name": system.name,
        "revision": system.revision,
        "kind": system.kind,
        "status": entry.status,
        "url": system.url,
        "licence": system.license,
        "sampledBy": system.sampled_by,
        "evaluatedBy": system.evaluated_by,
        "date": system.date,
        "notes": system.notes,
        "stories": len(stories),
        "missing": sum(story not in stories for story in board.story_ids),
        "failedControls": list(entry.failed_controls),
        "gates": [
            {
                "control": gate.control,
                "flagged": gate.num_flagged,
                "tested": gate.num_tested,
                "isGated": gate.is_gated,
                "limit": gate.limit,
                "isExperimental": gate.is_experimental,
            }
            for gate in entry.gates
        ],
        "judge": judge_trust(entry),
        "cells": [_cell(column.cells.get(entry.key)) for column in board.columns],
    }


def judge_trust(entry: Entry) -> dict[str, Any] | None:
    """Return what the runs say of their judge, None if nobody judged."""
    for run in entry.runs:
        found = run.manifest.get("judge")
        if isinstance(found, Mapping):
            return {str(name): value for name, value in found.items() if isinstance(value, str | int | float | bool)}
    return None


def _cell(cell: Cell | None) -> list[Any] | None:
    if cell is None:
        return None
    one = cell.number
    return [
        number(one.value),
        number(one.low),
        number(one.high),
        one.n_evaluated,
        one.n_failed,
        one.n_skipped,
        cell.rank,
        cell.best_rank,
        cell.worst_rank,
        round(cell.coverage, 4),
    ]


def system_data(table: SystemTable, field: Sequence[SystemTable], pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Return the page of a system.

    Args:
        table: Its numbers.
        field: The tables of all ranked systems, whose mean curve is drawn behind its own.
        pictures: Story -> its strip of frames.
    """
    return {
        "columns": list(table.keys),
        "stories": [
            [story, row.ip_id, list(row.flags), numbers(table.values[story]), pictures.get(story)]
            for story, row in table.rows.items()
        ],
        "ips": [[ip_id, count, numbers(values)] for ip_id, count, values in table.by_ip()],
        "shotColumns": [_shot_column(column) for column in table.shot_columns],
        "curves": {
            key: [
                [point.shot_index, number(point.value), number(point.low), number(point.high), point.num_stories]
                for point in points
            ]
            for key, points in table.curves.items()
        },
        "field": {
            key: [[index, number(value)] for index, value in mean_curve(_curves_of(field, key)).items()]
            for key in table.curves
        },
        "problems": [list(problem) for problem in table.problems()],
        "runs": [
            {
                "file": run.path.name,
                "sha256": run.digest,
                "signatures": dict(run.signatures),
                "versions": _plain(run.manifest.get("library_versions")),
                "settings": _plain(run.settings),
            }
            for run in table.entry.runs
        ],
    }


def _curves_of(tables: Sequence[SystemTable], key: str) -> list[dict[int, float]]:
    found = [table.curves[key] for table in tables if key in table.curves]
    return [{point.shot_index: point.value for point in points} for points in found]


def _shot_column(column: ShotColumn) -> dict[str, str]:
    words = column_words(column.metric, column.name)
    title = metric_title(column.metric)
    return {
        "key": column.key,
        "title": words.title if column.name != column.metric else title,
        "metric": title,
        "meaning": words.meaning,
    }


def _plain(found: Any) -> dict[str, str]:
    """Return short texts of a mapping's values, for reading."""
    return {str(name): str(value)[:200] for name, value in found.items()} if isinstance(found, Mapping) else {}


def story_data(
    board: Board, story_id: str, tables: Sequence[SystemTable], pictures: Mapping[str, Picture]
) -> dict[str, Any]:
    """Return the page of a story: every system that has it, side by side; `pictures` is by row."""
    place = {entry.key: at for at, entry in enumerate(board.entries)}
    having = [table for table in tables if story_id in table.rows]
    shot_columns = {column.key: _shot_column(column) for table in having for column in table.shot_columns}
    asked = Counter(captions for table in having if (captions := table.rows[story_id].captions))
    captions = asked.most_common(1)[0][0] if asked else ()  # what most systems were given; a single one changes nothing
    systems = []
    for table in having:
        row = table.rows[story_id]
        systems.append(
            {
                "system": place[table.entry.key],
                "columns": list(table.keys),
                "values": numbers(table.values[story_id]),
                "flags": list(row.flags),
                "picture": pictures.get(table.entry.key),
                "captions": list(row.captions) if row.captions and row.captions != captions else None,
                "shotColumns": [column.key for column in table.shot_columns],
                "shots": [
                    [shot.shot_index, numbers(values), problem] for shot, values, problem in table.shots(story_id)
                ],
            }
        )
    return {
        "id": story_id,
        "ip": board.ip_ids[story_id],
        "track": next((table.rows[story_id].track for table in having if table.rows[story_id].track), ""),
        "captions": list(captions),
        "shotColumns": list(shot_columns.values()),
        "systems": systems,
    }


def story_list_data(board: Board, files: Mapping[str, str]) -> list[list[str]]:
    """Return [story, IP, file] of every story that some row has, sorted by IP."""
    return [[story, ip_id, files[story]] for story, ip_id in sorted(board.ip_ids.items(), key=lambda one: one[::-1])]


def number(value: float | None) -> float | None:
    """Return a number with five digits that count."""
    return None if value is None else float(f"{value:.5g}")


def numbers(values: Sequence[float | None]) -> list[float | None]:
    """Return numbers with five digits that count."""
    return [number(value) for value in values]
