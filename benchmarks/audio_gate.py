"""Measure the audio stage on toon films whose sound is known exactly: gate, joint boundaries, events, speed.

Sound is mixed in code, encoded as AAC into an mp4 with a blank picture, decoded again, and never seen before that. A
part is truly speech (or music) when more than half of its time is covered by it in the script. Toon speech is babble
of synthetic vowels and toon music a tune over chords; on real films the figures will be lower.

    python benchmarks/audio_gate.py --seeds 5000 5019

Fitted on seeds 4000 to 4011; do not measure on those. Prints one block per question.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from animeshooter_hf.dataset_builder.audio.events import sound_events
from animeshooter_hf.dataset_builder.audio.features import SoundAccumulator, SoundFeatures
from animeshooter_hf.dataset_builder.audio.gate import SoundShares, Stretch, judge_shares, sound_shares, sound_stretches
from animeshooter_hf.dataset_builder.audio.joint import joint_shots, true_joint_shots
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.toon.script import MaskRecorder, write_script
from animeshooter_hf.video import FrameIndex, index_frames, write_video

STRUCK = ("footstep", "thud", "tap", "pop", "splash", "bell", "bounce", "rumble", "zap", "boing", "slide_whistle")
AAC_FRAME_MS = 1024 / 44_100 * 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One film: what its file gave, and the truth."""

    seed: int
    script: Mapping[str, Any]
    features: SoundFeatures
    index: FrameIndex
    cpu_seconds: float
    """Of decoding the sound and taking the features."""


@dataclass(slots=True)
class Score:
    """Right and wrong decisions."""

    hits: int = 0
    false: int = 0
    missed: int = 0

    def add(self, found: bool, true: bool) -> None:
        """Count a decision."""
        self.hits += found and true
        self.false += found and not true
        self.missed += true and not found

    def __str__(self) -> str:
        precision = self.hits / (self.hits + self.false) if self.hits + self.false else float("nan")
        recall = self.hits / (self.hits + self.missed) if self.hits + self.missed else float("nan")
        counts = f"{self.hits} hit, {self.false} false, {self.missed} missed"
        return f"precision {precision:.3f}  recall {recall:.3f}  ({counts})"


def load_cases(seeds: Sequence[int], seconds: float, folder: Path, rate: int) -> Iterator[Case]:
    """Yield the films of some seeds, each through a real mp4."""
    for seed in seeds:
        film = ToonFilm.from_seed(seed, FilmSettings(seconds=seconds, audio_sample_rate=rate))
        path = folder / f"{seed}.mp4"
        blank = np.zeros((16, 16, 3), np.uint8)
        write_video(
            path, (blank for _ in range(film.num_frames)), film.settings.frame_rate,
            audio=film.audio(), sample_rate=rate, preset="ultrafast",
        )  # fmt: skip
        index = index_frames(path)
        began = time.process_time()
        accumulator = SoundAccumulator(Fraction(int(index.pts[0])) * index.time_base)
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                accumulator.add(frame)
        features = accumulator.finish()
        spent = time.process_time() - began
        if features is None:
            raise SystemExit(f"The film of seed {seed} has no sound.")
        path.unlink()
        script = write_script(film, MaskRecorder(film))
        yield Case(seed=seed, script=script, features=features, index=index, cpu_seconds=spent)


def truth_of(script: Mapping[str, Any], begin: float, end: float) -> SoundShares:
    """Return the true shares of a range of time."""
    told = [Stretch(a, b, "speech", 1.0) for a, b in script["speech"]]
    told += [Stretch(a, b, "music", 1.0) for a, b in script["music"]]
    told += [Stretch(one["start_seconds"], one["end_seconds"], "effect", 1.0) for one in script["sounds"]]
    return sound_shares(told, begin, end)


def measure_gate(cases: Sequence[Case]) -> None:
    """Print how well speech and music exclude audio shots and segments, by features alone."""
    scores = {name: Score() for name in ("speech", "music", "excluded", "clear cases only", "segment excluded")}
    verdicts: Counter[str] = Counter()
    for case in cases:
        stretches = sound_stretches(case.features)
        cuts = [one["frame"] for one in case.script["boundaries"]]
        parts = [(shot.start_seconds, shot.end_seconds) for shot in joint_shots(cuts, case.index, case.features)]
        for begin, end in parts:
            found, true = sound_shares(stretches, begin, end), truth_of(case.script, begin, end)
            scores["speech"].add(found.speech > 0.5, true.speech > 0.5)
            scores["music"].add(found.music > 0.5, true.music > 0.5)
            is_true = max(true.speech, true.music) > 0.5
            scores["excluded"].add(max(found.speech, found.music) > 0.5, is_true)
            verdict = judge_shares(found)
            verdicts[verdict] += 1
            if verdict != "borderline":
                scores["clear cases only"].add(verdict in ("speech", "music"), is_true)
        whole = (0.0, case.index.seconds(len(case.index)))
        found, true = sound_shares(stretches, *whole), truth_of(case.script, *whole)
        scores["segment excluded"].add(max(found.speech, found.music) > 0.5, max(true.speech, true.music) > 0.5)
    print("gate, a decision per audio shot (> 50 % covered), features alone, no annotator")
    for name, score in scores.items():
        print(f"  {name:18} {score}")
    print(f"  verdicts           {dict(sorted(verdicts.items()))}; borderline ones go to the annotator")


def measure_joint(cases: Sequence[Case]) -> None:
    """Print how well the boundaries of audio shots are found, given the cuts of the picture."""
    score, errors = Score(), []
    too_short = untiled = 0
    for case in cases:
        cuts = [one["frame"] for one in case.script["boundaries"]]
        shots = joint_shots(cuts, case.index, case.features)
        true = {start for start, _ in true_joint_shots(case.script)} - {0}
        found = {shot.start_frame for shot in shots} - {0}
        for frame in found | true:
            score.add(frame in found, frame in true)
        rate = Fraction(case.script["frame_rate"])
        errors += [abs(case.index.seconds(frame) - float(frame / rate)) * 1000 for frame in found & true]
        too_short += sum(shot.end_seconds - shot.start_seconds <= 3 for shot in shots)
        ends = [0, *(shot.end_frame for shot in shots)]
        untiled += ends[:-1] != [shot.start_frame for shot in shots] or ends[-1] != len(case.index)
    print("joint boundaries, given the true cuts of the picture")
    print(f"  boundaries         {score}")
    print(f"  error of a hit     at most {max(errors, default=0):.3f} ms (an AAC frame is {AAC_FRAME_MS:.1f} ms)")
    print(f"  shots of 3 s or less: {too_short}; films not tiled: {untiled}")


def measure_events(cases: Sequence[Case]) -> None:
    """Print how far the found beginnings of sounds lie from the true ones."""
    starts: dict[str, list[float]] = {}
    ends: list[float] = []
    missed: Counter[str] = Counter()
    for case in cases:
        events = sound_events(case.features)
        found = np.array([event.start_seconds for event in events])
        for sound in case.script["sounds"]:
            group = "struck" if sound["kind"] in STRUCK else "swelling"
            nearest = int(np.abs(found - sound["start_seconds"]).argmin())
            error = 1000 * (found[nearest] - sound["start_seconds"])
            starts.setdefault(group, [])
            if abs(error) > 150:
                missed[group] += 1
                continue
            starts[group].append(abs(error))
            if group == "struck":
                ends.append(abs(1000 * (events[nearest].end_seconds - sound["end_seconds"])))
    print("events")
    for group, errors in sorted(starts.items()):
        share = sum(error <= AAC_FRAME_MS for error in errors) / (len(errors) + missed[group])
        median, high = np.percentile(errors, [50, 99])
        print(
            f"  {group:9} beginnings: {share:.3f} within an AAC frame; median {median:.1f} ms, "
            f"99 % within {high:.1f} ms; {missed[group]} of {len(errors) + missed[group]} not found"
        )
    print(f"  struck    ends: median error {np.median(ends):.0f} ms (the next sound often begins first)")


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=(5000, 5019), metavar=("FIRST", "LAST"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--sample-rate", type=int, default=44_100)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds[0], arguments.seeds[1] + 1)
    with tempfile.TemporaryDirectory() as folder:
        cases = list(load_cases(seeds, arguments.seconds, Path(folder), arguments.sample_rate))
    print(json.dumps({"seeds": list(arguments.seeds), "seconds": arguments.seconds, "films": len(cases)}))
    measure_gate(cases)
    measure_joint(cases)
    measure_events(cases)
    per_minute = np.array([60 * case.cpu_seconds / arguments.seconds for case in cases])
    print(f"speed\n  CPU seconds per minute of AAC, decoding included: median {np.median(per_minute):.3f}")


if __name__ == "__main__":
    main()
