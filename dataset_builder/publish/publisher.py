"""Publish a dataset folder: prepare what may go, send it, and look at the result as a reader would."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.manifest import MANIFEST_FILE
from animeshooter_hf.dataset_builder.publish.plan import PublishPlan
from animeshooter_hf.dataset_builder.publish.publication import Publication
from animeshooter_hf.dataset_builder.publish.remote import read_remote
from animeshooter_hf.dataset_builder.publish.settings import Gate, PublishSettings
from animeshooter_hf.dataset_builder.publish.staging import open_staging
from animeshooter_hf.dataset_builder.publish.versions import commit_tagged
from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.upload import HubUploader, UploadSettings

__all__ = ["PublishReport", "check_published", "plan_publication", "publish_dataset"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishReport:
    """What was published."""

    plan: PublishPlan
    """What there was to do."""

    commit: str | None
    """The commit that holds it."""

    tag: str | None
    """The tag that was made; None if none."""

    bytes_sent: int = 0
    """Bytes that were sent, repeats included."""

    num_retries: int = 0
    """How often something was tried again."""

    num_checked: int = 0
    """Shards whose hash on the Hub is the one that the manifest there says."""

    url: str = ""
    """Where it can be looked at."""

    def load_line(self) -> str:
        """Return the line that loads it."""
        revision = self.tag or (self.plan.revision if self.plan.revision != "main" else None)
        return f'load_dataset("{self.plan.repo_id}"' + (f', revision="{revision}")' if revision else ")")

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        names = ("commit", "tag", "bytes_sent", "num_retries", "num_checked", "url")
        return {**{name: getattr(self, name) for name in names}, "load": self.load_line(), "plan": self.plan.to_json()}


def plan_publication(
    folder: str | Path,
    repo_id: str,
    *,
    settings: PublishSettings | None = None,
    token: str | None = None,
    progress: bool = True,
) -> PublishPlan:
    """Return what `publish_dataset` would do; nothing is sent, and the repository need not exist.

    Raises:
        InputError: As `publish_dataset`.
    """
    settings = settings or PublishSettings()
    uploader = HubUploader(repo_id, revision=settings.revision, token=token)
    with open_staging(Path(folder), repo_id, settings.staging) as staging:
        publication = Publication(Path(folder), uploader, settings, staging, progress=progress)
        publication.look(publication.read_head())
    return publication.plan


def publish_dataset(
    folder: str | Path,
    repo_id: str,
    *,
    settings: PublishSettings | None = None,
    token: str | None = None,
    upload: UploadSettings | None = None,
    confirm: Callable[[PublishPlan], bool] | None = None,
    progress: bool = True,
) -> PublishReport:
    """Bring a repository to what a dataset folder holds and a policy allows.

    Objects go up first, then one commit shows them, then it gets its tag; whoever reads sees the old dataset or the new
    one. A second run with nothing changed sends nothing; one after a kill sends only what has not arrived.

    Args:
        folder: A dataset folder of ours.
        repo_id: Such as "ORG/NAME"; made if there is none.
        settings: What goes, and how.
        token: Of the Hub; otherwise HF_TOKEN or the one of `hf auth login`.
        upload: How the upload goes about it.
        confirm: Asked with the plan before anything is sent.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: In one sentence: no dataset of ours, nothing that may be published, a repository or tag that is
            taken, no token, no permission, a Hub that does not answer, or `confirm` said no.
    """
    settings = settings or PublishSettings()
    uploader = HubUploader(repo_id, revision=settings.revision, token=token, settings=upload)
    uploader.need_token()
    with open_staging(Path(folder), repo_id, settings.staging) as staging:
        publication = Publication(Path(folder), uploader, settings, staging, progress=progress)
        head = publication.read_head()
        publication.look(head)
        plan = publication.plan
        url = f"{uploader.api.endpoint}/datasets/{repo_id}"
        if confirm is not None and plan.changes and not confirm(plan):
            raise InputError("Nothing was published.")
        if plan.is_new or plan.changes or settings.private is not None or settings.gated is not None:
            uploader.ensure_repo(settings.private, _gate(settings.gated))
        elif plan.tag is None:
            return PublishReport(plan=plan, commit=head.commit, tag=None, url=url)
        number = sum(plan.rows["stories"].values())
        message = settings.message or f"Publish {number:,} stories, policy {settings.policy}"
        done = commit_tagged(
            uploader,
            publication.change,
            publication.tag,
            wanted=settings.tag,
            message=message,
            progress=progress,
        )
        num_checked = check_published(uploader, done.tag or str(done.commit))
    return PublishReport(
        plan=_as_made(plan, publication.plan),
        commit=done.commit,
        tag=done.tag,
        bytes_sent=done.bytes_sent,
        num_retries=done.num_retries,
        num_checked=num_checked,
        url=url,
    )


def check_published(uploader: HubUploader, revision: str) -> int:
    """Compare every shard on the Hub with the manifest there, without downloading any; return how many there are.

    Raises:
        InputError: If one is missing, another one, or lies there without being named.
    """
    head = uploader.head(revision)
    remote = read_remote(uploader, head)
    if remote.manifest is None or head.commit is None:
        raise InputError(f"{uploader.repo_id} has no {MANIFEST_FILE} at {revision}, though it was published.")
    named = {shard.path: shard for shard in remote.manifest.shards}
    stray = sorted(remote.stale_files(named))
    for path in stray:
        raise InputError(f"{path} lies in {uploader.repo_id} at {revision}, but its manifest does not name it.")
    for path, shard in named.items():
        stored = head.files.get(path)
        found = None if stored is None else stored.sha256 or _fetched_hash(uploader, path, head.commit)
        if found != shard.sha256:
            raise InputError(
                f"{path} of {uploader.repo_id} at {revision} is not what its manifest says; publish again."
            )
    return len(named)


def _fetched_hash(uploader: HubUploader, path: str, commit: str) -> str:
    """Return the hash of a file that the Hub keeps in Git, which tells no SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        return hashlib.sha256(uploader.fetch(path, commit, Path(folder)).read_bytes()).hexdigest()


def _gate(gated: Gate | None) -> Any:
    """Return the Hub's word for who gets in."""
    return False if gated == "no" else gated


def _as_made(planned: PublishPlan, made: PublishPlan) -> PublishPlan:
    """Return the plan as it was carried out, on the head that it met at last; the repository was new or not before."""
    return replace(made, is_new=planned.is_new)
