"""Open a scorer by name, folder or Hub ID; what a checkpoint lacks is an error, and its licence is told.

No weights come with the package, and nothing is downloaded unless a name on the Hub is given.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.checkpoint import check_folder, missing_weights
from animeshooter_hf.modeling.sound.diffusers_scorers import (
    AudioLDM2Scorer,
    DiffusersScorer,
    ScorerSettings,
    StableAudio3Scorer,
    StableAudioScorer,
)
from animeshooter_hf.modeling.sound.scorer import AudioScorer, SilenceScorer
from animeshooter_hf.optional import require

__all__ = ["SOUND_MODELS", "SoundModel", "open_scorer"]

_PURPOSE = "Making sound"
_SCORERS = {one.pipeline_class: one for one in (StableAudioScorer, StableAudio3Scorer, AudioLDM2Scorer)}


@dataclass(frozen=True, kw_only=True, slots=True)
class SoundModel:
    """A public checkpoint that a short name stands for. Licences are as their cards state them; read them yourself."""

    model: str
    """ID on the Hub."""

    licence: str
    """Licence of the weights."""

    source: str
    """Where the licence stands."""

    unsure: str
    """What has not been checked here."""


SOUND_MODELS = {
    "stable-audio": SoundModel(
        model="stabilityai/stable-audio-open-1.0",
        licence="Stability AI Community License (own terms, not open source; large companies need another)",
        source="https://huggingface.co/stabilityai/stable-audio-open-1.0",
        unsure="The repository is gated: its terms must be accepted there first. The first release was under a"
        " non-commercial licence. Never run here with its weights.",
    ),
    "stable-audio-3": SoundModel(
        model="stabilityai/stable-audio-3-medium",
        licence="Stability AI Community License; the text encoder is T5Gemma, under the Gemma Terms of Use",
        source="https://huggingface.co/stabilityai/stable-audio-3-medium",
        unsure="Read from copies of the card. Whether the repository holds files in the layout of diffusers was not"
        " checked. Never run here with its weights.",
    ),
    "audioldm2": SoundModel(
        model="cvssp/audioldm2",
        licence="CC BY-NC-SA 4.0 (non-commercial)",
        source="https://huggingface.co/cvssp/audioldm2",
        unsure="Believed, the card was not read again. Never run here with its weights.",
    ),
}
"""Short name -> checkpoint. None of them is a default: sound is made only by a scorer that was named."""


def open_scorer(
    name: str | Path,
    *,
    settings: ScorerSettings | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    revision: str | None = None,
) -> AudioScorer:
    """Return the scorer of a name.

    Args:
        name: "silence", a key of `SOUND_MODELS`, a folder, or an ID on the Hub.
        settings: How the pipeline is called.
        device: Where it runs, such as "cuda".
        dtype: Name of torch's type.
        revision: Commit, branch or tag on the Hub.

    Raises:
        InputError: If there is no such checkpoint, it is of another kind, or files or weights are missing.
        MissingExtraError: If diffusers is not installed.
    """
    if str(name) == "silence":
        return SilenceScorer()
    if dtype not in ("float32", "float16", "bfloat16"):
        raise InputError(f"dtype must be float32, float16 or bfloat16, got {dtype!r}.")
    known = SOUND_MODELS.get(str(name))
    place = known.model if known else str(name)
    path = Path(place)
    if path.is_dir():
        source = {"model": path.resolve().name, "licence": "see the folder's card", "source": "a local folder"}
        kind = _class_of_folder(path)
        check_folder(path, kind)
    elif known is None and (path.exists() or path.is_absolute() or len(path.parts) != 2):
        raise InputError(f"There is no sound model {place}; known are silence, {', '.join(SOUND_MODELS)}, a folder, or"
                         " an ID on the Hub.")  # fmt: skip
    else:
        source = asdict(known) if known else {"model": place, "licence": "see its card",
                                              "source": f"https://huggingface.co/{place}"}  # fmt: skip
    pipeline = _load(place, dtype, revision)
    scorer_class = _scorer_class(type(pipeline).__name__, place)
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {device!r} cannot be used here.") from error
    return scorer_class(pipeline, settings, source)


def _scorer_class(class_name: str, place: str) -> type[DiffusersScorer]:
    if class_name not in _SCORERS:
        raise InputError(f"{place} is a {class_name}; sound is made by {', '.join(_SCORERS)}.")
    return _SCORERS[class_name]


def _class_of_folder(folder: Path) -> str:
    """Return the pipeline's class; `check_folder` tells what else is wrong."""
    try:
        named = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return StableAudioScorer.pipeline_class
    _scorer_class(str(named), str(folder))
    return str(named)


def _load(place: str, dtype: str, revision: str | None) -> Any:
    diffusers: Any = require("diffusers", extra="modeling", purpose=_PURPOSE)
    torch: Any = require("torch", extra="modeling", purpose=_PURPOSE)
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(place, dtype=getattr(torch, dtype), revision=revision)
    except Exception as error:
        if "torchsde" in str(error):
            require("torchsde", extra="sound", purpose="The noise of Stable Audio")
        # Below this line a dozen kinds of error are raised, bare RuntimeError and SafetensorError among them.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = (lines[0] if lines else type(error).__name__).rstrip(".")[:300]
        raise InputError(f"The sound model {place} cannot be loaded: {first}.") from error
    for name, component in pipeline.components.items():
        missing = missing_weights(component)
        if missing:
            raise InputError(f"The sound model {place} is not whole: {len(missing)} weights of {name} are missing, such"
                             f" as {missing[0]}.")  # fmt: skip
    return pipeline
