"""Write mp4 files: H.264 and AAC in step, exact rational rates, chapters, nothing half-written.

The same input gives the same bytes on any machine: the encoder runs on one thread and writes no date.

Shape letters used below
    N frames    H height    W width    C channels    T samples
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from animeshooter_hf.clock import exact_frame_rate
from animeshooter_hf.errors import InputError
from animeshooter_hf.video.reading import to_rgb
from animeshooter_hf.video.sound import audio_frames

__all__ = ["Chapter", "MuxShot", "VideoWriter", "mux_story", "write_video"]

_MILLISECONDS = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named part of a film."""

    title: str
    """What a player shows."""

    start_seconds: float
    """Where it begins."""

    end_seconds: float
    """Where it ends."""


@dataclass(frozen=True, slots=True)
class MuxShot:
    """One shot of a story that is to become a film."""

    frames: NDArray[np.uint8]
    """Shape (N, H, W, 3), RGB."""

    audio: NDArray[np.float32] | None = None
    """Shape (C, T) in [-1, 1], or None for silence. It is cut or padded to the shot's length."""

    title: str = ""
    """Title of its chapter."""


class VideoWriter:
    """An open film: frames and sound go in, one finished file (or its bytes) comes out.

    Use it as a context manager. If anything fails inside, nothing is left at the path, and what was there stays.
    """

    def __init__(
        self,
        path: str | Path | None,
        width: int,
        height: int,
        frame_rate: Fraction | float | str,
        *,
        crf: int = 18,
        preset: str = "veryfast",
        lossless: bool = False,
        sample_rate: int | None = None,
        time_base: Fraction | None = None,
        metadata: Mapping[str, str] | None = None,
        chapters: Sequence[Chapter] = (),
    ) -> None:
        """Open a film.

        Args:
            path: Where the mp4 goes, or None to keep it in memory.
            width: Pixels; an odd one is padded by repeating the last column.
            height: Pixels; an odd one is padded by repeating the last row.
            frame_rate: Frames per second.
            crf: Quality of x264, 0 to 51; lower is better. 18 is hard to tell from the source.
            preset: Speed of x264.
            lossless: Keep every pixel of a 4:2:0 picture; large, and few browsers play it.
            sample_rate: Samples per second of the sound, or None for a silent film.
            time_base: Seconds per tick, for frames that carry their own time stamps.
            metadata: Title, comment and the like.
            chapters: Named parts.

        Raises:
            ValueError: If the rate, the quality or the size cannot be used.
            InputError: If the path cannot be written.
        """
        if not 0 <= crf <= 51:
            raise ValueError(f"crf must lie in 0 to 51, got {crf}.")
        if width < 2 or height < 2:
            raise ValueError(f"A film needs at least 2x2 pixels, got {width}x{height}.")
        self._path = None if path is None else Path(path)
        self._bytes = b""
        self._size = (width + width % 2, height + height % 2)
        self._rate = exact_frame_rate(frame_rate)
        self._ticks = time_base or 1 / self._rate
        self._frames_written = self._samples_written = 0
        self.sample_rate = sample_rate
        self._partial = self._open_partial()
        try:
            self._container = av.open(
                str(self._partial),
                "w",
                format="mp4",
                container_options={"movflags": "+faststart+use_metadata_tags", "fflags": "+bitexact"},
            )
            self._picture = self._container.add_stream("libx264", rate=self._rate)
            self._picture.width, self._picture.height = self._size
            self._picture.pix_fmt = "yuv420p"
            quality = {"qp": "0"} if lossless else {"crf": str(crf)}
            # x264's macroblock tree gives other bytes from run to run on some processors (seen with AVX-512).
            self._picture.options = {
                "x264-params": "mbtree=0",
                "preset": preset,
                "threads": "1",
                "g": str(max(1, round(self._rate * 2))),
                **quality,
            }
            self._picture.codec_context.time_base = self._ticks
            self._picture.time_base = self._ticks
            self._sound = self._container.add_stream("aac", rate=sample_rate, layout="stereo") if sample_rate else None
            self._container.metadata.update(metadata or {})
            if chapters:
                self._container.set_chapters([_chapter(number, chapter) for number, chapter in enumerate(chapters)])
        except BaseException:
            self._partial.unlink(missing_ok=True)
            raise

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        if failure is None:
            self._finish()
        else:
            self._discard()

    def write_frame(self, image: NDArray[np.uint8] | av.VideoFrame, *, pts: int | None = None) -> None:
        """Append a frame.

        Args:
            image: Shape (H, W, 3), RGB, or a decoded frame, whose pixels are then taken as they are.
            pts: Time stamp in ticks of the writer's time base; the next frame of the rate if None.

        Raises:
            ValueError: If the size is another than the film's.
        """
        frame = image if isinstance(image, av.VideoFrame) else av.VideoFrame.from_ndarray(self._even(image), "rgb24")
        if (frame.width, frame.height) != self._size:
            frame = av.VideoFrame.from_ndarray(self._even(to_rgb(frame)), "rgb24")
        frame.pict_type = PictureType.NONE
        frame.pts = self._frames_written if pts is None else pts
        frame.time_base = self._ticks
        self._frames_written += 1
        self._container.mux(self._picture.encode(frame))

    def write_audio(self, audio_CT: NDArray[np.float32]) -> None:
        """Append sound of shape (C, T) in [-1, 1]; one channel is given to both sides."""
        if self._sound is None or self.sample_rate is None:
            raise ValueError("This film was opened without a sample_rate, so it takes no sound.")
        stereo_CT = np.repeat(audio_CT, 2, axis=0) if audio_CT.shape[0] == 1 else audio_CT
        for frame in audio_frames(stereo_CT, self.sample_rate, self._samples_written):
            self._container.mux(self._sound.encode(frame))
        self._samples_written += stereo_CT.shape[1]

    def getvalue(self) -> bytes:
        """Return the film's bytes, once it is closed, if it has no path."""
        return self._bytes

    def _open_partial(self) -> Path:
        """Return the file that is written until all is well. FFmpeg can put the index first only in a real file."""
        if self._path is None:
            handle, name = tempfile.mkstemp(suffix=".mp4")
            os.close(handle)
            return Path(name)
        partial = self._path.with_name(f".{self._path.name}.partial-{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.touch()
        except OSError as error:
            raise InputError(f"{self._path} cannot be written: {error.strerror}.") from error
        return partial

    def _even(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"A frame must be uint8 of shape (height, width, 3), got {image.dtype} {image.shape}.")
        down, right = self._size[1] - image.shape[0], self._size[0] - image.shape[1]
        if not (0 <= down <= 1 and 0 <= right <= 1):
            raise ValueError(
                f"Every frame must fit {self._size[0]}x{self._size[1]}, got {image.shape[1]}x{image.shape[0]}."
            )
        if down or right:
            image = np.pad(image, ((0, down), (0, right), (0, 0)), mode="edge")
        return np.ascontiguousarray(image)

    def _finish(self) -> None:
        try:
            if not self._frames_written:
                raise ValueError("A film needs at least one frame.")
            self._container.mux(self._picture.encode())
            if self._sound is not None:
                self._container.mux(self._sound.encode())
            self._container.close()
            if self._path is None:
                self._bytes = self._partial.read_bytes()
                self._partial.unlink()
            else:
                self._partial.replace(self._path)
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        # A container that never got a packet refuses to be closed; the file is thrown away anyhow.
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            self._container.close()
        self._partial.unlink(missing_ok=True)


def write_video(
    path: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: Fraction | float | str,
    *,
    audio: NDArray[np.float32] | None = None,
    sample_rate: int = 44_100,
    crf: int = 18,
    preset: str = "veryfast",
    lossless: bool = False,
    metadata: Mapping[str, str] | None = None,
    chapters: Sequence[Chapter] = (),
) -> Path:
    """Write frames, and sound if given, as one mp4 and return its path. For the options see `VideoWriter`.

    Args:
        path: Where it goes; an old file stays until the new one is complete.
        frames: Each uint8 of shape (H, W, 3), RGB, all of one size.
        frame_rate: Frames per second.
        audio: Shape (C, T) in [-1, 1].
        sample_rate: Samples per second of `audio`.
        crf: Quality of x264.
        preset: Speed of x264.
        lossless: Keep every pixel of a 4:2:0 picture.
        metadata: Title, comment and the like.
        chapters: Named parts.

    Raises:
        ValueError: If there is no frame, or frames differ in size.
        InputError: If the path cannot be written.
    """
    rate = exact_frame_rate(frame_rate)
    iterator = iter(frames)
    try:
        first = next(iterator)
    except StopIteration:
        raise ValueError("A film needs at least one frame.") from None
    options: dict[str, Any] = {"crf": crf, "preset": preset, "lossless": lossless, "metadata": metadata}
    rate_of_sound = None if audio is None else sample_rate
    writer = VideoWriter(
        path, first.shape[1], first.shape[0], rate, sample_rate=rate_of_sound, chapters=chapters, **options
    )
    with writer:
        written = 0
        for number, image in enumerate(_chain(first, iterator), start=1):
            writer.write_frame(image)
            if audio is not None:
                upto = min(audio.shape[1], round(number / rate * sample_rate))
                writer.write_audio(audio[:, written:upto])
                written = upto
        if audio is not None:
            writer.write_audio(audio[:, written:])
    return Path(path)


def mux_story(
    path: str | Path,
    shots: Sequence[MuxShot],
    frame_rate: Fraction | float | str,
    *,
    sample_rate: int = 44_100,
    crf: int = 18,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write the shots of a story as one film with a chapter each, and return its path.

    The sound of each shot is cut or padded at the *cumulative* sample of its end, so picture and sound do not drift
    apart, however many shots there are and whatever the rate.

    Raises:
        ValueError: If there is no shot, or shots differ in size.
        InputError: If the path cannot be written.
    """
    if not shots:
        raise ValueError("A story needs at least one shot.")
    rate = exact_frame_rate(frame_rate)
    with_sound = any(shot.audio is not None for shot in shots)
    ends = np.cumsum([len(shot.frames) for shot in shots]).tolist()
    chapters = [
        Chapter(shot.title or f"shot {number}", float(start / rate), float(end / rate))
        for number, (shot, start, end) in enumerate(zip(shots, [0, *ends], ends, strict=False), start=1)
    ]
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    height, width = shots[0].frames.shape[1:3]
    writer = VideoWriter(
        path, width, height, rate, crf=crf, metadata=texts, chapters=chapters,
        sample_rate=sample_rate if with_sound else None,
    )  # fmt: skip
    with writer:
        samples = 0
        for shot, end in zip(shots, ends, strict=True):
            for image in shot.frames:
                writer.write_frame(image)
            upto = round(end / rate * sample_rate)
            if with_sound:
                writer.write_audio(_fitted(shot.audio, upto - samples))
            samples = upto
    return Path(path)


def _fitted(audio_CT: NDArray[np.float32] | None, length: int) -> NDArray[np.float32]:
    """Return stereo sound of exactly `length` samples, cut or followed by silence."""
    fitted = np.zeros((2, length), np.float32)
    if audio_CT is not None:
        kept = min(length, audio_CT.shape[1])
        fitted[:, :kept] = audio_CT[:, :kept]
    return fitted


def _chain(first: NDArray[np.uint8], rest: Iterable[NDArray[np.uint8]]) -> Iterable[NDArray[np.uint8]]:
    yield first
    yield from rest


def _chapter(number: int, chapter: Chapter) -> Any:
    return {
        "id": number,
        "start": round(chapter.start_seconds * 1000),
        "end": round(chapter.end_seconds * 1000),
        "time_base": _MILLISECONDS,
        "metadata": {"title": chapter.title},
    }
