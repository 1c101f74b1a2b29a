"""Render animated films with exact truth beside them.

Each film is an ordinary mp4 (H.264 and AAC) with a NAME.script.json that holds its shots, captions, characters, masks
and sounds. Finished films are kept: the same command goes on where it was stopped.

Example:
    animeshooter toon --films 6 --out films/
    animeshooter toon --films 2 --size 320x180 --frame-rate 24000/1001 --seconds 20 --out films/
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon.attributes import CHARACTER_POOLS
from animeshooter_hf.toon.settings import FilmSettings

__all__ = ["add_arguments", "run"]

_SIZE = re.compile(r"(\d{1,5})[xX](\d{1,5})")
_MOST_FILMS = 100_000


@dataclass(frozen=True, slots=True)
class _Job:
    seed: int
    path: Path
    settings: FilmSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("--films", type=int, default=1, metavar="N", help="how many films (default 1)")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the films; made if it is missing")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first film; the others count on (default 0)")
    parser.add_argument("--size", default="640x360", metavar="WxH", help="pixels (default 640x360)")
    parser.add_argument("--frame-rate", default="24", metavar="RATE", help="such as 24 or 24000/1001 (default 24)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each film (default 60)")
    parser.add_argument(
        "--characters", choices=CHARACTER_POOLS, default="all", help="which combinations of attributes may occur"
    )
    parser.add_argument(
        "--workers", type=int, default=None, metavar="N", help="processes (default 2, or 1 on one core)"
    )
    parser.add_argument("--json", action="store_true", help="write the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Render the films and write their paths to stdout; return 0."""
    settings = _read_settings(arguments)
    if not 1 <= arguments.films <= _MOST_FILMS:
        raise InputError(f"--films must lie between 1 and {_MOST_FILMS}, got {arguments.films}.")
    if arguments.seed < 0:
        raise InputError(f"--seed must not be negative, got {arguments.seed}.")
    workers = min(2, os.cpu_count() or 1) if arguments.workers is None else arguments.workers
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}.")
    folder = _prepare_folder(Path(arguments.out))
    jobs = [
        _Job(seed, folder / f"toon-{seed:04d}.mp4", settings)
        for seed in range(arguments.seed, arguments.seed + arguments.films)
    ]
    skipped = _render_all(jobs, workers)
    if arguments.json:
        rows = [{"film": str(job.path), "seed": job.seed, "was_finished": job.path in skipped} for job in jobs]
        sys.stdout.write(json.dumps({"films": rows}, indent=2) + "\n")
    else:
        sys.stdout.write("".join(f"{job.path}\n" for job in jobs))
    return 0


def _read_settings(arguments: argparse.Namespace) -> FilmSettings:
    size = _SIZE.fullmatch(arguments.size.strip())
    if size is None:
        raise InputError(f"--size must look like 640x360, got {arguments.size!r}.")
    try:
        frame_rate = exact_frame_rate(arguments.frame_rate)
    except ValueError as error:
        raise InputError(f"--frame-rate cannot be used. {error}") from error
    return FilmSettings(
        width=int(size[1]),
        height=int(size[2]),
        frame_rate=frame_rate,
        seconds=arguments.seconds,
        characters=arguments.characters,
    )


def _prepare_folder(folder: Path) -> Path:
    """Make the folder and return it; refuse one that cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out must be a folder, and {folder} is a file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written: {error.strerror}.") from error
    return folder


def _render_all(jobs: list[_Job], workers: int) -> set[Path]:
    """Render what is not finished yet, and return the paths of what was."""
    with tqdm(total=len(jobs), desc="films", unit="film", file=sys.stderr) as progress:
        from animeshooter_hf.toon.script import read_fingerprint

        done = {job.path for job in jobs if read_fingerprint(job.path) == job.settings.fingerprint(job.seed)}
        progress.update(len(done))
        todo = [job for job in jobs if job.path not in done]
        if min(workers, len(todo)) <= 1:
            for job in todo:
                _render(job)
                progress.update()
            return done
        # Spawned, not forked: a forked copy of a process with threads may hang.
        with ProcessPoolExecutor(min(workers, len(todo)), mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_render, job) for job in todo]
            try:
                for finished in as_completed(waiting):
                    finished.result()
                    progress.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return done


def _render(job: _Job) -> None:
    from animeshooter_hf.toon.film import ToonFilm
    from animeshooter_hf.toon.script import render_film

    render_film(ToonFilm.from_seed(job.seed, job.settings), job.path)
