"""CLIPSeg as a segmenter: a heat map for each character, coarse but small.

The frame is encoded once. All characters of the shot are asked, and a pixel goes to the one whose map is highest there,
if it is above the threshold; so a phrase does not claim what another one fits better. CLIPSeg has no instances: there
is one mask for each phrase, and its score is the mean probability inside it. Usual score threshold: 0 (no limit), and
the mask threshold is what decides.
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

__all__ = ["ClipsegSegmenter"]

_CHECKPOINT = "CIDAS/clipseg-rd64-refined"
_MAX_TOKENS = 77


class ClipsegSegmenter:
    """See the file's first lines."""

    name = "clipseg"
    is_exact = False

    def __init__(self, config: SegmenterConfig) -> None:
        self._config = config
        self._clipseg = load_pretrained(
            "CLIPSegForImageSegmentation",
            "CLIPSegProcessor",
            config.checkpoint or _CHECKPOINT,
            revision=config.revision,
            device=config.device,
            dtype=config.dtype,
        )
        self._score_threshold = config.score_threshold or 0.0

    def settings_key(self) -> Mapping[str, Any]:
        """Return the weights and the thresholds."""
        return {**self._config.key(), "score_threshold": self._score_threshold, "weights": self._clipseg.key}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """See `Segmenter.segment`; at most one mask for each phrase."""
        check_request(image, phrases, all_phrases)
        if not phrases:
            return []
        everybody = list(dict.fromkeys(all_phrases))
        heat_PHW = self._heat(image, everybody)
        owner_HW = heat_PHW.argmax(0)
        found: list[list[SegmentedMask]] = []
        for phrase in phrases:
            number = everybody.index(phrase)
            mask = (owner_HW == number) & (heat_PHW[number] >= self._config.mask_threshold)
            score = float(heat_PHW[number][mask].mean()) if mask.any() else 0.0
            is_found = mask.any() and score >= self._score_threshold
            found.append([SegmentedMask(mask=mask, score=score)] if is_found else [])
        return found

    def _heat(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> NDArray[np.float32]:
        """Return a probability for each phrase and pixel, shape (P, height, width)."""
        import torch

        model, processor = self._clipseg.model, self._clipseg.processor
        texts = [fit_phrase(processor.tokenizer, phrase, _MAX_TOKENS) for phrase in phrases]
        with torch.inference_mode():
            pixels = self._clipseg.to_inputs(processor(images=image, return_tensors="pt"))["pixel_values"]
            text = self._clipseg.to_inputs(processor(text=texts, padding=True, return_tensors="pt"))
            vision = model.clip.vision_model(pixels, output_hidden_states=True, interpolate_pos_encoding=True)
            layers = [vision.hidden_states[layer + 1].expand(len(texts), -1, -1) for layer in model.extract_layers]
            condition = model.get_conditional_embeddings(batch_size=len(texts), **text)
            logits = model.decoder(layers, condition).logits.float()[:, None]
            full = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear", align_corners=False)
            heat: NDArray[np.float32] = full[:, 0].sigmoid().cpu().numpy()
            return heat
