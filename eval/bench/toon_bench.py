"""The toon edition: characters of held-out combinations, stories for every track, and the truth of every pixel.

Complete, offline and free to use. The same settings give the same stories, pictures and plans, and with the same
libraries the same bytes.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_folder import Benchmark, BenchmarkParts, check_place, read_rows, write_benchmark
from animeshooter_hf.eval.bench.bench_records import (
    BenchClip,
    BenchReference,
    BenchShot,
    BenchStory,
    BenchTruth,
    TruthClip,
    make_slug,
)
from animeshooter_hf.eval.bench.plan_json import plan_from_json, plan_to_json
from animeshooter_hf.eval.bench.submission import story_prediction
from animeshooter_hf.eval.bench.toon_stories import ToonStorySettings, plan_story
from animeshooter_hf.eval.bench.tracks import TRACKS, check_tracks
from animeshooter_hf.eval.regions import Region
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Scene
from animeshooter_hf.toon import FilmPlan, ToonCharacter, ToonFilm, ToonStyle, character_reference, make_stories
from animeshooter_hf.toon.attributes import draw_character
from animeshooter_hf.toon.style import draw_style
from animeshooter_hf.video import VideoWriter

__all__ = ["ToonBenchSettings", "make_toon_bench", "plan_of", "truth_predictions"]

_LICENSE = "cc0-1.0"
"""Of everything in it: pictures that code drew. Our choice."""

_FIRST = ("ba", "do", "fi", "gu", "ka", "lo", "me", "nu", "po", "ra", "su", "ti", "vo", "wu", "ya", "zi")
_SECOND = ("bo", "chi", "lu", "mi", "na", "pi", "ri", "to", "zu")
"""Syllables of names; names say nothing about looks."""

_REFERENCE_PIXELS = 384
_ENHANCE_SHOTS_PER_STORY = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ToonBenchSettings:
    """Size of the toon edition."""

    num_characters: int = 20
    """IPs. Paper: 20."""

    stories_per_ip: int = 10
    """Stories of `main` for each. Paper: 10. The other tracks have the numbers of `TRACKS`, or this one if smaller."""

    num_shots: int = 4
    """Shots of a story, but in `long`. Paper: 4."""

    num_long_shots: int = 15
    """Shots of a story of `long`."""

    clips_per_ip: int = 6
    """Clips of `enhance` for each; 0 for none. Paper: 5 to 6 for its LoRA."""

    seed: int = 0
    """Of all chance."""

    tracks: tuple[str, ...] = tuple(TRACKS)
    """Which tracks it has."""

    with_truth_clips: bool = False
    """Also write every true shot as a clip."""

    story: ToonStorySettings = field(default_factory=ToonStorySettings)
    """Of the shots."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracks", check_tracks(self.tracks))
        limits = {
            "num_characters": (2 if "multi_character" in self.tracks else 1, len(_FIRST) * len(_SECOND)),
            "stories_per_ip": (1, 100),
            "num_shots": (1, 12),
            "num_long_shots": (1, 50),
            "clips_per_ip": (0, 50),
            "seed": (0, 2**31 - 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} of a toon benchmark must lie in {low} to {high}, got {getattr(self, name)}.")


def make_toon_bench(
    folder: str | Path,
    settings: ToonBenchSettings | None = None,
    *,
    benchmark_id: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write the toon edition and return its folder.

    Args:
        folder: Where.
        settings: Its size.
        benchmark_id: Name; that of the folder if None.
        overwrite: Replace a benchmark that is there.
        progress: Show bars on stderr.

    Raises:
        InputError: If the folder cannot be used.
    """
    folder, settings = Path(folder), settings or ToonBenchSettings()
    check_place(folder, overwrite=overwrite)
    cast = _draw_cast(settings)
    plans = list(_plan_stories(settings, cast))
    stories = [_story_of(track, plan) for track, plan in plans]
    parts = BenchmarkParts(
        benchmark_id=benchmark_id or folder.name,
        title="AnimeShooter-Bench, toon edition",
        description=(
            "Multi-shot animation of a given character, in a drawn world where the truth of every pixel is known."
        ),
        kind="toon",
        tracks=settings.tracks,
        stories=stories,
        references=[_reference_of(character, style) for character, style in cast],
        license=_LICENSE,
        clips=list(_make_clips(settings, cast, progress=progress)),
        truth=[_truth_of(plan) for _, plan in plans],
        truth_clips=_make_truth_clips([plan for _, plan in plans], progress=progress)
        if settings.with_truth_clips
        else (),
        settings=_settings_json(settings),
    )
    return write_benchmark(parts, folder, overwrite=overwrite)


def truth_predictions(benchmark: Benchmark, track: str = "main") -> list[StoryPrediction]:
    """Return the true shots as stories to score, with the regions of the characters: the upper bound of every score.

    Raises:
        InputError: If the benchmark holds no true clips, or has no such track.
    """
    stories = benchmark.stories(track)
    if not (benchmark.folder / "truth_clips").is_dir():
        raise InputError(f"{benchmark.id} holds no true clips; make it with --with-truth.")
    clips: dict[str, list[Mapping[str, Any]]] = {}
    wanted = {story.story_id for story in stories}
    for row in read_rows(benchmark.folder, "truth_clips", "test"):
        if row["story_id"] in wanted:
            clips.setdefault(row["story_id"], []).append(row)
    return [
        story_prediction(
            benchmark,
            story,
            track,
            [row["video"]["bytes"] for row in clips[story.story_id]],
            regions=tuple(_regions_from(row["regions"]) for row in clips[story.story_id]),
        )
        for story in stories
    ]


def _draw_cast(settings: ToonBenchSettings) -> list[tuple[ToonCharacter, ToonStyle]]:
    """Return the characters, each with the style of its films; those who meet share one."""
    random = Random(f"bench/{settings.seed}/names")
    names = [first + second for first in _FIRST for second in _SECOND]
    chosen = random.sample(names, settings.num_characters)
    made = []
    for number, members in enumerate(_casts(range(len(chosen)))):
        style = draw_style(Random(f"bench/{settings.seed}/style/{number}"))
        for index in members:
            source = Random(f"bench/{settings.seed}/character/{index}")
            made.append((draw_character(source, chosen[index].capitalize(), "held_out"), style))
    return made


def _casts(members: Sequence[int]) -> list[list[int]]:
    """Return pairs of neighbours; of an odd number the last three are together. Nobody is in two."""
    pairs = [list(members[start : start + 2]) for start in range(0, len(members), 2)]
    if len(pairs) > 1 and len(pairs[-1]) == 1:
        last = pairs.pop()
        pairs[-1] += last
    return pairs


def _plan_stories(
    settings: ToonBenchSettings, cast: Sequence[tuple[ToonCharacter, ToonStyle]]
) -> Iterator[tuple[str, FilmPlan]]:
    """Yield each track's own stories as plans."""
    for track in settings.tracks:
        if TRACKS[track].stories_like:
            continue
        groups = _casts(range(len(cast))) if track == "multi_character" else [[index] for index in range(len(cast))]
        count = (
            settings.stories_per_ip if track == "main" else min(settings.stories_per_ip, TRACKS[track].stories_per_ip)
        )
        for group in groups:
            members = [cast[index][0] for index in group]
            prefix = make_slug("-".join(member.id for member in members))
            for number in range(count):
                leads = members[number % len(members) :] + members[: number % len(members)]
                yield (
                    track,
                    plan_story(
                        f"{prefix}_{track}_{number:02d}",
                        leads,
                        cast[group[0]][1],
                        seed=settings.seed,
                        num_shots=settings.num_long_shots if track == "long" else settings.num_shots,
                        settings=settings.story,
                        places="returning" if track == "long" else "changing",
                        is_heard=TRACKS[track].needs_sound,
                    ),
                )


def _story_of(track: str, plan: FilmPlan) -> BenchStory:
    story = make_stories(plan)[0]
    return BenchStory(
        story_id=plan.film_id,
        ip_id="+".join(sorted(make_slug(character.id) for character in plan.characters)),
        track=track,
        storyline=story.storyline,
        characters=tuple(character.id for character in plan.characters),
        scenes=tuple(Scene(id=scene.id, environment=scene.environment) for scene in story.scenes),
        shots=tuple(
            BenchShot(
                caption=shot.caption,
                characters=shot.characters,
                scene=shot.scene,
                audio=shot.audio if TRACKS[track].needs_sound else None,
            )
            for shot in story.shots
        ),
    )


def _reference_of(character: ToonCharacter, style: ToonStyle) -> BenchReference:
    buffer = io.BytesIO()
    Image.fromarray(character_reference(character, _REFERENCE_PIXELS, style)).save(buffer, format="PNG")
    return BenchReference(
        character_id=character.id,
        ip_id=make_slug(character.id),
        image=buffer.getvalue(),
        license=_LICENSE,
        source="drawn by the toon world of animeshooter_hf",
    )


def _truth_of(plan: FilmPlan) -> BenchTruth:
    return BenchTruth(
        story_id=plan.film_id,
        plan=plan_to_json(plan),
        attributes=[(one.id, name, value) for one in plan.characters for name, value in one.attributes.items()],
    )


def _make_clips(
    settings: ToonBenchSettings, cast: Sequence[tuple[ToonCharacter, ToonStyle]], *, progress: bool
) -> Iterator[BenchClip]:
    """Yield the clips for training: shots of stories that are in no track."""
    for character, style in tqdm(cast, desc="clips for training", disable=not progress or not settings.clips_per_ip):
        done = 0
        while done < settings.clips_per_ip:
            name = f"{make_slug(character.id)}_enhance_{done:02d}"
            count = min(_ENHANCE_SHOTS_PER_STORY, settings.clips_per_ip - done)
            plan = plan_story(name, [character], style, seed=settings.seed, num_shots=count, settings=settings.story)
            film = ToonFilm(plan)
            for shot, words in zip(plan.shots, make_stories(plan)[0].shots, strict=True):
                video, _ = _draw_shot(film, shot.index, None)
                yield BenchClip(
                    ip_id=make_slug(character.id),
                    clip_id=f"{make_slug(character.id)}_enhance_{done:02d}",
                    caption=words.caption,
                    video=video,
                    license=_LICENSE,
                )
                done += 1


def _make_truth_clips(plans: Sequence[FilmPlan], *, progress: bool) -> Iterator[TruthClip]:
    for plan in tqdm(plans, desc="true clips", unit="story", disable=not progress):
        film = ToonFilm(plan)
        sound_CT = film.audio()
        for shot in plan.shots:
            video, regions = _draw_shot(film, shot.index, sound_CT)
            yield TruthClip(story_id=plan.film_id, shot_index=shot.index, video=video, regions=json.dumps(regions))


def _draw_shot(
    film: ToonFilm, index: int, sound_CT: NDArray[np.float32] | None
) -> tuple[bytes, dict[str, list[dict[str, Any]]]]:
    """Return a shot as an mp4 with its part of the film's sound, and where characters are whenever that changes."""
    shot, settings = film.plan.shots[index], film.settings
    regions: dict[str, list[dict[str, Any]]] = {one.character_id: [] for one in shot.placements}
    rate = None if sound_CT is None else settings.audio_sample_rate
    writer = VideoWriter(None, settings.width, settings.height, settings.frame_rate, sample_rate=rate)
    last: tuple[object, ...] | None = None
    with writer:
        for number in range(shot.start_frame, shot.end_frame):
            writer.write_frame(film.frame(number))
            key = film.mask_key(number)
            if key != last:
                last = key
                for name, mask in film.masks(number).items():
                    rle = RleMask.from_array(mask)
                    where = {"size": [rle.height, rle.width], "counts": rle.counts}
                    regions[name].append({"frame": number - shot.start_frame, "mask": where})
        if sound_CT is not None:
            per_frame = settings.audio_sample_rate / settings.frame_rate
            start, end = (round(frame * per_frame) for frame in (shot.start_frame, shot.end_frame))
            writer.write_audio(np.ascontiguousarray(sound_CT[:, start:end]))
    return writer.getvalue(), regions


def _regions_from(text: str) -> dict[str, list[Region]]:
    return {name: [_region_from(row) for row in rows] for name, rows in json.loads(text).items()}


def _region_from(row: Mapping[str, Any]) -> Region:
    height, width = row["mask"]["size"]
    return Region(frame=row["frame"], mask=RleMask(height, width, row["mask"]["counts"]))


def _settings_json(settings: ToonBenchSettings) -> dict[str, Any]:
    rate = settings.story.frame_rate
    data = asdict(settings)
    data["story"]["frame_rate"] = f"{rate.numerator}/{rate.denominator}"
    data["tracks"] = list(settings.tracks)
    return data


def plan_of(benchmark: Benchmark, story_id: str) -> FilmPlan:
    """Return the plan of a story.

    Raises:
        InputError: If the benchmark holds no truth of it.
    """
    if story_id not in benchmark.plans:
        raise InputError(f"{benchmark.id} holds no truth of story {story_id}; only a toon edition can be read.")
    return plan_from_json(benchmark.plans[story_id])
