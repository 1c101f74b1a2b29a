"""The folder of a training: begun, gone on with, or refused, and never shared by two trainings.

train.json     settings, mark of the pipeline it began with, number of windows
log.jsonl      a line for each step
loss.png       the curve
state/         whole states, see train_state.py
validation/    pictures of stories that were generated on the way
trackers/      files of TensorBoard and the like
cache/         latents, text states, vision features; good for other trainings too
pipeline/      what was trained, as a pipeline; or
lora/          as a LoRA of the video model
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import TrainSettings

__all__ = ["begin_or_go_on", "holding", "is_begun"]

_FORMAT = "animeshooter-training"
_FILE = "train.json"
_OWN = ("state", "validation", "trackers", "pipeline", "lora", "log.jsonl", "loss.png", _FILE)

MAY_CHANGE = (
    "out", "pipeline", "data.dataset", "steps", "save_every", "keep", "validate_every", "validation", "trackers",
    "log_every", "max_bad_steps", "cache", "is_cached", "workers", "character", "licence",
)  # fmt: skip
"""Settings that may be others when a training goes on. Where pipeline and dataset lie is no matter; what they are is
compared by the pipeline's mark and the number of windows. More steps train longer."""


def is_begun(out: Path) -> bool:
    """Return whether the folder holds a training."""
    return (out / _FILE).is_file()


def begin_or_go_on(out: Path, settings: TrainSettings, facts: Mapping[str, Any], *, fresh: bool = False) -> bool:
    """Make the folder ready, and return whether a training goes on there.

    Args:
        out: The folder.
        settings: Of the training.
        facts: What it begins with: mark of the pipeline, number of windows.
        fresh: Forget a training that is there; its cache stays.

    Raises:
        InputError: If the folder holds another training or other files, or cannot be written.
    """
    if fresh and is_begun(out):
        for name in _OWN:
            _remove(out / name)
    if is_begun(out):
        _check_same(out, settings, facts)
    elif out.is_dir() and any(path.name not in ("cache", ".lock") for path in out.iterdir()):
        raise InputError(f"{out} is not empty and holds no training of this kind; name another folder.")
    goes_on = is_begun(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        data = {"format": _FORMAT, "format_version": 1, "settings": settings_to_json(settings), **facts}
        aside = out / f".{_FILE}.partial"
        aside.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        aside.replace(out / _FILE)
    except OSError as error:
        raise InputError(f"The training cannot be written to {out}: {error.strerror or error}.") from error
    return goes_on


@contextmanager
def holding(out: Path) -> Iterator[None]:
    """Hold the folder for the time of the block, where the system has locks.

    Raises:
        InputError: If another process trains there, or it is no folder.
    """
    if any(part.exists() and not part.is_dir() for part in (out, *out.parents)):
        raise InputError(f"The training cannot be written to {out}: it is, or lies in, a file.")
    if os.name != "posix":
        yield
        return
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("w")
    except OSError as error:
        raise InputError(f"The training cannot be written to {out}: {error.strerror or error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"Another process trains into {out}; wait for it, or name another folder.") from error
        yield


def _check_same(out: Path, settings: TrainSettings, facts: Mapping[str, Any]) -> None:
    try:
        known = json.loads((out / _FILE).read_text(encoding="utf-8"))
        before = _leaves(known["settings"])
        is_ours = known["format"] == _FORMAT and known["format_version"] == 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{out / _FILE} cannot be read; --fresh begins anew.") from error
    if not is_ours:
        raise InputError(f"{out} holds a training of another version; name another folder, or begin anew with --fresh.")
    now = _leaves(settings_to_json(settings))
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key) and not _may_change(key):
            raise InputError(f"{out} holds a training with {key} {before.get(key)!r}, and now it is {now.get(key)!r}; "
                             "name another folder, or begin anew with --fresh.")  # fmt: skip
    words = {"pipeline_mark": "another pipeline", "num_windows": "other data"}
    for key, value in facts.items():
        if known.get(key) != value:
            seen = f" ({known.get(key)} windows, now {value})" if key == "num_windows" else ""
            raise InputError(f"{out} holds a training that began with {words.get(key, 'another ' + key)}{seen}; "
                             "name another folder, or begin anew with --fresh.")  # fmt: skip


def _may_change(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)


def _leaves(settings: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        leaves |= _leaves(value, f"{before}{key}.") if isinstance(value, Mapping) else {before + key: value}
    return leaves


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
