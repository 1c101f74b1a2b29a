"""The families of multimodal language models, and the only code that knows them.

A backbone turns chunks into tokens and tokens into hidden states. It calls the model at its top level with explicit
positions, because
  - offloading hooks hang on the top-level `forward`,
  - the M-RoPE positions that the Qwen models infer for a second chunk with an image are silently wrong: they come from
    `rope_deltas`, which the last call left on the model object, perhaps from another story.
`check_incremental` tells whether a checkpoint, fed chunk by chunk, gives what one pass over everything gives.

Shape letters used below
    L tokens    Q query tokens    M width of the MLLM    P image patches    C values per patch    I images
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import Cache, DynamicCache

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.prompt_layout import ShotChunk, tokenize_text

__all__ = [
    "BACKBONES",
    "Backbone",
    "ChunkTokens",
    "IncrementalCheck",
    "QwenVLBackbone",
    "backbone_for",
    "check_incremental",
]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTokens:
    """One chunk, or several in a row, ready for the MLLM."""

    ids_L: Tensor
    """Token IDs; what stands at a query is replaced."""

    is_image_L: Tensor
    """Whether a token stands for a part of an image."""

    is_query_L: Tensor
    """Whether a token is a query."""

    pixels_PC: Tensor | None
    """Patches of all images, or None where there is no image."""

    grid_I3: Tensor | None
    """Patches of each image along time, height and width."""

    def __len__(self) -> int:
        return len(self.ids_L)

    @classmethod
    def joined(cls, parts: Sequence["ChunkTokens"]) -> "ChunkTokens":
        """Return several chunks as one."""
        pixels = [part.pixels_PC for part in parts if part.pixels_PC is not None]
        grids = [part.grid_I3 for part in parts if part.grid_I3 is not None]
        return cls(
            ids_L=torch.cat([part.ids_L for part in parts]),
            is_image_L=torch.cat([part.is_image_L for part in parts]),
            is_query_L=torch.cat([part.is_query_L for part in parts]),
            pixels_PC=torch.cat(pixels) if pixels else None,
            grid_I3=torch.cat(grids) if grids else None,
        )


class Backbone(ABC):
    """One family of MLLMs, around a model and its processor."""

    model_types: ClassVar[tuple[str, ...]]
    """Values of `config.model_type` that this class knows."""

    def __init__(self, mllm: Any, processor: Any, *, max_text_tokens: int = 512) -> None:
        """Wrap a model.

        Args:
            mllm: The model with its language head, as `from_pretrained` gives it.
            processor: Its processor.
            max_text_tokens: Tokens to which a caption is cut, with a warning.
        """
        self.mllm = mllm
        self.processor = processor
        self.max_text_tokens = max_text_tokens

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.mllm.config.get_text_config().hidden_size)

    @property
    def max_tokens(self) -> int:
        """Tokens that the context can hold."""
        return int(self.mllm.config.get_text_config().max_position_embeddings)

    @abstractmethod
    def new_cache(self) -> Cache:
        """Return an empty cache to which chunks can be appended exactly."""

    @abstractmethod
    def tokenize(self, chunk: ShotChunk, num_queries: int) -> ChunkTokens:
        """Return the tokens of a chunk, with `num_queries` queries after it."""

    @abstractmethod
    def forward(
        self,
        tokens: ChunkTokens,
        query_tokens_QM: Tensor,
        *,
        cache: Cache | None = None,
        first_position: int = 0,
        device: torch.device | None = None,
    ) -> tuple[Tensor, int]:
        """Return the last hidden states, shape (1, L, M), and the position at which the next chunk starts.

        Args:
            tokens: What to read.
            query_tokens_QM: What stands at the queries of each chunk.
            cache: What was read before; it grows by these tokens. None reads without any past.
            first_position: Where the tokens start; 0, or what the call before returned.
            device: Where to compute; the model's own device if None.
        """


class QwenVLBackbone(Backbone):
    """Qwen2.5-VL and Qwen3-VL: images as `<|vision_start|>` pads `<|vision_end|>`, positions in three axes (M-RoPE)."""

    model_types = ("qwen2_5_vl", "qwen3_vl")

    def new_cache(self) -> Cache:
        """Return an empty cache to which chunks can be appended exactly."""
        return DynamicCache(config=self.mllm.config.get_text_config())

    def tokenize(self, chunk: ShotChunk, num_queries: int) -> ChunkTokens:
        """Return the tokens of a chunk, with `num_queries` queries after it."""
        config = self.mllm.config
        pixels_PC = grid_I3 = None
        lengths: list[int] = []
        if chunk.images:
            encoded = self.processor.image_processor(images=list(chunk.images), return_tensors="pt")
            pixels_PC, grid_I3 = encoded["pixel_values"], encoded["image_grid_thw"]
            lengths = (grid_I3.prod(-1) // self.processor.image_processor.merge_size**2).tolist()
        ids: list[int] = []
        remaining = iter(lengths)
        for segment in chunk.segments:
            if isinstance(segment, str):
                ids += tokenize_text(self.processor.tokenizer, segment, self.max_text_tokens)
            else:
                pads = [config.image_token_id] * next(remaining)
                ids += [config.vision_start_token_id, *pads, config.vision_end_token_id]
        ids_L = torch.tensor(ids + [0] * num_queries)
        is_query_L = torch.arange(len(ids_L)) >= len(ids)
        return ChunkTokens(
            ids_L=ids_L,
            is_image_L=(ids_L == config.image_token_id) & ~is_query_L,
            is_query_L=is_query_L,
            pixels_PC=pixels_PC,
            grid_I3=grid_I3,
        )

    def forward(
        self,
        tokens: ChunkTokens,
        query_tokens_QM: Tensor,
        *,
        cache: Cache | None = None,
        first_position: int = 0,
        device: torch.device | None = None,
    ) -> tuple[Tensor, int]:
        """Return the last hidden states, shape (1, L, M), and the position at which the next chunk starts."""
        device = device or self.mllm.device
        positions_31L, _ = self.mllm.model.get_rope_index(
            tokens.ids_L[None], mm_token_type_ids=tokens.is_image_L[None].long(), image_grid_thw=tokens.grid_I3
        )
        positions_31L = positions_31L + first_position
        embeds_1LM = self._embed(tokens, query_tokens_QM, device)
        output = self.mllm(
            inputs_embeds=embeds_1LM,
            position_ids=positions_31L.to(device),
            pixel_values=None if tokens.pixels_PC is None else tokens.pixels_PC.to(device),
            image_grid_thw=None if tokens.grid_I3 is None else tokens.grid_I3.to(device),
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=True,
            logits_to_keep=1,
        )
        return output.hidden_states[-1], int(positions_31L.max()) + 1

    def _embed(self, tokens: ChunkTokens, query_tokens_QM: Tensor, device: torch.device) -> Tensor:
        """Return the input embeddings with the queries at their places, shape (1, L, M)."""
        table = self.mllm.get_input_embeddings()
        # A hook on the whole model has not moved the table yet; one on the table itself ("meta" weights) moves the IDs.
        where = device if table.weight.is_meta else table.weight.device
        embeds_1LM: Tensor = table(tokens.ids_L[None].to(where)).to(device)
        times = int(tokens.is_query_L.sum()) // len(query_tokens_QM)
        queries = query_tokens_QM.repeat(times, 1).to(embeds_1LM)
        return embeds_1LM.masked_scatter(tokens.is_query_L.to(device)[None, :, None], queries)


BACKBONES: dict[str, type[Backbone]] = {name: family for family in (QwenVLBackbone,) for name in family.model_types}
"""`config.model_type` -> the class that knows the family."""


def backbone_for(mllm: Any, processor: Any, *, max_text_tokens: int = 512) -> Backbone:
    """Return the backbone of a model's family.

    Raises:
        InputError: If the family is not known.
    """
    model_type = getattr(getattr(mllm, "config", None), "model_type", type(mllm).__name__)
    if model_type not in BACKBONES:
        known = ", ".join(sorted(BACKBONES))
        raise InputError(f"The multimodal model of type {model_type!r} is not supported; supported are {known}.")
    return BACKBONES[model_type](mllm, processor, max_text_tokens=max_text_tokens)


@dataclass(frozen=True, slots=True)
class IncrementalCheck:
    """How far feeding chunk by chunk is from one pass over everything."""

    max_abs_error: float
    """Largest difference of a hidden state."""

    scale: float
    """Largest hidden state."""

    tolerance: float
    """Largest error, relative to the scale or to 1 if that is larger, that counts as equal."""

    @property
    def passed(self) -> bool:
        """Whether the append-only context is exact for this checkpoint."""
        return self.max_abs_error <= self.tolerance * max(1.0, self.scale)


@torch.no_grad()
def check_incremental(
    backbone: Backbone, *, num_chunks: int = 4, num_queries: int = 8, tolerance: float = 1e-5, seed: int = 0
) -> IncrementalCheck:
    """Return whether a model, fed chunk by chunk, gives the same states as in one pass.

    Args:
        backbone: The model to check. In half precision give a tolerance such as 2e-2.
        num_chunks: Made-up shots, each with an image of noise and a caption; the first has two images.
        num_queries: Query tokens per shot.
        tolerance: Largest relative error that counts as equal.
        seed: Of the noise.
    """
    noise = np.random.default_rng(seed)
    chunks = []
    for index in range(num_chunks):
        shape = (64 + 8 * index, 96, 3)
        images = [Image.fromarray(noise.integers(0, 256, shape, np.uint8)) for _ in range(2 if index == 0 else 1)]
        chunks.append(backbone.tokenize(ShotChunk((*images, f"Shot {index}: {'it walks on. ' * index}")), num_queries))
    queries_QM = torch.from_numpy(noise.normal(0, 0.02, (num_queries, backbone.hidden_size))).float()
    cache, position, parts = backbone.new_cache(), 0, []
    for tokens in chunks:
        states_1LM, position = backbone.forward(tokens, queries_QM, cache=cache, first_position=position)
        parts.append(states_1LM)
    whole_1LM, end = backbone.forward(ChunkTokens.joined(chunks), queries_QM)
    error = float((torch.cat(parts, 1).float() - whole_1LM.float()).abs().max()) if end == position else float("inf")
    return IncrementalCheck(max_abs_error=error, scale=float(whole_1LM.abs().max()), tolerance=tolerance)
