"""A repository on the Hub as it is: its revisions, files and tags, read with patience."""

import random as random_module
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.retry import Retrier, UploadSettings
from animeshooter_hf.hub.state import RemoteFile, RemoteHead

__all__ = ["HubRepository"]


class HubRepository:
    """A repository on the Hub to read from.

    Args:
        repo_id: "NAME/REPO".
        repo_type: "dataset", "model" or "space".
        revision: The branch that is read and written unless another is named.
        token: A token of the Hub; otherwise the one of the environment or of `hf auth login`.
        settings: How often and how long to try; how an upload goes about it.
        endpoint: Address of the Hub; otherwise HF_ENDPOINT or the public one.
        sleep: Waits a number of seconds.
        random: Returns a number in [0, 1), for the jitter.

    Raises:
        InputError: If the name or the type of the repository cannot be one.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        repo_type: str = "dataset",
        revision: str = "main",
        token: str | None = None,
        settings: UploadSettings | None = None,
        endpoint: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        if repo_type not in ("dataset", "model", "space"):
            raise InputError(f"repo_type must be dataset, model or space, got {repo_type!r}.")
        try:
            validate_repo_id(repo_id)
        except HFValidationError as error:
            raise InputError(f"{repo_id!r} cannot be the name of a repository: {str(error).rstrip('.')}.") from error
        if repo_id.count("/") != 1:
            raise InputError(f"{repo_id!r} is not the full name of a repository; write it as NAME/REPO.")
        self.repo_id = repo_id
        self.repo_type = repo_type
        self.revision = revision
        self.settings = settings or UploadSettings()
        self._token = token
        self.api: Any = HfApi(endpoint=endpoint, token=token)
        self.retry = Retrier(f"{repo_type} {repo_id}", self.settings, sleep, random)

    def head(self, revision: str | None = None) -> RemoteHead:
        """Return a revision, the branch if None, with its files; one without a commit if there is no such revision.

        Raises:
            InputError: If the repository does not exist or may not be read, or the Hub cannot be reached.
        """
        commit = self.commit_of(revision or self.revision)
        return RemoteHead(commit, self.files_of(commit)) if commit else RemoteHead(None)

    def tags(self) -> dict[str, str]:
        """Return tag -> ID of its commit."""
        refs = self.retry(lambda: self.api.list_repo_refs(self.repo_id, repo_type=self.repo_type))
        return {tag.name: tag.target_commit for tag in refs.tags}

    def exists(self) -> bool:
        """Return whether there is such a repository that this token may see."""
        return self.retry(lambda: self.api.repo_exists(self.repo_id, repo_type=self.repo_type))

    def read_text(self, path: str, revision: str | None = None) -> str:
        """Return the text of a small file of a revision, the branch if None.

        Raises:
            InputError: If it is not there or is no UTF-8 text.
        """
        with tempfile.TemporaryDirectory() as folder:
            try:
                return self.fetch(path, revision or self.revision, Path(folder)).read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise InputError(f"{path} of {self.repo_id} is no text.") from error

    def fetch(self, path: str, revision: str, into: Path) -> Path:
        """Download a file into a folder, at the path that it has in the repository, and return where it is.

        Raises:
            InputError: If it is not there, or there is no room for it.
        """
        download = self.api.hf_hub_download
        found = self.retry(
            lambda: download(self.repo_id, path, repo_type=self.repo_type, revision=revision, local_dir=into)
        )
        return Path(found)

    def commit_of(self, revision: str) -> str | None:
        """Return the ID of a revision's commit, or None if there is no such revision."""
        from huggingface_hub.errors import RevisionNotFoundError

        def ask() -> str | None:
            try:
                info: Any = self.api.repo_info(
                    self.repo_id, repo_type=self.repo_type, revision=revision, expand=["sha"]
                )
            except RevisionNotFoundError:
                return None
            return str(info.sha) if info.sha else None

        return self.retry(ask)

    def files_of(self, commit: str) -> Mapping[str, RemoteFile]:
        """Return the files of a commit."""
        list_tree = self.api.list_repo_tree

        def ask() -> list[Any]:
            return list(list_tree(self.repo_id, recursive=True, revision=commit, repo_type=self.repo_type))

        entries = [entry for entry in self.retry(ask) if hasattr(entry, "blob_id")]
        return {
            entry.path: RemoteFile(entry.path, entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
            for entry in entries
        }
