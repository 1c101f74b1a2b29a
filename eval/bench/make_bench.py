"""Make a benchmark of any set of references: with stories that were given, or that a writer writes.

This room knows no writer: a function from a request to a story is handed in. Written stories are kept beside the
folder until it is whole, so that a stopped run asks for none of them again.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.bench.bench_folder import BenchmarkParts, check_place, write_benchmark
from animeshooter_hf.eval.bench.bench_records import BenchShot, BenchStory
from animeshooter_hf.eval.bench.given_prompts import GivenStory
from animeshooter_hf.eval.bench.reference_folder import BenchCharacter
from animeshooter_hf.eval.bench.tracks import TRACKS, check_tracks
from animeshooter_hf.records import AudioAnnotation, Character, Scene, Story

__all__ = ["MakeSettings", "StoryRequest", "make_bench_of_prompts", "make_bench_of_writer"]

_PREMISES = (
    "{a} loses something dear and looks for it.",
    "{a} wakes up late and has to be somewhere in time.",
    "{a} hears a strange noise and finds out what makes it.",
    "{a} tries something for the first time and does not give up.",
    "{a} gets caught by bad weather on the way home.",
    "{a} prepares a surprise that nearly goes wrong.",
    "{a} finds a map and follows it.",
    "{a} has a quiet day off that turns into an adventure.",
    "{a} helps a stranger who has lost the way.",
    "{a} builds something and shows it to the world.",
)
"""What written stories are about; the writer makes each its own. Simple, as the paper's."""

_SIMPLE = "Each shot is simple to film: one clear action, and another place or another part of the place in every shot."


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeSettings:
    """Size of a benchmark that is made of references."""

    tracks: tuple[str, ...] = ("main", "zero_shot")
    """Which tracks it has."""

    stories_per_ip: int = 10
    """Stories of `main` for each IP. Paper: 10. The other tracks have those of `TRACKS`, or this one if smaller."""

    num_shots: int = 4
    """Shots of a story, but in `long`. Paper: 4."""

    num_long_shots: int = 15
    """Shots of a story of `long`."""

    seed: int = 0
    """Of the writer."""

    license: str | None = None
    """Of the whole; that of the references if they all have one, else it must be said."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "tracks", check_tracks(self.tracks))
        for name, high in (("stories_per_ip", 1000), ("num_shots", 64), ("num_long_shots", 64)):
            if not 1 <= getattr(self, name) <= high:
                raise InputError(f"{name} must lie in 1 to {high}, got {getattr(self, name)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryRequest:
    """What a writer is asked for."""

    story_id: str
    """Of the story."""

    premise: str
    """What it is about."""

    characters: tuple[Character, ...]
    """The cast; nobody else."""

    num_shots: int
    """Exactly so many."""

    with_sound: bool
    """Whether to say what is heard."""

    seed: int
    """Of sampling."""


def make_bench_of_prompts(
    folder: str | Path,
    characters: Sequence[BenchCharacter],
    prompts: Sequence[GivenStory],
    settings: MakeSettings | None = None,
    *,
    benchmark_id: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a benchmark of given stories and return its folder; its tracks are those of the stories.

    Raises:
        InputError: If a story is about somebody without references, or the folder cannot be used.
    """
    settings, folder = settings or MakeSettings(), Path(folder)
    check_place(folder, overwrite=overwrite)
    given = {story.track for story in prompts}
    tracks = check_tracks([name for name in TRACKS if (TRACKS[name].stories_like or name) in given])
    by_name = {key: one for one in characters for key in (one.ip_id, one.character_id)}
    casts = [_cast_of(prompt, by_name) for prompt in prompts]
    families = _families(
        [(prompt.track, [one.ip_id for one in cast]) for prompt, cast in zip(prompts, casts, strict=True)]
    )
    counts: Counter[str] = Counter()
    stories = []
    for prompt, cast in zip(prompts, casts, strict=True):
        prefix = f"{'-'.join(one.ip_id for one in cast)}_{prompt.track}"
        family = "+".join(sorted(families[prompt.track, cast[0].ip_id]))
        stories.append(_given_story(f"{prefix}_{counts[prefix]:02d}", family, cast, prompt))
        counts[prefix] += 1
    return _write(folder, characters, stories, tracks, settings, "given", "", benchmark_id, overwrite)


def make_bench_of_writer(
    folder: str | Path,
    characters: Sequence[BenchCharacter],
    write: Callable[[StoryRequest], Story],
    settings: MakeSettings | None = None,
    *,
    writer_name: str,
    benchmark_id: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a benchmark of written stories and return its folder.

    Args:
        folder: Where.
        characters: Whom the stories are about.
        write: Returns the story of a request, or raises InputError.
        settings: Its size.
        writer_name: The model, for the card.
        benchmark_id: Name; that of the folder if None.
        overwrite: Replace a benchmark that is there.
        progress: Show a bar on stderr.

    Raises:
        InputError: If the writer fails, or the folder cannot be used.
    """
    settings, folder = settings or MakeSettings(), Path(folder)
    check_place(folder, overwrite=overwrite)
    if "multi_character" in settings.tracks and len(characters) < 2:
        raise InputError("The track multi_character needs at least two characters.")
    _licence_of(characters, settings)
    kept = folder.with_name(f".{folder.name}.stories")
    requests = list(_requests(characters, settings))
    stories = []
    for track, cast, request in tqdm(requests, desc="stories", unit="story", disable=not progress):
        stories.append(_written_story(track, cast, _write_once(request, write, kept, writer_name)))
    place = _write(
        folder, characters, stories, settings.tracks, settings, "written", writer_name, benchmark_id, overwrite
    )
    shutil.rmtree(kept, ignore_errors=True)
    return place


def _requests(
    characters: Sequence[BenchCharacter], settings: MakeSettings
) -> Sequence[tuple[str, list[BenchCharacter], StoryRequest]]:
    found: list[tuple[str, list[BenchCharacter], StoryRequest]] = []
    for track in (name for name in settings.tracks if TRACKS[name].stories_like is None):
        casts = _pairs(characters) if track == "multi_character" else [[one] for one in characters]
        count = (
            settings.stories_per_ip if track == "main" else min(settings.stories_per_ip, TRACKS[track].stories_per_ip)
        )
        for cast in casts:
            for number in range(count):
                names = [one.character_id for one in cast]
                premise = _PREMISES[number % len(_PREMISES)].format(a=" and ".join(names))
                request = StoryRequest(
                    story_id=f"{'-'.join(one.ip_id for one in cast)}_{track}_{number:02d}",
                    premise=f"{premise} {_SIMPLE}",
                    characters=tuple(Character(id=one.character_id, appearance=one.appearance) for one in cast),
                    num_shots=settings.num_long_shots if track == "long" else settings.num_shots,
                    with_sound=TRACKS[track].needs_sound,
                    seed=settings.seed + len(found),
                )
                found.append((track, cast, request))
    return found


def _pairs(characters: Sequence[BenchCharacter]) -> list[list[BenchCharacter]]:
    """Return pairs of neighbours; of an odd number the last three are together. Nobody is in two."""
    pairs = [list(characters[start : start + 2]) for start in range(0, len(characters), 2)]
    if len(pairs[-1]) == 1:
        last = pairs.pop()
        pairs[-1] += last
    return pairs


def _write_once(request: StoryRequest, write: Callable[[StoryRequest], Story], kept: Path, writer: str) -> Story:
    """Return the story of a request, from the kept ones if it was written before."""
    key = hashlib.sha256(json.dumps([writer, asdict(request)], sort_keys=True).encode()).hexdigest()[:16]
    path = kept / f"{key}.json"
    if path.is_file():
        try:
            return Story.from_json(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            path.unlink()
    story = write(request)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(story.to_json(), ensure_ascii=False), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{kept} cannot be written: {error.strerror}.") from error
    return story


def _written_story(track: str, cast: Sequence[BenchCharacter], story: Story) -> BenchStory:
    return BenchStory(
        story_id=story.story_id,
        ip_id="+".join(sorted(one.ip_id for one in cast)),
        track=track,
        storyline=story.storyline,
        characters=tuple(one.character_id for one in cast),
        scenes=story.scenes,
        shots=tuple(
            BenchShot(caption=shot.caption, characters=shot.characters, scene=shot.scene, audio=shot.audio)
            for shot in story.shots
        ),
    )


def _cast_of(prompt: GivenStory, by_name: Mapping[str, BenchCharacter]) -> list[BenchCharacter]:
    missing = [name for name in prompt.ips if name not in by_name]
    if missing:
        raise InputError(f"There are no references of {missing[0]!r}. There are: {', '.join(sorted(by_name))}.")
    return [by_name[name] for name in prompt.ips]


def _families(casts: Sequence[tuple[str, Sequence[str]]]) -> dict[tuple[str, str], set[str]]:
    """Return (track, name) -> all who are bound to that name by stories of the track; such stories are of one IP."""
    families: dict[tuple[str, str], set[str]] = {}
    for track, names in casts:
        joined = set(names).union(*(families.get((track, name), set()) for name in names))
        for name in joined:
            families[track, name] = joined
    return families


def _given_story(story_id: str, ip_id: str, cast: Sequence[BenchCharacter], prompt: GivenStory) -> BenchStory:
    names = tuple(one.character_id for one in cast)
    count = len(prompt.captions)
    scenes = tuple(scene or None for scene in prompt.scenes) or (None,) * count
    shown = prompt.characters or (names,) * count
    sounds = prompt.sounds or ("",) * count
    try:
        return BenchStory(
            story_id=story_id,
            ip_id=ip_id,
            track=prompt.track,
            storyline=prompt.storyline,
            characters=names,
            scenes=tuple(Scene(id=name) for name in dict.fromkeys(scenes) if name),
            shots=tuple(
                BenchShot(
                    caption=caption,
                    characters=tuple(name for name in shown[index] if name),
                    scene=scenes[index],
                    audio=AudioAnnotation(audio_type=sounds[index]) if sounds[index] else None,
                )
                for index, caption in enumerate(prompt.captions)
            ),
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def _write(
    folder: Path,
    characters: Sequence[BenchCharacter],
    stories: Sequence[BenchStory],
    tracks: Sequence[str],
    settings: MakeSettings,
    kind: str,
    writer: str,
    benchmark_id: str | None,
    overwrite: bool,
) -> Path:
    used = {name for story in stories for name in story.characters}
    shown = [one for one in characters if one.character_id in used]
    parts = BenchmarkParts(
        benchmark_id=benchmark_id or folder.name,
        title="AnimeShooter-Bench",
        description="Multi-shot animation of given characters: reference pictures and captions in, shots out.",
        kind=kind,
        tracks=tuple(tracks),
        stories=stories,
        references=[reference for one in shown for reference in one.references],
        license=_licence_of(shown, settings),
        clips=[clip for one in shown for clip in one.clips],
        settings={**asdict(settings), "tracks": list(tracks)},
        writer=writer,
    )
    return write_benchmark(parts, folder, overwrite=overwrite)


def _licence_of(characters: Sequence[BenchCharacter], settings: MakeSettings) -> str:
    """Return the licence of the whole.

    Raises:
        InputError: If the references have several and none was said.
    """
    if settings.license is not None:
        return settings.license
    licences = sorted({reference.license for one in characters for reference in one.references})
    if len(licences) != 1:
        raise InputError(f"The references have several licences ({', '.join(licences)}); say --license for the whole.")
    return licences[0]
