"""Transitions: exact time, exact pixels, sound that crosses at equal power, and the film that comes of it."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.colour_match import match_colours
from animeshooter_hf.modeling.film import FilmSettings, export_film, film_metadata
from animeshooter_hf.modeling.sound.mastering import LevelSettings, level_sound
from animeshooter_hf.modeling.transitions import Transition, film_frames, film_sound, parse_transition, plan_film
from animeshooter_hf.video import index_frames, iter_frames, read_audio, write_video
from animeshooter_hf.video.loudness import integrated_loudness

NTSC_FILM = Fraction(24_000, 1_001)
CUT = Transition()


def plain(level: int, num_frames: int = 8, size: tuple[int, int] = (4, 6)) -> NDArray[np.uint8]:
    return np.full((num_frames, *size, 3), level, np.uint8)


def levels(shots: list[NDArray[np.uint8]], transitions: Any, rate: Any = 8) -> list[int]:
    """Return the red level of each frame of the film; every frame must be plain."""
    plan = plan_film([len(shot) for shot in shots], rate, transitions)
    frames = list(film_frames(shots, plan))
    assert len(frames) == plan.num_frames
    assert all((frame == frame[0, 0]).all() for frame in frames)
    return [int(frame[0, 0, 0]) for frame in frames]


def test_cuts_join_the_frames_as_they_are() -> None:
    assert levels([plain(10, 2), plain(20, 3)], None) == [10, 10, 20, 20, 20]


def test_a_dissolve_overlaps_and_shortens_the_film_by_its_length() -> None:
    assert levels([plain(0, 4), plain(80, 5)], Transition(kind="dissolve", num_frames=3)) == [0, 20, 40, 60, 80, 80]


def test_a_fade_goes_through_its_colour_and_keeps_the_length() -> None:
    fade = Transition(kind="fade", num_frames=5, colour=(200, 0, 0))
    assert levels([plain(0, 4)[..., :], plain(100, 4)], Transition(kind="fade", num_frames=4)) == [
        0, 0, 0, 0, 0, 50, 100, 100,
    ]  # fmt: skip
    shots = [plain(100, 4), plain(50, 4)]
    frames = list(film_frames(shots, plan_film([4, 4], 8, fade)))
    assert [int(frame[0, 0, 0]) for frame in frames] == [100, 100, 150, 200, 200, 150, 100, 50]
    assert [int(frame[0, 0, 1]) for frame in frames] == [100, 100, 50, 0, 0, 17, 33, 50]


def test_a_fade_runs_the_same_backwards() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 10, 4, 6, 3), np.uint8)
    fade = Transition(kind="fade", num_frames=6)
    forward = list(film_frames(list(noise), plan_film([10, 10], 8, fade)))
    backward = list(film_frames([noise[1, ::-1], noise[0, ::-1]], plan_film([10, 10], 8, fade)))
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))


def test_each_join_may_have_its_own_transition_and_time_stays_exact() -> None:
    between = [Transition(kind="dissolve", num_frames=3), CUT, Transition(kind="fade", num_frames=4)]
    plan = plan_film([9, 5, 7, 8], NTSC_FILM, between)
    assert [(span.start_frame, span.end_frame) for span in plan.spans] == [(0, 9), (6, 11), (11, 18), (18, 26)]
    assert plan.num_frames == 9 + 5 + 7 + 8 - 3
    assert plan.seconds == 26 / NTSC_FILM
    assert plan.chapter_frames == [(0, 7), (7, 11), (11, 18), (18, 26)]
    assert levels([plain(n, length) for n, length in enumerate((9, 5, 7, 8))], between)[-1] == 3


def test_the_shots_are_not_changed() -> None:
    shots = [plain(0, 4), plain(80, 4)]
    list(film_frames(shots, plan_film([4, 4], 8, Transition(kind="dissolve", num_frames=2))))
    assert (shots[0] == 0).all()
    assert (shots[1] == 80).all()


def ones(num_samples: int) -> NDArray[np.float32]:
    return np.ones((1, num_samples), np.float32)


def test_sound_crosses_at_equal_power_over_a_dissolve() -> None:
    plan = plan_film([24, 24], 24, Transition(kind="dissolve", num_frames=12))
    first = film_sound([ones(48_000), None], plan, 48_000)
    second = film_sound([None, ones(48_000)], plan, 48_000)
    assert first.shape == (2, 72_000)
    np.testing.assert_allclose(first**2 + second**2, 1, atol=1e-6)
    assert (first[:, :24_000] == 1).all()
    assert (first[:, 48_000:] == 0).all()
    together = film_sound([ones(48_000), ones(48_000)], plan, 48_000)
    np.testing.assert_allclose(together, first + second, atol=1e-6)


def test_sound_goes_out_and_comes_back_with_a_fade() -> None:
    plan = plan_film([24, 24], 24, Transition(kind="fade", num_frames=24))
    sound = film_sound([ones(48_000), ones(48_000)], plan, 48_000)[0]
    assert sound.shape == (96_000,)
    assert (sound[:24_000] == 1).all()
    assert sound[47_999] < 0.001
    assert sound[48_000] < 0.001
    assert (np.diff(sound[24_000:48_000:100]) < 0).all()
    assert (sound[72_000:] == 1).all()


def test_a_cut_does_not_click() -> None:
    sound = film_sound([ones(48_000), -ones(48_000)], plan_film([24, 24], 24), 48_000)
    assert np.abs(np.diff(sound[0])).max() < 0.02


@pytest.mark.parametrize("transition", [CUT, Transition(kind="dissolve", num_frames=7)])
def test_the_film_of_64_shots_has_the_exact_number_of_samples(transition: Transition) -> None:
    plan = plan_film([49] * 64, NTSC_FILM, transition)
    sound = film_sound([ones(90_000)] * 64, plan, 44_100)
    assert sound.shape[1] == round(plan.seconds * 44_100)
    assert [plan.samples_of(index, 44_100)[0] for index in (0, 1, 63)] == [
        round(Fraction(index * (49 - transition.num_frames)) / NTSC_FILM * 44_100) for index in (0, 1, 63)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cut", CUT),
        ("dissolve:8", Transition(kind="dissolve", num_frames=8)),
        ("fade:12", Transition(kind="fade", num_frames=12)),
        ("fade:12:#ffFF00", Transition(kind="fade", num_frames=12, colour=(255, 255, 0))),
    ],
)
def test_a_transition_can_be_written_as_a_word(text: str, expected: Transition) -> None:
    assert parse_transition(text) == expected


@pytest.mark.parametrize("text", ["", "wipe", "cut:3", "dissolve", "dissolve:0", "fade:1", "fade:9:#12", "dissolve:-1"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_transition(text)


@pytest.mark.parametrize(
    ("lengths", "transitions", "words"),
    [
        ([], None, "at least one frame"),
        ([3, 0], None, "at least one frame"),
        ([3, 3], [CUT, CUT], "1 joins, but 2 transitions"),
        ([5, 4, 5], Transition(kind="dissolve", num_frames=3), "Shot 1 has 4 frames, but its transitions take 6"),
        ([2, 9], Transition(kind="fade", num_frames=6), "Shot 0 has 2 frames"),
    ],
)
def test_transitions_that_do_not_fit_are_refused(lengths: list[int], transitions: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan_film(lengths, 8, transitions)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "wipe"}, {"kind": "cut", "num_frames": 2}, {"kind": "dissolve", "num_frames": 1.5},
     {"kind": "fade", "num_frames": 4, "colour": (0, 0, 256)}],
)  # fmt: skip
def test_a_transition_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Transition(**wrong)


def test_shots_and_sounds_that_do_not_fit_the_plan_are_refused() -> None:
    plan = plan_film([8, 8], 8)
    for shots in ([plain(1)], [plain(1), plain(1, 7)], [plain(1), plain(1, size=(4, 8))], [plain(1), plain(1) / 2]):
        with pytest.raises(InputError):
            list(film_frames(shots, plan))
    with pytest.raises(InputError, match="2 shots, but 1 sounds"):
        film_sound([None], plan, 8_000)
    with pytest.raises(InputError, match="sound of shot 1"):
        film_sound([None, np.zeros(5, np.float32)], plan, 8_000)


def test_colours_are_matched_within_a_scene_only_and_within_limits() -> None:
    noise = np.random.default_rng(0).integers(-10, 11, (3, 8, 16, 16, 3))
    shots = [(noise[n] + level).astype(np.uint8) for n, level in enumerate((100, 120, 220))]
    matched = match_colours(shots, ["park", "park", "home"])
    assert np.array_equal(matched[0], shots[0])
    assert matched[1].mean() == pytest.approx(100, abs=1)
    assert np.array_equal(matched[2], shots[2])
    assert match_colours(shots, amount=0.5)[1].mean() == pytest.approx(110, abs=1)
    assert match_colours(shots)[2].mean() == pytest.approx(180, abs=1)
    with pytest.raises(InputError, match="amount"):
        match_colours(shots, amount=2)
    with pytest.raises(InputError, match="3 shots, but 1 scenes"):
        match_colours(shots, ["park"])


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shots of 49 frames at 23.976 fps, a dissolve at each join, loud noise as sound."""
    path = tmp_path_factory.mktemp("film") / "story.mp4"
    random = np.random.default_rng(0)
    sounds = [np.repeat(random.normal(0, 0.6, (2, 9_000 + 1_000 * n)), 8, axis=1).astype(np.float32) for n in range(4)]
    provenance = {"ai_generated": True, "generator": "us", "weights_origin": "random"}
    export_film(
        path, [plain(50 * n, 49, (32, 48)) for n in range(4)], 23.976, sounds=sounds,
        settings=FilmSettings(transitions=Transition(kind="dissolve", num_frames=7)),
        titles=["one", "two", "three", "four"],
        metadata=film_metadata("soup", provenance, {"model": "noise", "licence": "none"}),
    )  # fmt: skip
    return path


def test_picture_and_sound_of_the_film_end_together(film: Path) -> None:
    assert len(index_frames(film)) == 4 * 49 - 3 * 7
    audio, rate = read_audio(film)
    picture_seconds = (4 * 49 - 3 * 7) / NTSC_FILM
    assert abs(Fraction(audio.shape[1], rate) - picture_seconds) <= Fraction(1024, rate)


def test_the_film_has_its_pictures_in_order(film: Path) -> None:
    reds = [int(frame.image[16, 24, 0]) for frame in iter_frames(film)]
    assert [reds[position] for position in (0, 60, 110, 170)] == pytest.approx([0, 50, 100, 150], abs=3)


def test_loud_sound_is_levelled_and_nothing_clips_in_the_file(film: Path) -> None:
    audio, rate = read_audio(film)
    assert np.abs(audio).max() < 1.0
    assert integrated_loudness(audio, rate) == pytest.approx(-16.0, abs=1.0)


def test_a_dense_mix_that_aac_would_make_clip_is_turned_down(tmp_path: Path) -> None:
    seconds = np.arange(3 * 44_100) / 44_100
    noise = np.random.default_rng(1).normal(0, 0.6, (2, len(seconds)))
    mix = np.clip(noise + np.sin(2 * np.pi * 60 * seconds), -1, 1).astype(np.float32)
    levels = LevelSettings(target_lufs=-5.0)
    levelled = level_sound(mix, 44_100, levels)
    write_video(tmp_path / "plain.mp4", plain(0, 24, (32, 48)), 8, audio=levelled)
    assert np.abs(read_audio(tmp_path / "plain.mp4")[0]).max() > 1.0
    export_film(tmp_path / "a.mp4", [plain(0, 24, (32, 48))], 8, sounds=[mix], settings=FilmSettings(levels=levels))
    assert 0.8 < np.abs(read_audio(tmp_path / "a.mp4")[0]).max() < 1.0


def test_the_film_tells_its_chapters_and_what_made_it(film: Path) -> None:
    with av.open(str(film)) as container:
        chapters = [(c["metadata"]["title"], float(c["start"] * c["time_base"])) for c in container.chapters()]
        metadata = dict(container.metadata)
    assert [title for title, _ in chapters] == ["one", "two", "three", "four"]
    assert chapters[1][1] == pytest.approx(float((42 + 3) / NTSC_FILM), abs=0.002)
    assert metadata["title"] == "soup"
    assert metadata["comment"] == "AI-generated by us; weights: random; sound: noise"
    made_by = json.loads(metadata["animeshooter"])
    assert made_by["ai_generated"] is True
    assert made_by["sound"] == {"model": "noise", "licence": "none"}


def test_the_same_shots_give_the_same_file(tmp_path: Path) -> None:
    shots = [plain(n, 9, (32, 48)) for n in (10, 90)]
    sounds = [np.random.default_rng(0).normal(0, 0.1, (1, 40_000)).astype(np.float32), None]
    for name in ("a.mp4", "b.mp4"):
        export_film(tmp_path / name, shots, 8, sounds=sounds)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_film_without_sound_has_no_sound_track(tmp_path: Path) -> None:
    export_film(tmp_path / "a.mp4", [plain(1, 9, (32, 48))], 8, sounds=[None])
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not container.streams.audio
        assert not film_metadata("t", {"generator": "g", "weights_origin": "random"}).get("sound")


def test_loudness_and_colours_are_matched_only_where_asked(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * 44_100) / 44_100).astype(np.float32)[None]
    sounds = [tone * 0.1, None, tone * 0.05]
    shots = [plain(level, 24, (32, 48)) for level in (100, 110, 120)]

    def parts(**settings: float) -> tuple[float, int]:
        export_film(tmp_path / "a.mp4", shots, 8, sounds=sounds, scenes=["a"] * 3, settings=FilmSettings(**settings))
        audio, rate = read_audio(tmp_path / "a.mp4")
        difference = integrated_loudness(audio[:, : 3 * rate], rate) - integrated_loudness(audio[:, 6 * rate :], rate)
        return difference, int(list(iter_frames(tmp_path / "a.mp4"))[-1].image[16, 24, 0])

    assert parts() == (pytest.approx(6.0, abs=0.2), pytest.approx(120, abs=2))
    assert parts(match_loudness=1.0, match_colours=1.0) == (pytest.approx(0.0, abs=0.2), pytest.approx(100, abs=2))


def test_titles_that_do_not_fit_are_refused_and_an_old_film_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(InputError, match="1 shots, but 2 titles"):
        export_film(path, [plain(1)], 8, titles=["a", "b"])
    assert path.read_bytes() == b"old"
