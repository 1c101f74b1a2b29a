"""A dataset folder of compact toon stories of some seeds."""

from collections.abc import Sequence
from pathlib import Path

from animeshooter_hf.dataset_builder.compact_dataset import write_compact_dataset
from animeshooter_hf.toon.compact import CompactSettings, plan_compact_story

__all__ = ["write_toon_dataset"]


def write_toon_dataset(
    folder: Path,
    *,
    seeds: Sequence[int] = range(2),
    settings: CompactSettings | None = None,
    with_references: bool = True,
) -> Path:
    """Write a dataset of the stories of some seeds, and return its folder.

    Args:
        folder: Where films and the dataset (`folder/data`) go.
        seeds: Of the stories.
        settings: Size and length; 4 shots of 9 frames at 64 x 64 pixels if None.
        with_references: Whether the stories have their reference.
    """
    settings = settings or CompactSettings(size=64, frames_per_shot=9, frame_rate=8, num_shots=4)
    stories = [plan_compact_story(seed, settings=settings) for seed in seeds]
    return write_compact_dataset(folder, stories, with_references=with_references)
