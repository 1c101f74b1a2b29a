"""Intervals, tests and corrections, against scipy and against cases made by hand."""

import numpy as np
import pytest
from scipy import stats

from animeshooter_hf.eval.statistics import (
    cluster_bootstrap,
    clustered_standard_error,
    holm,
    least_detectable_difference,
    paired_comparison,
    planned_difference,
    sign_flip_p_value,
    student_quantile,
)
from animeshooter_hf.eval.statistics.resampling import drawn_counts


def families(seed: int, *, ips: int = 20, each: int = 10, sd_ip: float = 0.03) -> tuple[list[float], list[str]]:
    """Values of stories that resemble each other inside an IP."""
    rng = np.random.default_rng(seed)
    values = 0.8 + rng.normal(0, sd_ip, (ips, 1)) + rng.normal(0, 0.03, (ips, each))
    return values.ravel().tolist(), [f"ip{ip}" for ip in range(ips) for _ in range(each)]


@pytest.mark.parametrize(("method", "outside"), [("percentile", "percentile"), ("bca", "BCa")])
def test_with_one_story_per_ip_the_interval_is_scipys_bootstrap(method: str, outside: str) -> None:
    values = np.random.default_rng(1).gamma(2.0, 0.1, 60)
    ours = cluster_bootstrap(values.tolist(), [str(n) for n in range(60)], draws=20_000, method=method, seed=5)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method=outside, vectorized=True, rng=np.random.default_rng(7)
    ).confidence_interval
    assert ours is not None
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.03 * width
    assert abs(ours.high - theirs.high) < 0.03 * width
    assert ours.value == pytest.approx(values.mean(), abs=1e-15)


def test_drawing_ips_alone_is_scipys_bootstrap_of_the_ips_means() -> None:
    values, ips = families(2)
    ours = cluster_bootstrap(values, ips, draws=20_000, draws_stories=False)
    means = np.reshape(values, (20, 10)).mean(axis=1)
    theirs = stats.bootstrap(
        (means,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.03 * (theirs.high - theirs.low))


def test_drawing_stories_too_follows_a_loop_written_plainly() -> None:
    values, ips = [0.1, 0.9, 0.4, 0.5, 0.7, 0.2], ["a", "a", "a", "b", "b", "c"]
    rng = np.random.default_rng(11)
    of = {ip: [value for value, other in zip(values, ips, strict=True) if other == ip] for ip in "abc"}
    means = []
    for _ in range(5_000):
        drawn = [of[ip] for ip in rng.choice(list("abc"), 3)]
        means.append(np.concatenate([rng.choice(stories, len(stories)) for stories in drawn]).mean())
    ours = cluster_bootstrap(values, ips, draws=20_000)
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(means, (0.025, 0.975))), abs=0.02)


def test_no_order_of_the_stories_changes_a_digit() -> None:
    values, ips = families(3)
    order = np.random.default_rng(4).permutation(len(values))
    turned = [values[at] for at in order], [ips[at] for at in order]
    assert cluster_bootstrap(*turned, draws=500) == cluster_bootstrap(values, ips, draws=500)
    names = [f"s{n}" for n in range(len(values))]
    first, second = dict(zip(names, values, strict=True)), dict(zip(names, families(5)[0], strict=True))
    of = dict(zip(names, ips, strict=True))
    once = paired_comparison(first, second, of, draws=500)
    again = paired_comparison(
        {names[at]: first[names[at]] for at in order}, dict(reversed(second.items())), of, draws=500
    )
    assert once == again


def test_a_seed_gives_the_same_digits_and_another_one_others() -> None:
    values, ips = families(6)
    assert cluster_bootstrap(values, ips, draws=500, seed=1) == cluster_bootstrap(values, ips, draws=500, seed=1)
    assert cluster_bootstrap(values, ips, draws=500, seed=1) != cluster_bootstrap(values, ips, draws=500, seed=2)


def test_fewer_than_two_stories_have_no_interval() -> None:
    assert cluster_bootstrap([], []) is None
    assert cluster_bootstrap([0.5], ["a"]) is None
    assert paired_comparison({"s": 1.0, "t": 1.0}, {"t": 0.5, "u": 1.0}, {"t": "a"}) is None


def test_stories_that_are_all_the_same_have_an_interval_of_no_width() -> None:
    for method in ("percentile", "bca"):
        interval = cluster_bootstrap([0.25] * 6, list("aabbcc"), method=method, draws=100)
        assert interval is not None
        assert (interval.low, interval.value, interval.high) == (0.25, 0.25, 0.25)


def test_few_ips_are_named_in_a_warning() -> None:
    alone = cluster_bootstrap([0.1, 0.2, 0.4], ["a"] * 3, draws=200)
    two = cluster_bootstrap([0.1, 0.2, 0.4], ["a", "a", "b"], draws=200)
    many = cluster_bootstrap([0.1] * 3 + [0.2] * 3, list("abcdef"), draws=200)
    assert alone is not None
    assert two is not None
    assert many is not None
    assert alone.low < alone.value < alone.high
    assert "One IP" in alone.warning
    assert "2 IPs" in two.warning
    assert many.warning == ""


@pytest.mark.parametrize(
    ("values", "clusters", "options", "words"),
    [
        ([0.1, float("nan")], ["a", "b"], {}, "not finite"),
        ([0.1, 0.2], ["a"], {}, "one cluster per value"),
        ([0.1, 0.2], ["a", "b"], {"draws": 0}, "draws"),
        ([0.1, 0.2], ["a", "b"], {"level": 1.0}, "level"),
        ([0.1, 0.2], ["a", "b"], {"method": "normal"}, "method"),
    ],
)
def test_what_is_no_sample_is_refused(values: list, clusters: list, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cluster_bootstrap(values, clusters, **options)


def test_the_exact_p_value_is_scipys_permutation_test() -> None:
    rng = np.random.default_rng(8)
    for num_ips in (3, 7, 10):
        differences = rng.normal(0.3, 1.0, num_ips)
        theirs = stats.permutation_test(
            (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
        ).pvalue
        assert sign_flip_p_value(differences.tolist(), list(map(str, range(num_ips)))) == pytest.approx(theirs, 1e-12)


def test_signs_are_flipped_for_whole_ips() -> None:
    p_value = sign_flip_p_value([1.0, 1.0, 1.0, 1.0, 2.0, 2.0], ["a", "a", "b", "b", "c", "c"])
    assert p_value == sign_flip_p_value([2.0, 2.0, 4.0], ["a", "b", "c"]) == 0.25
    assert sign_flip_p_value([1.0] * 6, list("abcdef")) == 2 / 2**6


def test_drawn_signs_agree_with_the_exact_test() -> None:
    differences = np.random.default_rng(9).normal(0.2, 1.0, 33)
    drawn = sign_flip_p_value(differences.tolist(), list(map(str, range(33))), draws=100_000)
    exact = sign_flip_p_value([*differences[:31], differences[31] + differences[32]], list(map(str, range(32))))
    normal = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum()))
    assert drawn == pytest.approx(normal, abs=0.02)
    assert exact == pytest.approx(normal, abs=0.05)
    assert sign_flip_p_value([1.0] * 40, list(map(str, range(40))), draws=999) == 1 / 1000


def test_so_few_ips_cannot_show_a_difference_and_that_is_said() -> None:
    def compared(ips: str) -> tuple[float, float, float | None]:
        of = {f"{ip}{n}": ip for ip in ips for n in range(4)}
        first = {story: 1.0 + 0.01 * n for n, story in enumerate(of)}
        found = paired_comparison(first, dict.fromkeys(of, 0.0), of, draws=100)
        assert found is not None
        return found.p_value, found.smallest_p_value, found.least_detectable

    assert compared("a") == (1.0, 1.0, None)
    assert compared("ab") == (0.5, 0.5, None)
    assert compared("abcde") == (0.0625, 0.0625, None)
    p_value, smallest, least = compared("abcdef")
    assert p_value == smallest == 0.03125
    assert least is not None


def test_two_equal_systems_have_no_difference_and_p_1() -> None:
    of = {f"{ip}{n}": ip for ip in "abcdef" for n in range(3)}
    scores = {story: 0.1 * n for n, story in enumerate(of)}
    found = paired_comparison(scores, scores, of, draws=100)
    assert found is not None
    assert (found.difference, found.low, found.high, found.p_value, found.least_detectable) == (0, 0, 0, 1.0, 0)


def test_only_stories_that_both_have_are_compared() -> None:
    of = dict.fromkeys("stuv", "a")
    found = paired_comparison({"s": 3.0, "t": 4.0, "u": 9.0}, {"s": 1.0, "t": 2.0, "v": 9.0}, of, draws=100)
    assert found is not None
    assert (found.difference, found.num_stories, found.num_clusters) == (2.0, 2, 1)


def test_a_story_without_an_ip_is_refused() -> None:
    with pytest.raises(ValueError, match="Story t has no IP"):
        paired_comparison({"s": 1.0, "t": 1.0}, {"s": 1.0, "t": 1.0}, {"s": "a"})
    with pytest.raises(ValueError, match="no difference"):
        sign_flip_p_value([], [])


def test_strong_ip_effects_do_not_fool_the_test_but_fool_one_that_takes_stories_for_independent() -> None:
    rng = np.random.default_rng(20)
    ips = [f"ip{ip}" for ip in range(20) for _ in range(10)]
    clustered = apart = 0
    for _ in range(300):
        values = (rng.normal(0, 0.03, (20, 1)) + rng.normal(0, 0.03, (20, 10))).ravel()
        clustered += sign_flip_p_value(values.tolist(), ips) < 0.05
        apart += stats.ttest_1samp(values, 0.0).pvalue < 0.05
    assert clustered / 300 <= 0.07
    assert 0.3 < apart / 300 < 0.5


def test_holm_gives_the_corrected_values_of_his_method() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("p_value", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p_value: float) -> None:
    with pytest.raises(ValueError, match="p-value"):
        holm([0.5, p_value])


def test_students_quantiles_are_scipys() -> None:
    for degrees in (1, 2, 3, 4, 7, 19, 40, 199):
        for share in (0.001, 0.2, 0.5, 0.8, 0.975, 0.9999):
            assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-9, abs=1e-9)
    for share, degrees in ((0.0, 3), (1.0, 3), (0.5, 0)):
        with pytest.raises(ValueError, match="share"):
            student_quantile(share, degrees)


def test_the_standard_error_is_that_of_the_ips_means() -> None:
    values, ips = families(12)
    means = np.reshape(values, (20, 10)).mean(axis=1)
    assert clustered_standard_error(values, ips) == pytest.approx(means.std(ddof=1) / np.sqrt(20), rel=1e-12)
    assert clustered_standard_error([0.1, 0.2], ["a", "a"]) is None


@pytest.mark.parametrize("num_ips", [6, 7, 8, 20])
def test_the_least_detectable_difference_is_found_four_times_in_five(num_ips: int) -> None:
    ips = [f"ip{ip}" for ip in range(num_ips) for _ in range(4)]
    least = planned_difference(num_ips=num_ips, stories_per_ip=4, sd_ip=0.02, sd_story=0.03)
    assert least is not None
    rng = np.random.default_rng([21, num_ips])
    found = 0
    for _ in range(400):
        values = (least + rng.normal(0, 0.02, (num_ips, 1)) + rng.normal(0, 0.03, (num_ips, 4))).ravel()
        found += sign_flip_p_value(values.tolist(), ips) < 0.05
    assert 0.74 < found / 400 < 0.86


def test_more_power_or_a_higher_level_needs_a_larger_difference() -> None:
    values, ips = families(13)
    usual = least_detectable_difference(values, ips)
    assert usual is not None
    assert least_detectable_difference(values, ips, power=0.9) > usual
    assert least_detectable_difference(values, ips, level=0.99) > usual
    with pytest.raises(ValueError, match="power"):
        least_detectable_difference(values, ips, power=1.0)
    assert planned_difference(num_ips=1, stories_per_ip=10, sd_ip=0.0, sd_story=0.1) is None


def test_counts_of_draws_keep_the_size_of_each_drawn_ip() -> None:
    ips, stories = ["a", "a", "a", "b"], ["s", "s", "t", "u"]
    counts = drawn_counts(ips, stories, draws=400, rng=np.random.default_rng(0))
    assert (counts[:, 0] == counts[:, 1]).all()  # two items of one story
    per_ip = np.stack([counts[:, 0] + counts[:, 2], counts[:, 3]], axis=1)  # stories, each counted once
    assert {tuple(row) for row in per_ip.astype(int)} == {(4, 0), (2, 1), (0, 2)}
    assert per_ip.mean(axis=0) == pytest.approx([2.0, 1.0], abs=0.2)
    with pytest.raises(ValueError, match="one member"):
        drawn_counts(["a"], [], draws=1, rng=np.random.default_rng(0))
