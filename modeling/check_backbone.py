"""Tell whether a checkpoint of a multimodal model can be used with an append-only context.

The model reads made-up shots one by one and in one pass; the states must be the same. It prints the difference and
ends with exit status 0 if the context is exact, 1 if it is not, 2 if the checkpoint cannot be used.

Example:
    python -m animeshooter_hf.modeling.check_backbone Qwen/Qwen3-VL-8B-Instruct --dtype bfloat16 --device cuda
    python -m animeshooter_hf.modeling.check_backbone path/to/checkpoint
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import BACKBONES, IncrementalCheck, backbone_for, check_incremental
from animeshooter_hf.modeling.checkpoint import missing_weights

__all__ = ["check_checkpoint", "main"]

_TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 5e-3}
"""Largest error, relative to the largest state, that counts as equal. Only float32 tells it all; the others round."""


def check_checkpoint(
    checkpoint: str, *, dtype: str = "float32", device: str = "cpu", tolerance: float | None = None, seed: int = 0
) -> tuple[str, IncrementalCheck]:
    """Return the model's type and whether it is exact.

    Args:
        checkpoint: A folder, or a repository on the Hub.
        dtype: One of float32, bfloat16, float16.
        device: Where to compute.
        tolerance: Largest relative error; None takes the precision's own.
        seed: Of the made-up shots.

    Raises:
        InputError: If the checkpoint cannot be loaded or lacks weights, or the family or the precision is not known.
    """
    if dtype not in _TOLERANCES:
        raise InputError(f"dtype must be one of {', '.join(_TOLERANCES)}, got {dtype!r}.")
    mllm, processor = _load(checkpoint, dtype)
    missing = missing_weights(mllm)
    if missing:
        raise InputError(f"The checkpoint {checkpoint} lacks {len(missing)} weights, such as {missing[0]}.")
    backbone = backbone_for(mllm.to(device).eval(), processor)
    tolerance = _TOLERANCES[dtype] if tolerance is None else tolerance
    return mllm.config.model_type, check_incremental(backbone, tolerance=tolerance, seed=seed)


def _load(checkpoint: str, dtype: str) -> tuple[Any, Any]:
    try:
        config = AutoConfig.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise InputError(f"The configuration of {checkpoint} cannot be loaded: {_first_line(error)}") from error
    if config.model_type not in BACKBONES:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"{checkpoint} is of type {config.model_type!r}, not supported; supported are {known}.")
    try:
        mllm = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=getattr(torch, dtype))
        return mllm, AutoProcessor.from_pretrained(checkpoint)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise InputError(f"The checkpoint {checkpoint} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check from the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m animeshooter_hf.modeling.check_backbone",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder, or repository on the Hub")
    parser.add_argument("--dtype", default="float32", help=f"{', '.join(_TOLERANCES)} (default %(default)s)")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda (default %(default)s)")
    parser.add_argument("--tolerance", type=float, metavar="X", help="largest relative error (default: by precision)")
    parser.add_argument("--seed", type=int, default=0, help="of the made-up shots (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args(arguments)
    try:
        model_type, check = check_checkpoint(
            given.checkpoint, dtype=given.dtype, device=given.device, tolerance=given.tolerance, seed=given.seed
        )
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write((_as_json if given.json else _as_text)(model_type, check) + "\n")
    return 0 if check.passed else 1


def _as_json(model_type: str, check: IncrementalCheck) -> str:
    return json.dumps(
        {
            "model_type": model_type,
            "passed": check.passed,
            "with_cache": check.with_cache,
            "max_abs_error": check.max_abs_error,
            "scale": check.scale,
            "tolerance": check.tolerance,
        }
    )


def _as_text(model_type: str, check: IncrementalCheck) -> str:
    way = "appended to a cache" if check.with_cache else "read anew for each shot, since the family has no exact cache"
    return (
        f"{model_type}: chunks are {way}.\n"
        f"Largest difference to one pass: {check.max_abs_error:.2e}, on states of up to {check.scale:.2f}.\n"
        f"{'Exact' if check.passed else 'NOT exact'} to {check.tolerance:g} of that."
    )


if __name__ == "__main__":
    sys.exit(main())
