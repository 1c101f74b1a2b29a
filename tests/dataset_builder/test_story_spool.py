"""Stories wait on disk in any order and come back sorted, exact, and without a trace."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from animeshooter_hf.dataset_builder.story_spool import StorySpool
from animeshooter_hf.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from packaging_stories import story


def test_stories_come_back_sorted_by_id_and_exactly_as_they_were(tmp_path: Path) -> None:
    told = [replace(story(video, n), frame_rate=Fraction(123_457, 1001)) for video in ("b", "a") for n in range(3)]
    with StorySpool(tmp_path / "out") as spool:
        spool.extend(told[::-1])
        assert len(spool) == 6
        assert sorted(spool.video_ids()) == ["a", "b"]
        assert list(spool.stories({"a", "b"})) == sorted(told, key=lambda one: one.story_id)
        assert list(spool.stories({"b"})) == told[:3]


def test_two_stories_of_one_id_are_refused_even_if_others_stand_between(tmp_path: Path) -> None:
    with StorySpool(tmp_path / "out") as spool, pytest.raises(InputError, match="have the ID b_000"):
        spool.extend([story("b"), story("a"), story("c"), story("b")])


def test_the_scratch_file_has_no_name_that_could_be_left_behind(tmp_path: Path) -> None:
    with StorySpool(tmp_path / "deep" / "out") as spool:
        spool.extend([story("v")])
        assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.errors import InputError
sys.path.insert(0, sys.argv[2])
from packaging_stories import story

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_dataset(Path(sys.argv[1]), (story(f"v{n}") for n in range(500)), progress=False)
except InputError as error:
    sys.exit(f"refused: {error}")
"""


def test_a_disk_without_room_is_said_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "out"), str(Path(__file__).parent)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == f"refused: {tmp_path / 'out'} cannot be written: File too large."
    assert list(tmp_path.iterdir()) == []


SHUFFLED = """
import random, sys
from pathlib import Path
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.dataset_builder.quality.rights import VideoRights
from animeshooter_hf.takedown import TakedownList
sys.path.insert(0, sys.argv[3])
from packaging_stories import Films, film, story

out, order = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
out.mkdir()
videos = [f"v{n:02d}" for n in range(12)]
film(out, "v03")
told = [story(video, n) for video in videos for n in range(2)]
order.shuffle(told)
shuffled = order.sample(videos, len(videos))
rights = {name: VideoRights(video_id=name, basis="owned") for name in shuffled}
write_dataset(
    out / "data", iter(told), media=Films(out), rights=rights, takedown=TakedownList(video_ids=frozenset("xyz")),
    progress=False,
)
"""


def test_two_processes_with_other_hash_seeds_and_orders_write_the_same_files(tmp_path: Path) -> None:
    processes = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", SHUFFLED, str(tmp_path / seed), seed, str(Path(__file__).parent)]
        processes.append(subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}))
    assert [process.wait() for process in processes] == [0, 0]
    one, other = (
        {
            path.relative_to(tmp_path / seed).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / seed / "data").rglob("*")
            if path.is_file()
        }
        for seed in ("1", "2")
    )
    assert one == other
    assert {name.split("/")[1] for name in one} >= {"stories", "shots", "manifest.json", "takedown.txt", "README.md"}
