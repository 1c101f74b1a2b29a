"""Before the adapter is aligned: the scale of the text encoder's features, and those of the empty text.

The adapter multiplies its output by `output_std` and adds `output_mean`, so that it begins at the scale of what the
decoder reads; T5's channels differ by orders of magnitude. And `null_embeds`, the negative condition, has to be what
the decoder knows as such. An adapter that has them already is left alone.

Shape letters used below
    S shots    L text tokens    D width of the text encoder
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["measure_text_scale"]

_WINDOWS = 256
"""Windows that are looked at, the first. Our choice: a mean over their tokens is known to a hundredth."""

_LEAST_STD = 1e-3
"""Below it a channel is taken to be constant. Our choice."""


@torch.no_grad()
def measure_text_scale(pipeline: Any, source: Any, *, pad_weight: float) -> None:
    """Measure mean and deviation of each channel, and store the features of "", where the adapter lacks them.

    Args:
        pipeline: With its text encoder; its adapter is changed.
        source: Windows with text states; where they have none, nothing is measured.
        pad_weight: Weight of a pad against a token's 1, as in the loss.
    """
    adapter = pipeline.adapter
    if not adapter.null_embeds.any():
        pipeline.store_null_embeds()
    if adapter.output_mean.any() or (adapter.output_std != 1).any():
        return
    total = torch.zeros(())
    first_D = second_D = torch.zeros(adapter.config.text_dim, dtype=torch.float64)
    for position in range(min(_WINDOWS, len(source))):
        window = source[position]
        if window.text_states_SLD is None:
            return
        states_SLD = window.text_states_SLD.double()
        weights_SL1 = _weights(window.is_token_SL, states_SLD, pad_weight)
        total = total + weights_SL1.sum()
        first_D = first_D + (weights_SL1 * states_SLD).sum((0, 1))
        second_D = second_D + (weights_SL1 * states_SLD.square()).sum((0, 1))
    mean_D = first_D / total
    deviation_D = (second_D / total - mean_D.square()).clamp(min=0).sqrt()
    adapter.output_mean.copy_(mean_D)
    adapter.output_std.copy_(torch.where(deviation_D < _LEAST_STD, torch.ones(()).double(), deviation_D))


def _weights(is_token_SL: Tensor | None, states_SLD: Tensor, pad_weight: float) -> Tensor:
    if is_token_SL is None:
        return torch.ones_like(states_SLD[..., :1])
    is_token_SL1 = is_token_SL.double()[..., None]
    return is_token_SL1 + pad_weight * (1 - is_token_SL1)
