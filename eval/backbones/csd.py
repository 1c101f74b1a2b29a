"""CSD (contrastive style descriptors): how alike the drawing style is, whatever is drawn.

CLIP's ViT-L/14 image side, fine-tuned, and a projection "last_layer_style".
Source: Somepalli et al., arXiv 2404.01292; weights tomg-group-umd/CSD-ViT-L, licence MIT. The authors' README says that
the published weights do not reach the paper's numbers ("We are currently investigating an issue"), so numbers by it are
comparable with each other and not with the paper's.

Shape letters used below
    N pictures    D embedding width
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.neural import NeuralBackbone, to_numpy
from animeshooter_hf.eval.backbones.preparation import Preparation
from animeshooter_hf.eval.backbones.pretrained import (
    EXTRA,
    PURPOSE,
    Checkpoint,
    find_checkpoint,
    load_state,
    pick_device,
    read_state,
    torch_dtype,
)
from animeshooter_hf.optional import require

__all__ = ["CsdBackbone"]

_FILES = ("model.safetensors", "pytorch_model.bin", "checkpoint.pth")
"""Names under which the weights are published: as safetensors, on the Hub, and by the authors' training script."""


class CsdBackbone(NeuralBackbone):
    """The style half of CSD."""

    name = "csd"
    purpose = "drawing style, whatever is drawn"
    note = "the authors say that the published CSD weights do not reach their paper's numbers"
    license = "MIT"
    license_is_read = True
    source = "tomg-group-umd/CSD-ViT-L"
    pooling = "style"

    @classmethod
    def open(cls, weights: str | None, revision: str | None, *, device: str, dtype: str) -> Self:
        """Return the backend with its weights."""
        require("torch", extra=EXTRA, purpose=PURPOSE)
        from torch import nn

        from animeshooter_hf.eval.backbones.vision_transformer import VisionTransformer

        checkpoint = find_checkpoint(weights or cls.source, revision, files=_FILES)
        place = pick_device(device)
        state = _read_csd(checkpoint)
        encoder = VisionTransformer(state, quick_gelu=True, epsilon=1e-5)
        style = state.pop("style")
        load_state(encoder, state, checkpoint)
        if style.ndim != 2 or style.shape[0] != len(encoder.norm.bias) or not bool(style.isfinite().all()):
            raise InputError(f"The checkpoint {checkpoint.folder} is broken: last_layer_style does not fit.")
        model = nn.ModuleDict({"encoder": encoder})
        model.register_buffer("style", style)
        model = model.to(place, torch_dtype(dtype)).eval().requires_grad_(False)
        size = encoder.image_size
        return cls(model, Preparation(size=size, crop=(size, size)), label=checkpoint.label, device=place, dtype=dtype)

    def _embed_batch(self, items: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        return to_numpy(self._model["encoder"](self._pixels(items), with_last_norm=True) @ self._model.style)


def _read_csd(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the image side under DINO's names, and the projection as "style"."""
    from animeshooter_hf.eval.backbones.vision_transformer import from_openai_names

    path = next((checkpoint.folder / name for name in _FILES if (checkpoint.folder / name).is_file()), None)
    if path is None:
        raise InputError(f"The checkpoint {checkpoint.folder} is not whole: it has none of {', '.join(_FILES)}.")
    raw = read_state(path)
    raw = raw.get("model_state_dict", raw)
    raw = {name.removeprefix("module."): weight for name, weight in raw.items()}
    raw.pop("last_layer_content", None)  # the content half, which nothing here asks for
    if "last_layer_style" not in raw:
        raise InputError(f"The checkpoint {checkpoint.folder} lacks weights: last_layer_style.")
    style = raw.pop("last_layer_style").float()
    foreign = sorted(name for name in raw if not name.startswith("backbone."))
    if foreign:
        raise InputError(f"The checkpoint {checkpoint.folder} holds weights that are not known, such as {foreign[0]}.")
    state = from_openai_names({name.removeprefix("backbone."): weight.float() for name, weight in raw.items()})
    return {**state, "style": style}
