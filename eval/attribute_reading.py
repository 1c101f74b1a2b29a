"""Recover a character's attributes from pixels by drawing the true shot again with every other value of each.

In:  the frames of a shot, and what its world asks about them: the same shot drawn with each value of an attribute
     (hypotheses), and the pixels that one colour alone controls. Nothing here knows how a world draws.
Out: which hypothesis the frames are nearest to, how far the colours are off, and both as one number, identity.

A forced choice: on the pixels where the hypotheses differ, the nearest one wins. No model is trained or loaded, the
truth itself gets exactly 1.0 and a colour difference of 0, and what a uniform guess would get is known (`chance`); a
character with nothing in common is read a little above that, since pixels do not guess evenly. It answers
for systems that draw the shot where the world draws it, within `search_pixels`; one that stages the shot in another
way is read far too low, whoever is in it. A colour that is far off can spoil the choice of a form that is drawn in it.

Shape letters used below
    A values of an attribute    T frames looked at    H rows    W columns    P pixels where values differ
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.views import to_lab

__all__ = [
    "Choice",
    "ColourRegion",
    "ReadingSettings",
    "ShotQuestions",
    "ShotReading",
    "World",
    "colour_difference",
    "fit_frames",
    "make_choice",
    "make_colour_region",
    "matching_frames",
    "read_shot",
    "story_values",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingSettings:
    """How frames are compared with hypotheses."""

    frames_per_shot: int = 5
    """Frames looked at, the middles of equal parts of the shot; as everywhere in the scores."""

    search_pixels: int = 4
    """The whole shot may be shifted this far in each direction, in pixels of the truth. Our choice: 1.5 % of 270 rows;
    the prototype's 2 pixels of 32 rows were enough there."""

    differs_by: float = 0.25
    """Pixels count where two hypotheses differ by this much in a channel, of 1. The prototype's."""

    controls_by: float = 0.9
    """Pixels have a colour where it alone makes this share of them. The prototype's."""

    least_pixels: int = 12
    """Fewer pixels than this, over all frames, are no question. Our choice: a codec does not keep what is so small."""

    colour_limit: float = 20.0
    """dE76 below which the main colour counts as kept. The prototype's; neighbours in the toon palette are 20 apart."""

    def __post_init__(self) -> None:
        if self.frames_per_shot < 1 or self.search_pixels < 0 or self.least_pixels < 1:
            raise ValueError("frames_per_shot and least_pixels must be at least 1, search_pixels at least 0.")
        if not (0 < self.differs_by < 1 and 0 < self.controls_by <= 1 and self.colour_limit > 0):
            raise ValueError("differs_by and controls_by must lie between 0 and 1, and colour_limit be above 0.")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A forced choice between the values of one attribute."""

    name: str
    """The attribute."""

    values: tuple[str, ...]
    """Its values that can be told from the true one, and that one."""

    truth: int
    """Position of the true one."""

    mask_THW: NDArray[np.bool_]
    """The pixels where the values differ."""

    pixels_AP3: NDArray[np.uint8]
    """What each value shows there."""


@dataclass(frozen=True, slots=True, eq=False)
class ColourRegion:
    """Pixels that one colour alone controls."""

    name: str
    """What has the colour."""

    owner: str
    """Who or what should have it in all shots of a story: a character, or the style."""

    mask_THW: NDArray[np.bool_]
    """The pixels."""

    colour: NDArray[np.uint8]
    """Their median in the truth, RGB."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShotQuestions:
    """What can be asked about one character in one shot."""

    character: str
    """Who."""

    truth_THW3: NDArray[np.uint8]
    """The true frames."""

    mask_THW: NDArray[np.bool_]
    """Where the character is in them; the shift is found there."""

    choices: Sequence[Choice]
    """Attributes that can be seen."""

    colours: Sequence[ColourRegion]
    """Colours that can be seen."""

    main_colour: str = "body_colour"
    """The colour that counts in identity."""

    main_colour_chance: float = 0.0
    """Share of the characters of this world whose main colour would pass as this one's."""


class World(Protocol):
    """A world that can draw a true shot again."""

    def shot_questions(self, shot_index: int, settings: ReadingSettings) -> Sequence[ShotQuestions]:
        """Return the questions of a shot, one set for each character that is in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShotReading:
    """What was read about one character in one shot."""

    character: str
    """Who should be there."""

    chosen: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> the nearest value."""

    correct: Mapping[str, bool] = field(default_factory=dict)
    """Attribute -> whether it is the true one."""

    num_values: Mapping[str, int] = field(default_factory=dict)
    """Attribute -> number of values."""

    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Colour -> what was read, RGB."""

    differences: Mapping[str, float] = field(default_factory=dict)
    """Colour -> dE76 to the truth."""

    owners: Mapping[str, str] = field(default_factory=dict)
    """Colour -> who or what should keep it."""

    identity: float | None = None
    """Mean over all choices and whether the main colour was kept, in [0, 1]; None if nothing could be asked."""

    chance: float | None = None
    """What a uniform guess would get."""


def matching_frames(num_frames: int, count: int) -> tuple[int, ...]:
    """Return the ordinals at the middles of `count` equal parts of a clip; a short clip gives some of them again.

    So a clip of any length and rate is compared at the same shares of its time.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> matching_frames(49, 5), matching_frames(2, 5)
        ((4, 14, 24, 34, 44), (0, 0, 1, 1, 1))
    """
    if num_frames < 1 or count < 1:
        raise ValueError(f"num_frames and count must be at least 1, got {num_frames} and {count}.")
    return tuple((2 * k + 1) * num_frames // (2 * count) for k in range(count))


def fit_frames(frames_THW3: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Return frames at another size; what another shape has too much is cut off evenly, nothing is squeezed."""
    rows, columns = frames_THW3.shape[1:3]
    if (rows, columns) == (height, width):
        return frames_THW3
    kept_rows = min(rows, max(1, round(columns * height / width)))
    kept_columns = min(columns, max(1, round(rows * width / height)))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    cut = frames_THW3[:, top : top + kept_rows, left : left + kept_columns]
    how = cv2.INTER_AREA if kept_rows > height else cv2.INTER_LINEAR
    return np.stack([np.asarray(cv2.resize(one, (width, height), interpolation=how), np.uint8) for one in cut])


def make_choice(
    name: str,
    values: Sequence[str],
    truth: int,
    hypotheses_ATHW3: NDArray[np.uint8],
    settings: ReadingSettings | None = None,
) -> Choice | None:
    """Return the choice between the values that can be told from the true one, or None if there is none.

    A value that looks like the true one here, such as another hair under the same hat, is no alternative.

    Raises:
        ValueError: If there are fewer than two hypotheses, or not one for each value.
    """
    settings = settings or ReadingSettings()
    if len(values) < 2 or len(hypotheses_ATHW3) != len(values) or not 0 <= truth < len(values):
        raise ValueError(
            f"{name} needs two values or more, a hypothesis for each and a truth among them, got {len(values)} values, "
            f"{len(hypotheses_ATHW3)} hypotheses and the truth {truth}."
        )
    spread_THW = (hypotheses_ATHW3.max(axis=0) - hypotheses_ATHW3.min(axis=0)).max(axis=-1)
    mask_THW = spread_THW > settings.differs_by * 255
    pixels_AP3 = hypotheses_ATHW3[:, mask_THW]
    apart_AP = np.abs(pixels_AP3.astype(np.int16) - pixels_AP3[truth]).max(axis=-1) > settings.differs_by * 255
    kept = [
        number
        for number, apart_P in enumerate(apart_AP)
        if number == truth or int(apart_P.sum()) >= settings.least_pixels
    ]
    if len(kept) < 2:
        return None
    # Pixels in which only values differ that were left out say nothing.
    told_P = apart_AP[kept].any(axis=0)
    mask_THW[mask_THW] = told_P
    names = tuple(values[number] for number in kept)
    return Choice(name, names, kept.index(truth), mask_THW, np.ascontiguousarray(pixels_AP3[kept][:, told_P]))


def make_colour_region(
    name: str,
    owner: str,
    truth_THW3: NDArray[np.uint8],
    drawn: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    colours: tuple[tuple[int, int, int], tuple[int, int, int]],
    settings: ReadingSettings | None = None,
) -> ColourRegion | None:
    """Return the region of a colour, or None if it is too small.

    Args:
        name: What has the colour.
        owner: Who or what should keep it in a story.
        truth_THW3: The true frames.
        drawn: The same frames with two other colours in its place, both (T, H, W, 3).
        colours: These two colours, RGB.
        settings: Of reading.

    Raises:
        ValueError: If the two colours are the same.
    """
    settings = settings or ReadingSettings()
    apart = np.subtract(*np.asarray(colours, dtype=np.float32))
    length = float(apart @ apart)
    if length == 0:
        raise ValueError(f"The two colours of {name} must differ.")
    moved_THW3 = drawn[0].astype(np.float32) - drawn[1].astype(np.float32)
    mask_THW = moved_THW3 @ apart / length >= settings.controls_by
    if int(mask_THW.sum()) < settings.least_pixels:
        return None
    return ColourRegion(name, owner, mask_THW, _median(truth_THW3[mask_THW]))


def read_shot(
    frames_THW3: NDArray[np.uint8], questions: ShotQuestions, settings: ReadingSettings | None = None
) -> ShotReading:
    """Return what frames answer; they are those at the same shares of time as the truth's (`matching_frames`).

    Args:
        frames_THW3: uint8; any size, as many frames as the truth has.
        questions: What is asked.
        settings: Of reading.

    Raises:
        ValueError: If there are more or fewer frames than in the truth.
    """
    settings = settings or ReadingSettings()
    count, height, width = questions.mask_THW.shape
    if len(frames_THW3) != count:
        raise ValueError(f"{count} frames are asked about, got {len(frames_THW3)}.")
    seen_THW3 = _align(fit_frames(frames_THW3, height, width), questions, settings.search_pixels)
    chosen: dict[str, str] = {}
    for choice in questions.choices:
        there_P3 = seen_THW3[choice.mask_THW].astype(np.float32)
        errors_A = [float(np.square(one - there_P3).sum(axis=-1).mean()) for one in choice.pixels_AP3]
        chosen[choice.name] = choice.values[int(np.argmin(errors_A))]
    colours, differences = {}, {}
    for region in questions.colours:
        read = _median(seen_THW3[region.mask_THW])
        colours[region.name] = (int(read[0]), int(read[1]), int(read[2]))
        differences[region.name] = colour_difference(read, region.colour)
    correct = {choice.name: chosen[choice.name] == choice.values[choice.truth] for choice in questions.choices}
    num_values = {choice.name: len(choice.values) for choice in questions.choices}
    marks, guesses = [float(value) for value in correct.values()], [1 / number for number in num_values.values()]
    if questions.main_colour in differences:
        marks.append(float(differences[questions.main_colour] < settings.colour_limit))
        guesses.append(questions.main_colour_chance)
    return ShotReading(
        character=questions.character,
        chosen=chosen,
        correct=correct,
        num_values=num_values,
        colours=colours,
        differences=differences,
        owners={region.name: region.owner for region in questions.colours},
        identity=float(np.mean(marks)) if marks else None,
        chance=float(np.mean(guesses)) if guesses else None,
    )


def colour_difference(first: Sequence[int] | NDArray[np.uint8], second: Sequence[int] | NDArray[np.uint8]) -> float:
    """Return dE76, the distance of two sRGB colours in CIE Lab.

    Example:
        >>> colour_difference((10, 20, 30), (10, 20, 30)), round(colour_difference((0, 0, 0), (255, 255, 255)))
        (0.0, 100)
    """
    lab = to_lab(np.array([[first, second]], dtype=np.uint8))[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


def story_values(shots: Sequence[Sequence[ShotReading]]) -> dict[str, float | None]:
    """Return the numbers of one story; None where the question does not arise.

    Args:
        shots: The readings of each shot, one for each character; an empty list for a shot that could not be read.

    Returns:
        `identity` and its `chance`; `agreement`, the share of pairs of shots that show the same value of an attribute;
        `NAME_accuracy` for each attribute; `NAME_difference` (dE76) and `NAME_drift` (mean dE76 between shots) for
        each colour.
    """
    readings = [reading for shot in shots for reading in shot]
    values: dict[str, float | None] = {
        "identity": _mean([_mean([one.identity for one in shot]) for shot in shots]),
        "chance": _mean([_mean([one.chance for one in shot]) for shot in shots]),
        "agreement": _agreement(readings),
    }
    for name in sorted({name for one in readings for name in one.correct}):
        values[f"{name}_accuracy"] = _mean([float(one.correct[name]) for one in readings if name in one.correct])
    for name in sorted({name for one in readings for name in one.differences}):
        values[f"{name}_difference"] = _mean([one.differences.get(name) for one in readings])
        values[f"{name}_drift"] = _mean(
            [
                colour_difference(first.colours[name], second.colours[name])
                for first, second in combinations([one for one in readings if name in one.colours], 2)
                if first.owners[name] == second.owners[name]
            ]
        )
    return values


def _align(seen_THW3: NDArray[np.uint8], questions: ShotQuestions, reach: int) -> NDArray[np.uint8]:
    """Return the frames shifted, all alike, to where they are nearest to the truth on the character."""
    mask_THW = questions.mask_THW
    if reach == 0 or not mask_THW.any():
        return seen_THW3
    height, width = mask_THW.shape[1:]
    padded = np.pad(seen_THW3, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    frames, rows, columns = np.nonzero(mask_THW)
    truth_P3 = questions.truth_THW3[mask_THW].astype(np.int16)
    best: tuple[float, int, int, int] | None = None
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            error = float(np.abs(padded[frames, rows + down, columns + right] - truth_P3).mean())
            # Of equally near shifts the smaller one, so that a still picture is not moved.
            rank = (error, abs(down - reach) + abs(right - reach), down, right)
            best = rank if best is None or rank < best else best
    if best is None:
        return seen_THW3
    _, _, down, right = best
    return padded[:, down : down + height, right : right + width]


def _agreement(readings: Sequence[ShotReading]) -> float | None:
    same = [
        float(first.chosen[name] == second.chosen[name])
        for first, second in combinations(readings, 2)
        if first.character == second.character
        for name in first.chosen
        if name in second.chosen
    ]
    return _mean(same)


def _median(pixels_P3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(np.round(np.median(pixels_P3, axis=0)), dtype=np.uint8)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
