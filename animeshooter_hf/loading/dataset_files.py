"""Where the files of a dataset are: in a folder, in the Hub's cache after a download, or afar, to be read by ranges."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.byte_source import ByteSource, LocalSource, ReadCounter, RemoteSource
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = ["DatasetFiles", "find_dataset"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_HUB_URL = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?/?")
_STORIES = "stories"


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetFiles:
    """The shards of one split, and how to read them. Small, without handles: it goes to workers as it is."""

    name: str
    """How a message names the dataset."""

    shards: Mapping[str, tuple[tuple[str, int], ...]]
    """Config -> (path, bytes) of each shard, in order; a config that is not there is left out."""

    takedown: TakedownList
    """The list that the dataset carries."""

    protocol: str | None = None
    """Protocol of fsspec, or None for local files."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the file system."""

    def open(self, config: str, counter: ReadCounter) -> list[ByteSource]:
        """Return the shards of a config as sources of bytes.

        Raises:
            InputError: If a local one cannot be read.
        """
        shards = self.shards.get(config, ())
        if self.protocol is None:
            return [LocalSource(path, counter) for path, _ in shards]
        file_system = _file_system(self.protocol, self.options)
        return [RemoteSource(file_system, path, size, counter) for path, size in shards]


def find_dataset(
    path_or_repo: str | Path,
    split: str,
    configs: Sequence[str],
    *,
    streaming: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
) -> DatasetFiles:
    """Return where the files of a split are; without `streaming`, a repository is downloaded to the Hub's cache first.

    Args:
        path_or_repo: A folder, an ID such as "ORG/NAME", the same as "hf://datasets/ORG/NAME", or with `streaming`
            the address of a folder that fsspec knows.
        split: The split.
        configs: Configs to look for, beside `stories`.
        streaming: Read by ranges, download nothing.
        revision: Branch, tag or commit of the repository; it is fixed to a commit here.
        token: Token of the Hub; None for the one that is stored.

    Raises:
        InputError: If there is no such dataset or split, or it is none of ours.
    """
    text = str(path_or_repo)
    if found := _HUB_URL.fullmatch(text):
        text, revision = found[1], revision or found[2]
    elif "://" in text:
        if not streaming:
            raise InputError(f"{text} is an address: it can only be read with streaming=True.")
        return _find_at_address(text, split, configs)
    path = Path(text).expanduser()
    if not found and path.exists():
        return _find_in_folder(path, split, configs)
    if not _HUB_ID.fullmatch(text):
        raise InputError(f"There is no dataset folder {path_or_repo}.")
    if streaming:
        return _find_on_hub(text, split, configs, revision, token)
    root = _download(text, split, configs, revision, token)
    if not any((root / _STORIES).glob(f"{split}-*.parquet")):
        _find_on_hub(text, split, configs, revision, token)  # it knows the other splits, and says what is wrong
    return _find_in_folder(root, split, configs, text)


def _find_in_folder(root: Path, split: str, configs: Sequence[str], name: str | None = None) -> DatasetFiles:
    name = name or str(root)
    if not root.is_dir():
        raise InputError(f"There is no dataset folder {root}.")
    if not (root / _STORIES).is_dir():
        raise InputError(f"{root} is no dataset of ours: it has no folder `stories`.")
    files = {
        config: [(str(path), path.stat().st_size) for path in (root / config).glob("*.parquet")]
        for config in {_STORIES, *configs}
    }
    return DatasetFiles(name=name, shards=_of_split(files, split, name), takedown=TakedownList.read_beside(root))


def _find_on_hub(
    repo_id: str, split: str, configs: Sequence[str], revision: str | None, token: str | bool | None
) -> DatasetFiles:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        commit = HfApi(token=token).dataset_info(repo_id, revision=revision).sha
    except (HfHubHTTPError, OSError) as error:
        raise _not_on_hub(repo_id, revision, error) from error
    options = {} if token is None else {"token": token}
    return _find_remote(f"datasets/{repo_id}@{commit}", "hf", options, repo_id, split, configs)


def _find_at_address(address: str, split: str, configs: Sequence[str]) -> DatasetFiles:
    protocol, root = address.split("://", 1)
    return _find_remote(root.rstrip("/"), protocol, {}, address, split, configs)


def _find_remote(
    root: str, protocol: str, options: Mapping[str, Any], name: str, split: str, configs: Sequence[str]
) -> DatasetFiles:
    files: dict[str, list[tuple[str, int]]] = {}
    try:
        file_system = _file_system(protocol, options)
        for config in {_STORIES, *configs}:
            try:
                listed = file_system.ls(f"{root}/{config}", detail=True)
            except FileNotFoundError:
                listed = []
            files[config] = [(one["name"], one["size"]) for one in listed if one["name"].endswith(".parquet")]
        try:
            text = bytes(file_system.cat_file(f"{root}/{TAKEDOWN_FILE}")).decode("utf-8-sig")
        except FileNotFoundError:
            text = ""
    except (OSError, ValueError, ImportError) as error:
        raise InputError(f"The dataset {name} cannot be read: {error}.") from error
    if not files[_STORIES]:
        raise InputError(f"{name} is no dataset of ours: it has no folder `stories`.")
    takedown = TakedownList.parse(text, f"the takedown list of {name}")
    return DatasetFiles(
        name=name, shards=_of_split(files, split, name), takedown=takedown, protocol=protocol, options=options
    )


def _file_system(protocol: str, options: Mapping[str, Any]) -> Any:
    import fsspec

    if protocol == "hf":
        from huggingface_hub import HfFileSystem

        return HfFileSystem(**options)
    return fsspec.filesystem(protocol, **options)


def _of_split(
    files: Mapping[str, Sequence[tuple[str, int]]], split: str, name: str
) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return the shards of a split, sorted; the split must have stories."""
    is_shard = re.compile(rf"{re.escape(split)}-\d+-of-\d+\.parquet")
    shards = {
        config: tuple(sorted(one for one in listed if is_shard.fullmatch(one[0].rsplit("/", 1)[-1])))
        for config, listed in files.items()
    }
    if not shards[_STORIES]:
        found = sorted({path.rsplit("/", 1)[-1].split("-")[0] for path, _ in files[_STORIES]})
        raise InputError(f"{name} has no split {split!r}. Its splits: {', '.join(found) or 'none'}.")
    return {config: listed for config, listed in shards.items() if listed}


def _download(repo_id: str, split: str, configs: Sequence[str], revision: str | None, token: str | bool | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [TAKEDOWN_FILE, *(f"{config}/{split}-*.parquet" for config in {_STORIES, *configs})]
    try:
        return Path(
            snapshot_download(repo_id, repo_type="dataset", revision=revision, token=token, allow_patterns=patterns)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _not_on_hub(repo_id, revision, error) from error


def _not_on_hub(repo_id: str, revision: str | None, error: Exception) -> InputError:
    from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return InputError(f"The dataset {repo_id} has no revision {revision!r} on the Hub.")
    if isinstance(error, GatedRepoError):
        return InputError(f"The dataset {repo_id} is gated: ask for access on its page, then log in or give a token.")
    return InputError(
        f"The dataset {repo_id} is no folder here and cannot be had from the Hub. If it is private, give a token."
    )
