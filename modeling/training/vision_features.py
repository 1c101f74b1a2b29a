"""What the MLLM's vision tower gives for pictures, kept apart from the reading of them.

Where the tower is frozen, a reference gives the same features in every step, and so does a last frame. They are made
for one picture at a time, which is what each family does with several anyway, and given to the model by the argument
that transformers has for it (`mm_encoder_outputs`).

Shape letters used below
    T tokens of a picture    M width of the MLLM    K layers whose features enter the MLLM deeper down (Qwen3-VL)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone
from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.training.content_marks import mark_module, mark_of, mark_picture
from animeshooter_hf.modeling.training.feature_encoders import mark_saved

__all__ = ["encoder_outputs", "mark_vision", "picture_features", "vision_mark"]

_LANGUAGE_PARTS = frozenset(("language_model", "text_model"))
"""Children of an MLLM's inner model that are no part of the vision tower."""


def vision_mark(image: Image.Image) -> str:
    """Return the mark by which `Window.vision_features` knows a picture, as `fit_image` gives it."""
    return mark_picture(image)


def mark_vision(backbone: Backbone) -> str:
    """Return the mark of the vision tower, what joins it to the language model, and the image processor.

    Raises:
        InputError: If a weight of it is trained: its features would be out of date after the first step. Or if the
            family reads the tokens of a picture in both directions (Gemma 3), which it does from pixels only.
    """
    if not backbone.is_incremental:
        raise InputError(f"Vision features of a {backbone.model_types[0]} cannot be cached: it reads pictures from "
                         "pixels only. Leave them out of the cache.")  # fmt: skip
    parts = {name: part for name, part in _inner(backbone).named_children() if name not in _LANGUAGE_PARTS}
    trained = [name for name, part in parts.items() if any(weight.requires_grad for weight in part.parameters())]
    if trained:
        raise InputError(
            f"Vision features cannot be cached: {', '.join(trained)} of the multimodal model is trained. Freeze it, or "
            "leave them out of the cache."
        )
    marks = {name: mark_module(part) for name, part in parts.items()}
    return mark_of("vision", type(backbone).__name__, marks, mark_saved(backbone.processor.image_processor))


@torch.no_grad()
def picture_features(backbone: Backbone, image: Image.Image) -> dict[str, Tensor]:
    """Return `features` of a picture, and where the family has them `deepstack` (K, T, M).

    Features have the shape (T, M), or (tiles, T, M) in a family that takes the tiles of all pictures as one tensor.
    """
    tokens = backbone.tokenize(ShotChunk(("-", image)), 0)
    arguments = {name: value.to(backbone.mllm.device) for name, value in backbone._image_arguments(tokens).items()}
    output = _inner(backbone).get_image_features(**arguments, return_dict=True)
    pooled = output.pooler_output
    found = {"features": pooled if isinstance(pooled, Tensor) and pooled.ndim == 3 else _joined(pooled)}
    if getattr(output, "deepstack_features", None) is not None:
        found["deepstack"] = torch.stack([_joined(layer) for layer in output.deepstack_features])
    return found


def encoder_outputs(pictures: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Return the `mm_encoder_outputs` of a model that reads these pictures, in the order in which they are read."""
    features: Any = [one["features"] for one in pictures]
    if features and features[0].ndim == 3:
        features = torch.cat(features)
    output = BaseModelOutputWithPooling(pooler_output=features)
    if pictures and "deepstack" in pictures[0]:
        layers = range(len(pictures[0]["deepstack"]))
        output["deepstack_features"] = [[one["deepstack"][layer] for one in pictures] for layer in layers]
    return {"image": output}


def _inner(backbone: Backbone) -> Any:
    """Return the model without its language head, under whatever wraps it."""
    model = backbone.mllm
    while not hasattr(model, "get_image_features") and isinstance(getattr(model, "model", None), nn.Module):
        model = model.model
    return getattr(model, "model", model)


def _joined(parts: Any) -> Tensor:
    """Return features of a picture's tiles as those of one picture, shape (T, M)."""
    parts = list(parts) if not isinstance(parts, Tensor) else [parts]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
