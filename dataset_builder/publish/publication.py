"""A dataset folder on its way to a repository: what may go is prepared, and compared with what is there.

It is decided anew on each head: when somebody else was faster, their takedown list counts too, and so does their
changelog. Shards are compared by the hashes of the manifests and read only before they are sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from animeshooter_hf.cards.hub_vocabulary import LICENCES
from animeshooter_hf.dataset_builder.dataset_source import FolderSource
from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.package_rewrite import Selection
from animeshooter_hf.dataset_builder.publish.changelog import (
    CHANGELOG_FILE,
    count_rows,
    newest_version,
    publication_lines,
    with_entry,
)
from animeshooter_hf.dataset_builder.publish.plan import FileState, LeftOut, PlannedFile, PublishPlan
from animeshooter_hf.dataset_builder.publish.policy import PixelChoice, choose_pixels, configs_of
from animeshooter_hf.dataset_builder.publish.remote import RemoteDataset, read_remote
from animeshooter_hf.dataset_builder.publish.settings import PublishSettings
from animeshooter_hf.dataset_builder.publish.staging import RenamedSource, Staging, hash_file
from animeshooter_hf.dataset_builder.publish.versions import choose_tag
from animeshooter_hf.dataset_builder.quality.rights import RightsTable
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIG_NAMES
from animeshooter_hf.hub.state import Change, RemoteHead, make_plan
from animeshooter_hf.hub.upload import HubUploader

__all__ = ["Publication"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Prepared:
    """A dataset as it will stand on the Hub."""

    manifest: DatasetManifest
    """Its manifest."""

    pixels: PixelChoice
    """Whose pixels and sound are in it."""

    files: Mapping[str, Path | bytes]
    """Path in the repository -> content."""

    deleted: frozenset[str]
    """Paths that are data now and will not be."""


class Publication:
    """Makes the change that brings a repository to what a folder holds; `plan` and `tag` tell of the last one made."""

    def __init__(
        self, folder: Path, uploader: HubUploader, settings: PublishSettings, staging: Staging, *, progress: bool = True
    ) -> None:
        """Read the folder.

        Raises:
            InputError: If it is no dataset folder of ours.
        """
        self.source = FolderSource(folder)
        self.settings = settings
        self._uploader, self._staging, self._progress = uploader, staging, progress
        self._verified: set[str] = set()
        self._plan: PublishPlan | None = None
        self._shards: Mapping[str, ShardFacts] = {}

    @property
    def plan(self) -> PublishPlan:
        """What the last change does."""
        if self._plan is None:
            raise RuntimeError("No change has been made yet.")
        return self._plan

    def tag(self) -> str | None:
        """Return the tag that belongs to the last change."""
        return self.plan.tag

    def read_head(self) -> RemoteHead:
        """Return the head of the branch; an empty one if there is no repository that we may see."""
        return self._uploader.head() if self._uploader.exists() else RemoteHead(None)

    def look(self, head: RemoteHead) -> Change:
        """Return what has to be done at a head.

        Raises:
            InputError: If nothing may be published, the folder is damaged, or the repository or the tag is taken.
        """
        remote = read_remote(self._uploader, head)
        self._refuse_foreign(remote)
        tags = self._uploader.tags() if head.commit else {}
        announced = newest_version(remote.changelog)
        tag = choose_tag(self.settings.tag, tags, announced, changes=True)
        is_fixed = self.settings.tag not in ("auto", "none")
        old = remote.manifest.card.version if remote.manifest is not None else None
        version = tag.removeprefix("v") if tag and (is_fixed or remote.manifest is None) else old
        prepared = self._prepare(remote, version)
        changes = any(file.state != "unchanged" for file in _compare(prepared, head))
        if changes:
            if is_fixed and tag in tags:
                raise InputError(f"{self._uploader.repo_id} has a tag {tag} already, with another content.")
            if tag and version != tag.removeprefix("v"):
                prepared = self._prepare(remote, tag.removeprefix("v"))
            prepared = self._with_changelog(prepared, remote, tag)
        else:
            tag = choose_tag(self.settings.tag, tags, announced, changes=False)
        self._plan = self._make_plan(prepared, head, tag)
        self._shards = {shard.path: shard for shard in prepared.manifest.shards}
        return Change(prepared.files, prepared.deleted) if changes else Change()

    def change(self, head: RemoteHead) -> Change:
        """Return what has to be done at a head, after every shard to be sent was compared with the manifest.

        Raises:
            InputError: As `look`, or if a shard is damaged.
        """
        change = self.look(head)
        to_send = [file.path for file in self.plan.files if file.state in ("new", "changed")]
        shards = [self._shards[path] for path in to_send if path in self._shards]
        fresh = [shard for shard in shards if shard.sha256 not in self._verified]
        for shard in tqdm(fresh, desc="check", unit=" shards", disable=None if self._progress else True):
            if hash_file(Path(str(change.files[shard.path]))) != shard.sha256:
                raise InputError(
                    f"{shard.path} of {self.source.folder} is not what its manifest says; build the dataset again."
                )
            self._verified.add(shard.sha256)
        return change

    def _prepare(self, remote: RemoteDataset, version: str | None) -> _Prepared:
        """Return the dataset as it may go, with a version in its card."""
        settings, old = self.settings, self.source.manifest
        rights = RightsTable(old.rights).merge(settings.rights)
        takedown = self.source.takedown.merge(remote.takedown).merge(settings.takedown)
        videos = [name for names in old.splits.values() for name in names if not takedown.hits(name)]
        pixels = choose_pixels(videos, rights, settings.policy)
        selection = Selection(
            configs=configs_of(settings.policy),
            takedown=takedown,
            without_pixels=pixels.reasons,
            rights_policy=settings.policy,
            rights=rights.rows,
        )
        source = RenamedSource(self.source, {**self._card(remote), "version": version})
        folder = self._staging.prepare(source, selection, progress=self._progress)
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        files.pop(CHANGELOG_FILE, None)
        return _Prepared(
            manifest=DatasetManifest.read(folder), pixels=pixels, files=files, deleted=remote.stale_files(files)
        )

    def _card(self, remote: RemoteDataset) -> dict[str, Any]:
        """Return what the card says otherwise than the folder's own."""
        settings = self.settings
        card: dict[str, Any] = {"repo_id": self._uploader.repo_id}
        if settings.title is not None:
            card["title"] = settings.title
        if settings.licence is not None:
            is_known = settings.licence in LICENCES
            card["licence"] = settings.licence if is_known else "other"
            card["licence_name"] = None if is_known else settings.licence
        if settings.gated is not None:
            card["is_gated"] = settings.gated != "no"
        elif remote.manifest is not None:
            card["is_gated"] = remote.manifest.card.is_gated
        return card

    def _with_changelog(self, prepared: _Prepared, remote: RemoteDataset, tag: str | None) -> _Prepared:
        own = self.source.folder / CHANGELOG_FILE
        before = remote.changelog or (own.read_text(encoding="utf-8") if own.is_file() else "")
        text = with_entry(before, tag, publication_lines(remote.manifest, prepared.manifest))
        return replace(prepared, files={**prepared.files, CHANGELOG_FILE: text.encode()})

    def _refuse_foreign(self, remote: RemoteDataset) -> None:
        """Refuse a repository in which ours would stand beside, or over, something else."""
        repo_id = self._uploader.repo_id
        script = f"{repo_id.split('/')[1]}.py"
        if script in remote.head.files:
            raise InputError(f"{repo_id} holds {script}, with which no load_dataset works; delete it there first.")
        foreign = remote.foreign_files()
        if foreign and not self.settings.overwrite:
            raise InputError(
                f"{repo_id} holds something else already ({', '.join(foreign[:3])}); name another repository, or give "
                "--overwrite to replace its card and the folders of our configs."
            )

    def _make_plan(self, prepared: _Prepared, head: RemoteHead, tag: str | None) -> PublishPlan:
        files = _compare(prepared, head)
        settings = self.settings
        return PublishPlan(
            repo_id=self._uploader.repo_id,
            revision=settings.revision,
            is_new=head.commit is None,
            policy=settings.policy,
            private=settings.private,
            gated=settings.gated,
            tag=tag,
            rows=count_rows(prepared.manifest),
            files=files,
            num_bytes=sum(file.num_bytes for file in files if file.state in ("new", "changed")),
            left_out=tuple(self._left_out(prepared)),
        )

    def _left_out(self, prepared: _Prepared) -> Iterator[LeftOut]:
        """Yield what of the folder stays here, and why."""
        old, policy = self.source.manifest, self.settings.policy
        rows, new_rows = count_rows(old), count_rows(prepared.manifest)
        for config in rows:
            if config not in configs_of(policy):
                yield LeftOut(what=f"config {config}", reason=f"policy {policy} ({sum(rows[config].values()):,} rows)")
        left = {name for names in prepared.manifest.splits.values() for name in names}
        for name in (name for names in old.splits.values() for name in names if name not in left):
            yield LeftOut(what=f"video {name}", reason="it is on the takedown list")
        stories = sum(rows["stories"].values()) - sum(new_rows["stories"].values())
        if stories:
            yield LeftOut(what=f"{stories:,} stories", reason="they are on the takedown list")
        if any(config in configs_of(policy) for config in rows if config != CONFIG_NAMES[0]):
            for name, reason in prepared.pixels.reasons.items():
                yield LeftOut(what=f"pixels and sound of {name}", reason=reason)
        for path in sorted(self.source.folder.iterdir()):
            if path.name not in (*prepared.files, *CONFIG_NAMES, CHANGELOG_FILE):
                kind = "folder" if path.is_dir() else "file"
                yield LeftOut(what=f"{kind} {path.name}", reason="it is no part of a published dataset")


def _compare(prepared: _Prepared, head: RemoteHead) -> tuple[PlannedFile, ...]:
    """Return what happens to each file of ours, by path; shards are known by their manifest and not read."""
    shards = {shard.path: shard for shard in prepared.manifest.shards}
    small = {path: source for path, source in prepared.files.items() if path not in shards}
    plan = make_plan(Change(small, prepared.deleted), head)
    found: Mapping[FileState, tuple[tuple[str, int], ...]] = {
        "new": plan.new, "changed": plan.changed, "unchanged": plan.unchanged, "deleted": plan.deleted
    }  # fmt: skip
    files = [
        PlannedFile(path=path, num_bytes=size, state=state) for state, paths in found.items() for path, size in paths
    ]
    for shard in shards.values():
        there = head.files.get(shard.path)
        same = there is not None and there.content == (shard.num_bytes, shard.sha256)
        state: FileState = "new" if there is None else "unchanged" if same else "changed"
        files.append(PlannedFile(path=shard.path, num_bytes=shard.num_bytes, state=state))
    return tuple(sorted(files, key=lambda file: file.path))
