"""What a training tells on the way: a line of JSON for each step, accelerate's trackers, a curve.

`log.jsonl` is always written. A training that goes on cuts off the lines of steps that it does again, so every step
stands in it once. The curve needs matplotlib (the extra `report`), TensorBoard the extra `train`.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from animeshooter_hf.errors import InputError, MissingExtraError
from animeshooter_hf.optional import require

__all__ = ["TrainLog", "chosen_trackers", "draw_curve", "read_log"]

logger = logging.getLogger(__name__)

_NAME = "log.jsonl"


def chosen_trackers(names: Sequence[str]) -> list[str]:
    """Return the trackers that accelerate is asked for; "auto" is TensorBoard where it is installed.

    Raises:
        InputError: If accelerate has no such tracker, or its package is not installed.
    """
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known = sorted(str(kind.value) for kind in LoggerType if kind.value != "all")
    installed = {str(getattr(kind, "value", kind)) for kind in get_available_trackers()}
    chosen = []
    for name in names:
        if name == "auto":
            chosen += ["tensorboard"] if "tensorboard" in installed else []
            continue
        if name not in known:
            raise InputError(f"There is no tracker {name!r}; there are auto, {', '.join(known)}.")
        if name not in installed:
            package = "'animeshooter-hf[train]'" if name == "tensorboard" else name
            raise InputError(f"The tracker {name} is not installed: pip install {package}.")
        chosen.append(name)
    return list(dict.fromkeys(chosen))


class TrainLog:
    """Writes what happens to the log and to the trackers. Only the main process has one that writes."""

    def __init__(self, out: Path, accelerator: Any, *, begins_at: int, config: Mapping[str, Any]) -> None:
        """Open the log behind the lines of the steps that are done.

        Args:
            out: Folder of the training.
            accelerator: An accelerate `Accelerator`, with its trackers.
            begins_at: Optimizer steps that are done.
            config: Settings that trackers show, as plain values.
        """
        self._accelerator = accelerator
        self._file = out / _NAME
        if not accelerator.is_main_process:
            return
        _cut(self._file, begins_at)
        if accelerator.log_with:
            accelerator.init_trackers("animeshooter", config=_flat(config))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the values of a step, counted from 1 for the first that is done.

        Raises:
            InputError: If the log cannot be written.
        """
        if not self._accelerator.is_main_process:
            return
        line = json.dumps({"step": step, **{key: _plain(value) for key, value in values.items()}})
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise InputError(f"The log {self._file} cannot be written: {error.strerror or error}. The saved states are "
                             "whole; make room and run the same command again.") from error  # fmt: skip
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        if self._accelerator.log_with and numbers:
            self._accelerator.log(numbers, step=step)

    def show_pictures(self, step: int, pictures: Mapping[str, Path]) -> None:
        """Hand pictures, by name, to the trackers that can show them."""
        arrays = {name: np.asarray(Image.open(path).convert("RGB"))[None] for name, path in pictures.items()}
        for tracker in self._accelerator.trackers if arrays and self._accelerator.is_main_process else ():
            show = getattr(tracker, "log_images", None)
            if show is not None:
                show(arrays, step=step, **({"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}))

    def close(self) -> None:
        """Let the trackers finish."""
        if self._accelerator.log_with:
            self._accelerator.end_training()


def read_log(out: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's log; a last line that was cut off by a kill is left out."""
    file = out / _NAME
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            logger.warning("A line of %s is broken and was left out.", file)
    return lines


def draw_curve(out: Path) -> Path | None:
    """Draw the losses of the log as `loss.png`, where matplotlib is installed, and return the file."""
    try:
        figures: Any = require("matplotlib.figure", extra="report", purpose="The curve")
    except MissingExtraError:
        return None
    lines = [line for line in read_log(out) if line.get("loss") is not None]
    if not lines:
        return None
    figure = figures.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    steps, losses = [line["step"] for line in lines], [line["loss"] for line in lines]
    axes.plot(steps, losses, color="0.75", linewidth=0.8, label="each step")
    axes.plot(steps, _smooth(losses), color="C0", label="moving average")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    path = out / "loss.png"
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        logger.warning("The curve %s cannot be written: %s.", path, error.strerror or error)
        return None
    return path


def _smooth(losses: Sequence[float], weight: float = 0.95) -> list[float]:
    """Return the exponential moving average, corrected for its start."""
    smoothed, mean = [], 0.0
    for number, loss in enumerate(losses):
        mean = weight * mean + (1 - weight) * loss
        smoothed.append(mean / (1 - weight ** (number + 1)))
    return smoothed


def _cut(file: Path, begins_at: int) -> None:
    """Drop lines of steps after those that are done, and one that was cut off."""
    if not file.is_file():
        return
    kept = [line for line in read_log(file.parent) if line.get("step", 0) <= begins_at]
    aside = file.with_name(f".{file.name}.partial")
    aside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    aside.replace(file)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what is not finite is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return settings without levels, as trackers of hyperparameters want them."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{key}.")
        else:
            flat[before + key] = value if isinstance(value, int | float | str | bool) else str(value)
    return flat
