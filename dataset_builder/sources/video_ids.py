"""Lists of videos as people write them: an ID or an address per line."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from animeshooter_hf.dataset_builder.sources.folder import RefusedFilm, is_safe_id
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import youtube_id

__all__ = ["VideoAddress", "VideoList", "address_of", "read_video_list"]

_YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
_MAX_BYTES = 64 << 20
_MAX_LINE = 4096


@dataclass(frozen=True, slots=True)
class VideoAddress:
    """A video and where it can be found."""

    video_id: str
    """Its ID."""

    url: str
    """Its address, http or https. An ID is never handed on bare, since it may begin with a hyphen."""


@dataclass(frozen=True, slots=True)
class VideoList:
    """What a list names."""

    videos: tuple[VideoAddress, ...]
    """In the list's order, each once."""

    refused: tuple[RefusedFilm, ...]
    """Lines that name no video, with the reason."""


def address_of(text: str) -> VideoAddress:
    """Return the video that a line names: a YouTube ID, an address, or an ID and its address.

    An address of another site gives the ID in its last part, or a hash of the address where that cannot serve as one.

    Raises:
        InputError: If it names none.

    Example:
        >>> address_of("-vJRvwIDh0E").url
        'https://www.youtube.com/watch?v=-vJRvwIDh0E'
    """
    line = re.sub(r"^([^\s,:/]{1,200})\s*,\s*(?=https?://)", r"\1 ", text.strip()[:_MAX_LINE])
    words = line.split()
    if len(words) == 2 and "://" in words[1]:
        video_id, url = words
    elif len(words) == 1 and (found := youtube_id(words[0])):
        video_id, url = found, _youtube_url(found)
    elif len(words) == 1 and "://" in words[0]:
        video_id, url = _id_in(words[0]), words[0]
    elif len(words) == 1 and _YOUTUBE_ID.fullmatch(words[0]):
        video_id, url = words[0], _youtube_url(words[0])
    else:
        raise InputError(f"{text.strip()[:80]!r} is neither a YouTube ID, nor an address, nor an ID and an address.")
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url[:80]!r} is no http or https address.")
    if not is_safe_id(video_id):
        raise InputError(f"{video_id[:80]!r} cannot serve as an ID; use letters, digits, '-', '_' and '.'.")
    return VideoAddress(video_id, url)


def read_video_list(path: Path) -> VideoList:
    """Return the videos of a list file, one per line; blank lines and those that begin with `#` say nothing.

    Raises:
        InputError: If the file is missing, is no text, or names not one video.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The list of videos {path} cannot be read as UTF-8 text.") from error
    if len(content) > _MAX_BYTES:
        raise InputError(f"The list of videos {path} holds more than {_MAX_BYTES >> 20} MB.")
    found = _collect(lines, path)
    if not found.videos:
        reason = found.refused[0].reason if found.refused else "it is empty."
        raise InputError(f"The list {path} names no video: {reason}")
    return found


def _collect(lines: Iterable[str], path: Path) -> VideoList:
    videos: dict[str, VideoAddress] = {}
    refused: list[RefusedFilm] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            video = address_of(line)
        except InputError as error:
            refused.append(RefusedFilm(path=path, reason=f"Line {number}: {error}"))
            continue
        known = videos.setdefault(video.video_id, video)
        if known.url != video.url:
            reason = f"Line {number}: {video.url} has the same ID as {known.url}."
            refused.append(RefusedFilm(path=path, reason=reason, video_id=video.video_id))
    return VideoList(tuple(videos.values()), tuple(refused))


def _youtube_url(video_id: str) -> str:
    return f"https://www.youtube.com/watch?v={video_id}"


def _id_in(url: str) -> str:
    """Return the last part of an address without its suffix, or a hash of the address."""
    parts = _split(url)
    stem = PurePosixPath(unquote(parts.path)).stem if parts else ""
    is_telling = bool(stem) and is_safe_id(stem) and parts is not None and not parts.query
    return stem if is_telling else hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:  # such as an unclosed bracket
        return None
