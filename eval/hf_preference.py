"""Pairwise votes as a comparison of the Hugging Face library `evaluate`; the model stands in `preference.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import datasets
import evaluate

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.hf_sharing import SharedModule
from animeshooter_hf.eval.preference import PRIOR_SD, Comparison, Ranking, elo, rank_systems

__all__ = ["StoryPreference", "flat_ranking"]

_NEEDED = ("left", "right", "answers")
_OPTIONAL = ("raters", "story_ids", "ip_ids")

_INPUTS = """
Args:
    left: one entry per vote: the system that was shown first, or at the left.
    right: one entry per vote: the other one.
    answers: one entry per vote: "left", "right" or "tie".
    raters, story_ids, ip_ids: optional, one name per vote; intervals are drawn over them.
    draws, level, seed, prior_sd, with_position: `compute` only; see `animeshooter_hf.eval.preference.rank_systems`.
Returns:
    `strength/NAME` with `low/NAME` and `high/NAME`, `win_rate/NAME`, `best_share/NAME` and `elo/NAME` of each system,
    `best`, `position`, `tie_rate`, `n_votes`, `n_raters`.
"""


class StoryPreference(SharedModule, evaluate.Comparison):
    """Which system people, or a judge, prefer. See story_preference/README.md."""

    nothing: ClassVar[Mapping[str, Any]] = dict.fromkeys((*_NEEDED, *_OPTIONAL), "")

    def _info(self) -> evaluate.ComparisonInfo:
        """Return the module's card in short."""
        text = datasets.Value("string")
        return evaluate.ComparisonInfo(
            description="Bradley-Terry strengths from pairwise votes on stories, with ties (Davidson), the advantage "
            "of what is shown first, and intervals over raters, IPs and stories.",
            citation="@article{davidson1970, title={On extending the Bradley-Terry model to accommodate ties in paired "
            "comparison experiments}, author={Davidson, Roger R.}, journal={JASA}, volume={65}, year={1970}}",
            inputs_description=_INPUTS,
            features=datasets.Features(dict.fromkeys((*_NEEDED, *_OPTIONAL), text)),
            homepage="https://arxiv.org/abs/2506.03126",
            license="Apache-2.0",
        )

    def add_batch(self, **columns: Any) -> None:
        """Keep some votes."""
        rows = _checked(columns)
        if rows["left"]:
            self._meet()
            self._keep(rows)

    def add(self, **values: Any) -> None:
        """Keep one vote; every column then holds one value, not a list."""
        self.add_batch(**{name: [value] for name, value in values.items()})

    def compute(
        self,
        *,
        draws: int = 1000,
        level: float = 0.95,
        seed: int = 0,
        prior_sd: float = PRIOR_SD,
        with_position: bool = True,
        **columns: Any,
    ) -> dict[str, Any] | None:
        """Rank what was added, or the votes given here; None on every process but the first."""
        if columns:
            self.add_batch(**columns)
        options = {"draws": draws, "level": level, "prior_sd": prior_sd, "with_position": with_position}
        return self._gather(bootstrap_seed=seed, **options)

    def _compute(self, *, bootstrap_seed: int, **given: Any) -> dict[str, Any]:
        """Rank votes, in an order that does not depend on who kept them; an empty one is a process that had none."""
        columns = [given.pop(name) for name in (*_NEEDED, *_OPTIONAL)]
        votes = [
            Comparison(left=left, right=right, answer=answer, rater=rater, story_id=story_id, ip_id=ip_id)
            for left, right, answer, rater, story_id, ip_id in sorted(zip(*columns, strict=True))
            if left
        ]
        return flat_ranking(rank_systems(votes, seed=bootstrap_seed, **given))


def flat_ranking(ranking: Ranking) -> dict[str, Any]:
    """Return a ranking as flat numbers and texts; "NUMBER/SYSTEM" is a number of one system."""
    flat: dict[str, Any] = {"best": ranking.systems[0].system}
    for one in ranking.systems:
        numbers = {
            "strength": one.strength,
            "low": one.low,
            "high": one.high,
            "elo": elo(one.strength),
            "win_rate": one.win_rate,
            "best_share": one.best_share,
            "n_votes": one.num_votes,
        }
        flat |= {f"{name}/{one.system}": value for name, value in numbers.items()}
    return flat | {
        "position": ranking.preference.position,
        "position_low": ranking.position_low,
        "position_high": ranking.position_high,
        "tie_rate": ranking.tie_rate,
        "n_votes": ranking.num_votes,
        "n_raters": ranking.num_raters,
    }


def _checked(columns: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return all columns as lists of equal length, those that are not given empty.

    Raises:
        InputError: If a column is unknown, missing or of another length, or a vote is malformed.
    """
    given = {name: column for name, column in columns.items() if column is not None}
    unknown = [name for name in given if name not in (*_NEEDED, *_OPTIONAL)]
    missing = [name for name in _NEEDED if name not in given]
    if unknown or missing:
        what = f"Unknown input {unknown[0]!r}" if unknown else f"{missing[0]} is missing"
        raise InputError(f"{what}. Inputs: {', '.join((*_NEEDED, *_OPTIONAL))}.")
    num_votes = len(given["left"])
    for name, column in given.items():
        is_list = isinstance(column, Sequence) and not isinstance(column, str)
        if not is_list or len(column) != num_votes or not all(isinstance(value, str) for value in column):
            raise InputError(f"{name} must hold a text for each of {num_votes} votes, got {column!r:.80}.")
    for left, right, answer in zip(given["left"], given["right"], given["answers"], strict=True):
        if not left or not right:
            raise InputError("A system of a vote has an empty name.")
        try:
            Comparison(left=left, right=right, answer=answer)
        except ValueError as error:
            raise InputError(str(error)) from error
    return {name: list(given.get(name, [""] * num_votes)) for name in (*_NEEDED, *_OPTIONAL)}
