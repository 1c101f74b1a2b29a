"""The arithmetic of text alignment: contrasts, probabilities, and captions that are longer than a model reads."""

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.text_scores import (
    embed_captions,
    join_rows,
    match_own,
    match_probability,
    split_caption,
    text_similarity,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def test_a_shot_is_as_similar_to_a_text_as_its_frames_are_on_average() -> None:
    rows = unit(np.random.default_rng(0).normal(size=(5, 8)))
    texts = unit(np.random.default_rng(1).normal(size=(3, 8)))
    expected = [np.mean([float(row @ text) for row in rows]) for text in texts]
    np.testing.assert_allclose(text_similarity(rows, texts), expected, atol=1e-7)


def test_rows_of_another_width_or_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit together"):
        text_similarity(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        text_similarity(np.full((1, 2), np.nan, np.float32), np.ones((1, 2), np.float32))


def test_a_match_by_hand() -> None:
    match = match_own(np.array([0.3, 0.1, 0.3, 0.2]), ["a", "b", "c", "d"], own=0)
    assert match.own == 0.3
    assert match.contrast == pytest.approx(0.3 - 0.2)
    assert match.retrieval_at_1 == 0.0  # the tie with c does not count
    assert match.auc == pytest.approx(2.5 / 3)


def test_a_caption_that_repeats_the_own_one_is_no_other_and_an_empty_one_is_none() -> None:
    match = match_own(np.array([0.3, 0.3, 0.1, 0.9]), ["A fox.", "a  fox", "a frog", " "], own=0)
    assert match.contrast == pytest.approx(0.2)
    assert match.retrieval_at_1 == 1.0
    alone = match_own(np.array([0.3, 0.3]), ["a fox", "a fox"], own=1)
    assert (alone.contrast, alone.retrieval_at_1, alone.auc) == (None, None, None)


def test_the_same_picture_in_every_shot_has_no_contrast_whatever_it_shows() -> None:
    similarity = np.random.default_rng(2).uniform(-1, 1, 6)
    texts = [f"caption {index}" for index in range(6)]
    contrasts = [match_own(similarity, texts, own).contrast for own in range(6)]
    assert np.mean([one for one in contrasts if one is not None]) == pytest.approx(0.0, abs=1e-12)


def test_a_shot_without_a_caption_has_no_match() -> None:
    with pytest.raises(ValueError, match="without a caption"):
        match_own(np.array([0.1, 0.2]), ["", "a fox"], own=0)
    with pytest.raises(ValueError, match="equally many"):
        match_own(np.array([0.1]), ["a", "b"], own=0)


def test_a_probability_is_the_sigmoid_of_the_scaled_cosine() -> None:
    assert match_probability(0.1, 10.0, -1.0) == pytest.approx(0.5)
    assert match_probability(0.2, 10.0, -1.0) == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert match_probability(1.0, 1e4, 0.0) == 1.0
    assert match_probability(-1.0, 1e4, 0.0) == 0.0


def test_a_caption_that_fits_is_not_touched() -> None:
    caption = "  A fox runs. It jumps: over a fence, and lands.  "
    assert split_caption(caption) == (caption.strip(),)
    assert split_caption("   ") == ()


def test_a_long_caption_loses_no_word_and_no_part_is_too_long() -> None:
    generator = np.random.default_rng(3)
    words = [f"word{index}" for index in range(300)]
    marks = generator.choice(["", "", "", "", ",", ".", ";"], size=300)
    caption = " ".join(word + mark for word, mark in zip(words, marks, strict=True))
    parts = split_caption(caption, max_words=40)
    assert " ".join(parts).split() == caption.split()
    assert all(len(part.split()) <= 40 for part in parts)
    assert len(parts) < 20


def test_sentences_stay_whole_where_they_fit() -> None:
    caption = "The fox runs to the river. The frog looks at it. " * 6
    assert all(part.endswith(".") for part in split_caption(caption, max_words=12))


def test_fewer_than_one_word_per_part_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        split_caption("a fox", max_words=0)


def test_the_row_of_a_long_caption_is_the_mean_of_its_parts() -> None:
    rows = unit(np.random.default_rng(4).normal(size=(3, 6)))
    joined = join_rows(rows)
    np.testing.assert_allclose(joined, unit(rows.astype(np.float64).mean(axis=0)), atol=1e-7)
    np.testing.assert_array_equal(join_rows(rows[:1]), rows[0])


def test_parts_that_cancel_out_are_refused() -> None:
    with pytest.raises(InputError, match="cancel out"):
        join_rows(np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32))
    with pytest.raises(InputError, match="at least one part"):
        join_rows(np.zeros((0, 2), np.float32))


def test_a_part_that_several_captions_share_is_embedded_once() -> None:
    seen: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return unit(np.array([[len(text), 1.0] for text in texts]))

    long = " ".join(["word"] * 39) + ". "
    rows = embed_captions([long * 2, "a fox", long.strip(), "a fox"], embed)
    assert sorted(seen) == sorted({long.strip(), "a fox"})
    assert rows.shape == (4, 2)
    np.testing.assert_array_equal(rows[1], rows[3])
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
