"""From encoded stories to results: pure arithmetic, the same for any order of stories.

Source: AnimeShooter, arXiv 2506.03126, appendix C.3; what goes beyond it stands in `fidelity.py` and `consistency.py`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.aggregate import clip_similarity, mean
from animeshooter_hf.eval.consistency import scene_contrast, story_consistency
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, Encoder
from animeshooter_hf.eval.fidelity import Contrast, gallery_contrast, shot_fidelity
from animeshooter_hf.eval.fidelity import story_fidelity as fidelity_of_story
from animeshooter_hf.eval.results import MetricValue, Results, ShotScore, StoryScore
from animeshooter_hf.eval.views import VIEWS

__all__ = ["GALLERY_SIZE", "METRICS", "check_metrics", "score_stories", "signatures"]

METRICS = ("reference_fidelity", "cross_shot_consistency")
"""What can be scored."""

GALLERY_SIZE = 100
"""Most characters that serve as contrast; a hash of their names chooses them. Our choice: above it the AUC barely
moves, and the work would grow with the square of the corpus."""


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics without repeats.

    Raises:
        InputError: If there is none, or one is unknown.
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(dict.fromkeys(metrics))
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise InputError(f"There is no metric {unknown[0] if unknown else ''!r}. Metrics: {', '.join(METRICS)}.")
    return names


def signatures(encoder: Encoder, metrics: Sequence[str]) -> dict[str, str]:
    """Return metric -> what exactly is computed; numbers of different signatures must not be compared."""
    settings, backbone = encoder.settings, encoder.backbone
    sampling = f"k:{settings.frames_per_shot}{settings.sampling}"
    fidelity = f"view:{backbone.fidelity_view}|ref:{encoder.reference_background}"
    known = {
        "reference_fidelity": f"reffid|{backbone.signature}|{fidelity}|{sampling}|agg:story-mean|fp32|v1",
        "cross_shot_consistency": f"xshot|{backbone.signature}|views:{'+'.join(VIEWS)}|{sampling}|loo|fp32|v1",
    }
    return {name: known[name] for name in metrics}


def score_stories(stories: Sequence[EncodedStory], encoder: Encoder, metrics: Sequence[str]) -> Results:
    """Return all scores of encoded stories.

    Raises:
        InputError: If a metric is unknown, there is no story, or two stories share an ID.
    """
    metrics = check_metrics(metrics)
    if not stories:
        raise InputError("There is no story to score.")
    names = [story.story_id for story in stories]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"The story {twice!r} is given twice; story IDs must be unique.")
    gallery = _Gallery(stories) if "reference_fidelity" in metrics else None
    shots: list[ShotScore] = []
    scores: dict[str, dict[str, StoryScore]] = {}
    contrasts: list[Contrast] = []
    for story in stories:
        judged = _judge_story(story, gallery) if gallery is not None else []
        contrasts += [one.contrast for one in judged if one.contrast is not None]
        shots += [_shot_row(story, index, judged, metrics) for index in range(len(story.shots))]
        scores[story.story_id] = {
            name: _story_fidelity(judged) if name == "reference_fidelity" else _story_consistency(story)
            for name in metrics
        }
    corpus = {name: _corpus([scores[story.story_id][name] for story in stories]) for name in metrics}
    if "reference_fidelity" in metrics:
        for name, value in gallery_contrast(contrasts).items():
            applicable = sum(1 for story in stories if scores[story.story_id]["reference_fidelity"].n_evaluated)
            corpus["reference_fidelity"][name] = MetricValue(
                value=value,
                n_evaluated=applicable if value is not None else 0,
                n_failed=len(stories) - applicable if value is not None else 0,
                n_skipped=0 if value is not None else len(stories),
            )
    return Results(
        signatures=signatures(encoder, metrics),
        note=encoder.backbone.note,
        settings={**asdict(encoder.settings), "reference_background": encoder.reference_background},
        corpus=corpus,
        stories=scores,
        ip_ids={story.story_id: story.ip_id for story in stories},
        shots=tuple(shots),
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """One shot against its references."""

    score: float | None = None
    failed: str = ""
    skipped: str = ""
    contrast: Contrast | None = None


class _Gallery:
    """The characters of all IPs, against whom each shot is contrasted."""

    def __init__(self, stories: Sequence[EncodedStory]) -> None:
        """Take each (IP, character) with its references from the first story by ID that has them whole."""
        found: dict[tuple[str, str], NDArray[np.float32]] = {}
        for story in sorted(stories, key=lambda story: story.story_id):
            for character, rows in _references(story)[0].items():
                found.setdefault((story.ip_id, character), rows)
        chosen = sorted(found, key=lambda key: hashlib.sha256("\0".join(key).encode()).digest())[:GALLERY_SIZE]
        self._keys = sorted(chosen)
        rows_of = [found[key] for key in self._keys]
        self._starts = np.cumsum([0, *(len(rows) for rows in rows_of)])[:-1]
        self._references_RD = np.concatenate(rows_of).astype(np.float64) if rows_of else None

    def others(self, ip_id: str, frames_FD: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        """Return (name, similarity) of every character of another IP."""
        if self._references_RD is None:
            return ()
        similarity_FR = np.einsum("fd,rd->fr", frames_FD.astype(np.float64), self._references_RD)
        best = np.maximum.reduceat(clip_similarity(similarity_FR), self._starts, axis=1)
        return tuple(
            (gallery_name(*key), mean(best[:, column].tolist()))
            for column, key in enumerate(self._keys)
            if key[0] != ip_id
        )


def gallery_name(ip_id: str, character: str) -> str:
    """Return how a contrast names a character, unlike any other IP's."""
    return f"{ip_id}\0{character}"


def _references(story: EncodedStory) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Return character -> its references, and character -> why one of its references failed."""
    rows: dict[str, list[NDArray[np.float32]]] = {}
    problems: dict[str, str] = {}
    for reference in story.references:
        if reference.identity is None:
            problems.setdefault(reference.character, reference.problem)
        else:
            rows.setdefault(reference.character, []).append(reference.identity)
    return {name: np.stack(found) for name, found in rows.items() if name not in problems}, problems


def _judge_story(story: EncodedStory, gallery: _Gallery) -> list[_Judged]:
    references, problems = _references(story)
    judged = []
    for shot, scheduled in zip(story.shots, story.schedule, strict=True):
        broken = next((problems[name] for name in scheduled if name in problems), "")
        if not references and not problems:
            judged.append(_Judged(skipped="The story has no reference."))
        elif not any(name in references or name in problems for name in scheduled):
            judged.append(_Judged(skipped="Nobody who has a reference should be seen in it."))
        elif shot.identity is None or broken:
            judged.append(_Judged(failed=shot.problem or broken))
        else:
            own = shot_fidelity(shot.identity, references, scheduled)
            others = gallery.others(story.ip_id, shot.identity)
            named = tuple((gallery_name(story.ip_id, character), value) for character, value in own.items())
            contrast = Contrast(named, others) if others else None
            judged.append(_Judged(score=mean(list(own.values())), contrast=contrast))
    return judged


def _shot_row(story: EncodedStory, index: int, judged: Sequence[_Judged], metrics: Sequence[str]) -> ShotScore:
    shot: EncodedShot = story.shots[index]
    values: dict[str, float | None] = {}
    problems: dict[str, str] = {}
    if judged:
        one = judged[index]
        values["reference_fidelity"] = one.score
        values["retrieval_at_1"] = one.contrast.retrieval_at_1 if one.contrast else None
        values["margin"] = one.contrast.margin if one.contrast else None
        if one.failed or one.skipped:
            problems["reference_fidelity"] = one.failed or one.skipped
    if "cross_shot_consistency" in metrics and shot.problem:
        problems["cross_shot_consistency"] = shot.problem
    return ShotScore(
        story_id=story.story_id,
        ip_id=story.ip_id,
        shot_index=index,
        caption=story.captions[index] if story.captions else "",
        num_frames=shot.num_frames,
        values=values,
        problems=problems,
    )


def _story_fidelity(judged: Sequence[_Judged]) -> StoryScore:
    scored = [(index, one.score) for index, one in enumerate(judged) if one.score is not None]
    num_failed = sum(1 for one in judged if one.failed)
    values = fidelity_of_story(
        [index for index, _ in scored], [score for _, score in scored], is_complete=num_failed == 0
    )
    contrasts = [one.contrast for one in judged if one.contrast is not None]
    values["retrieval_at_1"] = mean([one.retrieval_at_1 for one in contrasts]) if contrasts else None
    values["margin"] = mean([one.margin for one in contrasts]) if contrasts else None
    return StoryScore(
        values=values,
        n_evaluated=len(scored),
        n_failed=num_failed,
        n_skipped=len(judged) - len(scored) - num_failed,
    )


def _story_consistency(story: EncodedStory) -> StoryScore:
    positions = [index for index, shot in enumerate(story.shots) if not shot.problem]
    values: dict[str, float | None] = {}
    rows = {}
    for view in VIEWS:
        found = [story.shots[index].look[view] for index in positions]
        rows[view] = np.stack(found) if found else np.zeros((0, 1), np.float32)
        prefix = "" if view == "full" else f"{view}_"
        values |= {prefix + name: value for name, value in story_consistency(positions, rows[view]).items()}
    scenes = story.scene_ids or (None,) * len(story.shots)
    values |= scene_contrast(positions, rows["background"], scenes)
    num_shots = len(story.shots)
    return StoryScore(values=values, n_evaluated=len(positions), n_failed=num_shots - len(positions), n_skipped=0)


def _corpus(scores: Sequence[StoryScore]) -> dict[str, MetricValue]:
    """Return each number's mean over the stories that have it."""
    corpus = {}
    for name in scores[0].values:
        found = [value for score in scores if (value := score.values[name]) is not None]
        missing = [score for score in scores if score.values[name] is None]
        num_failed = sum(1 for score in missing if score.n_failed)
        corpus[name] = MetricValue(
            value=mean(found) if found else None,
            n_evaluated=len(found),
            n_failed=num_failed,
            n_skipped=len(missing) - num_failed,
        )
    return corpus
