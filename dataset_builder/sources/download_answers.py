"""What a site answered when a video was asked for, as one of a few words.

A word decides two things: whether to ask again (only where the site or the line failed, never where it said no), and
what the availability table says. Nothing here tries another way in.
"""

import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Literal

from animeshooter_hf.dataset_builder.release.availability import AvailabilityStatus

__all__ = ["ANSWERS", "BLOCKS", "TRANSIENT", "Answer", "classify", "http_status", "retry_after", "status_of"]

Answer = Literal[
    "downloaded",
    "private",
    "removed",
    "region",
    "age",
    "members_only",
    "bot_check",
    "rate_limited",
    "forbidden",
    "server_error",
    "network",
    "live",
    "too_long",
    "too_large",
    "playlist",
    "no_format",
    "unsupported",
    "other",
]

ANSWERS: dict[Answer, tuple[AvailabilityStatus, str]] = {
    "downloaded": ("available", "the video is here"),
    "private": ("private", "its owner has made it private"),
    "removed": ("removed", "it is no longer there"),
    "region": ("region", "it is not shown in this country"),
    "age": ("age", "it is shown to adults only"),
    "members_only": ("private", "it is shown to members or buyers only"),
    "bot_check": ("unchecked", "the site asks whether a person is there"),
    "rate_limited": ("unchecked", "the site asks for fewer requests"),
    "forbidden": ("unchecked", "the site refuses the request"),
    "server_error": ("unchecked", "the site failed"),
    "network": ("unchecked", "the connection failed"),
    "live": ("missing", "it is a live broadcast"),
    "too_long": ("missing", "it is longer than wanted"),
    "too_large": ("missing", "its file is larger than allowed"),
    "playlist": ("missing", "the address is a list of videos"),
    "no_format": ("missing", "it is not offered in a wanted format"),
    "unsupported": ("missing", "no video was found at the address"),
    "other": ("unchecked", "the download failed"),
}
"""Answer -> (status in the availability table, what it means)."""

TRANSIENT: frozenset[Answer] = frozenset({"rate_limited", "server_error", "network"})
"""Answers after which the same question is put again, later."""

BLOCKS: frozenset[Answer] = frozenset({"bot_check", "rate_limited"})
"""Answers by which a site asks to be left alone; after a few in a row the run stops."""

# In order: the first pattern that is found counts. The words are those of yt-dlp and of the sites that it quotes.
_MESSAGES: tuple[tuple[Answer, str], ...] = (
    ("bot_check", r"not a bot|captcha|unusual traffic|anti-bot|cloudflare"),
    ("rate_limited", r"rate.?limit|too many requests|try again later"),
    ("age", r"confirm your age|age.?restricted|inappropriate for some users|age verification"),
    ("members_only", r"members.only|join this channel|requires payment|purchase|premium|subscriber"),
    ("private", r"private video|video is private|log ?in|sign in|account credentials"),
    (
        "region",
        r"not (?:made this video )?available (?:in|from) your (?:country|location|region)|geo.?restrict|blocked it in",
    ),
    ("no_format", r"requested format|no video formats|only images"),
    ("removed", r"removed|terminated|no longer available|deleted|does not exist|video unavailable|not available"),
    ("live", r"live event|premieres in|is live\b|will begin in|not started"),
    ("unsupported", r"unsupported url|is not a valid url|no suitable"),
    (
        "network",
        r"timed? ?out|connection|unable to connect|name resolution|resolve host|incomplete|content too short|reset by"
        r"|bytes read|\bssl\b|eof occurred|more expected|fetch failed",
    ),
)
_PATTERNS = tuple((answer, re.compile(words, re.IGNORECASE)) for answer, words in _MESSAGES)
_NUM_REFUSALS = 8
_NAMES = re.compile(r"\[[^\]\s]{1,60}\] [^:\s]{1,200}: |https?://\S+")
_MAX_MESSAGE = 4000
_MAX_CHAIN = 10


def classify(error: BaseException) -> Answer:
    """Return what a failed download means, from the message and the HTTP status behind it."""
    message = _NAMES.sub(" ", str(error)[:_MAX_MESSAGE])  # the name of a video says nothing about it
    status = http_status(error)
    if any(type(one).__name__ == "GeoRestrictedError" for one in _chain(error)):
        return "region"
    if status == 429:
        return "rate_limited"
    for answer, pattern in _PATTERNS[:_NUM_REFUSALS]:  # what a site says counts more than the number it says it with
        if pattern.search(message):
            return answer
    if status in (404, 410):
        return "removed"
    if status == 451:
        return "region"
    if status in (401, 403):
        return "forbidden"
    if status is not None and status >= 500:
        return "server_error"
    return next((answer for answer, pattern in _PATTERNS[_NUM_REFUSALS:] if pattern.search(message)), "other")


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error, if there is one."""
    for one in _chain(error):
        status = getattr(one, "status", None)
        if isinstance(status, int):
            return status
    return None


def retry_after(error: BaseException) -> float | None:
    """Return the seconds that the site asks to wait, whether said in seconds or as a date; None if it does not ask."""
    for one in _chain(error):
        headers = getattr(getattr(one, "response", None), "headers", None)
        text = headers.get("Retry-After") if headers is not None else None
        if not isinstance(text, str):
            continue
        if re.fullmatch(r"\s*\d{1,9}\s*", text):
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None


def status_of(answer: Answer) -> AvailabilityStatus:
    """Return what the availability table says of an answer."""
    return ANSWERS[answer][0]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it: yt-dlp wraps them in `exc_info` and `cause`."""
    todo: list[object] = [error]
    seen: list[int] = []
    while todo and len(seen) < _MAX_CHAIN:
        one = todo.pop(0)
        if isinstance(one, tuple):
            todo += one[1:2]
        elif isinstance(one, BaseException) and id(one) not in seen:
            seen.append(id(one))
            yield one
            todo += [getattr(one, "exc_info", None), getattr(one, "cause", None), one.__cause__, one.__context__]
