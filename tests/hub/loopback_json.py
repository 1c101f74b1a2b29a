"""The JSON that the Hub on loopback answers with, as the real one shapes it."""

import fnmatch
import hashlib
from collections.abc import Sequence
from typing import Any

from loopback_state import Repository, StoredFile

LFS_PATTERNS = ("*.parquet", "*.safetensors", "*.bin", "*.mp4", "*.flac", "*.jpg", "*.png")
LFS_BYTES = 10 << 20
_DATE = "2026-01-01T00:00:00.000Z"


def info(name: str, commit: str, repository: Repository, *, with_blobs: bool) -> dict[str, Any]:
    """Return what is known of a repository."""
    siblings = [
        {"rfilename": path, **({"size": file.size, "blobId": file.oid} if with_blobs else {})}
        for path, file in sorted(repository.commits[commit].items())
    ]
    return {
        "id": name,
        "modelId": name,
        "_id": "x",
        "sha": commit,
        "author": name.split("/")[0],
        "siblings": siblings,
        "private": repository.is_private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "cardData": {},
        "lastModified": _DATE,
        "createdAt": _DATE,
    }


def refs(repository: Repository) -> dict[str, Any]:
    """Return the branches and tags of a repository."""

    def listed(kind: str, found: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in found.items()]

    branches, tags = listed("heads", repository.refs), listed("tags", repository.tags)
    return {"branches": branches, "converts": [], "tags": tags, "pullRequests": []}


def commit(oid: str, title: str) -> dict[str, Any]:
    """Return a line of the history."""
    return {"id": oid, "title": title, "message": "", "date": _DATE, "authors": []}


def upload_mode(item: dict[str, Any], files: dict[str, StoredFile], ignored: Sequence[str]) -> dict[str, Any]:
    """Return in which way a file shall go up."""
    path = item["path"]
    name = path.rsplit("/", 1)[-1]
    is_lfs = item["size"] >= LFS_BYTES or any(fnmatch.fnmatch(name, pattern) for pattern in LFS_PATTERNS)
    is_ignored = any(fnmatch.fnmatch(name, pattern) for pattern in ignored)
    known = files[path].oid if path in files else None
    return {"path": path, "uploadMode": "lfs" if is_lfs else "regular", "shouldIgnore": is_ignored, "oid": known}


def lfs_file(oid: str, path: str, size: int) -> dict[str, Any]:
    """Return an LFS object of a repository."""
    return {"fileOid": oid, "oid": oid, "filename": path, "size": size, "pushedAt": _DATE, "ref": "refs/heads/main"}


def paths_info(paths: Sequence[str], files: dict[str, StoredFile]) -> list[dict[str, Any]]:
    """Return what is known of some paths."""
    folders = [path for path in paths if any(file.startswith(path.rstrip("/") + "/") for file in files)]
    return [*(_entry(path, files[path]) for path in paths if path in files), *(_folder(path) for path in folders)]


def tree(files: dict[str, StoredFile], path: str, *, recursive: bool) -> list[dict[str, Any]]:
    """Return the files and folders below a path."""
    prefix = f"{path.rstrip('/')}/" if path else ""
    entries: list[dict[str, Any]] = []
    folders: set[str] = set()
    for file, stored in sorted(files.items()):
        if not file.startswith(prefix):
            continue
        parts = file[len(prefix) :].split("/")
        folders.update(prefix + "/".join(parts[:depth]) for depth in range(1, len(parts)))
        if recursive or len(parts) == 1:
            entries.append(_entry(file, stored))
    shown = [folder for folder in sorted(folders) if recursive or "/" not in folder[len(prefix) :]]
    return [*entries, *(_folder(folder) for folder in shown)]


def _entry(path: str, file: StoredFile) -> dict[str, Any]:
    if not file.is_lfs:
        return {"type": "file", "path": path, "size": file.size, "oid": file.oid}
    pointer = hashlib.sha1(file.oid.encode()).hexdigest()
    lfs = {"oid": file.oid, "size": file.size, "pointerSize": 130}
    return {"type": "file", "path": path, "size": file.size, "oid": pointer, "lfs": lfs}


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": "0" * 40}
