"""The cache: what it keeps, what it refuses to believe, and that it never stops or changes a run."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scoring_features import Brightness

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.content_hash import ContentHasher, FileStamp
from animeshooter_hf.eval.embedding_cache import EmbeddingCache, default_cache_folder
from animeshooter_hf.eval.encoding import EncodingSettings
from animeshooter_hf.eval.engine import StoryEncoder
from animeshooter_hf.eval.metrics import open_metrics
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.regions import Region
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction

ROW = {"rows": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.zeros((0, 4), np.int64)}


def database(folder: Path) -> Path:
    (path,) = folder.glob("*.sqlite3")
    return path


class Counting(Brightness):
    """Brightness that counts how often it is made."""

    def __init__(self) -> None:
        self.num_asked = 0

    def extract(self, media):  # type: ignore[no-untyped-def]
        self.num_asked += 1
        return super().extract(media)


def asked(stories: list[StoryPrediction], folder: Path) -> int:
    """Return how often the feature is made when these stories are encoded with the cache."""
    counting = Counting()
    with EmbeddingCache(folder) as cache:
        StoryEncoder([], EncodingSettings(), cache=cache, extras=[counting]).encode(stories)
    return counting.num_asked


def test_what_is_put_comes_back_in_another_process_bit_for_bit(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path) as cache:
        cache.put("key", {"num_frames": 3}, ROW)
    with EmbeddingCache(tmp_path) as cache:
        found = cache.get(["key", "other"])
    assert list(found) == ["key"]
    assert found["key"].facts == {"num_frames": 3}
    for name, array in ROW.items():
        np.testing.assert_array_equal(found["key"].arrays[name], array)
        assert found["key"].arrays[name].dtype == array.dtype


def test_scores_from_the_cache_are_those_without_it(story_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = story_folder("fox", "frog")
    plain = evaluate_stories(folder).to_json()
    assert evaluate_stories(folder, cache=tmp_path / "cache").to_json() == plain
    assert evaluate_stories(folder, cache=tmp_path / "cache").to_json() == plain
    assert evaluate_stories(folder, cache=tmp_path / "cache", num_workers=2).to_json() == plain


def test_only_what_is_missing_is_made(stories: list[StoryPrediction], tmp_path: Path) -> None:
    assert asked(stories[:1], tmp_path) == 5  # four shots and a reference
    assert asked(stories[:1], tmp_path) == 0
    assert asked([replace(stories[0], story_id="renamed", ip_id="else")], tmp_path) == 0
    assert asked(stories[:2], tmp_path) == 4


def test_a_file_that_changes_is_made_anew_even_if_its_size_and_name_stay(
    story_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = story_folder("fox")
    stories = list(read_predictions(folder))
    assert asked(stories, tmp_path) == 3
    shot = Path(stories[0].shots[0])
    data = bytearray(shot.read_bytes())
    data[-1] ^= 1
    stamp = shot.stat()
    shot.write_bytes(bytes(data))
    os.utime(shot, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert asked(stories, tmp_path) == 1


def test_a_hash_is_remembered_only_of_a_file_that_had_settled(tmp_path: Path) -> None:
    memory: dict[str, tuple[FileStamp, str]] = {}
    hasher = ContentHasher(memory)
    path = tmp_path / "shot.mp4"
    path.write_bytes(b"one")
    hasher.hash(path)
    assert memory == {}
    os.utime(path, (time.time() - 60, time.time() - 60))
    first = hasher.hash(path)
    assert list(memory) == [str(path)]
    assert hasher.hash(path) == first
    path.write_bytes(b"two")
    assert hasher.hash(path).sha256 != first.sha256
    assert not first.is_unchanged
    assert hasher.hash(tmp_path / "gone.mp4").sha256 == ""


def test_regions_are_part_of_the_key_of_features_that_use_them(stories: list[StoryPrediction], tmp_path: Path) -> None:
    region = Region(frame=0, box=(0.1, 0.1, 0.8, 0.9))
    other = Region(frame=0, box=(0.1, 0.1, 0.4, 0.5))
    values = []
    for place in (region, other, region):
        story = replace(stories[0], regions=({"fox": [place]},) * 4)
        values.append(evaluate_stories([story], cache=tmp_path, draws=0).value("reference_fidelity", "mean"))
    assert values[0] == values[2] != values[1]
    plain = evaluate_stories([stories[0]], cache=tmp_path, draws=0).value("reference_fidelity", "mean")
    assert plain not in values


def test_a_damaged_entry_is_made_anew(stories: list[StoryPrediction], tmp_path: Path) -> None:
    asked(stories[:1], tmp_path)
    with sqlite3.connect(database(tmp_path)) as connection:
        connection.execute("UPDATE entries SET payload = substr(payload, 1, 20) WHERE rowid = 2")
        connection.execute("UPDATE entries SET checksum = checksum + 1 WHERE rowid = 3")
    connection.close()
    assert asked(stories[:1], tmp_path) == 2
    assert asked(stories[:1], tmp_path) == 0


@pytest.mark.parametrize("damaged", [slice(0, 4096), slice(4096, None)], ids=["head", "rest"])
def test_a_damaged_cache_starts_anew(stories: list[StoryPrediction], tmp_path: Path, damaged: slice) -> None:
    asked(stories[:1], tmp_path)
    path = database(tmp_path)
    data = bytearray(path.read_bytes())
    data[damaged] = b"\x00" + b"g" * (len(data[damaged]) - 1)
    path.write_bytes(bytes(data))
    assert asked(stories[:1], tmp_path) > 0
    assert asked(stories[:1], tmp_path) == 0


def test_the_oldest_entries_go_when_there_is_too_much(tmp_path: Path) -> None:
    row = {"rows": np.zeros(1000, np.float32)}
    with EmbeddingCache(tmp_path, size_limit=40_000) as cache:
        for number in range(30):
            cache.put(f"{number:02}", {}, row)
    with EmbeddingCache(tmp_path, size_limit=40_000) as cache:
        assert cache.size <= 40_000
        kept = cache.get([f"{number:02}" for number in range(30)])
    assert 4 <= len(kept) < 10
    assert "29" in kept


def test_an_emptied_cache_holds_nothing(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path) as cache:
        cache.put("key", {}, ROW)
        cache.flush()
        cache.clear()
        assert cache.get(["key"]) == {}
        cache.put("new", {}, ROW)
    with EmbeddingCache(tmp_path) as cache:
        assert list(cache.get(["key", "new"])) == ["new"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made"):
        EmbeddingCache(tmp_path / "file" / "cache")


def test_two_runs_may_fill_one_cache_at_once(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path) as first, EmbeddingCache(tmp_path) as second:
        for number in range(10):
            first.put(f"first{number}", {}, ROW)
            second.put(f"second{number}", {}, ROW)
            first.put("both", {}, ROW)
            second.put("both", {}, ROW)
            first.flush()
            second.flush()
    with EmbeddingCache(tmp_path) as cache:
        assert len(cache.get([f"{name}{number}" for name in ("first", "second") for number in range(10)])) == 20


KILLED = """
import sys
from pathlib import Path
from animeshooter_hf.eval.embedding_cache import EmbeddingCache
import numpy as np

cache = EmbeddingCache(Path(sys.argv[1]))
number = 0
while True:
    cache.put(str(number), {"number": number}, {"rows": np.full(5000, number, np.float32)})
    cache.flush()
    print(number, flush=True)
    number += 1
"""


def test_a_run_that_is_killed_leaves_what_it_had_finished(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    written = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with EmbeddingCache(tmp_path) as cache:
        found = cache.get([str(number) for number in written])
    assert len(found) == 20
    assert all((found[str(number)].arrays["rows"] == number).all() for number in written)


def test_the_folder_of_the_command_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMESHOOTER_CACHE", "/place")
    assert default_cache_folder() == Path("/place/eval")
    monkeypatch.delenv("ANIMESHOOTER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/other")
    assert default_cache_folder() == Path("/other/animeshooter/eval")


def test_a_run_that_is_stopped_goes_on_where_it_was(stories: list[StoryPrediction], tmp_path: Path) -> None:
    def stopped() -> Iterator[StoryPrediction]:
        yield stories[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), EmbeddingCache(tmp_path) as cache:
        StoryEncoder([], EncodingSettings(), cache=cache, extras=[Brightness()]).encode(stopped())
    assert asked(stories[:2], tmp_path) == 4  # the second story's shots; the reference is the first one's too


def test_numbers_that_two_media_say_together_are_kept(tmp_path: Path) -> None:
    made = []

    def make() -> float:
        made.append(1)
        return 0.25

    pictures = [np.zeros((2, 3), np.uint8), np.ones((2, 3), np.uint8)]
    for _ in range(2):
        with EmbeddingCache(tmp_path) as cache:
            metric = open_metrics(["reference_fidelity"], EncodingSettings())[0]
            metric.memory = cache.numbers
            assert metric.recall("pair@1", pictures, make) == 0.25
    assert len(made) == 1
    metric.memory = {}
    metric.recall("pair@1", pictures, make)
    metric.recall("pair@1", pictures[::-1], make)
    metric.recall("pair@2", pictures, make)
    assert len(made) == 4
