"""The processes of a training: accelerate's, what all of them have to agree on, and the wish to stop."""

import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    ProjectConfiguration,
    broadcast_object_list,
)

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import TrainSettings
from animeshooter_hf.modeling.training.train_log import chosen_trackers

__all__ = [
    "StopSignal",
    "allow_unused_weights",
    "ignore_interrupts",
    "is_sharded",
    "make_accelerator",
    "on_main",
    "seed_libraries",
    "tell_part_size",
]

Result = TypeVar("Result")


def make_accelerator(settings: TrainSettings) -> Accelerator:
    """Return the accelerator of a training.

    Raises:
        InputError: If a tracker is not known, or divided weights do not go with the settings.
    """
    # One process may train twice; accelerate would refuse a second precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision={"fp32": "no"}.get(settings.precision, settings.precision),
        gradient_accumulation_steps=settings.accumulation,
        log_with=chosen_trackers(settings.trackers) or None,
        project_config=ProjectConfiguration(
            project_dir=settings.out,
            logging_dir=str(Path(settings.out) / "trackers"),
            automatic_checkpoint_naming=False,
        ),
        kwargs_handlers=[DistributedDataParallelKwargs()],
    )
    if is_sharded(accelerator):
        if settings.optimizer.ema_decay is not None:
            raise InputError("A moving average needs whole weights: leave ema_decay out with FSDP or DeepSpeed.")
        if settings.optimizer.name == "muon":
            raise InputError("Muon needs whole matrices: take adamw with FSDP or DeepSpeed.")
    return accelerator


def allow_unused_weights(accelerator: Accelerator, pipeline: Any, settings: TrainSettings) -> None:
    """Let averaging of gradients expect weights that no window of a step uses, where there may be any."""
    parts = settings.parts
    may_miss = (
        # No window of the step has a picture beside it.
        (pipeline.reference_latents is not None and parts.reference_latents.mode != "frozen")
        # All of its times are for one expert.
        or (pipeline.transformer_2 is not None and parts.transformer.mode != "frozen")
        # The language head is never used, the vision tower only where there is a picture to read.
        or parts.mllm.mode == "full"
        or "vision" in parts.mllm.targets
    )
    if accelerator.ddp_handler is not None:
        accelerator.ddp_handler.find_unused_parameters = may_miss


def tell_part_size(accelerator: Accelerator, part_size: int) -> None:
    """Tell DeepSpeed how many windows a forward pass has, which it cannot see from a loader. Not tried here."""
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if plugin is not None:
        plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = part_size


def ignore_interrupts(_: int) -> None:
    """Let a process that reads windows ignore Ctrl-C, which its parent answers after the step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def is_sharded(accelerator: Accelerator) -> bool:
    """Return whether weights are divided among the processes."""
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)


def on_main(accelerator: Accelerator, call: Callable[[], Result]) -> Result:
    """Return, on every process, what a call on the main process gives.

    Raises:
        InputError: On every process, if the call raises one.
    """
    told: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            told[0] = call()
        except InputError as error:
            if accelerator.num_processes == 1:
                raise
            told[1] = str(error)
    if accelerator.num_processes > 1:
        broadcast_object_list(told)
    if told[1] is not None:
        raise InputError(told[1])
    result: Result = told[0]
    return result


def seed_libraries(seed: int) -> None:
    """Seed what modules and libraries draw from by themselves, such as a dropout inside the MLLM."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class StopSignal:
    """Whether the training was asked to stop; a second time stops at once.

    Ctrl-C and SIGTERM ask, the latter is what a scheduler sends before it takes a machine away. Signals reach the main
    thread only; elsewhere nothing is caught.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
