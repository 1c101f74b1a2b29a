import itertools
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.toon import ACTIONS, CAMERAS, SCENE_KINDS, TRAPS, FilmSettings, ToonFilm, plan_film

SMALL = FilmSettings(width=96, height=54, frame_rate=Fraction(12), seconds=12, mean_shot_seconds=2, trap_share=1.0)


@pytest.fixture(scope="module")
def film() -> ToonFilm:
    return ToonFilm.from_seed(11, SMALL)


def test_the_world_is_as_wide_as_promised() -> None:
    assert len(SCENE_KINDS) >= 10
    assert len(ACTIONS) - 1 >= 8
    assert len(CAMERAS) >= 4
    assert len(TRAPS) == 5


def test_the_same_seed_gives_the_same_bytes(film: ToonFilm) -> None:
    again = ToonFilm.from_seed(11, SMALL)
    for index in range(0, film.num_frames, 5):
        assert film.frame(index).tobytes() == again.frame(index).tobytes()
    assert film.audio().tobytes() == again.audio().tobytes()


def test_another_seed_gives_another_film(film: ToonFilm) -> None:
    other = ToonFilm.from_seed(12, SMALL)
    assert any(film.frame(index).tobytes() != other.frame(index).tobytes() for index in (0, 40, 80))


def test_a_frame_does_not_depend_on_the_frames_drawn_before(film: ToonFilm) -> None:
    in_order = [film.frame(index) for index in range(film.num_frames)]
    backwards = ToonFilm.from_seed(11, SMALL)
    for index in range(film.num_frames - 1, -1, -7):
        np.testing.assert_array_equal(backwards.frame(index), in_order[index])
    alone = ToonFilm.from_seed(11, SMALL)
    np.testing.assert_array_equal(alone.frame(77), in_order[77])


def test_changing_a_returned_frame_leaves_the_film_alone(film: ToonFilm) -> None:
    before = film.frame(30).copy()
    film.frame(30)[...] = 0
    np.testing.assert_array_equal(film.frame(30), before)


@pytest.mark.parametrize(("width", "height"), [(64, 36), (65, 37), (48, 96), (33, 32), (200, 40)])
@pytest.mark.parametrize("seed", [0, 1])
def test_any_size_can_be_drawn(width: int, height: int, seed: int) -> None:
    film = ToonFilm.from_seed(seed, replace(SMALL, width=width, height=height, seconds=4))
    for index in range(0, film.num_frames, 6):
        assert film.frame(index).shape == (height, width, 3)
        assert all(mask.shape == (height, width) for mask in film.masks(index).values())


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(15, 2), Fraction(60)])
def test_any_rate_gives_exactly_the_frames_and_samples_of_its_length(rate: Fraction) -> None:
    settings = replace(SMALL, frame_rate=rate, seconds=3)
    film = ToonFilm.from_seed(2, settings)
    assert film.num_frames == round(3 * rate)
    assert film.audio().shape == (2, round(film.num_frames / rate * 44100))


@pytest.mark.parametrize("seed", range(12))
def test_shots_and_stories_tile_the_film(seed: int) -> None:
    plan = plan_film(seed, FilmSettings(seconds=150))
    for parts in (plan.shots, plan.stories):
        assert parts[0].start_frame == 0
        assert parts[-1].end_frame == plan.settings.num_frames
        assert all(a.end_frame == b.start_frame for a, b in itertools.pairwise(parts))
    assert len(plan.stories) == 2
    for story in plan.stories:
        assert 1 <= len(story.character_ids) <= 3
        assert 1 <= len(story.scene_ids) <= 3


def test_shots_last_about_four_seconds_and_never_flash_by() -> None:
    lengths = [shot.num_frames / 24 for seed in range(40) for shot in plan_film(seed).shots]
    assert 3.3 < np.mean(lengths) < 5.0
    assert min(lengths) >= 1.5


def test_all_actions_cameras_traps_scenes_and_transitions_occur() -> None:
    plans = [plan_film(seed) for seed in range(60)]
    shots = [shot for plan in plans for shot in plan.shots]
    acting = [shot for shot in shots if shot.placements]
    assert {shot.placements[0].action for shot in acting} == set(ACTIONS) - {"idle"}
    assert {shot.camera.kind for shot in acting} == set(CAMERAS)
    assert {shot.trap.kind for shot in shots} == {"none", *TRAPS}
    assert {shot.transition for shot in shots} == {"cut", "fade", "dissolve"}
    assert {shot.drawn_on for shot in shots} == {1, 2, 3}
    assert {scene.kind for plan in plans for scene in plan.scenes} == set(SCENE_KINDS)
    assert {shot.title for shot in shots} == {"", "prologue", "epilogue"}


def test_traps_lie_clear_of_transitions() -> None:
    for plan in (plan_film(seed, FilmSettings(trap_share=1.0, cut_share=0.0)) for seed in range(30)):
        for shot, after in itertools.pairwise(plan.shots):
            if shot.trap.kind != "none":
                assert shot.transition_half < shot.trap.start_frame < shot.trap.end_frame
                assert shot.trap.end_frame < shot.num_frames - after.transition_half


def _shots_with(trap: str, settings: FilmSettings = SMALL) -> list[tuple[ToonFilm, int]]:
    films = [ToonFilm.from_seed(seed, settings) for seed in range(20)]
    found = [(film, shot.index) for film in films for shot in film.plan.shots if shot.trap.kind == trap]
    assert found
    return found[:3]


def test_a_held_picture_stands_still() -> None:
    for film, number in _shots_with("hold"):
        shot = film.plan.shots[number]
        held = range(shot.start_frame + shot.trap.start_frame, shot.start_frame + shot.trap.end_frame)
        assert len({film.frame(index).tobytes() for index in held}) == 1


def test_a_flash_is_bright_and_short_and_passes() -> None:
    for film, number in _shots_with("flash"):
        shot = film.plan.shots[number]
        first, last = shot.start_frame + shot.trap.start_frame, shot.start_frame + shot.trap.end_frame
        assert 1 <= last - first <= 3
        assert film.frame(first).mean() > 220
        assert np.abs(film.frame(last).astype(int) - film.frame(first - 1)).mean() < 40


def test_a_sweep_hides_characters_from_their_masks() -> None:
    hidden = []
    for film, number in _shots_with("sweep"):
        shot = film.plan.shots[number]
        areas = [
            sum(mask.sum() for mask in film.masks(shot.start_frame + index).values())
            for index in range(shot.trap.start_frame - 1, shot.trap.end_frame)
        ]
        hidden.append(min(areas[1:]) < 0.5 * areas[0])
    assert any(hidden)


def test_drawings_on_twos_and_threes_stand_for_that_many_frames() -> None:
    settings = replace(SMALL, trap_share=0.0)
    for seed in range(8):
        film = ToonFilm.from_seed(seed, settings)
        for shot in film.plan.shots:
            still = shot.camera.start == shot.camera.end and shot.scene_id is not None
            if still and shot.drawn_on > 1 and shot.transition_half == 0:
                first, second = film.frame(shot.start_frame), film.frame(shot.start_frame + 1)
                np.testing.assert_array_equal(first, second)


def test_every_listed_character_is_seen_in_its_shot() -> None:
    for seed in range(10):
        film = ToonFilm.from_seed(seed, replace(SMALL, seconds=20))
        for shot in film.plan.shots:
            drawn = [film.masks(index) for index in range(shot.start_frame, shot.end_frame, 3)]
            for placement in shot.placements:
                shares = [masks.get(placement.character_id, np.zeros(1)).sum() for masks in drawn]
                assert max(shares) > 0.004 * 96 * 54, (seed, shot.index, placement.character_id)


def test_masks_of_two_characters_never_overlap() -> None:
    settings = replace(SMALL, cut_share=1.0, trap_share=0.0)
    pairs = 0
    for seed in range(6):
        film = ToonFilm.from_seed(seed, settings)
        for index in range(0, film.num_frames, 4):
            masks = list(film.masks(index).values())
            if len(masks) > 1:
                pairs += 1
                assert np.sum(masks, axis=0).max() <= 1
    assert pairs


def test_a_mask_covers_exactly_what_another_body_colour_changes() -> None:
    settings = replace(SMALL, cut_share=1.0, trap_share=0.0, width=192, height=108)
    film = ToonFilm.from_seed(5, settings)
    character = film.plan.characters[0]
    colours = ("teal", "orange")
    others = [film.with_character(replace(character, body_colour=colour)) for colour in colours]
    for index in range(0, film.num_frames, 12):
        changed = np.abs(others[0].frame(index).astype(int) - others[1].frame(index)).max(axis=2) > 140
        mask = film.masks(index).get(character.id, np.zeros(changed.shape, bool))
        assert not (changed & ~mask).any()


def test_another_character_of_the_same_name_changes_only_the_looks() -> None:
    film = ToonFilm.from_seed(5, SMALL)
    character = film.plan.characters[0]
    other = film.with_character(replace(character, hat="crown" if character.hat != "crown" else "cap"))
    assert other.plan.shots == film.plan.shots
    assert other.audio().tobytes() == film.audio().tobytes()
    with pytest.raises(ValueError, match="Nobody"):
        film.with_character(replace(character, id="Somebody"))


def test_frames_beyond_the_film_are_refused(film: ToonFilm) -> None:
    for index in (-1, film.num_frames):
        with pytest.raises(IndexError):
            film.frame(index)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 10},
        {"height": 5000},
        {"seconds": 0},
        {"seconds": float("nan")},
        {"frame_rate": 0},
        {"frame_rate": "often"},
        {"characters": "none"},
        {"audio_sample_rate": 1},
        {"cut_share": 2},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError):
        FilmSettings(**values)


def test_settings_survive_their_json_form_and_refuse_unknown_keys() -> None:
    settings = FilmSettings(frame_rate=Fraction(24000, 1001), seconds=7.5)
    assert FilmSettings.from_json(settings.to_json()) == settings
    with pytest.raises(InputError, match="colour_depth"):
        FilmSettings.from_json({"colour_depth": 3})


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        plan_film(-1)
