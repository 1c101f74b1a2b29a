"""Copies of a film are found, different films are not merged, and held pictures are nobody's duplicate."""

import io
import json
import time
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf import Shot, Story
from animeshooter_hf.dataset_builder.quality.duplicates import (
    SHOT_SETTINGS,
    DuplicateSettings,
    HashSequence,
    find_duplicates,
    keep_first,
    shot_sequences,
)
from animeshooter_hf.dataset_builder.quality.hash_index import near_pairs
from animeshooter_hf.dataset_builder.quality.text_duplicates import find_text_duplicates, normalise_text, story_texts
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.scan.phash import perceptual_hash
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon.film import ToonFilm
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.video import index_frames, iter_frames, write_video

SEEDS = (41, 42, 43)
RATE = 8
SETTINGS = FilmSettings(width=128, height=72, seconds=20, frame_rate=RATE)
Frames = list[NDArray[np.uint8]]


def scan(path: Path) -> FilmScan:
    index = index_frames(path)
    count = max(min(16, len(index)), int(index.seconds(len(index))))
    wanted = {int((number + 0.5) * len(index) / count) for number in range(count)}
    samples = []
    for frame in iter_frames(path):
        if frame.index in wanted:
            buffer = io.BytesIO()
            Image.fromarray(frame.image).save(buffer, "JPEG", quality=90)
            phash = perceptual_hash(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY))
            samples.append(SampledFrame(frame=frame.index, jpeg=buffer.getvalue(), phash=phash))
    return FilmScan(
        width=frame.image.shape[1], height=frame.image.shape[0], index=index, boundaries=(),
        curve=np.zeros(len(index), np.float32), samples=tuple(samples), detector="none",
    )  # fmt: skip


def film(seed: int, settings: FilmSettings = SETTINGS) -> Frames:
    drawn = ToonFilm.from_seed(seed, settings)
    return [drawn.frame(index) for index in range(drawn.num_frames)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HashSequence]:
    """Films and copies of them, `NAME-KIND`; and other films that share something, `NAME.KIND`."""
    folder = tmp_path_factory.mktemp("films")

    def scanned(name: str, frames: Frames, crf: int = 20) -> HashSequence:
        return HashSequence.from_scan(name, scan(write_video(folder / f"{name}.mp4", frames, Fraction(RATE), crf=crf)))

    told: list[HashSequence] = []
    originals = {seed: film(seed) for seed in SEEDS}
    opening = originals[SEEDS[0]][: 5 * RATE]
    for seed, frames in originals.items():
        told += [
            scanned(f"{seed}", frames),
            scanned(f"{seed}-again", frames, crf=38),
            scanned(f"{seed}-small", [cv2.resize(image, (96, 54), interpolation=cv2.INTER_AREA) for image in frames]),
            scanned(f"{seed}-bright", [np.clip(image * 1.06 + 6.0, 0, 255).astype(np.uint8) for image in frames]),
            scanned(f"{seed}-trimmed", frames[3 * RATE : 17 * RATE]),
        ]
        if seed != SEEDS[0]:
            told.append(scanned(f"{seed}.opening", opening + film(seed + 100)))
    told.append(scanned("41.same-cast", film(41, replace(SETTINGS, mean_shot_seconds=3))))
    return {one.id: one for one in told}


def test_copies_are_found_and_other_films_with_the_same_opening_or_cast_are_not_merged(
    films: dict[str, HashSequence],
) -> None:
    report = find_duplicates(list(films.values()))
    truth = {pair for pair in combinations(sorted(films), 2) if pair[0].split("-")[0] == pair[1].split("-")[0]}
    found = {tuple(sorted((link.shorter, link.longer))) for link in report.links}
    precision, recall = len(found & truth) / len(found), len(found & truth) / len(truth)
    assert len(truth) == 30
    assert precision == 1.0, sorted(found - truth)
    assert recall >= 0.9, sorted(truth - found)
    assert [set(group) for group in report.groups] == [
        {name for name in films if name.split("-")[0] == str(seed)} for seed in SEEDS
    ]


def test_a_shared_opening_is_reported_as_a_small_share(films: dict[str, HashSequence]) -> None:
    below = find_duplicates(list(films.values())).below
    shared = [link for link in below if {link.shorter, link.longer} == {"41", "42.opening"}]
    assert 0.1 < shared[0].share < 0.5


def test_the_best_copy_is_kept_and_every_other_one_names_it(films: dict[str, HashSequence]) -> None:
    dropped = keep_first(films.values(), find_duplicates(list(films.values())))
    kept = set(films) - set(dropped)
    assert {"42.opening", "43.opening", "41.same-cast"} <= kept
    for seed in SEEDS:
        assert f"{seed}-small" in dropped
        assert f"{seed}-trimmed" in dropped
        family = [name for name in kept if name.split("-")[0] == str(seed)]
        assert len(family) == 1
        assert dropped[f"{seed}-small"] == f"duplicate_of:{family[0]}"


def test_the_order_in_which_films_come_changes_nothing(films: dict[str, HashSequence]) -> None:
    sequences = list(films.values())
    assert find_duplicates(sequences) == find_duplicates(sequences[::-1])


def sequence(
    name: str, hashes: list[int], *, owner: str = "", seconds: float = 30.0, pixels: int = 100
) -> HashSequence:
    return HashSequence(
        id=name, owner=owner or name, hashes=np.array(hashes, np.uint64), frames=np.arange(len(hashes)) * 24,
        times=np.arange(len(hashes)) * seconds / len(hashes), is_telling=np.ones(len(hashes), bool),
        seconds=seconds, pixels=pixels,
    )  # fmt: skip


def some_hashes(seed: int, count: int) -> list[int]:
    return [int(value) for value in np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)]


def test_flat_frames_link_nothing(tmp_path: Path) -> None:
    grey = [np.full((54, 96, 3), 90, np.uint8)] * 60
    flats = []
    for seed in (1, 2):
        pictures = np.random.default_rng(seed).integers(0, 255, (4, 6, 11, 3), dtype=np.uint8)
        shown = [cv2.resize(picture, (96, 54)) for picture in pictures for _ in range(6)]
        path = write_video(tmp_path / f"{seed}.mp4", [*grey, *shown, *grey], Fraction(24))
        flats.append(HashSequence.from_scan(str(seed), scan(path)))
    assert all(0 < one.is_telling.sum() < len(one.hashes) / 2 for one in flats)
    assert find_duplicates(flats).links == ()


def test_films_with_too_little_to_see_are_named_and_not_judged() -> None:
    report = find_duplicates([sequence("a", [7] * 20), sequence("b", [7] * 20)])
    assert report.links == ()
    assert report.too_little == ("a", "b")


def test_the_order_of_the_pictures_counts() -> None:
    pictures = some_hashes(1, 20)
    report = find_duplicates([sequence("a", pictures), sequence("b", pictures[::-1])])
    assert report.links == ()
    assert report.below[0].num_found == 1


def test_a_picture_that_both_films_hold_counts_as_long_as_the_one_that_holds_it_less() -> None:
    held, one, two = some_hashes(10, 1) * 14, some_hashes(11, 6), some_hashes(12, 18)
    report = find_duplicates([sequence("a", held + one), sequence("b", held[:2] + two)])
    assert report.links == ()
    assert report.below[0].num_found == 2


def test_a_short_copy_that_is_sampled_more_densely_is_found() -> None:
    pictures = some_hashes(13, 60)
    dense = [picture for picture in pictures[20:30] for _ in range(2)]
    report = find_duplicates([sequence("long", pictures, seconds=60), sequence("short", dense, seconds=10)])
    assert [(link.shorter, link.share) for link in report.links] == [("short", 1.0)]


def test_an_episode_inside_a_compilation_is_found_and_two_episodes_of_it_are_no_copies() -> None:
    one, two = some_hashes(1, 20), some_hashes(2, 20)
    films = [sequence("one", one), sequence("two", two), sequence("both", one + two, seconds=60)]
    report = find_duplicates(films)
    assert report.groups == (("both", "one", "two"),)
    assert {(link.shorter, link.longer) for link in report.links} == {("one", "both"), ("two", "both")}
    assert keep_first(films, report) == {"one": "duplicate_of:both", "two": "duplicate_of:both"}


def test_nothing_is_dropped_for_being_like_something_that_was_dropped() -> None:
    # b shares half with a and half with c; a and c share nothing.
    pictures = some_hashes(3, 40)
    films = [
        sequence("a", pictures[:20], seconds=50), sequence("b", pictures[10:30], seconds=40),
        sequence("c", pictures[20:40], seconds=30),
    ]  # fmt: skip
    report = find_duplicates(films, DuplicateSettings(min_share=0.5))
    assert report.groups == (("a", "b", "c"),)
    assert keep_first(films, report) == {"b": "duplicate_of:a"}


def test_of_copies_of_about_one_length_the_one_with_most_pixels_is_kept() -> None:
    pictures = some_hashes(4, 20)
    films = [sequence("a", pictures, seconds=30.2), sequence("b", pictures, seconds=30.0, pixels=400)]
    assert keep_first(films, find_duplicates(films)) == {"a": "duplicate_of:b"}


def test_a_held_picture_inside_a_shot_and_a_shot_repeated_in_its_film_are_no_duplicates() -> None:
    film_one = sequence("one", [5, 5, 5, 5, *some_hashes(5, 4)])
    film_two = sequence("two", [5, 5, 5, 5, *some_hashes(6, 4)])
    shots = [Shot(shot_id=f"s{n}", index=n, start_frame=96 * n, end_frame=96 * n + 96) for n in range(2)]
    told = [
        HashSequence(
            id=f"{one.id}/{shot.id}", owner=one.id, hashes=shot.hashes, frames=shot.frames,
            times=shot.times, is_telling=shot.is_telling, seconds=shot.seconds, pixels=1,
        )
        for one in (film_one, film_two) for shot in shot_sequences(one, shots, frame_rate=24.0)
    ]  # fmt: skip
    assert [len(one.hashes) for one in told] == [4, 4, 4, 4]
    assert find_duplicates(told, SHOT_SETTINGS).links == ()
    twice = [sequence("s0", some_hashes(7, 4), owner="film"), sequence("s1", some_hashes(7, 4), owner="film")]
    assert find_duplicates(twice, SHOT_SETTINGS).links == ()
    elsewhere = [twice[0], sequence("s1", some_hashes(7, 4), owner="other film")]
    assert find_duplicates(elsewhere, SHOT_SETTINGS).groups == (("s0", "s1"),)


def test_the_index_finds_exactly_the_pairs_that_comparing_all_with_all_finds() -> None:
    random = np.random.default_rng(8)
    hashes = random.integers(0, 2**64, 2000, dtype=np.uint64)
    for number in range(1000):
        flips = random.choice(64, random.integers(0, 12), replace=False)
        hashes[1000 + number] = hashes[number] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64))
    owners = np.arange(2000) // 2
    truth = np.bitwise_count(hashes[:, None] ^ hashes[None]) <= 7
    truth &= owners[:, None] != owners[None]
    np.testing.assert_array_equal(near_pairs(hashes, owners), np.argwhere(np.triu(truth)))


def test_a_hundred_thousand_hashes_take_seconds() -> None:
    hashes = np.random.default_rng(9).integers(0, 2**64, 100_000, dtype=np.uint64)
    hashes[::100] = 12345  # a title card that a thousand films share
    begin = time.process_time()
    pairs = near_pairs(hashes, np.arange(100_000) // 100)
    assert time.process_time() - begin < 10
    assert 0 < len(pairs) <= 1000 * 32 + 1000


def test_settings_and_sequences_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="seed_distance"):
        DuplicateSettings(seed_distance=8)
    with pytest.raises(ValueError, match="min_share"):
        DuplicateSettings(min_share=0)
    with pytest.raises(ValueError, match="positive"):
        DuplicateSettings(min_distinct=0)
    with pytest.raises(ValueError, match="max_distance"):
        near_pairs(np.zeros(1, np.uint64), np.zeros(1, np.int64), max_distance=9)
    with pytest.raises(ValueError, match="equal length"):
        near_pairs(np.zeros(1, np.uint64), np.zeros(2, np.int64))
    with pytest.raises(InputError, match="have the ID a"):
        find_duplicates([sequence("a", [1]), sequence("a", [1])])
    with pytest.raises(ValueError, match="equally long"):
        HashSequence(
            id="a", owner="a", hashes=np.zeros(2, np.uint64), frames=np.zeros(1, np.int64),
            times=np.zeros(1), is_telling=np.ones(1, bool), seconds=1.0, pixels=1,
        )  # fmt: skip


def test_a_sequence_survives_the_way_through_a_receipt(films: dict[str, HashSequence]) -> None:
    sequences = list(films.values())
    kept = [HashSequence.from_json(json.loads(json.dumps(one.to_json()))) for one in sequences]
    assert find_duplicates(kept) == find_duplicates(sequences)
    assert kept[0].to_json() == sequences[0].to_json()


def test_nothing_at_all_has_no_duplicates() -> None:
    assert find_duplicates([]).groups == ()
    assert near_pairs(np.zeros(0, np.uint64), np.zeros(0, np.int64)).shape == (0, 2)


def test_texts_that_say_the_same_are_grouped_whatever_their_case_and_punctuation() -> None:
    lines = ["Mia walks – in the PARK!", "mia  walks in the park", "Tom is at the sea."]
    stories = [
        Story(
            video_id=name, story_id=f"{name}_000", storyline=storyline,
            shots=(Shot(shot_id=f"{name}_0", index=0, narrative_caption="A title card."),),
        )
        for name, storyline in zip("abc", lines, strict=True)
    ]  # fmt: skip
    groups = find_text_duplicates(story_texts(stories))
    assert [(group.field, group.ids) for group in groups] == [("storyline", ("a_000", "b_000"))]
    assert groups[0].text == "Mia walks – in the PARK!"
    assert [group.field for group in find_text_duplicates(story_texts(stories), min_words=3)] == [
        "narrative_caption", "storyline",
    ]  # fmt: skip
    assert normalise_text("ＡＢＣ…") == "abc"
