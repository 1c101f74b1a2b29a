"""Lay out what the MLLM reads for each shot.

    shot 0      <name>: <reference image> ... <caption 0> <queries>
    shot k > 0  <last frame of shot k-1> <caption k> <queries>

Each segment is tokenised by itself, so that a shot's tokens do not depend on what stands before it, and texts cannot
smuggle in the model's special tokens. Images are shrunk to a fixed budget of pixels first: an oversized reference
would cost time and teach nothing.

Source: AnimeShooter, arXiv 2506.03126, section 4. Names before the references are ours; they bind each image to the
name that captions use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.utils import logging
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.records import Shot

__all__ = ["ShotChunk", "build_chunk", "fit_image", "tokenize_text"]

logger = logging.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ShotChunk:
    """What one shot adds to the context; the query tokens follow it."""

    segments: tuple[str | Image.Image, ...]
    """Texts and RGB images in the order in which they are read."""

    def __post_init__(self) -> None:
        if not any(isinstance(segment, str) and segment.strip() for segment in self.segments):
            raise ValueError("A shot's chunk needs a text that is not empty.")

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images among the segments."""
        return tuple(segment for segment in self.segments if isinstance(segment, Image.Image))


def build_chunk(
    shot: Shot,
    *,
    references: Mapping[str, Sequence[Image.Image]],
    last_frame: NDArray[np.uint8] | None,
    max_pixels: int,
) -> ShotChunk:
    """Return the chunk of a shot.

    Args:
        shot: Whose caption and characters are told. Characters that the caption does not name are named before it.
        references: Name -> images; they open the story, so only the first shot tells them.
        last_frame: uint8 of shape (H, W, 3), the last frame of the shot before; None for the first shot.
        max_pixels: Budget of each image.

    Raises:
        ValueError: If the first shot gets a last frame or a later one gets none.
    """
    if (shot.index == 0) != (last_frame is None):
        raise ValueError(f"Shot {shot.index} must {'not ' if shot.index == 0 else ''}get the last frame before it.")
    segments: list[str | Image.Image] = []
    if last_frame is None:
        for name, images in references.items():
            for image in images:
                segments += [f"{name}:", fit_image(image, max_pixels)]
    else:
        segments.append(fit_image(Image.fromarray(last_frame), max_pixels))
    unnamed = [name for name in shot.characters if name.casefold() not in shot.caption.casefold()]
    segments.append(f"{', '.join(unnamed)}: {shot.caption}" if unnamed else shot.caption)
    return ShotChunk(tuple(segments))


def fit_image(image: Image.Image, max_pixels: int) -> Image.Image:
    """Return the image in RGB with at most `max_pixels` pixels and the same proportions; it is never enlarged.

    What is transparent becomes white.
    """
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB")
    width, height = image.size
    if width * height <= max_pixels:
        return image
    scale = (max_pixels / (width * height)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def tokenize_text(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Return the token IDs of a text, at most `max_tokens`; what is cut off is named in a warning.

    A special token written in the text, such as "<|image_pad|>", is read as plain characters.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    if len(ids) > max_tokens:
        logger.warning(
            f"A text of {len(ids)} tokens is cut to {max_tokens}; lost: {tokenizer.decode(ids[max_tokens:])!r}."
        )
    return ids[:max_tokens]
