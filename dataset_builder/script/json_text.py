"""The JSON in a model's answer, whatever stands around it and however it is broken.

`extract_json` is total and linear: each character is looked at a bounded number of times, the input is cut at a limit,
and nesting is followed without recursion. Strict JSON goes through the standard parser; everything else (code fences,
prose, trailing or missing commas, comments, single or typographic quotes, quotes inside of texts, Python's literals,
missing brackets, a cut-off end) through a tolerant reader. Whatever was mended is noted.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.dataset_builder.script.issues import IssueLog

__all__ = ["MAX_CHARS", "Extracted", "extract_json"]

MAX_CHARS = 400_000
"""Longest text that is read. A script of a minute has about 20,000 characters."""

_MAX_DEPTH = 32
_MAX_NUMBER = 40

_FENCE = re.compile(r"```[\w-]*[ \t]*\r?\n(.*)\n?[ \t]*```", re.DOTALL)
# Possessive quantifiers (`*+`) keep every pattern linear: nothing is tried twice.
_SPACE = re.compile(r"(?:\s++|//[^\n]*+|#[^\n]*+|/\*(?:.*?\*/|.*))*+", re.DOTALL)
_OPENING = re.compile(r"""\{\s*+(?:["'“}/#]|[A-Za-z_][\w -]{0,60}+:|$)|\[\s*+(?:[{\["'“\]]|$)""")
_KEY = re.compile(r"[A-Za-z_](?:[\w-]|[ ](?=[\w ]*+:)){0,60}")
_BARE = re.compile(r"""(?:[^,}\]\n"“/]|/(?![/*]))++""")
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,3})?")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.|$)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_CLOSERS = {'"': '"', "'": "'", "“": "”"}
_STOPS = {quote: re.compile(rf"\\.|{end}", re.DOTALL) for quote, end in _CLOSERS.items()}
# What follows a quote that ends a text; a quote before anything else stands inside of the text.
_AFTER_TEXT = re.compile(
    r"""\s*+(?:[:}\]]|$|/[/*]|,\s*+(?:["'“{\[\]}\d-]|[/#]|[A-Za-z_]\w*+\s*+(?:[:,}\]]|$)|$))"""
    r"""|[ \t\r]*+\n\s*+["'“]|\s++"[\w -]{1,40}+"\s*+:|\s++\{"""
)
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
_NOT_FINITE = {"nan", "infinity", "-infinity", "inf", "-inf"}


@dataclass(frozen=True, slots=True)
class Extracted:
    """The JSON value of an answer."""

    value: Any = None
    """The value; None if there is none."""

    is_found: bool = False
    """Whether there is one."""

    incomplete: tuple[Any, ...] = ()
    """The objects and lists, outermost first, that were open where the text ended."""


def extract_json(text: object, log: IssueLog, *, rank: Callable[[Any], Any] = lambda _: 0) -> Extracted:
    """Return the JSON value of an answer; of several the one of the highest rank, of equals the last.

    Args:
        text: The answer, of any type.
        log: Where notes go.
        rank: Says how good a value is; 0 for one that is not wanted. The default takes the last value.
    """
    if not isinstance(text, str) or not (text := text.strip().strip("\ufeff\u200b\x00").strip()):
        log.add("answer_empty", detail="no text")
        return Extracted()
    if len(text) > MAX_CHARS:
        log.add("answer_too_long", detail=f"{len(text)} characters, {MAX_CHARS} are read")
        text = text[:MAX_CHARS]
    strict = _read_strict(text, log)
    if strict is None and (fence := _FENCE.fullmatch(text)):
        strict = _read_strict(fence[1], log)
        if strict is not None:
            log.add("json_fenced")
    return strict or _read_tolerant(text, log, rank)


def _read_strict(text: str, log: IssueLog) -> Extracted | None:
    """Return the value of a text that is JSON and nothing else, or None."""
    notes: list[tuple[str, str]] = []

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            again = next(name for number, name in enumerate(names) if name in set(names[:number]))
            notes.append(("duplicate_key", again[:60]))
        return row

    def make_constant(word: str) -> None:
        notes.append(("number_not_finite", word))

    try:
        value = json.loads(text, object_pairs_hook=make_object, parse_constant=make_constant)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict | list | str):
        return None
    for code, detail in notes:
        log.add(code, detail=detail)
    return Extracted(value, is_found=True)


def _read_tolerant(text: str, log: IssueLog, rank: Callable[[Any], Any]) -> Extracted:
    best, best_rank, best_log, num_good, num_outside = Extracted(), None, IssueLog(), 0, 0
    position = 0
    while opening := _OPENING.search(text, position):
        num_outside += sum(map(str.isalnum, text[position : opening.start()]))
        notes = IssueLog()
        found, position = _Reader(text, notes).read(opening.start())
        value_rank = rank(found.value)
        num_good += bool(value_rank)
        if best_rank is None or value_rank >= best_rank:
            best, best_rank, best_log = found, value_rank, notes
    if best_rank is None:
        log.add("answer_not_json", detail=repr(text[:60]))
        return Extracted()
    num_outside += sum(map(str.isalnum, text[position:]))
    if "```" in text:
        log.add("json_fenced")
    if num_outside > len("json"):
        log.add("json_in_prose", detail=repr(text[:60]))
    if num_good > 1:
        log.add("several_answers", detail=f"{num_good} scripts")
    for issue in best_log.issues():
        log.add(issue.code, detail=issue.detail, count=issue.count)
    return best


class _Reader:
    """Reads one value from a place in a text; a stack stands for recursion."""

    def __init__(self, text: str, notes: IssueLog) -> None:
        self._text = text
        self._notes = notes
        self._stack: list[tuple[dict[str, Any] | list[Any], str | None]] = []
        self._num_open: dict[type, int] = {dict: 0, list: 0}
        self._key: str | None = None
        self._needs_comma = False
        self._has_comma = False

    def read(self, position: int) -> tuple[Extracted, int]:
        """Return the value that begins at a bracket, and the position behind it."""
        text = self._text
        root: Any = None
        while True:
            position = self._skip(position)
            if position >= len(text):
                return self._cut(root), position
            sign = text[position]
            if sign in "{[":
                opened = self._open(sign)
                root = opened if root is None else root
                position += 1
            elif sign in "}]":
                self._close(dict if sign == "}" else list)
                position += 1
                if not self._stack:
                    return Extracted(root, is_found=True), position
            elif sign in ",:":
                self._separate(sign)
                position += 1
            else:
                position = self._read_scalar(position)

    def _skip(self, position: int) -> int:
        end = _SPACE.match(self._text, position).end()  # type: ignore[union-attr]  # matches the empty text too
        if end > position and not self._text[position:end].isspace():
            self._mend(position, "a comment")
        return end

    def _mend(self, position: int, what: str) -> None:
        self._notes.add("json_mended", detail=f"{what} at {position}: {self._text[position : position + 30]!r}")

    def _open(self, sign: str) -> dict[str, Any] | list[Any]:
        opened: dict[str, Any] | list[Any] = {} if sign == "{" else []
        if len(self._stack) < _MAX_DEPTH:
            if self._stack:
                self._attach(opened)
        else:
            self._notes.add("json_too_deep", detail=f"more than {_MAX_DEPTH} levels")
        self._stack.append((opened, self._key))
        self._num_open[type(opened)] += 1
        self._key, self._needs_comma, self._has_comma = None, False, False
        return opened

    def _close(self, kind: type) -> None:
        if not self._num_open[kind]:
            self._notes.add("json_mended", detail="a bracket that was never opened")
            return
        if self._has_comma or self._key is not None:
            self._notes.add("json_mended", detail="a comma before a closing bracket, or a key without a value")
        while True:
            closed, _ = self._stack.pop()
            self._num_open[type(closed)] -= 1
            if type(closed) is kind:
                break
            self._notes.add("json_mended", detail="brackets that do not match")
        self._key, self._needs_comma, self._has_comma = None, True, False

    def _separate(self, sign: str) -> None:
        if sign == ":" or self._has_comma or not self._needs_comma:
            self._notes.add("json_mended", detail=f"a {sign!r} too many")
        if sign == ",":
            self._needs_comma, self._has_comma = False, True
            self._key = None

    def _attach(self, value: Any) -> None:
        if self._needs_comma:
            self._notes.add("json_mended", detail="a missing comma")
        parent = self._stack[-1][0]
        if isinstance(parent, list):
            parent.append(value)
        elif self._key is None:
            self._notes.add("json_mended", detail="a value without a key")
        else:
            if self._key in parent:
                self._notes.add("duplicate_key", detail=self._key[:60])
            parent[self._key] = value
            self._key = None
        self._needs_comma, self._has_comma = True, False

    def _read_scalar(self, position: int) -> int:
        """Take a key, text, number or word, and return the position behind it."""
        is_key = isinstance(self._stack[-1][0], dict) and self._key is None
        sign = self._text[position]
        if sign in _CLOSERS:
            if sign != '"':
                self._mend(position, "other quotes")
            value, end = self._read_text(position)
            if end < 0:
                if not is_key:
                    self._attach(value)
                return len(self._text)
        elif is_key and (match := _KEY.match(self._text, position)):
            self._mend(position, "a key without quotes")
            value, end = match[0].strip(), match.end()
        elif match := _BARE.match(self._text, position):
            value, end = self._read_word(match[0].strip(), position), match.end()
        else:
            self._mend(position, "a sign that means nothing")
            return position + 1
        if not is_key:
            self._attach(value)
            return end
        behind = self._skip(end)
        if behind < len(self._text) and self._text[behind] == ":":
            if self._needs_comma:
                self._mend(position, "a missing comma")
            self._key, self._needs_comma, self._has_comma = str(value), False, False
            return behind + 1
        if behind < len(self._text):
            self._mend(position, "words that are no key")
        return end

    def _read_text(self, position: int) -> tuple[str, int]:
        """Return a quoted text and the position behind it; -1 if it does not end."""
        quote = self._text[position]
        for stop in _STOPS[quote].finditer(self._text, position + 1):
            if len(stop[0]) == 1:
                if _AFTER_TEXT.match(self._text, stop.end()):
                    return _unescape(self._text[position + 1 : stop.start()]), stop.end()
                self._mend(stop.start(), "a quote inside a text")
        return _unescape(self._text[position + 1 :]), -1

    def _read_word(self, word: str, position: int) -> Any:
        if _NUMBER.fullmatch(word):
            if word.lstrip("-").isdigit():
                return int(word)
            number = float(word)
            if number - number == 0:
                return number
            word = "inf"
        lower = word.casefold()
        if lower in _NOT_FINITE:
            self._notes.add("number_not_finite", detail=word[:_MAX_NUMBER])
            return None
        if lower in _WORDS:
            if word not in ("true", "false", "null"):
                self._mend(position, "another language's word")
            return _WORDS[lower]
        self._mend(position, "a text without quotes")
        return word

    def _cut(self, root: Any) -> Extracted:
        """Return what there is at the end of a text whose brackets are still open."""
        self._notes.add("json_unclosed", detail=f"{len(self._stack)} brackets are open at the end")
        return Extracted(root, is_found=True, incomplete=tuple(entry[0] for entry in self._stack[:_MAX_DEPTH]))


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        sign = match[1]
        if len(sign) == 5:
            return chr(int(sign[1:], 16))
        return _ESCAPES.get(sign, sign)

    joined = _ESCAPE.sub(plain, text)
    if joined.isascii():
        return joined
    return joined.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
