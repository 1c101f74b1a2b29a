"""Which controls flag which attacks, and whether they flag anything real.

Real stories are toon films drawn from seeds and, if given, a folder of true stories such as the paper's demos. Each
attack of `eval/adversarial.py` is applied to all of them, and every set is scored with `shot_controls` alone.

Printed per set: a table control x attack of flagged stories, then what is wrong with it (real stories that are flagged,
attacked stories that are not flagged by the control that is made for them), the range of every tested number for real
and attacked stories beside its limit, and the cost of the controls beside the decoding.

The limits in `eval/controls.py` were chosen on seeds 100 to 115; check on others.

    python benchmarks/attacks.py --first-seed 300 --films 16 --demos ../shared/release-sample/demos
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2

from animeshooter_hf.eval.adversarial import ATTACKS, attack_stories
from animeshooter_hf.eval.control_features import MotionMeasures, PictureMeasures
from animeshooter_hf.eval.controls import CONTROLS
from animeshooter_hf.eval.copying import cut_to_box, match_cutout
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_feature import ShotFacts, ShotMedia
from animeshooter_hf.eval.shot_media import read_picture
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.toon import FilmSettings, ToonFilm, character_reference
from animeshooter_hf.video.reading import probe, read_frames
from animeshooter_hf.video.writing import VideoWriter


def toon_story(seed: int, settings: FilmSettings, most_shots: int) -> StoryPrediction:
    """Return the first story of a film as a perfect model would make it: its true shots, and references drawn apart."""
    film = ToonFilm.from_seed(seed, settings)
    shots = [s for s in film.plan.shots if s.story_index == 0 and s.scene_id is not None][:most_shots]
    clips = []
    for shot in shots:
        following = film.plan.shots[shot.index + 1] if shot.index + 1 < len(film.plan.shots) else None
        end = shot.end_frame - (following.transition_half if following else 0)
        with VideoWriter(None, settings.width, settings.height, settings.frame_rate) as writer:
            for index in range(shot.start_frame + shot.transition_half, end):
                writer.write_frame(film.frame(index))
        clips.append(writer.getvalue())
    cast = dict.fromkeys(placement.character_id for shot in shots for placement in shot.placements)
    return StoryPrediction(
        story_id=film.film_id,
        ip_id=film.film_id,
        shots=tuple(clips),
        references=tuple(character_reference(film.plan.character[name], style=film.plan.style) for name in cast),
        reference_characters=tuple(cast),
        shot_characters=tuple(tuple(placement.character_id for placement in shot.placements) for shot in shots),
        scene_ids=tuple(shot.scene_id for shot in shots),
    )


def check(name: str, stories: Sequence[StoryPrediction], seed: int, workers: int) -> int:
    """Print the table of one set; return how many verdicts are wrong."""
    runs: dict[str, Results] = {"real": evaluate_stories(stories, "shot_controls", num_workers=workers, draws=0)}
    for kind in ATTACKS:
        attacked = attack_stories(stories, kind, seed)
        runs[kind] = evaluate_stories(attacked, "shot_controls", num_workers=workers, draws=0)
    print(f"\n{name}: {len(stories)} stories, {len({story.ip_id for story in stories})} IPs; flagged (of those tested)")
    print(f"{'':18s}" + "".join(f"{control.name:>17s}" for control in CONTROLS))
    for kind, results in runs.items():
        gates = {gate.control: gate for gate in results.gates}
        cells = [f"{gates[c.name].num_flagged}/{gates[c.name].num_tested}" for c in CONTROLS]
        print(f"{kind:18s}" + "".join(f"{cell:>17s}" for cell in cells))
    wrong = [f"real {story}: {', '.join(flags)}" for story, flags in runs["real"].flags.items() if flags]
    for kind, attack in ATTACKS.items():
        for story in stories:
            missing = set(attack.expected) - set(runs[kind].flags.get(story.story_id, ()))
            wrong += [f"{kind} {story.story_id}: not {', '.join(sorted(missing))}"] if missing else []
    print("wrong verdicts:", len(wrong), *wrong, sep="\n  ")
    print("numbers (smallest, median, largest):")
    for control in CONTROLS:
        expecting = [kind for kind, attack in ATTACKS.items() if control.name in attack.expected]
        for kind in ("real", *expecting):
            known = sorted(v for s in runs[kind].stories.values() if (v := _number(s, control.number)) is not None)
            if known:
                spread = f"{known[0]:.3f} {statistics.median(known):.3f} {known[-1]:.3f}"
                print(f"  {control.number:18s} {kind:16s} {spread}   limit: {control.words}")
    for kind in ("real", "shuffled_shots"):
        known = [v for s in runs[kind].stories.values() if (v := _number(s, "order_fit")) is not None]
        if known:
            print(f"  {'order_fit':18s} {kind:16s} mean {statistics.mean(known):.3f} of {len(known)} stories")
    return len(wrong)


def _number(scores: object, name: str) -> float | None:
    return scores["shot_controls"].values[name]  # type: ignore[index]


def measure_cost(name: str, stories: Sequence[StoryPrediction]) -> None:
    """Print CPU milliseconds per shot: decoding five frames, decoding those of the controls, and the controls."""
    cost: dict[str, list[float]] = {}

    def timed(what: str, started: float) -> None:
        cost.setdefault(what, []).append(1000 * (time.process_time() - started))

    frames = []
    for story in stories:
        cutouts = [cut_to_box(read_picture(picture)) for picture in story.references]
        for shot in story.shots:
            info = probe(shot)
            facts = ShotFacts(num_frames=info.num_frames, frame_rate=float(info.frame_rate))
            wanted = sorted({f for one in (MotionMeasures(), PictureMeasures()) for f in one.frames_wanted(facts)})
            frames.append(len(wanted))
            started = time.process_time()
            read_frames(shot, sample_frames(info.num_frames, 5))
            timed("decode for 5 frames", started)
            started = time.process_time()
            media = ShotMedia(facts=facts, frames=dict(zip(wanted, read_frames(shot, wanted), strict=True)))
            timed("decode for the controls", started)
            started = time.process_time()
            MotionMeasures().extract(media)
            timed("motion", started)
            started = time.process_time()
            pictures = PictureMeasures().extract(media)
            timed("pictures", started)
            started = time.process_time()
            for cutout in cutouts:
                match_cutout(pictures["frame"], cutout)
            timed("search for references", started)
    print(f"\n{name}: CPU ms per shot (median), {statistics.median(frames):g} frames converted")
    for what, values in cost.items():
        print(f"  {what:26s} {statistics.median(values):7.1f}")


def main() -> None:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-seed", type=int, default=300, help="seed of the first toon film (default 300)")
    parser.add_argument("--films", type=int, default=16, help="toon films, each with its first story (default 16)")
    parser.add_argument("--shots", type=int, default=4, help="most shots of a toon story (default 4)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a toon film (default 20)")
    parser.add_argument("--size", default="320x180", help="pixels of the toon films (default 320x180)")
    parser.add_argument("--frame-rate", default="24", help="frames per second of the toon films (default 24)")
    parser.add_argument("--attack-seed", type=int, default=1, help="chance of the attacks (default 1)")
    parser.add_argument("--demos", type=Path, help="folder or file of true stories, such as the paper's demos")
    parser.add_argument("--workers", type=int, default=1, help="processes that decode (default 1)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = map(int, arguments.size.split("x"))
    rate = Fraction(arguments.frame_rate)
    settings = FilmSettings(width=width, height=height, seconds=arguments.seconds, frame_rate=rate)
    sets = {}
    if arguments.demos:
        sets[str(arguments.demos.name)] = list(read_predictions(arguments.demos))
    if arguments.films:
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.films)
        sets[f"toon {seeds[0]}-{seeds[-1]}"] = [toon_story(seed, settings, arguments.shots) for seed in seeds]
    wrong = 0
    for name, stories in sets.items():
        wrong += check(name, stories, arguments.attack_seed, arguments.workers)
        measure_cost(name, stories)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
