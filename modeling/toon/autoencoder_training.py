"""Train the VAE of the toon checkpoint on drawn frames.

Loss: mean absolute and mean squared error of the pixels, and a small KL term. Noise on the latents keeps the decoder
calm about what a diffusion model gives it. Kernels of convolutions move by Muon, as matrices of (channels out, rest).

Shape letters used below
    G groups of frames that become one latent    C their channels    H, W rows and columns
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from animeshooter_hf.modeling.folded_autoencoder import FoldedAutoencoder
from animeshooter_hf.modeling.toon.drawn_stories import DrawnStories

__all__ = ["AutoencoderSettings", "train_autoencoder"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderSettings:
    """How the VAE is trained; all of it our choice."""

    latent_channels: int = 24
    """See `FoldedAutoencoder`."""

    steps: int = 2_600
    """Optimizer steps."""

    batch_size: int = 32
    """Groups of frames of a step."""

    learning_rate: float = 1e-3
    """Of AdamW, at its highest."""

    muon_learning_rate: float = 2e-3
    """Of Muon."""

    kl_weight: float = 2e-4
    """Weight of the KL divergence from a unit Gaussian, per latent value."""

    latent_noise: float = 0.05
    """Deviation of the noise on latents, over theirs."""

    seed: int = 0
    """Of weights, batches and noise."""


def train_autoencoder(stories: DrawnStories, settings: AutoencoderSettings) -> FoldedAutoencoder:
    """Return a trained VAE whose scaled latents have a deviation of 1.

    Args:
        stories: What it is trained on.
        settings: How.
    """
    torch.manual_seed(settings.seed)
    model = FoldedAutoencoder(settings.latent_channels)
    batches = _batches(stories, settings, model.config.temporal_compression_ratio)
    model.start_from_principal_components(torch.cat([next(batches) for _ in range(32)]))
    kernels = [weight for weight in model.parameters() if _is_hidden_kernel(weight)]
    moved = {id(weight) for weight in kernels}
    # Views of the kernels as matrices, on the same memory: what Muon moves.
    matrices = [nn.Parameter(weight.detach().view(len(weight), -1)) for weight in kernels]
    others = [weight for weight in model.parameters() if id(weight) not in moved]
    optimizers: list[tuple[torch.optim.Optimizer, float]] = [
        (torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.98), weight_decay=0.0), settings.learning_rate),
        (torch.optim.Muon(matrices, lr=0.0, weight_decay=0.0, ns_steps=4, adjust_lr_fn="match_rms_adamw"),
         settings.muon_learning_rate),
    ]  # fmt: skip
    bar = tqdm(range(settings.steps), desc="autoencoder", disable=None)
    average = 0.0
    for step in bar:
        factor = min(1.0, (step + 1) / 50) * max(0.02, 0.5 * (1 + math.cos(math.pi * step / settings.steps)))
        for optimizer, rate in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
        loss, error = _loss(model, next(batches), settings)
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for matrix, weight in zip(matrices, kernels, strict=True):
            matrix.grad = None if weight.grad is None else weight.grad.reshape(matrix.shape)
        for optimizer, _ in optimizers:
            optimizer.step()
        average = error if step == 0 else average + 0.02 * (error - average)
        bar.set_postfix(error=f"{average:.4f}", refresh=False)
        if (step + 1) % 200 == 0:
            logger.info("autoencoder: step %d, mean absolute error %.4f", step + 1, average)
    with torch.no_grad():
        means = torch.cat([model.encode_groups(next(batches))[0] for _ in range(16)])
    model.register_to_config(scaling_factor=float(1 / means.std()))
    return model.eval()


def _loss(model: FoldedAutoencoder, groups_GCHW: Tensor, settings: AutoencoderSettings) -> tuple[Tensor, float]:
    """Return the loss, and the mean absolute error of pixels in [-1, 1]."""
    with torch.autocast("cpu", torch.bfloat16):
        mean, logvar = model.encode_groups(groups_GCHW)
        latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        latents = latents + torch.randn_like(mean) * settings.latent_noise * mean.detach().std()
        made_GCHW = model.decode_groups(latents)
    mean, logvar, made_GCHW = mean.float(), logvar.float(), made_GCHW.float()
    error = (made_GCHW - groups_GCHW).abs().mean()
    divergence = 0.5 * (mean.square() + logvar.exp() - logvar - 1).mean()
    loss = error + (made_GCHW - groups_GCHW).square().mean() + settings.kl_weight * divergence
    return loss, float(error.detach())


def _batches(stories: DrawnStories, settings: AutoencoderSettings, fold: int) -> Iterator[Tensor]:
    """Yield groups of frames in [-1, 1], shape (G, C, H, W), channels last in memory.

    A third are one frame over and over, as a clip's first frame is; one of sixteen is a reference.
    """
    random = np.random.default_rng(settings.seed)
    num_stories, num_shots, num_frames = stories.frames_NSFHW3.shape[:3]
    while True:
        groups = []
        for number in range(settings.batch_size):
            story, shot = int(random.integers(num_stories)), int(random.integers(num_shots))
            first = int(random.integers(num_frames - fold + 1))
            frames = stories.frames_NSFHW3[story, shot, first : first + fold]
            if number % 16 == 0:
                frames = np.repeat(stories.references_NHW3[story][None], fold, axis=0)
            elif number % 3 == 0:
                frames = np.repeat(frames[:1], fold, axis=0)
            groups.append(frames.transpose(0, 3, 1, 2).reshape(3 * fold, *frames.shape[1:3]))
        groups_GCHW = torch.from_numpy(np.stack(groups)).float().div_(127.5).sub_(1)
        yield groups_GCHW.contiguous(memory_format=torch.channels_last)


def _is_hidden_kernel(weight: nn.Parameter) -> bool:
    return weight.ndim == 4 and min(weight.shape[0], weight[0].numel()) >= 48
