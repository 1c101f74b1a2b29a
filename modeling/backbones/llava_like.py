"""LLaVA, LLaVA-OneVision, InternVL and SmolVLM: images become tiles of one size, and positions have one axis.

Each processor writes out the tokens of an image itself (`replace_image_token`). What is set here is how many tiles an
image may become: a tile for every tile's area that the image really has, at least one. Images come with a fixed budget
of pixels (`fit_image`), so none costs more tokens than its budget is worth; left to themselves InternVL would cut any
image into up to 12 tiles, SmolVLM would first enlarge it to four tiles' length.

Shape letters used below
    T tiles of all images    H, W rows and columns of a tile    I images
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.backbones.base import Backbone, ChunkTokens, EncodedImages

__all__ = ["InternVLBackbone", "LlavaBackbone", "LlavaOnevisionBackbone", "SmolVLMBackbone", "TiledBackbone"]


class TiledBackbone(Backbone):
    """A family whose processor writes out the tokens of an image."""

    def _image_arguments(self, tokens: ChunkTokens) -> dict[str, Tensor]:
        """Return the pixels in the model's precision; not every vision tower converts them itself."""
        return {
            name: value.to(self.mllm.dtype) if value.is_floating_point() else value
            for name, value in tokens.images.items()
        }

    def _ids_of(self, encoded: Mapping[str, Any], num_images: int) -> list[list[int]]:
        """Return the tokens of each image, as the processor writes them out."""
        texts = [self.processor.replace_image_token(encoded, index) for index in range(num_images)]
        return [self.processor.tokenizer(text, add_special_tokens=False).input_ids for text in texts]


class LlavaBackbone(TiledBackbone):
    """LLaVA 1.5: an image is one tile, 576 tokens at 336 x 336 pixels.

    The processor crops the centre out of an image that is no square; a character at the side would be lost. So images
    are made square with grey first, as LLaVA 1.5 was trained.
    """

    model_types = ("llava",)
    opens_with_bos = True

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        crops = getattr(self.processor.image_processor, "do_center_crop", False)
        squares = [_squared(image) if crops else image for image in images]
        encoded = self.processor.image_processor(images=squares, return_tensors="pt")
        return EncodedImages(self._ids_of(encoded, len(images)), {"pixel_values": encoded["pixel_values"]})


class LlavaOnevisionBackbone(TiledBackbone):
    """LLaVA-OneVision: an image is one tile, 729 tokens at 384 x 384 pixels and one for the end of the image.

    The family cuts an image into tiles ("anyres") only where it is the only one. A story has several, and that is the
    setting for several; it is also what keeps the states of a shot the same whatever stands beside it.
    """

    model_types = ("llava_onevision",)

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        # One image by itself would be taken as the only one.
        several = [*images, *images] if len(images) == 1 else list(images)
        encoded = self.processor.image_processor(images=[several], return_tensors="pt")
        return EncodedImages(
            ids=self._ids_of(encoded, len(images)),
            tensors={
                "pixel_values": encoded["pixel_values"][: len(images)].flatten(0, 1),
                "image_sizes": encoded["image_sizes"][: len(images)],
            },
        )

    def _image_arguments(self, tokens: ChunkTokens) -> dict[str, Tensor]:
        """Return the arguments of the model, which reads "more than one image" off a number above 1."""
        arguments = super()._image_arguments(tokens)
        if arguments:
            arguments["batch_num_images"] = torch.tensor([max(2, len(arguments["image_sizes"]))])
        return arguments


class InternVLBackbone(TiledBackbone):
    """InternVL: 256 tokens for each tile of 448 x 448 pixels, and a small view of the whole beside several tiles."""

    model_types = ("internvl",)

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        processor = self.processor.image_processor
        area = processor.size["height"] * processor.size["width"]
        ids, tiles = [], []
        for image in images:
            limit = min(processor.max_patches, max(1, image.width * image.height // area))
            encoded = processor(
                images=[image], crop_to_patches=limit > 1, min_patches=1, max_patches=limit, return_tensors="pt"
            )
            encoded["num_patches"] = [int(number) for number in encoded["num_patches"]]
            ids += self._ids_of(encoded, 1)
            tiles.append(encoded["pixel_values"])
        return EncodedImages(ids, {"pixel_values": torch.cat(tiles)})


class SmolVLMBackbone(TiledBackbone):
    """SmolVLM2: 81 tokens or so for each tile, and a small view of the whole beside several tiles."""

    model_types = ("smolvlm",)

    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        processor = self.processor.image_processor
        edge = processor.max_image_size["longest_edge"]
        ids, pixels, masks = [], [], []
        for image in images:
            encoded = processor(
                images=[[image]],
                do_image_splitting=image.width * image.height >= 2 * edge * edge,
                size={"longest_edge": max(image.size)},
                return_row_col_info=True,
                return_tensors="pt",
            )
            ids += self._ids_of(encoded, 1)
            pixels.append(encoded["pixel_values"][0])
            masks.append(encoded["pixel_attention_mask"][0])
        return EncodedImages(ids, {"pixel_values": torch.cat(pixels), "pixel_attention_mask": torch.cat(masks)})

    def _image_arguments(self, tokens: ChunkTokens) -> dict[str, Tensor]:
        """Return the tiles of all images as those of one story."""
        return {name: value[None] for name, value in super()._image_arguments(tokens).items()}


def _squared(image: Image.Image) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side), (122, 116, 104))  # CLIP's mean colour
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square
