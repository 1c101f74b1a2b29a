"""Stories on disk, to be read again in the order of their IDs: packaging needs them sorted and never all at once.

The stories are pickled, compressed one by one and put behind each other in a scratch file that has no name, so that
nothing of it stays when the process is killed. Memory holds the IDs and where each story stands, about 200 bytes.
"""

import itertools
import pickle
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["StorySpool"]

_HEAD_BYTES = 8


class StorySpool:
    """Takes stories in any order and gives them back sorted by ID; a context manager."""

    def __init__(self, out: Path) -> None:
        """Open the scratch file near `out`, in the nearest folder that exists, where there is room for the dataset.

        Raises:
            InputError: If no file can be written there.
        """
        self._out = out
        self._codec = pa.Codec("zstd", compression_level=1)
        self._places: list[tuple[str, str, int, int]] = []
        self._videos: dict[str, str] = {}
        self._end = 0
        near = next(folder for folder in out.absolute().parents if folder.exists())
        try:
            self._file = tempfile.TemporaryFile(dir=near, prefix=f".{out.name}.")  # noqa: SIM115
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> "StorySpool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what could not be written on a full disk is tried again here
            self._file.close()

    def __len__(self) -> int:
        return len(self._places)

    def extend(self, stories: Iterable[Story]) -> None:
        """Take stories, and sort what is there.

        Raises:
            InputError: If two stories share an ID, or the disk is full.
        """
        for story in stories:
            self._add(story)
        try:
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error
        self._places.sort()
        for one, other in itertools.pairwise(self._places):
            if one[0] == other[0]:
                raise InputError(f"Two stories have the ID {one[0]}.")

    def video_ids(self) -> Iterable[str]:
        """Return the videos, each once."""
        return self._videos.keys()

    def stories(self, video_ids: Container[str]) -> Iterator[Story]:
        """Yield the stories of some videos in the order of their IDs."""
        for _, video_id, start, size in self._places:
            if video_id in video_ids:
                self._file.seek(start)
                record = self._file.read(size)
                length = int.from_bytes(record[:_HEAD_BYTES], "little")
                story: Story = pickle.loads(self._codec.decompress(record[_HEAD_BYTES:], length, asbytes=True))
                yield story

    def _add(self, story: Story) -> None:
        plain = pickle.dumps(story, pickle.HIGHEST_PROTOCOL)
        record = len(plain).to_bytes(_HEAD_BYTES, "little") + self._codec.compress(plain, asbytes=True)
        try:
            self._file.write(record)
        except OSError as error:
            raise self._unwritable(error) from error
        video_id = self._videos.setdefault(story.video_id, story.video_id)
        self._places.append((story.story_id, video_id, self._end, len(record)))
        self._end += len(record)

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(f"{self._out} cannot be written: {error.strerror}.")
