"""Taking something down: it is gone from the head, from every object if history goes, and it never comes back."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from publish_folder import FREE, World, files_at, make_folder, media_bytes, repository

from animeshooter_hf.dataset_builder.manifest import DatasetManifest
from animeshooter_hf.dataset_builder.publish.removal import parse_identifiers
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList, hash_id

GONE = FREE[1]
"""The video that is taken down: neither the first nor the last in any order."""


def rows_of(files: dict[str, bytes], into: Path) -> list[tuple[str, str, str]]:
    """Return (config, video, story) of every row in the Parquet files of a revision."""
    found = []
    for path, data in files.items():
        if path.endswith(".parquet"):
            into.write_bytes(data)
            table = pq.ParquetFile(into).read(columns=["video_id", "story_id"])
            found += [(path.split("/")[0], row["video_id"], row["story_id"]) for row in table.to_pylist()]
    return found


def test_a_removed_video_is_in_no_row_and_in_no_file_and_other_shards_are_neither_changed_nor_fetched(
    world: World,
) -> None:
    name = world.publication("me/gone")
    before = files_at(world.hub, name)
    report = world.publish.json(name, "--remove", GONE, "--reason", "the studio asked")
    after = files_at(world.hub, name)
    assert report["removed_rows"] == {"stories": 2, "shots": 8, "references": 4, "audio": 4}
    assert report["num_stories"] == 2
    assert report["tag"] == "v1.1.0"

    rows = rows_of(after, world.scratch / "one.parquet")
    assert len(rows) == len(rows_of(before, world.scratch / "one.parquet")) - 18
    assert GONE not in {video for _, video, _ in rows}
    assert not [path for path, data in after.items() if GONE.encode() in data]
    assert hash_id(GONE) in after["takedown.txt"].decode()
    assert "the studio asked" in after["CHANGELOG.md"].decode()

    hit = {one["path"] for one in report["shards"]}
    untouched = [path for path in before if path.endswith(".parquet") and path not in hit]
    assert len(untouched) == report["num_untouched"] > len(hit)
    assert all(before[path] == after[path] for path in untouched)
    fetched = {path.split("/")[-2] + "/" + path.split("/")[-1] for method, path, _ in world.hub.requests
               if method == "HEAD" and path.endswith(".parquet")}  # fmt: skip
    assert fetched <= hit
    manifest = DatasetManifest.from_json(json.loads(after["manifest.json"]))
    assert {shard.path for shard in manifest.shards} == {path for path in after if path.endswith(".parquet")}
    assert GONE not in manifest.rights


def test_other_stories_of_a_rewritten_shard_keep_every_value(world: World) -> None:
    name = world.publication("me/values")
    files = files_at(world.hub, name)
    report = world.publish.json(name, "--remove", f"story:{FREE[0]}_001")
    path = next(one["path"] for one in report["shards"] if one["rows_after"] and one["path"].startswith("references"))
    before, after = files[path], files_at(world.hub, name)[path]
    old, new = world.scratch / "old.parquet", world.scratch / "new.parquet"
    old.write_bytes(before)
    new.write_bytes(after)
    kept = [row for row in pq.ParquetFile(old).read().to_pylist() if row["story_id"] != f"{FREE[0]}_001"]
    assert pq.ParquetFile(new).read().to_pylist() == kept
    assert kept


def test_a_dry_run_of_a_removal_changes_nothing_and_says_the_same(world: World) -> None:
    name = world.publication("me/dry")
    planned = world.publish.json(name, "--remove", GONE, "--dry-run")
    assert all(method in ("GET", "HEAD") for method, _, _ in world.hub.requests)
    done = world.publish.json(name, "--remove", GONE)
    assert planned["is_dry_run"]
    assert planned["bytes_sent"] >= done["bytes_sent"] > 0
    assert {key: planned[key] for key in ("shards", "removed_rows", "tag", "num_stories")} == {
        key: done[key] for key in ("shards", "removed_rows", "tag", "num_stories")
    }


def test_publishing_the_folder_again_does_not_bring_it_back(world: World) -> None:
    name = world.publication("me/back")
    world.publish.json(name, "--remove", GONE)
    again = world.publish.json(world.folder, name, "--policy", "full")
    assert not again["plan"]["changes"]
    assert {"what": f"video {GONE}", "reason": "it is on the takedown list"} in again["plan"]["left_out"]
    assert GONE not in {video for _, video, _ in rows_of(files_at(world.hub, name), world.scratch / "one.parquet")}


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose objects no other repository has, since erasing deletes them from the store."""
    return make_folder(tmp_path_factory.mktemp("own") / "data", videos=("only-here", "stays-here"))


def test_old_tags_hold_it_and_the_report_says_so_until_history_is_erased(world: World, own_folder: Path) -> None:
    world.publish.json(own_folder, "me/history", "--policy", "full")
    told = world.publish("me/history", "--remove", "story:only-here_000")
    assert "Old commits and the tags v1.0.0 still hold" in told.out
    rows = rows_of(files_at(world.hub, "me/history", "v1.0.0"), world.scratch / "old.parquet")
    assert "only-here_000" in {story for _, _, story in rows}
    report = world.publish.json("me/history", "--remove", "only-here", "--erase-history")
    assert report["erased"]["deleted_tags"] == ["v1.0.0", "v1.1.0"]
    held = repository(world.hub, "me/history")
    assert list(held.tags) == ["v1.2.0"]
    assert held.log(held.refs["main"]) == [held.refs["main"]] == [held.tags["v1.2.0"]]
    assert set(held.objects) == {file.oid for file in held.commits[held.refs["main"]].values() if file.is_lfs}


def test_no_object_of_the_hub_holds_it_after_history_is_erased(world: World, own_folder: Path) -> None:
    hub = world.hub
    world.publish.json(own_folder, "me/erased", "--policy", "full")
    ours = set(media_bytes(own_folder, "only-here")) - set(media_bytes(own_folder, "stays-here"))
    assert all(any(cell in path.read_bytes() for path in hub.store.iterdir() if path.is_file()) for cell in ours)
    world.publish.json("me/erased", "--remove", "only-here", "--erase-history")
    held = repository(hub, "me/erased")
    files = {file.oid for files in held.commits.values() for file in files.values()}
    objects = {path.name for path in hub.store.iterdir() if len(path.name) == 64}
    for data in (hub.blob(oid).read_bytes() for oid in files | objects):
        assert b"only-here" not in data
        assert not any(cell in data for cell in ours)


def test_on_a_terminal_history_goes_only_after_a_yes(world: World) -> None:
    name = world.publication("me/terminal")
    before = dict(repository(world.hub, name).commits)
    refused = world.publish(name, "--remove", GONE, "--erase-history", typed="no\n")
    assert refused.status == 2
    assert refused.error == "Nothing was done."
    assert repository(world.hub, name).commits == before


def test_what_is_not_there_is_refused_in_one_sentence_unless_it_is_to_be_recorded(world: World) -> None:
    name = world.publication("me/missing")
    refused = world.publish(name, "--remove", GONE, "--remove", "nobody", "--remove", "story:free-a_007")
    assert refused.status == 2
    assert "me/missing holds no video nobody (nor 1 more of those named); nothing was changed." in refused.error
    assert "takedown.txt" not in files_at(world.hub, name)
    recorded = world.publish.json(name, "--remove", "nobody", "--record-anyway")
    assert recorded["num_recorded"] == 1
    assert recorded["shards"] == []
    assert files_at(world.hub, name)["takedown.txt"].decode() == f"{hash_id('nobody')}\n"


def test_what_was_removed_already_is_no_error_and_makes_no_commit(world: World) -> None:
    name = world.publication("me/twice")
    world.publish.json(name, "--remove", GONE)
    commits = len(repository(world.hub, name).commits)
    again = world.publish(name, "--remove", GONE)
    assert again.status == 0
    assert "gone already" in again.out
    assert len(repository(world.hub, name).commits) == commits


def test_a_hashed_id_and_a_list_are_understood(world: World) -> None:
    name = world.publication("me/hashed")
    listed = world.scratch / "listed.txt"
    listed.write_text(f"# asked for\nstory:{FREE[0]}_000\n")
    report = world.publish.json(name, "--remove", hash_id(GONE), "--remove-file", listed)
    assert report["removed_rows"] == {"stories": 3, "shots": 12, "references": 6, "audio": 6}


def test_the_folder_here_is_written_anew_too(world: World) -> None:
    name = world.publication("me/here")
    mine = world.copy()
    (mine / "build_report.json").write_text(json.dumps({"films": [GONE]}))
    planned = world.publish.json(mine, name, "--remove", GONE, "--dry-run")
    assert (mine / "build_report.json").exists()
    report = world.publish.json(mine, name, "--remove", GONE)
    assert planned["local_rows"] == report["local_rows"] == {"stories": 2, "shots": 8, "references": 4, "audio": 4}
    assert not [path for path in mine.rglob("*") if path.is_file() and GONE.encode() in path.read_bytes()]
    assert TakedownList.read_beside(mine).hits(GONE)
    assert not world.publish.json(mine, name, "--policy", "full")["plan"]["changes"]


def test_an_id_that_only_the_folder_here_holds_is_listed_on_the_hub_so_that_it_never_goes_up(world: World) -> None:
    mine = world.copy()
    listed = world.scratch / "held-back.txt"
    listed.write_text(f"story:{GONE}_000\nstory:{GONE}_001\n")
    world.publish.json(mine, "me/only-here", "--takedown", listed)
    report = world.publish.json(mine, "me/only-here", "--remove", GONE)
    assert report["shards"] == []
    assert report["local_rows"]["stories"] == 2
    assert hash_id(GONE) in files_at(world.hub, "me/only-here")["takedown.txt"].decode()


REFUSALS = {
    "reason names it": (("{name}", "--remove", GONE, "--reason", f"{GONE} asked"), "write it without the ID"),
    "all of it": (("{name}", *(word for video in (*FREE, "shut-z") for word in ("--remove", video))), "would be left"),
    "no dataset": (("me/nowhere", "--remove", GONE), "no dataset me/nowhere"),
    "empty": (("{name}", "--remove", " "), "names nothing"),
    "not an id": (("{name}", "--remove", "a/b"), "neither an ID"),
    "no list": (("{name}", "--remove-file", "/nowhere/list.txt"), "no takedown list"),
    "tag": (("{name}", "--remove", GONE, "--tag", "v1.0.0"), "v1.0.0 already"),
}


@pytest.fixture(scope="module")
def refusing(world: World) -> str:
    return world.publication("me/refusing")


@pytest.mark.parametrize("case", REFUSALS)
def test_a_bad_removal_is_one_sentence_and_changes_nothing(world: World, refusing: str, case: str) -> None:
    words, sentence = REFUSALS[case]
    before = dict(repository(world.hub, refusing).commits)
    answer = world.publish(*(word.format(name=refusing) for word in words))
    assert answer.status == 2, answer.out
    assert sentence in answer.error
    assert repository(world.hub, refusing).commits == before
    assert not list((world.scratch / "home" / "animeshooter").glob("removals/*")), "fetched files were left behind"


def test_a_manifest_that_does_not_fit_its_shards_stops_a_removal(world: World) -> None:
    name = world.publication("me/broken")
    held = repository(world.hub, name)
    files = dict(held.commits[held.refs["main"]])
    files["shots/train-00000-of-00008.parquet"] = files["shots/train-00001-of-00008.parquet"]
    held.commit(files, "by hand", "main")
    answer = world.publish(name, "--remove", GONE)
    assert answer.status == 2
    assert "is not the file that its manifest names" in answer.error


def test_identifiers_are_read_as_people_write_them() -> None:
    found = parse_identifiers(["https://youtu.be/LvJRvwIDh0E", "my film", "story:my film_001"])
    assert found == TakedownList(
        video_ids=frozenset({"LvJRvwIDh0E", "my film"}), story_ids=frozenset({"my film_001"})
    )  # fmt: skip
    with pytest.raises(InputError, match="names nothing"):
        parse_identifiers([""])
