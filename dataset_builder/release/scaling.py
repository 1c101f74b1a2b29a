"""Masks of another size than the video: scaled where both have the same shape, left alone where they do not.

A mask of 720x720 for a video of 1280x720 was made on a picture that was squeezed or cut, nobody says which; scaled to
the video it would show something else.
"""

from dataclasses import replace

import cv2
import numpy as np

from animeshooter_hf.dataset_builder.release.values import Place
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story

__all__ = ["ASPECT_TOLERANCE", "fit_masks", "has_same_aspect", "scale_mask"]

ASPECT_TOLERANCE = 0.01
"""Relative difference of width by height that counts as the same. Our choice: small videos have their sides rounded to
even numbers, such as 426x240 for 16:9 (0.2 %); 4:3 and 16:9 differ by 33 %."""


def has_same_aspect(mask: RleMask, height: int, width: int) -> bool:
    """Return whether a mask has the shape of a picture, whatever its size."""
    return abs(mask.width * height - mask.height * width) <= ASPECT_TOLERANCE * mask.height * width


def scale_mask(mask: RleMask, height: int, width: int) -> RleMask:
    """Return the mask at another size: each pixel takes the nearest one (pixel centres as in a picture).

    Raises:
        ValueError: If the counts are no COCO runs.
    """
    inside = mask.to_array().astype(np.uint8)
    scaled = cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return RleMask.from_array(scaled > 0)


def fit_masks(story: Story, height: int, width: int, place: Place) -> Story:
    """Return the story with its masks at the size of its video, where they have the video's shape.

    Args:
        story: A story.
        height: Rows of the video, in pixels.
        width: Columns of the video, in pixels.
        place: Where scaled masks, and those of another shape, are reported.
    """
    references = []
    for reference in story.references:
        mask = reference.mask
        if mask is not None and (mask.height, mask.width) != (height, width):
            is_same = has_same_aspect(mask, height, width)
            where = f"frame {reference.frame_index}: {mask.height}x{mask.width}"
            detail = f"{where}, the video has {height}x{width} (height x width)"
            place.report("mask_scaled" if is_same else "mask_size_differs", detail)
            if is_same:
                reference = replace(reference, mask=scale_mask(mask, height, width))
        references.append(reference)
    return replace(story, references=tuple(references)) if references != list(story.references) else story
