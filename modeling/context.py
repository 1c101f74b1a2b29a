"""What the MLLM has read of a story so far: an append-only cache and a running position.

Everything that belongs to a story lives in this object and nothing on the model, so two stories on one model cannot
touch each other. Feeding the same chunks again gives the same states bit by bit, which is what resuming relies on.

Shape letters used below
    Q query tokens    M width of the MLLM
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone
from animeshooter_hf.modeling.prompt_layout import ShotChunk

__all__ = ["ContextSnapshot", "ShotContext"]


@dataclass(frozen=True, slots=True, eq=False)
class ContextSnapshot:
    """A context as it was at one moment; it stays good whatever is appended later."""

    cache: Cache
    """Keys and values of all layers."""

    position: int
    """Where the next chunk starts."""

    num_tokens: int
    """Tokens read."""

    chunks: tuple[ShotChunk, ...]
    """What was read."""


class ShotContext:
    """The growing context of one story."""

    def __init__(self, backbone: Backbone, query_tokens_QM: Tensor, *, device: torch.device | None = None) -> None:
        """Open an empty context.

        Args:
            backbone: The model that reads.
            query_tokens_QM: Learnable tokens that follow every chunk.
            device: Where to compute; the model's own device if None.
        """
        self._backbone = backbone
        self._query_tokens_QM = query_tokens_QM
        self._device = device
        self._cache = backbone.new_cache()
        self.position = 0
        self.num_tokens = 0
        self.chunks: tuple[ShotChunk, ...] = ()

    def __len__(self) -> int:
        """Return how many chunks were read."""
        return len(self.chunks)

    def append(self, chunk: ShotChunk) -> Tensor:
        """Read a chunk and return the states at its queries, shape (1, Q, M).

        Raises:
            InputError: If the model's context is full.
        """
        tokens = self._backbone.tokenize(chunk, len(self._query_tokens_QM))
        if self.num_tokens + len(tokens) > self._backbone.max_tokens:
            raise InputError(
                f"Shot {len(self)} needs {len(tokens)} tokens after {self.num_tokens}, but the model's context holds "
                f"{self._backbone.max_tokens}. Give fewer shots, fewer references or smaller images."
            )
        states_1LM, self.position = self._backbone.forward(
            tokens,
            self._query_tokens_QM,
            cache=self._cache,
            first_position=self.position,
            device=self._device,
        )
        self.num_tokens += len(tokens)
        self.chunks += (chunk,)
        return states_1LM[:, tokens.is_query_L.to(states_1LM.device)]

    def snapshot(self) -> ContextSnapshot:
        """Return the context as it is now."""
        return ContextSnapshot(copy.deepcopy(self._cache), self.position, self.num_tokens, self.chunks)

    def restore(self, snapshot: ContextSnapshot) -> None:
        """Go back to a snapshot; it can be restored again later."""
        self._cache = copy.deepcopy(snapshot.cache)
        self.position, self.num_tokens, self.chunks = snapshot.position, snapshot.num_tokens, snapshot.chunks

    def replay(self, chunks: Iterable[ShotChunk]) -> None:
        """Start anew and read these chunks, one by one, as they were read the first time."""
        self._cache = self._backbone.new_cache()
        self.position, self.num_tokens, self.chunks = 0, 0, ()
        for chunk in chunks:
            self.append(chunk)
