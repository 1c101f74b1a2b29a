"""Score how well generated shots keep the look of their reference characters.

In:  embeddings of unit length that a backend has already made; this module never loads a model.
Out: one score per shot, the story's numbers, and the contrast against other characters' references.
Source: AnimeShooter, arXiv 2506.03126, appendix C.3 (5 frames a shot, mean, HarMeanP). The contrast is ours: a
similarity alone says nothing, since a random network scores .98 against every reference.

Shape letters used below
    F frames of a shot    R references of one character    D embedding width
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import clip_similarity, harmean_p, mean, rank_auc, slope, within_sd

__all__ = ["Contrast", "Similarity", "character_similarity", "cosine_similarity", "gallery_contrast"]
__all__ += ["shot_fidelity", "story_fidelity"]

Similarity = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]
"""From rows (N, D) and (M, D) to (N, M) in [1e-6, 1], as `Backbone.similarity`."""


def cosine_similarity(left_ND: NDArray[np.float32], right_MD: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the clipped dot products of rows of unit length, shape (N, M).

    It adds in one order for any N and M, unlike a matrix product, so that no batch changes a digit.
    """
    return clip_similarity(np.einsum("nd,md->nm", left_ND.astype(np.float64), right_MD.astype(np.float64)))


def character_similarity(
    frames_FD: NDArray[np.float32], references_RD: NDArray[np.float32], similarity: Similarity = cosine_similarity
) -> float:
    """Return a shot's similarity to one character: per frame the best reference, then the mean over frames.

    Args:
        frames_FD: Rows of unit length.
        references_RD: Rows of unit length of the same width.
        similarity: How rows are compared.

    Returns:
        In [1e-6, 1]; higher is more alike.

    Raises:
        ValueError: If there is no row, or the widths differ.
    """
    if frames_FD.ndim != 2 or references_RD.ndim != 2 or not len(frames_FD) or not len(references_RD):
        raise ValueError(f"Frames and references need rows, got {frames_FD.shape} and {references_RD.shape}.")
    if frames_FD.shape[1] != references_RD.shape[1]:
        raise ValueError(f"Frames and references differ in width, got {frames_FD.shape} and {references_RD.shape}.")
    return mean([float(s) for s in similarity(frames_FD, references_RD).max(axis=1)])


def shot_fidelity(
    frames: Mapping[str, NDArray[np.float32]] | NDArray[np.float32],
    references: Mapping[str, NDArray[np.float32]],
    scheduled: Sequence[str],
    similarity: Similarity = cosine_similarity,
) -> dict[str, float]:
    """Return the similarity to each scheduled character that has a reference; the shot's score is their mean.

    Args:
        frames: Rows of unit length, shape (F, D): one array for everybody, or one for each character's own region.
        references: Character -> its references, shape (R, D).
        scheduled: Characters that the script puts into the shot.
        similarity: How rows are compared.
    """
    values = {}
    for character in dict.fromkeys(scheduled):
        if character in references:
            rows_FD = frames[character] if isinstance(frames, Mapping) else frames
            values[character] = character_similarity(rows_FD, references[character], similarity)
    return values


def story_fidelity(positions: Sequence[int], scores: Sequence[float], *, is_complete: bool) -> dict[str, float | None]:
    """Return a story's numbers from the scores of its shots.

    Args:
        positions: Index of each scored shot in the story.
        scores: Its similarity.
        is_complete: Whether no shot failed. If one did, the worst shot is unknown, so `min` and `harmean_p` are None.

    Returns:
        `mean`, `min`, `harmean_p` (higher is better), `within_sd` (lower is steadier), `slope` per shot (below 0:
        the character drifts away), `distance_mean` and `distance_harmean_p` (lower is better).
    """
    names = ("mean", "min", "harmean_p", "within_sd", "slope", "distance_mean", "distance_harmean_p")
    if not scores:
        return dict.fromkeys(names)
    average = mean(scores)
    paper = harmean_p(scores) if is_complete else None
    return {
        "mean": average,
        "min": min(scores) if is_complete else None,
        "harmean_p": paper,
        "within_sd": within_sd(scores),
        "slope": slope(positions, scores),
        "distance_mean": 1.0 - average,
        "distance_harmean_p": None if paper is None else 1.0 - paper,
    }


@dataclass(frozen=True, slots=True)
class Contrast:
    """How one shot's own characters stand against the characters of other IPs."""

    own: tuple[tuple[str, float], ...]
    """(IP and character, similarity) of each scheduled character."""

    others: tuple[tuple[str, float], ...]
    """(IP and character, similarity) of each gallery character of another IP."""

    @property
    def retrieval_at_1(self) -> float:
        """Share of the own characters that lie above every other one; a tie does not count."""
        best = max(value for _, value in self.others)
        return mean([float(value > best) for _, value in self.own])

    @property
    def margin(self) -> float:
        """Mean own similarity minus the best other one."""
        return mean([value for _, value in self.own]) - max(value for _, value in self.others)


def gallery_contrast(contrasts: Sequence[Contrast]) -> dict[str, float | None]:
    """Return `auc` over all pairs of shot and reference, and `macro_auc`, the mean over references.

    Own pairs should lie above the others: 1 is perfect, .5 is chance. None where there is no other IP. It does not
    depend on the backend's scale, so it can be compared across backends; it does depend on which IPs are scored.
    """
    own = [pair for contrast in contrasts for pair in contrast.own]
    others = [pair for contrast in contrasts for pair in contrast.others]
    areas = []
    for name in sorted({name for name, _ in own}):
        area = rank_auc([s for key, s in own if key == name], [s for key, s in others if key == name])
        if area is not None:
            areas.append(area)
    return {
        "auc": rank_auc([value for _, value in own], [value for _, value in others]),
        "macro_auc": mean(areas) if areas else None,
    }
