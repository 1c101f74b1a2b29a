"""Choose which frames of a shot are looked at.

Source: AnimeShooter, arXiv 2506.03126, appendix C.3 ("5 uniformly sampled frames"); whether the paper includes both
ends is not said, so its preset is our reading and the signature names the rule.
"""

import numpy as np

__all__ = ["SAMPLINGS", "sample_frames"]

SAMPLINGS = ("bin_centre", "linspace")
"""The rules. `bin_centre`: our choice, nearest to scoring every frame. `linspace`: both ends, the "paper" preset."""


def sample_frames(num_frames: int, frames_per_shot: int = 5, sampling: str = "bin_centre") -> tuple[int, ...]:
    """Return the ordinals of the frames to look at, ascending and without repeats.

    Args:
        num_frames: Frames of the shot.
        frames_per_shot: Frames asked for. A shot with fewer gives all it has.
        sampling: `bin_centre` takes the middle of each of K equal bins, floor((k + 1/2) T / K); `linspace` takes
            K evenly spaced frames with the first and the last.

    Raises:
        ValueError: If a number is below 1, or the rule is unknown.

    Example:
        >>> sample_frames(49), sample_frames(49, sampling="linspace"), sample_frames(3)
        ((4, 14, 24, 34, 44), (0, 12, 24, 36, 48), (0, 1, 2))
    """
    if num_frames < 1 or frames_per_shot < 1:
        raise ValueError(f"num_frames and frames_per_shot must be at least 1, got {num_frames} and {frames_per_shot}.")
    if sampling not in SAMPLINGS:
        raise ValueError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}.")
    if num_frames <= frames_per_shot:
        return tuple(range(num_frames))
    if sampling == "bin_centre" or frames_per_shot == 1:
        return tuple((2 * k + 1) * num_frames // (2 * frames_per_shot) for k in range(frames_per_shot))
    return tuple(int(index) for index in np.linspace(0, num_frames - 1, frames_per_shot).round())
