"""One file of the feature store: a safetensors file with a checksum for every tensor in it.

Tensors are named KEY/PART. The header says where each lies, of which kind each key is and what its checksum must be,
so a file stands for itself, and no index can disagree with it. A file that was cut off, or whose header cannot be read,
is no shard; a tensor that does not match its checksum is not given out.
"""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

__all__ = ["DTYPES", "ShardEntry", "pack_shard", "read_header", "read_tensor"]

DTYPES: dict[str, torch.dtype] = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U8": torch.uint8,
    "I64": torch.int64,
    "I32": torch.int32,
    "BOOL": torch.bool,
}
"""What can be kept, by the names of safetensors."""

_FORMAT = "animeshooter-features-1"
_LARGEST_HEADER = 100 << 20
_NAMES = {kind: name for name, kind in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies in its file."""

    dtype: str
    """Name of its type, one of `DTYPES`."""

    shape: tuple[int, ...]
    """Its shape."""

    start: int
    """First byte in the file."""

    num_bytes: int
    """How many there are."""

    checksum: int
    """CRC-32 of type, shape and bytes."""


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """What a file holds under one key."""

    kind: str
    """What it is, such as "latents"."""

    parts: Mapping[str, TensorPlace]
    """Name -> where that tensor lies."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(place.num_bytes for place in self.parts.values())


def pack_shard(entries: Mapping[str, tuple[str, Mapping[str, Tensor]]]) -> bytes:
    """Return the bytes of a file.

    Args:
        entries: Key -> (kind, name -> tensor); tensors lie on the CPU, without gaps.
    """
    tensors = {f"{key}/{part}": tensor for key, (_, parts) in entries.items() for part, tensor in parts.items()}
    checksums = {
        name: _checksum(_NAMES[tensor.dtype], tensor.shape, _bytes_of(tensor)) for name, tensor in tensors.items()
    }
    metadata = {
        "format": _FORMAT,
        "kinds": json.dumps({key: kind for key, (kind, _) in entries.items()}),
        "checksums": json.dumps(checksums),
    }
    return save(tensors, metadata)


def read_header(path: Path) -> dict[str, ShardEntry] | None:
    """Return key -> entry of a file, or None if it is cut off or damaged; tensors are not read."""
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(whole, _LARGEST_HEADER):
                return None
            header = json.loads(file.read(length))
        return _entries(header, 8 + length, whole)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        return None


def read_tensor(file: int, place: TensorPlace) -> Tensor | None:
    """Return a tensor of an open file, or None if it is damaged.

    Args:
        file: A file descriptor.
        place: Where it lies.
    """
    data = bytearray(os.pread(file, place.num_bytes, place.start))
    if len(data) != place.num_bytes or _checksum(place.dtype, place.shape, data) != place.checksum:
        return None
    kind = DTYPES[place.dtype]
    return torch.frombuffer(data, dtype=kind).reshape(place.shape) if data else torch.empty(place.shape, dtype=kind)


def _entries(header: Mapping[str, Any], start: int, whole: int) -> dict[str, ShardEntry] | None:
    about = header["__metadata__"]
    kinds, checksums = json.loads(about["kinds"]), json.loads(about["checksums"])
    parts: dict[str, dict[str, TensorPlace]] = {key: {} for key in kinds}
    end = start
    for name, one in header.items():
        if name == "__metadata__":
            continue
        key, part = name.split("/")
        first, last = (start + int(offset) for offset in one["data_offsets"])
        end = max(end, last)
        parts[key][part] = TensorPlace(one["dtype"], tuple(one["shape"]), first, last - first, checksums[name])
    if about["format"] != _FORMAT or end != whole or not all(parts.values()):
        return None
    return {key: ShardEntry(kinds[key], places) for key, places in parts.items()}


def _bytes_of(tensor: Tensor) -> memoryview:
    return tensor.flatten().view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def _checksum(dtype: str, shape: tuple[int, ...], data: bytes | bytearray | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(f"{dtype} {tuple(shape)}".encode()))
