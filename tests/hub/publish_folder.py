"""A small dataset folder with all four configs, and a process that runs `animeshooter publish` on it, for the tests."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "dataset_builder"))
from client_environment import client_environment
from loopback_hub import LoopbackHub, loopback_hub
from loopback_state import Repository
from packaging_stories import Films, story

from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.package_writer import WriterSettings
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.video import write_video

__all__ = [
    "CLOSED",
    "FREE",
    "Answer",
    "Publisher",
    "World",
    "files_at",
    "make_folder",
    "media_bytes",
    "open_world",
    "repository",
]

FREE = ("free-a", "free-b", "free-m")
"""Videos whose pixels may be published."""

CLOSED = "shut-z"
"""A video of whose rights nothing is known."""

_FRAMES = 48


def make_folder(out: Path, *, videos: tuple[str, ...] = (*FREE, CLOSED)) -> Path:
    """Write a dataset of two stories a video, whose shards of `shots` and `audio` hold one story each."""
    films = out.parent / f"{out.name}-films"
    films.mkdir(parents=True)
    for name in videos:
        _write_film(films / f"{name}.mp4", seed=sum(name.encode()))
    rights = {
        name: VideoRights(video_id=name, license="CC0-1.0", basis="public-domain", redistributable=True)
        for name in videos
        if name != CLOSED
    }
    write_dataset(
        out,
        [story(name, segment) for name in videos for segment in (0, 1)],
        media=Films(films),
        rights=rights,
        writer=WriterSettings(row_group_bytes=9_000, shard_bytes=9_000),
        progress=False,
    )
    return out


def media_bytes(folder: Path, video_id: str) -> list[bytes]:
    """Return every clip, picture and sound of a video in a dataset folder."""
    import pyarrow.parquet as pq

    found = []
    for config in ("shots", "references", "audio"):
        for path in sorted((folder / config).glob("*.parquet")):
            for row in pq.ParquetFile(path).read().to_pylist():
                if row["video_id"] == video_id:
                    found += [cell["bytes"] for cell in row.values() if isinstance(cell, dict) and "bytes" in cell]
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run of the verb gave."""

    status: int
    """Exit status."""

    out: str
    """Standard output."""

    error: str
    """The sentence of a refusal."""

    @property
    def data(self) -> Any:
        """What it printed under --json."""
        assert self.status == 0, self.error
        return json.loads(self.out)


class Run:
    """Runs of the verb that were begun."""

    def __init__(self, pipe: Path) -> None:
        self._file = pipe.open()
        self.pids: list[int] = json.loads(self._file.readline())

    def finish(self) -> list[Answer]:
        """Wait for the end and return what each gave that was not killed."""
        with self._file:
            return [Answer(*one) for one in json.loads(self._file.readline()) if one is not None]


class Publisher:
    """Runs the verb, each time in a process of its own; see `publish_client.py`."""

    def __init__(self, hub: LoopbackHub, home: Path, *, xet: bool = False) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._home, self._number = home, 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "publish_client.py")],
            stdin=subprocess.PIPE,
            text=True,
            env=client_environment(hub.url, home, xet=xet),
        )

    def start(self, *runs: tuple[object, ...], token: str = "hf_loopback", typed: str | None = None) -> Run:
        """Begin runs at the same time; on a terminal if something is typed there."""
        self._number += 1
        pipe = self._home / f"{self._number}.answers"
        os.mkfifo(pipe)
        told = {"runs": [([str(word) for word in words], token, typed) for words in runs], "pipe": str(pipe)}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        return Run(pipe)

    def __call__(self, *words: object, token: str = "hf_loopback", typed: str | None = None) -> Answer:
        """Run the verb and return what it gave."""
        return self.start(words, token=token, typed=typed).finish()[0]

    def json(self, *words: object) -> Any:
        """Run the verb under --json and return what it says."""
        return self(*words, "--json").data

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@dataclass(frozen=True, slots=True)
class World:
    """A Hub, a process that publishes and a dataset folder, for many tests; each takes a repository of its own."""

    hub: LoopbackHub
    """The Hub."""

    publish: Publisher
    """Runs the verb."""

    folder: Path
    """A dataset folder that nobody changes."""

    scratch: Path
    """Room for copies of it."""

    def publication(self, name: str) -> str:
        """Publish the folder under a name, with pixels, forget the requests and return the name."""
        self.publish.json(self.folder, name, "--policy", "full")
        self.hub.requests.clear()
        return name

    def copy(self) -> Path:
        """Return a copy of the folder that may be changed."""
        return Path(shutil.copytree(self.folder, Path(tempfile.mkdtemp(dir=self.scratch)) / "data"))


@contextmanager
def open_world(scratch: Path) -> Iterator[World]:
    """Make a world for the time of the block."""
    with loopback_hub(scratch / "hub") as hub:
        publisher = Publisher(hub, scratch / "home")
        try:
            yield World(hub, publisher, make_folder(scratch / "data"), scratch)
        finally:
            publisher.close()


def repository(hub: LoopbackHub, name: str) -> Repository:
    """Return a dataset repository of the Hub."""
    return hub.repositories["dataset", name]


def files_at(hub: LoopbackHub, name: str, revision: str = "main") -> dict[str, bytes]:
    """Return path -> content of a revision."""
    held = repository(hub, name)
    found = held.commits[held.find(revision) or ""]
    return {path: hub.raw(stored, name).read_bytes() for path, stored in found.items()}


def _write_film(path: Path, seed: int) -> None:
    """Write a film whose pictures and sound are like those of no other seed."""
    random = np.random.default_rng(seed)
    colours = random.integers(40, 220, 3, dtype=np.uint8)
    frames = [np.broadcast_to(colours + np.uint8(n % 30), (48, 64, 3)).copy() for n in range(_FRAMES)]
    audio = 0.2 * random.standard_normal((1, _FRAMES * 44_100 // 24)).astype(np.float32)
    write_video(path, frames, Fraction(24), audio=audio, crf=20)
