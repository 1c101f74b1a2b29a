from types import SimpleNamespace

import numpy as np
import pytest

from animeshooter_hf.eval.views import frame_views, reference_view


def test_the_foreground_view_weights_the_figure_more_than_the_backdrop(drawn: SimpleNamespace) -> None:
    frame = drawn.shot("fox", "night")[0]
    weights = frame_views(frame, ["foreground"])["foreground"].weights
    assert weights is not None
    assert weights[50, 70] > 20 * weights[50, 15]


def test_the_background_view_weights_the_backdrop_more_than_the_figure(drawn: SimpleNamespace) -> None:
    weights = frame_views(drawn.shot("fox", "night")[0], ["background"])["background"].weights
    assert weights is not None
    assert weights[50, 15] > 3 * weights[50, 72]


def test_every_pixel_of_every_view_has_a_weight_above_zero() -> None:
    plain = np.full((40, 60, 3), 128, np.uint8)
    views = frame_views(plain, ["full", "foreground", "background"])
    assert views["full"].weights is None
    assert all(view.weights is None or view.weights.min() > 0 for view in views.values())


def test_a_picture_is_shrunk_to_the_long_side_and_never_enlarged() -> None:
    frame = np.zeros((300, 600, 3), np.uint8)
    assert frame_views(frame, ["full"], long_side=180)["full"].image.shape == (90, 180, 3)
    assert frame_views(frame, ["full"], long_side=900)["full"].image.shape == (300, 600, 3)
    assert frame_views(np.zeros((1, 700, 3), np.uint8), ["full"], long_side=180)["full"].image.shape == (1, 180, 3)


@pytest.mark.parametrize(("background", "behind"), [("white", 255), ("black", 0)])
def test_a_cut_out_is_composited_on_the_named_background(background: str, behind: int, drawn: SimpleNamespace) -> None:
    view = reference_view(drawn.reference("fox"), background)
    assert view.weights is None
    assert view.image[0, 0].tolist() == [behind] * 3
    assert view.image[45, 20].tolist() == [222, 120, 30]


def test_the_mean_background_is_the_mean_colour_of_the_cut_out(drawn: SimpleNamespace) -> None:
    cutout = drawn.reference("fox")
    view = reference_view(cutout, "mean")
    expected = cutout[..., :3][cutout[..., 3] > 0].mean(axis=0)
    assert np.abs(view.image[0, 0] - expected).max() <= 0.5


def test_masked_gives_no_weight_to_what_is_transparent(drawn: SimpleNamespace) -> None:
    view = reference_view(drawn.reference("fox"), "masked", long_side=32)
    assert view.weights is not None
    assert view.weights[0, 0] == 0
    assert view.weights[20, 12] == 1


def test_what_hides_under_the_transparent_part_changes_nothing(drawn: SimpleNamespace) -> None:
    cutout = drawn.reference("fox")
    other = cutout.copy()
    other[other[..., 3] == 0, :3] = (255, 0, 255)
    for background in ("masked", "white", "black", "mean"):
        first, second = (reference_view(image, background, long_side=32) for image in (cutout, other))
        assert np.array_equal(first.image, second.image)


def test_wrong_inputs_are_refused(drawn: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="A view must be one of"):
        frame_views(np.zeros((4, 4, 3), np.uint8), ["middle"])
    with pytest.raises(ValueError, match="uint8"):
        frame_views(np.zeros((4, 4, 3), np.float32), ["full"])
    with pytest.raises(ValueError, match="background must be one of"):
        reference_view(drawn.reference("fox"), "green")
    with pytest.raises(ValueError, match="fully transparent"):
        reference_view(np.zeros((4, 4, 4), np.uint8), "white")
    with pytest.raises(ValueError, match="3 or 4 channels"):
        reference_view(np.zeros((4, 4, 1), np.uint8), "white")
