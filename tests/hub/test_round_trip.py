"""Publish, load in every way, download: what the unmodified clients read is what the folder holds."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from client_environment import client_environment
from publish_folder import FREE, Publisher, World, files_at

from animeshooter_hf.features import CONFIGS

READER = """
import hashlib, json, sys
from datasets import get_dataset_config_names, load_dataset
from huggingface_hub import snapshot_download

def digest(rows):
    text = json.dumps(rows, sort_keys=True, default=lambda value: hashlib.sha256(value).hexdigest())
    return hashlib.sha256(text.encode()).hexdigest()

repo, told = sys.argv[1], {}
told["configs"] = get_dataset_config_names(repo)
told["default"] = load_dataset(repo, split="train", streaming=True).column_names
for config in told["configs"]:
    whole = load_dataset(repo, config, split="train", revision="v1.0.0")
    stream = load_dataset(repo, config, split="train", streaming=True, revision="v1.0.0")
    column = load_dataset(repo, config, split="train", columns=["story_id"], streaming=True)
    told[config] = {
        "features": whole.features.to_dict(),
        "streamed_features": stream.features.to_dict(),
        "map": digest(whole.with_format("arrow")[:].to_pylist()),
        "stream": digest(list(stream.decode(False))),
        "columns": digest([sorted(row.items()) for row in column]),
    }
told["snapshot"] = snapshot_download(repo, repo_type="dataset", revision="v1.0.0")
print(json.dumps(told))
"""


def digest(rows: list[Any]) -> str:
    """Return a hash of rows, as the reader makes it."""
    text = json.dumps(rows, sort_keys=True, default=lambda value: hashlib.sha256(value).hexdigest())
    return hashlib.sha256(text.encode()).hexdigest()


def published_rows(folder: Path, config: str) -> list[dict[str, Any]]:
    """Return the rows of a folder that its rights let go up."""
    rows = [
        row for path in sorted((folder / config).glob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()
    ]
    return [row for row in rows if config == "stories" or row["video_id"] in FREE]


@pytest.mark.parametrize("mode", ["plain", "xet"])
def test_what_readers_get_is_what_the_folder_holds(world: World, tmp_path: Path, mode: str) -> None:
    repo = f"me/round-{mode}"
    publish = world.publish if mode == "plain" else Publisher(world.hub, tmp_path / "home", xet=True)
    put_before = len(world.hub.uploads())
    publish.json(world.folder, repo, "--policy", "full", "--tag", "v1.0.0")
    publish.json(world.folder, repo, "--policy", "full", "--takedown", _one_story(tmp_path))
    if mode == "xet":
        publish.close()
        assert len(world.hub.uploads()) == put_before, "something went by the plain protocol"
        assert world.hub.xet.stored_bytes() > 0

    home = tmp_path / "reader"
    environment = client_environment(world.hub.url, home, xet=mode == "xet", HF_TOKEN="", USE_TORCH="0")
    made = subprocess.run([sys.executable, "-c", READER, repo], capture_output=True, text=True, env=environment)
    assert made.returncode == 0, made.stderr[-3000:]
    told = json.loads(made.stdout)

    assert told["configs"] == list(CONFIGS)
    assert told["default"] == list(CONFIGS["stories"])
    for config, features in CONFIGS.items():
        rows = published_rows(world.folder, config)
        assert rows
        assert told[config]["features"] == told[config]["streamed_features"] == features.to_dict()
        assert told[config]["map"] == told[config]["stream"] == digest(rows)
        kept = [[("story_id", row["story_id"])] for row in rows if row["story_id"] != f"{FREE[0]}_000"]
        assert told[config]["columns"] == digest(kept), "these come from the newest commit, the others from the tag"
    _same_files(files_at(world.hub, repo, "v1.0.0"), Path(told["snapshot"]))


def _one_story(folder: Path) -> Path:
    path = folder / "later.txt"
    path.write_text(f"story:{FREE[0]}_000\n")
    return path


def _same_files(expected: dict[str, bytes], folder: Path) -> None:
    found = {os.path.relpath(path, folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == expected
