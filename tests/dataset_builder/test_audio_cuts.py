"""The sound of consecutive shots, cut one by one, is the sound of the whole range, sample by sample."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video import VideoWriter, index_frames, read_audio

NTSC = Fraction(30_000, 1001)


def sound(seconds: float, rate: int) -> NDArray[np.float32]:
    """Return a glide under noise: every sample differs from its neighbours, and AAC uses all its tools on it."""
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(times))
    return (0.3 * np.sin(2 * np.pi * (200 + 40 * times) * times) + 0.1 * noise).astype(np.float32)


def write_film(path: Path, frame_rate: Fraction, rate: int, *, variable: bool = False, seconds: float = 12.0) -> Path:
    """Write a film with a blank picture; of variable rate if asked."""
    random = np.random.default_rng(1)
    time_base = Fraction(1, 90_000) if variable else None
    writer = VideoWriter(path, 32, 32, frame_rate, sample_rate=rate, time_base=time_base, preset="ultrafast")
    with writer:
        ticks = 0
        for _ in range(int(seconds * frame_rate / (2 if variable else 1))):
            writer.write_frame(np.zeros((32, 32, 3), np.uint8), pts=ticks if variable else None)
            ticks += int(90_000 / frame_rate) * int(random.integers(1, 4))
        writer.write_audio(sound(seconds, rate)[None])
    return path


def remux(source: Path, target: Path, offset: Fraction) -> Path:
    """Copy the packets into another container, with everything later by an offset."""
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        streams = {stream.index: writing.add_stream_from_template(stream) for stream in reading.streams}
        for packet in reading.demux():
            if packet.dts is None or packet.pts is None or packet.time_base is None:
                continue
            ticks = round(offset / packet.time_base)
            packet.pts += ticks
            packet.dts += ticks
            packet.stream = streams[packet.stream.index]
            writing.mux(packet)
    return target


@pytest.mark.parametrize(
    ("rate", "frame_rate", "variable", "suffix", "offset"),
    [
        (44_100, NTSC, False, ".mp4", 0),
        (22_050, Fraction(24), True, ".mp4", 0),
        (44_100, Fraction(24), True, ".mkv", Fraction(3, 2)),
        (48_000, Fraction(25), False, ".ts", Fraction(7, 3)),
    ],
)
def test_cuts_of_consecutive_shots_joined_are_one_cut_over_the_whole_range(
    tmp_path: Path, rate: int, frame_rate: Fraction, variable: bool, suffix: str, offset: Fraction
) -> None:
    path = write_film(tmp_path / "film.mp4", frame_rate, rate, variable=variable)
    if suffix != ".mp4":
        path = remux(path, tmp_path / f"moved{suffix}", offset)
    index = index_frames(path)
    random = np.random.default_rng(2)
    cuts = sorted({0, len(index), *random.integers(1, len(index), 4).tolist()})
    for options in ({}, {"sample_rate": 44_100 if rate != 44_100 else 16_000, "mono": True}):
        parts = [
            read_audio(path, start_seconds=index.seconds(a), end_seconds=index.seconds(b), **options)[0]  # type: ignore[arg-type]
            for a, b in pairwise(cuts)
        ]
        whole, _ = read_audio(path, start_seconds=0, end_seconds=index.seconds(len(index)), **options)  # type: ignore[arg-type]
        assert float(np.abs(whole).max()) > 0.2
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_cuts_of_a_lossless_track_are_the_very_samples_of_the_film(tmp_path: Path, suffix: str) -> None:
    rate = 44_100
    samples = np.rint(sound(12.5, rate) * 20_000).astype(np.int16)
    path = tmp_path / f"film{suffix}"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=NTSC)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        track = container.add_stream("flac" if suffix == ".mkv" else "pcm_s16le", rate=rate, layout="mono")
        for _ in range(375):
            blank = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")
            container.mux(picture.encode(blank))
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(track.encode(frame))
        container.mux([*picture.encode(), *track.encode()])
    index = index_frames(path)
    for first, last in ((0, 40), (40, 301), (297, 310), (310, 360)):
        cut, _ = read_audio(path, start_seconds=index.seconds(first), end_seconds=index.seconds(last))
        begin = round(Fraction(index.seconds(first)) * rate)
        np.testing.assert_array_equal(cut[0], samples[begin : begin + cut.shape[1]] / np.float32(32_768))


def test_beyond_the_track_there_is_silence_of_the_asked_length(tmp_path: Path) -> None:
    path = write_film(tmp_path / "film.mp4", Fraction(24), 44_100, seconds=3.0)
    cut, rate = read_audio(path, start_seconds=2, end_seconds=25)
    assert cut.shape == (2, 23 * rate)
    assert cut[:, :rate].any()
    assert not cut[:, 2 * rate :].any()
    far, _ = read_audio(path, start_seconds=40, end_seconds=41)
    assert far.shape == (2, rate)
    assert not far.any()
    assert read_audio(path, start_seconds=40)[0].shape == (2, 0)
    with pytest.raises(InputError, match="which is no range"):
        read_audio(path, start_seconds=2, end_seconds=1)


def test_what_the_encoder_adds_in_front_moves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "click.mp4"
    click = np.zeros((1, 44_100 * 12), np.float32)
    marks = (4410, 44_100 * 3, 44_100 * 11)
    for mark in marks:
        click[0, mark : mark + 400] = 0.8 * np.sin(np.arange(400) / 4)
    with VideoWriter(path, 32, 32, 24, sample_rate=44_100, preset="ultrafast") as writer:
        for _ in range(288):
            writer.write_frame(np.zeros((32, 32, 3), np.uint8))
        writer.write_audio(click)
    for mark in marks:
        begin = mark / 44_100 - 0.05
        cut, rate = read_audio(path, start_seconds=begin, end_seconds=begin + 0.2)
        lags = np.correlate(cut[0], click[0, mark : mark + 400], mode="valid")
        assert abs(int(np.argmax(lags)) - round(0.05 * rate)) <= 1
