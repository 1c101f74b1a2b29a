"""The film's own masks as a segmenter: exact, for films that bring a script, such as those of the toon world."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.segmenter import FrameContext, SegmentedMask, check_request
from animeshooter_hf.dataset_builder.script.film_script import TrueMasks

__all__ = ["TruthSegmenter"]


class TruthSegmenter:
    """Looks masks up instead of looking at the frame; it needs to be told which frame it is."""

    name = "truth"
    is_exact = True

    def __init__(self, masks: TrueMasks) -> None:
        self._masks = masks

    def settings_key(self) -> Mapping[str, Any]:
        """Return the name; the masks are part of the film's script."""
        return {"name": self.name}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """See `Segmenter.segment`.

        Raises:
            ValueError: If it is not told the frame and a character for each phrase, or a mask is of another size.
        """
        check_request(image, phrases, all_phrases)
        if context is None or len(context.character_ids) != len(phrases):
            raise ValueError("The truth needs a context that names the frame and the character of each phrase.")
        found: list[list[SegmentedMask]] = []
        for character_id in context.character_ids:
            rle = self._masks.mask_at(character_id, context.frame)
            if rle is None or not rle.area:
                found.append([])
                continue
            if (rle.height, rle.width) != image.shape[:2]:
                raise ValueError(f"The script's masks are {rle.height}x{rle.width}, the frame {image.shape[:2]}.")
            found.append([SegmentedMask(mask=rle.to_array(), score=1.0)])
        return found
