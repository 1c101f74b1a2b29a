"""LoRAs of the video model, one per character: save one with everything it needs, load several, weigh them.

    pytorch_lora_weights.safetensors    weights, with rank and alpha in the header, as diffusers reads them
    lora.json                           name, character, trigger, and the mark of the model it was trained on
    README.md  samples/                 card and pictures or films

A LoRA changes the model by alpha over rank times its weight. diffusers writes alpha only if it is handed over; a LoRA
without it comes back with another strength. Here it always goes along.

Source: AnimeShooter, arXiv 2506.03126, section B.2: a LoRA per IP is trained last, on the video model alone.
"""

import hashlib
import json
import logging
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.sources import repository_of

__all__ = ["LoraInfo", "base_mark", "check_weight", "load_lora", "push_lora", "read_lora", "save_lora", "set_weights"]

logger = logging.getLogger(__name__)

WEIGHTS = "pytorch_lora_weights.safetensors"
INFO = "lora.json"

_FORMAT = "animeshooter-lora"
_PREFIX = "transformer."
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOOKED_AT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class LoraInfo:
    """What a LoRA says about itself."""

    name: str
    """Under which it is loaded: letters, digits, `_` and `-`."""

    rank: int
    """Rank; the largest if layers differ."""

    alpha: float
    """Strength; the output is scaled by alpha over rank."""

    character: str | None = None
    """Character whom it knows, by the story's name."""

    trigger: str | None = None
    """Word that captions should hold for it to act."""

    base_model: str | None = None
    """Repository of the checkpoint that it was trained on, or the name of one that comes with the library."""

    base_class: str | None = None
    """Class of the video transformer."""

    base_mark: str | None = None
    """Mark of that transformer's weights, see `base_mark`."""

    base_dtype: str | None = None
    """Their type; marks of weights of different types cannot be compared."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InputError(f"A LoRA's name is 1 to 64 letters, digits, _ and -, got {self.name!r}.")
        for field in ("character", "trigger", "base_model"):
            value = getattr(self, field)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise InputError(f"{field} of the LoRA {self.name} must be a text that is not empty, got {value!r}.")


def base_mark(transformer: Any) -> str:
    """Return a mark of a transformer's weights without its LoRAs: names, sizes, and the first values of each."""
    mark = hashlib.sha256(type(transformer).__name__.encode())
    for name, weight in sorted(transformer.named_parameters()):
        if ".lora_" in name:
            continue
        mark.update(f"{name.replace('.base_layer.', '.')} {tuple(weight.shape)}".encode())
        if not weight.is_meta:
            values = weight.dequantize() if "torchao" in type(weight).__module__ else weight.detach()
            mark.update(values.flatten()[:_LOOKED_AT].float().cpu().numpy().tobytes())
    return mark.hexdigest()


# ---------------------------------------------------------------------------------------------------------- saving


def save_lora(
    pipeline: Any,
    folder: str | Path,
    name: str = "default",
    *,
    character: str | None = None,
    trigger: str | None = None,
    base_model: str | None = None,
    samples: Sequence[str | Path] = (),
    licence: str | None = None,
    repo_id: str | None = None,
) -> Path:
    """Write a LoRA of the video model with its card, and return the folder.

    Args:
        pipeline: An `AnimeShooterGenPipeline` that has it.
        folder: Where to write.
        name: Of the LoRA in the pipeline.
        character: Whom it knows.
        trigger: Word that captions should hold.
        base_model: Repository of the checkpoint that it belongs to; None takes what the pipeline was loaded from, if
            that was a repository.
        samples: Pictures or films to show in the card; they are copied.
        licence: Identifier of the licence on the Hub, such as "apache-2.0".
        repo_id: Where it will stand on the Hub, for the card.

    Raises:
        InputError: If there is no such LoRA, a sample is missing, or nothing can be written.
    """
    from animeshooter_hf.cards.lora_card import write_lora_card

    transformer = pipeline.transformer
    config = _config_of(transformer, name)
    for sample in samples:
        if not Path(sample).is_file():
            raise InputError(f"There is no sample {sample}.")
    info = LoraInfo(
        name=name,
        rank=max([config.r, *config.rank_pattern.values()]),
        alpha=config.lora_alpha,
        character=character,
        trigger=trigger,
        base_model=base_model or repository_of(pipeline.config),
        base_class=type(transformer).__name__,
        base_mark=base_mark(transformer),
        base_dtype=str(transformer.dtype).removeprefix("torch."),
    )
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
        pipeline.save_lora_weights(
            path,
            weight_name=WEIGHTS,
            transformer_lora_layers=get_peft_model_state_dict(transformer, adapter_name=name),
            transformer_lora_adapter_metadata=config.to_dict(),
        )
        text = json.dumps({"format": _FORMAT, "format_version": 1, **asdict(info)}, indent=2, ensure_ascii=False)
        (path / INFO).write_text(text + "\n", encoding="utf-8")
        shown = [_copy_sample(path, number, Path(sample)) for number, sample in enumerate(samples)]
        origin = pipeline.config.weights_origin
        write_lora_card(path, info, samples=shown, licence=licence, weights_origin=origin, repo_id=repo_id)
    except OSError as error:
        raise InputError(f"The LoRA cannot be written to {path}: {error.strerror or error}.") from error
    return path


def push_lora(
    pipeline: Any,
    repo_id: str,
    name: str = "default",
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
    **saving: Any,
) -> str:
    """Publish a LoRA as a repository of its own, in one commit, and return that commit's address.

    For the options see `save_lora`; for what is raised, that and `animeshooter_hf.hub.upload.HubUploader`.
    """
    import tempfile

    from animeshooter_hf.hub.upload import Change, HubUploader

    uploader = HubUploader(repo_id, repo_type="model", token=token)
    uploader.need_token()
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_lora(pipeline, scratch, name, repo_id=repo_id, **saving)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        uploader.ensure_repo(private)
        message = commit_message or f"Upload the LoRA {name}"
        report = uploader.commit(lambda _: Change(dict(files)), message=message, progress=False)
    return f"{uploader.api.endpoint}/{repo_id}/commit/{report.commit}"


def _config_of(transformer: Any, name: str) -> Any:
    configs = getattr(transformer, "peft_config", None) or {}
    if name not in configs:
        raise InputError(f"There is no LoRA {name!r}; loaded are {', '.join(sorted(configs)) or 'none'}.")
    return configs[name]


def _copy_sample(folder: Path, number: int, sample: Path) -> str:
    (folder / "samples").mkdir(exist_ok=True)
    name = f"samples/{number:02d}{sample.suffix.lower()}"
    shutil.copyfile(sample, folder / name)
    return name


# ---------------------------------------------------------------------------------------------------------- loading


def read_lora(
    place: str | Path, name: str | None = None, *, revision: str | None = None, token: str | None = None
) -> LoraInfo:
    """Return what a LoRA says about itself, without a model; see `load_lora` for arguments and errors."""
    folder = _folder_of(place, revision, token)
    metadata, _ = _read_weights(folder)
    return _read_info(folder, metadata, name)


def load_lora(
    pipeline: Any,
    place: str | Path,
    name: str | None = None,
    weight: float = 1.0,
    *,
    revision: str | None = None,
    token: str | None = None,
    check_base: bool = True,
) -> LoraInfo:
    """Load a LoRA into the video model beside those that are loaded, and return what it says about itself.

    It is active with its weight; the weights of the others stay. `LoraRegistry` sets them all.

    Args:
        pipeline: An `AnimeShooterGenPipeline`.
        place: A folder, or a repository on the Hub.
        name: Under which to load it; its own if None.
        weight: Its weight; 1 is as trained.
        revision: Of the repository.
        token: Of the Hub.
        check_base: Whether one that was trained on other weights of the same shapes is refused.

    Raises:
        InputError: Before the model is touched: no LoRA there, one for another model, or a name that is taken.
    """
    check_weight(name or str(place), weight)
    folder = _folder_of(place, revision, token)
    metadata, shapes = _read_weights(folder)
    info = _read_info(folder, metadata, name)
    transformer = pipeline.transformer
    if info.name in (getattr(transformer, "peft_config", None) or {}):
        raise InputError(f"A LoRA {info.name!r} is loaded already; give another name.")
    _check_shapes(transformer, shapes, info, place)
    if check_base:
        _check_base(transformer, info, place)
    if not metadata:
        logger.warning("The LoRA in %s does not say its alpha; it is taken to be its rank.", place)
    before = _weights_of(transformer)
    with warnings.catch_warnings():
        # peft's, on every LoRA after the first; several are what is wanted.
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        pipeline.load_lora_weights(str(folder), weight_name=WEIGHTS, adapter_name=info.name, local_files_only=True)
    set_weights(transformer, {**before, info.name: weight})
    return info


def set_weights(transformer: Any, weights: Mapping[str, float]) -> None:
    """Let these LoRAs of a transformer be active with these weights, and no others."""
    if weights:
        transformer.enable_lora()
        transformer.set_adapters(list(weights), list(weights.values()))
    elif getattr(transformer, "peft_config", None):
        transformer.disable_lora()


def _weights_of(transformer: Any) -> dict[str, float]:
    """Return active LoRA -> weight."""
    for module in transformer.modules():
        if hasattr(module, "lora_A") and hasattr(module, "scaling"):
            if module.disable_adapters:
                return {}
            break
    found: dict[str, float] = {}
    for module in transformer.modules():
        for name in getattr(module, "active_adapters", ()) if hasattr(module, "scaling") else ():
            if name in module.scaling:
                rank = module.r[name] ** (0.5 if module.use_rslora.get(name) else 1)
                found[name] = module.scaling[name] * rank / module.lora_alpha[name]
    return found


def _folder_of(place: str | Path, revision: str | None, token: str | None) -> Path:
    path = Path(place)
    if path.is_dir():
        return path
    if path.exists() or path.is_absolute() or len(path.parts) != 2:
        raise InputError(f"There is no LoRA at {path}: a folder or a repository on the Hub is needed.")
    try:
        return Path(snapshot_download(str(place), revision=revision, token=token, allow_patterns=[WEIGHTS, INFO]))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise InputError(f"The LoRA {place} cannot be had from the Hub: {lines[0].rstrip('.')}.") from error


def _read_weights(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Return the settings in the header, empty if there are none, and tensor -> shape."""
    file = folder / WEIGHTS
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118 - no dict
        settings = json.loads(header.get("lora_adapter_metadata", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{folder} holds no LoRA that can be read: {WEIGHTS} is missing or broken.") from error
    own = {key.removeprefix(_PREFIX): value for key, value in settings.items() if key.startswith(_PREFIX)}
    ours = {key.removeprefix(_PREFIX): shape for key, shape in shapes.items() if key.startswith(_PREFIX)}
    if not ours:
        raise InputError(f"{folder} holds no LoRA of a video transformer.")
    return own, ours


def _read_info(folder: Path, metadata: Mapping[str, Any], name: str | None) -> LoraInfo:
    file = folder / INFO
    data: dict[str, Any] = {}
    if file.is_file():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
            if data.pop("format") != _FORMAT or data.pop("format_version") != 1:
                raise ValueError("of another format")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError(f"{file} is broken, or of a version that is not known here.") from error
    data |= {"rank": metadata.get("r", data.get("rank", 0)), "alpha": metadata.get("lora_alpha", data.get("alpha", 0))}
    data["name"] = name or data.get("name") or re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name)[:64]
    try:
        return LoraInfo(**data)
    except TypeError as error:
        raise InputError(f"{file} is broken: {error}.") from error


def _check_shapes(transformer: Any, shapes: Mapping[str, tuple[int, ...]], info: LoraInfo, place: str | Path) -> None:
    layers = dict(transformer.named_modules())
    for key, shape in shapes.items():
        layer_name, _, matrix = key.removesuffix(".weight").rpartition(".")
        if matrix not in ("lora_A", "lora_B"):
            continue
        layer = layers.get(layer_name)
        features = getattr(layer, "in_features" if matrix == "lora_A" else "out_features", None)
        if features != shape[1 if matrix == "lora_A" else 0]:
            has = "has no such layer" if layer is None else f"has {features} there"
            base = info.base_model or info.base_class or "one that it does not name"
            raise InputError(
                f"The LoRA {place} is for another model ({base}): its {layer_name} takes or gives "
                f"{shape[1 if matrix == 'lora_A' else 0]} values, and this {type(transformer).__name__} {has}."
            )


def _check_base(transformer: Any, info: LoraInfo, place: str | Path) -> None:
    if info.base_mark is None or info.base_dtype != str(transformer.dtype).removeprefix("torch."):
        return
    if info.base_mark != base_mark(transformer):
        named = f" ({info.base_model})" if info.base_model else ""
        raise InputError(
            f"The LoRA {place} was trained on other weights of the same shapes{named}; "
            "check_base=False loads it anyway."
        )


def check_weight(name: str, weight: float) -> None:
    """Raise an InputError unless a LoRA may have this weight."""
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not -10 <= weight <= 10:
        raise InputError(f"The weight of the LoRA {name} must be a number from -10 to 10, got {weight!r}.")
