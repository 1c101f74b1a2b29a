"""What the MLLM has read of a story so far: an append-only cache and a running position.

Everything that belongs to a story lives in this object and nothing on the model, so any number of stories can be read
on one model in turns, each in a context of its own. Feeding the same chunks again gives the same states bit by bit,
which is what resuming relies on.

Where the layout says so, the context differs from the plain one, by choice:
  - `window_shots`: a shot sees the references and the last few shots only. What is kept is read anew, with the
    references before the oldest kept shot, so its states are those of a story that begins there, not those it had.
  - `keep_queries=False`: the queries are read on a copy of the cache, which is then dropped.
A family that cannot append exactly (`Backbone.is_incremental`) reads everything anew for each shot, with the same
interface.

Shape letters used below
    Q query tokens    M width of the MLLM
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone, ChunkTokens
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk

__all__ = ["ContextSnapshot", "ShotContext"]

_PLAIN = LayoutSettings()


@dataclass(frozen=True, slots=True, eq=False)
class ContextSnapshot:
    """A context as it was at one moment; it stays good whatever is appended later."""

    cache: Cache | None
    """Keys and values of all layers; None in a context that reads everything anew."""

    position: int
    """Where the next chunk starts."""

    num_tokens: int
    """Tokens in the context."""

    chunks: tuple[ShotChunk, ...]
    """All that was read, whether it is still in the context or not."""

    kept_chunks: tuple[ShotChunk, ...]
    """What is in the context."""

    kept_tokens: tuple[ChunkTokens, ...]
    """The same as tokens, in a context that reads everything anew."""


class ShotContext:
    """The growing context of one story."""

    def __init__(
        self,
        backbone: Backbone,
        query_tokens_QM: Tensor,
        *,
        layout: LayoutSettings = _PLAIN,
        device: torch.device | None = None,
        is_incremental: bool | None = None,
    ) -> None:
        """Open an empty context.

        Args:
            backbone: The model that reads.
            query_tokens_QM: Learnable tokens that follow every chunk.
            layout: Whether queries stay, and how many shots a shot sees.
            device: Where to compute; the model's own device if None.
            is_incremental: Append to a cache, or read everything anew for each shot, which is slower and exact for any
                family; None does what is right for the family.
        """
        self._backbone = backbone
        self._query_tokens_QM = query_tokens_QM
        self._layout = layout
        self._device = device
        self._is_incremental = backbone.is_incremental if is_incremental is None else is_incremental
        self.chunks: tuple[ShotChunk, ...] = ()
        self._kept_chunks: tuple[ShotChunk, ...] = ()
        self._kept_tokens: tuple[ChunkTokens, ...] = ()
        self._clear()

    def __len__(self) -> int:
        """Return how many chunks were read."""
        return len(self.chunks)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the cache, as it is now; 0 in a context that reads everything anew."""
        return sum(_tensor_bytes(vars(layer)) for layer in self._cache.layers) if self._cache is not None else 0

    @property
    def kept_chunks(self) -> tuple[ShotChunk, ...]:
        """What is in the context: all that was read, or the shots of the window, the first with the references."""
        return self._kept_chunks

    def append(self, chunk: ShotChunk) -> Tensor:
        """Read a chunk and return the states at its queries, shape (1, Q, M).

        If the model itself fails on the way, `replay(context.chunks)` brings the context back to where it was.

        Raises:
            InputError: If the model's context is full.
        """
        limit = self._layout.window_shots
        if limit is not None and len(self._kept_chunks) > limit:
            self.window(limit)
        states_1QM = self._read(chunk)
        self.chunks += (chunk,)
        return states_1QM

    def snapshot(self) -> ContextSnapshot:
        """Return the context as it is now."""
        return ContextSnapshot(
            cache=copy.deepcopy(self._cache),
            position=self.position,
            num_tokens=self.num_tokens,
            chunks=self.chunks,
            kept_chunks=self._kept_chunks,
            kept_tokens=self._kept_tokens,
        )

    def restore(self, snapshot: ContextSnapshot) -> None:
        """Go back to a snapshot; it can be restored again later."""
        self._cache = copy.deepcopy(snapshot.cache)
        self.position, self.num_tokens, self.chunks = snapshot.position, snapshot.num_tokens, snapshot.chunks
        self._kept_chunks, self._kept_tokens = snapshot.kept_chunks, snapshot.kept_tokens

    def replay(self, chunks: Iterable[ShotChunk]) -> None:
        """Start anew and read these chunks, one by one, as they were read the first time."""
        self._clear()
        self.chunks = ()
        for chunk in chunks:
            self.append(chunk)

    def window(self, num_shots: int) -> None:
        """Keep the references and the last shots only, and read them anew; a shorter context is left as it is.

        Raises:
            InputError: If `num_shots` is below 1.
        """
        if num_shots < 1:
            raise InputError(f"A window must keep at least 1 shot, got {num_shots}.")
        if len(self._kept_chunks) <= num_shots:
            return
        oldest, *later = self.chunks[-num_shots:]
        self._clear()
        for chunk in (oldest.after_references_of(self.chunks[0]), *later):
            self._read(chunk)

    def _clear(self) -> None:
        self._cache = self._backbone.new_cache() if self._is_incremental else None
        self.position = 0
        self.num_tokens = 0
        self._kept_chunks = ()
        self._kept_tokens = ()

    def _read(self, chunk: ShotChunk) -> Tensor:
        """Read a chunk into the context and return the states at its queries, shape (1, Q, M)."""
        num_queries = len(self._query_tokens_QM)
        keeps = self._layout.keep_queries
        tokens = self._backbone.tokenize(chunk, num_queries if keeps else 0, opens=not self._kept_chunks)
        queries = None if keeps else self._backbone.query_tokens(num_queries)
        self._check_room(len(tokens) + (0 if queries is None else num_queries))
        states_1QM, self.position = (self._read_on if self._is_incremental else self._read_anew)(tokens, queries)
        self.num_tokens += len(tokens)
        self._kept_chunks += (chunk,)
        return states_1QM

    def _check_room(self, num_tokens: int) -> None:
        if self.num_tokens + num_tokens > self._backbone.max_tokens:
            raise InputError(
                f"Shot {len(self)} needs {num_tokens} tokens after {self.num_tokens}, but the model's context holds "
                f"{self._backbone.max_tokens}. Give fewer shots, fewer references or smaller images."
            )

    def _read_on(self, tokens: ChunkTokens, queries: ChunkTokens | None) -> tuple[Tensor, int]:
        """Return the states at the queries and the next position, having appended the tokens to the cache."""
        states_1LM, position = self._forward(tokens, self._cache, self.position)
        if queries is None:
            return states_1LM[:, tokens.is_query_L.to(states_1LM.device)], position
        states_1QM, _ = self._forward(queries, copy.deepcopy(self._cache), position)
        return states_1QM, position

    def _read_anew(self, tokens: ChunkTokens, queries: ChunkTokens | None) -> tuple[Tensor, int]:
        """Return the states at the queries and the next position, having read everything from the start."""
        kept = (*self._kept_tokens, tokens)
        parts = kept if queries is None else (*kept, queries)
        states_1LM, position = self._forward(ChunkTokens.joined(parts), None, 0)
        self._kept_tokens = kept
        return states_1LM[:, -len(self._query_tokens_QM) :], position

    def _forward(self, tokens: ChunkTokens, cache: Cache | None, first_position: int) -> tuple[Tensor, int]:
        return self._backbone.forward(
            tokens, self._query_tokens_QM, cache=cache, first_position=first_position, device=self._device
        )


def _tensor_bytes(parts: Any) -> int:
    """Return the bytes of all tensors among an object's parts, however nested in lists and dicts."""
    if isinstance(parts, Tensor):
        return parts.numel() * parts.element_size()
    if isinstance(parts, dict):
        return sum(_tensor_bytes(part) for part in parts.values())
    return sum(_tensor_bytes(part) for part in parts) if isinstance(parts, list | tuple) else 0
