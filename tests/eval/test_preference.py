"""Bradley-Terry with ties and position, against choix and against votes drawn from known strengths."""

import math

import choix
import numpy as np
import pytest
from scipy import optimize

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.preference import Comparison, elo, fit_preference, rank_systems

TRUE = {"a": 0.9, "b": 0.2, "c": -0.3, "d": -0.8}


def drawn_votes(count: int, seed: int, *, tie: float | None = None, position: float = 0.0) -> list[Comparison]:
    """Votes as the model says."""
    rng = np.random.default_rng(seed)
    votes = []
    for number in range(count):
        left, right = rng.choice(list(TRUE), 2, replace=False)
        gap = TRUE[left] - TRUE[right] + position
        weights = np.array([math.exp(gap / 2), 0.0 if tie is None else math.exp(tie), math.exp(-gap / 2)])
        answer = ("left", "tie", "right")[rng.choice(3, p=weights / weights.sum())]
        votes.append(
            Comparison(
                left=str(left), right=str(right), answer=answer,
                rater=f"r{number % 8}", story_id=f"s{number % 20}", ip_id=f"ip{number % 20 // 4}",
            )
        )  # fmt: skip
    return votes


def test_without_ties_strengths_are_those_of_choix() -> None:
    for seed in range(3):
        votes = drawn_votes(300, seed)
        ours = fit_preference(votes, with_position=False)
        place = {name: at for at, name in enumerate(ours.systems)}
        data = [
            (place[vote.left], place[vote.right]) if vote.answer == "left" else (place[vote.right], place[vote.left])
            for vote in votes
        ]
        theirs = choix.ilsr_pairwise(4, data, max_iter=10_000, tol=1e-10)
        assert np.abs(np.array(ours.strengths) - theirs).max() < 1e-6
        assert ours.tie is None


def test_two_systems_have_the_log_odds_of_their_votes() -> None:
    votes = [Comparison(left="a", right="b", answer="left")] * 30 + [
        Comparison(left="a", right="b", answer="right")
    ] * 10
    found = fit_preference(votes, with_position=False)
    assert found.strengths[0] - found.strengths[1] == pytest.approx(math.log(3), abs=1e-9)
    assert found.win_chance("a", "b") == pytest.approx(0.75, abs=1e-9)


def test_with_ties_and_position_it_is_the_maximum_of_the_likelihood_found_by_scipy() -> None:
    votes = drawn_votes(400, 4, tie=-0.3, position=0.5)
    ours = fit_preference(votes)
    names = list(ours.systems)

    def loss(parameters: np.ndarray) -> float:
        total = 0.0
        for vote in votes:
            gap = parameters[names.index(vote.left)] - parameters[names.index(vote.right)] + parameters[4]
            weights = {"left": gap / 2, "tie": parameters[5], "right": -gap / 2}
            total -= weights[vote.answer] - np.logaddexp.reduce(list(weights.values()))
        return total + parameters[:4].mean() ** 2

    theirs = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-5}).x
    assert ours.strengths == pytest.approx(theirs[:4] - theirs[:4].mean(), abs=1e-4)
    assert (ours.position, ours.tie) == pytest.approx(tuple(theirs[4:]), abs=1e-4)


def test_known_strengths_ties_and_position_come_back() -> None:
    found = fit_preference(drawn_votes(6000, 5, tie=-0.5, position=0.4))
    assert found.strengths == pytest.approx(list(TRUE.values()), abs=0.12)
    assert found.position == pytest.approx(0.4, abs=0.1)
    assert found.tie == pytest.approx(-0.5, abs=0.1)


def test_a_side_that_wins_more_often_is_position_and_no_strength() -> None:
    votes = [Comparison(left="a", right="b", answer="left")] * 30 + [
        Comparison(left="b", right="a", answer="left")
    ] * 30
    votes += [Comparison(left="a", right="b", answer="right"), Comparison(left="b", right="a", answer="right")]
    found = fit_preference(votes)
    assert found.strengths == pytest.approx([0.0, 0.0], abs=1e-9)
    assert found.position == pytest.approx(math.log(30), abs=1e-6)
    assert found.win_chance("a", "b") == pytest.approx(0.5)


def test_no_order_of_the_votes_changes_a_ranking() -> None:
    votes = drawn_votes(200, 6, tie=-0.5)
    once, again = rank_systems(votes, draws=50), rank_systems(votes[::-1], draws=50)
    for one, other in zip(once.systems, again.systems, strict=True):
        assert one.system == other.system
        assert (one.strength, one.low, one.high) == pytest.approx((other.strength, other.low, other.high), abs=1e-9)


def test_a_system_that_always_wins_has_no_finite_strength_and_is_named() -> None:
    votes = [Comparison(left="a", right="b", answer="left"), Comparison(left="b", right="a", answer="right")] * 5
    votes += [Comparison(left="b", right="c", answer="left"), Comparison(left="c", right="b", answer="left")]
    with pytest.raises(InputError, match="b, c never beat nor tied a"):
        fit_preference(votes)
    ranking = rank_systems(votes, draws=50)
    assert ranking.systems[0].system == "a"
    assert ranking.systems[0].strength < 10


def test_systems_that_were_never_compared_have_no_common_scale() -> None:
    votes = [
        Comparison(left=left, right=right, answer=answer)
        for left, right in ("ab", "cd")
        for answer in ("left", "right")
    ]
    with pytest.raises(InputError, match="never beat nor tied"):
        fit_preference(votes)


def test_votes_that_are_all_ties_or_all_for_one_side_need_a_prior() -> None:
    ties = [Comparison(left="a", right="b", answer="tie")] * 4
    with pytest.raises(InputError, match="Every vote is a tie"):
        fit_preference(ties)
    sides = [Comparison(left=left, right=right, answer="left") for left, right in ("ab", "ba")] * 4
    with pytest.raises(InputError, match="no finite best answer"):
        fit_preference(sides)
    assert fit_preference(ties, prior_sd=3.0).strengths == pytest.approx([0.0, 0.0])
    assert fit_preference(sides, prior_sd=3.0).position > 1


def test_position_that_cannot_be_told_from_strength_is_refused() -> None:
    votes = [Comparison(left="a", right="b", answer=answer) for answer in ("left", "left", "right")]
    with pytest.raises(InputError, match="both orders"):
        fit_preference(votes)
    assert fit_preference(votes, with_position=False).position == 0.0


def test_the_prior_hardly_moves_strengths_that_many_votes_support() -> None:
    votes = drawn_votes(400, 7)
    free, held = fit_preference(votes), fit_preference(votes, prior_sd=3.0)
    assert held.strengths == pytest.approx(free.strengths, abs=0.02)


def test_intervals_hold_the_true_strengths_and_the_best_is_named() -> None:
    ranking = rank_systems(drawn_votes(800, 8, tie=-0.5), draws=300)
    assert [one.system for one in ranking.systems] == list("abcd")
    for one in ranking.systems:
        assert one.low is not None
        assert one.high is not None
        assert one.low < TRUE[one.system] < one.high
    assert ranking.systems[0].best_share is not None
    assert ranking.systems[0].best_share > 0.9
    assert ranking.position_low is not None
    assert ranking.position_high is not None
    assert ranking.position_low < 0 < ranking.position_high
    assert (ranking.num_votes, ranking.num_raters) == (800, 8)
    assert sum(one.win_rate for one in ranking.systems) == pytest.approx(2.0)


def test_one_rater_and_one_story_have_no_interval() -> None:
    votes = [Comparison(left="a", right="b", answer=answer) for answer in ("left", "right", "left")]
    ranking = rank_systems(votes, draws=20)
    assert [(one.low, one.high, one.best_share) for one in ranking.systems] == [(None, None, None)] * 2


def test_what_is_no_vote_is_refused() -> None:
    with pytest.raises(ValueError, match="answer"):
        Comparison(left="a", right="b", answer="both")
    with pytest.raises(ValueError, match="twice"):
        Comparison(left="a", right="a", answer="tie")
    with pytest.raises(InputError, match="no vote"):
        fit_preference([])
    with pytest.raises(ValueError, match="prior_sd"):
        fit_preference(drawn_votes(20, 1), prior_sd=0.0)


def test_ten_wins_to_one_are_400_points_of_elo() -> None:
    assert elo(0.0) == 1000.0
    assert elo(math.log(10)) == pytest.approx(1400.0)
