"""Shot boundaries: cuts, dissolves and fades are found; flashes, shakes, pans and holds are not taken for them."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.scan.boundaries import BoundaryScores, boundary_scores, recall_by_kind
from animeshooter_hf.dataset_builder.scan.cuts import CutSettings
from animeshooter_hf.dataset_builder.scan.detectors import OwnDetector
from animeshooter_hf.dataset_builder.scan.film_scan import Boundary
from animeshooter_hf.dataset_builder.scan.one_pass import scan_film
from animeshooter_hf.dataset_builder.scan.transitions import TransitionSettings
from animeshooter_hf.dataset_builder.segments import Segment, SegmentSettings, make_segments
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.video import write_video

DEMOS = Path(__file__).parents[2].parent / "shared" / "release-sample" / "demos"
Picture = NDArray[np.uint8]


def scene(seed: int) -> Picture:
    """A picture of 144 blocks of random colours, 128x72."""
    blocks = np.random.default_rng(seed).integers(20, 235, (9, 16, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def mix(first: Picture, second: Picture, share: float) -> Picture:
    return np.rint(first * (1 - share) + second * share).astype(np.uint8)


def blend(first: Picture, second: Picture, length: int) -> list[Picture]:
    """The frames between two pictures, without the pictures themselves."""
    return [mix(first, second, number / (length + 1)) for number in range(1, length + 1)]


def detect(frames: Sequence[Picture], rate: Fraction | float = 24, times: Sequence[float] = ()) -> list[Boundary]:
    """What our detector finds in frames, without an encoder between."""
    detector = OwnDetector()
    pictures = {id(frame): frame for frame in frames}
    converted = {
        key: av.VideoFrame.from_ndarray(one, "rgb24").reformat(format="yuv420p") for key, one in pictures.items()
    }
    for number, frame in enumerate(frames):
        detector.add(converted[id(frame)], times[number] if times else number / float(rate))
    return detector.finish()[0]


def kinds(found: Sequence[Boundary]) -> list[tuple[int, str]]:
    return [(boundary.frame, boundary.kind) for boundary in found]


def test_every_cut_is_found_to_the_frame_in_an_encoded_film(tmp_path: Path) -> None:
    frames = [scene(shot) for shot in range(5) for _ in range(20)]
    found = scan_film(write_video(tmp_path / "film.mp4", frames, 24)).boundaries
    assert kinds(found) == [(20, "cut"), (40, "cut"), (60, "cut"), (80, "cut")]
    assert all(one.start_frame == one.frame == one.end_frame for one in found)


@pytest.mark.parametrize("rate", [12, 24, 30, 60])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_of_one_to_three_frames_is_no_boundary_at_any_rate(rate: int, length: int) -> None:
    frames = [scene(1)] * 30 + [np.full_like(scene(1), 250)] * length + [scene(1)] * 30
    assert detect(frames, rate) == []


def test_a_shake_is_no_boundary() -> None:
    shaken = [np.roll(scene(1), 9 * (-1) ** number, axis=1) for number in range(10)]
    assert detect([scene(1)] * 30 + shaken + [scene(1)] * 30) == []


def test_a_whip_pan_is_no_boundary() -> None:
    wide = np.concatenate([scene(1), scene(2)], axis=1)
    moving = [wide[:, shift : shift + 128] for shift in range(0, 129, 16)]
    assert detect([scene(1)] * 30 + moving + [scene(2)] * 30) == []


def test_something_that_sweeps_past_the_camera_is_no_boundary() -> None:
    frames = []
    for number in range(14):
        frame = scene(1).copy()
        left = number * 20 - 120
        frame[:, max(0, left) : max(0, left + 120)] = (30, 30, 40)
        frames.append(frame)
    assert detect([scene(1)] * 30 + frames + [scene(1)] * 30) == []


def test_drawings_on_threes_are_no_boundaries_but_the_cut_between_them_is() -> None:
    def figure(seed: int, number: int) -> Picture:
        frame = scene(seed).copy()
        left = 20 + 6 * (number // 3)
        frame[16:60, left : left + 24] = (200, 30, 30)
        return frame

    frames = [figure(3, number) for number in range(36)] + [figure(4, number) for number in range(36)]
    assert kinds(detect(frames)) == [(36, "cut")]


@pytest.mark.parametrize(("rate", "length"), [(12, 6), (24, 12), (24, 30), (60, 40)])
def test_a_dissolve_is_found_with_its_extent(rate: int, length: int) -> None:
    frames = [scene(1)] * 2 * rate + blend(scene(1), scene(2), length) + [scene(2)] * 2 * rate
    (found,) = detect(frames, rate)
    assert found.kind == "dissolve"
    assert abs(found.start_frame - 2 * rate) <= 1
    assert abs(found.end_frame - (2 * rate + length)) <= 1
    assert found.start_frame <= found.frame <= found.end_frame


def test_a_dissolve_between_moving_shots_is_found() -> None:
    def shots(number: int) -> tuple[Picture, Picture]:
        return np.roll(scene(5), number // 2, axis=1), np.roll(scene(6), -(number // 2), axis=1)

    frames = [mix(*shots(number), min(max((number - 40) / 16, 0), 1)) for number in range(100)]
    (found,) = detect(frames)
    assert (found.kind, abs(found.frame - 48) <= 2) == ("dissolve", True)


@pytest.mark.parametrize("level", [0, 255])
def test_a_fade_through_black_or_white_is_one_boundary_in_its_middle(level: int) -> None:
    flat = np.full_like(scene(1), level)
    frames = [scene(1)] * 40 + blend(scene(1), flat, 8) + [flat] * 6 + blend(flat, scene(2), 8) + [scene(2)] * 40
    (found,) = detect(frames)
    assert found.kind == "fade"
    assert 48 <= found.frame <= 54
    assert abs(found.start_frame - 40) <= 1
    assert abs(found.end_frame - 62) <= 1


def test_a_light_that_flares_up_and_dies_away_over_one_picture_is_no_boundary() -> None:
    white = np.full_like(scene(1), 250)
    frames = [scene(1)] * 40 + blend(scene(1), white, 6) + [white] * 2 + blend(white, scene(1), 10) + [scene(1)] * 40
    assert detect(frames) == []


def test_a_fade_in_at_the_start_and_a_fade_out_at_the_end_are_no_boundaries() -> None:
    black = np.zeros_like(scene(1))
    inside = [scene(1)] * 60
    frames = [black] * 20 + blend(black, scene(1), 12) + inside + blend(scene(1), black, 12) + [black] * 20
    assert detect(frames) == []


def test_a_fade_out_into_a_cut_counts_once() -> None:
    black = np.zeros_like(scene(1))
    frames = [scene(1)] * 40 + blend(scene(1), black, 12) + [black] * 12 + [scene(2)] * 40
    assert kinds(detect(frames)) == [(64, "cut")]


def test_a_slow_pan_is_no_dissolve() -> None:
    wide = np.concatenate([scene(1), scene(2), scene(3)], axis=1)
    assert detect([wide[:, shift : shift + 128] for shift in range(0, 250, 2)]) == []


def test_a_dark_film_keeps_its_cuts() -> None:
    dark = [(scene(seed) * 0.3).astype(np.uint8) for seed in range(4)]
    assert [one.frame for one in detect([picture for picture in dark for _ in range(24)])] == [24, 48, 72]


def test_windows_follow_the_time_stamps_of_a_variable_rate() -> None:
    frames = [scene(shot) for shot in range(3) for _ in range(20)]
    steps = np.random.default_rng(0).choice([1, 1, 2, 3], len(frames))
    times = (np.cumsum(steps) / 30).tolist()
    assert [one.frame for one in detect(frames, times=times)] == [20, 40]


def test_nothing_is_found_in_no_frame_one_frame_or_one_picture() -> None:
    assert detect([]) == detect([scene(1)]) == detect([scene(1)] * 100) == []


def test_what_is_found_does_not_depend_on_where_a_block_of_frames_ends() -> None:
    """A block of the search holds 608 and 1280 frames: the same film is moved over its border."""
    one, two, three = scene(1), scene(2), scene(3)
    shots = [one] * 50 + [two] * 50 + blend(two, three, 12) + [three] * 50
    for lead in (0, 540, 600, 1150, 1230):
        found = detect([one] * lead + shots)
        assert [(boundary.frame - lead, boundary.kind) for boundary in found] == [(50, "cut"), (106, "dissolve")]


@pytest.fixture(scope="module")
def toon_scores(tmp_path_factory: pytest.TempPathFactory) -> tuple[BoundaryScores, int]:
    """Scores of a toon film with traps and many transitions, and its boundaries of the wrong kind."""
    settings = FilmSettings(width=96, height=54, seconds=26, mean_shot_seconds=2.5, cut_share=0.5, trap_share=0.7)
    film = ToonFilm.from_seed(41, settings)
    assert sum(shot.trap.kind != "none" for shot in film.plan.shots) >= 5
    assert {shot.transition for shot in film.plan.shots[1:]} == {"cut", "fade", "dissolve"}
    frames = (film.frame(index) for index in range(film.num_frames))
    path = write_video(tmp_path_factory.mktemp("toon") / "film.mp4", frames, 24)
    truth = [(shot.start_frame - shot.transition_half, shot.start_frame + shot.transition_half, shot.transition)
             for shot in film.plan.shots[1:]]  # fmt: skip
    found = scan_film(path).boundaries
    scores = boundary_scores([one.frame for one in found], [one[:2] for one in truth])
    wrong = sum(
        not any(first - 1 <= one.frame <= last + 1 and one.kind == kind for first, last, kind in truth) for one in found
    )
    return scores, wrong


def test_on_a_toon_film_with_traps_every_boundary_is_right(toon_scores: tuple[BoundaryScores, int]) -> None:
    scores, wrong_kind = toon_scores
    assert scores.num_true >= 8
    assert (scores.f1, wrong_kind) == (1.0, 0)


def demo_stories() -> list[list[Path]]:
    """The real shots of each story of the release's demos, in order."""
    shots = sorted(DEMOS.glob("*/*_demo.mp4"), key=lambda path: (path.parent.name, path.name))
    keys = sorted({(path.parent.name, path.name.split("_")[2]) for path in shots})
    return [[one for one in shots if (one.parent.name, one.name.split("_")[2]) == key] for key in keys]


def test_the_real_demo_shots_in_a_row_give_exactly_their_cuts(tmp_path: Path) -> None:
    """Exact cuts by construction: the shots are decoded, brought to one size and encoded as one film."""
    stories = demo_stories()
    if not stories:
        pytest.skip("the release's demo shots are not on this machine")
    assert [len(shots) for shots in stories] == [4, 4, 4, 4]
    lengths = []

    def frames() -> list[Picture]:
        pictures: list[Picture] = []
        for path in [path for shots in stories for path in shots]:
            before = len(pictures)
            with av.open(str(path)) as container:
                for frame in container.decode(video=0):
                    small = frame.reformat(width=320, height=180, format="rgb24", interpolation="AREA")
                    pictures.append(np.asarray(small.to_ndarray(), np.uint8))
            lengths.append(len(pictures) - before)
        return pictures

    film = write_video(tmp_path / "demos.mp4", frames(), 16)
    found = scan_film(film).boundaries
    assert kinds(found) == [(int(cut), "cut") for cut in np.cumsum(lengths)[:-1]]


def test_scores_count_matches_within_the_tolerance_once() -> None:
    scores = boundary_scores([10, 11, 50], [(10, 10), (48, 52), (90, 90)])
    assert (scores.num_matched, scores.num_found, scores.num_true) == (2, 3, 3)
    assert scores.precision == scores.recall == scores.f1 == pytest.approx(2 / 3)
    assert boundary_scores([], [(1, 1)]).precision is None
    assert boundary_scores([1], []).recall is None


def test_recall_is_counted_by_kind() -> None:
    truth = [(10, 10, "cut"), (48, 52, "dissolve"), (90, 90, "cut"), (200, 220, "fade")]
    assert recall_by_kind([11, 50, 60], truth) == {"cut": (1, 2), "dissolve": (1, 1), "fade": (0, 1)}


def test_segments_tile_the_film_at_boundaries_near_the_target() -> None:
    segments = make_segments([100, 240, 350, 480, 600], 700, 10.0, SegmentSettings(target_seconds=24))
    assert segments == [Segment(0, 240), Segment(240, 480), Segment(480, 700)]


def test_a_film_without_boundaries_is_one_segment() -> None:
    assert make_segments([], 5000, 24.0) == [Segment(0, 5000)]


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="threshold"):
        CutSettings(threshold=0)
    with pytest.raises(ValueError, match="min_shot_seconds"):
        CutSettings(min_shot_seconds=-1)
    with pytest.raises(ValueError, match="min_window_frames"):
        CutSettings(min_window_frames=1000)
    with pytest.raises(ValueError, match="longest_seconds"):
        TransitionSettings(longest_seconds=0)
    with pytest.raises(ValueError, match="target_seconds"):
        SegmentSettings(target_seconds=0)
    with pytest.raises(ValueError, match="no segments"):
        make_segments([], 0, 24.0)
    with pytest.raises(ValueError, match="Boundaries must lie"):
        make_segments([9], 5, 24.0)
