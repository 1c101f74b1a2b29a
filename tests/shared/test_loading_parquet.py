"""One cell of a media column is read from any Parquet file, without its neighbours where it is stored plainly."""

import shutil
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging_stories import SHOT_FRAMES, Films, film, story

from animeshooter_hf import load_stories
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.byte_source import ByteCache, LocalSource, ReadCounter, RemoteSource
from animeshooter_hf.loading.parquet_table import ParquetTable

PLAIN: dict[str, Any] = {"compression": "NONE", "use_dictionary": False, "write_page_index": True}


def table_of(path: Path, ids: list[str], cells: list[bytes | None], **options: Any) -> tuple[ParquetTable, ReadCounter]:
    media = [None if cell is None else {"bytes": cell, "path": "x.mp4"} for cell in cells]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"story_id": ids, "video": pa.array(media, kind)}), path, **options)
    counter = ReadCounter()
    return ParquetTable([LocalSource(path, counter)], ByteCache(1 << 20), ByteCache(1 << 20)), counter


def random_cells(number: int, seed: int = 0) -> list[bytes | None]:
    rng = np.random.default_rng(seed)
    return [None if rng.random() < 0.3 else rng.bytes(int(rng.integers(0, 3000))) for _ in range(number)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("page_size", [1, 5000, 1 << 20])
def test_every_cell_is_found_in_plain_pages(tmp_path: Path, version: str, page_size: int) -> None:
    cells = random_cells(200)
    options = {**PLAIN, "data_page_version": version, "data_page_size": page_size, "write_batch_size": 4}
    table, counter = table_of(tmp_path / "a.parquet", ["s"] * 200, cells, row_group_size=70, **options)
    before = counter.num_bytes
    assert [table.media(row, "video") for row in range(200)] == cells
    assert counter.num_bytes - before < 1.1 * sum(len(cell or b"") for cell in cells) + 200 * 100


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "SNAPPY", "use_dictionary": False},
        {"compression": "NONE", "use_dictionary": True},
        {"compression": "NONE", "use_dictionary": False, "write_page_index": False},
    ],
)
def test_what_is_stored_in_another_way_is_read_too(tmp_path: Path, options: dict[str, Any]) -> None:
    cells = random_cells(60)
    table, _ = table_of(tmp_path / "a.parquet", ["s"] * 60, cells, row_group_size=25, **options)
    assert [table.media(row, "video") for row in range(60)] == cells


def test_stories_are_found_in_any_order_and_across_row_groups(tmp_path: Path) -> None:
    ids = ["b"] * 5 + ["a"] * 4 + ["c"] * 7 + ["a0"]
    table, _ = table_of(tmp_path / "a.parquet", ids, random_cells(len(ids)), row_group_size=3, **PLAIN)
    for name in ("a", "b", "c", "a0", "absent"):
        assert table.story_rows(name) == [row for row, one in enumerate(ids) if one == name]


def test_only_row_groups_that_can_hold_a_story_are_read(tmp_path: Path) -> None:
    ids = [f"s{number:04d}" for number in range(1000)]
    cells: list[bytes | None] = [b"x"] * 1000
    table, counter = table_of(tmp_path / "a.parquet", ids, cells, row_group_size=10, **PLAIN)
    before = counter.num_reads
    assert table.story_rows("s0567") == [567]
    assert counter.num_reads - before <= 2
    assert table.story_rows("s0567x") == []


def test_a_damaged_page_is_named_and_harms_no_other(tmp_path: Path) -> None:
    cells: list[bytes | None] = [bytes([65 + number]) * 4000 for number in range(10)]
    path = tmp_path / "a.parquet"
    table_of(path, ["s"] * 10, cells, data_page_size=1, write_batch_size=1, **PLAIN)
    data = bytearray(path.read_bytes())
    data[data.index(b"F" * 4000) - 2] = 255  # the length of the sixth value
    path.write_bytes(data)
    table = ParquetTable([LocalSource(path, ReadCounter())], ByteCache(1 << 20), ByteCache(1 << 20))
    for row in set(range(10)) - {5}:
        assert table.media(row, "video") == cells[row]
    with pytest.raises(InputError, match="is damaged: page 5 cannot be understood"):
        table.media(5, "video")


def test_a_file_afar_is_read_page_by_page_and_in_order_several_at_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells: list[bytes | None] = [rng.bytes(200_000) for _ in range(60)]
    path = tmp_path / "a.parquet"
    table_of(path, ["s"] * 60, cells, row_group_size=30, write_batch_size=1, data_page_size=1 << 19, **PLAIN)
    counter = ReadCounter()
    afar = RemoteSource(fsspec.filesystem("file"), str(path), path.stat().st_size, counter)
    table = ParquetTable([afar], ByteCache(1 << 20), ByteCache(4 << 20))
    opened = counter.num_bytes
    assert opened <= 64 << 10
    for row in (7, 40, 21):
        before = counter.num_bytes
        assert table.media(row, "video") == cells[row]
        assert counter.num_bytes - before < 700_000
        assert table.media(row, "video") == cells[row]
    before = counter.num_bytes, counter.num_reads
    assert [table.media(row, "video") for row in range(60)] == cells
    assert counter.num_bytes - before[0] <= path.stat().st_size
    assert counter.num_reads - before[1] <= 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parquet")
    film(root, "v")
    write_dataset(root / "data", [story("v", segment) for segment in range(3)], media=Films(root))
    return root / "data"


def with_clips(folder: Path, copy: Path, change: Any) -> Path:
    """Copy a dataset and pass the clips of `shots`, with their IDs, through a function."""
    shutil.copytree(folder, copy)
    (path,) = (copy / "shots").iterdir()
    table = pq.read_table(path)
    rows = zip(table["shot_id"].to_pylist(), table["video"].to_pylist(), strict=True)
    videos = pa.array([change(name, cell) for name, cell in rows], table.schema.field("video").type)
    place = table.schema.get_field_index("video")
    pq.write_table(table.set_column(place, table.schema.field("video"), videos), path, **PLAIN)
    return copy


def test_one_broken_clip_makes_no_other_unreadable(folder: Path, tmp_path: Path) -> None:
    def damage(name: str, cell: dict[str, Any]) -> dict[str, Any]:
        if name == "v_001_02":
            return {**cell, "bytes": b"no video at all"}
        if name == "v_002_00":  # the container is whole, the pictures are not
            clip = bytearray(cell["bytes"])
            start = clip.index(b"mdat") + 4
            end = clip.index(b"moov") if clip.index(b"moov") > start else len(clip)
            clip[start:end] = bytes(end - start)
            return {**cell, "bytes": bytes(clip)}
        return cell

    view = load_stories(with_clips(folder, tmp_path / "broken", damage))
    whole = load_stories(folder)
    for item, sound in zip(view, whole, strict=True):
        for shot in item.shots:
            if shot.shot_id not in ("v_001_02", "v_002_00"):
                np.testing.assert_array_equal(item.frames(shot.index), sound.frames(shot.index))
    for name in ("v_001_02", "v_002_00"):
        with pytest.raises(InputError, match=f"The clip of shot {name} cannot be read"):
            view.find(name[:5]).frames(int(name[-2:]))
    with pytest.raises(InputError, match="The clip of shot v_001_02 cannot be read"):
        view.find("v_001").num_frames(2)
    assert view.cache_info().clips_kept <= 10


def test_a_clip_that_was_left_out_is_said_to_be_absent(folder: Path, tmp_path: Path) -> None:
    view = load_stories(
        with_clips(folder, tmp_path / "absent", lambda name, cell: None if name == "v_000_01" else cell)
    )
    for read in (view[0].clip, view[0].frames, view[0].num_frames):
        with pytest.raises(InputError, match="shot v_000_01 cannot be read: the dataset holds no clip of it"):
            read(1)
    assert view[0].num_frames(0) == SHOT_FRAMES


def test_stories_of_several_shards_and_row_groups_are_joined(folder: Path, tmp_path: Path) -> None:
    for config in ("stories", "shots"):
        (path,) = (folder / config).iterdir()
        table = pq.read_table(path)
        (tmp_path / config).mkdir()
        per_story = len(table) // 3
        for number in range(2):
            part = table.slice(number * per_story, per_story * (number + 1))
            name = f"train-{number:05d}-of-00002.parquet"
            pq.write_table(part, tmp_path / config / name, row_group_size=per_story, **PLAIN)
    view, whole = load_stories(tmp_path), load_stories(folder)
    assert [item.story for item in view] == [item.story for item in whole]
    np.testing.assert_array_equal(view[2].frames(3), whole[2].frames(3))
