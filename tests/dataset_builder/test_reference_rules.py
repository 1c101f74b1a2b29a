"""The paper's rules for masks: each rejects what it should, with its reason and its numbers."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from animeshooter_hf import Character, Shot, Story
from animeshooter_hf.dataset_builder.references.candidates import (
    ReferenceSettings,
    candidate_frames,
    choose_references,
    count_reasons,
)
from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask


def disc(radius: int, size: int = 200) -> NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size]
    return (x - size // 2) ** 2 + (y - size // 2) ** 2 < radius**2


def dots(count: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros((200, 200), bool)
    for number in range(count):
        row, column = divmod(number, 6)
        mask[row * 30 + 5 : row * 30 + 5 + side, column * 30 + 5 : column * 30 + 5 + side] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (disc(60), None),
        (disc(20), "too_small"),
        (np.ones((200, 200), bool), "too_large"),
        (np.zeros((200, 200), bool), "too_small"),
        (dots(6, 20) | disc(40), "too_many_components"),
        (dots(16, 20), "too_many_contours"),
    ],
)
def test_each_rule_rejects_what_it_should(mask: NDArray[np.bool_], reason: str | None) -> None:
    assert clean_mask(mask).reason == reason


def judge_otherwise(mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int, int, str | None]:
    """The paper's rules written anew on scipy: mask, contours, components, reason.

    A contour is the outer line of a component or the line around a hole, so they are counted by labelling the figure
    (8-connected) and the ground (4-connected, less the part that reaches the frame's surroundings).
    """
    square = np.ones((5, 5), bool)
    opened = ndimage.binary_dilation(ndimage.binary_erosion(mask, square, border_value=1), square)
    closed = ndimage.binary_erosion(ndimage.binary_dilation(opened, square), square, border_value=1)
    labels, components = ndimage.label(closed, np.ones((3, 3)))
    _, grounds = ndimage.label(np.pad(~closed, 1, constant_values=True))
    contours = components + grounds - 1
    sizes = np.bincount(labels.ravel(), minlength=components + 1)[1:]
    kept = labels == 1 + int(sizes.argmax()) if components else np.zeros_like(mask)
    share = kept.sum() / kept.size
    for is_broken, reason in (
        (contours > 15, "too_many_contours"),
        (components > 5, "too_many_components"),
        (share < 0.05, "too_small"),
        (share > 0.90, "too_large"),
    ):
        if is_broken:
            return kept, contours, components, reason
    return kept, contours, components, None


def scribble(seed: int) -> NDArray[np.bool_]:
    """A random figure: ellipses added and cut out, stripes, salt."""
    random = np.random.default_rng(seed)
    height, width = (int(one) for one in random.integers(40, 160, 2))
    y, x = np.mgrid[:height, :width]
    mask = np.full((height, width), random.random() < 0.1)
    for number in range(int(random.integers(1, 26))):
        cx, cy = random.uniform(0, width), random.uniform(0, height)
        rx, ry = random.uniform(2, width / 2), random.uniform(2, height / 2)
        if number > 2:
            rx, ry = min(rx, 9), min(ry, 9)
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        mask = mask | inside if random.random() < 0.6 else mask & ~inside
    if random.random() < 0.2:
        mask &= (x // int(random.integers(3, 9))) % 2 == 0
    return mask ^ (random.random(mask.shape) < random.choice([0, 0.01, 0.1]))


def test_the_rules_agree_with_a_second_implementation_on_random_figures() -> None:
    seen = set()
    for seed in range(250):
        mask = scribble(seed)
        ours = clean_mask(mask)
        kept, contours, components, reason = judge_otherwise(mask)
        assert (ours.num_contours, ours.num_components, ours.reason) == (contours, components, reason), seed
        if reason is None:
            np.testing.assert_array_equal(ours.mask, kept)
        seen.add(reason)
    assert seen == {None, "too_many_contours", "too_many_components", "too_small", "too_large"}


def holes(count: int) -> NDArray[np.bool_]:
    mask = np.zeros((200, 200), bool)
    mask[5:195, 5:195] = True
    for number in range(count):
        row, column = divmod(number, 6)
        mask[row * 30 + 15 : row * 30 + 25, column * 30 + 15 : column * 30 + 25] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.random.default_rng(0).random((200, 200)) < 0.03, "too_small"),  # salt alone is opened away
        (disc(60) ^ (np.random.default_rng(1).random((200, 200)) < 0.002), None),  # a little salt does no harm
        (disc(60) ^ (np.random.default_rng(1).random((200, 200)) < 0.1), "too_many_components"),  # more of it tears
        (np.repeat(np.arange(200) // 8 % 2 == 0, 200).reshape(200, 200), "too_many_components"),  # 13 stripes
        (np.repeat(np.arange(200) // 6 % 2 == 0, 200).reshape(200, 200), "too_many_contours"),  # 17 stripes
        (holes(14), None),
        (holes(15), "too_many_contours"),
        (dots(5, 20), "too_small"),
        (holes(0) | True, "too_large"),
        (disc(60) & ~disc(57), "too_small"),
    ],
)
def test_corrupted_masks_are_rejected_by_the_rule_that_should(mask: NDArray[np.bool_], reason: str | None) -> None:
    assert judge_otherwise(mask)[3] == reason
    assert clean_mask(mask).reason == reason


def test_limits_are_inclusive_as_the_paper_says_more_than_and_below() -> None:
    half = np.zeros((100, 100), bool)
    half[:, :5] = True
    assert clean_mask(half).reason is None  # exactly 5 %
    half[:, :90] = True
    assert clean_mask(half).reason is None  # exactly 90 %
    half[0, 90:96] = half[:6, 90:96] = True
    assert clean_mask(half).reason == "too_large"
    five = dots(5, 20)
    five[:, 150:] = False
    assert clean_mask(five | disc(0)).num_components == 5


def test_specks_are_opened_away_and_pinholes_closed() -> None:
    mask = disc(60)
    mask[100, 100] = False
    mask[3, 3] = True
    cleaned = clean_mask(mask)
    assert cleaned.reason is None
    assert cleaned.mask[100, 100]
    assert not cleaned.mask[3, 3]
    assert (cleaned.num_components, cleaned.num_contours) == (1, 1)


def test_the_largest_component_is_kept() -> None:
    mask = disc(60)
    mask[:20, :20] = True
    assert not clean_mask(mask).mask[:20, :20].any()


def test_impossible_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="min_area"):
        MaskRules(min_area=0.9, max_area=0.1)
    with pytest.raises(ValueError, match="must be positive"):
        ReferenceSettings(frames_per_second=0)


def told() -> Story:
    shots = [
        Shot(shot_id="a", index=0, start_frame=0, end_frame=60, characters=("Mia",)),
        Shot(shot_id="b", index=1, start_frame=60, end_frame=120),
        Shot(shot_id="c", index=2, start_frame=120, end_frame=200, characters=("Mia",)),
    ]
    return Story(video_id="v", story_id="v_000", frame_rate=24, characters=[Character(id="Mia")], shots=shots)  # type: ignore[arg-type]


def test_candidates_come_once_a_second_from_the_shots_of_the_character_only() -> None:
    frames = list(candidate_frames(told(), "Mia", ReferenceSettings()))
    assert frames == [12, 36, 132, 156, 180]
    assert list(candidate_frames(told(), "Nobody", ReferenceSettings())) == []


class Masks:
    """Seen large in the first shot, small in the third, except once."""

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        if frame == 180:
            return None
        mask = disc(60 if frame < 60 else 20)
        mask[100, 100] = False
        return RleMask.from_array(mask)


def test_exact_masks_are_kept_as_they_are_and_rejects_are_counted() -> None:
    kept, verdicts = choose_references(told(), Masks())
    assert [(one.character_id, one.frame_index) for one in kept] == [("Mia", 12), ("Mia", 36)]
    assert kept[0].mask == Masks().mask_at("Mia", 12)
    assert count_reasons(verdicts) == {"kept": 2, "not_seen": 1, "too_small": 2}
    assert verdicts[2].area == pytest.approx(1257 / 40_000, rel=0.1)


def test_masks_of_a_model_are_kept_cleaned() -> None:
    kept, _ = choose_references(told(), Masks(), masks_are_exact=False)
    assert kept[0].mask is not None
    assert kept[0].mask.to_array()[100, 100]


def test_no_more_references_than_asked_are_kept_evenly() -> None:
    kept, _ = choose_references(told(), Masks(), ReferenceSettings(frames_per_second=8, max_per_character=4))
    assert len(kept) == 4
    assert kept[0].frame_index < 15
    assert kept[-1].frame_index > 40


def cut_into(*edges: int, rate: Fraction = Fraction(24)) -> Story:
    shots = [
        Shot(shot_id=f"s{n}", index=n, start_frame=a, end_frame=b, characters=("Mia",) if n % 2 == 0 else ())
        for n, (a, b) in enumerate(pairwise(edges))
    ]
    return Story(video_id="v", story_id="v_000", frame_rate=rate, characters=(Character(id="Mia"),), shots=tuple(shots))


def sampled_candidates(story: Story, sampled: list[int], avoid: list[tuple[int, int]] | None = None) -> list[int]:
    return list(candidate_frames(story, "Mia", ReferenceSettings(), sampled, avoid=avoid or []))


def test_sampled_candidates_lie_inside_the_characters_shots_and_never_on_the_next_ones_first_frame() -> None:
    assert sampled_candidates(cut_into(0, 48, 96, 144), [0, 24, 47, 48, 72, 96, 120, 144]) == [0, 24, 47, 96, 120]
    assert sampled_candidates(cut_into(0, 48), [24, 0, 24]) == [0, 24]


def test_a_shot_without_a_sample_gives_its_middle_frame() -> None:
    assert sampled_candidates(cut_into(0, 10, 20, 31), [0, 12, 24][:1]) == [0, 25]
    assert sampled_candidates(cut_into(5, 6), []) == [5]


def test_samples_that_are_closer_than_the_rate_allows_are_left_out() -> None:
    assert sampled_candidates(cut_into(0, 96), list(range(0, 96, 6))) == [0, 18, 36, 54, 72, 90]
    assert sampled_candidates(cut_into(0, 96), [0, 23, 48, 71]) == [0, 23, 48, 71]


def test_frames_of_transitions_are_avoided() -> None:
    story = cut_into(0, 48, 96, 144)
    assert sampled_candidates(story, [2, 26, 100, 140], [(44, 52), (92, 101), (138, 144)]) == [2, 26, 120]
    assert sampled_candidates(story, [], [(0, 30)]) == [30, 120]
    assert sampled_candidates(cut_into(0, 10), [4], [(0, 10)]) == []
    assert list(candidate_frames(story, "Mia", ReferenceSettings(), avoid=[(0, 48)])) == [108, 132]


def test_a_story_without_a_frame_rate_has_no_candidates() -> None:
    story = Story(video_id="v", story_id="v_000", characters=(Character(id="Mia"),))
    with pytest.raises(InputError, match="has no frame rate"):
        list(candidate_frames(story, "Mia", ReferenceSettings(), [1]))
