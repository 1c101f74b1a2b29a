"""Compact toon stories as arrays, drawn by several processes.

Shape letters used below
    N stories    S shots of each    F frames of a shot    H, W rows and columns
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from animeshooter_hf.toon.compact import CompactSettings, plan_compact_story

__all__ = ["DrawnStories", "draw_stories"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnStories:
    """What stories show and say."""

    frames_NSFHW3: NDArray[np.uint8]
    """Pixels."""

    references_NHW3: NDArray[np.uint8]
    """The character on white."""

    captions: tuple[tuple[str, ...], ...]
    """For each story its shots' captions."""


def draw_stories(
    seeds: Sequence[int], pool: str = "train", settings: CompactSettings | None = None, *, workers: int | None = None
) -> DrawnStories:
    """Return stories, the same for any number of processes.

    Args:
        seeds: One for each story.
        pool: Which characters: "train", "held_out" or "all".
        settings: Size and length.
        workers: Processes; None takes one for each core.
    """
    draw = partial(_draw, pool=pool, settings=settings or CompactSettings())
    count = min(workers or os.cpu_count() or 1, len(seeds))
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as processes:
        made = list(tqdm(processes.map(draw, seeds, chunksize=8), total=len(seeds), desc="drawing", disable=None))
    frames, references, captions = zip(*made, strict=True)
    return DrawnStories(frames_NSFHW3=np.stack(frames), references_NHW3=np.stack(references), captions=captions)


def _draw(
    seed: int, pool: str, settings: CompactSettings
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[str, ...]]:
    story = plan_compact_story(seed, pool=pool, settings=settings)
    reference = story.reference().astype(np.float32)
    alpha = reference[..., 3:] / 255
    on_white = (reference[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    frames = np.stack([story.frames(shot) for shot in range(settings.num_shots)])
    return frames, on_white, tuple(story.captions)
