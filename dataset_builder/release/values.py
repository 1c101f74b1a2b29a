"""Single values of the public release: texts, numbers, flags and lists, whatever type they were written in.

Each function is total: it returns a value or None, reports what it mended, and never raises.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

from animeshooter_hf.clock import exact_frame_rate, parse_clock, parse_clock_range

__all__ = [
    "MAX_WHOLE",
    "Place",
    "ProblemSink",
    "fold_name",
    "is_nothing",
    "read_clock",
    "read_clock_range",
    "read_flag",
    "read_id",
    "read_list",
    "read_rate",
    "read_text",
]
__all__ += ["read_text", "read_whole", "show"]

MAX_WHOLE = 2**31 - 1
"""Largest whole number that is read."""
_SHOWN = 80
_MAX_DIGITS = 40
_LONGEST_CLOCK, _LONGEST_RANGE = 32, 64
"""Letters; a longer text is no time."""
_RATE_TEXT = re.compile(r"^\s*\d{1,6}(?:\.\d{1,12}|/\d{1,6})?\s*$")
_NOTHING = {"", "n/a", "na", "n.a.", "none", "null", "nil", "-"}
_TRUE = {"true", "yes", "1", "prologue", "epilogue"}
_FALSE = _NOTHING | {"false", "no", "0"}


class ProblemSink(Protocol):
    """Anything that counts problems: the log of a release, or the issues of one answer."""

    def add(self, code: str, where: str, story_id: str | None = None, detail: str = "") -> None:
        """Count a problem."""


@dataclass(frozen=True, slots=True)
class Place:
    """A story in a file: where problems are reported."""

    log: ProblemSink
    """The log."""

    file: str
    """The file, or the member of a zip."""

    story_id: str | None = None
    """The story, once it is known."""

    def report(self, code: str, detail: str = "") -> None:
        """Count a problem here."""
        self.log.add(code, self.file, self.story_id, detail)


def show(value: object) -> str:
    """Return a value as it may stand in a report: one short line, whatever it is."""
    if isinstance(value, str):
        text = repr(value[: _SHOWN + 1])
        if len(text) <= _SHOWN and text.isascii():  # nearly always
            return text
    elif isinstance(value, int) and value.bit_length() > 128:
        text = f"a number of {value.bit_length()} bits"
    elif value is None or isinstance(value, int | float):
        text = repr(value)
    elif isinstance(value, list) and len(value) <= 4 and all(isinstance(v, str | int | float) for v in value):
        text = f"[{', '.join(show(item) for item in value)}]"
    elif isinstance(value, list):
        text = f"a list of {len(value)}"
    elif isinstance(value, Mapping):
        text = f"an object of {len(value)} keys"
    else:
        text = type(value).__name__
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def is_nothing(value: object) -> bool:
    """Return whether a value says that there is nothing, such as null, "" or "N/A"."""
    return value is None or (isinstance(value, str) and len(value) < 10 and value.strip().casefold() in _NOTHING)


def fold_name(name: str) -> str:
    """Return the name of a character or scene without regard to case, spaces and trailing dots."""
    return " ".join(name.casefold().replace("_", " ").split()).rstrip(". ")


def read_text(value: object, what: str, place: Place) -> str | None:
    """Return a text as it stands, a number as text, or None; a text of blanks is None too."""
    if isinstance(value, str):
        if not value.isascii():
            value = _mend_pairs(value, what, place)
        return value if value and not value.isspace() else None
    if value is None:
        return None
    is_short_number = isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 128)
    if is_short_number and not isinstance(value, bool):
        place.report("type_coerced", f"{what} is the number {show(value)}, not a text")
        return str(value)
    place.report("text_unreadable", f"{what} is {show(value)}")
    return None


def read_id(value: object, what: str, place: Place) -> str | None:
    """Return a name without spaces around it, or None where there is none."""
    text = read_text(value, what, place)
    if text is None or text == text.strip():
        return text
    place.report("id_trimmed", f"{what} is {show(text)}")
    return text.strip()


def read_whole(value: object, what: str, place: Place) -> int | None:
    """Return a whole number from 0 to 2^31 - 1, also from a text or a float that means one; otherwise None."""
    if value is None:
        return None
    if type(value) is int and 0 <= value <= MAX_WHOLE:  # nearly always
        return value
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and math.isfinite(value) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and len(value) <= _MAX_DIGITS and re.fullmatch(r"\s*\d+(\.0+)?\s*", value):
        number = int(value.split(".")[0])
    if number is None or not 0 <= number <= MAX_WHOLE:
        place.report("number_unreadable", f"{what} is {show(value)}")
        return None
    if not isinstance(value, int):
        place.report("type_coerced", f"{what} is {show(value)}, read as {number}")
    return number


def read_clock(value: object) -> float | None:
    """Return the seconds meant by a clock text or a number, or None."""
    if type(value) is str:
        return _parse_clock_text(value) if len(value) <= _LONGEST_CLOCK else None
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    return parse_clock(value)


def read_clock_range(value: object) -> tuple[float, float] | None:
    """Return (start, end) in seconds of a text such as "00:04-00:08", or None."""
    if type(value) is str and len(value) <= _LONGEST_RANGE:
        return _parse_range_text(value)
    return parse_clock_range(value)


# The same few hundred times are written millions of times.
_parse_clock_text = lru_cache(maxsize=4096)(parse_clock)
_parse_range_text = lru_cache(maxsize=4096)(parse_clock_range)


def read_rate(value: object, place: Place) -> Fraction | None:
    """Return an exact frame rate between 1 and 1000, or None."""
    if is_nothing(value):
        place.report("fps_missing")
        return None
    plain = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= 1000
    # The pattern keeps texts such as "1e999999999" from Fraction, which would write out every digit.
    if isinstance(value, str) and _RATE_TEXT.match(value):
        plain = "/" not in value or int(value.split("/")[1]) > 0
        plain = plain and 1 <= float(Fraction(value.strip())) <= 1000
    if not plain:
        place.report("fps_unreadable", f"fps is {show(value)}")
        return None
    if isinstance(value, str):
        place.report("type_coerced", f"fps is the text {show(value)}")
    return exact_frame_rate(value.strip() if isinstance(value, str) else value)  # type: ignore[arg-type]


def read_flag(value: object, what: str, place: Place) -> bool:
    """Return the truth meant by a flag; absent and "N/A" are false, "prologue" and "epilogue" are true."""
    if value is None or isinstance(value, bool):
        return bool(value)
    word = value.strip().casefold() if isinstance(value, str) and len(value) < 20 else value
    if word in (0, 1) or (isinstance(word, str) and (word in _TRUE or word in _FALSE)):
        if not (isinstance(word, str) and (word in ("prologue", "epilogue") or word in _NOTHING)):
            place.report("type_coerced", f"{what} is {show(value)}")
        return word == 1 or word in _TRUE
    place.report("flag_unreadable", f"{what} is {show(value)}")
    return False


def read_list(value: object, what: str, place: Place, *, id_key: str | None = None) -> list[Any]:
    """Return a list; an object's values or a single text count as one, anything else is reported and empty.

    Args:
        value: A JSON value.
        what: The list, in words, for reports.
        place: Where reports go.
        id_key: Where given, an object `{name: value}` becomes `[{id_key: name, ...value}]`.
    """
    if isinstance(value, list):
        return value
    if value is None or is_nothing(value):
        return []
    if isinstance(value, str):
        place.report("list_as_object", f"{what} is the text {show(value)}")
        return [value]
    if isinstance(value, Mapping):
        place.report("list_as_object", f"{what} is {show(value)}")
        if id_key is None:
            return list(value.values())
        if any(fold_name(str(key)) == fold_name(id_key) for key in value):
            return [value]
        return [{id_key: key, **_as_object(item)} for key, item in value.items()]
    place.report("list_unreadable", f"{what} is {show(value)}")
    return []


def _as_object(item: object) -> Mapping[Any, Any]:
    if isinstance(item, Mapping):
        return item
    return {"masks": item} if isinstance(item, list) else {"description": item}


def _mend_pairs(text: str, what: str, place: Place) -> str:
    """Return the text without lone surrogates, which no UTF-8 file can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        place.report("broken_text", f"{what} is {show(text)}")
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
