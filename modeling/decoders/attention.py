"""Attention of CogVideoX through diffusers' dispatcher, so that backends really switch and references can join.

`CogVideoXAttnProcessor2_0` of diffusers 0.42 calls PyTorch's attention itself: `set_attention_backend` succeeds and
changes nothing. The processor here does the same arithmetic through `dispatch_attention_fn`; with the native backend
its results are bit-equal.

Reference tokens, if there are any, stand at the end of the sequence. The shot attends to itself exactly as without
them, and each of its video tokens adds what it finds in the references, times a gate per head:

    shot        = attention(q_shot, k_shot, v_shot)
    shot_video += gate * attention(q_video, k_references, v_references)
    references  = attention(q_references, k_references, v_references)

Shape letters used below
    B shots    T text tokens    V video tokens    R reference tokens    S = T + V + R    H heads    D width of a head
    N layers
"""

from typing import Any

import torch
from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn
from diffusers.models.attention_processor import Attention, CogVideoXAttnProcessor2_0
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn

from animeshooter_hf.errors import InputError

__all__ = [
    "CogVideoXDispatchProcessor",
    "check_attention_backend",
    "install_dispatching_attention",
    "set_attention_backend",
    "use_plain_attention_in_training",
]

_PROBE_TOKENS = 64
"""Tokens of the attention that is tried before a backend is taken."""


_PLAIN_TOKENS = 320
"""Keys up to which plain products are faster than the CPU's fused attention in bfloat16, backward pass included: 3.5
times at 92, 2.3 times at 200, no longer at 496. In float32 they are not, at any length."""


class CogVideoXDispatchProcessor:
    """`CogVideoXAttnProcessor2_0` over diffusers' dispatcher, with room for reference tokens."""

    _attention_backend = None  # diffusers sets this one; None is whatever is active
    _parallel_config = None
    is_plain_in_training = False

    def __init__(self, layer: int) -> None:
        """Remember which layer's gates are ours."""
        self.layer = layer

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        num_reference_tokens: int = 0,
        reference_gates_BNH: Tensor | None = None,
        sees_BR: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the states of video (and references), and of text, after attention.

        Args:
            attn: The module with the projections.
            hidden_states: Video tokens, then reference tokens.
            encoder_hidden_states: Text tokens.
            attention_mask: Passed on to the backend.
            image_rotary_emb: Rotary embeddings of video and references, (V + R, D) each; None for sine positions.
            num_reference_tokens: R.
            reference_gates_BNH: The gates of every layer.
            sees_BR: Which reference tokens each shot sees, at least one; None for all. It needs a backend that takes a
                mask, as the native ones do.
        """
        num_text = encoder_hidden_states.shape[1]
        joint = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        query_BSHD, key_BSHD, value_BSHD = (
            layer(joint).unflatten(2, (attn.heads, -1)) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        query_BSHD = query_BSHD if attn.norm_q is None else attn.norm_q(query_BSHD)
        key_BSHD = key_BSHD if attn.norm_k is None else attn.norm_k(key_BSHD)
        if image_rotary_emb is not None:
            query_BSHD, key_BSHD = (
                torch.cat(
                    [states[:, :num_text], apply_rotary_emb(states[:, num_text:], image_rotary_emb, sequence_dim=1)],
                    dim=1,
                )
                for states in (query_BSHD, key_BSHD)
            )
        if num_reference_tokens and reference_gates_BNH is not None:
            gate_B1H1 = reference_gates_BNH[:, self.layer, None, :, None].to(query_BSHD)
            out_BSHD = self._with_references(
                query_BSHD, key_BSHD, value_BSHD, num_text, num_reference_tokens, gate_B1H1, sees_BR
            )
        else:
            out_BSHD = self._attend(query_BSHD, key_BSHD, value_BSHD, attention_mask)
        joint = attn.to_out[1](attn.to_out[0](out_BSHD.flatten(2).to(query_BSHD.dtype)))
        return joint[:, num_text:], joint[:, :num_text]

    def _with_references(
        self,
        query_BSHD: Tensor,
        key_BSHD: Tensor,
        value_BSHD: Tensor,
        num_text: int,
        num_refs: int,
        gate_B1H1: Tensor,
        sees_BR: Tensor | None,
    ) -> Tensor:
        """Return the attention that the file's docstring writes down."""
        shot = slice(None, -num_refs)
        refs = slice(-num_refs, None)
        shot_BSHD = self._attend(query_BSHD[:, shot], key_BSHD[:, shot], value_BSHD[:, shot])
        key_BRHD, value_BRHD = key_BSHD[:, refs], value_BSHD[:, refs]
        mask = None if sees_BR is None else sees_BR[:, None, None]
        found_BVHD = self._attend(query_BSHD[:, num_text:-num_refs], key_BRHD, value_BRHD, mask)
        video_BVHD = shot_BSHD[:, num_text:] + gate_B1H1 * found_BVHD
        refs_BRHD = self._attend(query_BSHD[:, refs], key_BRHD, value_BRHD, mask)
        return torch.cat([shot_BSHD[:, :num_text], video_BVHD, refs_BRHD], dim=1)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.is_plain_in_training and torch.is_grad_enabled() and _is_faster_plain(query, key):
            return _plain_attention(query, key, value, mask)
        found: Tensor = dispatch_attention_fn(
            query, key, value, attn_mask=mask, backend=self._attention_backend, parallel_config=self._parallel_config
        )
        return found


def install_dispatching_attention(transformer: Any) -> None:
    """Give a CogVideoX transformer our processor; other transformers dispatch already and stay as they are.

    Raises:
        InputError: If another processor than diffusers' own stands there, such as that of fused projections.
    """
    _check_processors(transformer)
    for layer, block in enumerate(getattr(transformer, "transformer_blocks", ())):
        if not isinstance(block.attn1.processor, CogVideoXDispatchProcessor):
            block.attn1.set_processor(CogVideoXDispatchProcessor(layer))


def use_plain_attention_in_training(transformer: Any) -> None:
    """Where gradients are kept, let a CogVideoX transformer attend by plain products if they are faster.

    They are on a CPU, in bfloat16, for short sequences. What is computed without gradients stays as it is; results
    differ by rounding. Another backend that was set goes before.

    Raises:
        InputError: If another processor than diffusers' own stands there.
    """
    install_dispatching_attention(transformer)
    for block in getattr(transformer, "transformer_blocks", ()):
        processor = block.attn1.processor
        processor.is_plain_in_training = processor._attention_backend is None


def _is_faster_plain(query: Tensor, key: Tensor) -> bool:
    return query.device.type == "cpu" and query.dtype == torch.bfloat16 and key.shape[1] <= _PLAIN_TOKENS


def _plain_attention(query_BSHD: Tensor, key_BSHD: Tensor, value_BSHD: Tensor, mask: Tensor | None) -> Tensor:
    """Return softmax(q k / sqrt(D)) v; a bool mask says what is seen."""
    query_BHSD, key_BHSD, value_BHSD = (states.transpose(1, 2) for states in (query_BSHD, key_BSHD, value_BSHD))
    scores = query_BHSD @ key_BHSD.transpose(-1, -2) * query_BHSD.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (torch.softmax(scores, dim=-1, dtype=torch.float32).to(value_BHSD.dtype) @ value_BHSD).transpose(1, 2)


def _check_processors(transformer: Any) -> None:
    for block in getattr(transformer, "transformer_blocks", ()):
        processor = block.attn1.processor
        if not isinstance(processor, CogVideoXAttnProcessor2_0 | CogVideoXDispatchProcessor):
            raise InputError(
                "Attention backends and reference latents need CogVideoX's own attention, but "
                f"{type(processor).__name__} stands in its place. Call unfuse_qkv_projections() first."
            )


def set_attention_backend(transformer: Any, backend: str, *, device: torch.device | str | None = None) -> None:
    """Compute this transformer's attention with another backend of diffusers; no other model is touched.

    Args:
        transformer: A CogVideoX or Wan transformer.
        backend: A name of diffusers, such as "native", "flash", "sage", "flex", "_native_cudnn".
        device: Where it will run; the transformer's own device if None.

    Raises:
        InputError: If the backend is unknown, not installed, or fails when it is tried once on that device.
    """
    check_attention_backend(transformer, backend, device=device)
    install_dispatching_attention(transformer)
    # diffusers also makes it the default of every other model; the context puts that back.
    with attention_backend(backend):
        transformer.set_attention_backend(backend)


def check_attention_backend(transformer: Any, backend: str, *, device: torch.device | str | None = None) -> None:
    """Raise an InputError unless `set_attention_backend` would succeed.

    One small attention of the transformer's shape is run, as installed does not mean working.
    """
    _check_processors(transformer)
    device = torch.device(device or transformer.device)
    attention = next(module for module in transformer.modules() if isinstance(getattr(module, "to_q", None), nn.Module))
    shape = (1, _PROBE_TOKENS, attention.heads, attention.to_q.out_features // attention.heads)
    probe = torch.zeros(shape, dtype=transformer.dtype, device=device)
    try:
        with attention_backend(backend), torch.no_grad():
            dispatch_attention_fn(probe, probe, probe)
    except Exception as error:
        # The kernels raise whatever they like: RuntimeError, ValueError, ImportError, AssertionError, their own.
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"The attention backend {backend!r} is not available on {device.type} for {transformer.dtype}: {lines[0]}"
        ) from error
