"""What makes the sound of a shot: a protocol, silence, and any function.

A scorer gets a text, a length and a source of noise; it never sees the story. The same three give the same sound.

Shape letters used below
    C channels    T samples
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError

__all__ = ["AudioScorer", "CallableScorer", "SilenceScorer", "as_scorer", "checked_sound", "sound_seed_for"]

SoundFunction = Callable[[str, float, torch.Generator], tuple[NDArray[np.float32], int]]
"""(prompt, seconds, generator) -> (samples, samples per second)."""


@runtime_checkable
class AudioScorer(Protocol):
    """Makes sound from words."""

    @property
    def max_seconds(self) -> float | None:
        """The longest sound it can make at once, or None if there is no limit."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What goes into the film's file: at least `model`; `licence` and `source` where they are known.

        It must change whenever the same prompt, length and seed could give another sound: what was made is kept by it.
        """

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        """Return samples of shape (C, T) in about [-1, 1], and how many make a second."""


class SilenceScorer:
    """Makes no sound, at any length."""

    max_seconds = None

    def __init__(self, sample_rate: int = 44_100) -> None:
        self.sample_rate = sample_rate
        """Samples per second."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """That it is silence."""
        return {"model": "silence"}

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        """Return zeros."""
        del prompt, generator
        return np.zeros((2, round(seconds * self.sample_rate)), np.float32), self.sample_rate


class CallableScorer:
    """Any function as a scorer.

    Args:
        function: See `SoundFunction`. It may return (T,) or (1 or 2, T), as a numpy array or a tensor.
        name: What it is. Sounds are kept in a folder under this name only, so change it with the function.
        max_seconds: The longest sound it can make at once.
    """

    def __init__(self, function: SoundFunction, *, name: str | None = None, max_seconds: float | None = None) -> None:
        if not callable(function):
            raise InputError(f"A scorer must be callable, got {type(function).__name__}.")
        self._function = function
        self.name = name
        """As given."""
        self.max_seconds = max_seconds
        """As given."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """The name."""
        return {"model": f"function {self.name or 'without a name'}"}

    def __call__(self, prompt: str, seconds: float, generator: torch.Generator) -> tuple[NDArray[np.float32], int]:
        """Return what the function returns."""
        return self._function(prompt, seconds, generator)


def as_scorer(value: Any) -> AudioScorer:
    """Return the scorer that a value is: a scorer, a function, or None for silence.

    Raises:
        InputError: If it is none of these.
    """
    if value is None:
        return SilenceScorer()
    return value if isinstance(value, AudioScorer) else CallableScorer(value)


def sound_seed_for(seed: int, index: int) -> int:
    """Return the seed of one shot's sound, in [0, 2**63).

    It depends on the story's seed and the shot's index only, so adding or editing a shot moves no other shot's sound;
    and it is another than that of the shot's picture.
    """
    digest = hashlib.sha256(f"sound:{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def checked_sound(made: Any, where: str) -> tuple[NDArray[np.float32], int]:
    """Return what a scorer made as float32 (1 or 2, T) and its rate.

    Raises:
        InputError: If it is something else, or holds values that are not finite numbers.
    """
    if not isinstance(made, tuple) or len(made) != 2:
        raise InputError(f"The scorer must return (samples, sample rate) for {where}, got {type(made).__name__}.")
    samples, rate = made
    if isinstance(samples, torch.Tensor):
        samples = samples.detach().float().cpu().numpy()
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not 1 <= rate <= 768_000:
        raise InputError(f"The scorer gave the sample rate {rate!r} for {where}; it must be a whole number.")
    if not isinstance(samples, np.ndarray) or not np.issubdtype(samples.dtype, np.floating):
        raise InputError(f"The scorer must return float samples in [-1, 1] for {where}, got {_describe(samples)}.")
    samples_CT = samples[None] if samples.ndim == 1 else samples
    if samples_CT.ndim != 2 or samples_CT.shape[0] not in (1, 2):
        raise InputError(f"The scorer must return samples of shape (1 or 2, T) for {where}, got {samples.shape}.")
    if not np.isfinite(samples_CT).all():
        raise InputError(f"The scorer returned values that are not finite numbers for {where}.")
    return samples_CT.astype(np.float32), int(rate)


def _describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
