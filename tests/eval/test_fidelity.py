import numpy as np
import pytest

from animeshooter_hf.eval.fidelity import (
    Contrast,
    character_similarity,
    gallery_contrast,
    shot_fidelity,
    story_fidelity,
)


def unit(*values: float) -> np.ndarray:
    row = np.asarray(values, np.float32)
    return row / np.linalg.norm(row)


EAST, NORTH, DIAGONAL = unit(1, 0), unit(0, 1), unit(1, 1)


def test_a_frame_is_compared_with_its_best_reference_and_frames_are_averaged() -> None:
    frames = np.stack([EAST, NORTH])
    assert character_similarity(frames, np.stack([EAST, NORTH])) == pytest.approx(1.0)
    assert character_similarity(frames, DIAGONAL[None]) == pytest.approx(np.sqrt(0.5))
    assert character_similarity(frames, EAST[None]) == pytest.approx((1 + 1e-6) / 2)


def test_opposite_embeddings_give_the_smallest_similarity_and_not_less() -> None:
    assert character_similarity(EAST[None], -EAST[None]) == 1e-6


def test_only_scheduled_characters_with_a_reference_are_compared() -> None:
    scores = shot_fidelity(EAST[None], {"a": EAST[None], "b": NORTH[None]}, ["a", "stranger", "a"])
    assert scores == {"a": 1.0}


def test_a_story_of_one_shot_has_no_spread_and_no_slope() -> None:
    values = story_fidelity([0], [0.5], is_complete=True)
    assert values["within_sd"] is None
    assert values["slope"] is None
    assert values["harmean_p"] == pytest.approx(0.25)


def test_a_failed_shot_leaves_the_worst_shot_unknown() -> None:
    values = story_fidelity([0, 2], [0.5, 0.7], is_complete=False)
    assert values["mean"] == pytest.approx(0.6)
    assert values["min"] is values["harmean_p"] is values["distance_harmean_p"] is None
    assert values["slope"] == pytest.approx(0.1)


def test_a_story_without_any_scored_shot_has_only_nones() -> None:
    assert set(story_fidelity([], [], is_complete=False).values()) == {None}


def test_a_tie_with_another_character_is_no_retrieval() -> None:
    contrast = Contrast((("ip", 0.5),), (("other", 0.5), ("third", 0.2)))
    assert contrast.retrieval_at_1 == 0
    assert contrast.margin == 0


def test_the_contrast_counts_pairs_and_averages_references() -> None:
    contrasts = [
        Contrast((("a", 0.9),), (("b", 0.1),)),
        Contrast((("b", 0.8),), (("a", 0.85),)),
    ]
    areas = gallery_contrast(contrasts)
    assert areas["auc"] == pytest.approx(3 / 4)
    assert areas["macro_auc"] == pytest.approx(1.0)


def test_there_is_no_contrast_with_one_ip() -> None:
    assert gallery_contrast([]) == {"auc": None, "macro_auc": None}


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in width"):
        character_similarity(EAST[None], np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="need rows"):
        character_similarity(np.zeros((0, 2), np.float32), EAST[None])
