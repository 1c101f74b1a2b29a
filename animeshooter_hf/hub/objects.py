"""The files of an upload: objects go up in batches before the commit that shows them, each at most once in a run."""

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants

from animeshooter_hf.hub.retry import Retrier, UploadSettings
from animeshooter_hf.hub.state import ContentHashes

__all__ = ["Additions"]


class Additions:
    """Files on their way into a repository; a context manager that closes its progress bar."""

    def __init__(
        self,
        api: Any,
        repo: Mapping[str, str],
        settings: UploadSettings,
        hashes: ContentHashes,
        *,
        progress: bool = True,
    ) -> None:
        self.bytes_sent = 0
        self._api = api
        self._repo = dict(repo)
        self._settings = settings
        self._hashes = hashes
        self._progress = progress
        self._objects: dict[str, tuple[frozenset[str], CommitOperationAdd]] = {}
        self._small: dict[str, CommitOperationAdd] = {}
        self._has_old = False
        self._bar: Any = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def upload(self, files: Mapping[str, Path | bytes], retry: Retrier) -> None:
        """Send what the Hub's store does not have yet, batch by batch; nobody sees it before the commit.

        Small files, which the Hub keeps in Git, only learn here that they will travel in the commit itself.

        Raises:
            InputError: If the Hub refuses for good, or does not answer.
        """
        self._small.clear()
        contents = {path: self._hashes.of(source) for path, source in files.items()}
        known = {path for path, (hashes, _) in self._objects.items() if contents.get(path, (0, None))[1] == hashes}
        self._has_old = bool(known)
        sizes = {path: contents[path][0] for path in files if path not in known}
        self._start_bar(sum(sizes.values()))
        for batch in _batches(sizes, self._settings):
            additions = [self._addition(path, files[path]) for path in batch]
            retry(self._sender(additions))
            for path, addition in zip(batch, additions, strict=True):
                if _is_sent(addition, sizes[path]):
                    self._objects[path] = contents[path][1], addition
                else:
                    self._small[path] = addition
            self._finish_batch(additions, sum(sizes[path] for path in batch))

    def operations(
        self, changed: Sequence[str], deleted: Sequence[str]
    ) -> list[CommitOperationAdd | CommitOperationDelete]:
        """Return the operations of a commit: files that were uploaded before, and deletions."""
        added = [self._small[path] if path in self._small else self._objects[path][1] for path in changed]
        return [*added, *(CommitOperationDelete(path, is_folder=False) for path in deleted)]

    def committed(self, paths: Sequence[str]) -> None:
        """Note that files have been committed; an operation serves once only."""
        for path in paths:
            self._objects.pop(path, None)
            addition = self._small.pop(path, None)
            self.bytes_sent += addition.upload_info.size if addition else 0

    def forget(self) -> bool:
        """Forget what was uploaded for an earlier head; return whether there was anything."""
        had_old, self._has_old = self._has_old, False
        self._objects.clear()
        return had_old

    def _sender(self, additions: list[CommitOperationAdd]) -> Callable[[], None]:
        def send() -> None:
            self._api.preupload_lfs_files(
                additions=additions, num_threads=self._settings.num_threads, free_memory=True, **self._repo
            )

        return send

    def _addition(self, path: str, source: Path | bytes) -> CommitOperationAdd:
        addition = _CountedAddition(path, source)
        addition.count = self._count
        if isinstance(source, Path) and (sha256 := self._hashes.sha256(source)):
            addition.upload_info.sha256 = sha256
        return addition

    def _start_bar(self, total: int) -> None:
        if not self._progress or not total:
            return
        from tqdm.auto import tqdm

        if self._bar is not None:
            self._bar.close()
        self._bar = tqdm(total=total, unit="B", unit_scale=True, desc="upload", leave=False)
        self._done = 0

    def _count(self, num_bytes: int) -> None:
        with self._lock:
            self.bytes_sent += num_bytes
            if self._bar is not None:
                self._bar.update(num_bytes)

    def _finish_batch(self, additions: Sequence[CommitOperationAdd], num_bytes: int) -> None:
        """Set the bar to what is done, whether it was sent, sent twice or there already."""
        if _is_through_xet():
            self.bytes_sent += sum(one.upload_info.size for one in additions if _is_sent(one, one.upload_info.size))
        if self._bar is not None:
            self._done += num_bytes
            self._bar.n = self._done
            self._bar.refresh()


class _CountedAddition(CommitOperationAdd):
    """A file to add that reports each piece of it that is sent."""

    count: Callable[[int], None]

    @contextmanager
    def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
        """Open the file; `with_tqdm` says that it is opened to be sent."""
        if not with_tqdm:
            with super().as_file() as file:
                yield file
            return
        source = self.path_or_fileobj
        raw = io.BytesIO(source) if isinstance(source, bytes) else io.FileIO(str(source))
        with _CountedReader(raw, self.count) as counted:  # type: ignore[arg-type]
            yield counted


class _CountedReader(io.BufferedReader):
    """A reader that reports how many bytes were taken."""

    def __init__(self, raw: io.RawIOBase, count: Callable[[int], None]) -> None:
        super().__init__(raw)
        self._count = count

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        data = super().read(size)
        self._count(len(data))
        return data


def _batches(sizes: Mapping[str, int], settings: UploadSettings) -> Iterator[list[str]]:
    """Yield paths in batches of a limited number and size; a file above the size goes alone."""
    batch: list[str] = []
    total = 0
    for path, size in sizes.items():
        if batch and (len(batch) >= settings.batch_files or total + size > settings.batch_bytes):
            yield batch
            batch, total = [], 0
        batch.append(path)
        total += size
    if batch:
        yield batch


def _is_sent(addition: CommitOperationAdd, size: int) -> bool:
    """Return whether a file has gone up as an object: huggingface_hub has let go of its content then."""
    return size > 0 and addition.path_or_fileobj == b""


def _is_through_xet() -> bool:
    return not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None
