"""Read the attributes of the characters in a submission to a toon edition, and put the numbers beside other scores.

The truth comes from the benchmark, never from the submission. What cannot be decoded is null and counted.

    {"format": "animeshooter-attributes", "version": 1, "benchmark": {...}, "settings": {...},
     "corpus": {NAME: {"value", "low", "high", "n_evaluated", "n_failed", "n_skipped", "direction"}},
     "stories": [{"story_id", "ip_id", "track", NAME: value or null, "n_evaluated", "n_failed", "n_skipped"}]}

`COLOUR_within_between` is the control of consistent greyness: how far a colour drifts within a story, as a part of how
far it is from other IPs' stories. The truth is near 0; pictures that are all alike give 1, however small the drift.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.attribute_reading import (
    ReadingSettings,
    ShotReading,
    World,
    colour_difference,
    matching_frames,
    read_shot,
    story_values,
)
from animeshooter_hf.eval.bench.bench_folder import Benchmark
from animeshooter_hf.eval.bench.plan_json import plan_from_json
from animeshooter_hf.eval.bench.toon_questions import ToonWorld
from animeshooter_hf.eval.statistics import cluster_bootstrap
from animeshooter_hf.eval.story_prediction import ShotSource, StoryPrediction
from animeshooter_hf.video import index_frames, read_frames

__all__ = [
    "METRIC",
    "AttributeResults",
    "StoryReading",
    "merge_attributes",
    "read_attributes",
    "read_story_attributes",
    "write_attributes",
]

METRIC = "attribute_identity"
"""Name of these numbers among the metrics of a results file."""

_FORMAT = "animeshooter-attributes"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryReading:
    """What was read of one story."""

    story_id: str
    """Which."""

    ip_id: str
    """Its IP."""

    track: str
    """Its track."""

    shots: tuple[tuple[ShotReading, ...], ...]
    """Of each shot, one reading for each character; none where nothing could be read or asked."""

    problems: Mapping[int, str]
    """Shot -> why it could not be read."""

    num_skipped: int = 0
    """Shots in which nothing can be asked."""

    @property
    def values(self) -> dict[str, float | None]:
        """Return the numbers of the story, see `story_values`."""
        return story_values(self.shots)

    @property
    def num_evaluated(self) -> int:
        """Return the shots that gave an answer."""
        return len(self.shots) - len(self.problems) - self.num_skipped


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeResults:
    """What was read of a submission."""

    benchmark: Mapping[str, str]
    """`id`, `revision` and `track`."""

    settings: ReadingSettings
    """How."""

    stories: tuple[StoryReading, ...]
    """In the benchmark's order."""

    def story_numbers(self) -> dict[str, dict[str, float | None]]:
        """Return story -> its numbers, with the within-between ratios that need all stories."""
        numbers = {story.story_id: story.values for story in self.stories}
        for story_id, ratios in _within_between(self.stories, numbers).items():
            numbers[story_id] |= ratios
        return numbers

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, see the top of this file."""
        numbers = self.story_numbers()
        rows = [
            {
                "story_id": story.story_id,
                "ip_id": story.ip_id,
                "track": story.track,
                **numbers[story.story_id],
                "n_evaluated": story.num_evaluated,
                "n_failed": len(story.problems),
                "n_skipped": story.num_skipped,
                "problems": {str(index): words for index, words in story.problems.items()},
            }
            for story in self.stories
        ]
        return {
            "format": _FORMAT,
            "version": 1,
            "benchmark": dict(self.benchmark),
            "settings": asdict(self.settings),
            "corpus": _corpus(self.stories, numbers),
            "stories": rows,
        }


def read_story_attributes(
    clips: Sequence[ShotSource], world: World, settings: ReadingSettings | None = None
) -> tuple[list[list[ShotReading]], dict[int, str], int]:
    """Return what a story's clips show: the readings of each shot, the problems, and how many shots ask nothing.

    Args:
        clips: One for each shot, in order: files, their bytes, or frames.
        world: What draws the truth.
        settings: Of reading.
    """
    settings = settings or ReadingSettings()
    readings: list[list[ShotReading]] = []
    problems: dict[int, str] = {}
    num_skipped = 0
    for index, clip in enumerate(clips):
        readings.append([])
        try:
            frames = _frames(clip, settings.frames_per_shot)
        except InputError as error:
            problems[index] = str(error)
            continue
        found = [read_shot(frames, one, settings) for one in world.shot_questions(index, settings)]
        readings[-1] = [one for one in found if one.identity is not None]
        num_skipped += not readings[-1]
    return readings, problems, num_skipped


def read_attributes(
    benchmark: Benchmark,
    predictions: Sequence[StoryPrediction],
    settings: ReadingSettings | None = None,
    *,
    num_workers: int = 1,
    progress: bool = False,
) -> AttributeResults:
    """Return what the stories of a submission show of the true characters.

    Args:
        benchmark: A toon edition.
        predictions: Stories of one of its tracks.
        settings: Of reading.
        num_workers: Processes; they change no number.
        progress: Show a bar on stderr.

    Raises:
        InputError: If the benchmark holds no truth, or not of one of the stories, or a story has too many shots.
    """
    settings = settings or ReadingSettings()
    if not benchmark.plans:
        raise InputError(f"{benchmark.id} holds no truth; attributes can be read in a toon edition only.")
    jobs = []
    for story in predictions:
        if story.story_id not in benchmark.plans:
            raise InputError(f"{benchmark.id} holds no truth of story {story.story_id}.")
        jobs.append((story.story_id, story.ip_id, story.track, story.shots, benchmark.plans[story.story_id], settings))
    for story_id, *_, shots, text, _ in jobs:
        if len(plan_from_json(text).shots) != len(shots):
            raise InputError(f"Story {story_id} must have {len(plan_from_json(text).shots)} shots, got {len(shots)}.")
    bar = tqdm(total=len(jobs), desc="attributes", unit="story", disable=not progress)
    found = []
    with bar:
        for reading in _run(jobs, num_workers):
            found.append(reading)
            bar.update()
    tracks = sorted({story.track for story in predictions})
    return AttributeResults(
        benchmark={"id": benchmark.id, "revision": benchmark.revision, "track": "+".join(tracks)},
        settings=settings,
        stories=tuple(found),
    )


def merge_attributes(results: Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a results file of version 2 with the numbers of an attributes file in it.

    Raises:
        InputError: If it is of another format, or of another benchmark or track.
    """
    if results.get("format") != "animeshooter-scores" or results.get("version") != 2:
        raise InputError("The numbers can be merged into a results file of version 2 only.")
    named = results.get("benchmark")
    own = attributes["benchmark"]
    if named and any(named.get(key) not in (None, "", own[key]) for key in ("id", "revision", "track")):
        raise InputError(f"The results are of another benchmark, revision or track: {named} is not {own}.")
    rows = {row["story_id"]: row for row in attributes["stories"]}
    taken = ("story_id", "ip_id", "track", "problems")
    stories = []
    for row in results.get("stories", ()):
        read = rows.get(row["story_id"])
        more = {} if read is None else {METRIC: {key: value for key, value in read.items() if key not in taken}}
        stories.append({**row, **more})
    signature = "|".join(f"{key}:{value}" for key, value in attributes["settings"].items())
    return {
        **results,
        "benchmark": named or dict(own),
        "signatures": {**results.get("signatures", {}), METRIC: f"attributes|{signature}|v1"},
        "corpus": {**results.get("corpus", {}), METRIC: attributes["corpus"]},
        "stories": stories,
    }


_Job = tuple[str, str, str, Sequence[ShotSource], str, ReadingSettings]


def _run(jobs: Sequence[_Job], num_workers: int) -> Iterator[StoryReading]:
    if min(num_workers, len(jobs)) <= 1:
        yield from map(_read_story, jobs)
        return
    # Spawned, not forked: a forked copy of a process with threads may hang.
    with ProcessPoolExecutor(min(num_workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_read_story, jobs)


def _read_story(job: _Job) -> StoryReading:
    story_id, ip_id, track, shots, plan, settings = job
    readings, problems, num_skipped = read_story_attributes(shots, ToonWorld(plan_from_json(plan)), settings)
    return StoryReading(
        story_id=story_id,
        ip_id=ip_id,
        track=track,
        shots=tuple(tuple(one) for one in readings),
        problems=problems,
        num_skipped=num_skipped,
    )


def _frames(clip: ShotSource, count: int) -> NDArray[np.uint8]:
    """Return the frames at the middles of equal parts of a clip.

    Raises:
        InputError: If it cannot be decoded.
    """
    if isinstance(clip, np.ndarray):
        if len(clip) == 0:
            raise InputError("The shot has no frame.")
        return clip[list(matching_frames(len(clip), count))]
    num_frames = len(index_frames(clip))
    if num_frames == 0:
        raise InputError("The shot has no frame.")
    return read_frames(clip, matching_frames(num_frames, count))


def _within_between(
    stories: Sequence[StoryReading], numbers: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, float | None]]:
    """Return story -> colour -> drift within it over the mean distance to the stories of other IPs."""
    colours = [_mean_colours(story) for story in stories]
    found: dict[str, dict[str, float | None]] = {}
    for story, own in zip(stories, colours, strict=True):
        ratios: dict[str, float | None] = {}
        for name, colour in own.items():
            others = [
                colour_difference(colour, other[name])
                for one, other in zip(stories, colours, strict=True)
                if one.ip_id != story.ip_id and name in other
            ]
            drift, between = numbers[story.story_id].get(f"{name}_drift"), float(np.mean(others)) if others else 0.0
            is_known = drift is not None and between > 0
            ratios[f"{name}_within_between"] = drift / between if is_known and drift is not None else None
        found[story.story_id] = ratios
    return found


def _mean_colours(story: StoryReading) -> dict[str, NDArray[np.uint8]]:
    """Return each colour of a story: its median over shots, of the first character that has it."""
    readings = [reading for shot in story.shots for reading in shot]
    lead = readings[0].character if readings else ""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for reading in readings:
        for name, colour in reading.colours.items():
            if reading.character == lead:
                found.setdefault(name, []).append(colour)
    return {name: np.round(np.median(rows, axis=0)).astype(np.uint8) for name, rows in found.items()}


def _corpus(
    stories: Sequence[StoryReading], numbers: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, Any]]:
    names = sorted({name for row in numbers.values() for name in row}, key=lambda name: (name != "identity", name))
    failed = {story.story_id for story in stories if story.problems}
    corpus: dict[str, dict[str, Any]] = {}
    for name in names:
        pairs = [(value, one.ip_id) for one in stories if (value := numbers[one.story_id].get(name)) is not None]
        without = {one.story_id for one in stories if numbers[one.story_id].get(name) is None}
        interval = cluster_bootstrap([value for value, _ in pairs], [ip for _, ip in pairs])
        corpus[name] = {
            "value": float(np.mean([value for value, _ in pairs])) if pairs else None,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
            "n_evaluated": len(pairs),
            "n_failed": len(without & failed),
            "n_skipped": len(without - failed),
            "direction": _direction(name),
        }
    return corpus


def _direction(name: str) -> str:
    if name == "chance":
        return "none"
    return "lower" if name.endswith(("_difference", "_drift", "_within_between")) else "higher"


def write_attributes(path: Path, data: Mapping[str, Any]) -> Path:
    """Write an attributes or results file beside its place, and rename it.

    Raises:
        InputError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    return path
