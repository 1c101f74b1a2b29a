"""What frozen encoders make of clips, pictures and captions, and under which keys the store keeps it.

| kind | made of | kept as |
|---|---|---|
| latents | a shot's frames | mean and deviation of the VAE's posterior, scaled for the transformer, (f, C, h, w) each |
| stills | a reference, or a shot's last frame | its latent as `encode_references` gives it, (C, h, w) |
| frames | a shot's last frame | pixels, for the MLLM |
| text | a caption | the text encoder's states (L, D), and which are tokens |
| vision | a picture as the MLLM gets it | what its vision tower gives, see vision_features.py |

A key is made of the marks of the content, of the model, and of all that was done between (content_marks.py). Keys are
made without the models (`FeatureKeys`), in whatever process reads windows.

Shape letters used below
    B clips    F frames    H, W rows and columns    f latent frames    C latent channels    h, w latent rows and columns
    L tokens    D width of the text encoder
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.decoders import encode_references
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.content_marks import mark_bytes, mark_module, mark_of

__all__ = ["FeatureKeys", "latent_statistics", "mark_saved", "text_states"]

_VERSION = 1
"""Goes up when the same model and content give other values here."""

_TILING = ("use_slicing", "use_tiling", "use_framewise_encoding", "num_sample_frames_batch_size")
"""Switches of a VAE that change its rounding or its seams; with tiling the sizes of the tiles count too."""

_NOT_CONTENT = frozenset(
    ("name_or_path", "_name_or_path", "transformers_version", "processor_class", "auto_map", "padding", "truncation")
)
"""Keys of saved files that say where they come from, or how the tokenizer was called the last time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureKeys:
    """The keys of one training's values."""

    dtype: str
    """Type of floating-point values, such as "bfloat16"."""

    vae: str
    """Mark of the VAE."""

    text: str = ""
    """Mark of text encoder and tokenizer; empty where text states are not kept."""

    vision: str = ""
    """Mark of the vision tower and the processor; empty where vision features are not kept."""

    @classmethod
    def of(cls, pipeline: Any, dtype: str, *, with_text: bool, text_length: int, vision: str) -> "FeatureKeys":
        """Return the keys of a pipeline; its VAE and text encoder are read as a whole.

        Args:
            pipeline: The pipeline.
            dtype: Type of what is kept.
            with_text: Whether text states are kept.
            text_length: Tokens to which they are padded.
            vision: Mark of the vision tower, see `FeatureKeys`.
        """
        text = ""
        if with_text:
            models = [mark_module(pipeline.text_encoder), mark_saved(pipeline.tokenizer)]
            text = mark_of(_VERSION, *models, type(pipeline.decoder).__name__, text_length)
        vae = pipeline.vae
        tiles = {name: value for name, value in vars(vae).items() if name in _TILING or name.startswith("tile_")}
        switches = {name: value for name, value in tiles.items() if isinstance(value, int | float)}
        return cls(dtype=dtype, vae=mark_of(_VERSION, mark_module(vae), switches), text=text, vision=vision)

    def latents(self, clip_mark: str) -> str:
        """Return the key of a clip's latents."""
        return mark_of("latents", self.vae, self.dtype, clip_mark)

    def last_still(self, clip_mark: str) -> str:
        """Return the key of the latent of a clip's last frame."""
        return mark_of("still of last frame", self.vae, self.dtype, clip_mark)

    def last_frame(self, clip_mark: str) -> str:
        """Return the key of a clip's last frame itself."""
        return mark_of("last frame", _VERSION, clip_mark)

    def still(self, picture_mark: str, size: Bucket) -> str:
        """Return the key of the latent of a reference for shots of a size."""
        return mark_of("still", self.vae, self.dtype, picture_mark, size.height, size.width)

    def text_states(self, caption: str) -> str:
        """Return the key of a caption's text states."""
        return mark_of("text", self.text, self.dtype, caption)

    def vision_features(self, picture_mark: str) -> str:
        """Return the key of what the vision tower makes of a picture of exactly these pixels."""
        return mark_of("vision", self.vision, self.dtype, picture_mark)


@torch.no_grad()
def latent_statistics(vae: Any, frames_BFHW3: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latents of clips, scaled as the transformer reads them.

    Both have the shape (B, f, C, h, w), the order of CogVideoX; mean + deviation * noise is a sample.

    Args:
        vae: AutoencoderKLCogVideoX, FoldedAutoencoder or AutoencoderKLWan.
        frames_BFHW3: Clips of one size.

    Raises:
        InputError: If the VAE's settings do not say how its latents are scaled.
    """
    config = vae.config
    pixels = torch.from_numpy(frames_BFHW3).to(vae.device).permute(0, 4, 1, 2, 3)
    posterior = vae.encode((pixels.float() / 127.5 - 1.0).to(vae.dtype)).latent_dist
    mean, deviation = posterior.mean.float(), posterior.std.float()
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        shift, spread = (
            torch.tensor(values, device=mean.device).view(1, -1, 1, 1, 1)
            for values in (config.latents_mean, config.latents_std)
        )
        mean, deviation = (mean - shift) / spread, deviation / spread
    elif config.get("scaling_factor") is not None:
        mean, deviation = mean * config.scaling_factor, deviation * config.scaling_factor
    else:
        raise InputError(f"{type(vae).__name__} has neither a scaling_factor nor latents_mean and latents_std, so its "
                         "latents cannot be trained on.")  # fmt: skip
    return mean.transpose(1, 2), deviation.transpose(1, 2)


def still_latents(vae: Any, images: Sequence[Image.Image], size: Bucket) -> Tensor:
    """Return the latents of pictures as stills, shape (pictures, C, h, w), as the pipeline makes them."""
    return encode_references(vae, images, height=size.height, width=size.width)


def text_states(pipeline: Any, captions: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Return the text encoder's states of captions (captions, L, D), and which belong to tokens (captions, L)."""
    states_BLD = pipeline.decoder.encode_text(
        list(captions), tokenizer=pipeline.tokenizer, text_encoder=pipeline.text_encoder, length=length
    )
    tokens = pipeline.tokenizer(
        list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return states_BLD, tokens.attention_mask.bool()


def mark_saved(part: Any) -> str:
    """Return the mark of a tokenizer or processor: of the files that it saves, less folders and versions."""
    with tempfile.TemporaryDirectory() as name:
        part.save_pretrained(name)
        files = sorted(path for path in Path(name).rglob("*") if path.is_file())
        return mark_of("saved", {str(path.relative_to(name)): _mark_file(path) for path in files})


def _mark_file(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        try:
            found = json.loads(data)
        except ValueError:
            return mark_bytes(data)
        if isinstance(found, dict):
            return mark_of({key: value for key, value in found.items() if key not in _NOT_CONTENT})
    return mark_bytes(data)
