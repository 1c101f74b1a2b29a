"""Publishing a dataset folder: the plan is exact, the rights are kept, and nothing is sent twice."""

import hashlib
import json

import pytest
from loopback_hub import LoopbackHub
from publish_folder import CLOSED, FREE, World, files_at, media_bytes, repository

from animeshooter_hf.dataset_builder.manifest import DatasetManifest
from animeshooter_hf.dataset_builder.publish.changelog import newest_version, with_entry
from animeshooter_hf.dataset_builder.publish.versions import choose_tag
from animeshooter_hf.errors import InputError


def writes(hub: LoopbackHub) -> list[str]:
    """Return the requests that change something."""
    return [f"{method} {path}" for method, path, _ in hub.requests if method not in ("GET", "HEAD")]


def test_a_dry_run_sends_nothing_and_its_plan_is_what_then_happens(world: World) -> None:
    world.hub.requests.clear()
    plan = world.publish.json(world.folder, "me/plan", "--policy", "full", "--dry-run")
    assert writes(world.hub) == []
    assert ("dataset", "me/plan") not in world.hub.repositories
    assert plan["is_new"]
    assert plan["tag"] == "v1.0.0"
    known = {path.name for path in world.hub.store.iterdir()}
    done = world.publish.json(world.folder, "me/plan", "--policy", "full")
    there = files_at(world.hub, "me/plan")
    there_already = sum(len(data) for data in there.values() if hashlib.sha256(data).hexdigest() in known)
    assert {one["path"]: one["num_bytes"] for one in plan["files"]} == {path: len(data) for path, data in there.items()}
    assert plan["num_bytes"] == sum(map(len, there.values()))
    assert done["bytes_sent"] == plan["num_bytes"] - there_already
    assert plan["rows"]["stories"] == {"train": 8}
    assert plan["rows"]["shots"] == {"train": 24}
    assert done["tag"] == "v1.0.0"
    assert done["num_checked"] == len(DatasetManifest.from_json(json.loads(there["manifest.json"])).shards)


def test_a_plan_needs_no_token(world: World) -> None:
    assert world.publish(world.folder, "me/nobody", "--dry-run", token="").status == 0
    refused = world.publish(world.folder, "me/nobody", token="")
    assert refused.status == 2
    assert "hf auth login" in refused.error
    assert ("dataset", "me/nobody") not in world.hub.repositories


def test_the_default_policy_publishes_words_and_masks_only(world: World) -> None:
    report = world.publish.json(world.folder, "me/words")
    there = files_at(world.hub, "me/words")
    assert {path.split("/")[0] for path in there if "/" in path} == {"stories"}
    manifest = json.loads(there["manifest.json"])
    assert manifest["rights_policy"] == "annotations-only"
    assert "annotations-only" in there["CHANGELOG.md"].decode()
    assert "no frame and no sound" in there["README.md"].decode()
    left_out = {one["what"]: one["reason"] for one in report["plan"]["left_out"]}
    assert left_out["config shots"] == "policy annotations-only (32 rows)"
    assert report["load"] == 'load_dataset("me/words", revision="v1.0.0")'


def test_a_second_run_with_nothing_changed_sends_nothing_and_makes_no_commit_and_no_tag(world: World) -> None:
    world.publish.json(world.folder, "me/again", "--policy", "references")
    before = dict(repository(world.hub, "me/again").commits), dict(repository(world.hub, "me/again").tags)
    world.hub.requests.clear()
    again = world.publish(world.folder, "me/again", "--policy", "references")
    assert again.status == 0
    assert "nothing was sent" in again.out
    assert writes(world.hub) == []
    assert (dict(repository(world.hub, "me/again").commits), dict(repository(world.hub, "me/again").tags)) == before


def test_another_policy_sends_only_what_is_new_and_takes_away_what_no_longer_goes(world: World) -> None:
    world.publish.json(world.folder, "me/policy", "--policy", "full")
    less = world.publish.json(world.folder, "me/policy", "--tag", "v2.0.0")
    states = {one["path"]: one["state"] for one in less["plan"]["files"]}
    assert {path.split("/")[0] for path, state in states.items() if state == "deleted"} == {
        "shots", "references", "audio"
    }  # fmt: skip
    assert states["stories/train-00000-of-00001.parquet"] == "unchanged"
    assert less["tag"] == "v2.0.0"
    assert sorted(path for path in files_at(world.hub, "me/policy") if "/" in path) == [
        "stories/train-00000-of-00001.parquet"
    ]
    assert newest_version(files_at(world.hub, "me/policy")["CHANGELOG.md"].decode()) == "v2.0.0"


def test_pixels_and_sound_of_a_video_without_rights_are_nowhere_on_the_hub(world: World) -> None:
    """Every other test of this Hub publishes the same folder, so its whole store must be free of them."""
    report = world.publish.json(world.folder, "me/rights", "--policy", "full")
    stored = [path.read_bytes() for path in world.hub.store.iterdir() if path.is_file()]
    shut, free = media_bytes(world.folder, CLOSED), media_bytes(world.folder, FREE[0])
    assert len(set(shut) - set(free)) == 10, "4 clips, 2 frames, 2 cut-outs and 2 sounds are unlike those of others"
    assert all(any(cell in data for data in stored) for cell in free)
    assert not any(cell in data for data in stored for cell in set(shut) - set(free))
    left_out = {one["what"]: one["reason"] for one in report["plan"]["left_out"]}
    assert left_out == {f"pixels and sound of {CLOSED}": f"The video {CLOSED} is not known to be redistributable."}


def test_a_table_of_rights_counts_before_what_the_dataset_knows(world: World) -> None:
    table = world.scratch / "rights.csv"
    table.write_text(f"video_id,license,basis,redistributable\n{FREE[0]},,unknown,no\n{CLOSED},CC0,cc,yes\n")
    plan = world.publish.json(world.folder, "me/x", "--policy", "full", "--rights", table, "--dry-run")
    assert [one["what"] for one in plan["left_out"]] == [f"pixels and sound of {FREE[0]}"]


def test_takedown_lists_of_the_folder_of_the_repository_and_of_the_command_all_count(world: World) -> None:
    mine, theirs = world.copy(), world.scratch / "list.txt"
    (mine / "takedown.txt").write_text(f"{FREE[0]}\n")
    theirs.write_text(f"story:{FREE[1]}_000\n")
    world.publish.json(mine, "me/lists", "--takedown", theirs)
    assert json.loads(files_at(world.hub, "me/lists")["manifest.json"])["splits"] == {
        "train": [FREE[1], FREE[2], CLOSED]
    }
    again = world.publish.json(world.folder, "me/lists")
    assert not again["plan"]["changes"], "the list of the repository was not obeyed"
    assert again["plan"]["rows"] == {"stories": {"train": 5}}
    listed = files_at(world.hub, "me/lists")["takedown.txt"].decode()
    assert FREE[0] not in listed
    assert len(listed.splitlines()) == 2


def test_title_licence_and_gate_stand_in_the_card_and_the_repository_is_private(world: World) -> None:
    words = ("--title", "My films", "--license", "cc-by-nc-4.0", "--gated", "manual", "--private", "--tag", "none")
    report = world.publish.json(world.folder, "me/card", *words, "--message", "First")
    card = files_at(world.hub, "me/card")["README.md"].decode()
    assert "license: cc-by-nc-4.0" in card
    assert "pretty_name: My films" in card
    assert "me/card" in card
    held = repository(world.hub, "me/card")
    assert held.is_private
    assert held.gated == "manual"
    assert report["tag"] is None
    assert held.tags == {}
    assert held.titles[held.refs["main"]] == "First"


def test_a_branch_of_its_own_leaves_main_as_it_is(world: World) -> None:
    world.publish.json(world.folder, "me/branch")
    before = repository(world.hub, "me/branch").refs["main"]
    report = world.publish.json(world.folder, "me/branch", "--policy", "full", "--revision", "next", "--tag", "none")
    assert repository(world.hub, "me/branch").refs["main"] == before
    assert any(path.startswith("shots/") for path in files_at(world.hub, "me/branch", "next"))
    assert report["load"] == 'load_dataset("me/branch", revision="next")'


def test_files_of_others_stay_and_reports_of_a_build_do_not_go(world: World) -> None:
    mine = world.copy()
    (mine / "report").mkdir()
    (mine / "report" / "picture.png").write_bytes(b"pixels")
    (mine / "build_report.json").write_text("{}")
    report = world.publish.json(mine, "me/report")
    what = [one["what"] for one in report["plan"]["left_out"]]
    assert "folder report" in what
    assert "file build_report.json" in what
    assert not any("report" in path for path in files_at(world.hub, "me/report"))


REFUSALS = {
    "no folder": (("{scratch}/nowhere", "me/r"), "no dataset folder"),
    "no repository": (("{folder}",), "name the repository behind it"),
    "three words": (("{folder}", "me/r", "more"), "one folder and one repository"),
    "name of a repository": (("{folder}", "r"), "NAME/REPO"),
    "tag": (("{folder}", "me/r", "--tag", "first"), "v1.2.0"),
    "rights": (("{folder}", "me/r", "--rights", "{scratch}/none.csv"), "no table of rights"),
    "takedown": (("{folder}", "me/r", "--takedown", "{scratch}/none.txt"), "no takedown list"),
    "message": (("{folder}", "me/r", "--message", " "), "one line of text"),
    "reason": (("{folder}", "me/r", "--reason", "x"), "--reason goes with --remove"),
    "policy with remove": (("me/r", "--remove", "x", "--policy", "full"), "--policy goes with a publication"),
    "public with remove": (("me/r", "--remove", "x", "--public"), "--public goes with a publication"),
    "no folder named": (("me/r",), "Name the dataset folder too"),
    "both": (("{folder}", "me/r", "--private", "--public"), "not allowed with"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_bad_input_is_one_sentence(world: World, name: str) -> None:
    words, sentence = REFUSALS[name]
    answer = world.publish(*(word.format(folder=world.folder, scratch=world.scratch) for word in words))
    assert answer.status == 2, answer.out
    assert sentence in answer.error
    assert "\n" not in answer.error
    assert ("dataset", "me/r") not in world.hub.repositories


def test_full_is_refused_where_nothing_is_allowed_and_the_sentence_says_how_to_state_rights(world: World) -> None:
    table = world.scratch / "nothing.csv"
    table.write_text("video_id,redistributable\n" + "".join(f"{name},no\n" for name in FREE))
    answer = world.publish(world.folder, "me/r", "--policy", "full", "--rights", table)
    assert answer.status == 2
    assert "--rights FILE" in answer.error
    assert "redistributable" in answer.error


def test_a_repository_that_holds_something_else_is_not_taken_over_by_accident(world: World) -> None:
    world.publish.json(world.folder, "me/other")
    held = repository(world.hub, "me/other")
    files = dict(held.commits[held.refs["main"]])
    files.pop("manifest.json")
    files["data.csv"] = world.hub.put_regular(b"a,b\n")
    held.commit(files, "by hand", "main")
    refused = world.publish(world.folder, "me/other")
    assert refused.status == 2
    assert "something else" in refused.error
    assert world.publish(world.folder, "me/other", "--overwrite").status == 0
    assert files_at(world.hub, "me/other")["data.csv"] == b"a,b\n"
    held.commit({**held.commits[held.refs["main"]], "other.py": world.hub.put_regular(b"")}, "a script", "main")
    refused = world.publish(world.folder, "me/other", "--policy", "full")
    assert refused.status == 2
    assert "other.py" in refused.error


def test_a_tag_that_is_taken_is_refused_before_anything_is_sent(world: World) -> None:
    world.publish.json(world.folder, "me/tag", "--tag", "v1.0.0")
    assert world.publish(world.folder, "me/tag", "--tag", "v1.0.0").status == 0
    world.hub.requests.clear()
    refused = world.publish(world.folder, "me/tag", "--tag", "v1.0.0", "--policy", "full")
    assert refused.status == 2
    assert "v1.0.0 already" in refused.error
    assert not any(word in line for line in writes(world.hub) for word in ("commit", "PUT", "tag"))


def test_a_shard_that_is_not_what_the_manifest_says_is_not_published(world: World) -> None:
    mine = world.copy()
    shard = mine / "shots" / "train-00000-of-00008.parquet"
    data = bytearray(shard.read_bytes())
    data[1000] ^= 255
    shard.write_bytes(data)
    answer = world.publish(mine, "me/damaged", "--policy", "full")
    assert answer.status == 2
    assert "build the dataset again" in answer.error
    assert "manifest.json" not in files_at(world.hub, "me/damaged")
    shard.write_bytes(bytes(data)[:-1])
    assert "bytes, the manifest says" in world.publish(mine, "me/damaged", "--policy", "full").error


def test_on_a_terminal_pixels_go_only_after_a_yes(world: World) -> None:
    words = (world.folder, "me/asked", "--policy", "full")
    refused = world.publish(*words, typed="n\n")
    assert refused.status == 2
    assert refused.error == "Nothing was published."
    assert ("dataset", "me/asked") not in world.hub.repositories
    assert world.publish(world.folder, "me/asked", typed="n\n").status == 0, "words are not asked about"
    assert world.publish(*words, typed="y\n").status == 0
    assert any(path.startswith("shots/") for path in files_at(world.hub, "me/asked"))


def test_nothing_is_left_beside_the_folder_after_a_publication(world: World) -> None:
    world.publish.json(world.folder, "me/clean", "--policy", "full")
    assert not list(world.folder.parent.glob(".data*"))


@pytest.mark.parametrize(
    ("wanted", "tags", "announced", "changes", "tag"),
    [
        ("auto", {}, None, True, "v1.0.0"),
        ("auto", {"v1.4.0": "a"}, "v1.4.0", True, "v1.5.0"),
        ("auto", {"v1.4.0": "a"}, "v1.5.0", True, "v1.6.0"),
        ("auto", {"v1.4.0": "a"}, "v1.5.0", False, "v1.5.0"),
        ("auto", {"v1.4.0": "a"}, "v1.4.0", False, None),
        ("v2.0.0", {"v1.4.0": "a"}, "v2.0.0", False, "v2.0.0"),
        ("v1.4.0", {"v1.4.0": "a"}, "v1.4.0", False, None),
        ("none", {}, "v1.0.0", True, None),
    ],
)
def test_the_tag_follows_the_tags_and_the_changelog(
    wanted: str, tags: dict[str, str], announced: str | None, changes: bool, tag: str | None
) -> None:
    assert choose_tag(wanted, tags, announced, changes=changes) == tag


def test_the_newest_entry_of_a_changelog_stands_on_top() -> None:
    text = with_entry(with_entry("", "v1.0.0", ["first"]), None, ["second"])
    assert text == "# Changes\n\n## untagged\n\n- second\n\n## v1.0.0\n\n- first\n"
    assert newest_version(text) is None
    assert newest_version(with_entry(text, "v1.1.0", [])) == "v1.1.0"
    assert with_entry("# Our words\n\nkept\n", "v1.0.0", ["a"]) == "# Our words\n\nkept\n\n## v1.0.0\n\n- a\n"


def test_only_known_policies_and_gates_are_settings() -> None:
    from animeshooter_hf.dataset_builder.publish.settings import PublishSettings

    with pytest.raises(InputError, match="policy must be one of"):
        PublishSettings(policy="everything")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="gated must be"):
        PublishSettings(gated="yes")  # type: ignore[arg-type]
