"""The attacks do what they say, to any story, and the same for any order of stories."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.adversarial import ATTACKS, attack_stories
from animeshooter_hf.eval.controls import CONTROLS
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.video import write_video
from animeshooter_hf.video.reading import probe, read_frames


def same(first: StoryPrediction, second: StoryPrediction) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.shots, second.shots, strict=True))


def test_every_expected_control_exists() -> None:
    names = {control.name for control in CONTROLS}
    assert all(set(attack.expected) <= names for attack in ATTACKS.values())
    assert len(names) == len(CONTROLS)


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attack_changes_shots_and_nothing_else(stories: list[StoryPrediction], kind: str) -> None:
    for before, after in zip(stories[::2], attack_stories(stories[::2], kind, seed=3), strict=True):
        assert (after.story_id, after.ip_id, after.references) == (before.story_id, before.ip_id, before.references)
        assert after.scene_ids == before.scene_ids
        assert not same(before, after)
        assert [shot.shape for shot in after.shots] == [shot.shape for shot in before.shots]


@pytest.mark.parametrize("kind", ATTACKS)
def test_the_seed_alone_decides_whatever_the_order_of_stories(stories: list[StoryPrediction], kind: str) -> None:
    few = stories[::2]
    forth = {story.story_id: story for story in attack_stories(few, kind, seed=5)}
    back = {story.story_id: story for story in attack_stories(few[::-1], kind, seed=5)}
    assert all(same(forth[name], back[name]) for name in forth)
    if kind in ("frozen_noise", "ken_burns", "shuffled", "noise"):
        other = {story.story_id: story for story in attack_stories(few, kind, seed=6)}
        assert not any(same(forth[name], other[name]) for name in forth)


def test_each_attack_does_what_it_says(stories: list[StoryPrediction]) -> None:
    story = stories[0]
    attacked = {kind: next(iter(attack_stories(stories, kind))) for kind in ATTACKS}
    assert all((shot == shot[0]).all() for shot in attacked["frozen"].shots)
    still = attacked["frozen_noise"].shots[0].astype(int) - story.shots[0][0]
    assert 0 < np.abs(still).max() <= 12
    assert all(np.array_equal(shot, story.shots[0]) for shot in attacked["repeated"].shots)
    assert (attacked["pasted"].shots[0][:, 0, 0] == 255).all()
    changed = (attacked["sticker"].shots[1] != story.shots[1]).any(axis=(0, 3))
    assert 0.03 < changed.mean() < 0.5
    for kind, whole in (("shuffled", False), ("shuffled_shots", True)):
        for index, shot in enumerate(attacked[kind].shots):
            assert not np.array_equal(shot, story.shots[index])
            assert any({f.tobytes() for f in shot} == {f.tobytes() for f in old} for old in story.shots) or not whole
    strangers = [shot.tobytes() for other in stories if other.ip_id != story.ip_id for shot in other.shots]
    assert all(shot.tobytes() in strangers for shot in attacked["wrong_character"].shots)
    assert abs(attacked["noise"].shots[0].mean() - 127.5) < 2


def test_a_file_comes_back_as_a_film_of_its_size_and_rate(stories: list[StoryPrediction], tmp_path: Path) -> None:
    path = tmp_path / "shot.mp4"
    write_video(path, stories[0].shots[0], Fraction(24000, 1001))
    story = replace(stories[0], shots=(path, tmp_path / "gone.mp4"), scene_ids=())
    frozen = next(iter(attack_stories([story], "frozen")))
    info = probe(frozen.shots[0])
    assert (info.num_frames, info.width, info.height) == (12, 160, 96)
    assert info.frame_rate == Fraction(24000, 1001)
    frames = read_frames(frozen.shots[0], [0, 11]).astype(int)
    assert np.abs(frames[0] - frames[1]).mean() < 1
    assert frozen.shots[1] == tmp_path / "gone.mp4"


def test_a_story_of_one_shot_of_one_frame_can_be_attacked(stories: list[StoryPrediction]) -> None:
    tiny = np.zeros((1, 16, 16, 3), np.uint8)
    short = replace(stories[0], shots=(tiny,), scene_ids=())
    for kind in set(ATTACKS) - {"wrong_character"}:
        assert next(iter(attack_stories([short], kind))).shots[0].shape == tiny.shape


def test_what_cannot_be_attacked_is_refused(stories: list[StoryPrediction]) -> None:
    for kind, given, message in (
        ("melted", stories, "no attack 'melted'"),
        ("sticker", [replace(stories[0], references=())], "no reference"),
        ("pasted", [replace(stories[0], references=(np.zeros((9, 9, 4), np.uint8),))], "fully transparent"),
        ("wrong_character", stories[:2], "at least two IPs"),
    ):
        with pytest.raises(InputError, match=message):
            list(attack_stories(given, kind))
