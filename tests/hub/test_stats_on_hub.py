"""`animeshooter stats ORG/NAME` counts a repository and fetches nothing that it does not need."""

import json
import sys
from pathlib import Path

from loopback_hub import LoopbackHub

from animeshooter_hf.dataset_builder.package import write_dataset

sys.path.insert(0, str(Path(__file__).parents[1] / "dataset_builder"))
from packaging_stories import Films, film, story

UPLOAD = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("me/data", repo_type="dataset")
api.upload_folder(repo_id="me/data", repo_type="dataset", folder_path={folder!r})
"""
STATS = """
import argparse, json
from animeshooter_hf.dataset_builder.stats_command import add_arguments, run
parser = argparse.ArgumentParser()
add_arguments(parser)
assert run(parser.parse_args({words!r})) == 0
"""
MISSING = """
from animeshooter_hf.dataset_builder.stats_source import open_stats_source
from animeshooter_hf.errors import InputError
try:
    open_stats_source("me/nothing", with_media=False)
except InputError as error:
    print(error)
"""


def test_a_repository_is_counted_and_its_media_are_fetched_only_when_asked_for(
    hub: LoopbackHub, run_client, tmp_path: Path
) -> None:
    film(tmp_path, "a")
    write_dataset(tmp_path / "ds", [story("a"), story("b", num_shots=3)], media=Films(tmp_path), progress=False)
    run_client(UPLOAD.format(folder=str(tmp_path / "ds")))
    told = json.loads(run_client(STATS.format(words=["me/data", "--json"])))
    assert told["counts"]["stories"] == 2
    assert told["counts"]["shots"] == 7
    assert told["media"] is None
    assert hub.count("GET", "/stories/train-") >= 1
    assert [hub.count("GET", f"/{config}/train-") for config in ("shots", "references", "audio")] == [0, 0, 0]
    told = json.loads(run_client(STATS.format(words=["me/data", "--json", "--media", "all"])))
    assert told["media"]["columns"]["shots.video"]["num_read"] == 4
    assert told["missing_media"]["shots_without_clip"] == 3
    assert all(hub.count("GET", f"/{config}/train-") for config in ("shots", "references", "audio"))


def test_a_repository_that_is_not_there_is_refused_in_a_sentence(run_client) -> None:
    assert run_client(MISSING) == "me/nothing is no folder or file here and cannot be had from the Hub."
