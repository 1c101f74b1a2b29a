"""Films drawn in code, as a source: rendered into the work folder, with their truth beside them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from animeshooter_hf.dataset_builder.sources.folder import FilmFile, FoundFilms, RefusedFilm
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList
from animeshooter_hf.toon import FilmSettings

__all__ = ["ToonSource"]

_MOST_FILMS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonSource:
    """Toon films of consecutive seeds."""

    num_films: int
    """How many."""

    seed: int = 0
    """Seed of the first one."""

    settings: FilmSettings = field(default_factory=FilmSettings)
    """Of each."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_films <= _MOST_FILMS:
            raise InputError(f"The number of toon films must lie in 1 to {_MOST_FILMS}, got {self.num_films}.")
        if self.seed < 0:
            raise InputError(f"The seed of toon films must not be negative, got {self.seed}.")

    @classmethod
    def parse(cls, text: str, settings: FilmSettings, seed: int) -> "ToonSource":
        """Return the source of a text such as "6".

        Raises:
            InputError: If it is no number of films.
        """
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
            raise InputError(f"'toon:{text[:40]}' names no number of films; it should look like toon:6.")
        return cls(num_films=int(text), seed=seed, settings=settings)

    def films(self, into: Path, *, takedown: TakedownList, progress: bool = True) -> FoundFilms:
        """Return the films, rendered where they are not finished yet; see `Source`."""
        from animeshooter_hf.toon import ToonFilm
        from animeshooter_hf.toon.script import read_fingerprint, render_film

        folder = into / "toon"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {folder} cannot be written: {error.strerror}.") from error
        films: list[FilmFile] = []
        refused: list[RefusedFilm] = []
        seeds = range(self.seed, self.seed + self.num_films)
        for seed in tqdm(seeds, desc="toon films", unit="film", disable=None if progress else True):
            path = folder / f"toon-{seed:04d}.mp4"
            if takedown.hits(path.stem):
                reason = f"{path.stem} is on the takedown list."
                refused.append(RefusedFilm(path=path, reason=reason, video_id=path.stem))
                continue
            if read_fingerprint(path) != self.settings.fingerprint(seed):
                render_film(ToonFilm.from_seed(seed, self.settings), path)
            films.append(FilmFile(video_id=path.stem, path=path))
        return FoundFilms(films=tuple(films), refused=tuple(refused))
