"""A folder that is whole or not there: written beside its place under a hidden name, and renamed at the end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animeshooter_hf.errors import InputError

__all__ = ["restore_folder", "whole_folder"]


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Give a new, empty folder to write to; when the block ends well it takes the place of `out`.

    If the block fails, or the process is killed, what stood at `out` stays as it was.

    Raises:
        InputError: If the folder cannot be written, because the disk is full for instance.
    """
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        _replace(partial, out)
    except OSError as error:
        if error.errno is None:  # not from the file system: a Hub that does not answer, for instance
            raise
        raise InputError(f"{out} cannot be written: {os.strerror(error.errno)}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def restore_folder(out: Path) -> None:
    """Put the old folder back, if a process was killed between the two renames that replace it."""
    old = _old(out)
    if old.is_dir() and not out.exists():
        old.rename(out)


def _replace(partial: Path, out: Path) -> None:
    """Put the finished folder in its place; the old one is moved aside first and removed last."""
    old = _old(out)
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _old(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")
