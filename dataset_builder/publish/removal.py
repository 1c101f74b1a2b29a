"""Take videos or stories down from a published dataset: only the shards that hold them are fetched and written anew.

The list of what was taken down goes into the repository, hashed, in the same commit as the new shards; a later
publication obeys it. The changelog tells numbers and never names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from animeshooter_hf.dataset_builder.dataset_source import DatasetSource, FolderSource
from animeshooter_hf.dataset_builder.manifest import DatasetManifest
from animeshooter_hf.dataset_builder.package_rewrite import RewriteReport, Selection, rewrite_dataset
from animeshooter_hf.dataset_builder.publish.changelog import CHANGELOG_FILE, newest_version, with_entry
from animeshooter_hf.dataset_builder.publish.publisher import check_published
from animeshooter_hf.dataset_builder.publish.remote import HubSource, RemoteDataset, read_remote
from animeshooter_hf.dataset_builder.publish.removal_report import RemovalReport, ShardChange
from animeshooter_hf.dataset_builder.publish.settings import RemovalSettings
from animeshooter_hf.dataset_builder.publish.staging import RenamedSource, Staging, cache_folder, only_one
from animeshooter_hf.dataset_builder.publish.versions import choose_tag, commit_tagged
from animeshooter_hf.errors import InputError
from animeshooter_hf.hub.history import EraseReport
from animeshooter_hf.hub.state import Change, RemoteHead
from animeshooter_hf.hub.upload import CommitReport, HubUploader, UploadSettings
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList, hash_id

__all__ = ["parse_identifiers", "remove_from_dataset"]

_HASHED = "sha256:"


def parse_identifiers(texts: Sequence[str], path: Path | None = None) -> TakedownList:
    """Return what is to be taken down, of texts as they stand on a command line and of a takedown list.

    Raises:
        InputError: If one cannot be understood, or there is none.
    """
    found = TakedownList() if path is None else TakedownList.read(path)
    for text in texts:
        entry = text.strip()
        is_story = entry.startswith("story:")
        bare = entry.removeprefix("story:").strip()
        if re.search(r"[\s#]", bare) and not bare.startswith(('"', _HASHED)):
            entry = f'{"story:" if is_story else ""}"{bare}"'
        one = TakedownList.parse(entry, f"--remove {text!r}")
        if not one:
            raise InputError(f"--remove {text!r} names nothing.")
        found = found.merge(one)
    if not found:
        raise InputError(f"{path} names nothing to remove.")
    return found


def remove_from_dataset(
    repo_id: str,
    identifiers: TakedownList,
    *,
    settings: RemovalSettings | None = None,
    folder: str | Path | None = None,
    token: str | None = None,
    upload: UploadSettings | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> RemovalReport:
    """Take videos or stories down from a published dataset, and from a folder of it here.

    Args:
        repo_id: Such as "ORG/NAME".
        identifiers: What goes; see `parse_identifiers`.
        settings: How.
        folder: The dataset folder that was published, which is written anew too.
        token: Of the Hub; otherwise HF_TOKEN or the one of `hf auth login`.
        upload: How the upload goes about it.
        dry_run: Only say what would be done.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: In one sentence: an ID that is not there (unless it is to be recorded all the same), no dataset of
            ours, nothing that would be left, no permission, a Hub that does not answer.
    """
    settings = settings or RemovalSettings()
    _refuse_names(settings.reason, identifiers)
    uploader = HubUploader(repo_id, revision=settings.revision, token=token, settings=upload)
    local = None if folder is None else FolderSource(Path(folder))
    root = (settings.staging or cache_folder() / "removals") / repo_id.replace("/", "--")
    refusal = f"Another process removes something from {repo_id}; wait until it is done."
    with only_one(str(root.absolute()), refusal), Staging(root):
        removal = _Removal(uploader, identifiers, settings, local, root, progress=progress)
        if dry_run:
            removal.change(uploader.head())
            report = removal.report(None, None)
        else:
            report = removal.run()
        if local is not None:
            rows = _remove_here(local, identifiers, dry_run=dry_run, progress=progress)
            report = report.with_local(rows)
    return report


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """What a removal found at a head."""

    remote: RemoteDataset
    rewritten: RewriteReport | None = None
    change: Change = field(default_factory=Change)
    tag: str | None = None
    num_recorded: int = 0
    fetched: Mapping[str, int] = field(default_factory=dict)
    other_tags: tuple[str, ...] = ()


class _Removal:
    """Makes the change that takes something down; called again on each head."""

    def __init__(
        self,
        uploader: HubUploader,
        identifiers: TakedownList,
        settings: RemovalSettings,
        local: FolderSource | None,
        root: Path,
        *,
        progress: bool,
    ) -> None:
        self._uploader, self._identifiers, self._settings = uploader, identifiers, settings
        self._local, self._root, self._progress = local, root, progress
        self._seen: _Look | None = None

    @property
    def seen(self) -> _Look:
        """What the last look found."""
        if self._seen is None:
            raise RuntimeError("No head has been looked at yet.")
        return self._seen

    def run(self) -> RemovalReport:
        """Do it, and return what was done."""
        settings, uploader = self._settings, self._uploader
        message = f"Take down on request: {settings.reason}" if settings.reason else "Take down on request"
        erases = settings.erase_history
        done = commit_tagged(
            uploader,
            self.change,
            lambda: None if erases else self.seen.tag,
            wanted=settings.tag,
            message=message,
            progress=self._progress,
        )
        erased = uploader.erase_history("Remove what was taken down", self.seen.tag) if erases else None
        if self.seen.change.files or erased:
            check_published(uploader, settings.revision)
        return self.report(done, erased)

    def change(self, head: RemoteHead) -> Change:
        """Return what has to be done at a head.

        Raises:
            InputError: If an ID is not there, or nothing would be left.
        """
        remote = read_remote(self._uploader, head)
        into = self._root / str(head.commit)
        source = HubSource(self._uploader, remote, into / "fetched", self._identifiers)
        self._refuse_missing(source)
        takedown = remote.takedown.merge(self._identifiers)
        is_listed = takedown.to_text() == remote.takedown.to_text()
        is_hit = bool(source.listed_stories().story_ids)
        tags = self._uploader.tags()
        announced = newest_version(remote.changelog)
        tag = choose_tag(self._settings.tag, tags, announced, changes=is_hit or not is_listed)
        files: dict[str, Path | bytes] = {}
        rewritten = None
        if is_hit:
            rewritten = self._rewrite(source, remote, into / "new", tag)
            files.update(rewritten.files)
        if is_hit or not is_listed:
            if tag in tags:
                raise InputError(f"{self._uploader.repo_id} has a tag {tag} already, with another content.")
            files[TAKEDOWN_FILE] = takedown.to_text().encode()
            lines = _changelog_lines(rewritten, source.manifest, self._settings.reason)
            files[CHANGELOG_FILE] = with_entry(remote.changelog, tag, lines).encode()
        self._seen = _Look(
            remote=remote,
            rewritten=rewritten,
            change=Change(files, frozenset(rewritten.removed_shards if rewritten else ())),
            tag=tag,
            num_recorded=len(_hashed(takedown) - _hashed(remote.takedown)),
            fetched=dict(source.fetched),
            other_tags=tuple(sorted(set(tags) - {tag})),
        )
        return self._seen.change

    def report(self, done: CommitReport | None, erased: EraseReport | None) -> RemovalReport:
        """Return what was done, or would be done if there is no commit."""
        seen = self.seen
        old = seen.remote.manifest
        rewritten = seen.rewritten
        return RemovalReport(
            repo_id=self._uploader.repo_id,
            is_dry_run=done is None,
            commit=erased.commit if erased else done.commit if done else None,
            tag=seen.tag,
            shards=_shard_changes(old, rewritten),
            num_untouched=len(rewritten.carried) if rewritten else len(old.shards) if old else 0,
            removed_rows=dict(rewritten.removed_rows) if rewritten else {},
            num_stories=len(rewritten.removed_stories) if rewritten else 0,
            num_recorded=seen.num_recorded,
            num_fetched=len(seen.fetched),
            bytes_fetched=sum(seen.fetched.values()),
            bytes_sent=done.bytes_sent if done else self._uploader.plan(seen.change, seen.remote.head).num_bytes,
            other_tags=seen.other_tags if erased is None else (),
            erases_history=self._settings.erase_history,
            erased=erased,
        )

    def _rewrite(self, source: HubSource, remote: RemoteDataset, out: Path, tag: str | None) -> RewriteReport:
        manifest = source.manifest
        version = tag.removeprefix("v") if tag else manifest.card.version
        selection = Selection(
            configs=tuple(config.name for config in manifest.configs()),
            takedown=remote.takedown.merge(self._identifiers),
            rights_policy=manifest.rights_policy,
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        renamed = RenamedSource(source, {"version": version})
        rewritten = rewrite_dataset(renamed, out, selection, overwrite=True, progress=self._progress)
        _check_rows(manifest, rewritten)
        return rewritten

    def _refuse_missing(self, source: HubSource) -> None:
        """Refuse IDs that are neither in the dataset, nor in the folder here, nor taken down already."""
        if self._settings.record_anyway:
            return
        there = _all_ids(source)
        if self._local is not None:
            there |= _all_ids(self._local)
        videos = _either_way(video for video, _ in there)
        stories = _either_way(story for _, story in there)
        gone = _hashed(source.takedown)
        missing = [f"video {one}" for one in sorted(self._identifiers.video_ids - videos) if _hash(one) not in gone]
        missing += [
            f"story {one}" for one in sorted(self._identifiers.story_ids - stories) if f"story:{_hash(one)}" not in gone
        ]
        if missing:
            more = f" (nor {len(missing) - 1} more of those named)" if len(missing) > 1 else ""
            raise InputError(
                f"{self._uploader.repo_id} holds no {missing[0]}{more}; nothing was changed. "
                "Give --record-anyway to put it on the takedown list all the same."
            )


def _remove_here(local: FolderSource, identifiers: TakedownList, *, dry_run: bool, progress: bool) -> Mapping[str, int]:
    """Take it out of a dataset folder too; return config -> rows that are gone."""
    takedown = local.takedown.merge(identifiers)
    if any(takedown.hits_story(story, video) for video, story in _all_ids(local)):
        if dry_run:
            return _count_hits(local, takedown)
        selection = Selection(
            configs=tuple(config.name for config in local.manifest.configs()),
            takedown=takedown,
            rights_policy=local.manifest.rights_policy,
        )
        return rewrite_dataset(local, local.folder, selection, overwrite=True, progress=progress).removed_rows
    if not dry_run and takedown.to_text() != local.takedown.to_text():
        partial = local.folder / f".{TAKEDOWN_FILE}.partial"
        partial.write_text(takedown.to_text(), encoding="utf-8")
        partial.replace(local.folder / TAKEDOWN_FILE)
    return {}


def _count_hits(source: DatasetSource, takedown: TakedownList) -> Mapping[str, int]:
    rows: dict[str, int] = {}
    for shard in source.manifest.shards:
        found = sum(takedown.hits_row(row) for row in source.ids(shard).to_pylist())
        if found:
            rows[shard.config] = rows.get(shard.config, 0) + found
    return rows


def _all_ids(source: DatasetSource) -> set[tuple[str, str]]:
    """Return (video, story) of all stories."""
    tables = [source.ids(shard).to_pylist() for shard in source.manifest.shards if shard.config == "stories"]
    return {(row["video_id"], row["story_id"]) for rows in tables for row in rows}


def _changelog_lines(rewritten: RewriteReport | None, old: DatasetManifest, reason: str | None) -> list[str]:
    """Return what a removal did, in numbers."""
    told = f" Reason: {reason}" if reason else ""
    if rewritten is None:
        return [f"The takedown list has grown; it names nothing that was here.{told}"]
    rows = ", ".join(f"{config} {count:,}" for config, count in rewritten.removed_rows.items())
    left = ", ".join(f"{config.name} {sum(config.num_rows.values()):,}" for config in rewritten.manifest.configs())
    changed = len(_shard_changes(old, rewritten))
    return [f"Taken down on request.{told}", f"Rows removed: {rows}. Rows left: {left}.", f"Files changed: {changed}."]


def _shard_changes(old: DatasetManifest | None, rewritten: RewriteReport | None) -> tuple[ShardChange, ...]:
    if old is None or rewritten is None:
        return ()
    now = {shard.path: shard for shard in rewritten.manifest.shards}
    changes = []
    for shard in old.shards:
        new = now.get(shard.path)
        if new is None or new.sha256 != shard.sha256:
            changes.append(
                ShardChange(
                    path=shard.path,
                    rows_before=shard.num_rows,
                    rows_after=new.num_rows if new else 0,
                    bytes_before=shard.num_bytes,
                    bytes_after=new.num_bytes if new else 0,
                )
            )
    return tuple(changes)


def _check_rows(old: DatasetManifest, rewritten: RewriteReport) -> None:
    """Stop if rows are missing that nobody asked to remove."""
    before, after = _num_rows(old), _num_rows(rewritten.manifest)
    for config, rows in before.items():
        if rows - after.get(config, 0) != rewritten.removed_rows.get(config, 0):
            raise RuntimeError(f"{config} lost {rows - after.get(config, 0)} rows, which is not what was asked for.")


def _num_rows(manifest: DatasetManifest) -> dict[str, int]:
    return {config.name: sum(config.num_rows.values()) for config in manifest.configs()}


def _refuse_names(reason: str | None, identifiers: TakedownList) -> None:
    plain = [one for one in (*identifiers.video_ids, *identifiers.story_ids) if not one.startswith(_HASHED)]
    if reason and any(one in reason for one in plain):
        raise InputError("The reason names what is removed, and the changelog would keep it; write it without the ID.")


def _hash(identifier: str) -> str:
    return identifier if identifier.startswith(_HASHED) else hash_id(identifier)


def _hashed(takedown: TakedownList) -> set[str]:
    """Return the entries of a list as its file holds them."""
    return set(takedown.to_text().split("\n")) - {""}


def _either_way(identifiers: Iterable[str]) -> set[str]:
    """Return IDs plain and hashed."""
    plain = set(identifiers)
    return plain | {hash_id(one) for one in plain}
