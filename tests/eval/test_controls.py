"""The arithmetic of the controls."""

import math

import numpy as np
import pytest

from animeshooter_hf.eval.controls import (
    CONTROLS,
    HashedShot,
    duplication,
    flagged,
    identity_contrasts,
    order_fit,
    order_ratio,
)


def hashed(seed: int, *, mirrored_of: int | None = None) -> HashedShot:
    plain = np.random.default_rng(seed).integers(0, 2, (5, 63), dtype=np.uint8)
    other = np.random.default_rng(1000 + seed if mirrored_of is None else mirrored_of).integers(
        0, 2, (5, 63), dtype=np.uint8
    )
    return HashedShot(plain, other)


def test_a_number_at_the_limit_is_not_flagged_and_none_is_not_tested() -> None:
    for control in CONTROLS:
        beyond = control.limit + (0.01 if control.flags_above else -0.01)
        assert control.flags(control.limit) is False
        assert control.flags(beyond) is True
        assert control.flags(None) is None
        assert control.words == f"{control.number} {'>' if control.flags_above else '<'} {control.limit:g}"
        assert flagged({control.number: beyond}) == [control.name]
    assert flagged({}) == []


def test_repeated_shots_are_counted_and_one_shot_has_no_pair() -> None:
    a, b, c = hashed(0), hashed(1), hashed(2)
    assert duplication([a, b, c])["distinct_shots"] == 1.0
    assert duplication([a, b, c])["shot_duplication"] < 0.8
    assert duplication([a, b, a, a]) == {"shot_duplication": 1.0, "distinct_shots": 0.5}
    assert duplication([a]) == duplication([]) == {"shot_duplication": None, "distinct_shots": None}


def test_a_mirrored_shot_is_a_repeated_one() -> None:
    assert duplication([hashed(0, mirrored_of=7), hashed(7)])["shot_duplication"] == 1.0


def test_the_order_of_frames_is_judged_over_shots_that_change() -> None:
    assert order_ratio([(10.0, 10.0), (0.0, 0.2)]) == pytest.approx(1.0)
    assert order_ratio([(0.0, 0.2)]) is None
    assert order_ratio([]) is None
    expected = math.sqrt((1.25 / 10.25) * (2.25 / 8.25))
    assert order_ratio([(1.0, 10.0), (2.0, 8.0)]) == pytest.approx(expected)


def test_the_contrast_of_identity_is_margin_plus_lift() -> None:
    similarity = np.array([[0.8, 0.3], [0.4, 0.9]])
    own, swapped = (
        identity_contrasts(matrix, ["a", "b"], ["a", "b"], [[0], [1]], [matrix[0, 0], matrix[1, 1]])
        for matrix in (similarity, similarity[::-1])
    )
    assert own[0] == pytest.approx({"identity_margin": 0.5, "identity_lift": 0.4, "identity_contrast": 0.9})
    assert own[1]["identity_contrast"] == pytest.approx(0.5 + 0.6)
    assert all(story["identity_contrast"] < 0 for story in swapped)


def test_identity_cannot_be_tested_without_a_reference_or_another_ip() -> None:
    nothing = dict.fromkeys(("identity_margin", "identity_lift", "identity_contrast"))
    assert identity_contrasts(np.ones((2, 1)), ["a"], ["a", "a"], [[0], [0]], [1.0, 1.0]) == [nothing, nothing]
    mixed = identity_contrasts(np.ones((2, 2)), ["a", "b"], ["a", "b"], [[], [1]], [None, 1.0])
    assert mixed[0] == nothing
    assert mixed[1]["identity_contrast"] == 0
    unread = np.array([[0.5, 0.5], [math.nan, math.nan]])
    assert identity_contrasts(unread, ["a", "b"], ["a", "b"], [[0], [1]], [0.5, None]) == [nothing, nothing]


def test_the_best_order_fits_better_than_all_others_and_the_worst_than_none() -> None:
    match = np.eye(4)

    def fit(order: tuple[int, ...]) -> float:
        return float(match[list(order), range(4)].sum())

    assert order_fit(4, [fit]) == 1.0
    assert order_fit(4, [lambda order: -fit(order)]) < 0.2
    assert order_fit(4, [lambda order: 1.0]) is None
    assert order_fit(4, []) is None
    assert order_fit(1, [fit]) is None


def test_shuffled_orders_fit_a_long_story_half_as_often_on_average() -> None:
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(20):
        match = rng.random((8, 8))
        fits.append(order_fit(8, [lambda order, m=match: float(m[list(order), range(8)].sum())]))
    assert 0.3 < np.mean(fits) < 0.7
