"""Controls: what a story must not be, whatever its scores say.

Every naive score of consistency or fidelity is beaten by a frozen frame, a repeated shot or a pasted reference. So a
story passes through controls with stated limits; a system with too many flagged stories is shown as gated, with the
control's name. Verdicts are made over stories, never over shots: one still shot or one that holds a drawing is legal.

In:  numbers and small arrays of a story's shots (`motion.py`, `copying.py`, `picture_faults.py`) and rows of a backend.
Out: the story's numbers and whether it is beyond a limit. Nothing here opens a file.

The limits were chosen on 32 toon films (seeds 100 to 115 and 300 to 315) and their attacks, and checked on other seeds
and on the paper's demos by `benchmarks/attacks.py`. On those 32 lay (real | attacks | limit):
    residual_top5       .25 and more  | .08 and less      | .15
    order_ratio         .44 and less  | .61 and more      | .52
    shot_duplication    .76 and less  | 1                 | .88
    copy_match          .77 and less  | .84 and more      | .82
    identity_contrast   .07 and more  | .05 and less in 95 of 100, .34 at most    | .05
    autocorrelation     .49 and more  | .00 and less      | .20
Two toon characters of the same colours are one to the classical backend, so a few stories of a wrong character pass; a
system that shows wrong characters throughout has far more than a tenth of its stories flagged all the same.

Shape letters used below
    N stories    R characters with references    F frames    B bits
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.aggregate import mean
from animeshooter_hf.eval.copying import hash_similarity

__all__ = ["CONTROLS", "Control", "HashedShot", "duplication", "identity_contrasts", "order_fit", "order_ratio"]


@dataclass(frozen=True, slots=True)
class Control:
    """A limit on one number of a story."""

    name: str
    """What a flagged story is called."""

    number: str
    """Which number of the story is tested."""

    limit: float
    """The number at the limit; it is not flagged itself."""

    flags_above: bool
    """Whether numbers above the limit are flagged, or those below it."""

    summary: str
    """What is wrong with a flagged story."""

    @property
    def words(self) -> str:
        """The limit in words, such as "residual_top5 < 0.3"."""
        return f"{self.number} {'>' if self.flags_above else '<'} {self.limit:g}"

    def flags(self, value: float | None) -> bool | None:
        """Return whether a number is beyond the limit; None where there is none."""
        if value is None:
            return None
        return value > self.limit if self.flags_above else value < self.limit


CONTROLS = (
    Control("static", "residual_top5", 0.15, False, "nothing moves but, at most, the camera"),
    Control("duplicate", "shot_duplication", 0.88, True, "a shot is another shot again"),
    Control("copy_paste", "copy_match", 0.82, True, "the reference image was pasted in"),
    Control("wrong_character", "identity_contrast", 0.05, False, "another character than the reference's is seen"),
    Control("shuffled", "order_ratio", 0.52, True, "the frames are in no order of time"),
    Control("noise", "autocorrelation", 0.20, False, "the pictures are noise"),
    Control("blank", "blank_share", 0.50, True, "the pictures are of one tone"),
)
"""All controls. The last one's limit is our choice: half of the frames show nothing."""


@dataclass(frozen=True, slots=True)
class HashedShot:
    """The perceptual hashes of one shot's frames."""

    plain_FB: NDArray[np.uint8]
    """Of the frames."""

    mirrored_FB: NDArray[np.uint8]
    """Of the frames, left and right exchanged."""


def duplication(shots: Sequence[HashedShot]) -> dict[str, float | None]:
    """Return how much the shots of a story repeat each other.

    Returns:
        `shot_duplication`, likeness of the two shots most alike, mirrored or not, in about [.5, 1], lower is better;
        `distinct_shots`, share of shots that repeat no earlier one, higher is better. None for one shot alone.
    """
    if len(shots) < 2:
        return {"shot_duplication": None, "distinct_shots": None}
    limit = next(control.limit for control in CONTROLS if control.name == "duplicate")
    closest = [0.0] * len(shots)
    for (_, first), (index, second) in itertools.combinations(enumerate(shots), 2):
        likeness = max(
            hash_similarity(first.plain_FB, second.plain_FB), hash_similarity(first.mirrored_FB, second.plain_FB)
        )
        closest[index] = max(closest[index], likeness)
    return {
        "shot_duplication": max(closest),
        "distinct_shots": sum(likeness <= limit for likeness in closest) / len(shots),
    }


LEAST_CHANGE = 1.5
"""Grey levels by which distant frames of a shot must differ before the order of its frames is judged. Our choice."""

_CHANGE_FLOOR = 0.25
"""Added to both changes, in grey levels, so that what a codec leaves weighs little."""


def order_ratio(steps: Sequence[tuple[float, float]]) -> float | None:
    """Return how far neighbouring frames are apart, in parts of frames of other moments: the geometric mean over shots.

    Args:
        steps: Per shot, the change between neighbours and between distant frames, in grey levels (`step_changes`).

    Returns:
        About .05 to .4 for films, about 1 for frames in random order. None where no shot changes enough to tell.
    """
    logs = [math.log((near + _CHANGE_FLOOR) / (far + _CHANGE_FLOOR)) for near, far in steps if far >= LEAST_CHANGE]
    return math.exp(mean(logs)) if logs else None


def identity_contrasts(
    similarity_NR: NDArray[np.float64],
    owners: Sequence[str],
    ip_ids: Sequence[str],
    own: Sequence[Sequence[int]],
    own_values: Sequence[float | None],
) -> list[dict[str, float | None]]:
    """Return for every story how its own characters stand, both ways, against those of other IPs.

    A similarity alone says little: some characters look like many. So the own one is held against the best of the
    other IPs' characters in the same story (`identity_margin`), and against the same characters in the other IPs'
    stories (`identity_lift`). Either alone is fooled, by a story in odd light or by a plain reference; their sum was
    not, on what we have.

    Args:
        similarity_NR: Story x character: mean over the story's shots; a row of NaN where no shot could be read.
        owners: IP of each character.
        ip_ids: IP of each story.
        own: Positions of the story's own scheduled characters.
        own_values: Similarity of each shot to whom it should show, averaged; None where nobody could be compared.

    Returns:
        Per story `identity_margin`, `identity_lift` and `identity_contrast`, their sum; higher is better. None where
        there is no reference of its own or no other IP.
    """
    names = ("identity_margin", "identity_lift", "identity_contrast")
    is_known = [not np.isnan(row_R).any() for row_R in similarity_NR]
    results: list[dict[str, float | None]] = []
    for row, (ip_id, columns, value) in enumerate(zip(ip_ids, own, own_values, strict=True)):
        others = [column for column, owner in enumerate(owners) if owner != ip_id]
        elsewhere = [index for index, other in enumerate(ip_ids) if other != ip_id and is_known[index]]
        if value is None or not columns or not others or not elsewhere:
            results.append(dict.fromkeys(names))
            continue
        margin = value - float(similarity_NR[row, others].max())
        lift = value - mean(similarity_NR[np.ix_(elsewhere, list(columns))].ravel().tolist())
        results.append(dict(zip(names, (margin, lift, margin + lift), strict=True)))
    return results


MOST_ORDERS = 720
"""Orders of shots that are tried: all of up to six shots, as many chosen by chance of longer stories. Our choice."""


def order_fit(num_shots: int, fits: Sequence[Callable[[Sequence[int]], float]]) -> float | None:
    """Return how well the order of the shots fits the script: the share of other orders that fit worse.

    Args:
        num_shots: Shots of the story.
        fits: What tells how well an order fits, such as the contrast between scenes; an order says which shot stands
            in each place. Each is standardised over all orders, then they are added.

    Returns:
        In [0, 1], ties counted half; .5 on average for shuffled shots, 1 where no other order fits as well. None
        where the script fits all orders alike, as with one scene and one character.
    """
    orders = _orders(num_shots)
    totals = np.zeros(len(orders))
    for fit in fits:
        values = np.array([fit(order) for order in orders])
        if np.ptp(values) > 1e-12:
            totals += (values - values.mean()) / values.std()
    if np.ptp(totals) <= 1e-9:
        return None
    others = totals[1:]
    tied = np.abs(others - totals[0]) <= 1e-9
    return float(((others < totals[0]) & ~tied).mean() + tied.mean() / 2)


def _orders(num_shots: int) -> list[tuple[int, ...]]:
    """Return orders of shots, the given one first."""
    if math.factorial(num_shots) <= MOST_ORDERS:
        return list(itertools.permutations(range(num_shots)))
    chance = np.random.default_rng(0)
    drawn = [tuple(int(index) for index in chance.permutation(num_shots)) for _ in range(MOST_ORDERS - 1)]
    return [tuple(range(num_shots)), *drawn]


def flagged(values: Mapping[str, float | None]) -> list[str]:
    """Return the names of the controls that a story's numbers are beyond."""
    return [control.name for control in CONTROLS if control.flags(values.get(control.number))]
