"""A packaged folder opens with plain `load_dataset`, is laid out for readers, and is written whole or not at all."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image

from animeshooter_hf import ReferenceMask, Story
from animeshooter_hf.dataset_builder.package import SplitSettings, split_videos, write_dataset
from animeshooter_hf.dataset_builder.package_writer import WriterSettings
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.masks import RleMask
from animeshooter_hf.video import iter_frames, probe, read_audio

sys.path.insert(0, str(Path(__file__).parent))
from packaging_stories import MASK, SHOT_FRAMES, Films, film, frame, story


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two videos, one of them with two stories, all four configs."""
    root = tmp_path_factory.mktemp("packaged")
    for video_id in ("b", "a"):
        film(root, video_id)
    write_dataset(root / "out", [story("b"), story("a", 1), story("a")], media=Films(root))
    return root / "out"


@pytest.fixture(autouse=True)
def clean_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("config", list(CONFIGS))
@pytest.mark.parametrize("streaming", [False, True])
def test_every_config_opens_with_exactly_our_features(folder: Path, config: str, streaming: bool) -> None:
    data = load_dataset(str(folder), config, split="train", streaming=streaming)
    assert data.features == CONFIGS[config]


@pytest.mark.parametrize("config", list(CONFIGS))
def test_the_bare_parquet_files_carry_the_features_too(folder: Path, config: str) -> None:
    data = load_dataset("parquet", data_files=str(folder / config / "*.parquet"), split="train")
    assert data.features == CONFIGS[config]


def test_the_default_config_is_the_stories(folder: Path) -> None:
    rows = load_dataset(str(folder), split="train")
    assert [Story.from_dataset_row(row) for row in rows] == [story("a"), story("a", 1), story("b")]


def test_the_embedded_features_are_in_the_notation_of_old_versions(folder: Path) -> None:
    for config in CONFIGS:
        (path,) = (folder / config).glob("*.parquet")
        embedded = pq.read_schema(path).metadata[b"huggingface"].decode()
        assert '"List"' not in embedded


def test_media_bytes_are_stored_as_they_are_and_text_is_compressed(folder: Path) -> None:
    (path,) = (folder / "audio").glob("*.parquet")
    group = pq.read_metadata(path).row_group(0)
    codecs = {group.column(n).path_in_schema: group.column(n).compression for n in range(group.num_columns)}
    assert codecs["video.bytes"] == codecs["audio.bytes"] == "UNCOMPRESSED"
    assert codecs["descriptive_caption"] == "ZSTD"


def test_clips_hold_exactly_the_frames_of_their_shots(folder: Path) -> None:
    (path,) = (folder / "shots").glob("*.parquet")
    for row in pq.read_table(path).to_pylist():
        frames = [one.image for one in iter_frames(row["video"]["bytes"])]
        numbers = [round((float(image[20:].mean()) - 10) / 4) for image in frames]
        assert numbers == list(range(row["start_frame"], row["end_frame"]))
        assert row["video"]["path"] == f"{row['shot_id']}.mp4"


def test_references_are_frame_times_mask_and_keep_the_mask_exactly(folder: Path) -> None:
    (path,) = (folder / "references").glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert len(rows) == 6
    for row in rows:
        cutout = np.asarray(Image.open(io.BytesIO(row["cutout"]["bytes"])))
        mask = np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])))
        np.testing.assert_array_equal(mask, MASK)
        np.testing.assert_array_equal(cutout[..., 3] == 255, MASK)
        assert (cutout[~MASK] == 0).all()
        assert abs(float(cutout[..., :3][MASK].mean()) - float(frame(row["frame_index"])[20, 30].mean())) < 3
        assert RleMask(48, 64, row["mask_rle"]["counts"]) == RleMask.from_array(MASK)


def test_sound_is_cut_to_the_sample_and_only_annotated_shots_have_it(folder: Path) -> None:
    (path,) = (folder / "audio").glob("*.parquet")
    rows = pq.read_table(path).to_pylist()
    assert [row["shot_index"] for row in rows] == [0, 2] * 3
    for row in rows:
        sound, rate = read_audio(row["audio"]["bytes"])
        assert sound.shape[1] == rate // 2
        assert int(np.argmax(np.abs(sound).max(axis=0) > 0.3)) < 0.005 * rate


def test_a_story_never_crosses_a_row_group_or_a_shard(tmp_path: Path) -> None:
    film(tmp_path, "v")
    sizes = WriterSettings(row_group_bytes=20_000, shard_bytes=40_000)
    write_dataset(tmp_path / "out", [story("v", n) for n in range(9)], media=Films(tmp_path), writer=sizes)
    paths = sorted((tmp_path / "out" / "shots").glob("*.parquet"))
    assert len(paths) > 1
    assert paths[0].name == f"train-00000-of-{len(paths):05d}.parquet"
    seen: list[str] = []
    for path in paths:
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["story_id"])["story_id"].to_pylist()
            assert all(ids.count(one) == 4 for one in set(ids))
            seen += sorted(set(ids))
    assert seen == [story("v", n).story_id for n in range(9)]


def test_only_the_media_of_a_story_too_large_for_a_row_group_are_left_out(tmp_path: Path) -> None:
    for name in ("large", "small"):
        film(tmp_path, name)
    told = [story("large"), story("small", num_shots=1)]
    stories = [one.with_shots([replace(shot, audio=None) for shot in one.shots]) for one in told]
    whole = write_dataset(tmp_path / "whole", stories, media=Films(tmp_path))
    writer = WriterSettings(max_story_bytes=_num_bytes(tmp_path / "whole", "shots", "large_000") - 1)
    report = write_dataset(tmp_path / "out", stories, media=Films(tmp_path), writer=writer)
    assert report.rows == {**whole.rows, "shots": {"train": 1}}
    ((what, reason),) = report.skipped
    assert what == "large_000"
    assert "in shots, more than the" in reason


def _num_bytes(folder: Path, config: str, story_id: str) -> int:
    """Return how many bytes of clips a story has."""
    (path,) = (folder / config).glob("*.parquet")
    return sum(len(row["video"]["bytes"]) for row in pq.read_table(path).to_pylist() if row["story_id"] == story_id)


def test_a_story_whose_text_is_too_large_for_a_row_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="v_000 holds 769 bytes in stories, more than the 768 bytes"):
        write_dataset(tmp_path / "out", [story("v")], writer=WriterSettings(max_story_bytes=768))
    assert list(tmp_path.iterdir()) == []


def test_the_same_stories_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    film(tmp_path, "v")
    stories = [story("v", n) for n in range(3)]
    for name, order in (("one", stories), ("other", stories[::-1])):
        write_dataset(tmp_path / name, order, media=Films(tmp_path))
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "other" / path.relative_to(tmp_path / "one")).read_bytes(), path.name


def test_splits_are_made_by_video_and_cover_all(tmp_path: Path) -> None:
    stories = [story(f"v{n:02d}", segment) for n in range(40) for segment in range(2)]
    report = write_dataset(tmp_path / "out", stories)
    assert {split: len(names) for split, names in report.splits.items()} == {"train": 36, "validation": 2, "test": 2}
    assert sorted(name for names in report.splits.values() for name in names) == [f"v{n:02d}" for n in range(40)]
    held = load_dataset(str(tmp_path / "out"), split="test")
    assert {row["video_id"] for row in held} == set(report.splits["test"])
    other = split_videos([f"v{n:02d}" for n in range(40)], SplitSettings(seed=1))
    assert other != report.splits


def test_without_videos_there_are_stories_only(tmp_path: Path) -> None:
    report = write_dataset(tmp_path / "out", [story("v")])
    assert report.rows == {"stories": {"train": 1}}
    names = {".gitattributes", "README.md", "croissant.json", "manifest.json", "stories"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_what_has_no_media_row_is_said_with_its_reason(tmp_path: Path) -> None:
    film(tmp_path, "v", num_frames=30)
    wrong = RleMask.from_array(np.ones((4, 4), bool))
    told = replace(
        story("v"),
        references=(
            ReferenceMask(character_id="Mia", frame_index=2, mask=wrong),
            ReferenceMask(character_id="Mia", frame_index=99, mask=RleMask.from_array(MASK)),
            ReferenceMask(character_id="Mia", frame_index=3, mask=RleMask(48, 64, "oops")),
        ),
    )
    report = write_dataset(tmp_path / "out", [told], media=Films(tmp_path))
    assert report.rows["shots"] == {"train": 2}
    assert "references" not in report.rows
    reasons = [reason for _, reason in report.skipped]
    for part in ("it ends at frame 36, the video has 30", "its mask is 4x4", "after the video's end", "run-length"):
        assert any(part in reason for reason in reasons), part


def test_a_broken_video_costs_only_its_own_media(tmp_path: Path) -> None:
    film(tmp_path, "good")
    (tmp_path / "bad.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:2000])
    report = write_dataset(tmp_path / "out", [story("good"), story("bad")], media=Films(tmp_path))
    assert report.rows["stories"] == {"train": 2}
    assert report.rows["shots"] == {"train": 4}
    ((what, reason),) = report.skipped
    assert what == "bad_000"
    assert "bad.mp4" in reason
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_the_manifest_holds_the_hash_of_every_shard(folder: Path) -> None:
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    assert {shard["path"].split("/")[0] for shard in manifest["shards"]} == set(CONFIGS)
    for shard in manifest["shards"]:
        assert hashlib.sha256((folder / shard["path"]).read_bytes()).hexdigest() == shard["sha256"]


def test_folders_that_are_not_ours_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="no dataset of ours"):
        write_dataset(tmp_path / "theirs", [story("v")], overwrite=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        write_dataset(tmp_path / "file", [story("v")])
    with pytest.raises(InputError, match="cannot be written"):
        write_dataset(tmp_path / "file" / "out", [story("v")])
    assert (tmp_path / "theirs" / "thesis.txt").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "theirs"]


def test_a_dataset_of_ours_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_dataset(tmp_path / "out", [story("v")])
    with pytest.raises(InputError, match="--overwrite"):
        write_dataset(tmp_path / "out", [story("w")])
    write_dataset(tmp_path / "out", [story("w")], overwrite=True)
    assert load_dataset(str(tmp_path / "out"), split="train")[0]["video_id"] == "w"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["out"]


@pytest.mark.parametrize(("stories", "message"), [([], "no story"), ([story("v"), story("v")], "have the ID v_000")])
def test_stories_that_make_no_dataset_are_refused(tmp_path: Path, stories: list[Story], message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_dataset(tmp_path / "out", stories)
    assert list(tmp_path.iterdir()) == []


def test_shots_last_as_long_in_the_clip_as_in_the_film(folder: Path) -> None:
    (path,) = (folder / "shots").glob("*.parquet")
    for row in pq.read_table(path).to_pylist():
        info = probe(row["video"]["bytes"])
        assert (info.num_frames, info.frame_rate) == (SHOT_FRAMES, 24)
