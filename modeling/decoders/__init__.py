"""Video decoders: a condition goes in, frames come out.

base.py               what all have in common: checks, batches, guidance, callbacks, frames
cogvideox.py  wan.py  the families
registry.py           which decoder runs which transformer
attention.py          attention backends that really switch, and attention to reference tokens
reference_latents.py  the second path for fine detail

Each decoder is a diffusers pipeline used by composition and fed with `prompt_embeds`, so its frames are bit-equal to
the plain pipeline's and every improvement of diffusers arrives here.
"""

from animeshooter_hf.modeling.decoders.attention import set_attention_backend
from animeshooter_hf.modeling.decoders.base import PipelineDecoder, ShotDecoder, ShotInputs
from animeshooter_hf.modeling.decoders.cogvideox import CogVideoXDecoder
from animeshooter_hf.modeling.decoders.reference_latents import ReferenceLatents, encode_references
from animeshooter_hf.modeling.decoders.registry import DECODERS, decoder_for
from animeshooter_hf.modeling.decoders.wan import WanDecoder

__all__ = [
    "DECODERS",
    "CogVideoXDecoder",
    "PipelineDecoder",
    "ReferenceLatents",
    "ShotDecoder",
    "ShotInputs",
    "WanDecoder",
    "decoder_for",
    "encode_references",
    "set_attention_backend",
]
