"""Which decoder runs which transformer."""

from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders.base import PipelineDecoder
from animeshooter_hf.modeling.decoders.cogvideox import CogVideoXDecoder
from animeshooter_hf.modeling.decoders.wan import WanDecoder

__all__ = ["DECODERS", "decoder_for"]

DECODERS: dict[str, Any] = {
    name: decoder for decoder in (CogVideoXDecoder, WanDecoder) for name in decoder.transformer_classes
}
"""Name of the transformer's class -> decoder class."""


def decoder_for(*, transformer: Any, vae: Any, scheduler: Any, **parts: Any) -> PipelineDecoder:
    """Return the decoder of a transformer's family.

    Args:
        transformer: The video transformer.
        vae: Its VAE.
        scheduler: Its scheduler.
        parts: What the family may have beside them: `reference_latents` (CogVideoX), `transformer_2`, `boundary_ratio`,
            `expand_timesteps` (Wan). None counts as absent.

    Raises:
        InputError: If the family is not known, or does not have such a part.
    """
    # torch.compile wraps the module in a class of its own.
    name = type(getattr(transformer, "_orig_mod", transformer)).__name__
    if name not in DECODERS:
        raise InputError(f"The video transformer {name} is not supported; supported are {', '.join(sorted(DECODERS))}.")
    given = {key: value for key, value in parts.items() if value is not None}
    allowed = DECODERS[name].__init__.__kwdefaults__ or {}
    for key in given:
        if key not in allowed:
            raise InputError(f"{DECODERS[name].__name__} has no part {key}.")
    decoder: PipelineDecoder = DECODERS[name](transformer=transformer, vae=vae, scheduler=scheduler, **given)
    return decoder
