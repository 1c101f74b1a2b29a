"""Read sound by time, to the sample, and write it without loss.

Shape letters used below
    C channels    T samples
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video.reading import Source, open_source, sound_stream, source_name

__all__ = ["audio_frames", "encode_flac", "read_audio", "resample_audio"]

_BLOCK_SECONDS = 10
"""The time line is read in blocks of this length; whole seconds are whole samples at every rate."""

_MARGIN_SECONDS = 1
"""Read to either side of a block, so that codecs with overlap and resamplers have settled: over 40 AAC frames."""

_MAX_RATE = 768_000


def read_audio(
    source: Source,
    *,
    start_seconds: float | Fraction = 0.0,
    end_seconds: float | Fraction | None = None,
    sample_rate: int | None = None,
    mono: bool = False,
) -> tuple[NDArray[np.float32], int]:
    """Return the sound between two times, counted from the first frame of the picture, if there is one.

    Samples are placed by their time stamps; where the track is silent, missing or over, there are zeros. Every sample
    of the time line has one value, whatever range it is read in: neighbouring ranges joined are the whole range.

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
    track = _open_track(source)
    rate = sample_rate or track.rate
    first_block = number = int(start // _BLOCK_SECONDS)
    blocks: list[NDArray[np.float32]] = []
    while True:
        block_CT, track_end = _read_block(source, track, number, rate, mono)
        blocks.append(block_CT)
        number += 1
        is_over = track_end is not None and track_end <= number * _BLOCK_SECONDS * track.rate
        if is_over or (end is not None and end <= number * _BLOCK_SECONDS):
            break
    if end is None:
        end = max(Fraction(track_end or 0, track.rate), start)
    samples_CT = np.concatenate(blocks, axis=1)
    base = first_block * _BLOCK_SECONDS * rate
    begin, stop = round(start * rate) - base, round(end * rate) - base
    part_CT = samples_CT[:, begin:stop]
    return np.ascontiguousarray(np.pad(part_CT, ((0, 0), (0, stop - begin - part_CT.shape[1])))), rate


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Track:
    """What must be known of a sound track to place its samples."""

    rate: int
    num_channels: int
    origin: Fraction
    """Time stamp of the picture's first frame, in seconds."""
    begin: Fraction | None
    """Where the track begins, in samples from the origin; None if its container does not say."""
    frame_size: int
    """Samples of every frame, or 0 if they differ."""


def _open_track(source: Source) -> _Track:
    with open_source(source) as container:
        stream = sound_stream(container)
        if stream is None:
            raise InputError(f"{source_name(source)} has no sound.")
        pictures = container.streams.video
        origin = Fraction(0)
        if pictures and pictures[0].start_time is not None:
            origin = pictures[0].start_time * Fraction(pictures[0].time_base or 1)
        rate = stream.codec_context.sample_rate
        if rate > _MAX_RATE:
            raise InputError(f"{source_name(source)} says {rate} samples per second; at most {_MAX_RATE} are read.")
        begin = None
        if stream.start_time is not None:
            begin = (stream.start_time * Fraction(stream.time_base or 1) - origin) * rate
        return _Track(
            rate=rate,
            num_channels=max(1, min(2, stream.codec_context.channels)),
            origin=origin,
            begin=begin,
            frame_size=stream.codec_context.frame_size or 0,
        )


def _read_block(
    source: Source, track: _Track, number: int, rate: int, mono: bool
) -> tuple[NDArray[np.float32], int | None]:
    """Return the samples of one block of the time line, and where the track ends, in native samples, if it was met.

    What codecs and resamplers give depends on where they began, so every sample is always taken from its own block,
    read by a decoder of its own that began at the same place: then parts fit together to the sample.
    """
    seconds = number * _BLOCK_SECONDS
    parts, is_over = _decode(source, track, max(0, seconds - 2 * _MARGIN_SECONDS), seconds + _BLOCK_SECONDS)
    if seconds and (not parts or parts[0][0] > (seconds - _MARGIN_SECONDS) * track.rate):
        parts, is_over = _decode(source, track, 0, seconds + _BLOCK_SECONDS)  # a container that seeks to later places
    begin = (seconds - _MARGIN_SECONDS) * track.rate
    window_CT = np.zeros((track.num_channels, (_BLOCK_SECONDS + 2 * _MARGIN_SECONDS) * track.rate), np.float32)
    for position, block_CT in parts:
        kept_CT = block_CT[:, max(0, begin - position) :]
        start = max(0, position - begin)
        kept_CT = kept_CT[:, : max(0, window_CT.shape[1] - start)]
        window_CT[:, start : start + kept_CT.shape[1]] = kept_CT
    if mono:
        window_CT = window_CT.mean(axis=0, keepdims=True)
    resampled_CT = resample_audio(window_CT, track.rate, rate)
    size = _BLOCK_SECONDS * rate
    block_CT = resampled_CT[:, _MARGIN_SECONDS * rate :][:, :size]
    block_CT = np.pad(block_CT, ((0, 0), (0, size - block_CT.shape[1])))
    last = max((position + part_CT.shape[1] for position, part_CT in parts), default=0)
    return block_CT, (last if is_over else None)


def _decode(
    source: Source, track: _Track, start_seconds: int, end_seconds: int
) -> tuple[list[tuple[int, NDArray[np.float32]]], bool]:
    """Return (position in samples, block (C, T)) for the frames about a range, and whether the track ended there."""
    rate = track.rate
    layout = "mono" if track.num_channels == 1 else "stereo"
    resampler, plain = av.AudioResampler(format="fltp", layout=layout, rate=rate), ("fltp", track.num_channels, rate)
    parts: list[tuple[int, NDArray[np.float32]]] = []
    try:
        with open_source(source) as container:
            stream = sound_stream(container)
            if start_seconds:
                container.seek(int((start_seconds + track.origin) * av.time_base), backward=True)
            for frame in container.decode(stream):
                if frame.pts is None:
                    continue
                tick = Fraction(frame.time_base or 1)
                position = _on_grid((frame.pts * tick - track.origin) * rate, tick * rate, track)
                if position > (end_seconds + _MARGIN_SECONDS) * rate:
                    return parts, False
                # Time stamps in coarse ticks jitter by a few samples; what follows on is joined without a seam.
                if parts and abs(position - (parts[-1][0] + parts[-1][1].shape[1])) <= rate // 500:
                    position = parts[-1][0] + parts[-1][1].shape[1]
                if (frame.format.name, frame.layout.nb_channels, frame.sample_rate) == plain:
                    blocks = [frame.to_ndarray()]
                else:
                    blocks = [block.to_ndarray() for block in resampler.resample(frame)]
                if blocks:
                    parts.append((position, np.concatenate(blocks, axis=1)))
    except av.error.FFmpegError as error:
        if not parts:
            raise InputError(f"The sound of {source_name(source)} cannot be decoded: {error.strerror}.") from error
    return parts, True


def _on_grid(position: Fraction, samples_per_tick: Fraction, track: _Track) -> int:
    """Return the sample at which a frame begins; a time stamp too coarse to tell is read on the grid of frames."""
    if samples_per_tick > 1 and track.frame_size and track.begin is not None:
        snapped = track.begin + round((position - track.begin) / track.frame_size) * track.frame_size
        if abs(snapped - position) <= samples_per_tick:
            return round(snapped)
    return round(position)


def resample_audio(samples_CT: NDArray[np.float32], native: int, rate: int) -> NDArray[np.float32]:
    """Return mono or stereo samples at another rate, by FFmpeg's resampler; at the same rate they stay as they are."""
    if native == rate or not samples_CT.shape[1]:
        return samples_CT
    layout = "mono" if samples_CT.shape[0] == 1 else "stereo"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    blocks = [
        block.to_ndarray() for frame in audio_frames(samples_CT, native, 0) for block in resampler.resample(frame)
    ]
    blocks += [block.to_ndarray() for block in resampler.resample(None)]
    return np.concatenate(blocks, axis=1)
