"""The downloader, with the real yt-dlp against a site on loopback: polite, resumable, and it takes no for an answer."""

import http.cookiejar
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.dataset_builder.release.names import escape_video_id
from animeshooter_hf.dataset_builder.sources.download import Downloader, DownloadSettings
from animeshooter_hf.dataset_builder.sources.download_answers import Answer, classify, retry_after
from animeshooter_hf.dataset_builder.sources.download_ledger import AttemptLedger, availability_of
from animeshooter_hf.dataset_builder.sources.folder import FoundFilms, find_films
from animeshooter_hf.dataset_builder.sources.source import SourceSettings, collect_films
from animeshooter_hf.dataset_builder.sources.video_ids import address_of
from animeshooter_hf.errors import InputError
from animeshooter_hf.takedown import TakedownList, hash_id
from animeshooter_hf.video import write_video

sys.path.insert(0, str(Path(__file__).parent))
from loopback_site import LoopbackSite, loopback_site

yt_dlp = pytest.importorskip("yt_dlp", reason="the extra `download` is not installed")

QUICK = {"pause_seconds": 0, "request_pause_seconds": 0, "backoff_seconds": 0.05, "timeout_seconds": 5, "attempts": 3}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    noise = np.random.default_rng(0)
    frames = (noise.integers(0, 255, (108, 192, 3), dtype=np.uint8) for _ in range(24))
    write_video(path, frames, Fraction(24))
    return path.read_bytes()


@pytest.fixture
def site(video: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackSite]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback_site(video) as running:
        yield running


def settings(**changes: object) -> DownloadSettings:
    return DownloadSettings(**{**QUICK, **changes})  # type: ignore[arg-type]


def get(site: LoopbackSite, folder: Path, *paths: str, takedown: str = "", **changes: object) -> FoundFilms:
    videos = [address_of(f"{site.url}/{path}") for path in paths]
    downloader = Downloader(folder, settings(**changes))
    return downloader.download(videos, takedown=TakedownList.parse(takedown), progress=False)


def answer_of(folder: Path, video_id: str) -> Answer:
    last = AttemptLedger(folder / "availability.jsonl").last(video_id)
    assert last is not None
    return last.answer


def test_files_arrive_whole_under_names_that_any_disk_can_hold(
    site: LoopbackSite, tmp_path: Path, video: bytes
) -> None:
    found = get(site, tmp_path, "ok/-aB.mp4", "ok/-ab.mp4")
    assert [film.video_id for film in found.films] == ["-aB", "-ab"]
    assert found.films[0].path.name == f"{escape_video_id('-aB')}.mp4"
    assert found.films[0].url == f"{site.url}/ok/-aB.mp4"
    assert all(film.path.read_bytes() == video for film in found.films)
    info = json.loads(found.films[0].path.with_name(f"{escape_video_id('-aB')}.info.json").read_text())
    assert info["webpage_url"] == f"{site.url}/ok/-aB.mp4"
    assert "formats" not in info
    assert [film.video_id for film in find_films([tmp_path])[0]] == ["-aB", "-ab"]
    assert {path.suffix for path in tmp_path.iterdir()} == {".mp4", ".json", ".jsonl"}


def test_what_is_here_is_never_asked_for_again(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path, "ok/a.mp4", "say/404/gone.html")
    num_requests = len(site.requests)
    found = get(site, tmp_path, "ok/a.mp4", "say/404/gone.html")
    assert len(site.requests) == num_requests
    assert [film.video_id for film in found.films] == ["a"]
    assert "gone was not downloaded: it is no longer there" in found.refused[0].reason
    (tmp_path / "a.mp4").unlink()
    assert len(get(site, tmp_path, "ok/a.mp4").films) == 1
    assert len(site.requests) > num_requests


def test_a_cut_connection_goes_on_inside_the_file(site: LoopbackSite, tmp_path: Path, video: bytes) -> None:
    (film,) = get(site, tmp_path, "cut/a.mp4").films
    assert film.path.read_bytes() == video
    ranges = [part for part in site.asked("/cut/a.mp4") if part]
    assert len(ranges) == 1
    assert int(ranges[0].removeprefix("bytes=").rstrip("-")) > 100_000


def test_a_stopped_run_goes_on_inside_the_file(site: LoopbackSite, tmp_path: Path, video: bytes) -> None:
    assert "the connection failed" in get(site, tmp_path, "cut/a.mp4", attempts=1).refused[0].reason
    assert list(tmp_path.glob("*.part"))
    (film,) = get(site, tmp_path, "cut/a.mp4", attempts=1).films
    assert film.path.read_bytes() == video
    assert any(site.asked("/cut/a.mp4"))


def test_a_site_that_fails_is_asked_again_and_waits_are_kept(site: LoopbackSite, tmp_path: Path) -> None:
    site.retry_after = "1"
    assert len(get(site, tmp_path, "fail/429/a.mp4").films) == 1
    assert np.diff(site.times("/fail/429/a.mp4"))[0] >= 1
    site.retry_after = None
    assert len(get(site, tmp_path, "fail/503,500/a.mp4").films) == 1
    last = AttemptLedger(tmp_path / "availability.jsonl").last("a")
    assert last is not None
    assert last.requests == 3


def test_a_longer_wait_than_allowed_is_not_cut_short(site: LoopbackSite, tmp_path: Path) -> None:
    site.retry_after = "3600"
    assert get(site, tmp_path, "fail/429,429/a.mp4", max_wait_seconds=10).refused
    assert len(site.asked("/fail/429,429/a.mp4")) == 1


def test_attempts_end_and_the_next_run_asks_again(site: LoopbackSite, tmp_path: Path) -> None:
    path = "fail/500,500,500/a.mp4"
    assert "the site failed" in get(site, tmp_path, path).refused[0].reason
    assert len(site.asked(f"/{path}")) == 3
    assert len(get(site, tmp_path, path).films) == 1


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("say/404/a.html", "removed", "no longer there"),
        ("say/403/a.html", "forbidden", "refuses the request"),
        ("say/451/a.html", "region", "not shown in this country"),
        ("pages/a.html", "unsupported", "no video was found"),
        ("pages/list.html", "playlist", "list of videos"),
    ],
)
def test_a_no_is_taken_for_an_answer(site: LoopbackSite, tmp_path: Path, path: str, answer: Answer, words: str) -> None:
    site.pages["/pages/a.html"] = "<title>t</title>nothing here"
    both = "".join(f"<video src='/ok/{name}.mp4'></video>" for name in "ab")
    site.pages["/pages/list.html"] = f"<title>t</title>{both}"
    (refused,) = get(site, tmp_path, path).refused
    assert words in refused.reason
    assert answer_of(tmp_path, refused.video_id or "") == answer
    assert len(site.requests) == 1
    assert not list(tmp_path.glob("*.mp4"))


def test_a_dead_connection_is_reported(tmp_path: Path) -> None:
    dead = address_of("http://127.0.0.1:9/a.mp4")
    downloader = Downloader(tmp_path, settings(attempts=2))
    assert "the connection failed" in downloader.download([dead], progress=False).refused[0].reason


def test_a_run_stops_when_the_site_asks_to_be_left_alone(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path, "ok/old.mp4")
    site.requests.clear()
    names = [f"fail/429/{name}.mp4" for name in "abcd"]
    found = get(site, tmp_path, *names, "ok/old.mp4", attempts=1, stop_after_blocks=2)
    assert [film.video_id for film in found.films] == ["old"]
    assert len(site.requests) == 2
    assert [("was not asked for" in one.reason) for one in found.refused] == [False, False, True, True]


def test_listed_videos_are_never_asked_for(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path, "ok/b.mp4")
    site.requests.clear()
    found = get(site, tmp_path, "ok/a.mp4", "ok/b.mp4", takedown=f"{hash_id('a')}\nb")
    assert not site.requests
    assert not found.films
    assert [one.reason for one in found.refused] == ["a is on the takedown list.", "b is on the takedown list."]
    assert "a" not in {one.video_id for one in AttemptLedger(tmp_path / "availability.jsonl").attempts()}


def test_there_is_a_pause_between_videos_and_a_limit_to_the_rate(
    site: LoopbackSite, tmp_path: Path, video: bytes
) -> None:
    get(site, tmp_path, "ok/a.mp4", "ok/b.mp4", pause_seconds=0.4)
    assert site.times("/ok/b.mp4")[0] - site.times("/ok/a.mp4")[-1] >= 0.4
    begin = time.monotonic()
    get(site, tmp_path, "ok/c.mp4", bytes_per_second=2 * len(video))
    assert time.monotonic() - begin > 0.4


def test_files_larger_than_allowed_are_left_alone(site: LoopbackSite, tmp_path: Path) -> None:
    (refused,) = get(site, tmp_path, "ok/a.mp4", max_file_bytes=1000).refused
    assert "larger than allowed" in refused.reason
    assert not list(tmp_path.glob("*.mp4*"))


def test_cookies_come_only_from_the_named_file_and_it_stays_as_it_is(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path / "without", "ok/a.mp4")
    assert set(site.cookies) == {None}
    path = tmp_path / "cookies.txt"
    jar = http.cookiejar.MozillaCookieJar(str(path))
    jar.save()
    path.write_text(path.read_text() + "127.0.0.1\tFALSE\t/\tFALSE\t4102444800\tkey\tmine\n")
    before = path.read_bytes()
    get(site, tmp_path / "with", "ok/a.mp4", cookies=path)
    assert site.cookies[-1] == "key=mine"
    assert path.read_bytes() == before


def test_the_availability_table_says_what_came_of_every_video(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path, "ok/a.mp4", "say/404/b.html", "say/403/c.html", attempts=1)
    rows = {row.video_id: row for row in availability_of(AttemptLedger(tmp_path / "availability.jsonl").attempts())}
    assert {name: row.status for name, row in rows.items()} == {"a": "available", "b": "removed", "c": "unchecked"}
    assert rows["a"].num_bytes == (tmp_path / "a.mp4").stat().st_size
    assert rows["b"].reason.startswith("removed: ")
    assert all(row.checked_at.endswith("Z") for row in rows.values())


def test_a_ledger_that_was_cut_off_loses_one_line_only(site: LoopbackSite, tmp_path: Path) -> None:
    get(site, tmp_path, "ok/a.mp4")
    path = tmp_path / "availability.jsonl"
    path.write_bytes(path.read_bytes() + b'{"video_id": "half')
    get(site, tmp_path, "ok/b.mp4")
    assert [one.video_id for one in AttemptLedger(path).attempts()] == ["a", "b"]
    assert b"half" in path.read_bytes()


def test_a_list_of_videos_is_a_source(site: LoopbackSite, tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(f"first {site.url}/ok/a.mp4\n--exec\n{site.url}/say/404/gone.mp4\n")
    found = collect_films(
        [f"ids:{path}"], tmp_path / "work", SourceSettings(download=settings(attempts=1)), progress=False
    )
    assert [film.video_id for film in found.films] == ["first"]
    assert found.films[0].path == tmp_path / "work" / "downloads" / "first.mp4"
    assert len(found.refused) == 2


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies", "bot_check"),
        ("[youtube] x: Private video. Sign in if you've been granted access", "private"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "removed"),
        ("[youtube] x: Video unavailable", "removed"),
        ("[youtube] x: This video is no longer available because the account has been terminated.", "removed"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.", "age"),
        ("[youtube] x: The uploader has not made this video available in your country", "region"),
        ("[youtube] x: Join this channel to get access to members-only content", "members_only"),
        ("[youtube] x: Premieres in 3 hours", "live"),
        ("[youtube] x: Requested format is not available. Use --list-formats", "no_format"),
        ("Unable to download webpage: timed out", "network"),
        ("[generic] premium: Unable to download http://x.org/removed: timed out", "network"),
        ("something new", "other"),
        ("", "other"),
    ],
)
def test_the_words_of_a_site_are_understood(message: str, answer: Answer) -> None:
    assert classify(yt_dlp.utils.DownloadError(message)) == answer


def test_a_country_that_is_refused_is_known_by_its_exception() -> None:
    error = yt_dlp.utils.GeoRestrictedError("no", countries=["DE"])
    assert classify(yt_dlp.utils.DownloadError("no", (type(error), error, None))) == "region"


class _Response:
    def __init__(self, wait: str) -> None:
        self.headers = {"Retry-After": wait}


class _SiteError(Exception):
    def __init__(self, wait: str) -> None:
        self.response = _Response(wait)


def test_a_wait_may_be_said_in_seconds_or_as_a_date() -> None:
    assert retry_after(_SiteError("12")) == 12
    later = retry_after(_SiteError(format_datetime(datetime.now(UTC) + timedelta(seconds=60))))
    assert later is not None
    assert 55 < later <= 60
    assert retry_after(_SiteError("soon")) is None
    assert retry_after(ValueError("x")) is None


@pytest.mark.parametrize(
    "change",
    [{"max_height": 0}, {"bytes_per_second": 0}, {"attempts": 0}, {"pause_seconds": -1}, {"timeout_seconds": 0}],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError):
        DownloadSettings(**change)  # type: ignore[arg-type]


def test_folders_and_cookies_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="file of cookies"):
        Downloader(tmp_path, DownloadSettings(cookies=tmp_path / "absent"))
    (tmp_path / "other.txt").write_text("cookie: yes")
    with pytest.raises(InputError, match="no file of cookies in Netscape format"):
        Downloader(tmp_path, DownloadSettings(cookies=tmp_path / "other.txt"))
    with pytest.raises(InputError, match="cannot be written"):
        Downloader(tmp_path / "other.txt" / "folder")
    with pytest.raises(InputError, match="yt-dlp would replace"):
        Downloader(tmp_path / "$HOME")
