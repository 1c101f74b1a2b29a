"""Who answers for a film, and a watch over the answers: a unit with unanswered questions is not done.

An annotator is opened in the worker, once per process; what the driver hands over is only the settings.
"""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from animeshooter_hf.config_file import settings_to_json
from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    Annotator,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.model_annotator import ModelAnnotator
from animeshooter_hf.dataset_builder.annotate.noisy import NoisyAnnotator
from animeshooter_hf.dataset_builder.annotate.open_model import ModelConfig, open_model
from animeshooter_hf.dataset_builder.annotate.question import Answer, Usage
from animeshooter_hf.dataset_builder.annotate.release_annotator import ReleaseAnnotator
from animeshooter_hf.dataset_builder.annotate.sidecar import script_path
from animeshooter_hf.dataset_builder.annotate.truth import TruthAnnotator
from animeshooter_hf.dataset_builder.engine.stage import Item, NotYetError, file_state
from animeshooter_hf.dataset_builder.script.question import ScriptMode
from animeshooter_hf.errors import InputError

__all__ = [
    "AnnotatorConfig",
    "AnsweringKind",
    "WatchedAnnotator",
    "answering_key",
    "answering_settings",
    "open_annotator",
]

AnsweringKind = Literal["auto", "release", "script", "truth", "noisy", "model"]

Request = TypeVar("Request")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatorConfig:
    """Who writes scripts, verifies references and describes sounds."""

    kind: AnsweringKind = "auto"
    """`release`: what a release tells of the film; `script`: the film's own script, frame by frame; `model`: a model;
    `auto`: the release where it tells of the film, else the script where there is one, else the model. `truth` and
    `noisy` answer from the script as a perfect and a careless model would, to measure stages."""

    model: ModelConfig | None = None
    """The model; without one, only films with a script can be used."""

    mode: ScriptMode = "cuts"
    """How answers state time: numbers of cuts (our default) or MM:SS (paper)."""

    noise: float = 0.3
    """For `noisy`: how often each irregularity is put in."""

    noise_seed: int = 0
    """For `noisy`: decides where."""

    verify_references: bool = True
    """Whether a model is asked about each reference that passed the rules. Paper: yes."""

    def __post_init__(self) -> None:
        if self.kind == "model" and self.model is None:
            raise InputError("The annotator is a model, but no model is named.")
        if not 0 <= self.noise <= 1:
            raise InputError(f"noise must lie in 0 to 1, got {self.noise}.")

    def kind_for(self, film: Path, annotation: Path | None = None) -> AnsweringKind:
        """Return who answers for a film.

        Args:
            film: Its file.
            annotation: What a release tells of it, if one does.

        Raises:
            InputError: If nobody can.
        """
        if self.kind == "release" and annotation is None:
            raise InputError(f"No release tells of {film}; films of a `release:` source have such an annotation.")
        if self.kind != "auto":
            return self.kind
        if annotation is not None:
            return "release"
        if script_path(film).is_file():
            return "script"
        if self.model is None:
            raise InputError(
                f"There is no script {script_path(film).name} beside the film, and no model is named to write one."
            )
        return "model"


class WatchedAnnotator:
    """Passes requests on and keeps in mind what became of them; safe to call from threads."""

    def __init__(self, inner: Annotator) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._unanswered: list[Answer] = []
        self._outcomes: Counter[str] = Counter()
        self._models: set[str] = set()
        self._tokens = Usage()

    def settings_key(self) -> Mapping[str, Any]:
        """See `Annotator`."""
        return self._inner.settings_key()

    def admit(self, request: AdmitRequest) -> Answer:
        """See `Annotator`."""
        return self._watch(self._inner.admit, request)

    def write_script(self, request: ScriptRequest) -> Answer:
        """See `Annotator`."""
        return self._watch(self._inner.write_script, request)

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """See `Annotator`."""
        return self._watch(self._inner.verify_reference, request)

    def describe_audio(self, request: AudioRequest) -> Answer:
        """See `Annotator`."""
        return self._watch(self._inner.describe_audio, request)

    def require_answers(self) -> None:
        """Refuse to go on if a question was not answered for a reason that may pass.

        Raises:
            NotYetError: If so; the answers that came are in the cache, so nothing is asked twice.
        """
        if self._unanswered:
            first = self._unanswered[0]
            raise NotYetError(
                f"{len(self._unanswered)} questions are unanswered, the first one because: {first.detail}"
            )

    def provenance(self) -> dict[str, Any]:
        """Return who answered and what became of the questions."""
        return {"models": sorted(self._models), "outcomes": dict(self._outcomes), "tokens": asdict(self._tokens)}

    def _watch(self, ask: Callable[[Request], Answer], request: Request) -> Answer:
        answer = ask(request)
        with self._lock:
            self._outcomes[answer.outcome] += 1
            if answer.model:
                self._models.add(answer.model)
            used, before = answer.usage, self._tokens
            self._tokens = Usage(
                before.prompt_tokens + used.prompt_tokens,
                before.cached_tokens + used.cached_tokens,
                before.output_tokens + used.output_tokens,
            )
            if answer.outcome in ("error", "skipped"):
                self._unanswered.append(answer)
        return answer


def open_annotator(config: AnnotatorConfig, film: Path, work: Path, annotation: Path | None = None) -> WatchedAnnotator:
    """Return who answers for a film.

    Args:
        config: Who.
        film: The film's file.
        work: Local folder of caches, limits and the ledger of calls.
        annotation: What a release tells of the film, if one does.

    Raises:
        InputError: If nobody can answer, or a key or a checkpoint is missing.
    """
    kind = config.kind_for(film, annotation)
    if kind == "release" and annotation is not None:
        return WatchedAnnotator(ReleaseAnnotator(annotation))
    if kind == "model":
        return WatchedAnnotator(_model_annotator(config, work))
    if kind == "script":
        return WatchedAnnotator(TruthAnnotator("frames"))
    truth = TruthAnnotator(config.mode)
    if kind == "truth":
        return WatchedAnnotator(truth)
    return WatchedAnnotator(NoisyAnnotator(truth, rate=config.noise, seed=config.noise_seed))


def answering_key(config: AnnotatorConfig, item: Item) -> dict[str, Any]:
    """Return the state of what answers for a film: of its annotation or script, where that is who answers."""
    path = script_path(item.path)
    if item.annotation is not None and config.kind in ("auto", "release"):
        return {"answers": "release", "script": file_state(item.annotation)}
    kind = config.kind if config.kind != "auto" else ("script" if path.is_file() else "model")
    return {"answers": kind, "script": None if kind == "model" else file_state(path)}


def answering_settings(config: AnnotatorConfig) -> dict[str, Any]:
    """Return what answers depend on; how fast and for how much money a model may be asked is no part of it."""
    told = settings_to_json(config)
    if told["model"] is not None:
        for name in _NO_PART_OF_ANSWERS:
            told["model"].pop(name)
    return dict(told)


_NO_PART_OF_ANSWERS = (
    "api_key_env", "needs_key", "rpm", "tpm", "in_flight", "timeout_seconds", "max_retries", "budget_money",
    "price_file", "batch", "device",
)  # fmt: skip


_OPENED: dict[str, ModelAnnotator] = {}


def _model_annotator(config: AnnotatorConfig, work: Path) -> ModelAnnotator:
    """Return the annotator of a model, opened once per process."""
    if config.model is None:
        raise InputError("The annotator is a model, but no model is named.")
    key = json.dumps([settings_to_json(config), str(work)], sort_keys=True)
    if key not in _OPENED:
        _OPENED.clear()
        _OPENED[key] = ModelAnnotator(open_model(config.model, work), mode=config.mode)
    return _OPENED[key]
