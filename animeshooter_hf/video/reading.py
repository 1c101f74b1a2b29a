"""Read frames by their ordinal, exactly, from any container that FFmpeg reads.

A first pass over the packets (no decoding) gives the presentation time of every frame; a frame is then recognised by
its time stamp and never by counting what a decoder happens to return. So B-frames, variable rates, start offsets and
containers whose seeking lands late all give the same frames, and a frame that cannot be decoded is an error, not a
shift of all that follow.
"""

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["Frame", "FrameCursor", "FrameIndex", "Source", "VideoInfo", "index_frames", "iter_frames", "probe"]
__all__ += ["open_source", "picture_stream", "read_frames", "sound_stream", "source_name", "to_rgb"]

Source = str | Path | bytes
"""A video file, or the bytes of one."""

MAX_FRAME_RATE = 1000
"""Frames per second; time stamps that say more are damaged. The same limit as `clock.exact_frame_rate`."""

_FALLBACK_TIME_BASE = Fraction(1, 1000)

_OF_THREAD = threading.local()

_KEEPS_CONVERTER = int(av.__version__.split(".")[0]) >= 17
"""In PyAV 16 a converter that is used again gives other pixels for some formats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What a video file says of itself."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    frame_rate: Fraction
    """Frames per second, exact; the average where the rate varies."""

    num_frames: int
    """Frames of the picture, counted from the packets."""

    duration_seconds: float
    """From the first frame's start to the last frame's end."""

    is_variable_rate: bool
    """Whether frames last unequally long (by more than one tick of the time base)."""

    codec: str
    """FFmpeg's name of the picture's codec."""

    has_audio: bool
    """Whether there is a sound track."""

    audio_sample_rate: int | None
    """Samples per second of the first sound track."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """When each frame is shown."""

    pts: NDArray[np.int64]
    """Presentation time stamps in ticks, ascending, one per frame."""

    time_base: Fraction
    """Seconds per tick."""

    key_frames: NDArray[np.int64]
    """Ordinals of the frames where decoding can begin, ascending."""

    def __len__(self) -> int:
        return len(self.pts)

    def seconds(self, frame: int) -> float:
        """Return when a frame is shown, counted from the first one; one past the end gives the end."""
        if frame >= len(self.pts):
            return float((int(self.pts[-1]) - int(self.pts[0]) + self._last_duration()) * self.time_base)
        return float((int(self.pts[frame]) - int(self.pts[0])) * self.time_base)

    def seconds_between(self, first: int, frame: int) -> float:
        """Return the time from one frame to a later one (or to the end), exact but for one rounding."""
        end = int(self.pts[-1]) + self._last_duration()
        ticks = [end if one >= len(self.pts) else int(self.pts[one]) for one in (first, frame)]
        return float((ticks[1] - ticks[0]) * self.time_base)

    def frame_at(self, seconds: float) -> int:
        """Return the frame whose start is nearest to a time; at most the number of frames."""
        ticks = int(self.pts[0]) + round(Fraction(seconds) / self.time_base)
        last = len(self.pts) - 1
        if ticks <= int(self.pts[0]):
            return 0
        if ticks > int(self.pts[last]):
            before, following, after = int(self.pts[last]), int(self.pts[last]) + self._last_duration(), last + 1
        else:
            after = int(np.searchsorted(self.pts, ticks))
            before, following = int(self.pts[after - 1]), int(self.pts[after])
        return after if following - ticks <= ticks - before else after - 1

    def _last_duration(self) -> int:
        if len(self.pts) < 2:
            return max(1, round(Fraction(1, 24) / self.time_base))
        return max(1, int(np.median(np.diff(self.pts))))


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    index: int
    """Ordinal in the video."""

    seconds: float
    """When it is shown, counted from the first frame."""

    image: NDArray[np.uint8]
    """Shape (height, width, 3), RGB."""


def probe(source: Source) -> VideoInfo:
    """Return what a video file says of itself, without decoding it.

    Raises:
        InputError: If there is no such file, it is no video, or it holds only sound.
    """
    with open_source(source) as container:
        stream = picture_stream(container, source)
        index = _index(container, stream, source)
        sound = sound_stream(container)
        steps = np.diff(index.pts)
        duration = Fraction(index.seconds(len(index))).limit_denominator(10**7)
        is_variable = bool(len(steps) and int(steps.max()) - int(steps.min()) > 2)
        rate = _frame_rate(stream.guessed_rate or stream.average_rate, len(index), duration, is_variable)
        if rate is None:
            seconds = float(duration)
            raise InputError(f"{source_name(source)} is damaged: it shows {len(index)} frames in {seconds:.9g} s.")
        return VideoInfo(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frame_rate=rate,
            num_frames=len(index),
            duration_seconds=float(duration),
            is_variable_rate=is_variable,
            codec=stream.codec_context.name,
            has_audio=sound is not None,
            audio_sample_rate=None if sound is None else sound.codec_context.sample_rate,
        )


def index_frames(source: Source) -> FrameIndex:
    """Return when each frame is shown, from the packets alone.

    Raises:
        InputError: If there is no such file, it is no video, or it holds only sound.
    """
    with open_source(source) as container:
        return _index(container, picture_stream(container, source), source)


def iter_frames(source: Source, start: int = 0, end: int | None = None) -> Iterator[Frame]:
    """Yield the frames `start` to `end` (half-open, to the last one if None), each converted to RGB.

    Raises:
        InputError: If the range does not lie in the video, or one of its frames cannot be decoded.
    """
    with FrameCursor(source) as cursor:
        for ordinal, frame in cursor.frames(start, len(cursor.index) if end is None else end):
            yield Frame(ordinal, cursor.index.seconds(ordinal), to_rgb(frame))


def read_frames(source: Source, indices: Sequence[int]) -> NDArray[np.uint8]:
    """Return some frames as RGB, in the order asked, in one pass that converts only those.

    Args:
        source: The video.
        indices: Ordinals; any order, repeats allowed.

    Returns:
        Shape (len(indices), height, width, 3).

    Raises:
        InputError: If an ordinal does not lie in the video, or its frame cannot be decoded.
    """
    with FrameCursor(source) as cursor:
        images: dict[int, NDArray[np.uint8]] = {}
        for wanted in sorted(set(indices)):
            for ordinal, frame in cursor.frames(wanted, wanted + 1):
                images[ordinal] = to_rgb(frame)
        if not images:
            stream = cursor.stream
            return np.zeros((0, stream.codec_context.height, stream.codec_context.width, 3), np.uint8)
        return np.stack([images[index] for index in indices])


class FrameCursor:
    """A decoder that stands at a frame: goes forward where that is cheaper, seeks where it is not."""

    def __init__(self, source: Source) -> None:
        """Open the source and index its frames.

        Raises:
            InputError: If there is no such file, it is no video, or it holds only sound.
        """
        self._source = source
        self._container = open_source(source)
        self._can_seek = True
        self._position = 0
        try:
            self.stream = picture_stream(self._container, source)
            self.index = _index(self._container, self.stream, source)
            self._ordinals = {int(pts): ordinal for ordinal, pts in enumerate(self.index.pts)}
            self._rewind()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> "FrameCursor":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self, start: int, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (ordinal, decoded frame) for a half-open range.

        Raises:
            InputError: If the range does not lie in the video, or one of its frames cannot be decoded.
        """
        if not 0 <= start <= end <= len(self.index):
            raise InputError(
                f"Frames {start} to {end} do not lie in {source_name(self._source)}, which has {len(self.index)}."
            )
        if start == end:
            return
        self._approach(start)
        expected = start
        while True:
            for ordinal, frame in self._decode():
                if ordinal < expected:
                    continue
                if ordinal > expected:
                    break
                expected += 1
                yield ordinal, frame
                if expected == end:
                    return
            if not self._has_sought:
                break
            # Some containers (transport streams) seek to a place after the key frame: decode them from the start.
            self._can_seek = False
            self._restart()
        raise InputError(f"Frame {expected} of {source_name(self._source)} cannot be decoded: the file is damaged.")

    def _approach(self, start: int) -> None:
        key = int(self.index.key_frames[np.searchsorted(self.index.key_frames, start, side="right") - 1])
        if key <= self._position <= start:
            return
        if self._can_seek and key > 0:
            try:
                self._container.seek(int(self.index.pts[key]), stream=self.stream, backward=True)
            except av.error.FFmpegError:  # an index that is damaged: decode from the start
                self._can_seek = False
                self._restart()
                return
            self._frames = self._container.decode(self.stream)
            self._position, self._has_sought = key, True
        elif self._position > start:
            self._restart()

    def _rewind(self) -> None:
        """Go back to the start after indexing; opening a file again costs more than a seek does.

        If the seek does not lead to the first frame, `frames` notices, and starts from a file opened again.
        """
        if "mp4" not in self._container.format.name:
            self._restart()
            return
        try:
            self._container.seek(int(self.index.pts[0]), stream=self.stream, backward=True)
        except av.error.FFmpegError:
            self._restart()
            return
        self._frames = self._container.decode(self.stream)
        self._position, self._has_sought = 0, True

    def _restart(self) -> None:
        self._container.close()
        self._container = open_source(self._source)
        self.stream = picture_stream(self._container, self._source)
        self._frames = self._container.decode(self.stream)
        self._position, self._has_sought = 0, False

    def _decode(self) -> Iterator[tuple[int, av.VideoFrame]]:
        while True:
            try:
                frame = next(self._frames)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                raise InputError(
                    f"{source_name(self._source)} cannot be decoded after frame {self._position}: {error.strerror}."
                ) from error
            ordinal = self._ordinals.get(frame.pts) if frame.pts is not None else self._position
            if ordinal is None:
                continue
            self._position = ordinal + 1
            yield ordinal, frame


def to_rgb(frame: av.VideoFrame, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Return a decoded frame as uint8 of shape (height, width, 3), RGB; written into `out` if that is given.

    The same pixels as `frame.to_ndarray(format="rgb24")`, which sets a converter up for every frame; here each thread
    keeps its own.
    """
    if _KEEPS_CONVERTER:
        if not hasattr(_OF_THREAD, "reformatter"):
            _OF_THREAD.reformatter = av.video.reformatter.VideoReformatter()
        frame = _OF_THREAD.reformatter.reformat(frame, format="rgb24", threads=1)
    if out is None:
        return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    out[:] = frame.to_ndarray(format="rgb24")
    return out


def open_source(source: Source) -> "InputContainer":
    """Return an open container of a file or of bytes.

    Raises:
        InputError: If there is no such file, or it is nothing that FFmpeg reads.
    """
    if not isinstance(source, bytes):
        path = Path(source)
        if not path.exists():
            raise InputError(f"There is no file {path}.")
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a video.")
    try:
        return av.open(io.BytesIO(source) if isinstance(source, bytes) else str(source), mode="r")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise InputError(f"{source_name(source)} cannot be read as a video: it is damaged or no media file.") from error


def picture_stream(container: "InputContainer", source: Source) -> Any:
    """Return the picture's stream; a cover image beside sound does not count.

    Raises:
        InputError: If there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:  # the codec is unknown to FFmpeg, or its name is damaged
                raise InputError(f"{source_name(source)} holds a picture of a codec that cannot be read.")
            return stream
    raise InputError(f"{source_name(source)} holds only sound, no picture.")


def sound_stream(container: "InputContainer") -> Any:
    """Return the first sound track that can be decoded, or None if there is none."""
    streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return next((stream for stream in streams if stream.codec_context.sample_rate > 0), None)


def source_name(source: Source) -> str:
    """Return how a message names a source."""
    return f"the video ({len(source)} bytes)" if isinstance(source, bytes) else str(source)


def _frame_rate(declared: Any, num_frames: int, duration: Fraction, is_variable: bool) -> Fraction | None:
    """Return the declared rate, or the average where that varies or cannot be; None if no video has such a rate."""
    if declared and not is_variable and 0 < declared <= MAX_FRAME_RATE:
        return Fraction(declared)
    if not 0 < num_frames <= MAX_FRAME_RATE * duration:
        return None
    average = num_frames / duration
    return average.limit_denominator(1001) or average


def _index(container: "InputContainer", stream: Any, source: Source) -> FrameIndex:
    pts: list[int] = []
    keys: list[int] = []
    try:
        for packet in container.demux(stream):
            if packet.pts is None or packet.is_discard or not packet.size:
                continue
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    except av.error.FFmpegError as error:
        raise InputError(f"{source_name(source)} is damaged: {error.strerror}.") from error
    if not pts:
        raise InputError(f"{source_name(source)} has no frame that could be shown.")
    ascending = np.unique(np.asarray(pts, dtype=np.int64))
    key_frames = np.unique(np.searchsorted(ascending, np.asarray([ascending[0], *keys], dtype=np.int64)))
    return FrameIndex(ascending, Fraction(stream.time_base or _FALLBACK_TIME_BASE), key_frames)
