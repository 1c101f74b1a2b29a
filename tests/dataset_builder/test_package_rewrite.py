"""A dataset is written anew without what must go; everything else keeps its bytes, and nothing names what is gone."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.package import SplitSettings, read_dataset_report, write_dataset
from animeshooter_hf.dataset_builder.package_rewrite import FolderSource, Selection, rewrite_dataset
from animeshooter_hf.dataset_builder.package_writer import WriterSettings
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.dataset_builder.release.extras import FileExtras, VideoExtras
from animeshooter_hf.dataset_builder.release.rewrite import find_spelling
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.takedown import TakedownList, hash_id
from animeshooter_hf.video import write_video

sys.path.insert(0, str(Path(__file__).parent))
from packaging_stories import RATE, Films, film, frame, story

VIDEOS = [f"film-{n}" for n in range(10)]
GONE = "film-3"
KEPT = [name for name in VIDEOS if name != GONE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten videos of two stories each, in three splits and several shards, with reports beside them."""
    root = tmp_path_factory.mktemp("rewritten")
    for video_id in VIDEOS:
        film(root, video_id, num_frames=24)
    # One looks like no other.
    sound = np.zeros((1, 44_100), np.float32)
    write_video(root / f"{GONE}.mp4", [255 - frame(number) for number in range(24)], RATE, audio=sound)
    late = replace(story(GONE, 7, num_shots=3), references=())
    write_dataset(
        root / "data",
        [late, *(story(video_id, segment, num_shots=2) for video_id in VIDEOS for segment in range(2))],
        media=Films(root),
        splits=SplitSettings(validation=0.2, test=0.2),
        rights={name: VideoRights(video_id=name, basis="owned", redistributable=True) for name in VIDEOS},
        provenance={"films": VIDEOS, "stages": {"scan": {"version": 1}}},
        writer=WriterSettings(row_group_bytes=10_000, shard_bytes=25_000),
        progress=False,
    )
    extras = [_extras(name, [f"{name}_000", f"{name}_001"]) for name in VIDEOS]
    (root / "data" / "release_extras.jsonl").write_text("".join(one.to_line() for one in extras))
    (root / "data" / "LICENSE").write_text("Do what you may.")
    (root / "data" / "build_report.json").write_text(json.dumps({"films": VIDEOS}))
    (root / "data" / "report").mkdir()
    (root / "data" / "report" / "film-3.jpg").write_bytes(b"a picture")
    return root / "data"


@pytest.fixture(autouse=True)
def clean_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def _extras(name: str, story_ids: list[str]) -> FileExtras:
    video = VideoExtras(path=(), shape="list", story_ids=tuple(story_ids), spelling=find_spelling({}))
    return FileExtras(file=f"{name}.json", videos=(video,), changes=())


def _takedown(*video_ids: str, stories: tuple[str, ...] = ()) -> TakedownList:
    return TakedownList(video_ids=frozenset(video_ids), story_ids=frozenset(stories))


def _rows(folder: Path, config: str) -> list[dict[str, object]]:
    return [row for path in sorted((folder / config).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _ids(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row.get(key) for key in ("story_id", "shot_id", "character_id", "frame_index"))


def test_a_video_that_is_taken_down_leaves_every_config_and_every_other_row_keeps_its_bytes(
    folder: Path, tmp_path: Path
) -> None:
    report = rewrite_dataset(
        FolderSource(folder), tmp_path / "new", Selection(takedown=_takedown(hash_id(GONE))), progress=False
    )
    for config in CONFIGS:
        expected = [row for row in _rows(folder, config) if row["video_id"] != GONE]
        assert sorted(_rows(tmp_path / "new", config), key=_ids) == sorted(expected, key=_ids)
        assert report.removed_rows[config] == len(_rows(folder, config)) - len(expected) > 0
        shown = load_dataset(str(tmp_path / "new"), config)
        assert sum(part.num_rows for part in shown.values()) == len(expected)
    assert report.removed_stories == ("film-3_000", "film-3_001", "film-3_007")


def test_nothing_in_the_new_folder_names_or_shows_what_was_taken_down(folder: Path, tmp_path: Path) -> None:
    pictures = [row["image"]["bytes"] for row in _rows(folder, "references") if row["video_id"] == GONE]  # type: ignore[index]
    clips = [row["video"]["bytes"] for row in _rows(folder, "shots") if row["video_id"] == GONE]  # type: ignore[index]
    stored = b"".join(path.read_bytes() for path in folder.rglob("*.parquet"))
    assert all(one in stored for one in [*pictures, *clips])  # media are stored as they are, so they can be found
    rewrite_dataset(FolderSource(folder), tmp_path / "new", Selection(takedown=_takedown(GONE)), progress=False)
    for name, data in _files(tmp_path / "new").items():
        assert GONE.encode() not in data, name
        assert not any(one in data for one in [*pictures, *clips]), name
    manifest = DatasetManifest.read(tmp_path / "new")
    assert sorted(name for names in manifest.splits.values() for name in names) == KEPT
    assert sorted(manifest.rights) == manifest.provenance["films"] == KEPT
    assert all(name.startswith(("film-3_007", "reference of Mia")) for name, _ in DatasetManifest.read(folder).skipped)
    assert not any(GONE in what for what, _ in manifest.skipped)
    assert (tmp_path / "new" / "takedown.txt").read_text() == f"{hash_id(GONE)}\n"


def test_shards_without_a_hit_are_the_very_same_files(folder: Path, tmp_path: Path) -> None:
    report = rewrite_dataset(
        FolderSource(folder), tmp_path / "new", Selection(takedown=_takedown(GONE)), progress=False
    )
    shards = {shard.path for shard in DatasetManifest.read(folder).shards}
    assert 0 < len(report.carried) < len(shards)
    for path in report.carried:
        assert (tmp_path / "new" / path).samefile(folder / path)
    for shard in report.manifest.shards:
        data = report.files[shard.path].read_bytes()
        assert (shard.num_bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert shard.num_rows == pq.read_metadata(report.files[shard.path]).num_rows
    assert {*report.carried, *report.removed_shards} < shards


def test_a_selection_that_takes_nothing_gives_the_same_folder_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    report = rewrite_dataset(FolderSource(folder), tmp_path / "new", Selection(), progress=False)
    old = {name: data for name, data in _files(folder).items() if not name.startswith(("build_report", "report/"))}
    assert _files(tmp_path / "new") == old
    assert sorted(report.files) == sorted(old)
    assert (report.removed_rows, report.removed_stories, report.removed_shards) == ({}, (), ())


def test_one_story_can_go_and_its_video_stays(folder: Path, tmp_path: Path) -> None:
    selection = Selection(takedown=_takedown(stories=("film-3_001",)))
    report = rewrite_dataset(FolderSource(folder), tmp_path / "new", selection, progress=False)
    assert report.removed_stories == ("film-3_001",)
    assert {row["story_id"] for row in _rows(tmp_path / "new", "shots") if row["video_id"] == GONE} == {
        "film-3_000",
        "film-3_007",
    }
    assert GONE in report.manifest.rights
    lines = (tmp_path / "new" / "release_extras.jsonl").read_text().splitlines()
    assert [FileExtras.from_line(line).file for line in lines] == [f"{name}.json" for name in KEPT]


def test_videos_without_permission_keep_their_stories_and_lose_their_pixels_with_a_reason(
    folder: Path, tmp_path: Path
) -> None:
    selection = Selection(without_pixels={GONE: "It may not be shown."}, rights_policy="full")
    report = rewrite_dataset(FolderSource(folder), tmp_path / "new", selection, progress=False)
    assert _rows(tmp_path / "new", "stories") == _rows(folder, "stories")
    for config in ("shots", "references", "audio"):
        assert {row["video_id"] for row in _rows(tmp_path / "new", config)} == set(KEPT)
    assert (GONE, "It may not be shown.") in report.manifest.skipped
    assert report.manifest.rights_policy == "full"
    assert report.removed_stories == ()
    assert "stories" not in report.removed_rows


def test_configs_that_are_left_out_or_empty_are_in_neither_card_nor_croissant(folder: Path, tmp_path: Path) -> None:
    by_choice = Selection(configs=("stories",), rights_policy="annotations-only")
    by_rights = Selection(without_pixels=dict.fromkeys(VIDEOS, "No."), rights_policy="full")
    for name, selection in (("choice", by_choice), ("rights", by_rights)):
        new = tmp_path / name
        report = rewrite_dataset(FolderSource(folder), new, selection, progress=False)
        assert sorted(path.name for path in new.iterdir() if path.is_dir()) == ["stories"]
        assert report.removed_rows == {config: len(_rows(folder, config)) for config in list(CONFIGS)[1:]}
        assert [config.name for config in report.manifest.configs()] == ["stories"]
        assert "shots/train" not in (new / "README.md").read_text() + (new / "croissant.json").read_text()
        assert load_dataset(str(new), split="test").features == CONFIGS["stories"]


def test_reports_of_a_build_do_not_go_along(folder: Path, tmp_path: Path) -> None:
    report = rewrite_dataset(FolderSource(folder), tmp_path / "new", Selection(), progress=False)
    assert not any("report" in name for name in report.files)
    assert (tmp_path / "new" / "LICENSE").read_text() == "Do what you may."


def test_the_list_that_a_dataset_carries_is_obeyed_and_merged(folder: Path, tmp_path: Path) -> None:
    rewrite_dataset(FolderSource(folder), tmp_path / "one", Selection(), progress=False)
    (tmp_path / "one" / "takedown.txt").write_text("film-5\n")
    report = rewrite_dataset(
        FolderSource(tmp_path / "one"), tmp_path / "two", Selection(takedown=_takedown(GONE)), progress=False
    )
    assert {name.split("_")[0] for name in report.removed_stories} == {"film-3", "film-5"}
    assert (tmp_path / "two" / "takedown.txt").read_text().splitlines() == sorted([hash_id(GONE), hash_id("film-5")])


def test_a_dataset_can_be_rewritten_in_its_own_place_if_asked(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    rewrite_dataset(FolderSource(folder), place, Selection(), progress=False)
    with pytest.raises(InputError, match="holds a dataset already"):
        rewrite_dataset(FolderSource(place), place, Selection(takedown=_takedown(GONE)), progress=False)
    rewrite_dataset(FolderSource(place), place, Selection(takedown=_takedown(GONE)), overwrite=True, progress=False)
    assert {row["video_id"] for row in _rows(place, "shots")} == set(KEPT)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["data"]


def test_a_takedown_that_leaves_nothing_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Nothing would be left"):
        rewrite_dataset(FolderSource(folder), tmp_path / "new", Selection(takedown=_takedown(*VIDEOS)), progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize("configs", [(), ("shots",), ("stories", "clips")])
def test_configs_that_make_no_dataset_are_refused(configs: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="stories is always one of them"):
        Selection(configs=configs)


def test_a_folder_that_does_not_fit_its_manifest_is_refused(folder: Path, tmp_path: Path) -> None:
    for name, spoil in (("missing", Path.unlink), ("shorter", lambda path: path.write_bytes(b"PAR1"))):
        rewrite_dataset(FolderSource(folder), tmp_path / name, Selection(), progress=False)
        spoilt = next((tmp_path / name / "shots").glob("*.parquet"))
        content = spoilt.read_bytes()
        spoilt.unlink()  # it is linked to the folder of all tests
        spoilt.write_bytes(content)
        spoil(spoilt)
        with pytest.raises(InputError, match="the manifest"):
            rewrite_dataset(FolderSource(tmp_path / name), tmp_path / "new", Selection(), progress=False)
    with pytest.raises(InputError, match="no dataset folder"):
        FolderSource(tmp_path)


class HubLikeSource(FolderSource):
    """A source whose shards stay where they are; it counts what is fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fetched: list[str] = []

    def ids(self, shard: ShardFacts) -> pa.Table:
        return pq.read_table(self.folder / shard.path, columns=["video_id", "story_id"])

    def fetch(self, shard: ShardFacts) -> Path:
        self.fetched.append(shard.path)
        return super().fetch(shard)

    def local(self, shard: ShardFacts) -> Path | None:
        return None


def test_of_a_dataset_elsewhere_only_hit_shards_and_the_text_are_fetched(folder: Path, tmp_path: Path) -> None:
    source = HubLikeSource(folder)
    report = rewrite_dataset(source, tmp_path / "new", Selection(takedown=_takedown(GONE)), progress=False)
    assert not set(report.carried) & set(report.files)
    assert all(path.startswith("stories/") for path in set(source.fetched) & set(report.carried))
    assert {shard.path for shard in report.manifest.shards} - set(report.files) == set(report.carried)
    local = rewrite_dataset(
        FolderSource(folder), tmp_path / "local", Selection(takedown=_takedown(GONE)), progress=False
    )
    assert report.manifest == local.manifest
    for name, path in report.files.items():
        assert path.read_bytes() == local.files[name].read_bytes()


def test_a_folder_of_the_first_manifest_can_still_be_read_and_rewritten(folder: Path, tmp_path: Path) -> None:
    rewrite_dataset(FolderSource(folder), tmp_path / "old", Selection(), progress=False)
    manifest = json.loads((tmp_path / "old" / "manifest.json").read_text())
    for key in ("card", "rights", "rights_policy", "split_seed"):
        del manifest[key]
    for shard in manifest["shards"]:
        del shard["memory_bytes"]
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({**manifest, "version": 1}))
    assert read_dataset_report(tmp_path / "old").rows == read_dataset_report(folder).rows
    report = rewrite_dataset(
        FolderSource(tmp_path / "old"), tmp_path / "new", Selection(takedown=_takedown(GONE)), progress=False
    )
    assert all(shard.memory_bytes > 0 for shard in report.manifest.shards)


KILLED = """
import os, signal, sys
from pathlib import Path
from animeshooter_hf.dataset_builder.package_rewrite import FolderSource, Selection, rewrite_dataset
from animeshooter_hf.takedown import TakedownList

class Killed(FolderSource):
    num_fetched = 0
    def fetch(self, shard):
        if any(Path(sys.argv[1]).with_name(".data.partial").rglob("*.parquet")):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fetch(shard)

place = Path(sys.argv[1])
selection = Selection(takedown=TakedownList(video_ids=frozenset(["film-3"])))
rewrite_dataset(Killed(place), place, selection, overwrite=True, progress=False)
"""


def test_a_process_killed_while_it_rewrites_leaves_the_old_folder_whole(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    rewrite_dataset(FolderSource(folder), place, Selection(), progress=False)
    before = _files(place)
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any((tmp_path / ".data.partial").rglob("*.parquet"))
    assert _files(place) == before
    rewrite_dataset(FolderSource(place), place, Selection(takedown=_takedown(GONE)), overwrite=True, progress=False)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["data"]


def test_a_process_killed_between_the_two_renames_loses_nothing(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data"
    rewrite_dataset(FolderSource(folder), place, Selection(), progress=False)
    before = _files(place)
    place.rename(tmp_path / ".data.old")  # what such a kill leaves
    with pytest.raises(InputError, match="holds a dataset already"):
        write_dataset(place, [story("w")], progress=False)
    assert _files(place) == before
