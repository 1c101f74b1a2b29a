import numpy as np
import pytest

from animeshooter_hf.eval.sampling import sample_frames


def test_bin_centres_are_the_middles_of_equal_parts() -> None:
    assert sample_frames(49) == (4, 14, 24, 34, 44)
    assert sample_frames(10) == (1, 3, 5, 7, 9)
    for num_frames in range(6, 200):
        expected = [int((k + 0.5) * num_frames / 5) for k in range(5)]
        assert list(sample_frames(num_frames)) == expected


def test_the_paper_preset_takes_the_first_and_the_last_frame() -> None:
    assert sample_frames(49, sampling="linspace") == tuple(np.linspace(0, 48, 5).round().astype(int))


@pytest.mark.parametrize("sampling", ["bin_centre", "linspace"])
def test_samples_are_distinct_ascending_and_inside(sampling: str) -> None:
    for num_frames in range(1, 60):
        for asked in range(1, 12):
            chosen = sample_frames(num_frames, asked, sampling)
            assert len(chosen) == min(asked, num_frames)
            assert list(chosen) == sorted(set(chosen))
            assert 0 <= chosen[0] <= chosen[-1] < num_frames


def test_a_shot_with_too_few_frames_gives_all_it_has() -> None:
    assert sample_frames(3, 5) == (0, 1, 2)


def test_an_unknown_rule_or_no_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="sampling must be one of"):
        sample_frames(10, sampling="random")
    with pytest.raises(ValueError, match="at least 1"):
        sample_frames(0)
