"""Read sound by time, to the sample, and write it without loss.

Shape letters used below
    C channels    T samples
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video.reading import Source, open_source, source_name

if TYPE_CHECKING:
    pass

__all__ = ["audio_frames", "encode_flac", "read_audio"]

_PREROLL_SECONDS = Fraction(1, 2)
"""Decoded before the asked start, so that codecs with overlap have settled. Our choice: over 20 AAC frames."""


def read_audio(
    source: Source,
    *,
    start_seconds: float | Fraction = 0.0,
    end_seconds: float | Fraction | None = None,
    sample_rate: int | None = None,
    mono: bool = False,
) -> tuple[NDArray[np.float32], int]:
    """Return the sound between two times, counted from the first frame of the picture, if there is one.

    Samples are placed by their time stamps; where the track is silent, missing or over, there are zeros.

    Args:
        source: A video or a sound file, or the bytes of one.
        start_seconds: Where to begin.
        end_seconds: Where to end; the end of the track if None.
        sample_rate: Samples per second wanted; the track's own if None.
        mono: Mix the channels into one.

    Returns:
        Samples of shape (C, T) in about [-1, 1], and their rate. T is the difference of the rounded ends.

    Raises:
        InputError: If there is no such file, it has no sound, or the range is reversed.
    """
    start = Fraction(start_seconds)
    end = None if end_seconds is None else Fraction(end_seconds)
    if start < 0 or (end is not None and end < start):
        raise InputError(f"Sound is asked from {float(start)} s to {end_seconds} s, which is no range.")
    samples_CT, first, native = _collect(source, start, end)
    rate = sample_rate or native
    begin = max(0, round(start * native) - round(_PREROLL_SECONDS * native))
    stop = max(first + samples_CT.shape[1], begin) if end is None else round((end + _PREROLL_SECONDS) * native)
    window_CT = np.zeros((samples_CT.shape[0], max(0, stop - begin)), np.float32)
    source_from, target_from = max(0, begin - first), max(0, first - begin)
    length = min(samples_CT.shape[1] - source_from, window_CT.shape[1] - target_from)
    if length > 0:
        window_CT[:, target_from : target_from + length] = samples_CT[:, source_from : source_from + length]
    if mono:
        window_CT = window_CT.mean(axis=0, keepdims=True)
    offset = round(start * rate) - round(Fraction(begin, native) * rate)
    wanted = (round(Fraction(stop, native) * rate) if end is None else round(end * rate)) - round(start * rate)
    resampled_CT = _resample(window_CT, native, rate)[:, offset : offset + wanted]
    return np.ascontiguousarray(np.pad(resampled_CT, ((0, 0), (0, wanted - resampled_CT.shape[1])))), rate


def encode_flac(audio_CT: NDArray[np.float32], sample_rate: int) -> bytes:
    """Return 16-bit FLAC of samples in [-1, 1]; the number of samples is kept exactly.

    Raises:
        ValueError: If the shape is not (C, T) with one or two channels and at least one sample.
    """
    if audio_CT.ndim != 2 or audio_CT.shape[0] not in (1, 2) or audio_CT.shape[1] == 0:
        raise ValueError(f"audio must have the shape (1 or 2 channels, samples), got {audio_CT.shape}.")
    layout = "mono" if audio_CT.shape[0] == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=sample_rate, layout=layout)
        whole_CT = np.clip(np.rint(audio_CT * 32768.0), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole_CT.T).reshape(1, -1), "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def audio_frames(audio_CT: NDArray[np.float32], sample_rate: int, first_sample: int) -> Iterator[av.AudioFrame]:
    """Yield planar float frames of a waveform whose first sample stands at `first_sample` of the track."""
    layout = "mono" if audio_CT.shape[0] == 1 else "stereo"
    for begin in range(0, audio_CT.shape[1], 1024):
        block_CT = np.ascontiguousarray(audio_CT[:, begin : begin + 1024], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block_CT, "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, first_sample + begin, Fraction(1, sample_rate)
        yield frame


def _collect(source: Source, start: Fraction, end: Fraction | None) -> tuple[NDArray[np.float32], int, int]:
    """Return native samples around the range, the position of the first one, and the native rate."""
    with open_source(source) as container:
        if not container.streams.audio:
            raise InputError(f"{source_name(source)} has no sound.")
        stream = container.streams.audio[0]
        pictures = container.streams.video
        origin = Fraction(0)
        if pictures and pictures[0].start_time is not None:
            origin = pictures[0].start_time * Fraction(pictures[0].time_base or 1)
        rate = stream.codec_context.sample_rate
        begin = start - 2 * _PREROLL_SECONDS
        if begin > 0:
            container.seek(int((begin + origin) * av.time_base), backward=True)
        parts = _decode(container, stream, source, origin, end)
        if begin > 0 and (not parts or parts[0][0] > begin * rate):
            container.seek(0, backward=True)
            parts = _decode(container, stream, source, origin, end)
        channels = min(2, stream.codec_context.channels)
    if not parts:
        return np.zeros((max(1, channels), 0), np.float32), 0, rate
    first = parts[0][0]
    last = max(position + block.shape[1] for position, block in parts)
    samples_CT = np.zeros((parts[0][1].shape[0], last - first), np.float32)
    for position, block in parts:
        samples_CT[:, max(0, position - first) : position - first + block.shape[1]] = block[
            :, max(0, first - position) :
        ]
    return samples_CT, first, rate


def _decode(
    container: av.container.InputContainer,
    stream: av.AudioStream,
    source: Source,
    origin: Fraction,
    end: Fraction | None,
) -> list[tuple[int, NDArray[np.float32]]]:
    """Return (position in samples, block (C, T)) for the decoded frames, in order, as float with at most 2 channels."""
    rate = stream.codec_context.sample_rate
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    parts: list[tuple[int, NDArray[np.float32]]] = []
    try:
        for frame in container.decode(stream):
            if frame.pts is None:
                continue
            position = round((frame.pts * Fraction(frame.time_base or 1) - origin) * rate)
            if end is not None and position > (end + 2 * _PREROLL_SECONDS) * rate:
                break
            # Time stamps in coarse ticks jitter by a few samples; what follows on is joined without a seam.
            if parts and abs(position - (parts[-1][0] + parts[-1][1].shape[1])) <= rate // 500:
                position = parts[-1][0] + parts[-1][1].shape[1]
            blocks = [block.to_ndarray() for block in resampler.resample(frame)]
            if blocks:
                parts.append((position, np.concatenate(blocks, axis=1)))
    except av.error.FFmpegError as error:
        if not parts:
            raise InputError(f"The sound of {source_name(source)} cannot be decoded: {error.strerror}.") from error
    return parts


def _resample(samples_CT: NDArray[np.float32], native: int, rate: int) -> NDArray[np.float32]:
    if native == rate or not samples_CT.shape[1]:
        return samples_CT
    layout = "mono" if samples_CT.shape[0] == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    blocks = [
        block.to_ndarray() for frame in audio_frames(samples_CT, native, 0) for block in resampler.resample(frame)
    ]
    blocks += [block.to_ndarray() for block in resampler.resample(None)]
    return np.concatenate(blocks, axis=1)
