"""Two systems on the same stories: for each headline number the difference, its interval, and a p-value.

Numbers are compared only where both runs computed exactly the same (equal signatures). P-values are corrected over
all numbers of the comparison (Holm), since whoever tries several metrics finds a difference sooner or later.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.statistics import PairedComparison, holm, paired_comparison

__all__ = ["Comparison", "compare_results", "comparison_table"]

_SIGNIFICANT = 0.05
"""Corrected p-value below which a difference is called one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One headline number of two systems."""

    metric: str
    """Such as "reference_fidelity"."""

    name: str
    """Such as "harmean_p"."""

    direction: str
    """Which way is better."""

    paired: PairedComparison
    """First minus second, over the stories that both have."""

    adjusted_p_value: float
    """The p-value after Holm's correction."""

    @property
    def verdict(self) -> str:
        """Who is better: "first", "second", or "no difference shown"."""
        if self.adjusted_p_value >= _SIGNIFICANT or self.direction == "none":
            return "no difference shown"
        is_first = (self.paired.difference > 0) == (self.direction == "higher")
        return "first" if is_first else "second"


def compare_results(first: Results, second: Results) -> list[Comparison]:
    """Return the comparison of every headline number that both have under the same signature.

    Raises:
        InputError: If there is none, the runs share fewer than two stories, or a story has another IP in each.
    """
    shared = [story for story in first.ip_ids if story in second.ip_ids]
    if len(shared) < 2:
        raise InputError(f"The two runs share {len(shared)} stories; at least two are needed to compare them.")
    other = next((story for story in shared if first.ip_ids[story] != second.ip_ids[story]), None)
    if other is not None:
        raise InputError(f"Story {other!r} is of {first.ip_ids[other]!r} in one run and of another IP in the other.")
    names = [metric for metric in first.headlines if first.signatures[metric] == second.signatures.get(metric)]
    if not names:
        raise InputError("The two runs have no metric of the same signature: score both with the same settings.")
    found = []
    for metric in names:
        name = first.headlines[metric]
        values = [results.story_values(metric, name) for results in (first, second)]
        paired = paired_comparison(values[0], values[1], first.ip_ids)
        if paired is not None:
            found.append((metric, name, paired))
    adjusted = holm([paired.p_value for _, _, paired in found])
    return [
        Comparison(
            metric=metric,
            name=name,
            direction=first.corpus[metric][name].direction,
            paired=paired,
            adjusted_p_value=p_value,
        )
        for (metric, name, paired), p_value in zip(found, adjusted, strict=True)
    ]


def comparison_table(comparisons: Sequence[Comparison], first: str, second: str) -> str:
    """Return the comparisons as lines for reading."""
    lines = [f"{first} minus {second}, by story, IPs as clusters; p corrected over {len(comparisons)} numbers (Holm)"]
    for one in comparisons:
        paired = one.paired
        interval = f"[{paired.low:+.4f}, {paired.high:+.4f}]"
        least = "-" if paired.least_detectable is None else f"{paired.least_detectable:.4f}"
        verdict = {"first": f"{first} is better", "second": f"{second} is better"}.get(one.verdict, one.verdict)
        counts = f"{paired.num_stories} stories, {paired.num_clusters} IPs, detectable {least}"
        lines.append(
            f"{one.metric}/{one.name}: {paired.difference:+.4f} {interval}, p {one.adjusted_p_value:.4f}: {verdict} "
            f"({counts})"
        )
    return "\n".join(lines) + "\n"
