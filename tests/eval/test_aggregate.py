import numpy as np
import pytest
import scipy.stats

from animeshooter_hf.eval import aggregate

TABLE_2 = {  # arXiv 2506.03126: shots 1 to 4, Mean
    "CLIP": [
        ([0.8004, 0.7814, 0.7891, 0.7947], 0.7914),
        ([0.7297, 0.7200, 0.7417, 0.7413], 0.7332),
        ([0.8022, 0.7949, 0.7970, 0.7986], 0.7982),
    ],
    "DreamSim": [
        ([0.3679, 0.4169, 0.4047, 0.3870], 0.3941),
        ([0.4777, 0.5060, 0.4842, 0.4864], 0.4886),
        ([0.3484, 0.3820, 0.3799, 0.3764], 0.3717),
    ],
}


def rows(count: int = 200) -> list[list[float]]:
    rng = np.random.default_rng(0)
    return [rng.uniform(0.01, 1.0, rng.integers(1, 9)).tolist() for _ in range(count)]


def test_harmean_p_is_scipys_harmonic_mean_times_the_lowest() -> None:
    for values in rows():
        assert aggregate.harmean_p(values) == pytest.approx(scipy.stats.hmean(values) * min(values), abs=1e-12)


def test_harmean_p_lies_between_the_squared_minimum_and_minimum_times_mean() -> None:
    for values in rows():
        low, middle = min(values), sum(values) / len(values)
        assert low**2 - 1e-12 <= aggregate.harmean_p(values) <= low * middle + 1e-12


def test_harmean_p_of_perfect_shots_is_one() -> None:
    assert aggregate.harmean_p([1.0] * 4) == 1.0


def test_harmean_p_of_a_hand_made_case() -> None:
    assert aggregate.harmean_p([0.5, 1.0]) == pytest.approx(2 / 3 * 0.5, abs=1e-15)


def test_a_hopeless_shot_leaves_harmean_p_above_zero() -> None:
    assert 0 < aggregate.harmean_p([0.9, 0.0]) < 1e-10


def test_the_distance_form_turns_similarities_back() -> None:
    for values in rows(50):
        distances = [1 - value for value in values]
        assert aggregate.distance_harmean_p(distances) == pytest.approx(1 - aggregate.harmean_p(values), abs=1e-12)


@pytest.mark.parametrize("metric", TABLE_2)
def test_the_means_of_table_2_are_the_means_of_its_columns(metric: str) -> None:
    for shots, reported in TABLE_2[metric]:
        assert aggregate.mean(shots) == pytest.approx(reported, abs=1.01e-4)


def test_table_2_reports_harmean_p_per_story_and_then_averaged() -> None:
    # A story varies more than the columns do, so the corpus value lies below HarMeanP of the columns, in all six rows.
    reported = {"CLIP": [0.5901, 0.5028, 0.6121], "DreamSim": [0.6818, 0.7759, 0.6413]}
    for (shots, _), value in zip(TABLE_2["CLIP"], reported["CLIP"], strict=True):
        assert 0 < aggregate.harmean_p(shots) - value < 0.04
    for (shots, _), value in zip(TABLE_2["DreamSim"], reported["DreamSim"], strict=True):
        assert 0 < value - aggregate.distance_harmean_p(shots) < 0.06


def test_the_spread_is_the_sample_standard_deviation() -> None:
    for values in rows(50):
        expected = None if len(values) < 2 else pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert aggregate.within_sd(values) == expected


def test_the_slope_is_the_least_squares_slope() -> None:
    for values in rows(50):
        positions = list(range(len(values)))
        expected = None if len(values) < 2 else pytest.approx(np.polyfit(positions, values, 1)[0], abs=1e-9)
        assert aggregate.slope(positions, values) == expected


def test_the_auc_is_the_mann_whitney_statistic_with_ties_counted_half() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        above, below = rng.integers(0, 8, rng.integers(1, 20)) / 8, rng.integers(0, 8, rng.integers(1, 20)) / 8
        expected = scipy.stats.mannwhitneyu(above, below).statistic / (len(above) * len(below))
        assert aggregate.rank_auc(above, below) == pytest.approx(expected, abs=1e-12)


def test_there_is_no_auc_without_both_sides() -> None:
    assert aggregate.rank_auc([0.5], []) is None


def test_a_mean_does_not_depend_on_the_order() -> None:
    values = np.random.default_rng(2).uniform(0, 1, 999).tolist()
    assert aggregate.mean(values) == aggregate.mean(values[::-1]) == aggregate.mean(sorted(values))


def test_nan_and_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        aggregate.harmean_p([0.5, float("nan")])
    with pytest.raises(ValueError, match="no values"):
        aggregate.mean([])
