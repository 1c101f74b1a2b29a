"""Encode stories: every file is decoded once for all metrics, every picture embedded once, nothing done twice.

1. Each shot and reference is known by the hash of its content. What is in the cache is not made again, and what occurs
   twice is made once: a reference that forty stories share is embedded once.
2. What is missing is decoded, in worker processes or in this one; arithmetic on frames is done there.
3. A neural backend gets its views in this process, in batches across shots and stories.
4. Finished features go to the cache at once, so a run that was killed goes on where it was.

No result depends on the number of workers, the size of batches, the order of stories or the cache.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.content_hash import Content, ContentHasher, combined_key
from animeshooter_hf.eval.embedding_cache import CacheEntry, EmbeddingCache
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings, plan_story
from animeshooter_hf.eval.regions import ShotRegions, regions_key
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, ShotFacts
from animeshooter_hf.eval.shot_media import Extraction, Feature, FeatureExtractor, MediaJob, embedded_arrays
from animeshooter_hf.eval.story_metric import StoryMetric
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, SoundSource, StoryPrediction
from animeshooter_hf.eval.text_scores import MAX_WORDS, embed_captions
from animeshooter_hf.eval.worker_pool import WorkerDiedError, WorkerPool

__all__ = ["EngineOptions", "StoryEncoder", "encode_stories"]

MAX_WORKERS = 256
"""More are refused as a slip of the pen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions:
    """How the work is done. Nothing here changes a number."""

    num_workers: int = 1
    """Processes that decode; with 1 everything is done in this one."""

    batch_size: int = 64
    """Views that a neural backend gets at once. Our choice: a ViT-L fills a small GPU with them."""

    progress: bool = False
    """Whether to show a bar on stderr."""

    def __post_init__(self) -> None:
        for name, most in (("num_workers", MAX_WORKERS), ("batch_size", 65536)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InputError(f"{name} must lie in 1 to {most}, got {value!r}.")


def encode_stories(
    predictions: Iterable[StoryPrediction],
    metrics: Sequence[StoryMetric],
    settings: EncodingSettings,
    *,
    options: EngineOptions | None = None,
    cache: EmbeddingCache | None = None,
) -> list[EncodedStory]:
    """Return the stories encoded, in the order given, with what the metrics need.

    Args:
        predictions: They may be generated one by one, since only numbers are kept.
        metrics: As `open_metrics` returns them.
        settings: Those that the metrics were made with.
        options: How the work is done.
        cache: Where finished features are kept and looked up.

    Raises:
        InputError: If two stories share an ID.
    """
    return StoryEncoder(metrics, settings, options=options, cache=cache).encode(predictions)


@dataclass(slots=True)
class _Medium:
    """One distinct shot or reference, being filled."""

    content: Content
    keys: dict[int, str]
    """Position of a feature -> its key in the cache, "" if it may not be kept."""
    facts: ShotFacts | None = None
    problem: str = ""
    problems: dict[int, str] = field(default_factory=dict)
    arrays: dict[int, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    regions: ShotRegions = field(default_factory=dict)
    has_sound_beside: bool = False


class StoryEncoder:
    """What `encode_stories` does, with the hashes of the files that it met."""

    def __init__(
        self,
        metrics: Sequence[StoryMetric],
        settings: EncodingSettings,
        *,
        options: EngineOptions | None = None,
        cache: EmbeddingCache | None = None,
        extras: Sequence[Feature] = (),
    ) -> None:
        """Collect the features of all metrics.

        Args:
            metrics: As in `encode_stories`.
            settings: As in `encode_stories`.
            options: As in `encode_stories`.
            cache: As in `encode_stories`.
            extras: Features that are taken from every shot and every reference beside those of the metrics.

        Raises:
            ValueError: If two features share a name but not a signature.
        """
        self._settings, self._options, self._cache = settings, options or EngineOptions(), cache
        of_shots = [feature for metric in metrics for feature in metric.shot_features]
        of_references = [feature for metric in metrics for feature in metric.reference_features]
        self._shot_features = _distinct([*of_shots, *extras])
        self._reference_features = _distinct([*of_references, *extras])
        self._features: tuple[Feature, ...] = (*self._shot_features, *self._reference_features)
        self._text_backbone: Backbone | None = next(
            (metric.backbone for metric in metrics if metric.encodes_captions), None
        )
        self._hasher = ContentHasher(None if cache is None else cache.files)
        self._media: dict[str, _Medium] = {}
        self.inputs: dict[str, str] = {}
        """"STORY/shots/0", "STORY/references/0" -> SHA-256 of the file; "" where it could not be read."""

    def encode(self, predictions: Iterable[StoryPrediction]) -> list[EncodedStory]:
        """Return the stories encoded, in the order given. See `encode_stories`."""
        plans: list[tuple[EncodedStory, list[str], list[str]]] = []
        names: set[str] = set()
        extractor = FeatureExtractor(self._features)
        with (
            tqdm(desc="scoring", unit=" files", disable=not self._options.progress) as bar,
            _submitter(extractor, self._options.num_workers) as submit,
        ):
            work = _Work(self, submit, bar.update)
            for prediction in predictions:
                if prediction.story_id in names:
                    raise InputError(f"The story {prediction.story_id!r} is given twice; story IDs must be unique.")
                names.add(prediction.story_id)
                plans.append((plan_story(prediction), *self._ask(prediction, work)))
                work.collect(wait=False)
            work.collect(wait=True)
        stories = [self._filled(plan, shots, references) for plan, shots, references in plans]
        return self._with_captions(stories)

    def _ask(self, prediction: StoryPrediction, work: "_Work") -> tuple[list[str], list[str]]:
        """Have every file of a story encoded; return the keys of its shots and of its references."""
        story = prediction.story_id
        shots = []
        for index, source in enumerate(prediction.shots):
            sound = prediction.sound[index] if prediction.sound else None
            regions = prediction.regions[index] if prediction.regions else {}
            content = self._hasher.hash(source)
            self.inputs[f"{story}/shots/{index}"] = content.sha256
            shots.append(self._ask_shot(source, content, sound, regions, work))
        references = []
        for index, picture in enumerate(prediction.references if self._reference_features else ()):
            content = self._hasher.hash(picture)
            self.inputs[f"{story}/references/{index}"] = content.sha256
            references.append(self._ask_reference(picture, content, work))
        return shots, references

    def _ask_shot(
        self, source: ShotSource, content: Content, sound: SoundSource, regions: ShotRegions, work: "_Work"
    ) -> str:
        beside = Content("") if sound is None else self._hasher.hash(sound)
        is_known = bool(content.sha256) and (sound is None or bool(beside.sha256))
        place = "" if is_known else f"{source!s:.4096} {sound!s:.4096}"
        region_key = regions_key(regions)
        whole = {"medium": "shot", "file": content.sha256, "sound": beside.sha256, "regions": region_key, "at": place}
        key = combined_key(whole)
        if key in self._media:
            return key
        keys = {}
        for position, feature in enumerate(self._shot_features):
            parts = {
                "medium": "shot",
                "file": content.sha256,
                "sound": beside.sha256 if feature.wants_sound else "",
                "regions": region_key if feature.uses_regions else "",
            }
            keys[position] = _feature_key(feature, parts) if is_known else ""
        medium = _Medium(content, keys, regions=regions, has_sound_beside=sound is not None)
        self._media[key] = medium
        work.do(medium, lambda missing: MediaJob(source=source, sound=sound, regions=regions, features=missing))
        return key

    def _ask_reference(self, picture: Picture, content: Content, work: "_Work") -> str:
        key = combined_key({"medium": "picture", "file": content.sha256, "at": "" if content.sha256 else str(picture)})
        if key in self._media:
            return key
        parts = {"medium": "picture", "file": content.sha256}
        keys = {
            position: _feature_key(feature, parts) if content.sha256 else ""
            for position, feature in enumerate(self._reference_features, start=len(self._shot_features))
        }
        medium = self._media[key] = _Medium(content, keys)
        work.do(medium, lambda missing: MediaJob(source=picture, is_reference=True, features=missing))
        return key

    def _filled(self, plan: EncodedStory, shots: Sequence[str], references: Sequence[str]) -> EncodedStory:
        """Return a story with the arrays of its media."""
        pictures = []
        for key, planned in zip(references, plan.references, strict=bool(references)):
            medium = self._media[key]
            reason = medium.problem or next(iter(medium.problems.values()), "")
            pictures.append(replace(planned, problem=reason, arrays=self._named(medium)))
        return replace(
            plan,
            shots=tuple(self._encoded(self._media[key]) for key in shots),
            references=tuple(pictures) if references else plan.references,
        )

    def _encoded(self, medium: _Medium) -> EncodedShot:
        if medium.problem or medium.facts is None:
            return EncodedShot(problem=medium.problem)
        settings = self._settings
        return EncodedShot(
            problems={self._features[position].name: reason for position, reason in sorted(medium.problems.items())},
            num_frames=len(sample_frames(medium.facts.num_frames, settings.frames_per_shot, settings.sampling)),
            facts=medium.facts,
            arrays=self._named(medium),
        )

    def _named(self, medium: _Medium) -> dict[str, NDArray[Any]]:
        return {
            f"{self._features[position].name}.{name}": array
            for position in medium.keys
            for name, array in medium.arrays.get(position, {}).items()
        }

    def _with_captions(self, stories: Sequence[EncodedStory]) -> list[EncodedStory]:
        """Return the stories with the rows of their captions, each distinct text encoded once; empty ones are zeros."""
        backbone = self._text_backbone
        texts = sorted({text for story in stories for text in story.captions if text.strip()})
        if backbone is None or not texts:
            return list(stories)
        encoder = {"backbone": backbone.signature, "parts": str(MAX_WORDS)}
        keys = {text: combined_key({"medium": "text", "text": text, **encoder}) for text in texts}
        known = {} if self._cache is None else self._cache.get(list(keys.values()))
        rows = {text: known[key].arrays["row"] for text, key in keys.items() if key in known}
        missing = [text for text in texts if text not in rows]
        size = self._options.batch_size
        for start in range(0, len(missing), size):
            batch = missing[start : start + size]
            for text, row_D in zip(batch, embed_captions(batch, backbone.embed_text), strict=True):
                rows[text] = row_D
                if self._cache is not None:
                    self._cache.put(keys[text], {}, {"row": row_D})
        blank_D = np.zeros_like(rows[texts[0]])
        return [
            replace(story, caption_rows=np.stack([rows.get(text, blank_D) for text in story.captions]))
            if story.captions
            else story
            for story in stories
        ]

    def known(self, keys: Sequence[str]) -> dict[str, CacheEntry]:
        """Return what the cache holds of some keys."""
        return {} if self._cache is None else self._cache.get([key for key in keys if key])

    def finish(self, medium: _Medium, position: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take a feature's arrays, and keep them if the file is still the one that was hashed."""
        medium.arrays[position] = arrays
        key = medium.keys[position]
        if self._cache is not None and key and medium.facts is not None and medium.content.is_unchanged:
            self._cache.put(key, asdict(medium.facts), arrays)

    @property
    def features(self) -> tuple[Feature, ...]:
        """Those of shots, then those of references."""
        return self._features

    @property
    def batch_size(self) -> int:
        """As in the options."""
        return self._options.batch_size


_Submit = Callable[[MediaJob], "Future[Extraction]"]


class _Work:
    """What is under way: files that are being decoded, and views that wait for a full batch."""

    def __init__(self, encoder: StoryEncoder, submit: _Submit, count: Callable[[], Any]) -> None:
        self._encoder, self._submit, self._count = encoder, submit, count
        self._running: dict[Future[Extraction], _Medium] = {}
        self._batches: defaultdict[tuple[str, str], list[tuple[_WaitingViews, int]]] = defaultdict(list)

    def do(self, medium: _Medium, job: Callable[[tuple[int, ...]], MediaJob]) -> None:
        """Take what the cache has of a medium, and have the rest made."""
        found = self._encoder.known(list(medium.keys.values()))
        for position, key in medium.keys.items():
            if key in found:
                medium.facts = ShotFacts(**found[key].facts)
                medium.arrays[position] = found[key].arrays
        missing = tuple(position for position in medium.keys if position not in medium.arrays)
        if not missing and medium.keys:
            self._count()
            return
        self._running[self._submit(job(missing))] = medium

    def collect(self, *, wait: bool) -> None:
        """Take what is decoded, and embed what makes full batches; with `wait`, everything."""
        for future in [future for future in self._running if wait or future.done()]:
            medium = self._running.pop(future)
            self._take(medium, future)
            self._count()
        if wait:
            for group, pending in self._batches.items():
                while pending:
                    self._embed(group)

    def _take(self, medium: _Medium, future: "Future[Extraction]") -> None:
        try:
            outcome = future.result()
        except WorkerDiedError as error:
            medium.problem = str(error)
            return
        medium.problem, medium.problems = outcome.problem, dict(outcome.problems)
        medium.facts = outcome.facts
        for position, arrays in outcome.arrays.items():
            self._encoder.finish(medium, position, arrays)
        for position, items in outcome.prepared.items():
            feature = self._encoder.features[position]
            if isinstance(feature, EmbeddingFeature):
                self._wait(_WaitingViews(medium, position, feature, items, [None] * len(items)))

    def _wait(self, views: "_WaitingViews") -> None:
        """Let views wait for a full batch, and run those that are full."""
        if not views.items:
            self._fill(views, np.zeros((0, 0), np.float32))
            return
        group = (views.feature.backbone.signature, views.feature.kind)
        self._batches[group] += [(views, index) for index in range(len(views.items))]
        while len(self._batches[group]) >= self._encoder.batch_size:
            self._embed(group)

    def _embed(self, group: tuple[str, str]) -> None:
        """Run the model on one batch; views of one shot may fall into two of them."""
        batch = self._batches[group][: self._encoder.batch_size]
        del self._batches[group][: len(batch)]
        feature = batch[0][0].feature
        rows_ND = feature.backbone.embed_prepared([views.items[index] for views, index in batch], feature.kind)
        for (views, index), row_D in zip(batch, rows_ND, strict=True):
            views.rows[index] = row_D
        for views, _ in {id(views): (views, index) for views, index in batch}.values():
            rows = [row_D for row_D in views.rows if row_D is not None]
            if len(rows) == len(views.items):
                self._fill(views, np.stack(rows))

    def _fill(self, views: "_WaitingViews", rows_VD: NDArray[np.float32]) -> None:
        medium, feature = views.medium, views.feature
        facts = medium.facts
        if facts is None:
            return
        if feature.wants_sound and medium.has_sound_beside:
            facts = replace(facts, has_sound=True)
        try:
            regions = medium.regions if feature.uses_regions else {}
            arrays = embedded_arrays(feature, rows_VD, facts=facts, regions=regions)
        except InputError as error:
            medium.problems[views.position] = str(error)
            return
        self._encoder.finish(medium, views.position, arrays)


@dataclass(frozen=True, slots=True, eq=False)
class _WaitingViews:
    """The views of one feature of one medium, and the rows that they have so far."""

    medium: _Medium
    position: int
    feature: EmbeddingFeature
    items: Sequence[Any]
    rows: list[NDArray[np.float32] | None]


def _distinct(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Return features without repeats; metrics that want the same one share it."""
    found: dict[str, Feature] = {}
    for feature in features:
        known = found.setdefault(feature.name, feature)
        if known.signature != feature.signature:
            raise ValueError(
                f"Two features are called {feature.name!r}: {known.signature!r} and {feature.signature!r}."
            )
    return tuple(found.values())


def _feature_key(feature: Feature, parts: Mapping[str, str]) -> str:
    encoder = {}
    if isinstance(feature, EmbeddingFeature):
        encoder = {"backbone": feature.backbone.signature, "kind": feature.kind}
    return combined_key({**parts, **encoder, "feature": feature.name, "signature": feature.signature})


@contextmanager
def _submitter(extractor: FeatureExtractor, num_workers: int) -> Iterator[_Submit]:
    """Give a function that has a job done: at once, or by a worker."""
    if num_workers == 1:

        def at_once(job: MediaJob) -> Future[Extraction]:
            future: Future[Extraction] = Future()
            future.set_result(extractor(job))
            return future

        yield at_once
        return
    with WorkerPool(extractor, num_workers) as pool:
        yield pool.submit
