"""The table of noise: what a kind is, how one is entered, and what several of them need."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

__all__ = [
    "NOISE",
    "SPAN",
    "NoiseKind",
    "Script",
    "any_shot",
    "clock_seconds",
    "clock_words",
    "has_clock",
    "noise_kind",
]

Script = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NoiseKind:
    """One way to be wrong."""

    name: str
    """The kind's code."""

    layer: Literal["shape", "text"]
    """What it works on."""

    disturb: Callable[[Any, Random, float], Any]
    """Takes the script or text, a generator, and the segment's start in seconds; gives the new one, or None."""

    codes: frozenset[str]
    """Issues that name it; any of them will do."""


NOISE: dict[str, NoiseKind] = {}
"""Name -> kind."""

SPAN = "extra 4-second timestamp"


def noise_kind(
    codes: str = "", layer: Literal["shape", "text"] = "shape"
) -> Callable[[Callable[[Any, Random, float], Any]], Any]:
    """Enter the function below under its own name; `codes` are the issues that name it, separated by blanks."""

    def add(function: Callable[[Any, Random, float], Any]) -> Any:
        name = function.__name__.strip("_")
        NOISE[name] = NoiseKind(name, layer, function, frozenset(codes.split()))
        return function

    return add


def any_shot(script: Script, random: Random, fits: Callable[[Script], Any] = lambda _: True) -> Script | None:
    """Return one of the shots that fit, or None."""
    shots = [shot for shot in script["shots"] if fits(shot)]
    return random.choice(shots) if shots else None


def clock_seconds(text: str) -> int:
    """Return the seconds of MM:SS."""
    minutes, seconds = text.split(":")
    return int(minutes) * 60 + int(seconds)


def clock_words(seconds: float) -> str:
    """Return MM:SS of some seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def has_clock(script: Script) -> bool:
    """Return whether a script states its times by the clock."""
    return "start time" in script["shots"][0]
