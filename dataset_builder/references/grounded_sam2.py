"""Grounding DINO and SAM 2 as a segmenter: boxes from words, masks from boxes.

Grounding DINO gets all characters of the shot in one text, "girl with red hair. old man.", as the paper lists them; a
box goes to the phrase whose words it answers best, so each figure has one name. SAM 2 encodes the frame once and gives
one mask for each box. The score is the box's times SAM 2's own estimate of its mask. Usual threshold: 0.3 on the box.
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

__all__ = ["GroundedSam2Segmenter", "join_phrases"]

_CHECKPOINT = "IDEA-Research/grounding-dino-base"
_SECOND_CHECKPOINT = "facebook/sam2.1-hiera-large"
_BOX_THRESHOLD = 0.3
_SAME_BOX = 0.7
"""Boxes of one phrase that overlap more (intersection over union) are one figure."""


class GroundedSam2Segmenter:
    """See the file's first lines."""

    name = "grounded_sam2"
    is_exact = False

    def __init__(self, config: SegmenterConfig) -> None:
        self._config = config
        self._dino = load_pretrained(
            "GroundingDinoForObjectDetection",
            "GroundingDinoProcessor",
            config.checkpoint or _CHECKPOINT,
            revision=config.revision,
            device=config.device,
            dtype="float32",  # it is the small one of the two, and its scores are compared with a threshold
        )
        self._sam2 = load_pretrained(
            "Sam2Model",
            "Sam2Processor",
            config.second_checkpoint or _SECOND_CHECKPOINT,
            revision=config.second_revision,
            device=config.device,
            dtype=config.dtype,
        )
        self._box_threshold = _BOX_THRESHOLD if config.score_threshold is None else config.score_threshold

    def settings_key(self) -> Mapping[str, Any]:
        """Return the weights of both and the thresholds."""
        weights = {"weights": self._dino.key, "second_weights": self._sam2.key}
        return {**self._config.key(), "score_threshold": self._box_threshold, **weights}

    def segment(
        self,
        image: NDArray[np.uint8],
        phrases: Sequence[str],
        *,
        all_phrases: Sequence[str],
        context: FrameContext | None = None,
    ) -> list[list[SegmentedMask]]:
        """See `Segmenter.segment`; phrases that are too long together lose their last words."""
        import torch

        check_request(image, phrases, all_phrases)
        if not phrases:
            return []
        everybody = list(dict.fromkeys(all_phrases))
        with torch.inference_mode():
            scores_QP, boxes_Q4 = self._detect(image, everybody)
            chosen = [self._choose(scores_QP, boxes_Q4, everybody.index(phrase)) for phrase in phrases]
            boxes = [boxes_Q4[query].tolist() for queries in chosen for query, _ in queries]
            masks = iter(self._masks(image, boxes) if boxes else [])
        found: list[list[SegmentedMask]] = []
        for queries in chosen:
            scored = [(score, *next(masks)) for _, score in queries]
            figures = [SegmentedMask(mask=mask, score=score * quality) for score, mask, quality in scored if mask.any()]
            found.append(sorted(figures, key=lambda figure: -figure.score))
        return found

    def _detect(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return a score for each query and phrase, (Q, P), and each query's box as x0 y0 x1 y1 in pixels, (Q, 4)."""
        model, processor = self._dino.model, self._dino.processor
        text, spans = join_phrases(processor.tokenizer, phrases, model.config.max_text_len)
        outputs = model(**self._dino.to_inputs(processor(images=image, text=text, return_tensors="pt")))
        words_QT = outputs.logits[0].float().sigmoid().cpu().numpy()
        scores_QP = np.stack([words_QT[:, start:end].max(1) for start, end in spans], axis=1)
        x, y, width, height = outputs.pred_boxes[0].float().cpu().numpy().T
        rows, columns = image.shape[:2]
        corners = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], axis=1).clip(0, 1)
        return scores_QP, corners * np.array([columns, rows, columns, rows])

    def _choose(self, scores_QP: NDArray[Any], boxes_Q4: NDArray[Any], phrase: int) -> list[tuple[int, float]]:
        """Return (query, score) of the boxes that answer a phrase best, each figure once."""
        mine = np.flatnonzero((scores_QP.argmax(1) == phrase) & (scores_QP[:, phrase] >= self._box_threshold))
        kept: list[tuple[int, float]] = []
        for query in sorted(mine.tolist(), key=lambda one: -scores_QP[one, phrase]):
            if all(_overlap(boxes_Q4[query], boxes_Q4[other]) <= _SAME_BOX for other, _ in kept):
                kept.append((query, float(scores_QP[query, phrase])))
        return kept[: self._config.max_instances]

    def _masks(self, image: NDArray[np.uint8], boxes: list[list[float]]) -> list[tuple[NDArray[np.bool_], float]]:
        """Return a mask for each box, with SAM 2's own estimate of its quality in 0 to 1."""
        import torch

        processor = self._sam2.processor
        batch = processor(images=image, input_boxes=[boxes], return_tensors="pt")
        inputs = self._sam2.to_inputs({name: batch[name] for name in ("pixel_values", "input_boxes")})
        outputs = self._sam2.model(**inputs, multimask_output=False)
        level = self._config.mask_threshold
        masks = processor.post_process_masks(
            outputs.pred_masks.float().cpu(), batch["original_sizes"], mask_threshold=float(np.log(level / (1 - level)))
        )[0]
        quality = torch.clamp(outputs.iou_scores.float(), 0, 1).cpu().numpy()[0, :, 0]
        return [(mask[0].numpy().astype(bool), float(one)) for mask, one in zip(masks, quality, strict=True)]


def join_phrases(tokenizer: Any, phrases: Sequence[str], max_tokens: int) -> tuple[str, list[tuple[int, int]]]:
    """Return one text of all phrases, and where each one's tokens stand in it, half-open.

    Grounding DINO separates phrases by full stops, so a phrase has none inside.

    Args:
        tokenizer: Of Grounding DINO.
        phrases: At least one; each loses the last words for which there is no room.
        max_tokens: Most tokens of the text.

    Raises:
        ValueError: If a phrase has no room at all.
    """
    room = (max_tokens - 2) // len(phrases) + 1  # each phrase alone counts two special tokens, and needs one full stop
    short = [fit_phrase(tokenizer, phrase.replace(".", " ").lower(), room) for phrase in phrases]
    text = ". ".join(short) + "."
    stop = tokenizer.convert_tokens_to_ids(".")
    tokens = tokenizer(text)["input_ids"]
    ends = [position for position, token in enumerate(tokens) if token == stop]
    if len(ends) != len(phrases):
        raise ValueError(f"The phrases {text[:80]!r} are read as {len(ends)}, not as {len(phrases)}.")
    return text, list(zip([1, *(end + 1 for end in ends[:-1])], ends, strict=True))


def _overlap(box: NDArray[Any], other: NDArray[Any]) -> float:
    """Return intersection over union of two boxes."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    union = float(np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / union if union > 0 else 0.0
