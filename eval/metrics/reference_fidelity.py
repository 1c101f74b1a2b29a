"""How well every shot keeps the look of the characters whom the script puts into it.

Source: AnimeShooter, arXiv 2506.03126, appendix C.3 (five frames a shot, mean, HarMeanP); what goes beyond it, the
contrast against other characters' references above all, stands in `fidelity.py`.

What of a frame is compared is a setting: all of it, its guessed foreground, or each character's own region. A character
who was looked for in a shot and not found makes that shot fail: it is not left out, since a system could then hide its
worst shots; `found_rate` says how often that happens.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.backbones.base import Backbone
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings
from animeshooter_hf.eval.fidelity import Contrast, Similarity, gallery_contrast, shot_fidelity
from animeshooter_hf.eval.fidelity import story_fidelity as fidelity_of_story
from animeshooter_hf.eval.results import MetricValue, StoryScore
from animeshooter_hf.eval.shot_feature import EmbeddingFeature
from animeshooter_hf.eval.story_metric import Direction, Gate, MetricScores, StoryMetric
from animeshooter_hf.eval.view_features import CharacterRows, FrameRows, ReferenceRows

__all__ = ["GALLERY_SIZE", "LOWEST_FOUND_RATE", "ReferenceFidelity", "character_rows", "found_gate", "found_rate"]
__all__ += ["count_without_reference", "reference_rows"]

GALLERY_SIZE = 100
"""Most characters that serve as contrast; a hash of their names chooses them. Our choice: above it the AUC barely
moves, and the work would grow with the square of the corpus."""

LOWEST_FOUND_RATE = 0.5
"""Below it a story is flagged: its characters are missing too often for its scores to mean much. Our choice."""


class ReferenceFidelity(StoryMetric):
    """The paper's metric, with coverage and contrast."""

    name = "reference_fidelity"
    headline = "harmean_p"
    directions: ClassVar[Mapping[str, Direction]] = {
        "mean": "higher",
        "min": "higher",
        "harmean_p": "higher",
        "within_sd": "lower",
        "slope": "none",
        "distance_mean": "lower",
        "distance_harmean_p": "lower",
        "retrieval_at_1": "higher",
        "margin": "higher",
        "found_rate": "higher",
        "characters_without_reference": "none",
        "auc": "higher",
        "macro_auc": "higher",
    }

    def __init__(self, settings: EncodingSettings, backbone: Backbone) -> None:
        """Choose the view and what stands behind a cut-out, which are the backbone's unless the user says."""
        super().__init__(settings, backbone)
        self.background = settings.reference_background or backbone.reference_background
        chosen = settings.fidelity_view
        self.plain_view = chosen if chosen in ("full", "foreground") else backbone.fidelity_view

    @property
    def signature(self) -> str:
        """Backbone, view, compositing, sampling, aggregation."""
        settings = self.settings
        view = {"auto": f"auto(character,{self.plain_view})"}.get(settings.fidelity_view, settings.fidelity_view)
        sampling = f"k:{settings.frames_per_shot}{settings.sampling}"
        where = f"view:{view}|ref:{self.background}"
        return f"reffid|{self.backbone.signature}|{where}|{sampling}|agg:story-mean|fp32|v2"

    @property
    def shot_features(self) -> Sequence[EmbeddingFeature]:
        """Frames, characters, or both, as the view asks."""
        sampling = (self.settings.frames_per_shot, self.settings.sampling)
        chosen = self.settings.fidelity_view
        plain = [] if chosen == "character" else [FrameRows(self.backbone, self.plain_view, *sampling)]
        own = [CharacterRows(self.backbone, *sampling)] if chosen in ("auto", "character") else []
        return [*plain, *own]

    @property
    def reference_features(self) -> Sequence[EmbeddingFeature]:
        """The references as composited."""
        return [ReferenceRows(self.backbone, self.background, self.plain_view)]

    def score(self, stories: Sequence[EncodedStory]) -> MetricScores:
        """Return the numbers of all stories."""
        gallery = _Gallery(stories, self.backbone.similarity)
        judged = {story.story_id: self._judge(story, gallery) for story in stories}
        scores = {
            story.story_id: _story_score(judged[story.story_id], found_rate(story), count_without_reference(story))
            for story in stories
        }
        contrasts = [one.contrast for shots in judged.values() for one in shots if one.contrast is not None]
        applicable = sum(1 for score in scores.values() if score.n_evaluated)
        return MetricScores(
            stories=scores,
            shots={story_id: [one.values for one in shots] for story_id, shots in judged.items()},
            problems={story_id: [one.failed or one.skipped for one in shots] for story_id, shots in judged.items()},
            pooled={
                name: MetricValue(
                    value=value,
                    n_evaluated=applicable if value is not None else 0,
                    n_failed=len(stories) - applicable if value is not None else 0,
                    n_skipped=0 if value is not None else len(stories),
                )
                for name, value in gallery_contrast(contrasts).items()
            },
            gates=[found_gate(stories)],
        )

    def _judge(self, story: EncodedStory, gallery: "_Gallery") -> list["_Judged"]:
        references, problems = reference_rows(story)
        judged = []
        for shot, scheduled in zip(story.shots, story.schedule, strict=True):
            broken = next((problems[name] for name in scheduled if name in problems), "")
            if not references and not problems:
                judged.append(_Judged(skipped="The story has no reference."))
            elif not any(name in references or name in problems for name in scheduled):
                who = ", ".join(dict.fromkeys(scheduled))
                skipped = f"No reference shows {who}." if who else "Nobody should be seen in it."
                judged.append(_Judged(skipped=skipped))
            else:
                present = [name for name in dict.fromkeys(scheduled) if name in references]
                frames, failed, skipped = self._frames(story, shot, present)
                if failed or broken or skipped:
                    judged.append(_Judged(failed=failed or broken, skipped="" if failed or broken else skipped))
                else:
                    judged.append(self._compared(story, frames, references, present, gallery))
        return judged

    def _frames(
        self, story: EncodedStory, shot: EncodedShot, present: Sequence[str]
    ) -> tuple[dict[str, NDArray[np.float32]], str, str]:
        """Return character -> the rows that show it; or why that failed; or why it does not apply."""
        chosen = self.settings.fidelity_view
        if chosen == "character" or (chosen == "auto" and story.has_regions):
            if problem := shot.problem_of("character"):
                return {}, problem, ""
            if not story.has_regions:
                return {}, "", "The story has no regions of characters."
            rows = character_rows(shot)
            unknown = [name for name in present if name not in rows]
            lost = [name for name in present if name in rows and not len(rows[name])]
            if lost:
                return {}, f"{lost[0]} was looked for and not found.", ""
            if unknown:
                return {}, "", f"There is no region of {unknown[0]}."
            return {name: rows[name] for name in present}, "", ""
        if problem := shot.problem_of("identity"):
            return {}, problem, ""
        return dict.fromkeys(present, shot.arrays["identity.rows"]), "", ""

    def _compared(
        self,
        story: EncodedStory,
        frames: Mapping[str, NDArray[np.float32]],
        references: Mapping[str, NDArray[np.float32]],
        present: Sequence[str],
        gallery: "_Gallery",
    ) -> "_Judged":
        own = shot_fidelity(frames, references, present, self.backbone.similarity)
        rows_FD = next(iter(frames.values()))
        if any(rows is not rows_FD for rows in frames.values()):
            rows_FD = np.concatenate(list(frames.values()))
        others = gallery.others(story.ip_id, rows_FD)
        named = tuple((gallery_name(story.ip_id, character), value) for character, value in own.items())
        return _Judged(score=mean(list(own.values())), contrast=Contrast(named, others) if others else None)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One shot against its references."""

    score: float | None = None
    failed: str = ""
    skipped: str = ""
    contrast: Contrast | None = field(default=None)

    @property
    def values(self) -> dict[str, float | None]:
        return {
            "fidelity": self.score,
            "retrieval_at_1": self.contrast.retrieval_at_1 if self.contrast else None,
            "margin": self.contrast.margin if self.contrast else None,
        }


class _Gallery:
    """The characters of all IPs, against whom each shot is contrasted."""

    def __init__(self, stories: Sequence[EncodedStory], similarity: Similarity) -> None:
        """Take each (IP, character) with its references from the first story by ID that has them whole."""
        self._similarity = similarity
        found: dict[tuple[str, str], NDArray[np.float32]] = {}
        for story in sorted(stories, key=lambda story: story.story_id):
            for character, rows in reference_rows(story)[0].items():
                found.setdefault((story.ip_id, character), rows)
        chosen = sorted(found, key=lambda key: hashlib.sha256("\0".join(key).encode()).digest())[:GALLERY_SIZE]
        self._keys = sorted(chosen)
        rows_of = [found[key] for key in self._keys]
        self._starts = np.cumsum([0, *(len(rows) for rows in rows_of)])[:-1]
        self._references_RD = np.concatenate(rows_of) if rows_of else None

    def others(self, ip_id: str, frames_FD: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        """Return (name, similarity) of every character of another IP."""
        if self._references_RD is None:
            return ()
        similarity_FR = self._similarity(frames_FD, self._references_RD)
        best = np.maximum.reduceat(similarity_FR, self._starts, axis=1)
        return tuple(
            (gallery_name(*key), mean(best[:, column].tolist()))
            for column, key in enumerate(self._keys)
            if key[0] != ip_id
        )


def gallery_name(ip_id: str, character: str) -> str:
    """Return how a contrast names a character, unlike any other IP's."""
    return f"{ip_id}\0{character}"


def character_rows(shot: EncodedShot) -> dict[str, NDArray[np.float32]]:
    """Return character -> its rows, of the characters that were looked for in a shot; no row: it was not found."""
    prefix = "character.rows/"
    return {key.removeprefix(prefix): rows for key, rows in shot.arrays.items() if key.startswith(prefix)}


def found_rate(story: EncodedStory) -> float | None:
    """Return how often a character was found where it should be seen and was looked for; None if never looked for."""
    found = []
    for shot, scheduled in zip(story.shots, story.schedule, strict=True):
        rows = character_rows(shot)
        found += [float(len(rows[name]) > 0) for name in dict.fromkeys(scheduled) if name in rows]
    return mean(found) if found else None


def found_gate(stories: Sequence[EncodedStory]) -> Gate:
    """Return the control of stories whose characters are missing too often."""
    rates = {story.story_id: found_rate(story) for story in stories}
    return Gate(
        control="low_found_rate",
        flagged={name: None if rate is None else rate < LOWEST_FOUND_RATE for name, rate in rates.items()},
        limit=f"found_rate < {LOWEST_FOUND_RATE:g}",
    )


def reference_rows(story: EncodedStory) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Return character -> its references, and character -> why one of its references failed."""
    rows: dict[str, list[NDArray[np.float32]]] = {}
    problems: dict[str, str] = {}
    for reference in story.references:
        if "reference.rows" in reference.arrays:
            rows.setdefault(reference.character, []).append(reference.arrays["reference.rows"])
        else:
            problems.setdefault(reference.character, reference.problem)
    return {name: np.concatenate(found) for name, found in rows.items() if name not in problems}, problems


def count_without_reference(story: EncodedStory) -> float | None:
    """Return how many characters should be seen and have no reference; None for a story without any reference."""
    scheduled = {name for names in story.schedule for name in names}
    return float(len(scheduled - {one.character for one in story.references})) if story.references else None


def _story_score(judged: Sequence[_Judged], found: float | None, num_unknown: float | None) -> StoryScore:
    scored = [(index, one.score) for index, one in enumerate(judged) if one.score is not None]
    num_failed = sum(1 for one in judged if one.failed)
    values = fidelity_of_story(
        [index for index, _ in scored], [score for _, score in scored], is_complete=num_failed == 0
    )
    contrasts = [one.contrast for one in judged if one.contrast is not None]
    values["retrieval_at_1"] = mean([one.retrieval_at_1 for one in contrasts]) if contrasts else None
    values["margin"] = mean([one.margin for one in contrasts]) if contrasts else None
    values["found_rate"] = found
    values["characters_without_reference"] = num_unknown if scored else None
    return StoryScore(
        values=values,
        n_evaluated=len(scored),
        n_failed=num_failed,
        n_skipped=len(judged) - len(scored) - num_failed,
    )
