"""Settings of a film."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError
from animeshooter_hf.toon.attributes import CHARACTER_POOLS

__all__ = ["RENDERER_VERSION", "FilmSettings"]

RENDERER_VERSION = 1
"""Goes up when the same seed gives another film, so that finished films are rendered anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmSettings:
    """What steers a film, besides its seed."""

    width: int = 640
    """Pixels, 32 to 4096; may be odd. Our choice: 640 is quick and large enough for a mask."""

    height: int = 360
    """Pixels, 32 to 4096; may be odd."""

    frame_rate: Fraction = Fraction(24)
    """Frames per second, 4 to 120. Our choice: 24, the rate of animated film."""

    seconds: float = 60.0
    """Length, 1 to 3600. Paper: a story lasts 56.7 s on average. Longer films hold several stories."""

    mean_shot_seconds: float = 4.0
    """Mean length of a shot, 0.5 to 60. Paper: 3.85 s."""

    characters: str = "all"
    """Pool of characters: "all", "train" or "held_out", see `is_held_out`."""

    cut_share: float = 0.8
    """Share of boundaries that are cuts; the others are fades and dissolves. Our choice, after real films."""

    trap_share: float = 0.4
    """Share of shots with something that looks like a boundary and is none. Our choice."""

    audio_sample_rate: int = 44100
    """Samples per second, 8000 to 96000."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "frame_rate", exact_frame_rate(self.frame_rate))
        except ValueError as error:
            raise InputError(str(error)) from error
        limits: dict[str, tuple[float, float]] = {
            "width": (32, 4096),
            "height": (32, 4096),
            "frame_rate": (4, 120),
            "seconds": (1, 3600),
            "mean_shot_seconds": (0.5, 60),
            "cut_share": (0, 1),
            "trap_share": (0, 1),
            "audio_sample_rate": (8000, 96000),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} of a film must lie between {low:g} and {high:g}, got {value}.")
        if self.characters not in CHARACTER_POOLS:
            raise InputError(f"characters must be one of {', '.join(CHARACTER_POOLS)}, got {self.characters!r}.")

    @property
    def num_frames(self) -> int:
        """Frames in the film."""
        return max(1, round(Fraction(self.seconds) * self.frame_rate))

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self.width / self.height

    @property
    def num_samples(self) -> int:
        """Samples of sound in the film."""
        return round(self.num_frames / self.frame_rate * self.audio_sample_rate)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as they stand in a film's script."""
        return {**asdict(self), "frame_rate": f"{self.frame_rate.numerator}/{self.frame_rate.denominator}"}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "FilmSettings":
        """Return the settings of a script or a config file; what is absent keeps its default.

        Raises:
            InputError: If a key is unknown or a value does not fit.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise InputError(f"Unknown film setting {unknown[0]!r}. Known settings: {', '.join(known)}.")
        return cls(**dict(data))

    def fingerprint(self, seed: int) -> str:
        """Return a short hash of everything that a film depends on."""
        text = json.dumps([RENDERER_VERSION, seed, self.to_json()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
