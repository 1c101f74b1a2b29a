"""The metrics as modules of `evaluate`, loaded from their folders in a process that has never seen the network.

`import evaluate` takes seconds, so one process answers all questions here.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.runner import evaluate_stories

if find_spec("evaluate") is None:
    pytest.skip("`evaluate` is not installed (extra `evaluate`)", allow_module_level=True)
ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys, threading
import evaluate

root, predictions, references, ids = json.loads(sys.argv[1])
fidelity = evaluate.load(f"{root}/eval/reference_fidelity")
consistency = evaluate.load(f"{root}/eval/cross_shot_consistency", keep_in_memory=True)
answers = {"name": fidelity.name, "inputs": sorted(fidelity.features)}
given = {"predictions": predictions, "references": references}
answers["compute"] = fidelity.compute(**given, story_ids=ids, per_story=True)
answers["consistency"] = consistency.compute(**given, scene_ids=[["a", "a", "b"]] * len(ids))

for start, end in ((0, 1), (1, len(ids))):
    fidelity.add_batch(predictions=predictions[start:end], references=references[start:end])
answers["add_batch"] = fidelity.compute()
for shots, pictures in zip(predictions, references):
    fidelity.add(prediction=shots, reference=pictures)
answers["add"] = fidelity.compute()
answers["combine"] = evaluate.combine([fidelity, consistency]).compute(**given)

parts = [
    evaluate.load(f"{root}/eval/reference_fidelity", num_process=2, process_id=rank, experiment_id="pair")
    for rank in (0, 1)
]
outcomes = [None, None]
def work(rank):
    parts[rank].add_batch(predictions=predictions[rank::2], references=references[rank::2])
    outcomes[rank] = parts[rank].compute()
threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
answers["pair"] = outcomes

def refused(call):
    try:
        call()
    except ValueError as error:
        return str(error)

answers["refused"] = {
    "text": refused(lambda: fidelity.compute(predictions=["a.mp4"], references=[["a.png"]])),
    "length": refused(lambda: fidelity.compute(predictions=predictions, references=references[:1])),
    "unknown": refused(lambda: fidelity.add_batch(**given, colours=[1])),
    "backend": refused(lambda: evaluate.load(f"{root}/eval/reference_fidelity", "clip")),
    "missing": refused(lambda: fidelity.compute(per_story=True, story_ids=ids)),
}
missing = fidelity.compute(predictions=[["gone.mp4"], *predictions[1:]], references=references)
answers["missing_file"] = missing
print(json.dumps(answers, allow_nan=False))
"""


@pytest.fixture
def answers(story_folder: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    folder = story_folder("fox", "frog", "witch", num_shots=3)
    stories = list(read_predictions(folder))
    given = [
        str(ROOT),
        [[str(path) for path in story.shots] for story in stories],
        [[str(path) for path in story.references] for story in stories],
        [story.story_id for story in stories],
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment.pop("HF_MODULES_CACHE", None)
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(given)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr[-3000:]
    spoken: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    spoken["expected"] = evaluate_stories(stories).to_json()
    spoken["leftovers"] = [str(path) for path in (tmp_path / "home").rglob("*.arrow")]
    return spoken


def test_both_modules_load_offline_and_give_the_numbers_of_evaluate_stories(answers: dict[str, Any]) -> None:
    expected = {
        name: entry["value"] for entries in answers["expected"]["corpus"].values() for name, entry in entries.items()
    }
    assert answers["name"] == "reference_fidelity"
    assert answers["inputs"] == ["predictions", "references"]
    for way in ("compute", "add_batch", "add", "combine"):
        for name in ("mean", "min", "harmean_p", "within_sd", "slope", "distance_harmean_p", "auc", "retrieval_at_1"):
            assert answers[way][name] == pytest.approx(expected[name], abs=1e-12), (way, name)
    for name in ("pairwise", "adjacent", "anchor", "gap_slope", "loo_centroid", "background_pairwise"):
        assert answers["consistency"][name] == pytest.approx(expected[name], abs=1e-12)
        assert answers["combine"][name] == pytest.approx(expected[name], abs=1e-12)
    assert answers["consistency"]["scene_contrast"] is not None
    assert answers["pair"][1] is None
    assert answers["pair"][0]["mean"] == pytest.approx(expected["mean"], abs=1e-12)
    assert all(not isinstance(value, dict | list) for value in answers["combine"].values())
    stories = answers["compute"].pop("per_story")
    assert [story["story_id"] for story in stories] == ["fox_1", "frog_1", "witch_1"]
    assert all(not isinstance(value, dict | list) for value in answers["compute"].values())
    assert answers["compute"]["coverage"] == 1.0
    assert answers["compute"]["signature"].startswith("reffid|classical-")
    assert "list of paths" in answers["refused"]["text"]
    assert "one entry for each of 3 stories" in answers["refused"]["length"]
    assert "Unknown input 'colours'" in answers["refused"]["unknown"]
    assert "no backend 'clip'" in answers["refused"]["backend"]
    assert "needs predictions" in answers["refused"]["missing"]
    assert answers["missing_file"]["n_shots_failed"] == 1
    assert answers["missing_file"]["mean"] > 0.3
    assert answers["missing_file"]["coverage"] == pytest.approx(6 / 7)
    assert answers["leftovers"] == []
