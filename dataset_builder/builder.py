"""`AnimeShooterBuilder`: the dataset as a `datasets` builder, straight over a release or over a dataset folder.

A published dataset needs none of this: plain `load_dataset` opens it. The builder is for what has not been packaged
yet, such as the release's zip, and for one call that works on both.

The cache of `datasets` knows a builder by its code and the path it was given, not by what lies there; so the state of
every input (name, size, time of change) goes into the cache key, and a changed folder is never served stale.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pyarrow.parquet as pq

from animeshooter_hf._version import __version__
from animeshooter_hf.dataset_builder.package import SPLITS, SplitSettings, is_dataset_folder, split_videos
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.errors import InputError
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.takedown import TakedownList

__all__ = ["AnimeShooterBuilder"]

_ROWS_AT_ONCE = 16


class AnimeShooterBuilder(datasets.GeneratorBasedBuilder):
    """Builds the four configs from `data_dir`.

    `data_dir` is a dataset folder (as `animeshooter build`, `ingest` and `publish` write it), which has every config it
    holds, or the public release (a JSON file, a folder of them, or the zip), which has `stories`. Stories of its
    `takedown.txt`, and those of the list `takedown`, are left out.

    Example:
        builder = AnimeShooterBuilder(config_name="stories", data_dir="dataset_anime_shooter.zip")
        builder.download_and_prepare()
        stories = builder.as_dataset(split="train")
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar[list[datasets.BuilderConfig]] = [datasets.BuilderConfig(name=name) for name in CONFIGS]
    DEFAULT_CONFIG_NAME = "stories"

    def __init__(
        self,
        *args: Any,
        data_dir: str | Path | None = None,
        hash: str | None = None,  # noqa: A002
        takedown: TakedownList | str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Take what `datasets.DatasetBuilder` takes; `data_dir` must be there.

        Raises:
            InputError: If `data_dir` is missing, is neither a dataset folder nor a release, or a takedown list cannot
                be read or understood.
        """
        if data_dir is None or not Path(data_dir).exists():
            raise InputError(f"data_dir must be a release or a dataset folder, got {data_dir}.")
        self._source = Path(data_dir)
        self._takedown = TakedownList.read_beside(self._source if self._source.is_dir() else self._source.parent)
        if takedown is not None:
            given = takedown if isinstance(takedown, TakedownList) else TakedownList.read(takedown)
            self._takedown = self._takedown.merge(given)
        key = hash or _fingerprint(self._source)
        if self._takedown:
            key = hashlib.sha256(f"{key} {self._takedown.fingerprint()}".encode()).hexdigest()
        super().__init__(*args, data_dir=str(data_dir), hash=key, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        features = CONFIGS[self.config.name]
        stored = {
            name: _StoredAudio(sampling_rate=kind.sampling_rate) if isinstance(kind, datasets.Audio) else kind
            for name, kind in features.items()
        }
        return datasets.DatasetInfo(features=datasets.Features(stored))

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if is_dataset_folder(self._source):
            parts = {split: sorted((self._source / self.config.name).glob(f"{split}-*.parquet")) for split in SPLITS}
            found = {split: [str(path) for path in paths] for split, paths in parts.items() if paths}
            if not found:
                raise InputError(f"{self._source} holds no {self.config.name}.")
            return [datasets.SplitGenerator(name=split, gen_kwargs={"files": paths}) for split, paths in found.items()]
        if self.config.name != "stories":
            raise InputError(
                f"A release holds annotations only, so it has no {self.config.name}. "
                "Cut its videos first with: animeshooter ingest PATH --videos DIR --out OUT"
            )
        videos = split_videos((story["video_id"] for story in self._read_release()), SplitSettings())
        return [datasets.SplitGenerator(name=split, gen_kwargs={"videos": names}) for split, names in videos.items()]

    def _generate_examples(
        self, files: list[str] | None = None, videos: list[str] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        if files is not None:
            batches = (batch for path in files for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE))
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from enumerate(row for row in rows if not self._takedown.hits_row(row))
            return
        wanted = set(videos or ())
        yield from enumerate(story for story in self._read_release() if story["video_id"] in wanted)

    def _read_release(self) -> Iterator[dict[str, Any]]:
        from animeshooter_hf.dataset_builder.release.files import iter_release_files
        from animeshooter_hf.dataset_builder.release.reader import read_release_files

        log = ProblemLog()
        for _, story in read_release_files(iter_release_files(self._source, log), log):
            if not self._takedown.hits_story(story.story_id, story.video_id):
                yield story.to_json()


class _StoredAudio(datasets.Audio):
    """The audio feature for sound that is encoded already.

    `datasets` asks for torchcodec even to take over finished bytes. In every other respect it is `Audio`.
    """

    def encode_example(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict) and value.get("bytes") is not None:
            return {"bytes": value["bytes"], "path": value.get("path")}
        encoded: dict[str, Any] = super().encode_example(value)
        return encoded

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datasets.Audio) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


def _fingerprint(source: Path) -> str:
    """Return a hash of our version and of the name, size and time of change of every input."""
    digest = hashlib.sha256(f"{__version__} {sorted(CONFIGS)}".encode())
    paths = sorted(source.rglob("*")) if source.is_dir() else [source]
    for path in paths:
        if path.is_file():
            state = path.stat()
            digest.update(f"{path.relative_to(source.parent)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
