"""Write files that are complete or not there, and say early where none can be written."""

import os
import tempfile
from pathlib import Path

from animeshooter_hf.errors import InputError

__all__ = ["check_writable", "write_bytes_atomically", "write_text_atomically"]


def check_writable(path: Path) -> None:
    """Refuse a place for results before anything is computed.

    Raises:
        InputError: If it is a folder, or its folder cannot be made or written.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file, such as {path / 'results.json'}.")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {folder} is no folder that can be written to.")


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file by way of a temporary sibling, so that it is complete or not there.

    Raises:
        InputError: If it cannot be written.
    """
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write a file by way of a temporary sibling, so that it is complete or not there.

    Raises:
        InputError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
