"""Measure `animeshooter stats` on generated text: CPU time per story and the peak of memory, at two sizes.

Each size runs in a process of its own. The texts are random words, so no two captions are equal: the worst case for
what the counters keep.

Example:
    python benchmarks/dataset_stats.py --stories 10000 100000
"""

import argparse
import itertools
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from animeshooter_hf import Character, ReferenceMask, Scene, Shot, Story
from animeshooter_hf.dataset_builder.package_writer import ConfigWriter, WriterSettings
from animeshooter_hf.dataset_builder.quality.dataset_stats import StatsCounter
from animeshooter_hf.dataset_builder.quality.stats_report import stats_text
from animeshooter_hf.dataset_builder.stats_source import open_stats_source
from animeshooter_hf.features import CONFIGS
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import make_shot_id, make_story_id


def write_stories(root: Path, num_stories: int, seed: int) -> None:
    """Write a `stories` config of random stories of the paper's sizes."""
    rng = random.Random(seed)
    words = [f"word{number}" for number in range(3000)]
    mask = RleMask.from_array(np.tile(np.eye(90, 160, dtype=bool), 1))
    writer = ConfigWriter(root, "stories", "train", CONFIGS["stories"], WriterSettings())

    def text(length: int) -> str:
        return " ".join(rng.choices(words, k=length))

    for number in range(num_stories):
        video_id = f"video{number // 5:07d}"
        story_id = make_story_id(video_id, number % 5)
        cuts = [0]
        for _ in range(rng.randint(8, 21)):
            cuts.append(cuts[-1] + rng.randint(24, 160))
        shots = [
            Shot(
                shot_id=make_shot_id(story_id, index), index=index, start_frame=start, end_frame=end,
                start_seconds=start / 24, end_seconds=end / 24, characters=("Mia",), scene="Park",
                narrative_caption=text(10), descriptive_caption=text(30),
            )
            for index, (start, end) in enumerate(itertools.pairwise(cuts))
        ]  # fmt: skip
        story = Story(
            video_id=video_id, story_id=story_id, frame_rate=Fraction(24), start_frame=0, end_frame=cuts[-1],
            storyline=text(33), characters=(Character(id="Mia", appearance=text(20)),),
            scenes=(Scene(id="Park", environment=text(12)),), shots=tuple(shots),
            references=tuple(ReferenceMask(character_id="Mia", frame_index=frame, mask=mask) for frame in (5, 9)),
        )  # fmt: skip
        writer.write_story([story.to_json()])
    writer.close()


def peak_kb() -> int:
    """Return the peak of this process's memory; Linux counts it anew in a new program, unlike `ru_maxrss`."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def measure(root: Path) -> None:
    """Count a folder and print what it took as JSON."""
    before = peak_kb()
    started = time.process_time()
    source = open_stats_source(str(root), with_media=False)
    counter = StatsCounter()
    for split in source.splits:
        counter.add(source.stories(split), split)
    stats = counter.finish(source.name, files={})
    stats_text(stats)
    peak = peak_kb()
    counts = stats.whole.counts
    told = {"stories": counts["stories"], "shots": counts["shots"], "seconds": time.process_time() - started}
    sys.stdout.write(json.dumps({**told, "added_mb": (peak - before) / 1024, "peak_mb": peak / 1024}))


def main() -> None:
    """Run each size and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, nargs="+", default=[5_000, 50_000], help="sizes to measure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    for size in arguments.stories:
        with tempfile.TemporaryDirectory() as folder:
            write_stories(Path(folder), size, arguments.seed)
            command = [sys.executable, __file__, "--measure", folder]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{told['stories']:,} stories, {told['shots']:,} shots: {told['seconds']:.1f} CPU s "
            f"({1000 * told['seconds'] / told['stories']:.2f} ms per story), peak {told['peak_mb']:.0f} MB, "
            f"{told['added_mb']:.0f} MB above the imports",
            flush=True,
        )


if __name__ == "__main__":
    main()
