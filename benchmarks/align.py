"""How exact are shot boundaries after aligning, and is any wrong answer taken in silence?

Toon films with exact truth; annotators that state MM:SS: cut off to the second, rounded, and rounded with a second more
or less now and then. Raw is the frame of the stated time, aligned the frame after matching to cuts; both against the
true boundary (the middle of a transition). A boundary that aligning lost counts with its raw error and as not exact.
Cuts are the true ones, and those that the detector finds. Then every kind of noise is put into the answers: an answer
is silent if its story differs from the clean one's and no issue names the noise.

    python benchmarks/align.py --films 12 --first-seed 500

Prints mean errors in frames, their ratio, and the share of exact boundaries; then the noise table. Default seeds are
not those that the settings were fixed on (100 to 105).
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.annotate.noise_kinds import NOISE
from animeshooter_hf.dataset_builder.annotate.noisy import NoisyAnnotator
from animeshooter_hf.dataset_builder.annotate.sidecar import script_path
from animeshooter_hf.dataset_builder.annotate.truth import TruthAnnotator, script_segments
from animeshooter_hf.dataset_builder.scan.one_pass import scan_film
from animeshooter_hf.dataset_builder.script.align import Aligned, AlignSettings, align_script
from animeshooter_hf.dataset_builder.script.question import clock_text
from animeshooter_hf.dataset_builder.script.timeline import SnapSettings
from animeshooter_hf.dataset_builder.segments import Segment, make_segments
from animeshooter_hf.dataset_builder.sources.folder import find_films
from animeshooter_hf.toon import FilmSettings, ToonFilm, render_film
from animeshooter_hf.video import index_frames

CLOCKS = ("floor", "round", "jitter")


def make_requests(folder: Path, seed: int, settings: FilmSettings) -> dict[str, list[ScriptRequest]]:
    """Return the requests of a film with its true cuts and with the detected ones."""
    path = folder / f"toon-{seed:04d}.mp4"
    if not script_path(path).is_file():
        render_film(ToonFilm.from_seed(seed, settings), path)
    film = find_films([path])[0][0]
    index = index_frames(path)
    truth = [row["frame"] for row in json.loads(script_path(path).read_text())["boundaries"]]
    found = [boundary.frame for boundary in scan_film(path).boundaries]
    parts: dict[str, tuple[list[Segment], list[int]]] = {
        "true": (script_segments(film), truth),
        "detected": (make_segments(found, len(index), float(film.info.frame_rate)), found),
    }
    return {
        name: [
            ScriptRequest(
                film=film,
                segment_index=number,
                segment=segment,
                cuts=_inside(cuts, segment),
                samples=(),
                index=index,
            )
            for number, segment in enumerate(segments)
        ]
        for name, (segments, cuts) in parts.items()
    }


def _inside(cuts: Sequence[int], segment: Segment) -> tuple[int, ...]:
    return tuple(cut for cut in cuts if segment.start_frame < cut < segment.end_frame)


def boundary_errors(
    request: ScriptRequest, clock: str, random: Random, settings: AlignSettings
) -> list[tuple[float, float | None, bool]]:
    """Return (raw error, aligned error, is a hard cut) of each true boundary in a segment, in frames.

    The aligned error is None where aligning lost the shot.
    """
    rows = json.loads(script_path(request.film.path).read_text())["boundaries"]
    hard = {row["frame"] for row in rows if row["kind"] == "cut"}
    truth = json.loads(str(TruthAnnotator("frames").write_script(request).text))
    start, end = request.segment.start_frame, request.segment.end_frame
    true_frames = [shot["start frame"] for shot in truth["shots"][1:]]
    times = sorted(_state(request.index.seconds_between(start, frame), clock, random) for frame in true_frames)
    joints = [0.0, *times, float(int(request.index.seconds_between(start, end)))]
    for number, shot in enumerate(truth["shots"]):
        del shot["start frame"], shot["end frame"]
        shot["start time"], shot["end time"] = clock_text(joints[number]), clock_text(joints[number + 1])
        shot["narrative caption"] = f"shot {number}"
    aligned = align_script(request, json.dumps(truth), settings=settings)
    told = {} if aligned.story is None else {shot.narrative_caption: shot.start_frame for shot in aligned.story.shots}
    origin = request.index.seconds(start)
    errors: list[tuple[float, float | None, bool]] = []
    for number, (frame, time) in enumerate(zip(true_frames, times, strict=True), 1):
        placed = told.get(f"shot {number}")
        raw = abs(request.index.frame_at(origin + time) - frame)
        errors.append((raw, None if placed is None else abs(placed - frame), frame in hard))
    return errors


def _state(seconds: float, clock: str, random: Random) -> float:
    if clock == "floor":
        return float(int(seconds))
    return max(0.0, float(round(seconds) + (random.choice([-1, 0, 0, 1]) if clock == "jitter" else 0)))


def print_errors(requests: dict[str, list[ScriptRequest]], settings: AlignSettings) -> None:
    """Print a line per kind of cuts, clock and boundary."""
    print(
        f"{'cuts':9} {'clock':7} {'boundary':9} {'number':>6} {'raw':>6} {'aligned':>8} {'ratio':>6} {'exact':>7} lost"
    )
    for name, asked in requests.items():
        for clock in CLOCKS:
            random = Random(clock)
            errors = [error for request in asked for error in boundary_errors(request, clock, random, settings)]
            for boundary, chosen in (("all", errors), ("hard cut", [error for error in errors if error[2]])):
                raw = np.array([before for before, _, _ in chosen], float)
                after = np.array([before if behind is None else behind for before, behind, _ in chosen], float)
                lost = sum(behind is None for _, behind, _ in chosen)
                exact = sum(behind == 0 for _, behind, _ in chosen) / len(chosen)
                print(
                    f"{name:9} {clock:7} {boundary:9} {len(chosen):6d} {raw.mean():6.2f} {after.mean():8.3f} "
                    f"{after.mean() / raw.mean():6.3f} {exact:7.1%} {lost:4d}"
                )


def noise_outcome(clean: Aligned, noisy: Aligned, kinds: Sequence[str]) -> str:
    """Return what became of a disturbed answer: "repaired", "reported", "no story" or "SILENT"."""
    before = {issue.code: issue.count for issue in clean.issues}
    new = {issue.code for issue in noisy.issues if issue.count > before.get(issue.code, 0)}
    if noisy.story == clean.story:
        return "repaired"
    if not all(NOISE[kind].codes & new for kind in kinds):
        return "SILENT"
    return "no story, reported" if noisy.story is None else "reported"


def print_noise(requests: Sequence[ScriptRequest], seeds: Sequence[int]) -> int:
    """Print how often each kind of noise was repaired and reported; return how many answers were silent."""
    total: Counter[str] = Counter()
    num_kinds = 0
    for mode in ("cuts", "clock"):
        truth = TruthAnnotator(mode)
        clean = [align_script(request, truth.write_script(request).text) for request in requests]
        for kind in NOISE:
            counts: Counter[str] = Counter()
            for seed in seeds:
                noisy = NoisyAnnotator(truth, 1.0, seed, [kind])
                for request, good in zip(requests, clean, strict=True):
                    result = align_script(request, noisy.write_script(request).text)
                    if noisy.injected_for(request):
                        counts[noise_outcome(good, result, [kind])] += 1
            num_kinds += bool(counts)
            total.update(counts)
            if counts["SILENT"]:
                print(f"  {mode} {kind}: {dict(counts)}")
    print(f"noise: {sum(total.values())} disturbed answers, {len(NOISE)} kinds, {num_kinds} in a mode: {dict(total)}")
    return total["SILENT"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=12, help="how many films")
    parser.add_argument("--first-seed", type=int, default=500, help="seed of the first film")
    parser.add_argument("--seconds", type=float, default=60, help="length of a film")
    parser.add_argument("--width", type=int, default=320, help="width of a film in pixels")
    parser.add_argument("--noise-seeds", type=int, default=20, help="seeds per kind of noise; 0 leaves noise out")
    parser.add_argument("--noise-films", type=int, default=4, help="films that noise is put into")
    parser.add_argument("--tolerance", type=float, default=SnapSettings().tolerance_seconds)
    parser.add_argument("--cut-skip-cost", type=float, default=SnapSettings().cut_skip_cost_seconds)
    parser.add_argument("--folder", type=Path, help="keep the films here")
    arguments: Any = parser.parse_args(argv)
    film_settings = FilmSettings(width=arguments.width, height=arguments.width * 9 // 16, seconds=arguments.seconds)
    settings = AlignSettings(
        snap=SnapSettings(cut_skip_cost_seconds=arguments.cut_skip_cost, tolerance_seconds=arguments.tolerance)
    )
    requests: dict[str, list[ScriptRequest]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.films)
        for seed in seeds:
            for name, asked in make_requests(arguments.folder or Path(scratch), seed, film_settings).items():
                requests.setdefault(name, []).extend(asked)
        print_errors(requests, settings)
        noise_requests = [one for name in requests for one in requests[name][: arguments.noise_films]]
        silent = print_noise(noise_requests, range(arguments.noise_seeds)) if arguments.noise_seeds else 0
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main())
