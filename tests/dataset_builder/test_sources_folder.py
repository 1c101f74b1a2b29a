"""Films are found by name alone, and each source says why a film is left out."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.release.names import escape_video_id
from animeshooter_hf.dataset_builder.sources.folder import AVAILABILITY_FILE, find_films, list_films, open_film
from animeshooter_hf.dataset_builder.sources.source import SourceSettings, collect_films, open_source
from animeshooter_hf.dataset_builder.sources.video_ids import address_of, read_video_list
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList, hash_id
from animeshooter_hf.toon import FilmSettings

sys.path.insert(0, str(Path(__file__).parent))
from packaging_stories import film

SMALL = FilmSettings(width=96, height=64, seconds=2)


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"no film")
    return folder


def test_listing_opens_nothing_and_is_quick_for_a_thousand(tmp_path: Path) -> None:
    folder = touch(tmp_path / "films", *(f"{number:05d}.mp4" for number in range(1000)), "note.txt", ".half.mp4")
    os.mkfifo(folder / "pipe.mp4")  # whoever opens it waits for ever
    begin = time.process_time()
    found = list_films([folder])
    assert len(found.films) == 1001
    assert time.process_time() - begin < 2


def test_names_that_cannot_be_ids_and_names_that_come_twice_are_refused(tmp_path: Path) -> None:
    folder = touch(tmp_path / "films", "ok.mp4", "ok.mkv", "..;rm.mp4", "-abc.mp4", "Ok.mp4")
    found = list_films([folder, folder / "ok.mp4"])
    assert [one.video_id for one in found.films] == ["-abc", "Ok", "ok"]
    reasons = [one.reason for one in found.refused]
    assert len(reasons) == 2
    assert any("same name" in reason for reason in reasons)
    folder = touch(tmp_path / "more", "a;b.mp4", "fine.mp4")
    assert ["cannot serve as an ID" in one.reason for one in list_films([folder]).refused] == [True]


def test_file_names_of_the_downloader_stand_for_their_ids(tmp_path: Path) -> None:
    names = ["-aB_c", "aB_c", "ab_c", "plain"]
    folder = touch(tmp_path / "films", *(f"{escape_video_id(name)}.mp4" for name in names))
    assert len({one.name.lower() for one in folder.iterdir()}) == 4
    (folder / AVAILABILITY_FILE).touch()
    assert [one.video_id for one in list_films([folder]).films] == sorted(names)


def test_films_longer_than_allowed_are_left_out(tmp_path: Path) -> None:
    film(tmp_path, "two")
    (source,) = list_films([tmp_path / "two.mp4"]).films
    assert open_film(source).info.num_frames == 48
    with pytest.raises(InputError, match=r"lasts 2\.0 seconds; more than 1\.0 seconds are left out"):
        open_film(source, max_seconds=1)
    with pytest.raises(InputError, match="are left out"):
        find_films([tmp_path / "two.mp4"], max_seconds=1)
    films, refused = find_films([tmp_path / "two.mp4"])
    assert [one.video_id for one in films] == ["two"]
    assert refused == []


def test_one_broken_film_harms_no_other(tmp_path: Path) -> None:
    film(tmp_path, "good")
    touch(tmp_path, "bad.mp4")
    films, refused = find_films([tmp_path])
    assert [one.video_id for one in films] == ["good"]
    assert [one.video_id for one in refused] == ["bad"]


def test_toon_films_are_drawn_once_into_the_work_folder(tmp_path: Path) -> None:
    settings = SourceSettings(toon=SMALL, toon_seed=5, takedown=TakedownList.parse("toon-0006"))
    found = collect_films(["toon:3"], tmp_path, settings, progress=False)
    assert [one.video_id for one in found.films] == ["toon-0005", "toon-0007"]
    assert [one.reason for one in found.refused] == ["toon-0006 is on the takedown list."]
    assert not (tmp_path / "toon" / "toon-0006.mp4").exists()
    script = json.loads((tmp_path / "toon" / "toon-0007.script.json").read_text())
    assert script["num_frames"] == 48
    before = {one.path: one.path.stat().st_mtime_ns for one in found.films}
    again = collect_films(["toon:3"], tmp_path, settings, progress=False)
    assert {one.path: one.path.stat().st_mtime_ns for one in again.films} == before


def test_listed_films_of_a_folder_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "films", "a.mp4", "b.mp4")
    settings = SourceSettings(takedown=TakedownList.parse(hash_id("b")))
    found = collect_films([tmp_path / "films"], tmp_path / "work", settings)
    assert [one.video_id for one in found.films] == ["a"]
    assert [(one.video_id, one.reason) for one in found.refused] == [("b", "b is on the takedown list.")]
    assert not (tmp_path / "work").exists()


def test_of_two_sources_with_one_name_the_first_one_counts(tmp_path: Path) -> None:
    one = touch(tmp_path / "one", "a.mp4")
    two = touch(tmp_path / "two", "a.mp4", "b.mp4")
    found = collect_films([one, two], tmp_path / "work")
    assert [film.path for film in found.films] == [one / "a.mp4", two / "b.mp4"]
    assert "same name" in found.refused[0].reason
    assert collect_films([one, one / "a.mp4"], tmp_path / "work").refused == ()


def release(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        segment = {"start frame index": 0, "end frame index": 9, "story script": {"storyline": "x", "shots": []}}
        row = {"video ID": name, "url": f"https://youtu.be/{name}", "fps": 3.0, "segments": [segment]}
        (folder / f"{name}.json").write_text(json.dumps(row))
    return folder


def test_the_videos_of_a_release_are_matched_whatever_their_names(tmp_path: Path) -> None:
    annotations = release(tmp_path / "release", "-AbCdEfGhIj", "AbCdEfGhIjK", "gone", "listed")
    videos = touch(tmp_path / "videos", f"{escape_video_id('-AbCdEfGhIj')}.mp4", "AbCdEfGhIjK.webm", "listed.mp4")
    settings = SourceSettings(videos=videos, takedown=TakedownList.parse("listed"))
    found = collect_films([f"release:{annotations}"], tmp_path / "work", settings)
    assert {one.video_id: one.path.name for one in found.films} == {
        "-AbCdEfGhIj": f"{escape_video_id('-AbCdEfGhIj')}.mp4",
        "AbCdEfGhIjK": "AbCdEfGhIjK.webm",
    }
    assert found.films[0].url == "https://youtu.be/-AbCdEfGhIj"
    reasons = {one.video_id: one.reason for one in found.refused}
    assert reasons["listed"] == "The video listed is on the takedown list."
    assert reasons["gone"].startswith("The video gone has no file here")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("absent", "no file or folder absent"),
        ("ids:", "should look like ids:LIST.txt"),
        ("ids:absent.txt", "no file or folder absent.txt"),
        ("hf://models/a/b", "no dataset on the Hub"),
        ("hf://datasets/a/b/../c", "no dataset on the Hub"),
        ("toon:many", "no number of films"),
        ("toon:0", r"lie in 1 to"),
        ("release:absent.zip", "no file or folder absent.zip"),
    ],
)
def test_words_that_name_no_source_are_refused(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(spec)


def test_sources_without_a_film_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no source of films"):
        collect_films([], tmp_path)
    with pytest.raises(InputError, match="has no file here"):
        collect_films([f"release:{release(tmp_path / 'release', 'one')}"], tmp_path)
    with pytest.raises(InputError, match="holds no film"):
        list_films([touch(tmp_path / "empty")])
    with pytest.raises(InputError, match=r"no folder .* for the videos"):
        collect_films([f"release:{tmp_path / 'release'}"], tmp_path, SourceSettings(videos=tmp_path / "absent"))


@pytest.mark.parametrize(
    ("line", "video_id", "url"),
    [
        ("LvJRvwIDh0E", "LvJRvwIDh0E", "https://www.youtube.com/watch?v=LvJRvwIDh0E"),
        ("-vJRvwIDh0E", "-vJRvwIDh0E", "https://www.youtube.com/watch?v=-vJRvwIDh0E"),
        ("https://youtu.be/LvJRvwIDh0E?si=x", "LvJRvwIDh0E", "https://www.youtube.com/watch?v=LvJRvwIDh0E"),
        ("http://example.org/a,b/film%201.mp4", "film 1", "http://example.org/a,b/film%201.mp4"),
        ("mine, http://example.org/film.mp4", "mine", "http://example.org/film.mp4"),
        ("mine\thttp://example.org/film.mp4", "mine", "http://example.org/film.mp4"),
    ],
)
def test_a_line_of_a_list_names_a_video(line: str, video_id: str, url: str) -> None:
    assert (address_of(line).video_id, address_of(line).url) == (video_id, url)


def test_addresses_without_a_telling_name_get_an_id_of_their_own() -> None:
    one, two = (address_of(f"https://example.org/watch?id={number}").video_id for number in (1, 2))
    assert one != two
    assert len(one) == 16


@pytest.mark.parametrize(
    "line", ["--exec=rm", "a b c", "ftp://example.org/a.mp4", "http://[bad/a", "../a http://x/y", "file:///etc/x"]
)
def test_a_line_that_names_no_video_is_refused(line: str) -> None:
    with pytest.raises(InputError):
        address_of(line)


def test_a_list_keeps_its_order_and_reports_lines_by_number(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("# mine\n\nlvJRvwIDh0E\nLvJRvwIDh0E\n--exec\nlvJRvwIDh0E\nx http://a.org/1\nx http://a.org/2\n")
    found = read_video_list(path)
    assert [one.video_id for one in found.videos] == ["lvJRvwIDh0E", "LvJRvwIDh0E", "x"]
    assert [one.reason.split(":")[0] for one in found.refused] == ["Line 5", "Line 8"]
    path.write_text("--exec\n")
    with pytest.raises(InputError, match="names no video: Line 1"):
        read_video_list(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        read_video_list(path)
