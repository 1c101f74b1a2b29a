"""How sure a number is, and whether two systems differ: stories are few, and they come in families.

Stories of one IP (one character and its world) resemble each other, so the IP is the unit that is drawn anew or whose
sign is flipped, never the story alone. The value is always the mean over stories, as in the paper and in the results
file; where every IP has equally many stories, as in AnimeShooter-Bench, it is also the mean over IPs. Where they
differ, an IP with more stories weighs more, and the interval and the test follow the same weights.

    bootstrap.py   interval of one system           paired.py   two systems on the same stories
    multiple.py    Holm over several metrics        power.py    what difference can be found at all
    resampling.py  draws for statistics that are no plain mean

Everything is deterministic: a seed gives the same digits, in whatever order the stories are given.
"""

from animeshooter_hf.eval.statistics.bootstrap import Interval, cluster_bootstrap, resampled_means
from animeshooter_hf.eval.statistics.multiple import holm
from animeshooter_hf.eval.statistics.paired import PairedComparison, paired_comparison, sign_flip_p_value
from animeshooter_hf.eval.statistics.power import (
    clustered_standard_error,
    least_detectable_difference,
    planned_difference,
    student_quantile,
)

__all__ = [
    "Interval",
    "PairedComparison",
    "cluster_bootstrap",
    "clustered_standard_error",
    "holm",
    "least_detectable_difference",
    "paired_comparison",
    "planned_difference",
    "resampled_means",
    "sign_flip_p_value",
    "student_quantile",
]
