"""A publication that is killed leaves the old state or the new one, and its second run sends nothing twice."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hub_datasets import is_whole, make_job, put_on_hub, repository
from loopback_hub import LoopbackHub
from uploader_jobs import Uploaders

LFS = "/__lfs/"
PLACES = {
    "before-asking": ("POST", "{repo}/preupload/", "before", 0),
    "between": ("POST", "{repo}.git/info/lfs/objects/batch", "after", 0),
    "before-first-object": ("PUT", LFS + "{first}", "before", 0),
    "during-first-object": ("PUT", LFS + "{first}", "during", 0),
    "after-first-object": ("PUT", LFS + "{first}", "after", 0),
    "before-last-object": ("PUT", LFS + "{last}", "before", 0),
    "during-last-object": ("PUT", LFS + "{last}", "during", 0),
    "after-last-object": ("PUT", LFS + "{last}", "after", 0),
    "before-commit": ("POST", "{repo}/commit/", "before", 0),
    "during-commit": ("POST", "{repo}/commit/", "during", 0),
    "after-commit": ("POST", "{repo}/commit/", "after", 0),
    "looking-at-it": ("GET", "{repo}/tree/", "before", 1),
    "before-tag": ("POST", "{repo}/tag/", "before", 0),
    "after-tag": ("POST", "{repo}/tag/", "after", 0),
}
XET_PLACES = {
    "before-token": ("GET", "{repo}/xet-write-token/", "before", 0),
    "after-token": ("GET", "{repo}/xet-write-token/", "after", 0),
    **{name: place for name, place in PLACES.items() if "object" not in name and name != "between"},
}


def versions(folder: Path, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the jobs that publish the old and the new state of a repository."""
    repo = f"me/{place}"
    return make_job(folder / place, repo, 0), make_job(folder / place, repo, 1)


def kill_at(
    hub: LoopbackHub, uploaders: Uploaders, jobs: dict[str, dict[str, Any]], places: dict[str, Any], *, xet: bool
) -> None:
    """Start the jobs and kill each one at its place."""
    pauses = {}
    for name, job in jobs.items():
        hashes = list(json.loads(job["texts"]["manifest.json"]).values())
        method, pattern, when, skip = places[name]
        found = pattern.format(repo=f"me/{name}", first=hashes[1], last=hashes[-1])
        pauses[name] = hub.pause_at(method, found, when, skip=skip)
    with uploaders.start({name: job | {"ensure": False} for name, job in jobs.items()}, xet=xet) as started:
        pids = started.pids()
        for name, pause in pauses.items():
            pause.wait_until_reached()
            os.kill(pids[name], signal.SIGKILL)
            pause.drop()
        assert started.reports() == {}


@pytest.mark.parametrize("xet", [False, True], ids=["plain", "xet"])
def test_a_publication_killed_anywhere_is_never_half_seen_and_its_rerun_sends_nothing_twice(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path, xet: bool
) -> None:
    places = XET_PLACES if xet else PLACES
    jobs = {place: versions(tmp_path / "data", place) for place in places}
    for old, _ in jobs.values():
        put_on_hub(hub, old)
    kill_at(hub, uploaders, {place: new for place, (_, new) in jobs.items()}, places, xet=xet)

    for place in places:
        held = repository(hub, f"me/{place}")
        landed = any(place.startswith(word) for word in ("after-commit", "looking", "before-tag", "after-tag"))
        assert all(is_whole(hub, f"me/{place}", commit) for commit in held.commits), place
        assert set(held.tags) == ({"v1.0.0", "v1.1.0"} if place == "after-tag" else {"v1.0.0"}), place
        assert len(held.log(held.refs["main"])) == (3 if landed else 2), place

    finished, received = set(hub.completed), dict(hub.received)
    reports = uploaders.run({place: new for place, (_, new) in jobs.items()}, xet=xet)
    for place in places:
        held = repository(hub, f"me/{place}")
        assert reports[place]["tag"] == "v1.1.0"
        assert held.tags["v1.1.0"] == held.refs["main"] == reports[place]["commit"]
        assert is_whole(hub, f"me/{place}", held.refs["main"])
        assert len(held.log(held.refs["main"])) == 3, "a commit that had landed was made again"
    assert {oid: hub.received[oid] for oid in finished} == {oid: received[oid] for oid in finished}
    assert len(hub.completed) == len(set(hub.completed))
    if xet:
        assert not hub.received


def test_a_kill_in_the_middle_of_a_xet_upload_loses_nothing_and_the_rerun_completes_it(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    old, new = (make_job(tmp_path / "data", "me/data", version, size=3_000_000) for version in (0, 1))
    # Through xet as well: a client makes the store's book when it finds none, which no kill may interrupt. On the real
    # Hub no client writes that book.
    assert "error" not in uploaders.run({"old": old}, xet=True)["old"]
    stored = hub.xet.stored_bytes()
    with uploaders.start({"new": new}, xet=True) as started:
        pid = started.pids()["new"]
        while hub.xet.stored_bytes() == stored and _lives(pid):
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
    held = repository(hub, "me/data")
    assert all(is_whole(hub, "me/data", commit) for commit in held.commits)
    assert uploaders.run({"new": new}, xet=True)["new"]["tag"] == "v1.1.0"
    assert is_whole(hub, "me/data", held.refs["main"])
    shards = [file for file in held.commits[held.refs["main"]].values() if file.is_lfs]
    assert all(hub.raw(one, "me/data").stat().st_size == one.size for one in shards)


def _lives(pid: int) -> bool:
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
    return bool(status.strip()) and not status.startswith("Z")
