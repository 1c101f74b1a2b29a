"""Write a dataset anew without what must go: stories that were taken down, pixels that may not be shown, whole configs.

Only shards that hold such rows are written again, row group by row group and never as Python objects, so every other
story keeps its bytes. Every other shard is taken over as it is: linked or copied from a folder, and not even fetched
from a Hub. Card, Croissant file, statistics and manifest are made anew from what stays.

What names a removed story goes too: its line of `release_extras.jsonl`, its entries in the manifest. The takedown list
stays in the folder, hashed, so that nobody loads the story from an older copy.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from animeshooter_hf.cards.dataset_facts import DatasetStatistics
from animeshooter_hf.dataset_builder.dataset_source import ID_COLUMNS, DatasetSource, FolderSource
from animeshooter_hf.dataset_builder.manifest import DatasetManifest, ShardFacts
from animeshooter_hf.dataset_builder.package import check_out
from animeshooter_hf.dataset_builder.package_metadata import check_shards, write_metadata
from animeshooter_hf.dataset_builder.package_writer import legacy_schema, open_parquet, shard_facts
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.dataset_builder.release.extras import EXTRAS_FILE, FileExtras, read_extras
from animeshooter_hf.dataset_builder.whole_folder import whole_folder
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIG_NAMES, CONFIGS
from animeshooter_hf.records import Story
from animeshooter_hf.statistics import StoryCounter
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = ["DatasetSource", "FolderSource", "RewriteReport", "Selection", "rewrite_dataset"]

_STORIES = CONFIG_NAMES[0]
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What of a dataset stays."""

    configs: tuple[str, ...] = CONFIG_NAMES
    """Configs that stay, where the dataset has them; `stories` must be among them."""

    takedown: TakedownList = field(default_factory=TakedownList)
    """Videos and stories that go, beside those on the dataset's own list."""

    without_pixels: Mapping[str, str] = field(default_factory=dict)
    """Video -> why its rows of the configs with media go. Its stories stay."""

    rights_policy: str | None = None
    """What the manifest is to say of the policy of publication."""

    rights: Mapping[str, VideoRights] | None = None
    """Video -> what the manifest is to say of its rights; None keeps what it says."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.configs if name not in CONFIG_NAMES]
        if unknown or _STORIES not in self.configs:
            raise InputError(
                f"The configs of a dataset are {', '.join(CONFIG_NAMES)}, and {_STORIES} is always one of them; "
                f"got {', '.join(self.configs) or 'none'}."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RewriteReport:
    """What a rewritten dataset holds, and what is gone."""

    out: Path
    """The new folder."""

    manifest: DatasetManifest
    """Its manifest."""

    files: Mapping[str, Path]
    """Path in the dataset -> file in `out`, of everything that lies there."""

    carried: tuple[str, ...]
    """Shards that are as they were. Those of a folder lie in `out` too; those of a Hub only there."""

    removed_shards: tuple[str, ...]
    """Shards of which nothing is left."""

    removed_rows: Mapping[str, int]
    """Config -> rows that are gone; only configs that lost some."""

    removed_stories: tuple[str, ...]
    """IDs of the stories that are gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cut:
    """What happens to one shard."""

    shard: ShardFacts
    """The shard as it is."""

    removed: frozenset[str]
    """Stories whose rows go."""

    removed_rows: int
    """How many rows that are."""

    kept: frozenset[str]
    """Stories whose rows stay."""

    videos: frozenset[str]
    """Videos with rows that stay."""

    hidden: frozenset[str]
    """Videos whose rows go for their pixels."""

    @property
    def is_text(self) -> bool:
        """Whether the shard holds stories."""
        return self.shard.config == _STORIES


def rewrite_dataset(
    source: DatasetSource, out: Path, selection: Selection, *, overwrite: bool = False, progress: bool = True
) -> RewriteReport:
    """Write the dataset of a source without what a selection leaves out.

    Beside shards, card, manifest and list only the source's `extra_files` go along; reports of a build do not.

    Args:
        source: Where the dataset is; `FolderSource` for a folder.
        out: The new folder. It must not exist or be empty, or with `overwrite` be a dataset of ours, such as the
            source's own folder; that one stays until the new one is whole.
        selection: What stays.
        overwrite: Replace a folder of ours.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If no story is left, the source is damaged, or the folder cannot be written or is not ours.
    """
    out = Path(out)
    check_out(out, overwrite=overwrite)
    takedown = source.takedown.merge(selection.takedown)
    kept = [shard for shard in source.manifest.shards if shard.config in selection.configs]
    bar = tqdm(kept, desc="look", unit=" shards", disable=None if progress else True)
    cuts = [_find_cut(source, shard, takedown, selection.without_pixels) for shard in bar]
    texts = [cut for cut in cuts if cut.is_text]
    left = frozenset().union(*(cut.kept for cut in texts))
    if not left:
        raise InputError("Nothing would be left: every story of the dataset is on the takedown list.")
    with whole_folder(out) as partial:
        shards = _write_shards(source, partial, cuts, progress=progress)
        manifest = _make_manifest(source.manifest, shards, cuts, selection, takedown)
        files = {shard: _at_hand(source, partial, shard) for shard in shards if shard.config == _STORIES}
        write_metadata(partial, manifest, _count(files, progress=progress))
        _write_extras(source, partial, left, takedown)
        if takedown:
            (partial / TAKEDOWN_FILE).write_text(takedown.to_text(), encoding="utf-8")
        check_shards(partial, manifest.with_shards([one for one in shards if (partial / one.path).exists()]))
        names = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
    return _report(source.manifest, out, manifest, cuts, names)


def _find_cut(
    source: DatasetSource, shard: ShardFacts, takedown: TakedownList, without_pixels: Mapping[str, str]
) -> _Cut:
    """Return what goes of a shard; only its IDs are read."""
    counted = source.ids(shard).group_by(list(ID_COLUMNS), use_threads=False).aggregate([([], "count_all")]).to_pylist()
    hidden = {row["video_id"] for row in counted if row["video_id"] in without_pixels and shard.config != _STORIES}
    gone = [row for row in counted if row["video_id"] in hidden or takedown.hits_row(row)]
    removed = frozenset(row["story_id"] for row in gone)
    stays = [row for row in counted if row["story_id"] not in removed]
    return _Cut(
        shard=shard,
        removed=removed,
        removed_rows=sum(row["count_all"] for row in gone),
        kept=frozenset(row["story_id"] for row in stays),
        videos=frozenset(row["video_id"] for row in stays),
        hidden=frozenset(name for name in hidden if not takedown.hits(name)),
    )


def _write_shards(source: DatasetSource, root: Path, cuts: Sequence[_Cut], *, progress: bool) -> list[ShardFacts]:
    """Write the shards that change and take over those that do not; return the facts of all."""
    shards = []
    for cut in tqdm(cuts, desc="rewrite", unit=" shards", disable=None if progress else True):
        shard, target = cut.shard, root / cut.shard.path
        if not cut.kept:
            continue
        target.parent.mkdir(exist_ok=True)
        if cut.removed:
            memory_bytes = _rewrite_shard(shard, source.fetch(shard), target, cut.removed)
            shards.append(shard_facts(root, target, memory_bytes))
            continue
        path = source.local(shard)
        if path is not None:
            _take_over(path, target)
            shard = shard if shard.memory_bytes else replace(shard, memory_bytes=_measure(path))
        shards.append(shard)
    return shards


def _rewrite_shard(shard: ShardFacts, path: Path, target: Path, removed: Set[str]) -> int:
    """Write a shard without the rows of some stories, row group by row group; return the size of its rows in Arrow."""
    file = pq.ParquetFile(path)
    schema = legacy_schema(CONFIGS[shard.config])  # that of the file has marks of the reader in it
    if not schema.equals(file.schema_arrow):
        raise InputError(f"{path} has other columns than the {shard.config} of this version of animeshooter-hf.")
    names = pa.array(sorted(removed), pa.string())
    memory_bytes = 0
    with open_parquet(target, schema) as writer:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            is_gone = pc.is_in(table["story_id"], value_set=names)
            kept = table.filter(pc.invert(is_gone)) if pc.any(is_gone).as_py() else table
            if kept.num_rows:
                writer.write_table(kept.cast(schema), row_group_size=kept.num_rows)
                memory_bytes += kept.nbytes
    return memory_bytes


def _take_over(path: Path, target: Path) -> None:
    """Let a file stand in a second place; it is copied where links are not possible."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _measure(path: Path) -> int:
    file = pq.ParquetFile(path)
    return sum(file.read_row_group(group).nbytes for group in range(file.num_row_groups))


def _at_hand(source: DatasetSource, root: Path, shard: ShardFacts) -> Path:
    written = root / shard.path
    return written if written.exists() else source.fetch(shard)


def _count(files: Mapping[ShardFacts, Path], *, progress: bool) -> DatasetStatistics:
    """Return the statistics of the stories in some shards."""
    counter = StoryCounter()
    shots: Counter[str] = Counter()
    total = sum(shard.num_rows for shard in files)
    with tqdm(total=total, desc="count", unit=" stories", disable=None if progress else True) as bar:
        for shard, path in files.items():
            for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    story = Story.from_dataset_row(row)
                    counter.add(story)
                    shots[shard.split] += len(story.shots)
                bar.update(batch.num_rows)
    return DatasetStatistics.from_counts(counter.finish(), shots)


def _make_manifest(
    old: DatasetManifest,
    shards: Sequence[ShardFacts],
    cuts: Sequence[_Cut],
    selection: Selection,
    takedown: TakedownList,
) -> DatasetManifest:
    """Return the old manifest with the new shards, and without whatever names what is gone."""
    texts = [cut for cut in cuts if cut.is_text]
    videos = frozenset().union(*(cut.videos for cut in texts))
    gone = frozenset().union(*(cut.removed for cut in texts))
    gone |= {name for names in old.splits.values() for name in names if name not in videos}
    hidden = sorted(frozenset().union(*(cut.hidden for cut in cuts)) & videos)
    splits = {split: [name for name in names if name in videos] for split, names in old.splits.items()}
    rights = old.rights if selection.rights is None else selection.rights
    has_media = any(shard.config != _STORIES for shard in shards)
    skipped = [pair for pair in old.skipped if has_media and not _tells_of(pair[0], gone)]
    return replace(
        old,
        shards=tuple(shards),
        splits={split: names for split, names in splits.items() if names},
        rights={name: one for name, one in rights.items() if name in videos},
        rights_policy=selection.rights_policy,
        provenance=_without(old.provenance, gone, takedown),
        skipped=tuple(dict.fromkeys([*skipped, *((name, selection.without_pixels[name]) for name in hidden)])),
    )


def _tells_of(what: str, gone: Set[str]) -> bool:
    """Return whether an entry of `skipped` is about a story that is gone: the story, a shot of it, or a reference."""
    return what in gone or what.rpartition("_")[0] in gone or what.rpartition(" of ")[2] in gone


def _without(value: Any, gone: Set[str], takedown: TakedownList) -> Any:
    """Return a JSON value without the keys and texts that are IDs of what is gone."""

    def names_it(text: Any) -> bool:
        return isinstance(text, str) and (text in gone or takedown.hits_story(text, text))

    if isinstance(value, Mapping):
        return {
            key: _without(one, gone, takedown) for key, one in value.items() if not (names_it(key) or names_it(one))
        }
    if isinstance(value, list | tuple):
        return [_without(one, gone, takedown) for one in value if not names_it(one)]
    return value


def _write_extras(source: DatasetSource, root: Path, left: Set[str], takedown: TakedownList) -> None:
    """Copy what may go along; of what the release's files say, only files all of whose stories are left."""
    for name, path in source.extra_files().items():
        if name != EXTRAS_FILE:
            shutil.copyfile(path, root / name)
            continue
        with (root / name).open("w", encoding="ascii") as file:
            file.writelines(
                extras.to_line() for extras in read_extras(path.parent) if _may_stay(extras, left, takedown)
            )
        if not (root / name).stat().st_size:
            (root / name).unlink()


def _may_stay(extras: FileExtras, left: Set[str], takedown: TakedownList) -> bool:
    stories = {name for video in extras.videos for name in video.story_ids if name is not None}
    return stories <= left and not takedown.hits(PurePosixPath(extras.file).stem)


def _report(
    old: DatasetManifest, out: Path, manifest: DatasetManifest, cuts: Sequence[_Cut], names: Sequence[str]
) -> RewriteReport:
    by_path = {cut.shard.path: cut for cut in cuts}
    lost: Counter[str] = Counter()
    for shard in old.shards:
        lost[shard.config] += by_path[shard.path].removed_rows if shard.path in by_path else shard.num_rows
    left = {shard.path for shard in manifest.shards}
    return RewriteReport(
        out=out,
        manifest=manifest,
        files={name: out / name for name in names},
        carried=tuple(path for path in by_path if not by_path[path].removed),
        removed_shards=tuple(shard.path for shard in old.shards if shard.path not in left),
        removed_rows={config: rows for config, rows in lost.items() if rows},
        removed_stories=tuple(sorted(name for cut in cuts if cut.is_text for name in cut.removed)),
    )
