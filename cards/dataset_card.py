"""The card of a dataset, filled from the data itself: nothing is printed that was not counted or given.

Source of the comparison: AnimeShooter, arXiv 2506.03126, Table 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml
from datasets import Features
from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf.records import Story
from animeshooter_hf.statistics import DISTRIBUTIONS, PAPER_TABLE_1, StoryCounter, StoryStatistics

__all__ = ["PAPER_TABLE_1", "CardFacts", "ConfigFacts", "DatasetStatistics", "render_dataset_card"]

_LABELS = {"videos": "videos", "stories": "stories", "shots": "shots", **DISTRIBUTIONS}
_ROWS = (
    "videos",
    "stories",
    "shots",
    "stories_per_video",
    "shots_per_story",
    "story_seconds",
    "shot_seconds",
    "storyline_words",
    "characters_per_story",
    "scenes_per_story",
    "narrative_words",
    "descriptive_words",
)
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
        return cls.from_counts(StoryCounter.count(stories))

    @classmethod
    def from_counts(cls, counted: StoryStatistics) -> "DatasetStatistics":
        """Return what a card shows of statistics that were counted already."""
        return cls(values={name: counted.value(name) for name in _ROWS})

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


def _show(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and value >= 1 else f"{value:,.2f}"
