"""The paper's rules for masks: each rejects what it should, with its reason and its numbers."""

import numpy as np
import pytest
from numpy.typing import NDArray

from animeshooter_hf import Character, Shot, Story
from animeshooter_hf.dataset_builder.references.candidates import (
    ReferenceSettings,
    candidate_frames,
    choose_references,
    count_reasons,
)
from animeshooter_hf.dataset_builder.references.rules import MaskRules, clean_mask
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
