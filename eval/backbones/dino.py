"""DINO, DINOv2 and DINOv3: look and identity without text.

Pooling is one of two, and never mixed, since rows of one say nothing about rows of the other:

    cls        the class token after the last norm, as VBench and EntityBench have it. A view with weights is a cut-out
               on white.
    patches    the mean of the patch tokens, each weighted by how much of the patch the view keeps; all count alike
               where the view has no weights. The registers and the class token are left out.

Sources: DINO arXiv 2104.14294 (facebook/dino-vitb16, Apache-2.0), DINOv2 arXiv 2304.07193 (facebook/dinov2-base,
Apache-2.0), DINOv3 arXiv 2508.10104 (facebook/dinov3-vitb16-pretrain-lvd1689m, a licence of its own that must be
accepted on the Hub before the weights can be fetched).

Shape letters used below
    N pictures    L tokens    P patches    D embedding width
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import Kind
from animeshooter_hf.eval.backbones.neural import NeuralBackbone, to_numpy
from animeshooter_hf.eval.backbones.preparation import read_preparation
from animeshooter_hf.eval.backbones.pretrained import find_checkpoint, load_model, pick_device
from animeshooter_hf.eval.views import View

__all__ = ["DinoBackbone", "DinoV2Backbone", "DinoV2PatchesBackbone", "DinoV3Backbone", "DinoV3PatchesBackbone"]

_MODELS = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}
"""`model_type` -> class in transformers."""


class _VisionBackbone(NeuralBackbone):
    """A vision transformer of transformers without a text side."""

    pooling = "cls"
    model_types: ClassVar[tuple[str, ...]]

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the backend with its weights."""
        checkpoint = find_checkpoint(weights or cls.source, revision)
        checkpoint.check_kind(cls.model_types)
        preparation = read_preparation(checkpoint.folder)
        place = pick_device(device)
        found = checkpoint.model_type
        options = {"add_pooling_layer": False} if found == "vit" else {}  # DINO has none; it would be random
        model = load_model(_MODELS.get(found, ""), checkpoint, cls.model_types, device=place, dtype=dtype, **options)
        rows, columns = preparation.output_size
        if cls.pooling == "patches" and (rows % model.config.patch_size or columns % model.config.patch_size):
            raise InputError(
                f"{checkpoint.folder} cuts pictures of {rows}x{columns} into patches of {model.config.patch_size}, "
                "which does not come out even; pooling over patches needs that."
            )
        return cls(model, preparation, label=checkpoint.label, device=place, dtype=dtype)

    def prepare(self, view: View, kind: Kind) -> NDArray[Any]:
        """Return the view at the model's size; with its coverage as a fourth channel where patches are pooled."""
        if self.pooling == "patches":
            return self.preparation.prepare_with_coverage(view)
        return super().prepare(view, kind)

    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        hidden_NLD = self._model(pixel_values=self._pixels(items)).last_hidden_state
        if self.pooling == "cls":
            return to_numpy(hidden_NLD[:, 0])
        tokens_NPD = to_numpy(hidden_NLD[:, 1 + getattr(self._model.config, "num_register_tokens", 0) :])
        rows_ND = np.einsum("np,npd->nd", self._patch_weights(items), tokens_NPD.astype(np.float64))
        return rows_ND.astype(np.float32)

    def _patch_weights(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """Return each patch's share of what is kept, of shape (N, P), rows first; each picture sums to 1."""
        size = self._model.config.patch_size
        coverage = np.stack([item[..., 3] for item in items]).astype(np.float64)
        count, rows, columns = coverage.shape
        patches = coverage.reshape(count, rows // size, size, columns // size, size).mean(axis=(2, 4))
        weights_NP = patches.reshape(count, -1)
        return np.asarray(weights_NP / weights_NP.sum(axis=1, keepdims=True), dtype=np.float64)


class DinoBackbone(_VisionBackbone):
    """DINO of 2021, which VBench's subject consistency uses."""

    name = "dino"
    purpose = "VBench's subject consistency"
    license = "Apache-2.0"
    source = "facebook/dino-vitb16"
    model_types = ("vit",)


class DinoV2Backbone(_VisionBackbone):
    """DINOv2, with or without registers."""

    name = "dinov2"
    purpose = "instance identity and look, without text"
    license = "Apache-2.0"
    license_is_read = True
    source = "facebook/dinov2-base"
    model_types = ("dinov2", "dinov2_with_registers")


class DinoV2PatchesBackbone(DinoV2Backbone):
    """DINOv2, patch tokens under the mask."""

    name = "dinov2-patches"
    purpose = "identity inside a mask, background outside it"
    pooling = "patches"


class DinoV3Backbone(_VisionBackbone):
    """DINOv3."""

    name = "dinov3"
    purpose = "instance identity and look, without text"
    license = "DINOv3 License (custom)"
    license_is_read = True
    is_gated = True
    source = "facebook/dinov3-vitb16-pretrain-lvd1689m"
    model_types = ("dinov3_vit",)


class DinoV3PatchesBackbone(DinoV3Backbone):
    """DINOv3, patch tokens under the mask."""

    name = "dinov3-patches"
    purpose = "identity inside a mask, background outside it"
    pooling = "patches"
