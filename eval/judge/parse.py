"""A judge's reply to marks, or the reason why there are none. Nothing is guessed.

What is forgiven, since it leaves no doubt: prose and Markdown fences around the JSON, a chain of thought in think tags,
trailing commas, Python's quotes, names in another case, marks written as 7.0, "7" or "7/10", marks without the key
`scores` around them, and a second JSON object that says the same. What is refused: everything else (`PROBLEMS`). A
reply with two different sets of marks is refused, not read from the front.

Every function here is total: any text gives marks or a problem, in time linear in its length.
"""

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.eval.judge.dimensions import DIMENSIONS, HIGHEST_MARK, LOWEST_MARK

__all__ = ["MAX_REPLY_CHARACTERS", "PROBLEMS", "JudgeAnswer", "ReplyProblem", "parse_reply"]

MAX_REPLY_CHARACTERS = 200_000
"""A longer reply is not read. Our choice: a hundred times what is asked for."""

_MAX_OBJECTS = 32
"""Most JSON objects looked at in one reply. Our choice."""

PROBLEMS: Mapping[str, str] = {
    "empty": "there is no text",
    "too_long": "the reply is too long to be read",
    "no_json": "there is no JSON object in it",
    "truncated": "the JSON object does not end",
    "not_json": "the JSON cannot be read",
    "not_an_object": "it is a JSON list where an object was asked for",
    "duplicate_key": "a key stands in it twice",
    "missing_system": "a system has no entry",
    "extra_system": "there is an entry for a system that was not shown",
    "missing_mark": "a mark is missing",
    "not_a_number": "a mark is no number",
    "not_whole": "a mark is no whole number",
    "out_of_range": f"a mark is not in {LOWEST_MARK} to {HIGHEST_MARK}",
    "unknown_choice": "a choice is none of those allowed",
    "two_answers": "there are two answers that differ",
}
"""Kind of problem -> what it means."""


@dataclass(frozen=True, slots=True)
class ReplyProblem:
    """Why a reply cannot be used."""

    kind: str
    """One of `PROBLEMS`."""

    detail: str
    """What exactly, in a short phrase."""

    def __str__(self) -> str:
        return f"{PROBLEMS[self.kind]} ({self.detail})" if self.detail else PROBLEMS[self.kind]


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeAnswer:
    """What a usable reply says."""

    scores: tuple[Mapping[str, int], ...] = ()
    """Per position: OQ, CRC, MSC, MCC. Empty for a choice between two."""

    choices: Mapping[str, int | None] | None = None
    """Dimension -> the better position, 0 or 1, None for a tie. None for marks."""


def parse_reply(text: str, labels: Sequence[str], *, wants_choice: bool = False) -> JudgeAnswer | ReplyProblem:
    """Return the marks of all labels, or what is wrong with the reply.

    Args:
        text: The reply.
        labels: Names of the systems in the prompt, in order of position.
        wants_choice: Whether one of two was to be chosen, for each dimension.
    """
    if len(text) > MAX_REPLY_CHARACTERS:
        return ReplyProblem("too_long", f"{len(text)} characters")
    text = text.rpartition("</think>")[2].strip("\ufeff \t\r\n")
    if not text:
        return ReplyProblem("empty", "")
    if _is_list(text):
        return ReplyProblem("not_an_object", "")
    answers: list[JudgeAnswer] = []
    problem: ReplyProblem | None = None
    for found in _objects(text):
        answer = found if isinstance(found, ReplyProblem) else _check(found, labels, wants_choice)
        if isinstance(answer, JudgeAnswer):
            answers.append(answer)
        else:
            problem = answer  # the last one: the answer proper mostly stands at the end
    if any(answer != answers[0] for answer in answers):
        return ReplyProblem("two_answers", f"{len(answers)} objects with marks")
    if answers:
        return answers[0]
    return problem or ReplyProblem("no_json", _excerpt(text))


# ------------------------------------------------------------------------------------------------- text to objects


class _DuplicateKeyError(ValueError):
    """Two keys of one object are the same."""


def _is_list(text: str) -> bool:
    """Return whether the whole reply is a list, perhaps in a fence."""
    bare = re.sub(r"^```[a-zA-Z]*\s*|\s*```$", "", text)
    if not bare.startswith("["):
        return False
    try:
        return isinstance(json.loads(bare), list)
    except (ValueError, RecursionError):
        return False


def _objects(text: str) -> Iterator[Any]:
    """Yield what stands between balanced braces at the top level: an object, or the problem with it."""
    position, count = 0, 0
    while count < _MAX_OBJECTS and (start := text.find("{", position)) >= 0:
        end = _end_of_object(text, start)
        count += 1
        if end is None:
            yield ReplyProblem("truncated", _excerpt(text[-60:]))
            return
        yield _load(text[start:end])
        position = end


def _end_of_object(text: str, start: int) -> int | None:
    """Return where the object that begins at `start` is over, or None if it does not end."""
    depth, quoted, escaped = 0, False, False
    for position in range(start, len(text)):
        character = text[position]
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif not quoted and character == "{":
            depth += 1
        elif not quoted and character == "}":
            depth -= 1
            if not depth:
                return position + 1
    return None


def _load(text: str) -> Any:
    """Return the object that a text between braces is, or the problem with it."""
    try:
        return _load_json(text)
    except _DuplicateKeyError as error:
        return ReplyProblem("duplicate_key", str(error))
    except (ValueError, RecursionError) as error:
        first = error
    try:
        return _load_json(re.sub(r'("(?:[^"\\]|\\.)*+")|,(?=\s*[}\]])', lambda match: match.group(1) or "", text))
    except _DuplicateKeyError as error:
        return ReplyProblem("duplicate_key", str(error))
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python does not know
            return _from_python(ast.parse(text, mode="eval").body)
    except _DuplicateKeyError as error:
        return ReplyProblem("duplicate_key", str(error))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ReplyProblem("not_json", _excerpt(str(first)))


def _load_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(_excerpt(repr(key)))
        found[key] = value
    return found


def _from_python(node: ast.expr) -> Any:
    """Return the value of a Python literal of dicts, lists, texts and numbers."""
    if isinstance(node, ast.Dict):
        keys = [_from_python(key) if key is not None else None for key in node.keys]
        if not all(isinstance(key, str) for key in keys):
            raise ValueError("keys must be texts")
        return _without_duplicates(list(zip(keys, map(_from_python, node.values), strict=True)))
    if isinstance(node, ast.List):
        return [_from_python(item) for item in node.elts]
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | bool | None):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        if isinstance(value, int | float):
            return -value
    raise ValueError("not a literal")


# ------------------------------------------------------------------------------------------------ objects to marks


def _check(found: Any, labels: Sequence[str], wants_choice: bool) -> JudgeAnswer | ReplyProblem:
    entries = _named(found)
    if isinstance(entries, ReplyProblem):
        return entries
    if wants_choice:
        return _check_choices(entries, labels)
    wanted = {_plain(label): label for label in labels}
    strangers = [name for name in entries if re.fullmatch(r"model_[a-z]{1,2}", name) and name not in wanted]
    if strangers:
        return ReplyProblem("extra_system", strangers[0])
    if len(labels) == 1 and next(iter(wanted)) not in entries:
        entries = {next(iter(wanted)): found}
    marks: list[Mapping[str, int]] = []
    for plain, label in wanted.items():
        if plain not in entries:
            return ReplyProblem("missing_system", label)
        checked = _check_marks(entries[plain], label)
        if isinstance(checked, ReplyProblem):
            return checked
        marks.append(checked)
    return JudgeAnswer(scores=tuple(marks))


def _check_marks(entry: Any, label: str) -> Mapping[str, int] | ReplyProblem:
    found = _named(entry)
    if not isinstance(found, ReplyProblem) and "scores" in found:
        found = _named(found["scores"])
    if isinstance(found, ReplyProblem):
        return found if found.kind == "duplicate_key" else ReplyProblem("missing_mark", f"all of {label}")
    marks: dict[str, int] = {}
    for name in DIMENSIONS:
        value = found.get(name.lower())
        if isinstance(value, Mapping):
            value = value.get("score")
        mark = _mark(value, f"{name} of {label}")
        if isinstance(mark, ReplyProblem):
            return mark
        marks[name] = mark
    return marks


def _mark(value: Any, what: str) -> int | ReplyProblem:
    """Return a mark: a whole number, or a text that is one, perhaps with "/10" behind it."""
    if value is None:
        return ReplyProblem("missing_mark", what)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*(?:/\s*10)?\s*", value)
        if match is None:
            return ReplyProblem("not_a_number", f"{what} is {_excerpt(value)!r}")
        value = float(match.group(1))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ReplyProblem("not_a_number", f"{what} is {_excerpt(repr(value))}")
    if isinstance(value, float) and not math.isfinite(value):
        return ReplyProblem("not_a_number", f"{what} is {value}")
    if value != int(value):
        return ReplyProblem("not_whole", f"{what} is {value}")
    if not LOWEST_MARK <= value <= HIGHEST_MARK:
        return ReplyProblem("out_of_range", f"{what} is {_excerpt(str(int(value)))}")
    return int(value)


def _check_choices(entries: Mapping[str, Any], labels: Sequence[str]) -> JudgeAnswer | ReplyProblem:
    given = _named(entries.get("choices", entries))
    if isinstance(given, ReplyProblem):
        return given if given.kind == "duplicate_key" else ReplyProblem("missing_mark", "all choices")
    allowed: dict[str, int | None] = {"tie": None}
    for position, label in enumerate(labels):
        allowed |= {_plain(label): position, _plain(label).removeprefix("model_"): position}
    choices: dict[str, int | None] = {}
    for name in DIMENSIONS:
        value = given.get(name.lower())
        if value is None:
            return ReplyProblem("missing_mark", name)
        if not isinstance(value, str) or _plain(value) not in allowed:
            return ReplyProblem("unknown_choice", f"{name} is {_excerpt(repr(value))}")
        choices[name] = allowed[_plain(value)]
    return JudgeAnswer(choices=choices)


def _named(found: Any) -> dict[str, Any] | ReplyProblem:
    """Return an object under plain names, or the problem that it is none or has one name twice."""
    if not isinstance(found, Mapping):
        return ReplyProblem("not_an_object", _excerpt(repr(found)))
    try:
        return _without_duplicates([(_plain(str(key)), value) for key, value in found.items()])
    except _DuplicateKeyError as error:
        return ReplyProblem("duplicate_key", str(error))


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().split())


def _excerpt(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
