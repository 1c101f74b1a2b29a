"""The tracks of the benchmark: which stories they hold, and what a submission to them must state.

Source of `main`: AnimeShooter, arXiv 2506.03126, section 5 (20 IPs x 10 stories x 4 shots). The others are what its
reviewers asked for: no training on the tested characters, stories of 15 shots, several characters, sound.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from animeshooter_hf.errors import InputError

__all__ = ["TRACKS", "Track", "check_tracks"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One track; each is a split of the configs."""

    name: str
    """Name of the split."""

    words: str
    """What it asks, in a sentence."""

    stories_like: str | None = None
    """Track whose stories it shares; None if it has its own."""

    forbids_ip_training: bool = False
    """Whether nothing of the tested characters but their references may have been seen in training."""

    needs_sound: bool = False
    """Whether every shot must have sound."""

    stories_per_ip: int = 1
    """Default number of stories of each IP, or of each cast of several."""

    num_shots: int = 4
    """Default number of shots of a story."""


TRACKS: Mapping[str, Track] = {
    track.name: track
    for track in (
        Track(
            name="main",
            words="Stories of one character in changing places, from its reference pictures and one caption per shot.",
            stories_per_ip=10,  # paper
        ),
        Track(
            name="zero_shot",
            words="The stories of `main` by a system that was not trained on the tested characters.",
            stories_like="main",
            forbids_ip_training=True,
            stories_per_ip=10,  # as in main
        ),
        Track(
            name="long",
            words="Long stories in which places return, so that what was seen many shots ago must be kept.",
            stories_per_ip=1,  # our choice: 300 shots with 20 IPs
            num_shots=15,  # asked for by the paper's reviewers
        ),
        Track(
            name="multi_character",
            words="Stories of two or three characters, alone and together; each must stay who it is.",
            stories_per_ip=2,  # our choice
        ),
        Track(
            name="audio",
            words="Stories whose shots say what is heard; the clips have sound.",
            needs_sound=True,
            stories_per_ip=2,  # our choice
        ),
    )
}
"""Name -> track, in the order in which they are shown."""


def check_tracks(names: Sequence[str]) -> tuple[str, ...]:
    """Return the tracks in their usual order; one that shares stories brings along the one that has them.

    Raises:
        InputError: If a name is unknown, or there is none.
    """
    unknown = [name for name in names if name not in TRACKS]
    if unknown or not names:
        raise InputError(f"A track must be one of {', '.join(TRACKS)}, got {unknown[0] if unknown else 'none'!r}.")
    wanted = {*names, *(TRACKS[name].stories_like or name for name in names)}
    return tuple(name for name in TRACKS if name in wanted)
