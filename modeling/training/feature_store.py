"""What frozen encoders have made, on disk: latents, still latents, text states, vision features.

    store = FeatureStore("out/cache")
    store.put(key, "latents", {"mean": mean, "std": std})      # keys are made of marks of contents (content_marks.py)
    store.get(key)                                             # {"mean": ..., "std": ...}, or None

The folder holds safetensors files and nothing that could disagree with them. Each is written beside its place, synced
and renamed, and never changed afterwards, so
  - a run that is killed loses what it had not written yet, and nothing else;
  - any number of runs write at the same time, without a lock;
  - a disk that is full stops the run with a sentence, and what is there stays good.
A file that was cut off, or a value that does not match its checksum, counts as absent and is made again.
"""

import json
import logging
import os
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.feature_shard import DTYPES, ShardEntry, pack_shard, read_header, read_tensor

__all__ = ["FeatureStore", "StoreReport"]

_log = logging.getLogger(__name__)

SHARD_BYTES = 64 << 20
"""A file is written when so much waits. Our choice: about 14 shots of CogVideoX-2B's size."""

SHARD_SECONDS = 60.0
"""Or when the last one was written so long ago: what a killed run loses. Our choice."""

_STALE_SECONDS = 24 * 3600
"""Unfinished files of killed runs are removed after a day; a living run finishes one in seconds."""

_OPEN_FILES = 64
_DAMAGED = "damaged.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreReport:
    """What a store holds."""

    entries: Mapping[str, int]
    """Kind -> how many values."""

    bytes: Mapping[str, int]
    """Kind -> bytes of them."""

    num_files: int
    """Files that can be read."""

    file_bytes: int
    """Bytes of all files, damaged and unfinished ones included."""

    damaged_files: tuple[str, ...]
    """Files that cannot be read; they can be deleted."""

    damaged_entries: int
    """Values that did not match their checksum and have not been made again."""

    def __str__(self) -> str:
        lines = [
            f"{kind:20s} {number:10,d} values {self.bytes[kind] / 2**20:12,.1f} MiB"
            for kind, number in sorted(self.entries.items())
        ]
        lines.append(f"{'in all':20s} {self.num_files:10,d} files  {self.file_bytes / 2**20:12,.1f} MiB")
        if self.damaged_files or self.damaged_entries:
            lines.append(f"damaged: {len(self.damaged_files)} files, {self.damaged_entries} values")
        return "\n".join(lines)


class FeatureStore:
    """A store in a folder. It may be pickled: each process opens files of its own."""

    def __init__(
        self, folder: str | Path, *, shard_bytes: int = SHARD_BYTES, shard_seconds: float = SHARD_SECONDS
    ) -> None:
        """Open the store of a folder, made if it is not there.

        Args:
            folder: Where it stands.
            shard_bytes: How much may wait to be written.
            shard_seconds: How long it may.

        Raises:
            InputError: If the folder cannot be made or written.
            ValueError: If a limit is not positive.
        """
        if shard_bytes < 1 or shard_seconds <= 0:
            raise ValueError(
                f"A file must hold at least a byte and wait for a time, got {shard_bytes}, {shard_seconds}."
            )
        self.folder = Path(folder)
        self._limits = (shard_bytes, shard_seconds)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The cache {self.folder} cannot be made: {error.strerror}.") from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise InputError(f"The cache {self.folder} cannot be written. Name another folder, or go without one.")
        self._index: dict[str, tuple[str, ShardEntry]] = {}
        self._known: dict[str, bool] = {}
        self._refused: set[tuple[str, str]] = set()
        self._waiting: dict[str, tuple[str, dict[str, Tensor]]] = {}
        self._waiting_bytes, self._written = 0, time.monotonic()
        self._files: OrderedDict[str, int] = OrderedDict()
        self._process = os.getpid()
        self._remove_stale()
        self.refresh()

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict(), "_waiting": {}, "_waiting_bytes": 0, "_process": -1}

    def __len__(self) -> int:
        return len(self._index.keys() | self._waiting.keys())

    def __contains__(self, key: str) -> bool:
        return key in self._index or key in self._waiting

    def get(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of a key, or None if they are not there or damaged."""
        if key in self._waiting:
            return dict(self._waiting[key][1])
        if key not in self._index:
            return None
        shard, entry = self._index[key]
        file = self._open(shard)
        if file is None:
            del self._index[key]
            return None
        found = {part: read_tensor(file, place) for part, place in entry.parts.items()}
        whole = {part: tensor for part, tensor in found.items() if tensor is not None}
        if len(whole) < len(found):
            self._refuse(shard, key)
            return None
        return whole

    def put(self, key: str, kind: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep tensors under a key; they are on disk once enough wait, or when `flush` or `close` is called.

        Raises:
            InputError: If the disk is full or refuses to be written.
            ValueError: If a tensor is of a type that cannot be kept, or there is none.
        """
        kept = {part: tensor.detach().cpu().contiguous().clone() for part, tensor in tensors.items()}
        if not kept or any(tensor.dtype not in DTYPES.values() for tensor in kept.values()):
            raise ValueError(f"There must be tensors of the types {', '.join(DTYPES)}, got "
                             f"{ {part: str(tensor.dtype) for part, tensor in kept.items()} }.")  # fmt: skip
        self._waiting[key] = (kind, kept)
        self._waiting_bytes += sum(tensor.nbytes for tensor in kept.values())
        if self._waiting_bytes >= self._limits[0] or time.monotonic() - self._written > self._limits[1]:
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            InputError: If the disk is full or refuses to be written; what waits is still there.
        """
        self._written = time.monotonic()
        if not self._waiting:
            return
        # The newest file of a key is the one that counts, so that what is made again wins over what is damaged.
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.safetensors"
        partial = self.folder / f".{name}.partial"
        try:
            with partial.open("wb") as file:
                file.write(pack_shard(self._waiting))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.folder / name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(
                f"The cache {self.folder} cannot be written: {error.strerror}. What it held before is unharmed; make "
                "room or name another folder, and run the same command again."
            ) from error
        self._add(name)
        self._waiting, self._waiting_bytes = {}, 0

    def close(self) -> None:
        """Write what waits, and close all files."""
        self.flush()
        self._close_files()

    def refresh(self) -> None:
        """Look for files that other runs have written or removed."""
        try:
            there = {path.name for path in self.folder.glob("*.safetensors")}
        except OSError as error:
            raise InputError(f"The cache {self.folder} cannot be read: {error.strerror}.") from error
        self._refused = self._read_refused()
        for name in self._known.keys() - there:
            del self._known[name]
        self._index = {key: one for key, one in self._index.items() if one[0] in self._known}
        for name in sorted(there - self._known.keys()):
            self._add(name)
        for shard, key in self._refused:
            if self._index.get(key, ("", None))[0] == shard:
                del self._index[key]

    def verify(self) -> int:
        """Read every value and return how many were damaged; they count as absent from then on."""
        keys = list(self._index)
        return sum(key not in self._waiting and self.get(key) is None for key in keys)

    def rebuild(self) -> None:
        """Remove all that is kept, so that everything is made again."""
        self._close_files()
        self._waiting, self._waiting_bytes = {}, 0
        for path in [*self.folder.glob("*.safetensors"), *self.folder.glob(".*.partial"), self.folder / _DAMAGED]:
            path.unlink(missing_ok=True)
        self.refresh()

    def remove_unused(self, used: Iterable[str]) -> int:
        """Remove the files that hold none of these keys, such as those of an earlier model, and return their bytes."""
        self.flush()
        wanted = {self._index[key][0] for key in used if key in self._index}
        freed = 0
        for name in [one for one in self._known if one not in wanted]:
            freed += _size_of(self.folder / name)
            (self.folder / name).unlink(missing_ok=True)
        self._close_files()
        self.refresh()
        return freed

    def report(self) -> StoreReport:
        """Return what is on disk, by kind."""
        entries: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for _, entry in self._index.values():
            entries[entry.kind] += 1
            sizes[entry.kind] += entry.num_bytes
        files = [*self.folder.glob("*.safetensors"), *self.folder.glob(".*.partial")]
        return StoreReport(
            entries=dict(entries),
            bytes=dict(sizes),
            num_files=sum(self._known.values()),
            file_bytes=sum(_size_of(path) for path in files),
            damaged_files=tuple(sorted(name for name, is_whole in self._known.items() if not is_whole)),
            damaged_entries=sum(key not in self._index for _, key in self._refused),
        )

    def _add(self, name: str) -> None:
        """Take a file into the index."""
        entries = read_header(self.folder / name)
        self._known[name] = entries is not None
        if entries is None:
            _log.warning("The file %s of the cache %s is damaged; what it held is made again.", name, self.folder)
            return
        for key, entry in entries.items():
            if (name, key) not in self._refused and name >= self._index.get(key, ("", None))[0]:
                self._index[key] = (name, entry)

    def _refuse(self, shard: str, key: str) -> None:
        """Note that a value is damaged, for this run and later ones."""
        _log.warning("A value of the cache %s is damaged and is made again.", self.folder)
        self._index.pop(key, None)
        self._refused.add((shard, key))
        try:
            with (self.folder / _DAMAGED).open("a", encoding="utf-8") as file:
                file.write(json.dumps([shard, key]) + "\n")
        except OSError:  # it will be found again
            return

    def _read_refused(self) -> set[tuple[str, str]]:
        try:
            lines = (self.folder / _DAMAGED).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return set()
        found = set()
        for line in lines:
            try:
                shard, key = json.loads(line)
            except (ValueError, TypeError):  # a line that was cut off
                continue
            found.add((str(shard), str(key)))
        return found

    def _open(self, shard: str) -> int | None:
        if self._process != os.getpid():
            self._files, self._process = OrderedDict(), os.getpid()
        if shard in self._files:
            self._files.move_to_end(shard)
            return self._files[shard]
        try:
            self._files[shard] = os.open(self.folder / shard, os.O_RDONLY)
        except OSError:  # another run has removed it
            return None
        while len(self._files) > _OPEN_FILES:
            os.close(self._files.popitem(last=False)[1])
        return self._files[shard]

    def _close_files(self) -> None:
        for file in self._files.values() if self._process == os.getpid() else ():
            os.close(file)
        self._files = OrderedDict()

    def _remove_stale(self) -> None:
        for path in self.folder.glob(".*.partial"):
            try:
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()
            except OSError:  # its run has just finished it
                continue


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
