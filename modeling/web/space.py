"""The page as a Space on the Hub: the three files of its repository, and what its app.py calls."""

import os
import re
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.packaged import PACKAGED

__all__ = ["GRADIO_VERSION", "serve_space", "write_space"]

GRADIO_VERSION = "6.31.0"
"""The version that this page was tested with."""

_TEMPLATES = Path(__file__).parent.parent / "space_files"
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


def write_space(folder: Path, *, model: str, title: str) -> list[Path]:
    """Write README.md, app.py and requirements.txt of a Space, and return their paths.

    Args:
        folder: Where they go; files of these names must not be there yet.
        model: Repository of the checkpoint on the Hub, `toon`, or `tiny`.
        title: Heading of the page.

    Raises:
        InputError: If the model is neither, a file is there already, or the folder cannot be written.
    """
    if model != "tiny" and model not in PACKAGED and _REPOSITORY.fullmatch(model) is None:
        raise InputError(f"A Space needs a model on the Hub, such as ORG/NAME, `toon` or `tiny`, got {model!r}.")
    if not title.strip() or len(title.splitlines()) != 1:
        raise InputError("The title of a Space must be one line that is not empty.")
    templates = sorted(_TEMPLATES.glob("*.jinja"))
    paths = [folder / template.name.removesuffix(".jinja") for template in templates]
    taken = [path.name for path in paths if path.exists()]
    if taken:
        raise InputError(f"{folder} holds {', '.join(taken)} already.")
    words = {"model": model, "title": title, "version": __version__, "gradio_version": GRADIO_VERSION}
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for template, path in zip(templates, paths, strict=True):
            path.write_text(environment.from_string(template.read_text(encoding="utf-8")).render(words), "utf-8")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error
    return paths


def serve_space(model: str, *, title: str = "AnimeShooter") -> None:
    """Serve the page as a Space does: on the GPU if there is one, to everybody, at the port that the Hub gives."""
    import torch

    from animeshooter_hf.modeling.open_pipeline import open_pipeline, place_pipeline
    from animeshooter_hf.modeling.web.web_app import WebSettings, launch_page

    pipeline = open_pipeline(model)
    pipeline.set_progress_bar_config(disable=True)
    place_pipeline(pipeline, "cuda" if torch.cuda.is_available() else "cpu")
    port = int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    launch_page(pipeline, WebSettings(host="0.0.0.0", port=port, title=title, model=model))
