"""The statistics of stories, counted in one pass: the paper's Table 1, and how its values are spread.

Sums are kept as whole numbers over their denominators, so a mean does not depend on the order or the number of shots.
Memory grows with the number of videos (for stories per video) and of distinct values, never with the number of shots.
A value that is not there is unknown: it is counted as such and enters no mean.

Source: AnimeShooter, arXiv 2506.03126, Table 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

from animeshooter_hf.records import Shot, Story

__all__ = [
    "DISTRIBUTIONS",
    "PAPER_TABLE_1",
    "Distribution",
    "RunningDistribution",
    "StoryCounter",
    "StoryStatistics",
    "VideoFacts",
]

PAPER_TABLE_1: Mapping[str, float] = {
    "videos": 29_000,
    "stories": 148_000,
    "shots": 2_200_000,
    "stories_per_video": 5.07,
    "shots_per_story": 14.82,
    "video_seconds": 286.57,
    "story_seconds": 56.72,
    "shot_seconds": 3.85,
    "storyline_words": 33.55,
    "characters_per_story": 2.26,
    "scenes_per_story": 2.20,
    "narrative_words": 10.62,
    "descriptive_words": 30.8,
    "caption_words": 41.42,
}
"""The paper's Table 1: name of a count or of a mean -> value."""

DISTRIBUTIONS: Mapping[str, str] = {
    "stories_per_video": "stories per video",
    "shots_per_story": "shots per story",
    "video_seconds": "seconds per video",
    "story_seconds": "seconds per story",
    "shot_seconds": "seconds per shot",
    "storyline_words": "words per storyline",
    "characters_per_story": "characters per story",
    "scenes_per_story": "scenes per story",
    "narrative_words": "words per narrative caption",
    "descriptive_words": "words per descriptive caption",
    "caption_words": "words per shot, both captions",
    "characters_per_shot": "characters per shot",
    "references_per_character": "references per character",
    "audio_shot_seconds": "seconds per shot with sound",
    "audio_words": "words per sound description",
}
"""Name of a distribution -> what it is, in words."""

MAX_DISTINCT = 1 << 16
"""Distinct values that a distribution keeps apart; beyond it values are rounded to a grain for the quartiles only."""

_COUNTS = (
    "stories",
    "shots",
    "prologue_or_epilogue_shots",
    "shots_without_scene",
    "characters",
    "references",
    "references_without_mask",
    "audio_stories",
    "audio_shots",
)
_MAX_AUDIO_TYPES = 10_000
_OTHER_TYPES = "(other types)"

Exact = tuple[int, int]
"""A rational number in lowest terms: numerator, denominator."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFacts:
    """What is known of a video as a file; None where it is not."""

    seconds: Fraction | float | None = None
    """Length of the picture."""

    width: int | None = None
    """Pixels."""

    height: int | None = None
    """Pixels."""

    def __post_init__(self) -> None:
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ValueError(f"The length of a video must not be negative, got {self.seconds}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """How a value is spread; every field but the two counts is None where nothing is known."""

    known: int
    """How many values there are."""

    unknown: int
    """How many are missing; they enter no other field."""

    mean: float | None = None
    """Their mean, rounded once from the exact sum."""

    minimum: float | None = None
    """The least."""

    lower_quartile: float | None = None
    """A quarter lies below; between two values by straight line, as NumPy and `statistics.quantiles` (inclusive) do."""

    median: float | None = None
    """Half lies below."""

    upper_quartile: float | None = None
    """Three quarters lie below."""

    maximum: float | None = None
    """The greatest."""

    grain: float = 0.0
    """What the quartiles were rounded to; 0 if they are exact."""

    histogram: tuple[tuple[float, int], ...] = ()
    """(value, how often), in order; values are rounded to the grain."""

    def to_json(self) -> dict[str, Any]:
        """Return the distribution without its histogram."""
        data = asdict(self)
        del data["histogram"]
        return data


class RunningDistribution:
    """Takes values one by one and gives their distribution."""

    def __init__(self) -> None:
        self._counts: dict[Exact, int] = {}
        self._sums: dict[int, int] = {}
        self._grain: Fraction | None = None
        self._least: Fraction | None = None
        self._greatest: Fraction | None = None
        self.unknown = 0

    def add(self, value: int | float | Fraction | None) -> None:
        """Take a value; None is unknown."""
        if value is None:
            self.unknown += 1
            return
        exact = (value, 1) if isinstance(value, int) else value.as_integer_ratio()
        self._sums[exact[1]] = self._sums.get(exact[1], 0) + exact[0]
        if self._grain is not None:
            self._note_range(Fraction(*exact))
            exact = self._rounded(exact)
        self._counts[exact] = self._counts.get(exact, 0) + 1
        if len(self._counts) > MAX_DISTINCT:
            self._coarsen()

    def merge(self, other: "RunningDistribution") -> None:
        """Take all values that another one has taken; mean and range stay exact."""
        self.unknown += other.unknown
        for below, total in other._sums.items():
            self._sums[below] = self._sums.get(below, 0) + total
        if self._grain is not None or other._grain is not None:
            self._note_own_range()
            for value in (other._least, other._greatest, *(Fraction(*exact) for exact in other._counts)):
                if value is not None:
                    self._note_range(value)
            self._grain = max(grain for grain in (self._grain, other._grain) if grain is not None)
            self._round_counts()
        for exact, number in other._counts.items():
            kept = exact if self._grain is None else self._rounded(exact)
            self._counts[kept] = self._counts.get(kept, 0) + number
        if len(self._counts) > MAX_DISTINCT:
            self._coarsen()

    def finish(self) -> Distribution:
        """Return the distribution of all values so far."""
        known = sum(self._counts.values())
        if not known:
            return Distribution(known=0, unknown=self.unknown)
        ordered = sorted((Fraction(*exact), number) for exact, number in self._counts.items())
        total = sum((Fraction(number, below) for below, number in self._sums.items()), Fraction(0))
        least = ordered[0][0] if self._least is None else self._least
        greatest = ordered[-1][0] if self._greatest is None else self._greatest
        quartiles = [float(_quantile(ordered, known, Fraction(part, 4))) for part in (1, 2, 3)]
        return Distribution(
            known=known,
            unknown=self.unknown,
            mean=float(total / known),
            minimum=float(least),
            lower_quartile=quartiles[0],
            median=quartiles[1],
            upper_quartile=quartiles[2],
            maximum=float(greatest),
            grain=float(self._grain or 0),
            histogram=tuple((float(value), number) for value, number in ordered),
        )

    def _note_range(self, value: Fraction) -> None:
        self._least = value if self._least is None else min(self._least, value)
        self._greatest = value if self._greatest is None else max(self._greatest, value)

    def _rounded(self, exact: Exact) -> Exact:
        grain = self._grain or Fraction(1, 1000)
        return (round(Fraction(*exact) / grain) * grain).as_integer_ratio()

    def _note_own_range(self) -> None:
        """Note the range of what is kept, before it is rounded for the first time."""
        if self._grain is None:
            for exact in self._counts:
                self._note_range(Fraction(*exact))

    def _round_counts(self) -> None:
        merged: dict[Exact, int] = {}
        for exact, number in self._counts.items():
            rounded = self._rounded(exact)
            merged[rounded] = merged.get(rounded, 0) + number
        self._counts = merged

    def _coarsen(self) -> None:
        """Round what is kept to 1/1000, or to ten times the last grain, until half the room is free."""
        while len(self._counts) > MAX_DISTINCT // 2:
            self._note_own_range()
            self._grain = Fraction(1, 1000) if self._grain is None else self._grain * 10
            self._round_counts()


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryStatistics:
    """What was counted over stories."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Name -> how many: videos, stories, shots, audio_shots, references ..."""

    distributions: Mapping[str, Distribution] = field(default_factory=dict)
    """Name (of `DISTRIBUTIONS`) -> how it is spread."""

    audio_types: Mapping[str, int] = field(default_factory=dict)
    """Category of sound -> shots, the most frequent first."""

    def value(self, name: str) -> float | int | None:
        """Return a count or the mean of a distribution; None where nothing is known."""
        if name in self.counts:
            return self.counts[name]
        return self.distributions[name].mean

    def to_json(self) -> dict[str, Any]:
        """Return everything but the histograms, with the paper's figures beside it."""
        return {
            "counts": dict(self.counts),
            "distributions": {name: one.to_json() for name, one in self.distributions.items()},
            "audio_types": dict(self.audio_types),
            "paper_table_1": dict(PAPER_TABLE_1),
        }


class StoryCounter:
    """Takes stories one by one, in any order, and gives their statistics."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._stories_of: Counter[str] = Counter()
        self._audio_types: Counter[str] = Counter()
        self._running = {name: RunningDistribution() for name in DISTRIBUTIONS}

    @classmethod
    def count(cls, stories: Iterable[Story], videos: Mapping[str, VideoFacts] | None = None) -> StoryStatistics:
        """Return the statistics of stories, read once."""
        counter = cls()
        for story in stories:
            counter.add(story)
        return counter.finish(videos)

    def add(self, story: Story) -> None:
        """Take a story."""
        self._stories_of[story.video_id] += 1
        self._counts["stories"] += 1
        self._note("shots_per_story", len(story.shots))
        self._note("story_seconds", _story_seconds(story))
        self._note("storyline_words", _num_words(story.storyline))
        self._note("characters_per_story", len(story.characters))
        self._note("scenes_per_story", len(story.scenes))
        self._add_references(story)
        for shot in story.shots:
            self._add_shot(shot, story)
        self._counts["audio_stories"] += any(shot.audio is not None for shot in story.shots)

    def merge(self, other: "StoryCounter") -> None:
        """Take all stories that another counter has taken, such as that of another split."""
        self._counts.update(other._counts)
        self._stories_of.update(other._stories_of)
        self._audio_types.update(other._audio_types)
        for name, running in other._running.items():
            self._running[name].merge(running)

    def finish(self, videos: Mapping[str, VideoFacts] | None = None) -> StoryStatistics:
        """Return the statistics so far.

        Args:
            videos: What is known of the videos; those that tell no story are counted apart and enter no mean.
        """
        per_video, lengths = RunningDistribution(), RunningDistribution()
        for video_id, stories in self._stories_of.items():
            per_video.add(stories)
            lengths.add(videos[video_id].seconds if videos and video_id in videos else None)
        finished = {name: running.finish() for name, running in self._running.items()}
        finished |= {"stories_per_video": per_video.finish(), "video_seconds": lengths.finish()}
        return StoryStatistics(
            counts={
                "videos": len(self._stories_of),
                "videos_without_story": len(set(videos or ()) - set(self._stories_of)),
                **{name: self._counts[name] for name in _COUNTS},
            },
            distributions=finished,
            audio_types=dict(sorted(self._audio_types.items(), key=lambda pair: (-pair[1], pair[0]))),
        )

    def _note(self, name: str, value: int | float | Fraction | None) -> None:
        self._running[name].add(value)

    def _add_references(self, story: Story) -> None:
        per_character = Counter(reference.character_id for reference in story.references)
        for character in story.characters:
            self._note("references_per_character", per_character[character.id])
        self._counts["characters"] += len(story.characters)
        self._counts["references"] += len(story.references)
        self._counts["references_without_mask"] += sum(reference.mask is None for reference in story.references)

    def _add_shot(self, shot: Shot, story: Story) -> None:
        seconds = _shot_seconds(shot, story)
        narrative, descriptive = _num_words(shot.narrative_caption), _num_words(shot.descriptive_caption)
        self._counts["shots"] += 1
        self._counts["prologue_or_epilogue_shots"] += shot.is_prologue_or_epilogue
        self._counts["shots_without_scene"] += shot.scene is None
        self._note("shot_seconds", seconds)
        self._note("narrative_words", narrative)
        self._note("descriptive_words", descriptive)
        self._note("caption_words", None if narrative is None or descriptive is None else narrative + descriptive)
        self._note("characters_per_shot", len(shot.characters))
        if shot.audio is not None:
            self._counts["audio_shots"] += 1
            self._note("audio_shot_seconds", seconds)
            self._note("audio_words", _num_words(shot.audio.sound_description))
            is_new = shot.audio.audio_type not in self._audio_types
            is_full = len(self._audio_types) >= _MAX_AUDIO_TYPES
            self._audio_types[_OTHER_TYPES if is_new and is_full else shot.audio.audio_type] += 1


def _story_seconds(story: Story) -> Fraction | None:
    if story.frame_rate is None or story.start_frame is None or story.end_frame is None:
        return None
    return (story.end_frame - story.start_frame) / story.frame_rate


def _shot_seconds(shot: Shot, story: Story) -> Fraction | float | None:
    """Return the exact length by frames, or the one by the clock where that is all or the frames last unequally."""
    by_clock: float | None = None
    if shot.start_seconds is not None and shot.end_seconds is not None:
        by_clock = shot.end_seconds - shot.start_seconds
    if shot.num_frames is None or story.frame_rate is None:
        return by_clock
    by_frames = shot.num_frames / story.frame_rate
    half_a_frame = 0.5 / float(story.frame_rate)
    return by_frames if by_clock is None or abs(float(by_frames) - by_clock) <= half_a_frame else by_clock


def _num_words(text: str | None) -> int | None:
    return len(text.split()) if text and not text.isspace() else None


def _quantile(ordered: list[tuple[Fraction, int]], known: int, part: Fraction) -> Fraction:
    place = part * (known - 1)
    below = math.floor(place)
    low = high = ordered[-1][0]
    seen = 0
    for index, (value, number) in enumerate(ordered):
        seen += number
        if seen > below:
            low = value
            high = value if seen > below + 1 or index + 1 == len(ordered) else ordered[index + 1][0]
            break
    return low + (high - low) * (place - below)
