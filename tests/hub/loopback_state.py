"""What the Hub on loopback remembers: repositories with branches, tags and commits."""

import hashlib
from dataclasses import dataclass, field

__all__ = ["Repository", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a commit."""

    oid: str
    """SHA-256 for LFS files, Git's blob SHA-1 for others."""

    size: int
    """Bytes."""

    is_lfs: bool
    """Whether it is stored outside Git."""


@dataclass(slots=True)
class Repository:
    """Branches, tags and commits of one repository."""

    refs: dict[str, str] = field(default_factory=dict)
    """Branch -> commit."""

    tags: dict[str, str] = field(default_factory=dict)
    """Tag -> commit."""

    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    """Commit -> its files; a dictionary is never changed once it stands here."""

    parents: dict[str, str | None] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    objects: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Every LFS object that any commit has ever held, until it is deleted -> (a path, bytes)."""

    is_private: bool = False
    gated: str | bool = False

    def find(self, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit ID."""
        if revision in self.commits:
            return revision
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        return self.refs.get(name) or self.tags.get(name)

    def commit(self, files: dict[str, StoredFile], message: str, branch: str, *, is_root: bool = False) -> str:
        """Append a commit to a branch, or replace the branch by it, and return its ID."""
        parent = None if is_root else self.refs.get(branch)
        identity = f"{sorted(files)} {message} {parent} {len(self.commits)} {len(self.titles)}"
        oid = hashlib.sha1(identity.encode()).hexdigest()
        self.commits[oid], self.parents[oid], self.titles[oid] = files, parent, message
        self.refs[branch] = oid
        self.objects |= {file.oid: (path, file.size) for path, file in files.items() if file.is_lfs}
        return oid

    def log(self, commit: str) -> list[str]:
        """Return a commit and those before it, newest first."""
        found: list[str] = []
        at: str | None = commit
        while at is not None:
            found.append(at)
            at = self.parents[at]
        return found

    def drop_unreachable(self) -> None:
        """Forget the commits that no branch and no tag leads to, as Git does in time."""
        kept = {commit for ref in (*self.refs.values(), *self.tags.values()) for commit in self.log(ref)}
        for commit in set(self.commits) - kept:
            del self.commits[commit], self.parents[commit]

    def delete_objects(self, oids: set[str]) -> None:
        """Forget LFS objects and take them out of every commit."""
        self.objects = {oid: where for oid, where in self.objects.items() if oid not in oids}
        for commit, files in self.commits.items():
            self.commits[commit] = {path: file for path, file in files.items() if file.oid not in oids}
