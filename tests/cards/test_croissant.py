"""The Croissant file: its own validator has nothing to say, and its own reader reads our records."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import mlcroissant
import pyarrow.parquet as pq
import pytest

from animeshooter_hf.cards.croissant import MAX_FILE_OBJECTS, croissant_text, make_croissant
from animeshooter_hf.cards.dataset_facts import CardFacts, DatasetStatistics
from animeshooter_hf.cards.hub_files import GITATTRIBUTES
from animeshooter_hf.dataset_builder.manifest import DatasetManifest
from animeshooter_hf.features import CONFIGS

MEDIA = {"shots": ("video",), "audio": ("video", "audio"), "references": ("image", "cutout", "mask")}


@pytest.fixture(scope="module")
def opened(folder: Path) -> mlcroissant.Dataset:
    return mlcroissant.Dataset(str(folder / "croissant.json"))


def rows_of(folder: Path, config: str) -> list[dict[str, Any]]:
    return [
        {**row, "split": path.name.split("-")[0]}
        for path in sorted((folder / config).glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def flatten(value: Any, path: str, found: dict[str, Any]) -> None:
    """Bring our row and its record to one form: path of a leaf -> its values."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            flatten(inner, name if "/" in name else f"{path}/{name}", found)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        names = dict.fromkeys(name for one in value if one is not None for name in one)
        for name in names:
            inner = [None if one is None else one.get(name) for one in value]
            flatten(inner, name if "/" in name else f"{path}/{name}", found)
    else:
        found[path] = plain(value)


def plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value


def test_the_validator_finds_no_error_and_warns_of_nothing(opened: mlcroissant.Dataset, folder: Path) -> None:
    issues = opened.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    command = [sys.executable, "-m", "mlcroissant.scripts.cli", "validate", "--jsonld", str(folder / "croissant.json")]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr


def test_what_was_not_given_is_all_that_the_validator_misses(folder: Path, tmp_path: Path) -> None:
    manifest = DatasetManifest.read(folder)
    croissant = make_croissant(CardFacts(), manifest.configs(), manifest.shards, DatasetStatistics())
    assert not {"datePublished", "version", "creator", "url", "sameAs"} & set(croissant)
    (tmp_path / "croissant.json").write_text(croissant_text(croissant))
    issues = mlcroissant.Dataset(str(tmp_path / "croissant.json")).metadata.ctx.issues
    assert not issues.errors
    assert len(issues.warnings) == 2
    assert all("datePublished" in one or "version" in one for one in issues.warnings)


def test_the_reader_of_croissant_reads_our_stories(opened: mlcroissant.Dataset, folder: Path) -> None:
    records = list(opened.records("stories"))
    rows = rows_of(folder, "stories")
    assert len(records) == len(rows) == 12
    by_name = {record["stories/story_id"].decode(): record for record in records}
    assert {row["split"] for row in rows} == {"train", "test"}
    for row in rows:
        told: dict[str, Any] = {}
        flatten({f"stories/{name}": value for name, value in row.items()}, "", told)
        found: dict[str, Any] = {}
        flatten(by_name[row["story_id"]], "", found)
        compared = {path for path in told if told[path] not in (None, [])}
        assert {path: found[path] for path in compared} == {path: told[path] for path in compared}
        assert len(compared) > 25 or not row["shots"]


@pytest.mark.parametrize("config", list(MEDIA))
def test_the_reader_of_croissant_reads_our_media(opened: mlcroissant.Dataset, folder: Path, config: str) -> None:
    rows = rows_of(folder, config)
    records = list(islice(opened.records(config), 3))
    assert len(records) == 3
    for record, row in zip(records, rows, strict=False):
        assert record[f"{config}/story_id"].decode() == row["story_id"]
        assert record[f"{config}/split"].decode() == row["split"]
        for column in MEDIA[config]:
            found = record[f"{config}/{column}"]
            if isinstance(found, bytes):
                assert found == row[column]["bytes"]
            else:
                assert found.size == (64, 48)


def test_every_column_of_every_config_is_described(opened: mlcroissant.Dataset) -> None:
    found = {record_set.id: {field.name for field in record_set.fields} for record_set in opened.metadata.record_sets}
    for config, features in CONFIGS.items():
        assert found[config] == {"split", *features}
    for record_set in opened.metadata.record_sets:
        for field in record_set.fields:
            assert all(one.description for one in [field, *field.sub_fields])


def test_the_file_names_every_shard_with_its_hash_and_the_fields_of_rai(folder: Path) -> None:
    data = json.loads((folder / "croissant.json").read_text())
    shards = DatasetManifest.read(folder).shards
    named = {one["contentUrl"]: one["sha256"] for one in data["distribution"] if one["@type"] == "cr:FileObject"}
    assert named == {shard.path: shard.sha256 for shard in shards}
    for name in (
        "dataCollection", "dataAnnotationProtocol", "dataAnnotationPlatform", "dataLimitations", "dataBiases",
        "personalSensitiveInformation", "dataUseCases", "dataReleaseMaintenancePlan", "dataManipulationProtocol",
        "dataSocialImpact",
    ):  # fmt: skip
        assert data[f"rai:{name}"], name
    assert data["url"] == "https://huggingface.co/datasets/studio/cats"
    assert data["sameAs"] == "https://example.org"
    assert "12 videos, 12 stories, 44 shots" in data["description"]


def test_very_many_shards_are_a_set_of_files_only(folder: Path, facts: CardFacts) -> None:
    manifest = DatasetManifest.read(folder)
    many = [replace(manifest.shards[0], path=f"stories/train-{n}") for n in range(MAX_FILE_OBJECTS + 1)]
    croissant = make_croissant(facts, manifest.configs(), many, DatasetStatistics())
    assert {one["@type"] for one in croissant["distribution"]} == {"cr:FileSet"}


def test_the_same_facts_give_the_same_text(folder: Path, facts: CardFacts) -> None:
    manifest = DatasetManifest.read(folder)
    texts = {
        croissant_text(make_croissant(facts, manifest.configs(), manifest.shards, DatasetStatistics())) for _ in "ab"
    }
    assert len(texts) == 1


def test_a_croissant_file_needs_a_config(facts: CardFacts) -> None:
    with pytest.raises(ValueError, match="at least one config"):
        make_croissant(facts, [], [], DatasetStatistics())


def test_git_keeps_tables_films_and_pictures_as_large_files() -> None:
    lines = GITATTRIBUTES.splitlines()
    for ending in ("parquet", "mp4", "flac", "zip", "png", "jpg"):
        assert f"*.{ending} filter=lfs diff=lfs merge=lfs -text" in lines
    assert not any(line.startswith(("*.md filter", "*.json filter")) for line in lines)
