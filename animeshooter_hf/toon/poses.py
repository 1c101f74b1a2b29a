"""What an action is made of: poses, things, times of sounds, speech and blinks.

Lengths are in body heights of the character; y points down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

__all__ = ["Action", "Pose", "Prop", "SoundCue", "Syllable", "blink_at", "syllables"]


@dataclass(frozen=True, slots=True)
class Prop:
    """A thing that belongs to an action."""

    kind: str
    """One of "ball", "bell", "puddle", "drops", "letters" and "stars"."""

    x: float
    """To the right of the feet."""

    y: float
    """Below the feet; negative is above."""

    phase: float = 0.0
    """Angle, or progress from 0 to 1, as the kind needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """How a character stands at one moment."""

    x: float = 0.0
    """Moved to the right."""

    y: float = 0.0
    """Moved down; negative is in the air."""

    stretch: float = 1.0
    """Height as a multiple of the normal one; the width shrinks by as much."""

    lean: float = 0.0
    """Turn about the feet, in radians, clockwise."""

    facing: float = 1.0
    """Where the face looks: -1 left, 0 at us, 1 right."""

    left_foot: tuple[float, float] = (0.0, 0.0)
    """Forward and upward offset of the foot at the left of the picture."""

    right_foot: tuple[float, float] = (0.0, 0.0)
    """The same for the other foot."""

    left_arm: float = 0.35
    """Angle of the arm at the left of the picture: 0 hangs down, pi/2 points outwards, pi up."""

    right_arm: float = 0.35
    """The same for the other arm."""

    mouth: float = 0.0
    """Opening, 0 to 1."""

    smile: float = 0.6
    """-1 sad to 1 happy."""

    eyes: str = "open"
    """One of "open", "closed" and "happy"."""

    gaze: tuple[float, float] = (0.0, 0.0)
    """Where the pupils look, each -1 to 1."""

    props: tuple[Prop, ...] = ()
    """Things drawn with the character, behind or before it as the kind asks."""


@dataclass(frozen=True, slots=True)
class SoundCue:
    """A sound that an action makes."""

    seconds: float
    """When, from the start of the action."""

    kind: str
    """Name of the sound."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that characters do."""

    name: str
    """Name in captions' templates and in the truth."""

    pose: Callable[[float, str], Pose]
    """Seconds and a key of chance -> pose; pure."""

    cue: tuple[float, float, str] | None = None
    """First sound, seconds between sounds, and kind; None if it is silent."""

    second_cue: tuple[float, float, str] | None = None
    """A second row of sounds."""

    speed: float = 0.0
    """Body heights travelled in a second."""

    speaks: bool = False
    """Whether it is accompanied by speech."""

    def cues(self, duration_seconds: float) -> list[SoundCue]:
        """Return the sounds of the first `duration_seconds`, in order of time."""
        found = []
        for row in (self.cue, self.second_cue):
            if row is not None:
                first, period, kind = row
                count = max(0, math.ceil((duration_seconds - first) / period))
                found += [SoundCue(first + number * period, kind) for number in range(count)]
        return sorted(found, key=lambda cue: (cue.seconds, cue.kind))


@dataclass(frozen=True, slots=True)
class Syllable:
    """A piece of babbled speech."""

    start_seconds: float
    """When it begins."""

    length_seconds: float
    """How long the mouth is open."""

    vowel: int
    """Number of the vowel, 0 to 4."""

    pitch: float
    """Pitch as a multiple of the voice's own."""


def syllables(key: str, duration_seconds: float) -> list[Syllable]:
    """Return the babble that belongs to a key of chance, in phrases with pauses."""
    random = Random(f"{key}/syllables")
    found: list[Syllable] = []
    now = 0.15
    while now < duration_seconds - 0.3:
        for number in range(random.randint(3, 8)):
            length = random.uniform(0.1, 0.22)
            if now + length > duration_seconds - 0.1:
                return found
            pitch = 1.12 - 0.03 * number + random.uniform(-0.08, 0.08)
            found.append(Syllable(now, length, random.randrange(5), pitch))
            now += length + random.uniform(0.01, 0.05)
        now += random.uniform(0.3, 0.6)
    return found


def blink_at(seconds: float, key: str) -> bool:
    """Return whether the eyes are shut by a blink; everybody blinks about every three seconds."""
    number = math.floor(seconds / 2.9)
    start = Random(f"{key}/blink/{number}").uniform(0.1, 2.5)
    return start <= seconds - number * 2.9 < start + 0.13
