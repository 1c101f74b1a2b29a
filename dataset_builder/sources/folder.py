"""Find films in folders, and say of each that cannot be used why.

`list_films` looks at names only and is quick for thousands; `open_film` asks one film what it says of itself. A film
may crash or hang the library that reads it, so a build opens each in a process of its own; `find_films` does both here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from animeshooter_hf.dataset_builder.release.names import unescape_video_id
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import VideoInfo, probe

__all__ = [
    "AVAILABILITY_FILE",
    "FILM_SUFFIXES",
    "MAX_SECONDS",
    "FilmFile",
    "FilmSource",
    "FoundFilms",
    "RefusedFilm",
    "find_films",
    "is_safe_id",
    "list_films",
    "open_film",
]

FILM_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".ts")
"""Suffixes that are taken for films in a folder."""

MAX_SECONDS = 20 * 60.0
"""Longer films are left out unless told otherwise. Paper: 20 minutes."""

AVAILABILITY_FILE = "availability.jsonl"
"""Ledger of the downloader; in a folder that holds one, file names are those of `escape_video_id`."""

_SAFE_ID = re.compile(r"[\w][\w.@ +-]{0,127}|-[\w-]{1,127}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmFile:
    """A file that is taken for a film; nobody has looked into it yet."""

    video_id: str
    """The file's name without its suffix, or the ID that the name stands for."""

    path: Path
    """The file."""

    url: str | None = None
    """Where the video can be found, if that is known."""

    annotation: Path | None = None
    """What a release tells of it, see `release/film_annotation.py`; None for a film that no release tells of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmSource:
    """A film that can be read."""

    video_id: str
    """The file's name without its suffix, or the ID that the name stands for."""

    path: Path
    """The file."""

    info: VideoInfo
    """What it says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedFilm:
    """A film that was left out."""

    path: Path
    """The file; for a film that never came to lie anywhere, the list that named it."""

    reason: str
    """One sentence."""

    video_id: str | None = None
    """Its ID, where it has one that can be used."""

    num_stories: int = 0
    """Stories that a release tells of it, which are left out with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFilms:
    """What a source gave."""

    films: tuple[FilmFile, ...] = ()
    """Films that lie on this machine, in order of their IDs."""

    refused: tuple[RefusedFilm, ...] = field(default_factory=tuple)
    """Those that do not, with the reason."""


def is_safe_id(video_id: str) -> bool:
    """Return whether an ID can name files and rows: letters, digits and a few marks, at most 128 of them."""
    return _SAFE_ID.fullmatch(video_id) is not None


def list_films(paths: Sequence[Path]) -> FoundFilms:
    """Return the films of files and folders by their names alone; none is opened.

    Raises:
        InputError: If a path does not exist or cannot be read, or a folder holds no film.
    """
    films: dict[str, FilmFile] = {}
    refused: list[RefusedFilm] = []
    for file, video_id in _files_of(paths):
        if not is_safe_id(video_id):
            reason = f"The name of {file} cannot serve as an ID; use letters, digits, '-', '_' and '.'."
            refused.append(RefusedFilm(path=file, reason=reason))
        elif video_id in films:
            reason = f"{file} has the same name as {films[video_id].path}."
            refused.append(RefusedFilm(path=file, reason=reason, video_id=video_id))
        else:
            films[video_id] = FilmFile(video_id=video_id, path=file)
    in_order = sorted(films.values(), key=lambda film: film.video_id)
    return FoundFilms(films=tuple(in_order), refused=tuple(refused))


def open_film(film: FilmFile, *, max_seconds: float = MAX_SECONDS) -> FilmSource:
    """Return a film with what it says of itself; its packets are read once and nothing is decoded.

    Raises:
        InputError: If it is no film that can be read, or it is too long.
    """
    info = probe(film.path)
    if info.duration_seconds > max_seconds:
        raise InputError(
            f"{film.path} lasts {_duration(info.duration_seconds)}; more than {_duration(max_seconds)} are left out."
        )
    return FilmSource(video_id=film.video_id, path=film.path, info=info)


def find_films(
    paths: Sequence[Path], *, max_seconds: float = MAX_SECONDS
) -> tuple[list[FilmSource], list[RefusedFilm]]:
    """Return the films of files and folders, and those that cannot be used; one bad film harms no other.

    Raises:
        InputError: If a path does not exist, a folder holds no film, or not one film can be used.
    """
    found = list_films(paths)
    films: list[FilmSource] = []
    refused = list(found.refused)
    for film in found.films:
        try:
            films.append(open_film(film, max_seconds=max_seconds))
        except InputError as error:
            refused.append(RefusedFilm(path=film.path, reason=str(error), video_id=film.video_id))
    if not films:
        more = f" (and {len(refused) - 1} more films)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0].reason}{more}" if refused else "There is no film to use.")
    return films, refused


def _files_of(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return (file, ID) for each film of the paths, in their order."""
    files: list[tuple[Path, str]] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}.")
        if not path.is_dir():
            files.append((path, path.stem))
            continue
        try:
            entries = sorted(path.iterdir())
        except OSError as error:
            raise InputError(f"The folder {path} cannot be read: {error.strerror}.") from error
        found = [one for one in entries if one.suffix.lower() in FILM_SUFFIXES and not one.name.startswith(".")]
        if not found:
            raise InputError(f"The folder {path} holds no film ({', '.join(FILM_SUFFIXES)}).")
        is_ours = (path / AVAILABILITY_FILE).is_file()
        files += [(one, (is_ours and unescape_video_id(one.stem)) or one.stem) for one in found]
    return files


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 60 else f"{seconds:.1f} seconds"
