"""Read windows of shots with the MLLM in one causal pass, all shots at once.

A shot's queries see what stands before them and nothing behind, so the states of three shots that are read in one
sequence are those that each shot has when the context grows shot by shot (`ShotContext`), at a third of the passes.
Windows of different lengths stand in one batch, padded at the right, where no causal model looks. Gradients flow into
the query tokens, the MLLM or its LoRA, and the vision tower.

Three cases are read in a pass for each shot instead, and equal the growing context too:
  - a family whose attention is not causal (Gemma 3), one story at a time;
  - queries that do not stay in the context (`keep_queries=False`), since a shot's own would be seen by the next;
  - a window of shots (`window_shots`) that is shorter than the story.

Shape letters used below
    B stories    S shots of the longest story    Q query tokens    M width of the MLLM    L tokens
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone, ChunkTokens, InternVLBackbone
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk
from animeshooter_hf.modeling.training.vision_features import encoder_outputs, vision_mark

__all__ = ["is_packed", "read_windows"]

_PLAIN = LayoutSettings()


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What is read in one sequence."""

    story: int
    """Whose it is."""

    tokens: ChunkTokens
    """All of it."""

    pictures: tuple[Image.Image, ...]
    """The pictures in it, in order."""

    shots: tuple[int, ...]
    """The shots whose queries stand in it, in order, the last of them at its end."""


def read_windows(
    backbone: Backbone,
    query_tokens_QM: Tensor,
    stories: Sequence[Sequence[ShotChunk]],
    layout: LayoutSettings = _PLAIN,
    *,
    vision_features: Mapping[str, Mapping[str, Tensor]] | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Return the states at the queries of every shot, shape (B, S, Q, M).

    Args:
        backbone: The model that reads.
        query_tokens_QM: Learnable tokens that follow every chunk.
        stories: The chunks of each story, the first with the references. A story of fewer shots than the longest gets
            zeros behind its own.
        layout: Whether queries stay, and how many shots a shot sees.
        vision_features: What a frozen vision tower gives for the images, by their marks, see `vision_features.py`;
            if one of the stories' images is not among them, the tower reads all of them.
        device: Where to compute; the model's own device if None.

    Raises:
        InputError: If a story does not fit into the model's context, or there is none.
    """
    if not stories or not all(stories):
        raise InputError("There is nothing to read: every story needs at least one shot.")
    num_queries = len(query_tokens_QM)
    sequences = [
        sequence
        for number, chunks in enumerate(stories)
        for sequence in _sequences(backbone, number, chunks, layout, num_queries)
    ]
    for sequence in sequences:
        if len(sequence.tokens) > backbone.max_tokens:
            raise InputError(f"A window needs {len(sequence.tokens)} tokens, but the model's context holds "
                             f"{backbone.max_tokens}. Give fewer shots or smaller images.")  # fmt: skip
    found: dict[tuple[int, int], Tensor] = {}
    for batch in [sequences] if backbone.is_incremental else [[sequence] for sequence in sequences]:
        features = _kept_features(backbone, batch, vision_features)
        states_BLM = backbone.forward_padded(
            [sequence.tokens for sequence in batch], query_tokens_QM, encoder_outputs=features, device=device
        )
        for sequence, states_LM in zip(batch, states_BLM, strict=True):
            at_queries = states_LM[: len(sequence.tokens)][sequence.tokens.is_query_L.to(states_LM.device)]
            shots_SQM = at_queries.unflatten(0, (-1, num_queries))
            for shot, states_QM in zip(sequence.shots, shots_SQM[-len(sequence.shots) :], strict=True):
                found[sequence.story, shot] = states_QM
    nothing = torch.zeros_like(found[0, 0])
    longest = max(len(chunks) for chunks in stories)
    return torch.stack(
        [torch.stack([found.get((number, shot), nothing) for shot in range(longest)]) for number in range(len(stories))]
    )


def is_packed(backbone: Backbone, layout: LayoutSettings, num_shots: int) -> bool:
    """Return whether a story of so many shots is read in one sequence."""
    has_all = layout.window_shots is None or num_shots <= layout.window_shots + 1
    return num_shots == 1 or (backbone.is_incremental and layout.keep_queries and has_all)


def _sequences(
    backbone: Backbone, story: int, chunks: Sequence[ShotChunk], layout: LayoutSettings, num_queries: int
) -> list[_Sequence]:
    """Return what is read for a story: one sequence, or one for each shot."""
    if is_packed(backbone, layout, len(chunks)):
        tokens = [backbone.tokenize(chunk, num_queries, opens=not index) for index, chunk in enumerate(chunks)]
        return [_Sequence(story, ChunkTokens.joined(tokens), _pictures(chunks), tuple(range(len(chunks))))]
    kept = num_queries if layout.keep_queries else 0
    sequences = []
    for shot in range(len(chunks)):
        *before, own = seen = _seen_by(chunks, shot, layout)
        parts = [backbone.tokenize(chunk, kept, opens=not index) for index, chunk in enumerate(before)]
        parts.append(backbone.tokenize(own, num_queries, opens=not before))
        sequences.append(_Sequence(story, ChunkTokens.joined(parts), _pictures(seen), (shot,)))
    return sequences


def _seen_by(chunks: Sequence[ShotChunk], shot: int, layout: LayoutSettings) -> list[ShotChunk]:
    """Return the chunks of which a shot's context consists, its own the last."""
    limit = layout.window_shots
    if limit is None or shot <= limit:
        return list(chunks[: shot + 1])
    oldest, *later = chunks[shot - limit : shot + 1]
    return [oldest.after_references_of(chunks[0]), *later]


def _pictures(chunks: Sequence[ShotChunk]) -> tuple[Image.Image, ...]:
    return tuple(image for chunk in chunks for image in chunk.images)


def _kept_features(
    backbone: Backbone, batch: Sequence[_Sequence], vision_features: Mapping[str, Mapping[str, Tensor]] | None
) -> dict[str, Any] | None:
    """Return what the vision tower gives for the pictures of these sequences, or None where it has to read them."""
    pictures = [image for sequence in batch for image in sequence.pictures]
    if not vision_features or not pictures or not backbone.is_incremental:
        return None
    kept = [vision_features.get(vision_mark(image)) for image in pictures]
    found = [one for one in kept if one is not None]
    if len(found) < len(kept):
        return None
    outputs = encoder_outputs(found)
    if isinstance(backbone, InternVLBackbone):  # it alone wants one tensor
        outputs["image"].pooler_output = torch.cat(list(outputs["image"].pooler_output))
    return outputs
