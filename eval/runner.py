"""Score stories: `evaluate_stories` decodes every file once, on one process or several, and returns all numbers.

Each file is a piece of work of its own and the arithmetic runs on one process afterwards, so the number of workers,
the order of stories, the size of batches and repeats of a file change no digit. Workers are spawned, not forked: a
script that asks for more than one must guard its entry with `if __name__ == "__main__":`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from animeshooter_hf.eval.embedding_cache import EmbeddingCache
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.engine import EngineOptions, StoryEncoder
from animeshooter_hf.eval.manifest import make_manifest
from animeshooter_hf.eval.metrics import DEFAULT_METRICS, open_metrics
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results, SystemInfo
from animeshooter_hf.eval.scoring import DRAWS, score_stories
from animeshooter_hf.eval.shot_media import Feature
from animeshooter_hf.eval.story_metric import StoryMetric
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["evaluate_stories", "run_evaluation"]


def evaluate_stories(
    predictions: Iterable[StoryPrediction] | str | Path,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    backend: str = "classical",
    device: str = "cpu",
    dtype: str = "float32",
    num_workers: int = 1,
    batch_size: int = 64,
    frames_per_shot: int = 5,
    sampling: str = "bin_centre",
    fidelity_view: str = "auto",
    reference_background: str | None = None,
    style_backend: str | None = None,
    audio_backend: str | None = None,
    cache: EmbeddingCache | str | Path | None = None,
    system: SystemInfo | None = None,
    draws: int = DRAWS,
    progress: bool = False,
) -> Results:
    """Return the scores of stories: per shot, per story, and for the corpus.

    Args:
        predictions: The stories; they may be generated one by one, since only embeddings are kept. Or a path that
            `read_predictions` knows: a dataset folder, a generated folder, a predictions file.
        metrics: Names of `animeshooter_hf.eval.metrics.METRICS`.
        backend: Image encoder, NAME or NAME:REPO_OR_FOLDER[@REVISION]; `classical` needs no download and knows colour
            only.
        device: Where a neural backend runs.
        dtype: Its precision.
        num_workers: Processes that decode. It changes no number.
        batch_size: Views that a neural backend gets at once. It changes no number.
        frames_per_shot: Frames looked at in each shot. Paper: 5.
        sampling: `bin_centre`, or `linspace` (the paper's presets).
        fidelity_view: What is compared with a reference: `full`, `foreground`, `character`, or `auto`, which is
            `character` for stories that have regions and the backend's own view for others.
        reference_background: What stands behind a cut-out reference: `masked`, `white`, `black` or `mean`; None takes
            the backend's own choice.
        style_backend: Encoder of the style view; None compares palettes and strokes without one.
        audio_backend: Encoder of sounds; None measures sound without one.
        cache: Folder where embeddings are kept; what is there is not made again, so a killed run goes on. None: none.
        system: Whose shots they are, for the results file.
        draws: Draws of the bootstrap; 0 leaves intervals out.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If a setting is not allowed, there is no story, or two stories share an ID. A file that cannot be
            read is no error: its scores are None and counted.

    Example:
        results = evaluate_stories("out/generated")
        results.value("reference_fidelity", "harmean_p")
    """
    settings = EncodingSettings(
        backend=backend,
        device=device,
        dtype=dtype,
        frames_per_shot=frames_per_shot,
        sampling=sampling,
        fidelity_view=fidelity_view,
        reference_background=reference_background,
        style_backend=style_backend,
        audio_backend=audio_backend,
    )
    options = EngineOptions(num_workers=num_workers, batch_size=batch_size, progress=progress)
    if isinstance(predictions, str | Path):
        predictions = read_predictions(Path(predictions))
    opened = open_metrics(metrics, settings)
    results, _ = run_evaluation(predictions, opened, settings, options=options, cache=cache, system=system, draws=draws)
    return results


def run_evaluation(
    predictions: Iterable[StoryPrediction],
    metrics: Sequence[StoryMetric],
    settings: EncodingSettings,
    *,
    options: EngineOptions | None = None,
    cache: EmbeddingCache | str | Path | None = None,
    system: SystemInfo | None = None,
    benchmark: Mapping[str, str] | None = None,
    extras: Sequence[Feature] = (),
    draws: int = DRAWS,
) -> tuple[Results, list[EncodedStory]]:
    """Return the results and the encoded stories, for metrics that are open already. See `evaluate_stories`.

    `benchmark` is that of `score_stories`; where all stories are of one track, it gets that. `extras` are those of
    `StoryEncoder`.

    Raises:
        InputError: As `evaluate_stories`.
    """
    kept = EmbeddingCache(cache) if isinstance(cache, str | Path) else nullcontext(cache)
    with kept as open_cache:
        if open_cache is not None:
            for metric in metrics:
                metric.memory = open_cache.numbers
        encoder = StoryEncoder(metrics, settings, options=options, cache=open_cache, extras=extras)
        stories = encoder.encode(predictions)
        tracks = {story.track for story in stories}
        if benchmark is not None:
            benchmark = {**benchmark, "track": tracks.pop() if len(tracks) == 1 else ""}
        manifest = make_manifest(encoder.inputs)
        results = score_stories(
            stories, metrics, settings, system=system, benchmark=benchmark, manifest=manifest, draws=draws
        )
    return results, stories
