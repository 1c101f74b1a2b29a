"""The arithmetic of the paper's Table 2, as benchmarks/table2.py works it out."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from table2 import FORMULAS, TABLE_2, draw_stories, spread_for

from animeshooter_hf.eval.aggregate import distance_harmean_p, harmean_p

OPTIONS = {"between": 0.04, "stories": 4_000, "seed": 1}
ROWS = [(metric, system, *row) for metric, systems in TABLE_2.items() for system, row in systems.items()]


@pytest.mark.parametrize(("metric", "system", "columns", "mean", "printed"), ROWS)
def test_mean_is_the_mean_of_the_columns_to_four_digits(
    metric: str, system: str, columns: tuple[float, ...], mean: float, printed: float
) -> None:
    assert abs(np.mean(columns) - mean) <= 0.00005 + 1e-9


@pytest.mark.parametrize(("metric", "system", "columns", "mean", "printed"), ROWS)
def test_harmean_p_is_not_that_of_the_columns_but_of_stories_whose_shots_differ_a_little(
    metric: str, system: str, columns: tuple[float, ...], mean: float, printed: float
) -> None:
    ours = FORMULAS[metric][next(iter(FORMULAS[metric]))]
    assert abs(ours(np.array([columns]))[0] - printed) > 0.02
    spread = spread_for(ours, columns, printed, **OPTIONS)
    assert spread is not None
    assert 0.025 < spread < 0.09


def test_of_the_other_formulas_for_distances_only_one_that_is_nearly_the_same_fits_all_systems() -> None:
    fits = {
        name: [spread_for(formula, columns, printed, **OPTIONS) for columns, _, printed in TABLE_2["DreamSim"].values()]
        for name, formula in FORMULAS["DreamSim"].items()
    }
    assert [name for name, spreads in fits.items() if None not in spreads] == [
        "1 - HM(1-d) * min(1-d)", "HM(d) + max(d) - HM(d) max(d)"
    ]  # fmt: skip


def test_the_library_computes_the_formulas_that_fit() -> None:
    stories = draw_stories((0.8, 0.7, 0.6, 0.9), 0.05, between=0.04, stories=50, seed=2)
    clip, dreamsim = (FORMULAS[metric][next(iter(FORMULAS[metric]))] for metric in ("CLIP", "DreamSim"))
    assert clip(stories) == pytest.approx([harmean_p(story) for story in stories], abs=1e-12)
    assert dreamsim(stories) == pytest.approx([distance_harmean_p(story) for story in stories], abs=1e-12)
