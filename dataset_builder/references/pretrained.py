"""Load a model of transformers for the reference stages: whole or not at all.

transformers makes a weight that a checkpoint lacks random, with no more than a warning; a mask from such a model looks
like any other. Here that is an error, as is a folder without the files it needs.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["Pretrained", "fit_phrase", "load_pretrained", "pick_device", "weights_key"]

_PURPOSE = "Segmenting or embedding frames with a model"
_LOOKED_AT = 1 << 16
_CONFIG_FILES = (".json", ".safetensors", ".bin", ".txt", ".model")


class Pretrained:
    """A model with its processor, on a device."""

    def __init__(self, model: Any, processor: Any, device: str, key: str) -> None:
        self.model = model
        """In evaluation mode."""
        self.processor = processor
        """Makes its inputs."""
        self.device = device
        """Where it runs."""
        self.key = key
        """What it is: the Hub ID at a commit, or a hash of the folder's files."""

    def to_inputs(self, batch: Any) -> dict[str, Any]:
        """Return a processor's output on the model's device, floats in the model's type."""
        dtype = next(self.model.parameters()).dtype
        return {
            name: value.to(self.device, dtype) if value.is_floating_point() else value.to(self.device)
            for name, value in batch.items()
            if hasattr(value, "is_floating_point")
        }


def pick_device(device: str) -> str:
    """Return the device meant by "auto", or the device itself if it works.

    Raises:
        InputError: If there is no such device.
    """
    torch = require("torch", extra="modeling", purpose=_PURPOSE)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"There is no device {device!r} here. Use 'auto' or 'cpu'.") from error
    return device


def load_pretrained(
    model_class: str,
    processor_class: str,
    checkpoint: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
) -> Pretrained:
    """Return a model and its processor from a folder or a repository on the Hub.

    Args:
        model_class: Name in transformers.
        processor_class: Name in transformers.
        checkpoint: Folder or Hub ID.
        revision: Commit, branch or tag on the Hub.
        device: See `pick_device`.
        dtype: Name of torch's type.

    Raises:
        InputError: If it is not there, cannot be read, is of another kind, or lacks weights.
    """
    transformers = require("transformers", extra="modeling", purpose=_PURPOSE)
    torch = require("torch", extra="modeling", purpose=_PURPOSE)
    place = pick_device(device)
    folder = Path(checkpoint)
    if not folder.is_dir() and (folder.exists() or folder.is_absolute() or len(folder.parts) != 2):
        raise InputError(f"There is no checkpoint at {checkpoint}; give a folder or a Hub ID such as facebook/sam3.")
    with _as_input_errors(checkpoint, model_class):
        processor = getattr(transformers, processor_class).from_pretrained(checkpoint, revision=revision)
        model, report = getattr(transformers, model_class).from_pretrained(
            checkpoint, revision=revision, dtype=getattr(torch, dtype), output_loading_info=True
        )
    _check_whole(checkpoint, model, report)
    commit = getattr(model.config, "_commit_hash", None)
    return Pretrained(model.to(place).eval(), processor, place, weights_key(checkpoint, commit or revision))


def weights_key(checkpoint: str, revision: str | None = None) -> str:
    """Return what a checkpoint is, without loading it: its Hub ID at a revision, or a hash of the folder's files.

    Of each file the name, the size and both ends are hashed, so that it is quick for any size; where the folder lies
    does not count.
    """
    folder = Path(checkpoint)
    if not checkpoint or not folder.is_dir():
        return f"{checkpoint}@{revision or 'main'}"
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.iterdir() if one.is_file() and one.suffix in _CONFIG_FILES):
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(_LOOKED_AT))
            if size > _LOOKED_AT:
                file.seek(max(_LOOKED_AT, size - _LOOKED_AT))
                digest.update(file.read())
    return f"sha256:{digest.hexdigest()[:32]}"


def fit_phrase(tokenizer: Any, phrase: str, max_tokens: int) -> str:
    """Return a phrase without the last words that a model has no room for.

    Args:
        tokenizer: Of the model.
        phrase: A noun phrase.
        max_tokens: Most tokens, special ones included.

    Raises:
        ValueError: If not even the first word fits.
    """
    words = phrase.split()
    while words and len(tokenizer(" ".join(words))["input_ids"]) > max_tokens:
        words.pop()
    if not words:
        raise ValueError(f"The phrase {phrase[:60]!r} does not fit into {max_tokens} tokens.")
    return " ".join(words)


@contextlib.contextmanager
def _as_input_errors(checkpoint: str, model_class: str) -> Iterator[None]:
    """Turn what transformers raises for a checkpoint that cannot be loaded into one sentence."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{checkpoint} cannot be loaded as {model_class}: {first[:200]}") from error
    except Exception as error:  # safetensors and tokenizers raise classes of their own, straight from Exception
        if type(error).__module__.split(".")[0] in ("safetensors_rust", "builtins", "safetensors", "tokenizers"):
            raise InputError(f"{checkpoint} cannot be loaded as {model_class}: {error}") from error
        raise


def _check_whole(checkpoint: str, model: Any, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    if missing:
        raise InputError(
            f"The checkpoint {checkpoint} is not whole: {len(missing)} weights of {type(model).__name__} are missing, "
            f"such as {missing[0]}."
        )
    mismatched = sorted(str(one) for one in report["mismatched_keys"])
    if mismatched or report.get("error_msgs"):
        first = mismatched[0] if mismatched else report["error_msgs"][0]
        raise InputError(f"The checkpoint {checkpoint} does not fit {type(model).__name__}: {first}.")
