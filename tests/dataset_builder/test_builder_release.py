"""`AnimeShooterBuilder` over the public release: in one process or in several, the same stories in the same order."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf import AnimeShooterBuilder, Story
from animeshooter_hf.dataset_builder.release.files import iter_release_files
from animeshooter_hf.dataset_builder.release.pieces import read_release_shard, split_release
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_files
from animeshooter_hf.dataset_builder.splits import SplitSettings, split_videos
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.takedown import TakedownList, hash_id

VIDEOS = [f"v{number:02d}" for number in range(24)]


def release(video_id: str, storyline: str = "A day.", segments: int = 1) -> dict[str, Any]:
    script = {
        "storyline": storyline,
        "main characters": [{"ID": "Mia", "appearance": "grey"}],
        "main settings": [{"ID": "Park", "environment": "grass"}],
        "shots": [
            {
                "start time": "00:00", "end time": "00:04", "is_prologue_or_epilogue": False,
                "main characters": ["Mia"], "setting": "Park",
                "visual annotation": {"narrative caption": "Mia runs.", "descriptive caption": "Somebody runs."},
            }
        ],
    }  # fmt: skip
    made = [
        {
            "start frame index": 120 * n,
            "end frame index": 120 * n + 120,
            "story script": script,
            "reference images": [],
        }
        for n in range(segments)
    ]
    return {"video ID": video_id, "url": "https://example.org", "fps": 30.0, "segments": made}


def write_folder(folder: Path, videos: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in videos:
        (folder / f"{name}.json").write_text(json.dumps(release(name)))
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip with one file per video, some of which are told again elsewhere, told otherwise, or broken."""
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in VIDEOS:
            packed.writestr(f"data/{name}.json", json.dumps(release(name, segments=2)))
        packed.writestr("again/v03.json", json.dumps(release("v03", segments=2)))  # the same once more
        packed.writestr("again/v05.json", json.dumps(release("v05", "Another day.")))  # numbered on
        packed.writestr(
            "again/both.json", json.dumps([release("v07", "A third day."), release("v21", "A fourth day.")])
        )
        packed.writestr("again/broken.json", "{")
    return path


def build(data_dir: Path, cache: Path, config: str = "stories", **options: Any) -> AnimeShooterBuilder:
    return AnimeShooterBuilder(config_name=config, data_dir=data_dir, cache_dir=str(cache), **options)


def prepare(data_dir: Path, cache: Path, num_proc: int | None = None, **options: Any) -> dict[str, list[str]]:
    """Split -> story IDs."""
    builder = build(data_dir, cache, **options)
    builder.download_and_prepare(num_proc=num_proc)
    return {split: list(rows["story_id"]) for split, rows in builder.as_dataset().items()}


def in_one_reading(path: Path) -> list[Story]:
    log = ProblemLog()
    return [told for _, told in read_release_files(iter_release_files(path, log), log)]


def test_a_release_is_built_and_streamed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "release", ["one", "two"])
    builder = build(folder, tmp_path / "cache")
    builder.download_and_prepare()
    rows = builder.as_dataset(split="train")
    assert rows.features == CONFIGS["stories"]
    assert [Story.from_dataset_row(row) for row in rows] == in_one_reading(folder)
    assert list(build(folder, tmp_path / "other").as_streaming_dataset(split="train")) == list(rows)


def test_any_number_of_processes_gives_the_same_rows_in_the_same_order(archive: Path, tmp_path: Path) -> None:
    alone = prepare(archive, tmp_path / "one")
    assert prepare(archive, tmp_path / "three", num_proc=3) == alone
    streamed = build(archive, tmp_path / "streamed").as_streaming_dataset()
    assert {split: [row["story_id"] for row in rows] for split, rows in streamed.items()} == alone


def test_shards_give_together_what_one_reading_gives(archive: Path) -> None:
    shards = split_release(archive, takedown=TakedownList(), progress=False)
    told = [one for those in shards.values() for shard in those for one in read_release_shard(shard, TakedownList())]
    expected = in_one_reading(archive)
    assert len(told) == len(expected) == 2 * len(VIDEOS) + 3
    assert sorted(told, key=lambda one: one.story_id) == sorted(expected, key=lambda one: one.story_id)


def test_what_is_told_of_one_video_in_two_files_stays_in_one_shard(archive: Path) -> None:
    shards = split_release(archive, takedown=TakedownList(), progress=False)
    pieces = [piece for those in shards.values() for shard in those for piece in shard]
    names = sorted([file.name.split("/")[-1] for file in piece.files] for piece in pieces if len(piece.files) > 1)
    assert ["v05.json", "v05.json"] in names
    assert ["v07.json", "v21.json", "both.json"] in names
    assert len(shards["train"]) > 10


def test_splits_are_those_of_ingest(archive: Path, tmp_path: Path) -> None:
    videos = split_videos(VIDEOS, SplitSettings())
    found = prepare(archive, tmp_path / "cache")
    assert list(found) == list(videos)
    assert {split: sorted({one[:3] for one in ids}) for split, ids in found.items()} == videos


def test_a_release_of_one_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(json.dumps([release(name) for name in VIDEOS]))
    found = prepare(path, tmp_path / "cache", num_proc=2)
    assert sorted(one for ids in found.values() for one in ids) == [f"{name}_000" for name in VIDEOS]


def test_a_changed_release_is_never_served_stale(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two", "three"), start=1):
        folder = write_folder(tmp_path / "release", [name])
        assert len(prepare(folder, tmp_path / "cache")["train"]) == number


def test_an_unchanged_release_is_served_from_the_cache(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "release", ["one"])
    prepare(folder, tmp_path / "cache")
    written = {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.arrow")}
    prepare(folder, tmp_path / "cache")
    assert written
    assert {path: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.arrow")} == written


def test_the_list_beside_a_release_is_obeyed_and_part_of_the_key(archive: Path, tmp_path: Path) -> None:
    before = prepare(archive, tmp_path / "cache")
    (tmp_path / "takedown.txt").write_text(f"v05\nstory:{hash_id('v06_001')}\n")
    after = prepare(archive, tmp_path / "cache", takedown=TakedownList(video_ids=frozenset(["v07"])))
    gone = {one for ids in before.values() for one in ids} - {one for ids in after.values() for one in ids}
    assert gone == {"v05_000", "v05_001", "v05_002", "v06_001", "v07_000", "v07_001", "v07_002"}


def test_a_release_has_no_media(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "release", ["one"])
    with pytest.raises(InputError, match="annotations only, so it has no shots"):
        build(folder, tmp_path / "cache", "shots")


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds neither .json nor .zip files"):
        build(tmp_path / "empty", tmp_path / "cache")


def test_a_release_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "release", ["one"])
    with pytest.raises(InputError, match="holds no story"):
        prepare(folder, tmp_path / "cache", takedown=TakedownList(video_ids=frozenset(["one"])))


def test_a_file_that_changes_between_two_readings_is_an_error(archive: Path) -> None:
    shards = split_release(archive, takedown=TakedownList(), progress=False)["train"]
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(InputError, match="has changed while the release was read"):
        list(read_release_shard(shards[0], TakedownList()))
