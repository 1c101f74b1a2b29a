"""The folder `mllm` of a checkpoint: in full, in full with a LoRA, or a pointer to the model with or without a LoRA.

    full                 config.json, model.safetensors
    full and LoRA        the same, adapter_config.json, adapter_model.safetensors
    pointer and LoRA     adapter_config.json, which names the base and its revision, adapter_model.safetensors
    pointer              base_model.json, which names them too

A pointer is a repository on the Hub, or a path relative to the checkpoint. With it a checkpoint is small, and says
nothing about the licence of a model that others published.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import save_torch_state_dict

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones.lora import load_mllm_adapter, portable_base, save_mllm_adapter
from animeshooter_hf.modeling.checkpoint import HOLDS_LORA

__all__ = ["MllmPointer", "clear_files", "load_pointed_mllm", "read_pointer", "saved_as"]

_ADAPTER_FILE = "adapter_config.json"
_POINTER_FILE = "base_model.json"
_LORA = "default"


@dataclass(frozen=True, kw_only=True, slots=True)
class MllmPointer:
    """Where the MLLM of a checkpoint comes from."""

    base: str
    """A repository on the Hub, or a path relative to the checkpoint's folder."""

    revision: str | None
    """The repository's revision; None is the newest."""

    has_lora: bool
    """Whether the checkpoint holds a LoRA for it."""


@contextmanager
def saved_as(mllm: Any, how: str, *, base: str | None = None, revision: str | None = None) -> Iterator[None]:
    """Let `mllm.save_pretrained` write what is asked for, for the time of the block; diffusers calls it.

    Args:
        mllm: The multimodal model, with or without a LoRA.
        how: "full" or "pointer".
        base: What a pointer names; None takes what the model was loaded from.
        revision: Its revision; None takes the one that the model was loaded from, where it is known.

    Raises:
        InputError: If `how` is another word, a pointer would only be good here, or there are several LoRAs.
    """
    if how not in ("full", "pointer"):
        raise InputError(f'mllm must be "full" or "pointer", got {how!r}.')
    if how == "full" and (base is not None or revision is not None):
        raise InputError('mllm_base and mllm_base_revision go with mllm="pointer".')
    loras = sorted(getattr(mllm, "peft_config", None) or {})
    if len(loras) > 1 or (loras and loras != [_LORA]):
        raise InputError(f"A checkpoint holds one LoRA of the multimodal model, named {_LORA!r}; there are "
                         f"{', '.join(loras)}.")  # fmt: skip
    if how == "full" and loras and getattr(mllm, "hf_quantizer", None) is not None:
        raise InputError('A quantized multimodal model with a LoRA cannot be written in full; use mllm="pointer".')
    writer = _whole_writer(mllm) if how == "full" else _pointer_writer(mllm, base, revision)
    if how == "full" and not loras:
        yield
        return
    mllm.save_pretrained = writer
    try:
        yield
    finally:
        del mllm.save_pretrained


def clear_files(folder: Path) -> None:
    """Remove what an earlier save wrote into a folder `mllm` beside weights: two kinds would be read as a third."""
    for name in (_ADAPTER_FILE, _POINTER_FILE, "config.json", "generation_config.json"):
        (folder / name).unlink(missing_ok=True)


def _whole_writer(mllm: Any) -> Callable[..., None]:
    """Return what writes base and LoRA beside each other, as transformers reads them."""

    def write(save_directory: str | Path, max_shard_size: int | str = "5GB", **_: Any) -> None:
        folder = Path(save_directory)
        save_mllm_adapter(mllm, folder, base=".")
        weights = {
            name.replace(".base_layer.", "."): weight
            for name, weight in mllm.state_dict().items()
            if ".lora_" not in name
        }
        save_torch_state_dict(
            weights, folder, filename_pattern="model{suffix}.safetensors", max_shard_size=max_shard_size,
            metadata={"format": "pt"},
        )  # fmt: skip
        mllm.config.save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        # What transformers adds when it saves a model itself.
        known = {"architectures": [type(mllm).__name__], "dtype": str(mllm.dtype).removeprefix("torch.")}
        _write_json(folder / "config.json", {**config, **known, HOLDS_LORA: True})
        if getattr(mllm, "generation_config", None) is not None:
            mllm.generation_config.save_pretrained(folder)

    return write


def _pointer_writer(mllm: Any, base: str | None, revision: str | None) -> Callable[..., None]:
    """Return what writes the pointer, with the LoRA if there is one; the pointer is checked at once."""
    pointer = portable_base(base, mllm)
    if revision is None and base in (None, mllm.config._name_or_path):
        revision = getattr(mllm.config, "_commit_hash", None)

    def write(save_directory: str | Path, **_: Any) -> None:
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        if getattr(mllm, "peft_config", None):
            save_mllm_adapter(mllm, folder, base=pointer, base_revision=revision)
        else:
            _write_json(folder / _POINTER_FILE, {"base_model_name_or_path": pointer, "revision": revision})

    return write


def read_pointer(folder: Path) -> MllmPointer | None:
    """Return the pointer that a folder `mllm` holds, or None if it holds the model itself.

    Raises:
        InputError: If it cannot be read.
    """
    if (folder / "config.json").exists():
        return None
    file = next((folder / name for name in (_ADAPTER_FILE, _POINTER_FILE) if (folder / name).is_file()), None)
    if file is None:
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        base, revision = data["base_model_name_or_path"], data.get("revision")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} names no base model that can be read.") from error
    if not isinstance(base, str) or not base or not isinstance(revision, str | None):
        raise InputError(f"{file} names no base model that can be read.")
    return MllmPointer(base=base, revision=revision, has_lora=file.name == _ADAPTER_FILE)


def load_pointed_mllm(folder: Path, class_name: str, *, checkpoint: str | None = None, **options: Any) -> Any:
    """Return the MLLM that a folder `mllm` points to, with the folder's LoRA.

    Args:
        folder: The folder, in the checkpoint.
        class_name: The model's class in transformers, as model_index.json names it.
        checkpoint: What the checkpoint is called in messages; its folder if None.
        options: Of transformers' `from_pretrained`, such as `dtype`, `token` and `cache_dir`.

    Raises:
        InputError: If the base is not there, is another class, or the LoRA does not fit it.
    """
    pointer = read_pointer(folder)
    checkpoint = checkpoint or str(folder.parent)
    if pointer is None:
        raise InputError(f"{folder} holds no pointer to a multimodal model.")
    mllm_class: Any = getattr(transformers, class_name, None)
    is_model = isinstance(mllm_class, type) and issubclass(mllm_class, transformers.PreTrainedModel)
    if not is_model:
        raise InputError(f"transformers has no model class {class_name}, which {checkpoint} names.")
    place = folder.parent / pointer.base
    is_local = place.is_dir()
    if not is_local and pointer.base.startswith("."):
        raise InputError(_missing(checkpoint, pointer, f"there is no folder {place}"))
    options = {key: value for key, value in options.items() if value is not None}
    try:
        mllm = mllm_class.from_pretrained(
            str(place.resolve()) if is_local else pointer.base,
            **({} if is_local or pointer.revision is None else {"revision": pointer.revision}),
            **options,
        )
    except Exception as error:
        # Of a dozen kinds, SafetensorError and those of the Hub among them.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(_missing(checkpoint, pointer, lines[0] if lines else type(error).__name__)) from error
    if not is_local:
        # What saving it again would point to.
        mllm.config._name_or_path = pointer.base
    if pointer.has_lora:
        load_mllm_adapter(mllm, folder)
    return mllm.eval()


def _missing(checkpoint: str, pointer: MllmPointer, why: str) -> str:
    at = f" at revision {pointer.revision}" if pointer.revision else ""
    return (
        f"The checkpoint {checkpoint} holds no multimodal model but points to {pointer.base}{at}, which cannot be "
        f"loaded: {why.rstrip('.')}."
    )


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
