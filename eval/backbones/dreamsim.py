"""DreamSim: perceptual distance that was trained on what people call alike.

The distance is 1 - cos of centred embeddings, which is 1 - Pearson's correlation; rows here are centred and of unit
length, so their dot product is the similarity 1 - distance. The ensemble centres the three embeddings joined, not one
by one.

    dreamsim             DINO, CLIP and OpenCLIP, each ViT-B/16; the paper does not say which DreamSim it reports
    dreamsim-dino        DINO ViT-B/16
    dreamsim-clip        CLIP ViT-B/32
    dreamsim-open-clip   OpenCLIP ViT-B/32

Source: Fu et al., arXiv 2306.09344, code and weights github.com/ssundaram21/dreamsim, licence MIT. The weights are zips
on GitHub, not on the Hub: unpack one and give the folder.

Shape letters used below
    N pictures    D embedding width
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.neural import NeuralBackbone, to_numpy
from animeshooter_hf.eval.backbones.preparation import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, Preparation
from animeshooter_hf.eval.backbones.pretrained import (
    EXTRA,
    PURPOSE,
    Checkpoint,
    find_checkpoint,
    load_state,
    pick_device,
    torch_dtype,
)
from animeshooter_hf.optional import require

__all__ = ["DreamSimBackbone", "DreamSimClipBackbone", "DreamSimDinoBackbone", "DreamSimOpenClipBackbone"]

_RELEASE = "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints/dreamsim_{kind}_checkpoint.zip"
_FILES = ("*_pretrain.pth", "*_pretrain.pth.tar", "*_lora/*", "checkpoints/*.pth", "dreamsim_merged.safetensors")


class DreamSimBackbone(NeuralBackbone):
    """The ensemble."""

    name = "dreamsim"
    purpose = "perceptual likeness; the paper's second metric"
    license = "MIT"
    license_is_read = True
    source = "github.com/ssundaram21/dreamsim"
    pooling = "centred"

    kind: ClassVar[str] = "ensemble"
    """Word in the name of the zip."""

    branches: ClassVar[tuple[str, ...]] = ("dino_vitb16", "clip_vitb16", "open_clip_vitb16")
    """Networks whose embeddings are joined, in this order."""

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the backend with its weights merged."""
        cure = f"Unpack {_RELEASE.format(kind=cls.kind)} and give its folder: {cls.name}:FOLDER."
        if weights is None:
            raise InputError(f"DreamSim's weights are not on the Hub. {cure}")
        require("torch", extra=EXTRA, purpose=PURPOSE)
        from animeshooter_hf.eval.backbones.dreamsim_weights import read_dreamsim

        checkpoint = find_checkpoint(weights, revision, files=_FILES, cure=cure)
        place = pick_device(device)
        states = read_dreamsim(checkpoint, cls.branches)
        models = {branch: _build(branch, states[branch], checkpoint) for branch in cls.branches}
        sizes = {model["encoder"].image_size for model in models.values()}
        if len(sizes) != 1:
            raise InputError(f"The networks in {checkpoint.folder} want pictures of different sizes: {sorted(sizes)}.")
        for model in models.values():
            model.to(place, torch_dtype(dtype)).eval().requires_grad_(False)
        size = sizes.pop()
        return cls(models, Preparation(size=(size, size)), label=checkpoint.label, device=place, dtype=dtype)

    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        joined_ND = np.concatenate([to_numpy(self._embed_branch(branch, items)) for branch in self.branches], axis=1)
        centred_ND = joined_ND - joined_ND.mean(axis=1, keepdims=True, dtype=np.float64)
        return centred_ND.astype(np.float32)

    def _embed_branch(self, branch: str, items: Sequence[NDArray[Any]]) -> Any:
        import torch

        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if branch.startswith("dino") else (CLIP_MEAN, CLIP_STD)
        pixels = replace(self.preparation, mean=mean, std=std).normalise(items)
        model = self._model[branch]
        pixels_N3hw = torch.from_numpy(pixels).to(self._device, torch_dtype(self._dtype))
        if branch.startswith("dino"):
            return model["encoder"](pixels_N3hw, with_last_norm=False)
        return model["encoder"](pixels_N3hw, with_last_norm=True) @ model.proj


class DreamSimDinoBackbone(DreamSimBackbone):
    """One branch, DINO."""

    name = "dreamsim-dino"
    purpose = "as dreamsim, about three times as fast"
    kind = "dino_vitb16"
    branches = ("dino_vitb16",)


class DreamSimClipBackbone(DreamSimBackbone):
    """One branch, CLIP."""

    name = "dreamsim-clip"
    purpose = "as dreamsim, about three times as fast"
    kind = "clip_vitb32"
    branches = ("clip_vitb32",)


class DreamSimOpenClipBackbone(DreamSimBackbone):
    """One branch, OpenCLIP."""

    name = "dreamsim-open-clip"
    purpose = "as dreamsim, about three times as fast"
    kind = "open_clip_vitb32"
    branches = ("open_clip_vitb32",)


def _build(branch: str, state: dict[str, Any], checkpoint: Checkpoint) -> Any:
    """Return one network, with its projection where it has one. The epsilons and activations are the authors'."""
    from torch import nn

    from animeshooter_hf.eval.backbones.vision_transformer import VisionTransformer

    is_dino = branch.startswith("dino")
    encoder = VisionTransformer(state, quick_gelu=branch.startswith("clip"), epsilon=1e-6 if is_dino else 1e-5)
    model = nn.ModuleDict({"encoder": encoder})
    if not is_dino:
        if "proj" not in state:
            raise InputError(f"The checkpoint {checkpoint.folder} lacks weights: proj of {branch}.")
        projection = state.pop("proj")
        if projection.shape[0] != state["norm.weight"].shape[0] or not bool(projection.isfinite().all()):
            raise InputError(f"The checkpoint {checkpoint.folder} is broken: proj of {branch} does not fit.")
        model.register_buffer("proj", projection)
    load_state(encoder, state, checkpoint)
    return model
