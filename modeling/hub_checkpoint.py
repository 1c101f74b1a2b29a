"""Checkpoints as a whole: save one, load one from a folder or the Hub, publish one.

Loading goes through three steps, so that what is wrong is said in one sentence and before gigabytes are read: the
folder is brought here, every file that it names is looked at, and only then diffusers loads.
"""

import importlib
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.model_card import CardFacts, write_model_card
from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.upload import Change, HubUploader, RemoteHead
from animeshooter_hf.modeling.checkpoint import (
    align_weights,
    check_folder,
    is_ours,
    write_component_shims,
    write_shim,
)
from animeshooter_hf.modeling.mllm_files import clear_files, load_pointed_mllm, read_pointer, saved_as
from animeshooter_hf.modeling.packaged import packaged_folder
from animeshooter_hf.modeling.sources import part_sources, repository_of

__all__ = ["load_checkpoint", "push_checkpoint", "save_checkpoint"]

PIPELINE_CLASS = "AnimeShooterGenPipeline"

_FILE_KINDS = ("json", "safetensors", "txt", "jinja", "model")
"""Endings of the files of a component that are needed; nothing that runs code or holds pickles is among them."""

_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token", "revision")


def save_checkpoint(
    pipeline: Any,
    save_directory: str | Path,
    *,
    mllm: str = "full",
    mllm_base: str | None = None,
    mllm_base_revision: str | None = None,
    datasets: Sequence[str] = (),
    licence: str | None = None,
    repo_id: str | None = None,
    **options: Any,
) -> Path:
    """Write a checkpoint with its card and the `pipeline.py` for plain diffusers, and return the folder.

    Args:
        pipeline: An `AnimeShooterGenPipeline`.
        save_directory: The folder.
        mllm: "full", or "pointer" to leave its weights out and name where they are.
        mllm_base: What the pointer names: a repository on the Hub, or a path relative to the checkpoint; None takes
            the repository that the model was loaded from.
        mllm_base_revision: Revision of the repository.
        datasets: Repositories of the datasets that it was trained on, for the card.
        licence: Identifier on the Hub of the licence of the weights that are new, such as "apache-2.0", for the card.
        repo_id: Where it will stand on the Hub, for the card.
        options: Of `DiffusionPipeline.save_pretrained`.

    Raises:
        InputError: If it is asked to upload, the pointer would only be good on this machine, or nothing can be written.
    """
    if options.pop("push_to_hub", False):
        raise InputError("Call push_to_hub(repo_id) instead, which uploads the card that is written here.")
    folder = Path(save_directory)
    if any(part.exists() and not part.is_dir() for part in (folder, *folder.parents)):
        raise InputError(f"The checkpoint cannot be written to {folder}: it is, or lies in, a file.")
    with saved_as(pipeline.mllm, mllm, base=mllm_base, revision=mllm_base_revision):
        try:
            _clear_weights(folder, pipeline.components)
            DiffusionPipeline.save_pretrained(pipeline, str(folder), **options)
            _forget_folders(folder)
            write_shim(folder)
            pointer = read_pointer(folder / "mllm")
            facts = CardFacts(
                sources=part_sources(pipeline),
                mllm_pointer=None if pointer is None else (pointer.base, pointer.revision),
                datasets=datasets,
                licence=licence,
                repo_id=repo_id,
            )
            write_model_card(pipeline, folder, facts)
        except OSError as error:
            raise InputError(f"The checkpoint cannot be written to {folder}: {error.strerror or error}.") from error
    return folder


def _clear_weights(folder: Path, names: Iterable[str]) -> None:
    """Remove the weights of an earlier save; of one in shards, diffusers would leave the index of files that are gone.

    Weights that were loaded from here stay readable to whoever has them open.
    """
    for name in names:
        for weights in [*(folder / name).glob("*.safetensors"), *(folder / name).glob("*.safetensors.index.json")]:
            weights.unlink()
    clear_files(folder / "mllm")


def _forget_folders(folder: Path) -> None:
    """Take out of the settings where on this machine something was loaded from; diffusers writes that into them."""
    for file in (folder / "model_index.json", *folder.glob("*/config.json")):
        settings = json.loads(file.read_text(encoding="utf-8"))
        if "_name_or_path" in settings and repository_of(settings) is None:
            del settings["_name_or_path"]
            file.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_checkpoint(name: str | Path, *, pipeline_class: Any = None, **options: Any) -> Any:
    """Return the pipeline of a folder, of a repository on the Hub, or the one that comes with the library.

    Args:
        name: The folder, "NAME/REPO", or "toon", see `packaged`; that one is shipped in half precision and computes in
            float32 unless another type is given.
        pipeline_class: A subclass of `AnimeShooterGenPipeline`; that class if None.
        options: Of `DiffusionPipeline.from_pretrained`; a component that is given is not loaded.

    Raises:
        InputError: In one sentence: no such checkpoint, another kind, a file or a weight that is missing or broken, a
            multimodal model that is pointed to and not there.
    """
    if pipeline_class is None:
        from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

        pipeline_class = AnimeShooterGenPipeline
    path = Path(name)
    packaged = packaged_folder(name)
    if packaged is not None:
        folder = packaged
        if "dtype" not in options and "torch_dtype" not in options:
            # Half precision is for shipping: a CPU computes it slowly, where it can at all.
            options["dtype"] = torch.float32
    elif path.is_dir():
        folder = path
    elif path.exists() or len(path.parts) != 2 or path.is_absolute():
        raise InputError(f"There is no checkpoint at {path}.")
    else:
        folder = _download(str(name), given=options, **{key: options.get(key) for key in _HUB_OPTIONS})
    given = [key for key in options if key not in _HUB_OPTIONS]
    check_folder(folder, PIPELINE_CLASS, given=given)
    loading = {key: value for key, value in options.items() if key not in _HUB_OPTIONS}
    loading |= _own_components(folder, loading)
    if "mllm" not in loading and read_pointer(folder / "mllm") is not None:
        loading["mllm"] = _pointed_mllm(folder, str(name), options)
    try:
        loaded = DiffusionPipeline.from_pretrained.__func__(pipeline_class, str(folder), **loading)
    except InputError:
        raise
    except Exception as error:
        # The libraries below raise a dozen kinds here, SafetensorError and bare RuntimeError among them.
        raise InputError(f"The checkpoint {name} cannot be loaded: {_first_sentence(error)}") from error
    align_weights(loaded.components)
    if folder is not path:
        # A LoRA that is trained on it names it, not the cache of this machine.
        DiffusionPipeline.register_to_config(loaded, _name_or_path=str(name))
    return loaded


def push_checkpoint(
    pipeline: Any,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    revision: str = "main",
    tag: str | None = None,
    **saving: Any,
) -> str:
    """Publish a checkpoint in one commit, and return the address of that commit.

    Files of other kinds in the repository (samples, LoRAs, a licence) stay; files of components that this checkpoint no
    longer has go. A run that was stopped sends only what has not arrived when it is run again.

    Args:
        pipeline: An `AnimeShooterGenPipeline`.
        repo_id: "NAME/REPO".
        private: Whether nobody else sees it; None leaves what is there.
        token: Of the Hub.
        commit_message: What the history says.
        revision: The branch.
        tag: A tag for the commit.
        saving: Of `save_checkpoint`, such as `mllm="pointer"`.

    Raises:
        InputError: In one sentence: no token, no permission, a name that cannot be one.
    """
    uploader = HubUploader(repo_id, repo_type="model", revision=revision, token=token)
    uploader.need_token()
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_checkpoint(pipeline, Path(scratch) / "checkpoint", repo_id=repo_id, **saving)
        write_component_shims(folder)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        parts = {name for name in pipeline.config if not name.startswith("_")}

        def change(head: RemoteHead) -> Change:
            stale = {path for path in head.files if path not in files and path.split("/")[0] in parts and "/" in path}
            return Change(dict(files), frozenset(stale))

        uploader.ensure_repo(private)
        message = commit_message or f"Upload {type(pipeline).__name__}"
        report = uploader.commit(change, message=message, tag=tag, progress=False)
    return f"{uploader.api.endpoint}/{repo_id}/commit/{report.commit}"


def _download(repo_id: str, *, given: Iterable[str], **hub: Any) -> Path:
    """Bring the files of the components of a repository here, and return their folder."""
    hub = {key: value for key, value in hub.items() if value is not None}
    try:
        index = Path(hf_hub_download(repo_id, "model_index.json", **hub))
        named = json.loads(index.read_text(encoding="utf-8"))
        if not isinstance(named, dict) or named.get("_class_name") != PIPELINE_CLASS:
            found = named.get("_class_name") if isinstance(named, dict) else type(named).__name__
            raise InputError(f"{repo_id} is a checkpoint of {found}, not of {PIPELINE_CLASS}.")
        parts = [name for name, entry in named.items() if _is_component(entry) and name not in given]
        patterns = ["model_index.json", *(f"{part}/*.{kind}" for part in parts for kind in _FILE_KINDS)]
        return Path(snapshot_download(repo_id, allow_patterns=patterns, **hub))
    except InputError:
        raise
    except RepositoryNotFoundError as error:
        raise InputError(f"There is no model {repo_id} on the Hub that can be seen from here. If it is private, run "
                         "`hf auth login` or set HF_TOKEN.") from error  # fmt: skip
    except RevisionNotFoundError as error:
        raise InputError(f"The model {repo_id} has no revision {hub.get('revision')!r} on the Hub.") from error
    except LocalEntryNotFoundError as error:
        raise InputError(f"The checkpoint {repo_id} is not on this machine, and the Hub cannot be asked.") from error
    except EntryNotFoundError as error:
        raise InputError(f"{repo_id} is no checkpoint: it has no model_index.json.") from error
    except HFValidationError as error:
        raise InputError(f"There is no checkpoint at {repo_id}.") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise InputError(f"The checkpoint {repo_id} cannot be had from the Hub: {_first_sentence(error)}") from error


def _is_component(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and entry[0] is not None


def _own_components(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the components whose classes are ours, without running the code that may stand beside them."""
    named = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    loaded = {}
    for name, entry in named.items():
        if not is_ours(entry) or name in options:
            continue
        module, class_name = entry
        try:
            found = getattr(importlib.import_module(module), class_name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"The checkpoint {folder} names {module}.{class_name} for {name}, which animeshooter_hf "
                             f"{__version__} does not have.") from error  # fmt: skip
        dtype = _dtype_of(options, name)
        try:
            loaded[name] = found.from_pretrained(folder / name, **({} if dtype is None else {"torch_dtype": dtype}))
        except Exception as error:
            raise InputError(f"The checkpoint {folder} cannot be loaded: {_first_sentence(error)}") from error
    return loaded


def _dtype_of(options: dict[str, Any], name: str) -> Any:
    """Return the type that a component is loaded in, as diffusers understands the option; None is the file's."""
    dtype = options.get("dtype", options.get("torch_dtype"))
    return dtype.get(name, dtype.get("default")) if isinstance(dtype, dict) else dtype


def _pointed_mllm(folder: Path, name: str, options: dict[str, Any]) -> Any:
    named = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    quantization = options.get("quantization_config")
    resolve = getattr(quantization, "_resolve_quant_config", None)
    return load_pointed_mllm(
        folder / "mllm",
        named["mllm"][1],
        checkpoint=name,
        dtype=_dtype_of(options, "mllm"),
        quantization_config=resolve(is_diffusers=False, module_name="mllm") if resolve else None,
        token=options.get("token"),
        cache_dir=options.get("cache_dir"),
        local_files_only=options.get("local_files_only"),
    )


def _first_sentence(error: Exception) -> str:
    """Return the first line of an error's text; libraries go on with advice that does not fit here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0] if lines else type(error).__name__}".rstrip(".") + "."
