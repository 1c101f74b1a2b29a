"""Download videos politely, through yt-dlp.

Politely means: one at a time, with a pause before each; no faster than the settings say; nothing asked for twice; as
long a wait as a site asks for; a stop after a few answers that ask to be left alone; and nothing that gets around a
refusal: no other country, no other age, no solved riddles, no borrowed browser. Cookies come only from a file that the
user names, and that file is not written to. What is on the takedown list is never asked for.

A folder holds `NAME.mp4` (or another suffix) and `NAME.info.json` per video, NAME being `escape_video_id` of its ID,
and the ledger `availability.jsonl`. A stopped run goes on where it was, inside a file too.
"""

import io
import json
import os
import random
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from animeshooter_hf.dataset_builder.release.names import escape_video_id
from animeshooter_hf.dataset_builder.sources.download_answers import (
    BLOCKS,
    TRANSIENT,
    Answer,
    classify,
    retry_after,
    status_of,
)
from animeshooter_hf.dataset_builder.sources.download_ledger import Attempt, AttemptLedger, utc_now
from animeshooter_hf.dataset_builder.sources.folder import (
    AVAILABILITY_FILE,
    MAX_SECONDS,
    FilmFile,
    FoundFilms,
    RefusedFilm,
)
from animeshooter_hf.dataset_builder.sources.video_ids import VideoAddress
from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require
from animeshooter_hf.takedown import TakedownList

__all__ = ["DownloadSettings", "Downloader"]

_INFO_KEYS = (
    "id", "title", "license", "channel", "channel_id", "channel_url", "uploader", "uploader_url", "webpage_url",
    "upload_date", "duration", "fps", "width", "height", "age_limit", "extractor",
)  # fmt: skip
_MAX_NAME = 200
_MAX_DETAIL = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadSettings:
    """How videos are asked for. All values are our choice."""

    max_height: int = 720
    """Largest height in pixels; a video of unknown height is taken."""

    formats: str | None = None
    """yt-dlp's format selection; mp4 up to `max_height` if None."""

    bytes_per_second: int = 4 << 20
    """Fastest rate of a download."""

    pause_seconds: float = 5.0
    """Wait before each video but the first."""

    request_pause_seconds: float = 1.0
    """Wait between the requests for one video's page."""

    attempts: int = 4
    """How often a video is asked for where the site or the line fails."""

    backoff_seconds: float = 10.0
    """Wait before the second attempt; it doubles with each, and a random part of up to a quarter is added."""

    max_wait_seconds: float = 600.0
    """Longest wait. A site that asks for a longer one is not asked again in this run."""

    timeout_seconds: float = 30.0
    """Wait for an answer."""

    max_seconds: float = MAX_SECONDS
    """Longer videos are not downloaded where the site tells their length. Paper: 20 minutes."""

    max_file_bytes: int = 4 << 30
    """Larger files are not downloaded where the site tells their size."""

    stop_after_blocks: int = 3
    """After so many videos in a row for which the site asked to be left alone, the run stops."""

    cookies: Path | None = None
    """File of cookies in Netscape format, named by the user; it is read and never written."""

    def __post_init__(self) -> None:
        for name in ("max_height", "bytes_per_second", "attempts", "max_file_bytes", "stop_after_blocks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a download must be at least 1, got {getattr(self, name)}.")
        for name in ("pause_seconds", "request_pause_seconds", "backoff_seconds", "max_wait_seconds"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} of a download must not be negative, got {getattr(self, name)}.")
        if not (self.timeout_seconds > 0 and self.max_seconds > 0):
            raise InputError("timeout_seconds and max_seconds of a download must be more than 0.")


@dataclass(slots=True)
class _Refusal:
    """What our own rules said of a video before its file was asked for."""

    answer: Answer | None = None
    detail: str = ""


@dataclass(slots=True)
class _Outcome:
    answer: Answer
    detail: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    wait_seconds: float | None = None


class Downloader:
    """Downloads into one folder."""

    def __init__(self, folder: Path, settings: DownloadSettings | None = None) -> None:
        """Prepare the folder; nothing is asked for yet.

        Raises:
            InputError: If the folder cannot be written or the file of cookies cannot be read.
            MissingExtraError: If yt-dlp is not installed.
        """
        self._yt_dlp = require("yt_dlp", extra="download", purpose="Downloading videos")
        self._settings = settings or DownloadSettings()
        self._folder = folder.resolve()
        self._cookies = _read_cookies(self._settings.cookies)
        if os.path.expandvars(os.path.expanduser(str(self._folder))) != str(self._folder):  # noqa: PTH111
            raise InputError(f"The folder {folder} has a '$' or '~' in its name, which yt-dlp would replace.")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self.ledger = AttemptLedger(self._folder / AVAILABILITY_FILE)
            """What came of every video asked for, in this run and earlier ones."""
            (self._folder / AVAILABILITY_FILE).touch()
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be written: {error.strerror}.") from error

    def download(
        self, videos: Sequence[VideoAddress], *, takedown: TakedownList | None = None, progress: bool = True
    ) -> FoundFilms:
        """Download what is not here yet, and return the files and what was refused.

        Args:
            videos: In the order in which they are asked for.
            takedown: These are never asked for.
            progress: Whether to show a bar on stderr.
        """
        films: list[FilmFile] = []
        refused: list[RefusedFilm] = []
        num_asked = num_blocks = 0
        for video in tqdm(videos, desc="videos", unit="video", disable=None if progress else True):
            reason = self._reason_against(video, takedown, num_blocks)
            attempt = self._done(video)
            if reason is None and attempt is None:
                if num_asked:
                    time.sleep(self._settings.pause_seconds)
                num_asked += 1
                attempt = self._ask(video)
                num_blocks = num_blocks + 1 if attempt.answer in BLOCKS else 0
            if reason is None and attempt is not None and attempt.file is not None:
                path = self._folder / attempt.file
                films.append(FilmFile(video_id=video.video_id, path=path, url=video.url))
            else:
                why = reason or (attempt.reason if attempt else "")
                path = self._folder / escape_video_id(video.video_id)
                refused.append(RefusedFilm(path=path, reason=why, video_id=video.video_id))
        return FoundFilms(films=tuple(sorted(films, key=lambda film: film.video_id)), refused=tuple(refused))

    def _reason_against(self, video: VideoAddress, takedown: TakedownList | None, num_blocks: int) -> str | None:
        """Return why a video is not to be had, before it is asked for."""
        if takedown is not None and takedown.hits(video.video_id):
            return f"{video.video_id} is on the takedown list."
        if len(escape_video_id(video.video_id)) > _MAX_NAME:
            return f"The ID {video.video_id[:40]!r}... is too long for a file name."
        if num_blocks >= self._settings.stop_after_blocks and self._done(video) is None:
            return f"{video.video_id} was not asked for: the site asked to be left alone {num_blocks} times in a row."
        return None

    def _done(self, video: VideoAddress) -> Attempt | None:
        """Return the last attempt if it need not be repeated: the file is here, or the site said no for good."""
        last = self.ledger.last(video.video_id)
        if last is None or last.url != video.url or status_of(last.answer) == "unchecked":
            return None
        if last.file is None:
            return last
        path = self._folder / last.file
        return last if path.is_file() and path.stat().st_size == last.num_bytes else None

    def _ask(self, video: VideoAddress) -> Attempt:
        """Ask for a video until it is here, the site says no, or the attempts are used up; write it down."""
        settings = self._settings
        for number in range(1, settings.attempts + 1):
            outcome = self._ask_once(video)
            wait = outcome.wait_seconds
            if outcome.answer not in TRANSIENT or number == settings.attempts:
                break
            if wait is not None and wait > settings.max_wait_seconds:
                break
            backoff = settings.backoff_seconds * 2 ** (number - 1) * random.uniform(1, 1.25)
            time.sleep(min(max(backoff, wait or 0), settings.max_wait_seconds))
        attempt = Attempt(
            video_id=video.video_id,
            url=video.url,
            answer=outcome.answer,
            detail=outcome.detail,
            checked_at=utc_now(),
            requests=number,
            file=outcome.path.name if outcome.path else None,
            num_bytes=outcome.path.stat().st_size if outcome.path else None,
        )
        if outcome.path:
            _write_info(self._folder / f"{escape_video_id(video.video_id)}.info.json", video, outcome.info)
        self.ledger.add(attempt)
        return attempt

    def _ask_once(self, video: VideoAddress) -> _Outcome:
        refusal = _Refusal()
        options = self._options(escape_video_id(video.video_id), refusal)
        try:
            with self._yt_dlp.YoutubeDL(options) as ydl:
                info = ydl.extract_info(video.url, download=True)
        except self._yt_dlp.utils.YoutubeDLError as error:
            return _Outcome(classify(error), _one_line(str(error)), wait_seconds=retry_after(error))
        except OSError as error:
            return _Outcome("network", _one_line(str(error)))
        if refusal.answer:
            return _Outcome(refusal.answer, refusal.detail)
        if not isinstance(info, dict) or info.get("_type", "video") != "video":
            return _Outcome("playlist")
        files = [Path(one["filepath"]) for one in info.get("requested_downloads") or () if one.get("filepath")]
        if len(files) != 1 or not files[0].is_file() or not files[0].stat().st_size:
            return _Outcome("too_large" if not files or not files[0].exists() else "other", "there is no file")
        return _Outcome("downloaded", info=info, path=files[0])

    def _options(self, name: str, refusal: _Refusal) -> dict[str, Any]:
        """Return yt-dlp's options; what is not named here stays as yt-dlp has it."""
        settings = self._settings

        def refuse(info: dict[str, Any], *, incomplete: bool) -> str | None:
            del incomplete
            refusal.answer, refusal.detail = _own_refusal(info, settings)
            return refusal.answer

        return {
            "format": settings.formats or _formats(settings.max_height),
            "merge_output_format": "mp4/mkv",
            "paths": {"home": str(self._folder)},
            "outtmpl": {"default": f"{name}.%(ext)s"},
            "ratelimit": settings.bytes_per_second,
            "sleep_interval_requests": settings.request_pause_seconds,
            "socket_timeout": settings.timeout_seconds,
            "max_filesize": settings.max_file_bytes,
            "retries": 0,
            "fragment_retries": 0,
            "extractor_retries": 0,
            "skip_unavailable_fragments": False,
            "continuedl": True,
            "updatetime": False,
            "match_filter": refuse,
            "noplaylist": True,
            "playlist_items": "1",
            "extract_flat": "in_playlist",
            "geo_bypass": False,
            "cookiefile": io.StringIO(self._cookies) if self._cookies is not None else None,
            "cachedir": False,
            "quiet": True,
            "no_warnings": True,
            "noprogress": True,
            "logger": _Silent(),
        }


class _Silent:
    """Takes yt-dlp's messages; what matters comes as an exception."""

    def debug(self, message: str) -> None:
        """Take a message."""

    def warning(self, message: str) -> None:
        """Take a message."""

    def error(self, message: str) -> None:
        """Take a message."""


def _own_refusal(info: dict[str, Any], settings: DownloadSettings) -> tuple[Answer | None, str]:
    if info.get("playlist_index") is not None or info.get("_type", "video") != "video":
        return "playlist", ""
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
        return "live", ""
    duration = info.get("duration")
    if isinstance(duration, int | float) and duration > settings.max_seconds:
        return "too_long", f"{duration:.0f} seconds"
    return None, ""


def _formats(max_height: int) -> str:
    """Return the format selection: mp4 with sound first; picture and sound apart only if they can be joined."""
    height = f"[height<=?{max_height}]"
    choices = [f"b{height}[ext=mp4]", f"b{height}", f"bv*{height}"]
    if shutil.which("ffmpeg"):
        choices = [f"bv*{height}[ext=mp4]+ba[ext=m4a]", choices[0], f"bv*{height}+ba", *choices[1:]]
    return "/".join(choices)


def _read_cookies(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file of cookies {path} cannot be read as text.") from error
    if not re.match(r"#( Netscape)? HTTP Cookie File", text):
        raise InputError(f"{path} is no file of cookies in Netscape format.")
    return text


def _write_info(path: Path, video: VideoAddress, info: dict[str, Any]) -> None:
    """Write what the rights table needs to know; not the signed addresses that yt-dlp also knows."""
    row = {key: info.get(key) for key in _INFO_KEYS}
    row |= {"id": video.video_id, "webpage_url": info.get("webpage_url") or video.url, "retrieved_at": utc_now()}
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(row, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")
    partial.replace(path)


def _one_line(text: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).removeprefix("ERROR:")
    line = " ".join(plain.split())
    return line if len(line) <= _MAX_DETAIL else f"{line[: _MAX_DETAIL - 1]}…"
