"""Package stories as a dataset folder that plain `load_dataset` opens, map-style and streaming.

    OUT/README.md       card, with `configs` and `dataset_info` in its head
    OUT/manifest.json   hash and size of every shard, counts, versions
    OUT/stories/        one row per story, no media bytes; the default config, always there
    OUT/shots/ OUT/references/ OUT/audio/    where there are videos

Everything is written into a hidden sibling folder, opened once as a reader would, and then renamed; so OUT is whole or
not there, and an old OUT stays until the new one is. Splits are made by video, never by story, so nothing leaks.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.dataset_card import CardFacts, ConfigFacts, DatasetStatistics, render_dataset_card
from animeshooter_hf.dataset_builder.package_media import MediaSource, StoryMedia, make_media
from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, ShardFacts, WriterSettings
from animeshooter_hf.dataset_builder.release.reader import is_audio_story_id
from animeshooter_hf.dataset_builder.staged_media import StagedMedia
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.records import Story
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

MANIFEST_FORMAT = "animeshooter-dataset"
"""What the manifest of a folder of ours says."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSettings:
    """How videos are divided. Our choice: the paper names no splits."""

    seed: int = 0
    """Decides which videos are held out."""

    validation: float = 0.05
    """Share of the videos for validation, rounded."""

    test: float = 0.05
    """Share of the videos for testing, rounded. Fewer than ten videos are all for training."""

    def __post_init__(self) -> None:
        if self.validation < 0 or self.test < 0 or self.validation + self.test >= 1:
            raise ValueError(f"Nothing is left to train on: validation {self.validation}, test {self.test}.")


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


def split_videos(
    video_ids: Iterable[str], settings: SplitSettings, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Return split -> videos; the same videos and seed give the same splits, in any order.

    Args:
        video_ids: Videos; repeats count once.
        settings: Shares and seed.
        groups: Video -> group, from `quality.leakage.leak_safe_groups`: a group stays in one split. A video that is not
            in it is alone. Groups of one give the same splits as no groups.

    Example:
        >>> split_videos(["b", "a"], SplitSettings())
        {'train': ['a', 'b']}
    """
    videos = set(video_ids)
    if len(videos) < 10:
        return {"train": sorted(videos)}
    members: dict[str, list[str]] = {}
    for name in sorted(videos):
        members.setdefault(f"group {groups[name]}" if groups and name in groups else f"video {name}", []).append(name)
    left = sorted(
        members.values(), key=lambda group: hashlib.sha256(f"{settings.seed}:{group[0]}".encode()).hexdigest()
    )
    parts: dict[str, list[str]] = {}
    for split, share in (("test", settings.test), ("validation", settings.validation)):
        taken, left = _take_groups(left, round(len(videos) * share))
        parts[split] = [name for group in taken for name in group]
    parts["train"] = [name for group in left for name in group]
    return {split: sorted(parts[split]) for split in SPLITS if parts[split]}


def _take_groups(ranked: Sequence[list[str]], wanted: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return the groups taken, which hold as near to `wanted` videos as their order allows, and those left."""
    taken: list[list[str]] = []
    left: list[list[str]] = []
    missing = wanted
    for group in ranked:
        fits = len(group) <= missing
        (taken if fits else left).append(group)
        missing -= len(group) if fits else 0
    if missing > 0 and len(left) > 1:
        nearest = min(left, key=lambda group: abs(len(group) - missing))
        excess = abs(len(nearest) - missing)
        if excess < missing or (not taken and excess == missing):
            taken.append(nearest)
            left.remove(nearest)
    return taken, left


def write_dataset(
    out: Path,
    stories: Iterable[Story],
    *,
    media: MediaSource | StagedMedia | None = None,
    splits: SplitSettings | None = None,
    groups: Mapping[str, str] | None = None,
    facts: CardFacts | None = None,
    provenance: Mapping[str, Any] | None = None,
    takedown: TakedownList | None = None,
    writer: WriterSettings | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> DatasetReport:
    """Write stories, and their media where there are videos, as a dataset folder.

    Args:
        out: The folder; it must not exist, be empty, or with `overwrite` be one of ours.
        stories: In any order.
        media: Where the videos are; only `stories` is written without.
        splits: How videos are divided.
        groups: Video -> group that stays in one split, from `quality.leakage.leak_safe_groups`.
        facts: What the card says beside what the data tell.
        provenance: By what the stories were made; it goes into the manifest.
        takedown: A list that goes into the folder, hashed, where loading reads it; the stories are not looked at.
        writer: Sizes of row groups and shards.
        overwrite: Replace a folder of ours.
        progress: Whether to show a bar on stderr.

    Raises:
        InputError: If there is no story, two stories share an ID, or the folder cannot be written or is not ours.
    """
    out = Path(out)
    check_out(out, overwrite=overwrite)
    ordered = sorted(stories, key=lambda story: story.story_id)
    if not ordered:
        raise InputError("There is no story to write.")
    for one, other in itertools.pairwise(ordered):
        if one.story_id == other.story_id:
            raise InputError(f"Two stories have the ID {one.story_id}.")
    parts = split_videos((story.video_id for story in ordered), splits or SplitSettings(), groups)
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        report = _write(
            partial, ordered, parts, media, facts or CardFacts(), writer or WriterSettings(), progress, out, provenance
        )
        if takedown:
            (partial / TAKEDOWN_FILE).write_text(takedown.to_text(), encoding="utf-8")
        _check_loads(partial, report)
        _replace(partial, out)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return report


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that cannot be written or holds something else, before any work is done.

    Raises:
        InputError: If so.
    """
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
    if not is_dataset_folder(out):
        raise InputError(f"{out} is no dataset folder.")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    rows: dict[str, dict[str, int]] = {}
    for shard in manifest["shards"]:
        config, name = shard["path"].split("/")
        by_split = rows.setdefault(config, {})
        split = name.split("-")[0]
        by_split[split] = by_split.get(split, 0) + shard["rows"]
    return DatasetReport(
        out=out,
        rows=rows,
        splits=manifest["splits"],
        skipped=[(one["what"], one["reason"]) for one in manifest["skipped"]],
        num_bytes=sum(shard["bytes"] for shard in manifest["shards"]),
        provenance=manifest.get("provenance", {}),
    )


def is_dataset_folder(path: Path) -> bool:
    """Return whether a folder is one that `write_dataset` has written."""
    try:
        return bool(json.loads((path / "manifest.json").read_text())["format"] == MANIFEST_FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(
    root: Path, stories: Sequence[Story], parts: dict[str, list[str]], media: MediaSource | StagedMedia | None,
    facts: CardFacts, settings: WriterSettings, progress: bool, out: Path, provenance: Mapping[str, Any] | None,
) -> DatasetReport:  # fmt: skip
    shards: dict[str, dict[str, list[ShardFacts]]] = {config: {} for config in CONFIGS}
    sizes: dict[tuple[str, str], int] = {}
    skipped: list[tuple[str, str]] = []
    with tqdm(total=len(stories), desc="package", unit=" stories", disable=None if progress else True) as bar:
        for split, videos in parts.items():
            writers = {name: ConfigWriter(root, name, split, features, settings) for name, features in CONFIGS.items()}
            members = set(videos)
            for story in stories:
                if story.video_id in members:
                    _write_story(story, writers, media, skipped)
                    bar.update()
            for config, config_writer in writers.items():
                written = config_writer.close()
                if written:
                    shards[config][split] = written
                    sizes[config, split] = config_writer.num_bytes
    shards = {config: by_split for config, by_split in shards.items() if by_split}
    configs = [
        ConfigFacts(
            name=config,
            features=CONFIGS[config],
            num_rows={split: sum(shard.num_rows for shard in files) for split, files in by_split.items()},
            num_bytes={split: sizes[config, split] for split in by_split},
            download_bytes=sum(shard.num_bytes for files in by_split.values() for shard in files),
        )
        for config, by_split in shards.items()
    ]
    statistics = DatasetStatistics.from_stories(stories)
    (root / "README.md").write_text(render_dataset_card(facts, configs, statistics), encoding="utf-8")
    manifest = {
        "format": MANIFEST_FORMAT,
        "version": 1,
        "tool": f"animeshooter-hf {__version__}",
        "libraries": {name: metadata.version(name) for name in ("av", "datasets", "numpy", "pyarrow")},
        "provenance": dict(provenance or {}),
        "splits": parts,
        "shards": [
            {"path": shard.path, "rows": shard.num_rows, "bytes": shard.num_bytes, "sha256": shard.sha256}
            for by_split in shards.values()
            for files in by_split.values()
            for shard in files
        ],
        "skipped": [{"what": what, "reason": reason} for what, reason in skipped],
    }
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return DatasetReport(
        out=out,
        rows={config.name: dict(config.num_rows) for config in configs},
        splits=parts,
        skipped=skipped,
        num_bytes=sum(config.download_bytes for config in configs),
    )


def _write_story(
    story: Story,
    writers: dict[str, ConfigWriter],
    media: MediaSource | StagedMedia | None,
    skipped: list[tuple[str, str]],
) -> None:
    writers["stories"].write_story([story.to_json()])
    try:
        made = _story_media(story, media)
    except InputError as error:
        skipped.append((story.story_id, str(error)))
        return
    if made is None:
        return
    skipped.extend(made.skipped)
    # The audio release cuts the same videos differently: its stories are no second set of picture shots.
    only_audio = is_audio_story_id(story.story_id)
    for config, rows in (("shots", made.shots), ("references", made.references), ("audio", made.audio)):
        if rows and (config == "audio" or not only_audio):
            writers[config].write_story(rows)


def _story_media(story: Story, media: MediaSource | StagedMedia | None) -> StoryMedia | None:
    """Return the media rows of a story: made already, or made now from its video."""
    if media is None:
        return None
    if isinstance(media, StagedMedia):
        return media.story_media(story)
    path = media.video_path(story.video_id)
    return None if path is None else make_media(story, path)


def _check_loads(root: Path, report: DatasetReport) -> None:
    """Open every shard as a reader does, before anybody else can see it."""
    for config, by_split in report.rows.items():
        columns = list(CONFIGS[config])
        for split, expected in by_split.items():
            files = [pq.ParquetFile(path) for path in sorted((root / config).glob(f"{split}-*.parquet"))]
            found = sum(file.metadata.num_rows for file in files)
            if found != expected or any(file.schema_arrow.names != columns for file in files):
                raise RuntimeError(f"{config}/{split} was not written as it should be: {found} rows of {expected}.")
            files[0].read_row_group(0, columns=columns[:2])


def _replace(partial: Path, out: Path) -> None:
    """Put the finished folder in its place; the old one is moved aside first and removed last."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)
