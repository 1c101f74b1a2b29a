"""The manifest of a dataset folder: what its files hold, by what they were made, and what may be done with them.

From it alone the card, the Croissant file and the statistics' table can be written anew, so whoever rewrites a shard
(a takedown, a publication without pixels) needs nothing else. It holds no date and no path of a machine: the same
stories give the same manifest.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from animeshooter_hf._version import __version__
from animeshooter_hf.cards.dataset_card import CardFacts, ConfigFacts
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS

__all__ = ["MANIFEST_FILE", "MANIFEST_FORMAT", "DatasetManifest", "ShardFacts", "library_versions"]

MANIFEST_FILE = "manifest.json"
"""Its name in the folder."""

MANIFEST_FORMAT = "animeshooter-dataset"
"""What the manifest of a folder of ours says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFacts:
    """One Parquet file."""

    path: str
    """Relative to the dataset's folder, such as "stories/train-00000-of-00001.parquet"."""

    num_rows: int
    """Rows."""

    num_bytes: int
    """Size of the file."""

    sha256: str
    """Hash of the file."""

    memory_bytes: int = 0
    """Size of its rows in Arrow."""

    @property
    def config(self) -> str:
        """The config it belongs to."""
        return self.path.split("/")[0]

    @property
    def split(self) -> str:
        """The split it belongs to."""
        return self.path.split("/")[-1].split("-")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetManifest:
    """What a dataset folder is made of."""

    shards: tuple[ShardFacts, ...]
    """Its Parquet files, config by config in the order of the card, then split by split."""

    splits: Mapping[str, Sequence[str]]
    """Split -> the videos in it."""

    split_seed: int = 0
    """What decided which videos are held out."""

    card: CardFacts = field(default_factory=CardFacts)
    """What the card says beside what the data tell."""

    rights: Mapping[str, VideoRights] = field(default_factory=dict)
    """Video -> what is known of its rights; a video that is not there is unknown."""

    rights_policy: str | None = None
    """With which policy it was published; None in a folder that was not."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """By what it was made: stages with versions, settings and hashes of prompts; models."""

    skipped: tuple[tuple[str, str], ...] = ()
    """(shot, reference or story, why it has no media row)."""

    tool: str = f"animeshooter-hf {__version__}"
    """Which version of ours wrote it."""

    libraries: Mapping[str, str] = field(default_factory=dict)
    """Library -> version."""

    def configs(self) -> list[ConfigFacts]:
        """Return what was written of each config, as the card shows it."""
        found: list[ConfigFacts] = []
        for config, features in CONFIGS.items():
            files = [shard for shard in self.shards if shard.config == config]
            rows: dict[str, int] = {}
            sizes: dict[str, int] = {}
            for shard in files:
                rows[shard.split] = rows.get(shard.split, 0) + shard.num_rows
                sizes[shard.split] = sizes.get(shard.split, 0) + shard.memory_bytes
            if files:
                download = sum(shard.num_bytes for shard in files)
                found.append(
                    ConfigFacts(name=config, features=features, num_rows=rows, num_bytes=sizes, download_bytes=download)
                )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values."""
        return {
            "format": MANIFEST_FORMAT,
            "version": 2,
            "tool": self.tool,
            "libraries": dict(self.libraries),
            "provenance": dict(self.provenance),
            "card": asdict(self.card),
            "rights_policy": self.rights_policy,
            "rights": [self.rights[name].to_row() for name in sorted(self.rights)],
            "split_seed": self.split_seed,
            "splits": {split: list(videos) for split, videos in self.splits.items()},
            "shards": [
                {
                    "path": shard.path,
                    "rows": shard.num_rows,
                    "bytes": shard.num_bytes,
                    "memory_bytes": shard.memory_bytes,
                    "sha256": shard.sha256,
                }
                for shard in self.shards
            ],
            "skipped": [{"what": what, "reason": reason} for what, reason in self.skipped],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DatasetManifest":
        """Return the manifest of plain JSON values, of this version or of version 1, which knew less.

        Raises:
            InputError: If it is no manifest of ours.
        """
        try:
            if data["format"] != MANIFEST_FORMAT:
                raise InputError("The manifest is not one of ours.")
            shards = tuple(
                ShardFacts(
                    path=shard["path"],
                    num_rows=shard["rows"],
                    num_bytes=shard["bytes"],
                    sha256=shard["sha256"],
                    memory_bytes=shard.get("memory_bytes", 0),
                )
                for shard in data["shards"]
            )
            rights = [VideoRights.from_row(row) for row in data.get("rights", [])]
            return cls(
                shards=shards,
                splits=data["splits"],
                split_seed=data.get("split_seed", 0),
                card=CardFacts(**data.get("card", {})),
                rights={one.video_id: one for one in rights},
                rights_policy=data.get("rights_policy"),
                provenance=data.get("provenance", {}),
                skipped=tuple((one["what"], one["reason"]) for one in data.get("skipped", [])),
                tool=data["tool"],
                libraries=data.get("libraries", {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The manifest cannot be understood: {error}.") from error

    @classmethod
    def read(cls, folder: Path) -> "DatasetManifest":
        """Return the manifest of a folder.

        Raises:
            InputError: If the folder has none of ours.
        """
        try:
            data = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} is no dataset folder: it has no manifest of ours.") from error
        return cls.from_json(data)

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"
        (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")

    def with_shards(self, shards: Sequence[ShardFacts]) -> "DatasetManifest":
        """Return the same manifest with other files."""
        return replace(self, shards=tuple(shards))


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide what the files look like."""
    return {name: metadata.version(name) for name in ("av", "datasets", "numpy", "pyarrow")}
