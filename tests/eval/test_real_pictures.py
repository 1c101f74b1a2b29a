"""What the classical backend can tell on pictures that were not made for it: the paper's demos and toon films."""

from pathlib import Path

import pytest

from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import evaluate_stories

DEMOS = Path(__file__).resolve().parents[2].parent / "shared" / "release-sample" / "demos"


@pytest.fixture(scope="module")
def demos() -> Results:
    if not DEMOS.is_dir():
        pytest.skip("the sample of the public release is not beside the checkout")
    return evaluate_stories(read_predictions(DEMOS))


def test_the_demos_are_four_stories_of_four_shots_by_three_characters(demos: Results) -> None:
    coverage = demos.to_json()["coverage"]
    assert coverage == {"stories": 4, "ips": 3, "shots": 16, "shots_with_problems": 0}


def test_own_references_rank_above_those_of_other_characters(demos: Results) -> None:
    assert demos.value("reference_fidelity", "auc") >= 0.90
    assert demos.value("reference_fidelity", "retrieval_at_1") >= 0.75


def test_every_demo_story_has_a_mean_and_a_harmean_p(demos: Results) -> None:
    for scores in demos.stories.values():
        values = scores["reference_fidelity"].values
        assert values["min"] ** 2 <= values["harmean_p"] <= values["min"] * values["mean"]
    table = demos.table()
    assert all(story_id in table for story_id in demos.stories)


def test_five_frames_stand_for_all_of_them(demos: Results) -> None:
    every = evaluate_stories(read_predictions(DEMOS), "reference_fidelity", frames_per_shot=1000)
    for few, all_frames in zip(demos.shots, every.shots, strict=True):
        assert few.values["reference_fidelity/fidelity"] == pytest.approx(
            all_frames.values["reference_fidelity/fidelity"], abs=0.03
        )
    assert demos.value("reference_fidelity", "mean") == pytest.approx(
        every.value("reference_fidelity", "mean"), abs=0.005
    )
