"""What a metric is: the features it needs, the numbers it makes of them, and their directions.

A metric never opens a file. It gets encoded stories, all of a run at once, since some numbers (the contrast with other
characters) need the others; its result does not depend on the order of the stories.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from animeshooter_hf.eval.results import MetricValue, StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature

if TYPE_CHECKING:
    from animeshooter_hf.eval.encoding import EncodedStory

__all__ = ["Direction", "Gate", "MetricScores", "StoryMetric"]

Direction = Literal["higher", "lower", "none"]
"""Which way is better; "none" for numbers that only describe."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """A control with a limit: stories beyond it are flagged, and a system with too many flagged stories is gated."""

    control: str
    """Name of the control, such as "static"."""

    flagged: Mapping[str, bool | None]
    """Story -> whether it is beyond the limit; None where it could not be tested."""

    limit: str
    """The limit in words, such as "residual_top5 < 1.5 px"."""

    is_experimental: bool = False
    """Whether it is shown but gates nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricScores:
    """All that one metric says of one run."""

    stories: Mapping[str, StoryScore]
    """Story -> its numbers. Every story of the run is here, each with the same names."""

    shots: Mapping[str, Sequence[Mapping[str, float | None]]]
    """Story -> per shot: name -> number."""

    problems: Mapping[str, Sequence[str]]
    """Story -> per shot: why there is no score, "" where there is one."""

    pooled: Mapping[str, MetricValue] = field(default_factory=dict)
    """Corpus numbers that are no mean over stories, such as an AUC over all pairs."""

    gates: Sequence[Gate] = ()
    """Controls."""


class StoryMetric(ABC):
    """A metric. Made once per run, with the run's settings and its backbone."""

    name: ClassVar[str]
    """What the user writes, such as "reference_fidelity"."""

    directions: ClassVar[Mapping[str, Direction]]
    """Every number of a story and of `pooled` -> which way is better."""

    headline: ClassVar[str]
    """The number of a one-column table; it stands in `directions`."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Exactly what is computed; numbers of different signatures must not be compared."""

    @property
    @abstractmethod
    def shot_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """What is taken from each shot."""

    @property
    def reference_features(self) -> Sequence[EmbeddingFeature]:
        """What is taken from each reference image; a reference is a shot of one frame to it."""
        return ()

    @property
    def encodes_captions(self) -> bool:
        """Whether the backbone must turn the captions into rows."""
        return False

    @abstractmethod
    def score(self, stories: Sequence["EncodedStory"]) -> MetricScores:
        """Return the numbers of all stories; a pure function of them, whatever their order."""
