"""Decode a shot or a reference once, for all features that want something of it.

Each feature says which frames it wants; the file is decoded in one pass for the union, and only those frames are
converted. What one feature cannot have (a frame that is damaged, a sound track that does not decode) is that feature's
problem alone; a file that cannot be opened is a problem of the whole shot.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.regions import ShotRegions
from animeshooter_hf.eval.shot_feature import EmbeddingFeature, PixelFeature, ShotFacts, ShotMedia
from animeshooter_hf.eval.story_prediction import Picture, ShotSource, SoundSource
from animeshooter_hf.video.reading import FrameCursor, sound_stream, to_rgb
from animeshooter_hf.video.sound import read_audio

__all__ = ["Extraction", "Feature", "FeatureExtractor", "MediaJob", "read_picture"]

Feature = PixelFeature | EmbeddingFeature
"""Anything that is taken from a shot or a reference."""

ARRAY_FRAME_RATE = 16.0
"""Frames per second of a shot that is given as an array, which has no clock. Our choice: the rate of the paper's
shots."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MediaJob:
    """One file, and what is wanted of it."""

    source: ShotSource | Picture
    """The shot, or the reference."""

    is_reference: bool = False
    """Whether it is an image."""

    sound: SoundSource = None
    """Sound that stands beside the shot."""

    regions: ShotRegions = field(default_factory=dict)
    """Where characters are."""

    features: tuple[int, ...]
    """Positions in the extractor's list."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Extraction:
    """What came of one job."""

    problem: str = ""
    """Why the file could not be read at all."""

    facts: ShotFacts | None = None
    """What is known of the shot; None if it could not be read."""

    arrays: dict[int, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    """Position of a feature -> its arrays."""

    problems: dict[int, str] = field(default_factory=dict)
    """Position of a feature -> why it could not be had."""

    prepared: dict[int, Sequence[Any]] = field(default_factory=dict)
    """Position of a feature -> its prepared views, which the main process has yet to embed."""


class FeatureExtractor:
    """Takes features from one file at a time. It is pickled to workers; neural backbones leave their models behind."""

    def __init__(self, features: Sequence[Feature]) -> None:
        """Keep the features; jobs name them by position."""
        self.features = tuple(features)

    def __call__(self, job: MediaJob) -> Extraction:
        """Return what can be had of a file; nothing that is wrong with the file raises."""
        try:
            return self._of_picture(job) if job.is_reference else self._of_shot(job)
        except InputError as error:
            return Extraction(problem=str(error))

    def _of_picture(self, job: MediaJob) -> Extraction:
        facts = ShotFacts(num_frames=1, frame_rate=ARRAY_FRAME_RATE)
        frames = {0: read_picture(job.source)}
        return self._extract(job, facts, frames, {})

    def _of_shot(self, job: MediaJob) -> Extraction:
        if isinstance(job.source, np.ndarray):
            if not job.source.size:
                raise InputError("The shot has no frames.")
            facts = ShotFacts(num_frames=len(job.source), frame_rate=ARRAY_FRAME_RATE)
            every = {ordinal: job.source[ordinal] for ordinal in self._wanted(job, facts)}
            return self._extract(job, facts, every, {})
        with FrameCursor(job.source) as cursor:
            num_frames = len(cursor.index)
            facts = ShotFacts(
                num_frames=num_frames,
                frame_rate=num_frames / cursor.index.seconds(num_frames),
                has_sound=sound_stream(cursor.stream.container) is not None,
            )
            frames, damaged = _decode(cursor, self._wanted(job, facts))
        return self._extract(job, facts, frames, damaged)

    def _facts_for(self, feature: Feature, job: MediaJob, facts: ShotFacts) -> ShotFacts:
        """Return the facts as one feature may see them: they must not depend on what its cache key leaves out."""
        return replace(facts, has_sound=True) if feature.wants_sound and job.sound is not None else facts

    def _wanted(self, job: MediaJob, facts: ShotFacts) -> list[int]:
        chosen = {
            ordinal
            for position in job.features
            for ordinal in self.features[position].frames_wanted(self._facts_for(self.features[position], job, facts))
        }
        return sorted(ordinal for ordinal in chosen if 0 <= ordinal < facts.num_frames)

    def _extract(
        self, job: MediaJob, facts: ShotFacts, frames: Mapping[int, NDArray[np.uint8]], damaged: Mapping[int, str]
    ) -> Extraction:
        """Ask every feature in turn; `damaged` says why a frame that is not in `frames` could not be decoded."""
        outcome = Extraction(facts=facts)
        sound = _SoundOnce(job, facts)
        memo: dict[Any, Any] = {}
        for position in job.features:
            feature = self.features[position]
            try:
                seen = self._facts_for(feature, job, facts)
                chosen = feature.frames_wanted(seen)
                lost = next((damaged[ordinal] for ordinal in chosen if ordinal in damaged), "")
                if lost:
                    raise InputError(lost)
                samples_CN, sample_rate = sound.read() if feature.wants_sound else (None, 0)
                media = ShotMedia(
                    facts=seen,
                    frames=frames,
                    sound=samples_CN,
                    sample_rate=sample_rate,
                    regions=job.regions if feature.uses_regions else {},
                    memo=memo,
                )
                if isinstance(feature, PixelFeature):
                    outcome.arrays[position] = dict(feature.extract(media))
                    continue
                views = feature.views(media)
                items = [feature.backbone.prepare(view, feature.kind) for view in views]
                if feature.backbone.runs_in_workers:
                    outcome.arrays[position] = embedded_arrays(
                        feature, feature.backbone.embed_prepared(items, feature.kind), facts=seen, regions=media.regions
                    )
                else:
                    outcome.prepared[position] = items
            except InputError as error:
                outcome.problems[position] = str(error)
        return outcome


def embedded_arrays(
    feature: EmbeddingFeature, rows_VD: NDArray[np.float32], *, facts: ShotFacts, regions: ShotRegions
) -> dict[str, NDArray[Any]]:
    """Return a feature's arrays from the rows of its views.

    Raises:
        InputError: If a row is not finite, or the feature refuses.
    """
    if not np.isfinite(rows_VD).all():
        raise InputError("The backend returned a value that is not finite.")
    return dict(feature.arrays(rows_VD, ShotMedia(facts=facts, frames={}, regions=regions)))


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


class _SoundOnce:
    """The sound of one shot, decoded when the first feature asks for it."""

    def __init__(self, job: MediaJob, facts: ShotFacts) -> None:
        self._job, self._facts = job, facts
        self._kept: tuple[NDArray[np.float32] | None, int] | None = None
        self._problem = ""

    def read(self) -> tuple[NDArray[np.float32] | None, int]:
        """Return samples and rate, or None and 0 where there is no sound.

        Raises:
            InputError: If there is a track that cannot be decoded.
        """
        if self._problem:
            raise InputError(self._problem)
        if self._kept is None:
            source: Any = self._job.sound
            if source is None and self._facts.has_sound:
                source = self._job.source
            try:
                self._kept = (None, 0) if source is None else read_audio(source)
            except InputError as error:
                self._problem = str(error)
                raise
        return self._kept


def _decode(cursor: FrameCursor, wanted: Sequence[int]) -> tuple[dict[int, NDArray[np.uint8]], dict[int, str]]:
    """Return the frames wanted, in one pass, and why those that are missing could not be decoded.

    Where decoding fails, it goes on at the next key frame, so that no feature's frames depend on those of another.
    """
    frames: dict[int, NDArray[np.uint8]] = {}
    damaged: dict[int, str] = {}
    keys = cursor.index.key_frames
    resume, reason = 0, ""
    for ordinal in wanted:
        if ordinal < resume:
            damaged[ordinal] = reason
            continue
        try:
            for _, frame in cursor.frames(ordinal, ordinal + 1):
                frames[ordinal] = to_rgb(frame)
        except InputError as error:
            reason = damaged[ordinal] = str(error)
            later = keys[np.searchsorted(keys, ordinal, side="right") :]
            resume = int(later[0]) if len(later) else len(cursor.index)
    return frames, damaged
