"""Whether each character of a story of several is there, is only there once, and looks like itself and not another.

The regions of a shot are assigned to the scheduled characters by likeness to their references; the formulas stand in
`assignment.py`. Two ways of giving regions work, and mix:

    named     "fox": who stands there, by the truth of a toon film, a prompted segmenter or the one who made the shots;
              the name is a claim. Two who have exchanged their looks keep `assigned_fidelity` and lose the others
    unnamed   "?1", "?2": a detector found somebody. Such regions fill the schedule as well as they can

A story with fewer than two characters is skipped, as is one without regions: there is nothing to mix up. So is a shot
of which no region is told, or whose unnamed regions may be somebody without a reference. An empty list of regions
is an answer: nobody was found. `cast_fidelity`, the headline, cannot be raised by leaving characters out, by showing
more of them, or by exchanging them; a bystander whom the detector does not find is not seen here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.assignment import ASSIGNMENT_NAMES, shot_assignment
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings
from animeshooter_hf.eval.fidelity import character_similarity
from animeshooter_hf.eval.metrics.reference_fidelity import (
    character_rows,
    count_without_reference,
    found_gate,
    reference_rows,
)
from animeshooter_hf.eval.regions import is_unnamed
from animeshooter_hf.eval.results import StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature
from animeshooter_hf.eval.story_metric import Direction, MetricScores, StoryMetric
from animeshooter_hf.eval.view_features import CharacterRows, ReferenceRows

__all__ = ["CharacterAssignment"]


class CharacterAssignment(StoryMetric):
    """Identity of several characters at once. Each number of a story is the mean over its shots."""

    name = "character_assignment"
    headline = "cast_fidelity"
    directions: ClassVar[Mapping[str, Direction]] = {
        "cast_fidelity": "higher",
        "assigned_fidelity": "higher",
        "binding_accuracy": "higher",
        "swap_margin": "higher",
        "found_rate": "higher",
        "count_error": "lower",
        "unscheduled_regions": "lower",
        "characters_without_reference": "none",
    }

    def __init__(self, settings: EncodingSettings, backbone: Backbone) -> None:
        """Choose what stands behind a cut-out as reference fidelity does, so that both share their rows."""
        super().__init__(settings, backbone)
        chosen = settings.fidelity_view
        self._background = settings.reference_background or backbone.reference_background
        self._opaque_view = chosen if chosen in ("full", "foreground") else backbone.fidelity_view

    @property
    def signature(self) -> str:
        """Backbone, compositing, sampling, how regions are assigned."""
        sampling = f"k:{self.settings.frames_per_shot}{self.settings.sampling}"
        where = f"view:character|ref:{self._background}|opaque:{self._opaque_view}"
        return f"assign|{self.backbone.signature}|{where}|{sampling}|claims+hungarian|agg:story-mean|fp32|v1"

    @property
    def shot_features(self) -> Sequence[EmbeddingFeature]:
        """Each region."""
        return [CharacterRows(self.backbone, self.settings.frames_per_shot, self.settings.sampling)]

    @property
    def reference_features(self) -> Sequence[EmbeddingFeature]:
        """The references as composited."""
        return [ReferenceRows(self.backbone, self._background, self._opaque_view)]

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories; each depends on its own story only."""
        judged = {story.story_id: self._judge(story) for story in stories}
        return MetricScores(
            stories={
                story.story_id: _story_score(judged[story.story_id], count_without_reference(story))
                for story in stories
            },
            shots={story_id: [one.values for one in shots] for story_id, shots in judged.items()},
            problems={story_id: [one.failed or one.skipped for one in shots] for story_id, shots in judged.items()},
            gates=[found_gate(stories)],
        )

    def _judge(self, story: EncodedStory) -> list["_Judged"]:
        references, problems = reference_rows(story)
        if len({*references, *problems}) < 2:
            reason = "The story has fewer than two characters with a reference."
            return [_Judged.without(skipped=reason) for _ in story.shots]
        judged = []
        for shot, scheduled in zip(story.shots, story.schedule, strict=True):
            names = tuple(dict.fromkeys(scheduled))
            if problem := shot.problem_of("character"):
                judged.append(_Judged.without(failed=problem))
            elif reason := _why_skipped(shot, names, {*references, *problems}):
                judged.append(_Judged.without(skipped=reason))
            elif problems:
                judged.append(_Judged.without(failed=next(iter(problems.values()))))
            else:
                judged.append(_Judged(self._compared(shot, references, names)))
        return judged

    def _compared(
        self, shot: EncodedShot, references: Mapping[str, NDArray[np.float32]], scheduled: Sequence[str]
    ) -> dict[str, float | None]:
        found = [(name, rows_FD) for name, rows_FD in sorted(character_rows(shot).items()) if len(rows_FD)]
        characters = sorted(references)
        similarity_RC = np.zeros((len(found), len(characters)))
        for row, (_, rows_FD) in enumerate(found):
            for column, name in enumerate(characters):
                own_ND = references[name]
                similarity_RC[row, column] = character_similarity(rows_FD, own_ND, self.backbone.similarity)
        names = [None if is_unnamed(name) else name for name, _ in found]
        return shot_assignment(similarity_RC, names, characters, scheduled)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One shot."""

    values: Mapping[str, float | None]
    failed: str = ""
    skipped: str = ""

    @classmethod
    def without(cls, *, failed: str = "", skipped: str = "") -> "_Judged":
        return cls(dict.fromkeys(ASSIGNMENT_NAMES), failed, skipped)


def _why_skipped(shot: EncodedShot, scheduled: Sequence[str], drawn: set[str]) -> str:
    """Return why a shot that could be read says nothing of its cast, or ""."""
    found = character_rows(shot)
    if not scheduled:
        return "Nobody should be seen in it."
    if not drawn & set(scheduled):
        return f"No reference shows {', '.join(scheduled)}."
    if not any(is_unnamed(name) or name in scheduled for name in found):
        return "No region of it is told."
    undrawn = [name for name in scheduled if name not in drawn]
    if undrawn and any(is_unnamed(name) and len(rows) for name, rows in found.items()):
        return f"No reference shows {undrawn[0]}, who may be one of the unnamed regions."
    return ""


def _story_score(judged: Sequence[_Judged], num_undrawn: float | None) -> StoryScore:
    values: dict[str, float | None] = {}
    for name in ASSIGNMENT_NAMES:
        known = [value for one in judged if (value := one.values[name]) is not None]
        values[name] = mean(known) if known else None
    num_failed = sum(1 for one in judged if one.failed)
    num_skipped = sum(1 for one in judged if one.skipped)
    num_scored = len(judged) - num_failed - num_skipped
    values["characters_without_reference"] = num_undrawn if num_scored else None
    return StoryScore(values=values, n_evaluated=num_scored, n_failed=num_failed, n_skipped=num_skipped)
