from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import ReferenceMask, Shot, Story
from animeshooter_hf.video import write_video

MASK = RleMask.from_array(np.ones((36, 64), dtype=bool))


def make_film(path: Path, num_frames: int, rate: Fraction | int) -> Path:
    frames = (np.full((36, 64, 3), index * 5 % 256, np.uint8) for index in range(num_frames))
    write_video(path, frames, Fraction(rate))
    return path


def make_story(rate: Fraction | int | None = 30, end_frame: int = 60) -> Story:
    """A story from frame 30 of its video on, with a shot of half a second and one up to its end."""
    rate = None if rate is None else Fraction(rate)
    shots = [
        Shot(shot_id="v_000_00", index=0, start_seconds=0.0, end_seconds=0.5, start_frame=30, end_frame=45),
        Shot(shot_id="v_000_01", index=1, start_seconds=0.5, end_seconds=1.0, start_frame=45, end_frame=60),
    ]
    if rate is None:
        shots = [replace(shot, start_frame=None, end_frame=None) for shot in shots]
    return Story(
        video_id="v",
        story_id="v_000",
        frame_rate=rate,
        start_frame=30,
        end_frame=end_frame,
        shots=tuple(shots),
        references=(ReferenceMask(character_id="Ann", frame_index=40, mask=MASK),),
    )


def fit(folder: Path, story: Story) -> tuple[Story, ProblemLog]:
    log = ProblemLog()
    return ReleaseVideos(folder).fit(story, Place(log, "v.json", story.story_id)), log


def spans(story: Story) -> list[tuple[int | None, int | None]]:
    return [(shot.start_frame, shot.end_frame) for shot in story.shots]


def test_a_story_keeps_its_frames_if_the_video_has_the_annotated_rate(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 60, 30)
    fitted, log = fit(tmp_path, make_story())
    assert fitted == make_story()
    assert not log.counts


def test_frames_are_found_by_their_time_if_the_video_has_another_rate(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 50, 25)
    fitted, log = fit(tmp_path, make_story())
    assert fitted.frame_rate == 25
    assert (fitted.start_frame, fitted.end_frame) == (25, 50)
    assert spans(fitted) == [(25, 38), (38, 50)]
    assert fitted.references[0].frame_index == 33
    assert dict(log.counts) == {"rate_differs": 1}


def test_a_rounded_rate_is_the_same_frames(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 60, Fraction(30000, 1001))
    fitted, log = fit(tmp_path, make_story())
    assert (fitted.start_frame, fitted.end_frame) == (30, 60)
    assert fitted.references[0].frame_index == 40
    assert fitted.frame_rate == Fraction(30000, 1001)
    assert dict(log.counts) == {"rate_differs": 1}


def test_a_missing_rate_is_taken_from_the_video(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 60, 30)
    fitted, log = fit(tmp_path, make_story(rate=None))
    assert fitted == make_story()
    assert dict(log.counts) == {"fps_from_video": 1}


def test_a_video_that_ends_early_cuts_the_frames_there(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 50, 30)
    fitted, log = fit(tmp_path, make_story())
    assert fitted.end_frame == 50
    assert spans(fitted) == [(30, 45), (45, 50)]
    assert dict(log.counts) == {"video_too_short": 1, "shot_past_segment": 1}


def test_a_story_behind_the_end_of_its_video_has_no_frames(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 20, 30)
    fitted, log = fit(tmp_path, make_story())
    assert spans(fitted) == [(None, None), (None, None)]
    assert log.counts["video_too_short"] == 1


def test_a_missing_video_is_reported_once(tmp_path: Path) -> None:
    log, videos = ProblemLog(), ReleaseVideos(tmp_path)
    for story_id in ("v_000", "v_001"):
        story = replace(make_story(), story_id=story_id)
        assert videos.fit(story, Place(log, "v.json", story_id)) == story
    assert dict(log.counts) == {"video_missing": 1}


def test_a_broken_video_is_reported_once_and_not_offered_for_cutting(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"not a video")
    log, videos = ProblemLog(), ReleaseVideos(tmp_path)
    for _ in range(2):
        videos.fit(make_story(), Place(log, "v.json", "v_000"))
    assert dict(log.counts) == {"video_broken": 1}
    assert videos.video_path("v") is None


def test_a_mask_of_another_size_than_the_video_is_reported(tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 60, 30)
    square = ReferenceMask(character_id="Ann", frame_index=40, mask=RleMask.from_array(np.ones((9, 9), dtype=bool)))
    _, log = fit(tmp_path, replace(make_story(), references=(square,)))
    assert dict(log.counts) == {"mask_size_differs": 1}


def test_videos_are_found_by_their_exact_id(tmp_path: Path) -> None:
    for name in ("-dash.mp4", "abC.MKV", "two.webm", "two.mp4", "two.txt", "c.d.mov"):
        (tmp_path / name).write_bytes(b"")
    videos = ReleaseVideos(tmp_path)
    found = {video_id: videos.video_path(video_id) for video_id in ("-dash", "abC", "two", "c.d", "ABC", "none")}
    assert {video_id: path and path.name for video_id, path in found.items()} == {
        "-dash": "-dash.mp4",
        "abC": "abC.MKV",
        "two": "two.mp4",
        "c.d": "c.d.mov",
        "ABC": None,
        "none": None,
    }


def test_a_missing_folder_of_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no folder"):
        ReleaseVideos(tmp_path / "nowhere")


def test_a_video_that_a_player_turns_is_reported_with_its_angle(tmp_path: Path) -> None:
    film = make_film(tmp_path / "v.mp4", 60, 30)
    content = bytearray(film.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    quarter = (0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in quarter)
    film.write_bytes(content)
    log, videos = ProblemLog(), ReleaseVideos(tmp_path, today="2026-01-31")
    videos.fit_video([make_story()], "v.json", log)
    assert log.counts["video_rotated"] == 1
    (seen,) = videos.availability()
    assert seen.rotation in (90, 270)
    assert seen.aspect == Fraction(36, 64)


def test_a_broken_and_a_missing_video_stand_in_the_table_with_their_reason(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"not a video")
    log, videos = ProblemLog(), ReleaseVideos(tmp_path, today="2026-01-31")
    for video_id in ("v", "w"):
        story = replace(make_story(), video_id=video_id, story_id=f"{video_id}_000")
        assert videos.fit_video([story], "v.json", log) == [story]
    broken, missing = videos.availability()
    assert (broken.status, missing.status) == ("unreadable", "missing")
    assert "cannot be read as a video" in broken.reason
    assert (broken.annotated_seconds, missing.annotated_frame_rate) == (2.0, 30)


@pytest.mark.parametrize("size", [(18, 32), (36, 64), (72, 128), (37, 64)])
def test_a_mask_of_the_videos_shape_is_scaled_to_its_size(size: tuple[int, int], tmp_path: Path) -> None:
    make_film(tmp_path / "v.mp4", 60, 30)
    height, width = size
    inside = np.zeros(size, dtype=bool)
    inside[height // 2 :, width // 2 :] = True
    mask = ReferenceMask(character_id="Ann", frame_index=40, mask=RleMask.from_array(inside))
    story, log = fit(tmp_path, replace(make_story(), references=(mask,)))
    fitted = story.references[0].mask
    assert fitted is not None
    if size == (37, 64):  # 2.7 % off
        assert fitted == mask.mask
        assert log.counts["mask_size_differs"] == 1
        return
    expected = np.zeros((36, 64), dtype=bool)
    expected[18:, 32:] = True
    assert (fitted.to_array() == expected).all()
    assert log.counts["mask_scaled"] == (size != (36, 64))
