"""Who answers the stages' questions about a film: one protocol, many answerers.

`ModelAnnotator` turns each request into a `Question` and asks a model. The sidecar of a film, the truth and the noisy
truth answer without a model. All of them return raw text in an `Answer`; nobody's word is trusted before the stage has
parsed and checked it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from animeshooter_hf.dataset_builder.annotate.question import Answer
from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.records import Character, Shot, Story
from animeshooter_hf.video import FrameIndex

__all__ = ["AdmitRequest", "Annotator", "AudioRequest", "ScriptRequest", "VerifyRequest"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AdmitRequest:
    """Is this film animation, and does it have burnt-in subtitles? What is its rating?"""

    film: FilmSource
    """The film."""

    samples: tuple[SampledFrame, ...]
    """16 uniform frames."""

    index: FrameIndex
    """Its time."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScriptRequest:
    """Write the story script of a segment."""

    film: FilmSource
    """The film."""

    segment_index: int
    """Number of the segment in the film."""

    segment: Segment
    """Its frames."""

    cuts: tuple[int, ...]
    """Frames of the detected boundaries strictly inside the segment."""

    samples: tuple[SampledFrame, ...]
    """The sampled frames inside the segment."""

    index: FrameIndex
    """The film's time."""

    complaints: tuple[str, ...] = ()
    """In a re-ask: the rules that the last answer broke."""

    last_answer: str | None = None
    """In a re-ask: the last answer."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VerifyRequest:
    """Is this cut-out a good reference image of a character?"""

    film: FilmSource
    """The film."""

    story: Story
    """The story."""

    character: Character
    """Who it should show."""

    frame: int
    """Frame of the film."""

    frame_jpeg: bytes
    """The frame with the mask's outline drawn on it."""

    cutout_jpeg: bytes
    """The character alone, on a plain ground."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioRequest:
    """What is heard in a stretch of a story, and is it speech, music or an effect?"""

    film: FilmSource
    """The film."""

    story: Story
    """The story, with its characters and shots."""

    shot: Shot
    """The stretch: an audio shot with frames of the film."""

    samples: tuple[SampledFrame, ...]
    """Sampled frames inside it."""

    wav: bytes
    """Its sound, mono."""


class Annotator(Protocol):
    """Answers requests with raw text; only a defect of ours raises."""

    def settings_key(self) -> Mapping[str, Any]:
        """Return what the answers depend on beside the requests, as JSON values."""

    def admit(self, request: AdmitRequest) -> Answer:
        """Answer with JSON: `{"is_animation": bool, "has_burnt_in_subtitles": bool, "rating": str, "reason": str}`."""

    def write_script(self, request: ScriptRequest) -> Answer:
        """Answer with a story script (see `script/question.py` for its schema)."""

    def verify_reference(self, request: VerifyRequest) -> Answer:
        """Answer with JSON: a yes or no for each criterion (see `references/verify.py`)."""

    def describe_audio(self, request: AudioRequest) -> Answer:
        """Answer with JSON (see `audio/describe.py`).

        `{"kind": "effect"|"speech"|"music"|"silence", "type", "sound_description", "visual_context"}`.
        """
