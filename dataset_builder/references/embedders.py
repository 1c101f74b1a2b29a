"""Turn cut-outs into vectors for `linking.py`: colour histograms without a download, or a user's own backbone.

classical     histograms of the chroma plane, in three bands from top to bottom: hair, clothes and legs stay apart.
              It knows colour only; two figures of the same colours are one to it
transformers  CLIP, SigLIP, DINOv2 and their kin, from a folder or a Hub ID
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.linking import Cutout, ImageEmbedder
from animeshooter_hf.dataset_builder.references.pictures import cut_out
from animeshooter_hf.dataset_builder.references.pretrained import load_pretrained, weights_key
from animeshooter_hf.errors import InputError

__all__ = ["ClassicalEmbedder", "EmbedderConfig", "TransformersEmbedder", "open_configured", "open_embedder"]

CLASSICAL_THRESHOLD = 0.95
"""From which likeness on "classical" sees one character in two."""

_CLASSICAL_VERSION = 1
_BINS = 25
_BLUR_BINS = 0.6
_CHROMA_RANGE = (-100.0, 100.0)
_LONG_SIDE = 180
_BANDS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedderConfig:
    """Who makes vectors of cut-outs, and from which likeness on two characters are taken for one."""

    name: str = "classical"
    """"classical", or the folder or Hub ID of a backbone."""

    threshold: float | None = None
    """Least mean similarity of two characters that are one, -1 to 1. None: the embedder's own, which only "classical"
    has; it was measured on toon films (benchmarks/linking.py)."""

    revision: str | None = None
    """Commit, branch or tag on the Hub."""

    device: str = "auto"
    """"auto" (a GPU if there is one), "cpu", "cuda" ..."""

    dtype: str = "float32"
    """Type of the weights."""

    max_cutouts: int = 8
    """Most cut-outs of a character and story, evenly over its references. Our choice."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("The embedder needs a name: 'classical', or the folder or Hub ID of a backbone.")
        if self.threshold is None and self.name != "classical":
            raise InputError(
                f"Nobody has measured from which likeness on {self.name} sees one character in two; "
                "set a threshold, such as --identities ORG/NAME=0.8."
            )
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"The threshold of linking must lie in -1 to 1, got {self.threshold}.")
        if self.max_cutouts < 1:
            raise InputError(f"max_cutouts must be at least 1, got {self.max_cutouts}.")

    @property
    def link_threshold(self) -> float:
        """The threshold that counts."""
        return self.threshold if self.threshold is not None else CLASSICAL_THRESHOLD

    def key(self) -> dict[str, Any]:
        """Return as JSON values what the vectors depend on: no threshold, no device, weights by content."""
        if self.name == "classical":
            weights = f"classical {_CLASSICAL_VERSION}"
        else:
            weights = weights_key(self.name, self.revision)
        return {"weights": weights, "dtype": self.dtype, "max_cutouts": self.max_cutouts}


class ClassicalEmbedder:
    """Square roots of colour histograms, so that a dot product is the Hellinger affinity."""

    name = "classical"
    default_threshold: float | None = CLASSICAL_THRESHOLD

    def settings_key(self) -> Mapping[str, Any]:
        """Return the name with its version."""
        return {"name": self.name, "version": _CLASSICAL_VERSION}

    def embed(self, cutouts: Sequence[Cutout]) -> NDArray[np.float32]:
        """Return a row of unit length for each cut-out, shape (len(cutouts), 1875)."""
        if not cutouts:
            return np.zeros((0, _BANDS * _BINS**2), np.float32)
        return np.stack([_describe(cutout) for cutout in cutouts]).astype(np.float32)


class TransformersEmbedder:
    """The image features of a backbone of transformers: projected ones of CLIP and its kin, else the pooled output."""

    name = "transformers"
    default_threshold: float | None = None

    def __init__(
        self,
        checkpoint: str,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 16,
    ) -> None:
        """Load a backbone.

        Args:
            checkpoint: Folder or Hub ID.
            revision: Commit, branch or tag on the Hub.
            device: "auto", "cpu", "cuda" ...
            dtype: Type of the weights.
            batch_size: Cut-outs that are embedded at once.

        Raises:
            InputError: If it is not there, cannot be read, or lacks weights.
        """
        self._backbone = load_pretrained(
            "AutoModel", "AutoImageProcessor", checkpoint, revision=revision, device=device, dtype=dtype
        )
        self._batch_size = batch_size

    def settings_key(self) -> Mapping[str, Any]:
        """Return the weights."""
        return {"name": self.name, "weights": self._backbone.key}

    def embed(self, cutouts: Sequence[Cutout]) -> NDArray[np.float32]:
        """Return a row of unit length for each cut-out, shape (len(cutouts), D)."""
        import torch

        pictures = [_square(cut_out(cutout.image, cutout.mask)) for cutout in cutouts]
        rows = []
        with torch.inference_mode():
            for start in range(0, len(pictures), self._batch_size):
                part = pictures[start : start + self._batch_size]
                inputs = self._backbone.to_inputs(self._backbone.processor(images=part, return_tensors="pt"))
                model = self._backbone.model
                outputs = (model.get_image_features if hasattr(model, "get_image_features") else model)(**inputs)
                rows.append(torch.nn.functional.normalize(outputs.pooler_output.float(), dim=-1).cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, 0), np.float32)


def open_embedder(checkpoint: str, **options: Any) -> ImageEmbedder:
    """Return "classical", or the backbone of a folder or Hub ID with the options of `TransformersEmbedder`."""
    return ClassicalEmbedder() if checkpoint == "classical" else TransformersEmbedder(checkpoint, **options)


def open_configured(config: EmbedderConfig) -> ImageEmbedder:
    """Return the embedder of a config, with its weights loaded.

    Raises:
        InputError: If a backbone is not there, cannot be read, or lacks weights.
        MissingExtraError: If the libraries that it needs are not installed.
    """
    if config.name == "classical":
        return ClassicalEmbedder()
    return open_embedder(config.name, revision=config.revision, device=config.device, dtype=config.dtype)


def _describe(cutout: Cutout) -> NDArray[np.float64]:
    """Return the histograms of the bands, one after the other, as a vector of unit length."""
    rows, columns = np.flatnonzero(cutout.mask.any(1)), np.flatnonzero(cutout.mask.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    image, mask = cutout.image[part], cutout.mask[part].astype(np.uint8)
    scale = min(1.0, _LONG_SIDE / max(mask.shape))
    if scale < 1:
        size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        mask = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    low, high = _CHROMA_RANGE
    cells = np.clip((lab[..., 1:] - low) * (_BINS / (high - low)), 0, _BINS - 1).astype(np.int64)
    bins = cells[..., 0] * _BINS + cells[..., 1]
    histograms = []
    for band in np.array_split(np.arange(len(mask)), _BANDS):
        counts = np.bincount(bins[band].ravel(), weights=mask[band].ravel(), minlength=_BINS**2).astype(np.float64)
        plane = cv2.GaussianBlur(counts.reshape(_BINS, _BINS), (0, 0), _BLUR_BINS, borderType=cv2.BORDER_REFLECT)
        histograms.append(np.sqrt(plane.ravel() / max(plane.sum(), 1e-12)))
    vector = np.concatenate(histograms)
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture in the middle of a white square, so that a backbone's centre crop loses nothing."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square
