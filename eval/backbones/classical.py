"""Colour histograms as a backend that needs no download: for smoke tests and sanity checks, not for ranking.

identity   a histogram of the chroma plane (a, b) of CIE Lab, weighted by foreground and by chroma. Lightness is left
           out, since the same character stands in day and night; grey counts little, since shadows, whites and
           captions burnt into the picture are grey in every film.
look       a histogram of (L, a, b), weighted by the view only: what a shot looks like includes how dark it is.

Both are blurred by about one bin, so that a small shift of colour costs a little and not everything, and compared by
Hellinger affinity: rows hold square roots, so the dot product of two rows is sum sqrt(p q), in [0, 1].

Chosen on ten toon films and checked on four others and on the paper's demos; neighbours do alike (a blur of 4 to 6 Lab
units, 25 or 40 bins). Only colour is looked at because structure (HOG, SIFT, perceptual hashes) was found to be near
chance on the demos. Two characters of the same colours are the same to it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.remember import remembered
from animeshooter_hf.eval.views import View, lab_of

__all__ = ["ClassicalBackbone"]

_CHROMA_RANGE = (-100.0, 100.0)
"""Lab a and b that the bins span; what little lies outside counts in the outermost bin."""

_IDENTITY_BINS = 25
"""Bins of a and of b, 8 units each."""

_LOOK_BINS = (8, 16)
"""Bins of L (12.5 units each), and of a and of b (12.5 units each)."""

_CHROMA_BLUR = 5.0
"""Standard deviation of the blur over a and b, in Lab units: what a change of light moves a painted colour."""

_LIGHTNESS_BLUR = 12.0
"""Standard deviation of the blur over L, in Lab units."""

_GREY_FLOOR = 5.0
"""Added to the chroma before it weights a pixel, in Lab units: grey counts little, but not nothing."""


class ClassicalBackbone(Backbone):
    """Colour histograms. See the file's first lines."""

    name = "classical"
    note = "smoke/sanity: colour only, not for ranking"
    license = "Apache-2.0 (no weights)"
    license_is_read = True
    fidelity_view = "foreground"
    reference_background = "masked"
    long_side = 180
    runs_in_workers = True
    purpose = "smoke and sanity checks without a download"

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> "ClassicalBackbone":
        """Return the backend; it has no weights, and device and precision are nothing to it."""
        if weights is not None or revision is not None:
            raise InputError(f"The backend 'classical' has no weights to load, got {weights!r}.")
        del device, dtype
        return cls()

    @property
    def signature(self) -> str:
        """The histograms' sizes, the blur and the version."""
        lightness, chroma = _LOOK_BINS
        blur = f"s{_CHROMA_BLUR:g}-{_LIGHTNESS_BLUR:g}"
        return f"classical-ab{_IDENTITY_BINS}-lab{lightness}x{chroma}-{blur}-g{_GREY_FLOOR:g}-fg4-px{self.long_side}@1"

    def embed_prepared(self, items: Sequence[View], kind: Kind) -> NDArray[np.float32]:
        """Return square roots of colour histograms, (N, 625) for identity and (N, 2048) for look."""
        histogram = _chroma_histogram if kind == "identity" else _lab_histogram
        if not items:
            return np.zeros((0, _IDENTITY_BINS**2 if kind == "identity" else _LOOK_BINS[0] * _LOOK_BINS[1] ** 2), "f4")
        rows = [np.sqrt(histogram(view).ravel()) for view in items]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


def _chroma_histogram(view: View) -> NDArray[np.float64]:
    lab_HW3 = lab_of(view.image)
    weights = np.hypot(lab_HW3[..., 1], lab_HW3[..., 2]).ravel() + _GREY_FLOOR
    if view.weights is not None:
        weights = weights * view.weights.ravel()
    bins = _chroma_bins(lab_HW3, _IDENTITY_BINS)
    counts = np.bincount(bins, weights=weights, minlength=_IDENTITY_BINS**2).astype(np.float64)
    return _blur_chroma(counts.reshape(_IDENTITY_BINS, _IDENTITY_BINS))


def _lab_histogram(view: View) -> NDArray[np.float64]:
    steps, width = _LOOK_BINS
    bins = _look_bins(view.image)
    weights = None if view.weights is None else view.weights.ravel()
    counts = np.bincount(bins, weights=weights, minlength=steps * width**2).astype(np.float64)
    planes = np.stack([_blur_chroma(plane) for plane in counts.reshape(steps, width, width)])
    kernel = cv2.getGaussianKernel(7, _LIGHTNESS_BLUR * steps / 100.0)
    across = cv2.sepFilter2D(planes.reshape(steps, -1), -1, np.ones((1, 1)), kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(across, dtype=np.float64)


@remembered
def _look_bins(image_HW3: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the bin of every pixel; the views of one frame share them."""
    steps, width = _LOOK_BINS
    lab_HW3 = lab_of(image_HW3)
    lightness = np.clip(lab_HW3[..., 0].ravel() * (steps / 100.0), 0, steps - 1).astype(np.int64)
    return np.asarray(lightness * width**2 + _chroma_bins(lab_HW3, width), dtype=np.int64)


def _chroma_bins(lab_HW3: NDArray[np.float32], width: int) -> NDArray[np.int64]:
    low, high = _CHROMA_RANGE
    cells = np.clip((lab_HW3[..., 1:] - low) * (width / (high - low)), 0, width - 1).astype(np.int64)
    return np.asarray((cells[..., 0] * width + cells[..., 1]).ravel(), dtype=np.int64)


def _blur_chroma(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = _CHROMA_RANGE
    deviation = _CHROMA_BLUR * len(plane) / (high - low)
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), deviation, borderType=cv2.BORDER_REFLECT), dtype=np.float64)
