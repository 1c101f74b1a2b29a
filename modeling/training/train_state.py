"""The whole state of a training on disk: written aside, then renamed, so that what was there is never lost.

    state/step_00000500/weights.safetensors     trained weights, by name
                        average.safetensors     their moving average, if there is one
                        optimizer_0.pt          states of the optimizers
                        process_0.pt            random states of torch, numpy and Python, one file for each process
                        state.json              step, and size and SHA-256 of every other file; written last

A kill or a full disk in the middle leaves a folder whose name ends in ".partial", which the next save clears away. A
state of which a file is short or changed is passed over, with a warning, for the one before it. Where in the data a
training was needs no file: it follows from the step (batch_order.py, draws.py).

Under FSDP and DeepSpeed no process holds all weights; accelerate writes its own files into `sharded/` of the same
folder then.
"""

import hashlib
import json
import logging
import os
import random
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from animeshooter_hf.errors import InputError

__all__ = [
    "TrainState",
    "latest_state",
    "load_common",
    "load_random_states",
    "random_states",
    "reason_of",
    "remove_states",
    "save_state",
    "set_random_states",
]

logger = logging.getLogger(__name__)

_FORMAT = "animeshooter-train-state"
_PARTIAL = ".partial"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainState:
    """A state that is whole."""

    folder: Path
    """Where its files are."""

    step: int
    """Optimizer steps that are done."""

    facts: Mapping[str, Any]
    """What else was written down with it."""


def save_state(
    states: Path,
    step: int,
    *,
    weights: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    average: Mapping[str, Tensor] | None = None,
    facts: Mapping[str, Any] | None = None,
    keep: int = 2,
    is_main: bool = True,
    rank: int = 0,
    wait: Callable[[], None] = lambda: None,
    write_sharded: Callable[[Path], None] | None = None,
) -> Path:
    """Write the state after so many steps, drop old ones, and return its folder. Every process calls it.

    Args:
        states: Folder of the states.
        step: Optimizer steps that are done.
        weights: Trained weights, by name.
        optimizers: Their optimizers.
        average: Moving average of the weights.
        facts: Plain values to write down with it.
        keep: Latest states that stay.
        is_main: Whether this process writes what is common.
        rank: This process.
        wait: Waits until all processes are here.
        write_sharded: Writes weights and optimizers in accelerate's own form, in place of ours.

    Raises:
        InputError: If it cannot be written, on the process that could not. States that were there are whole then.
    """
    folder = states / f"step_{step:08d}"
    if folder.is_dir() and _defect(folder) is None:
        return folder
    partial = folder.with_name(folder.name + _PARTIAL)
    try:
        if is_main:
            for old in states.glob(f"*{_PARTIAL}"):
                shutil.rmtree(old)
            partial.mkdir(parents=True)
        wait()
        _write_torch(random_states(), partial / f"process_{rank}.pt")
        if write_sharded is not None:
            write_sharded(partial / "sharded")
        elif is_main:
            _check_room(states, weights, average)
            _write_common(partial, weights, optimizers, average)
        wait()
        if is_main:
            _close(partial, {**(facts or {}), "step": step})
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
            _sync(states)
            remove_states(states, keep=keep)
        wait()
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(_why_not(states, step, error)) from error
    return folder


def latest_state(states: Path) -> TrainState | None:
    """Return the latest state that is whole, or None if there is none; one that is not is named in a warning."""
    for folder in sorted(states.glob("step_*"), reverse=True):
        if folder.name.endswith(_PARTIAL):
            continue
        defect = _defect(folder)
        if defect is None:
            facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            return TrainState(folder=folder, step=facts["step"], facts=facts)
        logger.warning("The state %s is passed over: %s.", folder, defect)
    return None


def load_common(
    state: TrainState, weights: Mapping[str, nn.Parameter], optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, Tensor] | None:
    """Put weights and optimizers into the state, and return the moving average, if it has one.

    Raises:
        InputError: If it is of other weights or another optimizer.
    """
    loaded = load_file(state.folder / "weights.safetensors")
    shapes = {name: tuple(tensor.shape) for name, tensor in loaded.items()}
    if shapes != {name: tuple(weight.shape) for name, weight in weights.items()}:
        raise InputError(f"The state {state.folder} is of other weights than those that are trained now.")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(loaded[name])
    files = sorted(state.folder.glob("optimizer_*.pt"))
    if len(files) != len(optimizers):
        raise InputError(f"The state {state.folder} is of another optimizer than that of the settings.")
    for file, optimizer in zip(files, optimizers, strict=True):
        optimizer.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    average = state.folder / "average.safetensors"
    return load_file(average) if average.is_file() else None


def remove_states(states: Path, *, keep: int) -> None:
    """Remove all but the latest states."""
    done = sorted(folder for folder in states.glob("step_*") if not folder.name.endswith(_PARTIAL))
    for folder in done[: max(0, len(done) - keep)]:
        shutil.rmtree(folder)


# ---------------------------------------------------------------------------------------------------- random states


def random_states() -> dict[str, Any]:
    """Return the random states of Python, numpy, torch and every GPU, as plain values and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(kept: Mapping[str, Any]) -> None:
    """Go on with random states as `random_states` gives them."""
    version, internal, gauss = kept["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = kept["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(kept["torch"])
    if torch.cuda.is_available() and len(kept["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(kept["cuda"])


def load_random_states(state: TrainState, rank: int) -> bool:
    """Go on with the random states of a process; return whether the state has any for it."""
    file = state.folder / f"process_{rank}.pt"
    if file.is_file():
        set_random_states(torch.load(file, map_location="cpu", weights_only=True))
    return file.is_file()


# ---------------------------------------------------------------------------------------------------- files


def _write_common(
    partial: Path,
    weights: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    average: Mapping[str, Tensor] | None,
) -> None:
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, partial / "weights.safetensors")
    if average is not None:
        save_file(dict(average), partial / "average.safetensors")
    for number, optimizer in enumerate(optimizers):
        _write_torch(optimizer.state_dict(), partial / f"optimizer_{number}.pt")


def _write_torch(values: Any, path: Path) -> None:
    """Write plain values and tensors; torch has several RuntimeErrors for a disk that is full, and none says so."""
    try:
        torch.save(values, path)
    except RuntimeError as error:
        raise OSError(f"torch could not write {path.name}, as where a disk is full") from error


def _check_room(states: Path, weights: Mapping[str, nn.Parameter], average: Mapping[str, Tensor] | None) -> None:
    """Raise an OSError, before anything is written, if the disk has surely no room: AdamW keeps two more numbers."""
    needed = sum(weight.numel() * weight.element_size() for weight in weights.values())
    needed += sum(tensor.numel() * tensor.element_size() for tensor in (average or {}).values())
    free = shutil.disk_usage(states).free
    if free < needed:
        raise OSError(f"it needs at least {needed / 1e9:.2f} GB, and the disk has {free / 1e9:.2f} GB left")


def _close(partial: Path, facts: Mapping[str, Any]) -> None:
    """Write down what the state holds, and bring everything to the disk."""
    files = {}
    for path in sorted(path for path in partial.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.relative_to(partial).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    text = json.dumps({"format": _FORMAT, "format_version": 1, **facts, "files": files}, indent=1)
    with (partial / "state.json").open("w", encoding="utf-8") as file_out:
        file_out.write(text + "\n")
        file_out.flush()
        os.fsync(file_out.fileno())
    _sync(partial)


def _sync(folder: Path) -> None:
    """Bring a folder's list of files to the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _defect(folder: Path) -> str | None:
    """Return what is wrong with a state, or None if it is whole."""
    try:
        facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT or facts["format_version"] != 1:
            return "it is of another format"
        for name, known in facts["files"].items():
            path = folder / name
            if path.stat().st_size != known["bytes"]:
                return f"{name} is not as long as it was"
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != known["sha256"]:
                    return f"{name} was changed"
        int(facts["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"it cannot be read ({type(error).__name__})"
    return None


def reason_of(error: BaseException) -> str:
    """Return why a file could not be written, in the system's words, whichever library was asked to write it."""
    first = getattr(error, "strerror", None) or next(iter(str(error).splitlines()), type(error).__name__)
    inner = re.search(r"I/O error: (.+?) \(os error \d+\)", str(first))
    return (inner.group(1) if inner else str(first)).rstrip(".")


def _why_not(states: Path, step: int, error: BaseException) -> str:
    reason = reason_of(error)
    before = latest_state(states)
    kept = "there is no earlier one" if before is None else f"the one of step {before.step} is whole"
    return (
        f"The state of step {step} cannot be written to {states}: {reason}; {kept}. "
        "Make room and run the same command again."
    )
