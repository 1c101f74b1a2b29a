"""AnimeShooter as a `datasets` builder in one file, which is also the loading script of older `datasets`.

A published dataset needs none of this: plain `load_dataset` opens it. The builder is for what has not been packaged
yet, such as the release's zip, for one call that works on all of it, and for `datasets` 2.21, which knows no video.

`datasets` 2.21 to 3.6 run the file as it lies here, or a copy of it under any name that is not the name of its folder:

    load_dataset("loading_script.py", "stories", data_dir="dataset/", trust_remote_code=True)

`datasets` 4 and later run no scripts; there it is `animeshooter_hf.AnimeShooterBuilder`. This file takes nothing of
`animeshooter_hf` at its top, so that it runs where that is not installed; a release, and a takedown list that is not
hashed, need it.

Tables are passed on as they lie in the files, one row group after the other: no media is decoded, no row becomes
Python. The cache of `datasets` knows a builder by its code and the path it was given, not by what lies there; so the
state of every input (name, size, time of change; on the Hub the content's hash) goes into the cache key, and a changed
folder is never served stale.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.table import table_cast

CONFIG_NAMES = ("stories", "shots", "references", "audio")
SPLITS = ("train", "validation", "test")

_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}\.parquet")
_REPOSITORY = re.compile(r"(?:hf://datasets/)?([\w-][\w.-]*/[\w.-]+)(?:@([^/\s]+))?/?")
_HASHED_LINE = re.compile(r"(?:story:)?sha256:[0-9a-f]{64}")
_STORIES_AT_ONCE = 64


@dataclass
class AnimeShooterConfig(datasets.BuilderConfig):
    """One of the four configs, all of its columns or some."""

    columns: list[str] | None = None


@dataclass
class _Shard:
    """A Parquet file of a dataset."""

    split: str
    location: str
    """Path, or address that begins with hf://."""


@dataclass
class _Inputs:
    """What a config is made from, as it was when the builder was made."""

    shards: list[_Shard] = field(default_factory=list)
    """Files of a dataset, split by split; a release has none."""

    release: str | None = None
    """Path of a release."""

    takedown: str | None = None
    """Text of the takedown list that lies beside them."""

    state: list[str] = field(default_factory=list)
    """A line for each file; it changes when the file does."""


class AnimeShooter(datasets.ArrowBasedBuilder, datasets.GeneratorBasedBuilder):
    """Builds the four configs from `data_dir`.

    `data_dir` is a dataset folder (as `animeshooter build`, `ingest` and `publish` write it) or its repository on the
    Hub ("ORG/NAME", "hf://datasets/ORG/NAME@REVISION"), which have every config they hold; or the public release (a
    JSON file, a folder of them, or the zip), which has `stories`. Stories of its `takedown.txt`, and those of the list
    `takedown`, are left out. `columns` names the columns that are read.
    """

    VERSION = datasets.Version("2.0.0")
    BUILDER_CONFIG_CLASS = AnimeShooterConfig
    BUILDER_CONFIGS: ClassVar[list[AnimeShooterConfig]] = [AnimeShooterConfig(name=name) for name in CONFIG_NAMES]
    DEFAULT_CONFIG_NAME = "stories"
    INPUT_ERROR: ClassVar[type[ValueError]] = ValueError
    """What bad input raises."""

    # The rows come as tables, which need no check for keys that occur twice.
    _download_and_prepare = datasets.DatasetBuilder._download_and_prepare

    def __init__(
        self,
        cache_dir: str | None = None,
        dataset_name: str | None = None,
        config_name: str | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        hash: str | None = None,  # noqa: A002
        token: bool | str | None = None,
        takedown: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take what `datasets.DatasetBuilder` takes; `data_dir` must be there.

        Args:
            cache_dir: Where `datasets` keeps what was built.
            dataset_name: Name in the cache.
            config_name: One of `CONFIG_NAMES`.
            data_dir: A dataset folder, a repository on the Hub, or a release.
            hash: What the script's own loader adds to the cache key.
            token: For a repository that is private or gated.
            takedown: Path of a takedown list, or a `TakedownList`, beside the one that the data carry.
            kwargs: `columns`, and whatever else `datasets.DatasetBuilder` takes.

        Raises:
            ValueError: If `data_dir` is missing or is none of these, has no such config, or a takedown list cannot be
                read or understood.
        """
        config = config_name or self.DEFAULT_CONFIG_NAME
        if config not in CONFIG_NAMES:
            raise self.INPUT_ERROR(f"There is no config {config}; there are {', '.join(CONFIG_NAMES)}.")
        where, self._inputs = self._find_inputs(data_dir, config, token)
        self._takedowns = self._read_takedowns(takedown)
        self._stored_features = self._read_features(token)
        key = [str(self.VERSION), hash, _library_version(), repr(self._stored_features), *self._inputs.state]
        key += [one.fingerprint() for one in self._takedowns]
        super().__init__(
            cache_dir=cache_dir,
            dataset_name=dataset_name or "animeshooter",
            config_name=config,
            data_dir=where,
            hash=hashlib.sha256(json.dumps(key).encode()).hexdigest(),
            token=token,
            **kwargs,
        )

    def _info(self) -> datasets.DatasetInfo:
        stored, columns = self._stored_features, self.config.columns
        if columns is not None and (not columns or set(columns) - set(stored)):
            raise self.INPUT_ERROR(f"{self.config.name} has the columns {', '.join(stored)}, not {columns}.")
        kept = {name: kind for name, kind in stored.items() if columns is None or name in columns}
        return datasets.DatasetInfo(features=datasets.Features(kept))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if self._inputs.release is not None:
            shards = self._package("dataset_builder.release.pieces").split_release(
                Path(self._inputs.release), takedown=self._one_takedown_list()
            )
            return [datasets.SplitGenerator(name=name, gen_kwargs={"shards": those}) for name, those in shards.items()]
        generators = []
        for split in dict.fromkeys(shard.split for shard in self._inputs.shards):
            locations = [shard.location for shard in self._inputs.shards if shard.split == split]
            if _is_remote(locations[0]):
                locations = dl_manager.download(locations)
            groups = [group for location in locations for group in _row_groups(location)]
            generators.append(datasets.SplitGenerator(name=split, gen_kwargs={"groups": groups}))
        return generators

    def _generate_tables(
        self, groups: Iterable[tuple[str, int | None]] = (), shards: Iterable[Any] = ()
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield tables with keys; `groups` are row groups of Parquet files, `shards` parts of a release."""
        schema = self.info.features.arrow_schema
        for location, group in groups:
            with _open(location, self.token) as file:
                parquet = pq.ParquetFile(file, pre_buffer=_is_remote(location))
                for number in range(parquet.num_row_groups) if group is None else [group]:
                    table = self._read_group(parquet, number, schema.names)
                    yield f"{location}#{number}", table_cast(table, schema)
        for rows in self._release_rows(shards):
            yield rows[0]["story_id"], pa.Table.from_pylist(rows, schema=schema)

    def _generate_more_gen_kwargs(self, **kwargs: Any) -> Iterator[dict[str, Any]]:
        """Yield smaller shards, for `IterableDataset.reshard`."""
        for location, group in kwargs.get("groups", ()):
            with _open(location, self.token) as file:
                count = pq.ParquetFile(file).num_row_groups
            yield {"groups": [(location, number) for number in (range(count) if group is None else [group])]}
        for shard in kwargs.get("shards", ()):
            yield {"shards": [(piece,) for piece in shard]}

    def _generate_examples(self, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the same as rows with keys."""
        for key, table in self._generate_tables(**kwargs):
            for number, row in enumerate(table.to_pylist()):
                yield f"{key}.{number}", row

    def _read_group(self, parquet: pq.ParquetFile, number: int, columns: list[str]) -> pa.Table:
        """Return a row group without the rows that the takedown lists name."""
        if not any(self._takedowns):
            return parquet.read_row_group(number, columns=columns)
        table = parquet.read_row_group(number, columns=list(dict.fromkeys([*columns, "story_id", "video_id"])))
        ids = zip(table["story_id"].to_pylist(), table["video_id"].to_pylist())  # noqa: B905
        kept = [not any(one.hits_story(story, video) for one in self._takedowns) for story, video in ids]
        return (table if all(kept) else table.filter(pa.array(kept))).select(columns)

    def _release_rows(self, shards: Iterable[Any]) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a release, some at once."""
        for shard in shards:
            read = self._package("dataset_builder.release.pieces").read_release_shard
            stories = read(shard, self._one_takedown_list())
            while rows := [story.to_json() for story in itertools.islice(stories, _STORIES_AT_ONCE)]:
                yield rows

    def _read_features(self, token: bool | str | None) -> datasets.Features:
        """Return what the files themselves say about their columns."""
        if not self._inputs.shards:
            features: datasets.Features = self._package("features").CONFIGS["stories"]
            return features
        location = self._inputs.shards[0].location
        try:
            with _open(location, token) as file:
                schema = pq.read_schema(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise self.INPUT_ERROR(f"{location} is no Parquet file, or is cut off.") from error
        stored = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        if "info" not in stored:
            return datasets.Features.from_arrow_schema(schema)
        return datasets.Features.from_dict(_known_types(stored["info"]["features"]))

    def _read_takedowns(self, given: Any) -> list[Any]:
        """Return the takedown lists: that of the data and the one that was given."""
        lists = []
        if self._inputs.takedown is not None:
            lists.append(self._parse_takedown(self._inputs.takedown, "takedown.txt"))
        if hasattr(given, "hits_story"):
            lists.append(given)
        elif given is not None:
            lists.append(self._parse_takedown(self._read_text(Path(given)), str(given)))
        return lists

    def _parse_takedown(self, text: str, name: str) -> Any:
        """Return a list in any notation where the package is there to read it; else it must be hashed."""
        try:
            from animeshooter_hf.takedown import TakedownList
        except ImportError:
            listed = _HashedTakedown(text)
            if listed.strange is None:
                return listed
            raise self.INPUT_ERROR(
                f"{name} holds the line {listed.strange!r}, which is no hash; install animeshooter_hf to read it."
            ) from None
        return TakedownList.parse(text, name)

    def _one_takedown_list(self) -> Any:
        empty = self._package("takedown").TakedownList()
        return functools.reduce(lambda one, other: one.merge(other), self._takedowns, empty)

    def _read_text(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise self.INPUT_ERROR(f"The takedown list {path} is missing or cannot be read as UTF-8 text.") from error

    def _package(self, module: str) -> Any:
        """Return a module of `animeshooter_hf`, which releases need."""
        try:
            return importlib.import_module(f"animeshooter_hf.{module}")
        except ImportError as error:
            raise self.INPUT_ERROR(
                f"{self._inputs.release} is a release, which only animeshooter_hf reads ({error}). "
                "Turn it into a dataset folder first with: animeshooter ingest PATH --out DIR"
            ) from error

    def _find_inputs(self, data_dir: Any, config: str, token: bool | str | None) -> tuple[str, _Inputs]:
        """Return where the data are, as an address that stays true, and what is there."""
        given = "" if data_dir is None else os.fspath(data_dir)
        if given and "://" not in given and Path(given).exists():
            path = Path(given).absolute()
            found = {name: _shard_names(path / name) for name in CONFIG_NAMES}
            is_dataset = any(found.values()) or _is_manifest(path / "manifest.json")
            inputs = self._folder_inputs(path, config, found) if is_dataset else self._release_inputs(path, config)
            return str(path), inputs
        address = _REPOSITORY.fullmatch(given)
        if address is None:
            raise self.INPUT_ERROR(
                f"data_dir must be a dataset folder, a dataset on the Hub or a release, got {data_dir}."
            )
        return given, self._hub_inputs(address[1], address[2], config, token)

    def _folder_inputs(self, root: Path, config: str, found: dict[str, list[str]]) -> _Inputs:
        if not found[config]:
            raise self.INPUT_ERROR(f"{root} holds no {config}.")
        names = [f"{config}/{name}" for name in found[config]]
        self._check_complete(root, config, names)
        listed = root / "takedown.txt"
        beside = ["takedown.txt"] if listed.exists() else []
        return _Inputs(
            shards=[_Shard(_split_of(name), str(root / name)) for name in names],
            takedown=self._read_text(listed) if beside else None,
            state=[_file_state(root, root / name) for name in [*names, *beside]],
        )

    def _check_complete(self, root: Path, config: str, names: list[str]) -> None:
        """Refuse a folder that lacks what its manifest lists, such as one that was copied in part."""
        if not _is_manifest(root / "manifest.json"):
            return
        try:
            listed = json.loads((root / "manifest.json").read_text(encoding="utf-8"))["shards"]
            sizes = {str(shard["path"]): int(shard["bytes"]) for shard in listed}
        except (KeyError, TypeError, ValueError) as error:
            raise self.INPUT_ERROR(f"The manifest of {root} cannot be understood.") from error
        for path, size in sizes.items():
            if path.startswith(f"{config}/") and path not in names:
                raise self.INPUT_ERROR(f"{root} is not whole: its manifest lists {path}, which is not there.")
            if path in names and (root / path).stat().st_size != size:
                raise self.INPUT_ERROR(f"{root / path} does not have the size that the manifest says.")

    def _release_inputs(self, path: Path, config: str) -> _Inputs:
        if config != "stories":
            raise self.INPUT_ERROR(
                f"A release holds annotations only, so it has no {config}. "
                "Cut its videos first with: animeshooter ingest PATH --videos DIR --out OUT"
            )
        self._inputs = _Inputs(release=str(path))
        files = self._package("dataset_builder.release.files").list_release_paths(path)
        folder = path if path.is_dir() else path.parent
        listed = folder / "takedown.txt"
        return _Inputs(
            release=str(path),
            takedown=self._read_text(listed) if listed.exists() else None,
            state=[_file_state(folder, file) for file in files],
        )

    def _hub_inputs(self, repo_id: str, revision: str | None, config: str, token: bool | str | None) -> _Inputs:
        from huggingface_hub import HfApi, errors, hf_hub_download

        where = repo_id if revision is None else f"{repo_id}@{revision}"
        try:
            info = HfApi(token=token).dataset_info(repo_id, revision=revision, files_metadata=True)
            files = {file.rfilename: file for file in info.siblings or ()}
            names = _sorted_shards(name for name in files if name.startswith(f"{config}/"))
            beside = [name for name in files if name == "takedown.txt"]
            paths = [
                hf_hub_download(repo_id, name, repo_type="dataset", revision=info.sha, token=token) for name in beside
            ]
        except (OSError, errors.HTTPError, errors.HFValidationError) as error:  # type: ignore[attr-defined]
            reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise self.INPUT_ERROR(
                f"There is no folder {where}, and the Hub does not give a dataset of that name: {reason}."
            ) from error
        if not names:
            raise self.INPUT_ERROR(f"The dataset {where} on the Hub holds no {config}.")
        return _Inputs(
            shards=[_Shard(_split_of(name), f"hf://datasets/{repo_id}@{info.sha}/{name}") for name in names],
            takedown=self._read_text(Path(paths[0])) if paths else None,
            state=[f"{name} {files[name].size} {files[name].blob_id}" for name in [*names, *beside]],
        )


class _HashedTakedown:
    """The takedown list as dataset folders carry it: hashes of the IDs of videos and stories."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines()]
        self._lines = frozenset(line for line in lines if line and not line.startswith("#"))
        self.strange = next((line for line in sorted(self._lines) if not _HASHED_LINE.fullmatch(line)), None)

    def __len__(self) -> int:
        return len(self._lines)

    def fingerprint(self) -> str:
        return hashlib.sha256("\n".join(sorted(self._lines)).encode()).hexdigest()

    def hits_story(self, story_id: str, video_id: str) -> bool:
        return _hash_id(video_id) in self._lines or f"story:{_hash_id(story_id)}" in self._lines


def _hash_id(identifier: str) -> str:
    return f"sha256:{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _known_types(node: Any) -> Any:
    """Return the notation of features without the types that this `datasets` has not: a video is then its two parts."""
    if isinstance(node, list):
        return [_known_types(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("_type") == "Video" and not hasattr(datasets, "Video"):
        return {"bytes": {"dtype": "binary", "_type": "Value"}, "path": {"dtype": "string", "_type": "Value"}}
    return {key: _known_types(value) for key, value in node.items()}


def _is_remote(location: str) -> bool:
    return location.startswith("hf://")


def _open(location: str, token: bool | str | None) -> Any:
    """Return a file opened for reading, from this machine or from the Hub."""
    if not _is_remote(location):
        return Path(location).open("rb")
    from huggingface_hub import HfFileSystem

    # Parquet asks for exactly what it needs: reading ahead would fetch the media beside the text.
    return HfFileSystem(token=token).open(location, "rb", cache_type="none")


def _row_groups(location: str) -> list[tuple[str, int | None]]:
    """Return the row groups of a file; a remote one is left whole, so that it need not be opened to list it."""
    if _is_remote(location):
        return [(location, None)]
    return [(location, number) for number in range(pq.read_metadata(location).num_row_groups)]


def _shard_names(folder: Path) -> list[str]:
    return _sorted_shards(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _sorted_shards(names: Iterable[str]) -> list[str]:
    """Return the names that are those of shards, split by split."""
    found = [name for name in names if _SHARD.fullmatch(name.split("/")[-1])]
    order = {split: number for number, split in enumerate(SPLITS)}
    return sorted(found, key=lambda name: (order.get(_split_of(name), len(SPLITS)), name))


def _split_of(name: str) -> str:
    return name.split("/")[-1].split("-")[0]


def _file_state(root: Path, path: Path) -> str:
    state = path.stat()
    return f"{path.relative_to(root)} {state.st_size} {state.st_mtime_ns}"


def _is_manifest(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["format"] == "animeshooter-dataset")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _library_version() -> str:
    try:
        from animeshooter_hf import __version__
    except ImportError:
        return "none"
    return __version__
