"""Erase what a repository on the Hub held earlier, so that what was taken down cannot be downloaded any more.

A new commit hides a file; older commits and tags still hold it, and its object stays in the store. This removes the old
tags, squashes the branch to one commit, and deletes for good the objects that no branch and no tag needs. It cannot be
undone. Copies that others have made are out of reach. Other branches keep what they show; conversions of the Hub's own
and pull requests do not. The report names them all.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.repository import HubRepository
from animeshooter_hf.hub.state import RemoteHead

__all__ = ["EraseReport", "erase_history"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EraseReport:
    """What was erased."""

    commit: str
    """The one commit that is left of the branch."""

    kept_tags: tuple[str, ...]
    """Tags that show the same as the branch; they point to that commit now."""

    deleted_tags: tuple[str, ...]
    """Tags that showed something older."""

    deleted_objects: tuple[str, ...]
    """Paths of the objects that were deleted for good, one for each object."""

    deleted_bytes: int
    """Their size together."""

    other_refs: tuple[str, ...]
    """Branches, conversions and pull requests that were left alone. Objects that a branch shows were kept for it."""


def erase_history(repository: HubRepository, message: str, tag: str | None = None) -> EraseReport:
    """Leave of a repository only what its branch shows now. It may be run again if it was stopped.

    Nobody else should write meanwhile: what another writer has uploaded and not committed yet may be deleted too.

    Args:
        repository: Where.
        message: What the history will say.
        tag: A tag that shall point to the commit that is left; a tag with the branch's content is kept anyway.

    Raises:
        InputError: If the token may not do it, or the Hub cannot be reached.
    """
    api, retry, branch = repository.api, repository.retry, repository.revision
    repo: dict[str, Any] = {"repo_id": repository.repo_id, "repo_type": repository.repo_type}
    objects = retry(lambda: list(api.list_lfs_files(**repo)))
    head = repository.head()
    if head.commit is None:
        raise InputError(f"{repository.repo_id} has no branch {branch}.")
    tags = repository.tags()
    kept = {name for name, commit in tags.items() if _is_same(repository, commit, head)} | ({tag} if tag else set())
    for name in sorted(set(tags) - kept):
        _delete_tag(repository, name)
    if len(retry(lambda: api.list_repo_commits(**repo, revision=branch))) > 1:
        retry(lambda: api.super_squash_history(**repo, branch=branch, commit_message=message))
    commit = repository.commit_of(branch) or head.commit
    for name in sorted(kept):
        _set_tag(repository, name, commit)
    refs = retry(lambda: api.list_repo_refs(**repo, include_pull_requests=True))
    shown = [repository.files_of(one.target_commit) for one in refs.branches]
    needed = {file.sha256 for files in shown for file in files.values()}
    gone = [one for one in objects if one.oid not in needed]
    if gone:
        retry(lambda: api.permanently_delete_lfs_files(lfs_files=gone, **repo))
    others = [one.ref for one in (*refs.branches, *refs.converts, *(refs.pull_requests or [])) if one.name != branch]
    return EraseReport(
        commit=commit,
        kept_tags=tuple(sorted(kept)),
        deleted_tags=tuple(sorted(set(tags) - kept)),
        deleted_objects=tuple(sorted(one.filename for one in gone)),
        deleted_bytes=sum(one.size for one in gone),
        other_refs=tuple(others),
    )


def _is_same(repository: HubRepository, commit: str, head: RemoteHead) -> bool:
    """Return whether a commit shows just the files of a head."""
    found = repository.files_of(commit)
    return {path: one.content for path, one in found.items()} == {path: one.content for path, one in head.files.items()}


def _delete_tag(repository: HubRepository, name: str) -> None:
    """Delete a tag; that it is gone already is fine."""
    from huggingface_hub.errors import RevisionNotFoundError

    def delete() -> None:
        with suppress(RevisionNotFoundError):
            repository.api.delete_tag(repository.repo_id, tag=name, repo_type=repository.repo_type)

    repository.retry(delete)


def _set_tag(repository: HubRepository, name: str, commit: str) -> None:
    """Let a tag point to a commit, wherever it points now."""
    now = repository.tags().get(name)
    if now == commit:
        return
    if now is not None:
        _delete_tag(repository, name)

    def create() -> None:
        if repository.tags().get(name) != commit:
            repository.api.create_tag(repository.repo_id, tag=name, revision=commit, repo_type=repository.repo_type)

    repository.retry(create)
