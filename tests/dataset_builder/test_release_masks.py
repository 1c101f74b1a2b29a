import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.release.masks import count_pixels
from animeshooter_hf.masks import RleMask, decode_runs


def slow_count(counts: str, limit: int) -> int | None:
    try:
        return sum(decode_runs(counts, limit=limit))
    except ValueError:
        return None


@settings(max_examples=500, deadline=None)
@given(st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=12), st.integers(0, 1 << 28))
def test_counting_pixels_agrees_with_decoding_the_runs(counts: str, limit: int) -> None:
    assert count_pixels(counts, limit=limit) == slow_count(counts, limit)


@pytest.mark.parametrize("counts", ["", "é", "placeholder", "p" * 9 + "0", "0`", "~", "0`0"])
def test_counting_pixels_agrees_on_texts_that_are_no_runs(counts: str) -> None:
    assert count_pixels(counts, limit=100) == slow_count(counts, 100)


def test_the_pixels_of_real_masks_add_up() -> None:
    generator = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 5), (90, 160)):
        mask = RleMask.from_array(generator.random((height, width)) < 0.4)
        assert count_pixels(mask.counts, limit=height * width) == height * width
        assert count_pixels(mask.counts + "1", limit=height * width) != height * width
