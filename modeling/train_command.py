r"""Train a pipeline in the paper's stages: align, single, multi, and enhance, a LoRA of one IP from a few clips.

Settings are the paper's for the stage (see modeling/training/settings.py), then those of --config, then those of --set
and the other options. A stopped training goes on when the same command is run again, at the step where it was, and
ends with the same weights as one that was never stopped. OUT/pipeline then loads with `from_pretrained`, and OUT/lora
with `animeshooter generate --lora`. On several GPUs, or with FSDP or DeepSpeed, it runs through `accelerate launch`;
batch_size counts the windows of a step over all of them, so the training stays the same.

  OUT/log.jsonl  a line for each step     OUT/loss.png  the curve     OUT/validation/step_N  stories on the way
  OUT/state      whole states, the latest few     OUT/cache  latents, text states and vision features

Example:
    animeshooter train --stage multi --pipeline model/ --data dataset/ --out trained/ --dry-run
    animeshooter train --stage multi --pipeline model/ --data dataset/ --out trained/
    animeshooter train --stage enhance --pipeline trained/pipeline --data dataset/ --out mia/ --set data.ip_id=mia \
        --set data.trigger=mia_toon --set parts.transformer.rank=32 --set validate_every=250
    animeshooter train --config train.yaml --set optimizer.learning_rate=2e-5 --set precision=bf16
    accelerate launch --num_processes 8 -m animeshooter_hf train --config train.yaml

Exit status: 0 trained, 2 bad input or a training that cannot go on, 130 stopped (its state is kept).
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from animeshooter_hf.config_file import read_settings, settings_from, settings_to_json
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import STAGES, TrainSettings, defaults_for

__all__ = ["add_arguments", "run", "settings_of"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `animeshooter train`."""
    parser.add_argument("--stage", choices=STAGES, help="stage of the paper (or in --config)")
    parser.add_argument("--pipeline", metavar="PLACE", help="folder or Hub repository to begin with, or `toon`")
    parser.add_argument("--data", metavar="PLACE", help="dataset: folder, address or Hub repository")
    parser.add_argument("--out", metavar="DIR", help="folder of the training")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings, .yaml or .json")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="one setting, such as steps=2000 or parts.mllm.rank=32; may be repeated",
    )
    parser.add_argument("--steps", type=int, help="optimizer steps")
    parser.add_argument("--seed", type=int, help="of all that is random")
    parser.add_argument("--trackers", metavar="NAMES", help="trackers of accelerate, by commas, such as tensorboard")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be trained, its memory and its steps, and stop"
    )
    parser.add_argument("--print-config", action="store_true", help="print all settings as JSON, and stop")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--resume", action="store_true", help="refuse to begin anew where OUT holds no training")
    begin.add_argument("--fresh", action="store_true", help="forget the training in OUT, except its cache")


def run(arguments: argparse.Namespace) -> int:
    """Train, and return the exit status."""
    settings = settings_of(arguments)
    if arguments.print_config:
        sys.stdout.write(json.dumps(settings_to_json(settings), indent=1) + "\n")
        return 0
    for name, value in (("pipeline", settings.pipeline), ("data", settings.data.dataset), ("out", settings.out)):
        if not value and not (name == "out" and arguments.dry_run):
            raise InputError(f"Name the {'folder to write to' if name == 'out' else name} with --{name}.")
    if arguments.dry_run:
        from animeshooter_hf.modeling.training.dry_run import plan_training

        sys.stdout.write(plan_training(settings).as_text())
        return 0
    if arguments.resume:
        from animeshooter_hf.modeling.training.run_folder import is_begun

        if not is_begun(Path(settings.out)):
            raise InputError(f"{settings.out} holds no training to go on with; leave --resume out to begin one.")
    from animeshooter_hf.modeling.training.trainer import train

    place = train(settings, fresh=arguments.fresh, command=_command(arguments))
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(f"{place}\n")
    return 0


def settings_of(arguments: argparse.Namespace) -> TrainSettings:
    """Return the stage's defaults, with the file, the options and the single settings put over them, in this order.

    Raises:
        InputError: If a key or a value does not fit, or the stage is named nowhere.
    """
    given: dict[str, Any] = read_settings(arguments.config, dict[str, Any]) if arguments.config else {}
    options = {
        "stage": arguments.stage,
        "pipeline": arguments.pipeline,
        "out": arguments.out,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "trackers": None if arguments.trackers is None else [one for one in arguments.trackers.split(",") if one],
    }
    given = _merged(given, {key: value for key, value in options.items() if value is not None})
    if arguments.data is not None:
        given = _merged(given, {"data": {"dataset": arguments.data}})
    for change in arguments.changes:
        given = _merged(given, _parsed(change))
    stage = given.get("stage")
    if stage is None:
        raise InputError(f"Name the stage with --stage: {', '.join(STAGES)}.")
    defaults = settings_to_json(defaults_for(str(stage)))
    return settings_from(_merged(defaults, given), TrainSettings)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others put over them, level by level."""
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merged(known, value) if isinstance(value, Mapping) and isinstance(known, Mapping) else value
    return merged


def _parsed(change: str) -> dict[str, Any]:
    """Return KEY=VALUE as settings; the value is read as JSON, and as a text if it is none."""
    key, equals, text = change.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise InputError(f"--set takes KEY=VALUE, such as steps=2000 or parts.mllm.rank=32, got {change!r}.")
    try:
        value = json.loads(text)
    except ValueError:
        value = {"none": None, "true": True, "false": False}.get(text.strip().lower(), text)
    for name in reversed(names):
        value = {name: value}
    parsed: dict[str, Any] = value
    return parsed


def _command(arguments: argparse.Namespace) -> str:
    """Return the command for the card, with places of this machine shortened to their names."""
    words: Sequence[tuple[str, Any]] = (
        ("--stage", arguments.stage),
        ("--pipeline", arguments.pipeline),
        ("--data", arguments.data),
        ("--config", arguments.config),
        ("--steps", arguments.steps),
        ("--seed", arguments.seed),
        *(("--set", change) for change in arguments.changes),
    )
    shown = [part for name, value in words if value is not None for part in (name, _shortened(value))]
    return shlex.join(["animeshooter", "train", *shown])


def _shortened(value: Any) -> str:
    text = str(value)
    is_local = text.startswith("file://") or ("=" not in text and Path(text).exists())
    return Path(text).name if is_local else text
