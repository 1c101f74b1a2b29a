"""Gemma 3: the parts of an image see each other both ways, so chunks cannot be appended to a cache exactly.

Its mask for images is made for one pass over everything; with a cache the states are wrong, by 0.14 on a
scale of 3.3 at toy size. The context therefore reads everything anew for each shot, with the same interface.
"""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.backbones.base import ChunkTokens, EncodedImages
from animeshooter_hf.modeling.backbones.llava_like import TiledBackbone

__all__ = ["Gemma3Backbone"]


class Gemma3Backbone(TiledBackbone):
    """Gemma 3: an image is 256 tokens, at 896 x 896 pixels; "pan and scan", which adds crops, is left off."""

    model_types = ("gemma3",)
    is_incremental = False
    opens_with_bos = True

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        processor = self.processor.image_processor
        encoded = processor(images=[[image] for image in images], do_pan_and_scan=False, return_tensors="pt")
        return EncodedImages(self._ids_of(encoded, len(images)), {"pixel_values": encoded["pixel_values"]})

    def _image_arguments(self, tokens: ChunkTokens) -> dict[str, Tensor]:
        """Return the pixels, and which tokens belong to an image."""
        return super()._image_arguments(tokens) | {"token_type_ids": tokens.is_image_L[None].long()}
