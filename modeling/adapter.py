"""Turn what the MLLM says about a shot into the text condition of a video decoder.

The learnable query tokens are part of the adapter: they are spliced into the MLLM's input after the caption, and the
states that the MLLM gives at their places are what this model reads. A fixed number of output queries attend to each
other and to those states, and a projection brings them to the width of the decoder's text features.

Source: AnimeShooter, arXiv 2506.03126, section 4 (64 queries, a 12-layer Q-Former). The paper leaves the width and the
number of output tokens open; both are ours, the latter fixed by CogVideoX-2B, which takes exactly 226 tokens.

Shape letters used below
    B batch    Q query tokens    L condition tokens
    M width of the MLLM    H width in here    D width of the condition
"""

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from torch import Tensor, nn

from animeshooter_hf.errors import InputError

__all__ = ["QueryBlock", "ShotConditionAdapter"]


class QueryBlock(nn.Module):
    """Self-attention of the output queries, cross-attention to the MLLM's states, and an MLP; each pre-normed."""

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(hidden_size)
        self.self_attention = _Attention(hidden_size, num_heads)
        self.cross_norm = nn.LayerNorm(hidden_size)
        self.cross_attention = _Attention(hidden_size, num_heads)
        self.mlp_norm = nn.LayerNorm(hidden_size)
        inner = int(hidden_size * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(hidden_size, inner), nn.GELU(), nn.Linear(inner, hidden_size))

    def forward(self, hidden_BLH: Tensor, states_BQH: Tensor) -> Tensor:
        """Return the output queries after one round of looking."""
        normed_BLH = self.self_norm(hidden_BLH)
        hidden_BLH = hidden_BLH + self.self_attention(normed_BLH, normed_BLH)
        hidden_BLH = hidden_BLH + self.cross_attention(self.cross_norm(hidden_BLH), states_BQH)
        return cast(Tensor, hidden_BLH + self.mlp(self.mlp_norm(hidden_BLH)))


class ShotConditionAdapter(ModelMixin, ConfigMixin, PeftAdapterMixin):
    """The Q-Former between the MLLM and the decoder.

    `query_tokens` (Q, M) go into the MLLM's input. `null_embeds` (1, L, D) is the condition for "no condition" in
    classifier-free guidance; it is stored, so that no text encoder has to be loaded for it. `output_mean` and
    `output_std` (D,) bring the output to the scale of the decoder's text features; they are measured, not learnt.
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["QueryBlock"]  # noqa: RUF012 - diffusers reads a list
    _repeated_blocks = ["QueryBlock"]  # noqa: RUF012 - diffusers reads a list

    @register_to_config
    def __init__(
        self,
        num_queries: int = 64,
        mllm_hidden_size: int = 2048,
        condition_length: int = 226,
        text_dim: int = 4096,
        hidden_size: int = 768,
        num_layers: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
    ) -> None:
        """Make an adapter with random weights.

        Args:
            num_queries: Query tokens given to the MLLM. Paper: 64.
            mllm_hidden_size: Width of the MLLM's states.
            condition_length: Tokens of the condition. CogVideoX-2B: exactly 226.
            text_dim: Width of the condition. CogVideoX: 4096.
            hidden_size: Width in here. Our choice, as in BLIP-2.
            num_layers: Blocks. Paper: 12.
            num_heads: Attention heads.
            mlp_ratio: Width of the MLP over `hidden_size`.

        Raises:
            ValueError: If a size is below 1, or the heads do not divide `hidden_size`.
        """
        super().__init__()
        sizes = (num_queries, mllm_hidden_size, condition_length, text_dim, hidden_size, num_layers, num_heads)
        if min(sizes) < 1:
            raise ValueError(f"Every size of the adapter must be at least 1, got {sizes}.")
        if hidden_size % num_heads:
            raise ValueError(f"num_heads must divide hidden_size, got {num_heads} and {hidden_size}.")
        self.query_tokens = nn.Parameter(torch.randn(num_queries, mllm_hidden_size) * 0.02)
        self.output_queries = nn.Parameter(torch.randn(condition_length, hidden_size) * 0.02)
        self.state_norm = nn.LayerNorm(mllm_hidden_size)
        self.state_in = nn.Linear(mllm_hidden_size, hidden_size)
        self.blocks = nn.ModuleList([QueryBlock(hidden_size, num_heads, mlp_ratio) for _ in range(num_layers)])
        self.out_norm = nn.LayerNorm(hidden_size)
        self.out = nn.Linear(hidden_size, text_dim)
        self.register_buffer("null_embeds", torch.zeros(1, condition_length, text_dim))
        self.register_buffer("output_mean", torch.zeros(text_dim))
        self.register_buffer("output_std", torch.ones(text_dim))
        self.gradient_checkpointing = False

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Return a saved adapter. For the options see diffusers.

        Raises:
            InputError: If the checkpoint lacks a weight; diffusers would leave it as it was made, and only warn.
        """
        wants_report = kwargs.pop("output_loading_info", False)
        model, report = super().from_pretrained(pretrained_model_name_or_path, output_loading_info=True, **kwargs)
        missing = sorted(report["missing_keys"])
        if missing:
            raise InputError(
                f"The checkpoint {pretrained_model_name_or_path} is not whole: {len(missing)} weights of adapter are "
                f"missing, such as {missing[0]}."
            )
        return (model, report) if wants_report else model

    @property
    def condition_shape(self) -> tuple[int, int]:
        """Tokens and width of the condition, (L, D)."""
        return self.config.condition_length, self.config.text_dim

    def forward(self, states_BQM: Tensor) -> Tensor:
        """Return the condition of shape (B, L, D).

        Args:
            states_BQM: The MLLM's last hidden states at the query tokens.

        Raises:
            ValueError: If the shape is another.
        """
        expected = (self.config.num_queries, self.config.mllm_hidden_size)
        if states_BQM.ndim != 3 or tuple(states_BQM.shape[1:]) != expected:
            raise ValueError(f"The states must have the shape (batch, {expected[0]}, {expected[1]}), "
                             f"got {tuple(states_BQM.shape)}.")  # fmt: skip
        states_BQH = self.state_in(self.state_norm(states_BQM.to(self.state_norm.weight.dtype)))
        hidden_BLH = self.output_queries.expand(states_BQM.shape[0], -1, -1)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_BLH = self._gradient_checkpointing_func(block, hidden_BLH, states_BQH)
            else:
                hidden_BLH = block(hidden_BLH, states_BQH)
        return cast(Tensor, self.out(self.out_norm(hidden_BLH)) * self.output_std + self.output_mean)

    def set_null_embeds(self, null_embeds: Tensor) -> None:
        """Store the condition for "no condition", such as the text encoder's features of "".

        Raises:
            ValueError: If its shape is not (1, L, D).
        """
        if null_embeds.shape != self.null_embeds.shape:
            raise ValueError(
                f"null_embeds must have the shape {tuple(self.null_embeds.shape)}, got {tuple(null_embeds.shape)}."
            )
        self.null_embeds.copy_(null_embeds)


class _Attention(nn.Module):
    """Multi-head attention of one sequence to another of the same width."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(hidden_size, hidden_size)
        self.to_k = nn.Linear(hidden_size, hidden_size)
        self.to_v = nn.Linear(hidden_size, hidden_size)
        self.to_out = nn.Linear(hidden_size, hidden_size)

    def forward(self, query_BLH: Tensor, context_BQH: Tensor) -> Tensor:
        q, k, v = (
            layer(sequence).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, sequence in ((self.to_q, query_BLH), (self.to_k, context_BQH), (self.to_v, context_BQH))
        )
        return cast(Tensor, self.to_out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))
