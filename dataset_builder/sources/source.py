"""Where films come from, behind one protocol, and how a word on the command line names a source.

    films/                        a folder, or a file
    ids:LIST.txt                  YouTube IDs or addresses, one per line; downloaded (extra `download`)
    hf://datasets/ORG/NAME/DIR    video files of a dataset repository on the Hub; `@REVISION` may follow NAME
    release:annotations.zip       the public release, its videos from a folder of yours or downloaded
    toon:6                        films drawn in code, with their truth

A source gives files and opens none of them, since a broken film can crash whoever opens it: `open_film` does that, one
film at a time, in a process of its own. What is on the takedown list is refused before anything is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from animeshooter_hf.dataset_builder.sources.download import Downloader, DownloadSettings
from animeshooter_hf.dataset_builder.sources.folder import FilmFile, FoundFilms, RefusedFilm, list_films
from animeshooter_hf.dataset_builder.sources.hub import HubSource
from animeshooter_hf.dataset_builder.sources.release import ReleaseSource
from animeshooter_hf.dataset_builder.sources.toon import ToonSource
from animeshooter_hf.dataset_builder.sources.video_ids import read_video_list
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList
from animeshooter_hf.toon import FilmSettings

__all__ = ["FolderSource", "ListSource", "Source", "SourceSettings", "collect_films", "open_source"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSettings:
    """Settings of all kinds of sources."""

    takedown: TakedownList = field(default_factory=TakedownList)
    """What is left out, and never asked for."""

    download: DownloadSettings = field(default_factory=DownloadSettings)
    """How videos are downloaded."""

    videos: Path | None = None
    """Folder of the release's videos."""

    may_download: bool = False
    """Whether videos of the release that are not in `videos` are downloaded."""

    release_audio: Path | None = None
    """The audio release that belongs to a release; None if there is none."""

    toon: FilmSettings = field(default_factory=FilmSettings)
    """Films that are drawn."""

    toon_seed: int = 0
    """Seed of the first film that is drawn; the others count on."""


class Source(Protocol):
    """Anything that films come from."""

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Bring the films to this machine and return their files; what is here already is not brought again.

        Args:
            into: Folder for what has to be brought; a source whose films lie here already leaves it alone.
            takedown: These are refused, and never asked for.
            progress: Whether to show a bar on stderr.

        Raises:
            InputError: If the source as a whole cannot be used.
        """


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Films that lie here."""

    path: Path
    """A film, or a folder of films."""

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Return the films; see `Source`."""
        del into, progress
        return _without(list_films([self.path]), takedown)


@dataclass(frozen=True, slots=True)
class ListSource:
    """Videos of a list, downloaded."""

    path: Path
    """The list."""

    settings: DownloadSettings = field(default_factory=DownloadSettings)
    """How they are downloaded."""

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Return the films; see `Source`."""
        listed = read_video_list(self.path)
        found = Downloader(into / "downloads", self.settings).download(
            listed.videos, takedown=takedown, progress=progress
        )
        return replace(found, refused=(*listed.refused, *found.refused))


def open_source(spec: str | Path, settings: SourceSettings | None = None) -> Source:
    """Return the source that a word names; see the top of this file. Nothing is brought yet.

    Raises:
        InputError: If it names none.
    """
    settings = settings or SourceSettings()
    text = str(spec)
    kind, mark, rest = text.partition(":")
    if isinstance(spec, Path) or not mark or kind not in ("ids", "hf", "release", "toon"):
        if not Path(spec).exists():
            raise InputError(f"There is no file or folder {spec}.")
        return FolderSource(Path(spec))
    if not rest:
        raise InputError(f"{text!r} names no source; it should look like {_EXAMPLES[kind]}.")
    if kind == "hf":
        return HubSource.parse(text)
    if kind == "toon":
        return ToonSource.parse(rest, settings.toon, settings.toon_seed)
    if not Path(rest).exists():
        raise InputError(f"There is no file or folder {rest}.")
    if kind == "ids":
        return ListSource(Path(rest), settings.download)
    download = settings.download if settings.may_download else None
    return ReleaseSource(Path(rest), settings.videos, download, settings.release_audio)


def collect_films(
    specs: Sequence[str | Path], into: Path, settings: SourceSettings | None = None, *, progress: bool = True
) -> FoundFilms:
    """Return the films of several sources, in order of ID; of two films with one ID the one named first counts.

    Args:
        specs: What `open_source` understands.
        into: Folder for what has to be brought, such as the build's work folder.
        settings: Of all kinds of sources.
        progress: Whether to show bars on stderr.

    Raises:
        InputError: If a source cannot be used, or none gives a film.
    """
    settings = settings or SourceSettings()
    if not specs:
        raise InputError("There is no source of films.")
    sources = [open_source(spec, settings) for spec in specs]
    films: dict[str, FilmFile] = {}
    refused: list[RefusedFilm] = []
    for source in sources:
        found = source.films(into, takedown=settings.takedown, progress=progress)
        refused += found.refused
        for film in found.films:
            known = films.setdefault(film.video_id, film)
            if known.path.resolve() != film.path.resolve():
                reason = f"{film.path} has the same name as {known.path}."
                refused.append(RefusedFilm(path=film.path, reason=reason, video_id=film.video_id))
    if not films:
        more = f" (and {len(refused) - 1} more films)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0].reason}{more}" if refused else "The sources hold no film.")
    return FoundFilms(films=tuple(films[name] for name in sorted(films)), refused=tuple(refused))


_EXAMPLES = {
    "ids": "ids:LIST.txt",
    "hf": "hf://datasets/ORG/NAME",
    "release": "release:annotations.zip",
    "toon": "toon:6",
}


def _without(found: FoundFilms, takedown: TakedownList) -> FoundFilms:
    """Return what was found without what is on the takedown list."""
    listed = [film for film in found.films if takedown.hits(film.video_id)]
    if not listed:
        return found
    refused = [
        RefusedFilm(path=film.path, reason=f"{film.video_id} is on the takedown list.", video_id=film.video_id)
        for film in listed
    ]
    return FoundFilms(
        films=tuple(film for film in found.films if not takedown.hits(film.video_id)),
        refused=(*found.refused, *refused),
    )
