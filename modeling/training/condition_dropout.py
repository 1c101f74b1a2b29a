"""Which conditions a window loses, and how they look then.

    reference    the chunk without references; no reference latents
    caption      the chunk without the shot's words
    both         the adapter's null condition in place of the MLLM's; no latents beside the shot
    context      each shot is read as the first of a story, with the references; no latents of earlier shots

The first three exclude each other; context is drawn apart from them. What a window loses, all its shots lose. Guidance
at inference needs the second and third case: without references (`reference_scale`), and the null condition.

Two remedies against exposure bias (in training the context holds true last frames, at inference the model's own) stand
here too: noise on the pictures of the context, and frames that the model made itself in their place (`OwnSamples`).

Every draw is a function of seed, step and place in the batch (`draws.py`), so a training that goes on loses the same.
Source: AnimeShooter, arXiv 2506.03126, appendix B.2: 0.05 each for reference, caption and both in single, 0.05 for both
in multi. Context dropout and the remedies are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.prompt_layout import ShotChunk
from animeshooter_hf.modeling.training.draws import sample_generator
from animeshooter_hf.modeling.training.settings import DropoutSettings

__all__ = ["NO_CAPTION", "Dropped", "OwnSample", "OwnSamples", "draw_dropout", "noisy_picture", "without_caption",
           "without_references"]  # fmt: skip

NO_CAPTION = "No caption."
"""What a chunk says whose only text is dropped, as it may not be empty. Our choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """What a window loses."""

    reference: bool = False
    """The references."""

    caption: bool = False
    """The captions. Together with `reference` it is the null condition."""

    context: bool = False
    """The earlier shots."""

    @property
    def is_null(self) -> bool:
        """Whether the condition is the null one."""
        return self.reference and self.caption


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OwnSample:
    """A last frame that the model made itself, in the place of a true one."""

    frame_HW3: NDArray[np.uint8]
    """What the context reads."""

    latents_Chw: Tensor | None = None
    """The same as latents, where the pipeline shows earlier shots that way."""


OwnSamples = Callable[[Any, int], OwnSample | None]
"""(window, shot) -> the model's own last frame of that shot, or None for the true one."""


def draw_dropout(settings: DropoutSettings, *, seed: int, step: int, position: int) -> Dropped:
    """Return what a window loses.

    Args:
        settings: How often.
        seed: Of the training.
        step: Optimizer steps before this one.
        position: Place of the window in the step's batch over all processes.
    """
    generator = sample_generator(seed, step, position, "dropout")
    share, of_context = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    until_caption = settings.reference + settings.caption
    is_both = until_caption <= share < until_caption + settings.both
    return Dropped(
        reference=share < settings.reference or is_both,
        caption=settings.reference <= share < until_caption or is_both,
        context=of_context < settings.context,
    )


def without_references(chunk: ShotChunk) -> ShotChunk:
    """Return a chunk that tells no references."""
    return ShotChunk(chunk.segments[chunk.num_reference_segments :])


def without_caption(chunk: ShotChunk) -> ShotChunk:
    """Return a chunk without the words of its shot; pictures, and the names before references, stay."""
    references = chunk.segments[: chunk.num_reference_segments]
    pictures = tuple(part for part in chunk.segments[len(references) :] if isinstance(part, Image.Image))
    told = (*references, *pictures)
    has_text = any(isinstance(part, str) for part in told)
    return replace(chunk, segments=told if has_text else (*told, NO_CAPTION))


def noisy_picture(frame_HW3: NDArray[np.uint8], deviation: float, generator: torch.Generator) -> NDArray[np.uint8]:
    """Return a picture with noise whose standard deviation, in units of 255, is drawn evenly up to this one."""
    if not deviation:
        return frame_HW3
    deviation *= float(torch.rand((), generator=generator))
    noise = torch.randn(frame_HW3.shape, generator=generator).numpy()
    return (frame_HW3 + 255 * deviation * noise).round().clip(0, 255).astype(np.uint8)
