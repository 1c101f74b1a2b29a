"""What one decoding pass over a film gives, and how it is kept.

Time is exact: a frame is its ordinal, and its presentation time stamp stands in `FilmScan.index`. Ranges are half-open
and absolute in the film; seconds are derived. A scan is written as one file (`save`), so that no later stage decodes
the film again to look at it: a zip of arrays and JPEGs, the same bytes for the same scan.
"""

import io
import json
import os
import zipfile
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundFeatures
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import FrameIndex

__all__ = ["Boundary", "BoundaryKind", "FilmScan", "SampledFrame"]

BoundaryKind = Literal["cut", "fade", "dissolve"]

_FORMAT = "animeshooter-film-scan"
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Boundary:
    """The start of a shot inside a film."""

    frame: int
    """First frame of the new shot; in a transition its middle."""

    score: float
    """How sure the detector is; its own scale."""

    kind: BoundaryKind = "cut"
    """How the picture changes."""

    start_frame: int
    """First frame that the transition touches; equal to `frame` for a cut."""

    end_frame: int
    """Frame after the last one that it touches; equal to `frame` for a cut."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampledFrame:
    """One frame that was kept as a picture."""

    frame: int
    """Ordinal in the film."""

    jpeg: bytes
    """The picture at full size (or at the largest side that the settings allow)."""

    phash: int
    """64-bit perceptual hash of the picture."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FilmScan:
    """What one pass over a film gives."""

    width: int
    """Of the film, in pixels."""

    height: int
    """Of the film, in pixels."""

    index: FrameIndex
    """When each frame is shown: time stamps, time base, key frames."""

    boundaries: tuple[Boundary, ...]
    """Where shots begin, in order; the first frame of the film is not among them."""

    curve: NDArray[np.float32]
    """Boundary score of every frame, shape (frames,)."""

    samples: tuple[SampledFrame, ...]
    """About one frame per second, more in short films (at least 16 where there are as many), in order."""

    detector: str
    """Which detector found the boundaries, with its version."""

    sound: SoundFeatures | None = None
    """Features of the sound; None where the film has none."""

    problems: tuple[str, ...] = field(default_factory=tuple)
    """What was odd but did no harm, as `code: detail`."""

    @property
    def num_frames(self) -> int:
        """Frames of the film."""
        return len(self.index)

    def save(self, path: Path) -> None:
        """Write the scan as one file, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {
            "pts": self.index.pts,
            "key_frames": self.index.key_frames,
            "curve": self.curve,
        }
        if self.sound is not None:
            arrays |= {f"sound/{name}": values for name, values in self.sound.arrays.items()}
        told = {
            "format": _FORMAT,
            "version": 1,
            "width": self.width,
            "height": self.height,
            "time_base": str(self.index.time_base),
            "boundaries": [asdict(one) for one in self.boundaries],
            "samples": [[one.frame, f"{one.phash:016x}"] for one in self.samples],
            "detector": self.detector,
            "hop_seconds": None if self.sound is None else self.sound.hop_seconds,
            "problems": list(self.problems),
        }
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        try:
            with zipfile.ZipFile(partial, "w") as file:
                _add(file, "scan.json", json.dumps(told).encode(), zipfile.ZIP_DEFLATED)
                for name, values in arrays.items():
                    buffer = io.BytesIO()
                    np.save(buffer, values, allow_pickle=False)
                    _add(file, f"{name}.npy", buffer.getvalue(), zipfile.ZIP_DEFLATED)
                for sample in self.samples:
                    _add(file, f"samples/{sample.frame}.jpg", sample.jpeg, zipfile.ZIP_STORED)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> "FilmScan":
        """Return the scan in a file.

        Raises:
            InputError: If the file is missing, damaged, or no scan.
        """
        try:
            with zipfile.ZipFile(path) as file:
                told = json.loads(file.read("scan.json"))
                if told.get("format") != _FORMAT or told.get("version") != 1:
                    raise InputError(f"{path} is no scan of a film, or one of another version.")
                arrays = {
                    name[: -len(".npy")]: np.load(io.BytesIO(file.read(name)), allow_pickle=False)
                    for name in file.namelist()
                    if name.endswith(".npy")
                }
                samples = tuple(
                    SampledFrame(frame=frame, jpeg=file.read(f"samples/{frame}.jpg"), phash=int(phash, 16))
                    for frame, phash in told["samples"]
                )
        except FileNotFoundError as error:
            raise InputError(f"There is no scan {path}.") from error
        except (OSError, zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"The scan {path} is damaged.") from error
        sound = {name.removeprefix("sound/"): values for name, values in arrays.items() if name.startswith("sound/")}
        return cls(
            width=told["width"],
            height=told["height"],
            index=FrameIndex(arrays["pts"], Fraction(told["time_base"]), arrays["key_frames"]),
            boundaries=tuple(Boundary(**one) for one in told["boundaries"]),
            curve=arrays["curve"],
            samples=samples,
            detector=told["detector"],
            sound=SoundFeatures(hop_seconds=told["hop_seconds"], arrays=sound) if told["hop_seconds"] else None,
            problems=tuple(told["problems"]),
        )


def _add(file: zipfile.ZipFile, name: str, content: bytes, method: int) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = method
    file.writestr(entry, content)
