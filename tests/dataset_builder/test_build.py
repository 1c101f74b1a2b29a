"""From films to a dataset: what comes out equals the films' truth, and bad films harm nobody."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from toon_films import SETTINGS, copy_build

from animeshooter_hf import Shot, Story, load_stories
from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.build import build_dataset
from animeshooter_hf.dataset_builder.script.film_script import validate_story
from animeshooter_hf.features import AUDIO_SAMPLE_RATE, CONFIGS
from animeshooter_hf.toon import ToonFilm
from animeshooter_hf.video import cut_clip, encode_flac, read_audio, read_frames


@pytest.fixture(scope="module")
def films(toon_films: Path) -> Path:
    return toon_films


@pytest.fixture(scope="module")
def dataset(toon_build: Path) -> Path:
    return toon_build / "data"


def script(films: Path, video_id: str) -> dict:
    return json.loads((films / f"{video_id}.script.json").read_text())


def test_all_four_configs_open_with_plain_load_dataset(dataset: Path, tmp_path: Path) -> None:
    for config, features in CONFIGS.items():
        data = load_dataset(str(dataset), config, split="train", cache_dir=str(tmp_path))
        assert data.features == features
        assert len(data) > 0


def test_stories_are_those_of_the_scripts(films: Path, dataset: Path) -> None:
    for item in load_stories(dataset):
        (truth,) = script(films, item.story.video_id)["stories"]
        told = Story.from_json(truth)
        assert item.story.storyline == told.storyline
        assert item.story.characters == told.characters
        assert [(s.start_frame, s.end_frame, s.caption) for s in item.story.shots] == [
            (s.start_frame, s.end_frame, s.caption) for s in told.shots
        ]


def test_cutting_and_rereading_a_shot_gives_exactly_the_frames_of_the_film(films: Path, tmp_path: Path) -> None:
    path = films / "toon-0003.mp4"
    with av.open(str(path)) as container:
        whole = [frame.to_ndarray() for frame in container.decode(video=0)]
    for row in script(films, "toon-0003")["stories"][0]["shots"]:
        clip = cut_clip(path, row["start_frame"], row["end_frame"], lossless=True)
        part = tmp_path / "part.mkv"
        part.write_bytes(clip)
        with av.open(str(part)) as container:
            frames = [frame.to_ndarray() for frame in container.decode(video=0)]
        assert len(frames) == row["end_frame"] - row["start_frame"]
        assert all((one == whole[row["start_frame"] + n]).all() for n, one in enumerate(frames))


def test_each_frame_of_a_stored_clip_is_nearest_to_its_own_frame_of_the_film(films: Path, dataset: Path) -> None:
    item = load_stories(dataset).find("toon-0003_000")
    for index, shot in enumerate(item.shots[:4]):
        start, end = shot.start_frame or 0, shot.end_frame or 0
        truth = read_frames(films / "toon-0003.mp4", range(start, end)).astype(np.int16)
        for number, image in enumerate(item.frames(index)):
            errors = np.abs(truth - image).mean(axis=(1, 2, 3))
            # Held drawings are equal in the film, so the nearest frame need not be the only one.
            assert errors[number] <= errors.min() + 0.5


def test_masks_of_references_equal_the_truth(films: Path, dataset: Path) -> None:
    checked = 0
    for item in load_stories(dataset):
        film = ToonFilm.from_seed(int(item.story.video_id.split("-")[1]), SETTINGS)
        for reference in item.references():
            truth = film.masks(reference.frame_index)[reference.character_id]
            np.testing.assert_array_equal(reference.mask, truth)
            checked += 1
    assert checked > 5


def test_sound_lies_within_ten_milliseconds_of_the_truth(dataset: Path) -> None:
    checked = 0
    for item in load_stories(dataset):
        film = ToonFilm.from_seed(int(item.story.video_id.split("-")[1]), SETTINGS)
        truth = film.audio()
        for index, shot in enumerate(item.shots):
            if not item.has_audio(index):
                continue
            sound, rate = item.audio(index)
            assert rate == AUDIO_SAMPLE_RATE
            begin = round((shot.start_frame or 0) / SETTINGS.frame_rate * rate)
            expected = truth[0, begin : begin + sound.shape[1]]
            spectrum = np.fft.rfft(sound[0], 2 * len(expected)) * np.fft.rfft(expected, 2 * len(expected)).conj()
            lags = np.fft.irfft(spectrum)
            lag = int(np.argmax(lags))
            lag -= len(lags) if lag > len(lags) // 2 else 0
            assert abs(lag) <= 0.010 * rate
            checked += 1
    assert checked > 0


def test_workers_and_order_change_no_byte(films: Path, dataset: Path, tmp_path: Path) -> None:
    report = json.loads((dataset / "build_report.json").read_text())
    assert len(report["receipts"]) == 2
    paths = sorted(films.glob("*.mp4"), reverse=True)
    build_dataset(paths, tmp_path / "data", num_workers=1, progress=False)
    compare(dataset, tmp_path / "data")


def compare(dataset: Path, other: Path) -> None:
    paths = sorted(dataset.rglob("*.parquet"))
    assert len(paths) == len(CONFIGS)
    for path in paths:
        assert path.read_bytes() == (other / path.relative_to(dataset)).read_bytes()


def test_a_second_build_takes_every_film_from_its_receipt(films: Path, toon_build: Path, tmp_path: Path) -> None:
    out, work = copy_build(toon_build, tmp_path), tmp_path / ".data.work"
    before = {path: path.stat().st_mtime_ns for path in work.glob("*/*.json") if path.parent.name != "plans"}
    first = json.loads((out / "build_report.json").read_text())
    second = build_dataset([films], out, overwrite=True, progress=False)
    assert len(before) == 16
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (second.run.reused, sum(second.run.done.values())) == (16, 0)
    told = {**json.loads(json.dumps(second.to_json())), "out": first["out"]}
    assert told == {key: first[key] for key in told}


def test_a_killed_build_leaves_no_dataset_and_the_next_one_equals_an_undisturbed_one(
    films: Path, dataset: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "data", tmp_path / "work"
    words = ["build", str(films), "--out", str(out), "--work", str(work), "--workers", "1"]
    with subprocess.Popen([sys.executable, "-m", "animeshooter_hf", *words], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(work.glob("script/*.json")):
            time.sleep(0.02)
        process.kill()
    assert process.returncode == -9  # and not because it was done
    assert not out.exists()
    report = build_dataset([films], out, work=work, progress=False)
    assert report.run.reused >= 1
    compare(dataset, out)


def test_one_broken_film_harms_no_other(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    for path in films.glob("toon-0003.*"):
        shutil.copy2(path, folder)
    (folder / "cut-off.mp4").write_bytes((folder / "toon-0003.mp4").read_bytes()[:5000])
    (folder / "alone.mp4").write_bytes((folder / "toon-0003.mp4").read_bytes())
    assert main(["build", str(folder), "--out", str(tmp_path / "data"), "--json", "--workers", "1"]) == 1
    output = capsys.readouterr()
    summary = json.loads(output.out)
    assert summary["rows"]["stories"] == {"train": 1}
    reasons = {Path(film["film"]).stem: film["reason"] for film in summary["refused"]}
    assert "cannot be read as a video" in reasons["cut-off"]
    assert "no script" in reasons["alone"]
    assert summary["boundaries"]["num_matched"] > 0


BROKEN = {
    "kind": ({"format": "other"}, "JSON of another kind"),
    "version": ({"version": 7}, "version 7"),
    "frames": ({"num_frames": 3}, "tells of 3 frames"),
    "silent": ({"stories": []}, "tells no story"),
    "masks": ({"masks": {"Mia": 3}}, "is damaged"),
    "stories": ({"stories": [{"plot": 1}]}, "no story that holds"),
}
"""Name -> what is wrong with a script, and what is said of it."""


def break_script(films: Path, folder: Path, name: str) -> None:
    """Put a film under another name into a folder, with a script that does not hold."""
    shutil.copy(films / "toon-0003.mp4", folder / f"{name}.mp4")
    text = json.dumps({**script(films, "toon-0003"), **BROKEN[name][0]})
    (folder / f"{name}.script.json").write_text(text.replace("toon-0003", name))


@pytest.fixture(scope="module")
def refusals(films: Path, toon_build: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Film -> why it was left out of a build of one good film and all of `BROKEN`."""
    folder = tmp_path_factory.mktemp("broken")
    out = copy_build(toon_build, tmp_path_factory.mktemp("built"))
    for path in films.glob("toon-0003.*"):
        shutil.copy2(path, folder)
    for name in BROKEN:
        break_script(films, folder, name)
    report = build_dataset([folder], out, overwrite=True, progress=False)
    assert report.run.reused == 8  # the good film's
    return {Path(film["film"]).stem: film["reason"] for film in report.refused}


@pytest.mark.parametrize("name", BROKEN)
def test_scripts_that_do_not_hold_are_refused(refusals: dict[str, str], name: str) -> None:
    assert BROKEN[name][1] in refusals[name]
    assert set(refusals) == set(BROKEN)


def test_where_no_script_holds_the_build_is_refused_and_leaves_nothing(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    break_script(films, tmp_path / "films", "kind")
    assert main(["build", str(tmp_path / "films"), "--out", str(tmp_path / "data"), "--workers", "1"]) == 2
    error = capsys.readouterr().err
    assert BROKEN["kind"][1] in error
    assert not (tmp_path / "data").exists()


def test_bad_input_to_the_verb_is_refused_with_one_sentence(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    sound = tmp_path / "sound.mp4"
    sound.write_bytes(encode_flac(np.zeros((1, 44_100), np.float32), 44_100))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes((films / "toon-0003.mp4").read_bytes()[:5000])
    file = tmp_path / "file"
    file.write_text("kept")
    here = sorted(path.name for path in tmp_path.iterdir())
    for words, message in [
        ([tmp_path / "absent"], "There is no file or folder"),
        ([tmp_path / "empty"], "holds no film"),
        ([sound], "holds only sound"),
        ([broken], "cannot be read as a video"),
        ([films, "--workers", "0"], "number of workers"),
        ([films, "--out", file], "is a file"),
        ([films, "--out", file / "data"], "cannot be written"),
        ([films, "--out", films], "The films lie in"),
    ]:
        arguments = [str(word) for word in words]
        if "--out" not in arguments:
            arguments += ["--out", str(tmp_path / "data")]
        assert main(["build", *arguments]) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == here
    assert file.read_text() == "kept"


def test_a_film_whose_name_cannot_be_an_id_is_refused(films: Path, tmp_path: Path) -> None:
    name = tmp_path / "..;rm.mp4"
    shutil.copy(films / "toon-0003.mp4", name)
    assert main(["build", str(name), "--out", str(tmp_path / "data")]) == 2


def test_stories_that_do_not_tile_their_segment_are_reported() -> None:
    shots = [
        Shot(shot_id="a", index=0, start_frame=0, end_frame=10, characters=("Ghost",), descriptive_caption="x"),
        Shot(shot_id="b", index=1, start_frame=12, end_frame=12, scene="Nowhere", descriptive_caption="x"),
        Shot(shot_id="c", index=2, start_frame=11, end_frame=15),
        Shot(shot_id="d", index=3, descriptive_caption="x"),
    ]
    story = Story(video_id="v", story_id="v_000", start_frame=0, end_frame=20, shots=shots)
    codes = {problem.code for problem in validate_story(story, 20)}
    assert codes == {
        "gap", "overlap", "empty_shot", "undeclared_character", "undeclared_scene", "no_caption", "no_time", "coverage"
    }  # fmt: skip
    assert [problem.code for problem in validate_story(story, 10)] == ["outside_film"]
    empty = Story(video_id="v", story_id="v_000", start_frame=0, end_frame=20)
    assert "no_shots" in {problem.code for problem in validate_story(empty, 20)}


def test_the_stored_rows_of_the_report_are_counted_by_reason(films: Path, dataset: Path) -> None:
    report = json.loads((dataset / "build_report.json").read_text())
    rows = pq.read_metadata(next((dataset / "references").glob("*.parquet"))).num_rows
    assert 0 < rows <= report["references"]["kept"]
    verdicts = [verdict for receipt in report["receipts"] for verdict in receipt["verdicts"]]
    assert len(verdicts) == sum(report["references"].values())
    assert read_audio(films / "toon-0003.mp4")[1] == AUDIO_SAMPLE_RATE
