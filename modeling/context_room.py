"""Whether a story fits into the MLLM's context, asked before the first shot instead of after many.

Frames that are not made yet take as many tokens as blank ones of their size, so all that is needed is known.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.backbones import Backbone
from animeshooter_hf.modeling.prompt_layout import LayoutSettings, ShotChunk, build_chunk
from animeshooter_hf.records import Story

__all__ = ["check_room"]


def check_room(
    backbone: Backbone,
    story: Story,
    references: Mapping[str, Sequence[Image.Image]],
    *,
    num_queries: int,
    shot_size: tuple[int, int, int],
    max_pixels: int,
    layout: LayoutSettings,
) -> None:
    """Raise an InputError, naming the first shot that does not fit, unless the whole story fits into the context.

    Args:
        backbone: The model that reads.
        story: All its shots.
        references: Name -> images.
        num_queries: Query tokens after each chunk.
        shot_size: Frames of the shortest shot, rows, columns.
        max_pixels: Budget of each image.
        layout: What stays in the context.
    """
    num_frames, *frame_size = shot_size
    blank_FHW3 = np.zeros((min(layout.frames_per_past_shot, num_frames), *frame_size, 3), np.uint8)
    lengths: list[int] = []
    images = references_length = 0
    for shot in story.shots:
        last_frame = blank_FHW3 if shot.index else None
        chunk = build_chunk(shot, references=references, last_frame=last_frame, max_pixels=max_pixels, layout=layout)
        told = chunk.segments[: chunk.num_reference_segments]
        if shot.index < 2:
            # Later shots see frames of the same size as the second one does.
            images = _image_length(backbone, chunk.images)
        if shot.index == 0:
            references_length = _text_length(backbone, told) + images
        lengths.append(_text_length(backbone, chunk.segments) + images)
        first = 0 if layout.window_shots is None else max(0, shot.index - layout.window_shots)
        before = sum(lengths[first:-1]) + (references_length if first else 0)
        queries = num_queries * (len(lengths) - first if layout.keep_queries else 1)
        if before + lengths[-1] + queries > backbone.max_tokens:
            raise InputError(
                f"Shot {shot.index} needs {lengths[-1] + num_queries} tokens after "
                f"{before + queries - num_queries}, but the model's context holds {backbone.max_tokens}. Give fewer "
                "shots, fewer references or smaller images."
            )


def _text_length(backbone: Backbone, segments: Sequence[str | Image.Image]) -> int:
    """Return the tokens of the texts, cut as they will be, without the warning that belongs to their reading."""
    tokenizer = backbone.processor.tokenizer
    texts = [segment for segment in segments if isinstance(segment, str)]
    lengths = [len(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids) for text in texts]
    return sum(min(length, backbone.max_text_tokens) for length in lengths)


def _image_length(backbone: Backbone, images: Sequence[Image.Image]) -> int:
    if not images:
        return 0
    text = "."
    return len(backbone.tokenize(ShotChunk((*images, text)), 0)) - _text_length(backbone, (text,))
