"""Shot boundaries: cuts are found, flashes, shakes and held frames are not taken for cuts."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.boundaries import ShotSettings, boundary_scores, scan_film
from animeshooter_hf.dataset_builder.segments import Segment, SegmentSettings, make_segments
from animeshooter_hf.video import write_video


def scene(seed: int) -> NDArray[np.uint8]:
    """A picture of 30 blocks of random colours."""
    blocks = np.random.default_rng(seed).integers(20, 235, (9, 16, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def found(tmp_path: Path, frames: list[NDArray[np.uint8]]) -> list[int]:
    path = write_video(tmp_path / "film.mp4", frames, 24)
    return [boundary.frame for boundary in scan_film(path).boundaries]


def test_every_cut_is_found_to_the_frame(tmp_path: Path) -> None:
    frames = [scene(shot) for shot in range(5) for _ in range(20)]
    assert found(tmp_path, frames) == [20, 40, 60, 80]


def test_a_flash_is_no_cut(tmp_path: Path) -> None:
    frames = [scene(1) for _ in range(60)]
    frames[30] = frames[31] = np.full_like(frames[0], 250)
    assert found(tmp_path, frames) == []


def test_shakes_and_held_frames_are_no_cuts(tmp_path: Path) -> None:
    frames = [np.roll(scene(1), 9 * (-1) ** n, axis=1) if 20 <= n < 30 else scene(1) for n in range(60)]
    assert found(tmp_path, frames) == []


def test_on_a_toon_film_with_traps_nearly_all_boundaries_are_right(tmp_path: Path) -> None:
    from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film

    film = ToonFilm.from_seed(5, FilmSettings(width=160, height=90, seconds=40))
    path = render_film(film, tmp_path / "toon.mp4")
    truth = [
        (entry["frame"], entry["frame"]) if entry["kind"] == "cut" else (entry["start_frame"], entry["end_frame"])
        for entry in film.script()["boundaries"]
    ]
    scores = boundary_scores([boundary.frame for boundary in scan_film(path).boundaries], truth)
    assert scores.f1 is not None
    assert scores.f1 >= 0.9


def test_scores_count_matches_within_the_tolerance_once() -> None:
    scores = boundary_scores([10, 11, 50], [(10, 10), (48, 52), (90, 90)])
    assert (scores.num_matched, scores.num_found, scores.num_true) == (2, 3, 3)
    assert scores.precision == scores.recall == scores.f1 == pytest.approx(2 / 3)
    assert boundary_scores([], [(1, 1)]).precision is None
    assert boundary_scores([1], []).recall is None


def test_segments_tile_the_film_at_boundaries_near_the_target() -> None:
    segments = make_segments([100, 240, 350, 480, 600], 700, 10.0, SegmentSettings(target_seconds=24))
    assert segments == [Segment(0, 240), Segment(240, 480), Segment(480, 700)]


def test_a_film_without_boundaries_is_one_segment() -> None:
    assert make_segments([], 5000, 24.0) == [Segment(0, 5000)]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        ShotSettings(threshold=0)
    with pytest.raises(ValueError, match="target_seconds"):
        SegmentSettings(target_seconds=0)
    with pytest.raises(ValueError, match="no segments"):
        make_segments([], 0, 24.0)
    with pytest.raises(ValueError, match="Boundaries must lie"):
        make_segments([9], 5, 24.0)
