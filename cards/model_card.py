"""Write the card of a pipeline's checkpoint from what the pipeline knows about itself."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from animeshooter_hf._version import __version__

__all__ = ["model_card", "write_model_card"]


def model_card(pipeline: Any) -> str:
    """Return the card of an `AnimeShooterGenPipeline` as Markdown with a YAML header.

    It says plainly where the weights come from, and shows nothing that is not known.
    """
    environment = Environment(
        loader=PackageLoader("animeshooter_hf.cards", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not a page; nothing in it comes from strangers.
    )
    parts = [
        {
            "name": name,
            "class_name": type(component).__name__,
            "num_weights": sum(weight.numel() for weight in component.parameters()),
        }
        for name, component in pipeline.components.items()
        if hasattr(component, "parameters")
    ]
    frames, height, width = pipeline.decoder.default_size
    return environment.get_template("model_card.md.jinja").render(
        adapter=pipeline.adapter.config,
        frame_rate=pipeline.config.frame_rate,
        frames=frames,
        guidance_scale=pipeline.config.guidance_scale,
        height=height,
        is_random=pipeline.config.weights_origin == "random",
        parts=parts,
        steps=pipeline.config.num_inference_steps,
        version=__version__,
        weights_origin=pipeline.config.weights_origin,
        width=width,
    )


def write_model_card(pipeline: Any, folder: Path) -> Path:
    """Write the card as the folder's README.md and return its path."""
    path = folder / "README.md"
    path.write_text(model_card(pipeline), encoding="utf-8")
    return path
