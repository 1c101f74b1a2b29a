"""Tell whether a checkpoint, fed chunk by chunk, gives what one pass over everything gives."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animeshooter_hf.modeling.backbones.base import Backbone, ChunkTokens
from animeshooter_hf.modeling.prompt_layout import ShotChunk

__all__ = ["IncrementalCheck", "check_incremental"]


@dataclass(frozen=True, slots=True)
class IncrementalCheck:
    """How far feeding chunk by chunk is from one pass over everything."""

    max_abs_error: float
    """Largest difference of a hidden state."""

    scale: float
    """Largest hidden state."""

    tolerance: float
    """Largest error, relative to the scale or to 1 if that is larger, that counts as equal."""

    with_cache: bool = True
    """Whether chunks were appended to a cache; else everything was read anew for each."""

    @property
    def passed(self) -> bool:
        """Whether the context is exact for this checkpoint."""
        return self.max_abs_error <= self.tolerance * max(1.0, self.scale)


@torch.no_grad()
def check_incremental(
    backbone: Backbone,
    *,
    num_chunks: int = 4,
    num_queries: int = 8,
    tolerance: float = 1e-5,
    seed: int = 0,
    with_cache: bool | None = None,
) -> IncrementalCheck:
    """Return whether a model, fed chunk by chunk, gives the same states as in one pass.

    Args:
        backbone: The model to check. In half precision give a tolerance such as 2e-2.
        num_chunks: Made-up shots with images of noise of different sizes and a caption; the first has two images, the
            third none.
        num_queries: Query tokens per shot.
        tolerance: Largest relative error that counts as equal.
        seed: Of the noise.
        with_cache: Append to a cache, or read everything anew for each chunk; None does what the family's context does.
    """
    with_cache = backbone.is_incremental if with_cache is None else with_cache
    noise = np.random.default_rng(seed)
    chunks = []
    for index in range(num_chunks):
        shape = (64 + 8 * index, 96, 3)
        number = {0: 2, 2: 0}.get(index, 1)
        images = [Image.fromarray(noise.integers(0, 256, shape, np.uint8)) for _ in range(number)]
        chunk = ShotChunk((*images, f"Shot {index}: {'it walks on. ' * index}"))
        chunks.append(backbone.tokenize(chunk, num_queries, opens=not index))
    queries_QM = torch.from_numpy(noise.normal(0, 0.02, (num_queries, backbone.hidden_size))).float()
    read = _read_with_cache if with_cache else _read_anew
    states_1LM, position = read(backbone, chunks, queries_QM)
    whole_1LM, end = backbone.forward(ChunkTokens.joined(chunks), queries_QM)
    error = float((states_1LM.float() - whole_1LM.float()).abs().max()) if end == position else float("inf")
    return IncrementalCheck(error, float(whole_1LM.abs().max()), tolerance, with_cache)


def _read_with_cache(backbone: Backbone, chunks: list[ChunkTokens], queries_QM: Tensor) -> tuple[Tensor, int]:
    cache, position, parts = backbone.new_cache(), 0, []
    for tokens in chunks:
        states_1LM, position = backbone.forward(tokens, queries_QM, cache=cache, first_position=position)
        parts.append(states_1LM)
    return torch.cat(parts, 1), position


def _read_anew(backbone: Backbone, chunks: list[ChunkTokens], queries_QM: Tensor) -> tuple[Tensor, int]:
    position, parts = 0, []
    for number, tokens in enumerate(chunks, start=1):
        states_1LM, position = backbone.forward(ChunkTokens.joined(chunks[:number]), queries_QM)
        parts.append(states_1LM[:, -len(tokens) :])
    return torch.cat(parts, 1), position
