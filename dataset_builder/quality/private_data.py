"""Private data in captions and storylines: mail addresses, phone and account numbers, addresses on the web, handles.

Texts come from language models that saw the picture, so what stood in a title card or a comment may come along. The
search is total and takes time proportional to the text, whatever stands in it: every repetition is bounded. It is made
for few false alarms on captions; it is no proof that a text is free of private data, and names are not looked for.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from animeshooter_hf.records import Story

__all__ = ["KINDS", "Finding", "Kind", "StoryFinding", "find_private_data", "redact", "redact_story", "scan_story"]

Kind = Literal["email", "url", "iban", "card", "phone", "handle"]

KINDS: tuple[Kind, ...] = ("url", "email", "iban", "card", "phone", "handle")
"""In order of precedence: where two overlap, the first one counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something private in a text. What it says is not kept, so that a report of findings can be shown."""

    kind: Kind
    """What it is."""

    start: int
    """First character."""

    end: int
    """Character after the last one."""


@dataclass(frozen=True, slots=True)
class StoryFinding:
    """Something private in a story."""

    story_id: str
    """The story."""

    where: str
    """Path of the text in the story's JSON form, such as "shots/3/descriptive_caption"."""

    finding: Finding
    """What is there."""


# Top-level names that do not read like the end of one sentence and the start of the next ("the boy.it rains").
_TOP = (
    "com|net|org|edu|gov|info|biz|dev|app|xyz|tv|io|gg|jp|cn|kr|tw|uk|de|fr|ru|br|eu|nl|pl|es|ca|au|link|online|site|"
    "shop|store|club|live"
)
_URL = re.compile(
    r"\b(?:https?|ftp)://[^\s<>\"']{1,2048}|\bwww\.[^\s<>\"']{4,2048}"
    r"|(?<![\w@.+-])(?:youtu\.be|t\.me|bit\.ly|goo\.gl|discord\.gg)/[\w/?=&%.-]{1,256}"
    rf"|(?<![\w@.+-])(?:[a-z0-9][a-z0-9-]{{0,62}}\.){{1,4}}(?:{_TOP})(?![\w-])(?:[/?#][^\s<>\"']{{0,2048}})?",
    re.IGNORECASE | re.ASCII,
)
_EMAIL = re.compile(
    r"(?<![a-z0-9.!#$%&'*+/=?^_`{|}~@-])[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,128}"
    r"(?:@|\s?[\[(]\s?at\s?[\])]\s?)"
    r"[a-z0-9-]{1,63}(?:(?:\.|\s?[\[(]\s?dot\s?[\])]\s?)[a-z0-9-]{1,63}){1,5}",
    re.IGNORECASE | re.ASCII,
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<!\d)(?<!\d[ -])[2-6]\d{3}(?:[ -]?\d){8,15}(?![ -]?\d)")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9_.,:/+-])(?:"
    r"(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){7,14}"  # with the country's number
    r"|(?:1[ .-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"  # North America
    r"|\(?0\d{1,4}\)?(?:[ .-]\d{2,5}){1,4}"  # a trunk zero and groups
    r"|0\d{9,10}|1[3-9]\d{9}"  # mobiles of Europe, Japan, China
    r"|\d{3}-\d{4}-\d{4}"
    r")(?![A-Za-z0-9_-]|[.,:/]\d)"
)
_HANDLE = re.compile(r"(?<![\w@./])@(?=[\d._-]{0,29}[^\W\d_])\w[\w.-]{1,29}(?:@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4})?")
_DATE = re.compile(r"0?\d{1,2}[ ./-]\d{1,2}[ ./-]\d{2,4}")
_SHORTEST_TRUNK = 9
_FULL_WIDTH = {0xFF01 + place: 0x21 + place for place in range(94)} | {0x3000: 0x20}


def find_private_data(text: str, kinds: Sequence[Kind] = KINDS) -> tuple[Finding, ...]:
    """Return what is private in a text, in order and without overlap; it never raises, whatever the text.

    Example:
        >>> [one.kind for one in find_private_data("Write to mia@example.org or call +49 30 1234567.")]
        ['email', 'phone']
    """
    plain = text.translate(_FULL_WIDTH)  # character by character, so places stay
    found: list[Finding] = []
    taken = bytearray(len(plain))
    for kind in KINDS:
        if kind not in kinds:
            continue
        for start, end in _SEARCHES[kind](plain):
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Finding(kind, start, end))
    return tuple(sorted(found, key=lambda one: one.start))


def redact(text: str, kinds: Sequence[Kind] = KINDS) -> str:
    """Return a text with a mark such as `[email]` in place of what is private.

    Example:
        >>> redact("Ask @mia_draws about it.")
        'Ask [handle] about it.'
    """
    parts: list[str] = []
    last = 0
    for one in find_private_data(text, kinds):
        parts += [text[last : one.start], f"[{one.kind}]"]
        last = one.end
    return "".join([*parts, text[last:]])


def scan_story(story: Story, kinds: Sequence[Kind] = KINDS) -> tuple[StoryFinding, ...]:
    """Return what is private in the words of a story: storyline, captions, descriptions, names and sounds."""
    return tuple(
        StoryFinding(story.story_id, where, finding)
        for where, text in _texts(story)
        for finding in find_private_data(text, kinds)
    )


def redact_story(story: Story, kinds: Sequence[Kind] = KINDS) -> Story:
    """Return the story with a mark in place of what is private; IDs of characters and scenes stay, since they link."""

    def clean(text: str) -> str:
        return redact(text, kinds)

    def clean_or_none(text: str | None) -> str | None:
        return None if text is None else redact(text, kinds)

    return replace(
        story,
        storyline=clean(story.storyline),
        characters=tuple(replace(one, appearance=clean(one.appearance)) for one in story.characters),
        scenes=tuple(replace(one, environment=clean(one.environment)) for one in story.scenes),
        shots=tuple(
            replace(
                shot,
                narrative_caption=clean_or_none(shot.narrative_caption),
                descriptive_caption=clean_or_none(shot.descriptive_caption),
                audio=shot.audio
                and replace(
                    shot.audio,
                    audio_type=clean(shot.audio.audio_type),
                    sound_description=clean(shot.audio.sound_description),
                    visual_context=clean(shot.audio.visual_context),
                ),
            )
            for shot in story.shots
        ),
    )


def _texts(story: Story) -> Iterator[tuple[str, str]]:
    yield "storyline", story.storyline
    for number, character in enumerate(story.characters):
        yield f"main_characters/{number}/id", character.id
        yield f"main_characters/{number}/appearance", character.appearance
    for number, scene in enumerate(story.scenes):
        yield f"main_scenes/{number}/id", scene.id
        yield f"main_scenes/{number}/environment", scene.environment
    for shot in story.shots:
        where = f"shots/{shot.index}"
        yield f"{where}/narrative_caption", shot.narrative_caption or ""
        yield f"{where}/descriptive_caption", shot.descriptive_caption or ""
        if shot.audio is not None:
            yield f"{where}/audio_annotation/audio_type", shot.audio.audio_type
            yield f"{where}/audio_annotation/sound_description", shot.audio.sound_description
            yield f"{where}/audio_annotation/visual_context", shot.audio.visual_context


def _spans(pattern: re.Pattern[str], *needs: str) -> Callable[[str], Iterable[tuple[int, int]]]:
    """Return a search that is skipped where none of the marks stands that a match must hold."""

    def search(text: str) -> Iterator[tuple[int, int]]:
        if not needs or any(mark in text for mark in needs):
            yield from (found.span() for found in pattern.finditer(text))

    return search


def _urls(text: str) -> Iterator[tuple[int, int]]:
    for found in _URL.finditer(text):
        yield found.start(), found.start() + len(found[0].rstrip(".,;:!?)]}'\""))


def _handles(text: str) -> Iterator[tuple[int, int]]:
    for found in _HANDLE.finditer(text):
        yield found.start(), found.start() + len(found[0].rstrip(".-"))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        code = found[0].replace(" ", "")
        turned = "".join(str(int(one, 36)) for one in code[4:] + code[:4])
        if 15 <= len(code) <= 34 and int(turned) % 97 == 1:
            yield found.span()


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for found in _CARD.finditer(text):
        digits = [int(one) for one in found[0] if one.isdigit()]
        doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
        if 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[::-2]) + sum(doubled)) % 10 == 0:
            yield found.span()


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for found in _PHONE.finditer(text):
        digits = sum(one.isdigit() for one in found[0])
        is_short = found[0].lstrip("(").startswith("0") and digits < _SHORTEST_TRUNK
        if not is_short and digits <= 15 and not _DATE.fullmatch(found[0]):
            yield found.span()


_SEARCHES: dict[Kind, Callable[[str], Iterable[tuple[int, int]]]] = {
    "url": _urls,
    "email": _spans(_EMAIL, "@", "[", "("),
    "iban": _ibans,
    "card": _cards,
    "phone": _phones,
    "handle": _handles,
}
