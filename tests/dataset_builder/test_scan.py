"""One pass over a film: its frames are those of the frame index, whatever the container; a scan is kept as one file."""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.dataset_builder.scan.detectors import DetectorSettings
from animeshooter_hf.dataset_builder.scan.film_scan import FilmScan
from animeshooter_hf.dataset_builder.scan.one_pass import SampleSettings, ScanSettings, scan_film
from animeshooter_hf.dataset_builder.scan.phash import perceptual_hash
from animeshooter_hf.dataset_builder.scan.transitions import TransitionSettings
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import index_frames, read_frames, write_video

CUTS = [24, 60]


def pictures(count: int = 96, width: int = 96, height: int = 54) -> Iterator[NDArray[np.uint8]]:
    """Three shots of blocks with a bar that moves on twos."""
    for number in range(count):
        blocks = np.random.default_rng(sum(number >= cut for cut in CUTS)).integers(20, 235, (9, 16, 3), np.uint8)
        picture = np.kron(blocks, np.ones((height // 9, width // 16, 1), np.uint8))
        picture[8:16, 2 * (number // 2 % 20) : 2 * (number // 2 % 20) + 12] = 250
        yield picture


def sound(seconds: float) -> NDArray[np.float32]:
    ticks = np.arange(round(seconds * 44100))
    return (0.3 * np.sin(2 * np.pi * 440 * ticks / 44100)).astype(np.float32)[None]


Frames = Iterator[NDArray[np.uint8]]


def encode(path: Path, frames: Frames, stamps: list[int], unit: Fraction, **options: Any) -> Path:
    """Write frames at time stamps, with B-frames where the codec has them."""
    codec, pix_fmt = options.pop("codec", "libx264"), options.pop("pix_fmt", "yuv420p")
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 54, pix_fmt
        stream.bit_rate = 4_000_000
        if codec == "libx264":
            stream.options = {"bf": "3", "g": "30", "threads": "1", "preset": "veryfast"}
        stream.time_base = stream.codec_context.time_base = unit
        for pts, picture in zip(stamps, frames, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = pts, unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def constant(folder: Path) -> Path:
    return write_video(folder / "film.mp4", pictures(), 24, audio=sound(4))


def ntsc(folder: Path) -> Path:
    return write_video(folder / "film.mp4", pictures(), Fraction(24000, 1001))


def variable(folder: Path) -> Path:
    steps = np.random.default_rng(0).choice([1, 1, 2, 3], 96)
    return encode(folder / "film.mp4", pictures(), (np.cumsum(steps) * 1000).tolist(), Fraction(1, 30000))


def late(folder: Path) -> Path:
    return encode(folder / "film.mkv", pictures(), [1500 + 40 * number for number in range(96)], Fraction(1, 1000))


def transport_stream(folder: Path) -> Path:
    return encode(folder / "film.ts", pictures(), list(range(96)), Fraction(1, 24))


def ten_bits(folder: Path) -> Path:
    return encode(folder / "film.mkv", pictures(), list(range(96)), Fraction(1, 24), pix_fmt="yuv420p10le")


def full_colour(folder: Path) -> Path:
    return encode(folder / "film.mkv", pictures(), list(range(96)), Fraction(1, 24), codec="ffv1", pix_fmt="bgr0")


def avi(folder: Path) -> Path:
    return encode(folder / "film.avi", pictures(), list(range(96)), Fraction(1, 24), codec="mpeg4")


@pytest.mark.parametrize("make", [constant, ntsc, variable, late, transport_stream, ten_bits, full_colour, avi])
def test_frames_times_and_cuts_are_those_of_the_frame_index(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    index, scan = index_frames(path), scan_film(path)
    np.testing.assert_array_equal(scan.index.pts, index.pts)
    np.testing.assert_array_equal(scan.index.key_frames, index.key_frames)
    assert scan.index.time_base == index.time_base
    assert (scan.width, scan.height, scan.num_frames, len(scan.curve)) == (96, 54, 96, 96)
    assert [one.frame for one in scan.boundaries] == CUTS
    assert scan.problems == ()


def test_samples_are_the_pictures_of_their_frames_about_one_a_second(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", pictures(24 * 24), 24)
    samples = scan_film(path).samples
    frames = [sample.frame for sample in samples]
    assert 22 <= len(frames) <= 26
    assert frames[0] == 0
    assert set(np.diff(frames).tolist()) <= set(range(20, 29))
    others = read_frames(path, [max(frame + step, 0) for frame in frames for step in (0, -4, 4)])
    for sample, (own, *near) in zip(samples, others.reshape(-1, 3, 54, 96, 3), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(sample.jpeg)).convert("RGB"), np.float32)
        difference = np.abs(shown - own).mean()
        assert difference < 10
        assert all(difference < np.abs(shown - other).mean() for other in near if (other != own).any())


def test_a_short_film_gives_16_samples_or_all_it_has(tmp_path: Path) -> None:
    short = scan_film(write_video(tmp_path / "short.mp4", pictures(48), 24)).samples
    assert len(short) == 16
    tiny = scan_film(write_video(tmp_path / "tiny.mp4", pictures(5), 24)).samples
    assert [sample.frame for sample in tiny] == [0, 1, 2, 3, 4]


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", pictures(6, 320, 180), 24)
    settings = ScanSettings(samples=SampleSettings(max_side=160))
    picture = Image.open(io.BytesIO(scan_film(path, settings).samples[0].jpeg))
    assert picture.size == (160, 90)
    assert Image.open(io.BytesIO(scan_film(path).samples[0].jpeg)).size == (320, 180)


def test_the_sound_comes_from_the_same_pass(tmp_path: Path) -> None:
    features = scan_film(constant(tmp_path)).sound
    assert features is not None
    assert features.duration_seconds == pytest.approx(4, abs=0.1)
    assert features.arrays["level_db"][50:350].min() > -30
    assert scan_film(ntsc(tmp_path)).sound is None


def test_a_saved_scan_comes_back_whole_and_equal_scans_are_equal_bytes(tmp_path: Path) -> None:
    path = constant(tmp_path)
    scan = scan_film(path)
    scan.save(tmp_path / "one.scan")
    scan_film(path).save(tmp_path / "two.scan")
    assert (tmp_path / "one.scan").read_bytes() == (tmp_path / "two.scan").read_bytes()
    back = FilmScan.load(tmp_path / "one.scan")
    assert (back.width, back.height, back.detector) == (scan.width, scan.height, scan.detector)
    assert back.boundaries == scan.boundaries
    assert [(one.frame, one.jpeg, one.phash) for one in back.samples] == [
        (one.frame, one.jpeg, one.phash) for one in scan.samples
    ]
    for name in ("pts", "key_frames"):
        np.testing.assert_array_equal(getattr(back.index, name), getattr(scan.index, name))
    np.testing.assert_array_equal(back.curve, scan.curve)
    assert back.sound is not None
    assert scan.sound is not None
    assert back.sound.arrays.keys() == scan.sound.arrays.keys()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["film.mp4", "one.scan", "two.scan"]


def test_a_scan_that_is_missing_damaged_or_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scan"):
        FilmScan.load(tmp_path / "absent.scan")
    (tmp_path / "text.scan").write_text("hello")
    with pytest.raises(InputError, match="damaged"):
        FilmScan.load(tmp_path / "text.scan")
    scan_film(constant(tmp_path)).save(tmp_path / "one.scan")
    whole = (tmp_path / "one.scan").read_bytes()
    (tmp_path / "half.scan").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        FilmScan.load(tmp_path / "half.scan")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_film_is_refused(tmp_path: Path, share: float) -> None:
    whole = constant(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut\.mp4"):
        scan_film(cut)


def without_last_packets(path: Path, dropped: int) -> Path:
    """The same file, ended between two packets, as an unfinished download is."""
    with av.open(str(path)) as container:
        ends = sorted(packet.pos + packet.size for packet in container.demux(video=0) if packet.size)
    cut = path.with_name("cut.mp4")
    cut.write_bytes(path.read_bytes()[: ends[-1 - dropped]])
    return cut


def test_a_film_that_ends_between_two_frames_is_refused_unless_it_lacks_hardly_any(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", pictures(150), 24)
    with pytest.raises(InputError, match="is cut off: of 150 frames there are 120"):
        scan_film(without_last_packets(path, 30))
    scan = scan_film(without_last_packets(path, 1))
    assert scan.problems == ("tail_missing: of 150 frames there are 149",)
    assert scan.num_frames == 149


def test_a_film_without_a_frame_or_without_times_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as a video"):
        scan_film(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="no file"):
        scan_film(tmp_path / "absent.mp4")
    bare = encode(tmp_path / "bare.h264", pictures(), list(range(96)), Fraction(1, 24), format="h264")
    with pytest.raises(InputError, match="no frame that could be shown"):
        scan_film(bare)


def test_a_cover_picture_beside_sound_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=44100, layout="mono")
        block = (sound(0.5) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="only sound"):
        scan_film(path)


def test_a_change_of_size_in_the_middle_is_reported(tmp_path: Path) -> None:
    """A transport stream that was switched from one size to another."""
    parts = []
    for number, (width, height) in enumerate([(96, 54), (160, 90)]):
        part = tmp_path / f"part{number}.ts"
        with av.open(str(part), "w") as container:
            stream = container.add_stream("libx264", rate=24)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"threads": "1"}
            for index, picture in enumerate(pictures(24, width, height)):
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = 24 * number + index, Fraction(1, 24)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        parts.append(part.read_bytes())
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(parts))
    scan = scan_film(film)
    assert (scan.width, scan.height, scan.num_frames) == (96, 54, len(index_frames(film)))
    assert [one for one in scan.problems if one.startswith("size_changes")]


def test_hashes_of_scaled_and_brighter_pictures_are_near_and_of_others_far() -> None:
    first = np.asarray(cv2.cvtColor(next(pictures(1, 320, 180)), cv2.COLOR_RGB2GRAY), np.uint8)
    other = np.asarray(cv2.rotate(first, cv2.ROTATE_180), np.uint8)
    small = np.asarray(cv2.resize(first, (160, 90), interpolation=cv2.INTER_AREA), np.uint8)
    bright = np.clip(first.astype(int) + 12, 0, 255).astype(np.uint8)
    assert (perceptual_hash(first) ^ perceptual_hash(small)).bit_count() <= 4
    assert (perceptual_hash(first) ^ perceptual_hash(bright)).bit_count() <= 4
    assert (perceptual_hash(first) ^ perceptual_hash(other)).bit_count() >= 16


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        SampleSettings(per_second=0)
    with pytest.raises(ValueError, match="quality"):
        SampleSettings(jpeg_quality=0)
    with pytest.raises(ValueError, match="threshold"):
        ScanSettings(detector=DetectorSettings(transitions=TransitionSettings(threshold=0)))
