"""What the page of a build is made from: records that say what was found, kept and left out, film by film."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story
from animeshooter_hf.report.page import Figure, Section
from animeshooter_hf.statistics import StoryStatistics

__all__ = [
    "BuildPageData",
    "BuildPageSettings",
    "Candidate",
    "FilmMasks",
    "FilmPage",
    "ModelCalls",
    "Stretch",
    "Transition",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """Where a shot begins."""

    frame: int
    """First frame of the new shot; in a gradual change its middle."""

    start_frame: int
    """First frame that the change touches; equal to `frame` for a cut."""

    end_frame: int
    """Frame after the last one that it touches; equal to `frame` for a cut."""

    kind: str = "cut"
    """"cut", "fade" or "dissolve"."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the sound."""

    start_seconds: float
    """From the first frame of the film."""

    end_seconds: float
    """From the first frame of the film."""

    name: str = ""
    """What it is; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A frame in which a character was looked for, and what was decided."""

    story_id: str
    """Story."""

    character_id: str
    """Character."""

    frame_index: int
    """Frame of the film."""

    reason: str | None
    """Why it was rejected, or None if it was kept."""

    area: float | None = None
    """Share of the image that the mask covers; None if there is none."""

    mask: RleMask | None = None
    """The mask, kept or not."""


class FilmMasks(Protocol):
    """Where characters are, frame by frame."""

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        """Return the mask of a character in a frame, or None if it is not seen."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FilmPage:
    """What was made of one film."""

    video_id: str
    """Film."""

    path: Path | None = None
    """Its file, for pictures and sound; None shows none."""

    frame_rate: Fraction | None = None
    """Frames per second; None if the film could not be read."""

    num_frames: int = 0
    """Frames of the film."""

    stories: Sequence[Story] = ()
    """Those that were kept."""

    left_out: str | None = None
    """Why the film is not in the dataset, or None if it is."""

    problems: Mapping[str, int] = field(default_factory=dict)
    """Code of what was odd, repaired or dropped in it -> how often."""

    process_seconds: float | None = None
    """How long its processing took."""

    curve: Sequence[float] = ()
    """Boundary score of each frame."""

    found: Sequence[Transition] = ()
    """Boundaries that the detector found."""

    truth: Sequence[Transition] | None = None
    """True boundaries, where they are known."""

    sounds: Mapping[str, Sequence[Stretch]] = field(default_factory=dict)
    """Lane, such as "speech", "music", "effects", "shots with sound" -> its stretches."""

    candidates: Sequence[Candidate] = ()
    """Reference candidates."""

    masks: FilmMasks | None = None
    """Masks of all frames; where there are none, those of the stories' references are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCalls:
    """What one question to one model took."""

    question: str
    """Name of the question."""

    model: str
    """Who was asked."""

    calls: int
    """Questions that were sent."""

    from_cache: int = 0
    """Questions that were answered without sending."""

    failed: int = 0
    """Answers that could not be used."""

    prompt_tokens: int = 0
    """Tokens read."""

    output_tokens: int = 0
    """Tokens written."""

    money: float | None = None
    """What it cost, or None if the model has no price."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildPageData:
    """Everything that the page shows."""

    films: Sequence[FilmPage]
    """In the order of the table; the first ones with stories are pictured."""

    statistics: StoryStatistics | None = None
    """Of the dataset; None shows no table."""

    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Stage ("references", "audio", "admit", "script") -> reason -> how many."""

    calls: Sequence[ModelCalls] = ()
    """Questions to models."""

    currency: str = "USD"
    """Of the money."""

    figures: Sequence[Figure] = ()
    """More figures for the head of the page."""

    warnings: Sequence[str] = ()
    """What a reader must know, in whole sentences."""

    sections: Sequence[Section] = ()
    """More sections, shown last."""

    title: str = "What was built"
    """Heading."""

    subtitle: str = "From raw films to stories: what was found, what was kept, what was left out and why."
    """Line below it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPageSettings:
    """How much the page shows. All our choice: a page that loads on a phone."""

    pictured_films: int = 3
    """Films with timelines and contact sheets."""

    stories_per_film: int = 2
    """Contact sheets of each."""

    shots_per_story: int = 24
    """Rows of a contact sheet."""

    candidates_per_film: int = 24
    """Tiles of the reference grid."""

    films_in_table: int = 500
    """Rows of the table of films; those that were left out come first."""

    frame_height: int = 150
    """Height of a frame in a contact sheet, in pixels."""

    def __post_init__(self) -> None:
        if min(self.pictured_films, self.stories_per_film) < 0:
            raise ValueError(f"pictured_films and stories_per_film must not be negative, got {self}.")
        if min(self.shots_per_story, self.candidates_per_film, self.films_in_table, self.frame_height) < 1:
            raise ValueError(f"Every other number of a build page must be positive, got {self}.")
