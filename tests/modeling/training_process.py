"""Trainings in processes of their own, for what cannot be tried inside a test: `training_process.py FOLDER`.

    two     two processes with gradients averaged over gloo
    full    a training whose disk is full (a limit on the size of files stands in for it)
    killed  a training that is killed with SIGKILL while it writes a state, as often as it takes to hit the moment

torch and transformers are imported once; each training is a fork. What happened is written to FOLDER/report.json.
"""

import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.testing_training import tiny_training_pipeline
from animeshooter_hf.modeling.training.settings import TrainSettings, defaults_for
from animeshooter_hf.modeling.training.train_state import save_state
from animeshooter_hf.modeling.training.trainer import train

_LIMIT = 20_000


def settings_of(data: str | Path, out: Path, stage: str = "multi", **changes: object) -> TrainSettings:
    """Return the settings of a small training: 3 steps of 4 windows, saved after each."""
    defaults = defaults_for(stage)
    parts = defaults.parts
    return replace(
        defaults,
        data=replace(defaults.data, dataset=str(data)),
        out=str(out),
        parts=replace(parts, mllm=replace(parts.mllm, rank=2), transformer=replace(parts.transformer, rank=2)),
        optimizer=replace(defaults.optimizer, warmup_steps=0),
        **{"batch_size": 4, "steps": 3, "save_every": 1, "validate_every": 0, "trackers": (), **changes},
    )


def _two(data: str, folder: Path, rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    train(settings_of(data, folder / "two", validate_every=3), pipeline=tiny_training_pipeline())


def _full(data: str, folder: Path) -> None:
    pipeline = tiny_training_pipeline()
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, resource.RLIM_INFINITY))
    try:
        train(settings_of(data, folder / "full", is_cached=False), pipeline=pipeline)
    except InputError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "full.txt").write_text(str(error), encoding="utf-8")


def _full_optimizer(folder: Path) -> None:
    """Save weights that fit and an optimizer that does not."""
    weight = torch.nn.Parameter(torch.ones(20_000))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    try:
        save_state(folder / "full_optimizer", 1, weights={"weight": weight}, optimizers=[optimizer])
    except InputError as error:
        (folder / "full_optimizer.txt").write_text(str(error), encoding="utf-8")


def _killed(data: str, folder: Path) -> None:
    train(settings_of(data, folder / "killed", steps=60, keep=2), pipeline=tiny_training_pipeline())


def _kill_in_a_save(data: str, folder: Path) -> list[str]:
    """Return what lay in the folder of the states after the kill."""
    states = folder / "killed" / "state"
    for _ in range(10):
        child = _fork(_killed, data, folder)
        while child.is_alive() and len(list(states.glob("step_*[0-9]"))) < 2:
            time.sleep(0.001)
        while child.is_alive() and not list(states.glob("*.partial")):
            pass
        os.kill(child.pid or 0, signal.SIGKILL)
        child.join()
        found = sorted(path.name for path in states.iterdir())
        if any(name.endswith(".partial") for name in found):
            return found
    return []


def _fork(call: object, *arguments: object) -> multiprocessing.Process:
    child = multiprocessing.get_context("fork").Process(target=call, args=arguments)  # type: ignore[arg-type]
    child.start()
    return child


def main() -> None:
    """Run all three, one after the other."""
    data, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    report: dict[str, object] = {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    children = [_fork(_two, data, folder, rank, port) for rank in range(2)]
    for child in children:
        child.join()
    report["two"] = [child.exitcode for child in children]
    for child in (_fork(_full, data, folder), _fork(_full_optimizer, folder)):
        child.join()
    report["killed"] = _kill_in_a_save(data, folder)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
