"""Films that hang together stay in one split; without groups the splits are what they were."""

import hashlib
from pathlib import Path

import pytest

from animeshooter_hf import Story
from animeshooter_hf.dataset_builder.package import SplitSettings, split_videos, write_dataset
from animeshooter_hf.dataset_builder.quality.leakage import check_leakage, leak_safe_groups

VIDEOS = [f"film-{number:03d}" for number in range(200)]


def split_as_before(video_ids: list[str], settings: SplitSettings) -> dict[str, list[str]]:
    """How videos were divided before there were groups."""
    ranked = sorted(set(video_ids), key=lambda name: hashlib.sha256(f"{settings.seed}:{name}".encode()).hexdigest())
    if len(ranked) < 10:
        return {"train": sorted(ranked)}
    tests = round(len(ranked) * settings.test)
    validations = round(len(ranked) * settings.validation)
    parts = {
        "train": ranked[tests + validations :],
        "validation": ranked[tests : tests + validations],
        "test": ranked[:tests],
    }
    return {split: sorted(names) for split, names in parts.items() if names}


@pytest.mark.parametrize("count", [1, 9, 10, 11, 30, 57, 200])
@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.2, 0.1), (0, 0.3), (0.5, 0.49)])
def test_without_groups_and_with_groups_of_one_the_splits_are_what_they_were(
    count: int, shares: tuple[float, float]
) -> None:
    for seed in range(5):
        settings = SplitSettings(seed=seed, validation=shares[0], test=shares[1])
        before = split_as_before(VIDEOS[:count], settings)
        alone = {name: name for name in VIDEOS}
        assert split_videos(VIDEOS[:count], settings) == before
        assert list(split_videos(VIDEOS[:count], settings)) == list(before)
        assert split_videos(VIDEOS[:count], settings, alone) == before


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_groups_stay_whole_and_the_shares_are_near_to_what_was_asked(size: int) -> None:
    groups = {name: f"series {number // size}" for number, name in enumerate(VIDEOS)}
    for seed in range(10):
        parts = split_videos(VIDEOS, SplitSettings(seed=seed), groups)
        assert check_leakage(parts, groups) == []
        assert sorted(name for names in parts.values() for name in names) == VIDEOS
        for split in ("test", "validation"):
            assert abs(len(parts[split]) - 10) <= size / 2, (split, len(parts[split]))


def test_the_splits_do_not_depend_on_the_order_and_do_on_the_seed() -> None:
    groups = {name: f"series {number // 4}" for number, name in enumerate(VIDEOS)}
    one = split_videos(VIDEOS, SplitSettings(seed=1), groups)
    assert one == split_videos(VIDEOS[::-1], SplitSettings(seed=1), dict(reversed(groups.items())))
    assert one != split_videos(VIDEOS, SplitSettings(seed=2), groups)


def test_one_huge_series_is_all_for_training() -> None:
    assert split_videos(VIDEOS[:20], SplitSettings(), dict.fromkeys(VIDEOS, "series")) == {"train": VIDEOS[:20]}


def test_a_huge_series_does_not_crowd_the_held_out_splits() -> None:
    groups = {name: "series" if number < 150 else name for number, name in enumerate(VIDEOS)}
    parts = split_videos(VIDEOS, SplitSettings(), groups)
    assert [len(parts[split]) for split in ("train", "validation", "test")] == [180, 10, 10]


def test_copies_channels_and_shared_characters_join_groups_through_each_other() -> None:
    groups = leak_safe_groups(
        ["a", "b", "c", "d", "e", "f"],
        duplicate_groups=[("a", "b")],
        channels={"b": "Studio", "c": "studio ", "d": None, "e": "", "f": "Other"},
        identity_links=[("c", "d")],
    )
    assert groups == {"a": "a", "b": "a", "c": "a", "d": "a", "e": "e", "f": "f"}


def test_links_to_videos_that_are_not_there_join_nobody() -> None:
    assert leak_safe_groups(["a", "b"], [("a", "gone"), ("gone",)], {"gone": "Studio"}) == {"a": "a", "b": "b"}


def test_every_kind_of_leak_is_found() -> None:
    groups = {"a": "a", "b": "a", "c": "c", "d": "d"}
    found = check_leakage({"train": ["a", "c"], "test": ["b", "c", "x"]}, groups)
    assert [(one.code, one.group) for one in found] == [
        ("group_in_two_splits", "a"),
        ("group_in_two_splits", "c"),
        ("video_in_no_split", "d"),
        ("video_in_two_splits", "c"),
        ("video_without_group", "x"),
    ]
    assert found[0].videos == {"test": ("b",), "train": ("a",)}


def test_splits_by_groups_leak_nothing() -> None:
    groups = leak_safe_groups(VIDEOS, [VIDEOS[:3]], {name: f"channel {name[-1]}" for name in VIDEOS[50:]})
    assert check_leakage(split_videos(VIDEOS, SplitSettings(seed=4), groups), groups) == []


def test_a_written_dataset_keeps_groups_together(tmp_path: Path) -> None:
    stories = [Story(video_id=name, story_id=f"{name}_000") for name in VIDEOS[:30]]
    groups = {name: f"series {number // 3}" for number, name in enumerate(VIDEOS[:30])}
    shares = SplitSettings(validation=0.2, test=0.2)
    splits = write_dataset(tmp_path / "out", stories, splits=shares, groups=groups, progress=False).splits
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [18, 6, 6]
    assert check_leakage(splits, groups) == []
