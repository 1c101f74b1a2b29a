"""The records of a benchmark: its stories, references, clips for training, and the truth of the toon edition."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from animeshooter_hf.records import AudioAnnotation, Scene, make_shot_id

__all__ = ["BenchClip", "BenchReference", "BenchShot", "BenchStory", "BenchTruth", "TruthClip", "make_slug"]


def make_slug(name: str) -> str:
    """Return a name as it stands in IDs and file names: small letters, digits and hyphens.

    Example:
        >>> make_slug("Mia the Fox!")
        'mia-the-fox'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchShot:
    """What one shot should show."""

    caption: str
    """In words, without what anybody looks like."""

    characters: tuple[str, ...] = ()
    """Who is seen."""

    scene: str | None = None
    """Where, by the ID of the scene; None if that was not said."""

    audio: AudioAnnotation | None = None
    """What is heard; None if that was not said."""

    @property
    def sound_caption(self) -> str:
        """Return what is heard in words, "" if nothing was said."""
        if self.audio is None:
            return ""
        return ". ".join(part.strip(" .") for part in (self.audio.audio_type, self.audio.sound_description) if part)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchStory:
    """A story that a system is asked for."""

    story_id: str
    """Unique in the benchmark."""

    ip_id: str
    """Whom it is about; stories of one IP share characters, and other IPs share none with it in its track."""

    track: str
    """The track whose own story it is."""

    storyline: str = ""
    """The plot, in words."""

    characters: tuple[str, ...]
    """Who takes part; each has references."""

    scenes: tuple[Scene, ...] = ()
    """Its places."""

    shots: tuple[BenchShot, ...]
    """In order of time."""

    def __post_init__(self) -> None:
        if not self.shots or not self.characters:
            raise ValueError(f"Story {self.story_id} needs a shot and a character.")
        for index, shot in enumerate(self.shots):
            if not shot.caption.strip():
                raise ValueError(f"Shot {index} of story {self.story_id} has no caption.")
            strangers = [name for name in shot.characters if name not in self.characters]
            if strangers:
                raise ValueError(f"Shot {index} of story {self.story_id} shows {strangers[0]!r}, who is not in it.")
            if shot.scene is not None and shot.scene not in {scene.id for scene in self.scenes}:
                raise ValueError(
                    f"Shot {index} of story {self.story_id} is in {shot.scene!r}, which is no scene of it."
                )

    @property
    def shot_ids(self) -> tuple[str, ...]:
        """Return the ID of each shot."""
        return tuple(make_shot_id(self.story_id, index) for index in range(len(self.shots)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BenchReference:
    """A picture of a character."""

    character_id: str
    """Whom it shows."""

    ip_id: str
    """The character's own IP."""

    image: bytes
    """A PNG, with alpha if it is cut out."""

    license: str
    """Identifier of its licence on the Hub."""

    source: str = ""
    """Where it comes from."""

    attribution: str = ""
    """Whom the licence asks to be named."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BenchClip:
    """A clip of a character, for those who train on it where the track allows that."""

    ip_id: str
    """Whom it shows."""

    clip_id: str
    """Unique in the benchmark."""

    caption: str
    """What it shows; "" if unknown."""

    video: bytes
    """An mp4."""

    license: str
    """Identifier of its licence on the Hub."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchTruth:
    """From what a toon story can be drawn again, to the pixel."""

    story_id: str
    """Which story."""

    plan: str
    """Its plan, as JSON of `plan_json.py`."""

    attributes: Sequence[tuple[str, str, str]]
    """(character, attribute, value)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TruthClip:
    """A true shot as a clip."""

    story_id: str
    """Which story."""

    shot_index: int
    """Which shot of it."""

    video: bytes
    """An mp4."""

    regions: str
    """JSON: character -> [{"frame", "mask"}], its mask wherever it changes."""
