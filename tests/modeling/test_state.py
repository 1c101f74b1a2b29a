"""A state comes back from disk as it was, and a broken one is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenOutput
from animeshooter_hf.modeling.state import FinishedShot, StoryState


def test_a_state_comes_back_as_it_was(whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    state = whole.state
    loaded = StoryState.load(state.save(tmp_path / "state"))
    assert loaded.asks_the_same(state)
    assert loaded.story == state.story
    assert loaded.version == state.version
    assert [shot.seed for shot in loaded.shots] == [shot.seed for shot in state.shots]
    for mine, theirs in zip(loaded.shots, state.shots, strict=True):
        assert np.array_equal(mine.frames_FHW3, theirs.frames_FHW3)


def test_saving_after_every_shot_writes_each_shot_once(whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    whole.state.cut_to(1).save(tmp_path)
    (first,) = (tmp_path / "shots").iterdir()
    written = first.stat().st_mtime_ns
    whole.state.save(tmp_path)
    assert first.stat().st_mtime_ns == written
    assert len(list((tmp_path / "shots").iterdir())) == 3
    assert not list(tmp_path.rglob("*.partial-*"))


def test_a_shot_that_was_replaced_leaves_nothing_behind(whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    whole.state.save(tmp_path)
    other = FinishedShot(1, 255 - whole.frames[1], 7)
    whole.state.with_shot(other).save(tmp_path)
    assert len(list((tmp_path / "shots").iterdir())) == 3
    assert np.array_equal(StoryState.load(tmp_path).shots[1].frames_FHW3, other.frames_FHW3)


def test_two_saves_of_one_state_are_the_same_bytes(whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    for name in ("a", "b"):
        whole.state.save(tmp_path / name)
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.*")) for n in ("a", "b")]
    assert files[0] == files[1]
    assert all(
        (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        for file in files[0]
        if (tmp_path / "a" / file).is_file()
    )


def empty(folder: Path) -> None:
    (folder / "state.json").unlink()


def not_json(folder: Path) -> None:
    (folder / "state.json").write_text("{")


def another_kind(folder: Path) -> None:
    (folder / "state.json").write_text("[]")


def without_seed(folder: Path) -> None:
    data = json.loads((folder / "state.json").read_text())
    del data["seed"]
    (folder / "state.json").write_text(json.dumps(data))


def lost_frame(folder: Path) -> None:
    next((folder / "shots").glob("000-*/0004.png")).unlink()


def changed_frame(folder: Path) -> None:
    Image.new("RGB", (48, 32)).save(next((folder / "shots").glob("001-*")) / "0004.png")


def outside(folder: Path) -> None:
    data = json.loads((folder / "state.json").read_text())
    data["shots"][0]["frames"] = "../elsewhere"
    (folder / "state.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty, "There is no state.json"),
        (not_json, "is no state that can be read"),
        (another_kind, "is not a story's state"),
        (without_seed, "is broken: 'seed'"),
        (lost_frame, "Shot 0 of the state: there is no file"),
        (changed_frame, "Shot 1 of the state .* is not what was saved"),
        (outside, "names a file outside it"),
    ],
)
def test_a_broken_state_is_refused(
    whole: AnimeShooterGenOutput, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    whole.state.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        StoryState.load(tmp_path)


def test_a_state_that_cannot_be_written_is_refused(whole: AnimeShooterGenOutput, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        whole.state.save(tmp_path / "file" / "state")


def test_finished_shots_must_be_the_first_ones(whole: AnimeShooterGenOutput) -> None:
    with pytest.raises(ValueError, match="must be the story's first shots"):
        whole.state.cut_to(0).with_shot(FinishedShot(1, whole.frames[1], 0))
