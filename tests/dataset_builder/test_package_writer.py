"""Whatever the sizes of stories, their rows are laid out so that every reader is served well."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Video, load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from animeshooter_hf.dataset_builder.package_writer import (
    ConfigWriter,
    ShardFacts,
    WriterSettings,
    legacy_schema,
    open_parquet,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.video import probe, write_video

LIMITS = WriterSettings(row_group_bytes=20_000, shard_bytes=60_000, max_story_bytes=40_000)


def shot_row(story: int, shot: int, clip: bytes, suffix: str = ".mp4") -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(CONFIGS["shots"])
    names = {"video_id": f"v{story}", "story_id": f"v{story}_000", "shot_id": f"v{story}_000_{shot:02d}"}
    video = {"path": f"v{story}_000_{shot:02d}{suffix}", "bytes": clip}
    return {**row, **names, "shot_index": shot, "narrative_caption": "Ünsinn " * (shot % 5), "video": video}


def write(root: Path, stories: list[list[dict[str, Any]]], limits: WriterSettings = LIMITS) -> list[ShardFacts]:
    writer = ConfigWriter(root, "shots", "train", CONFIGS["shots"], limits)
    for rows in stories:
        writer.write_story(rows)
    return writer.close()


sizes = st.lists(st.lists(st.integers(0, 12_000), min_size=1, max_size=6), min_size=1, max_size=25)


@settings(max_examples=40, deadline=None)
@given(sizes=sizes, seed=st.integers(0, 2**32))
def test_stories_of_any_size_are_never_split_and_stay_under_the_caps(
    sizes: list[list[int]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("any")
    noise = random.Random(seed)
    stories = [[shot_row(n, k, noise.randbytes(size)) for k, size in enumerate(shots)] for n, shots in enumerate(sizes)]
    writer = ConfigWriter(root, "shots", "train", CONFIGS["shots"], LIMITS)
    written = []
    for rows in stories:
        try:
            writer.write_story(rows)
            written.append(rows)
        except InputError:
            assert sum(len(row["video"]["bytes"]) for row in rows) > LIMITS.max_story_bytes - 10_000
    shards = writer.close()

    found: list[dict[str, Any]] = []
    homes: dict[str, tuple[str, int]] = {}
    for number, shard in enumerate(shards):
        assert shard.path == f"shots/train-{number:05d}-of-{len(shards):05d}.parquet"
        file = pq.ParquetFile(root / shard.path)
        groups = [file.read_row_group(group).to_pylist() for group in range(file.num_row_groups)]
        for group, rows in enumerate(groups):
            names = {row["story_id"] for row in rows}
            for name in names:
                assert homes.setdefault(name, (shard.path, group)) == (shard.path, group)
            media = sum(len(row["video"]["bytes"]) for row in rows)
            assert media <= (LIMITS.row_group_bytes if len(names) > 1 else LIMITS.max_story_bytes)
            found += rows
        assert shard.num_rows == file.metadata.num_rows
        in_shard = sum(len(row["video"]["bytes"]) for rows in groups for row in rows)
        assert in_shard <= LIMITS.shard_bytes or len(groups) == 1
    assert found == [row for rows in written for row in rows]


def test_text_is_compressed_and_media_plain_and_every_leaf_has_a_page_index(tmp_path: Path) -> None:
    (shard,) = write(tmp_path, [[shot_row(0, k, bytes(3000)) for k in range(4)]])
    group = pq.read_metadata(tmp_path / shard.path).row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        is_media = column.path_in_schema == "video.bytes"
        assert column.compression == ("UNCOMPRESSED" if is_media else "ZSTD")
        assert ("RLE_DICTIONARY" in column.encodings) == (column.physical_type != "BOOLEAN" and not is_media)
        assert column.has_offset_index
        assert column.has_column_index


def test_a_row_put_in_front_leaves_the_pages_behind_it_as_they_were(tmp_path: Path) -> None:
    # Stores that keep chunks once (xet) find them again only if pages are cut by content.
    noise = random.Random(0)
    rows = [shot_row(0, k, noise.randbytes(30_000)) for k in range(200)]
    limits = WriterSettings()
    (one,) = write(tmp_path / "one", [rows], limits)
    (other,) = write(tmp_path / "other", [[shot_row(1, 0, noise.randbytes(7_777)), *rows]], limits)
    pages = [_page_sizes(tmp_path / "one" / one.path), _page_sizes(tmp_path / "other" / other.path)]
    assert len(pages[0]) > 6
    assert pages[0][1:] == pages[1][1:]


def _page_sizes(path: Path) -> list[int]:
    """Return the number of clips on each page of the media column, found by the page headers between the clips."""
    data = path.read_bytes()
    column = next(
        column
        for column in (pq.read_metadata(path).row_group(0).column(n) for n in range(len(pq.ParquetFile(path).schema)))
        if column.path_in_schema == "video.bytes"
    )
    clips = [row["video"]["bytes"] for row in pq.read_table(path).to_pylist()]
    start, counts = column.data_page_offset, [0]
    for clip in clips:
        place = data.index(clip, start)
        if place - start > 4 and counts[-1]:  # more than the length in front of it: a page has begun
            counts.append(0)
        counts[-1] += 1
        start = place + len(clip)
    return counts


def test_a_shard_read_group_by_group_and_written_again_is_the_same_file(tmp_path: Path) -> None:
    noise = random.Random(1)
    stories = [[shot_row(n, k, noise.randbytes(noise.randrange(9000))) for k in range(3)] for n in range(9)]
    shards = write(tmp_path, stories)
    assert len(shards) > 1
    schema = legacy_schema(CONFIGS["shots"])
    for shard in shards:
        file = pq.ParquetFile(tmp_path / shard.path)
        with open_parquet(tmp_path / "again.parquet", schema) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group).cast(schema)
                writer.write_table(table, row_group_size=table.num_rows)
        assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / shard.path).read_bytes()


@pytest.mark.parametrize("suffix", ["", "."])
def test_a_media_cell_without_an_extension_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ValueError, match="must have a path with an extension"):
        write(tmp_path, [[shot_row(0, 0, b"clip", suffix)]])
    row = shot_row(0, 0, b"clip")
    row["video"]["path"] = None
    with pytest.raises(ValueError, match="got None"):
        write(tmp_path, [[row]])


def test_a_row_without_media_needs_no_name(tmp_path: Path) -> None:
    (shard,) = write(tmp_path, [[{**shot_row(0, 0, b""), "video": None}]])
    assert pq.read_table(tmp_path / shard.path)["video"].to_pylist() == [None]


def test_row_groups_larger_than_a_shard_are_refused() -> None:
    with pytest.raises(ValueError, match="row_group_bytes"):
        WriterSettings(row_group_bytes=2, shard_bytes=1)


def test_one_broken_clip_in_a_thousand_makes_no_other_row_unreadable(tmp_path: Path) -> None:
    frames = [np.full((32, 32, 3), 80 * n, np.uint8) for n in range(3)]
    clip = write_video(tmp_path / "clip.mp4", frames, 24).read_bytes()
    broken = 417
    rows = [shot_row(n // 10, n % 10, b"\x00garbage" if n == broken else clip) for n in range(1000)]
    write(tmp_path / "data", [rows[n : n + 10] for n in range(0, 1000, 10)], WriterSettings())
    assert probe(clip).num_frames == 3
    with pytest.raises(InputError):
        probe(rows[broken]["video"]["bytes"])

    names = str(tmp_path / "data" / "shots" / "*.parquet")
    for streaming in (False, True):
        data = load_dataset(
            "parquet", data_files=names, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
        )
        plain = data.cast_column("video", Video(decode=False))
        assert [row["video"]["bytes"] for row in plain] == [row["video"]["bytes"] for row in rows]
    table = pq.read_table(tmp_path / "data" / "shots")
    assert [row["video"]["path"] for row in table.to_pylist()] == [row["video"]["path"] for row in rows]
