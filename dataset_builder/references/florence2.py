"""Florence-2 as a segmenter: it writes the outline of a described figure as polygons.

Each phrase is one question, all of them in one batch; it has no room for the other characters of the shot, so what two
phrases both claim is settled later (`find.py`). It gives no score: the score is the mean probability of the tokens that
it wrote. Usual score threshold: 0 (no limit). Its answer is one figure of any number of polygons.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.pretrained import load_pretrained
from animeshooter_hf.dataset_builder.references.segmenter import (
    FrameContext,
    SegmentedMask,
    SegmenterConfig,
    check_request,
)

__all__ = ["Florence2Segmenter", "polygons_of"]

_CHECKPOINT = "florence-community/Florence-2-large"
_TASK = "<REFERRING_EXPRESSION_SEGMENTATION>"
_MAX_NEW_TOKENS = 1024
_BINS = 1000
_LOCATION = re.compile(r"<loc_(\d{1,4})>")


class Florence2Segmenter:
    """See the file's first lines."""

    name = "florence2"
    is_exact = False

    def __init__(self, config: SegmenterConfig, *, max_new_tokens: int = _MAX_NEW_TOKENS) -> None:
        self._config = config
        self._max_new_tokens = max_new_tokens
        self._florence = load_pretrained(
            "Florence2ForConditionalGeneration",
            "Florence2Processor",
            config.checkpoint or _CHECKPOINT,
            revision=config.revision,
            device=config.device,
            dtype=config.dtype,
        )
        self._score_threshold = config.score_threshold or 0.0

    def settings_key(self) -> Mapping[str, Any]:
        """Return the weights and the thresholds."""
        own = {"score_threshold": self._score_threshold, "max_new_tokens": self._max_new_tokens}
        return {**self._config.key(), **own, "weights": self._florence.key}

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
        found: list[list[SegmentedMask]] = []
        for text, score in self._write(image, phrases):
            mask = _fill(polygons_of(text), *image.shape[:2])
            is_found = mask.any() and score >= self._score_threshold
            found.append([SegmentedMask(mask=mask, score=score)] if is_found else [])
        return found

    def _write(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> list[tuple[str, float]]:
        """Return Florence-2's answer to each phrase, and the mean probability of its tokens."""
        import torch

        model, processor = self._florence.model, self._florence.processor
        questions = [f"{_TASK}{phrase}" for phrase in phrases]
        batch = processor(images=[image] * len(phrases), text=questions, padding=True, return_tensors="pt")
        with torch.inference_mode():
            answer = model.generate(
                **self._florence.to_inputs(batch),
                max_new_tokens=self._max_new_tokens,
                num_beams=1,
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
            )
            steps = model.compute_transition_scores(answer.sequences, answer.scores, normalize_logits=True)
        texts = processor.batch_decode(answer.sequences, skip_special_tokens=False)
        written = answer.sequences[:, -steps.shape[1] :] != processor.tokenizer.pad_token_id
        likely = (steps.float().exp().nan_to_num() * written).sum(1) / written.sum(1).clamp(min=1)
        return [(text, float(one)) for text, one in zip(texts, likely.cpu(), strict=True)]


def polygons_of(text: str) -> list[NDArray[np.float64]]:
    """Return the polygons of an answer as points (x, y) in 0 to 1, shape (points, 2); what is no polygon is left out.

    It is total, because the text comes from a model: an odd coordinate at the end is dropped, as is what has fewer
    than three points or lies outside the picture.

    Example:
        >>> polygons_of("hat<loc_0><loc_0><loc_500><loc_0><loc_500><loc_500><sep><loc_9><loc_9>")[0].shape
        (3, 2)
    """
    polygons = []
    for part in re.split(r"<sep>|</?poly>", text):
        bins = [int(number) for number in _LOCATION.findall(part)]
        points = np.array(bins[: len(bins) // 2 * 2], np.float64).reshape(-1, 2)
        if len(points) >= 3 and points.max() < _BINS:
            polygons.append((points + 0.5) / _BINS)
    return polygons


def _fill(polygons: Sequence[NDArray[np.float64]], height: int, width: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.uint8)
    for points in polygons:
        cv2.fillPoly(mask, [np.floor(points * (width, height)).astype(np.int32)], 1)
    return mask.astype(bool)
