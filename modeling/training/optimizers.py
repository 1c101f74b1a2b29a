"""How weights move: optimizers, the learning rate over the steps, and the moving average of weights.

The learning rate is a function of the step, so nothing about it has to be kept. Muon moves the hidden matrices along
an orthogonalised gradient and leaves everything else (embeddings, query tokens, biases, norms, gates, input and output
layers) to AdamW, as its authors do. Its step is scaled to the size of AdamW's, so one learning rate serves both.

Sources: AdamW, arXiv 1711.05101. Muon, https://kellerjordan.github.io/posts/muon; the scaling, arXiv 2502.16982.
8-bit states, arXiv 2110.02861 (bitsandbytes). Warm-up of the average as in diffusers' EMAModel.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.training.settings import OptimizerSettings, PartsSettings
from animeshooter_hf.optional import require

__all__ = ["WeightAverage", "check_optimizer", "learning_rate_factor", "make_optimizers", "set_learning_rates"]

NOT_HIDDEN = ("embed", "query_tokens", "output_queries", "slots", "gates", "proj_out", "lm_head", "adapter.out.")
"""Parts of names of matrices that are no hidden layer's: tables, and what stands at the border of a model."""

NamedWeights = Sequence[tuple[str, nn.Parameter]]


def make_optimizers(
    weights: NamedWeights, settings: OptimizerSettings, parts: PartsSettings
) -> list[torch.optim.Optimizer]:
    """Return the optimizers of the trained weights: one, or two for Muon.

    Args:
        weights: Names, which begin with the component's, and parameters.
        settings: Which optimizer, and its numbers.
        parts: Learning rate of each component over the common one.

    Raises:
        InputError: If there is no weight to train, or 8-bit states are wanted on a CPU.
    """
    if not weights:
        raise InputError("Nothing is trained: set the mode of at least one part to full or lora.")
    if settings.name == "muon":
        hidden = [(name, weight) for name, weight in weights if _is_hidden_matrix(name, weight)]
        names = {name for name, _ in hidden}
        others = [(name, weight) for name, weight in weights if name not in names]
        optimizers: list[torch.optim.Optimizer] = []
        if hidden:
            groups = _groups(hidden, settings, parts)
            optimizers.append(torch.optim.Muon(groups, adjust_lr_fn="match_rms_adamw"))
        return [*optimizers, *([_adamw(others, settings, parts)] if others else [])]
    return [_adamw(weights, settings, parts)]


def check_optimizer(settings: OptimizerSettings) -> None:
    """Raise an InputError unless the optimizer runs here; a MissingExtraError if its package is not installed."""
    if settings.name == "adamw8bit":
        if not torch.cuda.is_available():
            raise InputError("The optimizer adamw8bit needs a GPU; adamw runs everywhere.")
        _bitsandbytes()


def learning_rate_factor(step: int, settings: OptimizerSettings, steps: int) -> float:
    """Return the share of the learning rate at a step, counted from 0, of a training of so many steps."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    left = max(0.0, 1.0 - done)
    return left if settings.schedule == "linear" else 0.5 * (1.0 - math.cos(math.pi * left))


def set_learning_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Give every group of weights its learning rate times a factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor


def _adamw(weights: NamedWeights, settings: OptimizerSettings, parts: PartsSettings) -> torch.optim.Optimizer:
    groups = _groups(weights, settings, parts)
    betas = (settings.betas[0], settings.betas[1])
    if settings.name != "adamw8bit":
        return torch.optim.AdamW(groups, betas=betas)
    check_optimizer(settings)
    optimizer: torch.optim.Optimizer = _bitsandbytes().optim.AdamW8bit(groups, betas=betas)
    return optimizer


def _bitsandbytes() -> Any:
    return require("bitsandbytes", extra="quantization", purpose="The optimizer adamw8bit")


def _groups(weights: NamedWeights, settings: OptimizerSettings, parts: PartsSettings) -> list[dict[str, Any]]:
    """Return groups of weights with the same learning rate and decay, in an order that only the names decide."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in weights:
        rate = settings.learning_rate * parts[name.partition(".")[0]].learning_rate_scale
        decay = settings.weight_decay if weight.ndim >= 2 and not _is_table(name) else 0.0
        groups.setdefault((rate, decay), []).append(weight)
    return [
        {"params": members, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), members in sorted(groups.items(), key=lambda group: group[0])
    ]


def _is_table(name: str) -> bool:
    return any(part in name for part in ("embed_tokens", "query_tokens", "output_queries", "slots", "gates"))


def _is_hidden_matrix(name: str, weight: nn.Parameter) -> bool:
    return weight.ndim == 2 and not any(part in name for part in NOT_HIDDEN)


class WeightAverage:
    """The moving average of trained weights, in fp32.

    Early on it forgets faster, by (1 + step) / (10 + step), so that it does not remember the start.
    """

    def __init__(self, weights: NamedWeights, decay: float) -> None:
        """Begin with the weights as they are."""
        self.decay = decay
        self._weights = dict(weights)
        self._average = {name: weight.detach().float().clone() for name, weight in weights}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after a step in; steps are counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, weight in self._weights.items():
            self._average[name].lerp_(weight.detach().float(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average for the time of the block."""
        kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        self._copy(self._average)
        try:
            yield
        finally:
            self._copy(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the average of each weight."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from an average that was kept.

        Raises:
            ValueError: If it is of other weights.
        """
        if set(state) != set(self._average):
            raise ValueError("The moving average that was kept is of other weights.")
        for name, value in state.items():
            self._average[name].copy_(value)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.copy_(values[name])
