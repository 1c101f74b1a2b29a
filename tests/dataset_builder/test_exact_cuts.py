"""A clip holds exactly the frames that were asked: 14 spans of each of five files, every frame known by a barcode."""

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.video import FrameIndex, cut_clips, index_frames

WIDTH, HEIGHT, CELL, FRAMES, SPANS = 128, 64, 8, 400, 14
KINDS = ("constant", "ntsc", "variable", "offset", "transport_stream")


def drawing(number: int) -> NDArray[np.uint8]:
    """A moving bar over a strip of 16 cells, which hold the number in binary."""
    picture = np.full((HEIGHT, WIDTH, 3), 60 + number // 90 * 37 % 160, np.uint8)
    left = number * 3 % (WIDTH - 20)
    picture[8:30, left : left + 20] = (200, 80, 40)
    for bit in range(16):
        picture[HEIGHT - 24 :, bit * CELL : (bit + 1) * CELL] = 255 * (number >> bit & 1)
    return picture


def read_number(frame: av.VideoFrame) -> int:
    grey = frame.to_ndarray(format="gray")[HEIGHT - 16 : HEIGHT - 6]
    return sum((grey[:, bit * CELL + 2 : (bit + 1) * CELL - 2].mean() > 127) << bit for bit in range(16))


def times(kind: str) -> tuple[list[int], Fraction]:
    """The time stamps of a file and their unit."""
    if kind == "ntsc":
        return [1001 * number for number in range(FRAMES)], Fraction(1, 24000)
    if kind == "variable":
        steps = np.random.default_rng(0).choice([1000, 1000, 2000, 3000], FRAMES)
        return [0, *np.cumsum(steps)[:-1].tolist()], Fraction(1, 30000)
    return [1000 * number for number in range(FRAMES)], Fraction(1, 30000)


def write(path: Path, kind: str) -> None:
    """Write a file with B-frames and few key frames."""
    stamps, unit = times(kind)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24000, 1001) if kind == "ntsc" else 30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "20", "g": "150", "bf": "3", "threads": "1"}
        stream.time_base = stream.codec_context.time_base = unit
        for number, pts in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(drawing(number), "rgb24")
            frame.pts, frame.time_base = pts, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def remux(source: Path, target: Path, shift_seconds: float) -> None:
    """Copy the packets into another container, later by some time."""
    options = {"movflags": "negative_cts_offsets"} if target.suffix == ".mp4" else {}
    with av.open(str(source)) as container, av.open(str(target), "w", container_options=options) as copy:
        stream = container.streams.video[0]
        out = copy.add_stream_from_template(stream)
        shift = round(Fraction(shift_seconds) / stream.time_base)
        for packet in container.demux(stream):
            if packet.dts is None:
                continue
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = out
            copy.mux(packet)


@pytest.fixture(scope="module", params=KINDS)
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder, kind = tmp_path_factory.mktemp(request.param), request.param
    path = folder / "film.mp4"
    write(path, kind)
    if kind == "offset":
        path = folder / "late.mp4"
        remux(folder / "film.mp4", path, 1.5)
    if kind == "transport_stream":
        path = folder / "film.ts"
        remux(folder / "film.mp4", path, 0)
    return path, kind


def spans() -> list[tuple[int, int]]:
    numbers = random.Random(7)
    starts = [numbers.randint(0, FRAMES - 30) for _ in range(SPANS)]
    return [(start, min(FRAMES, start + numbers.randint(1, 45))) for start in starts]


def test_the_file_is_what_its_name_says(film: tuple[Path, str]) -> None:
    path, kind = film
    index = index_frames(path)
    steps = set(np.round(np.diff(index.pts) * float(index.time_base), 4).tolist())
    assert len(index) == FRAMES
    assert (len(steps) > 2) == (kind == "variable")
    if kind == "ntsc":
        assert index.seconds(FRAMES - 1) == pytest.approx((FRAMES - 1) * 1001 / 24000, abs=1e-6)
    if kind == "offset":
        assert float(index.pts[0] * index.time_base) == pytest.approx(1.5, abs=0.2)
    if kind == "transport_stream":
        assert index.time_base == Fraction(1, 90000)


def test_every_one_of_14_spans_holds_exactly_its_frames(film: tuple[Path, str]) -> None:
    path, _ = film
    index: FrameIndex = index_frames(path)
    exact = 0
    for (start, end), clip in zip(spans(), cut_clips(path, spans(), crf=24), strict=True):
        clip_path = path.with_name("clip.mp4")
        clip_path.write_bytes(clip)
        with av.open(str(clip_path)) as container:
            frames = list(container.decode(video=0))
        held = [float((frame.pts - frames[0].pts) * frame.time_base) for frame in frames]
        wanted = [index.seconds(number) - index.seconds(start) for number in range(start, end)]
        exact += [read_number(frame) for frame in frames] == list(range(start, end)) and bool(
            np.allclose(held, wanted, atol=1e-4)
        )
    assert exact == SPANS
