"""Publish files on the Hub so that a reader never sees half of them and nothing is sent twice.

The way of a change: objects go up first, in batches, by content; nobody sees them yet. Then one commit on exactly the
head that was read (`parent_commit`) makes all of it visible at once; the tag comes last. Whoever is killed anywhere in
between leaves the old state or the new one, and a later run finds the objects that have arrived. If somebody else was
faster, the change is made anew on their head. If the answer to a commit is lost, the history tells whether it landed.

It works for datasets, models and Spaces, by plain Git LFS and by xet, over the `huggingface_hub` that is installed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.repository import HubRepository
from animeshooter_hf.hub.retry import (
    Conflict,
    HubRefusedError,
    HubUnreachableError,
    UploadSettings,
    may_pass,
    status_of,
)
from animeshooter_hf.hub.state import (
    Change,
    ContentHashes,
    MakeChange,
    RemoteFile,
    RemoteHead,
    UploadPlan,
    make_plan,
    next_tag,
)

if TYPE_CHECKING:
    from animeshooter_hf.hub.history import EraseReport
    from animeshooter_hf.hub.objects import Additions

__all__ = [
    "Change",
    "CommitReport",
    "HubRefusedError",
    "HubUnreachableError",
    "HubUploader",
    "RemoteFile",
    "RemoteHead",
    "UploadPlan",
    "UploadSettings",
    "next_tag",
]

_CONFLICTS = (409, 412)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitReport:
    """What a commit did."""

    commit: str | None
    """ID of the commit that holds the wished state; the head's own if there was nothing to do."""

    tag: str | None
    """The tag that points to it."""

    num_uploaded: int
    """Files that were new or changed."""

    bytes_sent: int
    """Bytes that were sent, repeats included; through xet the sizes of the files, of which it sends what is new."""

    num_unchanged: int
    """Files that were there already."""

    num_deleted: int
    """Files that were removed."""

    num_retries: int
    """How often something was tried again."""


class HubUploader(HubRepository):
    """A repository on the Hub to read from and to write to; made like a `HubRepository`."""

    def plan(self, change: Change, head: RemoteHead) -> UploadPlan:
        """Return what a change would do at a head; nothing is sent."""
        return make_plan(change, head)

    def ensure_repo(
        self,
        private: bool | None = None,
        gated: Literal["auto", "manual", False] | None = None,
        *,
        space_sdk: str = "static",
    ) -> None:
        """Make the repository if there is none, and give it the wished settings; None leaves what is there.

        Raises:
            InputError: If the token is missing or may not do it.
        """
        self.need_token()
        sdk = space_sdk if self.repo_type == "space" else None
        self.retry(
            lambda: self.api.create_repo(
                self.repo_id, repo_type=self.repo_type, private=private, exist_ok=True, space_sdk=sdk
            )
        )
        self._ensure_branch()
        if private is None and gated is None:
            return
        info: Any = self.retry(lambda: self.api.repo_info(self.repo_id, repo_type=self.repo_type))
        wished = {
            name: value
            for name, value in (("private", private), ("gated", gated))
            if value is not None and getattr(info, name, None) != value
        }
        if wished:
            update = self.api.update_repo_settings
            self.retry(lambda: update(self.repo_id, repo_type=self.repo_type, **wished))

    def _ensure_branch(self) -> None:
        """Make the branch from `main` if there is none."""
        if self.revision != "main" and self.commit_of(self.revision) is None:
            create = self.api.create_branch
            self.retry(lambda: create(self.repo_id, branch=self.revision, repo_type=self.repo_type, exist_ok=True))

    def commit(
        self,
        make_change: MakeChange,
        *,
        message: str,
        tag: str | Callable[[], str | None] | None = None,
        progress: bool = True,
    ) -> CommitReport:
        """Bring the branch to the state that a change wishes, in one step for whoever reads it.

        Args:
            make_change: Returns the change for a head. It is called again, with the new head, when somebody else was
                faster, so it must derive everything that it merges from the head it is given.
            message: What the history says.
            tag: A tag to put on the commit, last of all; or what returns one after each call of `make_change`.
            progress: Whether to show a bar on stderr.

        Raises:
            InputError: In one sentence: no token, no permission, no such repository, no room, a tag that is taken.
        """
        from animeshooter_hf.hub.objects import Additions

        self.need_token()
        retries_before = self.retry.num_retries
        hashes = ContentHashes()
        repo = {"repo_id": self.repo_id, "repo_type": self.repo_type, "revision": self.revision}
        additions = Additions(self.api, repo, self.settings, hashes, progress=progress)
        with _quiet_client(), additions as sent:
            for number in range(1, self.settings.max_conflicts + 2):
                head = self.head()
                change = make_change(head)
                plan = make_plan(change, head, hashes)
                name = tag() if callable(tag) else tag
                is_tagged = self._is_tagged(name, plan)
                try:
                    commit = self._bring(change, head, plan, hashes, sent, message)
                    break
                except Conflict:
                    self.retry.wait_after_conflict(number)
        if name is not None and commit is not None and not is_tagged:
            self._tag(name, commit, plan)
        return CommitReport(
            commit=commit,
            tag=name,
            num_uploaded=len(plan.new) + len(plan.changed),
            bytes_sent=sent.bytes_sent,
            num_unchanged=len(plan.unchanged),
            num_deleted=len(plan.deleted),
            num_retries=self.retry.num_retries - retries_before,
        )

    # The steps of a commit

    def _bring(
        self,
        change: Change,
        head: RemoteHead,
        plan: UploadPlan,
        hashes: ContentHashes,
        sent: "Additions",
        message: str,
    ) -> str | None:
        """Upload and commit, and return the commit that holds the wished state.

        Raises:
            Conflict: If somebody else was faster.
        """
        if plan.is_empty:
            return head.commit
        changed = {path: change.files[path] for path, _ in (*plan.new, *plan.changed)}
        sent.upload(changed, self.retry)
        for part, is_last in self._parts(change, plan):
            part_plan = make_plan(part, head, hashes)
            commit = self._commit_once(head, part_plan, sent, message if is_last else f"{message} (data)")
            files = self.files_of(commit)
            wrong = part_plan.differs(files)
            if wrong:
                if sent.forget():
                    raise Conflict
                raise HubRefusedError(
                    f"The Hub did not take {wrong[0]} into {self.repo_id}; does the .gitignore there leave it out?"
                )
            head = RemoteHead(commit, files)
        return head.commit

    def _parts(self, change: Change, plan: UploadPlan) -> list[tuple[Change, bool]]:
        """Return the change in parts that fit into one commit each.

        One part, as a rule. In a very large change, files that are new go first, since nobody looks for them yet; what
        is overwritten, what stands in the top folder (card, manifest) and what is deleted comes last, together.
        """
        limit = self.settings.files_per_commit
        operations = len(plan.new) + len(plan.changed) + len(plan.deleted)
        early = [path for path, _ in plan.new if "/" in path] if operations > limit else []
        late = {path: source for path, source in change.files.items() if path not in set(early)}
        parts = [
            (Change({path: change.files[path] for path in early[begin : begin + limit]}), False)
            for begin in range(0, len(early), limit)
        ]
        return [*parts, (Change(late, change.deleted), True)]

    def _commit_once(self, head: RemoteHead, plan: UploadPlan, sent: "Additions", message: str) -> str:
        """Make one commit on exactly this head and return its ID.

        Raises:
            Conflict: If the branch has moved.
        """
        if plan.is_empty and head.commit:
            return head.commit
        changed = [path for path, _ in (*plan.new, *plan.changed)]
        deleted = [path for path, _ in plan.deleted]
        is_uncertain = False
        attempt = 0
        while True:
            try:
                made = self.api.create_commit(
                    self.repo_id,
                    sent.operations(changed, deleted),
                    commit_message=message,
                    repo_type=self.repo_type,
                    revision=self.revision,
                    parent_commit=head.commit,
                    num_threads=self.settings.num_threads,
                )
                sent.committed(changed)
                return str(made.oid)
            except Exception as error:
                is_conflict = status_of(error) in _CONFLICTS
                if not is_conflict and not may_pass(error):
                    self.retry.wait_after(error, attempt)
                landed = self._landed(head, plan) if is_uncertain or not is_conflict else None
                if landed is not None:
                    sent.committed(changed)
                    return landed
                if is_conflict:
                    raise Conflict from error
                is_uncertain = True
                attempt += 1
                self.retry.wait_after(error, attempt)

    def _landed(self, head: RemoteHead, plan: UploadPlan) -> str | None:
        """Return the commit that follows a head and holds the wished state, if there is one.

        Raises:
            Conflict: If the branch has moved and what follows is not ours.
        """
        now = self.commit_of(self.revision)
        if now is None or now == head.commit:
            return None
        history = self.retry(
            lambda: self.api.list_repo_commits(self.repo_id, revision=self.revision, repo_type=self.repo_type)
        )
        commits = [one.commit_id for one in history]
        place = commits.index(head.commit) if head.commit in commits else len(commits)
        child = commits[place - 1] if place else now
        if plan.differs(self.files_of(child)):
            raise Conflict
        return child

    def _is_tagged(self, tag: str | None, plan: UploadPlan) -> bool:
        """Return whether a tag is there already and points to the wished content.

        Raises:
            InputError: If it points to another content.
        """
        tags = self.tags() if tag is not None else {}
        if tag is None or tag not in tags:
            return False
        if plan.differs(self.files_of(tags[tag])):
            raise InputError(f"{self.repo_id} has a tag {tag} already, with another content; {next_tag(tags)} is free.")
        return True

    def _tag(self, tag: str, commit: str, plan: UploadPlan) -> None:
        """Put a tag on a commit; one that is there with the same content will do."""
        attempt = 0
        while True:
            try:
                self.api.create_tag(self.repo_id, tag=tag, revision=commit, repo_type=self.repo_type)
                return
            except Exception as error:
                if self._is_tagged(tag, plan):
                    return
                attempt += 1
                self.retry.wait_after(error, attempt)

    def erase_history(self, message: str, tag: str | None = None) -> "EraseReport":
        """Leave of the repository only what the branch shows now; see `hub.history.erase_history`."""
        from animeshooter_hf.hub.history import erase_history

        self.need_token()
        return erase_history(self, message, tag)

    def need_token(self) -> None:
        """Refuse to begin without a token.

        Raises:
            HubRefusedError: If there is none.
        """
        from huggingface_hub import get_token

        if not (self._token or get_token()):
            raise HubRefusedError("Publishing needs a token of the Hub; run `hf auth login` or set HF_TOKEN.")


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Hide the bars of huggingface_hub, one per file, for the time of the block."""
    from huggingface_hub import utils

    bars: Any = utils
    if bars.are_progress_bars_disabled():
        yield
        return
    bars.disable_progress_bars()
    try:
        yield
    finally:
        bars.enable_progress_bars()
