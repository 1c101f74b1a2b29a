"""Package stories as a dataset folder that plain `load_dataset` opens, map-style and streaming.

    OUT/README.md       card, with `configs` and `dataset_info` in its head; croissant.json says the same to machines
    OUT/manifest.json   hash and size of every shard, splits, rights, versions
    OUT/stories/        one row per story, no media bytes; the default config, always there
    OUT/shots/ OUT/references/ OUT/audio/    where there are videos

Everything is written into a hidden sibling folder, opened once as a reader would, and then renamed; so OUT is whole or
not there, and an old OUT stays until the new one is. Splits are made by video, never by story, so nothing leaks.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from animeshooter_hf.cards.dataset_facts import CardFacts, DatasetStatistics
from animeshooter_hf.dataset_builder.manifest import MANIFEST_FORMAT, DatasetManifest, ShardFacts, library_versions
from animeshooter_hf.dataset_builder.package_media import MediaSource, StoryMedia, make_media, reason_without_folder
from animeshooter_hf.dataset_builder.package_metadata import check_shards, write_metadata
from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.dataset_builder.release.reader import is_audio_story_id
from animeshooter_hf.dataset_builder.splits import SplitSettings, split_videos
from animeshooter_hf.dataset_builder.staged_media import StagedMedia
from animeshooter_hf.dataset_builder.story_spool import StorySpool
from animeshooter_hf.dataset_builder.whole_folder import restore_folder, whole_folder
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import StoryCounter
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = [
    "MANIFEST_FORMAT",
    "CardFacts",
    "DatasetReport",
    "MediaSource",
    "SplitSettings",
    "check_out",
    "is_dataset_folder",
    "read_dataset_report",
    "split_videos",
    "write_dataset",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetReport:
    """What was written."""

    out: Path
    """The folder."""

    rows: dict[str, dict[str, int]]
    """Config -> split -> rows."""

    splits: dict[str, list[str]]
    """Split -> the videos in it."""

    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(shot or reference, why it has no media row)."""

    num_bytes: int = 0
    """Size of all shards."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """By what it was made, as the manifest says."""


def write_dataset(
    out: Path,
    stories: Iterable[Story],
    *,
    media: MediaSource | StagedMedia | None = None,
    splits: SplitSettings | None = None,
    groups: Mapping[str, str] | None = None,
    facts: CardFacts | None = None,
    rights: Mapping[str, VideoRights] | None = None,
    provenance: Mapping[str, Any] | None = None,
    takedown: TakedownList | None = None,
    writer: WriterSettings | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> DatasetReport:
    """Write stories, and their media where there are videos, as a dataset folder.

    The stories wait on disk until all are there, so memory does not grow with them. A story whose rows in a config with
    media are too large for a row group has none there, and the report says so.

    Args:
        out: The folder; it must not exist, be empty, or with `overwrite` be one of ours.
        stories: In any order.
        media: Where the videos are; only `stories` is written without.
        splits: How videos are divided.
        groups: Video -> group that stays in one split, from `quality.leakage.leak_safe_groups`.
        facts: What the card says beside what the data tell.
        rights: Video -> what is known of its rights; the manifest keeps those of the videos that are written.
        provenance: By what the stories were made; it goes into the manifest.
        takedown: A list that goes into the folder, hashed, where loading reads it; the stories are not looked at.
        writer: Sizes of row groups and shards.
        overwrite: Replace a folder of ours.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If there is no story, two stories share an ID, the text of one is too large for a row group, or the
            folder cannot be written or is not ours.
    """
    out = Path(out)
    check_out(out, overwrite=overwrite)
    splits = splits or SplitSettings()
    with StorySpool(out) as spool:
        spool.extend(stories)
        if not len(spool):
            raise InputError("There is no story to write.")
        parts = split_videos(spool.video_ids(), splits, groups)
        with whole_folder(out) as partial:
            told = _write(partial, spool, parts, media, writer or WriterSettings(), progress=progress)
            manifest = DatasetManifest(
                shards=told.shards,
                splits=parts,
                split_seed=splits.seed,
                card=facts or CardFacts(),
                rights={name: rights[name] for name in spool.video_ids() if name in rights} if rights else {},
                provenance=dict(provenance or {}),
                skipped=tuple(told.skipped),
                libraries=library_versions(),
            )
            write_metadata(
                partial, manifest, DatasetStatistics.from_counts(told.counter.finish(), told.shots_of_splits)
            )
            if takedown:
                (partial / TAKEDOWN_FILE).write_text(takedown.to_text(), encoding="utf-8")
            check_shards(partial, manifest)
    return _report(out, manifest)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot be written or holds something else, before any work is done.

    Raises:
        InputError: If so.
    """
    restore_folder(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, not a folder to write a dataset to.")
    if out.is_dir() and any(out.iterdir()):
        if not is_dataset_folder(out):
            raise InputError(f"{out} is not empty and no dataset of ours; name another folder.")
        if not overwrite:
            raise InputError(f"{out} holds a dataset already. Give --overwrite to replace it.")


def read_dataset_report(out: Path) -> DatasetReport:
    """Return what was written into a dataset folder, from its manifest.

    Raises:
        InputError: If it is no dataset folder of ours.
    """
    return _report(out, DatasetManifest.read(out))


def is_dataset_folder(path: Path) -> bool:
    """Return whether a folder is one that `write_dataset` has written."""
    try:
        DatasetManifest.read(path)
    except InputError:
        return False
    return True


@dataclass(slots=True)
class _Written:
    """What was written so far."""

    shards: tuple[ShardFacts, ...] = ()
    """The files, config by config."""

    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(shot, reference or story, why it has no media row)."""

    counter: StoryCounter = field(default_factory=StoryCounter)
    """Counts the stories."""

    shots_of_splits: Counter[str] = field(default_factory=Counter)
    """Split -> shots."""


def _report(out: Path, manifest: DatasetManifest) -> DatasetReport:
    return DatasetReport(
        out=out,
        rows={config.name: dict(config.num_rows) for config in manifest.configs()},
        splits={split: list(videos) for split, videos in manifest.splits.items()},
        skipped=list(manifest.skipped),
        num_bytes=sum(shard.num_bytes for shard in manifest.shards),
        provenance=manifest.provenance,
    )


def _write(
    root: Path,
    spool: StorySpool,
    parts: Mapping[str, list[str]],
    media: MediaSource | StagedMedia | None,
    settings: WriterSettings,
    *,
    progress: bool,
) -> _Written:
    written = _Written()
    shards: dict[str, list[ShardFacts]] = {config: [] for config in CONFIGS}
    with tqdm(total=len(spool), desc="package", unit=" stories", disable=None if progress else True) as bar:
        for split, videos in parts.items():
            writers = {name: ConfigWriter(root, name, split, features, settings) for name, features in CONFIGS.items()}
            for story in spool.stories(frozenset(videos)):
                written.counter.add(story)
                written.shots_of_splits[split] += len(story.shots)
                _write_story(story, writers, media, written.skipped)
                bar.update()
            for config, writer in writers.items():
                shards[config] += writer.close()
    written.shards = tuple(itertools.chain.from_iterable(shards.values()))
    return written


def _write_story(
    story: Story,
    writers: Mapping[str, ConfigWriter],
    media: MediaSource | StagedMedia | None,
    skipped: list[tuple[str, str]],
) -> None:
    writers["stories"].write_story([story.to_json()])
    made = _story_media(story, media)
    if isinstance(made, str):
        skipped.append((story.story_id, made))
        return
    if made is None:
        return
    skipped.extend(made.skipped)
    # The audio release cuts the same videos differently: its stories are no second set of picture shots.
    only_audio = is_audio_story_id(story.story_id)
    for config, rows in (("shots", made.shots), ("references", made.references), ("audio", made.audio)):
        if rows and (config == "audio" or not only_audio):
            try:
                writers[config].write_story(rows)
            except InputError as error:
                skipped.append((story.story_id, str(error)))


def _story_media(story: Story, media: MediaSource | StagedMedia | None) -> StoryMedia | str | None:
    """Return the media rows of a story, made already or made now from its video, or why there are none."""
    if media is None:
        return None
    if isinstance(media, StagedMedia):
        return media.story_media(story)
    path = media.video_path(story.video_id)
    if path is None:
        return None
    try:
        return make_media(story, path)
    except InputError as error:
        return reason_without_folder(error, path)
