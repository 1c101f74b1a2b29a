"""Publishers that are killed, hindered or many at once: every tag is whole, and nothing is sent twice."""

import json
import os
import signal
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub
from publish_folder import FREE, World, files_at, make_folder, repository

from animeshooter_hf.dataset_builder.manifest import DatasetManifest


def is_whole(hub: LoopbackHub, name: str, revision: str) -> bool:
    """Return whether a revision holds exactly the shards that its manifest names, and a card."""
    held = repository(hub, name)
    files = held.commits[held.find(revision) or ""]
    if "manifest.json" not in files:
        return not any(path.endswith(".parquet") for path in files)
    manifest = DatasetManifest.from_json(json.loads(hub.raw(files["manifest.json"], name).read_bytes()))
    named = {shard.path: shard.sha256 for shard in manifest.shards}
    return "README.md" in files and named == {path: one.oid for path, one in files.items() if path.endswith(".parquet")}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five different dataset folders."""
    root = tmp_path_factory.mktemp("five")
    return [make_folder(root / f"data-{number}", videos=(f"film-{number}",)) for number in range(5)]


def test_five_publishers_at_once_all_land_and_every_tag_is_whole(world: World, others: list[Path]) -> None:
    answers = world.publish.start(
        *((folder, "me/five", "--policy", "full", "--tag", f"v1.{number}.0") for number, folder in enumerate(others))
    ).finish()
    assert [answer.status for answer in answers] == [0] * 5, [answer.error for answer in answers]
    held = repository(world.hub, "me/five")
    assert sorted(held.tags) == [f"v1.{number}.0" for number in range(5)]
    for number in range(5):
        manifest = json.loads(files_at(world.hub, "me/five", f"v1.{number}.0")["manifest.json"])
        assert manifest["splits"] == {"train": [f"film-{number}"]}
        assert is_whole(world.hub, "me/five", f"v1.{number}.0")
    assert all(is_whole(world.hub, "me/five", commit) for commit in held.commits)
    assert held.refs["main"] in held.tags.values()


def test_five_publishers_that_choose_their_tag_themselves_choose_five(world: World, others: list[Path]) -> None:
    answers = world.publish.start(*((folder, "me/auto") for folder in others)).finish()
    assert [answer.status for answer in answers] == [0] * 5, [answer.error for answer in answers]
    assert sorted(repository(world.hub, "me/auto").tags) == [f"v1.{number}.0" for number in range(5)]
    changelog = files_at(world.hub, "me/auto")["CHANGELOG.md"].decode()
    assert [line for line in changelog.splitlines() if line.startswith("## ")] == [
        f"## v1.{number}.0" for number in reversed(range(5))
    ]


@pytest.mark.parametrize(
    ("method", "pattern", "when", "landed"),
    [("PUT", "/__lfs/", "after", False), ("POST", "{repo}/commit/", "after", True)],
    ids=["after the first object", "between commit and tag"],
)
def test_a_publisher_killed_in_the_middle_leaves_the_old_state_or_the_new_and_its_rerun_finishes_it(
    world: World, tmp_path: Path, method: str, pattern: str, when: str, landed: bool
) -> None:
    repo = f"me/killed-{'late' if landed else 'early'}"
    folder = make_folder(tmp_path / "data", videos=(FREE[0], "late" if landed else "early"))
    world.publish.json(folder, repo)
    world.hub.requests.clear()
    pause = world.hub.pause_at(method, pattern.format(repo=repo), when)
    doomed = world.publish.start((folder, repo, "--policy", "full"))
    pause.wait_until_reached()
    os.kill(doomed.pids[0], signal.SIGKILL)
    pause.drop()
    assert doomed.finish() == []

    held = repository(world.hub, repo)
    assert list(held.tags) == ["v1.0.0"]
    assert all(is_whole(world.hub, repo, commit) for commit in held.commits)
    assert (len(held.log(held.refs["main"])) == 3) == landed
    finished = len(world.hub.uploads())
    assert list(tmp_path.glob(".data.publish/*/*/manifest.json")), "what was prepared is not kept for the rerun"

    report = world.publish.json(folder, repo, "--policy", "full")
    assert report["tag"] == "v1.1.0"
    assert held.tags["v1.1.0"] == held.refs["main"] == report["commit"]
    assert is_whole(world.hub, repo, "v1.1.0")
    assert len(held.log(held.refs["main"])) == 3, "a commit that had landed was made again"
    assert len(world.hub.uploads()) == len(set(world.hub.uploads()))
    assert (len(world.hub.uploads()) == finished) == landed
    assert not list(tmp_path.glob(".data.publish"))


def test_a_stopped_erasure_is_finished_by_the_same_command(world: World, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", videos=("taken", "left"))
    world.publish.json(folder, "me/stopped", "--policy", "full")
    world.hub.order("POST", "me/stopped/super-squash/", 403)
    refused = world.publish("me/stopped", "--remove", "taken", "--erase-history")
    assert refused.status == 2
    held = repository(world.hub, "me/stopped")
    assert len(held.log(held.refs["main"])) > 1
    done = world.publish.json("me/stopped", "--remove", "taken", "--erase-history")
    assert done["shards"] == []
    assert len(held.log(held.refs["main"])) == 1
    assert list(held.tags.values()) == [held.refs["main"]]
    assert set(held.objects) == {file.oid for file in held.commits[held.refs["main"]].values() if file.is_lfs}


def test_a_takedown_that_lands_while_somebody_publishes_is_obeyed(world: World, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", videos=("meanwhile", "quiet"))
    world.publish.json(folder, "me/race")
    pause = world.hub.pause_at("POST", "me/race/commit/")
    late = world.publish.start((folder, "me/race", "--policy", "full"))
    pause.wait_until_reached()
    world.publish.json("me/race", "--remove", "meanwhile")
    pause.release()
    assert late.finish()[0].status == 0
    there = files_at(world.hub, "me/race")
    assert any(path.startswith("shots/") for path in there)
    assert not [path for path, data in there.items() if b"meanwhile" in data]
    assert is_whole(world.hub, "me/race", "main")


def test_the_same_folder_is_not_published_twice_at_the_same_time(world: World, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", videos=("slow",))
    world.publish.json(folder, "me/slow")
    pause = world.hub.pause_at("POST", "me/slow/commit/")
    first = world.publish.start((folder, "me/slow", "--policy", "full"))
    pause.wait_until_reached()
    second = world.publish(folder, "me/slow", "--policy", "full")
    pause.release()
    assert second.status == 2
    assert "Another process publishes" in second.error
    assert first.finish()[0].status == 0
