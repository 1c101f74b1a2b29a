"""Copies of shots and pasted references."""

import cv2
import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.copying import (
    MATCH_HEIGHT,
    cut_to_box,
    hash_similarity,
    match_cutout,
    mirror_preference,
    picture_hash,
    shrink_to_height,
)
from animeshooter_hf.toon import FilmSettings, ToonFilm, character_reference


@pytest.fixture(scope="module")
def film() -> ToonFilm:
    return ToonFilm.from_seed(41, FilmSettings(width=240, height=136, seconds=16))


def paste(frame: np.ndarray, reference: np.ndarray, part: float, gain: float = 1.0) -> np.ndarray:
    """Return a frame with a reference of a part of its height in the middle."""
    cutout = reference[np.ix_(*(np.flatnonzero((reference[..., 3] > 127).any(axis=a)) for a in (1, 0)))]
    scale = part * frame.shape[0] / cutout.shape[0]
    size = (int(cutout.shape[1] * scale), int(cutout.shape[0] * scale))
    small = cv2.resize(cutout, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    top, left = (frame.shape[0] - size[1]) // 2, (frame.shape[1] - size[0]) // 2
    pasted = frame.astype(np.float32)
    place = pasted[top : top + size[1], left : left + size[0]]
    weight = small[..., 3:] / 255
    place[:] = small[..., :3] * gain * weight + place * (1 - weight)
    return np.clip(pasted, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("part", "gain"), [(0.4, 1.0), (0.62, 1.0), (0.9, 1.0), (0.62, 0.7)])
def test_a_pasted_reference_is_found_at_any_size_and_light(film: ToonFilm, part: float, gain: float) -> None:
    reference = character_reference(film.plan.characters[0], style=film.plan.style)
    frame = film.frame(100)
    pasted = shrink_to_height(paste(frame, reference, part, gain))
    assert match_cutout(pasted, cut_to_box(reference)) > 0.85
    assert match_cutout(shrink_to_height(frame), cut_to_box(reference)) < 0.8


def test_the_search_gives_zero_where_there_is_nothing_to_find() -> None:
    cutout = np.full((MATCH_HEIGHT, 40, 4), 255, np.uint8)
    for frame in (np.zeros((MATCH_HEIGHT, 160, 3), np.uint8), np.full((MATCH_HEIGHT, 160, 3), 200, np.uint8)):
        assert match_cutout(frame, cutout) == 0.0
    assert match_cutout(np.zeros((MATCH_HEIGHT, 3, 3), np.uint8), cutout) == 0.0


def test_an_opaque_reference_is_looked_for_whole(film: ToonFilm) -> None:
    picture = film.frame(50)
    assert match_cutout(shrink_to_height(picture), cut_to_box(picture)) > 0.95


def test_a_fully_transparent_reference_is_refused() -> None:
    with pytest.raises(InputError, match="fully transparent"):
        cut_to_box(np.zeros((20, 20, 4), np.uint8))


def test_hashes_of_one_shot_agree_and_those_of_two_do_not(film: ToonFilm) -> None:
    def hashes(frames: list[int]) -> np.ndarray:
        return np.stack([picture_hash(cv2.cvtColor(film.frame(f), cv2.COLOR_RGB2GRAY)) for f in frames])

    shots = film.plan.shots
    first, second = ([s.start_frame + 12 + 6 * i for i in range(5)] for s in (shots[0], shots[2]))
    assert hash_similarity(hashes(first), hashes(first)) == 1.0
    assert hash_similarity(hashes(first), hashes(first[::-1])) == 1.0
    assert hash_similarity(hashes(first), hashes(second)) < 0.88
    assert hash_similarity(hashes(first), hashes(second)) == hash_similarity(hashes(second), hashes(first))


def test_a_copied_reference_is_preferred_to_its_mirror_image() -> None:
    assert mirror_preference(0.8, 0.8) == 0.5
    assert mirror_preference(0.85, 0.75) == pytest.approx(np.exp(85) / (np.exp(85) + np.exp(75)))
    assert mirror_preference(1.0, 0.0) == pytest.approx(1.0)
    assert mirror_preference(0.0, 1.0) == pytest.approx(0.0, abs=1e-12)
