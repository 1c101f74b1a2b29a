"""What a metric is: the features it needs, the numbers it makes of them, and their directions.

A metric never opens a file. It gets encoded stories, all of a run at once, since some numbers (the contrast with other
characters) need the others; its result does not depend on the order of the stories.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.results import MetricValue, StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature

if TYPE_CHECKING:
    from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings

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

    curves: Mapping[str, Mapping[str, Sequence[float | None]]] = field(default_factory=dict)
    """Name -> story -> numbers over the distance between shots, from 1 on. Curves along the story need no entry here:
    they are made of `shots`."""


class StoryMetric(ABC):
    """A metric. Made once per run, with the run's settings and its backbone."""

    name: ClassVar[str]
    """What the user writes, such as "reference_fidelity"."""

    directions: ClassVar[Mapping[str, Direction]]
    """Every number of a story and of `pooled` -> which way is better."""

    headline: ClassVar[str]
    """The number of a one-column table; it stands in `directions`."""

    def __init__(self, settings: "EncodingSettings", backbone: Backbone) -> None:
        """Keep the run's settings and its image encoder.

        Raises:
            InputError: If the metric cannot work with them.
        """
        self.settings = settings
        self.backbone = backbone
        self.memory: MutableMapping[str, float] = {}
        """What `recall` keeps; the engine puts its cache here."""

    def recall(self, what: str, arrays: Sequence[NDArray[Any]], make: Callable[[], float]) -> float:
        """Return a number that is dear to make and depends on some arrays only, from memory if it was made before.

        For what two media say together, such as whether a reference is pasted into a frame: features, which depend on
        one medium, are kept anyway.

        Args:
            what: Name and version of the arithmetic, such as "copy_match@1".
            arrays: All that the number depends on.
            make: Makes it.
        """
        digest = hashlib.sha256(what.encode())
        for array in arrays:
            digest.update(f"\0{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
        key = digest.hexdigest()
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    @property
    @abstractmethod
    def signature(self) -> str:
        """Exactly what is computed; numbers of different signatures must not be compared."""

    @property
    @abstractmethod
    def shot_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """What is taken from each shot."""

    @property
    def reference_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """What is taken from each reference image; a reference is a shot of one frame to it."""
        return ()

    @property
    def encodes_captions(self) -> bool:
        """Whether `backbone` must turn the captions into rows."""
        return False

    @abstractmethod
    def score(self, stories: Sequence["EncodedStory"]) -> MetricScores:
        """Return the numbers of all stories; a pure function of them, whatever their order."""
