"""The search index of a site: an inverted index in sorted chunks, so that a query loads a few kilobytes.

A word's postings are a text such as "1w 43 4": numbers in base 36, each `step << 6 | fields`, where `step` is the
distance to the story before it and the bits of `fields` say where in the story the word stands (`FIELDS`). Words are
sorted by UTF-16 code units, as JavaScript compares texts, and cut into chunks of about `CHUNK_CHARACTERS`; the page
knows the first word of each chunk and loads those that can hold a word with the prefix that was typed.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterator

from animeshooter_hf.records import Story

__all__ = ["FIELDS", "SearchIndex", "story_words", "words_of"]

FIELDS = {"id": 1, "storyline": 2, "caption": 4, "character": 8, "scene": 16, "sound": 32}
"""Where a word stands -> its bit."""

CHUNK_CHARACTERS = 48_000
"""About how large a chunk is. Our choice: one request that even a slow line answers at once."""

_WORD = re.compile(r"[^\W_]+")
_HAN_AND_KANA = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are searched: without case and accents; a Han sign or a kana is a word.

    Example:
        >>> words_of("Zoë's CAFÉ_2, 東京")
        ['zoe', 's', 'cafe', '2', '東', '京']
    """
    if text.isascii():
        return re.findall("[a-z0-9]+", text.lower())
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if unicodedata.category(sign)[0] != "M")
    plain = unicodedata.normalize("NFC", plain.lower())
    return [part for word in _WORD.findall(plain) for part in _HAN_AND_KANA.findall(word)]


def story_words(story: Story) -> dict[str, int]:
    """Return word -> bits of the fields of the story in which it stands."""
    texts: list[tuple[str, str | None]] = [("id", story.story_id), ("id", story.video_id)]
    texts.append(("storyline", story.storyline))
    texts += [("character", text) for one in story.characters for text in (one.id, one.appearance)]
    texts += [("scene", text) for one in story.scenes for text in (one.id, one.environment)]
    for shot in story.shots:
        texts += [("caption", shot.narrative_caption), ("caption", shot.descriptive_caption)]
        if shot.audio is not None:
            sound = shot.audio
            texts += [("sound", text) for text in (sound.audio_type, sound.sound_description, sound.visual_context)]
    found: dict[str, int] = {}
    for field, text in texts:
        for word in words_of(text or ""):
            found[word] = found.get(word, 0) | FIELDS[field]
    return found


class SearchIndex:
    """Collects postings story by story; about four bytes of memory for each word of each story."""

    def __init__(self) -> None:
        self._postings: dict[str, array[int]] = {}
        self._last: dict[str, int] = {}

    def add(self, number: int, words: dict[str, int]) -> None:
        """Add a story; numbers rise."""
        for word, fields in words.items():
            if word not in self._postings:
                self._postings[word] = array("I")
                self._last[word] = 0
            self._postings[word].append((number - self._last[word]) << 6 | fields)
            self._last[word] = number

    def chunks(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Yield (first word, [(word, postings)]) in order."""
        chunk: list[tuple[str, str]] = []
        size = 0
        for word in sorted(self._postings, key=lambda word: word.encode("utf-16-be", "surrogatepass")):
            postings = " ".join(_base36(value) for value in self._postings[word])
            if chunk and size + len(postings) > CHUNK_CHARACTERS:
                yield chunk[0][0], chunk
                chunk, size = [], 0
            chunk.append((word, postings))
            size += len(word) + len(postings)
        if chunk:
            yield chunk[0][0], chunk


def _base36(value: int) -> str:
    digits = ""
    while value:
        value, digit = divmod(value, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
