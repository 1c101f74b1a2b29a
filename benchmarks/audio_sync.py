"""Measure whether `sync_auc` tells sound that belongs to the picture from sound that does not, and what it costs.

    python benchmarks/audio_sync.py --seeds 800 811 --demos ../shared/release-sample/demos

Sets, each scored by the library's own feature and metric:

    clicks    a click wherever the picture moves most, the rest near silence: synchronised by construction
    late      the same, half a second too late: the beginning of the click track wraps round
    effects   toon films with their effects alone, each beginning with the frame in which its cause is seen
    own       the film's own sound: for toon films effects, speech and music; for the paper's demos generated sound
    foreign   every shot with the sound of the next shot: what chance gives

Toon shots of fewer than 24 frames, and for `effects` those of fewer than two effects, are left out. The constants of
`audio_scores.py` and `audio_features.py` were chosen on seeds 300 to 305 and on the demos, the number of frames looked
at on seeds 700 to 715; measure on others.

The cost is CPU time per demo shot: decoding with five frames, with what sync wants, and with every second of them.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.audio_features import FRAMES_PER_SECOND, SoundFeature, motion_energy
from animeshooter_hf.eval.backbones.base import load_backbone
from animeshooter_hf.eval.encoding import EncodedShot, EncodedStory, EncodingSettings
from animeshooter_hf.eval.metrics.audio_alignment import AudioAlignment
from animeshooter_hf.eval.sampling import sample_frames
from animeshooter_hf.eval.shot_feature import ShotFacts, ShotMedia
from animeshooter_hf.toon import FilmSettings, ToonFilm
from animeshooter_hf.toon.sound import sound_effect
from animeshooter_hf.toon.soundtrack import list_sounds
from animeshooter_hf.video import read_audio
from animeshooter_hf.video.reading import FrameCursor, to_rgb

CLICK_SECONDS = 0.03
LATE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """Picture and sound of one shot."""

    frames: Sequence[NDArray[np.uint8]]
    frame_rate: float
    sound: NDArray[np.float32]
    """Shape (C, N)."""
    sample_rate: int
    effects: NDArray[np.float32] | None = None
    """Shape (1, N): effects alone; None where they are unknown."""
    num_effects: int = 0


def toon_shots(seeds: Sequence[int], seconds: float) -> Iterator[Shot]:
    """Yield the shots of toon films, whose effects are known exactly."""
    for seed in seeds:
        settings = FilmSettings(width=256, height=144, seconds=seconds, cut_share=1.0, trap_share=0.2)
        film = ToonFilm.from_seed(seed, settings)
        rate, frame_rate = settings.audio_sample_rate, float(settings.frame_rate)
        mix = film.audio()
        alone = np.zeros((1, mix.shape[1]), np.float32)
        sounds = list_sounds(film.plan)
        for number, sound in enumerate(sounds):
            start = round(sound.start_frame / frame_rate * rate)
            wave = sound_effect(sound.kind, number % 4, rate)[: round(sound.end_seconds * rate) - start]
            alone[0, start : start + len(wave)] += wave[: alone.shape[1] - start]
        for shot in film.plan.shots:
            if shot.end_frame - shot.start_frame < 24:
                continue
            span = slice(round(shot.start_frame / frame_rate * rate), round(shot.end_frame / frame_rate * rate))
            yield Shot(
                frames=[film.frame(index) for index in range(shot.start_frame, shot.end_frame)],
                frame_rate=frame_rate,
                sound=mix[:, span],
                sample_rate=rate,
                effects=alone[:, span],
                num_effects=sum(1 for sound in sounds if sound.shot_index == shot.index),
            )


def demo_shots(folder: Path) -> Iterator[Shot]:
    """Yield the shots of the paper's demos."""
    for path in sorted(folder.glob("*/*.mp4")):
        with FrameCursor(path) as cursor:
            frames = [to_rgb(frame) for _, frame in cursor.frames(0, len(cursor.index))]
            rate = len(frames) / cursor.index.seconds(len(frames))
        sound, sample_rate = read_audio(path)
        yield Shot(frames=frames, frame_rate=rate, sound=sound, sample_rate=sample_rate)


def with_clicks(shot: Shot, generator: np.random.Generator) -> Shot:
    """Return a shot whose sound is a click wherever the picture moves most, one per six frames at most eight."""
    motion = motion_energy(shot.frames)
    sound = generator.normal(0, 1e-3, shot.sound.shape[1]).astype(np.float32)
    length = round(CLICK_SECONDS * shot.sample_rate)
    fading = np.exp(-np.arange(length) / (0.008 * shot.sample_rate))
    for _ in range(max(2, min(8, len(motion) // 6))):
        peak = int(motion.argmax())
        start = round((peak + 0.5) / shot.frame_rate * shot.sample_rate)
        click = (generator.normal(0, 0.3, length) * fading).astype(np.float32)[: max(0, len(sound) - start)]
        sound[start : start + len(click)] += click
        motion[max(0, peak - 2) : peak + 3] = -1
    return replace(shot, sound=sound[None])


def late(shot: Shot) -> Shot:
    """Return a shot whose sound comes half a second later."""
    return replace(shot, sound=np.roll(shot.sound, round(LATE_SECONDS * shot.sample_rate), axis=1))


def foreign(shots: Sequence[Shot]) -> list[Shot]:
    """Return every shot with the sound of the next one."""
    return [replace(one, sound=other.sound) for one, other in zip(shots, [*shots[1:], shots[0]], strict=True)]


def score(shots: Sequence[Shot], frames_per_second: float) -> str:
    """Return the numbers of a set of shots, scored as stories of four."""
    feature, encoded = SoundFeature(frames_per_second), []
    for shot in shots:
        facts = ShotFacts(num_frames=len(shot.frames), frame_rate=shot.frame_rate, has_sound=True)
        media = ShotMedia(
            facts=facts, frames=dict(enumerate(shot.frames)), sound=shot.sound, sample_rate=shot.sample_rate
        )
        arrays = {f"sound.{name}": array for name, array in feature.extract(media).items()}
        encoded.append(EncodedShot(facts=facts, num_frames=5, arrays=arrays))
    stories = [
        EncodedStory(story_id=str(first), ip_id=str(first), shots=tuple(encoded[first : first + 4]))
        for first in range(0, len(encoded), 4)
    ]
    metric = AudioAlignment(EncodingSettings(), load_backbone("classical"))
    rows = [row for shots_of in metric.score(stories).shots.values() for row in shots_of]
    columns = []
    for name in ("sync_auc", "sync", "sync_others", "sync_lag_abs_ms"):
        values = [row[name] for row in rows if row[name] is not None]
        columns.append(f"{name} {statistics.fmean(values):7.3f}")
    return "  ".join([*columns, f"shots {sum(1 for row in rows if row['sync_auc'] is not None)}/{len(rows)}"])


def cost(folder: Path, repeats: int) -> None:
    """Print the CPU time of the decoding pass, with the frames of sync and without."""
    paths = sorted(folder.glob("*/*.mp4"))
    feature = SoundFeature()

    def half(facts: ShotFacts) -> Sequence[int]:
        return feature.frames_wanted(facts)[::2]

    choices: dict[str, Callable[[ShotFacts], Sequence[int]]] = {
        "five frames": lambda facts: sample_frames(facts.num_frames),
        "frames of sync": feature.frames_wanted,
        "half of them": half,
    }
    spent: dict[str, list[float]] = {name: [] for name in (*choices, "sound decoded", "sound feature")}
    for _ in range(repeats):
        for path in paths:
            kept: dict[int, NDArray[np.uint8]] = {}
            for name, choose in choices.items():
                started = time.process_time()
                with FrameCursor(path) as cursor:
                    number = len(cursor.index)
                    facts = ShotFacts(
                        num_frames=number, frame_rate=number / cursor.index.seconds(number), has_sound=True
                    )
                    frames = {
                        index: to_rgb(frame) for one in choose(facts) for index, frame in cursor.frames(one, one + 1)
                    }
                spent[name].append(time.process_time() - started)
                kept = frames if name == "frames of sync" else kept
            started = time.process_time()
            sound, sample_rate = read_audio(path)
            spent["sound decoded"].append(time.process_time() - started)
            started = time.process_time()
            feature.extract(ShotMedia(facts=facts, frames=kept, sound=sound, sample_rate=sample_rate))
            spent["sound feature"].append(time.process_time() - started)
    print(
        "CPU per demo shot, median: " + ", ".join(f"{k} {1000 * statistics.median(v):.0f} ms" for k, v in spent.items())
    )


def main() -> None:
    """Print one line per set, then the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=(800, 811), help="first and last seed of the toon films")
    parser.add_argument("--seconds", type=float, default=40.0, help="length of each film")
    parser.add_argument("--click-seed", type=int, default=1, help="seed of the clicks' noise")
    parser.add_argument("--demos", type=Path, help="folder of the paper's demos")
    parser.add_argument("--repeats", type=int, default=3, help="runs of the cost measurement")
    parser.add_argument("--frames-per-second", type=float, default=FRAMES_PER_SECOND, help="frames looked at")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    generator = np.random.default_rng(arguments.click_seed)
    toons = list(toon_shots(range(arguments.seeds[0], arguments.seeds[1] + 1), arguments.seconds))
    struck = [shot for shot in toons if shot.num_effects >= 2]
    clicked = [with_clicks(shot, generator) for shot in toons]
    effects = [replace(shot, sound=shot.effects) for shot in struck if shot.effects is not None]
    sets = {
        "toon clicks": clicked,
        "toon clicks, late": [late(shot) for shot in clicked],
        "toon effects": effects,
        "toon effects, late": [late(shot) for shot in effects],
        "toon own sound": struck,
        "toon foreign": foreign(struck),
    }
    if arguments.demos:
        demos = list(demo_shots(arguments.demos))
        clicked = [with_clicks(shot, generator) for shot in demos]
        sets |= {
            "demo clicks": clicked,
            "demo clicks, late": [late(shot) for shot in clicked],
            "demo own sound": demos,
            "demo foreign": foreign(demos),
        }
    for name, shots in sets.items():
        print(f"{name:20s} {score(shots, arguments.frames_per_second)}", flush=True)
    if arguments.demos:
        cost(arguments.demos, arguments.repeats)


if __name__ == "__main__":
    main()
