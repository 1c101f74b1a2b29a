from fractions import Fraction
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.release.availability import (
    STATUSES,
    VideoAvailability,
    merge_availability,
    read_availability,
    write_availability,
)
from animeshooter_hf.dataset_builder.release.reconcile import read_video_ids
from animeshooter_hf.errors import InputError

RECORDS = [
    VideoAvailability(
        video_id="-a,\"b'",
        status="available",
        checked_at="2026-01-31",
        num_bytes=5,
        width=1080,
        height=1920,
        rotation=90,
        frame_rate=Fraction(30000, 1001),
        num_frames=300,
        duration_seconds=10.01,
        drift_seconds=0.0,
    ),
    VideoAvailability(
        video_id="b", status="private", reason="Private video\nsign in", checked_at="2026-01-31T12:00:00Z"
    ),
    VideoAvailability(video_id="c", status="unchecked"),
]


@pytest.mark.parametrize("name", ["availability.csv", "availability.parquet"])
def test_the_table_holds_every_record_as_it_was(name: str, tmp_path: Path) -> None:
    write_availability(tmp_path / name, reversed(RECORDS))
    assert read_availability(tmp_path / name) == RECORDS
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_turned_video_has_the_aspect_that_is_shown() -> None:
    assert [record.aspect for record in RECORDS] == [Fraction(16, 9), None, None]
    assert [record.has_file for record in RECORDS] == [True, False, False]


def test_of_two_records_of_a_video_the_later_look_counts() -> None:
    old = VideoAvailability(video_id="b", status="available", checked_at="2025-01-01")
    assert merge_availability([old], RECORDS) == RECORDS
    assert merge_availability(RECORDS, [old]) == RECORDS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "gone"}, "status must be one of"),
        ({"checked_at": "yesterday"}, "must be a date"),
        ({"checked_at": ""}, "nothing says when"),
        ({"video_id": ""}, "must not be empty"),
        ({"colour": "red"}, "Unknown column 'colour'"),
        ({"num_frames": "many"}, "invalid literal"),
        ({"frame_rate": "1/0"}, "cannot be read"),
    ],
)
def test_a_record_that_does_not_hold_is_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    row = {"video_id": "x", "status": "missing", "checked_at": "2026-01-31", **changes}
    with pytest.raises(ValueError, match=message):
        VideoAvailability.from_row(row)
    (tmp_path / "a.csv").write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(InputError, match="is no table of available videos"):
        read_availability(tmp_path / "a.csv")


def test_another_suffix_than_csv_or_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.csv or \.parquet"):
        write_availability(tmp_path / "a.txt", RECORDS)


def test_every_status_can_be_said() -> None:
    assert len({VideoAvailability(video_id="x", status=s, checked_at="2026-01-31").status for s in STATUSES}) == 10


def test_a_list_without_ids_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    with pytest.raises(InputError, match="holds no video ID"):
        read_video_ids(tmp_path / "empty.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_video_ids(tmp_path / "nowhere.txt")
