"""The card of a dataset, filled from the data itself: nothing is printed that was not counted or given.

Source of the comparison: AnimeShooter, arXiv 2506.03126, Table 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import yaml
from datasets import Features
from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf.clock import seconds_at
from animeshooter_hf.records import Shot, Story

__all__ = ["PAPER_TABLE_1", "CardFacts", "ConfigFacts", "DatasetStatistics", "render_dataset_card"]

PAPER_TABLE_1: Mapping[str, float] = {
    "videos": 29_000,
    "stories": 148_000,
    "shots": 2_200_000,
    "stories_per_video": 5.07,
    "shots_per_story": 14.82,
    "story_seconds": 56.72,
    "shot_seconds": 3.85,
    "storyline_words": 33.55,
    "characters_per_story": 2.26,
    "scenes_per_story": 2.20,
    "narrative_words": 10.62,
    "descriptive_words": 30.8,
}
"""The paper's Table 1, as far as we count the same."""

_LABELS = {
    "videos": "videos",
    "stories": "stories",
    "shots": "shots",
    "stories_per_video": "stories per video",
    "shots_per_story": "shots per story",
    "story_seconds": "seconds per story",
    "shot_seconds": "seconds per shot",
    "storyline_words": "words per storyline",
    "characters_per_story": "characters per story",
    "scenes_per_story": "scenes per story",
    "narrative_words": "words per narrative caption",
    "descriptive_words": "words per descriptive caption",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What a card says that the data cannot tell."""

    title: str = "AnimeShooter stories"
    """Heading, and the pretty name on the Hub."""

    summary: str = "Multi-shot animation stories with consistent characters, in the layout of AnimeShooter."
    """One paragraph."""

    licence: str = "other"
    """Identifier of the Hub. "other" needs `licence_name`."""

    licence_name: str | None = "see-the-source"
    """Name of a licence that the Hub does not know."""

    made_by: str = "The annotations come from the source named below and were not changed in meaning."
    """How the data came about."""

    known_gaps: Sequence[str] = ()
    """What a user should not expect."""

    tags: Sequence[str] = ()
    """More tags for the Hub."""

    annotations_creators: str = "machine-generated"
    """Who annotated, in the Hub's words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigFacts:
    """What was written of one config."""

    name: str
    """Config."""

    features: Features
    """Its columns."""

    num_rows: Mapping[str, int]
    """Split -> rows."""

    num_bytes: Mapping[str, int]
    """Split -> bytes in memory."""

    download_bytes: int
    """Bytes of its files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetStatistics:
    """The paper's Table 1, counted on the data."""

    values: Mapping[str, float | None] = field(default_factory=dict)
    """Name of a row -> value; None where nothing can be counted."""

    @classmethod
    def from_stories(cls, stories: Iterable[Story]) -> "DatasetStatistics":
        """Return the statistics of stories."""
        told = list(stories)
        shots = [shot for story in told for shot in story.shots]
        lengths = [_shot_seconds(shot, story) for story in told for shot in story.shots]
        videos = len({story.video_id for story in told})
        return cls(
            values={
                "videos": videos,
                "stories": len(told),
                "shots": len(shots),
                "stories_per_video": len(told) / videos if videos else None,
                "shots_per_story": _mean(len(story.shots) for story in told),
                "story_seconds": _mean(story.duration_seconds for story in told),
                "shot_seconds": _mean(lengths),
                "storyline_words": _mean(_words(story.storyline) for story in told),
                "characters_per_story": _mean(len(story.characters) for story in told),
                "scenes_per_story": _mean(len(story.scenes) for story in told),
                "narrative_words": _mean(_words(shot.narrative_caption) for shot in shots),
                "descriptive_words": _mean(_words(shot.descriptive_caption) for shot in shots),
            }
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (label, here, in the paper), as texts."""
        return [(_LABELS[key], _show(value), _show(PAPER_TABLE_1[key])) for key, value in self.values.items()]


def render_dataset_card(facts: CardFacts, configs: Sequence[ConfigFacts], statistics: DatasetStatistics) -> str:
    """Return README.md of a dataset folder: the YAML head that `datasets` reads, and the card.

    Args:
        facts: What the data cannot tell.
        configs: What was written; the first one is the default.
        statistics: Counts, shown beside the paper's.

    Raises:
        ValueError: If there is no config.
    """
    if not configs:
        raise ValueError("A dataset card needs at least one config.")
    head = yaml.safe_dump(_head(facts, configs, statistics), sort_keys=False, allow_unicode=True, width=1000)
    loader = PackageLoader("animeshooter_hf.cards", ".")
    environment = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    body = environment.get_template("dataset_card.md.jinja").render(
        facts=facts,
        configs=configs,
        statistics=statistics.rows(),
        columns={config.name: ", ".join(f"`{name}`" for name in config.features) for config in configs},
        has_media=any(config.name != "stories" for config in configs),
    )
    return f"---\n{head}---\n{body.rstrip()}\n"


def _head(facts: CardFacts, configs: Sequence[ConfigFacts], statistics: DatasetStatistics) -> dict[str, object]:
    tasks = ["text-to-video", "image-to-video"] if len(configs) > 1 else ["text-to-video"]
    shots = int(statistics.values.get("shots") or 0)
    size = next((name for limit, name in _SIZES if shots < limit), "n>10M")
    licence: dict[str, object] = {"license": facts.licence}
    if facts.licence == "other" and facts.licence_name:
        licence["license_name"] = facts.licence_name
    return {
        **licence,
        "pretty_name": facts.title,
        "language": ["en"],
        "task_categories": tasks,
        "size_categories": [size],
        "annotations_creators": [facts.annotations_creators],
        "tags": ["animation", "multi-shot", "video", *facts.tags],
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if number == 0 else {}),
                "data_files": [{"split": split, "path": f"{config.name}/{split}-*"} for split in config.num_rows],
            }
            for number, config in enumerate(configs)
        ],
        "dataset_info": [
            {
                "config_name": config.name,
                "features": config.features._to_yaml_list(),
                "splits": [
                    {"name": split, "num_bytes": config.num_bytes[split], "num_examples": rows}
                    for split, rows in config.num_rows.items()
                ],
                "download_size": config.download_bytes,
                "dataset_size": sum(config.num_bytes.values()),
            }
            for config in configs
        ],
    }


def _shot_seconds(shot: Shot, story: Story) -> float | None:
    if shot.start_seconds is not None and shot.end_seconds is not None:
        return shot.end_seconds - shot.start_seconds
    if shot.num_frames is not None and story.frame_rate is not None:
        return seconds_at(shot.num_frames, story.frame_rate)
    return None


def _words(text: str | None) -> int | None:
    return len(text.split()) if text else None


def _mean(values: Iterable[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _show(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and value >= 1 else f"{value:,.2f}"
