"""Write and open the folder of a benchmark: what stands in it is ready for the Hub, and `load_dataset` opens it.

    stories/TRACK-00000-of-00001.parquet      and so on for the other configs, see bench_features.py
    README.md                                 the card, with the configs
    eval.yaml                                 the tasks of the Hub's leaderboards
    predictions_template.json                 what a submitter fills
    manifest.json                             what it was made of and by, and the hash of every other file

A folder appears whole or not at all: it is written beside its place and renamed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.benchmark_card import BenchmarkFacts, render_benchmark_card
from animeshooter_hf.cards.hub_files import GITATTRIBUTES, GITATTRIBUTES_FILE
from animeshooter_hf.cards.hub_vocabulary import LICENCES
from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_features import BENCH_CONFIGS, CONFIG_WORDS, rows_of, story_from_row
from animeshooter_hf.eval.bench.bench_records import BenchClip, BenchReference, BenchStory, BenchTruth, TruthClip
from animeshooter_hf.eval.bench.bench_tasks import EVALUATION_FRAMEWORK, eval_yaml, task_ids
from animeshooter_hf.eval.bench.submission import submission_template
from animeshooter_hf.eval.bench.tracks import TRACKS

__all__ = ["MANIFEST_FILE", "Benchmark", "BenchmarkParts", "open_benchmark", "read_rows", "write_benchmark"]

MANIFEST_FILE = "manifest.json"
"""Name of the manifest."""

_FORMAT = "animeshooter-benchmark"
_LIBRARIES = ("datasets", "pyarrow", "numpy", "opencv-python-headless", "av", "pillow", "huggingface_hub")
_ROWS_AT_ONCE = 16
"""Rows of a row group; small, because some hold clips."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkParts:
    """What a benchmark is made of."""

    benchmark_id: str
    """Repository on the Hub, or any name."""

    title: str
    """Name for people."""

    description: str
    """One sentence."""

    kind: str
    """How the stories came about: "toon", "written" or "given"."""

    tracks: tuple[str, ...]
    """Tracks, in their usual order."""

    stories: Sequence[BenchStory]
    """Those of all tracks that have their own."""

    references: Sequence[BenchReference]
    """Of all characters."""

    license: str
    """Identifier of the licence of the whole on the Hub."""

    clips: Sequence[BenchClip] = ()
    """For training."""

    truth: Sequence[BenchTruth] = ()
    """Of a toon edition."""

    truth_clips: Iterable[TruthClip] = ()
    """Of a toon edition; may be made while they are written."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was made, for the manifest."""

    writer: str = ""
    """Who wrote the stories; "" if no model did."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """An opened benchmark."""

    folder: Path
    """Where it stands."""

    id: str
    """Its name."""

    revision: str
    """Hash of stories and references; scores of different ones are not compared."""

    kind: str
    """How the stories came about."""

    tracks: tuple[str, ...]
    """Its tracks."""

    manifest: Mapping[str, Any]
    """Everything that the manifest says."""

    own_stories: Mapping[str, tuple[BenchStory, ...]]
    """Track -> its own stories."""

    def stories(self, track: str) -> tuple[BenchStory, ...]:
        """Return the stories of a track.

        Raises:
            InputError: If the benchmark has no such track.
        """
        if track not in self.tracks:
            raise InputError(f"{self.id} has no track {track!r}. Its tracks: {', '.join(self.tracks)}.")
        return self.own_stories[TRACKS[track].stories_like or track]

    @cached_property
    def references(self) -> tuple[BenchReference, ...]:
        """Return all reference pictures."""
        rows = read_rows(self.folder, "references", "test")
        return tuple(BenchReference(**{**row, "image": row["image"]["bytes"]}) for row in rows)

    def references_of(self, story: BenchStory) -> list[BenchReference]:
        """Return the references of those who take part in a story."""
        return [one for one in self.references if one.character_id in story.characters]

    @cached_property
    def plans(self) -> Mapping[str, str]:
        """Return story -> its plan as JSON; empty if the benchmark holds no truth."""
        if not (self.folder / "truth").is_dir():
            return {}
        return {row["story_id"]: row["plan"] for row in read_rows(self.folder, "truth", "test")}


def write_benchmark(parts: BenchmarkParts, folder: str | Path, *, overwrite: bool = False) -> Path:
    """Write a benchmark and return its folder.

    Raises:
        InputError: If the parts do not fit together, or the folder holds something and may not be overwritten.
    """
    folder = Path(folder)
    check_parts(parts)
    check_place(folder, overwrite=overwrite)
    partial, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        num_rows = _write_tables(parts, partial)
        _write_texts(parts, partial, num_rows)
        _write_manifest(parts, partial, num_rows)
        if folder.exists():
            folder.replace(old)
        partial.replace(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
    return folder


def check_parts(parts: BenchmarkParts) -> None:
    """Refuse parts that do not make a benchmark.

    Raises:
        InputError: If so.
    """
    own = [name for name in parts.tracks if TRACKS[name].stories_like is None]
    for track in own:
        if not any(story.track == track for story in parts.stories):
            raise InputError(f"The track {track} has no story.")
    ids = [story.story_id for story in parts.stories]
    if len(set(ids)) != len(ids):
        raise InputError(f"Two stories are called {max(ids, key=ids.count)}.")
    shown = {one.character_id for one in parts.references}
    for story in parts.stories:
        missing = [name for name in story.characters if name not in shown]
        if missing:
            raise InputError(f"There is no reference of {missing[0]}, who is in story {story.story_id}.")
        if TRACKS[story.track].needs_sound and not any(shot.audio for shot in story.shots):
            raise InputError(f"Story {story.story_id} of the track {story.track} says nowhere what is heard.")
    licences = {one.license for one in parts.references} | {one.license for one in parts.clips}
    for licence in sorted({parts.license, *licences}):
        if licence not in LICENCES or licence == "unknown":
            raise InputError(
                f"A benchmark needs a licence that the Hub knows for every picture and clip, got {licence!r}; such as "
                "cc-by-4.0, or other with words in `source`."
            )


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where no benchmark may be written.

    Raises:
        InputError: If so.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file, not a folder.")
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise InputError(f"{folder} is not empty. Choose another --out, or say --overwrite.")
        if not (folder / MANIFEST_FILE).is_file():
            raise InputError(f"{folder} is no benchmark, so it is not overwritten. Choose another --out.")


def open_benchmark(place: str | Path, revision: str | None = None) -> Benchmark:
    """Open a benchmark.

    Args:
        place: Its folder, or a dataset repository on the Hub, which is then downloaded into the Hub's cache.
        revision: Of the repository.

    Raises:
        InputError: If there is none, or its manifest is damaged.
    """
    folder = Path(place)
    if not folder.is_dir():
        folder = _download(str(place), revision)
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is no benchmark: it has no {MANIFEST_FILE} that can be read.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT or manifest.get("version") != 1:
        raise InputError(f"{folder / MANIFEST_FILE} is no manifest of a benchmark of version 1.")
    tracks = tuple(name for name in TRACKS if name in manifest["tracks"])
    own = [name for name in tracks if TRACKS[name].stories_like is None]
    return Benchmark(
        folder=folder,
        id=manifest["id"],
        revision=manifest["revision"],
        kind=manifest["kind"],
        tracks=tracks,
        manifest=manifest,
        own_stories={
            track: tuple(story_from_row(row, track) for row in read_rows(folder, "stories", track)) for track in own
        },
    )


def read_rows(folder: Path, config: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split of a config.

    Raises:
        InputError: If its file is missing or damaged.
    """
    path = _table_path(folder, config, split)
    try:
        return list(pq.read_table(path).to_pylist())
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} is missing or damaged; make or download the benchmark again.") from error


def _download(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if repository.count("/") != 1 or repository.startswith((".", "/")):
        raise InputError(f"There is no folder {repository}.")
    try:
        return Path(snapshot_download(repository, repo_type="dataset", revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"There is no folder {repository}, and no such dataset could be had from the Hub.") from error


def _table_path(folder: Path, config: str, split: str) -> Path:
    return folder / config / f"{split}-00000-of-00001.parquet"


def _write_tables(parts: BenchmarkParts, folder: Path) -> dict[str, dict[str, int]]:
    """Write the tables; return config -> split -> rows, shared splits among them."""
    num_rows: dict[str, dict[str, int]] = {"stories": {}}
    for track in parts.tracks:
        like = TRACKS[track].stories_like
        stories = [story for story in parts.stories if story.track == (like or track)]
        num_rows["stories"][track] = len(stories) if like else _write(folder, "stories", track, stories)
    tables: tuple[tuple[str, str, Iterable[Any]], ...] = (
        ("references", "test", parts.references),
        ("enhance", "train", parts.clips),
        ("truth", "test", parts.truth),
        ("truth_clips", "test", parts.truth_clips),
    )
    for config, split, records in tables:
        written = _write(folder, config, split, records)
        if written:
            num_rows[config] = {split: written}
    return num_rows


def _write(folder: Path, config: str, split: str, records: Iterable[Any]) -> int:
    """Write a table and return its number of rows; without any there is no file."""
    path, schema = _table_path(folder, config, split), BENCH_CONFIGS[config].arrow_schema
    written, waiting = 0, []
    writer: pq.ParquetWriter | None = None
    for record in records:
        if writer is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = pq.ParquetWriter(path, schema, write_page_index=True)
        waiting.append(record)
        written += 1
        if len(waiting) == _ROWS_AT_ONCE:
            writer.write_table(pa.Table.from_pylist(rows_of(waiting), schema=schema))
            waiting = []
    if writer is not None:
        if waiting:
            writer.write_table(pa.Table.from_pylist(rows_of(waiting), schema=schema))
        writer.close()
    return written


def _write_texts(parts: BenchmarkParts, folder: Path, num_rows: Mapping[str, Mapping[str, int]]) -> None:
    has_truth = bool(parts.truth)
    revision = _revision(parts)
    texts = {
        "eval.yaml": eval_yaml(parts.title, parts.description, parts.tracks, has_truth=has_truth),
        "predictions_template.json": submission_template(parts.benchmark_id, revision, parts.tracks, parts.stories),
        GITATTRIBUTES_FILE: GITATTRIBUTES,
        "README.md": render_benchmark_card(_card_facts(parts, num_rows, revision)),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def _card_facts(parts: BenchmarkParts, num_rows: Mapping[str, Mapping[str, int]], revision: str) -> BenchmarkFacts:
    shots = {
        name: [len(one.shots) for one in parts.stories if one.track == (TRACKS[name].stories_like or name)]
        for name in parts.tracks
    }
    ips = {
        name: len({one.ip_id for one in parts.stories if one.track == (TRACKS[name].stories_like or name)})
        for name in parts.tracks
    }
    return BenchmarkFacts(
        benchmark_id=parts.benchmark_id,
        revision=revision,
        title=parts.title,
        description=parts.description,
        kind=parts.kind,
        license=parts.license,
        writer=parts.writer,
        tracks=tuple(
            (name, TRACKS[name].words, ips[name], len(shots[name]), sum(shots[name])) for name in parts.tracks
        ),
        shared_splits={name: like for name in parts.tracks if (like := TRACKS[name].stories_like)},
        no_training_tracks=tuple(name for name in parts.tracks if TRACKS[name].forbids_ip_training),
        configs=tuple((name, CONFIG_WORDS[name], dict(rows)) for name, rows in num_rows.items()),
        reference_licences=_count([one.license for one in parts.references]),
        attributions=tuple(sorted({one.attribution for one in parts.references if one.attribution})),
        num_characters=len({one.character_id for one in parts.references}),
        tasks=tuple((task, words) for task, (_, words) in task_ids(("main",), has_truth=bool(parts.truth)).items()),
        evaluation_framework=EVALUATION_FRAMEWORK,
    )


def _count(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    return tuple((name, names.count(name)) for name in sorted(set(names)))


def _revision(parts: BenchmarkParts) -> str:
    """Return the hash of what a system is asked for; libraries and file formats have no say in it."""
    rows = rows_of(parts.stories)
    pictures = [(one.character_id, hashlib.sha256(one.image).hexdigest()) for one in parts.references]
    text = json.dumps([parts.tracks, [story.track for story in parts.stories], rows, pictures], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _write_manifest(parts: BenchmarkParts, folder: Path, num_rows: Mapping[str, Mapping[str, int]]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {
        "format": _FORMAT,
        "version": 1,
        "id": parts.benchmark_id,
        "revision": _revision(parts),
        "title": parts.title,
        "kind": parts.kind,
        "license": parts.license,
        "writer": parts.writer,
        "tracks": list(parts.tracks),
        "num_rows": num_rows,
        "settings": dict(parts.settings),
        "reference_licences": dict(_count([one.license for one in parts.references])),
        "library_versions": _library_versions(),
        "files": {str(path.relative_to(folder)): _sha256(path) for path in files},
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")


def _library_versions() -> dict[str, str]:
    found = {"animeshooter_hf": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # installed under another name, as opencv may be
            continue
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
