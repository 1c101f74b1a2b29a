"""A dataset on the Hub is read by ranges, and gives the same as a folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import LoopbackHub
from packaging_stories import Films, film, story
from uploader_jobs import RunClient

from animeshooter_hf.dataset_builder.package import write_dataset

READ = """
import hashlib, json, pickle, sys
from animeshooter_hf import load_stories
from animeshooter_hf.loading import FrameSampling, StoryLoader

def digest(view):
    found = hashlib.sha256()
    for item in view:
        found.update(json.dumps(item.story.to_json()).encode())
        for index in range(len(item.shots)):
            found.update(item.frames(index, 3, 9).tobytes())
            if item.has_audio(index):
                found.update(item.audio(index)[0].tobytes())
        for reference in item.references():
            found.update(reference.cutout.tobytes())
    return found.hexdigest()

def batches(view, workers):
    loader = StoryLoader(
        view.torch(window=2, sampling=FrameSampling(num_frames=2)), batch_size=2, seed=3, num_workers=workers
    )
    return [(batch["shot_ids"], int(batch["frames"].sum())) for batch in loader]

if __name__ == "__main__":
    local, afar = load_stories(sys.argv[1]), load_stories("me/data", streaming=True)
    told = {"ids": afar.story_ids, "name": repr(afar), "same_clip": afar[1].clip(2) == local[1].clip(2)}
    told["same"] = digest(afar) == digest(local)
    told["pickled"] = digest(pickle.loads(pickle.dumps(afar))) == digest(local)
    told["address"] = load_stories("hf://datasets/me/data@v1", streaming=True).story_ids
    told["downloaded"] = load_stories("me/data", revision="v1", media=()).story_ids
    alone = batches(afar, 0)
    told["workers"] = batches(afar, 2) == alone
    told["samples"] = sorted(shots for batch in alone for shots in batch[0])
    errors = []
    for arguments in (("me/none",), ("me/data", "dev"), ("me/empty",)):
        for more in ({}, {"streaming": True}):
            try: load_stories(*arguments, **more)
            except Exception as error: errors.append(f"{type(error).__name__}: {error}")
    try: load_stories("me/data", streaming=True, revision="v9")
    except Exception as error: errors.append(f"{type(error).__name__}: {error}")
    told["errors"] = errors
    print(json.dumps(told))
"""

PUBLISH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
for name in ("me/data", "me/empty"):
    api.create_repo(name, repo_type="dataset")
api.upload_folder(repo_id="me/data", repo_type="dataset", folder_path=FOLDER)
api.create_tag("me/data", repo_type="dataset", tag="v1")
api.upload_file(repo_id="me/data", repo_type="dataset", path_or_fileobj=b"story:v_000", path_in_repo="takedown.txt")
"""


@pytest.fixture
def told(hub: LoopbackHub, run_client: RunClient, tmp_path: Path) -> dict[str, Any]:
    film(tmp_path, "v")
    stories = [story("v", segment) for segment in range(3)]
    write_dataset(tmp_path / "data", stories, media=Films(tmp_path), progress=False)
    run_client(PUBLISH.replace("FOLDER", repr(str(tmp_path / "data"))))
    (tmp_path / "data" / "takedown.txt").write_text("story:v_000")
    script = tmp_path / "read.py"
    script.write_text(READ)
    run = f"import sys, runpy; sys.argv[1:] = [{str(tmp_path / 'data')!r}]"
    run += f"; runpy.run_path({str(script)!r}, run_name='__main__')"
    answer: dict[str, Any] = json.loads(run_client(run).splitlines()[-1])
    return answer


def test_streaming_gives_what_a_folder_gives_and_reads_only_ranges(told: dict[str, Any]) -> None:
    assert told["ids"] == ["v_001", "v_002"]
    assert told["name"] == "StoryView(me/data, 2 stories)"
    assert told["same_clip"]
    assert told["same"]
    assert told["pickled"]
    assert told["workers"]
    assert told["samples"] == [[f"v_00{n}_0{k}", f"v_00{n}_0{k + 1}"] for n in (1, 2) for k in range(3)]
    assert told["address"] == told["downloaded"] == ["v_000", "v_001", "v_002"]
    absent = "InputError: The dataset me/none is no folder here and cannot be had from the Hub. If it is private"
    no_split = "InputError: me/data has no split 'dev'. Its splits: train."
    (one, other, downloaded, streamed, empty, empty_too, revision) = told["errors"]
    assert one.startswith(absent)
    assert other.startswith(absent)
    assert downloaded == streamed == no_split
    assert empty == empty_too == "InputError: me/empty is no dataset of ours: it has no folder `stories`."
    assert revision == "InputError: The dataset me/data has no revision 'v9' on the Hub."
