"""A project file: a story's state, folder and all, as one zip. Whoever uploads one may have written it by hand.

    state.json    references/*.png    shots/*/*.png        as in state.py; a zip of the folder itself does as well

Reading refuses names that lead elsewhere, files that are no part of a project, archives or pictures that would fill the
disk or the memory, and states of another kind, each with one sentence and before anything is decoded.
"""

import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.state import StoryState

__all__ = ["ProjectLimits", "open_project", "pack_project"]

_PART = re.compile(r"state\.json|references/[\w.-]{1,80}\.png|shots/[\w-]{1,80}/\d{4,6}\.png", re.ASCII)
_PNG_HEAD = struct.Struct(">8s4x4sII")
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectLimits:
    """How large a project may be. Our choice: 64 shots of 81 frames at 480 x 720 fit."""

    num_files: int = 12_000
    """Files in the zip."""

    num_bytes: int = 4 << 30
    """All files, unpacked."""

    state_bytes: int = 8 << 20
    """`state.json`."""

    frame_pixels: int = 4096 * 4096
    """Largest picture."""

    total_pixels: int = 2_000_000_000
    """All pictures that the state names, since they are held in memory."""


def pack_project(state: StoryState, folder: Path, path: Path) -> Path:
    """Write a state to a zip and return its path; the same state gives the same bytes.

    Args:
        state: What to write.
        folder: Where the state is written first, as `StoryState.save` does; shots that stand there are kept.
        path: The zip.
    """
    state.save(folder)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(_files_of(json.loads((folder / "state.json").read_text(encoding="utf-8")))):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), (folder / name).read_bytes())
    partial.replace(path)
    return path


def _files_of(data: Mapping[str, Any]) -> set[str]:
    """Return what a state written by ourselves names; what earlier states left in the folder stays behind."""
    frames = {f"{shot['frames']}/{number:04d}.png" for shot in data["shots"] for number in range(shot["num_frames"])}
    return {"state.json", *frames, *(name for names in data["references"].values() for name in names)}


def open_project(path: Path, into: Path, limits: ProjectLimits | None = None) -> StoryState:
    """Unpack a project file into an empty folder and return its state.

    Args:
        path: The zip.
        into: A folder that exists and is empty.
        limits: How large it may be.

    Raises:
        InputError: If it is no project file, leads outside, is too large, or is broken.
    """
    limits = limits or ProjectLimits()
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, limits)
            for name, info in members.items():
                _unpack(archive, info, into / name, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        # RuntimeError is what zipfile raises for an encrypted member.
        raise InputError("This is no project file: the zip cannot be read.") from error
    _check_pixels(into, limits)
    try:
        return StoryState.load(into)
    except InputError as error:
        # The visitor has no use for where it was unpacked.
        raise InputError(f"The project cannot be opened: {str(error).replace(str(into) + '/', '')}") from error
    except OverflowError as error:
        raise InputError("The project cannot be opened: state.json holds a number that is too large.") from error


def _members(archive: zipfile.ZipFile, limits: ProjectLimits) -> dict[str, zipfile.ZipInfo]:
    """Return name -> member, relative to the folder in which state.json lies, after checking every name and size."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    if len(files) > limits.num_files:
        raise InputError(f"The project holds {len(files)} files; at most {limits.num_files} are possible.")
    total = sum(info.file_size for info in files)
    if total > limits.num_bytes:
        raise InputError(f"The project unpacks to {total:,} bytes; at most {limits.num_bytes:,} are possible.")
    tops = [PurePosixPath(info.filename).parent for info in files if info.filename.split("/")[-1] == "state.json"]
    if len(tops) != 1:
        raise InputError("This is no project file: there must be one state.json in the zip.")
    top = "" if str(tops[0]) == "." else f"{tops[0]}/"
    members: dict[str, zipfile.ZipInfo] = {}
    for info in files:
        name = info.filename.removeprefix(top)
        if not info.filename.startswith(top) or _PART.fullmatch(name) is None:
            raise InputError(f"The project holds a file that is no part of a project: {info.filename[:80]!r}.")
        if name in members:
            raise InputError(f"The project holds the file {name} twice.")
        members[name] = info
    if members["state.json"].file_size > limits.state_bytes:
        raise InputError(f"The project's state.json is larger than {limits.state_bytes:,} bytes.")
    return members


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, limits: ProjectLimits) -> None:
    """Write one member; a picture's size is looked at before the rest of it is read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as packed, target.open("xb") as unpacked:
        if target.suffix == ".png":
            head = packed.read(_PNG_HEAD.size)
            width, height = _png_size(head, info.filename)
            if width * height > limits.frame_pixels:
                raise InputError(f"The project's picture {info.filename} is {width}x{height}, which is too large.")
            unpacked.write(head)
        while part := packed.read(_CHUNK):
            unpacked.write(part)


def _png_size(head: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) of a PNG's first bytes."""
    if len(head) == _PNG_HEAD.size:
        mark, kind, width, height = _PNG_HEAD.unpack(head)
        if mark == b"\x89PNG\r\n\x1a\n" and kind == b"IHDR":
            return width, height
    raise InputError(f"The project's picture {name} is no PNG.")


def _check_pixels(folder: Path, limits: ProjectLimits) -> None:
    """Refuse a state that names pictures so many, so large or so often that they do not fit into memory."""
    try:
        data = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError("The project's state.json is no JSON that can be read.") from error
    try:
        shots = [(f"{shot['frames']}/", int(shot["num_frames"])) for shot in data["shots"]]
        references = [str(name) for names in data["references"].values() for name in names]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise InputError("This is no project file: state.json is not a story's state.") from error
    for named in (len(references), len(shots), *(count for _, count in shots)):
        if named > limits.num_files:
            raise InputError(f"The project's state.json names {named:,} pictures in one place, which are too many.")
    pixels = sum(_pixels(folder, name) for name in references)
    # A shot may be named again and again, in vain or to do harm; it is held in memory each time.
    of_shot = {
        (place, count): sum(_pixels(folder, f"{place}{number:04d}.png") for number in range(count))
        for place, count in set(shots)
    }
    pixels += sum(of_shot[shot] for shot in shots)
    if pixels > limits.total_pixels:
        raise InputError(f"The project has {pixels:,} pixels in all; at most {limits.total_pixels:,} are possible.")


def _pixels(folder: Path, name: str) -> int:
    """Return the number of pixels of a picture that the state names."""
    if _PART.fullmatch(name) is None or not (folder / name).is_file():
        raise InputError(f"The project's state.json names a picture that the project does not hold: {name!r:.80}.")
    with (folder / name).open("rb") as picture:
        width, height = _png_size(picture.read(_PNG_HEAD.size), name)
    return width * height
