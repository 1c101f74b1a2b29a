import json
import os
import struct
import zipfile
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.release.files import (
    ReleaseFile,
    ReleaseLimits,
    iter_release_files,
    list_release_paths,
    parse_json,
)
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import read_release_files
from animeshooter_hf.errors import InputError

SMALL = ReleaseLimits(file_bytes=2_000, total_bytes=10_000, ratio=50, ratio_floor_bytes=1_000, members=20)


def video_text(video_id: str) -> str:
    shot = {"start time": "00:00", "end time": "00:04", "narrative caption": "a", "descriptive caption": "b"}
    segment = {"start frame index": 0, "end frame index": 96, "storyline": "s", "shots": [shot]}
    return json.dumps({"video ID": video_id, "fps": 24, "segments": [segment]})


def write_zip(path: Path, members: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def read(path: Path, limits: ReleaseLimits | None = None) -> tuple[list[str], ProblemLog]:
    log = ProblemLog()
    return [story.story_id for _, story in read_release_files(iter_release_files(path, log, limits=limits), log)], log


def test_a_file_a_folder_and_a_zip_give_the_same_stories(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.json").write_text(video_text("a"))
    (folder / "deep" / "er" / "b.JSON").write_text(video_text("b"))
    (folder / "notes.txt").write_text("not read")
    packed = write_zip(tmp_path / "r.zip", {"a.json": video_text("a"), "deep/er/b.JSON": video_text("b")})
    assert read(folder / "a.json")[0] == ["a_000"]
    assert read(folder)[0] == read(packed)[0] == ["a_000", "b_000"]
    assert dict(read(packed)[1].counts) == {"nested_in_zip": 1}
    assert not read(folder)[1].counts


def test_a_folder_of_zips_is_read_too(tmp_path: Path) -> None:
    write_zip(tmp_path / "one.zip", {"a.json": video_text("a")})
    write_zip(tmp_path / "two.zip", {"b.json": video_text("b"), "again.json": video_text("a")})
    stories, log = read(tmp_path)
    assert stories == ["a_000", "b_000"]
    assert dict(log.counts) == {"duplicate_video": 1}


def test_what_a_mac_adds_to_a_zip_is_skipped_in_silence(tmp_path: Path) -> None:
    members = {"a.json": video_text("a"), "__MACOSX/._a.json": b"\0\5", "._b.json": b"\0", ".DS_Store": b"\0"}
    stories, log = read(write_zip(tmp_path / "r.zip", members))
    assert stories == ["a_000"]
    assert not log.counts


def test_what_a_mac_adds_to_a_folder_is_skipped_in_silence(tmp_path: Path) -> None:
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "x.json").write_text("?")
    (tmp_path / "._a.json").write_bytes(b"\0")
    (tmp_path / "a.json").write_text(video_text("a"))
    assert [path.name for path in list_release_paths(tmp_path)] == ["a.json"]


def test_the_output_folder_inside_the_input_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "problems.json").write_text("{}")
    (tmp_path / "a.json").write_text(video_text("a"))
    assert [path.name for path in list_release_paths(tmp_path, leave_out=tmp_path / "out")] == ["a.json"]


@pytest.mark.parametrize("name", ["../a.json", "x/../../a.json", "/etc/a.json", "C:/a.json", "..\\a.json"])
def test_a_member_that_points_outside_is_reported_and_not_read(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "r.zip", {name: video_text("bad"), "a.json": video_text("a")})
    stories, log = read(path)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"path_escape": 1}
    assert sorted(child.name for child in tmp_path.iterdir()) == ["r.zip"]


def test_a_link_in_a_zip_is_reported_and_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.json", video_text("a"))
    stories, log = read(path)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"path_escape": 1}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "r.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", video_text("a"))
        archive.writestr("a.json", video_text("b"))
    stories, log = read(path)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"zip_member_repeated": 1}


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"a.json": video_text("a"), "b.json": bytes(5 << 20)})
    with pytest.raises(InputError, match=r"zip bomb: 'b.json' would unpack"):
        read(path)


def test_a_zip_that_unpacks_to_too_much_in_all_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {f"{n}.json": os.urandom(1900) for n in range(6)}, zipfile.ZIP_STORED)
    with pytest.raises(InputError, match="unpack to 11,400 bytes"):
        read(path, SMALL)


def test_a_zip_of_too_many_files_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {f"{n}.json": "{}" for n in range(21)})
    with pytest.raises(InputError, match="it holds 21 files"):
        read(path, SMALL)


def test_a_member_that_is_too_large_costs_only_itself(tmp_path: Path) -> None:
    members = {"a.json": video_text("a"), "b.json": os.urandom(2_001)}
    stories, log = read(write_zip(tmp_path / "r.zip", members), SMALL)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"file_too_large": 1}


def test_a_file_that_is_too_large_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(video_text("a"))
    (tmp_path / "b.json").write_text(video_text("b") + " " * 2_000)
    stories, log = read(tmp_path, SMALL)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"file_too_large": 1}


def test_a_member_that_declares_less_than_it_holds_is_damaged(tmp_path: Path) -> None:
    """Its checksum is that of the whole, and no more than the declared size is unpacked."""
    path = write_zip(tmp_path / "r.zip", {"a.json": video_text("a"), "b.json": " " * 100_000})
    packed = bytearray(path.read_bytes())
    position = packed.rindex(b"PK\x01\x02")
    struct.pack_into("<I", packed, position + 24, 100)
    path.write_bytes(packed)
    stories, log = read(path)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"zip_member_damaged": 1}


def test_a_flipped_byte_costs_only_its_member(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {"a.json": video_text("a"), "b.json": video_text("b")}, zipfile.ZIP_STORED)
    packed = bytearray(path.read_bytes())
    packed[packed.index(b'"video ID": "b"') + 14] ^= 1
    path.write_bytes(packed)
    stories, log = read(path)
    assert stories == ["a_000"]
    assert dict(log.counts) == {"zip_member_damaged": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_cannot_be_bounded_is_not_unpacked(tmp_path: Path, method: int) -> None:
    stories, log = read(write_zip(tmp_path / "r.zip", {"a.json": video_text("a")}, method))
    assert stories == []
    assert dict(log.counts) == {"zip_member_damaged": 1}


def test_an_encrypted_member_is_reported(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {"a.json": video_text("a")})
    packed = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(signature) + offset] |= 1
    path.write_bytes(packed)
    assert dict(read(path)[1].counts) == {"zip_member_damaged": 1}


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_zip_is_refused(tmp_path: Path, keep: float) -> None:
    path = write_zip(tmp_path / "r.zip", {f"{name}.json": video_text(name) for name in "abc"})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InputError, match="not a zip file, or is cut off"):
        read(path)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file or folder"):
        list_release_paths(tmp_path / "nowhere")


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"holds neither \.json nor \.zip"):
        list_release_paths(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"neither a \.json file"):
        list_release_paths(tmp_path / "film.mp4")


def test_a_pipe_in_a_folder_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "a.json").write_text(video_text("a"))
    assert read(tmp_path)[0] == ["a_000"]


def test_a_file_that_vanishes_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(video_text("a"))
    (tmp_path / "b.json").write_text(video_text("b"))
    log = ProblemLog()
    files = iter_release_files(tmp_path, log)
    first = next(files)
    (tmp_path / "b.json").unlink()
    assert (first.name, list(files)) == (f"{tmp_path.name}/a.json", [])
    assert dict(log.counts) == {"file_unreadable": 1}


@pytest.mark.parametrize(
    "content",
    [b"", b'{"video ID": "a", "segm', b"[" * 100_000, b"1" * 5_000, b'{"a": }', b"\xff\xfe\x00"],
)
def test_broken_json_is_reported_with_the_place(content: bytes) -> None:
    log = ProblemLog()
    assert parse_json(ReleaseFile("a.json", content), log) is None
    assert log.counts["broken_json"] == 1
    assert log.examples["broken_json"][0].detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    log = ProblemLog()
    parsed = parse_json(ReleaseFile("a.json", json.dumps({"é": "ü"}, ensure_ascii=False).encode(encoding)), log)
    assert parsed is not None
    assert parsed.value == {"é": "ü"}
    assert not log.counts


def test_text_that_is_not_utf8_is_read_with_replacement_characters() -> None:
    log = ProblemLog()
    parsed = parse_json(ReleaseFile("a.json", b'{"storyline": "caf\xe9"}'), log)
    assert parsed is not None
    assert parsed.value == {"storyline": "caf\ufffd"}
    assert dict(log.counts) == {"not_utf8": 1}


def test_a_key_that_stands_twice_is_reported() -> None:
    log = ProblemLog()
    parsed = parse_json(ReleaseFile("a.json", b'{"a": {"x": 1}, "a": {"x": 2}, "b": 1, "b": 1}'), log)
    assert parsed is not None
    assert parsed.value == {"a": {"x": 2}, "b": 1}
    assert dict(log.counts) == {"duplicate_key": 1}


def test_a_zip_is_read_one_member_at_a_time(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "r.zip", {"a.json": video_text("a"), "b.json": "broken", "c.json": video_text("c")})
    log = ProblemLog()
    stories = read_release_files(iter_release_files(path, log), log)
    assert next(stories)[1].story_id == "a_000"
    assert not log.counts
    assert [story.story_id for _, story in stories] == ["c_000"]
    assert dict(log.counts) == {"broken_json": 1}
