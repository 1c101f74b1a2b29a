"""Open the pipeline of a server."""

from typing import TYPE_CHECKING

from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

__all__ = ["load_pipeline"]


def load_pipeline(model: str, device: str = "cpu") -> "AnimeShooterGenPipeline":
    """Return the pipeline, on its device, with no bars on the server's terminal.

    Args:
        model: Checkpoint folder, repository on the Hub, or `tiny`: a toy with random weights.
        device: Where it computes, such as "cuda".

    Raises:
        InputError: If there is no such checkpoint, or the device cannot be used.
        MissingExtraError: If diffusers is not installed.
    """
    require("diffusers", extra="modeling", purpose="Generating a story")
    if model == "tiny":
        from animeshooter_hf.modeling.testing import tiny_pipeline

        pipeline = tiny_pipeline()
    else:
        from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

        pipeline = AnimeShooterGenPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    try:
        pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: {device!r} cannot be used here.") from error
    return pipeline
