"""What the Hub or this machine refuses is said in one sentence; a later run takes up where the first one stopped."""

from pathlib import Path
from typing import Any

import pytest
from hub_datasets import is_whole, make_job, repository
from loopback_hub import LoopbackHub
from uploader_jobs import Uploaders

from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.retry import HubUnreachableError, UploadSettings
from animeshooter_hf.hub.state import Change, RemoteFile, RemoteHead, make_plan, next_tag
from animeshooter_hf.hub.upload import HubUploader

CARD: dict[str, Any] = {"texts": {"README.md": "# card"}}


def test_what_is_not_allowed_is_said_in_one_sentence(hub: LoopbackHub, uploaders: Uploaders) -> None:
    uploaders.run({"a": {"repo": "me/open", **CARD}, "b": {"repo": "me/closed", "private": True, **CARD}})
    said = uploaders.run(
        {
            "bad token": {"repo": "me/open", "token": "hf_bad", **CARD},
            "reader": {"repo": "me/open", "token": "hf_read", **CARD, "texts": {"README.md": "# other"}},
            "missing": {"repo": "me/nothing", "ensure": False, **CARD},
            "private": {"repo": "me/closed", "token": "hf_read", "ensure": False, **CARD},
            "taken": {"repo": "you/open", "token": "hf_read", **CARD},
        }
    )
    assert {name: report.get("error") for name, report in said.items()} == {
        "bad token": "The Hub does not know this token; run `hf auth login` or set HF_TOKEN.",
        "reader": "This token may not write to dataset me/open; it needs the role 'write' there.",
        "missing": "There is no dataset me/nothing on the Hub, or this token may not see it.",
        "private": "There is no dataset me/closed on the Hub, or this token may not see it.",
        "taken": "This token may not write to dataset you/open; it needs the role 'write' there.",
    }


def test_a_refusal_through_xet_is_said_as_well(hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path) -> None:
    hub.order("GET", "/xet-write-token/", 403, times=9)
    job = make_job(tmp_path / "data", "me/data", 0)
    assert "may not write" in uploaders.run({"a": job}, xet=True)["a"]["error"]


def test_without_a_token_or_a_line_it_is_said_at_once(hub: LoopbackHub, uploaders: Uploaders) -> None:
    job = {"a": {"repo": "me/data", "settings": {"max_attempts": 2}, **CARD}}
    assert "needs a token" in uploaders.run(job, HF_TOKEN="")["a"]["error"]
    assert "HF_HUB_OFFLINE" in uploaders.run(job, HF_HUB_OFFLINE="1")["a"]["error"]
    lost = uploaders.run({"a": job["a"] | {"endpoint": "http://127.0.0.1:9"}})["a"]
    assert lost["kind"] == "HubUnreachableError"
    assert "after 2 attempts" in lost["error"]


def test_a_full_store_is_said_and_what_has_arrived_is_not_sent_again(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "data", "me/data", 0, shards=4)
    hub.room_bytes = 70_000
    assert uploaders.run({"a": job})["a"]["error"] == "The Hub has no room left for dataset me/data (HTTP 507)."
    arrived = set(hub.completed)
    assert len(arrived) == 2
    hub.room_bytes = None
    report = uploaders.run({"a": job})["a"]
    assert report["num_uploaded"] == 6
    assert len(hub.completed) == len(set(hub.completed)) == 4


def test_a_full_disk_of_this_machine_is_said(hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path) -> None:
    job = make_job(tmp_path / "data", "me/data", 0)
    uploaders.run({"a": job})
    fetch = {"repo": "me/data", "fetch": "shots/train-00000.parquet"}
    said = uploaders.run({"full": fetch | {"limit_bytes": 10_000}, "enough": fetch})
    assert said["enough"] == {"size": 30_000}
    assert said["full"]["error"].startswith("There is no room left on this machine's disk")


def test_a_full_disk_in_the_middle_of_a_xet_upload_is_said(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "data", "me/data", 0, size=200_000)
    said = uploaders.run({"a": job | {"limit_bytes": 100_000}}, xet=True)["a"]
    assert said["error"].startswith("There is no room left on this machine's disk")
    assert is_whole(hub, "me/data", uploaders.run({"a": job}, xet=True)["a"]["commit"])


def test_a_tag_with_another_content_is_refused_before_anything_is_sent(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    uploaders.run({"a": make_job(tmp_path / "data", "me/data", 0)})
    before = len(hub.completed), dict(repository(hub, "me/data").refs)
    said = uploaders.run({"a": make_job(tmp_path / "data", "me/data", 1) | {"tag": "v1.0.0"}})["a"]
    assert said["error"] == "me/data has a tag v1.0.0 already, with another content; v1.1.0 is free."
    assert (len(hub.completed), dict(repository(hub, "me/data").refs)) == before


def test_a_file_that_the_repository_ignores_is_named(hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path) -> None:
    uploaders.run({"a": {"repo": "me/data", "texts": {".gitignore": "*.parquet"}}})
    said = uploaders.run({"a": make_job(tmp_path / "data", "me/data", 0)})["a"]
    assert "shots/train-00000.parquet" in said["error"]
    assert ".gitignore" in said["error"]


def test_settings_of_a_repository_are_made_and_left_alone(hub: LoopbackHub, uploaders: Uploaders) -> None:
    uploaders.run({"a": {"repo": "me/data", "private": True, "gated": "manual", **CARD}})
    held = repository(hub, "me/data")
    assert (held.is_private, held.gated) == (True, "manual")
    uploaders.run({"a": {"repo": "me/data", **CARD}})
    assert (held.is_private, held.gated) == (True, "manual")
    uploaders.run({"a": {"repo": "me/data", "private": False, "gated": False, **CARD}})
    assert (held.is_private, held.gated) == (False, False)
    assert hub.count("PUT", "/settings") == 2


def test_an_erased_history_holds_no_object_that_nothing_shows(
    hub: LoopbackHub, uploaders: Uploaders, tmp_path: Path
) -> None:
    old, new = (make_job(tmp_path / "data", "me/data", version) for version in (0, 1))
    uploaders.run({"a": old})
    gone = {file.oid for file in repository(hub, "me/data").commits[repository(hub, "me/data").refs["main"]].values()}
    uploaders.run({"a": new})
    held = repository(hub, "me/data")
    shown = dict(held.commits[held.refs["main"]])
    report = uploaders.run({"a": {"repo": "me/data", "erase": True}})["a"]
    assert held.refs == {"main": report["commit"]}
    assert held.tags == {"v1.1.0": report["commit"]}
    assert list(held.commits.values()) == [shown]
    assert report["deleted_tags"] == ["v1.0.0"]
    assert report["deleted_objects"] == ["shots/train-00001.parquet", "shots/train-00002.parquet"]
    assert not any(hub.blob(oid).exists() for oid in gone - {one.oid for one in shown.values()} if len(oid) == 64)
    again = uploaders.run({"a": {"repo": "me/data", "erase": True}})["a"]
    assert again == report | {"deleted_tags": [], "deleted_objects": [], "deleted_bytes": 0}


def test_the_wait_that_the_hub_asks_for_is_kept(hub: LoopbackHub) -> None:
    waits: list[float] = []
    uploader = HubUploader(
        "me/data", endpoint=hub.url, token="hf_x", sleep=waits.append, random=lambda: 0.0,
        settings=UploadSettings(max_attempts=4),
    )  # fmt: skip
    hub.order("GET", "/refs", 429, retry_after=7)
    hub.order("GET", "/refs", 503, times=2)
    with pytest.raises(InputError, match="There is no dataset me/data"):
        uploader.tags()
    assert waits == [7.5, 1.0, 2.0]
    hub.order("GET", "/refs", 500, times=4)
    with pytest.raises(HubUnreachableError, match=r"after 4 attempts \(HTTP 500\)"):
        uploader.tags()
    hub.order("GET", "/refs", 429, retry_after=9999)
    with pytest.raises(HubUnreachableError, match="after 1 attempts"):
        uploader.tags()


@pytest.mark.parametrize("name", ["data", "a/b/c", "me/da ta", "-/x"])
def test_a_name_that_no_repository_can_have_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        HubUploader(name)
    with pytest.raises(InputError, match="repo_type must be"):
        HubUploader("me/data", repo_type="bucket")


def test_a_plan_compares_content_and_not_names(tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    git = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"
    there = [
        RemoteFile("same-lfs", 3, "0" * 40, sha256),
        RemoteFile("same-git", 3, git),
        RemoteFile("other", 3, "0" * 40),
        RemoteFile("old", 9, "0" * 40),
    ]
    change = Change(
        {"same-lfs": local, "same-git": b"abc", "other": local, "new": local}, frozenset({"old", "never-there"})
    )
    plan = make_plan(change, RemoteHead("c", {one.path: one for one in there}))
    assert plan.new == (("new", 3),)
    assert plan.changed == (("other", 3),)
    assert plan.unchanged == (("same-git", 3), ("same-lfs", 3))
    assert plan.deleted == (("old", 9),)
    assert plan.num_bytes == 6


def test_a_change_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="written and deleted"):
        Change({"a": b""}, frozenset({"a"}))
    with pytest.raises(InputError, match="no path inside"):
        Change({"../a": b""})
    with pytest.raises(InputError, match="cannot be read"):
        make_plan(Change({"a": tmp_path / "missing"}), RemoteHead(None))
    with pytest.raises(InputError, match="batch_files must be at least 1"):
        UploadSettings(batch_files=0)


def test_the_next_tag_is_above_all_others() -> None:
    assert next_tag([]) == "v1.0.0"
    assert next_tag(["v1.0.0"]) == "v1.1.0"
    assert next_tag(["v2.0.1", "v1.30", "latest", "v2.9.0"]) == "v2.10.0"
