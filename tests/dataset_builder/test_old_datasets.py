"""What keeps folder and script open to `datasets` 2 and 3, which benchmarks/every_datasets.py runs themselves."""

import re
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from packaging_stories import Films, film, story

from animeshooter_hf.dataset_builder import loading_script
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.features import CONFIGS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    film(root, "v", num_frames=24)
    write_dataset(root / "data", [story("v", num_shots=2)], media=Films(root), progress=False)
    return root / "data"


def head(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])  # type: ignore[no-any-return]


def walk(node: Any) -> list[dict[str, Any]]:
    """Every mapping in a value."""
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [one for part in below for one in walk(part)]
    return [node, *found] if isinstance(node, dict) else found


def test_the_head_has_no_type_that_an_old_version_misreads(folder: Path) -> None:
    infos = head(folder)["dataset_info"]
    assert [info["config_name"] for info in infos if "features" in info] == ["stories", "references"]
    columns = walk([info.get("features", []) for info in infos])
    assert not any(column.get("dtype") == "video" for column in columns)
    fixed = [column for column in columns if "length" in column]
    assert fixed
    assert all("sequence" in column for column in fixed)


def test_the_files_say_their_types_in_the_notation_of_old_versions(folder: Path) -> None:
    for path in folder.glob("*/*.parquet"):
        assert b'"List"' not in pq.read_schema(path).metadata[b"huggingface"]


@pytest.mark.parametrize("config", list(CONFIGS))
def test_plain_load_dataset_finds_all_types_nevertheless(folder: Path, tmp_path: Path, config: str) -> None:
    opened = datasets.load_dataset(str(folder), config, split="train", cache_dir=str(tmp_path))
    assert opened.features == CONFIGS[config]
    streamed = datasets.load_dataset(str(folder), config, split="train", streaming=True)
    assert streamed.features == CONFIGS[config]


def test_the_loader_of_old_versions_understands_how_the_script_imports() -> None:
    lines = Path(loading_script.__file__).read_text().splitlines()
    at_the_top = [line for line in lines if re.match(r"(import|from)\s", line)]
    assert len(at_the_top) > 10
    for line in at_the_top:
        assert "animeshooter_hf" not in line
        assert "#" not in line  # it would be taken for an address to install from
        assert not (line.startswith("import") and "," in line)  # "json," would be a package to install
