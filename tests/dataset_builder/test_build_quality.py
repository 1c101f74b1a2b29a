"""What a build checks over all films, and how it is looked after: copies, takedowns, rights, private data, status."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import pytest
from toon_films import SETTINGS, copy_build

from animeshooter_hf import load_stories
from animeshooter_hf.command_line import main
from animeshooter_hf.dataset_builder.build import build_dataset
from animeshooter_hf.dataset_builder.build_settings import BuildSettings
from animeshooter_hf.takedown import hash_id
from animeshooter_hf.video import iter_frames, read_audio, write_video


@pytest.fixture(scope="module")
def films(toon_films: Path) -> Path:
    return toon_films


@pytest.fixture(scope="module")
def built(toon_build: Path) -> Path:
    return toon_build / "data"


def scripts(films: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(films.glob("*.script.json"))]


def test_the_statistics_of_a_rebuilt_dataset_are_those_of_the_scripts(films: Path, built: Path) -> None:
    stories = [story for script in scripts(films) for story in script["stories"]]
    shots = [shot for story in stories for shot in story["shots"]]

    def words(text: str | None) -> int:
        return len((text or "").split())

    truth = {
        "videos": 2,
        "stories": len(stories),
        "shots": len(shots),
        "stories_per_video": len(stories) / 2,
        "shots_per_story": len(shots) / len(stories),
        "video_seconds": 12.0,
        "story_seconds": fmean((one["end_frame"] - one["start_frame"]) / 12 for one in stories),
        "shot_seconds": fmean((one["end_frame"] - one["start_frame"]) / 12 for one in shots),
        "storyline_words": fmean(words(one["storyline"]) for one in stories),
        "characters_per_story": fmean(len(one["main_characters"]) for one in stories),
        "scenes_per_story": fmean(len(one["main_scenes"]) for one in stories),
        "narrative_words": fmean(words(one["narrative_caption"]) for one in shots),
        "descriptive_words": fmean(words(one["descriptive_caption"]) for one in shots),
    }
    told = json.loads((built / "build_report.json").read_text())["quality"]["statistics"]
    found = {**told["counts"], **{name: one["mean"] for name, one in told["distributions"].items()}}
    assert {name: found[name] for name in truth} == pytest.approx(truth, rel=1e-12)
    assert json.loads((built / "report" / "statistics.json").read_text())


def test_the_report_page_shows_pictures_that_are_there(built: Path) -> None:
    page = (built / "report" / "index.html").read_text()
    pictures = [path for path in (built / "report" / "pictures").rglob("*") if path.is_file()]
    assert len(pictures) >= 6
    assert all(path.name in page for path in pictures)


def copy_as(films: Path, folder: Path, source: str, name: str, change: Callable[[str], str] = str) -> None:
    """Put another encoding of a film into a folder, with its script under another name."""
    path = films / f"{source}.mp4"
    audio, rate = read_audio(path)
    frames = (frame.image for frame in iter_frames(path))
    write_video(folder / f"{name}.mp4", frames, SETTINGS.frame_rate, audio=audio, sample_rate=rate, crf=30)
    text = (films / f"{source}.script.json").read_text().replace(source, name)
    (folder / f"{name}.script.json").write_text(change(text))


def test_a_copy_of_a_film_is_left_out_and_says_of_which(films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    copy_as(films, folder, "toon-0003", "zz-copy")
    report = build_dataset([folder], tmp_path / "data", settings=BuildSettings(media="none"), progress=False)
    assert [(Path(one["film"]).stem, one["reason"]) for one in report.refused] == [
        ("zz-copy", "duplicate_of:toon-0003")
    ]
    assert {item.story.video_id for item in load_stories(tmp_path / "data")} == {"toon-0003", "toon-0004"}


def test_what_is_on_the_takedown_list_is_never_built_and_the_list_goes_along_hashed(
    films: Path, tmp_path: Path
) -> None:
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("# asked for by mail\ntoon-0003\nstory:toon-0004_000\n")
    words = ["build", str(films), "--out", str(tmp_path / "data"), "--takedown", str(takedown), "--workers", "1"]
    assert main(words) == 2
    takedown.write_text("# asked for by mail\ntoon-0003\n")
    assert main([*words, "--json"]) == 1
    assert {item.story.video_id for item in load_stories(tmp_path / "data")} == {"toon-0004"}
    kept = (tmp_path / "data" / "takedown.txt").read_text()
    assert hash_id("toon-0003") in kept
    assert "toon-0003" not in kept
    assert not list((tmp_path / ".data.work").glob("*/toon-0003*"))


def test_private_data_is_reported_and_taken_out_of_every_config_if_asked(films: Path, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    folder.mkdir()

    def leak(text: str) -> str:
        script = json.loads(text)
        script["stories"][0]["storyline"] += " Write to someone@example.org."
        script["stories"][0]["shots"][0]["descriptive_caption"] += " Call +1 212 555 0147."
        return json.dumps(script)

    copy_as(films, folder, "toon-0003", "leaky", leak)
    words = ["build", str(folder), "--work", str(tmp_path / "work"), "--workers", "1"]
    assert main([*words, "--out", str(tmp_path / "told")]) == 0
    report = json.loads((tmp_path / "told" / "build_report.json").read_text())
    assert report["quality"]["private_data"] == {"email": 1, "phone": 1}
    assert "someone@example.org" in everything(tmp_path / "told")
    assert main([*words, "--out", str(tmp_path / "clean"), "--private-data", "redact"]) == 0
    text = everything(tmp_path / "clean")
    assert "someone@example.org" not in text
    assert "555 0147" not in text


def everything(out: Path) -> str:
    """Return all texts of all configs."""
    rows = []
    for path in out.rglob("*.parquet"):
        names = [
            name for name in pq.read_schema(path).names if name not in ("video", "audio", "image", "cutout", "mask")
        ]
        rows.append(json.dumps(pq.read_table(path, columns=names).to_pylist()))
    return "".join(rows)


def test_rights_and_rating_stand_in_the_rows(films: Path, toon_build: Path, tmp_path: Path) -> None:
    copy_build(toon_build, tmp_path)
    rights = tmp_path / "rights.csv"
    rights.write_text("video_id,license,author,basis\ntoon-0003,CC-BY-4.0,Studio A,cc\n")
    words = ["build", str(films), "--out", str(tmp_path / "data"), "--rights", str(rights), "--overwrite"]
    assert main(words) == 0
    rows = {row["video_id"]: row for row in pq.read_table(tmp_path / "data" / "stories").to_pylist()}
    assert rows["toon-0003"]["license"] == "CC-BY-4.0"
    assert rows["toon-0004"]["license"] == "Apache-2.0"
    assert {row["rating"] for row in rows.values()} == {"general"}


def test_a_finished_build_is_not_written_again_and_another_one_is_refused(
    films: Path, toon_build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_build(toon_build, tmp_path)
    words = ["build", str(films), "--out", str(tmp_path / "data")]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert main(words) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    capsys.readouterr()
    assert main([*words, "--media", "none"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_status_explain_and_retry_tell_how_films_stand(
    films: Path, toon_build: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "films"
    shutil.copytree(films, folder)
    (folder / "alone.mp4").write_bytes((films / "toon-0003.mp4").read_bytes())
    out, work = tmp_path / "data", str(tmp_path / ".data.work")
    copy_build(toon_build, tmp_path)
    assert main(["build", str(folder), "--out", str(out), "--workers", "1", "--overwrite"]) == 1
    capsys.readouterr()
    assert main(["build", "status", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["films"] == 3
    assert told["stages"]["clips"] == {"done": 2, "not needed": 1}
    (missing,) = told["not_there"]
    assert (missing["film"], missing["stage"], missing["state"]) == ("alone", "admit", "dropped")
    assert main(["build", "status", work]) == 0
    assert "dropped: alone/admit: " in capsys.readouterr().out
    assert main(["build", "explain", work, "alone"]) == 0
    assert "no model is named" in capsys.readouterr().out
    assert main(["build", "explain", work, "toon-0003/scan"]) == 0
    assert "boundaries" in capsys.readouterr().out
    assert main(["build", "retry", work]) == 0
    assert "0 units" in capsys.readouterr().out
    for words, message in (
        (["explain", work, "nobody"], "knows no film"),
        (["explain", work, "alone/paint"], "no stage"),
        (["explain", work], "takes the work folder and"),
        (["status", str(tmp_path / "absent")], "is no work folder"),
        (["pour", work, "results.jsonl"], "needs the options of its model"),
    ):
        assert main(["build", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
