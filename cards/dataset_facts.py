"""The facts from which a dataset's card and its Croissant file are made: what was counted, and what somebody stated.

All of them are plain: a `CardFacts` goes into the manifest as JSON and comes back the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from datasets import Features

from animeshooter_hf.records import Story
from animeshooter_hf.statistics import DISTRIBUTIONS, PAPER_TABLE_1, StoryCounter, StoryStatistics

__all__ = ["PAPER_TABLE_1", "CardFacts", "ConfigFacts", "DatasetStatistics", "show_number"]

_LABELS = {"videos": "videos", "stories": "stories", "shots": "shots", **DISTRIBUTIONS}
_ROWS = (
    "videos",
    "stories",
    "shots",
    "stories_per_video",
    "shots_per_story",
    "video_seconds",
    "story_seconds",
    "shot_seconds",
    "storyline_words",
    "characters_per_story",
    "scenes_per_story",
    "narrative_words",
    "descriptive_words",
    "caption_words",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CardFacts:
    """What a card says that the data cannot tell. What is None or empty is left out of the card, never invented."""

    title: str = "AnimeShooter stories"
    """Heading, and the pretty name on the Hub."""

    summary: str = "Multi-shot animation stories with consistent characters, in the layout of AnimeShooter."
    """One paragraph."""

    licence: str = "other"
    """Identifier of the Hub. "other" needs `licence_name`."""

    licence_name: str | None = "see-the-source"
    """Name of a licence that the Hub does not know."""

    licence_link: str | None = None
    """Address of its text, or the name of a file beside the card."""

    made_by: str = "The annotations come from their source and were not changed in meaning."
    """How the data came about."""

    known_gaps: Sequence[str] = ()
    """What a user should not expect."""

    biases: Sequence[str] = ()
    """How the data are lopsided, beside what holds for every dataset of this kind."""

    intended_uses: Sequence[str] = ()
    """More uses that it is meant for."""

    out_of_scope_uses: Sequence[str] = ()
    """More uses that it is not meant for."""

    personal_data: str | None = None
    """What is known of personal data, beside what holds for every dataset of this kind."""

    maintenance: str | None = None
    """Who keeps it and how often it changes."""

    tags: Sequence[str] = ()
    """More tags for the Hub."""

    languages: Sequence[str] = ("en",)
    """Languages of the captions, as ISO 639 codes."""

    annotations_creators: str = "machine-generated"
    """Who annotated, in the Hub's words."""

    language_creators: str = "machine-generated"
    """Who wrote the captions, in the Hub's words."""

    source_datasets: Sequence[str] = ("original",)
    """"original", "extended", or the repository that it was made from."""

    repo_id: str | None = None
    """The repository that it is published as, such as "ORG/NAME"."""

    version: str | None = None
    """Version of the data, such as "1.0.0"."""

    date_published: str | None = None
    """Day of that version, such as "2026-01-31"."""

    creators: Sequence[str] = ()
    """Who made it; the Croissant file names them as organisations."""

    homepage: str | None = None
    """Address of a page about it."""

    repository: str | None = None
    """Address of the code that made it."""

    contact: str | None = None
    """Mail or web address for questions and takedowns."""

    citation: str | None = None
    """BibTeX entry of this dataset."""

    is_gated: bool = False
    """Whether the Hub asks for agreement before it gives the files."""

    gated_heading: str | None = None
    """Heading of that question; a plain one if None."""

    gated_prompt: str | None = None
    """What is agreed to; a plain text if None."""

    gated_button: str | None = None
    """Words on its button; the Hub's own if None."""

    gated_fields: Mapping[str, str] = field(default_factory=dict)
    """What the visitor is asked for -> kind of field: "text", "checkbox", "country" or "date_picker"."""

    thumbnail: str | None = None
    """Address of a picture for links to the page."""

    viewer: bool = True
    """Whether the Hub shows its viewer."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, list):
                object.__setattr__(self, one.name, tuple(value))
            elif "Sequence" in str(one.type) and isinstance(value, str):
                raise ValueError(f"CardFacts.{one.name} must be a list of texts, got the text {value!r}.")


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

    shots_of_splits: Mapping[str, int] = field(default_factory=dict)
    """Split -> shots; empty where nobody counted by split."""

    @classmethod
    def from_stories(cls, stories: Iterable[Story]) -> "DatasetStatistics":
        """Return the statistics of stories."""
        return cls.from_counts(StoryCounter.count(stories))

    @classmethod
    def from_counts(
        cls, counted: StoryStatistics, shots_of_splits: Mapping[str, int] | None = None
    ) -> "DatasetStatistics":
        """Return what a card shows of statistics that were counted already."""
        return cls(values={name: counted.value(name) for name in _ROWS}, shots_of_splits=dict(shots_of_splits or {}))

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (label, here, in the paper), as texts; what is unknown here has no row."""
        return [
            (_LABELS[key], show_number(value), show_number(PAPER_TABLE_1[key]))
            for key, value in self.values.items()
            if value is not None
        ]


def show_number(value: float) -> str:
    """Return a number as a card shows it: whole ones whole, others with two decimals, thousands apart."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:,.2f}"
