import numpy as np
import pytest

from animeshooter_hf.eval.consistency import scene_contrast, story_consistency


def random_rows(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).uniform(0, 1, (count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_identical_shots_are_perfectly_consistent() -> None:
    values = story_consistency(range(4), np.repeat(random_rows(1), 4, axis=0))
    for name in ("pairwise", "adjacent", "anchor", "loo_centroid"):
        assert values[name] == pytest.approx(1.0, abs=1e-6)
    assert values["gap_slope"] == pytest.approx(0.0, abs=1e-6)


def test_the_numbers_are_those_of_a_plain_loop() -> None:
    rows = random_rows(5).astype(np.float64)
    values = story_consistency(range(5), random_rows(5))
    pairs = [(j, k) for j in range(5) for k in range(j + 1, 5)]
    cosines = {(j, k): float(rows[j] @ rows[k]) for j, k in pairs}
    assert values["pairwise"] == pytest.approx(np.mean(list(cosines.values())), abs=1e-9)
    assert values["adjacent"] == pytest.approx(np.mean([cosines[j, j + 1] for j in range(4)]), abs=1e-9)
    assert values["anchor"] == pytest.approx(np.mean([cosines[0, k] for k in range(1, 5)]), abs=1e-9)
    expected = np.polyfit([k - j for j, k in pairs], list(cosines.values()), 1)[0]
    assert values["gap_slope"] == pytest.approx(expected, abs=1e-9)


def test_the_centroid_leaves_the_shot_itself_out() -> None:
    values = story_consistency(range(2), np.eye(2, dtype=np.float32))
    assert values["loo_centroid"] == 1e-6  # with itself included it would be .71


def test_a_story_of_one_shot_has_no_consistency() -> None:
    assert set(story_consistency([0], random_rows(1)).values()) == {None}


def test_two_shots_have_no_slope_over_distance() -> None:
    assert story_consistency(range(2), random_rows(2))["gap_slope"] is None


def test_a_missing_shot_breaks_neighbourhood_and_a_missing_first_shot_the_anchor() -> None:
    values = story_consistency([1, 3], random_rows(2))
    assert values["adjacent"] is None
    assert values["anchor"] is None
    assert values["pairwise"] is not None


def test_reversing_the_shots_changes_no_mean_over_pairs() -> None:
    rows = random_rows(6)
    forth, back = story_consistency(range(6), rows), story_consistency(range(6), rows[::-1])
    for name in ("pairwise", "adjacent", "gap_slope", "loo_centroid"):
        assert forth[name] == pytest.approx(back[name], abs=1e-12)


def test_scene_contrast_is_high_for_two_places_and_zero_for_copies() -> None:
    places = np.eye(4, dtype=np.float32)[[0, 1, 0, 1]]
    scenes = ["wood", "town", "wood", "town"]
    assert scene_contrast(range(4), places, scenes) == {"scene_contrast": pytest.approx(1, abs=1e-5), "scene_auc": 1.0}
    copies = np.repeat(random_rows(1), 4, axis=0)
    assert scene_contrast(range(4), copies, scenes)["scene_contrast"] == pytest.approx(0, abs=1e-9)
    assert scene_contrast(range(4), copies, scenes)["scene_auc"] == pytest.approx(0.5)


def test_scene_contrast_needs_both_kinds_of_pairs() -> None:
    nothing = {"scene_contrast": None, "scene_auc": None}
    assert scene_contrast(range(3), random_rows(3), ["a", "a", "a"]) == nothing
    assert scene_contrast(range(3), random_rows(3), ["a", "b", None]) == nothing
    assert scene_contrast([], np.zeros((0, 4), np.float32), []) == nothing
