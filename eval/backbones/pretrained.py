"""Find and load weights: whole, finite and named by what they are, or not at all.

transformers makes a weight that a checkpoint lacks random, with no more than a warning, and a score from such a model
looks like any other. Here a missing file, a missing or unknown weight, another shape, another kind of model and a value
that is not finite are errors.

A checkpoint is named by its repository and the commit that was loaded, whatever branch was asked for; a folder by a
hash of its files, wherever it lies.
"""

import contextlib
import hashlib
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

__all__ = ["MODEL_FILES", "Checkpoint", "check_finite", "find_checkpoint", "load_model", "load_state", "pick_device"]
__all__ += ["EXTRA", "PURPOSE", "load_tokenizer", "read_state", "torch_dtype"]

PURPOSE = "Scoring with a neural backend"
EXTRA = "models"

MODEL_FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
)
"""What is fetched of a repository, and hashed of a folder."""

_HARMLESS = ("position_ids",)
"""Last part of weights that old checkpoints hold and no model needs: a plain count from 0."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights that are there."""

    folder: Path
    """Where."""

    label: str
    """Which: "openai/clip-vit-large-patch14@32bd64288804", or "sha256:" and the start of a folder's hash."""

    @property
    def model_type(self) -> str:
        """What transformers calls this kind of model.

        Raises:
            InputError: If config.json is missing or names none.
        """
        path = self.folder / "config.json"
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
        except FileNotFoundError as error:
            raise InputError(f"The checkpoint {self.folder} is not whole: it has no config.json.") from error
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{path} cannot be read, or names no model_type.") from error

    def check_kind(self, kinds: Sequence[str]) -> None:
        """Raise an InputError unless it is of one of the kinds."""
        if self.model_type not in kinds:
            wanted = " or ".join(map(repr, kinds))
            raise InputError(f"{self.folder} holds a model of the kind {self.model_type!r}, not {wanted}.")


def find_checkpoint(
    weights: str, revision: str | None = None, *, files: Sequence[str] = MODEL_FILES, cure: str = ""
) -> Checkpoint:
    """Return a folder as it is, or a repository's files after fetching what the cache lacks.

    Args:
        weights: Folder or Hub ID.
        revision: Commit, branch or tag on the Hub.
        files: Patterns of the names that are wanted.
        cure: A sentence for whoever has not got the weights.

    Raises:
        InputError: If it is not there, may not be fetched, or the Hub cannot be reached.
    """
    folder = Path(weights)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"{weights} is a folder, and a folder has no revision; got {revision!r}.")
        return Checkpoint(folder, f"sha256:{_hash_folder(folder, files)[:16]}")
    if folder.exists() or folder.is_absolute() or len(folder.parts) != 2:
        raise InputError(
            f"There is no checkpoint at {weights}. Give a folder, or a Hub ID such as ORG/NAME. {cure}".rstrip()
        )
    with _hub_errors(weights, revision, cure):
        snapshot = Path(snapshot_download(weights, revision=revision, allow_patterns=list(files)))
    return Checkpoint(snapshot, f"{weights}@{snapshot.name[:12]}")


@contextlib.contextmanager
def _hub_errors(weights: str, revision: str | None, cure: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence and a cure."""
    try:
        yield
    except GatedRepoError as error:
        page = f"https://huggingface.co/{weights}"
        raise InputError(
            f"{weights} is gated: accept its licence at {page}, then log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{weights} has no revision {revision!r} on the Hub.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"There is no repository {weights} on the Hub, or it is private. {cure}".rstrip()) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{weights} is not in the cache, and the Hub cannot be reached. Fetch it once with "
            f"`hf download {weights}`, or give a folder. {cure}".rstrip()
        ) from error


def _hash_folder(folder: Path, files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    paths = {path for pattern in files for path in folder.glob(pattern) if path.is_file()}
    for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix()):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def pick_device(device: str) -> str:
    """Return the device meant by "auto", or the device itself if it works.

    Raises:
        InputError: If there is no such device.
    """
    torch = require("torch", extra=EXTRA, purpose=PURPOSE)
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"There is no device {device!r} here. Use 'auto' or 'cpu'.") from error
    return device


def torch_dtype(dtype: str) -> Any:
    """Return torch's type of that name."""
    return getattr(require("torch", extra=EXTRA, purpose=PURPOSE), dtype)


def load_model(
    model_class: str, checkpoint: Checkpoint, kinds: Sequence[str], *, device: str, dtype: str, **options: Any
) -> Any:
    """Return a model of transformers in evaluation mode, on a device, with every weight from the checkpoint.

    Args:
        model_class: Name in transformers.
        checkpoint: Holds safetensors.
        kinds: Values of `model_type` that the class can load.
        device: As from `pick_device`.
        dtype: Name of torch's type.
        options: For the model's constructor.

    Raises:
        InputError: If it is of another kind, cannot be read, or is not whole.
    """
    checkpoint.check_kind(kinds)
    if not any(checkpoint.folder.glob("model*.safetensors")):
        raise InputError(f"The checkpoint {checkpoint.folder} is not whole: it has no model.safetensors.")
    transformers = require("transformers", extra=EXTRA, purpose=PURPOSE)
    with _load_errors(checkpoint, model_class):
        model, report = getattr(transformers, model_class).from_pretrained(
            checkpoint.folder,
            dtype=torch_dtype(dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    _check_keys(checkpoint, report["missing_keys"], report["unexpected_keys"], report["mismatched_keys"])
    if report.get("error_msgs"):
        raise InputError(f"The checkpoint {checkpoint.folder} does not fit {model_class}: {report['error_msgs'][0]}.")
    check_finite(checkpoint, model.state_dict())
    return model.to(device).eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Return the tokenizer of a checkpoint.

    Raises:
        InputError: If its files are missing or broken.
    """
    names = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
    if not any((checkpoint.folder / name).is_file() for name in names):
        raise InputError(f"The checkpoint {checkpoint.folder} is not whole: it has no tokenizer.json.")
    transformers = require("transformers", extra=EXTRA, purpose=PURPOSE)
    with _load_errors(checkpoint, "a tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)


@contextlib.contextmanager
def _load_errors(checkpoint: Checkpoint, what: str) -> Iterator[None]:
    """Turn what torch, safetensors and transformers raise for a broken checkpoint into one sentence."""
    try:
        yield
    except (pickle.UnpicklingError, EOFError) as error:
        raise InputError(
            f"{checkpoint.folder} cannot be loaded as {what}: it is broken, or holds more than weights."
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"{checkpoint.folder} cannot be loaded as {what}: {first[:200]}") from error
    except Exception as error:  # safetensors and tokenizers raise classes of their own, straight from Exception
        if type(error).__module__.split(".")[0] in ("safetensors_rust", "builtins", "safetensors", "tokenizers"):
            raise InputError(f"{checkpoint.folder} cannot be loaded as {what}: {error}") from error
        raise


def _check_keys(
    checkpoint: Checkpoint, missing: Iterable[str], unexpected: Iterable[str], mismatched: Iterable[Any]
) -> None:
    for names, problem in ((missing, "lacks weights"), (unexpected, "holds weights that are not known")):
        wrong = sorted(name for name in names if name.rsplit(".", 1)[-1] not in _HARMLESS)
        if wrong:
            raise InputError(f"The checkpoint {checkpoint.folder} {problem}: {len(wrong)}, such as {wrong[0]}.")
    shapes = sorted(str(one) for one in mismatched)
    if shapes:
        raise InputError(f"The checkpoint {checkpoint.folder} has weights of another shape, such as {shapes[0]}.")


def check_finite(checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
    """Raise an InputError unless every weight is a finite number."""
    for name, weight in state.items():
        if weight.is_floating_point() and not bool(weight.isfinite().all()):
            raise InputError(f"The checkpoint {checkpoint.folder} is broken: {name} has values that are not finite.")


def load_state(module: Any, state: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """Put weights into a module of ours: all that it has, and no others.

    Raises:
        InputError: If one is missing, unknown, of another shape, or not finite.
    """
    wanted = module.state_dict()
    mismatched = [
        f"{name}: {tuple(state[name].shape)} instead of {tuple(weight.shape)}"
        for name, weight in wanted.items()
        if name in state and state[name].shape != weight.shape
    ]
    _check_keys(checkpoint, set(wanted) - set(state), set(state) - set(wanted), mismatched)
    check_finite(checkpoint, state)
    module.load_state_dict(dict(state), strict=True)


def read_state(path: Path) -> dict[str, Any]:
    """Return the named weights of one file, safetensors or torch's; no code of the file is run.

    Raises:
        InputError: If it cannot be read.
    """
    torch = require("torch", extra=EXTRA, purpose=PURPOSE)
    with _load_errors(Checkpoint(path, ""), "weights"):
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", extra=EXTRA, purpose=PURPOSE).load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, not named weights.")
    return state
