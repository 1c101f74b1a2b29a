"""Features and a backend for the tests of the engine; they stand in a file, since worker processes import them."""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.shot_feature import PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.views import View


class Brightness(PixelFeature):
    """The mean of each frame, of all of them."""

    name = "brightness"
    signature = "brightness@1"
    uses_regions = False

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """Every frame."""
        return range(facts.num_frames)

    def extract(self, media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """`mean`, one per frame."""
        wanted = self.frames_wanted(media.facts)
        return {"mean": np.asarray([media.frames[ordinal].mean() for ordinal in wanted])}


class Loudest(PixelFeature):
    """The largest sample; it refuses a shot without sound."""

    name = "loudest"
    signature = "loudest@1"
    wants_sound = True
    uses_regions = False

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """None."""
        return ()

    def extract(self, media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """`peak` and `rate`."""
        if media.sound is None:
            raise InputError("The shot has no sound.")
        return {"peak": np.abs(media.sound).max(), "rate": np.asarray([media.sample_rate])}


class Deadly(PixelFeature):
    """Kills its process: always on a bright shot; on a dark one, the first time that it is asked."""

    name = "deadly"
    signature = "deadly@1"
    uses_regions = False

    def __init__(self, folder: Path) -> None:
        """Remember where it leaves its marks."""
        self.folder = folder

    def frames_wanted(self, facts: ShotFacts) -> Sequence[int]:
        """The first."""
        return (0,)

    def extract(self, media: ShotMedia) -> Mapping[str, NDArray[Any]]:
        """`mean`, if the process lives."""
        mean = float(media.frames[0].mean())
        mark = self.folder / f"{mean:.6f}"
        if mean > 200 or (mean < 60 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"mean": np.asarray([mean])}


class ToyNetwork(Backbone):
    """A random projection of a tiny picture: what a neural backend looks like to the engine."""

    name = "toy"
    license = "Apache-2.0 (random weights)"
    has_text = True

    def __init__(self, seed: int = 0) -> None:
        """Make the weights."""
        self.weights = np.random.default_rng(seed).normal(size=(8 * 8 * 3, 16)).astype(np.float32)
        self.batches: list[int] = []
        self.texts: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": None, "batches": [], "texts": []}

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> "ToyNetwork":
        """Return the network."""
        return cls()

    @property
    def signature(self) -> str:
        """Its version."""
        return "toy@1"

    def prepare(self, view: View, kind: Kind) -> NDArray[np.uint8]:
        """Return the picture's tiny form."""
        rows, columns = (np.linspace(0, side - 1, 8).astype(int) for side in view.image.shape[:2])
        return view.image[rows][:, columns].copy()

    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Project; a picture that is black all over gives NaN."""
        self.batches.append(len(items))
        pixels = np.stack(items).reshape(len(items), -1).astype(np.float32)
        rows = pixels @ self.weights
        with np.errstate(invalid="ignore"):
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row that depends on the text alone."""
        self.texts += texts
        rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
