"""COCO run-length masks: our codec gives pycocotools' bytes, and damaged text is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from animeshooter_hf.masks import RleMask, decode_runs, encode_runs

PLACEHOLDER = "placeholder in case the file is too large"


@settings(deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda shape: arrays(bool, shape)))
def test_our_codec_gives_the_bytes_of_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="pycocotools is optional")
    ours, theirs = RleMask.from_array(mask, coco=None), RleMask.from_array(mask, coco=coco)
    assert ours == theirs
    np.testing.assert_array_equal(ours.to_array(coco=None), mask)
    np.testing.assert_array_equal(theirs.to_array(coco=coco), mask)
    assert ours.area == mask.sum()


def test_empty_and_full_masks_are_known_texts() -> None:
    assert RleMask.from_array(np.zeros((4, 5), bool), coco=None).counts == "d0"
    assert RleMask.from_array(np.ones((4, 5), bool), coco=None).counts == "0d0"


def test_large_smooth_masks_survive() -> None:
    y, x = np.mgrid[:720, :1280]
    mask = ((x - 600) / 300) ** 2 + ((y - 360) / 200) ** 2 < 1
    np.testing.assert_array_equal(RleMask.from_array(mask, coco=None).to_array(coco=None), mask)


@pytest.mark.parametrize("counts", [PLACEHOLDER, "", "\u20ac", "P", "d1", "oooooooooooooooooo0"])
def test_texts_that_are_no_runs_are_refused(counts: str) -> None:
    mask = RleMask(4, 5, counts)
    assert not mask.is_valid
    with pytest.raises(ValueError, match=r"run-length|add up"):
        mask.to_array()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (1 << 20, 1 << 20)])
def test_impossible_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="pixels"):
        RleMask(*size, "0")


def test_arrays_that_are_no_mask_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        RleMask.from_array(np.zeros((2, 2, 2), bool))
    with pytest.raises(ValueError, match="shape"):
        RleMask.from_array(np.zeros((0, 2), bool))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_either_runs_or_a_value_error(counts: str) -> None:
    try:
        runs = decode_runs(counts, limit=400)
    except ValueError:
        return
    assert all(0 <= run <= 400 for run in runs)
    assert decode_runs(encode_runs(runs), limit=400) == runs
