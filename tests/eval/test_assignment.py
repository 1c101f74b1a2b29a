"""Who is who in shots of several characters: the arithmetic, and the metric on drawn stories of two."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from animeshooter_hf.eval.assignment import ASSIGNMENT_NAMES, assign, shot_assignment
from animeshooter_hf.eval.regions import Region
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.story_prediction import StoryPrediction

PLACES = (40, 120)
NAMES = ("fox", "witch")


def region(place: int) -> Region:
    return Region(frame=0, box=((place - 26) / 160, 14 / 96, (place + 26) / 160, 86 / 96))


def draw_pair(drawn: SimpleNamespace, looks: Sequence[str], *, num_frames: int = 6) -> np.ndarray:
    """Return a shot, uint8 (frames, 96, 160, 3), with one figure at each place."""
    frames = np.full((num_frames, 96, 160, 3), (150, 190, 120), np.uint8)
    for look, place in zip(looks, PLACES, strict=False):
        cutout = cv2.resize(drawn.reference(look), (48, 64))
        inside = cutout[..., 3:] > 127
        part = frames[:, 18:82, place - 24 : place + 24]
        part[:] = np.where(inside, cutout[..., :3], part)
    return frames


def pair_story(drawn: SimpleNamespace, *looks: Sequence[str], unnamed: bool = False) -> StoryPrediction:
    """Return a story whose script puts the fox at the left and the witch at the right of every shot."""
    keys = ("?0", "?1") if unnamed else NAMES
    regions = tuple({key: [region(place)] for key, place, _ in zip(keys, PLACES, here, strict=False)} for here in looks)
    return StoryPrediction(
        story_id="pair",
        ip_id="pair",
        shots=tuple(draw_pair(drawn, here) for here in looks),
        references=tuple(drawn.reference(name) for name in NAMES),
        reference_characters=NAMES,
        shot_characters=(NAMES,) * len(looks),
        regions=regions,
    )


def score(*stories: StoryPrediction) -> Results:
    return evaluate_stories(stories, "character_assignment", draws=0)


def values(story: StoryPrediction) -> dict[str, float | None]:
    return dict(score(story).stories[story.story_id]["character_assignment"].values)


def test_the_assignment_is_as_good_as_scipy_s() -> None:
    rng = np.random.default_rng(1)
    for trial in range(300):
        shape = tuple(rng.integers(0, 8, 2))
        scores_NM = rng.normal(size=shape) if trial % 2 else rng.integers(0, 3, shape).astype(float)
        pairs = assign(scores_NM)
        rows, columns = linear_sum_assignment(scores_NM, maximize=True)
        assert sum(scores_NM[pair] for pair in pairs) == pytest.approx(scores_NM[rows, columns].sum(), abs=1e-9)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs) == min(shape)
        assert pairs == sorted(pairs)


@pytest.mark.parametrize("scores", [np.array([[np.nan, 1.0]]), np.array([[np.inf]]), np.zeros(3)])
def test_scores_that_are_no_finite_matrix_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        assign(scores)


def test_the_numbers_of_a_shot_made_by_hand() -> None:
    similarity_RC = np.array([[0.9, 0.4, 0.1], [0.3, 0.6, 0.7]])
    made = shot_assignment(similarity_RC, ["a", "b"], ["a", "b", "c"], ["a", "b"])
    assert made == {
        "cast_fidelity": pytest.approx(0.75),
        "assigned_fidelity": pytest.approx(0.75),
        "binding_accuracy": 0.5,  # b's region is more like c
        "swap_margin": pytest.approx((0.5 - 0.1) / 2),
        "found_rate": 1.0,
        "count_error": 0.0,
        "unscheduled_regions": 0.0,
    }


def test_an_assignment_gives_up_the_best_pair_where_the_whole_gains() -> None:
    made = shot_assignment(np.array([[0.9, 0.8], [0.8, 0.1]]), [None, None], ["a", "b"], ["a", "b"])
    assert made["assigned_fidelity"] == pytest.approx(0.8)
    assert made["binding_accuracy"] == pytest.approx(0.5)


def test_somebody_who_is_missing_or_too_many_lowers_the_cast_s_fidelity_only() -> None:
    whole = shot_assignment(np.array([[0.8, 0.1], [0.1, 0.8]]), [None, None], ["a", "b"], ["a", "b"])
    one = shot_assignment(np.array([[0.8, 0.1]]), [None], ["a", "b"], ["a", "b"])
    three = shot_assignment(np.array([[0.8, 0.1], [0.1, 0.8], [0.2, 0.1]]), [None] * 3, ["a", "b"], ["a", "b"])
    assert whole["assigned_fidelity"] == one["assigned_fidelity"] == three["assigned_fidelity"] == pytest.approx(0.8)
    assert whole["cast_fidelity"] == pytest.approx(0.8)
    assert one["cast_fidelity"] == pytest.approx(1.6 / 3)
    assert three["cast_fidelity"] == pytest.approx(3.2 / 5)
    assert (one["found_rate"], three["found_rate"]) == (0.5, 1.0)
    assert (one["count_error"], three["count_error"]) == (1.0, 1.0)
    assert (one["unscheduled_regions"], three["unscheduled_regions"]) == (0.0, 1.0)


def test_a_character_of_another_shot_cannot_stand_in_for_one_who_is_scheduled() -> None:
    made = shot_assignment(np.array([[0.7, 0.2], [0.6, 0.9]]), ["a", "b"], ["a", "b"], ["a"])
    assert made["assigned_fidelity"] == pytest.approx(0.7)
    assert made["unscheduled_regions"] == made["count_error"] == 1.0
    lost = shot_assignment(np.array([[0.6, 0.9]]), ["b"], ["a", "b"], ["a"])
    assert lost["found_rate"] == 0.0
    assert lost["assigned_fidelity"] is None


def test_an_unnamed_region_stands_for_whom_no_name_claims() -> None:
    similarity_RC = np.array([[0.2, 0.9], [0.3, 0.8]])
    made = shot_assignment(similarity_RC, ["a", None], ["a", "b"], ["a", "b"])
    assert made["cast_fidelity"] == pytest.approx((0.2 + 0.8) / 2)
    assert made["assigned_fidelity"] == pytest.approx((0.9 + 0.3) / 2)
    assert (made["binding_accuracy"], made["found_rate"]) == (0.5, 1.0)


def test_a_cast_of_whom_nobody_is_found_has_no_likeness_and_no_binding() -> None:
    made = shot_assignment(np.zeros((0, 2)), [], ["a", "b"], ["a", "b"])
    assert made["assigned_fidelity"] is made["binding_accuracy"] is made["swap_margin"] is None
    assert (made["found_rate"], made["cast_fidelity"], made["count_error"]) == (0.0, 0.0, 2.0)


def test_similarities_of_another_shape_and_casts_without_a_reference_are_refused() -> None:
    with pytest.raises(ValueError, match="per region and character"):
        shot_assignment(np.zeros((1, 3)), ["a"], ["a", "b"], ["a"])
    with pytest.raises(ValueError, match="Nobody who is scheduled"):
        shot_assignment(np.zeros((1, 1)), ["a"], ["a"], ["b"])


@pytest.mark.parametrize("unnamed", [False, True])
def test_characters_who_are_themselves_are_bound_and_found(drawn: SimpleNamespace, unnamed: bool) -> None:
    made = values(pair_story(drawn, NAMES, NAMES, unnamed=unnamed))
    assert (made["binding_accuracy"], made["found_rate"], made["count_error"]) == (1.0, 1.0, 0.0)
    assert made["cast_fidelity"] == made["assigned_fidelity"]
    assert made["swap_margin"] > 0.2


def test_characters_who_swapped_places_lose_their_binding_and_keep_their_likeness(drawn: SimpleNamespace) -> None:
    right = values(pair_story(drawn, NAMES, NAMES))
    swapped = values(pair_story(drawn, NAMES, NAMES[::-1]))
    assert swapped["binding_accuracy"] == 0.5
    assert swapped["swap_margin"] < right["swap_margin"] - 0.2
    assert swapped["cast_fidelity"] < right["cast_fidelity"] - 0.1
    assert swapped["assigned_fidelity"] == pytest.approx(right["assigned_fidelity"], abs=0.01)


@pytest.mark.parametrize("unnamed", [False, True])
@pytest.mark.parametrize("instead", ["frog", "fox"])
def test_a_character_who_is_replaced_by_another_lowers_the_likeness(
    drawn: SimpleNamespace, unnamed: bool, instead: str
) -> None:
    right = values(pair_story(drawn, NAMES, NAMES, unnamed=unnamed))
    wrong = values(pair_story(drawn, NAMES, ("fox", instead), unnamed=unnamed))
    for name in ("cast_fidelity", "assigned_fidelity", "swap_margin"):
        assert wrong[name] < right[name] - 0.05, name
    if instead == "fox":
        assert wrong["binding_accuracy"] < right["binding_accuracy"]


def test_a_character_who_is_left_out_lowers_what_is_found_and_the_headline(drawn: SimpleNamespace) -> None:
    made = values(pair_story(drawn, NAMES, NAMES[:1]))
    whole = values(pair_story(drawn, NAMES, NAMES))
    assert (made["found_rate"], made["count_error"]) == (0.75, 0.5)
    assert made["cast_fidelity"] < whole["cast_fidelity"] - 0.1


def test_unnamed_regions_leave_other_metrics_as_they_are(drawn: SimpleNamespace) -> None:
    story = pair_story(drawn, NAMES, NAMES, unnamed=True)
    with_them = evaluate_stories([story], "reference_fidelity", draws=0)
    without = evaluate_stories([replace(story, regions=())], "reference_fidelity", draws=0)
    assert with_them.value("reference_fidelity", "mean") == without.value("reference_fidelity", "mean")


def test_what_cannot_be_asked_is_skipped_with_its_reason(drawn: SimpleNamespace) -> None:
    whole = pair_story(drawn, NAMES, NAMES)
    alone = replace(
        whole,
        story_id="alone",
        references=whole.references[:1],
        reference_characters=("fox",),
        shot_characters=(("fox",),) * 2,
        regions=tuple({"fox": shot["fox"]} for shot in whole.regions),
    )
    untold = replace(whole, story_id="untold", regions=())
    partly = replace(whole, story_id="partly", regions=({}, whole.regions[1]))
    empty = replace(whole, story_id="empty", shot_characters=((), NAMES))
    results = score(alone, untold, partly, empty)
    reasons = {
        (shot.story_id, shot.shot_index): shot.problems.get("character_assignment", "") for shot in results.shots
    }
    assert "fewer than two characters" in reasons["alone", 0]
    assert reasons["untold", 1] == reasons["partly", 0] == "No region of it is told."
    assert reasons["empty", 0] == "Nobody should be seen in it."
    assert reasons["partly", 1] == reasons["empty", 1] == ""
    counts = {name: scores["character_assignment"].n_skipped for name, scores in results.stories.items()}
    assert counts == {"alone": 2, "untold": 2, "partly": 1, "empty": 1}
    assert all(value is None for value in results.stories["alone"]["character_assignment"].values.values())
    assert results.corpus["character_assignment"]["cast_fidelity"].n_skipped == 2


def test_a_broken_shot_or_reference_has_failed(drawn: SimpleNamespace) -> None:
    whole = pair_story(drawn, NAMES, NAMES)
    gone = replace(whole, story_id="gone", shots=("gone.mp4", whole.shots[1]))
    torn = replace(whole, story_id="torn", references=(whole.references[0], b"no picture"))
    results = score(gone, torn)
    counts = {name: scores["character_assignment"].n_failed for name, scores in results.stories.items()}
    assert counts == {"gone": 1, "torn": 2}


def test_somebody_without_a_reference_is_counted_and_blocks_unnamed_regions(drawn: SimpleNamespace) -> None:
    trio = replace(
        pair_story(drawn, NAMES, NAMES, unnamed=True), story_id="unnamed", shot_characters=((*NAMES, "owl"), NAMES)
    )
    named = replace(pair_story(drawn, NAMES, NAMES), shot_characters=((*NAMES, "owl"), NAMES))
    results = score(trio, named)
    assert "owl" in results.shots[0].problems["character_assignment"]
    made = results.stories["pair"]["character_assignment"].values
    assert made["characters_without_reference"] == 1.0
    assert (made["count_error"], made["found_rate"]) == (0.5, 1.0)


def test_the_order_of_stories_and_of_regions_changes_nothing(drawn: SimpleNamespace) -> None:
    first = pair_story(drawn, NAMES, NAMES[::-1])
    second = replace(pair_story(drawn, NAMES[::-1], NAMES), story_id="other")
    turned = replace(first, regions=tuple(dict(reversed(shot.items())) for shot in first.regions))
    forwards, backwards = score(first, second), score(second, turned)
    for name in ASSIGNMENT_NAMES:
        assert forwards.value("character_assignment", name) == backwards.value("character_assignment", name)
