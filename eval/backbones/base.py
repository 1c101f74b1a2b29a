"""What an image encoder must offer to be a scoring backend, and the list of those there are.

A backend turns views into rows of unit length whose dot product is the similarity. It says by `signature` exactly what
it is (weights with revision, version of the features), because numbers of different signatures must not be compared.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.views import View

__all__ = ["BACKBONES", "Backbone", "Kind", "load_backbone"]

Kind = Literal["identity", "look"]
"""What is compared: who it is (against a reference), or what the shot looks like (against other shots)."""

BACKBONES: dict[str, tuple[str, str]] = {
    "classical": ("animeshooter_hf.eval.backbones.classical", "ClassicalBackbone"),
}
"""Name -> (module, class). The module is imported when the backend is asked for."""


class Backbone(ABC):
    """An image encoder."""

    name: ClassVar[str]
    """What the user writes."""

    note: ClassVar[str] = ""
    """A caution that is printed beside every score; empty where there is none."""

    license: ClassVar[str]
    """Licence of the weights, or of the code where there are none."""

    fidelity_view: ClassVar[str] = "full"
    """View of a frame that is compared with a reference."""

    reference_background: ClassVar[str] = "white"
    """What stands behind a cut-out reference unless the user says otherwise."""

    long_side: ClassVar[int | None] = None
    """Pixels to which a picture's longer side is shrunk before it is weighted and encoded; None keeps it."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Name, revision and everything else that changes a number, such as "classical-ab25-lab8x16@1"."""

    @abstractmethod
    def embed(self, views: Sequence[View], kind: Kind) -> NDArray[np.float32]:
        """Return one row of unit length per view, of shape (len(views), D).

        Each row depends on its own view only, so any batching gives the same rows.
        """


def load_backbone(name: str) -> Backbone:
    """Return a backend by name.

    Raises:
        InputError: If there is none of that name.
    """
    if name not in BACKBONES:
        raise InputError(f"There is no backend {name!r}. Backends: {', '.join(BACKBONES)}.")
    module, class_name = BACKBONES[name]
    backbone: Backbone = getattr(import_module(module), class_name)()
    return backbone
