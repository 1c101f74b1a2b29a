"""How many captions and storylines say the same, and which stories are nearly the same, over datasets of any size.

Of each text only a hash and the number of its story are kept (12 bytes), so this counts millions of captions where
`text_duplicates.py`, which lists every place, would need their words. Both call the same texts equal.

Two stories are nearly the same if most descriptive captions of the shorter one stand in the other one too.
"""

import hashlib
import itertools
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.quality.text_duplicates import normalise_text, story_texts
from animeshooter_hf.records import Story

__all__ = ["EqualTextCounter", "EqualTextSettings", "EqualTexts", "NearStories", "TextReport"]

_FIELDS = ("storyline", "narrative_caption", "descriptive_caption")


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualTextSettings:
    """When texts and stories are the same. Our choice: the paper names no rule."""

    min_words: int = 4
    """Shorter texts say too little to compare."""

    min_share: float = 0.5
    """Share of a story's captions that must stand in another one for the two to be nearly the same."""

    min_captions: int = 3
    """How many captions that must be at least."""

    max_stories_of_caption: int = 50
    """A caption that stands in more stories than this says nothing about two of them."""

    num_examples: int = 10
    """Pairs of stories, and places of texts, that are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EqualTexts:
    """Equal texts of one kind."""

    num_texts: int
    """Texts that are long enough to compare."""

    num_equal: int
    """Of these, texts that stand in another place too."""

    num_groups: int
    """Different texts among those."""

    most: int
    """How often the most frequent one stands."""

    num_across_splits: int
    """Different texts that stand in two splits or more."""

    examples: tuple[tuple[str, ...], ...] = ()
    """Stories of the most frequent groups, the first few of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NearStories:
    """Two stories that are nearly the same."""

    stories: tuple[str, str]
    """Their IDs."""

    num_shared: int
    """Captions that stand in both."""

    share: float
    """Share of the shorter one's captions."""

    is_across_splits: bool
    """Whether they are in two splits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextReport:
    """What was found."""

    fields: dict[str, EqualTexts] = field(default_factory=dict)
    """"storyline", "narrative_caption" or "descriptive_caption" -> its equal texts."""

    num_near_pairs: int = 0
    """Pairs of stories that are nearly the same."""

    num_near_across_splits: int = 0
    """Of these, pairs over two splits."""

    near: tuple[NearStories, ...] = ()
    """Some of these pairs: those over splits first, then by share."""


class EqualTextCounter:
    """Takes stories one by one, and tells at the end which texts are equal."""

    def __init__(self, settings: EqualTextSettings | None = None) -> None:
        self._settings = settings or EqualTextSettings()
        self._hashes = {name: array("Q") for name in _FIELDS}
        self._owners = {name: array("I") for name in _FIELDS}
        self._story_ids: list[str] = []
        self._split_numbers = array("H")
        self._splits: list[str] = []

    def add(self, story: Story, split: str) -> None:
        """Take a story of a split."""
        if split not in self._splits:
            self._splits.append(split)
        number = len(self._story_ids)
        self._story_ids.append(story.story_id)
        self._split_numbers.append(self._splits.index(split))
        for name, _, text in story_texts([story]):
            plain = normalise_text(text)
            if plain.count(" ") + 1 >= self._settings.min_words:
                digest = hashlib.blake2b(plain.encode(), digest_size=8).digest()
                self._hashes[name].append(int.from_bytes(digest, "little"))
                self._owners[name].append(number)

    def finish(self) -> TextReport:
        """Return what was found so far."""
        near = self._near_stories()
        near.sort(key=lambda one: (not one.is_across_splits, -one.share, -one.num_shared, one.stories))
        return TextReport(
            fields={name: self._equal(name) for name in _FIELDS},
            num_near_pairs=len(near),
            num_near_across_splits=sum(one.is_across_splits for one in near),
            near=tuple(near[: self._settings.num_examples]),
        )

    def _grouped(self, name: str) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Return the owners of a field's texts, equal texts side by side, and where each group begins."""
        hashes = np.frombuffer(self._hashes[name], np.uint64)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0)
        owners = np.frombuffer(self._owners[name], np.uint32)[order]
        return owners, np.append(starts, len(ordered)).astype(np.int64)

    def _equal(self, name: str) -> EqualTexts:
        owners, bounds = self._grouped(name)
        sizes = np.diff(bounds)
        splits = np.frombuffer(self._split_numbers, np.uint16)
        several = np.flatnonzero(sizes > 1)
        across = 0
        for group in several:
            across += len(np.unique(splits[owners[bounds[group] : bounds[group + 1]]])) > 1
        largest = sorted(several.tolist(), key=lambda group: (-sizes[group], owners[bounds[group]]))
        return EqualTexts(
            num_texts=len(owners),
            num_equal=int(sizes[several].sum()),
            num_groups=len(several),
            most=int(sizes.max(initial=0)),
            num_across_splits=across,
            examples=tuple(
                self._names(owners[bounds[group] : bounds[group + 1]])
                for group in largest[: self._settings.num_examples]
            ),
        )

    def _near_stories(self) -> list[NearStories]:
        owners, bounds = self._grouped("descriptive_caption")
        captions = np.bincount(owners, minlength=len(self._story_ids)) if len(owners) else np.zeros(0, np.int64)
        shared: Counter[tuple[int, int]] = Counter()
        for group in np.flatnonzero(np.diff(bounds) > 1):
            members = np.unique(owners[bounds[group] : bounds[group + 1]])
            if len(members) <= self._settings.max_stories_of_caption:
                shared.update(itertools.combinations(members.tolist(), 2))
        found = []
        for (one, other), number in shared.items():
            share = number / min(captions[one], captions[other])
            if number >= self._settings.min_captions and share >= self._settings.min_share:
                found.append(
                    NearStories(
                        stories=(self._story_ids[one], self._story_ids[other]),
                        num_shared=number,
                        share=float(share),
                        is_across_splits=self._split_numbers[one] != self._split_numbers[other],
                    )
                )
        return found

    def _names(self, owners: Sequence[int] | NDArray[np.uint32]) -> tuple[str, ...]:
        """Return the first stories of a group, each once."""
        names = dict.fromkeys(self._story_ids[owner] for owner in owners[: 20 * self._settings.num_examples])
        return tuple(names)[: self._settings.num_examples]
