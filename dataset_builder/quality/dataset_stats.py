"""Everything that `animeshooter stats` counts of a dataset, in one pass over its stories.

Memory grows by about 120 bytes per shot (hashes of texts and of IDs), however long the texts are.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from animeshooter_hf.dataset_builder.quality.equal_texts import EqualTextCounter, TextReport
from animeshooter_hf.dataset_builder.quality.leakage import LeakageFinding, check_leakage, leak_safe_groups
from animeshooter_hf.dataset_builder.quality.media_summary import MediaReport, count_unverified
from animeshooter_hf.dataset_builder.quality.story_flags import FlagCounter, FlagReport, FlagSettings
from animeshooter_hf.dataset_builder.release.reader import is_audio_story_id
from animeshooter_hf.dataset_builder.stats_source import read_rows
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import StoryCounter, StoryStatistics

__all__ = ["DatasetStats", "MissingMedia", "StatsCounter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingMedia:
    """How the configs with media fit the stories."""

    shots_without_clip: int | None = None
    """Shots that have no row in `shots`; None where there is no such config."""

    clips_without_shot: int | None = None
    """Rows of `shots` whose shot no story has."""

    stories_without_sound: int | None = None
    """Stories with a sound annotation that have no row in `audio`; None where there is no such config."""

    references: Mapping[str, int] = field(default_factory=dict)
    """"verified", "rejected", "unverified" -> rows of `references`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStats:
    """What was counted."""

    name: str
    """The dataset."""

    whole: StoryStatistics
    """Over all splits that were asked for."""

    splits: Mapping[str, StoryStatistics]
    """Split -> its statistics."""

    flags: FlagReport
    """What may be wrong, over all splits."""

    flags_of_splits: Mapping[str, Mapping[str, int]]
    """Split -> flag -> how often."""

    texts: TextReport
    """Equal captions, stories that are nearly the same."""

    leakage: Sequence[LeakageFinding]
    """Videos and groups of videos that are in two splits."""

    missing: MissingMedia = field(default_factory=MissingMedia)
    """How the configs with media fit the stories."""

    media: MediaReport | None = None
    """What the media are; None where nobody looked."""

    lost: Mapping[str, int] = field(default_factory=dict)
    """Problem -> records of a release that were lost in reading."""

    @property
    def num_problems(self) -> int:
        """How much could not be read: records of a release, and media that do not open."""
        broken = sum(one.num_broken for one in self.media.columns.values()) if self.media else 0
        return sum(self.lost.values()) + broken


class StatsCounter:
    """Takes the stories of each split once."""

    def __init__(self, settings: FlagSettings | None = None) -> None:
        self._settings = settings or FlagSettings()
        self._counters: dict[str, StoryCounter] = {}
        self._flags: dict[str, FlagCounter] = {}
        self._texts = EqualTextCounter()
        self._videos: dict[str, set[str]] = {}
        self._shots = array("Q")
        self._with_sound: set[str] = set()
        self.num_stories = 0

    def add(self, stories: Iterable[Story], split: str, note: Callable[[], object] = lambda: None) -> None:
        """Take the stories of a split; `note` is called after each."""
        counter = self._counters.setdefault(split, StoryCounter())
        flags = self._flags.setdefault(split, FlagCounter(self._settings))
        videos = self._videos.setdefault(split, set())
        for story in stories:
            counter.add(story)
            flags.add(story)
            self._texts.add(story, split)
            videos.add(story.video_id)
            if not is_audio_story_id(story.story_id):
                self._shots.extend(_hash(shot.shot_id) for shot in story.shots)
            if any(shot.audio for shot in story.shots):
                self._with_sound.add(story.story_id)
            self.num_stories += 1
            note()

    def finish(
        self,
        name: str,
        *,
        files: Mapping[str, Mapping[str, Sequence[Path]]],
        media: MediaReport | None = None,
        lost: Mapping[str, int] | None = None,
    ) -> DatasetStats:
        """Return everything.

        Args:
            name: The dataset.
            files: Config with media -> split -> files; only their columns with text are read.
            media: What was found in the media.
            lost: Problem -> records that were lost in reading.
        """
        whole = StoryCounter()
        for counter in self._counters.values():
            whole.merge(counter)
        reports = {split: flags.finish() for split, flags in self._flags.items()}
        return DatasetStats(
            name=name,
            whole=whole.finish(),
            splits={split: counter.finish() for split, counter in self._counters.items()},
            flags=_merge_flags(list(reports.values()), self._settings.num_examples),
            flags_of_splits={split: report.counts for split, report in reports.items()},
            texts=self._texts.finish(),
            leakage=self._leakage(media),
            missing=self._missing(files),
            media=media,
            lost=lost or {},
        )

    def _leakage(self, media: MediaReport | None) -> list[LeakageFinding]:
        videos = {video for of_split in self._videos.values() for video in of_split}
        groups = leak_safe_groups(videos, media.equal_videos if media else ())
        return check_leakage(self._videos, groups)

    def _missing(self, files: Mapping[str, Mapping[str, Sequence[Path]]]) -> MissingMedia:
        def paths(config: str) -> list[Path]:
            return [path for split in self._counters for path in files.get(config, {}).get(split, ())]

        told = np.unique(np.frombuffer(self._shots, np.uint64))
        without: int | None = None
        surplus: int | None = None
        if paths("shots"):
            rows = (_hash(row["shot_id"]) for row in read_rows(paths("shots"), ["shot_id"]))
            cut = np.unique(np.fromiter(rows, np.uint64))
            without = int((~np.isin(told, cut)).sum())
            surplus = int((~np.isin(cut, told)).sum())
        silent: int | None = None
        if paths("audio"):
            heard = {row["story_id"] for row in read_rows(paths("audio"), ["story_id"])}
            silent = len(self._with_sound - heard)
        references = count_unverified(paths("references")) if paths("references") else {}
        return MissingMedia(
            shots_without_clip=without, clips_without_shot=surplus, stories_without_sound=silent, references=references
        )


def _merge_flags(reports: Sequence[FlagReport], num_examples: int) -> FlagReport:
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for report in reports:
        counts.update(report.counts)
        for flag, places in report.examples.items():
            examples.setdefault(flag, []).extend(places)
    return FlagReport(
        counts=dict(counts),
        examples={flag: tuple(dict.fromkeys(places))[:num_examples] for flag, places in examples.items()},
        num_flagged_stories=sum(report.num_flagged_stories for report in reports),
    )


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
