"""A pipeline without its weights: real classes on torch's meta device, which take no memory, to count what they are."""

import importlib
import json
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft import LoraConfig

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.checkpoint import is_ours
from animeshooter_hf.modeling.mllm_files import read_pointer
from animeshooter_hf.modeling.packaged import packaged_folder

__all__ = ["meta_pipeline"]

_INDEX = "model_index.json"
_TEXTS = ("*.json", "*.txt", "*.jinja", "*.model")
_SETTINGS = ("frame_rate", "num_inference_steps", "guidance_scale", "max_image_pixels", "max_caption_tokens",
             "max_shots", "layout", "boundary_ratio", "expand_timesteps", "weights_origin")  # fmt: skip


def meta_pipeline(place: str) -> Any:
    """Return the pipeline of a folder, a repository on the Hub (no weights are downloaded), `toon`, or `tiny`.

    Raises:
        InputError: If there is none that can be read.
    """
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

    if place == "tiny":
        from animeshooter_hf.modeling.testing import tiny_pipeline

        return tiny_pipeline()
    folder = _folder_of(place)
    try:
        named = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if named.get("_class_name") != AnimeShooterGenPipeline.__name__:
            raise InputError(f"{place} is a checkpoint of {named.get('_class_name')}, not of "
                             f"{AnimeShooterGenPipeline.__name__}.")  # fmt: skip
        parts = {
            name: _component(folder / name, *entry)
            for name, entry in named.items()
            if isinstance(entry, list) and len(entry) == 2 and entry[0] is not None
        }
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{place} is no checkpoint: {error.filename or _INDEX} is missing.") from error
    except (OSError, ValueError, AttributeError, ImportError, TypeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"The checkpoint {place} cannot be read: {first.rstrip('.')}.") from error
    settings = {key: named[key] for key in _SETTINGS if named.get(key) is not None}
    return AnimeShooterGenPipeline(**parts, **settings)


def _folder_of(place: str) -> Path:
    path, packaged = Path(place), packaged_folder(place)
    if packaged is not None:
        return packaged
    if path.is_dir():
        return path
    if path.exists() or path.is_absolute() or len(path.parts) != 2:
        raise InputError(f"There is no checkpoint at {place}.")
    try:
        return Path(snapshot_download(place, allow_patterns=list(_TEXTS)))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"The checkpoint {place} cannot be had from the Hub: {first.rstrip('.')}.") from error


def _component(folder: Path, library: str, class_name: str) -> Any:
    module = {"diffusers": diffusers, "transformers": transformers}.get(library)
    if module is None:
        if not is_ours([library, class_name]):
            raise InputError(f"{folder} is of {library}.{class_name}, which is not known here.")
        module = importlib.import_module(library)
    kind = getattr(module, class_name)
    if not issubclass(kind, torch.nn.Module):
        return kind.from_pretrained(str(folder))
    if module is transformers:
        return _transformers_model(folder, kind)
    with torch.device("meta"):
        return kind.from_config(kind.load_config(str(folder))).eval()


def _transformers_model(folder: Path, kind: Any) -> Any:
    """Return a model on the meta device, with the LoRA that its checkpoint has."""
    pointer = read_pointer(folder) if folder.name == "mllm" else None
    if pointer is None:
        source, options = str(folder), {}
    else:
        local = folder.parent / pointer.base
        source = str(local) if local.is_dir() else pointer.base
        options = {"revision": pointer.revision} if pointer.revision else {}
    config = transformers.AutoConfig.from_pretrained(source, **options)
    with torch.device("meta"):
        model = kind(config).eval()
        if (folder / "adapter_config.json").is_file():
            model.add_adapter(LoraConfig.from_pretrained(str(folder)))
    return model
