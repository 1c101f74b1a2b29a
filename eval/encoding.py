"""What is left of a story when its files have been decoded and embedded: numbers, and never a picture.

Encoding and scoring are two steps. Encoding is the heavy one; each file is decoded once for all metrics (`engine.py`).
Scoring is arithmetic on these records (`scoring.py`). A record survives its own bytes, so that other processes and the
library `evaluate` can carry it from the one step to the other.

Shape letters used below
    S shots    D embedding width
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.regions import is_unnamed
from animeshooter_hf.eval.sampling import SAMPLINGS
from animeshooter_hf.eval.shot_feature import ShotFacts
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.eval.views import FIDELITY_VIEWS, REFERENCE_BACKGROUNDS

__all__ = ["EncodedReference", "EncodedShot", "EncodedStory", "EncodingSettings", "plan_story"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSettings:
    """Everything that changes an embedding. What a metric uses of it stands in the metric's signature."""

    backend: str = "classical"
    """Image encoder: NAME or NAME:REPO_OR_FOLDER[@REVISION]."""

    device: str = "cpu"
    """Where a neural backend runs."""

    dtype: str = "float32"
    """Precision of a neural backend."""

    frames_per_shot: int = 5
    """Frames looked at in each shot. Paper: 5."""

    sampling: str = "bin_centre"
    """Rule that chooses them. Our choice; the paper does not say whether its five include both ends."""

    fidelity_view: str = "auto"
    """What of a frame is compared with a reference: `full`, `foreground`, `character` (where regions say it is), or
    `auto`: `character` in stories that have regions, and the backend's own choice in all others."""

    reference_background: str | None = None
    """What stands behind a cut-out reference; None takes the backend's own choice. The paper does not say."""

    style_backend: str | None = None
    """Image encoder of the style view; None compares palettes and strokes without one."""

    audio_backend: str | None = None
    """Sound encoder: NAME or NAME:REPO_OR_FOLDER[@REVISION]; None measures sound without one."""

    def __post_init__(self) -> None:
        if isinstance(self.frames_per_shot, bool) or not isinstance(self.frames_per_shot, int):
            raise InputError(f"frames_per_shot must be a whole number, got {self.frames_per_shot!r}.")
        if not 1 <= self.frames_per_shot <= 1000:
            raise InputError(f"frames_per_shot must lie in 1 to 1000, got {self.frames_per_shot}.")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {self.sampling!r}.")
        if self.fidelity_view not in FIDELITY_VIEWS:
            raise InputError(f"fidelity_view must be one of {', '.join(FIDELITY_VIEWS)}, got {self.fidelity_view!r}.")
        if self.reference_background not in (None, *REFERENCE_BACKGROUNDS):
            allowed = ", ".join(REFERENCE_BACKGROUNDS)
            raise InputError(f"reference_background must be one of {allowed}, got {self.reference_background!r}.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedShot:
    """One shot after encoding."""

    problem: str = ""
    """Why the whole shot could not be read, or "" if it could."""

    problems: Mapping[str, str] = field(default_factory=dict)
    """Feature -> why it could not be had; features that could are not here."""

    num_frames: int = 0
    """Frames looked at by the sampling of the run; fewer than asked for where the shot is shorter, 0 if unreadable."""

    facts: ShotFacts | None = None
    """Length, rate and whether there is sound; None if the shot could not be read."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """"FEATURE.ARRAY" -> numbers, such as "identity.rows"."""

    def problem_of(self, *features: str) -> str:
        """Return why the shot, or the first of some features, could not be had; "" if all is there."""
        return self.problem or next((self.problems[name] for name in features if name in self.problems), "")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedReference:
    """One reference image after encoding."""

    character: str = ""
    """Whom it shows."""

    problem: str = ""
    """Why it could not be encoded, or "" if it could."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """"FEATURE.ARRAY" -> numbers, such as "reference.rows"."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedStory:
    """One story after encoding: all that scoring needs, and no picture."""

    story_id: str
    """As in the prediction."""

    ip_id: str
    """As in the prediction."""

    track: str = ""
    """As in the prediction."""

    shots: tuple[EncodedShot, ...] = ()
    """In order of time."""

    references: tuple[EncodedReference, ...] = ()
    """In the order given."""

    schedule: tuple[tuple[str, ...], ...] = ()
    """Who should be seen in each shot."""

    captions: tuple[str, ...] = ()
    """Caption of each shot, or empty."""

    scene_ids: tuple[str | None, ...] = ()
    """Scene of each shot, or empty."""

    sound_captions: tuple[str, ...] = ()
    """What should be heard in each shot, or empty."""

    has_regions: bool = False
    """Whether the prediction says where a character of the story is in at least one shot."""

    caption_rows: NDArray[np.float32] | None = None
    """Rows of the captions, of unit length (zeros for an empty one), shape (S, D); None if no metric asked for them or
    there are none."""

    def to_bytes(self) -> bytes:
        """Return the story as the bytes of an uncompressed npz, without pickled objects."""
        arrays: list[NDArray[Any]] = []

        def keep(named: Mapping[str, NDArray[Any]]) -> dict[str, int]:
            positions = {name: len(arrays) + offset for offset, name in enumerate(named)}
            arrays.extend(named.values())
            return positions

        facts = {
            "story_id": self.story_id,
            "ip_id": self.ip_id,
            "track": self.track,
            "shots": [
                [
                    shot.problem,
                    dict(shot.problems),
                    shot.num_frames,
                    shot.facts and asdict(shot.facts),
                    keep(shot.arrays),
                ]
                for shot in self.shots
            ],
            "references": [[one.character, one.problem, keep(one.arrays)] for one in self.references],
            "schedule": self.schedule,
            "captions": self.captions,
            "scene_ids": self.scene_ids,
            "sound_captions": self.sound_captions,
            "has_regions": self.has_regions,
            "caption_rows": None if self.caption_rows is None else keep({"rows": self.caption_rows})["rows"],
        }
        buffer = io.BytesIO()
        named: dict[str, Any] = {str(position): array for position, array in enumerate(arrays)}
        np.savez(buffer, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **named)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "EncodedStory":
        """Return the story that `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            facts = json.loads(bytes(archive["facts"]))
            arrays = [archive[str(position)] for position in range(len(archive.files) - 1)]

        def named(positions: Mapping[str, int]) -> dict[str, NDArray[Any]]:
            return {name: arrays[position] for name, position in positions.items()}

        shots = [
            EncodedShot(
                problem=problem,
                problems=problems,
                num_frames=num_frames,
                facts=ShotFacts(**known) if known else None,
                arrays=named(positions),
            )
            for problem, problems, num_frames, known, positions in facts["shots"]
        ]
        references = [
            EncodedReference(character=character, problem=problem, arrays=named(positions))
            for character, problem, positions in facts["references"]
        ]
        return cls(
            story_id=facts["story_id"],
            ip_id=facts["ip_id"],
            track=facts["track"],
            shots=tuple(shots),
            references=tuple(references),
            schedule=tuple(tuple(names) for names in facts["schedule"]),
            captions=tuple(facts["captions"]),
            scene_ids=tuple(facts["scene_ids"]),
            sound_captions=tuple(facts["sound_captions"]),
            has_regions=facts["has_regions"],
            caption_rows=None if facts["caption_rows"] is None else arrays[facts["caption_rows"]],
        )


def plan_story(prediction: StoryPrediction) -> EncodedStory:
    """Return the facts of a prediction without its media, to be filled with `replace` when those are encoded."""
    return EncodedStory(
        story_id=prediction.story_id,
        ip_id=prediction.ip_id,
        track=prediction.track,
        references=tuple(EncodedReference(character=name) for name in prediction.characters),
        schedule=prediction.schedule,
        captions=prediction.captions,
        scene_ids=prediction.scene_ids,
        sound_captions=prediction.sound_captions,
        has_regions=any(not is_unnamed(name) for regions in prediction.regions for name in regions),
    )
