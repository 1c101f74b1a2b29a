"""Scan a film in one decoding pass: its time, its boundaries, pictures of it, and features of its sound.

The packets of picture and sound are read together, once. Every frame of the picture goes to the detector, about one a
second is kept as a JPEG with a hash, and every frame of the sound goes to the features. A frame is known by its time
stamp: if one whose packet is there cannot be decoded, the film is refused, because nothing could be cut from it by
frame; so is a film that lacks more than a hundredth of the frames that its container announces. Damaged sound, a
shorter tail, concealed errors and a change of size are reported among the problems.

Real animation is unmeasured until someone brings films: the detector was fixed and measured on toon films.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from animeshooter_hf.dataset_builder.audio.features import SoundAccumulator, SoundFeatures
from animeshooter_hf.dataset_builder.scan.detectors import DetectorSettings, FrameDetector, open_detector
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan, SampledFrame
from animeshooter_hf.dataset_builder.scan.phash import perceptual_hash
from animeshooter_hf.dataset_builder.scan.planes import small_luma
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import FrameIndex
from animeshooter_hf.video.reading import open_source, picture_stream, sound_stream

__all__ = ["SampleSettings", "ScanSettings", "scan_film"]

_LEAST_STEP = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """Which frames are kept as pictures."""

    per_second: float = 1.0
    """Frames per second. Paper: references are looked for at 1."""

    least: int = 16
    """Least number of frames of a film, where it has as many. Paper: 16 frames are shown to judge it."""

    max_side: int = 1280
    """Larger pictures are scaled down, in pixels; references of larger films are decoded anew. Our choice."""

    jpeg_quality: int = 90
    """0 to 100."""

    def __post_init__(self) -> None:
        if self.per_second <= 0 or self.least < 1 or self.max_side < 16 or not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"Sampling needs positive numbers, a side of 16 and a quality of 1 to 100, got {self}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanSettings:
    """Settings of the pass."""

    detector: DetectorSettings = field(default_factory=DetectorSettings)
    """Who finds boundaries."""

    samples: SampleSettings = field(default_factory=SampleSettings)
    """Which frames are kept."""


def scan_film(path: Path, settings: ScanSettings | None = None) -> FilmScan:
    """Return what one pass over a film gives.

    Raises:
        InputError: If the film is missing, is no video, or a frame of it cannot be decoded.
        MissingExtraError: If the detector needs an extra that is not installed.
    """
    settings = settings or ScanSettings()
    detector = open_detector(settings.detector)
    with open_source(path) as container:
        return _Pass(container, path, detector, settings.samples).run()


class _Pass:
    """The state of one pass."""

    def __init__(self, container: Any, path: Path, detector: FrameDetector, samples: SampleSettings) -> None:
        self._container, self._path, self._detector = container, path, detector
        self._picture = picture_stream(container, path)
        self._sound = sound_stream(container)
        self._picture.codec_context.thread_count = 1
        self._time_base = Fraction(self._picture.time_base or Fraction(1, 1000))
        start = self._picture.start_time
        self._accumulator = None
        if self._sound is not None:
            self._accumulator = SoundAccumulator(Fraction(0) if start is None else start * self._time_base)
        self._sampler = _Sampler(samples, _seconds_of(container, self._picture, self._time_base))
        if self._sampler.passes_over_bidirectional:
            # An eighth of H.264's decoding time; the small planes do not show it.
            self._picture.codec_context.options = {"skip_loop_filter": "bidir"}
        self._packet_pts: list[int] = []
        self._key_pts: list[int] = []
        self._frame_pts: list[int] = []
        self._num_packets = self._num_concealed = 0
        self._size = (self._picture.codec_context.width, self._picture.codec_context.height)
        self._changed_size: str | None = None
        self._problems: list[str] = []

    def run(self) -> FilmScan:
        streams = [self._picture] if self._sound is None else [self._picture, self._sound]
        try:
            for packet in self._container.demux(streams):
                if packet.stream.index == self._picture.index:
                    self._take_picture(packet)
                elif self._accumulator is not None:
                    self._take_sound(packet)
        except av.error.FFmpegError as error:
            raise InputError(f"{self._path} is damaged: {error.strerror}.") from error
        index = self._index()
        self._report()
        boundaries, curve = self._detector.finish()
        sound: SoundFeatures | None = None if self._accumulator is None else self._accumulator.finish()
        return FilmScan(
            width=self._size[0],
            height=self._size[1],
            index=index,
            boundaries=tuple(one for one in boundaries if 0 < one.frame < len(index)),
            curve=np.asarray(curve, np.float32),
            samples=self._sampler.samples(),
            detector=self._detector.name,
            sound=sound,
            problems=tuple(self._problems),
        )

    def _take_picture(self, packet: Any) -> None:
        self._num_packets += packet.size > 0
        if packet.pts is not None and not packet.is_discard and packet.size:
            self._packet_pts.append(packet.pts)
            if packet.is_keyframe:
                self._key_pts.append(packet.pts)
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            number = len(self._frame_pts)
            raise InputError(f"{self._path} cannot be decoded after frame {number}: {error.strerror}.") from error
        for frame in frames:
            if frame.pts is None or (self._frame_pts and frame.pts <= self._frame_pts[-1]):
                continue
            self._frame_pts.append(frame.pts)
            self._num_concealed += frame.is_corrupt
            if (frame.width, frame.height) != self._size and self._changed_size is None:
                self._changed_size = f"frame {len(self._frame_pts) - 1} is {frame.width}x{frame.height}"
            seconds = float((frame.pts - self._frame_pts[0]) * self._time_base)
            self._detector.add(frame, seconds)
            self._sampler.add(frame, len(self._frame_pts) - 1, seconds)

    def _take_sound(self, packet: Any) -> None:
        if self._accumulator is None:
            return
        try:
            for frame in packet.decode():
                self._accumulator.add(frame)
        except av.error.FFmpegError as error:
            if not self._problems:
                self._problems.append(f"sound_damaged: {error.strerror}")

    def _report(self) -> None:
        """Note what was odd; refuse a film of which more than a little is missing."""
        announced = int(self._picture.frames or 0)
        missing = announced - self._num_packets
        if missing > max(1, announced // 100):
            raise InputError(f"{self._path} is cut off: of {announced} frames there are {self._num_packets}.")
        if missing > 0:
            self._problems.append(f"tail_missing: of {announced} frames there are {self._num_packets}")
        if self._num_concealed:
            self._problems.append(f"errors_concealed: in {self._num_concealed} frames")
        if self._changed_size is not None:
            self._problems.append(f"size_changes: {self._changed_size}, the first one {self._size[0]}x{self._size[1]}")

    def _index(self) -> FrameIndex:
        """Return when each frame is shown; every announced frame must have been decoded, in order."""
        if not self._packet_pts:
            raise InputError(f"{self._path} has no frame that could be shown.")
        announced = np.unique(np.asarray(self._packet_pts, np.int64))
        decoded = np.asarray(self._frame_pts, np.int64)
        if len(decoded) != len(announced) or (decoded != announced).any():
            shared = min(len(decoded), len(announced))
            differing = np.flatnonzero(decoded[:shared] != announced[:shared])
            frame = int(differing[0]) if len(differing) else shared
            raise InputError(f"Frame {frame} of {self._path} cannot be decoded: the file is damaged.")
        keys = np.unique(np.searchsorted(announced, np.asarray([announced[0], *self._key_pts], np.int64)))
        return FrameIndex(announced, self._time_base, keys)


class _Sampler:
    """Keeps about so many frames a second as pictures.

    Where they are not close together, bidirectional frames are passed over: others are near, and the decoder need not
    smooth the block edges of frames that are only compared as small planes.
    """

    def __init__(self, settings: SampleSettings, film_seconds: float | None) -> None:
        self._settings = settings
        per_second = settings.per_second
        if film_seconds:
            per_second = max(per_second, settings.least / film_seconds)
        self._step = 1 / per_second
        self.passes_over_bidirectional = self._step >= _LEAST_STEP
        self._next = 0.0
        self._samples: list[SampledFrame] = []
        # One for all frames: setting up the scaler anew costs as much as the conversion.
        self._reformatter = VideoReformatter()

    def add(self, frame: av.VideoFrame, number: int, seconds: float) -> None:
        if seconds + 1e-6 < self._next:
            return
        if self.passes_over_bidirectional and frame.pict_type == PictureType.B:
            return
        self._next = max(self._next + self._step, seconds + self._step / 2)
        picture = self._picture(frame)
        ok, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self._settings.jpeg_quality])
        if not ok:
            raise RuntimeError(f"Frame {number} could not be written as JPEG.")
        phash = perceptual_hash(small_luma(frame, self._reformatter))
        self._samples.append(SampledFrame(frame=number, jpeg=jpeg.tobytes(), phash=phash))

    def samples(self) -> tuple[SampledFrame, ...]:
        return tuple(self._samples)

    def _picture(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        scale = min(1.0, self._settings.max_side / max(frame.width, frame.height))
        width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
        how = "AREA" if scale < 1 else None
        picture = self._reformatter.reformat(frame, width=width, height=height, format="bgr24", interpolation=how)
        return np.asarray(picture.to_ndarray(), np.uint8)


def _seconds_of(container: Any, picture: Any, time_base: Fraction) -> float | None:
    """Return how long the container says the film is, or None if it does not."""
    if picture.duration:
        return float(picture.duration * time_base)
    return float(container.duration / av.time_base) if container.duration else None
