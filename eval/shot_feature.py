"""What is taken from a shot in its one decode pass: the contract between the engine and the metrics.

A metric names the features that it needs. The engine asks every feature of all chosen metrics which frames it wants,
decodes the file once for the union, and hands each feature its frames; the arrays that come back are kept in a cache
under the hash of the file and the feature's signature. A feature therefore depends on its shot only, never on the
story, the other shots or the order of things.

    PixelFeature       arithmetic on frames (and sound), done where the file is decoded, in a worker process
    EmbeddingFeature   rows of a backbone: views are made in the worker, the model runs on large batches across stories

Shape letters used below
    T frames of the shot    H, W rows and columns    C channels    N samples    V views    D embedding width
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.regions import ShotRegions
from animeshooter_hf.eval.views import View

__all__ = ["EmbeddingFeature", "PixelFeature", "ShotFacts", "ShotMedia"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotFacts:
    """What is known of a shot before a pixel of it is decoded."""

    num_frames: int
    """T."""

    frame_rate: float
    """Frames per second; the mean where it varies."""

    has_sound: bool = False
    """Whether there is a sound track, in the file or beside it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShotMedia:
    """What a feature gets to see."""

    facts: ShotFacts
    """As they were given to `frames_wanted`."""

    frames: Mapping[int, NDArray[np.uint8]]
    """Ordinal -> RGB of shape (H, W, 3); at least the frames wanted. A reference is frame 0, and may have alpha."""

    sound: NDArray[np.float32] | None = None
    """Shape (C, N), the whole shot, nominally in [-1, 1]; None where there is none or the feature wants none."""

    sample_rate: int = 0
    """Samples per second of `sound`."""

    regions: ShotRegions = field(default_factory=dict)
    """Where characters are; empty if unknown."""

    memo: dict[Hashable, Any] = field(default_factory=dict)
    """What several features of one shot make of its frames, such as views, so that it is made once; see `shared`."""


class _Feature(ABC):
    """What both kinds share."""

    name: str
    """Key of the arrays, such as "motion"; unique among the features of a run."""

    wants_sound: bool = False
    """Whether `sound` must be there."""

    uses_regions: bool = True
    """Whether `regions` matter. False: they are left out, and shots that differ in them only share their arrays."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Everything that changes a number of the arrays, regions and shot apart."""

    @abstractmethod
    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """Return the ordinals of the frames to decode and convert, ascending, without repeats."""


class PixelFeature(_Feature):
    """Arithmetic on frames and sound. Instances are pickled to workers: settings only."""

    @abstractmethod
    def extract(self, media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """Return named arrays of numbers (float32, float64, int64, uint8).

        Raises:
            InputError: If the shot does not allow it; the reason is kept, and counted as a failure of this feature.
        """


class EmbeddingFeature(_Feature):
    """Rows of a backbone."""

    backbone: Backbone
    """Who encodes."""

    kind: Kind
    """Identity or look."""

    @abstractmethod
    def views(self, media: ShotMedia) -> Sequence[View]:
        """Return the views to encode, in an order that `arrays` understands.

        Raises:
            InputError: As in `PixelFeature.extract`.
        """

    @abstractmethod
    def arrays(self, rows_VD: NDArray[np.float32], media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """Return named arrays from the rows of the views, which have unit length.

        `media` is the one given to `views` with its frames and sound left out.
        """
