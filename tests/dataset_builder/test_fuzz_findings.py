"""What the fuzzers of tests/fuzz found, each as the smallest input that showed it."""

import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from animeshooter_hf.clock import parse_clock
from animeshooter_hf.dataset_builder.release.files import iter_release_files
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.errors import InputError
from animeshooter_hf.video import index_frames, probe, write_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mp4 with sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    frames = [np.full((36, 64, 3), 20 * number, np.uint8) for number in range(6)]
    return write_video(path, frames, 12, audio=np.zeros((1, 22_050), np.float32), sample_rate=44_100)


def remux(source: Path, target: Path, seconds_between: int = 0) -> Path:
    """Write the same packets into another container, some seconds further apart."""
    with av.open(str(source)) as inner, av.open(str(target), "w") as outer:
        streams = {stream.index: outer.add_stream_from_template(stream) for stream in inner.streams}
        for number, packet in enumerate(inner.demux()):
            if packet.dts is None or (seconds_between and packet.stream.type != "video"):
                continue
            shift = int(number * seconds_between / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            packet.stream = streams[packet.stream.index]
            outer.mux(packet)
    return target


def test_a_zip_member_without_a_name_is_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b.json", "{}")
        archive.writestr("c.json", "[]")
    content = (tmp_path / "a.zip").read_bytes()
    entry = content.index(b"PK\1\2")
    nameless = content[: entry + 28] + bytes(2) + content[entry + 30 : entry + 46] + content[entry + 52 :]
    end = nameless.index(b"PK\5\6")
    size = int.from_bytes(nameless[end + 12 : end + 16], "little") - 6
    (tmp_path / "a.zip").write_bytes(nameless[: end + 12] + size.to_bytes(4, "little") + nameless[end + 16 :])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["", "c.json"]
    assert [file.name for file in iter_release_files(tmp_path / "a.zip", ProblemLog())] == ["a.zip/c.json"]


def test_seconds_with_a_separator_between_number_and_unit_are_read() -> None:
    assert parse_clock("7\x1fs") == 7.0


def test_a_picture_of_an_unknown_codec_is_refused_in_one_sentence(film: Path, tmp_path: Path) -> None:
    path = remux(film, tmp_path / "film.mkv")
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"))
    for read in (probe, index_frames):
        with pytest.raises(InputError, match="a codec that cannot be read"):
            read(path)


def test_a_sound_of_an_unknown_codec_is_no_sound(film: Path, tmp_path: Path) -> None:
    path = remux(film, tmp_path / "film.mkv")
    assert probe(path).has_audio
    path.write_bytes(path.read_bytes().replace(b"A_AAC", b"A_XYZ"))
    info = probe(path)
    assert (info.has_audio, info.audio_sample_rate, info.num_frames) == (False, None, 6)


def test_a_film_with_hours_between_its_frames_has_a_rate_above_zero(film: Path, tmp_path: Path) -> None:
    info = probe(remux(film, tmp_path / "slow.mkv", seconds_between=20_000))
    assert 0 < info.frame_rate < Fraction(1, 1000)
    assert float(info.frame_rate) == pytest.approx(info.num_frames / info.duration_seconds)
