"""Noise, blank frames, bars and overlays."""

import cv2
import numpy as np
import pytest

from animeshooter_hf.eval.picture_faults import (
    EDGE_SIZE,
    bars_share,
    edge_directions,
    is_blank,
    lasting_edges,
    recurring_share,
    spatial_autocorrelation,
)
from animeshooter_hf.toon import FilmSettings, ToonFilm


@pytest.fixture(scope="module")
def greys() -> list[np.ndarray]:
    film = ToonFilm.from_seed(7, FilmSettings(width=256, height=144, seconds=20))
    return [cv2.cvtColor(film.frame(index), cv2.COLOR_RGB2GRAY) for index in range(24, 480, 48)]


@pytest.mark.parametrize("cell", [1, 4, 8])
def test_noise_does_not_correlate_and_pictures_do(greys: list[np.ndarray], cell: int) -> None:
    small = np.random.default_rng(0).integers(0, 256, (144 // cell, 256 // cell), dtype=np.uint8)
    noise = cv2.resize(small, (256, 144), interpolation=cv2.INTER_NEAREST)
    assert abs(spatial_autocorrelation(noise)) < 0.15
    assert min(spatial_autocorrelation(grey) for grey in greys) > 0.25


def test_a_flat_picture_is_blank_and_has_no_correlation(greys: list[np.ndarray]) -> None:
    for level in (0, 128, 255):
        flat = np.full((144, 256), level, np.uint8)
        assert is_blank(flat)
        assert np.isnan(spatial_autocorrelation(flat))
    assert not any(is_blank(grey) for grey in greys)


def test_tiny_pictures_are_measured() -> None:
    for shape in ((16, 16), (2, 2), (9, 256)):
        picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert np.isfinite(spatial_autocorrelation(picture))


def test_bars_are_measured_on_both_sides_and_only_if_they_last(greys: list[np.ndarray]) -> None:
    assert bars_share(greys) == 0
    barred = [grey.copy() for grey in greys]
    for grey in barred:
        grey[:18] = grey[-18:] = 3
    assert bars_share(barred) == pytest.approx(36 / 144)
    one_sided = [grey.copy() for grey in greys]
    for grey in one_sided:
        grey[-18:] = 3
    assert bars_share(one_sided) == 0
    assert bars_share([*barred, greys[0]]) == 0
    assert bars_share([np.zeros((144, 256), np.uint8)]) == 0


def test_an_overlay_that_recurs_in_other_stories_is_seen() -> None:
    def story(seed: int, text: str) -> np.ndarray:
        film = ToonFilm.from_seed(seed, FilmSettings(width=256, height=144, seconds=12))
        maps = []
        for shot in film.plan.shots[:3]:
            frames = [cv2.cvtColor(film.frame(shot.start_frame + 12 * i), cv2.COLOR_RGB2GRAY) for i in range(1, 4)]
            for frame in frames if text else ():
                cv2.putText(frame, text, (150, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 5)
                cv2.putText(frame, text, (150, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 2)
            maps.append(lasting_edges(frames))
        return edge_directions(maps)

    others, plain_others = (np.mean([story(seed, text) for seed in (51, 52)], axis=0) for text in ("ACADEMY", ""))
    marked = recurring_share(story(50, "ACADEMY"), others)
    assert marked > 0.004
    assert recurring_share(story(50, ""), others) < marked / 3
    assert recurring_share(story(50, ""), plain_others) < marked / 3


def test_no_shot_has_no_lasting_edge() -> None:
    assert edge_directions([]).shape == (2, *EDGE_SIZE)
    assert recurring_share(edge_directions([]), edge_directions([])) == 0
