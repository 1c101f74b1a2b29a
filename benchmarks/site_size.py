"""How large a site is for whoever opens it, and how much memory and time its making takes.

Stories are generated from words (no media), so that the index is what is measured. Prints one line per size: files,
bytes of the first page, bytes of a search, processor time per story, and the growth of memory per story.

Example:
    python benchmarks/site_size.py --stories 1000 4000 16000
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from animeshooter_hf import Character, Scene, Shot, Story
from animeshooter_hf.dataset_builder.package import write_dataset
from animeshooter_hf.loading import load_stories
from animeshooter_hf.records import make_shot_id, make_story_id
from animeshooter_hf.site.write_site import SiteSettings, write_site

VOCABULARY = 20_000


def generated(number: int, seed: int) -> Story:
    """A story of twelve shots whose words are drawn as in a language: few are common, many are rare."""
    draw = random.Random(f"{seed} {number}")

    def words(count: int) -> str:
        return " ".join(f"word{int(VOCABULARY ** draw.random())}" for _ in range(count))

    story_id = make_story_id(f"film{number:06d}", 0)
    shots = [
        Shot(
            shot_id=make_shot_id(story_id, index), index=index, start_frame=index * 72, end_frame=index * 72 + 72,
            start_seconds=3.0 * index, end_seconds=3.0 * index + 3, characters=("Mia",), scene="Park",
            narrative_caption=words(15), descriptive_caption=words(49),
        )
        for index in range(12)
    ]  # fmt: skip
    return Story(
        video_id=f"film{number:06d}", story_id=story_id, frame_rate=24, start_frame=0, end_frame=12 * 72,
        storyline=words(40), characters=(Character(id="Mia", appearance=words(20)),),
        scenes=(Scene(id="Park", environment=words(20)),), shots=tuple(shots),
    )  # fmt: skip


def stories(count: int, seed: int) -> Iterator[Story]:
    """The stories, one by one."""
    return (generated(number, seed) for number in range(count))


def measure(count: int, seed: int, folder: Path) -> dict[str, float]:
    """Make a dataset and its site, and return what was measured."""
    write_dataset(folder / "dataset", stories(count, seed), progress=False)
    splits = sorted({path.name.split("-")[0] for path in (folder / "dataset" / "stories").glob("*.parquet")})
    views = {split: load_stories(folder / "dataset", split) for split in splits}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    report = write_site(folder / "site", views, SiteSettings(title="Generated"), progress=True)
    seconds = time.process_time() - start

    def size(*patterns: str) -> list[int]:
        return [path.stat().st_size for pattern in patterns for path in sorted((folder / "site").glob(pattern))]

    return {
        "stories": report.stories,
        "files": len(report.files),
        "megabytes": round(report.num_bytes / 1e6, 1),
        "first_page_kilobytes": round(
            (sum(size("index.html", "assets/*", "data/site/*")) + size("data/cards/*")[0]) / 1e3
        ),
        "facts_kilobytes": round(sum(size("data/facts/*")) / 1e3),
        "search_megabytes": round(sum(size("data/search/*")) / 1e6, 1),
        "largest_search_chunk_kilobytes": round(max(size("data/search/*")) / 1e3),
        "milliseconds_per_story": round(1000 * seconds / count, 2),
        "more_memory_megabytes": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024),
    }


def main() -> None:
    """Measure each size and print it as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, nargs="+", default=[1000, 4000], help="sizes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the words (default: %(default)s)")
    arguments = parser.parse_args()
    for count in arguments.stories:
        folder = Path(tempfile.mkdtemp(prefix="site_size_"))
        try:
            sys.stdout.write(json.dumps(measure(count, arguments.seed, folder)) + "\n")
            sys.stdout.flush()
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
