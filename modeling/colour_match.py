"""Make the colours of a shot meet those of the shot before, where both show the same place.

Off unless asked for: it changes what the model made. Source of the idea: Reinhard et al., "Color Transfer between
Images", IEEE CG&A 2001 (means and spreads per channel); in RGB and held within limits here, our choice.

Shape letters used below
    F frames    H height    W width
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError

__all__ = ["match_colours"]

_MAX_SHIFT = 40.0
"""Most that a channel's mean is moved, of 255."""

_MAX_SCALE = 1.25
"""Most that a channel's spread is widened, and its inverse the most that it is narrowed."""


def match_colours(
    shots: Sequence[NDArray[np.uint8]],
    scenes: Sequence[str | None] | None = None,
    *,
    amount: float = 1.0,
    num_join_frames: int = 4,
) -> list[NDArray[np.uint8]]:
    """Return the shots with the colours of each moved towards the shot before it, as that was moved itself.

    Each channel gets one gain and one shift for the whole shot, taken from the frames at the join.

    Args:
        shots: uint8 of shape (F, H, W, 3); they are not changed.
        scenes: The scene of each shot. Only neighbours of the same known scene are matched; without this, all are.
        amount: 0 changes nothing, 1 makes the means at the join equal, within limits.
        num_join_frames: Frames on either side that are looked at.

    Raises:
        InputError: If the amount is not in 0 to 1, there is nothing to look at, or scenes do not fit.
    """
    if not 0 <= amount <= 1 or num_join_frames < 1:
        raise InputError(f"amount must lie in 0 to 1 and num_join_frames be positive, got {amount}, {num_join_frames}.")
    if scenes is not None and len(scenes) != len(shots):
        raise InputError(f"There are {len(shots)} shots, but {len(scenes)} scenes were given.")
    matched: list[NDArray[np.uint8]] = []
    for index, frames_FHW3 in enumerate(shots):
        is_same_place = scenes is None or (scenes[index] is not None and scenes[index] == scenes[index - 1])
        if not index or not amount or not is_same_place:
            matched.append(frames_FHW3)
            continue
        mean_3, spread_3 = _statistics(frames_FHW3[:num_join_frames])
        target_mean_3, target_spread_3 = _statistics(matched[-1][-num_join_frames:])
        scale_3 = np.clip(target_spread_3 / np.maximum(spread_3, 1.0), 1 / _MAX_SCALE, _MAX_SCALE)
        scale_3 = 1 + amount * (scale_3 - 1)
        shift_3 = amount * np.clip(target_mean_3 - mean_3, -_MAX_SHIFT, _MAX_SHIFT)
        levels = np.arange(256, dtype=np.float64)[:, None]
        table_L3 = np.clip(np.rint((levels - mean_3) * scale_3 + mean_3 + shift_3), 0, 255).astype(np.uint8)
        matched.append(np.stack([table_L3[frames_FHW3[..., c], c] for c in range(3)], axis=-1))
    return matched


def _statistics(frames_FHW3: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel."""
    pixels = frames_FHW3.reshape(-1, 3).astype(np.float64)
    return pixels.mean(axis=0), pixels.std(axis=0)
