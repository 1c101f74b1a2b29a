"""Link the characters of different stories: who is the same figure, told by looks and never by name.

IDs of characters hold within one story only: "Man" in two segments may be two men, and "grandma" and "Older Woman" one
woman. Here each character is described by the mean embedding of its cut-outs, and characters are merged from the most
alike on (average linkage), never two of the same story, down to a threshold. Optional: the result is a column beside
the dataset, and changes nothing in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.references.pictures import FramePictures
from animeshooter_hf.dataset_builder.references.verdicts import take_evenly
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import ReferenceMask

__all__ = [
    "CharacterLook",
    "Cutout",
    "IdentityLinks",
    "ImageEmbedder",
    "LinkScores",
    "describe_characters",
    "link_identities",
    "link_scores",
]

CharacterKey = tuple[str, str]
"""(story_id, character_id)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Cutout:
    """One reference of a character."""

    image: NDArray[np.uint8]
    """The frame, shape (height, width, 3), RGB."""

    mask: NDArray[np.bool_]
    """Where the character is in it, shape (height, width), not empty."""


class ImageEmbedder(Protocol):
    """Turns cut-outs into vectors."""

    name: str
    """What the user writes."""

    default_threshold: float | None
    """Similarity from which two characters are taken for one, where it has been measured; else None."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what the vectors depend on beside the cut-outs, as JSON values."""

    def embed(self, cutouts: Sequence[Cutout]) -> NDArray[np.float32]:
        """Return a row of unit length for each cut-out, shape (len(cutouts), D)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CharacterLook:
    """What a character of one story looks like."""

    story_id: str
    """Story."""

    character_id: str
    """Its name there."""

    embeddings: NDArray[np.float32]
    """A row for each of its cut-outs, shape (cut-outs, D), at least one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityLinks:
    """Who is who."""

    identities: Mapping[CharacterKey, str]
    """(story, character) -> identity. An identity is called after its first character: `STORY/CHARACTER`."""

    scores: Mapping[CharacterKey, float | None]
    """Mean similarity of a character to the others of its identity, -1 to 1; None for one that is alone."""

    threshold: float
    """Similarity from which two were taken for one."""

    def to_json(self) -> dict[str, Any]:
        """Return the links as plain JSON values, with characters written as `STORY/CHARACTER`."""
        return {
            "threshold": self.threshold,
            "identities": {f"{story}/{name}": one for (story, name), one in sorted(self.identities.items())},
            "scores": {f"{story}/{name}": one for (story, name), one in sorted(self.scores.items())},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkScores:
    """Links against the truth, over pairs of characters of different stories."""

    precision: float | None
    """Linked pairs that are the same figure; None where nothing is linked."""

    recall: float | None
    """Pairs of the same figure that are linked; None where there is none."""

    num_linked: int
    """Pairs that are linked."""

    num_true: int
    """Pairs that are the same figure."""

    num_right: int
    """Pairs that are both."""


def describe_characters(
    story_id: str,
    references: Sequence[ReferenceMask],
    pictures: FramePictures,
    embedder: ImageEmbedder,
    *,
    max_cutouts: int = 8,
) -> list[CharacterLook]:
    """Return what the characters of a story look like, in order of name; who has no reference is left out.

    Args:
        story_id: Story.
        references: Its references; those without a mask are left out.
        pictures: Gives the frames.
        embedder: Makes vectors of cut-outs.
        max_cutouts: Most cut-outs of a character, evenly over its references.
    """
    by_character: dict[str, list[ReferenceMask]] = {}
    for one in references:
        if one.mask is not None and one.mask.area:
            by_character.setdefault(one.character_id, []).append(one)
    looks = []
    for name, mine in sorted(by_character.items()):
        cutouts = [
            Cutout(image=pictures.picture(one.frame_index), mask=one.mask.to_array())
            for one in take_evenly(mine, max_cutouts)
            if one.mask is not None
        ]
        looks.append(CharacterLook(story_id=story_id, character_id=name, embeddings=embedder.embed(cutouts)))
    return looks


def link_identities(looks: Sequence[CharacterLook], threshold: float) -> IdentityLinks:
    """Return identities of characters; the order in which they come changes nothing but ties.

    Args:
        looks: One per character and story.
        threshold: Least mean similarity of two groups that are merged, -1 to 1.

    Raises:
        InputError: If a character comes twice or without an embedding, or the threshold is out of range.
    """
    keys = [(look.story_id, look.character_id) for look in looks]
    if len(set(keys)) != len(keys):
        raise InputError("A character comes twice among those to be linked.")
    if not -1 <= threshold <= 1:
        raise InputError(f"The threshold of linking must lie in -1 to 1, got {threshold}.")
    order = sorted(range(len(looks)), key=lambda number: keys[number])
    means = np.array([_mean(looks[number]) for number in order])
    groups = _merge(means, [keys[number][0] for number in order], threshold)
    identities: dict[CharacterKey, str] = {}
    scores: dict[CharacterKey, float | None] = {}
    for group in groups:
        members = [keys[order[number]] for number in group]
        for number, member in zip(group, members, strict=True):
            identities[member] = f"{members[0][0]}/{members[0][1]}"
            others = [other for other in group if other != number]
            scores[member] = float(np.mean(means[others] @ means[number])) if others else None
    return IdentityLinks(identities=identities, scores=scores, threshold=threshold)


def link_scores(identities: Mapping[CharacterKey, str], truth: Mapping[CharacterKey, str]) -> LinkScores:
    """Return how well links agree with the truth, over all pairs of characters of different stories."""
    keys = sorted(identities)
    pairs = [(a, b) for number, a in enumerate(keys) for b in keys[number + 1 :] if a[0] != b[0]]
    linked = {pair for pair in pairs if identities[pair[0]] == identities[pair[1]]}
    true = {pair for pair in pairs if truth[pair[0]] == truth[pair[1]]}
    right = len(linked & true)
    return LinkScores(
        precision=right / len(linked) if linked else None,
        recall=right / len(true) if true else None,
        num_linked=len(linked),
        num_true=len(true),
        num_right=right,
    )


def _mean(look: CharacterLook) -> NDArray[np.float64]:
    rows = np.asarray(look.embeddings, np.float64)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise InputError(f"{look.character_id} of {look.story_id} needs finite embeddings of shape (cut-outs, D).")
    mean = rows.mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12))


def _merge(means: NDArray[np.float64], stories: Sequence[str], threshold: float) -> list[list[int]]:
    """Return groups of characters by average linkage; no group holds two characters of one story."""
    groups = [[number] for number in range(len(means))]
    if not groups:
        return []
    alike = means @ means.T
    for number, story in enumerate(stories):
        for other in range(number + 1):
            if stories[other] == story:
                alike[number, other] = alike[other, number] = -np.inf
    while True:
        first, second = (int(one) for one in np.unravel_index(np.argmax(alike), alike.shape))
        if alike[first, second] < threshold or first == second:
            return sorted(sorted(group) for group in groups if group)
        first, second = min(first, second), max(first, second)
        sizes = len(groups[first]), len(groups[second])
        # Two groups that may not be merged stay so: their similarity is minus infinity, and so is any mean with it.
        row = (alike[first] * sizes[0] + alike[second] * sizes[1]) / sum(sizes)
        row[[first, second]] = -np.inf
        alike[first], alike[:, first] = row, row
        alike[second], alike[:, second] = -np.inf, -np.inf
        groups[first] += groups[second]
        groups[second] = []
