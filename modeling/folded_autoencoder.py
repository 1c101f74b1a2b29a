"""A small video autoencoder that stands where CogVideoX's stands, for models that are trained and run on a CPU.

CogVideoX's own VAE convolves over time at full resolution, which a CPU does not do in reasonable time. Here two or four
frames are folded into the channels and blocks of 4 x 4 pixels too, so that all work happens on a grid of a sixteenth of
the pixels. Sizes and grouping are those of CogVideoX: 8 x 8 pixels of as many frames become one latent, and the first
frame has a latent of its own (it is seen several times over), so that a picture is a video of one frame.

A linear path, which starts from principal components, carries most of the picture from the first step on; the
convolutions learn what it misses.

Shape letters used below
    B videos    F frames    H, W rows and columns    T frames folded    f latent frames, f = 1 + (F - 1) / T
    h, w = H / 8, W / 8    Z latent channels    G groups of T frames    C = 3 T channels of a group
"""

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn
from torch.nn import functional

from animeshooter_hf.errors import InputError

__all__ = ["FoldedAutoencoder"]

_FOLDS = (2, 4)
"""How many frames can be folded into the channels; CogVideoX folds 4."""

_BLOCK = 8
"""Rows and columns of pixels that become one latent; CogVideoX's spatial compression."""

_LEAST_LOGVAR, _MOST_LOGVAR, _LOGVAR_SHIFT = -10.0, 4.0, -6.0
"""Limits of the posterior's log variance, and where it starts: sharp. Our choice."""


class FoldedAutoencoder(ModelMixin, ConfigMixin):
    """Autoencoder of videos of Tk + 1 frames whose sides are multiples of 8."""

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 24,
        block_out_channels: tuple[int, ...] = (64, 64, 128, 128),
        scaling_factor: float = 1.0,
        temporal_compression_ratio: int = 2,
    ) -> None:
        """Make an autoencoder with random weights.

        Args:
            latent_channels: Z. Our choice: 24, where 16 lost the eyes of small figures.
            block_out_channels: Channels at a half, a quarter (both as the second says), an eighth of the size; four
                entries, because diffusers reads the compression off their number.
            scaling_factor: What latents are multiplied by before diffusion; 1 over their deviation.
            temporal_compression_ratio: T, 2 or 4. Our choice: 2, since small figures that move fast were lost with 4.

        Raises:
            ValueError: If a value is not possible.
        """
        super().__init__()
        if len(block_out_channels) != 4 or temporal_compression_ratio not in _FOLDS:
            raise ValueError(
                f"The autoencoder has four entries of channels and folds 2 or 4 frames, got {block_out_channels} and "
                f"{temporal_compression_ratio}."
            )
        wide, deep = block_out_channels[1], block_out_channels[3]
        if latent_channels < 1 or scaling_factor <= 0 or wide % 8 or deep % 8:
            raise ValueError(f"Channels must be multiples of 8 and the scaling factor positive, got "
                             f"{block_out_channels} and {scaling_factor}.")  # fmt: skip
        channels = 3 * temporal_compression_ratio
        folded = channels * 16
        self.encoder = nn.Sequential(
            nn.Conv2d(folded, wide, 3, padding=1),
            _ResidualBlock(wide),
            _ResidualBlock(wide),
            nn.Conv2d(wide, deep, 2, 2),
            _ResidualBlock(deep),
            _ResidualBlock(deep),
            nn.GroupNorm(8, deep),
            nn.SiLU(),
            nn.Conv2d(deep, 2 * latent_channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, deep, 3, padding=1),
            _ResidualBlock(deep),
            _ResidualBlock(deep),
            nn.Conv2d(deep, 4 * wide, 1),
            nn.PixelShuffle(2),
            _ResidualBlock(wide),
            _ResidualBlock(wide),
            _ResidualBlock(wide),
            nn.GroupNorm(8, wide),
            nn.SiLU(),
            nn.Conv2d(wide, folded, 3, padding=1),
        )
        self.linear_in = nn.Conv2d(channels * _BLOCK**2, latent_channels, 1)
        self.linear_out = nn.Conv2d(latent_channels, channels * _BLOCK**2, 1)
        for last in (self.encoder[-1], self.decoder[-1]):
            nn.init.zeros_(cast(nn.Conv2d, last).weight)
            nn.init.zeros_(cast(Tensor, cast(nn.Conv2d, last).bias))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Return a saved autoencoder. For the options see diffusers.

        Raises:
            InputError: If the checkpoint lacks a weight; diffusers would leave it as it was made, and only warn.
        """
        wants_report = kwargs.pop("output_loading_info", False)
        model, report = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        missing = sorted(report["missing_keys"])
        if missing:
            raise InputError(
                f"The checkpoint {pretrained_model_name_or_path} is not whole: {len(missing)} weights of the "
                f"autoencoder are missing, such as {missing[0]}."
            )
        return (model, report) if wants_report else model

    def encode(self, pixels_B3FHW: Tensor) -> AutoencoderKLOutput:
        """Return the posterior of the latents, of shape (B, Z, f, h, w), not scaled.

        Args:
            pixels_B3FHW: In [-1, 1].

        Raises:
            ValueError: If the frames are not Tk + 1 or the sides no multiples of 8.
        """
        batch, channels, frames, height, width = pixels_B3FHW.shape
        fold = self.config.temporal_compression_ratio
        if channels != 3 or (frames - 1) % fold or height % _BLOCK or width % _BLOCK:
            raise ValueError(
                f"Videos must have the shape (videos, 3, {fold}k + 1, multiple of {_BLOCK}, multiple of {_BLOCK}), got "
                f"{tuple(pixels_B3FHW.shape)}."
            )
        first = pixels_B3FHW[:, :, :1].expand(-1, -1, fold, -1, -1)
        padded = torch.cat([first, pixels_B3FHW[:, :, 1:]], dim=2).unflatten(2, (-1, fold))
        groups_GCHW = padded.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * fold, height, width)
        mean, logvar = self.encode_groups(groups_GCHW)
        moments = torch.cat([mean, logvar], dim=1).unflatten(0, (batch, -1)).transpose(1, 2)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))

    def decode(self, latents_BZfhw: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Return the video of latents that are not scaled, shape (B, 3, F, H, W); nominally in [-1, 1]."""
        batch, fold = latents_BZfhw.shape[0], self.config.temporal_compression_ratio
        groups_GCHW = self.decode_groups(latents_BZfhw.transpose(1, 2).flatten(0, 1))
        frames = groups_GCHW.unflatten(1, (fold, 3)).unflatten(0, (batch, -1))
        video = frames.flatten(1, 2).transpose(1, 2)
        # The first latent stands for one frame, whose copies are averaged.
        whole = torch.cat([video[:, :, :fold].mean(dim=2, keepdim=True), video[:, :, fold:]], dim=2)
        return DecoderOutput(sample=whole) if return_dict else (whole,)

    def encode_groups(self, groups_GCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of groups of frames, each of shape (G, Z, h, w)."""
        mean, logvar = self.encoder(functional.pixel_unshuffle(groups_GCHW, 4)).chunk(2, dim=1)
        mean = mean + self.linear_in(functional.pixel_unshuffle(groups_GCHW, _BLOCK))
        return mean, (logvar + _LOGVAR_SHIFT).clamp(_LEAST_LOGVAR, _MOST_LOGVAR)

    def decode_groups(self, latents_GZhw: Tensor) -> Tensor:
        """Return groups of frames, shape (G, C, H, W)."""
        detail = functional.pixel_shuffle(self.decoder(latents_GZhw), 4)
        return detail + functional.pixel_shuffle(self.linear_out(latents_GZhw), _BLOCK)

    @torch.no_grad()
    def start_from_principal_components(self, groups_GCHW: Tensor) -> None:
        """Set the linear path to the principal components of blocks of pixels, each scaled to a deviation of 1.

        Args:
            groups_GCHW: Groups of frames, at least as many blocks as `latent_channels`.
        """
        blocks = functional.pixel_unshuffle(groups_GCHW, _BLOCK).permute(0, 2, 3, 1).flatten(0, 2)
        mean = blocks.mean(dim=0)
        _, spread, axes = torch.linalg.svd(blocks - mean, full_matrices=False)
        channels = self.config.latent_channels
        axes, deviation = axes[:channels], spread[:channels] / len(blocks) ** 0.5
        self.linear_in.weight.copy_((axes / deviation[:, None])[..., None, None])
        cast(Tensor, self.linear_in.bias).copy_(-(axes @ mean) / deviation)
        self.linear_out.weight.copy_((axes.T * deviation)[..., None, None])
        cast(Tensor, self.linear_out.bias).copy_(mean)


class _ResidualBlock(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.second.weight, std=0.01)

    def forward(self, hidden: Tensor) -> Tensor:
        changed = self.first(functional.silu(self.first_norm(hidden)))
        return hidden + self.second(functional.silu(self.second_norm(changed)))
