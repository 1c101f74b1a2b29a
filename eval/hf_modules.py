"""The metrics as modules of the Hugging Face library `evaluate`: `evaluate.load("eval/reference_fidelity")`.

Files are decoded and embedded in `add_batch`, where `evaluate` distributes work; `compute` does arithmetic only. What
is kept between the two is one row of bytes per story, and never a picture. The numbers are those of `evaluate_stories`.

Importing this file imports `evaluate`, and that imports transformers and torch; nothing else in this room does.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import datasets
import evaluate

from animeshooter_hf.eval.encoding import EncodedStory, Encoder, EncodingSettings, source_key
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import encode_stories
from animeshooter_hf.eval.scoring import score_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["CrossShotConsistency", "ReferenceFidelity"]

_CITATION = """\
@article{animeshooter2025,
  title   = {AnimeShooter: A Multi-Shot Animation Dataset for Reference-Guided Video Generation},
  journal = {arXiv preprint arXiv:2506.03126},
  year    = {2025}
}
"""

_INPUTS = """
Args:
    predictions: one entry per story: the paths of its shots in order.
    references: one entry per story: the paths of its reference images (RGBA cut-outs are best).
    story_ids: optional, one name per story.
    ip_ids: optional, one name per story; stories of one IP share it. By default those with equal references share one.
    scene_ids: optional, one list per story with the scene of each shot.
    per_story: `compute` only: also return the list `per_story`.
Returns:
    Flat numbers (`None` where there is nothing to score), coverage counts, and `signature`.
"""

_COLUMNS = "predictions, references, story_ids, ip_ids, scene_ids"

_STORED = datasets.Features({"predictions": datasets.Value("binary"), "references": datasets.Value("string")})
"""What is kept of a story until `compute`: its embeddings, and the name of its IP."""


class _StoryModule(evaluate.Metric):
    """What both modules share: embed in `add_batch`, keep bytes, score in `compute`."""

    metric: ClassVar[str]
    """Name in `animeshooter_hf.eval.scoring.METRICS`."""

    def __init__(
        self,
        config_name: str | None = None,
        *,
        frames_per_shot: int = 5,
        sampling: str = "bin_centre",
        reference_background: str | None = None,
        num_workers: int = 1,
        **options: Any,
    ) -> None:
        """Prepare the module.

        Args:
            config_name: The backend, `classical` by default.
            frames_per_shot: As in `evaluate_stories`.
            sampling: As in `evaluate_stories`.
            reference_background: As in `evaluate_stories`.
            num_workers: Processes that decode and encode.
            options: What `evaluate.EvaluationModule` takes.
        """
        self._encoding = EncodingSettings(
            backend=config_name if config_name not in (None, "default") else "classical",
            frames_per_shot=frames_per_shot,
            sampling=sampling,
            reference_background=reference_background,
            with_identity=self.metric == "reference_fidelity",
            with_look=self.metric == "cross_shot_consistency",
        )
        self._encoder: Encoder | None = None
        self._num_workers = num_workers
        self._num_added = 0
        super().__init__(config_name=config_name, **options)

    @property
    def encoder(self) -> Encoder:
        """The encoder, made when it is first needed."""
        if self._encoder is None:
            self._encoder = Encoder(self._encoding)
        return self._encoder

    def _download_and_prepare(self, dl_manager: Any) -> None:
        """Load the backend; `classical` downloads nothing."""
        self.encoder  # noqa: B018 - made here, so that a backend that cannot be had is known before the first batch

    def _infer_feature_from_batch(self, batch: Mapping[str, Any]) -> datasets.Features:
        """Return how a story is kept, which is not how it is given."""
        return _STORED

    def add_batch(
        self,
        *,
        predictions: Sequence[Sequence[str]] | None = None,
        references: Sequence[Sequence[str]] | None = None,
        story_ids: Sequence[str] | None = None,
        ip_ids: Sequence[str] | None = None,
        scene_ids: Sequence[Sequence[str | None]] | None = None,
        **unknown: Any,
    ) -> None:
        """Decode and embed the shots of some stories, and keep their embeddings.

        A file that cannot be read is no error: its score is None, and counted.
        """
        if unknown:
            raise ValueError(f"Unknown input {sorted(unknown)[0]!r}. Inputs: {_COLUMNS}.")
        stories = self._stories(predictions, references, story_ids, ip_ids, scene_ids)
        encoded = encode_stories(stories, self.encoder, num_workers=self._num_workers)
        self._num_added += len(encoded)
        evaluate.Metric.add_batch(
            self,
            predictions=[story.to_bytes() for story in encoded],
            references=[story.ip_id for story in encoded],
        )

    def add(
        self, *, prediction: Sequence[str] | None = None, reference: Sequence[str] | None = None, **columns: Any
    ) -> None:
        """Decode and embed the shots of one story; `story_ids` and the like then hold one value, not a list."""
        lists = {name: [value] for name, value in columns.items()}
        self.add_batch(predictions=[prediction or ()], references=[reference or ()], **lists)

    def compute(
        self,
        *,
        predictions: Sequence[Sequence[str]] | None = None,
        references: Sequence[Sequence[str]] | None = None,
        per_story: bool = False,
        **columns: Any,
    ) -> dict[str, Any] | None:
        """Score what was added, or the stories given here; None on every process but the first."""
        if predictions is not None or references is not None:
            self.add_batch(predictions=predictions, references=references, **columns)
        elif columns:
            raise ValueError(f"{sorted(columns)[0]} needs predictions beside it.")
        self._num_added = 0
        outcome: dict[str, Any] | None = evaluate.Metric.compute(self, per_story=per_story)
        return outcome

    def _compute(self, predictions: Sequence[bytes], references: Sequence[str], per_story: bool) -> dict[str, Any]:
        """Score encoded stories."""
        stories = [EncodedStory.from_bytes(data) for data in predictions]
        results = score_stories(stories, self.encoder, (self.metric,))
        return _flatten(results, self.metric, per_story=per_story)

    def _stories(
        self,
        predictions: Sequence[Sequence[str]] | None,
        references: Sequence[Sequence[str]] | None,
        story_ids: Sequence[str] | None,
        ip_ids: Sequence[str] | None,
        scene_ids: Sequence[Sequence[str | None]] | None,
    ) -> list[StoryPrediction]:
        if predictions is None:
            raise ValueError("predictions are missing: give one list of shot paths per story.")
        references = [[] for _ in predictions] if references is None else references
        columns = {"references": references, "story_ids": story_ids, "ip_ids": ip_ids, "scene_ids": scene_ids}
        for name, column in {"predictions": predictions, **columns}.items():
            if column is not None and (isinstance(column, str) or len(column) != len(predictions)):
                raise ValueError(
                    f"{name} must hold one entry for each of {len(predictions)} stories, got {column!r:.80}."
                )
        return [
            StoryPrediction(
                story_id=story_ids[index] if story_ids else f"story-{self.process_id}-{self._num_added + index}",
                ip_id=ip_ids[index] if ip_ids else _ip_of(references[index]),
                shots=tuple(_paths("predictions", index, shots)),
                references=tuple(_paths("references", index, references[index])),
                scene_ids=tuple(scene_ids[index]) if scene_ids else (),
            )
            for index, shots in enumerate(predictions)
        ]

    @abstractmethod
    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""


class ReferenceFidelity(_StoryModule):
    """How well generated shots keep the look of a reference character. See reference_fidelity/README.md."""

    metric = "reference_fidelity"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Similarity of generated shots to a reference character: mean, minimum, HarMeanP (the paper's), spread and "
            "slope over the shots of a story, and the contrast against other characters' references."
        )


class CrossShotConsistency(_StoryModule):
    """How much the shots of one story look alike. See cross_shot_consistency/README.md."""

    metric = "cross_shot_consistency"

    def _info(self) -> evaluate.MetricInfo:
        """Return the module's card in short."""
        return _make_info(
            "Similarity between the shots of one story (pairwise, adjacent, to the first, over distance, to the mean "
            "of the others) in full, foreground and background views, and the contrast between scenes."
        )


def _make_info(description: str) -> evaluate.MetricInfo:
    paths = datasets.List(datasets.Value("string"))
    return evaluate.MetricInfo(
        description=description,
        citation=_CITATION,
        inputs_description=_INPUTS,
        features=datasets.Features({"predictions": paths, "references": paths}),
        homepage="https://arxiv.org/abs/2506.03126",
        license="Apache-2.0",
        reference_urls=["https://arxiv.org/abs/2506.03126"],
    )


def _paths(name: str, index: int, entry: Any) -> Sequence[str]:
    if isinstance(entry, str) or not all(isinstance(path, str) for path in entry):
        raise ValueError(f"{name}[{index}] must be a list of paths, got {entry!r:.80}.")
    return list(entry)


def _ip_of(references: Sequence[str]) -> str:
    """Return a name for an IP that is known by its references only."""
    return "+".join(sorted(source_key(path) for path in references)) or "unknown"


def _flatten(results: Results, metric: str, *, per_story: bool) -> dict[str, Any]:
    """Return plain numbers and texts, so that `combine` and JSON take them."""
    flat: dict[str, Any] = {name: entry.value for name, entry in results.corpus[metric].items()}
    scores = [story[metric] for story in results.stories.values()]
    total = sum(score.n_evaluated + score.n_failed for score in scores)
    flat |= {
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
            }
            for story_id, score in results.stories.items()
        ]
    return flat
