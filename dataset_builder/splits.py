"""Splits by video, never by story: which videos are for training, which are held out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["SPLITS", "SplitSettings", "split_videos"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitSettings:
    """How videos are divided. Our choice: the paper names no splits."""

    seed: int = 0
    """Decides which videos are held out."""

    validation: float = 0.05
    """Share of the videos for validation, rounded."""

    test: float = 0.05
    """Share of the videos for testing, rounded. Fewer than ten videos are all for training."""

    def __post_init__(self) -> None:
        if self.validation < 0 or self.test < 0 or self.validation + self.test >= 1:
            raise ValueError(f"Nothing is left to train on: validation {self.validation}, test {self.test}.")


def split_videos(
    video_ids: Iterable[str], settings: SplitSettings, groups: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Return split -> videos; the same videos and seed give the same splits, in any order.

    Args:
        video_ids: Videos; repeats count once.
        settings: Shares and seed.
        groups: Video -> group, from `quality.leakage.leak_safe_groups`: a group stays in one split. A video that is not
            in it is alone. Groups of one give the same splits as no groups.

    Example:
        >>> split_videos(["b", "a"], SplitSettings())
        {'train': ['a', 'b']}
    """
    videos = set(video_ids)
    if len(videos) < 10:
        return {"train": sorted(videos)}
    members: dict[str, list[str]] = {}
    for name in sorted(videos):
        members.setdefault(f"group {groups[name]}" if groups and name in groups else f"video {name}", []).append(name)
    left = sorted(
        members.values(), key=lambda group: hashlib.sha256(f"{settings.seed}:{group[0]}".encode()).hexdigest()
    )
    parts: dict[str, list[str]] = {}
    for split, share in (("test", settings.test), ("validation", settings.validation)):
        taken, left = _take_groups(left, round(len(videos) * share))
        parts[split] = [name for group in taken for name in group]
    parts["train"] = [name for group in left for name in group]
    return {split: sorted(parts[split]) for split in SPLITS if parts[split]}


def _take_groups(ranked: Sequence[list[str]], wanted: int) -> tuple[list[list[str]], list[list[str]]]:
    """Return the groups taken, which hold as near to `wanted` videos as their order allows, and those left."""
    taken: list[list[str]] = []
    left: list[list[str]] = []
    missing = wanted
    for group in ranked:
        fits = len(group) <= missing
        (taken if fits else left).append(group)
        missing -= len(group) if fits else 0
    if missing > 0 and len(left) > 1:
        nearest = min(left, key=lambda group: abs(len(group) - missing))
        excess = abs(len(nearest) - missing)
        if excess < missing or (not taken and excess == missing):
            taken.append(nearest)
            left.remove(nearest)
    return taken, left
