"""The checkpoint that comes with the library, by its name: `AnimeShooterGenPipeline.from_pretrained("toon")`.

A name is a plain text without a slash. It means the packaged checkpoint even where the working directory holds a folder
of that name; "./toon", or any `Path`, is the folder.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError

__all__ = ["PACKAGED", "packaged_folder"]

logger = logging.getLogger(__name__)

PACKAGED: dict[str, Path] = {"toon": Path(__file__).parent / "toon" / "checkpoint"}
"""Name -> its folder. toon: trained from nothing on compact toon stories, see modeling/toon; Apache-2.0."""


def packaged_folder(name: str | Path, known: Mapping[str, Path] = PACKAGED) -> Path | None:
    """Return the folder of a packaged checkpoint, or None if the place is not the name of one.

    Args:
        name: What a user named.
        known: Name -> folder.

    Raises:
        InputError: If it is one, and this installation came without it.
    """
    folder = known.get(name) if isinstance(name, str) else None
    if folder is None:
        return None
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"This installation of animeshooter_hf {__version__} came without the checkpoint {name!r}; install a wheel "
            "or a checkout that holds it, or name a folder or a repository on the Hub."
        )
    if Path(name).exists():
        logger.warning("%r is the checkpoint that comes with the library; ./%s would name what lies here.", name, name)
    return folder
