"""What an image encoder must offer to be a scoring backend, and the list of those there are.

A backend turns views into rows of unit length whose dot product is the similarity. It says by `signature` exactly what
it is (weights with revision, preprocessing, pooling, precision, version), because numbers of different signatures must
not be compared.

Work is in two halves. `prepare` is cheap, needs no model and runs where the shot is decoded; what it returns crosses
the process border. `embed_prepared` runs the model on large batches in the main process (`runs_in_workers` says whether
the workers may do it themselves). A neural backend that was pickled to a worker has left its model behind: it can
prepare views and nothing else.

Shape letters used below
    N views or texts    M rows compared with them    D embedding width
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import clip_similarity
from animeshooter_hf.eval.views import View

__all__ = ["BACKBONES", "DTYPES", "Backbone", "BackboneSpec", "Kind", "Prepared", "backbone_class", "load_backbone"]

Kind = Literal["identity", "look"]
"""What is compared: who it is (against a reference), or what the shot looks like (against other shots)."""

Prepared = View | NDArray[Any]
"""A view that is ready for the model."""

DTYPES = ("float32", "bfloat16")
"""Precisions of a neural backend."""

BACKBONES: dict[str, tuple[str, str]] = {
    "classical": ("animeshooter_hf.eval.backbones.classical", "ClassicalBackbone"),
    "clip": ("animeshooter_hf.eval.backbones.clip", "ClipBackbone"),
    "siglip2": ("animeshooter_hf.eval.backbones.siglip2", "Siglip2Backbone"),
    "dino": ("animeshooter_hf.eval.backbones.dino", "DinoBackbone"),
    "dinov2": ("animeshooter_hf.eval.backbones.dino", "DinoV2Backbone"),
    "dinov2-patches": ("animeshooter_hf.eval.backbones.dino", "DinoV2PatchesBackbone"),
    "dinov3": ("animeshooter_hf.eval.backbones.dino", "DinoV3Backbone"),
    "dinov3-patches": ("animeshooter_hf.eval.backbones.dino", "DinoV3PatchesBackbone"),
    "dreamsim": ("animeshooter_hf.eval.backbones.dreamsim", "DreamSimBackbone"),
    "dreamsim-dino": ("animeshooter_hf.eval.backbones.dreamsim", "DreamSimDinoBackbone"),
    "dreamsim-clip": ("animeshooter_hf.eval.backbones.dreamsim", "DreamSimClipBackbone"),
    "dreamsim-open-clip": ("animeshooter_hf.eval.backbones.dreamsim", "DreamSimOpenClipBackbone"),
    "ccip": ("animeshooter_hf.eval.backbones.ccip", "CcipBackbone"),
    "csd": ("animeshooter_hf.eval.backbones.csd", "CsdBackbone"),
}
"""Name -> (module, class). The module is imported when the backend is asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BackboneSpec:
    """What a user writes to name a backend: `NAME` or `NAME:REPO_OR_FOLDER[@REVISION]`."""

    name: str
    """Key of `BACKBONES`."""

    weights: str | None = None
    """Hub ID or folder; None takes the backend's own."""

    revision: str | None = None
    """Commit, branch or tag on the Hub; None takes the newest, and the commit found is recorded."""

    @classmethod
    def parse(cls, text: str) -> "BackboneSpec":
        """Return the parts of a spec; an "@" that is part of a folder's name needs none after it.

        Raises:
            InputError: If there is no such backend, or a part is empty.
        """
        name, colon, weights = text.partition(":")
        if name not in BACKBONES:
            raise InputError(f"There is no backend {name!r}. Backends: {', '.join(BACKBONES)}.")
        place, at, revision = weights.rpartition("@")
        if not at or "/" in revision or "\\" in revision:
            place, at, revision = weights, "", ""
        if (colon and not place) or (at and not revision):
            raise InputError(f"A backend is written NAME or NAME:REPO_OR_FOLDER[@REVISION], got {text!r}.")
        return cls(name=name, weights=place or None, revision=revision or None)


class Backbone(ABC):
    """An image encoder."""

    name: ClassVar[str]
    """What the user writes."""

    purpose: ClassVar[str] = ""
    """What it is good for, in a few words."""

    note: ClassVar[str] = ""
    """A caution that is printed beside every score; empty where there is none."""

    license: ClassVar[str]
    """Licence of the weights, or of the code where there are none."""

    license_is_read: ClassVar[bool] = False
    """Whether the licence was read where the weights are published; otherwise it is what we believe."""

    is_gated: ClassVar[bool] = False
    """Whether the licence must be accepted on the Hub before the weights can be fetched."""

    source: ClassVar[str] = "none"
    """Hub ID of the usual weights, or where else they are; "none" where there are no weights."""

    fidelity_view: ClassVar[str] = "full"
    """View of a frame that is compared with a reference."""

    reference_background: ClassVar[str] = "white"
    """What stands behind a cut-out reference unless the user says otherwise."""

    long_side: ClassVar[int | None] = None
    """Pixels to which a picture's longer side is shrunk before it is weighted and encoded; None keeps it."""

    runs_in_workers: ClassVar[bool] = False
    """Whether decode workers embed too. True where there is no model; a model gets large batches in one process."""

    has_text: ClassVar[bool] = False
    """Whether `embed_text` works."""

    @classmethod
    @abstractmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> "Backbone":
        """Return the backend with its weights loaded whole. See `load_backbone`."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Name, revision and everything else that changes a number, such as "classical-ab25-lab8x16@1"."""

    def prepare(self, view: View, kind: Kind) -> Prepared:
        """Return a view as the model wants it, small; cheap, and without the model."""
        del kind
        return view

    @abstractmethod
    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Return one row of unit length per item that `prepare` made, of shape (N, D).

        Each row depends on its own item only, so any batching gives the same rows.
        """

    def embed(self, views: Sequence[View], kind: Kind) -> NDArray[np.float32]:
        """Return one row of unit length per view, of shape (N, D): both halves at once."""
        return self.embed_prepared([self.prepare(view, kind) for view in views], kind)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one row of unit length per text, of shape (N, D), comparable with rows of the kind "identity".

        Raises:
            InputError: If the backend reads no text.
        """
        raise InputError(f"The backend {self.name!r} reads no text. Use clip or siglip2.")

    def similarity(self, left_ND: NDArray[np.float32], right_MD: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how alike rows are, of shape (N, M) and in [1e-6, 1]; higher is more alike."""
        # einsum adds in one order for any N and M, unlike a matrix product: no batch or gallery changes a digit.
        cosines_NM = np.einsum("nd,md->nm", left_ND.astype(np.float64), right_MD.astype(np.float64))
        return np.asarray(clip_similarity(cosines_NM))


def backbone_class(name: str) -> type[Backbone]:
    """Return the class of a backend by name; this loads neither weights nor torch.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in BACKBONES:
        raise InputError(f"There is no backend {name!r}. Backends: {', '.join(BACKBONES)}.")
    module, class_name = BACKBONES[name]
    found: type[Backbone] = getattr(import_module(module), class_name)
    return found


def load_backbone(spec: str, *, device: str = "cpu", dtype: str = "float32") -> Backbone:
    """Return a backend by `NAME` or `NAME:REPO_OR_FOLDER[@REVISION]`, its weights loaded whole.

    Args:
        spec: Without a repository or folder, the backend's usual weights.
        device: "cpu", "cuda" ...; "auto" takes a GPU if there is one.
        dtype: One of `DTYPES`.

    Raises:
        InputError: If there is no such backend, or its weights are not there, not whole or of another kind.
        MissingExtraError: If the libraries that it needs are not installed.
    """
    parts = BackboneSpec.parse(spec)
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    return backbone_class(parts.name).open(parts.weights, parts.revision, device=device, dtype=dtype)
