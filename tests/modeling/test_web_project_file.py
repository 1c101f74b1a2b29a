"""Project files: what is packed comes back bit by bit, and no zip can do harm."""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput
from animeshooter_hf.modeling.web.project_file import ProjectLimits, open_project, pack_project

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def packed(whole: AnimeShooterGenOutput, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    return pack_project(whole.state, root / "state", root / "story.zip")


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def changed(packed: Path, tmp_path: Path, change: Change) -> Path:
    """Return the project with other contents, packed small."""
    files = contents(packed)
    change(files)
    path = tmp_path / "changed.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def with_state(**values: object) -> Change:
    def change(files: dict[str, bytes]) -> None:
        files["state.json"] = json.dumps({**json.loads(files["state.json"]), **values}).encode()

    return change


def opened(path: Path, tmp_path: Path, limits: ProjectLimits | None = None) -> object:
    into = tmp_path / "into"
    into.mkdir()
    return open_project(path, into, limits)


def png_of(width: int, height: int) -> bytes:
    """A PNG of one colour that is tiny as a file, whatever its size."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_project_comes_back_bit_by_bit(packed: Path, whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    state = open_project(packed, tmp_path / "into")
    assert state.asks_the_same(whole.state)
    for shot, wanted in zip(state.shots, whole.state.shots, strict=True):
        assert np.array_equal(shot.frames_FHW3, wanted.frames_FHW3)


def test_the_same_state_gives_the_same_zip(packed: Path, whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    again = pack_project(whole.state, tmp_path / "state", tmp_path / "story.zip")
    assert again.read_bytes() == packed.read_bytes()
    assert not list(tmp_path.glob(".*partial*"))


def test_a_zip_of_the_folder_itself_does_as_well(packed: Path, tmp_path: Path) -> None:
    def under_a_folder(files: dict[str, bytes]) -> None:
        inside = {f"my story/{name}": data for name, data in files.items()}
        files.clear()
        files.update(inside)

    assert opened(changed(packed, tmp_path, under_a_folder), tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "/etc/evil.png",
        "references/../../evil.png",
        "shots/..\\..\\evil.png",
        "evil.py",
        "shots/a/b/0000.png",
        "references/.png/x.png",
        "state.json/x",
    ],
)
def test_a_file_that_leads_elsewhere_or_is_no_part_is_refused(packed: Path, tmp_path: Path, name: str) -> None:
    path = changed(packed, tmp_path, lambda files: files.update({name: b"x"}))
    with pytest.raises(InputError, match=r"no part of a project"):
        opened(path, tmp_path)
    assert not list(tmp_path.rglob("evil*"))
    assert not list((tmp_path / "into").iterdir())


def test_a_state_that_names_a_file_outside_is_refused(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png_of(4, 4))
    path = changed(packed, tmp_path, with_state(references={"Mia": ["../secret.png"], "Rex": []}))
    with pytest.raises(InputError, match=r"does not hold: '../secret.png'"):
        opened(path, tmp_path)


def test_a_link_in_the_zip_becomes_a_plain_file_and_is_refused(packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents(packed).items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("references/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"link.png is no PNG"):
        opened(path, tmp_path)
    assert not any(file.is_symlink() for file in tmp_path.rglob("*"))


def test_a_zip_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(packed: Path, tmp_path: Path) -> None:
    path = changed(packed, tmp_path, lambda files: files.update({"shots/bomb/0000.png": bytes(30_000_000)}))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match=r"unpacks to .* at most 1,000,000 are possible"):
        opened(path, tmp_path, ProjectLimits(num_bytes=1_000_000))
    assert not list((tmp_path / "into").iterdir())


def test_too_many_files_or_too_large_a_state_are_refused(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"at most 5 are possible"):
        opened(packed, tmp_path, ProjectLimits(num_files=5))
    with pytest.raises(InputError, match=r"state.json is larger than 100 bytes"):
        open_project(packed, tmp_path / "into", ProjectLimits(state_bytes=100))


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(packed: Path, tmp_path: Path) -> None:
    path = changed(packed, tmp_path, lambda files: files.update({"references/big.png": png_of(60_000, 60_000)}))
    with pytest.raises(InputError, match=r"60000x60000, which is too large"):
        opened(path, tmp_path)


def test_pictures_named_so_often_that_they_do_not_fit_into_memory_are_refused(packed: Path, tmp_path: Path) -> None:
    shots = json.loads(contents(packed)["state.json"])["shots"]
    path = changed(packed, tmp_path, with_state(shots=[{**shots[0], "num_frames": 10**12}]))
    with pytest.raises(InputError, match=r"names 1,000,000,000,000 pictures"):
        opened(path, tmp_path)
    for name, change in (("often", shots[:1] * 2000), ("rarely", shots[:1] * 3)):
        path = changed(packed, tmp_path, with_state(shots=change))
        into = tmp_path / name
        into.mkdir()
        with pytest.raises(InputError, match=r"pixels in all; at most" if name == "often" else r"broken"):
            open_project(path, into, ProjectLimits(total_pixels=1_000_000))


def test_large_pictures_behind_a_small_first_one_are_counted(packed: Path, tmp_path: Path) -> None:
    def grow(files: dict[str, bytes]) -> None:
        for name in sorted(name for name in files if name.startswith("shots/000"))[1:]:
            files[name] = png_of(4000, 4000)

    with pytest.raises(InputError, match=r"pixels in all; at most"):
        opened(changed(packed, tmp_path, grow), tmp_path, ProjectLimits(total_pixels=100_000_000))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "not a story's state"),
        (b'{"shots": 3, "references": {}}', "not a story's state"),
        (b'{"shots": [], "references": {}}', "is not a story's state of this version"),
        (b'{"shots": [{"frames": 1, "num_frames": 1}], "references": {}}', "does not hold"),
    ],
)
def test_a_state_of_another_kind_is_refused(packed: Path, tmp_path: Path, state: bytes, words: str) -> None:
    path = changed(packed, tmp_path, lambda files: files.update({"state.json": state}))
    with pytest.raises(InputError, match=words) as refusal:
        opened(path, tmp_path)
    assert str(tmp_path) not in str(refusal.value)


def test_a_file_that_is_no_zip_or_a_broken_one_is_refused(packed: Path, tmp_path: Path) -> None:
    plain, broken = tmp_path / "plain.zip", tmp_path / "broken.zip"
    plain.write_bytes(b"no zip at all")
    data = bytearray(packed.read_bytes())
    data[2000] ^= 0xFF
    broken.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"no project file"):
        opened(plain, tmp_path)
    with pytest.raises(InputError):
        open_project(broken, tmp_path / "into")


def test_a_picture_that_was_changed_is_refused(packed: Path, tmp_path: Path) -> None:
    def swap(files: dict[str, bytes]) -> None:
        first, second = sorted(name for name in files if name.startswith("shots/"))[:2]
        files[first] = files[second]

    with pytest.raises(InputError, match=r"is not what was saved"):
        opened(changed(packed, tmp_path, swap), tmp_path)


def test_an_empty_zip_and_one_with_two_states_are_refused(packed: Path, tmp_path: Path) -> None:
    path = changed(packed, tmp_path, lambda files: files.clear())
    with pytest.raises(InputError, match=r"one state.json"):
        opened(path, tmp_path)
    path = changed(packed, tmp_path, lambda files: files.update({"b/state.json": b"{}"}))
    with pytest.raises(InputError, match=r"one state.json"):
        open_project(path, tmp_path / "into")
