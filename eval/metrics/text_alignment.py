"""How well every shot shows what its caption says.

Source: the cosine of a picture and its text is CLIPScore (Hessel et al., arXiv 2104.08718) without its factor and its
clipping. The contrast within the story is ours: a cosine alone depends more on the caption than on the picture. The
formulas stand in `text_scores.py`.

    caption_contrast        own caption minus the mean of the story's other captions, [-2, 2]; higher, 0 is chance
    caption_similarity      mean cosine of the frames and the own caption, [-1, 1]; higher, within one backend only
    caption_auc             share of the other captions that lie below the own one, [0, 1]; higher, .5 is chance
    caption_retrieval_at_1  whether the own caption lies above all others, [0, 1]; higher, chance is 1 / captions
    caption_probability     what a backend with a sigmoid loss (SigLIP) gives to the pair, [0, 1]; higher
    captions_truncated      share of the captions of which the backend could not read the end, [0, 1]; lower

The whole frame is compared, since captions tell of characters, place and action. A backend without text is refused
before anything is decoded. A shot without a caption is skipped; a caption that only repeats the own one is no contrast.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.results import StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature
from animeshooter_hf.eval.story_metric import Direction, MetricScores, StoryMetric
from animeshooter_hf.eval.text_scores import MAX_WORDS, match_own, match_probability, split_caption, text_similarity
from animeshooter_hf.eval.view_features import FrameRows

__all__ = ["CaptionFrames", "TextAlignment"]


class CaptionFrames(FrameRows):
    """Each frame looked at, as a whole; apart from the frames that are compared with references."""

    name = "caption_frames"


@runtime_checkable
class _CountsTokens(Protocol):
    """A backend that can tell how much of a text it reads."""

    @property
    def max_tokens(self) -> int:
        """Tokens that it reads."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text."""


@runtime_checkable
class _HasSigmoid(Protocol):
    """A backend that was trained to tell pairs from others one by one."""

    @property
    def pair_logit(self) -> tuple[float, float]:
        """By what the cosine is multiplied, and what is added, for the logit of a pair."""


class TextAlignment(StoryMetric):
    """Similarity of shots and captions, with the contrast to the story's other captions."""

    name = "text_alignment"
    headline = "caption_contrast"
    directions: ClassVar[Mapping[str, Direction]] = {
        "caption_contrast": "higher",
        "caption_similarity": "higher",
        "caption_auc": "higher",
        "caption_retrieval_at_1": "higher",
        "caption_probability": "higher",
        "captions_truncated": "lower",
    }

    def __init__(self, settings: EncodingSettings, backbone: Backbone) -> None:
        """Refuse a backend that reads no text.

        Raises:
            InputError: If it reads none.
        """
        super().__init__(settings, backbone)
        if not backbone.has_text:
            raise InputError(
                f"text_alignment needs a backend that reads text, and {backbone.name!r} reads none. "
                "Use clip or siglip2, or leave the metric out."
            )
        # Where references are compared with whole frames too, these are the same rows, made once.
        is_shared = backbone.fidelity_view == "full" and settings.fidelity_view in ("auto", "full")
        frames = FrameRows if is_shared else CaptionFrames
        self._frames = frames(backbone, "full", settings.frames_per_shot, settings.sampling)

    @property
    def signature(self) -> str:
        """Backbone, sampling, how long captions are read."""
        sampling = f"k:{self.settings.frames_per_shot}{self.settings.sampling}"
        return f"text|{self.backbone.signature}|view:full|{sampling}|captions:mean of {MAX_WORDS} words|v1"

    @property
    def shot_features(self) -> Sequence[EmbeddingFeature]:
        """Whole frames."""
        return [self._frames]

    @property
    def encodes_captions(self) -> bool:
        """It does."""
        return True

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories."""
        scores, shots, problems = {}, {}, {}
        for story in stories:
            values, reasons, num_failed = self._judge(story)
            shots[story.story_id], problems[story.story_id] = values, reasons
            scores[story.story_id] = self._story_score(story, values, num_failed)
        return MetricScores(stories=scores, shots=shots, problems=problems)

    def _judge(self, story: EncodedStory) -> tuple[list[dict[str, float | None]], list[str], int]:
        """Return per shot its numbers, and why it has none; and how many failed."""
        values: list[dict[str, float | None]] = []
        reasons: list[str] = []
        num_failed = 0
        for index, shot in enumerate(story.shots):
            failed = shot.problem_of(self._frames.name)
            has_caption = bool(story.captions) and bool(story.captions[index].strip())
            num_failed += bool(failed) and has_caption
            if not has_caption or story.caption_rows is None:
                reasons.append("The shot has no caption.")
            else:
                reasons.append(failed)
            values.append(dict.fromkeys(_SHOT_NAMES) if reasons[-1] else self._compared(story, index))
        return values, reasons, num_failed

    def _compared(self, story: EncodedStory, index: int) -> dict[str, float | None]:
        rows_FD = story.shots[index].arrays[f"{self._frames.name}.rows"]
        if story.caption_rows is None:
            return dict.fromkeys(_SHOT_NAMES)
        similarity_S = text_similarity(rows_FD, story.caption_rows)
        match = match_own(similarity_S, story.captions, index)
        probability = None
        if isinstance(self.backbone, _HasSigmoid):
            scale, bias = self.backbone.pair_logit
            own_1D = story.caption_rows[index : index + 1]
            cosines = [float(text_similarity(row_D[None], own_1D)[0]) for row_D in rows_FD]
            probability = mean([match_probability(cosine, scale, bias) for cosine in cosines])
        return {
            "caption_contrast": match.contrast,
            "caption_similarity": match.own,
            "caption_auc": match.auc,
            "caption_retrieval_at_1": match.retrieval_at_1,
            "caption_probability": probability,
        }

    def _story_score(
        self, story: EncodedStory, values: Sequence[Mapping[str, float | None]], num_failed: int
    ) -> StoryScore:
        averages: dict[str, float | None] = {}
        for name in _SHOT_NAMES:
            found = [value for shot in values if (value := shot[name]) is not None]
            averages[name] = mean(found) if found else None
        num_scored = sum(1 for shot in values if shot["caption_similarity"] is not None)
        return StoryScore(
            values={**averages, "captions_truncated": self._truncated(story)},
            n_evaluated=num_scored,
            n_failed=num_failed,
            n_skipped=len(values) - num_scored - num_failed,
        )

    def _truncated(self, story: EncodedStory) -> float | None:
        """Return the share of captions with a part that is longer than the backend reads; None if it cannot tell."""
        captions = [caption for caption in story.captions if caption.strip()]
        if not captions or not isinstance(self.backbone, _CountsTokens):
            return None
        most = self.backbone.max_tokens
        return mean([float(max(self.backbone.count_tokens(split_caption(one))) > most) for one in captions])


_SHOT_NAMES = tuple(name for name in TextAlignment.directions if name != "captions_truncated")
