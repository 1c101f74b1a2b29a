"""Turn shots and references into embeddings: each file is decoded once, for all frames and all metrics.

An `Encoder` handles one file at a time and depends on nothing else, so neither the order of stories nor the number of
workers changes a number. What cannot be read gives a reason instead of embeddings; it is counted later, never scored.

Shape letters used below
    F frames looked at    D embedding width
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.sampling import SAMPLINGS, sample_frames
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, StoryPrediction
from animeshooter_hf.eval.views import REFERENCE_BACKGROUNDS, VIEWS, frame_views, reference_view
from animeshooter_hf.video.reading import FrameCursor, to_rgb

__all__ = ["EncodedReference", "EncodedShot", "EncodedStory", "Encoder", "EncodingSettings", "plan_story"]
__all__ += ["read_picture", "source_key"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingSettings:
    """Everything that changes an embedding. It is part of the signature."""

    backend: str = "classical"
    """Name of the image encoder."""

    frames_per_shot: int = 5
    """Frames looked at in each shot. Paper: 5."""

    sampling: str = "bin_centre"
    """Rule that chooses them. Our choice; the paper does not say whether its five include both ends."""

    reference_background: str | None = None
    """What stands behind a cut-out reference; None takes the backend's own choice. The paper does not say."""

    with_identity: bool = True
    """Whether frames are encoded for reference fidelity."""

    with_look: bool = True
    """Whether shots are encoded for cross-shot consistency."""

    def __post_init__(self) -> None:
        if isinstance(self.frames_per_shot, bool) or not isinstance(self.frames_per_shot, int):
            raise InputError(f"frames_per_shot must be a whole number, got {self.frames_per_shot!r}.")
        if not 1 <= self.frames_per_shot <= 1000:
            raise InputError(f"frames_per_shot must lie in 1 to 1000, got {self.frames_per_shot}.")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling must be one of {', '.join(SAMPLINGS)}, got {self.sampling!r}.")
        if self.reference_background not in (None, *REFERENCE_BACKGROUNDS):
            allowed = ", ".join(REFERENCE_BACKGROUNDS)
            raise InputError(f"reference_background must be one of {allowed}, got {self.reference_background!r}.")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedShot:
    """One shot after encoding."""

    problem: str = ""
    """Why it could not be encoded, or "" if it could."""

    num_frames: int = 0
    """Frames looked at; fewer than asked for where the shot is shorter."""

    identity: NDArray[np.float32] | None = None
    """Rows of unit length, shape (F, D), for reference fidelity."""

    look: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """View -> the shot's row of unit length, shape (D,): the mean over its frames."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedReference:
    """One reference image after encoding."""

    character: str = ""
    """Whom it shows."""

    problem: str = ""
    """Why it could not be encoded, or "" if it could."""

    identity: NDArray[np.float32] | None = None
    """Row of unit length, shape (D,)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EncodedStory:
    """One story after encoding: all that scoring needs, and no picture."""

    story_id: str
    """As in the prediction."""

    ip_id: str
    """As in the prediction."""

    shots: tuple[EncodedShot, ...]
    """In order of time."""

    references: tuple[EncodedReference, ...]
    """In the order given."""

    schedule: tuple[tuple[str, ...], ...]
    """Who should be seen in each shot."""

    captions: tuple[str, ...] = ()
    """Caption of each shot, or empty."""

    scene_ids: tuple[str | None, ...] = ()
    """Scene of each shot, or empty."""

    def to_bytes(self) -> bytes:
        """Return the story as the bytes of an uncompressed npz, without pickled objects."""
        arrays: dict[str, NDArray[np.float32]] = {}
        for index, shot in enumerate(self.shots):
            if shot.identity is not None:
                arrays[f"shot.{index}"] = shot.identity
            arrays.update({f"look.{index}.{view}": row for view, row in shot.look.items()})
        for index, reference in enumerate(self.references):
            if reference.identity is not None:
                arrays[f"reference.{index}"] = reference.identity
        facts = {
            "story_id": self.story_id,
            "ip_id": self.ip_id,
            "shots": [[shot.problem, shot.num_frames] for shot in self.shots],
            "references": [[reference.character, reference.problem] for reference in self.references],
            "schedule": self.schedule,
            "captions": self.captions,
            "scene_ids": self.scene_ids,
        }
        buffer = io.BytesIO()
        named: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays}
        np.savez(buffer, **named)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "EncodedStory":
        """Return the story that `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            facts = json.loads(bytes(archive["facts"]))
            arrays = {name: archive[name] for name in archive.files if name != "facts"}
        shots = [
            EncodedShot(
                problem=problem,
                num_frames=num_frames,
                identity=arrays.get(f"shot.{index}"),
                look={view: arrays[name] for view in VIEWS if (name := f"look.{index}.{view}") in arrays},
            )
            for index, (problem, num_frames) in enumerate(facts["shots"])
        ]
        references = [
            EncodedReference(character=character, problem=problem, identity=arrays.get(f"reference.{index}"))
            for index, (character, problem) in enumerate(facts["references"])
        ]
        return cls(
            story_id=facts["story_id"],
            ip_id=facts["ip_id"],
            shots=tuple(shots),
            references=tuple(references),
            schedule=tuple(tuple(names) for names in facts["schedule"]),
            captions=tuple(facts["captions"]),
            scene_ids=tuple(facts["scene_ids"]),
        )


class Encoder:
    """Encodes one shot or one reference at a time."""

    def __init__(self, settings: EncodingSettings) -> None:
        """Load the backend.

        Raises:
            InputError: If there is no such backend.
        """
        self.settings = settings
        self.backbone = load_backbone(settings.backend)
        self.reference_background = settings.reference_background or self.backbone.reference_background

    def encode_shot(self, source: ShotSource) -> EncodedShot:
        """Return a shot's embeddings, or the reason why there are none."""
        try:
            return self._embed(self._frames(source))
        except InputError as error:
            return EncodedShot(problem=str(error))

    def encode_reference(self, picture: Picture) -> EncodedReference:
        """Return a reference's embedding, or the reason why there is none."""
        try:
            image = read_picture(picture)
            view = reference_view(
                image,
                self.reference_background,
                opaque_view=self.backbone.fidelity_view,
                long_side=self.backbone.long_side,
            )
            return EncodedReference(identity=_finite(self.backbone.embed([view], "identity"))[0])
        except ValueError as error:
            return EncodedReference(problem=str(error))

    def _frames(self, source: ShotSource) -> list[NDArray[np.uint8]]:
        settings = self.settings
        if isinstance(source, np.ndarray):
            if not source.size:
                raise InputError("The shot has no frames.")
            return [source[index] for index in sample_frames(len(source), settings.frames_per_shot, settings.sampling)]
        with FrameCursor(source) as cursor:
            chosen = sample_frames(len(cursor.index), settings.frames_per_shot, settings.sampling)
            return [to_rgb(frame) for index in chosen for _, frame in cursor.frames(index, index + 1)]

    def _embed(self, frames: Sequence[NDArray[np.uint8]]) -> EncodedShot:
        look_views = VIEWS if self.settings.with_look else ()
        identity_view = self.backbone.fidelity_view
        names = tuple(dict.fromkeys((*look_views, *([identity_view] if self.settings.with_identity else []))))
        views = [frame_views(frame, names, long_side=self.backbone.long_side) for frame in frames]
        identity_FD = None
        if self.settings.with_identity:
            identity_FD = _finite(self.backbone.embed([view[identity_view] for view in views], "identity"))
        look = {}
        for name in look_views:
            rows_FD = _finite(self.backbone.embed([view[name] for view in views], "look"))
            mean_D = rows_FD.mean(axis=0, dtype=np.float64)
            length = float(np.linalg.norm(mean_D))
            if length == 0:
                raise InputError("The mean of the shot's embeddings is zero.")
            look[name] = (mean_D / length).astype(np.float32)
        return EncodedShot(num_frames=len(frames), identity=identity_FD, look=look)


def plan_story(prediction: StoryPrediction) -> EncodedStory:
    """Return the facts of a prediction without its media, to be filled with `replace` when those are encoded."""
    return EncodedStory(
        story_id=prediction.story_id,
        ip_id=prediction.ip_id,
        shots=(),
        references=tuple(EncodedReference(character=name) for name in prediction.characters),
        schedule=prediction.schedule,
        captions=prediction.captions,
        scene_ids=prediction.scene_ids,
    )


def source_key(source: ShotSource | Picture) -> str:
    """Return what tells two media apart: the file's full path, or a hash of bytes or pixels."""
    if isinstance(source, bytes):
        return "bytes:" + hashlib.sha256(source).hexdigest()
    if isinstance(source, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(source).tobytes()).hexdigest()
        return f"array:{source.shape}:{digest}"
    return f"file:{Path(source).resolve()}"


def read_picture(picture: Picture) -> NDArray[np.uint8]:
    """Return an image as uint8 of shape (rows, columns, 3), or 4 where it has transparency.

    Raises:
        InputError: If there is no such file, or it is no image.
    """
    if isinstance(picture, np.ndarray):
        return picture
    what = f"the image ({len(picture)} bytes)" if isinstance(picture, bytes) else str(picture)
    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
            upright = ImageOps.exif_transpose(opened)
            return np.asarray(upright.convert("RGBA" if upright.has_transparency_data else "RGB"), dtype=np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"There is no file {what}.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{what} cannot be read as an image.") from error


def _finite(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(rows).all():
        raise InputError("The backend returned a value that is not finite.")
    return rows
