"""What every family of multimodal language models has in common: chunks become tokens, and tokens hidden states.

A backbone calls the model at its top level with explicit positions, because
  - offloading hooks hang on the top-level `forward`,
  - positions that a model infers for a later chunk may be silently wrong (see `qwen_vl.py`).
Images go through the family's own processor; texts are tokenised apart from them, so that no text can be read as an
image.

Shape letters used below
    L tokens    Q query tokens    M width of the MLLM    I images
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from transformers import Cache, DynamicCache

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.prompt_layout import ShotChunk, tokenize_text

__all__ = ["Backbone", "ChunkTokens", "EncodedImages"]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTokens:
    """One chunk, or several in a row, ready for the MLLM."""

    ids_L: Tensor
    """Token IDs; what stands at a query is replaced."""

    is_image_L: Tensor
    """Whether a token stands for a part of an image."""

    is_query_L: Tensor
    """Whether a token is a query."""

    images: Mapping[str, Tensor] = field(default_factory=dict)
    """What the model is given for the images, by argument; the first axis runs over patches, tiles or images."""

    def __len__(self) -> int:
        return len(self.ids_L)

    @classmethod
    def joined(cls, parts: Sequence["ChunkTokens"]) -> "ChunkTokens":
        """Return several chunks as one."""
        names = dict.fromkeys(name for part in parts for name in part.images)
        return cls(
            ids_L=torch.cat([part.ids_L for part in parts]),
            is_image_L=torch.cat([part.is_image_L for part in parts]),
            is_query_L=torch.cat([part.is_query_L for part in parts]),
            images={name: torch.cat([part.images[name] for part in parts if name in part.images]) for name in names},
        )


@dataclass(frozen=True, slots=True, eq=False)
class EncodedImages:
    """Images as a family's processor gives them."""

    ids: Sequence[Sequence[int]]
    """Per image: its tokens, with what the family puts around them."""

    tensors: Mapping[str, Tensor]
    """See `ChunkTokens.images`."""


class Backbone(ABC):
    """One family of MLLMs, around a model and its processor."""

    model_types: ClassVar[tuple[str, ...]]
    """Values of `config.model_type` that this class knows."""

    is_incremental: ClassVar[bool] = True
    """Whether chunks can be appended to a cache exactly. Where not, the context reads everything anew for each shot."""

    opens_with_bos: ClassVar[bool] = False
    """Whether the family was trained with a beginning-of-sequence token; it then opens a context."""

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

    @property
    def image_token_id(self) -> int:
        """The token that stands for a part of an image."""
        return int(self.mllm.config.image_token_id)

    def new_cache(self) -> Cache:
        """Return an empty cache to which chunks can be appended."""
        return DynamicCache(config=self.mllm.config.get_text_config())

    def tokenize(self, chunk: ShotChunk, num_queries: int, *, opens: bool = False) -> ChunkTokens:
        """Return the tokens of a chunk, with `num_queries` queries after it.

        Args:
            chunk: Texts and images. Images are taken as they are; `fit_image` is what keeps them to a budget.
            num_queries: Query tokens that follow.
            opens: Whether it is the first of a context; some families open one with a token of their own.

        Raises:
            InputError: If the tokenizer reads one of the model's own tokens out of a text.
        """
        encoded = self._encode_images(chunk.images) if chunk.images else EncodedImages((), {})
        pictures = iter(encoded.ids)
        bos = self.processor.tokenizer.bos_token_id
        ids = [bos] if opens and self.opens_with_bos and bos is not None else []
        for segment in chunk.segments:
            ids += self._text_ids(segment) if isinstance(segment, str) else next(pictures)
        ids_L = torch.tensor(ids + [0] * num_queries)
        is_query_L = torch.arange(len(ids_L)) >= len(ids)
        return ChunkTokens(
            ids_L=ids_L,
            is_image_L=(ids_L == self.image_token_id) & ~is_query_L,
            is_query_L=is_query_L,
            images=encoded.tensors,
        )

    def query_tokens(self, num_queries: int) -> ChunkTokens:
        """Return queries alone, for a context in which queries do not stay."""
        no_L = torch.zeros(num_queries, dtype=torch.bool)
        return ChunkTokens(ids_L=no_L.long(), is_image_L=no_L, is_query_L=~no_L)

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
        device = device or self.mllm.device
        positions = self._positions(tokens) + first_position
        output = self.mllm(
            inputs_embeds=self._embed(tokens, query_tokens_QM, device),
            position_ids=positions.to(device),
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=True,
            logits_to_keep=1,
            **{name: value.to(device) for name, value in self._image_arguments(tokens).items()},
        )
        return output.hidden_states[-1], int(positions.max()) + 1

    def forward_padded(
        self,
        stories: Sequence[ChunkTokens],
        query_tokens_QM: Tensor,
        *,
        encoder_outputs: Mapping[str, Any] | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return the last hidden states of several stories in one pass, shape (stories, L, M), padded at the right.

        Attention that is causal never looks at what stands behind, so the padding needs no mask: each story's states
        are those that it has alone.

        Args:
            stories: What to read, each from position 0.
            query_tokens_QM: What stands at the queries of each chunk.
            encoder_outputs: What the vision tower gives for all images, as transformers' `mm_encoder_outputs`; None
                runs it.
            device: Where to compute; the model's own device if None.

        Raises:
            ValueError: If the family's attention is not causal and there are several stories.
        """
        if not self.is_incremental and (len(stories) > 1 or encoder_outputs is not None):
            raise ValueError(f"{type(self).__name__} reads one story at a time, and its images itself.")
        if not self.is_incremental:
            return self.forward(stories[0], query_tokens_QM, device=device)[0]
        device = device or self.mllm.device
        length = max(len(story) for story in stories)
        embeds, positions = [], []
        for story in stories:
            embeds_1LM, missing = self._embed(story, query_tokens_QM, device), length - len(story)
            # The padding repeats a query, which no family can take for a part of an image.
            embeds.append(torch.cat([embeds_1LM, embeds_1LM[:, -1:].detach().expand(-1, missing, -1)], dim=1))
            own = self._positions(story)
            # Positions that jump would be read as the start of another sequence.
            positions.append(torch.cat([own, own[..., -1:] + 1 + torch.arange(missing)], dim=-1))
        arguments: dict[str, Any] = self._image_arguments(ChunkTokens.joined(stories))
        if encoder_outputs is not None:
            arguments = {"mm_encoder_outputs": dict(encoder_outputs)}
        output = self.mllm(
            inputs_embeds=torch.cat(embeds),
            position_ids=torch.cat(positions, dim=-2).to(device),
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=1,
            **{name: value.to(device) if isinstance(value, Tensor) else value for name, value in arguments.items()},
        )
        states_BLM: Tensor = output.hidden_states[-1]
        return states_BLM

    @abstractmethod
    def _encode_images(self, images: Sequence[Image.Image]) -> EncodedImages:
        """Return images, at least one, as the family's processor gives them."""

    def _positions(self, tokens: ChunkTokens) -> Tensor:
        """Return the positions of the tokens, the first at 0; the last axis runs over the tokens."""
        return torch.arange(len(tokens))[None]

    def _image_arguments(self, tokens: ChunkTokens) -> dict[str, Tensor]:
        """Return the arguments of the model that bring the images."""
        return dict(tokens.images)

    def _text_ids(self, text: str) -> list[int]:
        tokenizer = self.processor.tokenizer
        ids = tokenize_text(tokenizer, text, self.max_text_tokens)
        own = ({*tokenizer.all_special_ids, self.image_token_id} - {tokenizer.unk_token_id}) & set(ids)
        if own:
            raise InputError(f"The text {text!r} holds {tokenizer.convert_ids_to_tokens(min(own))!r}, one of the "
                             "model's own tokens, and its tokenizer cannot read that as plain text.")  # fmt: skip
        return ids

    def _embed(self, tokens: ChunkTokens, query_tokens_QM: Tensor, device: torch.device) -> Tensor:
        """Return the input embeddings with the queries at their places, shape (1, L, M)."""
        table = self.mllm.get_input_embeddings()
        # A hook on the whole model has not moved the table yet; one on the table itself ("meta" weights) moves the IDs.
        where = device if table.weight.is_meta else table.weight.device
        embeds_1LM: Tensor = table(tokens.ids_L[None].to(where)).to(device)
        times = int(tokens.is_query_L.sum()) // len(query_tokens_QM)
        queries = query_tokens_QM.repeat(times, 1).to(embeds_1LM)
        return embeds_1LM.masked_scatter(tokens.is_query_L.to(device)[None, :, None], queries)
