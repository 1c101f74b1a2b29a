"""The video files of a dataset repository on the Hub, as a source.

Files come one by one through `hf_hub_download`, which goes on where it was stopped; the revision is fixed first, so
that all come from one commit. What stands beside a film (its script, its `info.json`) and the repository's
`rights.csv`, `rights.json` and `takedown.txt` come along, and that takedown list is obeyed.
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from animeshooter_hf.dataset_builder.sources.folder import (
    FILM_SUFFIXES,
    FilmFile,
    FoundFilms,
    RefusedFilm,
    is_safe_id,
)
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TAKEDOWN_FILE, TakedownList

__all__ = ["HubSource"]

_SPEC = re.compile(r"hf://datasets/([\w-][\w.-]*/[\w.-]+)(?:@([^/\s]+))?(?:/(.+))?")
_SIDECARS = (".script.json", ".info.json")
_ALONGSIDE = ("rights.csv", "rights.json", TAKEDOWN_FILE)


@dataclass(frozen=True, kw_only=True, slots=True)
class HubSource:
    """Video files of a dataset repository."""

    repo_id: str
    """Such as "ORG/NAME"."""

    subfolder: str = ""
    """Folder in it, or "" for all of it."""

    revision: str | None = None
    """Branch, tag or commit; the default branch if None."""

    @classmethod
    def parse(cls, text: str) -> "HubSource":
        """Return the source of an address such as "hf://datasets/ORG/NAME@main/films".

        Raises:
            InputError: If it is none.
        """
        found = _SPEC.fullmatch(text.rstrip("/"))
        if not found or ".." in text.split("/"):
            raise InputError(f"{text[:200]!r} is no dataset on the Hub; it should look like hf://datasets/ORG/NAME.")
        return cls(repo_id=found[1], revision=found[2], subfolder=found[3] or "")

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Return the films; see `Source`."""
        commit, names = self._list()
        folder = into / "hub" / self.repo_id.replace("/", "--")
        known = set(names)
        below = f"{self.subfolder}/" if self.subfolder else ""
        for name in _ALONGSIDE:
            if name in known:
                path = self._fetch(name, commit, folder)
                if name == TAKEDOWN_FILE:
                    takedown = takedown.merge(TakedownList.read(path))
        films_there = [name for name in names if name.startswith(below) and _is_film(name)]
        wanted = sorted(films_there, key=lambda name: (name.count("/"), name))
        if not wanted:
            raise InputError(f"The dataset {self.repo_id} holds no film below {self.subfolder or 'its root'}.")
        films: dict[str, FilmFile] = {}
        refused: list[RefusedFilm] = []
        for name in tqdm(wanted, desc="films", unit="film", disable=None if progress else True):
            video_id = PurePosixPath(name).stem
            reason = _reason_against(name, video_id, films, takedown)
            try:
                if reason is None:
                    path = self._fetch(name, commit, folder)
                    for suffix in _SIDECARS:
                        beside = f"{name.removesuffix(PurePosixPath(name).suffix)}{suffix}"
                        if beside in known:
                            self._fetch(beside, commit, folder)
                    url = f"https://huggingface.co/datasets/{self.repo_id}/blob/{commit}/{name}"
                    films[video_id] = FilmFile(video_id=video_id, path=path, url=url)
                    continue
            except InputError as error:
                reason = str(error)
            refused.append(RefusedFilm(path=folder / name, reason=reason, video_id=video_id))
        in_order = sorted(films.values(), key=lambda film: film.video_id)
        return FoundFilms(films=tuple(in_order), refused=tuple(refused))

    def _list(self) -> tuple[str, list[str]]:
        """Return the commit and the names of its files."""
        from huggingface_hub import HfApi

        api = HfApi()
        try:
            commit = api.dataset_info(self.repo_id, revision=self.revision).sha
            return str(commit), api.list_repo_files(self.repo_id, repo_type="dataset", revision=commit)
        except _hub_errors() as error:
            where = f" at {self.revision}" if self.revision else ""
            raise InputError(
                f"The dataset {self.repo_id}{where} cannot be had from the Hub: {_first(error)}."
            ) from error

    def _fetch(self, name: str, commit: str, folder: Path) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            return Path(
                hf_hub_download(self.repo_id, name, repo_type="dataset", revision=commit, local_dir=str(folder))
            )
        except _hub_errors() as error:
            raise InputError(f"{name} of {self.repo_id} cannot be had from the Hub: {_first(error)}.") from error


def _is_film(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in FILM_SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _reason_against(name: str, video_id: str, films: dict[str, FilmFile], takedown: TakedownList) -> str | None:
    if not is_safe_id(video_id):
        return f"The name of {name} cannot serve as an ID; use letters, digits, '-', '_' and '.'."
    if takedown.hits(video_id):
        return f"{video_id} is on the takedown list."
    if video_id in films:
        return f"{name} has the same name as {films[video_id].path}."
    return None


def _hub_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        XetDownloadError,
    )

    return (HTTPError, HFValidationError, LocalEntryNotFoundError, XetDownloadError, OSError)


def _first(error: Any) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:200]
