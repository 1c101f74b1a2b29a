"""What the list of a site is made from: cards in chunks, facts to filter and sort by, and the search index.

A page of the list loads the chunks whose cards it shows; the facts of all stories are loaded only when somebody
filters, sorts, or steps from story to story.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.records import Story
from animeshooter_hf.site.search_index import FIELDS, SearchIndex, story_words
from animeshooter_hf.site.site_folder import SiteFolder

__all__ = ["StoryCard", "StoryIndex", "card_of"]

CARDS_PER_CHUNK = 100
"""Our choice: 30 to 60 kB a chunk; a page shows 24 cards."""

FACTS_PER_CHUNK = 2000
"""Our choice: about 90 kB a chunk."""

_STORYLINE_CHARACTERS = 280
_SUGGESTIONS = 200
_HAS_CLIPS, _HAS_SOUND, _HAS_REFERENCES = 1, 2, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryCard:
    """A story in the list."""

    story: Story
    """The story."""

    split: str
    """Its split."""

    thumbnail: str | None
    """A small picture, relative to the site; None where there is none."""

    seconds: float
    """How long it lasts; 0 where that is unknown."""

    num_clips: int
    """Shots that can be played."""

    num_references: int
    """References with a picture or a mask."""

    has_sound: bool
    """Whether a sound of it is described or can be heard."""


def card_of(story: Story, split: str, media: Mapping[str, Any]) -> StoryCard:
    """Return the card of a story; `media` is what the story's own file says of it."""
    ends = [shot.end_seconds for shot in story.shots if shot.end_seconds is not None]
    return StoryCard(
        story=story,
        split=split,
        thumbnail=_thumbnail(story, media["thumbnails"]),
        seconds=round(story.duration_seconds or max(ends, default=0.0), 2),
        num_clips=sum(path is not None for path in media["clips"]),
        num_references=max(len(media["references"]), sum(one.mask is not None for one in story.references)),
        has_sound=bool(media["sounds"]) or any(shot.audio is not None for shot in story.shots),
    )


def _thumbnail(story: Story, thumbnails: Sequence[str | None]) -> str | None:
    """Return the first picture; one of the plot before that of an opening, which is often a title."""
    found = [(shot.is_prologue_or_epilogue, path) for shot, path in zip(story.shots, thumbnails, strict=True) if path]
    return min(found, key=lambda one: one[0])[1] if found else None


class StoryIndex:
    """Takes cards one by one and writes the chunks; memory grows by what is searched, not by what is shown."""

    def __init__(self, folder: SiteFolder) -> None:
        self._folder = folder
        self._search = SearchIndex()
        self._cards: list[dict[str, Any]] = []
        self._facts: list[list[Any]] = []
        self._files: dict[str, list[str]] = {"cards": [], "facts": [], "search": []}
        self._names = {"character": Counter[str](), "scene": Counter[str]()}
        self._splits: Counter[str] = Counter()
        self._ratings: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()
        self._seconds = 0.0
        self._videos: set[str] = set()

    def add(self, card: StoryCard) -> None:
        """Add the next story."""
        story = card.story
        self._search.add(self._totals["stories"], story_words(story))
        self._cards.append(_card_row(card))
        flags = _HAS_CLIPS * (card.num_clips > 0) | _HAS_SOUND * card.has_sound
        flags |= _HAS_REFERENCES * (card.num_references > 0)
        row = [story.story_id, card.split, story.rating or "", flags, len(story.shots), card.seconds]
        self._facts.append(row)
        self._splits[card.split] += 1
        self._ratings[story.rating or ""] += 1
        self._totals.update(stories=1, shots=len(story.shots), clips=card.num_clips, references=card.num_references)
        self._totals["sounds"] += card.has_sound
        self._seconds += card.seconds
        self._videos.add(story.video_id)
        self._names["character"].update({one.id for one in story.characters})
        self._names["scene"].update({one.id for one in story.scenes})
        self._flush(full_only=True)

    def finish(self) -> dict[str, Any]:
        """Write what is left and return what the page must know at first."""
        self._flush(full_only=False)
        first_words = []
        for number, (first, rows) in enumerate(self._search.chunks()):
            first_words.append(first)
            self._files["search"].append(self._folder.write_chunk("search", f"{number:05d}", rows))
        names = {kind: _most_common(names) for kind, names in self._names.items()}
        return {
            "totals": {**self._totals, "seconds": round(self._seconds, 1), "videos": len(self._videos)},
            "splits": dict(self._splits),
            "ratings": dict(sorted(self._ratings.items())),
            "cards": {"size": CARDS_PER_CHUNK, "files": self._files["cards"]},
            "facts": {"size": FACTS_PER_CHUNK, "files": self._files["facts"]},
            "search": {"first": first_words, "files": self._files["search"], "fields": FIELDS},
            "names": self._folder.write_chunk("names", "names", names),
        }

    def _flush(self, *, full_only: bool) -> None:
        for kind, rows, size in (("cards", self._cards, CARDS_PER_CHUNK), ("facts", self._facts, FACTS_PER_CHUNK)):
            if len(rows) >= size or (rows and not full_only):
                number = len(self._files[kind])
                self._files[kind].append(self._folder.write_chunk(kind, f"{number:05d}", rows))
                rows.clear()


def _card_row(card: StoryCard) -> dict[str, Any]:
    story = card.story
    scenes = {scene.id: number for number, scene in enumerate(story.scenes)}
    return {
        "id": story.story_id,
        "split": card.split,
        "text": story.storyline[:_STORYLINE_CHARACTERS],
        "thumb": card.thumbnail,
        "seconds": card.seconds,
        "shots": len(story.shots),
        "clips": card.num_clips,
        "characters": [one.id[:60] for one in story.characters[:4]],
        "references": card.num_references,
        "sound": card.has_sound,
        "rating": story.rating,
        # A strip of the shots: scene and length in tenths of a second.
        "strip": [
            [
                scenes.get(shot.scene or "", -1),
                max(1, round(10 * ((shot.end_seconds or 0) - (shot.start_seconds or 0)))),
            ]
            for shot in story.shots[:60]
        ],
    }


def _most_common(names: Counter[str]) -> list[str]:
    """Return the names that most stories share, the rest left out, ties by name."""
    return [name for name, _ in sorted(names.items(), key=lambda item: (-item[1], item[0]))[:_SUGGESTIONS]]
