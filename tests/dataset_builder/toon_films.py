"""Two small films that several test files build from; `conftest.py` renders and builds them once per test run."""

import fcntl
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from animeshooter_hf.toon import FilmSettings

__all__ = ["SEEDS", "SETTINGS", "copy_build", "once"]

SETTINGS = FilmSettings(width=160, height=90, seconds=12, frame_rate=Fraction(12), mean_shot_seconds=3)
SEEDS = (3, 4)
"""They are called `toon-0003` and `toon-0004`; their boundaries are cuts, and one is a fade or a dissolve."""


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of the whole test run, filled by the worker that needs it first. Nobody changes it later."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def copy_build(build: Path, into: Path) -> Path:
    """Copy a dataset `data` and its receipts, which then are as good as those of a build of one's own."""
    shutil.copytree(build / "data", into / "data")
    shutil.copytree(build / ".data.work", into / ".data.work")
    return into / "data"
