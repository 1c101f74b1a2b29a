"""`AnimeShooterBuilder` over dataset folders: every config, every way of reading, and never a stale cache."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packaging_stories import Films, film, story

from animeshooter_hf import AnimeShooterBuilder
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.package_writer import WriterSettings
from animeshooter_hf.dataset_builder.splits import SplitSettings
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.takedown import TakedownList, hash_id

VIDEOS = [f"v{number:02d}" for number in range(10)]
SCRIPT = Path(__file__).parents[2] / "dataset_builder" / "loading_script.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with all configs, three splits, and several row groups and shards of media."""
    root = tmp_path_factory.mktemp("made")
    source = film(root, VIDEOS[0], num_frames=24)
    for name in VIDEOS[1:]:
        shutil.copy(source, root / f"{name}.mp4")
    write_dataset(
        root / "data",
        [story(name, num_shots=2) for name in VIDEOS],
        media=Films(root),
        splits=SplitSettings(validation=0.2, test=0.2),
        writer=WriterSettings(row_group_bytes=20_000, shard_bytes=60_000),
        progress=False,
    )
    return root / "data"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def build(data_dir: Path | str, cache: Path, config: str = "stories", **options: Any) -> AnimeShooterBuilder:
    return AnimeShooterBuilder(config_name=config, data_dir=data_dir, cache_dir=str(cache), **options)


def prepare(data_dir: Path | str, cache: Path, config: str = "stories", **options: Any) -> Any:
    builder = build(data_dir, cache, config, **options)
    builder.download_and_prepare()
    return builder.as_dataset()


def in_files(folder: Path, config: str, split: str) -> pa.Table:
    """What the files say, read without `datasets`."""
    return pa.concat_tables(pq.read_table(path) for path in sorted((folder / config).glob(f"{split}-*.parquet")))


def rows(dataset: Any) -> list[dict[str, Any]]:
    """All rows, media not decoded."""
    return dataset.with_format("arrow")[:].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("config", list(CONFIGS))
def test_every_config_comes_back_as_it_lies_in_the_files(made: Path, tmp_path: Path, config: str) -> None:
    found = prepare(made, tmp_path, config)
    assert list(found) == ["train", "validation", "test"]
    for split, part in found.items():
        assert part.features == CONFIGS[config]
        assert rows(part) == in_files(made, config, split).to_pylist()


@pytest.mark.parametrize("config", list(CONFIGS))
def test_streaming_gives_the_same_rows(made: Path, tmp_path: Path, config: str) -> None:
    streamed = build(made, tmp_path, config).as_streaming_dataset(split="train")
    assert streamed.features == CONFIGS[config]
    assert list(streamed.decode(False)) == in_files(made, config, "train").to_pylist()


def test_several_processes_give_the_same_rows_in_the_same_order(made: Path, tmp_path: Path) -> None:
    builder = build(made, tmp_path, "shots")
    builder.download_and_prepare(num_proc=3)
    shots = builder.as_dataset(split="train")
    assert len(builder.info.splits["train"].shard_lengths) == 3
    assert rows(shots) == in_files(made, "shots", "train").to_pylist()


def test_it_is_prepared_as_parquet_that_plain_load_dataset_opens(made: Path, tmp_path: Path) -> None:
    builder = build(made, tmp_path / "cache", "audio")
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    files = {"train": str(tmp_path / "out" / "*-train*.parquet")}
    plain = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "plain"))
    assert plain.features == CONFIGS["audio"]
    assert rows(plain) == in_files(made, "audio", "train").to_pylist()


def test_tables_are_the_row_groups_of_the_files(made: Path, tmp_path: Path) -> None:
    builder = build(made, tmp_path, "shots")
    kwargs = next(iter(builder._split_generators(None))).gen_kwargs
    sizes = [table.num_rows for _, table in builder._generate_tables(**kwargs)]
    files = [pq.ParquetFile(path).metadata for path in sorted((made / "shots").glob("train-*.parquet"))]
    assert sizes == [one.row_group(number).num_rows for one in files for number in range(one.num_row_groups)]
    assert len(sizes) > 2


def test_workers_and_resharding_can_share_out_the_row_groups(made: Path, tmp_path: Path) -> None:
    streamed = build(made, tmp_path, "shots").as_streaming_dataset(split="train").decode(False)
    ids = [row["shot_id"] for row in streamed]
    assert streamed.num_shards > 2
    assert streamed.reshard().num_shards == streamed.num_shards
    shared = [row["shot_id"] for index in range(2) for row in streamed.shard(2, index)]
    assert sorted(shared) == sorted(ids)


def test_a_stream_goes_to_another_process_and_goes_on_where_it_was(made: Path, tmp_path: Path) -> None:
    streamed = build(made, tmp_path, "shots").as_streaming_dataset(split="train").decode(False)
    ids = [row["shot_id"] for row in streamed]
    begun = iter(streamed)
    assert [next(begun)["shot_id"] for _ in range(5)] == ids[:5]
    sent = pickle.loads(pickle.dumps(build(made, tmp_path, "shots").as_streaming_dataset(split="train").decode(False)))
    sent.load_state_dict(streamed.state_dict())
    assert [row["shot_id"] for row in sent] == ids[5:]


def test_rows_have_keys_of_their_own(made: Path, tmp_path: Path) -> None:
    builder = build(made, tmp_path, "shots")
    made_rows = [
        pair for split in builder._split_generators(None) for pair in builder._generate_examples(**split.gen_kwargs)
    ]
    assert len({key for key, _ in made_rows}) == len(made_rows) == 2 * len(VIDEOS)
    assert {row["shot_id"] for _, row in made_rows} == {
        shot
        for split in ("train", "validation", "test")
        for shot in in_files(made, "shots", split)["shot_id"].to_pylist()
    }


def test_only_the_columns_that_are_named_are_there(made: Path, tmp_path: Path) -> None:
    columns = ["shot_id", "narrative_caption"]
    captions = prepare(made, tmp_path, "shots", columns=columns)["train"]
    assert captions.column_names == columns
    assert captions[0] == {"shot_id": "v01_000_00", "narrative_caption": "Mia does 0."}
    assert len(prepare(made, tmp_path, "shots")["train"].column_names) == len(CONFIGS["shots"])
    with pytest.raises(InputError, match=r"has the columns video_id, .*, not \['caption'\]"):
        build(made, tmp_path, "shots", columns=["caption"])


def test_features_may_say_that_media_stay_encoded(made: Path, tmp_path: Path) -> None:
    features = datasets.Features({**CONFIGS["shots"], "video": datasets.Video(decode=False)})
    shot = prepare(made, tmp_path, "shots", features=features)["train"][0]
    assert shot["video"]["path"] == "v01_000_00.mp4"
    assert shot["video"]["bytes"][4:8] == b"ftyp"


def cached(cache: Path) -> dict[str, tuple[int, int]]:
    """The files of rows in the cache, with what tells whether they were written anew."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in cache.rglob("*.arrow")
    }  # fmt: skip


def test_an_unchanged_folder_is_served_from_the_cache(folder: Path, tmp_path: Path) -> None:
    prepare(folder, tmp_path / "cache")
    first = cached(tmp_path / "cache")
    (folder / "report.txt").write_text("This is no part of the dataset.")
    prepare(folder, tmp_path / "cache")
    assert first
    assert cached(tmp_path / "cache") == first


def test_a_changed_folder_is_never_served_stale(folder: Path, tmp_path: Path) -> None:
    before = prepare(folder, tmp_path / "cache")["train"]
    write_dataset(folder, [story("other", num_shots=2)], overwrite=True, progress=False)
    after = prepare(folder, tmp_path / "cache")["train"]
    assert "other_000" not in before["story_id"]
    assert after["story_id"] == ["other_000"]


def test_a_file_that_was_only_written_anew_counts_as_changed(folder: Path, tmp_path: Path) -> None:
    one = build(folder, tmp_path / "cache")
    shard = next((folder / "stories").glob("train-*"))
    os.utime(shard, ns=(1, 1))
    assert build(folder, tmp_path / "cache").cache_dir != one.cache_dir
    assert build(folder, tmp_path / "cache", "shots").cache_dir == build(folder, tmp_path / "cache", "shots").cache_dir


def test_the_list_in_the_folder_is_obeyed_and_part_of_the_key(folder: Path, tmp_path: Path) -> None:
    assert len(prepare(folder, tmp_path / "cache", "shots")["train"]) == 12
    gone = in_files(folder, "stories", "train")["story_id"][0].as_py()
    (folder / "takedown.txt").write_text(f"story:{hash_id(gone)}\n")
    for config in CONFIGS:
        found = prepare(folder, tmp_path / "cache", config)["train"]
        assert found.num_rows == in_files(folder, config, "train").num_rows * 5 // 6
        assert gone not in found["story_id"]
        streamed = build(folder, tmp_path / "cache", config).as_streaming_dataset(split="train").decode(False)
        assert [row["story_id"] for row in streamed] == found["story_id"]


@pytest.mark.parametrize("as_file", [True, False])
def test_a_list_that_is_given_is_obeyed_and_part_of_the_key(made: Path, tmp_path: Path, as_file: bool) -> None:
    video = in_files(made, "stories", "train")["video_id"][0].as_py()
    listed: Any = TakedownList(video_ids=frozenset([video]))
    if as_file:
        listed = tmp_path / "list.txt"
        listed.write_text(f"{video}  # asked for by mail\n")
    kept = prepare(made, tmp_path / "cache", "shots", takedown=listed, columns=["narrative_caption"])["train"]
    assert kept.column_names == ["narrative_caption"]
    assert len(kept) == 10
    assert len(prepare(made, tmp_path / "cache", "shots", columns=["narrative_caption"])["train"]) == 12


def test_a_takedown_list_that_cannot_be_understood_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "takedown.txt").write_text("two words\n")
    with pytest.raises(InputError, match=r"takedown.txt, line 1 is neither"):
        build(folder, tmp_path)
    (folder / "takedown.txt").unlink()
    with pytest.raises(InputError, match="missing or cannot be read"):
        build(folder, tmp_path, takedown=tmp_path / "absent.txt")


def test_a_config_that_is_not_there_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [story("v")], progress=False)
    with pytest.raises(InputError, match="holds no shots"):
        build(tmp_path / "data", tmp_path / "cache", "shots")
    with pytest.raises(InputError, match="There is no config films; there are stories, shots, references, audio"):
        build(tmp_path / "data", tmp_path / "cache", "films")


def test_a_folder_that_was_copied_in_part_is_refused(folder: Path, tmp_path: Path) -> None:
    shard = sorted((folder / "shots").glob("train-*"))[-1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="does not have the size that the manifest says"):
        build(folder, tmp_path, "shots")
    shard.unlink()
    with pytest.raises(InputError, match=f"is not whole: its manifest lists shots/{shard.name}"):
        build(folder, tmp_path, "shots")
    assert build(folder, tmp_path, "stories")


def test_a_manifest_that_cannot_be_understood_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "manifest.json").write_text('{"format": "animeshooter-dataset", "shards": [{"path": 1}]}')
    with pytest.raises(InputError, match=r"The manifest of .* cannot be understood"):
        build(folder, tmp_path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stories").mkdir()
    (tmp_path / "stories" / "train-00000-of-00001.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="is no Parquet file, or is cut off"):
        build(tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("data_dir", [None, "", "/nowhere/at/all", "a/b/c", "hf://models/ORG/NAME"])
def test_what_is_no_data_at_all_is_refused(data_dir: str | None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data_dir must be a dataset folder, a dataset on the Hub or a release"):
        AnimeShooterBuilder(config_name="stories", data_dir=data_dir, cache_dir=str(tmp_path))


@pytest.fixture(scope="module")
def alone(made: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the file says that is run by itself, under another name, where the package is not installed."""
    root = tmp_path_factory.mktemp("alone")
    shutil.copy(SCRIPT, root / "renamed.py")
    hashed, plain, release = root / "hashed.txt", root / "plain.txt", root / "a.json"
    listed = in_files(made, "stories", "train")["video_id"][0].as_py()
    hashed.write_text(f"# by mail\n{hash_id(listed)}\n")
    plain.write_text("v00\n")
    release.write_text("{}")
    code = f"""
import sys
sys.modules["animeshooter_hf"] = None
from renamed import AnimeShooter
def rows(config, data_dir={str(made)!r}, **options):
    try:
        builder = AnimeShooter(config_name=config, data_dir=data_dir, cache_dir={str(root / "cache")!r}, **options)
        builder.download_and_prepare()
        return len(builder.as_dataset(split="train"))
    except ValueError as error:
        return error
print(*[rows(config) for config in ("stories", "shots", "references", "audio")])
print(rows("stories", takedown={str(hashed)!r}))
print(rows("stories", takedown={str(plain)!r}))
print(rows("stories", data_dir={str(release)!r}))
print("torchcodec" in sys.modules, "torch" in sys.modules)
"""
    environment = {**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_the_file_runs_by_itself_without_the_package(alone: list[str]) -> None:
    assert alone[0] == "6 12 12 6"


def test_by_itself_it_obeys_hashed_lists_and_refuses_others(alone: list[str]) -> None:
    assert alone[1] == "5"
    assert "holds the line 'v00', which is no hash; install animeshooter_hf" in alone[2]


def test_by_itself_it_says_what_to_do_with_a_release(alone: list[str]) -> None:
    assert "is a release, which only animeshooter_hf reads" in alone[3]
    assert "animeshooter ingest" in alone[3]


def test_media_are_never_decoded(alone: list[str]) -> None:
    assert alone[4] == "False False"
