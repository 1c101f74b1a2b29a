"""Small dataset-like folders for the tests of the uploader, and the question whether a state on the Hub is whole."""

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from loopback_hub import LoopbackHub, Repository, StoredFile

__all__ = ["is_whole", "make_job", "put_on_hub", "repository"]


def make_job(folder: Path, repo: str, version: int, *, shards: int = 3, size: int = 30_000) -> dict[str, Any]:
    """Return the job that publishes one version of a dataset; the first shard is the same in all versions.

    Shards are random bytes by seed; the manifest holds their hashes; what an earlier version had too much is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files, manifest = {}, {}
    for number in range(shards + version):
        name = f"shots/train-{number:05d}.parquet"
        local = folder / f"{version if number else 0}-{number}.parquet"
        data = random.Random(f"{repo} {local.name}").randbytes(size + number)
        local.write_bytes(data)
        files[name], manifest[name] = str(local), hashlib.sha256(data).hexdigest()
    gone = [f"shots/train-{number:05d}.parquet" for number in range(shards + version, shards + version + 3)]
    texts = {"manifest.json": json.dumps(manifest), "README.md": f"# version {version}\n"}
    return {"repo": repo, "files": files, "texts": texts, "deleted": gone, "tag": f"v1.{version}.0"}


def put_on_hub(hub: LoopbackHub, job: dict[str, Any]) -> None:
    """Let the Hub hold what a job would publish to an empty repository, without a client."""
    made = Repository()
    made.commit({}, "initial commit", "main")
    contents = {path: Path(local).read_bytes() for path, local in job["files"].items()}
    files = {path: StoredFile(hashlib.sha256(data).hexdigest(), len(data), True) for path, data in contents.items()}
    for path, file in files.items():
        hub.put(contents[path], file.oid)
    files |= {path: hub.put_regular(text.encode()) for path, text in job["texts"].items()}
    made.tags[job["tag"]] = made.commit(files, "old", "main")
    hub.repositories["dataset", job["repo"]] = made


def repository(hub: LoopbackHub, repo: str) -> Repository:
    """Return what the Hub holds of a dataset."""
    return hub.repositories["dataset", repo]


def is_whole(hub: LoopbackHub, repo: str, commit: str) -> bool:
    """Return whether a commit shows the shards of its manifest, all of them and no other."""
    files = repository(hub, repo).commits[commit]
    if "manifest.json" not in files:
        return not any(path.endswith(".parquet") for path in files)
    manifest = json.loads(hub.blob(files["manifest.json"].oid).read_text())
    card = hub.blob(files["README.md"].oid).read_text()
    is_card_of_it = card == f"# version {len(manifest) - 3}\n"
    return is_card_of_it and {p: one.oid for p, one in files.items() if p.endswith(".parquet")} == manifest
