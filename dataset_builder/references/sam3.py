"""SAM 3 as a segmenter: a noun phrase gives all its instances, with scores.

The frame is encoded once for all characters; each phrase is decoded alone, since SAM 3 has room for one concept of 32
tokens, so "all characters of the shot" cannot be listed. What two phrases both claim is settled later, by score
(`find.py`). The score is the instance's times that of the concept being present at all, as in SAM 3's own
post-processing. Usual threshold: 0.5, that of SAM 3's authors.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.pretrained import fit_phrase, load_pretrained
from animeshooter_hf.dataset_builder.references.segmenter import (
    FrameContext,
    SegmentedMask,
    SegmenterConfig,
    check_request,
)

__all__ = ["Sam3Segmenter"]

_CHECKPOINT = "facebook/sam3"
_SCORE_THRESHOLD = 0.5
_MAX_TOKENS = 32


class Sam3Segmenter:
    """See the file's first lines."""

    name = "sam3"
    is_exact = False

    def __init__(self, config: SegmenterConfig) -> None:
        self._config = config
        self._sam3 = load_pretrained(
            "Sam3Model",
            "Sam3Processor",
            config.checkpoint or _CHECKPOINT,
            revision=config.revision,
            device=config.device,
            dtype=config.dtype,
        )
        threshold = config.score_threshold
        self._score_threshold = _SCORE_THRESHOLD if threshold is None else threshold

    def settings_key(self) -> Mapping[str, Any]:
        """Return the weights and the thresholds."""
        return {**self._config.key(), "score_threshold": self._score_threshold, "weights": self._sam3.key}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """See `Segmenter.segment`; a phrase that is too long loses its last words."""
        import torch

        check_request(image, phrases, all_phrases)
        if not phrases:
            return []
        sam3, processor = self._sam3.model, self._sam3.processor
        with torch.inference_mode():
            pixels = self._sam3.to_inputs(processor(images=image, return_tensors="pt"))["pixel_values"]
            vision = sam3.get_vision_features(pixel_values=pixels)
            found = []
            for phrase in phrases:
                text = processor(text=fit_phrase(processor.tokenizer, phrase, _MAX_TOKENS), return_tensors="pt")
                outputs = sam3(vision_embeds=vision, **self._sam3.to_inputs(text))
                instances = processor.post_process_instance_segmentation(
                    _in_float(outputs),
                    threshold=self._score_threshold,
                    mask_threshold=self._config.mask_threshold,
                    target_sizes=[image.shape[:2]],
                )[0]
                found.append(self._best(instances))
        return found

    def _best(self, instances: Mapping[str, Any]) -> list[SegmentedMask]:
        scores = instances["scores"].cpu().numpy()
        order = np.argsort(-scores, kind="stable")[: self._config.max_instances]
        masks = instances["masks"].cpu().numpy().astype(bool)
        return [SegmentedMask(mask=masks[n], score=float(scores[n])) for n in order if masks[n].any()]


def _in_float(outputs: Any) -> Any:
    """Return what post-processing looks at in full precision, for it resizes masks."""
    for name in ("pred_logits", "pred_boxes", "pred_masks", "presence_logits"):
        if (value := getattr(outputs, name)) is not None:
            setattr(outputs, name, value.float())
    return outputs
