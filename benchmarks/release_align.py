"""How exact are the shots of a release after a build has set them to the cuts of the films?

Toon films with exact truth are told as the public release would tell them: its keys, times cut off to whole seconds,
masks at even spacing with one on the end of each shot. The release then goes through a whole build. Raw is the frame
that the release's time names, built the frame in the dataset; both against the true boundary (the middle of a
transition). Masks are compared one by one, statistics number by number.

    python benchmarks/release_align.py --films 4 --first-seed 700

Prints mean errors in frames and their ratio, for all boundaries and for those that the detector found, and what became
of masks and statistics.
"""

import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from animeshooter_hf.dataset_builder.annotate.sidecar import SidecarMasks, script_path
from animeshooter_hf.dataset_builder.build import build_dataset
from animeshooter_hf.dataset_builder.build_report import BuildReport
from animeshooter_hf.dataset_builder.build_settings import BuildSettings, SourceFiles
from animeshooter_hf.dataset_builder.quality.statistics import paper_statistics
from animeshooter_hf.dataset_builder.release.rewrite import to_release_json
from animeshooter_hf.records import ReferenceMask, Shot, Story
from animeshooter_hf.statistics import VideoFacts
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film

MASKS_PER_SHOT = 5

Truth = dict[str, dict[str, Any]]


def write_release(folder: Path, seeds: range, settings: FilmSettings) -> Truth:
    """Draw the films, move them away from their scripts, and tell them as a release; return the scripts."""
    for name in ("drawn", "videos", "release"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    scripts: Truth = {}
    for seed in seeds:
        name = f"toon-{seed:04d}"
        film = folder / "drawn" / f"{name}.mp4"
        render_film(ToonFilm.from_seed(seed, settings), film)
        film.rename(folder / "videos" / film.name)
        script = json.loads(script_path(film).read_text())
        told = [told_story(Story.from_json(row), SidecarMasks(script["masks"])) for row in script["stories"]]
        (folder / "release" / f"{name}.json").write_text(json.dumps(to_release_json(told)))
        scripts[name] = script
    return scripts


def told_story(story: Story, masks: SidecarMasks) -> Story:
    """Return a story with times of whole seconds and the masks of a release."""
    references = {
        (character.id, frame): mask
        for character in story.characters
        for shot in story.shots
        if character.id in shot.characters
        for frame in sampled(shot)
        if (mask := masks.mask_at(character.id, frame) or masks.mask_at(character.id, frame - 1)) is not None
    }
    return replace(
        story,
        shots=tuple(replace(shot, **whole_seconds(shot), audio=None) for shot in story.shots),
        references=tuple(
            ReferenceMask(character_id=name, frame_index=frame, mask=mask) for (name, frame), mask in references.items()
        ),
    )


def sampled(shot: Shot) -> list[int]:
    """Return frames at even spacing, the first one of the next shot among them."""
    return [int(frame) for frame in np.linspace(shot.start_frame or 0, shot.end_frame or 0, MASKS_PER_SHOT)]


def whole_seconds(shot: Shot) -> dict[str, float]:
    """Return the times of a shot, cut off to the second."""
    names = ("start_seconds", "end_seconds", "clip_start_seconds", "clip_end_seconds")
    times = {name: getattr(shot, name) for name in names}
    return {name: math.floor(time + 1e-6) for name, time in times.items() if time is not None}


def measure(scripts: Truth, report: BuildReport, settings: FilmSettings) -> dict[str, Any]:
    """Return the errors, and what became of masks and statistics."""
    raw: list[tuple[float, bool]] = []
    built: list[tuple[float, bool]] = []
    lost = 0
    masks: Counter[str] = Counter()
    for film in report.films:
        script = scripts[film.video_id]
        found = {frame for frame, *_ in film.outputs["scan"]["boundaries"]}
        rows = {row["story_id"]: Story.from_json(row) for row in film.outputs["script"]["stories"]}
        true_masks = SidecarMasks(script["masks"])
        for true in (Story.from_json(row) for row in script["stories"]):
            story = rows.get(true.story_id)
            frames = {} if story is None else {shot.descriptive_caption: shot.start_frame for shot in story.shots}
            for shot in true.shots[1:]:
                exact = shot.start_frame or 0
                stated = (true.start_frame or 0) + round(whole_seconds(shot)["start_seconds"] * settings.frame_rate)
                raw.append((abs(stated - exact), exact in found))
                frame = frames.get(shot.descriptive_caption)
                lost += frame is None
                built.append((abs((stated if frame is None else frame) - exact), exact in found))
            for one in film.outputs["references"]["references"].get(true.story_id, ()):
                mask = true_masks.mask_at(one["character_id"], one["frame_index"])
                kind = "planted where nobody is seen" if mask is None else "other"
                masks["equal" if mask is not None and mask.counts == one["mask"]["counts"] else kind] += 1
    return {"raw": raw, "built": built, "lost": lost, "masks": dict(masks)}


def equal_statistics(scripts: Truth, report: BuildReport, settings: FilmSettings) -> dict[str, bool]:
    """Return name -> whether a statistic is that of the truth; masks and sounds are not the scripts' and left out."""
    stories = [replace(Story.from_json(row), references=()) for one in scripts.values() for row in one["stories"]]
    facts = {name: VideoFacts(seconds=float(settings.num_frames / settings.frame_rate)) for name in scripts}
    true = paper_statistics(stories, videos=facts).to_json()
    told = report.quality["statistics"]
    return {
        name: told[kind][name] == value
        for kind in ("counts", "distributions")
        for name, value in true[kind].items()
        if "reference" not in name and "audio" not in name
    }


def main() -> int:
    """Run the benchmark and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=4, help="films (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=700, help="seed of the first one (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a film (default %(default)s)")
    parser.add_argument("--size", default="320x180", help="width x height (default %(default)s)")
    parser.add_argument("--media", choices=("full", "none"), default="none", help="cut clips too (default none)")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    settings = FilmSettings(width=width, height=height, seconds=arguments.seconds)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.films)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scripts = write_release(folder, seeds, settings)
        report = build_dataset(
            [f"release:{folder / 'release'}"],
            folder / "data",
            settings=BuildSettings(media=arguments.media, sources=SourceFiles(videos=folder / "videos")),
        )
        told = measure(scripts, report, settings)
        equal = equal_statistics(scripts, report, settings)
    say(told, equal, report)
    return 0


def say(told: dict[str, Any], equal: dict[str, bool], report: BuildReport) -> None:
    """Print the figures."""
    for which, keep in (("all boundaries", (True, False)), ("found by the detector", (True,))):
        raw = [error for error, is_found in told["raw"] if is_found in keep]
        built = [error for error, is_found in told["built"] if is_found in keep]
        if not raw:
            continue
        ratio = float(np.mean(built)) / float(np.mean(raw))
        exact = float(np.mean([error == 0 for error in built]))
        sys.stdout.write(
            f"{which:<22} {len(raw):>4}  raw {np.mean(raw):6.2f} frames  built {np.mean(built):6.3f} frames  "
            f"ratio {ratio:.3f}  exact {100 * exact:.1f} % (raw {100 * np.mean([error == 0 for error in raw]):.1f} %)\n"
        )
    other = [name for name, is_equal in equal.items() if not is_equal]
    sys.stdout.write(f"shots lost in aligning  {told['lost']}\n")
    sys.stdout.write(f"masks of the dataset    {told['masks']}\n")
    sys.stdout.write(f"verdicts                {report.counts('references')}\n")
    sys.stdout.write(
        f"statistics              {len(equal) - len(other)} of {len(equal)} equal{': not ' if other else ''}"
    )
    sys.stdout.write(f"{', '.join(other)}\nissues                  {report.counts('script', 'issue_counts')}\n")


if __name__ == "__main__":
    sys.exit(main())
