import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_dataset

from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.release.availability import read_availability
from animeshooter_hf.dataset_builder.release.extras import read_extras, restore_release
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story
from animeshooter_hf.video import probe, read_frames, write_video

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "LvJRvwIDh0E.json"
HEIGHT, WIDTH, NUM_FRAMES = 36, 64, 60


def half_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, : WIDTH // 2] = True
    return mask


def make_release(video_id: str = "-Vid_1", **changes: Any) -> dict[str, Any]:
    """A release file of one story with two shots of one second and one true mask."""
    shots = [
        {
            "start time": f"00:0{second}",
            "end time": f"00:0{second + 1}",
            "is_prologue_or_epilogue": False,
            "main characters": ["Ann"],
            "scene": "Park",
            "visual annotation": {"narrative caption": f"n{second}", "descriptive caption": f"d{second}"},
            "audio annotation": {"type": "rain", "sound description": "soft", "visual context": "clouds"},
        }
        for second in (0, 1)
    ]
    script = {
        "storyline": "Ann waits.",
        "main characters": [{"ID": "Ann", "appearance": "tall"}],
        "main scenes": [{"ID": "Park", "environment": "trees"}],
        "shots": shots,
    }
    counts = RleMask.from_array(half_mask()).counts
    masks = [{"frame index": 20, "rle mask": {"size": [HEIGHT, WIDTH], "counts": counts}}]
    segment = {
        "start frame index": 10,
        "end frame index": 58,
        "story script": script,
        "reference images": [{"ID": "Ann", "masks": masks}],
    }
    return {"video ID": video_id, "url": "u", "fps": 24.0, "segments": [segment], **changes}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "-Vid_1.json"
    path.parent.mkdir()
    path.write_text(json.dumps(make_release()))
    return path


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    frames = (np.full((HEIGHT, WIDTH, 3), 4 * index, np.uint8) for index in range(NUM_FRAMES))
    time_s = np.arange(int(44_100 * NUM_FRAMES / 24)) / 44_100
    sound = np.sin(2 * np.pi * 440 * time_s).astype(np.float32)[None] / 4
    write_video(folder / "-Vid_1.mp4", frames, Fraction(24), audio=sound, sample_rate=44_100, crf=4)
    return folder


def ingest(*words: object) -> int:
    return main(["ingest", *map(str, words)])


def stories_of(out: Path) -> list[Story]:
    rows = load_dataset(str(out), "stories", split="train", streaming=True)
    return [Story.from_dataset_row(row) for row in rows]


def test_the_sample_is_ingested_without_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    assert ingest(SAMPLE, "--out", tmp_path / "out", "--json") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    expected = {"files": 1, "videos": 1, "stories": 8, "shots": 64, "characters": 21, "scenes": 22}
    assert {key: summary[key] for key in expected} == expected
    assert (summary["masks"], summary["placeholder_masks"], summary["problems"]["lost"]) == (293, 293, 0)
    assert summary["rows"] == {"stories": {"train": 8}}
    assert "     293  info      mask_placeholder" in output.err
    assert len(stories_of(tmp_path / "out")) == 8


def test_a_fresh_process_that_ingests_the_sample_takes_seconds_and_loads_no_models(tmp_path: Path) -> None:
    """How many seconds exactly is what benchmarks/ingest_sample.py tells; it takes one or two."""
    if not SAMPLE.exists():
        pytest.skip("the release sample is not here")
    code = (
        "import sys; from animeshooter_hf.command_line import main; status = main(sys.argv[1:])\n"
        "print([name for name in ('torch', 'transformers', 'cv2', 'matplotlib') if name in sys.modules])\n"
        "sys.exit(status)"
    )
    words = [sys.executable, "-c", code, "ingest", str(SAMPLE), "--out", str(tmp_path / "out")]
    before = os.times()
    made = subprocess.run(words, check=True, capture_output=True, text=True)
    after = os.times()
    assert made.stdout.splitlines()[-1] == "[]"
    assert after.children_user + after.children_system - before.children_user - before.children_system < 20


def test_a_reader_without_our_code_opens_what_was_written(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ingest(release, "--out", out) == 0
    mapped = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    streamed = load_dataset(str(out), "stories", split="train", streaming=True)
    assert mapped[0]["shots"][1]["narrative_caption"] == next(iter(streamed))["shots"][1]["narrative_caption"] == "n1"


def test_a_folder_and_its_zip_give_the_same_rows(release: Path, tmp_path: Path) -> None:
    packed = tmp_path / "release.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(release, "dataset_changed_keys/-Vid_1.json")
    assert ingest(release.parent, "--out", tmp_path / "a") == 0
    assert ingest(packed, "--out", tmp_path / "b") == 0
    assert stories_of(tmp_path / "a") == stories_of(tmp_path / "b")


def test_with_videos_shots_are_cut_masks_applied_and_sound_kept(release: Path, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ingest(release, "--out", out, "--videos", videos) == 0
    shots = list(load_dataset(str(out), "shots", split="train", streaming=True).decode(False))
    assert [(row["shot_id"], row["start_frame"], row["end_frame"]) for row in shots] == [
        ("-Vid_1_000_00", 10, 34),
        ("-Vid_1_000_01", 34, 58),
    ]
    clip = shots[1]["video"]["bytes"]
    assert probe(clip).num_frames == 24
    levels = read_frames(clip, [0, 23]).mean(axis=(1, 2, 3))
    assert np.abs(levels - [4 * 34, 4 * 57]).max() < 2.5
    (reference,) = load_dataset(str(out), "references", split="train", streaming=True)
    assert (np.asarray(reference["mask"]) > 0).tolist() == half_mask().tolist()
    assert np.asarray(reference["cutout"])[:, WIDTH // 2 :, 3].max() == 0
    assert abs(np.asarray(reference["image"]).mean() - 4 * 20) < 2.5
    audio = list(load_dataset(str(out), "audio", split="train", streaming=True).decode(False))
    assert [(row["audio_type"], row["shot_index"]) for row in audio] == [("rain", 0), ("rain", 1)]


def test_a_missing_video_leaves_the_stories_and_is_reported(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "none").mkdir()
    assert ingest(release, "--out", tmp_path / "out", "--videos", tmp_path / "none") == 0
    assert "video_missing" in capsys.readouterr().err
    assert len(stories_of(tmp_path / "out")) == 1


def test_a_truncated_video_loses_its_clips_only(release: Path, videos: Path, tmp_path: Path) -> None:
    film = videos / "-Vid_1.mp4"
    film.write_bytes(film.read_bytes()[:200])
    assert ingest(release, "--out", tmp_path / "out", "--videos", videos) == 1
    summary = json.loads((tmp_path / "out" / "problems.json").read_text())
    assert list(summary["codes"]) == ["video_broken"]
    assert len(stories_of(tmp_path / "out")) == 1


def test_a_mask_of_another_size_than_the_video_gives_no_picture(videos: Path, tmp_path: Path) -> None:
    data = make_release()
    square = {"size": [4, 4], "counts": RleMask.from_array(np.ones((4, 4), dtype=bool)).counts}
    data["segments"][0]["reference images"][0]["masks"][0]["rle mask"] = square
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert ingest(tmp_path / "a.json", "--out", tmp_path / "out", "--videos", videos) == 1
    codes = json.loads((tmp_path / "out" / "problems.json").read_text())["codes"]
    assert {code: codes[code]["count"] for code in codes} == {"media_skipped": 1, "mask_size_differs": 1}


def test_good_records_around_lost_ones_survive_and_the_status_says_so(release: Path, tmp_path: Path) -> None:
    (release.parent / "broken.json").write_text('{"video ID": "x", "segm')
    (release.parent / "package.json").write_text('{"name": "x", "version": "1"}')
    (release.parent / "escape.json").write_text(json.dumps(make_release("../../escape")))
    out = tmp_path / "out"
    assert ingest(release.parent, "--out", out) == 1
    codes = json.loads((out / "problems.json").read_text())["codes"]
    assert {code: row["count"] for code, row in codes.items()} == {
        "broken_json": 1,
        "other_json": 1,
        "video_id_unsafe": 1,
    }
    assert [story.story_id for story in stories_of(out)] == ["-Vid_1_000"]
    rows = [json.loads(line) for line in (out / "problems.jsonl").read_text().splitlines()]
    assert [row["where"] for row in rows] == ["in/broken.json", "in/escape.json", "in/package.json"]
    assert not (tmp_path.parent / "escape").exists()


def test_the_split_seed_moves_videos_between_splits(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(20):
        (tmp_path / "in" / f"{number}.json").write_text(json.dumps(make_release(f"video{number}")))
    held_out = []
    for seed in (0, 1, 0):
        out = tmp_path / f"out{len(held_out)}"
        assert ingest(tmp_path / "in", "--out", out, "--split-seed", seed) == 0
        held_out.append([row["video_id"] for row in load_dataset(str(out), split="test", streaming=True)])
    assert held_out[0] == held_out[2] != held_out[1]


def test_a_dataset_is_replaced_only_where_asked(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ingest(release, "--out", out) == 0
    assert ingest(release, "--out", out) == 2
    assert ingest(release, "--out", out, "--overwrite") == 0


def test_the_audio_release_has_rows_of_its_own_and_is_reported_where_the_picture_is_missing(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audio").mkdir()
    for video_id in ("-Vid_1", "other"):
        (tmp_path / "audio" / f"{video_id}.json").write_text(json.dumps(make_release(video_id)))
    out = tmp_path / "out"
    assert ingest(release, "--audio", tmp_path / "audio", "--out", out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["videos"], summary["stories"], summary["audio_stories"]) == (2, 1, 2)
    assert [story.story_id for story in stories_of(out)] == ["-Vid_1_000", "-Vid_1_a000", "other_a000"]
    codes = json.loads((out / "problems.json").read_text())["codes"]
    assert codes["audio_without_picture"]["examples"][0]["detail"] == "other"
    assert {name: data["video ID"] for name, data in restore_release(out)} == {
        "-Vid_1.json": "-Vid_1",
        "audio/-Vid_1.json": "-Vid_1",
        "audio/other.json": "other",
    }


def test_what_stands_beside_the_data_tells_ids_files_and_statistics(
    release: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "video_ids.txt").write_text("-Vid_1\nabcdefghijk\n")
    out = tmp_path / "out"
    words = (release, "--out", out, "--videos", videos, "--video-ids", tmp_path / "video_ids.txt")
    assert ingest(*words, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["availability"] == {"available": 1}
    assert summary["video_ids"].startswith("video IDs: 1 in both, 1 only in the list, 0 only annotated")
    assert json.loads((out / "reconcile.json").read_text())["only_listed"] == ["abcdefghijk"]
    (seen,) = read_availability(out / "availability.csv")
    assert (seen.video_id, seen.num_frames, seen.frame_rate) == ("-Vid_1", NUM_FRAMES, 24)
    assert json.loads((out / "statistics.json").read_text())["counts"]["shots"] == 2
    assert ingest(*words, "--overwrite") == 0
    printed = capsys.readouterr().out
    assert "videos: 1 available" in printed
    assert "Table 1 of the paper" in printed


def test_tails_are_extended_where_asked(release: Path, tmp_path: Path) -> None:
    data = make_release()
    data["segments"][0]["end frame index"] = 70
    release.write_text(json.dumps(data))
    ends = []
    for words in ([], ["--extend-tails"]):
        out = tmp_path / f"out{len(ends)}"
        assert ingest(release, "--out", out, *words) == 0
        ends.append((stories_of(out)[0].shots[1].end_frame, stories_of(out)[0].shots[1].end_seconds))
        assert next(restore_release(out))[1] == data
    assert ends == [(58, 2.0), (70, 2.0)]


def test_a_file_nested_so_deep_that_it_cannot_be_kept_whole_keeps_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for depth in range(700, 1000, 4):
        deep = json.dumps(make_release(f"v{depth}"))[:-1] + ', "mood": ' + "[" * depth + "]" * depth + "}"
        (tmp_path / "in" / f"{depth}.json").write_text(deep)
    out = tmp_path / "out"
    assert ingest(tmp_path / "in", "--out", out, "--json") == 1
    told = json.loads(capsys.readouterr().out)["stories"]
    counts = {code: row["count"] for code, row in json.loads((out / "problems.json").read_text())["codes"].items()}
    assert told > 10
    assert told + counts["broken_json"] == 75
    assert sum(1 for _ in read_extras(out)) + counts.get("extras_lost", 0) == told


# ---------------------------------------------------------------------------------------------------------------------
# Refusals: status 2, one sentence, nothing left behind


def write_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", bytes(20 << 20))


def write_truncated(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", json.dumps(make_release()))
    path.write_bytes(path.read_bytes()[:-40])


def write_escape(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../a.json", json.dumps(make_release()))


BAD_INPUTS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("nowhere.json", lambda path: None, "There is no file or folder"),
    "too long a name": ("x" * 300 + ".json", lambda path: None, "cannot be read"),
    "empty folder": ("empty", lambda path: path.mkdir(), "holds neither .json nor .zip files"),
    "video": ("film.mp4", lambda path: path.write_bytes(b"x"), "is neither a .json file"),
    "numbers": ("n.json", lambda path: path.write_text("[1, 2, 3]"), "holds no story that could be read"),
    "package": ("package.json", lambda path: path.write_text('{"name": "x"}'), "not an annotation of the release"),
    "cut off": ("a.json", lambda path: path.write_text('{"video ID": "a"'), "not JSON, or is cut off"),
    "empty file": ("a.json", lambda path: path.write_text(""), "not JSON, or is cut off"),
    "escaping ID": ("a.json", lambda path: path.write_text(json.dumps(make_release("../up"))), "cannot be a file name"),
    "zip bomb": ("bomb.zip", write_bomb, "is refused as a zip bomb"),
    "truncated zip": ("cut.zip", write_truncated, "is not a zip file, or is cut off"),
    "escaping zip": ("escape.zip", write_escape, "a name in the zip that points outside of it"),
    "no zip": ("text.zip", lambda path: path.write_text("hello"), "is not a zip file"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_ends_in_one_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_name, write, message = BAD_INPUTS[name]
    path = tmp_path / file_name
    write(path)
    before = sorted(tmp_path.rglob("*"))
    started = time.process_time()
    assert ingest(path, "--out", tmp_path / "new" / "out") == 2
    assert time.process_time() - started < 10  # a few milliseconds, unless the bomb goes off
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert message in output.err
    assert sorted(tmp_path.rglob("*")) == before


def out_is_a_file(release: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "file").write_text("mine")
    return [release, "--out", tmp_path / "file"]


def out_lies_under_a_file(release: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "file").write_text("mine")
    return [release, "--out", tmp_path / "file" / "out"]


def out_is_not_ours(release: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("mine")
    return [release, "--out", tmp_path / "home", "--overwrite"]


def path_inside_out(release: Path, tmp_path: Path) -> list[object]:
    return [release, "--out", release.parent, "--overwrite"]


def videos_inside_out(release: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "out" / "videos").mkdir(parents=True)
    return [release, "--out", tmp_path / "out", "--videos", tmp_path / "out" / "videos"]


def no_videos(release: Path, tmp_path: Path) -> list[object]:
    return [release, "--out", tmp_path / "out", "--videos", tmp_path / "nowhere"]


def out_in_proc(release: Path, tmp_path: Path) -> list[object]:
    return [release, "--out", "/proc/animeshooter"]


def no_audio(release: Path, tmp_path: Path) -> list[object]:
    return [release, "--out", tmp_path / "out", "--audio", tmp_path / "nowhere.zip"]


def no_video_ids(release: Path, tmp_path: Path) -> list[object]:
    return [release, "--out", tmp_path / "out", "--video-ids", tmp_path / "nowhere.txt"]


def empty_video_ids(release: Path, tmp_path: Path) -> list[object]:
    (tmp_path / "ids.txt").write_text("\n# none\n")
    return [release, "--out", tmp_path / "out", "--video-ids", tmp_path / "ids.txt"]


@pytest.mark.parametrize(
    "words",
    [
        no_audio,
        no_video_ids,
        empty_video_ids,
        out_is_a_file,
        out_lies_under_a_file,
        out_is_not_ours,
        path_inside_out,
        videos_inside_out,
        no_videos,
        out_in_proc,
    ],
)
def test_an_output_or_video_folder_that_cannot_be_used_is_refused(
    words: Callable[[Path, Path], list[object]], release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(release, tmp_path)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert ingest(*given) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
