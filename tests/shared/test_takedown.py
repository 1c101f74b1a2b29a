"""What stands in a takedown list is neither loaded nor built, however it is written."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from animeshooter_hf import AnimeShooterBuilder, load_stories
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList, apply_takedown, hash_id, youtube_id

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from loopback_hub import loopback_hub
from packaging_stories import Films, film, story

LIST = f"""\
# asked for by mail
LvJRvwIDh0E   # the studio's
https://www.youtube.com/watch?list=x&v=dQw4w9WgXcQ&t=3
{hash_id("secret")}
story:v_001
story:{hash_id("w_002")}
"my film"  # blanks

-starts-so
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("takedown")
    for name in ("v", "w"):
        film(root, name)
    write_dataset(root / "data", [story("v"), story("v", 1), story("w")], media=Films(root))
    return root / "data"


def test_every_way_to_write_an_entry_hits() -> None:
    listed = TakedownList.parse(LIST)
    for video_id in ("LvJRvwIDh0E", "dQw4w9WgXcQ", "secret", "my film", "-starts-so"):
        assert listed.hits(video_id), video_id
    for video_id in ("lvjrvwidh0e", "v", "w", "", "sha256:", "# asked for by mail"):
        assert not listed.hits(video_id), video_id
    assert listed.hits_story("v_001", "v")
    assert listed.hits_story("w_002", "w")
    assert listed.hits_story("secret_000", "secret")
    assert not listed.hits_story("v_000", "v")
    assert len(listed) == 7


def test_a_list_survives_being_written_hashed_or_plain() -> None:
    listed = TakedownList.parse(LIST)
    assert TakedownList.parse(listed.to_text(hashed=False)) == listed
    hashed = TakedownList.parse(listed.to_text())
    assert "LvJRvwIDh0E" not in listed.to_text()
    assert hashed.hits("LvJRvwIDh0E")
    assert hashed.hits_story("v_001", "v")
    assert hashed.fingerprint() == listed.fingerprint()
    assert hashed.fingerprint() != TakedownList().fingerprint()


def test_lists_can_be_merged() -> None:
    both = TakedownList.parse("a").merge(TakedownList.parse("b\nstory:c_000"))
    assert both.hits("a")
    assert both.hits("b")
    assert both.hits_story("c_000", "c")


@pytest.mark.parametrize(
    "line", ["sha256:12", "sha256:" + "g" * 64, "https://example.org/film", "take this down", "story:", "a\x07b", '"']
)
def test_a_line_that_cannot_be_understood_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InputError, match=r"line 2 is neither an ID"):
        TakedownList.parse(f"fine\n{line}\n")


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no takedown list"):
        TakedownList.read(tmp_path / "absent")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        TakedownList.read(tmp_path / "binary")


@pytest.mark.parametrize(
    ("address", "video_id"),
    [
        ("https://www.youtube.com/watch?v=LvJRvwIDh0E", "LvJRvwIDh0E"),
        ("youtu.be/-vJRvwIDh0E?t=1", "-vJRvwIDh0E"),
        ("https://m.youtube.com/shorts/LvJRvwIDh0E", "LvJRvwIDh0E"),
        ("https://www.youtube.com/watch?v=LvJRvwIDh0EE", None),
        ("https://example.org/watch?v=LvJRvwIDh0E", None),
        ("LvJRvwIDh0E", None),
    ],
)
def test_the_id_is_read_from_addresses_of_youtube_only(address: str, video_id: str | None) -> None:
    assert youtube_id(address) == video_id


def test_a_hundred_thousand_entries_cost_nothing_to_look_up() -> None:
    listed = TakedownList.parse("".join(f"{hash_id(str(number))}\n" for number in range(100_000)))
    begin = time.process_time()
    hits = sum(listed.hits(str(number)) for number in range(50_000, 150_000))
    assert hits == 50_000
    assert time.process_time() - begin < 5


def test_stories_of_the_list_are_not_published() -> None:
    stories = [story("v"), story("v", 1), story("w")]
    after = apply_takedown(stories, TakedownList.parse("story:v_001\nw"))
    assert [one.story_id for one in after.kept] == ["v_000"]
    assert after.removed == ["v_001", "w_000"]


def test_a_dataset_is_loaded_without_the_stories_of_its_own_list(dataset: Path, tmp_path: Path) -> None:
    ids = [item.story.story_id for item in load_stories(dataset)]
    assert ids == ["v_000", "v_001", "w_000"]
    (dataset / TAKEDOWN_FILE).write_text(f"{hash_id('w')}\n")
    try:
        assert [item.story.story_id for item in load_stories(dataset)] == ["v_000", "v_001"]
        more = tmp_path / "more.txt"
        more.write_text("story:v_000")
        for given in (more, str(more), TakedownList.read(more)):
            view = load_stories(dataset, takedown=given)
            assert [item.story.story_id for item in view] == ["v_001"]
        (dataset / TAKEDOWN_FILE).write_text("sha256:broken")
        with pytest.raises(InputError, match="line 1"):
            load_stories(dataset)
    finally:
        (dataset / TAKEDOWN_FILE).unlink()


def built_ids(cache: Path, **settings: object) -> set[str]:
    builder = AnimeShooterBuilder(cache_dir=str(cache), **settings)
    builder.download_and_prepare()
    return {row["story_id"] for split in builder.as_dataset().values() for row in split}


def test_the_builder_leaves_listed_stories_out_and_is_never_stale(dataset: Path, tmp_path: Path) -> None:
    assert built_ids(tmp_path, data_dir=dataset) == {"v_000", "v_001", "w_000"}
    assert built_ids(tmp_path, data_dir=dataset, takedown=TakedownList.parse("w")) == {"v_000", "v_001"}
    assert built_ids(tmp_path, data_dir=dataset) == {"v_000", "v_001", "w_000"}
    shots = AnimeShooterBuilder(
        config_name="shots", data_dir=dataset, cache_dir=str(tmp_path), takedown=TakedownList.parse("v")
    )
    shots.download_and_prepare()
    assert {row["video_id"] for row in shots.as_dataset(split="train").remove_columns("video")} == {"w"}


def test_the_builder_leaves_listed_videos_of_a_release_out(tmp_path: Path) -> None:
    segment = {"start frame index": 0, "end frame index": 9, "story script": {"storyline": "x", "shots": []}}
    for name in ("one", "two"):
        release = {"video ID": name, "fps": 3.0, "segments": [segment]}
        (tmp_path / f"{name}.json").write_text(json.dumps(release))
    assert built_ids(tmp_path / "cache", data_dir=tmp_path) == {"one_000", "two_000"}
    (tmp_path / TAKEDOWN_FILE).write_text("two")
    assert built_ids(tmp_path / "cache", data_dir=tmp_path) == {"one_000"}
    assert built_ids(tmp_path / "cache", data_dir=tmp_path / "one.json") == {"one_000"}


def test_a_dataset_on_the_hub_is_loaded_without_the_stories_of_its_list(dataset: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from huggingface_hub import HfApi; from animeshooter_hf import load_stories; api = HfApi()\n"
        "api.create_repo('me/data', repo_type='dataset')\n"
        "repo = {'repo_id': 'me/data', 'repo_type': 'dataset'}\n"
        "api.upload_folder(**repo, folder_path=sys.argv[1], allow_patterns='stories/*')\n"
        "api.upload_file(**repo, path_or_fileobj=b'w', path_in_repo='takedown.txt')\n"
        "print(*(item.story.story_id for item in load_stories('me/data', media=())))"
    )
    with loopback_hub(tmp_path / "hub") as hub:
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        command = [sys.executable, "-c", code, str(dataset)]
        made = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert made.returncode == 0, made.stderr[-3000:]
    assert made.stdout.split() == ["v_000", "v_001"]
