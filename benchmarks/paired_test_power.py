"""How far intervals and the paired test can be trusted, and what differences they find: a simulation.

Paired differences of story means are drawn with a spread between IPs and one between the stories of an IP. Asked is

    false positives    share of p < .05 where there is no difference (should be .05 at most, about)
    power              share of p < .05 where the difference is that of the paper's CLIP column (.0068)
    coverage           share of 95 % intervals that hold the truth, and their half-width
    least detectable   whether a difference of the size that `planned_difference` names is found four times in five

for the sign-flip test over IPs and for the usual test that takes stories for independent; for intervals that draw IPs
and then stories (ours), that draw IPs only, and that draw stories only.

    python benchmarks/paired_test_power.py
    python benchmarks/paired_test_power.py --repeats 5000 --draws 2000 --seed 77

Prints shares with their own standard error, and CPU seconds of one interval and one comparison (median of several runs
side by side in one process) next to scipy's bootstrap of the same values.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from animeshooter_hf.eval.statistics import (
    cluster_bootstrap,
    paired_comparison,
    planned_difference,
    sign_flip_p_value,
)

SD_STORY = 0.03
PAPER_GAP = 0.0068
"""AnimeShooterGen minus IP-Adapter + I2V, CLIP Mean, Table 2."""


def draw(rng: np.random.Generator, difference: float, sd_ip: float, ips: int, stories: int) -> NDArray[np.float64]:
    """Return paired differences, shape (IPs, stories)."""
    return difference + rng.normal(0, sd_ip, (ips, 1)) + rng.normal(0, SD_STORY, (ips, stories))


def names(ips: int, stories: int) -> list[str]:
    """Return the IP of each story."""
    return [f"ip{ip}" for ip in range(ips) for _ in range(stories)]


def unclustered_p_value(values: NDArray[np.float64]) -> float:
    """Return the p-value of the test that takes stories for independent."""
    error = values.std(ddof=1) / math.sqrt(values.size)
    return float(2 * stats.norm.sf(abs(values.mean()) / error))


def share_rejected(
    difference: float, sd_ip: float, shape: tuple[int, int], arguments: argparse.Namespace
) -> list[float]:
    """Return how often the clustered and the unclustered test call it a difference."""
    rng = np.random.default_rng([arguments.seed, round(sd_ip * 1000), round(difference * 1e6), *shape])
    of = names(*shape)
    found = np.zeros(2)
    for _ in range(arguments.repeats):
        values = draw(rng, difference, sd_ip, *shape)
        found += (sign_flip_p_value(values.ravel().tolist(), of) < 0.05, unclustered_p_value(values) < 0.05)
    return list(found / arguments.repeats)


def coverage(sd_ip: float, shape: tuple[int, int], arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return, for each kind of interval, how often it holds the truth (0) and its mean half-width."""
    rng = np.random.default_rng([arguments.seed, 7, round(sd_ip * 1000), *shape])
    of, apart = names(*shape), [str(story) for story in range(shape[0] * shape[1])]
    kinds: dict[str, Callable[[list[float], int], object]] = {
        "IPs, then stories": lambda values, seed: cluster_bootstrap(values, of, draws=arguments.draws, seed=seed),
        "the same, BCa": lambda values, seed: cluster_bootstrap(
            values, of, draws=arguments.draws, seed=seed, method="bca"
        ),
        "IPs only": lambda values, seed: cluster_bootstrap(
            values, of, draws=arguments.draws, seed=seed, draws_stories=False
        ),
        "stories only": lambda values, seed: cluster_bootstrap(values, apart, draws=arguments.draws, seed=seed),
    }
    held = dict.fromkeys(kinds, 0)
    widths = dict.fromkeys(kinds, 0.0)
    repeats = max(1, arguments.repeats // 4)
    for number in range(repeats):
        values = draw(rng, 0.0, sd_ip, *shape).ravel().tolist()
        for kind, made in kinds.items():
            interval = made(values, number)
            held[kind] += interval.low <= 0 <= interval.high  # type: ignore[attr-defined]
            widths[kind] += (interval.high - interval.low) / 2  # type: ignore[attr-defined]
    return {kind: (held[kind] / repeats, widths[kind] / repeats) for kind in kinds}


def tell_tests(arguments: argparse.Namespace) -> None:
    """Print false positives and power."""
    error = math.sqrt(0.05 * 0.95 / arguments.repeats)
    print(f"p < .05 in {arguments.repeats} studies (standard error of .05: {error:.4f}); spread of stories {SD_STORY}")
    print("                     no difference              .0068 (the paper's CLIP gap)    least detectable")
    print("  IPs x stories  sd_IP  by IP   by story        by IP   by story               planned  found")
    shapes = ((20, 10), (20, 2), (10, 10), (9, 10), (8, 10), (7, 10), (6, 10))
    for shape in shapes:
        for sd_ip in (0.0, 0.01, 0.02, 0.03) if shape == shapes[0] else (0.03,):
            null = share_rejected(0.0, sd_ip, shape, arguments)
            power = share_rejected(PAPER_GAP, sd_ip, shape, arguments)
            least = planned_difference(num_ips=shape[0], stories_per_ip=shape[1], sd_ip=sd_ip, sd_story=SD_STORY)
            planned = "      -      -"
            if least is not None:
                planned = f"  {least:.4f}   {share_rejected(least, sd_ip, shape, arguments)[0]:.3f}"
            print(
                f"  {shape[0]:>6} x {shape[1]:<4}  {sd_ip:.2f}   {null[0]:.3f}    {null[1]:.3f}"
                f"          {power[0]:.3f}    {power[1]:.3f}               {planned}"
            )


def tell_intervals(arguments: argparse.Namespace) -> None:
    """Print coverage."""
    repeats = max(1, arguments.repeats // 4)
    print(f"\n95 % intervals in {repeats} studies (standard error of .95: {math.sqrt(0.0475 / repeats):.3f})")
    for shape, sd_ip in (((20, 10), 0.03), ((20, 10), 0.0), ((10, 10), 0.03), ((5, 10), 0.03), ((3, 10), 0.03)):
        for kind, (held, width) in coverage(sd_ip, shape, arguments).items():
            print(
                f"  {shape[0]:>3} x {shape[1]} sd_IP {sd_ip:.2f}  {kind:<18} holds {held:.3f}, half-width {width:.4f}"
            )


def tell_cost(arguments: argparse.Namespace) -> None:
    """Print CPU seconds of the paper's size: 20 IPs x 10 stories, 10,000 draws."""
    values = draw(np.random.default_rng(arguments.seed), 0.0, 0.03, 20, 10).ravel()
    of = names(20, 10)
    stories = [f"s{number}" for number in range(200)]
    first, second = dict(zip(stories, values, strict=True)), dict.fromkeys(stories, 0.0)
    ips = dict(zip(stories, of, strict=True))
    means = values.reshape(20, 10).mean(axis=1)
    measured: dict[str, Callable[[], object]] = {
        "interval (IPs, then stories)": lambda: cluster_bootstrap(values.tolist(), of),
        "interval, BCa": lambda: cluster_bootstrap(values.tolist(), of, method="bca"),
        "paired comparison": lambda: paired_comparison(first, second, ips),
        "scipy, 20 IP means only": lambda: stats.bootstrap(
            (means,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
        ),
        "scipy, 200 stories apart": lambda: stats.bootstrap(
            (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(0)
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for _ in range(arguments.runs):
        for name, work in measured.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    print(f"\nCPU seconds for 200 stories, 10,000 draws (median of {arguments.runs} runs)")
    for name, taken in seconds.items():
        print(f"  {name:<30} {statistics.median(taken):.3f}")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=2_000, help="studies drawn for each share (default: %(default)s)"
    )
    parser.add_argument("--draws", type=int, default=1_000, help="draws of each interval (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=7, help="runs of the timing (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    arguments = parser.parse_args()
    tell_tests(arguments)
    tell_intervals(arguments)
    tell_cost(arguments)


if __name__ == "__main__":
    main()
