"""The takedown list: videos and stories that must not be downloaded, packaged, published or loaded.

It is a text file with one entry per line, so that a mail can be turned into a line:

    # asked for on 3 May, by the studio
    LvJRvwIDh0E                                       the ID of a video
    https://www.youtube.com/watch?v=LvJRvwIDh0E       the same
    sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f...  the SHA-256 of an ID, which names nobody
    story:LvJRvwIDh0E_003                             one story of a video; its ID may be hashed too
    "my film"                                         an ID with blanks

What follows blanks and `#` is a comment. A line that cannot be understood is an error and never skipped: who asked for
it would not be served. A dataset folder carries its own list as `takedown.txt`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["TAKEDOWN_FILE", "Takedown", "TakedownList", "apply_takedown", "hash_id", "youtube_id"]

TAKEDOWN_FILE = "takedown.txt"
"""Name of the list in a dataset folder."""

_HASH = re.compile(r"[0-9a-f]{64}")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_QUOTED = re.compile(r'(story:)?\s*"([^"]+)"\s*(?:#.*)?')
_YOUTUBE = re.compile(
    r"(?:https?://)?(?:www\.|m\.|music\.)?"
    r"(?:youtube(?:-nocookie)?\.com/(?:watch\?(?:[^#\s]{0,500}&)?v=|shorts/|embed/|live/|v/)|youtu\.be/)([\w-]{11})(?![\w-])",
    re.IGNORECASE | re.ASCII,
)


def hash_id(identifier: str) -> str:
    """Return an ID as `sha256:` and 64 hex digits, as it may stand in a takedown list."""
    return f"sha256:{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()}"


def youtube_id(address: str) -> str | None:
    """Return the ID in the address of a YouTube video, or None if it is none.

    Example:
        >>> youtube_id("https://youtu.be/LvJRvwIDh0E?t=3")
        'LvJRvwIDh0E'
    """
    found = _YOUTUBE.match(address.strip())
    return found[1] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TakedownList:
    """What must not be used; a look-up takes about a microsecond, however long the list."""

    video_ids: frozenset[str] = frozenset()
    """IDs of videos, plain or as `hash_id` writes them."""

    story_ids: frozenset[str] = frozenset()
    """IDs of stories, plain or as `hash_id` writes them."""

    @classmethod
    def read(cls, path: str | Path) -> "TakedownList":
        """Return the list in a file.

        Raises:
            InputError: If the file is missing or cannot be read, or a line cannot be understood.
        """
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise InputError(f"There is no takedown list {path}.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The takedown list {path} cannot be read as UTF-8 text.") from error
        return cls.parse(text, str(path))

    @classmethod
    def read_beside(cls, folder: Path) -> "TakedownList":
        """Return the list that a dataset folder carries; an empty one if it carries none.

        Raises:
            InputError: If it carries one that cannot be read or understood.
        """
        path = folder / TAKEDOWN_FILE
        return cls.read(path) if path.exists() else cls()

    @classmethod
    def parse(cls, text: str, name: str = "the takedown list") -> "TakedownList":
        """Return the list in a text.

        Raises:
            InputError: If a line cannot be understood; the message names its number.
        """
        videos: set[str] = set()
        stories: set[str] = set()
        for number, line in enumerate(text.splitlines(), 1):
            quoted = _QUOTED.fullmatch(line.strip())
            entry = _COMMENT.sub("", line).strip()
            if not entry:
                continue
            is_story = entry.startswith("story:")
            identifier = quoted[2] if quoted else _identifier(entry.removeprefix("story:").strip())
            if identifier is None:
                raise InputError(
                    f"{name}, line {number} is neither an ID, nor a YouTube address, nor sha256: with 64 hex digits; "
                    "an ID with blanks stands in quotes."
                )
            (stories if is_story else videos).add(identifier)
        return cls(video_ids=frozenset(videos), story_ids=frozenset(stories))

    def __len__(self) -> int:
        return len(self.video_ids) + len(self.story_ids)

    def merge(self, other: "TakedownList") -> "TakedownList":
        """Return the list of what stands in either."""
        return TakedownList(
            video_ids=self.video_ids | other.video_ids,
            story_ids=self.story_ids | other.story_ids,
        )

    def hits(self, video_id: str) -> bool:
        """Return whether a video must not be used."""
        return _is_listed(video_id, self.video_ids)

    def hits_story(self, story_id: str, video_id: str) -> bool:
        """Return whether a story must not be used, for itself or for its video."""
        return self.hits(video_id) or _is_listed(story_id, self.story_ids)

    def hits_row(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row of any config must not be used; it is known by its `video_id` and `story_id`."""
        return self.hits_story(str(row.get("story_id") or ""), str(row.get("video_id") or ""))

    def to_text(self, *, hashed: bool = True) -> str:
        """Return the list as a file holds it, sorted; hashed, so that it names nobody, unless told otherwise."""

        def written(identifiers: Iterable[str]) -> list[str]:
            return sorted({_written(one, hashed=hashed) for one in identifiers})

        lines = [*written(self.video_ids), *(f"story:{one}" for one in written(self.story_ids))]
        return "".join(f"{line}\n" for line in lines)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the list, for whatever depends on it."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Takedown:
    """Stories after the list was applied."""

    kept: list[Story]
    """Those that may be used, in their order."""

    removed: list[str]
    """IDs of the others."""


def apply_takedown(stories: Iterable[Story], takedown: TakedownList) -> Takedown:
    """Return the stories without those that must not be used."""
    kept: list[Story] = []
    removed: list[str] = []
    for story in stories:
        if takedown.hits_story(story.story_id, story.video_id):
            removed.append(story.story_id)
        else:
            kept.append(story)
    return Takedown(kept, removed)


def _identifier(entry: str) -> str | None:
    """Return the ID that an entry means, or None if it cannot be understood."""
    lowered = entry.lower()
    if lowered.startswith("sha256:"):
        digest = lowered.removeprefix("sha256:").strip()
        return f"sha256:{digest}" if _HASH.fullmatch(digest) else None
    found = youtube_id(entry)
    if found is not None:
        return found
    is_plain = entry and entry.isprintable() and not any(mark in entry for mark in '/" \t')
    return entry if is_plain else None


def _written(identifier: str, *, hashed: bool) -> str:
    if identifier.startswith("sha256:"):
        return identifier
    if hashed:
        return hash_id(identifier)
    return f'"{identifier}"' if re.search(r"[\s#]", identifier) else identifier


def _is_listed(identifier: str, listed: frozenset[str]) -> bool:
    return bool(listed) and bool(identifier) and (identifier in listed or hash_id(identifier) in listed)
