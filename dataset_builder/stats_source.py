"""Where `animeshooter stats` reads: a dataset folder, a repository on the Hub, or the paper's release.

Stories come one by one, with no more of a file in memory than a few hundred rows; the run-length text of the masks,
which is most of a `stories` file, is not read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf.dataset_builder.release.files import iter_release_files, list_release_paths
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_files
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.records import Story
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = ["ALL_STORIES", "StatsSource", "open_stats_source", "read_rows"]

ALL_STORIES = "all"
"""Name of the one split of a release."""

_BATCH_ROWS = 256
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class StatsSource:
    """Stories by split, and the files of the other configs."""

    name: str
    """What was asked for."""

    splits: Sequence[str]
    """Splits of `stories`, in order."""

    stories: Callable[[str], Iterator[Story]]
    """Split -> its stories, read anew at each call."""

    num_stories: Mapping[str, int] = field(default_factory=dict)
    """Split -> stories, where that is known beforehand."""

    media: Mapping[str, Mapping[str, Sequence[Path]]] = field(default_factory=dict)
    """Config (`shots`, `references`, `audio`) -> split -> files; what is not here is not."""

    is_remote: bool = False
    """Whether the files came from the Hub."""

    log: ProblemLog | None = None
    """Problems of a release, after its stories were read."""


def open_stats_source(path_or_repo: str, *, with_media: bool) -> StatsSource:
    """Return the source that a word means.

    Args:
        path_or_repo: A dataset folder, an annotation file (.json), a folder or a zip of them, or ORG/NAME.
        with_media: Whether the configs with media are fetched from the Hub too.

    Raises:
        InputError: If there is no such thing, or it holds no stories.
    """
    path = Path(path_or_repo)
    if not path.exists() and _REPOSITORY.fullmatch(path_or_repo):
        return _open_folder(_download(path_or_repo, with_media=with_media), path_or_repo, is_remote=True)
    if (path / "stories").is_dir():
        return _open_folder(path, path_or_repo, is_remote=False)
    list_release_paths(path)  # refuses what is neither
    log = ProblemLog()

    def read(_split: str) -> Iterator[Story]:
        return (story for _, story in read_release_files(iter_release_files(path, log), log))

    return StatsSource(name=path_or_repo, splits=(ALL_STORIES,), stories=read, log=log)


def read_rows(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files, the named columns only.

    Raises:
        InputError: If a file cannot be read.
    """
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=list(columns)):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path} cannot be read as Parquet.") from error


def _open_folder(root: Path, name: str, *, is_remote: bool) -> StatsSource:
    files = {config: _files_by_split(root / config) for config in CONFIGS}
    if not files["stories"]:
        raise InputError(f"{name} holds no stories.")
    takedown = TakedownList.read_beside(root)

    def read(split: str) -> Iterator[Story]:
        return _read_stories(files["stories"][split], takedown)

    try:
        counts = {
            split: sum(pq.read_metadata(path).num_rows for path in paths) for split, paths in files["stories"].items()
        }
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"A file of {name} cannot be read as Parquet: {error}.") from error
    return StatsSource(
        name=name,
        splits=tuple(files["stories"]),
        stories=read,
        num_stories=counts,
        media={config: found for config, found in files.items() if config != "stories" and found},
        is_remote=is_remote,
    )


def _files_by_split(folder: Path) -> dict[str, list[Path]]:
    """Return split -> files of a config; train first, then validation, test and others."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*-*-of-*.parquet")):
        found.setdefault(path.name.split("-")[0], []).append(path)
    order = ("train", "validation", "test")
    return dict(sorted(found.items(), key=lambda pair: (order.index(pair[0]) if pair[0] in order else 3, pair[0])))


def _read_stories(paths: Sequence[Path], takedown: TakedownList) -> Iterator[Story]:
    for path in paths:
        for row in read_rows([path], _story_columns(path)):
            if takedown.hits_row(row):
                continue
            for reference in row.get("reference_masks") or ():
                if reference.get("mask") and reference["mask"].get("size"):
                    reference["mask"]["counts"] = ""  # that there is a mask is all that is asked
            try:
                yield Story.from_dataset_row(row)
            except ValueError as error:
                raise InputError(f"{path} holds a row that is no story: {error}") from error


def _story_columns(path: Path) -> list[str]:
    """Return the leaves of a `stories` file without the run-length text."""
    schema = pq.read_schema(path)
    if "reference_masks" not in schema.names:
        return list(schema.names)
    with pq.ParquetFile(path) as file:
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
    return [leaf for leaf in leaves if not (leaf.startswith("reference_masks.") and leaf.endswith(".counts"))]


def _download(repo_id: str, *, with_media: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    configs = tuple(CONFIGS) if with_media else ("stories",)
    patterns = [TAKEDOWN_FILE, *(f"{config}/*.parquet" for config in configs)]
    try:
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, OSError) as error:
        raise InputError(f"{repo_id} is no folder or file here and cannot be had from the Hub.") from error
