"""The downloader's ledger: a line per video asked for, appended and never rewritten; a video's last line counts."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.release.availability import VideoAvailability
from animeshooter_hf.dataset_builder.sources.download_answers import ANSWERS, Answer, status_of
from animeshooter_hf.errors import InputError

__all__ = ["Attempt", "AttemptLedger", "availability_of", "utc_now"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What came of asking for a video."""

    video_id: str
    """Its ID."""

    url: str
    """What was asked for."""

    answer: Answer
    """What was answered."""

    detail: str = ""
    """The site's own words, in one line."""

    checked_at: str
    """When, in UTC, such as "2026-01-31T12:00:00Z"."""

    requests: int = 1
    """How often it was asked for in this run."""

    file: str | None = None
    """Name of the file in the folder."""

    num_bytes: int | None = None
    """Its size."""

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise ValueError(f"answer must be one of {', '.join(ANSWERS)}, got {self.answer!r}.")

    @property
    def reason(self) -> str:
        """Why there is no file, in one sentence."""
        words = f"{self.video_id} was not downloaded: {ANSWERS[self.answer][1]}"
        return f"{words} ({self.detail})." if self.detail else f"{words}."


class AttemptLedger:
    """The ledger of one folder; a line that was cut off by a crash is passed over."""

    def __init__(self, path: Path) -> None:
        """Read what stands there.

        Raises:
            InputError: If the file is there and cannot be read.
        """
        self._path = path
        self._last: dict[str, Attempt] = {}
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        except OSError as error:
            raise InputError(f"The ledger {path} cannot be read: {error.strerror}.") from error
        for line in lines:
            attempt = _read(line)
            if attempt is not None:
                self._last[attempt.video_id] = attempt

    def last(self, video_id: str) -> Attempt | None:
        """Return what came of the last time a video was asked for, or None if it never was."""
        return self._last.get(video_id)

    def attempts(self) -> list[Attempt]:
        """Return the last attempt of every video, in order of ID."""
        return [self._last[video_id] for video_id in sorted(self._last)]

    def add(self, attempt: Attempt) -> None:
        """Append an attempt; it is on the disk when this returns."""
        line = json.dumps(asdict(attempt), ensure_ascii=True) + "\n"
        with self._path.open("ab") as file:
            if file.tell() and not _ends_a_line(self._path):
                line = "\n" + line
            file.write(line.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        self._last[attempt.video_id] = attempt


def availability_of(attempts: Iterable[Attempt]) -> list[VideoAvailability]:
    """Return the rows of the availability table that attempts give."""
    return [
        VideoAvailability(
            video_id=one.video_id,
            status=status_of(one.answer),
            reason="" if one.answer == "downloaded" else f"{one.answer}: {one.detail or ANSWERS[one.answer][1]}",
            checked_at=one.checked_at,
            num_bytes=one.num_bytes,
        )
        for one in attempts
    ]


def utc_now() -> str:
    """Return the time, such as "2026-01-31T12:00:00Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read(line: str) -> Attempt | None:
    try:
        row: Any = json.loads(line)
        known = {field.name for field in fields(Attempt)}
        return Attempt(**{key: value for key, value in row.items() if key in known})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
