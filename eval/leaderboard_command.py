"""Make a static leaderboard of results: ranks with intervals, controls that gate, every story side by side.

RESULTS are files or folders that `animeshooter evaluate --out` wrote, or folders of such folders. The board works from
disk (open SITE/index.html), from any static server, and as a Space; it asks no other machine for anything.

A system that fails a control is shown with the control's name and not ranked. Numbers are ranked only with numbers of
the same signature, benchmark, revision and track. Neighbours that cannot be told apart are marked. The paper's own
Tables 2 and 3 stand below, as reported.

Example:
    animeshooter leaderboard runs/*/ --out site/
    animeshooter leaderboard runs/ --out site/ --eval-results repos/ --space space/ --results-dataset results/
    animeshooter leaderboard runs/ --out site/ --markdown >> README.md
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animeshooter_hf.eval.leaderboard.board_site import BoardReport, BoardSettings, ComparedBoard
    from animeshooter_hf.eval.leaderboard.ranking import Board
    from animeshooter_hf.eval.leaderboard.results_records import ResultsRun

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter leaderboard`."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS", help="results files or folders")
    parser.add_argument("--out", type=Path, required=True, metavar="SITE", help="folder of the site")
    parser.add_argument("--title", help="heading (default: AnimeShooter-Bench)")
    parser.add_argument("--subtitle", help="line below it")
    parser.add_argument("--no-frames", action="store_true", help="leave the strips of frames out")
    parser.add_argument("--no-paper", action="store_true", help="leave the paper's reported rows out")
    parser.add_argument(
        "--eval-results",
        type=Path,
        metavar="FOLDER",
        help="write ORG__MODEL/.eval_results/*.yaml for model repositories",
    )
    parser.add_argument("--space", type=Path, metavar="FOLDER", help="write a folder that is a static Space")
    parser.add_argument(
        "--results-dataset", type=Path, metavar="FOLDER", help="copy the runs into a dataset: results/ORG__MODEL/RUN/"
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the boards as JSON")
    shown.add_argument("--markdown", action="store_true", help="print them as tables of Markdown")


def run(arguments: argparse.Namespace) -> int:
    """Run `animeshooter leaderboard`: 0, or 1 if a picture could not be used.

    Raises:
        InputError: If a results file, an option or a folder cannot be used.
    """
    from animeshooter_hf.eval.leaderboard.board_site import BoardSettings, compare, write_board_site
    from animeshooter_hf.eval.leaderboard.ranking import make_boards
    from animeshooter_hf.eval.leaderboard.read_results import find_results, read_paper_rows, read_results

    words = {"title": arguments.title, "subtitle": arguments.subtitle}
    settings = BoardSettings(
        has_frames=not arguments.no_frames, **{name: text for name, text in words.items() if text is not None}
    )
    runs = [read_results(path) for path in find_results(arguments.results)]
    boards = make_boards([*runs, *([] if arguments.no_paper else read_paper_rows())])
    compared = [compare(board, progress=True) for board in boards]
    report = write_board_site(arguments.out, compared, settings, progress=True)
    made = _write_more(arguments, report, boards, runs, settings)
    for problem in report.problems[:20]:
        sys.stderr.write(f"animeshooter leaderboard: {problem}\n")
    _print(arguments, compared)
    size = f"{len(report.files)} files, {report.num_bytes / 1e6:.1f} MB"
    for line in (f"{report.systems} systems, {size}: {report.out / 'index.html'}", *made):
        sys.stderr.write(f"{line}\n")
    return 1 if report.problems else 0


def _write_more(
    arguments: argparse.Namespace,
    report: "BoardReport",
    boards: Sequence["Board"],
    runs: Sequence["ResultsRun"],
    settings: "BoardSettings",
) -> list[str]:
    """Write what else was asked for; return a line for each."""
    from animeshooter_hf.eval.leaderboard.eval_results import write_eval_results
    from animeshooter_hf.eval.leaderboard.space import write_results_dataset, write_space

    said = []
    if arguments.eval_results is not None:
        paths = write_eval_results(arguments.eval_results, boards)
        said.append(f"{len(paths)} files of evaluation results below {arguments.eval_results}")
    if arguments.space is not None:
        said.append(f"a Space: {write_space(arguments.space, report, boards, settings)}")
    if arguments.results_dataset is not None:
        made = write_results_dataset(arguments.results_dataset, runs, has_frames=settings.has_frames)
        said.append(f"{len(made)} runs below {arguments.results_dataset}")
    return said


def _print(arguments: argparse.Namespace, compared: Sequence["ComparedBoard"]) -> None:
    """Print the boards to stdout; in text and Markdown only those that were not merely reported."""
    from animeshooter_hf.eval.leaderboard.board_table import board_json, board_markdown, board_text

    if arguments.json:
        boards = [board_json(one) for one in compared]
        sys.stdout.write(json.dumps({"boards": boards}, ensure_ascii=False, allow_nan=False) + "\n")
        return
    write = board_markdown if arguments.markdown else board_text
    own = [one for one in compared if not one.board.is_reported] or compared
    sys.stdout.write("\n".join(write(one) for one in own))
