"""Which videos can be had, since when that is known, and what the file at hand is: one record per video.

The downloader writes a record for each video it asked for, `animeshooter ingest --videos` one for each file it looked
at; both write the same table, `availability.csv` or `availability.parquet`. Of two records of one video the one that
was checked later counts, see `merge_availability`.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.errors import InputError

__all__ = [
    "AVAILABILITY_SCHEMA",
    "STATUSES",
    "AvailabilityStatus",
    "VideoAvailability",
    "merge_availability",
    "read_availability",
    "write_availability",
]

AvailabilityStatus = Literal[
    "available",
    "missing",
    "private",
    "removed",
    "region",
    "age",
    "re-uploaded",
    "trimmed",
    "unreadable",
    "unchecked",
]
"""`available`: a file that fits the annotation. `missing`: no file at hand, nobody asked why. `private`, `removed`,
`region`, `age`: what the site answered. `re-uploaded`: another upload stands in its place. `trimmed`: the file ends
before the annotation does. `unreadable`: the file is no video. `unchecked`: nobody looked."""

STATUSES: tuple[AvailabilityStatus, ...] = get_args(AvailabilityStatus)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}Z)?")
_WITH_FILE = ("available", "re-uploaded", "trimmed")


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoAvailability:
    """Whether one video can be had, and the facts of its file where there is one."""

    video_id: str
    """The video's ID."""

    status: AvailabilityStatus
    """One of `STATUSES`."""

    reason: str = ""
    """Why, in words, such as the site's message; "" where the status says it all."""

    checked_at: str = ""
    """Day or UTC time of the look, "2026-01-31" or "2026-01-31T12:00:00Z"; "" for `unchecked`."""

    num_bytes: int | None = None
    """Size of the file."""

    width: int | None = None
    """Pixels, as coded; see `rotation`."""

    height: int | None = None
    """Pixels, as coded; see `rotation`."""

    rotation: int | None = None
    """Degrees by which a player turns the picture: 0, 90, 180 or 270; None where nobody looked."""

    frame_rate: Fraction | None = None
    """Frames per second, exact; the average where the rate varies."""

    num_frames: int | None = None
    """Frames of the picture."""

    duration_seconds: float | None = None
    """From the first frame's start to the last one's end."""

    annotated_frame_rate: Fraction | None = None
    """Frames per second that the annotation gives, where it gives any."""

    annotated_seconds: float | None = None
    """Where the last annotated segment ends, in seconds by the annotation's own rate."""

    drift_seconds: float | None = None
    """Largest distance between an annotated frame's time and the file's frame taken for it; 0 for the same frames."""

    def __post_init__(self) -> None:
        if not self.video_id:
            raise ValueError("VideoAvailability.video_id must not be empty.")
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}.")
        if self.checked_at and not _DATE.fullmatch(self.checked_at):
            raise ValueError(f"checked_at must be a date such as 2026-01-31, got {self.checked_at!r}.")
        if not self.checked_at and self.status != "unchecked":
            raise ValueError(f"{self.video_id} is {self.status}, but nothing says when that was seen.")

    @property
    def aspect(self) -> Fraction | None:
        """Width by height, as shown; None where there is no file."""
        if not self.width or not self.height:
            return None
        shown = Fraction(self.width, self.height)
        return 1 / shown if self.rotation in (90, 270) else shown

    @property
    def has_file(self) -> bool:
        """Whether there is a file that can be cut."""
        return self.status in _WITH_FILE

    def to_row(self) -> dict[str, Any]:
        """Return the row of the table: every column, rates as text such as "30000/1001", absent values None."""
        row = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("frame_rate", "annotated_frame_rate"):
            row[name] = None if row[name] is None else str(row[name])
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "VideoAvailability":
        """Return the record of a row, also of a CSV row, in which every value is a text.

        Raises:
            ValueError: If a column is unknown or a value does not fit.
        """
        known = {field.name: _READERS.get(field.name, str) for field in fields(cls)}
        if unknown := sorted(set(row) - set(known)):
            raise ValueError(f"Unknown column {unknown[0]!r}. Known columns: {', '.join(known)}.")
        try:
            values = {name: known[name](value) for name, value in row.items() if value is not None and value != ""}
        except (TypeError, ZeroDivisionError) as error:
            raise ValueError(f"A value of {row.get('video_id')!r} cannot be read: {error}.") from error
        return cls(**{"video_id": "", "status": "", **values})


_READERS: dict[str, Any] = {
    **dict.fromkeys(("num_bytes", "width", "height", "rotation", "num_frames"), int),
    **dict.fromkeys(("duration_seconds", "annotated_seconds", "drift_seconds"), float),
    **dict.fromkeys(("frame_rate", "annotated_frame_rate"), Fraction),
}

AVAILABILITY_SCHEMA = pa.schema(
    [
        (field.name, {int: pa.int64(), float: pa.float64()}.get(_READERS.get(field.name, str), pa.string()))
        for field in fields(VideoAvailability)
    ]
)
"""The table's columns."""


def merge_availability(*tables: Iterable[VideoAvailability]) -> list[VideoAvailability]:
    """Return one record per video, sorted by ID: the one checked last; of equals the one given last."""
    kept: dict[str, VideoAvailability] = {}
    for table in tables:
        for record in table:
            before = kept.get(record.video_id)
            if before is None or before.checked_at <= record.checked_at:
                kept[record.video_id] = record
    return [kept[video_id] for video_id in sorted(kept)]


def write_availability(path: Path, records: Iterable[VideoAvailability]) -> None:
    """Write the table, sorted by ID; the suffix decides: `.csv` or `.parquet`.

    Raises:
        InputError: If it is another suffix.
    """
    rows = [record.to_row() for record in sorted(records, key=lambda record: record.video_id)]
    partial = path.with_name(f".{path.name}.partial")
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows, schema=AVAILABILITY_SCHEMA), partial)
    elif path.suffix == ".csv":
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, AVAILABILITY_SCHEMA.names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    else:
        raise InputError(f"{path} must end in .csv or .parquet.")
    partial.replace(path)


def read_availability(path: Path) -> list[VideoAvailability]:
    """Return the records of a table that `write_availability` wrote.

    Raises:
        InputError: If it cannot be read as one.
    """
    try:
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        else:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        return [VideoAvailability.from_row(row) for row in rows]
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise InputError(f"{path} is no table of available videos: {error}") from error
