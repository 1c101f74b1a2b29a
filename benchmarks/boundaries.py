"""Shot boundaries: our one-pass detector against PySceneDetect's Adaptive and Hash detectors, at their defaults.

Films are drawn in code, so the truth is exact: hard cuts (also between alike shots of one scene), fades, dissolves, and
shots with a trap in them (flash, whip pan, shake, sweep, hold). A found boundary counts if it lies within one frame of
a cut, or inside a transition; each true boundary takes one. Real animation is not measured here.

    python benchmarks/boundaries.py --seeds 2000-2011
    python benchmarks/boundaries.py --seeds 1000-1011 --cut-share 0.15 --size 320x180 --detectors own

The detector was fixed on films of seeds 1000 to 1011; use others to measure. PySceneDetect comes with the extra
`shots`. Prints F1, recall by kind, false boundaries (also those in shots with a trap) and (1 - F1) of ours to theirs.
"""

import argparse
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from animeshooter_hf.dataset_builder.scan.boundaries import BoundaryScores, boundary_scores, recall_by_kind
from animeshooter_hf.dataset_builder.scan.one_pass import ScanSettings, scan_film
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.toon.script import MaskRecorder, write_script
from animeshooter_hf.video import write_video


@dataclass(frozen=True)
class Film:
    """A rendered film and what is true of it."""

    path: Path
    """The mp4."""

    boundaries: list[tuple[int, int, str]]
    """(first, last, kind) of each true boundary."""

    trap_shots: list[tuple[int, int, str]]
    """(start, end, trap) of each shot that holds a trap."""


def render(seed: int, settings: FilmSettings, folder: Path) -> Film:
    """Return a film, rendered into the folder unless it is there."""
    film = ToonFilm.from_seed(seed, settings)
    name = f"{settings.fingerprint(seed)}-{seed}"
    path, script = folder / f"{name}.mp4", folder / f"{name}.json"
    if not script.exists():
        frames = (film.frame(index) for index in range(film.num_frames))
        write_video(path, frames, settings.frame_rate)
        script.write_text(json.dumps(write_script(film, MaskRecorder(film))))
    truth = json.loads(script.read_text())
    boundaries = []
    for one in truth["boundaries"]:
        is_cut = one["kind"] == "cut"
        span = (one["frame"], one["frame"]) if is_cut else (one["start_frame"], one["end_frame"])
        boundaries.append((*span, one["kind"]))
    shots = [shot for story in truth["stories"] for shot in story["shots"]]
    traps = [
        (shot["start_frame"], shot["end_frame"], truth["shot_truth"][shot["shot_id"]]["trap"])
        for shot in shots
        if truth["shot_truth"][shot["shot_id"]]["trap"] != "none"
    ]
    return Film(path, boundaries, traps)


def find_own(path: Path) -> list[int]:
    """Return what our detector finds."""
    return [one.frame for one in scan_film(path, ScanSettings()).boundaries]


def scenedetect_finder(name: str) -> Callable[[Path], list[int]]:
    """Return PySceneDetect's own reading and one of its detectors at its defaults."""
    import scenedetect

    logging.getLogger("pyscenedetect").setLevel(logging.ERROR)

    def find(path: Path) -> list[int]:
        detector: Any = getattr(scenedetect, name)()
        return [start.frame_num for start, _ in scenedetect.detect(str(path), detector)][1:]

    return find


def score(films: list[Film], find: Callable[[Path], list[int]]) -> tuple[BoundaryScores, dict[str, list[int]], Any]:
    """Return the scores over all films, found and true by kind, and false boundaries by trap."""
    counts, kinds = [0, 0, 0], {kind: [0, 0] for kind in ("cut", "fade", "dissolve")}
    false_in_traps: list[str] = []
    for film in films:
        found = find(film.path)
        one = boundary_scores(found, [span[:2] for span in film.boundaries])
        counts = [a + b for a, b in zip(counts, (one.num_found, one.num_true, one.num_matched), strict=True)]
        for kind, (hits, total) in recall_by_kind(found, film.boundaries).items():
            kinds[kind][0] += hits
            kinds[kind][1] += total
        for frame in found:
            if any(first - 1 <= frame <= last + 1 for first, last, _ in film.boundaries):
                continue
            false_in_traps += [f"{trap}@{frame}" for start, end, trap in film.trap_shots if start <= frame < end]
    total = BoundaryScores.of(num_found=counts[0], num_true=counts[1], num_matched=counts[2])
    return total, kinds, false_in_traps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="2000-2011", help="first and last seed (default: %(default)s)")
    parser.add_argument("--size", default="640x360", help="of the films (default: %(default)s)")
    parser.add_argument("--frame-rate", type=Fraction, default=Fraction(24), help="such as 24 or 30000/1001")
    parser.add_argument("--seconds", type=float, default=60, help="length of a film (default: %(default)s)")
    parser.add_argument("--cut-share", type=float, default=0.8, help="share of hard cuts (default: %(default)s)")
    parser.add_argument("--detectors", default="own,AdaptiveDetector,HashDetector", help="default: %(default)s")
    parser.add_argument("--films", type=Path, help="folder that keeps the rendered films")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    width, height = map(int, arguments.size.split("x"))
    settings = FilmSettings(
        width=width, height=height, seconds=arguments.seconds,
        frame_rate=arguments.frame_rate, cut_share=arguments.cut_share,
    )  # fmt: skip
    with TemporaryDirectory() as temporary:
        folder = arguments.films or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        films = [render(seed, settings, folder) for seed in range(int(first), int(last or first) + 1)]
        traps = sum(len(film.trap_shots) for film in films)
        print(f"{len(films)} films of seeds {arguments.seeds}, {traps} shots with a trap")
        errors: dict[str, float] = {}
        for name in arguments.detectors.split(","):
            scores, kinds, false_in_traps = score(films, find_own if name == "own" else scenedetect_finder(name))
            errors[name] = 1 - (scores.f1 or 0.0)
            by_kind = "  ".join(f"{kind} {hits}/{total}" for kind, (hits, total) in kinds.items())
            print(
                f"{name:18} F1 {scores.f1 or 0:.4f}  {by_kind}  false {scores.num_found - scores.num_matched}"
                f"  in shots with a trap {len(false_in_traps)} {' '.join(false_in_traps)}"
            )
        for name, error in errors.items():
            if name != "own" and "own" in errors:
                print(f"(1 - F1) own / {name}: {errors['own'] / error if error else float('nan'):.3f}")


if __name__ == "__main__":
    main()
