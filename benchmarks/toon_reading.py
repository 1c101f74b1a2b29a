"""Read who and where is seen in compact toon stories, by drawing the true shots again with every other value.

The arithmetic is the library's (`animeshooter_hf.eval.attribute_reading`); here stands what the compact world asks: its
five attributes as forced choices, its three colours, and, since places are told by earlier shots alone, the colour at
the top ("sky") and at the bottom ("ground") of the picture. Questions take many drawings, so they are made once, by
several processes, and kept in a folder under a key of the code, the story and the settings.

    experiment_stories   held-out characters, several stories for each
    questions_of         what can be asked about them
    read_system          what the frames of a system answer
    within_between       how far a place's colour drifts in a story, in parts of how far stories are apart

Run as a script it checks itself on the truth, on blurred truth, and on the same stories played by wrong characters.

Example:
    python benchmarks/toon_reading.py --characters 10 --seed 910000

Shape letters used below
    S shots    F frames of a shot    T frames looked at    H, W rows and columns    N stories    C characters
    B draws
"""

import argparse
import hashlib
import inspect
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, replace
from itertools import combinations, count, product
from multiprocessing import get_context
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf import toon
from animeshooter_hf.eval import attribute_reading, views
from animeshooter_hf.eval.attribute_reading import (
    ReadingSettings,
    ShotQuestions,
    ShotReading,
    colour_difference,
    fit_frames,
    matching_frames,
    read_shot,
    story_values,
)
from animeshooter_hf.eval.compact_reading import COMPACT_READING, CompactWorld
from animeshooter_hf.eval.views import to_lab
from animeshooter_hf.toon.attributes import ToonCharacter, is_held_out
from animeshooter_hf.toon.compact import (
    COMPACT_ATTRIBUTES,
    COMPACT_COLOURS,
    CompactSettings,
    CompactStory,
    draw_compact_character,
    plan_compact_story,
)
from animeshooter_hf.toon.scenery import draw_scene

Frames = NDArray[np.uint8]
RGB = tuple[int, int, int]

BANDS: dict[str, tuple[float, float]] = {"sky": (0.0, 3 / 16), "ground": (27 / 32, 1.0)}
"""Name -> rows, as shares of the height, that show this part of a place: 12 and 10 rows of 64. The prototype's."""

LEAST_BAND_PIXELS = 12
"""Fewer pixels than this beside the character, over all frames, and a band has no colour, as with attributes."""

FIRST_SEED = 7_000_000
"""Where stories begin unless another place is named; kept for a final run, so nothing here was tried with it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoryQuestions:
    """What can be asked about one story."""

    story: CompactStory
    """Which."""

    shots: tuple[ShotQuestions, ...]
    """One per shot."""

    settings: ReadingSettings
    """How it is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryReading:
    """What the frames of one story answer."""

    story_id: str
    """Which."""

    character: str
    """Key of its character, see `character_key`: the cluster of statistics."""

    scene_kinds: tuple[str, ...]
    """Kind of place of each shot; in one story a kind is one place."""

    shots: tuple[ShotReading, ...]
    """What was read about the character in each shot."""

    bands: Mapping[str, tuple[RGB | None, ...]]
    """ "sky" and "ground" -> the colour in each shot; None where the character hides it."""

    band_differences: Mapping[str, tuple[float | None, ...]]
    """ "sky" and "ground" -> dE76 to the truth in each shot."""

    @property
    def values(self) -> dict[str, float | None]:
        """Return the numbers of the story.

        Those of `story_values` (`identity`, `chance`, `agreement`, `body_accuracy`, `body_colour_difference`,
        `body_colour_drift`, ...), and `sky_difference` and `ground_difference`, dE76 to the true places.
        """
        found = story_values([[shot] for shot in self.shots])
        for name, differences in self.band_differences.items():
            known = [one for one in differences if one is not None]
            found[f"{name}_difference"] = float(np.mean(known)) if known else None
        return found


def character_key(character: ToonCharacter) -> str:
    """Return a text that tells characters apart by all that is seen of them, whatever their name."""
    names = (*COMPACT_ATTRIBUTES, *COMPACT_COLOURS)
    return "/".join(str(getattr(character, name)) for name in names)


def experiment_stories(
    num_characters: int,
    stories_per_character: int = 2,
    first_seed: int = FIRST_SEED,
    settings: CompactSettings | None = None,
) -> list[CompactStory]:
    """Return stories of held-out characters, those of one character side by side.

    No two characters share all five attributes, so that none differ in colour alone. Fewer characters give the
    beginning of the same list. Each story has a seed of its own, which its `plan.seed` tells.

    Raises:
        ValueError: If a number is below 1, or there are not so many characters (102).
    """
    combinations_of_values = product(*COMPACT_ATTRIBUTES.values())
    every = [ToonCharacter(id="x", **dict(zip(COMPACT_ATTRIBUTES, one, strict=True))) for one in combinations_of_values]
    most = sum(is_held_out(one) for one in every)
    if not 1 <= num_characters <= most or stories_per_character < 1:
        raise ValueError(
            f"There must be 1 to {most} held-out characters and at least 1 story of each, got {num_characters} and "
            f"{stories_per_character}."
        )
    seeds = count(first_seed)
    stories: list[CompactStory] = []
    forms: set[tuple[str, ...]] = set()
    while len(forms) < num_characters:
        first = plan_compact_story(next(seeds), pool="held_out", settings=settings)
        form = tuple(str(getattr(first.character, name)) for name in COMPACT_ATTRIBUTES)
        if form in forms:
            continue
        forms.add(form)
        stories.append(first)
        for _ in range(stories_per_character - 1):
            more = plan_compact_story(next(seeds), pool="held_out", settings=settings, character=first.character)
            stories.append(more)
    return stories


def questions_of(
    stories: Sequence[CompactStory],
    folder: str | Path,
    *,
    settings: ReadingSettings = COMPACT_READING,
    num_workers: int = 2,
) -> list[StoryQuestions]:
    """Return what can be asked about stories, from the folder or made now.

    Args:
        stories: Which.
        folder: Where questions are kept, one file for each story. Nothing in it is ever stale: the name of a file is
            a hash of the code that makes questions, of the plan and of the settings.
        settings: How frames are compared.
        num_workers: Processes that make what is missing. Whoever asks for more than one must guard its entry with
            `if __name__ == "__main__":`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    code = _code_hash()
    paths = [folder / f"{_key(story, settings, code)}.pickle" for story in stories]
    wanted = dict(zip(paths, stories, strict=True))
    jobs = [(story, settings, path) for path, story in wanted.items() if not path.exists()]
    if min(num_workers, len(jobs)) <= 1:
        for job in jobs:
            _make_file(job)
    else:
        with ProcessPoolExecutor(min(num_workers, len(jobs)), mp_context=get_context("spawn")) as pool:
            list(pool.map(_make_file, jobs))
    return [
        StoryQuestions(story=story, shots=pickle.loads(path.read_bytes()), settings=settings)
        for story, path in zip(stories, paths, strict=True)
    ]


def read_system(frames_list: Sequence[Frames], questions: Sequence[StoryQuestions]) -> list[StoryReading]:
    """Return what the frames of a system show, story by story.

    Args:
        frames_list: For each story, uint8 of shape (S, F, H, W, 3); F and the size may differ from the truth's.
        questions: Those of the same stories.

    Raises:
        ValueError: If there is not one array for each story and one clip for each shot, or it is not uint8.
    """
    if len(frames_list) != len(questions):
        raise ValueError(f"There must be frames of {len(questions)} stories, got {len(frames_list)}.")
    return [_read_story(frames, asked) for frames, asked in zip(frames_list, questions, strict=True)]


def true_frames(story: CompactStory) -> Frames:
    """Return the frames that the story has in truth, shape (S, F, H, W, 3)."""
    return np.stack([story.frames(index) for index in range(len(story.plan.shots))])


def band_distances(readings: Sequence[StoryReading], band: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far shots of one kind of place are apart in a band's colour, summed over pairs of shots.

    Characters are in the order in which they first occur; see `ratios_of` for what the sums are for.

    Returns:
        Sums of Lab distances and numbers of pairs, each (C, C): on the diagonal pairs inside a story of a character,
        beside it pairs between the stories of two characters.
    """
    characters = list(dict.fromkeys(reading.character for reading in readings))
    sums_CC, counts_CC = np.zeros((2, len(characters), len(characters)))
    rows = [
        (number, characters.index(reading.character), kind, _lab(colour))
        for number, reading in enumerate(readings)
        for kind, colour in zip(reading.scene_kinds, reading.bands[band], strict=True)
        if colour is not None
    ]
    for (story, who, kind, lab), (other_story, other, other_kind, other_lab) in combinations(rows, 2):
        if kind != other_kind or (who == other and story != other_story):
            continue
        sums_CC[who, other] += float(np.linalg.norm(lab - other_lab))
        counts_CC[who, other] += 1
    return sums_CC, counts_CC


def ratios_of(
    sums_CC: NDArray[np.float64], counts_CC: NDArray[np.float64], weights_BC: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean distance within stories over that between characters, for each of B weightings, shape (B,).

    Args:
        sums_CC: As `band_distances` returns them.
        counts_CC: The same.
        weights_BC: How often each character counts, as in the draws of a bootstrap. NaN comes of weights that leave no
            pair within a story, or none between characters, or no distance between them.
    """
    beside = ~np.eye(len(sums_CC), dtype=bool)
    within_B = (weights_BC @ np.diag(sums_CC), weights_BC @ np.diag(counts_CC))
    between_B = [((weights_BC @ (matrix_CC * beside)) * weights_BC).sum(axis=1) for matrix_CC in (sums_CC, counts_CC)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios_B = (within_B[0] / within_B[1]) / (between_B[0] / between_B[1])
    return np.where(np.isfinite(ratios_B), ratios_B, np.nan)


def within_between(readings: Sequence[StoryReading], stories: Sequence[CompactStory], band: str) -> float | None:
    """Return how far a place's colour drifts in a story, in parts of how far stories of other characters are apart.

    Only shots of the same kind of place are compared. 0 for a place that never changes; about 1 for places that are
    drawn anew in each shot, and for those that are all alike, however grey. The truth is about .1 for the sky, since
    cameras see other parts of it, and .06 for the ground. None where it cannot be said.

    Args:
        readings: Of all stories.
        stories: The same ones, in the same order.
        band: "sky" or "ground".

    Raises:
        ValueError: If the readings are of other stories.
    """
    if [reading.story_id for reading in readings] != [story.plan.film_id for story in stories]:
        raise ValueError("The readings must be those of the stories, in the same order.")
    sums_CC, counts_CC = band_distances(readings, band)
    ratio = float(ratios_of(sums_CC, counts_CC, np.ones((1, len(sums_CC))))[0])
    return None if np.isnan(ratio) else ratio


def _read_story(frames_SFHW3: Frames, questions: StoryQuestions) -> StoryReading:
    story, settings = questions.story, questions.settings
    if len(frames_SFHW3) != len(questions.shots) or frames_SFHW3.ndim != 5 or frames_SFHW3.dtype != np.uint8:
        raise ValueError(
            f"{story.plan.film_id} must have frames as uint8 of shape ({len(questions.shots)}, F, H, W, 3), "
            f"got {frames_SFHW3.dtype} {frames_SFHW3.shape}."
        )
    ordinals = list(matching_frames(frames_SFHW3.shape[1], settings.frames_per_shot))
    height, width = questions.shots[0].mask_THW.shape[1:]
    clips = [fit_frames(clip[ordinals], height, width) for clip in frames_SFHW3]
    asked = list(zip(clips, questions.shots, strict=True))
    bands = {band: tuple(_band_colour(clip, one.mask_THW, band) for clip, one in asked) for band in BANDS}
    true = {band: [_band_colour(one.truth_THW3, one.mask_THW, band) for one in questions.shots] for band in BANDS}
    return StoryReading(
        story_id=story.plan.film_id,
        character=character_key(story.character),
        scene_kinds=story.scene_kinds,
        shots=tuple(read_shot(clip, one, settings) for clip, one in asked),
        bands=bands,
        band_differences={
            band: tuple(
                None if seen is None or due is None else colour_difference(seen, due)
                for seen, due in zip(bands[band], true[band], strict=True)
            )
            for band in BANDS
        },
    )


def _band_colour(frames_THW3: Frames, mask_THW: NDArray[np.bool_], band: str) -> RGB | None:
    """Return the median colour of a band beside where the character is in truth."""
    height = frames_THW3.shape[1]
    top, bottom = (round(share * height) for share in BANDS[band])
    pixels_P3 = frames_THW3[:, top:bottom][~mask_THW[:, top:bottom]]
    if len(pixels_P3) < LEAST_BAND_PIXELS:
        return None
    red, green, blue = np.round(np.median(pixels_P3, axis=0)).astype(int).tolist()
    return red, green, blue


def _lab(colour: RGB) -> NDArray[np.float32]:
    return to_lab(np.array([[colour]], dtype=np.uint8))[0, 0]


def _code_hash() -> str:
    """Return a hash of all that decides what questions are: the toon world, the arithmetic, and `CompactWorld`."""
    digest = hashlib.sha256()
    library = (Path(attribute_reading.__file__), Path(views.__file__))
    for path in (*sorted(Path(toon.__file__).parent.glob("*.py")), *library):
        digest.update(path.name.encode() + path.read_bytes())
    digest.update(inspect.getsource(CompactWorld).encode())
    return digest.hexdigest()


def _key(story: CompactStory, settings: ReadingSettings, code: str) -> str:
    text = repr((code, story.plan, astuple(settings)))
    return f"{story.plan.film_id}-{len(story.plan.shots)}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _make_file(job: tuple[CompactStory, ReadingSettings, Path]) -> None:
    """Make the questions of a story and write them beside their place, then rename."""
    cv2.setNumThreads(1)
    story, settings, path = job
    world = CompactWorld(story)
    made = tuple(world.shot_questions(index, settings)[0] for index in range(len(story.plan.shots)))
    partial = path.with_suffix(f".partial{os.getpid()}")
    partial.write_bytes(pickle.dumps(made))
    partial.replace(path)


def _stranger(story: CompactStory, seed: int) -> Frames:
    """Return the frames of the story with another held-out character on the same places."""
    random = Random(f"stranger/{seed}/{story.plan.seed}")
    stranger = draw_compact_character(random, story.character.id, "held_out")
    return true_frames(replace(story, plan=replace(story.plan, characters=(stranger,))))


def _places_anew(story: CompactStory, seed: int) -> Frames:
    """Return the frames of the story with each shot in another place of its kind."""
    random = Random(f"places/{seed}/{story.plan.seed}")
    clips = []
    for index, kind in enumerate(story.scene_kinds):
        place = draw_scene(random, kind)
        scenes = tuple(place if one.kind == kind else one for one in story.plan.scenes)
        clips.append(replace(story, plan=replace(story.plan, scenes=scenes)).frames(index))
    return np.stack(clips)


def _each(frames_SFHW3: Frames, change: Callable[[Frames], object]) -> Frames:
    flat = frames_SFHW3.reshape(-1, *frames_SFHW3.shape[2:])
    return np.stack([np.asarray(change(frame), np.uint8) for frame in flat]).reshape(frames_SFHW3.shape)


def spoilt_systems(stories: Sequence[CompactStory], seed: int = 0) -> dict[str, list[Frames]]:
    """Return name -> the frames of each story, spoilt in a known way; the seed chooses noise and strangers."""
    truth = [true_frames(story) for story in stories]
    rng = np.random.default_rng(seed)
    own = character_key(stories[0].character)
    step = next((n for n, story in enumerate(stories) if character_key(story.character) != own), 0)
    return {
        "truth": truth,
        "3x3 blur": [_each(one, lambda frame: cv2.GaussianBlur(frame, (3, 3), 0)) for one in truth],
        "noise, sd 25": [np.clip(one + rng.normal(0, 25, one.shape), 0, 255).astype(np.uint8) for one in truth],
        "shifted by 2, 1": [np.roll(one, (2, -1), (2, 3)) for one in truth],
        "frozen first frame": [np.repeat(one[:, :1], one.shape[1], axis=1) for one in truth],
        "stranger in its place": [_stranger(story, seed) for story in stories],
        "places drawn anew": [_places_anew(story, seed) for story in stories],
        "another's story": [truth[(number + step) % len(truth)] for number in range(len(truth))],
        "grey": [np.full_like(one, 128) for one in truth],
    }


def check(stories: Sequence[CompactStory], questions: Sequence[StoryQuestions]) -> dict[str, dict[str, float | None]]:
    """Return what is read of the truth and of stories that are spoilt in a known way."""
    table: dict[str, dict[str, float | None]] = {}
    for name, frames in spoilt_systems(stories).items():
        readings = read_system(frames, questions)
        rows = [reading.values for reading in readings]
        columns = dict.fromkeys(key for row in rows for key in row)
        table[name] = {key: _mean([row.get(key) for row in rows]) for key in columns}
        table[name] |= {f"{band}_ratio": within_between(readings, stories, band) for band in BANDS}
    return table


def main() -> None:
    """Print what is read of the truth and of spoilt truth; the exit code says whether that is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=10, help="held-out characters (default %(default)s)")
    parser.add_argument("--stories", type=int, default=2, help="of each character (default %(default)s)")
    parser.add_argument("--shots", type=int, default=4, help="of each story (default %(default)s)")
    parser.add_argument("--seed", type=int, default=910_000, help="of the first story (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where questions are kept (default: nowhere)")
    parser.add_argument("--workers", type=int, default=1, help="processes that make questions (default %(default)s)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    settings = CompactSettings(num_shots=arguments.shots)
    stories = experiment_stories(arguments.characters, arguments.stories, arguments.seed, settings)
    with tempfile.TemporaryDirectory() as passing:
        start = time.process_time()
        questions = questions_of(stories, arguments.folder or passing, num_workers=arguments.workers)
        making = time.process_time() - start
    start = time.process_time()
    read_system([np.stack([shot.truth_THW3 for shot in one.shots]) for one in questions], questions)
    reading = time.process_time() - start
    table = check(stories, questions)
    names = [name for name in table["truth"] if not name.endswith("_drift")]
    print(f"{'':24}" + "".join(f"{system:>22}" for system in table))
    for name in names:
        cells = "".join(f"{'-':>22}" if (v := row.get(name)) is None else f"{v:22.3f}" for row in table.values())
        print(f"{name:24}{cells}")
    each = f"questions {making / len(stories):.2f}, reading {reading / len(stories):.3f}"
    print(f"{len(stories)} stories; CPU seconds of this process for a story: {each}.")
    sys.exit(0 if _is_as_it_must_be(table) else 1)


def _is_as_it_must_be(table: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Return whether truth reads as itself, blur as nearly so, strangers near chance, and new places as new ones."""
    identity = {name: row["identity"] or 0.0 for name, row in table.items()}
    differences = [value for name, value in table["truth"].items() if name.endswith("_difference")]
    ratios = [(table["truth"][f"{band}_ratio"] or 0.0, table["places drawn anew"][f"{band}_ratio"]) for band in BANDS]
    return (
        identity["truth"] == 1.0
        and max(value or 0.0 for value in differences) < 0.01
        and identity["3x3 blur"] > 0.98
        and all(identity[name] < 0.4 for name in ("stranger in its place", "another's story", "grey"))
        and all(true < 0.3 and anew is not None and anew > 0.6 for true, anew in ratios)
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


if __name__ == "__main__":
    main()
