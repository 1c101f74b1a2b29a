"""A session with the modules of `evaluate`, in a process of its own: `python hf_session.py FOLDER` prints its answers.

The folder holds predictions.json; `import evaluate` takes seconds, so one session answers all questions.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluate
import torch
import transformers

from animeshooter_hf.cards.metric_card import METRIC_FOLDERS
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.runner import evaluate_stories

EVAL = Path(__file__).resolve().parents[2] / "eval"
CLASSICAL = ("reference_fidelity", "cross_shot_consistency", "shot_controls", "audio_alignment", "character_assignment")
COLUMNS = {
    "story_ids": "story_id",
    "ip_ids": "ip_id",
    "captions": "captions",
    "scene_ids": "scene_ids",
    "characters": "shot_characters",
    "regions": "regions",
    "sound": "sound",
    "sound_captions": "sound_captions",
}


def make_clip(folder: Path) -> Path:
    """Write a CLIP of two layers with random weights."""
    letters = list("abcdefghijklmnopqrstuvwxyz.")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**small, "vocab_size": 100, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 1}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**text, "pad_token_id": 1},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(words)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder


def refusal(call: Callable[[], Any]) -> str:
    """Return what a call says when it refuses."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def in_parallel(modules: list[Any], parts: list[dict[str, Any]], **options: Any) -> list[Any]:
    """Have each module add and compute its part, all at once; return what each said, or its refusal."""
    outcomes: list[Any] = [None] * len(modules)

    def work(rank: int) -> None:
        try:
            if any(parts[rank].values()):
                modules[rank].add_batch(**parts[rank])
            outcomes[rank] = modules[rank].compute(**options)
        except ValueError as error:
            outcomes[rank] = f"refused: {error}"

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(modules))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def load_ranks(name: str, count: int, **options: Any) -> list[Any]:
    """Return one module per rank."""
    chosen = {"num_process": count, "experiment_id": f"{name}-{count}", **options}
    return [evaluate.load(str(EVAL / name), process_id=rank, **chosen) for rank in range(count)]


def share(given: dict[str, list[Any]], rank: int, count: int) -> dict[str, list[Any]]:
    """Return every count-th entry of each column."""
    return {name: column[rank::count] for name, column in given.items()}


def whole_session(folder: Path) -> dict[str, Any]:
    """Return all answers."""
    torch.set_num_threads(1)
    rows = json.loads((folder / "predictions.json").read_text())
    for row in rows:
        for key in ("shots", "references", "sound"):
            row[key] = [str(folder / path) for path in row[key]]
    given = {column: [row[key] for row in rows] for column, key in COLUMNS.items()}
    given["predictions"] = [row["shots"] for row in rows]
    given["references"] = [
        [
            {"character": who, "image": path}
            for who, path in zip(row["reference_characters"], row["references"], strict=True)
        ]
        for row in rows
    ]
    stories = list(read_predictions(folder))
    clip = f"clip:{make_clip(folder / 'weights' / 'clip')}"
    texts = evaluate.load(str(EVAL / "text_alignment"), clip)
    kept = {"embedding_cache": folder / "cache"}  # what was embedded once need not be embedded ten times
    modules = {name: evaluate.load(str(EVAL / name), **kept) for name in CLASSICAL}
    answers: dict[str, Any] = {
        "expected": evaluate_stories(stories, CLASSICAL).to_json()["corpus"],
        "expected_text": evaluate_stories(stories, "text_alignment", backend=clip).to_json()["corpus"],
        "compute": {name: module.compute(**given, per_story=True) for name, module in modules.items()},
        "text": texts.compute(**given),
        "names": [module.name for module in modules.values()],
        "refused": refusals(modules["reference_fidelity"], given),
    }

    for start, end in ((0, 1), (1, len(rows))):
        modules["character_assignment"].add_batch(**{name: column[start:end] for name, column in given.items()})
    answers["add_batch"] = modules["character_assignment"].compute()
    for index in range(len(rows)):
        columns = {name: column[index] for name, column in given.items()}
        modules["audio_alignment"].add(
            prediction=columns.pop("predictions"), reference=columns.pop("references"), **columns
        )
    answers["add"] = modules["audio_alignment"].compute()

    combined = evaluate.combine(list(modules.values()))
    answers["combine"] = combined.compute(**given)
    for part in (rows[:2], rows[2:]):
        combined.add_batch(predictions=part)
    answers["combine_add_batch"] = combined.compute()

    answers["pair"] = in_parallel(load_ranks("shot_controls", 2), [share(given, rank, 2) for rank in (0, 1)])
    many = len(rows) + 1
    answers["empty_rank"] = in_parallel(
        load_ranks("reference_fidelity", many), [share(given, rank, many) for rank in range(many)]
    )
    alone = load_ranks("character_assignment", 2, timeout=0.3)[:1]
    answers["alone"] = in_parallel(alone, [given])
    answers["alone_after"] = alone[0].filelock is None

    cached = evaluate.load(str(EVAL / "reference_fidelity"), draws=200, keep_in_memory=True, **kept)
    answers["cached"] = [cached.compute(**given) for _ in range(2)]
    missing = {**given, "predictions": [["gone.mp4", *given["predictions"][0][1:]], *given["predictions"][1:]]}
    answers["missing_file"] = modules["reference_fidelity"].compute(**missing)
    answers["votes"] = vote_answers()
    answers["examples"] = {name: example_keys(name) for name in METRIC_FOLDERS}
    return answers


def example_keys(name: str) -> list[str]:
    """Run the example of a card as it stands, in the folder of the stories; return the numbers that it got."""
    (code,) = re.findall(r"```python\n(.*?)```", (EVAL / name / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, f"{name}/README.md", "exec"), names)
    return [key for key, value in names["results"].items() if value is not None]


def refusals(fidelity: Any, given: dict[str, list[Any]]) -> dict[str, str]:
    """Return what the modules say to bad inputs."""
    predictions, references = given["predictions"], given["references"]
    path = str(EVAL / "reference_fidelity")

    def twice() -> None:
        fidelity.add_batch(predictions=predictions[:1], story_ids=["same"])
        fidelity.compute(predictions=predictions[:1], story_ids=["same"])

    return {
        "text": refusal(lambda: fidelity.compute(predictions=["a.mp4"], references=[["a.png"]])),
        "length": refusal(lambda: fidelity.compute(predictions=predictions, references=references[:1])),
        "unknown": refusal(lambda: fidelity.add_batch(predictions=predictions, colours=[1])),
        "key": refusal(lambda: fidelity.add_batch(predictions=[{"shots": ["a.mp4"], "colour": 1}])),
        "double": refusal(lambda: fidelity.add_batch(predictions=[{"shots": ["a.mp4"], "track": "x"}], tracks=["y"])),
        "reference": refusal(lambda: fidelity.add_batch(predictions=[["a.mp4"]], references=[[{"image": "a.png"}]])),
        "references": refusal(lambda: fidelity.add_batch(predictions=[["a.mp4"]], references=["a.png"])),
        "region": refusal(lambda: fidelity.add_batch(predictions=[["a.mp4"]], regions=[[{"x": [{"frame": 0}]}]])),
        "shots": refusal(lambda: fidelity.add_batch(predictions=[["a.mp4"]], captions=[["one", "two"]])),
        "none": refusal(fidelity.add_batch),
        "backend": refusal(lambda: evaluate.load(path, "oracle")),
        "no text": refusal(lambda: evaluate.load(str(EVAL / "text_alignment"), "classical")),
        "missing": refusal(lambda: fidelity.compute(per_story=True, story_ids=given["story_ids"])),
        "nothing": refusal(fidelity.compute),
        "empty": refusal(lambda: fidelity.compute(predictions=[], references=[])),
        "twice": refusal(twice),
        "after": refusal(lambda: fidelity.compute(predictions=predictions[:1])),
    }


def vote_answers() -> dict[str, Any]:
    """Return what the comparison says of some votes."""
    votes = {
        "left": ["a", "b", "a", "c", "b", "c", "a", "b", "c", "a", "b", "c"],
        "right": ["b", "a", "c", "a", "c", "b", "b", "c", "a", "c", "a", "b"],
        "answers": ["left", "right", "left", "right", "left", "tie", "right", "left", "left", "left", "right", "right"],
        "raters": ["one", "two", "three"] * 4,
        "story_ids": ["s1", "s2"] * 6,
        "ip_ids": ["i1", "i2"] * 6,
    }
    preference = evaluate.load(str(EVAL / "story_preference"))
    answers = {"given": votes, "compute": preference.compute(**votes, draws=100)}
    for index in range(12):
        preference.add(**{name: column[index] for name, column in votes.items()})
    answers["add"] = preference.compute(draws=100)
    ranks = load_ranks("story_preference", 3)
    outcomes = in_parallel(ranks, [share(votes, 0, 2), share(votes, 1, 2), {}], draws=100)
    answers["ranks"] = outcomes
    answers["refused"] = {
        "answer": refusal(lambda: preference.compute(left=["a"], right=["b"], answers=["a"])),
        "missing": refusal(lambda: preference.compute(left=["a"], right=["b"])),
        "length": refusal(lambda: preference.compute(left=["a"], right=["b", "c"], answers=["tie"])),
        "unknown": refusal(lambda: preference.compute(left=["a"], right=["b"], answers=["tie"], colour=["red"])),
        "same": refusal(lambda: preference.compute(left=["a"], right=["a"], answers=["tie"])),
        "name": refusal(lambda: preference.compute(left=["a"], right=[""], answers=["tie"])),
        "nothing": refusal(preference.compute),
    }
    return answers


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    Path("eval").symlink_to(EVAL)
    sys.stdout.write(json.dumps(whole_session(Path(sys.argv[1])), allow_nan=False) + "\n")
