"""Open the pipeline that a command or a server works with, and bring it to its device."""

from typing import TYPE_CHECKING

from animeshooter_hf.errors import InputError
from animeshooter_hf.optional import require

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

__all__ = ["open_pipeline", "place_pipeline"]


def open_pipeline(model: str, dtype: str | None = None) -> "AnimeShooterGenPipeline":
    """Return the pipeline, on the CPU.

    Args:
        model: Checkpoint folder, repository on the Hub, `toon`: the small trained model that comes with the library, or
            `tiny`: a toy with random weights. A folder of such a name is ./toon.
        dtype: Number format of the weights, such as "bfloat16"; the checkpoint's own if None, and float32 for `toon`.

    Raises:
        InputError: If there is no such checkpoint.
        MissingExtraError: If diffusers is not installed.
    """
    require("diffusers", extra="modeling", purpose="Generating a story")
    import torch

    number_format = None if dtype is None else getattr(torch, dtype)
    if model == "tiny":
        from animeshooter_hf.modeling.testing import tiny_pipeline

        toy = tiny_pipeline()
        if number_format is not None:
            toy.to(number_format)
        return toy
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline

    return AnimeShooterGenPipeline.from_pretrained(model, **({} if dtype is None else {"dtype": number_format}))


def place_pipeline(pipeline: "AnimeShooterGenPipeline", device: str, offload: str = "none") -> None:
    """Bring the pipeline to its device, or let it come there part by part; LoRAs must be loaded by now.

    Raises:
        InputError: If the device cannot be used.
    """
    from animeshooter_hf.modeling.memory import MemorySettings

    try:
        if offload == "none":
            pipeline.to(device)
        else:
            pipeline.apply_memory(MemorySettings(offload=offload, device=device))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device: {device!r} cannot be used here.") from error
