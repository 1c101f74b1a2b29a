"""Score how much the shots of one story look alike.

In:  one embedding of unit length per shot and view; this module never loads a model.
Out: the story's numbers per view, and the contrast between shots of the same scene and of different ones.
No shot is ever compared with itself: a centroid that holds the shot gives unrelated pictures .71 for two shots and
.5 for four. A story of one shot has no score, which is None and not 1.

Shape letters used below
    S  shots of the story that could be encoded    D  embedding width
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean, rank_auc, slope
from animeshooter_hf.eval.fidelity import Similarity, cosine_similarity

__all__ = ["CONSISTENCY_NAMES", "gap_means", "scene_contrast", "story_consistency"]

CONSISTENCY_NAMES = ("pairwise", "adjacent", "anchor", "gap_slope", "loo_centroid")
"""Numbers of each view."""


def story_consistency(
    positions: Sequence[int], shots_SD: NDArray[np.float32], similarity: Similarity = cosine_similarity
) -> dict[str, float | None]:
    """Return a story's consistency in one view.

    Args:
        positions: Index of each row in the story, ascending; a shot that failed is missing.
        shots_SD: One row of unit length per shot.
        similarity: How rows are compared.

    Returns:
        `pairwise` mean over all pairs; `adjacent` over neighbours; `anchor` of every shot with the story's first;
        `gap_slope` of similarity per shot of distance (below 0: it decays); `loo_centroid` of every shot with the
        mean of the *others*. Higher is more alike, except for the slope. None where there is no such pair.

    Raises:
        ValueError: If there are not as many positions as rows.
    """
    if len(positions) != len(shots_SD):
        raise ValueError(f"Positions and rows must be equally many, got {len(positions)} and {len(shots_SD)}.")
    if len(positions) < 2:
        return dict.fromkeys(CONSISTENCY_NAMES)
    similarity_SS = similarity(shots_SD, shots_SD)
    pairs = list(itertools.combinations(range(len(positions)), 2))
    values = [float(similarity_SS[i, j]) for i, j in pairs]
    gaps = [positions[j] - positions[i] for i, j in pairs]
    adjacent = [value for value, gap in zip(values, gaps, strict=True) if gap == 1]
    anchor = [value for value, (i, _) in zip(values, pairs, strict=True) if positions[i] == 0]
    return {
        "pairwise": mean(values),
        "adjacent": mean(adjacent) if adjacent else None,
        "anchor": mean(anchor) if anchor else None,
        "gap_slope": slope(gaps, values),
        "loo_centroid": _leave_one_out(shots_SD, similarity),
    }


def gap_means(
    positions: Sequence[int], shots_SD: NDArray[np.float32], num_shots: int, similarity: Similarity = cosine_similarity
) -> list[float | None]:
    """Return the mean similarity of shots that lie 1, 2, ... num_shots - 1 apart; None where there is no such pair."""
    similarity_SS = similarity(shots_SD, shots_SD) if len(positions) else np.zeros((0, 0))
    values: list[list[float]] = [[] for _ in range(num_shots - 1)]
    for i, j in itertools.combinations(range(len(positions)), 2):
        values[positions[j] - positions[i] - 1].append(float(similarity_SS[i, j]))
    return [mean(found) if found else None for found in values]


def scene_contrast(
    positions: Sequence[int],
    backgrounds_SD: NDArray[np.float32],
    scene_ids: Sequence[str | None],
    similarity: Similarity = cosine_similarity,
) -> dict[str, float | None]:
    """Return how much more alike backgrounds of the same scene are than those of different scenes.

    It is about 0 both for identical shots and for noise, so repetition does not raise it.

    Args:
        positions: Index of each row in the story.
        backgrounds_SD: One row of unit length per shot, of the background view.
        scene_ids: The story's scenes by position; None where there is none.
        similarity: How rows are compared.

    Returns:
        `scene_contrast`, mean(same) - mean(different), in [-1, 1], and `scene_auc`. None unless the story has a pair
        of the same scene and a pair of different scenes.
    """
    same: list[float] = []
    different: list[float] = []
    similarity_SS = similarity(backgrounds_SD, backgrounds_SD) if len(positions) else np.zeros((0, 0))
    for i, j in itertools.combinations(range(len(positions)), 2):
        first, second = scene_ids[positions[i]], scene_ids[positions[j]]
        if first is not None and second is not None:
            (same if first == second else different).append(float(similarity_SS[i, j]))
    if not same or not different:
        return {"scene_contrast": None, "scene_auc": None}
    return {"scene_contrast": mean(same) - mean(different), "scene_auc": rank_auc(same, different)}


def _leave_one_out(shots_SD: NDArray[np.float32], similarity: Similarity) -> float:
    shots = shots_SD.astype(np.float64)
    values = []
    for index, shot in enumerate(shots):
        centroid = np.delete(shots, index, axis=0).mean(axis=0)
        length = float(np.linalg.norm(centroid))
        centroid = centroid / length if length else centroid
        values.append(float(similarity(shot[None], centroid[None])[0, 0]))
    return mean(values)
