"""Qwen2.5-VL, Qwen3-VL and Qwen3.5: an image is `<|vision_start|>` pads `<|vision_end|>`, positions have three axes.

The positions (M-RoPE) that these models infer for a second chunk with an image are silently wrong: they come from
`rope_deltas`, which the last call left on the model object, perhaps from another story. Here they are computed for each
chunk from 0 and moved to where the context stands, which equals the positions of one sequence; `rope_deltas` is never
touched.

Shape letters used below
    L tokens    P image patches    I images
"""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.backbones.base import Backbone, ChunkTokens, EncodedImages

__all__ = ["QwenVLBackbone"]


class QwenVLBackbone(Backbone):
    """Qwen3-VL (the default), Qwen2.5-VL and Qwen3.5, whose linear-attention state is part of the cache.

    An image costs one token per 2 x 2 patches, whatever its shape, so a budget of pixels is a budget of tokens: 196 for
    448 x 448 pixels in Qwen3-VL (patches of 16).
    """

    model_types = ("qwen3_vl", "qwen2_5_vl", "qwen3_5")

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        config, processor = self.mllm.config, self.processor.image_processor
        encoded = processor(images=list(images), return_tensors="pt")
        pixels_PC, grid_I3 = encoded["pixel_values"], encoded["image_grid_thw"]
        lengths = (grid_I3.prod(-1) // processor.merge_size**2).tolist()
        return EncodedImages(
            ids=[
                [config.vision_start_token_id, *[config.image_token_id] * length, config.vision_end_token_id]
                for length in lengths
            ],
            tensors={"pixel_values": pixels_PC, "image_grid_thw": grid_I3},
        )

    def _positions(self, tokens: ChunkTokens) -> Tensor:
        """Return the M-RoPE positions, shape (3, 1, L): time, row and column."""
        positions_31L: Tensor
        positions_31L, _ = self.mllm.model.get_rope_index(
            tokens.ids_L[None],
            mm_token_type_ids=tokens.is_image_L[None].long(),
            image_grid_thw=tokens.images.get("image_grid_thw"),
        )
        return positions_31L
