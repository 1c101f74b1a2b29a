"""The times of a shot as a model states them: clocks in any usual form, numbers of cuts, frames and ranges.

Each function is total: it returns a value or None, and reports what it could not read.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from animeshooter_hf.clock import parse_clock, parse_clock_range
from animeshooter_hf.dataset_builder.release.values import Place, is_nothing, show

__all__ = ["read_clip_span", "read_frames", "read_number", "read_time", "read_times"]

_MAX_TIME_TEXT = 64
_START_WORDS = {"start", "beginning", "begin", "segment start", "start of segment"}
_END_WORDS = {"end", "the end", "segment end", "end of segment", "end of video", "end of clip"}
_AROUND_TIME = re.compile(r"^[\s\[(<~≈t=]*|[\s\])>.]*$")
_SPELLED_TIME = re.compile(r"^(?:(\d{1,3})\s*(?:m|min|minutes?)\s*)?(\d{1,5}(?:\.\d{1,6})?)\s*(?:s|secs?|seconds?)$")


def read_time(value: object) -> float | None:
    """Return the seconds meant by a time in any usual form; infinity for "end"; None for anything else.

    Example:
        >>> read_time("01:02.5"), read_time("[00:07]"), read_time("1m 5s"), read_time("00:04,500"), read_time("end")
        (62.5, 7.0, 65.0, 4.5, inf)
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return None
    if not isinstance(value, str):
        return parse_clock(value)
    if len(value) > _MAX_TIME_TEXT:
        return None
    words = " ".join(value.casefold().split()).strip(" .")
    if words in _END_WORDS:
        return math.inf
    if words in _START_WORDS:
        return 0.0
    bare = _AROUND_TIME.sub("", words).replace(",", ".")
    if (seconds := parse_clock(bare)) is not None:
        return seconds
    if match := _SPELLED_TIME.match(bare):
        return int(match[1] or 0) * 60 + float(match[2])
    return None


def read_times(fields: Mapping[str, Any], what: str, place: Place) -> tuple[float | None, float | None]:
    """Return (start, end) in seconds from the keys of a shot; None for what is absent or cannot be read."""
    start, end = fields.get("start"), fields.get("end")
    span = _read_range(fields.get("span")) if is_nothing(start) and is_nothing(end) else None
    if span is None and (span := _read_range(start)) is not None:
        place.report("shots_merged_times", f"the start of {what} is {show(start)}")
        if not is_nothing(end) and _read_range(end) is None:
            span = (span[0], read_time(end) if read_time(end) is not None else span[1])  # type: ignore[assignment]
    if span is not None:
        return span
    times: list[float | None] = []
    for value, word in ((start, "start"), (end, "end")):
        time = None if is_nothing(value) else read_time(value)
        if time is None and not is_nothing(value):
            place.report("time_unreadable", f"the {word} of {what} is {show(value)}")
        times.append(time)
    return times[0], times[1]


def _read_range(value: object) -> tuple[float, float] | None:
    """Return (start, end) of "00:04-00:08", of a list of two times, or None."""
    if isinstance(value, str):
        if len(value) > _MAX_TIME_TEXT:
            return None
        if (span := parse_clock_range(value)) is not None:
            return span
        value = re.split(r"\s*(?:->|→|-|–|—| to |~)\s*", value.strip())
    if not isinstance(value, list) or len(value) != 2:
        return None
    start, end = (read_time(one) for one in value)
    return None if start is None or end is None else (start, end)


def read_number(value: object, what: str, place: Place) -> int | None:
    """Return the whole number of a cut, also from a text such as "cut 3"; negative ones stay so."""
    if is_nothing(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 31:
        return value
    number: int | None = None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e9:
        number = int(value)
    elif isinstance(value, str) and (
        match := re.fullmatch(r"\s*(?:cut|k|#)?[\s=_#]*(-?\d{1,6})(?:\.0+)?\s*", value[:40])
    ):
        number = int(match[1])
    if number is None:
        place.report("time_unreadable", f"{what} is {show(value)}")
    else:
        place.report("type_coerced", f"{what} is {show(value)}, read as {number}")
    return number


def read_frames(fields: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (first frame, frame after the last one) from the keys of a shot, or None."""
    start, end = fields.get("start_frame"), fields.get("end_frame")
    whole = all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**31 for one in (start, end))
    return (start, end) if whole else None  # type: ignore[return-value]  # both are int


def read_clip_span(value: object, what: str, place: Place) -> tuple[float, float] | None:
    """Return (start, end) in seconds of the span that shows a shot best, or None."""
    if is_nothing(value) or value == []:
        return None
    span = _read_range(value)
    if span is None or span[1] < span[0]:
        place.report("clip_span_unreadable", f"the four-second span of {what} is {show(value)}")
        return None
    return span
