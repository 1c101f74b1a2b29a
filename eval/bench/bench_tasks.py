"""The tasks of a benchmark on the Hub, and the file `eval.yaml` that declares them.

The Hub keeps one number for each task of a dataset, so each headline number of each track is a task of its own, and
for all of them higher is better: a distance is entered as one minus itself. A dataset with an `eval.yaml` becomes a
benchmark when the Hub lists it and knows its `evaluation_framework`; until then the file only documents the tasks.

Source of the shape: the Hub's documentation of eval results (keys name, description, evaluation_framework, tasks, and
id, config, split of a task); huggingface_hub 2.4 has no parser of it, so the check is ours.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.tracks import TRACKS

__all__ = ["EVALUATION_FRAMEWORK", "TASKS", "check_eval_yaml", "eval_yaml", "task_ids", "track_task_id"]

EVALUATION_FRAMEWORK = "animeshooter"
"""Identifier of the code that makes the numbers. The Hub has to add it to its list."""

TASKS: Mapping[str, str] = {
    "ref_fidelity_clip_harmeanp": "HarMeanP of the similarity to the reference, with CLIP",
    "ref_fidelity_dreamsim_harmeanp": "HarMeanP of one minus the distance to the reference, with DreamSim",
    "ref_retrieval_at1": "share of shots nearest to their own character's reference",
    "cross_shot_char": "similarity of the character between shots",
    "scene_contrast": "similarity of backgrounds in the same scene minus that in different scenes",
    "text_alignment": "similarity of shots to their captions",
    "judge_pointwise_oq": "judge, each system alone: overall quality",
    "judge_pointwise_crc": "judge, each system alone: consistency with the reference",
    "judge_pointwise_msc": "judge, each system alone: consistency of style over the shots",
    "judge_pointwise_mcc": "judge, each system alone: consistency of the context over the shots",
}
"""Task -> what is measured, in every track."""

_TRACK_TASKS: Mapping[str, Mapping[str, str]] = {
    "multi_character": {"character_assignment": "likeness of the cast to its references, times the F1 of finding it"},
    "audio": {"audio_alignment": "similarity of the sound to what should be heard"},
}
_TRUTH_TASKS: Mapping[str, str] = {"attribute_identity": "share of attributes of the character that are recovered"}

_KEYS = {"name", "description", "evaluation_framework", "tasks"}
_TASK_KEYS = {"id", "config", "split"}
_TASK_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def track_task_id(task: str, track: str) -> str:
    """Return the ID of a task in a track: the task's own name in `main`, with the track before it elsewhere.

    Example:
        >>> track_task_id("ref_retrieval_at1", "main"), track_task_id("ref_retrieval_at1", "long")
        ('ref_retrieval_at1', 'long_ref_retrieval_at1')
    """
    return task if track == "main" else f"{track}_{task}"


def task_ids(tracks: Sequence[str], *, has_truth: bool) -> dict[str, tuple[str, str]]:
    """Return the ID of each task -> its track and what is measured."""
    found = {}
    for track in tracks:
        for task, words in {**TASKS, **_TRACK_TASKS.get(track, {}), **(_TRUTH_TASKS if has_truth else {})}.items():
            found[track_task_id(task, track)] = (track, words)
    return found


def eval_yaml(name: str, description: str, tracks: Sequence[str], *, has_truth: bool) -> str:
    """Return the text of `eval.yaml`, checked."""
    tasks = task_ids(tracks, has_truth=has_truth)
    data = {
        "name": name,
        "description": description,
        "evaluation_framework": EVALUATION_FRAMEWORK,
        "tasks": [{"id": task, "config": "stories", "split": track} for task, (track, _) in tasks.items()],
    }
    check_eval_yaml(data)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000)


def check_eval_yaml(data: Any) -> None:
    """Refuse what is no `eval.yaml`.

    Raises:
        InputError: If so; the message names the key and what is expected.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"eval.yaml must hold keys and values, got {type(data).__name__}.")
    _check_keys(data, _KEYS, "eval.yaml")
    for key in ("name", "description", "evaluation_framework"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise InputError(f"{key} of eval.yaml must be a text that is not empty, got {data.get(key)!r}.")
    tasks = data.get("tasks")
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, Mapping) for task in tasks):
        raise InputError("tasks of eval.yaml must be a list of at least one task.")
    for task in tasks:
        _check_keys(task, _TASK_KEYS, "a task of eval.yaml")
        if not isinstance(task.get("id"), str) or not _TASK_ID.fullmatch(task["id"]):
            raise InputError(
                f"id of a task of eval.yaml must be small letters, digits, _ and -, got {task.get('id')!r}."
            )
        if not all(isinstance(task.get(key, ""), str) for key in _TASK_KEYS):
            raise InputError(f"config and split of task {task['id']} must be texts.")
    names = [task["id"] for task in tasks]
    if len(set(names)) != len(names):
        raise InputError(f"A task of eval.yaml stands there twice: {max(names, key=names.count)}.")


def _check_keys(data: Mapping[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(map(str, data)) - known)
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {what}. Known keys: {', '.join(sorted(known))}.")


if not set(_TRACK_TASKS) <= set(TRACKS):
    raise RuntimeError("Every track with tasks of its own must be a track.")
