"""Which system do people prefer? Bradley-Terry with ties (Davidson) and with an advantage of what is shown first.

With strengths t of two systems, position p and tie n, the three answers have the weights

    left  exp(t_left + p / 2)      right  exp(t_right - p / 2)      tie  exp(n + (t_left + t_right) / 2)

and their chances are in proportion to these. The logarithm of the likelihood is concave in (t, p, n), so Newton's
method finds the one best answer, and no order of the votes changes it.

Without a prior there is no finite best answer if the systems fall into two groups of which one never lost nor tied
against the other; that is refused, naming the groups. `prior_sd` adds a normal prior to every parameter instead:
always finite, and hardly felt beside a few dozen votes. Intervals need it: a draw may leave a system without a loss.

Sources: Bradley and Terry 1952; Davidson 1970 (ties); Davidson and Beaver 1977 (order).

Shape letters used below
    K systems    P ordered pairs (left, right) that were shown    A answers (left, tie, right)
    D parameters (K strengths, position, tie)    B draws    V votes
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.statistics.resampling import drawn_counts, percentile_ends

__all__ = ["Answer", "Comparison", "Preference", "RankedSystem", "Ranking", "elo", "fit_preference", "rank_systems"]

Answer = Literal["left", "right", "tie"]
"""Which of the two was preferred."""

PRIOR_SD = 3.0
"""Standard deviation of the prior in `rank_systems`. Our choice: strengths of +-3 mean that 95 of 100 votes go to the
better one against an average system, so nothing plausible is pulled in noticeably, and a system that won all its
votes still has a number."""

_ANSWERS = ("left", "tie", "right")
_MOST_STEPS = 200
_LARGEST = 25.0
"""A parameter beyond this has left all bounds: e^25 votes would be needed to see a difference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One vote."""

    left: str
    """System that was shown first, or at the left."""

    right: str
    """The other one."""

    answer: Answer
    """Which was preferred."""

    rater: str = ""
    """Who voted."""

    story_id: str = ""
    """The story that both told."""

    ip_id: str = ""
    """Its IP."""

    def __post_init__(self) -> None:
        if self.answer not in _ANSWERS:
            raise ValueError(f"answer must be left, right or tie, got {self.answer!r}.")
        if self.left == self.right:
            raise ValueError(f"A comparison needs two systems, got {self.left!r} twice.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """What the votes say, without intervals."""

    systems: tuple[str, ...]
    """Names, sorted."""

    strengths: tuple[float, ...]
    """One per system, in log-odds; their mean is 0."""

    position: float
    """Log-odds by which the left one is ahead of an equal one; 0 if it was not asked for."""

    tie: float | None
    """Logarithm of the weight of a tie of equals; None if nobody voted for a tie."""

    def win_chance(self, first: str, second: str) -> float:
        """Return the chance that the first is preferred, a tie counted half, whoever is shown at the left."""
        strength = dict(zip(self.systems, self.strengths, strict=True))
        gap = strength[first] - strength[second]
        tie = 0.0 if self.tie is None else math.exp(self.tie)
        sides = []
        for position in (self.position, -self.position):
            weights = math.exp((gap + position) / 2), math.exp(-(gap + position) / 2)
            sides.append((weights[0] + tie / 2) / (sum(weights) + tie))
        return sum(sides) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedSystem:
    """One system in a ranking."""

    system: str
    """Its name."""

    strength: float
    """Log-odds against the average system."""

    low: float | None
    """Lower end of its interval; None for fewer than two raters and two stories."""

    high: float | None
    """Upper end."""

    win_rate: float
    """Mean chance to be preferred over each other system, a tie counted half."""

    num_votes: int
    """Votes in which it took part."""

    best_share: float | None
    """Share of the draws in which it is the strongest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """Systems from the strongest to the weakest."""

    systems: tuple[RankedSystem, ...]
    """The strongest first."""

    preference: Preference
    """The fit without draws."""

    position_low: float | None
    """Lower end of the advantage of what is shown at the left."""

    position_high: float | None
    """Upper end; position bias is seen where the interval does not hold 0."""

    tie_rate: float
    """Share of votes that were ties."""

    num_votes: int
    """Votes that went in."""

    num_raters: int
    """Who voted."""


def fit_preference(
    comparisons: Sequence[Comparison], *, with_position: bool = True, prior_sd: float | None = None
) -> Preference:
    """Return the strengths that explain the votes best.

    Args:
        comparisons: The votes; at least one.
        with_position: Whether the advantage of the left side is a parameter; otherwise it is 0.
        prior_sd: Standard deviation of a normal prior on each parameter; None for none (maximum likelihood).

    Raises:
        InputError: If there is no vote, or no finite best answer and no prior.
    """
    table = _Table(comparisons, with_position=with_position)
    if prior_sd is None:
        table.require_finite()
    return table.preference(table.solve(table.counts_VPA.sum(axis=0)[None], prior_sd)[0])


def rank_systems(
    comparisons: Sequence[Comparison],
    *,
    with_position: bool = True,
    prior_sd: float = PRIOR_SD,
    draws: int = 1_000,
    level: float = 0.95,
    seed: int = 0,
) -> Ranking:
    """Return the systems in order, with intervals by drawing raters, and IPs and then stories, both with replacement.

    A vote counts as often as its rater was drawn times as often as its story was drawn, so that both sources of
    chance are in the interval (a little too wide rather than too narrow; Owen 2007, "The pigeonhole bootstrap").

    Raises:
        InputError: If there is no vote.
    """
    table = _Table(comparisons, with_position=with_position)
    parameters_D = table.solve(table.counts_VPA.sum(axis=0)[None], prior_sd)[0]
    preference = table.preference(parameters_D)
    raters = [vote.rater for vote in comparisons]
    can_draw = len(set(raters)) > 1 or len({(vote.ip_id, vote.story_id) for vote in comparisons}) > 1
    num_systems = len(table.systems)
    drawn_BD = None
    if can_draw:
        drawn_BD = table.solve(table.drawn_counts(comparisons, draws, seed), prior_sd)
        drawn_BD[:, :num_systems] -= drawn_BD[:, :num_systems].mean(axis=1, keepdims=True)
    ends = [None if drawn_BD is None else percentile_ends(values, level) for values in _columns(drawn_BD, num_systems)]
    best = None if drawn_BD is None else np.bincount(drawn_BD[:, :num_systems].argmax(axis=1), minlength=num_systems)
    ranked = []
    for at, system in enumerate(table.systems):
        low, high = ends[at] or (None, None)
        others = [preference.win_chance(system, other) for other in table.systems if other != system]
        ranked.append(
            RankedSystem(
                system=system,
                strength=preference.strengths[at],
                low=low,
                high=high,
                win_rate=math.fsum(others) / len(others),
                num_votes=sum(system in (vote.left, vote.right) for vote in comparisons),
                best_share=None if best is None else float(best[at] / draws),
            )
        )
    position_low, position_high = (ends[num_systems] or (None, None)) if with_position else (None, None)
    return Ranking(
        systems=tuple(sorted(ranked, key=lambda one: (-one.strength, one.system))),
        preference=preference,
        position_low=position_low,
        position_high=position_high,
        tie_rate=sum(vote.answer == "tie" for vote in comparisons) / len(comparisons),
        num_votes=len(comparisons),
        num_raters=len(set(raters)),
    )


def elo(strength: float) -> float:
    """Return a strength on the scale of chess ratings: 1000 is average, 400 more is ten wins to one. For display only.

    Example:
        >>> elo(0.0), round(elo(math.log(10)))
        (1000.0, 1400)
    """
    return 1000.0 + 400.0 * strength / math.log(10)


def _columns(drawn_BD: NDArray[np.float64] | None, num_systems: int) -> list[NDArray[np.float64]]:
    if drawn_BD is None:
        return [np.empty(0)] * (num_systems + 1)
    return list(drawn_BD[:, : num_systems + 1].T)


class _Table:
    """Votes as counts per ordered pair and answer, and the design of the model."""

    def __init__(self, comparisons: Sequence[Comparison], *, with_position: bool) -> None:
        if not comparisons:
            raise InputError("There is no vote to rank by.")
        self.systems = tuple(sorted({name for vote in comparisons for name in (vote.left, vote.right)}))
        self.pairs = sorted({(vote.left, vote.right) for vote in comparisons})
        self.with_position = with_position
        self.with_ties = any(vote.answer == "tie" for vote in comparisons)
        pair_of = {pair: at for at, pair in enumerate(self.pairs)}
        self.counts_VPA = np.zeros((len(comparisons), len(self.pairs), 3))
        for at, vote in enumerate(comparisons):
            self.counts_VPA[at, pair_of[vote.left, vote.right], _ANSWERS.index(vote.answer)] = 1
        self.design_PAD = self._design()

    def _design(self) -> NDArray[np.float64]:
        """Return how each parameter enters the weight of each answer."""
        num_systems = len(self.systems)
        design_PAD = np.zeros((len(self.pairs), 3, num_systems + 2))
        for at, (left, right) in enumerate(self.pairs):
            first, second = self.systems.index(left), self.systems.index(right)
            design_PAD[at, 0, first] = design_PAD[at, 2, second] = 1.0
            design_PAD[at, 1, [first, second]] = 0.5
        if self.with_position:
            design_PAD[:, 0, num_systems], design_PAD[:, 2, num_systems] = 0.5, -0.5
        design_PAD[:, 1, num_systems + 1] = 1.0
        return design_PAD

    def require_finite(self) -> None:
        """Refuse votes that have no finite best answer.

        Strengths are finite if and only if everyone can be reached from everyone by steps to somebody who beat or
        tied them (Ford 1957). What the position does to that shows itself when the solution runs away.
        """
        beaten_by: dict[str, set[str]] = {system: set() for system in self.systems}
        for (left, right), answers in zip(self.pairs, self.counts_VPA.sum(axis=0), strict=True):
            if answers[0] or answers[1]:
                beaten_by[right].add(left)
            if answers[2] or answers[1]:
                beaten_by[left].add(right)
        for start in self.systems:
            above = {start}
            queue = [start]
            while queue:
                for winner in beaten_by[queue.pop()] - above:
                    above.add(winner)
                    queue.append(winner)
            if len(above) < len(self.systems):
                below = sorted(set(self.systems) - above)
                raise InputError(
                    f"The votes have no finite strengths: {', '.join(below)} never beat nor tied "
                    f"{', '.join(sorted(above))}. Collect more votes, or give prior_sd."
                )
        if self.with_ties and self.counts_VPA[:, :, 1].sum() == len(self.counts_VPA):
            raise InputError("Every vote is a tie, so that ties have no finite weight. Give prior_sd.")

    def drawn_counts(self, comparisons: Sequence[Comparison], draws: int, seed: int) -> NDArray[np.float64]:
        """Return the counts of so many draws of raters and stories, shape (B, P, A)."""
        rng = np.random.default_rng(seed)
        raters = [vote.rater for vote in comparisons]
        ips, stories = [vote.ip_id for vote in comparisons], [vote.story_id for vote in comparisons]
        weights_BV = drawn_counts(raters, [""] * len(raters), draws=draws, rng=rng)
        weights_BV *= drawn_counts(ips, stories, draws=draws, rng=rng)
        flat = weights_BV @ self.counts_VPA.reshape(len(comparisons), -1)
        return np.asarray(flat.reshape(draws, len(self.pairs), 3))

    def solve(self, counts_BPA: NDArray[np.float64], prior_sd: float | None) -> NDArray[np.float64]:
        """Return the best parameters of each table, shape (B, D), by Newton's method with halved steps.

        Raises:
            InputError: If the solution runs away, which happens only without a prior.
        """
        num_systems = len(self.systems)
        used = np.ones(num_systems + 2, dtype=bool)
        used[num_systems], used[num_systems + 1] = self.with_position, self.with_ties
        design_PAD = self.design_PAD[:, :, used]
        # A prior on the strengths' mean alone fixes what the votes leave open, and changes nothing else.
        precision_DD = np.zeros((used.sum(), used.sum()))
        precision_DD[:num_systems, :num_systems] += 1.0 / num_systems
        if prior_sd is not None:
            if not prior_sd > 0:
                raise ValueError(f"prior_sd must be above 0, got {prior_sd!r}.")
            precision_DD += np.eye(len(precision_DD)) / prior_sd**2
        answers = slice(None) if self.with_ties else [0, 2]
        found_BD = _newton(counts_BPA[:, :, answers], design_PAD[:, answers], precision_DD)
        parameters_BD = np.zeros((len(found_BD), num_systems + 2))
        parameters_BD[:, used] = found_BD
        return parameters_BD

    def preference(self, parameters_D: NDArray[np.float64]) -> Preference:
        """Return the record of one solution, strengths centred."""
        num_systems = len(self.systems)
        strengths = parameters_D[:num_systems] - parameters_D[:num_systems].mean()
        return Preference(
            systems=self.systems,
            strengths=tuple(strengths.tolist()),
            position=float(parameters_D[num_systems]),
            tie=float(parameters_D[num_systems + 1]) if self.with_ties else None,
        )


def _newton(
    counts_BPA: NDArray[np.float64], design_PAD: NDArray[np.float64], precision_DD: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the maximum of each penalised likelihood, shape (B, D)."""
    totals_BP = counts_BPA.sum(axis=2)
    votes_BD = np.einsum("bpa,pad->bd", counts_BPA, design_PAD)

    def value(at_BD: NDArray[np.float64]) -> NDArray[np.float64]:
        weights_BPA = np.einsum("pad,bd->bpa", design_PAD, at_BD)
        largest_BP1 = weights_BPA.max(axis=2, keepdims=True)
        logs_BP = np.log(np.exp(weights_BPA - largest_BP1).sum(axis=2)) + largest_BP1[:, :, 0]
        penalty_B = np.einsum("bd,de,be->b", at_BD, precision_DD, at_BD) / 2
        return np.asarray((votes_BD * at_BD).sum(axis=1) - (totals_BP * logs_BP).sum(axis=1) - penalty_B)

    at_BD = np.zeros((len(counts_BPA), design_PAD.shape[2]))
    best_B = value(at_BD)
    for _ in range(_MOST_STEPS):
        weights_BPA = np.einsum("pad,bd->bpa", design_PAD, at_BD)
        chances_BPA = np.exp(weights_BPA - weights_BPA.max(axis=2, keepdims=True))
        chances_BPA /= chances_BPA.sum(axis=2, keepdims=True)
        means_BPD = np.einsum("bpa,pad->bpd", chances_BPA, design_PAD)
        slope_BD = votes_BD - np.einsum("bp,bpd->bd", totals_BP, means_BPD) - at_BD @ precision_DD
        expected_BPA = totals_BP[:, :, None] * chances_BPA
        curve_BDD = np.einsum("bpa,pad,pae->bde", expected_BPA, design_PAD, design_PAD, optimize=True)
        curve_BDD -= np.einsum("bp,bpd,bpe->bde", totals_BP, means_BPD, means_BPD, optimize=True)
        try:
            step_BD = np.linalg.solve(curve_BDD + precision_DD, slope_BD[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            raise _runs_away() from None
        size_B = np.ones(len(at_BD))
        for _ in range(40):  # halve a step that overshoots; the likelihood is concave, so a short one always gains
            tried_B = value(at_BD + size_B[:, None] * step_BD)
            worse_B = tried_B < best_B - 1e-12 * np.abs(best_B)
            if not worse_B.any():
                break
            size_B[worse_B] /= 2
        at_BD = at_BD + size_B[:, None] * step_BD
        best_B = tried_B
        if np.abs(at_BD).max() > _LARGEST:
            raise _runs_away()
        if np.abs(step_BD).max() < 1e-10:
            return at_BD
    raise _runs_away()


def _runs_away() -> InputError:
    return InputError(
        "The votes have no finite best answer: one side, one system or one answer always wins. "
        "Show each pair in both orders, collect more votes, or give prior_sd."
    )
