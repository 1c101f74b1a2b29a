"""Films of a dataset repository come through the Hub's own client, from one commit, and not twice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from loopback_hub import LoopbackHub, loopback_hub

UPLOAD = """
from huggingface_hub import HfApi, CommitOperationAdd
api = HfApi()
api.create_repo("me/films", repo_type="dataset", exist_ok=True)
files = {"README.md": b"# films", "rights.csv": b"video_id", "takedown.txt": b"unwanted",
         "a/one.mp4": b"1" * 3000, "a/one.script.json": b"{}", "a/unwanted.mp4": b"2" * 3000,
         "a/listed.mp4": b"3", "a/.hidden.mp4": b"4", "a/b;c.mp4": b"5", "a/deep/one.mkv": b"6", "other/two.mp4": b"7"}
added = [CommitOperationAdd(name, content) for name, content in files.items()]
api.create_commit("me/films", added, commit_message="films", repo_type="dataset")
"""
COLLECT = """
import json, sys
from pathlib import Path
from animeshooter_hf.dataset_builder.sources.source import SourceSettings, collect_films
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList
settings = SourceSettings(takedown=TakedownList.parse("listed"))
for spec in sys.argv[2:]:
    try:
        found = collect_films([spec], Path(sys.argv[1]), settings, progress=False)
        films = {film.video_id: [str(film.path), film.url, film.path.stat().st_size] for film in found.films}
        print(json.dumps([films, {one.path.name: one.reason for one in found.refused}]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with loopback_hub(tmp_path_factory.mktemp("hub") / "store") as running:
        run_client(running, UPLOAD)
        yield running


def run_client(hub: LoopbackHub, code: str, *words: str, endpoint: str | None = None) -> list[Any]:
    home = hub.store.parent / "home"
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint or hub.url, "HF_TOKEN": "hf_loopback", "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-c", code, *words]
    made = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert made.returncode == 0, made.stderr[-3000:]
    return [json.loads(line) for line in made.stdout.splitlines()]


def test_films_of_a_subfolder_come_with_what_stands_beside_them(hub: LoopbackHub, tmp_path: Path) -> None:
    first = len(hub.requests)
    ((films, refused),) = run_client(hub, COLLECT, str(tmp_path), "hf://datasets/me/films@main/a")
    assert set(films) == {"one"}
    path, url, size = films["one"]
    assert size == 3000
    assert Path(path).with_name("one.script.json").read_bytes() == b"{}"
    assert (tmp_path / "hub" / "me--films" / "rights.csv").is_file()
    assert url.startswith("https://huggingface.co/datasets/me/films/blob/")
    assert refused["unwanted.mp4"] == "unwanted is on the takedown list."
    assert refused["listed.mp4"] == "listed is on the takedown list."
    assert "same name" in refused["one.mkv"]
    assert "cannot serve as an ID" in refused["b;c.mp4"]
    asked = [path for method, path, _ in hub.requests[first:]]
    assert not any(name in path for path in asked for name in ("unwanted.mp4", "listed.mp4", "hidden", "two.mp4"))


def test_what_is_here_is_not_brought_again_and_what_is_not_there_is_refused(hub: LoopbackHub, tmp_path: Path) -> None:
    word = "hf://datasets/me/films"
    (films, _), again, absent, empty, revision = run_client(
        hub, COLLECT, str(tmp_path), word, word, "hf://datasets/me/absent", f"{word}/nowhere", f"{word}@nowhere"
    )
    assert set(films) == {"one", "two"}
    assert again[0] == films
    assert absent.startswith("The dataset me/absent cannot be had from the Hub")
    assert empty == "The dataset me/films holds no film below nowhere."
    assert revision.startswith("The dataset me/films at nowhere cannot be had from the Hub")
    gets = [path for method, path, _ in hub.requests if method == "GET" and "two.mp4" in path]
    assert len(gets) == 1


def test_a_hub_that_cannot_be_reached_is_reported_in_one_sentence(hub: LoopbackHub, tmp_path: Path) -> None:
    (message,) = run_client(hub, COLLECT, str(tmp_path), "hf://datasets/me/films", endpoint="http://127.0.0.1:9")
    assert message.startswith("The dataset me/films cannot be had from the Hub")
