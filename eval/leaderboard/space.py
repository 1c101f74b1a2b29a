"""Folders that can be put on the Hub as they are: a static Space with the board, and a dataset with the results."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.leaderboard.board_site import BOARD_FORMAT, BoardReport, BoardSettings, render
from animeshooter_hf.eval.leaderboard.eval_results import model_folder
from animeshooter_hf.eval.leaderboard.ranking import Board
from animeshooter_hf.eval.leaderboard.results_records import ResultsRun
from animeshooter_hf.site.site_folder import SiteFolder

__all__ = ["run_folder", "write_results_dataset", "write_space"]

RUN_FILES = ("results.json", "shots.parquet", "stories.parquet", "judge.jsonl")
"""What is copied of a run beside its frames."""


def write_space(folder: Path, report: BoardReport, boards: Sequence[Board], settings: BoardSettings) -> Path:
    """Copy a site to a folder and add the card of a static Space; return the folder.

    Raises:
        InputError: If the folder holds something else, is the site's own, or cannot be written.
    """
    if folder.resolve() == report.out.resolve():
        raise InputError("--space and --out must be different folders.")
    space = SiteFolder(folder, site_format=BOARD_FORMAT)
    for name in report.files:
        space.write(name, (report.out / name).read_bytes())
    datasets = [board.benchmark.id for board in boards if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", board.benchmark.id)]
    space.write(
        "README.md",
        render(
            "README.md.jinja",
            title=settings.title,
            subtitle=settings.subtitle,
            datasets=sorted(set(datasets)),
            systems=report.systems,
        ),
    )
    space.sweep()
    return folder


def run_folder(run: ResultsRun) -> str:
    """Return where a run stands in the dataset of results: results/ORG__MODEL/RUN.

    RUN is the day and the first digits of the file's hash, so the same run has the same place whoever adds it.
    """
    day = re.sub(r"[^0-9-]", "", run.system.date[:10]) or "undated"
    return f"results/{model_folder(run.system.name)}/{day}-{run.digest[:10]}"


def write_results_dataset(folder: Path, runs: Sequence[ResultsRun], *, has_frames: bool = True) -> list[Path]:
    """Copy runs into a dataset of results, and return their folders; those that are there already stay as they are.

    A run is copied beside its place and renamed, so a folder that is there is whole.

    Raises:
        InputError: If something cannot be written.
    """
    made = []
    for run in runs:
        target = folder / run_folder(run)
        made.append(target)
        if target.is_dir():
            continue
        partial = target.with_name(f".{target.name}.part")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _copy(run, partial, has_frames)
            partial.replace(target)
        except OSError as error:
            raise InputError(f"{target} cannot be written: {error.strerror}.") from error
    (folder / "README.md").write_bytes(render("dataset.md.jinja", tables=_tables(made)))
    return made


def _copy(run: ResultsRun, target: Path, has_frames: bool) -> None:
    shutil.copyfile(run.path, target / "results.json")
    if run.folder is None:
        return
    for name in RUN_FILES[1:]:
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, target / name)
    strips = [path for story in run.stories if (path := run.frames_of(story.story_id)) is not None]
    if has_frames and strips:
        (target / "frames").mkdir()
        for path in strips:
            shutil.copyfile(path, target / "frames" / path.name)


def _tables(folders: Sequence[Path]) -> list[str]:
    return [name for name in ("stories", "shots") if any((folder / f"{name}.parquet").is_file() for folder in folders)]
