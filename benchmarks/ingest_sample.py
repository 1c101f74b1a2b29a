"""Ingest the public sample of the release in fresh processes, and say how many processor seconds one takes.

    python benchmarks/ingest_sample.py ../shared/release-sample/LvJRvwIDh0E.json --runs 5

Prints every run, their median, and the bar: two processor seconds, the start of Python and all imports included.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BAR_SECONDS = 2.0


def ingest(sample: Path, out: Path) -> float:
    """Return the processor seconds of one run of the verb in a process of its own."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "animeshooter_hf", "ingest", str(sample), "--out", str(out)],
        check=True,
        capture_output=True,
    )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Measure, and return 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path, help="an annotation file of the release")
    parser.add_argument("--runs", type=int, default=5, help="fresh processes (default %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = [ingest(arguments.sample, Path(folder) / str(run)) for run in range(arguments.runs)]
    median = statistics.median(seconds)
    print("runs   " + " ".join(f"{one:.2f}" for one in seconds))
    print(f"median {median:.2f} processor seconds; the bar is {BAR_SECONDS:.1f}")
    return int(median >= BAR_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
