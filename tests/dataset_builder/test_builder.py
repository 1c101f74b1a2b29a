"""`AnimeShooterBuilder` reads a release or a dataset folder, and never serves a changed one stale."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from animeshooter_hf import AnimeShooterBuilder, Story
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS

sys.path.insert(0, str(Path(__file__).parent))
from packaging_stories import Films, film, story


def release(video_id: str) -> dict[str, object]:
    script = {
        "storyline": "A day.",
        "main characters": [{"ID": "Mia", "appearance": "grey"}],
        "main settings": [{"ID": "Park", "environment": "grass"}],
        "shots": [
            {
                "start time": "00:00", "end time": "00:04", "is_prologue_or_epilogue": False,
                "main characters": ["Mia"], "setting": "Park",
                "visual annotation": {"narrative caption": "Mia runs.", "descriptive caption": "Somebody runs."},
            }
        ],
    }  # fmt: skip
    segment = {"start frame index": 0, "end frame index": 120, "story script": script, "reference images": []}
    return {"video ID": video_id, "url": "https://example.org", "fps": 30.0, "segments": [segment]}


def build(data_dir: Path, cache: Path, config: str = "stories") -> AnimeShooterBuilder:
    return AnimeShooterBuilder(config_name=config, data_dir=data_dir, cache_dir=str(cache))


def test_a_release_is_built_and_streamed(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text(json.dumps(release(name)))
    builder = build(folder, tmp_path / "cache")
    builder.download_and_prepare()
    rows = builder.as_dataset(split="train")
    assert rows.features == CONFIGS["stories"]
    assert [Story.from_dataset_row(row).story_id for row in rows] == ["one_000", "two_000"]
    streamed = list(build(folder, tmp_path / "other").as_streaming_dataset(split="train"))
    assert streamed == list(rows)


def test_a_changed_release_is_never_served_stale(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    for number, name in enumerate(("one", "two", "three"), start=1):
        (folder / f"{name}.json").write_text(json.dumps(release(name)))
        builder = build(folder, tmp_path / "cache")
        builder.download_and_prepare()
        assert len(builder.as_dataset(split="train")) == number


@pytest.mark.parametrize("config", list(CONFIGS))
def test_a_dataset_folder_gives_every_config(tmp_path: Path, config: str) -> None:
    film(tmp_path, "v")
    write_dataset(tmp_path / "data", [story("v")], media=Films(tmp_path))
    builder = build(tmp_path / "data", tmp_path / "cache", config)
    builder.download_and_prepare(file_format="parquet")
    assert builder.info.features == CONFIGS[config]
    assert builder.info.splits["train"].num_examples == {"stories": 1, "shots": 4, "references": 2, "audio": 2}[config]


def test_the_builder_can_be_moved_to_where_there_is_only_stories(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", [story("v")])
    with pytest.raises(InputError, match="holds no shots"):
        build(tmp_path / "data", tmp_path / "cache", "shots").download_and_prepare()


def test_what_is_neither_a_release_nor_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data_dir must be"):
        AnimeShooterBuilder(config_name="stories")
    with pytest.raises(InputError, match="data_dir must be"):
        build(tmp_path / "absent", tmp_path / "cache")
    (tmp_path / "one.json").write_text(json.dumps(release("one")))
    with pytest.raises(InputError, match="annotations only"):
        build(tmp_path / "one.json", tmp_path / "cache", "shots").download_and_prepare()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
