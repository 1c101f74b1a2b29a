"""Reading, cutting and writing video: every frame carries its number as a barcode, so that none can be mistaken."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.video import (
    Chapter,
    MuxShot,
    VideoWriter,
    cut_clip,
    cut_clips,
    encode_flac,
    index_frames,
    iter_frames,
    mux_story,
    probe,
    read_audio,
    read_frames,
    write_video,
)

NTSC_FILM = Fraction(24000, 1001)


def barcode(number: int, height: int = 48, width: int = 96) -> NDArray[np.uint8]:
    """A frame whose twelve columns of 8 pixels spell its number in binary."""
    image = np.full((height, width, 3), 90, np.uint8)
    for bit in range(12):
        image[8:, bit * 8 : bit * 8 + 8] = 255 if number >> bit & 1 else 0
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    return sum(int(image[30, bit * 8 + 4].mean() > 127) << bit for bit in range(12))


def film(path: Path, num_frames: int, rate: Fraction = Fraction(30), *, step: Callable[[int], int] | None = None,
         offset: int = 0, format_name: str = "mp4", key_every: int = 30) -> Path:  # fmt: skip
    """Write a film with B-frames; `step` gives each frame's duration in ticks of 1/90000 s."""
    ticks = Fraction(1, 90_000)
    with av.open(str(path), "w", format=format_name) as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        stream.options = {"bf": "3", "g": str(key_every), "preset": "veryfast", "threads": "1"}
        stream.codec_context.time_base = stream.time_base = ticks
        time = offset
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(barcode(number), "rgb24")
            frame.pts, frame.time_base = time, ticks
            time = offset + round((number + 1) / rate / ticks) if step is None else time + step(number)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


KINDS = {
    "constant": {},
    "ntsc": {"rate": NTSC_FILM},
    "variable": {"step": lambda number: 3000 * (1 + number % 3)},
    "offset": {"offset": 135_000},
    "transport stream": {"format_name": "mpegts", "offset": 135_000},
}


@pytest.fixture(scope="module", params=list(KINDS))
def kind_of_film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suffix = ".ts" if request.param == "transport stream" else ".mp4"
    return film(tmp_path_factory.mktemp("films") / f"film{suffix}", 200, **KINDS[request.param])


def test_every_cut_holds_exactly_the_asked_frames(kind_of_film: Path) -> None:
    random = np.random.default_rng(0)
    for start in sorted(random.integers(0, 180, 6).tolist()):
        end = start + int(random.integers(1, 20))
        clip = cut_clip(kind_of_film, start, end)
        assert [number_of(frame.image) for frame in iter_frames(clip)] == list(range(start, end))


def test_one_pass_over_many_ranges_cuts_the_same_clips_as_single_cuts(kind_of_film: Path) -> None:
    ranges = [(0, 7), (7, 31), (31, 90), (150, 200)]
    assert list(cut_clips(kind_of_film, ranges)) == [cut_clip(kind_of_film, *span) for span in ranges]


def test_frames_are_found_by_number_in_any_order(kind_of_film: Path) -> None:
    wanted = [199, 0, 73, 73, 140, 29, 30, 31]
    assert [number_of(image) for image in read_frames(kind_of_film, wanted)] == wanted


def test_frame_times_match_what_was_written(kind_of_film: Path, request: pytest.FixtureRequest) -> None:
    index = index_frames(kind_of_film)
    options = KINDS[request.node.callspec.params["kind_of_film"]]
    step = options.get("step")
    rate = options.get("rate", Fraction(30))
    expected = sum(step(number) for number in range(100)) / 90_000 if step else float(100 / rate)
    assert index.seconds(100) == pytest.approx(expected, abs=2e-5)
    assert all(index.frame_at(index.seconds(frame)) == frame for frame in range(0, 201, 10))


def test_a_lossless_cut_keeps_every_pixel(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4", 60)
    clip = cut_clip(source, 20, 40, lossless=True)
    with av.open(str(source)) as whole, av.open(io.BytesIO(clip)) as part:
        frames = [frame.to_ndarray() for frame in whole.decode(video=0)][20:40]
        cut = [frame.to_ndarray() for frame in part.decode(video=0)]
    assert len(cut) == 20
    assert all((one == other).all() for one, other in zip(frames, cut, strict=True))


def test_probe_tells_rate_length_and_sound(tmp_path: Path) -> None:
    tone = np.sin(np.arange(44_100) / 20).astype(np.float32)[None]
    path = write_video(tmp_path / "a.mp4", [barcode(n) for n in range(24)], NTSC_FILM, audio=tone)
    info = probe(path)
    assert (info.width, info.height, info.num_frames, info.codec) == (96, 48, 24, "h264")
    assert info.frame_rate == NTSC_FILM
    assert not info.is_variable_rate
    assert info.duration_seconds == pytest.approx(24 * 1001 / 24000, abs=1e-4)
    assert (info.has_audio, info.audio_sample_rate) == (True, 44_100)
    assert probe(film(tmp_path / "vfr.mp4", 40, step=lambda n: 3000 * (1 + n % 3))).is_variable_rate


def test_odd_sizes_are_padded_by_one_pixel(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mp4", [barcode(n, 47, 97) for n in range(4)], 24)
    assert read_frames(path, [3]).shape == (1, 48, 98, 3)
    assert number_of(read_frames(path, [3])[0]) == 3


def test_writing_the_same_film_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    tone = np.sin(np.arange(30_000) / 15).astype(np.float32)[None]
    for name in ("a", "b"):
        write_video(tmp_path / name, [barcode(n) for n in range(20)], 24, audio=tone, metadata={"title": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def clicks(seconds: list[float], length: float, rate: int = 44_100) -> NDArray[np.float32]:
    wave = np.zeros((1, round(length * rate)), np.float32)
    for second in seconds:
        at = round(second * rate)
        wave[0, at : at + 200] = np.hanning(200) * 0.9
    return wave


def first_loud(audio: NDArray[np.float32], rate: int) -> float:
    return float(np.argmax(np.abs(audio).max(axis=0) > 0.3)) / rate


@pytest.mark.parametrize("rate", [Fraction(30), NTSC_FILM])
def test_sound_of_a_cut_stays_in_step_with_its_frames(tmp_path: Path, rate: Fraction) -> None:
    at = float(70 / rate)
    path = write_video(
        tmp_path / "a.mp4", [barcode(n) for n in range(120)], rate, audio=clicks([at], float(120 / rate))
    )
    whole, whole_rate = read_audio(path)
    clip, clip_rate = read_audio(cut_clip(path, 60, 100))
    assert first_loud(whole, whole_rate) == pytest.approx(at, abs=0.003)
    assert first_loud(clip, clip_rate) == pytest.approx(float(10 / rate), abs=0.003)
    assert clip.shape[1] == pytest.approx(float(40 / rate) * 44_100, abs=1024)


def test_a_part_of_the_sound_equals_that_part_of_the_whole(tmp_path: Path) -> None:
    seconds = np.arange(44_100 * 5) / 44_100
    sweep = (0.5 * np.sin(2 * np.pi * (100 + 150 * seconds) * seconds)).astype(np.float32)[None]
    path = write_video(tmp_path / "a.mp4", [barcode(n) for n in range(150)], 30, audio=sweep)
    whole, rate = read_audio(path)
    part, _ = read_audio(path, start_seconds=3.2, end_seconds=4.1)
    assert part.shape[1] == round(4.1 * rate) - round(3.2 * rate)
    np.testing.assert_allclose(part, whole[:, round(3.2 * rate) : round(4.1 * rate)], atol=1e-4)


def test_sound_is_resampled_and_mixed_to_the_asked_length(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [barcode(n) for n in range(60)], 30, audio=clicks([1.0], 2.0))
    audio, rate = read_audio(path, start_seconds=0.5, end_seconds=1.75, sample_rate=16_000, mono=True)
    assert (audio.shape, rate) == ((1, 20_000), 16_000)
    assert first_loud(audio, rate) == pytest.approx(0.5, abs=0.004)


def test_flac_keeps_the_number_of_samples_and_their_values() -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, (2, 44_101)).astype(np.float32)
    back, rate = read_audio(encode_flac(wave, 44_100))
    assert (back.shape, rate) == (wave.shape, 44_100)
    np.testing.assert_allclose(back, wave, atol=1 / 32_000)


def test_sixteen_muxed_shots_do_not_drift_at_23_976(tmp_path: Path) -> None:
    shots = [
        MuxShot(
            np.stack([barcode(49 * number + n) for n in range(49)]), clicks([0.0], 1.0 + number % 3), f"shot {number}"
        )
        for number in range(16)
    ]
    path = mux_story(tmp_path / "story.mp4", shots, NTSC_FILM, metadata={"title": "t", "provenance": {"ai": True}})
    audio, rate = read_audio(path)
    for number in range(16):
        expected = float(49 * number / NTSC_FILM)
        assert expected + first_loud(audio[:, round(expected * rate) :], rate) == pytest.approx(expected, abs=0.004)
    assert [number_of(frame.image) for frame in iter_frames(path)] == list(range(49 * 16))
    with av.open(str(path)) as container:
        chapters = container.chapters()
        assert len(chapters) == 16
        assert container.metadata["title"] == "t"
        assert container.metadata["provenance"] == '{"ai": true}'


def test_chapters_of_a_film_are_kept(tmp_path: Path) -> None:
    chapters = [Chapter("one", 0, 0.5), Chapter("two", 0.5, 1)]
    path = write_video(tmp_path / "a.mp4", [barcode(n) for n in range(24)], 24, chapters=chapters)
    with av.open(str(path)) as container:
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["one", "two"]


def test_a_film_that_cannot_be_opened_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NaN"):
        VideoWriter(tmp_path / "film.mp4", 32, 32, 24, chapters=[Chapter("opening", float("nan"), 1.0)])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match="must fit"):
        write_video(path, [barcode(0), barcode(1, 60, 60)], 24)
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(path, [], 24)
    assert path.read_bytes() == b"precious"
    assert [item.name for item in tmp_path.iterdir()] == ["a.mp4"]


def test_unusable_sources_are_refused_with_a_sentence(tmp_path: Path) -> None:
    sound = tmp_path / "sound.flac"
    sound.write_bytes(encode_flac(clicks([0.1], 1.0), 44_100))
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    whole = film(tmp_path / "whole.mp4", 30).read_bytes()
    for source, message in [
        (tmp_path / "absent.mp4", "There is no file"),
        (tmp_path, "is a folder"),
        (sound, "holds only sound"),
        (text, "cannot be read as a video"),
        (whole[: len(whole) // 2], "cannot be read as a video"),
        (b"", "cannot be read as a video"),
    ]:
        with pytest.raises(InputError, match=message):
            probe(source)
    with pytest.raises(InputError, match="has no sound"):
        read_audio(whole)


def test_a_frame_that_cannot_be_decoded_is_an_error_and_no_shift(tmp_path: Path) -> None:
    path = film(tmp_path / "film.ts", 120, format_name="mpegts")
    data = path.read_bytes()
    whole = index_frames(path)
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(InputError, match=r"cannot be decoded|do not lie in"):
        list(iter_frames(path, 0, len(whole)))


@pytest.mark.parametrize("span", [(-1, 3), (5, 4), (0, 31)])
def test_ranges_outside_the_video_are_refused(tmp_path: Path, span: tuple[int, int]) -> None:
    path = film(tmp_path / "film.mp4", 30)
    with pytest.raises(InputError):
        list(iter_frames(path, *span))
    with pytest.raises(InputError):
        cut_clip(path, *span)


def test_settings_of_a_writer_are_checked() -> None:
    with pytest.raises(ValueError, match="crf"):
        VideoWriter(None, 32, 32, 24, crf=60)
    with pytest.raises(ValueError, match="at least 2x2"):
        VideoWriter(None, 1, 32, 24)
    with pytest.raises(ValueError, match="frame rate"):
        VideoWriter(None, 32, 32, 0)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_video(tmp_path / "file" / "a.mp4", [barcode(0)], 24)
