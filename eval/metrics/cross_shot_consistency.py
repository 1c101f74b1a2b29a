"""How much the shots of one story look alike: as a whole, in character, background and style.

Every number compares different shots: a story of one shot, or a character who appears once, has none, and never 1. A
high number alone is no merit, since a repeated shot has the highest; `scene_contrast` and the controls say more.
The formulas stand in `consistency.py`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.backbones.base import Backbone, load_backbone
from animeshooter_hf.eval.consistency import CONSISTENCY_NAMES, gap_means, scene_contrast, story_consistency
from animeshooter_hf.eval.encoding import EncodedStory, EncodingSettings
from animeshooter_hf.eval.fidelity import Similarity, cosine_similarity
from animeshooter_hf.eval.metrics.reference_fidelity import character_rows, found_gate, found_rate
from animeshooter_hf.eval.results import StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature
from animeshooter_hf.eval.story_metric import Direction, MetricScores, StoryMetric
from animeshooter_hf.eval.view_features import CharacterRows, LookRows, PaletteStyle, StyleRows, mean_row
from animeshooter_hf.eval.views import VIEWS

__all__ = ["CrossShotConsistency"]

_STORY_VIEWS = ("", "foreground_", "background_", "style_", "character_")
"""Prefixes of the views; that of the full frame is empty."""


def _directions() -> dict[str, Direction]:
    known: dict[str, Direction] = {}
    for prefix in _STORY_VIEWS:
        known |= {prefix + name: "none" if name == "gap_slope" else "higher" for name in CONSISTENCY_NAMES}
    return {**known, "scene_contrast": "higher", "scene_auc": "higher", "found_rate": "higher"}


class CrossShotConsistency(StoryMetric):
    """Similarity between the shots of a story, leave-one-out throughout."""

    name = "cross_shot_consistency"
    headline = "pairwise"
    directions = _directions()

    def __init__(self, settings: EncodingSettings, backbone: Backbone) -> None:
        """Load the style encoder, if one is asked for."""
        super().__init__(settings, backbone)
        self.style_backbone: Backbone | None = None
        if settings.style_backend is not None:
            self.style_backbone = load_backbone(settings.style_backend, device=settings.device, dtype=settings.dtype)

    @property
    def signature(self) -> str:
        """Backbone, views, style, sampling."""
        settings = self.settings
        sampling = f"k:{settings.frames_per_shot}{settings.sampling}"
        style = "palette@1" if self.style_backbone is None else self.style_backbone.signature
        views = f"views:{'+'.join(VIEWS)}+character|style:{style}"
        return f"xshot|{self.backbone.signature}|{views}|{sampling}|loo|fp32|v2"

    @property
    def shot_features(self) -> Sequence[PixelFeature | EmbeddingFeature]:
        """Look, style and characters."""
        sampling = (self.settings.frames_per_shot, self.settings.sampling)
        style = PaletteStyle(*sampling) if self.style_backbone is None else StyleRows(self.style_backbone, *sampling)
        return [LookRows(self.backbone, *sampling), style, CharacterRows(self.backbone, *sampling)]

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories."""
        scored = {story.story_id: self._score(story) for story in stories}
        return MetricScores(
            stories={name: score for name, (score, _, _) in scored.items()},
            shots={name: shots for name, (_, shots, _) in scored.items()},
            problems={story.story_id: [shot.problem_of("look") for shot in story.shots] for story in stories},
            gates=[found_gate(stories)],
            curves={"gap": {name: gaps for name, (_, _, gaps) in scored.items()}},
        )

    def _score(self, story: EncodedStory) -> tuple[StoryScore, list[dict[str, float | None]], list[float | None]]:
        """Return a story's numbers, those of its shots, and its similarity over distance."""
        similarity = self.backbone.similarity
        positions = [index for index, shot in enumerate(story.shots) if not shot.problem_of("look")]
        values: dict[str, float | None] = {}
        rows: dict[str, NDArray[np.float32]] = {}
        for view in VIEWS:
            rows[view] = _stacked([story.shots[index].arrays[f"look.{view}"] for index in positions])
            prefix = "" if view == "full" else f"{view}_"
            values |= {prefix + k: v for k, v in story_consistency(positions, rows[view], similarity).items()}
        values |= self._style(story)
        values |= self._characters(story)
        scenes = story.scene_ids or (None,) * len(story.shots)
        values |= scene_contrast(positions, rows["background"], scenes, similarity)
        values["found_rate"] = found_rate(story)
        score = StoryScore(
            values=values,
            n_evaluated=len(positions),
            n_failed=len(story.shots) - len(positions),
            n_skipped=0,
        )
        gaps = gap_means(positions, rows["full"], len(story.shots), similarity)
        return score, _shot_values(positions, rows["full"], len(story.shots), similarity), gaps

    def _style(self, story: EncodedStory) -> dict[str, float | None]:
        positions = [index for index, shot in enumerate(story.shots) if not shot.problem_of("style")]
        rows_SD = _stacked([story.shots[index].arrays["style.row"] for index in positions])
        similarity = cosine_similarity if self.style_backbone is None else self.style_backbone.similarity
        return {f"style_{name}": value for name, value in story_consistency(positions, rows_SD, similarity).items()}

    def _characters(self, story: EncodedStory) -> dict[str, float | None]:
        """Return the mean over the characters who were found in two shots or more; None where nobody was."""
        found: dict[str, list[tuple[int, NDArray[np.float32]]]] = {}
        for index, (shot, scheduled) in enumerate(zip(story.shots, story.schedule, strict=True)):
            for name, rows_FD in character_rows(shot).items():
                if name in scheduled and len(rows_FD) and rows_FD.mean(axis=0).any():
                    found.setdefault(name, []).append((index, mean_row(rows_FD)))
        per_character = [
            story_consistency(
                [index for index, _ in seen], np.stack([row_D for _, row_D in seen]), self.backbone.similarity
            )
            for _, seen in sorted(found.items())
        ]
        values: dict[str, float | None] = {}
        for name in CONSISTENCY_NAMES:
            known = [value for one in per_character if (value := one[name]) is not None]
            values[f"character_{name}"] = mean(known) if known else None
        return values


def _stacked(rows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.stack(rows) if rows else np.zeros((0, 1), np.float32)


def _shot_values(
    positions: Sequence[int], rows_SD: NDArray[np.float32], num_shots: int, similarity: Similarity
) -> list[dict[str, float | None]]:
    """Return per shot its mean similarity to the others; None for a shot that failed or stands alone."""
    values: list[dict[str, float | None]] = [{"to_others": None} for _ in range(num_shots)]
    if len(positions) < 2:
        return values
    similarity_SS = similarity(rows_SD, rows_SD)
    for row, position in enumerate(positions):
        values[position]["to_others"] = mean(np.delete(similarity_SS[row], row).tolist())
    return values
