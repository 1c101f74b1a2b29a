"""Whatever the Hub and the line do, a publication lands whole, once, and sends no finished object again."""

import json
from pathlib import Path
from typing import Any

import pytest
from hub_datasets import is_whole, make_job, repository
from loopback_hub import LoopbackHub
from uploader_jobs import Uploaders

SEEDS = range(20)
SLOW_TO_RETRY = r"/preupload/|/objects/batch|/tree/|/__lfs/|/commits/"
"""Where huggingface_hub itself tries again after 429 and 5xx, and then waits a second or more."""


def published(hub: LoopbackHub, repo: str) -> dict[str, str]:
    """Return path -> hash of what main shows."""
    held = repository(hub, repo)
    return {path: file.oid for path, file in held.commits[held.refs["main"]].items()}


def test_with_faults_by_seed_every_publication_lands_whole_and_once(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    faults = []
    for seed in SEEDS:
        repo = f"me/seed-{seed}(?=[/.])"
        quick = rf"{repo}(?!.*({SLOW_TO_RETRY}))"
        faults.append(hub.random_faults(seed, quick, rate=0.35))
        slow = rf"{repo}.*({SLOW_TO_RETRY})"
        faults.append(hub.random_faults(seed, slow, rate=0.1, kinds=(409, 412, 503), in_a_row=1))
    faults.append(hub.random_faults(0, "/__lfs/", rate=0.1, kinds=("before", "during", 500), in_a_row=1))
    more = {"settings": {"max_attempts": 20}}
    reports = uploaders.run({f"{seed}": make_job(tmp_path / f"{seed}", f"me/seed-{seed}", 0) | more for seed in SEEDS})
    assert [report.get("error") for report in reports.values()] == [None] * len(SEEDS)
    for seed in SEEDS:
        held = repository(hub, f"me/seed-{seed}")
        assert all(is_whole(hub, f"me/seed-{seed}", commit) for commit in held.commits)
        assert held.tags == {"v1.0.0": reports[f"{seed}"]["commit"]} == {"v1.0.0": held.refs["main"]}
        assert len(held.log(held.refs["main"])) == 2, "a commit that had landed was made again"
    assert sum(one.num_hit for one in faults) > len(SEEDS)
    assert len(hub.completed) == len(set(hub.completed))


def test_five_writers_at_once_all_land_and_none_twice_though_answers_are_lost(
    hub: LoopbackHub, uploaders: Uploaders
) -> None:
    uploaders.run({"make": {"repo": "me/data", "texts": {"README.md": "# shared"}}})
    hub.cut("POST", "/commit/", "after", times=3, skip=1)
    hub.order("POST", "/commit/", 503, times=2)
    jobs: dict[str, Any] = {name: {"repo": "me/data", "append": name, "ensure": False} for name in "abcde"}
    reports = uploaders.run(jobs)
    files = published(hub, "me/data")
    listed = json.loads(hub.blob(files["list.json"]).read_text())
    assert sorted(listed) == list("abcde")
    assert {path for path in files if path.startswith("entries/")} == {f"entries/{name}.bin" for name in "abcde"}
    assert len({report["commit"] for report in reports.values()}) == 5
    assert sum(report["num_retries"] for report in reports.values()) > 0


@pytest.mark.parametrize("xet", [False, True], ids=["plain", "xet"])
def test_a_reader_that_looks_all_the_time_sees_whole_states_only(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path, xet: bool
) -> None:
    stop = tmp_path / "stop"
    uploaders.run({"first": make_job(tmp_path / "data", "me/data", 0)}, xet=xet)
    with uploaders.start({"reader": {"repo": "me/data", "watch": str(stop)}}, xet=xet) as reading:
        for version in (1, 2):
            pause = hub.pause_at("POST", "/commit/", "before")
            with uploaders.start({"new": make_job(tmp_path / "data", "me/data", version)}, xet=xet):
                pause.wait_until_reached()
                _wait_for_looks(hub, 2)
                pause.release()
        _wait_for_looks(hub, 3)
        stop.touch()
        report = reading.reports()["reader"]
    assert report["half"] == 0
    assert report["num_states"] == 3
    assert report["num_looks"] >= 7


def _wait_for_looks(hub: LoopbackHub, number: int) -> None:
    """Return when the reader has begun to look at main so many times more."""
    for _ in range(number):
        pause = hub.pause_at("GET", "/resolve/.*/manifest.json", "before")
        pause.wait_until_reached()
        pause.release()


def test_an_upload_that_is_cut_goes_on_with_the_objects_that_are_missing(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "data", "me/data", 0)
    hub.cut("PUT", "/__lfs/", "during")
    report = uploaders.run({"new": job})["new"]
    sizes = {oid: hub.blob(oid).stat().st_size for oid in hub.received}
    assert sorted(hub.completed) == sorted(sizes)
    assert 0 < sum(hub.received.values()) - sum(sizes.values()) <= max(sizes.values()) // 2
    assert report["bytes_sent"] >= sum(hub.received.values())
    assert is_whole(hub, "me/data", report["commit"])


def test_an_answer_that_is_lost_does_not_make_a_commit_or_a_tag_twice(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    hub.cut("POST", "/commit/main", "after")
    hub.cut("POST", "/tag/", "after")
    report = uploaders.run({"new": make_job(tmp_path / "data", "me/data", 0)})["new"]
    held = repository(hub, "me/data")
    assert held.tags == {"v1.0.0": report["commit"]} == {"v1.0.0": held.refs["main"]}
    assert hub.count("POST", "/commit/main") == 1
    assert len(held.log(report["commit"])) == 2


def test_more_operations_than_a_commit_takes_go_in_several_and_the_card_comes_last(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    uploaders.run({"old": make_job(tmp_path / "data", "me/data", 0)})
    job = make_job(tmp_path / "data", "me/data", 0, shards=8) | {"tag": "v2.0.0", "settings": {"files_per_commit": 2}}
    job["deleted"], job["texts"]["README.md"] = ["shots/train-00000.parquet"], "# more"
    del job["files"]["shots/train-00000.parquet"]
    report = uploaders.run({"new": job})["new"]
    held = repository(hub, "me/data")
    commits = [held.commits[one] for one in held.log(held.refs["main"])][::-1]
    cards = [one["README.md"].oid for one in commits[1:]]
    assert cards[0] == cards[1] == cards[-2] != cards[-1]
    assert [len(one) for one in commits[1:]] == [6, 8, 10, 11, 10]
    assert report["commit"] == held.tags["v2.0.0"]


def test_a_change_of_one_shard_sends_that_shard_only(hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path) -> None:
    first, second = (make_job(tmp_path / "data", "me/data", 0) for _ in range(2))
    uploaders.run({"old": first})
    before = len(hub.completed)
    Path(second["files"]["shots/train-00001.parquet"]).write_bytes(b"another")
    report = uploaders.run({"new": second | {"tag": "v2.0.0"}})["new"]
    assert len(hub.completed) == before + 1
    assert (report["num_uploaded"], report["num_unchanged"], report["bytes_sent"]) == (1, 4, 7)


def test_nothing_to_change_makes_no_commit_and_a_missing_tag_is_made(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "data", "me/data", 0)
    first = uploaders.run({"a": job | {"tag": None}})["a"]
    again = uploaders.run({"a": job})["a"]
    assert (again["commit"], again["num_uploaded"]) == (first["commit"], 0)
    assert repository(hub, "me/data").tags == {"v1.0.0": first["commit"]}
    assert hub.count("POST", "/commit/main") == 1


def test_models_and_spaces_are_published_too(hub: LoopbackHub, uploaders: Uploaders) -> None:
    kinds = ("model", "space")
    jobs: dict[str, Any] = {one: {"repo": "me/it", "type": one, "texts": {"README.md": "# it"}} for one in kinds}
    for kind, report in uploaders.run(jobs).items():
        assert hub.repositories[kind, "me/it"].refs["main"] == report["commit"]
