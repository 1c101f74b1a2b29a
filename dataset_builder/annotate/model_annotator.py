"""The annotator that asks a model: each request becomes one question, and the answer is whatever comes back.

The question of each stage is written beside the stage; this file only puts them to the model.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from animeshooter_hf.dataset_builder.annotate.annotator import (
    AdmitRequest,
    AudioRequest,
    ScriptRequest,
    VerifyRequest,
)
from animeshooter_hf.dataset_builder.annotate.question import Answer, Model

if TYPE_CHECKING:
    from animeshooter_hf.dataset_builder.script.question import ScriptMode

__all__ = ["ModelAnnotator"]


class ModelAnnotator:
    """Asks a model. The stages are imported when they are first asked for, since they import the annotators.

    Args:
        model: Whom to ask; see `open_model`.
        mode: How a script states time; see `script/question.py`.
    """

    def __init__(self, model: Model, *, mode: "ScriptMode" = "cuts") -> None:
        self._model = model
        self._mode: ScriptMode = mode

    def settings_key(self) -> Mapping[str, Any]:
        """Return the model's settings. The prompts are no part of it: each question carries the hash of its own."""
        return {"annotator": "model", "mode": self._mode, **self._model.settings_key()}

    def admit(self, request: AdmitRequest) -> Answer:
        """Ask whether a film is animation."""
        from animeshooter_hf.dataset_builder.quality.admit import admit_question

        return self._model.ask(admit_question(request))

    def write_script(self, request: ScriptRequest) -> Answer:
        """Ask for the script of a segment."""
        from animeshooter_hf.dataset_builder.script.question import script_question

        return self._model.ask(script_question(request, mode=self._mode))

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """Ask whether a cut-out is a good reference."""
        from animeshooter_hf.dataset_builder.references.verify import verify_question

        return self._model.ask(verify_question(request))

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Ask what is heard."""
        from animeshooter_hf.dataset_builder.audio.describe import audio_question

        return self._model.ask(audio_question(request))
