"""Write the card of a LoRA from what its file and its maker say; what nobody said is left out."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf._version import __version__

__all__ = ["write_lora_card"]

_FILMS = (".mp4", ".webm", ".mov")


def write_lora_card(
    folder: Path,
    info: Any,
    *,
    samples: list[str],
    licence: str | None,
    weights_origin: str,
    repo_id: str | None = None,
) -> Path:
    """Write the card as the folder's README.md and return its path.

    Args:
        folder: The LoRA's folder.
        info: A `LoraInfo`.
        samples: Files to show, relative to the folder.
        licence: Identifier of the licence on the Hub, if the maker gave one.
        weights_origin: Where the weights of the base come from.
        repo_id: Where the LoRA will stand on the Hub.
    """
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.cards", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not a page
    )
    text = environment.get_template("lora_card.md.jinja").render(
        info=info,
        is_random_base=weights_origin == "random",
        licence=licence,
        pictures=[name for name in samples if not name.endswith(_FILMS)],
        films=[name for name in samples if name.endswith(_FILMS)],
        place=repo_id or "path/of/this/folder",
        version=__version__,
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path
