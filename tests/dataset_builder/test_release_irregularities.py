"""The thirty irregularities of the public release, a test for each: what is found, and what becomes of it."""

import copy
import json
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset

from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.quality.statistics import paper_statistics
from animeshooter_hf.dataset_builder.release.availability import VideoAvailability
from animeshooter_hf.dataset_builder.release.extras import find_extras, restore_file
from animeshooter_hf.dataset_builder.release.files import ReleaseFile, iter_release_files
from animeshooter_hf.dataset_builder.release.masks import default_references, is_boundary_reference
from animeshooter_hf.dataset_builder.release.names import escape_video_id, find_case_twins, unescape_video_id
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import (
    ReleaseDocument,
    is_audio_story_id,
    read_release_documents,
    read_release_video,
)
from animeshooter_hf.dataset_builder.release.reconcile import parse_video_ids, reconcile
from animeshooter_hf.dataset_builder.release.shots import extend_tail
from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.dataset_builder.release.videos import ReleaseVideos
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story
from animeshooter_hf.video import write_video

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "LvJRvwIDh0E.json"
TODAY = "2026-01-31"
HEIGHT, WIDTH = 36, 64


def make_mask(height: int = HEIGHT, width: int = WIDTH) -> dict[str, Any]:
    inside = np.zeros((height, width), dtype=bool)
    inside[height // 4 : height // 2, width // 4 : width // 2] = True
    return {"size": [height, width], "counts": RleMask.from_array(inside).counts}


def make_video(video_id: str = "vid", **changes: Any) -> dict[str, Any]:
    """A video of 25 frames a second with a segment of ten seconds, of which the shots tell nine."""

    def shot(start: int, end: int, names: list[str]) -> dict[str, Any]:
        return {
            "start time": f"00:{start:02d}",
            "end time": f"00:{end:02d}",
            "extra 4-second timestamp": f"00:{start:02d}-00:{start + 4:02d}",
            "is_prologue_or_epilogue": False,
            "main characters": names,
            "setting": "Park",
            "visual annotation": {"narrative caption": f"plot {start}", "descriptive caption": f"picture {start}"},
        }

    masks = [{"frame index": frame, "rle mask": make_mask()} for frame in (100, 0, 50)]
    segment = {
        "start frame index": 0,
        "end frame index": 250,
        "story script": {
            "storyline": "Ann waits.",
            "main characters": [{"ID": "Ann", "appearance": "a girl"}, {"ID": "Bob", "appearance": "a dog"}],
            "main settings": [{"ID": "Park", "environment": "trees"}],
            "shots": [shot(0, 4, ["Ann"]), shot(4, 9, ["Bob"])],
        },
        "reference images": [{"ID": "Ann", "masks": masks}],
    }
    return {"video ID": video_id, "url": "https://example.org", "fps": 25.0, "segments": [segment], **changes}


def script_of(video: dict[str, Any]) -> dict[str, Any]:
    return video["segments"][0]["story script"]  # type: ignore[no-any-return]


def read(video: Any) -> tuple[list[Story], ProblemLog]:
    log = ProblemLog()
    return read_release_video(video, "vid.json", log), log


def read_document(video: Any) -> ReleaseDocument:
    files = [ReleaseFile("vid.json", json.dumps(video).encode())]
    return next(read_release_documents(files, ProblemLog()))


def restored(video: Any) -> Any:
    document = read_document(video)
    extras = find_extras(document)
    assert extras is not None
    return restore_file(extras, {story.story_id: story for story in document.stories}.__getitem__)


def sample() -> dict[str, Any]:
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    return json.loads(SAMPLE.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vid.mp4, ten seconds at 25 frames a second, 64x36."""
    folder = tmp_path_factory.mktemp("videos")
    frames = (np.full((HEIGHT, WIDTH, 3), index, np.uint8) for index in range(250))
    write_video(folder / "vid.mp4", frames, Fraction(25))
    return folder


def fit(folder: Path, video: dict[str, Any]) -> tuple[Story, ProblemLog, VideoAvailability]:
    log = ProblemLog()
    stories = read_release_video(video, "vid.json", log)
    videos = ReleaseVideos(folder, today=TODAY)
    (story,) = videos.fit_video(stories, "vid.json", log)
    (seen,) = videos.availability()
    return story, log, seen


def test_01_both_names_of_scenes_are_read_and_the_one_in_the_file_is_kept() -> None:
    video = make_video()
    script_of(video)["main scenes"] = script_of(video).pop("main settings")
    for shot in script_of(video)["shots"]:
        shot["scene"] = shot.pop("setting")
    assert read(video)[0] == read(make_video())[0]
    extras = find_extras(read_document(video))
    assert extras is not None
    assert extras.videos[0].spelling.of("script")["scenes"] == "main scenes"
    assert restored(video) == video


def test_02_the_span_of_four_seconds_is_optional_and_reported_where_it_is_longer_or_shorter() -> None:
    video = make_video()
    script_of(video)["shots"][0]["extra 4-second timestamp"] = "00:00-00:03"
    script_of(video)["shots"][1].pop("extra 4-second timestamp")
    (story,), log = read(video)
    spans = [(shot.clip_start_seconds, shot.clip_end_seconds) for shot in story.shots]
    assert spans == [(0.0, 3.0), (None, None)]
    assert log.counts["clip_span_length"] == 1


def test_03_a_placeholder_instead_of_runs_is_a_mask_that_is_null() -> None:
    data = sample()
    stories, log = read(data)
    assert all(mask.mask is None for story in stories for mask in story.references)
    assert log.counts["mask_placeholder"] == 293


def test_04_masks_of_another_shape_than_the_video_are_reported_and_never_scaled(film: Path) -> None:
    video = make_video()
    masks = video["segments"][0]["reference images"][0]["masks"]
    masks[0]["rle mask"], masks[1]["rle mask"] = make_mask(72, 72), make_mask(72, 128)
    story, log, _ = fit(film, video)
    sizes = {mask.frame_index: (mask.mask.height, mask.mask.width) for mask in story.references if mask.mask}
    assert sizes == {0: (36, 64), 50: (36, 64), 100: (72, 72)}
    assert (log.counts["mask_size_differs"], log.counts["mask_scaled"]) == (1, 1)
    assert story.references[0].mask == story.references[1].mask, "72x128 scaled by a half is 36x64"


def test_05_masks_are_sorted_by_frame_and_their_order_in_the_file_is_kept() -> None:
    (story,), log = read(make_video())
    assert [mask.frame_index for mask in story.references] == [0, 50, 100]
    assert log.counts["references_unordered"] == 1
    assert restored(make_video()) == make_video()


def test_06_a_mask_on_the_end_of_its_shot_is_flagged_and_gives_no_default_reference() -> None:
    (story,), log = read(make_video())
    assert log.counts["boundary_reference"] == 1
    assert [is_boundary_reference(story, mask) for mask in story.references] == [False, False, True]
    assert [mask.frame_index for mask in default_references(story)] == [0, 50]
    told = [story for story in read(sample())[0]]
    assert sum(is_boundary_reference(story, mask) for story in told for mask in story.references) == 14


def test_07_the_frames_of_masks_are_taken_as_they_stand_whatever_their_distance() -> None:
    frames = {mask["frame index"] for entry in sample()["segments"][0]["reference images"] for mask in entry["masks"]}
    assert {mask.frame_index for mask in read(sample())[0][0].references} == frames


def test_08_a_tail_that_rounding_cut_off_can_be_given_back_and_both_ends_are_told() -> None:
    (story,), log = read(make_video())
    assert (story.shots[1].end_seconds, story.shots[1].end_frame, story.end_frame) == (9.0, 225, 250)
    assert log.counts["tail_uncovered"] == 1
    extended = extend_tail(story, Place(log, "vid.json", "vid_000"))
    assert (extended.shots[1].end_seconds, extended.shots[1].end_frame) == (9.0, 250)
    assert log.counts["tail_extended"] == 1
    assert extend_tail(extended, Place(log, "vid.json")) == extended
    script_of(video := make_video())["shots"][1]["end time"] = "00:07"
    (short,), _ = read(video)
    assert extend_tail(short, Place(log, "vid.json")) == short, "three seconds are no rounding"


def test_09_a_shot_without_length_is_kept_without_frames() -> None:
    script_of(video := make_video())["shots"][1]["end time"] = "00:04"
    (story,), log = read(video)
    assert (story.shots[1].start_frame, story.shots[1].end_frame, story.shots[1].start_seconds) == (None, None, 4.0)
    assert log.counts["shot_empty"] == 1


def test_10_a_scene_that_is_not_available_is_null() -> None:
    script_of(video := make_video())["shots"][1]["setting"] = "N/A"
    assert read(video)[0][0].shots[1].scene is None
    assert restored(video) == video


def test_11_a_shot_without_main_characters_is_valid() -> None:
    script_of(video := make_video())["shots"][1]["main characters"] = []
    (story,), log = read(video)
    assert story.shots[1].characters == ()
    assert log.counts["list_unreadable"] == 0


def test_12_there_may_be_any_number_of_scenes() -> None:
    video = make_video()
    for number in range(6):
        script_of(video)["main settings"].append({"ID": f"Place {number}", "environment": "x"})
    (story,), log = read(video)
    assert len(story.scenes) == 7
    assert log.num_lost == 0


def test_13_characters_are_those_of_their_segment_and_names_match_without_case() -> None:
    video = make_video()
    video["segments"].append(copy.deepcopy(video["segments"][0]))
    video["segments"][1]["story script"]["main characters"][0].update({"ID": "ann", "appearance": "another one"})
    script_of(video)["shots"][0]["main characters"] = ["ANN"]
    stories, log = read(video)
    assert stories[0].shots[0].characters == ("Ann",)
    assert stories[1].shots[0].characters == ("ann",)
    assert [story.characters[0].appearance for story in stories] == ["a girl", "another one"]
    assert log.counts["character_spelling"] == 3, "one in a shot, and the segment's own names of Ann"


def test_14_the_sample_is_no_measure_of_the_papers_statistics() -> None:
    counted = paper_statistics(read(sample())[0])
    assert counted.value("shots_per_story") == 8
    assert counted.value("shot_seconds") > 1.5 * 3.85


def test_15_frames_count_from_the_start_of_the_video_and_times_from_that_of_the_segment() -> None:
    video = make_video()
    video["segments"].append(copy.deepcopy(video["segments"][0]))
    video["segments"][1].update({"start frame index": 250, "end frame index": 500})
    stories, _ = read(video)
    assert [(story.shots[0].start_frame, story.shots[0].start_seconds) for story in stories] == [(0, 0.0), (250, 0.0)]
    assert [len(story.shots) for story in stories] == [2, 2], "equal times in two segments are not the same shot"


def test_16_a_caption_is_read_with_underscore_and_a_missing_one_is_null_and_reported() -> None:
    video = make_video()
    script_of(video)["shots"][0]["visual annotation"] = {"narrative_caption": "plot 0"}
    (story,), log = read(video)
    assert (story.shots[0].narrative_caption, story.shots[0].descriptive_caption) == ("plot 0", None)
    assert log.counts["caption_missing"] == 1


def test_17_a_missing_frame_rate_is_null_until_the_video_tells_it(film: Path) -> None:
    (story,), log = read(make_video(fps=None))
    assert (story.frame_rate, story.shots[0].start_frame) == (None, None)
    assert log.counts["fps_missing"] == 1
    fitted, log, _ = fit(film, make_video(fps=0.0))
    assert (fitted.frame_rate, fitted.shots[1].start_frame) == (25, 100)
    assert log.counts["fps_from_video"] == 1


def test_18_frames_of_another_rate_are_found_by_their_time_and_the_drift_is_kept(film: Path) -> None:
    video = make_video(fps=30.0)
    video["segments"][0].update({"start frame index": 31, "end frame index": 270})
    story, log, seen = fit(film, video)
    assert (story.start_frame, story.end_frame, story.frame_rate) == (26, 225, 25)
    assert seen.annotated_frame_rate == 30
    assert seen.drift_seconds == pytest.approx(max(abs(26 / 25 - 31 / 30), abs(83 / 25 - 100 / 30), 1 / 75), abs=1e-3)
    assert 0 < seen.drift_seconds <= 0.5 / 25
    assert (log.counts["rate_differs"], log.counts["duration_differs"]) == (1, 1), "it ends at 9 s of 10 s"
    _, log, seen = fit(film, make_video())
    assert (seen.drift_seconds, log.counts["duration_differs"]) == (0.0, 0)


def test_19_a_video_under_its_id_and_keys_with_underscores_are_the_same_video() -> None:
    video = make_video()
    under = {video.pop("video ID"): video}
    segment = under["vid"]["segments"][0]
    segment["start_frame_index"], segment["end_frame_index"] = 0, 250
    del segment["start frame index"], segment["end frame index"]
    assert read(under)[0] == read(make_video())[0]
    assert restored(under) == under


@pytest.mark.parametrize(
    ("start", "end", "meant"),
    [
        ("00:00:04", "00:00:09", (4.0, 9.0)),
        ("0:04", "0:09", (4.0, 9.0)),
        ("00:04.5", "9.25", (4.5, 9.25)),
        (4, 9.0, (4.0, 9.0)),
        ("00:04", "end", (4.0, 10.0)),
        ("", "00:09", None),
        ("soon", "00:09", None),
    ],
)
def test_20_every_kind_of_time_is_a_value_or_a_reported_problem(start: object, end: object, meant: object) -> None:
    script_of(video := make_video())["shots"][1].update({"start time": start, "end time": end})
    (story,), log = read(video)
    shot = story.shots[1]
    assert (None if shot.start_seconds is None else (shot.start_seconds, shot.end_seconds)) == meant
    assert meant is not None or log.counts["time_missing"] + log.counts["time_unreadable"] == 1
    assert restored(video) == video


def test_21_times_that_contradict_each_other_are_reported_and_inclusive_ends_are_noticed() -> None:
    video = make_video()
    for number in (1, 2):
        video["segments"].append(copy.deepcopy(video["segments"][0]))
        video["segments"][number].update({"start frame index": 251 * number, "end frame index": 251 * number + 250})
    stories, log = read(video)
    assert len(stories) == 3
    assert (log.counts["segment_gap"], log.counts["end_frames_inclusive"]) == (2, 1)
    video["segments"][2]["start frame index"] = 400
    assert read(video)[1].counts["end_frames_inclusive"] == 0


def test_22_what_is_undeclared_or_unused_is_kept_and_reported() -> None:
    video = make_video()
    script_of(video)["shots"][0].update({"main characters": ["Ann", "Eve"], "setting": "Moon"})
    script_of(video)["main settings"].append({"ID": "Cellar", "environment": "dark"})
    video["segments"][0]["reference images"].append(
        {"ID": "Tom", "masks": [{"frame index": 7, "rle mask": make_mask()}]}
    )
    (story,), log = read(video)
    assert (story.shots[0].characters, story.shots[0].scene) == (("Ann", "Eve"), "Moon")
    assert [mask.character_id for mask in story.references] == ["Ann", "Tom", "Ann", "Ann"]
    codes = ("undeclared_character", "undeclared_scene", "unused_scene")
    assert [log.counts[code] for code in codes] == [1, 1, 1]
    assert [log.counts[code] for code in ("reference_for_undeclared", "character_without_reference")] == [1, 1]


def write_messy_zip(path: Path, text: str) -> None:
    latin = json.dumps(make_video("latin", url="caf\xe9"), ensure_ascii=False).encode("latin-1")
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x/y/vid.json", "__MACOSX/x/._vid.json", "x/.DS_Store", "x/y/vid.json", "../up.json"):
            archive.writestr(name, text)
        archive.writestr("x/cut.json", text[:50])
        archive.writestr("x/latin.json", latin)


def test_23_a_zip_is_streamed_whatever_lies_in_it_and_the_audio_zip_has_stories_of_its_own(tmp_path: Path) -> None:
    text = json.dumps(make_video())
    with pytest.warns(UserWarning, match="Duplicate name"):
        write_messy_zip(tmp_path / "a.zip", text)
    log = ProblemLog()
    documents = list(read_release_documents(iter_release_files(tmp_path / "a.zip", log), log))
    assert [story.story_id for one in documents for story in one.stories] == ["vid_000", "latin_000"]
    lost = {"zip_member_repeated": 1, "path_escape": 1, "broken_json": 1, "not_utf8": 1}
    assert {code: log.counts[code] for code in lost} == lost
    assert not (tmp_path.parent / "up.json").exists()

    sounding = make_video()
    sounding["segments"][0]["end frame index"] = 200
    for shot in script_of(sounding)["shots"]:
        shot["audio annotation"] = {"type": "rain"}
    (tmp_path / "audio.json").write_text(json.dumps(sounding))
    (tmp_path / "vid.json").write_text(text)
    out = tmp_path / "out"
    words = ["ingest", tmp_path / "vid.json", "--audio", tmp_path / "audio.json", "--out", out]
    assert main([str(word) for word in words]) == 0
    rows = [Story.from_dataset_row(row) for row in load_dataset(str(out), split="train", streaming=True)]
    assert [(story.story_id, story.end_frame) for story in rows] == [("vid_000", 250), ("vid_a000", 200)]
    assert [is_audio_story_id(story.story_id) for story in rows] == [False, True]
    assert len({shot.shot_id for story in rows for shot in story.shots}) == 4
    assert json.loads((out / "statistics.json").read_text())["counts"]["stories"] == 1


def test_24_what_was_written_opens_with_plain_load_dataset(tmp_path: Path) -> None:
    (tmp_path / "vid.json").write_text(json.dumps(make_video()))
    assert main(["ingest", str(tmp_path / "vid.json"), "--out", str(tmp_path / "out")]) == 0
    (row,) = load_dataset(str(tmp_path / "out"), split="train", streaming=True)
    assert row["story_id"] == "vid_000"


def test_25_what_became_of_each_video_is_a_table_with_reason_and_date(film: Path) -> None:
    long = make_video()
    long["segments"][0]["end frame index"] = 400
    _, log, seen = fit(film, long)
    assert (seen.status, seen.checked_at, seen.reason) == (
        "trimmed", TODAY, "the annotation ends at 16.00 s, the file at 10.00 s",
    )  # fmt: skip
    assert (seen.width, seen.height, seen.frame_rate, seen.num_frames, seen.rotation) == (64, 36, 25, 250, 0)
    assert log.counts["duration_differs"] == 1
    _, log, seen = fit(film, make_video("gone"))
    assert (seen.status, log.counts["video_missing"]) == ("missing", 1)


def test_26_ids_with_a_dash_in_front_or_alike_but_for_case_have_file_names_of_their_own(tmp_path: Path) -> None:
    ids = ["-abc", "aBc", "abc", "ABC", "a_c", "é", "a.", "_2d"]
    stems = [escape_video_id(video_id) for video_id in ids]
    assert len({stem.casefold() for stem in stems}) == len(ids)
    assert not any(stem.startswith("-") for stem in stems)
    assert [unescape_video_id(stem) for stem in stems] == ids
    assert find_case_twins(ids) == [("ABC", "aBc", "abc")]
    for video_id in ("-aB", "plain"):
        (tmp_path / f"{escape_video_id(video_id)}.mp4").write_bytes(b"")
    videos = ReleaseVideos(tmp_path)
    assert [path and path.name for path in map(videos.video_path, ("-aB", "plain", "-ab"))] == [
        "_2da_42.mp4", "plain.mp4", None,
    ]  # fmt: skip


def test_27_runs_are_read_as_text_as_bytes_and_as_numbers_and_must_add_up() -> None:
    expected = read(make_video())[0]
    for form in ("bytes", "numbers"):
        video = make_video()
        for row in video["segments"][0]["reference images"][0]["masks"]:
            counts = row["rle mask"]["counts"]
            runs = np.diff(np.flatnonzero(np.diff(RleMask(HEIGHT, WIDTH, counts).to_array().ravel("F"), prepend=2)))
            ends = [*map(int, runs), HEIGHT * WIDTH - int(runs.sum())]
            row["rle mask"]["counts"] = counts.encode() if form == "bytes" else ends
        assert read(video)[0] == expected, form
    swapped = make_video()
    swapped["segments"][0]["reference images"][0]["masks"][0]["rle mask"]["size"] = [HEIGHT, WIDTH + 1]
    (story,), log = read(swapped)
    assert story.references[2].mask is None
    assert log.counts["mask_invalid"] == 1


def test_28_values_of_another_type_are_taken_for_what_they_mean_and_counted() -> None:
    video = make_video(fps="25")
    video["segments"][0].update({"start frame index": "0", "end frame index": 250.0})
    script_of(video)["shots"][0].update({"is_prologue_or_epilogue": "True", "main characters": [" Ann."]})
    script_of(video)["shots"][1]["main characters"] = None
    (story,), log = read(video)
    assert (story.frame_rate, story.start_frame, story.end_frame) == (25, 0, 250)
    assert story.shots[0].is_prologue_or_epilogue
    assert (story.shots[0].characters, story.shots[1].characters) == (("Ann",), ())
    assert (log.counts["type_coerced"], log.counts["id_trimmed"]) == (4, 1)
    assert restored(video) == video


def test_29_the_list_of_ids_is_compared_with_the_annotations() -> None:
    text = "\ufeffaaaaaaaaaaa\r\nbbbbbbbbbbb\n\n# note\nbbbbbbbbbbb\nBBBBBBBBBBB\n"
    text += "https://youtu.be/ccccccccccc\nno id\nshort\n"
    result = reconcile(parse_video_ids(text), ["aaaaaaaaaaa", "ccccccccccc", "ddddddddddd", "aaaaaaaaaaa"])
    assert (result.listed, result.annotated, result.in_both) == (5, 3, 2)
    assert result.only_listed == ("BBBBBBBBBBB", "bbbbbbbbbbb", "short")
    assert result.only_annotated == ("ddddddddddd",)
    assert result.duplicates == {"bbbbbbbbbbb": 2}
    assert result.case_twins == (("BBBBBBBBBBB", "bbbbbbbbbbb"),)
    assert result.malformed == ((8, "'no id'"),)
    assert result.unusual == ("short",)


def test_30_an_audio_annotation_is_open_and_its_other_keys_are_kept() -> None:
    video = make_video()
    heard = {"type": "rain", "sound description": "soft", "pitch": {"low": [1, 2.5]}, "object": None}
    script_of(video)["shots"][0]["visual annotation"]["audio annotation"] = heard
    (story,), log = read(video)
    assert story.shots[0].audio is not None
    assert story.shots[0].audio.audio_type == "rain"
    assert log.counts["unknown_key"] == 2
    assert json.dumps(restored(video)) == json.dumps(video)
