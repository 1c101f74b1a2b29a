"""File names for video IDs that any disk can hold: the ID itself, or an escaped form that can be turned back.

YouTube IDs begin with "-" now and then, which command lines take for an option, and differ by case alone, which many
disks do not tell apart. The escaped form holds only lower-case letters, digits, hyphens and dots as they are;
everything else, a hyphen or dot at the start or a dot at the end becomes "_" and two hexadecimal digits per byte.
"""

import re
from collections.abc import Iterable

__all__ = ["escape_video_id", "find_case_twins", "unescape_video_id"]

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_ESCAPED = re.compile(r"(?:[a-z0-9.-]|_[0-9a-f]{2})+")


def escape_video_id(video_id: str) -> str:
    """Return a file name's stem for a video ID; two IDs never share one, on no disk.

    Example:
        >>> escape_video_id("-aB_c")
        '_2da_42_5fc'
    """
    last = len(video_id) - 1
    return "".join(
        letter
        if letter in _PLAIN and not (position == 0 and letter in "-.") and not (position == last and letter == ".")
        else "".join(f"_{byte:02x}" for byte in letter.encode("utf-8", "surrogatepass"))
        for position, letter in enumerate(video_id)
    )


def unescape_video_id(stem: str) -> str | None:
    """Return the video ID of an escaped stem, or None if the stem is none.

    Example:
        >>> unescape_video_id("_2da_42_5fc"), unescape_video_id("-aB_c")
        ('-aB_c', None)
    """
    if not _ESCAPED.fullmatch(stem):
        return None
    try:
        raw = re.sub(r"_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), stem).encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return raw if escape_video_id(raw) == stem else None


def find_case_twins(video_ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different IDs that a disk without regard to case would take for one, sorted."""
    groups: dict[str, set[str]] = {}
    for video_id in video_ids:
        groups.setdefault(video_id.casefold(), set()).add(video_id)
    return sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
