"""Motion beyond the camera, on pictures whose motion is known."""

import itertools

import cv2
import numpy as np
import pytest

from animeshooter_hf.eval.motion import (
    fit_camera,
    frame_pairs,
    held_ratio,
    measure_pair,
    neighbour_pairs,
    shrink_to_grey,
    step_changes,
    top_mean,
)


def texture(seed: int = 0, height: int = 200, width: int = 320) -> np.ndarray:
    """Return a grey picture of soft blobs, uint8."""
    rng = np.random.default_rng(seed)
    picture = sum(cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), s) * s for s in (3, 6, 12))
    return np.clip(128 + 90 * picture / np.abs(picture).max(), 0, 255).astype(np.uint8)


def moved(picture: np.ndarray, dx: float, dy: float, zoom: float = 1.0) -> np.ndarray:
    """Return what a window of 256 x 144 sees after the camera went, from the middle of a larger picture."""
    matrix = np.array([[1 / zoom, 0, 32 + dx], [0, 1 / zoom, 28 + dy]])
    return cv2.warpAffine(picture, matrix, (256, 144), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def with_ball(picture: np.ndarray, x: int, y: int) -> np.ndarray:
    return cv2.circle(picture.copy(), (x, y), 16, 250, -1)


def test_pairs_lie_in_the_shot_and_a_quarter_of_a_second_apart() -> None:
    for num_frames, rate in itertools.product((2, 3, 5, 12, 49, 1000), (8.0, 16.0, 23.976, 60.0)):
        for first, second in frame_pairs(num_frames, rate):
            assert 0 <= first < second < num_frames
            assert second - first == min(max(1, round(rate / 4)), num_frames - 1)
    assert frame_pairs(1, 24.0) == neighbour_pairs(1) == ()
    assert neighbour_pairs(49) == ((4, 5), (14, 15), (24, 25), (34, 35), (44, 45))


@pytest.mark.parametrize(("dx", "dy", "zoom"), [(6, 0, 1.0), (0, -5, 1.0), (2, 2, 1.05), (0, 0, 1.0)])
def test_a_camera_over_a_still_picture_leaves_nothing(dx: float, dy: float, zoom: float) -> None:
    picture = texture()
    pair = measure_pair(moved(picture, 0, 0), moved(picture, dx, dy, zoom), 0.25)
    assert pair["residual"] < 0.05
    assert (pair["top5"] > 1) == (dx != 0 or dy != 0)


def test_a_ball_that_moves_is_left_over_with_and_without_a_camera() -> None:
    picture = texture()
    for dx in (0, 4):
        first, second = with_ball(moved(picture, 0, 0), 100, 70), with_ball(moved(picture, dx, 0), 108, 70)
        assert measure_pair(first, second, 0.25)["residual"] > 1


def test_noise_over_a_still_picture_is_no_motion() -> None:
    rng = np.random.default_rng(1)
    still = moved(texture(), 0, 0)
    noisy = [np.clip(still + rng.integers(-12, 13, still.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    pair = measure_pair(*noisy, 0.25)
    assert pair["residual"] == 0
    assert pair["change"] > 2


def test_motion_is_told_per_eighth_of_a_second() -> None:
    first, second = with_ball(moved(texture(), 0, 0), 100, 70), with_ball(moved(texture(), 0, 0), 106, 70)
    quick, slow = (measure_pair(first, second, seconds) for seconds in (0.125, 0.25))
    assert quick["residual"] == pytest.approx(2 * slow["residual"])
    assert quick["top5"] == pytest.approx(2 * slow["top5"])


def test_the_camera_fit_is_exact_and_ignores_who_moves_otherwise() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 200, (400, 2))
    camera = np.array([[0.02, -0.01], [0.01, 0.03], [1.5, -2.0]])
    flow = np.column_stack([places, np.ones(400)]) @ camera
    flow[:60] += 15
    found = fit_camera(places, flow, np.ones(400, bool))
    np.testing.assert_allclose(np.column_stack([places, np.ones(400)]) @ (found - camera), 0, atol=0.2)


def test_a_strip_of_a_picture_has_no_flow_but_a_change() -> None:
    strip = np.zeros((4, 256), np.uint8)
    pair = measure_pair(strip, strip + 3, 0.25)
    assert np.isnan(pair["residual"])
    assert pair["change"] == 3


def test_pictures_are_brought_to_one_width_from_any_size() -> None:
    for height, width in ((16, 16), (480, 720), (2000, 30), (1, 1)):
        grey = shrink_to_grey(np.zeros((height, width, 3), np.uint8))
        assert grey.shape[1] == 256
        assert 1 <= grey.shape[0] <= 1024


def test_neighbours_are_nearer_than_distant_frames_until_frames_are_shuffled() -> None:
    picture = texture()
    film = [with_ball(moved(picture, 0.3 * index, 0), 20 + 3 * index, 100 - index) for index in range(60)]
    pairs = [(film[a], film[b]) for a, b in neighbour_pairs(60)]
    near, far = step_changes(pairs)
    assert near < 0.3 * far
    order = np.random.default_rng(0).permutation(60)
    near, far = step_changes([(film[order[a]], film[order[b]]) for a, b in neighbour_pairs(60)])
    assert near > 0.5 * far


def test_held_frames_are_counted_and_the_fastest_twentieth_is_averaged() -> None:
    assert held_ratio([0.0, 0.4, 3.0, 9.0]) == 0.5
    assert top_mean(np.arange(100.0)) == 97.0
    assert top_mean(np.array([2.0])) == 2.0
