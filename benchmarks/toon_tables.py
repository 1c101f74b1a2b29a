"""Tables of the toon experiment: every number with its interval, systems side by side, drift, and contact sheets.

In:  what `toon_reading.py` read of several systems, each trained with several seeds, and the library's own scores.
Out: rows that become a markdown table or JSON, and pictures.

Characters are the clusters of all intervals. A story's value is the mean over training seeds, and only then come the
stories; beside it stands what each seed alone would have said, so that chance in training is not hidden.

    values_of, library_scores     story -> measure -> value
    system_rows, ratio_rows       each system with its interval
    pair_rows, ratio_pair_rows    two systems on the same stories
    drift_rows                    along the shots of long stories
    contact_sheet                 a picture to look at

Run as a script it makes all of them of the truth and of truth that is spoilt in known ways, which also tells what the
library's gates say of true stories.

Example:
    python benchmarks/toon_tables.py --characters 6 --seed 910000 --out OUT

Shape letters used below
    S shots    F frames of a shot    H, W rows and columns    C characters    B draws
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from toon_reading import (
    BANDS,
    Frames,
    StoryReading,
    band_distances,
    character_key,
    experiment_stories,
    questions_of,
    ratios_of,
    read_system,
    spoilt_systems,
    true_frames,
)

from animeshooter_hf.eval.attribute_reading import colour_difference, fit_frames
from animeshooter_hf.eval.controls import CONTROLS
from animeshooter_hf.eval.runner import evaluate_stories
from animeshooter_hf.eval.statistics import cluster_bootstrap, holm, paired_comparison
from animeshooter_hf.eval.story_prediction import StoryPrediction
from animeshooter_hf.toon.compact import CompactSettings, CompactStory

Values = Mapping[str, Mapping[str, float | None]]
"""Story -> measure -> value."""

Runs = Mapping[str, Mapping[int, Values]]
"""System -> training seed -> values."""

Readings = Mapping[str, Mapping[int, Sequence[StoryReading]]]
"""System -> training seed -> readings, all of the same stories in the same order."""

MEASURES = (
    "identity",
    "body_accuracy",
    "hat_accuracy",
    "pattern_accuracy",
    "ears_accuracy",
    "eyes_accuracy",
    "body_colour_difference",
    "pattern_colour_difference",
    "hat_colour_difference",
    "sky_difference",
    "ground_difference",
)
"""What is read, in the order of a table."""

LIBRARY_METRICS = ("reference_fidelity", "cross_shot_consistency", "shot_controls")

LIBRARY_MEASURES = (
    "reference_fidelity/mean",
    "reference_fidelity/harmean_p",
    "reference_fidelity/margin",
    "reference_fidelity/retrieval_at_1",
    "cross_shot_consistency/pairwise",
    "cross_shot_consistency/foreground_pairwise",
    "cross_shot_consistency/background_pairwise",
    "cross_shot_consistency/scene_contrast",
    "cross_shot_consistency/scene_auc",
)
"""What of the library's scores stands in a table."""

GATES = ("static", "copy_paste", "wrong_character", "noise", "blank", "duplicate")
"""Gates that answer for clips of five frames; `shuffled` wants 32, and `low_found_rate` wants regions. `duplicate`
flags a fifth of the true stories, as nearly equal captions give nearly equal shots, and all of 15 shots; so those
stories are left out in which the truth is flagged."""

DRAWS = 10_000
"""Draws of a bootstrap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measure of one system."""

    system: str
    """Which."""

    measure: str
    """What."""

    value: float
    """Mean over stories of the mean over seeds; of a ratio, the mean over seeds."""

    low: float
    """Lower end of the 95 % interval over characters."""

    high: float
    """Upper end."""

    num_stories: int
    """Stories that went in."""

    seed_values: Mapping[int, float]
    """Training seed -> its value."""

    shot_index: int | None = None
    """Shot from 0, in a curve; None where all shots are meant."""

    @property
    def seed_spread(self) -> float | None:
        """Standard deviation of the seeds' values; None with a single seed."""
        return float(np.std(list(self.seed_values.values()), ddof=1)) if len(self.seed_values) > 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """Two systems on one measure."""

    first: str
    """The one system."""

    second: str
    """The other."""

    measure: str
    """What."""

    difference: float
    """First minus second."""

    low: float
    """Lower end of its 95 % interval over characters."""

    high: float
    """Upper end."""

    p_value: float | None
    """Two-sided, sign flips of characters; None for ratios, which only have an interval."""

    adjusted_p_value: float | None = None
    """The same after Holm, over all tests that were made together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LibraryScores:
    """What the library says of one system's stories."""

    values: Values
    """Story -> "METRIC/NAME" -> value."""

    flags: Mapping[str, tuple[str, ...]]
    """Story -> gates that it fails; stories that fail none are not here."""

    def flagged(self, gate: str) -> set[str]:
        """Return the stories that a gate flags."""
        return {story for story, gates in self.flags.items() if gate in gates}

    def tested(self, gate: str) -> set[str]:
        """Return the stories that a gate of `shot_controls` could test."""
        number = next(control.number for control in CONTROLS if control.name == gate)
        return {story for story, row in self.values.items() if row[f"shot_controls/{number}"] is not None}


def values_of(readings: Iterable[StoryReading]) -> dict[str, dict[str, float | None]]:
    """Return story -> measure -> value."""
    return {reading.story_id: reading.values for reading in readings}


def characters_of(stories: Iterable[CompactStory]) -> dict[str, str]:
    """Return story -> key of its character."""
    return {story.plan.film_id: character_key(story.character) for story in stories}


def library_scores(frames_list: Sequence[Frames], stories: Sequence[CompactStory]) -> LibraryScores:
    """Return the library's scores of a system's stories, with its classical backbone, captions and places.

    Frames are given as they are, without a codec; so the library takes them for 16 frames a second, not 8, which halves
    the time between the frames whose motion is measured. The truth moves thirty times as much as `static` asks for.

    Args:
        frames_list: For each story, uint8 of shape (S, F, H, W, 3).
        stories: The same ones.
    """
    predictions = [
        StoryPrediction(
            story_id=story.plan.film_id,
            ip_id=character_key(story.character),
            shots=tuple(np.ascontiguousarray(clip) for clip in frames_SFHW3),
            references=(story.reference(),),
            captions=story.captions,
            scene_ids=tuple(shot.scene_id for shot in story.plan.shots),
        )
        for frames_SFHW3, story in zip(frames_list, stories, strict=True)
    ]
    results = evaluate_stories(predictions, LIBRARY_METRICS, draws=0)
    return LibraryScores(
        values={
            story: {
                f"{metric}/{name}": value for metric in LIBRARY_METRICS for name, value in one[metric].values.items()
            }
            for story, one in results.stories.items()
        },
        flags={story: tuple(gates) for story, gates in results.flags.items()},
    )


def system_rows(runs: Runs, characters: Mapping[str, str], measures: Sequence[str] = MEASURES) -> list[Row]:
    """Return every measure of every system that at least two stories have.

    Args:
        runs: Story values of each system and training seed.
        characters: Story -> its character.
        measures: Which.
    """
    rows = []
    for system, seeds in runs.items():
        for measure in measures:
            row = _row(system, measure, {seed: _column(values, measure) for seed, values in seeds.items()}, characters)
            rows += [] if row is None else [row]
    return rows


def ratio_rows(readings: Readings, *, draws: int = DRAWS) -> list[Row]:
    """Return `sky_ratio` and `ground_ratio` of every system, see `within_between`; characters are drawn anew.

    Raises:
        ValueError: If the systems were read on different stories.
    """
    rows = []
    for (system, band), (whole, of_seed, drawn_B) in _ratios(readings, draws).items():
        low, high = np.nanquantile(drawn_B, (0.025, 0.975)) if np.isfinite(drawn_B).any() else (np.nan, np.nan)
        if np.isfinite([whole, low, high]).all():
            stories = len(next(iter(readings[system].values())))
            rows.append(Row(system=system, measure=f"{band}_ratio", value=whole, low=float(low), high=float(high),
                            num_stories=stories, seed_values=of_seed))  # fmt: skip
    return rows


def pair_rows(
    runs: Runs, characters: Mapping[str, str], pairs: Sequence[tuple[str, str]], measures: Sequence[str] = MEASURES
) -> list[PairRow]:
    """Return how pairs of systems differ on the stories that both have; Holm goes over all rows together."""
    rows = []
    for first, second in pairs:
        for measure in measures:
            one, other = (_over_seeds([_column(v, measure) for v in runs[s].values()]) for s in (first, second))
            found = paired_comparison(one, other, characters, draws=DRAWS)
            if found is not None:
                rows.append((first, second, measure, found))
    adjusted = holm([found.p_value for *_, found in rows]) if rows else []
    return [
        PairRow(first=first, second=second, measure=measure, difference=found.difference, low=found.low,
                high=found.high, p_value=found.p_value, adjusted_p_value=p_value)
        for (first, second, measure, found), p_value in zip(rows, adjusted, strict=True)
    ]  # fmt: skip


def ratio_pair_rows(readings: Readings, pairs: Sequence[tuple[str, str]], *, draws: int = DRAWS) -> list[PairRow]:
    """Return how the ratios of pairs of systems differ; both are taken from the same draws of characters."""
    found = _ratios(readings, draws)
    rows = []
    for first, second in pairs:
        for band in BANDS:
            (one, _, one_B), (other, _, other_B) = found[first, band], found[second, band]
            apart_B = one_B - other_B
            if np.isfinite(one - other) and np.isfinite(apart_B).any():
                low, high = np.nanquantile(apart_B, (0.025, 0.975))
                rows.append(PairRow(first=first, second=second, measure=f"{band}_ratio", difference=one - other,
                                    low=float(low), high=float(high), p_value=None))  # fmt: skip
    return rows


def drift_rows(readings: Readings) -> list[Row]:
    """Return curves over the shots of a story, and how far it falls from its first to its last third.

    `identity` by shot; `sky_from_first` and `ground_from_first`, the Lab distance to the first shot of the same place;
    and without a shot index `identity_drop`, `sky_from_first_rise` and `ground_from_first_rise`, per story the first
    third of its shots against the last one, so that positive is worse.
    """
    characters = {one.story_id: one.character for runs in readings.values() for seed in runs.values() for one in seed}
    rows: list[Row | None] = []
    for system, runs in readings.items():
        for name in ("identity", *(f"{band}_from_first" for band in BANDS)):
            curves = {seed: {one.story_id: _curve(one, name) for one in run} for seed, run in runs.items()}
            length = max(len(curve) for stories in curves.values() for curve in stories.values())
            for index in range(length):
                at = {seed: {story: value for story, curve in stories.items()
                             if index < len(curve) and (value := curve[index]) is not None}
                      for seed, stories in curves.items()}  # fmt: skip
                rows.append(_row(system, name, at, characters, index))
            sign, words = (1, "identity_drop") if name == "identity" else (-1, f"{name}_rise")
            falls = {seed: {story: sign * fall for story, one in stories.items() if (fall := _fall(one)) is not None}
                     for seed, stories in curves.items()}  # fmt: skip
            rows.append(_row(system, words, falls, characters))
    return [row for row in rows if row is not None]


def markdown(rows: Sequence[Row]) -> str:
    """Return a table, systems side by side: "value [low, high]", and the standard deviation over seeds after "±"."""
    systems = list(dict.fromkeys(row.system for row in rows))
    lines = list(dict.fromkeys((row.measure, row.shot_index) for row in rows))
    known = {(row.system, row.measure, row.shot_index): row for row in rows}
    body = []
    for measure, index in lines:
        name = measure if index is None else f"{measure}, shot {index + 1}"
        cells = [_cell(known.get((system, measure, index))) for system in systems]
        body.append(f"| {name} | {' | '.join(cells)} |")
    head = f"| | {' | '.join(systems)} |\n|---|{'---|' * len(systems)}"
    return "\n".join([head, *body])


def pairs_markdown(rows: Sequence[PairRow]) -> str:
    """Return a table of differences."""
    body = [
        f"| {row.first} - {row.second} | {row.measure} | {row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] | "
        f"{_p_words(row.p_value)} | {_p_words(row.adjusted_p_value)} |"
        for row in rows
    ]
    return "\n".join(["| systems | measure | difference | p | p (Holm) |", "|---|---|---|---|---|", *body])


def gates_markdown(scores: Mapping[str, Mapping[int, LibraryScores]], truth: LibraryScores) -> str:
    """Return a table of flagged stories over all seeds; those that are flagged in truth too do not count."""
    body = []
    for gate in GATES:
        excused = truth.flagged(gate)
        cells = [
            f"{sum(len(one.flagged(gate) - excused) for one in seeds.values())}/"
            f"{sum(len(one.tested(gate) - excused) for one in seeds.values())}"
            for seeds in scores.values()
        ]
        body.append(f"| {gate} | {len(excused)}/{len(truth.tested(gate))} | {' | '.join(cells)} |")
    head = f"| gate | truth | {' | '.join(scores)} |\n|---|---|{'---|' * len(scores)}"
    return "\n".join([head, *body])


def to_json(rows: Sequence[Row | PairRow]) -> list[dict[str, Any]]:
    """Return rows as plain values."""
    return [{**asdict(row), **({"seed_spread": row.seed_spread} if isinstance(row, Row) else {})} for row in rows]


def contact_sheet(
    path: str | Path,
    stories: Sequence[CompactStory],
    systems: Mapping[str, Sequence[Frames]],
    *,
    zoom: int = 1,
) -> Path:
    """Draw stories below each other: for each the truth, then a row for each system.

    A row begins with its name and the reference; then come the first and the last frame of each shot.

    Args:
        path: A PNG.
        stories: Which.
        systems: Name -> for each story uint8 of shape (S, F, H, W, 3).
        zoom: Size of a picture, in parts of the story's.
    """
    blocks = [
        _story_block(
            story, {"truth": true_frames(story), **{name: frames[number] for name, frames in systems.items()}}, zoom
        )
        for number, story in enumerate(stories)
    ]
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(one, ((0, 10), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in blocks]
    Image.fromarray(np.concatenate(padded)).save(path)
    return Path(path)


_LABEL_WIDTH, _GAP = 132, 6
"""Pixels of the names at the left, and between shots."""


def _story_block(story: CompactStory, rows: Mapping[str, Frames], zoom: int) -> Frames:
    size = zoom * story.settings.size
    reference = story.reference()
    alpha = reference[..., 3:].astype(np.float32) / 255
    flat = np.asarray(np.round(reference[..., :3] * alpha + 255 * (1 - alpha)), np.uint8)
    flat = np.asarray(cv2.resize(flat, (size, size), interpolation=cv2.INTER_NEAREST), np.uint8)
    gap = np.full((size, _GAP, 3), 255, np.uint8)
    lines = [_label(story.plan.film_id, 16, _LABEL_WIDTH)]
    for name, frames_SFHW3 in rows.items():
        parts = [_label(name, size, _LABEL_WIDTH), flat]
        for clip in frames_SFHW3:
            ends = fit_frames(clip[[0, -1]], story.settings.size, story.settings.size)
            parts += [gap, *(cv2.resize(one, (size, size), interpolation=cv2.INTER_NEAREST) for one in ends)]
        lines.append(np.concatenate(parts, axis=1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(line, ((0, 2), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return np.concatenate(padded)


def _label(text: str, height: int, width: int) -> Frames:
    picture = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(picture).text((3, max(0, height // 2 - 6)), text[:22], fill="black")
    return np.asarray(picture, np.uint8)


def _column(values: Values, measure: str) -> dict[str, float]:
    return {story: value for story, row in values.items() if (value := row.get(measure)) is not None}


def _over_seeds(columns: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each story's mean over the seeds that have it."""
    stories = dict.fromkeys(story for column in columns for story in column)
    return {story: float(np.mean([column[story] for column in columns if story in column])) for story in stories}


def _row(
    system: str,
    measure: str,
    seeds: Mapping[int, Mapping[str, float]],
    characters: Mapping[str, str],
    shot_index: int | None = None,
) -> Row | None:
    means = _over_seeds(list(seeds.values()))
    interval = cluster_bootstrap(list(means.values()), [characters[story] for story in means], draws=DRAWS)
    if interval is None:
        return None
    return Row(
        system=system,
        measure=measure,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        num_stories=interval.num_stories,
        seed_values={seed: float(np.mean(list(column.values()))) for seed, column in seeds.items() if column},
        shot_index=shot_index,
    )


_Ratio = tuple[float, dict[int, float], NDArray[np.float64]]
"""Mean over seeds; of each seed; mean over seeds in each draw."""


def _ratios(readings: Readings, draws: int) -> dict[tuple[str, str], _Ratio]:
    """Return (system, band) -> its ratios; all systems are weighted by the same draws."""
    lists = [[(one.story_id, one.character) for one in run] for runs in readings.values() for run in runs.values()]
    if any(one != lists[0] for one in lists):
        raise ValueError("All systems must be read on the same stories, in the same order.")
    num_characters = len({character for _, character in lists[0]})
    drawn_BC = np.random.default_rng(0).multinomial(num_characters, [1 / num_characters] * num_characters, size=draws)
    weights_BC = np.concatenate([np.ones((1, num_characters)), drawn_BC])
    found: dict[tuple[str, str], _Ratio] = {}
    for system, runs in readings.items():
        for band in BANDS:
            ratios = {seed: ratios_of(*band_distances(run, band), weights_BC) for seed, run in runs.items()}
            mean_B = np.mean(list(ratios.values()), axis=0)
            of_seed = {seed: float(one[0]) for seed, one in ratios.items()}
            found[system, band] = (float(mean_B[0]), of_seed, mean_B[1:])
    return found


def _curve(reading: StoryReading, name: str) -> list[float | None]:
    if name == "identity":
        return [shot.identity for shot in reading.shots]
    colours = reading.bands[name.removesuffix("_from_first")]
    first: dict[str, Any] = {}
    curve: list[float | None] = []
    for kind, colour in zip(reading.scene_kinds, colours, strict=True):
        curve.append(None if colour is None or kind not in first else colour_difference(first[kind], colour))
        if colour is not None:
            first.setdefault(kind, colour)
    return curve


def _fall(curve: Sequence[float | None]) -> float | None:
    """Return the mean of the first third of a curve minus that of the last one."""
    third = max(1, len(curve) // 3)
    ends = [[value for value in part if value is not None] for part in (curve[:third], curve[-third:])]
    return float(np.mean(ends[0]) - np.mean(ends[1])) if all(ends) else None


def _cell(row: Row | None) -> str:
    if row is None:
        return "-"
    spread = "" if row.seed_spread is None else f" ± {row.seed_spread:.3f}"
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]{spread}"


def _p_words(p_value: float | None) -> str:
    return "-" if p_value is None else f"{p_value:.2g}"


def main() -> None:
    """Make all tables and a contact sheet of the truth and of truth that is spoilt in known ways."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", type=int, default=6, help="held-out characters (default %(default)s)")
    parser.add_argument("--stories", type=int, default=2, help="of each character (default %(default)s)")
    parser.add_argument("--shots", type=int, default=4, help="of each story (default %(default)s)")
    parser.add_argument("--seed", type=int, default=910_000, help="of the first story (default %(default)s)")
    parser.add_argument(
        "--spoilt-seeds", type=int, default=2, help="in the place of training seeds (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for questions, tables and pictures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    settings = CompactSettings(num_shots=arguments.shots)
    stories = experiment_stories(arguments.characters, arguments.stories, arguments.seed, settings)
    questions = questions_of(stories, arguments.out / "questions", num_workers=1)
    made = {seed: spoilt_systems(stories, seed) for seed in range(arguments.spoilt_seeds)}
    readings = {
        system: {seed: read_system(frames[system], questions) for seed, frames in made.items()} for system in made[0]
    }
    scores = {
        system: {seed: library_scores(frames[system], stories) for seed, frames in made.items()} for system in made[0]
    }
    characters = characters_of(stories)
    read = {system: {seed: values_of(run) for seed, run in runs.items()} for system, runs in readings.items()}
    library = {system: {seed: run.values for seed, run in runs.items()} for system, runs in scores.items()}
    pairs = [("truth", "stranger in its place"), ("3x3 blur", "frozen first frame")]
    rows = system_rows(read, characters) + ratio_rows(readings) + system_rows(library, characters, LIBRARY_MEASURES)
    compared = pair_rows(read, characters, pairs) + ratio_pair_rows(readings, pairs)
    drifts = drift_rows(readings)
    tables = [markdown(rows), gates_markdown(scores, scores["truth"][0]), pairs_markdown(compared), markdown(drifts)]
    print("\n\n".join(tables))
    (arguments.out / "tables.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    everything = {"systems": to_json(rows), "pairs": to_json(compared), "drift": to_json(drifts)}
    (arguments.out / "tables.json").write_text(json.dumps(everything, indent=1, allow_nan=False), encoding="utf-8")
    shown = {system: frames for system, frames in made[0].items() if system != "truth"}
    contact_sheet(arguments.out / "sheet.png", stories[:3], {name: frames[:3] for name, frames in shown.items()})


if __name__ == "__main__":
    main()
