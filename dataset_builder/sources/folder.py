"""Find films, and say of each that cannot be used why."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from animeshooter_hf.errors import InputError
from animeshooter_hf.video import VideoInfo, probe

__all__ = ["FILM_SUFFIXES", "FilmSource", "RefusedFilm", "find_films"]

FILM_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts")
"""Suffixes that are taken for films in a folder."""

MAX_SECONDS = 20 * 60
"""Longer films are left out. Paper: 20 minutes."""

_SAFE_ID = re.compile(r"[\w][\w.@ +-]{0,127}|-[\w-]{1,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmSource:
    """A film that can be read."""

    video_id: str
    """The file's name without its suffix."""

    path: Path
    """The file."""

    info: VideoInfo
    """What it says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFilm:
    """A film that was left out."""

    path: Path
    """The file."""

    reason: str
    """One sentence."""


def find_films(paths: Sequence[Path]) -> tuple[list[FilmSource], list[RefusedFilm]]:
    """Return the films of files and folders, and those that cannot be used; one bad film harms no other.

    Raises:
        InputError: If a path does not exist, a folder holds no film, or not one film can be used.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.")
        found = (
            sorted(one for one in path.iterdir() if one.suffix.lower() in FILM_SUFFIXES) if path.is_dir() else [path]
        )
        if not found:
            raise InputError(f"The folder {path} holds no film ({', '.join(FILM_SUFFIXES)}).")
        files += found
    films: dict[str, FilmSource] = {}
    refused: list[RefusedFilm] = []
    for file in files:
        try:
            films.setdefault(file.stem, _open(file, films))
        except InputError as error:
            refused.append(RefusedFilm(path=file, reason=str(error)))
    if not films:
        more = f" (and {len(refused) - 1} more films)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0].reason}{more}")
    return sorted(films.values(), key=lambda film: film.video_id), refused


def _open(file: Path, films: dict[str, FilmSource]) -> FilmSource:
    if not _SAFE_ID.fullmatch(file.stem):
        raise InputError(f"The name of {file} cannot serve as an ID; use letters, digits, '-', '_' and '.'.")
    if file.stem in films:
        raise InputError(f"{file} has the same name as {films[file.stem].path}.")
    info = probe(file)
    if info.duration_seconds > MAX_SECONDS:
        raise InputError(
            f"{file} lasts {info.duration_seconds / 60:.0f} minutes; more than {MAX_SECONDS // 60} are left out."
        )
    return FilmSource(video_id=file.stem, path=file, info=info)
