"""Lay out what the MLLM reads for each shot.

    shot 0      <name>: <reference image> ... <caption 0> <queries>
    shot k > 0  <last frame of shot k-1> <caption k> <queries>

`LayoutSettings` holds what may be laid out otherwise: more frames of the shot before, another caption, queries that do
not stay, a window of shots. What the options cost is measured by `benchmarks/context_cache.py --layouts`; what they are
worth can only be measured with trained weights, so the defaults are the paper's where it tells, and else the simplest.

Each segment is tokenised by itself, so that a shot's tokens do not depend on what stands before it, and texts cannot
smuggle in the model's special tokens. Images are shrunk to a fixed budget of pixels first: an oversized reference
would cost time and teach nothing.

Source: AnimeShooter, arXiv 2506.03126, section 4. Names before the references are ours; they bind each image to the
name that captions use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from diffusers.utils import logging
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Shot

__all__ = ["CaptionKind", "LayoutSettings", "ShotChunk", "build_chunk", "caption_of", "fit_image", "tokenize_text"]

logger = logging.get_logger(__name__)

CaptionKind = Literal["descriptive", "narrative", "both"]
"""Which caption of a shot the MLLM reads; where a shot lacks that one, the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutSettings:
    """How a story is laid out for the MLLM. A model has to be used with the layout that it was trained with."""

    frames_per_past_shot: int = 1
    """Frames of the shot before that a shot sees, evenly spaced and ending with the last one. Paper: 1."""

    caption: CaptionKind = "descriptive"
    """Which caption is read. Paper: descriptive in stage 2; for later stages it does not say."""

    keep_queries: bool = True
    """Whether a shot's queries stay in the context for the shots after it. Our choice; the paper does not say."""

    window_shots: int | None = None
    """Shots before it that a shot sees, besides the references; None for all, as in the paper."""

    def __post_init__(self) -> None:
        for name, value in (("frames_per_past_shot", self.frames_per_past_shot), ("window_shots", self.window_shots)):
            is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not is_number and not (name == "window_shots" and value is None):
                raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
        if self.caption not in get_args(CaptionKind):
            raise InputError(f"caption must be one of {', '.join(get_args(CaptionKind))}, got {self.caption!r}.")
        if not isinstance(self.keep_queries, bool):
            raise InputError(f"keep_queries must be true or false, got {self.keep_queries!r}.")


@dataclass(frozen=True, slots=True)
class ShotChunk:
    """What one shot adds to the context; the query tokens follow it."""

    segments: tuple[str | Image.Image, ...]
    """Texts and RGB images in the order in which they are read."""

    num_reference_segments: int = 0
    """How many of the first segments tell the references; a window of shots keeps them."""

    def __post_init__(self) -> None:
        if not 0 <= self.num_reference_segments <= len(self.segments):
            raise ValueError(f"num_reference_segments must be 0 to {len(self.segments)}, "
                             f"got {self.num_reference_segments}.")  # fmt: skip
        if not any(isinstance(segment, str) and segment.strip() for segment in self.segments):
            raise ValueError("A shot's chunk needs a text that is not empty.")

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images among the segments."""
        return tuple(segment for segment in self.segments if isinstance(segment, Image.Image))

    def after_references_of(self, first: "ShotChunk") -> "ShotChunk":
        """Return this chunk with the references of a story's first chunk before it, to open a context."""
        references = first.segments[: first.num_reference_segments]
        return ShotChunk(references + self.segments[self.num_reference_segments :], len(references))


def build_chunk(
    shot: Shot,
    *,
    references: Mapping[str, Sequence[Image.Image]],
    last_frame: NDArray[np.uint8] | None,
    max_pixels: int,
    layout: LayoutSettings = LayoutSettings(),
) -> ShotChunk:
    """Return the chunk of a shot.

    Args:
        shot: Whose caption and characters are told. Characters that the caption does not name are named before it.
        references: Name -> images; they open the story, so only the first shot tells them.
        last_frame: uint8 of shape (H, W, 3), the last frame of the shot before, or of shape (F, H, W, 3), all its
            frames, of which the layout takes what it needs; None for the first shot.
        max_pixels: Budget of each image.
        layout: How many frames and which caption.

    Raises:
        ValueError: If the first shot gets a last frame or a later one gets none, or the layout needs more frames.
    """
    if (shot.index == 0) != (last_frame is None):
        raise ValueError(f"Shot {shot.index} must {'not ' if shot.index == 0 else ''}get the last frame before it.")
    segments: list[str | Image.Image] = []
    if last_frame is None:
        for name, images in references.items():
            for image in images:
                segments += [f"{name}:", fit_image(image, max_pixels)]
    num_reference_segments = len(segments)
    if last_frame is not None:
        past = _past_frames(last_frame, layout.frames_per_past_shot)
        segments += [fit_image(Image.fromarray(frame), max_pixels) for frame in past]
    caption = caption_of(shot, layout.caption)
    unnamed = [name for name in shot.characters if name.casefold() not in caption.casefold()]
    segments.append(f"{', '.join(unnamed)}: {caption}" if unnamed else caption)
    return ShotChunk(tuple(segments), num_reference_segments)


def caption_of(shot: Shot, kind: CaptionKind = "descriptive") -> str:
    """Return the caption that the MLLM reads; where a shot lacks the one asked for, the other, or "" if it has none."""
    if kind == "both":
        return " ".join(text for text in (shot.narrative_caption, shot.descriptive_caption) if text)
    return (shot.narrative_caption or shot.caption) if kind == "narrative" else shot.caption


def _past_frames(frames: NDArray[np.uint8], number: int) -> list[NDArray[np.uint8]]:
    """Return frames of the shot before, evenly spaced and ending with the last; a shorter shot gives all it has."""
    if frames.ndim == 3:
        if number > 1:
            raise ValueError(f"The layout takes {number} frames of the shot before; give all its frames, (F, H, W, 3).")
        return [frames]
    last = len(frames) - 1
    steps = np.linspace(-1, last, number + 1)[1:].round().astype(int)
    return [frames[index] for index in sorted({max(0, int(step)) for step in steps})]


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
