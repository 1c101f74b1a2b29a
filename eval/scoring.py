"""From encoded stories to results: pure arithmetic, the same for any order of stories.

Each metric gives numbers per shot and per story (`metrics/`); here they become corpus values with coverage and an
interval over IPs and their stories, curves along the story, and the verdicts of the controls.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.results import CurvePoint, GateResult, MetricValue, Results, ShotScore, SystemInfo
from animeshooter_hf.eval.statistics.resampling import drawn_counts, percentile_ends
from animeshooter_hf.eval.story_metric import Gate, MetricScores, StoryMetric

__all__ = ["DRAWS", "GATED_SHARE", "score_stories"]

DRAWS = 10_000
"""Draws of the bootstrap. Our choice: its own error is then about 2 % of the interval's width."""

_LEVEL, _SEED = 0.95, 0
"""Of the intervals."""

_MOST_DRAWN_SETS = 4
"""Sets of stories whose draws are kept: 16 MB each for 200 stories."""

GATED_SHARE = 0.10
"""A system with a larger share of stories beyond a control's limit is gated. Our choice: on real stories the controls
flag none, so one in ten leaves room for a few odd ones and none for a habit."""


def score_stories(
    stories: Sequence[EncodedStory],
    metrics: Sequence[StoryMetric],
    settings: EncodingSettings,
    *,
    system: SystemInfo | None = None,
    benchmark: Mapping[str, str] | None = None,
    manifest: Mapping[str, Any] | None = None,
    draws: int = DRAWS,
) -> Results:
    """Return all scores of encoded stories.

    Args:
        stories: Encoded with the features of these metrics.
        metrics: As `open_metrics` returns them.
        settings: Those that the metrics were made with.
        system: Whose shots they are.
        benchmark: `id`, `revision` and `track`, if the stories are those of a benchmark.
        manifest: What the numbers are made with and from.
        draws: Draws of the bootstrap; 0 leaves intervals out.

    Raises:
        InputError: If there is no story, or two stories share an ID.
    """
    if not stories:
        raise InputError("There is no story to score.")
    _refuse_repeats([story.story_id for story in stories])
    made = {metric.name: metric.score(stories) for metric in metrics}
    ip_ids = {story.story_id: story.ip_id for story in stories}
    intervals = _Intervals(ip_ids, draws)
    gates = _gates(made.values())
    return Results(
        system=system or SystemInfo(),
        benchmark=benchmark,
        signatures={metric.name: metric.signature for metric in metrics},
        headlines={metric.name: metric.headline for metric in metrics},
        note=metrics[0].backbone.note,
        settings=asdict(settings),
        corpus={metric.name: _corpus(metric, made[metric.name], intervals) for metric in metrics},
        curves=_curves(made, intervals),
        gates=tuple(_judged(gate) for gate in gates),
        stories={story.story_id: {name: made[name].stories[story.story_id] for name in made} for story in stories},
        ip_ids=ip_ids,
        tracks={story.story_id: story.track for story in stories if story.track},
        flags=_flags(gates, [story.story_id for story in stories]),
        shots=tuple(_shot_row(story, index, made) for story in stories for index in range(len(story.shots))),
        manifest=manifest or {},
    )


class _Intervals:
    """Means over stories with their intervals, as `cluster_bootstrap` makes them: IPs are drawn, then their stories."""

    def __init__(self, ip_ids: Mapping[str, str], draws: int) -> None:
        self._ip_ids, self._draws = ip_ids, draws
        self._weights: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def of(self, values: Mapping[str, float]) -> tuple[float | None, float | None, float | None]:
        """Return the mean over stories, and the ends of its interval; None where there is none."""
        if not values:
            return None, None, None
        average = mean(list(values.values()))
        if not self._draws or len(values) < 2:
            return average, None, None
        stories = tuple(sorted(values))
        # einsum stays on one thread; for so small a product BLAS spends more on waking its own.
        means_B = np.einsum("bn,n->b", self._weights_of(stories), np.asarray([values[story] for story in stories]))
        low, high = percentile_ends(means_B, _LEVEL) or (None, None)
        return average, low, high

    def _weights_of(self, stories: tuple[str, ...]) -> NDArray[np.float64]:
        """Return each story's weight in each draw, (draws, N); numbers that the same stories have share the draws."""
        if stories not in self._weights:
            if len(self._weights) >= _MOST_DRAWN_SETS:
                self._weights.pop(next(iter(self._weights)))
            ips = [self._ip_ids[story] for story in stories]
            rng = np.random.default_rng(_SEED)
            counts_BN = np.ascontiguousarray(drawn_counts(ips, stories, draws=self._draws, rng=rng))
            self._weights[stories] = counts_BN / counts_BN.sum(axis=1, keepdims=True)
        return self._weights[stories]


def _refuse_repeats(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"The story {name!r} is given twice; story IDs must be unique.")
        seen.add(name)


def _corpus(metric: StoryMetric, made: MetricScores, intervals: _Intervals) -> dict[str, MetricValue]:
    """Return each number's mean over the stories that have it, and the pooled numbers."""
    corpus = {}
    for name in next(iter(made.stories.values())).values:
        known = {story: value for story, score in made.stories.items() if (value := score.values[name]) is not None}
        missing = [score for story, score in made.stories.items() if story not in known]
        num_failed = sum(1 for score in missing if score.n_failed)
        average, low, high = intervals.of(known)
        corpus[name] = MetricValue(
            value=average,
            low=low,
            high=high,
            n_evaluated=len(known),
            n_failed=num_failed,
            n_skipped=len(missing) - num_failed,
            direction=metric.directions.get(name, "none"),
        )
    for name, pooled in made.pooled.items():
        corpus[name] = MetricValue(
            value=pooled.value,
            low=pooled.low,
            high=pooled.high,
            n_evaluated=pooled.n_evaluated,
            n_failed=pooled.n_failed,
            n_skipped=pooled.n_skipped,
            direction=metric.directions.get(name, "none"),
        )
    return corpus


def _curves(made: Mapping[str, MetricScores], intervals: _Intervals) -> dict[str, tuple[CurvePoint, ...]]:
    """Return every number of shots along the story, and what the metrics say over distance."""
    curves = {}
    for metric, scores in made.items():
        names = {name: None for shots in scores.shots.values() for shot in shots for name in shot}
        for name in names:
            along = {story: [shot.get(name) for shot in shots] for story, shots in scores.shots.items()}
            curves[f"{metric}/{name}"] = _curve(along, intervals)
        for name, over in scores.curves.items():
            curves[f"{metric}/{name}"] = _curve(over, intervals)
    return curves


def _curve(rows: Mapping[str, Sequence[float | None]], intervals: _Intervals) -> tuple[CurvePoint, ...]:
    points = []
    for index in range(max((len(row) for row in rows.values()), default=0)):
        known = {story: value for story, row in rows.items() if index < len(row) and (value := row[index]) is not None}
        average, low, high = intervals.of(known)
        points.append(CurvePoint(position=index + 1, value=average, low=low, high=high, n_evaluated=len(known)))
    return tuple(points)


def _gates(made: Iterable[MetricScores]) -> list[Gate]:
    """Return the controls of all metrics; one that two metrics have counts once."""
    found: dict[str, Gate] = {}
    for scores in made:
        for gate in scores.gates:
            found.setdefault(gate.control, gate)
    return list(found.values())


def _judged(gate: Gate) -> GateResult:
    tested = [verdict for verdict in gate.flagged.values() if verdict is not None]
    num_flagged = sum(1 for verdict in tested if verdict)
    return GateResult(
        control=gate.control,
        num_flagged=num_flagged,
        num_tested=len(tested),
        is_gated=not gate.is_experimental and num_flagged > GATED_SHARE * len(tested),
        limit=gate.limit,
        is_experimental=gate.is_experimental,
    )


def _flags(gates: Sequence[Gate], stories: Sequence[str]) -> dict[str, tuple[str, ...]]:
    flags = {story: tuple(gate.control for gate in gates if gate.flagged.get(story)) for story in stories}
    return {story: controls for story, controls in flags.items() if controls}


def _shot_row(story: EncodedStory, index: int, made: Mapping[str, MetricScores]) -> ShotScore:
    values: dict[str, float | None] = {}
    problems: dict[str, str] = {}
    for metric, scores in made.items():
        values |= {f"{metric}/{name}": value for name, value in scores.shots[story.story_id][index].items()}
        if reason := scores.problems[story.story_id][index]:
            problems[metric] = reason
    return ShotScore(
        story_id=story.story_id,
        ip_id=story.ip_id,
        shot_index=index,
        caption=story.captions[index] if story.captions else "",
        num_frames=story.shots[index].num_frames,
        values=values,
        problems=problems,
    )
