"""Exact time: rational frame rates, half-open frame ranges, and the clock texts of annotators.

Times are counted in frames of the original video. A range `[start, end)` holds `end - start` frames. Seconds are
derived from frames, never the other way round, so that nothing drifts.
"""

import math
import re
from fractions import Fraction

__all__ = ["exact_frame_rate", "frame_at", "parse_clock", "parse_clock_range", "seconds_at"]

_CLOCK = re.compile(r"^\s*(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,6})?)\s*$")
_PLAIN_SECONDS = re.compile(r"^\s*(\d{1,6}(?:\.\d{1,6})?)\s*s?\s*$")
_RANGE = re.compile(r"^\s*([0-9:.]+)\s*(?:-|–|—|to|~)\s*([0-9:.]+)\s*$")


def exact_frame_rate(rate: Fraction | float | str | int) -> Fraction:
    """Return the rational frame rate meant by a number or text such as 23.976, "24000/1001" or 30.

    Args:
        rate: Frames per second. Decimal roundings of the NTSC family (23.98, 23.976, 29.97, 59.94 and
            119.88) become multiples of 1000/1001.

    Raises:
        ValueError: If it is not a finite number between 0 (exclusive) and 1000.

    Example:
        >>> exact_frame_rate(23.976), exact_frame_rate("30000/1001"), exact_frame_rate(12.5)
        (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2))
    """
    try:
        exact = Fraction(rate)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError) as error:
        raise ValueError(f"A frame rate must be a number such as 24 or 24000/1001, got {rate!r}.") from error
    if not 0 < exact <= 1000:
        raise ValueError(f"A frame rate must lie in (0, 1000], got {rate!r}.")
    if isinstance(rate, Fraction | int):
        return exact
    ntsc = Fraction(math.ceil(exact) * 1000, 1001)
    if exact.denominator != 1 and abs(exact - ntsc) < Fraction(1, 190):
        return ntsc
    return exact.limit_denominator(1001)


def seconds_at(frame: int, rate: Fraction) -> float:
    """Return the time in seconds at which a frame begins."""
    return float(frame / rate)


def frame_at(seconds: float | Fraction, rate: Fraction) -> int:
    """Return the frame that begins nearest to a time; a tie goes to the later frame."""
    if isinstance(seconds, float) and seconds.is_integer():  # the same, without a Fraction for each whole second
        return (2 * int(seconds) * rate.numerator + rate.denominator) // (2 * rate.denominator)
    return math.floor(Fraction(seconds) * rate + Fraction(1, 2))


def parse_clock(text: object) -> float | None:
    """Return the seconds meant by "MM:SS", "M:SS", "HH:MM:SS", decimals of those, or plain seconds.

    It is total: anything else gives None, and never an exception, because the texts come from language models.

    Example:
        >>> parse_clock("01:02.5"), parse_clock("1:00:00"), parse_clock(7), parse_clock("end")
        (62.5, 3600.0, 7.0, None)
    """
    if isinstance(text, bool):
        return None
    if isinstance(text, int | float):
        return float(text) if math.isfinite(text) and 0 <= text < 1_000_000 else None
    if not isinstance(text, str) or len(text) > 32:
        return None
    if match := _CLOCK.match(text):
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
    return float(match[1]) if (match := _PLAIN_SECONDS.match(text)) else None


def parse_clock_range(text: object) -> tuple[float, float] | None:
    """Return (start, end) in seconds of a text such as "00:04-00:08", or None.

    Example:
        >>> parse_clock_range("00:04-00:08"), parse_clock_range("00:04")
        ((4.0, 8.0), None)
    """
    if not isinstance(text, str) or len(text) > 64 or not (match := _RANGE.match(text)):
        return None
    start, end = (parse_clock(part) for part in match.groups())
    return None if start is None or end is None else (start, end)
