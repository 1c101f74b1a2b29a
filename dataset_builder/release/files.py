"""The files of the public release: a JSON, a folder of them, or the zip as it was downloaded.

Members of a zip are read one after the other and never extracted, so their names are only ever shown. An archive that
would unpack to far more than an annotation can be is refused before it is read.
"""

import codecs
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.release.keys import is_same_scalar
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.values import show
from animeshooter_hf.errors import InputError

__all__ = [
    "ParsedJson",
    "ReleaseAddress",
    "ReleaseFile",
    "ReleaseLimits",
    "ReleaseShelf",
    "iter_release_files",
    "list_release_paths",
    "parse_json",
]

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseLimits:
    """How large the release's files may be. Our choice: some hundred times what was seen."""

    file_bytes: int = 64 << 20
    """Largest annotation file. The real ones take 0.1 to 3 MB."""

    total_bytes: int = 256 << 30
    """Most that one zip may unpack to. The real one holds about 20 GB."""

    ratio: int = 200
    """Most that a member may shrink by. Annotations shrink by 3 to 20."""

    ratio_floor_bytes: int = 4 << 20
    """Members below this size may shrink by any ratio."""

    members: int = 2_000_000
    """Most members of one zip. The real one has about thirty thousand."""


@dataclass(frozen=True, slots=True)
class ReleaseAddress:
    """Where an annotation file is found again."""

    name: str
    """Its path as given, below the folder or zip; for reports."""

    source: str
    """The JSON file, or the zip that holds it."""

    member: int | None = None
    """Its position in the zip."""


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One annotation file."""

    name: str
    """Its path as given, below the folder or zip; for reports."""

    content: bytes
    """What it holds."""

    address: ReleaseAddress | None = None
    """Where it was found."""


@dataclass(frozen=True, slots=True)
class ParsedJson:
    """A JSON value; its own class, since the value may be null."""

    value: Any
    """What the text says."""


def iter_release_files(
    path: Path, log: ProblemLog, *, limits: ReleaseLimits | None = None, leave_out: Path | None = None
) -> Iterator[ReleaseFile]:
    """Yield each JSON file of a path: the file itself, those of a folder and its folders, or those of a zip.

    Args:
        path: A `.json`, a `.zip` or a folder that holds some, at any depth.
        log: Where files that cannot be read are reported.
        limits: How large files may be.
        leave_out: A folder that is not looked into, such as the output.

    Raises:
        InputError: If the path is missing, is of another kind, holds no JSON, or is a damaged or hostile zip.
    """
    limits = limits or ReleaseLimits()
    for source in list_release_paths(path, leave_out=leave_out):
        name = source.name if source == path else f"{path.name}/{source.relative_to(path).as_posix()}"
        if source.suffix.lower() == ".zip":
            yield from _iter_zip(source, name, log, limits)
        elif (content := _read_file(source, name, log, limits)) is not None:
            yield ReleaseFile(name, content, ReleaseAddress(name, str(source)))


class ReleaseShelf:
    """Reads single files of a release again, in any order; the zip that was read last stays open."""

    def __init__(self, *, limits: ReleaseLimits | None = None) -> None:
        self._limits = limits or ReleaseLimits()
        self._log = ProblemLog()
        self._path = ""
        self._archive: zipfile.ZipFile | None = None

    def __enter__(self) -> "ReleaseShelf":
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def read(self, address: ReleaseAddress) -> ReleaseFile:
        """Return the file that `iter_release_files` has yielded with this address.

        Raises:
            InputError: If it is no longer there or cannot be read any more.
        """
        content = self._read(address)
        if content is None:
            raise InputError(f"{address.name} has changed while the release was read.")
        return ReleaseFile(address.name, content, address)

    def _read(self, address: ReleaseAddress) -> bytes | None:
        if address.member is None:
            return _read_file(Path(address.source), address.name, self._log, self._limits)
        try:
            if self._archive is None or self._path != address.source:
                self.__exit__()
                self._archive, self._path = zipfile.ZipFile(address.source), address.source
            return _read_member(self._archive, self._archive.infolist()[address.member], address.name, self._log)
        except (OSError, zipfile.BadZipFile, IndexError):
            return None


def list_release_paths(path: Path, *, leave_out: Path | None = None) -> list[Path]:
    """Return the JSON and zip files that a path means, sorted.

    Raises:
        InputError: If there are none.
    """
    try:
        is_there = path.exists()
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{show(str(path))} cannot be read: {error.strerror}.") from error
    if not is_there:
        raise InputError(f"There is no file or folder {path}.")
    if not path.is_dir():
        if path.suffix.lower() not in (".json", ".zip") or not path.is_file():
            raise InputError(f"{path} is neither a .json file, nor a .zip file, nor a folder.")
        return [path]
    outside = None if leave_out is None else leave_out.resolve()
    found: list[Path] = []
    for folder, names, files in os.walk(path):
        here = Path(folder)
        names[:] = sorted(name for name in names if name != "__MACOSX" and (here / name).resolve() != outside)
        found += [here / name for name in files if _is_annotation(name) and (here / name).is_file()]
    if not found:
        raise InputError(f"The folder {path} holds neither .json nor .zip files.")
    return sorted(found)


def parse_json(file: ReleaseFile, log: ProblemLog) -> ParsedJson | None:
    """Return the JSON value of a file, or None if it is broken; keys that occur twice are reported."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) != len(pairs):
            last: dict[str, Any] = {}
            for key, value in pairs:
                if key in last and not is_same_scalar(last[key], value):
                    log.add("duplicate_key", file.name, None, show(key))
                last[key] = value
        return row

    try:
        return ParsedJson(json.loads(_decode(file, log), object_pairs_hook=unique))
    except json.JSONDecodeError as error:
        log.add("broken_json", file.name, None, f"{error.msg} at line {error.lineno}, column {error.colno}")
    except RecursionError:
        log.add("broken_json", file.name, None, "nested too deep")
    except ValueError as error:  # a number of more digits than Python reads
        log.add("broken_json", file.name, None, str(error))
    return None


def _decode(file: ReleaseFile, log: ProblemLog) -> str:
    """Return the text of a file: UTF-8, or UTF-16 and UTF-32 where they are marked or plain to see."""
    encoding = json.detect_encoding(file.content)
    try:
        return file.content.decode(encoding)
    except UnicodeDecodeError as error:
        log.add("not_utf8", file.name, None, f"byte {error.start} is no {codecs.lookup(encoding).name}")
        return file.content.decode(encoding, "replace")


def _is_annotation(name: str) -> bool:
    return name.lower().endswith((".json", ".zip")) and not name.startswith("._")


def _read_file(path: Path, name: str, log: ProblemLog, limits: ReleaseLimits) -> bytes | None:
    try:
        with path.open("rb") as file:
            content = file.read(limits.file_bytes + 1)
    except OSError as error:
        log.add("file_unreadable", name, None, error.strerror or type(error).__name__)
        return None
    if len(content) > limits.file_bytes:
        log.add("file_too_large", name, None, f"more than {limits.file_bytes:,} bytes")
        return None
    return content


def _iter_zip(path: Path, name: str, log: ProblemLog, limits: ReleaseLimits) -> Iterator[ReleaseFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} is not a zip file, or is cut off: {error}.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    with archive:
        members = archive.infolist()
        _refuse_bomb(path, members, limits)
        seen: set[str] = set()
        for position, member in enumerate(members):
            where = f"{name}/{show(member.filename)[1:-1]}"
            if _is_wanted(member, where, seen, log, limits):
                content = _read_member(archive, member, where, log)
                if content is not None:
                    yield ReleaseFile(where, content, ReleaseAddress(where, str(path), position))


def _refuse_bomb(path: Path, members: list[zipfile.ZipInfo], limits: ReleaseLimits) -> None:
    """Refuse an archive that unpacks to far more than its size, before anything is unpacked."""
    if len(members) > limits.members:
        raise InputError(f"{path} is refused as a zip bomb: it holds {len(members):,} files.")
    total = sum(member.file_size for member in members)
    if total > limits.total_bytes:
        raise InputError(f"{path} is refused as a zip bomb: it would unpack to {total:,} bytes.")
    for member in members:
        if member.file_size > limits.ratio_floor_bytes and member.file_size > limits.ratio * member.compress_size:
            raise InputError(
                f"{path} is refused as a zip bomb: {show(member.filename)} would unpack from "
                f"{member.compress_size:,} to {member.file_size:,} bytes."
            )


def _is_wanted(member: zipfile.ZipInfo, where: str, seen: set[str], log: ProblemLog, limits: ReleaseLimits) -> bool:
    """Return whether a member is an annotation that may be read; report it if it is one that may not."""
    parts = member.filename.replace("\\", "/").split("/")
    if parts[-1] == "" or "__MACOSX" in parts or parts[-1].startswith("._"):  # a folder, or a name that is empty
        return False
    if not parts[-1].lower().endswith(".json"):
        return False
    # zipfile cuts names at a null byte; a link's content is only the name of its target.
    if ".." in parts or parts[0] == "" or ":" in parts[0] or member.orig_filename.count("\0"):
        log.add("path_escape", where, None, show(member.orig_filename))
    elif stat.S_ISLNK(member.external_attr >> 16):
        log.add("path_escape", where, None, "a symbolic link")
    elif member.filename in seen:
        log.add("zip_member_repeated", where)
    elif member.file_size > limits.file_bytes:
        log.add("file_too_large", where, None, f"{member.file_size:,} bytes")
    elif member.flag_bits & 0x1:
        log.add("zip_member_damaged", where, None, "encrypted")
    elif member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The other methods cannot be unpacked piece by piece with a limit.
        log.add("zip_member_damaged", where, None, f"packed by method {member.compress_type}")
    else:
        seen.add(member.filename)
        if len(parts) > 1:
            log.add("nested_in_zip", where)
        return True
    return False


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str, log: ProblemLog) -> bytes | None:
    """Return a member's bytes; `zipfile` stops at the declared size, and a wrong one fails its checksum."""
    pieces = []
    try:
        with archive.open(member) as stream:
            while piece := stream.read(_CHUNK):
                pieces.append(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError) as error:
        log.add("zip_member_damaged", where, None, str(error) or type(error).__name__)
        return None
    return b"".join(pieces)
