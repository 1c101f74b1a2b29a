"""What all backends with a network share: batches, precision, rows of unit length, and a pickle without the model.

Models are in evaluation mode and their weights ask for no gradient. Batches are of one shape; a row depends on its own
picture only.
torch is imported when a model is loaded, so that a worker which only prepares views never pays for it.

Shape letters used below
    N views or texts    D embedding width    L tokens of a text
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Backbone, Kind
from animeshooter_hf.eval.backbones.preparation import Preparation
from animeshooter_hf.eval.views import View

__all__ = ["NeuralBackbone", "to_numpy", "unit_rows"]


class NeuralBackbone(Backbone):
    """A backend with a network."""

    reference_background: ClassVar[str] = "masked"
    """The cut-out is put on the preparation's colour, in a square; a plain white one would lose its head to a crop."""

    pooling: ClassVar[str]
    """How tokens become a row; part of the signature."""

    batch_size: ClassVar[int] = 32
    """Pictures that go through the network at once. It does not change a number."""

    version: ClassVar[int] = 1
    """Goes up when the same picture gives other numbers."""

    def __init__(
        self, model: Any, preparation: Preparation, *, label: str, device: str = "cpu", dtype: str = "float32"
    ) -> None:
        """Put a loaded model behind the interface; users call `load_backbone`.

        Args:
            model: In evaluation mode, on the device.
            preparation: How its pictures are made.
            label: What the weights are, such as "openai/clip-vit-large-patch14@32bd64288804".
            device: Where it runs.
            dtype: Of its weights.
        """
        self.preparation = preparation
        self._model = model
        self._label = label
        self._device = device
        self._dtype = dtype

    @property
    def signature(self) -> str:
        """Name, weights with commit, preparation, pooling, precision and version."""
        parts = (self.name, self._label, self.preparation.signature, self.pooling, self._dtype, f"v{self.version}")
        return "|".join(parts)

    def __getstate__(self) -> Mapping[str, Any]:
        """Return everything but the model and what goes with it: a copy in a worker prepares views only."""
        left_out = ("_model", "_tokenizer", "_metric")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def prepare(self, view: View, kind: Kind) -> NDArray[Any]:
        """Return the view at the model's size."""
        del kind
        return self.preparation.prepare(view)

    def embed_prepared(self, items: Sequence[Any], kind: Kind) -> NDArray[np.float32]:
        """Return the rows of prepared views, of shape (N, D); (0, 0) for none."""
        del kind
        return self._in_batches(items, self._embed_batch)

    @abstractmethod
    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Return the rows of one batch, (N, D), of any length."""

    def _in_batches(
        self, items: Sequence[Any], embed: Callable[[Sequence[Any]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        if not items:
            return np.zeros((0, 0), np.float32)
        if "_model" not in self.__dict__:
            raise RuntimeError(f"This copy of {self.name} went through pickle without its model: it can only prepare.")
        starts = range(0, len(items), self.batch_size)
        return unit_rows(np.concatenate([embed(items[start : start + self.batch_size]) for start in starts]))

    def _pixels(self, items: Sequence[NDArray[Any]]) -> Any:
        """Return prepared views as a tensor for the model."""
        import torch

        return torch.from_numpy(self.preparation.normalise(items)).to(self._device, getattr(torch, self._dtype))


def to_numpy(tensor: Any) -> NDArray[np.float32]:
    """Return a tensor as float32 in the computer's own memory."""
    return np.asarray(tensor.detach().float().cpu().numpy(), dtype=np.float32)


def unit_rows(rows_ND: NDArray[Any]) -> NDArray[np.float32]:
    """Return rows divided by their lengths.

    Raises:
        InputError: If one is zero or not finite, since it has no direction.
    """
    rows = rows_ND.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not (lengths > 0).all():
        raise InputError("The backend returned an embedding that is zero or not finite.")
    return (rows / lengths).astype(np.float32)
