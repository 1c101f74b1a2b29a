"""The plan of a film as records: who stands where and does what, the camera, transitions and traps.

A plan holds no pixels. Frames are half-open ranges; those of a trap are counted from the start of its shot, all others
from the start of the film. Places are in world units, see `scenery.py`.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from animeshooter_hf.toon.attributes import ToonCharacter
from animeshooter_hf.toon.camera import ToonCamera
from animeshooter_hf.toon.scenery import ToonScene
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.toon.style import ToonStyle

__all__ = ["CHARACTER_HEIGHT", "TRAPS", "FilmPlan", "Placement", "StoryPlan", "ToonShot", "ToonTrap"]

CHARACTER_HEIGHT = 0.40
"""World units of a medium character that stands at y = 0.86."""

TRAPS = ("flash", "hold", "whip_pan", "shake", "sweep")
"""What looks like a boundary and is none: a flash of 1 to 3 frames, a held picture, a whip pan, a shaking camera, and
an object that sweeps through the whole frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """One character in one shot."""

    character_id: str
    """Who."""

    action: str
    """Name of the action."""

    x: float
    """World x of the feet at the start."""

    y: float
    """World y of the feet; who stands further down is in front."""

    facing: float
    """1 to act towards the right, -1 towards the left."""

    speed: float
    """World units travelled in a second, towards `facing`."""

    key: str
    """Key of chance of blinks and speech."""

    @property
    def unit(self) -> float:
        """World units of a medium character's height at this depth."""
        return CHARACTER_HEIGHT * (1 + 1.3 * (self.y - 0.86))


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonTrap:
    """Something inside a shot that looks like a boundary."""

    kind: str = "none"
    """One of `TRAPS`, or "none"."""

    start_frame: int = 0
    """First frame concerned, counted from the start of the shot."""

    end_frame: int = 0
    """Frame after the last one."""

    way: float = 1.0
    """Direction of a whip pan or a sweep: 1 or -1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonShot:
    """One shot of a film."""

    index: int
    """Position in the film."""

    story_index: int
    """Position of its story in the film."""

    start_frame: int
    """First frame."""

    end_frame: int
    """Frame after the last one."""

    scene_id: str | None
    """Where, or None for a title card."""

    placements: tuple[Placement, ...]
    """Who; the first one acts, the others accompany."""

    camera: ToonCamera
    """How it is seen."""

    trap: ToonTrap
    """What might be taken for a boundary."""

    drawn_on: int
    """Frames for which a drawing stands: 1, 2 or 3."""

    transition: str
    """How it begins: "cut", "fade" or "dissolve"."""

    transition_half: int
    """Frames that the transition reaches to either side of the boundary; 0 for a cut."""

    title: str = ""
    """Text of a title card."""

    @property
    def num_frames(self) -> int:
        """Frames in the shot."""
        return self.end_frame - self.start_frame

    def animation_frame(self, local_frame: int) -> int:
        """Return the frame of the shot whose drawing is shown in a frame of the shot.

        Drawings stand for `drawn_on` frames, and a held picture stops all movement, camera included.
        """
        frame = min(max(local_frame, 0), self.num_frames - 1)
        return self.moving_frame(frame) // self.drawn_on * self.drawn_on

    def moving_frame(self, local_frame: int) -> int:
        """Return a frame of the shot less the frames for which the picture was held; the camera goes by it."""
        if self.trap.kind != "hold" or local_frame < self.trap.start_frame:
            return local_frame
        return self.trap.start_frame + max(0, local_frame - self.trap.end_frame + 1)

    def frame_showing(self, animation_seconds: float, frame_rate: float) -> int:
        """Return the first frame of the shot, from its start, in which a moment of its movement is seen."""
        drawing = math.ceil(round(animation_seconds * frame_rate / self.drawn_on, 6)) * self.drawn_on
        if self.trap.kind == "hold" and drawing > self.trap.start_frame:
            return drawing + self.trap.end_frame - self.trap.start_frame - 1
        return drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryPlan:
    """One story of a film."""

    index: int
    """Position in the film."""

    start_frame: int
    """First frame."""

    end_frame: int
    """Frame after the last one."""

    character_ids: tuple[str, ...]
    """Its main characters."""

    scene_ids: tuple[str, ...]
    """Its main scenes, in order of first use."""

    goal: int
    """Number by which `captions.py` chooses what the story is about."""


@dataclass(frozen=True, kw_only=True)
class FilmPlan:
    """Everything that a film shows, without a pixel."""

    film_id: str
    """Name of the film."""

    seed: int
    """Seed of all chance."""

    settings: FilmSettings
    """Size, rate, length."""

    style: ToonStyle
    """Lines and palette."""

    characters: tuple[ToonCharacter, ...]
    """All characters."""

    scenes: tuple[ToonScene, ...]
    """All scenes."""

    stories: tuple[StoryPlan, ...]
    """Stories; they tile the film."""

    shots: tuple[ToonShot, ...]
    """Shots; they tile the film."""

    @cached_property
    def character(self) -> dict[str, ToonCharacter]:
        """Name -> character."""
        return {character.id: character for character in self.characters}

    @cached_property
    def scene(self) -> dict[str, ToonScene]:
        """Name -> scene."""
        return {scene.id: scene for scene in self.scenes}
