"""Texts that say the same: captions and storylines that are equal after normalising.

Equal captions are normal (a title card is a title card), so nothing is dropped for them; but a storyline that stands
under two videos, or a caption that stands under a hundred shots, tells of a lazy annotator or a film that came twice.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from animeshooter_hf.records import Story

__all__ = ["TextGroup", "find_text_duplicates", "normalise_text", "story_texts"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextGroup:
    """A text that occurs more than once."""

    field: str
    """What it is: "storyline", "narrative_caption" or "descriptive_caption"."""

    text: str
    """The first one, as it was written."""

    ids: tuple[str, ...]
    """Stories or shots that carry it, in the order in which they came."""


def normalise_text(text: str) -> str:
    """Return a text without what does not change what it says: case, punctuation, kinds of letters and of space.

    Example:
        >>> normalise_text("Mia  waves – in the PARK!") == normalise_text("mia waves in the park")
        True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[\W_]+", " ", folded).split())


def story_texts(stories: Iterable[Story]) -> Iterable[tuple[str, str, str]]:
    """Yield (field, ID, text) of the storylines and captions of stories; what is missing is left out."""
    for story in stories:
        if story.storyline:
            yield "storyline", story.story_id, story.storyline
        for shot in story.shots:
            if shot.narrative_caption:
                yield "narrative_caption", shot.shot_id, shot.narrative_caption
            if shot.descriptive_caption:
                yield "descriptive_caption", shot.shot_id, shot.descriptive_caption


def find_text_duplicates(texts: Iterable[tuple[str, str, str]], *, min_words: int = 4) -> list[TextGroup]:
    """Return the texts that occur more than once, the most frequent first.

    Args:
        texts: (field, ID, text), read once.
        min_words: Shorter texts say too little to compare.
    """
    seen: dict[bytes, tuple[str, str, list[str]]] = {}
    for field, name, text in texts:
        plain = normalise_text(text)
        if plain.count(" ") + 1 >= min_words:
            key = hashlib.blake2b(f"{field}\0{plain}".encode(), digest_size=16).digest()
            seen.setdefault(key, (field, text, []))[2].append(name)
    groups = [TextGroup(field=field, text=text, ids=tuple(ids)) for field, text, ids in seen.values() if len(ids) > 1]
    return sorted(groups, key=lambda group: (-len(group.ids), group.field, group.ids))
