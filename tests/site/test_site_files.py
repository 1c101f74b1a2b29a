"""The files of a site: the same for the same dataset, only what changed, whole after a kill, nothing taken down."""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import numpy as np
import pyarrow.parquet as pq
import pytest
from loopback_hub import loopback_hub
from packaging_stories import Films, film, story
from site_visits import hostile_story

from animeshooter_hf import Story
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.errors import InputError
from animeshooter_hf.loading import load_stories
from animeshooter_hf.site.site_command import add_arguments, run
from animeshooter_hf.site.site_folder import fnv64, story_path
from animeshooter_hf.site.site_server import site_server
from animeshooter_hf.site.story_file import peaks_of
from animeshooter_hf.site.write_site import SiteReport, SiteSettings, write_site
from animeshooter_hf.video import encode_flac

VIDEOS = ("v", "w", "x")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three videos, two stories each; one may be handed on."""
    return make_dataset(tmp_path_factory.mktemp("data"), [story(name, n) for name in VIDEOS for n in (0, 1)])


def make_dataset(root: Path, stories: Sequence[Story], **more: Any) -> Path:
    films = root / "films"
    films.mkdir(exist_ok=True, parents=True)
    for name in VIDEOS:
        if not (films / f"{name}.mp4").exists():
            film(films, name, 48 + VIDEOS.index(name))
    rights = {"v": VideoRights(video_id="v", basis="owned", redistributable=True, author="Somebody")}
    write_dataset(root / "dataset", stories, media=Films(films), rights=rights, progress=False, **more)
    return root / "dataset"


def make_site(dataset: Path, out: Path, **settings: Any) -> SiteReport:
    splits = sorted({path.name.split("-")[0] for path in (dataset / "stories").glob("*.parquet")})
    return write_site(out, {split: load_stories(dataset, split) for split in splits}, SiteSettings(**settings))


def tree(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def read_story(site: Path, story_id: str) -> dict[str, Any]:
    text = (site / story_path(story_id)).read_text()
    return json.loads(text[text.index(",") + 1 :].removesuffix(");\n"))


def call(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def test_the_same_dataset_gives_the_same_bytes_and_a_second_run_writes_nothing(dataset: Path, tmp_path: Path) -> None:
    report = make_site(dataset, tmp_path / "a")
    make_site(dataset, tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert sorted(tree(tmp_path / "a")) == list(report.files)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    again = make_site(dataset, tmp_path / "a")
    assert (again.written, again.bytes_written, list(again.removed)) == (0, 0, [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")} == times


def test_media_are_byte_for_byte_those_of_the_dataset(dataset: Path, tmp_path: Path) -> None:
    report = make_site(dataset, tmp_path)
    assert (report.stories, report.shots, report.clips) == (6, 24, 24)
    held = {hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() for path in report.files if "media/" in path}
    cells = {("shots", "video"), ("references", "image"), ("audio", "audio")}
    for config, column in cells:
        for path in (dataset / config).glob("*.parquet"):
            for cell in pq.read_table(path, columns=[column])[column].to_pylist():
                assert hashlib.sha256(cell["bytes"]).hexdigest() in held
    data = read_story(tmp_path, "v_001")
    assert Story.from_json(data["story"]) == load_stories(dataset, data["split"]).find("v_001").story


def test_what_changed_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    told = [story(name, n) for name in VIDEOS for n in (0, 1)]
    make_site(make_dataset(tmp_path / "one", told), tmp_path / "site")
    before = tree(tmp_path / "site")
    changed = [*told[:2], replace(told[2], storyline="Another plot."), *told[3:5]]
    report = make_site(make_dataset(tmp_path / "two", changed), tmp_path / "site")
    after = tree(tmp_path / "site")
    assert story_path("w_000") in after
    assert after[story_path("w_000")] != before[story_path("w_000")]
    assert story_path("x_001") in report.removed
    assert not [path for path in before if path.startswith("media/") and path in after and before[path] != after[path]]
    assert make_site(tmp_path / "two" / "dataset", tmp_path / "fresh").written == len(after) + 1  # site.json, twice
    assert tree(tmp_path / "fresh") == after


def test_a_takedown_takes_a_video_off_the_site(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, [story(name, n) for name in VIDEOS for n in (0, 1)])
    make_site(made, tmp_path / "site")
    mine = {path for name in ("w_000", "w_001") for path in media_of(read_story(tmp_path / "site", name))}
    (made / "takedown.txt").write_text("w\n")
    report = make_site(made, tmp_path / "site")
    assert report.stories == 4
    others = {path for name in ("v_000", "x_001") for path in media_of(read_story(tmp_path / "site", name))}
    assert mine - others <= set(report.removed)
    texts = [path.read_text() for path in (tmp_path / "site").rglob("*.js")]
    assert not [text for text in texts if "w_000" in text or "w_001" in text]


def media_of(data: dict[str, Any]) -> list[str]:
    found = [*data["clips"], *data["thumbnails"], *(one["image"] for one in data["references"])]
    return [path for path in [*found, *(one["file"] for one in data["sounds"])] if path]


def test_a_run_that_was_killed_is_taken_up_and_ends_in_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    make_site(dataset, tmp_path / "whole")
    code = (
        "import sys; sys.path[:0] = sys.argv[3:]\n"
        "from pathlib import Path\n"
        "from test_site_files import make_site\n"
        "make_site(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(dataset), str(tmp_path / "site"), *map(str, import_paths())]
    )
    while child.poll() is None and len(list((tmp_path / "site").rglob("*.webp"))) < 3:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (tmp_path / "site" / "media" / ".half.mp4.part").write_bytes(b"half")
    make_site(dataset, tmp_path / "site")
    assert tree(tmp_path / "site") == tree(tmp_path / "whole")


def import_paths() -> list[Path]:
    tests = Path(__file__).parents[1]
    return [tests / "site", tests / "dataset_builder", tests / "hub"]


def test_no_name_leaves_the_folder_and_no_folder_grows_large(tmp_path: Path) -> None:
    names = ["../../etc/passwd", "CON", "a" * 300, "名前", "x/y\\z", "..", "Aa", "aA"]
    told = [replace(hostile_story("v"), story_id=name, video_id=f"video {name}") for name in names]
    write_dataset(tmp_path / "dataset", told, progress=False)
    report = make_site(tmp_path / "dataset", tmp_path / "site")
    assert report.stories == len(names)
    paths = {story_path(name).casefold() for name in names}
    assert len(paths) == len(names)
    assert all((tmp_path / "site" / story_path(name)).is_file() for name in names)
    assert all(path.isascii() and ".." not in path and len(path) < 120 for path in report.files)
    assert {path.name for path in tmp_path.iterdir()} == {"dataset", "site"}
    folders = {story_path(f"video_{number:05d}").rsplit("/", 1)[0] for number in range(5000)}
    assert len(folders) > 200


def test_the_hash_of_an_id_is_fnv1a_of_64_bits() -> None:
    assert fnv64("") == "cbf29ce484222325"
    assert fnv64("foobar") == "85944171f73967e8"  # published with the algorithm


@pytest.mark.parametrize(("media", "suffixes"), [("link", {".webp", ".jpg"}), ("none", set())])
def test_media_can_be_left_out(dataset: Path, tmp_path: Path, media: str, suffixes: set[str]) -> None:
    report = make_site(dataset, tmp_path, media=media)
    assert {Path(path).suffix for path in report.files if path.startswith("media/")} == suffixes
    data = read_story(tmp_path, "v_000")
    assert data["clips"] == [None] * 4
    assert data["sounds"][0]["audio_type"] == "click"
    assert data["story"]["reference_masks"][0]["mask"]["counts"]


def test_a_clip_that_cannot_be_decoded_is_reported_and_stops_nothing(tmp_path: Path, capsys: Any) -> None:
    made = make_dataset(tmp_path, [story("v"), story("w")])
    shards = list((made / "shots").glob("*.parquet"))
    (shard,) = [path for path in shards if "v_000_02" in pq.read_table(path)["shot_id"].to_pylist()]
    table = pq.read_table(shard)
    rows = table.to_pylist()
    for row in rows:
        if row["shot_id"] == "v_000_02":
            row["video"]["bytes"] = row["video"]["bytes"][:200]
    pq.write_table(table.from_pylist(rows, schema=table.schema), shard)
    assert call(str(made), "--out", str(tmp_path / "site")) == 1
    assert "The clip of shot v_000_02 cannot be decoded." in capsys.readouterr().err
    data = read_story(tmp_path / "site", "v_000")
    assert data["thumbnails"][2] is None
    assert data["thumbnails"][3] is not None


def test_a_waveform_shows_the_loudest_sample_of_each_stretch() -> None:
    samples_CT = np.zeros((2, 24_000), np.float32)
    samples_CT[1, 12_000:] = -0.25
    assert peaks_of(samples_CT) == "A" * 120 + "g" * 120  # 63 x sqrt(0.25) is 31.5, rounded to even: 32
    assert peaks_of(np.zeros((1, 0), np.float32)) == "A"
    assert len(peaks_of(np.ones((1, 10), np.float32))) == 10
    assert encode_flac(samples_CT, 44_100)[:4] == b"fLaC"


def test_the_command_makes_a_site_of_all_splits_and_says_what_it_did(
    dataset: Path, tmp_path: Path, capsys: Any
) -> None:
    assert call(str(dataset), "--out", str(tmp_path / "site"), "--title", "Ours", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["stories"], told["removed"], told["problems"]) == (6, 0, [])
    assert "<title>Ours</title>" in (tmp_path / "site" / "index.html").read_text()
    readme = (tmp_path / "site" / "README.md").read_text()
    assert readme.startswith('---\ntitle: "Ours"\n')
    assert "sdk: static\n" in readme
    assert call(str(dataset), "--out", str(tmp_path / "one"), "--limit", "1", "--split", "train") == 0
    assert capsys.readouterr().out.startswith("1 stories, 4 shots, 4 clips")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere", "--out", "{out}"], "There is no dataset folder nowhere."),
        (["{empty}", "--out", "{out}"], "is no dataset of ours"),
        (["{dataset}", "--out", "{out}", "--split", "dev"], "has no split 'dev'"),
        (["{dataset}", "--out", "{out}", "--limit", "0"], "--limit must be at least 1"),
        (["{dataset}", "--out", "{out}", "--title", " "], "--title must not be empty"),
        (["{dataset}", "--out", "{out}", "--space", "name"], "--space must be the name of a Space"),
        (["{dataset}", "--out", "{foreign}"], "is no site of ours"),
        (["{dataset}", "--out", "{foreign}/letter.txt"], "is a file"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(dataset: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "letter.txt").write_text("mine")
    places = {name: str(tmp_path / name) for name in ("out", "empty", "foreign")}
    with pytest.raises(InputError, match=sentence):
        call(*(word.format(dataset=dataset, **places) for word in words))
    assert (tmp_path / "foreign" / "letter.txt").read_text() == "mine"


def test_the_server_answers_ranges(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(100)))
    with site_server(tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        def get(name: str, wanted: str | None = None) -> tuple[int, bytes]:
            address = f"http://127.0.0.1:{server.server_address[1]}/{name}"
            try:
                asked = urllib.request.Request(address, headers={"Range": wanted} if wanted else {})
                with urllib.request.urlopen(asked) as answer:
                    return answer.status, answer.read()
            except HTTPError as error:
                return error.code, b""

        assert get("a.mp4") == (200, bytes(range(100)))
        assert get("a.mp4", "bytes=10-19") == (206, bytes(range(10, 20)))
        assert get("a.mp4", "bytes=90-") == (206, bytes(range(90, 100)))
        assert get("a.mp4", "bytes=-5") == (206, bytes(range(95, 100)))
        assert get("a.mp4", "bytes=200-") == (416, b"")
        assert get("../conftest.py")[0] == 404
        server.shutdown()
    with (
        site_server(tmp_path) as server,
        pytest.raises(InputError, match="cannot be served from"),
        site_server(tmp_path, server.server_address[1]),
    ):
        pass


def test_a_space_gets_the_site_and_no_pixel_that_may_not_be_handed_on(dataset: Path, tmp_path: Path) -> None:
    full, none = tmp_path / "full", tmp_path / "none"
    arguments = [str(dataset), "--space", "me/viewer", "--json", "--out"]
    runs = [[*arguments, str(full)], [*arguments, str(full)], [*arguments, str(none), "--media", "none"]]
    with loopback_hub(tmp_path / "hub") as hub:
        first, second, third = with_hub(hub.url, tmp_path, runs)
        commits = hub.repositories["space", "me/viewer"].commits
    states = [commits[first["commit"]], commits[third["commit"]]]
    assert first["left_out"].keys() == {"w", "x"}
    for state, site in zip(states, (full, none), strict=True):
        assert state.keys() - {".gitattributes"} == tree(site).keys()  # that one is the Hub's own, and stays
        assert all(file.size == (site / path).stat().st_size for path, file in state.items() if path[0] != ".")
    assert read_story(full, "w_000")["clips"] == [None] * 4
    assert all(read_story(full, "v_000")["clips"])
    assert (second["uploaded"], second["bytes_sent"], second["commit"]) == (0, 0, first["commit"])
    assert third["deleted"] > 0


def test_a_dataset_on_the_hub_is_shown_with_its_own_words(dataset: Path, tmp_path: Path) -> None:
    runs = [["me/data", "--out", str(tmp_path / name), "--json", *more] for name, more in (("a", ()), ("b", ONE))]
    with loopback_hub(tmp_path / "hub") as hub:
        all_of_it, one = with_hub(hub.url, tmp_path, runs, upload=dataset)
    assert (all_of_it["stories"], all_of_it["clips"]) == (6, 24)
    assert (one["stories"], one["clips"]) == (1, 4)
    assert tree(tmp_path / "a" / "media") == tree_of_media(dataset, tmp_path / "c")
    assert "huggingface.co/datasets/me/data" in (tmp_path / "b" / "README.md").read_text()


ONE = ("--limit", "1", "--split", "train")


def tree_of_media(dataset: Path, out: Path) -> dict[str, str]:
    make_site(dataset, out)
    return tree(out / "media")


def with_hub(
    endpoint: str, root: Path, runs: Sequence[Sequence[str]], upload: Path | None = None
) -> list[dict[str, Any]]:
    """Return what the verb printed, run by run, in a process of its own that knows another Hub."""
    code = (
        "import argparse, json, sys\n"
        "from pathlib import Path\n"
        "from animeshooter_hf.hub.upload import Change, HubUploader\n"
        "from animeshooter_hf.site.site_command import add_arguments, run\n"
        "if sys.argv[2:]:\n"
        "    root, hub = Path(sys.argv[2]), HubUploader('me/data')\n"
        "    files = {path.relative_to(root).as_posix(): path for path in root.rglob('*') if path.is_file()}\n"
        "    hub.ensure_repo()\n"
        "    hub.commit(lambda head: Change(files), message='data', progress=False)\n"
        "parser = argparse.ArgumentParser(); add_arguments(parser)\n"
        "sys.exit(sum(run(parser.parse_args(words)) for words in json.loads(sys.argv[1])))"
    )
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_loopback", "HF_HOME": str(root / "home"),
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-c", code, json.dumps(runs), *([str(upload)] if upload else [])],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert made.returncode == 0, made.stderr[-3000:]
    return [json.loads(line) for line in made.stdout.splitlines()]
