"""Checks that need all films: copies, what must stay in one split, private data, statistics.

It reads what the stages have left and opens no film.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from animeshooter_hf.dataset_builder.quality.duplicates import (
    DuplicateReport,
    DuplicateSettings,
    HashSequence,
    find_duplicates,
    keep_first,
)
from animeshooter_hf.dataset_builder.quality.leakage import leak_safe_groups
from animeshooter_hf.dataset_builder.quality.private_data import StoryFinding, redact_story, scan_story
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.dataset_builder.quality.statistics import paper_statistics, table_1
from animeshooter_hf.dataset_builder.quality.text_duplicates import find_text_duplicates, story_texts
from animeshooter_hf.dataset_builder.references.embedders import EmbedderConfig
from animeshooter_hf.dataset_builder.references.linking import CharacterLook, IdentityLinks, link_identities
from animeshooter_hf.dataset_builder.release.reader import is_audio_story_id
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import StoryStatistics, VideoFacts

__all__ = ["CheckedFilms", "FilmQuality", "QualityRules", "check_all_films"]


class QualityRules(Protocol):
    """The settings that this file reads; see `build_settings.QualitySettings`."""

    @property
    def duplicates(self) -> Literal["drop", "report", "off"]:
        """What becomes of copies."""

    @property
    def duplicate_rule(self) -> DuplicateSettings:
        """When two films are the same."""

    @property
    def identities(self) -> EmbedderConfig | None:
        """Whether characters are linked over films, and from which likeness on."""

    @property
    def identities_join_splits(self) -> bool:
        """Whether films that share a character stay in one split."""

    @property
    def private_data(self) -> Literal["report", "redact", "off"]:
        """What becomes of private data."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FilmQuality:
    """What is known of one film when all of them are checked."""

    video_id: str
    """The film."""

    stories: tuple[Story, ...]
    """Its stories, references included."""

    hashes: HashSequence
    """Its sampled frames as hashes."""

    seconds: float
    """Its length."""

    rights: VideoRights
    """Its rights."""

    looks: tuple[CharacterLook, ...] = ()
    """What its characters look like; empty where nobody has looked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedFilms:
    """What remains, and what was found."""

    stories: tuple[Story, ...]
    """The stories of the films that are kept; redacted, if that was asked for."""

    dropped: Mapping[str, str]
    """Film -> why it is left out: `duplicate_of:ID`."""

    groups: Mapping[str, str]
    """Film -> group that stays in one split."""

    duplicates: DuplicateReport | None
    """Copies with their evidence."""

    private: tuple[StoryFinding, ...]
    """Private data in texts; what they say is not kept."""

    repeated_texts: int
    """Captions and storylines that occur in more than one place."""

    rights: Mapping[str, VideoRights]
    """Film -> its rights."""

    statistics: StoryStatistics
    """The paper's statistics of what remains."""

    identities: IdentityLinks | None = None
    """Which characters of different stories are one; None where nobody has looked."""

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain JSON values."""
        return {
            "duplicates": dict(self.dropped),
            "copies": [] if self.duplicates is None else [asdict(link) for link in self.duplicates.links],
            "private_data": dict(Counter(one.finding.kind for one in self.private)),
            "private_data_in": [f"{one.story_id}/{one.where}" for one in self.private],
            "repeated_texts": self.repeated_texts,
            "rights": {name: one.to_row() for name, one in self.rights.items()},
            "table_1": [asdict(row) for row in table_1(self.statistics)],
            "statistics": self.statistics.to_json(),
            "identities": None if self.identities is None else self.identities.to_json(),
        }


def check_all_films(films: Sequence[FilmQuality], rules: QualityRules) -> CheckedFilms:
    """Return what remains of the films, and what was found."""
    report = None if rules.duplicates == "off" else find_duplicates([one.hashes for one in films], rules.duplicate_rule)
    dropped = {} if report is None or rules.duplicates != "drop" else keep_first([one.hashes for one in films], report)
    kept = [one for one in films if one.video_id not in dropped]
    stories = [story for film in kept for story in film.stories]
    private = [] if rules.private_data == "off" else [one for story in stories for one in scan_story(story)]
    if rules.private_data == "redact":
        found = {one.story_id for one in private}
        stories = [redact_story(story) if story.story_id in found else story for story in stories]
    links = None
    if rules.identities is not None:
        links = link_identities([look for one in kept for look in one.looks], rules.identities.link_threshold)
    groups = leak_safe_groups(
        [one.video_id for one in kept],
        () if report is None else report.groups,
        {one.video_id: one.rights.author for one in kept if one.rights.basis != "owned"},
        _videos_by_identity(links) if links is not None and rules.identities_join_splits else (),
    )
    # The audio release tells the same films once more, so its stories are not counted again.
    pictured = [story for story in stories if not is_audio_story_id(story.story_id)]
    return CheckedFilms(
        stories=tuple(stories),
        dropped=dropped,
        groups=groups,
        duplicates=report,
        private=tuple(private),
        repeated_texts=len(find_text_duplicates(story_texts(pictured))),
        rights={one.video_id: one.rights for one in kept},
        statistics=paper_statistics(pictured, videos={one.video_id: VideoFacts(seconds=one.seconds) for one in kept}),
        identities=links,
    )


def _videos_by_identity(links: IdentityLinks) -> list[set[str]]:
    """Return the videos in which each identity occurs."""
    found: dict[str, set[str]] = {}
    for (story_id, _), identity in links.identities.items():
        found.setdefault(identity, set()).add(story_id.rsplit("_", 1)[0])
    return list(found.values())
