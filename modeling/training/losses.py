"""Losses: of the video model as its scheduler demands, and of the condition against the text encoder's states.

A noise process says how a clip is noised at a time and what the model has to tell:

  diffusion (CogVideoX)    noisy = sqrt(abar) x + sqrt(1 - abar) e      v = sqrt(abar) e - sqrt(1 - abar) x, or e, or x
  flow (Wan)               noisy = (1 - sigma) x + sigma e              flow = e - x

The loss is the mean squared error of what is told. CogVideoX's own trainers, and that of diffusers, turn the told v
into x and weight its error by 1 / (1 - abar); as x = sqrt(abar) noisy - sqrt(1 - abar) v, that is the same number, so
no weight is needed here. Min-SNR weights are defined on the error of x, as min(snr, gamma), and carried over in the
same way. At the last time of CogVideoX's schedule nothing of the clip is left (snr = 0): the error of v counts in
full without them, and not at all with them.

Sources: v-prediction arXiv 2202.00512; zero terminal SNR arXiv 2305.08891; min-SNR arXiv 2303.09556; flow matching and
logit-normal times arXiv 2403.03206.

Shape letters used below
    B shots    L condition tokens    D width of the condition
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import LossSettings

__all__ = ["AlignmentLoss", "DiffusionProcess", "FlowProcess", "NoiseProcess", "alignment_loss", "diffusion_loss",
           "loss_by_time", "noise_process"]  # fmt: skip


class NoiseProcess(ABC):
    """How clips are noised, and what the model tells of them. Times are what the transformer takes."""

    num_times: int
    """Times from no noise to nothing but noise."""

    def sample_times(self, settings: LossSettings, generators: Sequence[torch.Generator], num_tokens: int) -> Tensor:
        """Return a time for each generator, shape (B,).

        Args:
            settings: "uniform", or "logit_normal" with its mean and deviation.
            generators: One for each shot.
            num_tokens: Video tokens of a shot; some flow models shift times by it.
        """
        draws = []
        for generator in generators:
            if settings.timestep_sampling == "uniform":
                draws.append(torch.rand((), generator=generator, dtype=torch.float64))
            else:
                normal = torch.randn((), generator=generator, dtype=torch.float64)
                draws.append(torch.sigmoid(settings.timestep_mean + settings.timestep_std * normal))
        return self.times_of(torch.stack(draws), num_tokens)

    @abstractmethod
    def times_of(self, shares_B: Tensor, num_tokens: int) -> Tensor:
        """Return the times that stand at these shares, in [0, 1), of the way from no noise to all."""

    @abstractmethod
    def noised(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return the clips, the first axis running over shots, with noise."""

    @abstractmethod
    def target(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return what the model should tell."""

    @abstractmethod
    def snr(self, times_B: Tensor) -> Tensor:
        """Return signal over noise, squared, shape (B,)."""

    @abstractmethod
    def clip_error(self, times_B: Tensor) -> Tensor:
        """Return the squared error of the clip for a squared error of 1 in what is told, shape (B,)."""

    def weights(self, times_B: Tensor, min_snr_gamma: float | None) -> Tensor:
        """Return the weight of each shot's mean squared error, shape (B,)."""
        if min_snr_gamma is None:
            return torch.ones(len(times_B), dtype=torch.float32, device=times_B.device)
        return (self.snr(times_B).clamp(max=min_snr_gamma) * self.clip_error(times_B)).float()


class DiffusionProcess(NoiseProcess):
    """Diffusion with discrete times, as CogVideoX has it."""

    def __init__(self, alphas_cumprod: Tensor, prediction_type: str) -> None:
        """Take the scheduler's schedule and what its model tells.

        Raises:
            InputError: If that is not known, or cannot be told at zero terminal SNR.
        """
        if prediction_type not in ("v_prediction", "epsilon", "sample"):
            raise InputError(f"A model that predicts {prediction_type!r} cannot be trained; known are v_prediction, "
                             "epsilon, sample and flow_prediction.")  # fmt: skip
        self.alphas_cumprod = alphas_cumprod.detach().cpu().double()
        self.prediction_type = prediction_type
        self.num_times = len(alphas_cumprod)

    def times_of(self, shares_B: Tensor, num_tokens: int) -> Tensor:
        """Return whole times; all of them are as likely where shares are uniform."""
        return (shares_B * self.num_times).long().clamp(0, self.num_times - 1)

    def noised(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return sqrt(abar) x + sqrt(1 - abar) e."""
        signal, rest = self._scales(times_B, clips)
        return signal * clips + rest * noise

    def target(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return v, e or x."""
        if self.prediction_type == "sample":
            return clips
        if self.prediction_type == "epsilon":
            return noise
        signal, rest = self._scales(times_B, clips)
        return signal * noise - rest * clips

    def snr(self, times_B: Tensor) -> Tensor:
        """Return abar / (1 - abar)."""
        abar = self._abar(times_B)
        return abar / (1 - abar)

    def clip_error(self, times_B: Tensor) -> Tensor:
        """Return 1 - abar for v, 1 / snr for e, 1 for x."""
        abar = self._abar(times_B)
        if self.prediction_type == "v_prediction":
            return 1 - abar
        return torch.ones_like(abar) if self.prediction_type == "sample" else (1 - abar) / abar

    def weights(self, times_B: Tensor, min_snr_gamma: float | None) -> Tensor:
        """Return the weight of each shot's mean squared error; for e it is gamma / max(snr, gamma), good at snr = 0."""
        if min_snr_gamma is None or self.prediction_type != "epsilon":
            return super().weights(times_B, min_snr_gamma)
        return (min_snr_gamma / self.snr(times_B).clamp(min=min_snr_gamma)).float()

    def _abar(self, times_B: Tensor) -> Tensor:
        return self.alphas_cumprod.to(times_B.device)[times_B]

    def _scales(self, times_B: Tensor, clips: Tensor) -> tuple[Tensor, Tensor]:
        abar = self._abar(times_B.to(clips.device)).view(-1, *[1] * (clips.ndim - 1))
        return abar.sqrt().to(clips.dtype), (1 - abar).sqrt().to(clips.dtype)


class FlowProcess(NoiseProcess):
    """Flow matching along straight lines, as Wan has it; times are continuous."""

    def __init__(
        self, *, num_times: int = 1000, shift: float = 1.0, shift_by_tokens: tuple[float, float] | None = None
    ) -> None:
        """Take what the scheduler says.

        Args:
            num_times: The transformer's time at sigma = 1.
            shift: How far times are moved to more noise: sigma = shift u / (1 + (shift - 1) u).
            shift_by_tokens: (slope, intercept) of the logarithm of the shift over the number of video tokens, for
                models that see more noise the larger a shot is; it takes the place of `shift`.
        """
        self.num_times = num_times
        self.shift = shift
        self.shift_by_tokens = shift_by_tokens

    def times_of(self, shares_B: Tensor, num_tokens: int) -> Tensor:
        """Return times above 0, moved to more noise by the shift."""
        shift = self.shift
        if self.shift_by_tokens is not None:
            shift = math.exp(self.shift_by_tokens[0] * num_tokens + self.shift_by_tokens[1])
        open_B = shares_B.clamp(1e-6, 1.0)
        return (shift * open_B / (1 + (shift - 1) * open_B) * self.num_times).float()

    def noised(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return (1 - sigma) x + sigma e."""
        sigma = self._sigma(times_B, clips)
        return (1 - sigma) * clips + sigma * noise

    def target(self, clips: Tensor, noise: Tensor, times_B: Tensor) -> Tensor:
        """Return e - x."""
        return noise - clips

    def snr(self, times_B: Tensor) -> Tensor:
        """Return ((1 - sigma) / sigma)^2."""
        sigma_B = times_B.double() / self.num_times
        return ((1 - sigma_B) / sigma_B) ** 2

    def clip_error(self, times_B: Tensor) -> Tensor:
        """Return sigma^2, as x = noisy - sigma flow."""
        return (times_B.double() / self.num_times) ** 2

    def _sigma(self, times_B: Tensor, clips: Tensor) -> Tensor:
        return (times_B / self.num_times).to(clips).view(-1, *[1] * (clips.ndim - 1))


def noise_process(scheduler: Any) -> NoiseProcess:
    """Return how a pipeline's scheduler noises clips.

    Raises:
        InputError: If the scheduler is none that is known.
    """
    config = scheduler.config
    predicts = config.get("prediction_type", "flow_prediction")
    is_flow = "sigma" in type(scheduler).__name__.lower() or config.get("use_flow_sigmas", False)
    if is_flow or type(scheduler).__name__.startswith("FlowMatch") or predicts == "flow_prediction":
        if predicts != "flow_prediction":
            raise InputError(f"A flow-matching scheduler whose model predicts {predicts!r} cannot be trained.")
        by_tokens = None
        if config.get("use_dynamic_shifting", False):
            few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
            least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
            slope = (most - least) / (many - few)
            by_tokens = (slope, least - slope * few)
        shift = config.get("flow_shift", config.get("shift", 1.0)) or 1.0
        return FlowProcess(num_times=config.num_train_timesteps, shift=float(shift), shift_by_tokens=by_tokens)
    if not isinstance(getattr(scheduler, "alphas_cumprod", None), Tensor):
        raise InputError(f"A model with the scheduler {type(scheduler).__name__} cannot be trained: neither "
                         "alphas_cumprod nor flow matching.")  # fmt: skip
    return DiffusionProcess(scheduler.alphas_cumprod, predicts)


def diffusion_loss(told: Tensor, target: Tensor, weights_B: Tensor) -> Tensor:
    """Return the weighted mean squared error of each shot, shape (B,), in float32.

    Args:
        told: What the model predicted; the first axis runs over shots.
        target: What it should.
        weights_B: See `NoiseProcess.weights`.

    Raises:
        ValueError: If the shapes differ.
    """
    if told.shape != target.shape:
        raise ValueError(f"The prediction has the shape {tuple(told.shape)}, but the target {tuple(target.shape)}.")
    return weights_B.to(told.device) * (told.float() - target.float()).square().flatten(1).mean(1)


def loss_by_time(losses_N: Tensor, shares_N: Tensor, num_bands: int = 4) -> dict[str, float]:
    """Return band of times -> mean loss of the shots there, such as "loss_at_0.25_to_0.50"; no band without a shot.

    A loss moves with its time far more than with training, so only bands can be compared between steps.

    Args:
        losses_N: Loss of each shot.
        shares_N: Where between no noise (0) and nothing but noise (1) its time lies.
        num_bands: Bands of equal width.
    """
    bands_N = (shares_N * num_bands).long().clamp(0, num_bands - 1)
    return {
        f"loss_at_{band / num_bands:.2f}_to_{(band + 1) / num_bands:.2f}": float(losses_N[bands_N == band].mean())
        for band in range(num_bands)
        if (bands_N == band).any()
    }


@dataclass(frozen=True, slots=True, eq=False)
class AlignmentLoss:
    """How far conditions are from what the text encoder gives."""

    losses_B: Tensor
    """Weighted mean squared error of each shot."""

    token_cosine: Tensor
    """Mean cosine at positions that hold a token, from -1 to 1, higher is better; without gradient."""

    pad_error: Tensor
    """Mean squared error at the pads, 0 where there are none; without gradient."""


def alignment_loss(
    condition_BLD: Tensor, text_states_BLD: Tensor, is_token_BL: Tensor | None = None, pad_weight: float = 1.0
) -> AlignmentLoss:
    """Return the loss of aligning conditions to the text encoder's states.

    Args:
        condition_BLD: What the adapter gives.
        text_states_BLD: What the text encoder gives for the captions.
        is_token_BL: Positions of the caption; the rest are pads. None takes all for tokens.
        pad_weight: Weight of a pad against 1. A caption of 20 words leaves 200 of 226 positions to pads, whose error
            would drown its own; CogVideoX reads them, so it may not be 0 in the end.

    Raises:
        ValueError: If the shapes differ.
    """
    if condition_BLD.shape != text_states_BLD.shape:
        raise ValueError(f"The condition has the shape {tuple(condition_BLD.shape)}, but the text encoder's states "
                         f"{tuple(text_states_BLD.shape)}.")  # fmt: skip
    told, wanted = condition_BLD.float(), text_states_BLD.float()
    is_token = torch.ones(told.shape[:2], device=told.device) if is_token_BL is None else is_token_BL.to(told)
    errors_BL = (told - wanted).square().mean(-1)
    weights_BL = is_token + pad_weight * (1 - is_token)
    with torch.no_grad():
        cosine_BL = torch.nn.functional.cosine_similarity(told, wanted, dim=-1)
        pads = 1 - is_token
        cosine = (cosine_BL * is_token).sum() / is_token.sum().clamp(min=1)
        pad_error = (errors_BL * pads).sum() / pads.sum().clamp(min=1)
    losses_B = (errors_BL * weights_BL).sum(1) / weights_BL.sum(1).clamp(min=1e-12)
    return AlignmentLoss(losses_B, cosine, pad_error)
