"""What the pipeline gives back: a shot as soon as it is ready, and a whole story that can be saved as a film.

Shape letters used below
    F frames    H, W rows and columns    C channels    T samples
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.film import FilmSettings, export_film, film_metadata
from animeshooter_hf.modeling.sound import SoundSettings
from animeshooter_hf.modeling.state import StoryState
from animeshooter_hf.modeling.transitions import FilmPlan

__all__ = ["AnimeShooterGenOutput", "ShotResult", "check_output_type", "frames_as"]


@dataclass(frozen=True, slots=True, eq=False)
class ShotResult:
    """One shot, as soon as it is ready."""

    index: int
    """Position in the story, from 0."""

    frames: NDArray[np.uint8]
    """Shape (F, H, W, 3), RGB."""

    caption: str
    """What it was made from."""

    seed: int
    """Seed of its noise."""

    state: StoryState
    """The story up to and including this shot; save it to be able to go on from here."""


@dataclass
class AnimeShooterGenOutput(BaseOutput):
    """A generated story."""

    frames: list[Any]
    """Per shot: uint8 of shape (F, H, W, 3), or a list of PIL images."""

    fps: Fraction
    """Frames per second, exact."""

    audio: list[NDArray[np.float32]] | None
    """Per shot: float32 of shape (2, T); None where no scorer was given."""

    state: StoryState
    """What is needed to go on, or to make a shot anew."""

    notes: tuple[str, ...] = ()
    """What a viewer has to know, such as that the weights are random."""

    sample_rate: int | None = None
    """Samples per second of the sound."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What made the frames; it goes into every film."""

    sound_provenance: Mapping[str, Any] | None = None
    """What made the sound."""

    def save(self, path: str | Path, film: FilmSettings | None = None) -> FilmPlan:
        """Write the story as one mp4 with sound and chapters, and return where each shot stands in it.

        Args:
            path: Where the film goes; an old one stays until the new one is complete.
            film: Transitions, loudness, colours. Where it names no transitions, those of the shots are taken.

        Raises:
            InputError: If no shot is done, shots are too short for their transitions, or the path cannot be written.
        """
        if not self.state.shots:
            raise InputError("There is no film of a story of which no shot is done.")
        film = film or FilmSettings()
        if film.transitions is None:
            film = replace(film, transitions=self.state.transitions)
        shots = self.state.story.shots[: len(self.state.shots)]
        return export_film(
            path,
            [shot.frames_FHW3 for shot in self.state.shots],
            self.fps,
            sounds=self.audio,
            settings=film,
            scenes=[shot.scene for shot in shots],
            metadata=film_metadata(self.state.story.story_id, self.provenance, self.sound_provenance),
            sample_rate=self.sample_rate or SoundSettings().sample_rate,
        )


def check_output_type(output_type: str) -> None:
    """Raise an InputError unless frames can be given back like that."""
    if output_type not in ("np", "pil"):
        raise InputError(f'output_type must be "np" or "pil", got {output_type!r}.')


def frames_as(state: StoryState, output_type: str) -> list[Any]:
    """Return the frames of the finished shots: "np" for arrays (F, H, W, 3), "pil" for lists of images."""
    arrays = [shot.frames_FHW3 for shot in state.shots]
    if output_type == "np":
        return list(arrays)
    return [[Image.fromarray(frame) for frame in frames_FHW3] for frames_FHW3 in arrays]
