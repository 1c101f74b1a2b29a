"""What is made once per test run and read by many tests."""

from pathlib import Path

import pytest
from toon_films import SEEDS, SETTINGS, once

from animeshooter_hf.command_line import main
from animeshooter_hf.toon import ToonFilm, render_film


@pytest.fixture(scope="session")
def toon_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two films with their scripts; only to be read."""

    def render(folder: Path) -> None:
        for seed in SEEDS:
            render_film(ToonFilm.from_seed(seed, SETTINGS), folder / f"toon-{seed:04d}.mp4")

    return once(tmp_path_factory, "toon-films", render)


@pytest.fixture(scope="session")
def toon_build(toon_films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `data` of both films and its receipts, as the verb leaves them; only to be read."""

    def build(folder: Path) -> None:
        assert main(["build", str(toon_films), "--out", str(folder / "data")]) == 0

    return once(tmp_path_factory, "toon-build", build)
