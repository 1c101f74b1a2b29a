"""Agreement of raters and of scores, against the package krippendorff, scipy and published cases."""

import krippendorff
import numpy as np
import pytest
from scipy import stats

from animeshooter_hf.eval.agreement import intraclass_correlation, kendall_tau, krippendorff_alpha

SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""The example of Shrout and Fleiss 1979: six units, four raters."""

NAN = float("nan")


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_the_package_with_any_holes(level: str) -> None:
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(60):
        ratings = rng.integers(1, 6, (rng.integers(2, 6), rng.integers(3, 30))).astype(float)
        ratings[rng.random(ratings.shape) < 0.35] = NAN
        ours = krippendorff_alpha(ratings, level)
        if ours is not None:
            theirs = krippendorff.alpha(reliability_data=ratings, level_of_measurement=level)
            assert ours.value == pytest.approx(theirs, abs=1e-9)
            compared += 1
    assert compared > 50


def test_alpha_of_krippendorffs_own_example_is_his() -> None:
    ratings = [
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ]
    nominal, interval = krippendorff_alpha(ratings, "nominal"), krippendorff_alpha(ratings, "interval")
    assert nominal is not None
    assert interval is not None
    assert (round(nominal.value, 3), round(interval.value, 3)) == (0.691, 0.811)
    assert (nominal.num_units, nominal.num_values) == (12, 26)


def test_raters_who_agree_have_alpha_1_and_random_ones_about_0() -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(1, 6, 200).astype(float)
    alike = krippendorff_alpha([truth, truth, truth])
    random = krippendorff_alpha(rng.integers(1, 6, (4, 2000)).astype(float))
    assert alike is not None
    assert random is not None
    assert alike.value == pytest.approx(1.0)
    assert abs(random.value) < 0.03


def test_there_is_no_alpha_without_pairs_or_without_differences() -> None:
    assert krippendorff_alpha([[1, NAN, 2], [NAN, 3, NAN]]) is None
    assert krippendorff_alpha([[3, 3, 3], [3, 3, 3]]) is None
    assert krippendorff_alpha(np.empty((3, 0))) is None


def test_alphas_interval_holds_it_and_draws_stories_as_a_whole() -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat(rng.integers(1, 6, 20), 3)
    ratings = np.clip(truth + rng.integers(-1, 2, (4, 60)), 1, 5).astype(float)
    ips, stories = [f"ip{n // 12}" for n in range(60)], [f"s{n // 3}" for n in range(60)]
    found = krippendorff_alpha(ratings, clusters=ips, stories=stories, draws=400)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    alone = krippendorff_alpha(ratings, clusters=[str(n) for n in range(60)], draws=400)
    assert alone is not None
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low < found.high - found.low
    order = rng.permutation(60)
    turned = krippendorff_alpha(
        ratings[:, order], clusters=[ips[at] for at in order], stories=[stories[at] for at in order], draws=400
    )
    assert turned is not None
    assert (turned.low, turned.high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_what_is_no_table_of_ratings_is_refused() -> None:
    with pytest.raises(ValueError, match="table"):
        krippendorff_alpha([1.0, 2.0])
    with pytest.raises(ValueError, match="level"):
        krippendorff_alpha([[1.0], [2.0]], "ratio")
    with pytest.raises(ValueError, match="without holes"):
        intraclass_correlation([[1.0, NAN], [1.0, 2.0]])
    with pytest.raises(ValueError, match="kind"):
        intraclass_correlation(SHROUT_FLEISS, kind="other")
    with pytest.raises(ValueError, match="finite"):
        kendall_tau([1.0, NAN], [1.0, 2.0])
    with pytest.raises(ValueError, match="equally many"):
        kendall_tau([1.0], [1.0, 2.0])


def test_intraclass_correlations_are_those_of_shrout_and_fleiss() -> None:
    found = [
        intraclass_correlation(SHROUT_FLEISS, kind=kind, averaged=averaged)
        for kind in ("absolute", "consistency")
        for averaged in (False, True)
    ]
    assert [round(value, 2) for value in found] == [0.29, 0.62, 0.71, 0.91]


def test_there_is_no_intraclass_correlation_of_one_unit_one_rater_or_one_value() -> None:
    assert intraclass_correlation([[1.0, 2.0]]) is None
    assert intraclass_correlation([[1.0], [2.0]]) is None
    assert intraclass_correlation([[2.0, 2.0], [2.0, 2.0]]) is None


def test_tau_is_scipys_with_ties() -> None:
    rng = np.random.default_rng(4)
    for _ in range(30):
        first = rng.integers(0, 5, 25).astype(float)
        second = first + rng.integers(-3, 4, 25)
        ours = kendall_tau(first, second)
        assert ours is not None
        assert ours.value == pytest.approx(stats.kendalltau(first, second).statistic, abs=1e-12)
        assert ours.low is None


def test_taus_interval_holds_it_and_gets_narrower_with_more_things() -> None:
    def width(count: int) -> float:
        rng = np.random.default_rng(5)
        first = rng.normal(size=count)
        found = kendall_tau(first, first + rng.normal(size=count), clusters=[f"ip{n // 4}" for n in range(count)])
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high
        return found.high - found.low

    assert width(160) < width(24)


def test_there_is_no_tau_where_a_score_is_the_same_everywhere() -> None:
    assert kendall_tau([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert kendall_tau([1.0], [2.0]) is None
