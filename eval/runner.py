"""Score stories: `evaluate_stories` decodes every file once, on one process or several, and returns all numbers.

Each file is a piece of work of its own and the arithmetic runs on one process afterwards, so the number of workers,
the order of stories and repeats of a file change no digit. Workers are spawned, not forked: a script that asks for
more than one must guard its entry with `if __name__ == "__main__":`.
"""

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.encoding import (
    EncodedReference,
    EncodedShot,
    EncodedStory,
    Encoder,
    EncodingSettings,
    plan_story,
    source_key,
)
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.scoring import METRICS, check_metrics, score_stories
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, StoryPrediction

__all__ = ["encode_stories", "evaluate_stories"]

MAX_WORKERS = 256
"""More are refused as a slip of the pen."""


def evaluate_stories(
    predictions: Iterable[StoryPrediction] | str | Path,
    metrics: Sequence[str] = METRICS,
    *,
    backend: str = "classical",
    num_workers: int = 1,
    frames_per_shot: int = 5,
    sampling: str = "bin_centre",
    reference_background: str | None = None,
    progress: bool = False,
) -> Results:
    """Return the scores of stories: per shot, per story, and for the corpus.

    Args:
        predictions: The stories; they may be generated one by one, since only embeddings are kept. Or a path that
            `read_predictions` knows: a dataset folder, a generated folder, a predictions file.
        metrics: Some of `reference_fidelity` and `cross_shot_consistency`.
        backend: Image encoder; `classical` needs no download and knows colour only.
        num_workers: Processes that decode and encode. It changes no number.
        frames_per_shot: Frames looked at in each shot. Paper: 5.
        sampling: `bin_centre`, or `linspace` (the "paper" preset).
        reference_background: What stands behind a cut-out reference: `masked`, `white`, `black` or `mean`; None takes
            the backend's own choice.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If a setting is not allowed, there is no story, or two stories share an ID. A file that cannot be
            read is no error: its scores are None and counted.

    Example:
        results = evaluate_stories("out/generated")
        results.value("reference_fidelity", "harmean_p")
    """
    if isinstance(predictions, str | Path):
        predictions = read_predictions(Path(predictions))
    metrics = check_metrics(metrics)
    encoder = Encoder(
        EncodingSettings(
            backend=backend,
            frames_per_shot=frames_per_shot,
            sampling=sampling,
            reference_background=reference_background,
            with_identity="reference_fidelity" in metrics,
            with_look="cross_shot_consistency" in metrics,
        )
    )
    stories = encode_stories(predictions, encoder, num_workers=num_workers, progress=progress)
    return score_stories(stories, encoder, metrics)


def encode_stories(
    predictions: Iterable[StoryPrediction], encoder: Encoder, *, num_workers: int = 1, progress: bool = False
) -> list[EncodedStory]:
    """Return the stories encoded, in the order given; a file that occurs twice is read once.

    Raises:
        InputError: If the number of workers is not in 1 to 256.
    """
    if isinstance(num_workers, bool) or not isinstance(num_workers, int) or not 1 <= num_workers <= MAX_WORKERS:
        raise InputError(f"num_workers must lie in 1 to {MAX_WORKERS}, got {num_workers!r}.")
    plans: list[tuple[EncodedStory, list[str], list[str]]] = []
    done: dict[str, Future[Any]] = {}
    with tqdm(desc="scoring", unit=" files", disable=not progress) as bar, _submitter(encoder, num_workers) as submit:

        def encode(task: str, source: ShotSource | Picture) -> str:
            key = f"{task}:{source_key(source)}"
            if key not in done:
                done[key] = submit(task, source)
                done[key].add_done_callback(lambda _: bar.update())
            return key

        for prediction in predictions:
            references = prediction.references if encoder.settings.with_identity else ()
            plan = plan_story(prediction)
            shot_keys = [encode("shot", source) for source in prediction.shots]
            plans.append((plan, shot_keys, [encode("reference", picture) for picture in references]))
        results = {key: future.result() for key, future in done.items()}
    return [
        replace(
            plan,
            shots=tuple(results[key] for key in shots),
            references=tuple(
                replace(results[key], character=planned.character)
                for key, planned in zip(references, plan.references, strict=bool(references))
            ),
        )
        for plan, shots, references in plans
    ]


@contextmanager
def _submitter(encoder: Encoder, num_workers: int) -> Iterator[Callable[[str, Any], "Future[Any]"]]:
    """Give a function that encodes one medium: at once, or on a worker while few enough wait."""
    if num_workers == 1:
        yield lambda task, source: _finished(_encode(encoder, task, source))
        return
    waiting = threading.BoundedSemaphore(4 * num_workers)
    pool = ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(encoder.settings,),
    )

    def submit(task: str, source: ShotSource | Picture) -> "Future[Any]":
        waiting.acquire()
        future = pool.submit(_work, task, source)
        future.add_done_callback(lambda _: waiting.release())
        return future

    try:
        yield submit
    finally:
        pool.shutdown(cancel_futures=True)


_worker_encoder: list[Encoder] = []
"""The encoder of a worker process; empty in any other process."""


def _start_worker(settings: EncodingSettings) -> None:
    cv2.setNumThreads(1)
    _worker_encoder.append(Encoder(settings))


def _work(task: str, source: ShotSource | Picture) -> EncodedShot | EncodedReference:
    return _encode(_worker_encoder[0], task, source)


def _encode(encoder: Encoder, task: str, source: Any) -> EncodedShot | EncodedReference:
    return encoder.encode_shot(source) if task == "shot" else encoder.encode_reference(source)


def _finished(result: EncodedShot | EncodedReference) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(result)
    return future
