"""The record that goes into scoring: the shots of one story and the references they should look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.regions import Region, ShotRegions, is_unnamed

__all__ = ["Picture", "ShotSource", "SoundSource", "StoryPrediction"]

ShotSource = str | Path | bytes | NDArray[np.uint8]
"""One shot: a video file, the bytes of one, or its frames as uint8 of shape (frames, rows, columns, 3)."""

Picture = str | Path | bytes | NDArray[np.uint8]
"""One image: a file, the bytes of one, or uint8 of shape (rows, columns, 3 or 4); the fourth channel is alpha."""

SoundSource = str | Path | bytes | None
"""The sound of one shot, if it is not inside the shot's own file: a sound or video file, or the bytes of one."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoryPrediction:
    """The shots of one story, and what they should look like.

    A file is opened only when it is scored; one that cannot be read then counts as failed.
    """

    story_id: str
    """Unique among the stories that are scored together."""

    ip_id: str
    """Whom the story is about; stories of one IP share characters, and only other IPs serve as contrast."""

    shots: tuple[ShotSource, ...]
    """In order of time."""

    references: tuple[Picture, ...] = ()
    """Reference images. Without any, reference fidelity is skipped."""

    reference_characters: tuple[str, ...] = ()
    """Whom each reference shows; empty if all show the same one."""

    shot_characters: tuple[tuple[str, ...], ...] = ()
    """Who should be seen in each shot; empty if everybody is seen in every shot."""

    captions: tuple[str, ...] = ()
    """Caption of each shot; empty if unknown."""

    scene_ids: tuple[str | None, ...] = ()
    """Scene of each shot; empty if unknown."""

    regions: tuple[ShotRegions, ...] = ()
    """Where characters are seen in each shot; empty if unknown. A name that begins with "?" is somebody unknown."""

    sound: tuple[SoundSource, ...] = ()
    """Sound of each shot that is not inside its file; empty if there is none."""

    sound_captions: tuple[str, ...] = ()
    """What should be heard in each shot; empty if unknown."""

    track: str = ""
    """Track of the benchmark that the story belongs to; empty if none."""

    def __post_init__(self) -> None:
        for name in ("story_id", "ip_id"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ValueError(f"{name} must be a text that is not empty, got {value!r}.")
        for name in _LISTS:
            value = getattr(self, name)
            if isinstance(value, str | bytes | Path | np.ndarray | Mapping):
                raise ValueError(f"{name} of story {self.story_id} must be a list, got {type(value).__name__}.")
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "shot_characters", tuple(tuple(names) for names in self.shot_characters))
        if not self.shots:
            raise ValueError(f"Story {self.story_id} has no shots.")
        for name in _LISTS[2:]:
            expected = len(self.references if name == "reference_characters" else self.shots)
            given = len(getattr(self, name))
            if given not in (0, expected):
                raise ValueError(f"{name} of story {self.story_id} must hold {expected} entries or none, got {given}.")
        for position, shot in enumerate(self.shots):
            _require_media(f"Shot {position} of story {self.story_id}", shot, dimensions=4, channels=(3,))
        for position, picture in enumerate(self.references):
            _require_media(f"Reference {position} of story {self.story_id}", picture, dimensions=3, channels=(3, 4))
        for position, sound in enumerate(self.sound):
            if sound is not None and not (isinstance(sound, str | Path | bytes) and str(sound).strip()):
                raise ValueError(f"Sound {position} of story {self.story_id} must be a path, bytes or None.")
        self._check_regions()

    def _check_regions(self) -> None:
        declared = {*self.characters, *(name for names in self.schedule for name in names)}
        for position, regions in enumerate(self.regions):
            what = f"Shot {position} of story {self.story_id}"
            if not isinstance(regions, Mapping):
                raise ValueError(f"{what} must have its regions as a mapping from characters to lists.")
            for character, found in regions.items():
                if character not in declared and not is_unnamed(character):
                    raise InputError(
                        f"{what} has a region of {character!r}, who is neither in its references nor in the shots; "
                        f"declared are: {', '.join(sorted(declared)) or 'nobody'}."
                    )
                if not isinstance(found, Sequence) or not all(isinstance(region, Region) for region in found):
                    raise ValueError(f"{what} must have a list of regions of {character!r}.")

    @property
    def characters(self) -> tuple[str, ...]:
        """Whom each reference shows, one name per reference."""
        return self.reference_characters or (self.ip_id,) * len(self.references)

    @property
    def schedule(self) -> tuple[tuple[str, ...], ...]:
        """Who should be seen in each shot, one tuple per shot."""
        return self.shot_characters or (tuple(dict.fromkeys(self.characters)),) * len(self.shots)


_LISTS = (
    "shots",
    "references",
    "reference_characters",
    "shot_characters",
    "captions",
    "scene_ids",
    "regions",
    "sound",
    "sound_captions",
)
"""Fields that are lists: all but the first two hold one entry per shot (or reference), or none."""


def _require_media(what: str, value: object, *, dimensions: int, channels: tuple[int, ...]) -> None:
    if isinstance(value, str | Path | bytes):
        if not str(value).strip():
            raise ValueError(f"{what} is an empty text, not a path.")
        return
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{what} must be a path, bytes or an array, got {type(value).__name__}.")
    if value.dtype != np.uint8 or value.ndim != dimensions or value.shape[-1] not in channels:
        raise ValueError(
            f"{what} must be uint8 with {dimensions} dimensions and {' or '.join(map(str, channels))} channels last, "
            f"got {value.dtype} {value.shape}."
        )
