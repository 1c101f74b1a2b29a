"""The metrics as modules of the Hugging Face library `evaluate`: `evaluate.load("eval/reference_fidelity")`.

Files are decoded and embedded in `add_batch`, where `evaluate` distributes work; `compute` does arithmetic only. What
is kept between the two is one row of bytes per story, and never a picture. The numbers are those of `evaluate_stories`.

Importing this file imports `evaluate`, and that imports transformers and torch; nothing else in this room does.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import datasets
import evaluate

from animeshooter_hf.eval.embedding_cache import EmbeddingCache
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.engine import EngineOptions, encode_stories
from animeshooter_hf.eval.hf_inputs import INPUTS, make_stories
from animeshooter_hf.eval.hf_preference import StoryPreference
from animeshooter_hf.eval.hf_sharing import PATIENCE, SharedModule
from animeshooter_hf.eval.metrics import open_metrics
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.scoring import score_stories
from animeshooter_hf.eval.story_metric import StoryMetric

__all__ = ["AudioAlignment", "CharacterAssignment", "CrossShotConsistency", "ReferenceFidelity", "ShotControls"]
__all__ += ["StoryModule", "StoryPreference", "TextAlignment"]

CITATION = """\
@article{animeshooter2025,
  title   = {AnimeShooter: A Multi-Shot Animation Dataset for Reference-Guided Video Generation},
  journal = {arXiv preprint arXiv:2506.03126},
  year    = {2025}
}
"""

_STORED = datasets.Features({"predictions": datasets.Value("large_binary"), "references": datasets.Value("string")})
"""What is kept of a story until `compute`: its arrays, and the name of its IP."""


class StoryModule(SharedModule, evaluate.Metric):
    """What all modules of metrics share: embed in `add_batch`, keep bytes, score in `compute`."""

    metric: ClassVar[str]
    """Name in `animeshooter_hf.eval.metrics.METRICS`."""

    default_backend: ClassVar[str] = "classical"
    """Backend where no configuration is named."""

    nothing: ClassVar[Mapping[str, Any]] = {"predictions": b"", "references": ""}

    def __init__(
        self,
        config_name: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        frames_per_shot: int = 5,
        sampling: str = "bin_centre",
        fidelity_view: str = "auto",
        reference_background: str | None = None,
        style_backend: str | None = None,
        audio_backend: str | None = None,
        num_workers: int = 1,
        batch_size: int = 64,
        embedding_cache: str | Path | None = None,
        draws: int = 0,
        timeout: float = PATIENCE,
        **options: Any,
    ) -> None:
        """Prepare the module.

        Args:
            config_name: The backend, NAME or NAME:REPO_OR_FOLDER[@REVISION].
            device: This and all down to `batch_size` are as in `evaluate_stories`.
            dtype: As there.
            frames_per_shot: As there.
            sampling: As there.
            fidelity_view: As there.
            reference_background: As there.
            style_backend: As there.
            audio_backend: As there.
            num_workers: As there.
            batch_size: As there.
            embedding_cache: Folder where embeddings are kept beyond this run; None keeps none.
            draws: Draws of the bootstrap; 0 leaves intervals out.
            timeout: Seconds that one process waits for the others.
            options: What `evaluate.EvaluationModule` takes.
        """
        self._settings = EncodingSettings(
            backend=config_name if config_name not in (None, "default") else self.default_backend,
            device=device,
            dtype=dtype,
            frames_per_shot=frames_per_shot,
            sampling=sampling,
            fidelity_view=fidelity_view,
            reference_background=reference_background,
            style_backend=style_backend,
            audio_backend=audio_backend,
        )
        self._metrics: tuple[StoryMetric, ...] = ()
        self._engine = EngineOptions(num_workers=num_workers, batch_size=batch_size)
        self._embedding_cache = embedding_cache
        self._draws = draws
        self._num_added = 0
        SharedModule.__init__(self, config_name, timeout=timeout, **options)

    @property
    def metrics(self) -> tuple[StoryMetric, ...]:
        """The metric with its backend, opened when it is first needed."""
        if not self._metrics:
            self._metrics = open_metrics((self.metric,), self._settings)
        return self._metrics

    def _download_and_prepare(self, dl_manager: Any) -> None:
        """Load the backend; `classical` downloads nothing."""
        self.metrics  # noqa: B018 - opened here, so that a backend that cannot be had is known before the first batch

    def _infer_feature_from_batch(self, batch: Mapping[str, Any]) -> datasets.Features:
        """Return how a story is kept, which is not how it is given."""
        return _STORED

    def add_batch(
        self,
        *,
        predictions: Sequence[Any] | None = None,
        references: Sequence[Any] | None = None,
        **columns: Any,
    ) -> None:
        """Decode and embed the shots of some stories, and keep their embeddings.

        A file that cannot be read is no error: its score is None, and counted.
        """
        prefix = f"story-{self.process_id}-"
        stories = make_stories(predictions, references, columns, prefix=prefix, start=self._num_added)
        if not stories:
            return
        self._meet()
        cache = self._embedding_cache
        with nullcontext() if cache is None else EmbeddingCache(cache) as opened:
            encoded = encode_stories(stories, self.metrics, self._settings, options=self._engine, cache=opened)
        self._num_added += len(encoded)
        rows: dict[str, list[Any]] = {
            "predictions": [story.to_bytes() for story in encoded],
            "references": [story.ip_id for story in encoded],
        }
        self._keep(rows)

    def add(self, *, prediction: Any = None, reference: Sequence[Any] | None = None, **columns: Any) -> None:
        """Decode and embed the shots of one story; `story_ids` and the like then hold one value, not a list."""
        lists = {name: [value] for name, value in columns.items()}
        references = None if reference is None else [reference]
        self.add_batch(predictions=[prediction or ()], references=references, **lists)

    def compute(
        self,
        *,
        predictions: Sequence[Any] | None = None,
        references: Sequence[Any] | None = None,
        per_story: bool = False,
        **columns: Any,
    ) -> dict[str, Any] | None:
        """Score what was added, or the stories given here; None on every process but the first."""
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references, **columns)
        elif columns:
            raise ValueError(f"{sorted(columns)[0]} needs predictions beside it.")
        self._num_added = 0
        return self._gather(per_story=per_story)

    def _compute(self, predictions: Sequence[bytes], references: Sequence[str], per_story: bool) -> dict[str, Any]:
        """Score encoded stories; a row without bytes is a process that had none."""
        stories = [EncodedStory.from_bytes(data) for data in predictions if data]
        results = score_stories(stories, self.metrics, self._settings, draws=self._draws)
        return _flatten(results, self.metric, per_story=per_story)

    @abstractmethod
    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""


class ReferenceFidelity(StoryModule):
    """How well generated shots keep the look of their reference characters. See reference_fidelity/README.md."""

    metric = "reference_fidelity"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Similarity of generated shots to reference characters: mean, minimum, HarMeanP (the paper's), spread and "
            "slope over the shots of a story, and the contrast against other characters' references."
        )


class CrossShotConsistency(StoryModule):
    """How much the shots of one story look alike. See cross_shot_consistency/README.md."""

    metric = "cross_shot_consistency"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Similarity between the shots of one story (pairwise, adjacent, to the first, over distance, to the mean "
            "of the others) in full, foreground, background, style and character views, and the contrast of scenes."
        )


class ShotControls(StoryModule):
    """What a story must not be, whatever its scores say. See shot_controls/README.md."""

    metric = "shot_controls"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Controls of generated stories: motion beyond the camera, repeated shots, a pasted reference, another "
            "character, shuffled frames, noise, blank pictures, letterbox, watermarks; each with a stated limit."
        )


class TextAlignment(StoryModule):
    """How well shots show what their captions say. See text_alignment/README.md."""

    metric = "text_alignment"
    default_backend = "clip"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Similarity of shots and captions by an encoder that reads text, with the contrast against the other "
            "captions of the same story."
        )


class AudioAlignment(StoryModule):
    """Whether the sound of shots fits their pictures and captions. See audio_alignment/README.md."""

    metric = "audio_alignment"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Sync of motion and sound against other shots' sounds, loudness, clipping and silence, and, with a sound "
            "encoder, similarity of sound with captions and frames."
        )


class CharacterAssignment(StoryModule):
    """Whether each of several characters is there and is itself. See character_assignment/README.md."""

    metric = "character_assignment"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Identity in stories of several characters: the regions of each shot are assigned to the scheduled "
            "characters by likeness; swapped, missing and surplus characters are told apart."
        )


def _make_info(description: str) -> evaluate.MetricInfo:
    paths = datasets.List(datasets.Value("string"))
    return evaluate.MetricInfo(
        description=description,
        citation=CITATION,
        inputs_description=INPUTS,
        features=datasets.Features({"predictions": paths, "references": paths}),
        homepage="https://arxiv.org/abs/2506.03126",
        license="Apache-2.0",
        reference_urls=["https://arxiv.org/abs/2506.03126"],
    )


def _flatten(results: Results, metric: str, *, per_story: bool) -> dict[str, Any]:
    """Return plain numbers and texts, so that `combine` and JSON take them."""
    flat: dict[str, Any] = {}
    for name, entry in results.corpus[metric].items():
        flat[name] = entry.value
        if entry.low is not None:
            flat |= {f"{name}_low": entry.low, f"{name}_high": entry.high}
    scores = [story[metric] for story in results.stories.values()]
    total = sum(score.n_evaluated + score.n_failed for score in scores)
    flat |= {f"flagged_{gate.control}": gate.num_flagged for gate in results.gates}
    flat |= {
        "gated_by": ", ".join(gate.control for gate in results.gates if gate.is_gated),
        "n_stories": len(scores),
        "n_shots_evaluated": sum(score.n_evaluated for score in scores),
        "n_shots_failed": sum(score.n_failed for score in scores),
        "n_shots_skipped": sum(score.n_skipped for score in scores),
        "coverage": sum(score.n_evaluated for score in scores) / total if total else None,
        "signature": results.signatures[metric],
    }
    if per_story:
        flat["per_story"] = [
            {
                "story_id": story_id,
                **score[metric].values,
                "n_evaluated": score[metric].n_evaluated,
                "n_failed": score[metric].n_failed,
                "n_skipped": score[metric].n_skipped,
                "flags": list(results.flags.get(story_id, ())),
            }
            for story_id, score in results.stories.items()
        ]
    return flat
