"""`animeshooter stats` tells of a dataset folder and of a release what plain loops over their files tell."""

import argparse
import hashlib
import json
import statistics
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging_stories import Films, film, story

from animeshooter_hf import Story
from animeshooter_hf.dataset_builder.package import SplitSettings, write_dataset
from animeshooter_hf.dataset_builder.release.rewrite import to_release_json
from animeshooter_hf.dataset_builder.stats_command import add_arguments, run
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.statistics import PAPER_TABLE_1


def stats(*words: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def make_story(video_id: str, segment: int) -> Story:
    """A story whose captions name its video, and whose shots have unequal lengths."""
    made = story(video_id, segment, num_shots=2 + segment)
    shots = [
        replace(
            shot,
            end_frame=(shot.start_frame or 0) + 10 + shot.index,
            end_seconds=None if shot.start_seconds is None else shot.start_seconds + (10 + shot.index) / 24,
            descriptive_caption=f"{video_id} does {shot.index}" + " and again" * (shot.index + segment),
        )
        for shot in made.shots
    ]
    return replace(made, shots=tuple(shots), storyline=f"The long day of {video_id}.")


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    """Twelve videos, the last one without a film, one story told twice."""
    made = [make_story(f"v{number:02d}", segment) for number in range(12) for segment in range(1 + number % 2)]
    again = replace(made[2], story_id="v01_007")
    shots = tuple(replace(shot, shot_id=f"{shot.shot_id}b") for shot in again.shots)
    return [*made, replace(again, shots=shots)]


@pytest.fixture(scope="module")
def folder(stories: list[Story], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stats")
    (root / "films").mkdir()
    first = film(root / "films", "v00")
    for number in range(1, 11):
        (root / "films" / f"v{number:02d}.mp4").write_bytes(first.read_bytes())
    splits = SplitSettings(validation=0.2, test=0.2)
    write_dataset(root / "ds", stories, media=Films(root / "films"), splits=splits, progress=False)
    return root / "ds"


def rows_of(folder: Path, config: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((folder / config).glob("*.parquet")):
        found.setdefault(path.name.split("-")[0], []).extend(pq.read_table(path).to_pylist())
    return found


def count_by_hand(rows: list[dict[str, Any]]) -> dict[str, list[Fraction]]:
    shots = [shot for row in rows for shot in row["shots"]]
    videos = Counter(row["video_id"] for row in rows)
    return {
        "stories_per_video": [Fraction(number) for number in videos.values()],
        "shots_per_story": [Fraction(len(row["shots"])) for row in rows],
        "story_seconds": [Fraction(row["end_frame"] - row["start_frame"], 24) for row in rows],
        "shot_seconds": [Fraction(shot["end_frame"] - shot["start_frame"], 24) for shot in shots],
        "storyline_words": [Fraction(len(row["storyline"].split())) for row in rows],
        "descriptive_words": [Fraction(len(shot["descriptive_caption"].split())) for shot in shots],
        "narrative_words": [Fraction(len(shot["narrative_caption"].split())) for shot in shots],
    }


def test_every_split_and_the_whole_are_counted_exactly(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stats(folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    by_split = rows_of(folder, "stories")
    assert set(told["splits"]) == set(by_split) == {"train", "validation", "test"}
    whole = [row for rows in by_split.values() for row in rows]
    for found, rows in [(told, whole), *((told["splits"][split], rows) for split, rows in by_split.items())]:
        assert found["counts"]["stories"] == len(rows)
        assert found["counts"]["shots"] == sum(len(row["shots"]) for row in rows)
        assert found["counts"]["references_without_mask"] == 0
        assert found["counts"]["references"] == 2 * len(rows)
        for name, values in count_by_hand(rows).items():
            one = found["distributions"][name]
            assert (one["known"], one["unknown"]) == (len(values), 0)
            assert one["mean"] == float(sum(values) / len(values)), name
            assert (one["minimum"], one["maximum"]) == (float(min(values)), float(max(values)))
            assert one["median"] == float(statistics.median(values))
    table = {(row["level"], row["name"]): row for row in told["table_1"]}
    assert table["shot", "total"]["value"] == sum(len(row["shots"]) for row in whole)
    assert table["shot", "total"]["paper"] == PAPER_TABLE_1["shots"]


def test_clips_that_are_missing_equal_or_in_two_splits_are_found(
    folder: Path, stories: list[Story], capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats(folder, "--media", "all", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    clips = rows_of(folder, "shots")
    hashes: dict[bytes, list[tuple[str, str]]] = {}
    for split, rows in clips.items():
        for row in rows:
            hashes.setdefault(hashlib.sha256(row["video"]["bytes"]).digest(), []).append((split, row["video_id"]))
    equal = [places for places in hashes.values() if len(places) > 1]
    assert told["media"]["num_equal_groups"] == len(equal) > 1
    assert told["media"]["equal_clips"][0]["number"] == max(len(places) for places in equal)
    assert {finding["code"] for finding in told["leakage"]} == {"group_in_two_splits"}
    assert told["missing_media"]["shots_without_clip"] == sum(
        len(one.shots) for one in stories if one.video_id == "v11"
    )
    assert told["missing_media"]["clips_without_shot"] == 0
    assert told["missing_media"]["references"]["unverified"] == sum(
        len(rows) for rows in rows_of(folder, "references").values()
    )
    video = told["media"]["columns"]["shots.video"]
    sizes = [len(row["video"]["bytes"]) for rows in clips.values() for row in rows]
    assert (video["num_rows"], video["num_read"], video["num_broken"]) == (len(sizes), len(sizes), 0)
    assert video["num_bytes"]["mean"] == float(Fraction(sum(sizes), len(sizes)))
    assert 0 <= video["total_bytes"] - sum(sizes) < 200 * len(sizes)
    assert video["kinds"]["size"] == {"64x48": len(sizes)}
    assert video["kinds"]["frame rate"] == {"24": len(sizes)}
    assert told["media"]["columns"]["audio.audio"]["kinds"]["codec"].keys() == {"flac"}
    assert told["media"]["is_whole"]


def test_the_text_says_what_is_nearly_the_same_and_names_no_leak_without_media(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stats(folder, "--media", "none") == 0
    text = capsys.readouterr().out
    assert "v01_001  v01_007" in text
    assert "no video, and no group of videos that share a clip, is in two splits" in text
    for words in ("148,000", "By split", "validation", "What may be wrong", "shots without a clip", "Sounds"):
        assert words in text
    assert "shots.video" not in text


def test_one_split_is_counted_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stats(folder, "--split", "test", "--json", "--sample", 2) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["stories"] == len(rows_of(folder, "stories")["test"])
    assert list(told["splits"]) == ["test"]
    video = told["media"]["columns"]["shots.video"]
    assert (video["num_rows"], video["num_read"]) == (len(rows_of(folder, "shots")["test"]), 2)
    assert not told["media"]["is_whole"]


def test_files_and_plots_are_written(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    out, plots = tmp_path / "out", tmp_path / "plots"
    assert stats(folder, "--media", "none", "--out", out, "--plots", plots) == 0
    text = capsys.readouterr().out
    assert (out / "dataset_stats.txt").read_text() == text
    names = ("statistics.json", "statistics.txt", "dataset_stats.json", "dataset_stats.txt")
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    assert json.loads((out / "statistics.json").read_text())["counts"]["videos"] == 12
    drawn = {path.name for path in plots.iterdir()}
    assert drawn == {"distributions.svg", "table_1.svg", "flags.svg", "splits.svg", "sounds.svg"}
    for path in plots.iterdir():
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_a_clip_that_does_not_open_is_counted_and_makes_the_exit_status_1(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pq.read_table(next((folder / "shots").glob("train-*")))
    cells = table["video"].to_pylist()
    cells[1] = {"bytes": b"no video", "path": "a.mp4"}
    cells[2] = {"bytes": None, "path": None}
    number = table.schema.get_field_index("video")
    broken = table.set_column(number, table.schema.field("video"), pa.array(cells, table.schema.field("video").type))
    for config in ("stories", "shots"):
        (tmp_path / config).mkdir()
    name = "train-00000-of-00001.parquet"
    pq.write_table(broken, tmp_path / "shots" / name)
    (tmp_path / "stories" / name).write_bytes((folder / "stories" / name).read_bytes())
    assert stats(tmp_path, "--json") == 1
    video = json.loads(capsys.readouterr().out)["media"]["columns"]["shots.video"]
    assert (video["num_broken"], video["num_missing"]) == (1, 1)
    assert video["num_read"] == table.num_rows


def test_what_the_takedown_list_names_is_not_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "stories").mkdir()
    for path in (folder / "stories").iterdir():
        (tmp_path / "stories" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "takedown.txt").write_text("v03\n")
    assert stats(tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["counts"]["videos"] == 11


def test_a_release_is_counted_and_what_it_lost_is_told(
    stories: list[Story], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [one for one in stories if one.video_id == "v00"]
    (tmp_path / "v00.json").write_text(json.dumps(to_release_json(chosen)))
    (tmp_path / "v99.json").write_text("[{")
    assert stats(tmp_path, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["counts"]["stories"] == len(chosen)
    assert told["counts"]["shots"] == sum(len(one.shots) for one in chosen)
    assert sum(told["lost_records"].values()) == 1
    assert told["media"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere/at/all"], "There is no file or folder"),
        (["FOLDER", "--split", "dev"], "has no split 'dev'. Its splits: train, validation, test."),
        (["FOLDER", "--sample", "0"], "--sample must be at least 1"),
        (["FOLDER", "--shortest-shot", "9", "--longest-shot", "1"], "must not be longer"),
        (["FOLDER", "--out", "FOLDER/README.md"], "is a file, not a folder"),
    ],
)
def test_what_cannot_be_counted_is_refused(folder: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        stats(*(word.replace("FOLDER", str(folder)) for word in words))


def test_a_folder_of_broken_parquet_or_of_no_story_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stories").mkdir()
    with pytest.raises(InputError, match="holds no stories"):
        stats(tmp_path)
    path = tmp_path / "stories" / "train-00000-of-00001.parquet"
    path.write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        stats(tmp_path)
    pq.write_table(CONFIGS["stories"].arrow_schema.empty_table(), path)
    with pytest.raises(InputError, match="holds no story that can be counted"):
        stats(tmp_path)
