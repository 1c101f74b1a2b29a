"""Attributes are recovered from pixels by drawing the truth again; checked on a world of 32x32 pixels, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest

from animeshooter_hf.eval.attribute_reading import (
    ReadingSettings,
    ShotQuestions,
    ShotReading,
    World,
    colour_difference,
    fit_frames,
    make_choice,
    make_colour_region,
    matching_frames,
    read_shot,
    story_values,
)

SHAPES, HATS = ("disc", "box", "bar"), ("none", "cap")
BODY, HAT = (200, 60, 40), (30, 60, 210)
SETTINGS = ReadingSettings(frames_per_shot=4, search_pixels=2)


def draw(shape: str, hat: str, body: tuple[int, int, int] = BODY, num_frames: int = 4) -> np.ndarray:
    """Return uint8 (num_frames, 32, 32, 3): a body that walks, with or without a hat."""
    frames = np.full((num_frames, 32, 32, 3), (120, 180, 140), np.uint8)
    for index, frame in enumerate(frames):
        x = 12 + round(8 * index / max(num_frames - 1, 1))
        if shape == "disc":
            cv2.circle(frame, (x, 20), 6, body, -1)
        elif shape == "box":
            cv2.rectangle(frame, (x - 5, 15), (x + 5, 25), body, -1)
        else:
            cv2.rectangle(frame, (x - 8, 18), (x + 8, 22), body, -1)
        if hat == "cap":
            cv2.rectangle(frame, (x - 3, 8), (x + 3, 12), HAT, -1)
    return frames


class TinyWorld:
    """A world with one character; what the training of a compact toon world would bring."""

    def __init__(self, shape: str, hat: str) -> None:
        self.shape, self.hat = shape, hat

    def shot_questions(self, shot_index: int, settings: ReadingSettings) -> Sequence[ShotQuestions]:
        truth = draw(self.shape, self.hat)
        shapes = np.stack([draw(one, self.hat) for one in SHAPES])
        hats = np.stack([draw(self.shape, one) for one in HATS])
        ends = (draw(self.shape, self.hat, (0, 0, 0)), draw(self.shape, self.hat, (255, 255, 255)))
        choices = [
            make_choice("shape", SHAPES, SHAPES.index(self.shape), shapes, settings),
            make_choice("hat", HATS, HATS.index(self.hat), hats, settings),
        ]
        region = make_colour_region("body_colour", "Mo", truth, ends, ((0, 0, 0), (255, 255, 255)), settings)
        return [
            ShotQuestions(
                character="Mo",
                truth_THW3=truth,
                mask_THW=(truth != (120, 180, 140)).any(axis=-1),
                choices=[one for one in choices if one is not None],
                colours=[one for one in (region,) if one is not None],
                main_colour_chance=0.25,
            )
        ]


def read(frames: np.ndarray, world: World | None = None) -> ShotReading:
    (questions,) = (world or TinyWorld("disc", "cap")).shot_questions(0, SETTINGS)
    return read_shot(frames[list(matching_frames(len(frames), 4))], questions, SETTINGS)


def test_the_truth_is_read_without_an_error() -> None:
    reading = read(draw("disc", "cap"))
    assert reading.identity == 1.0
    assert reading.differences == {"body_colour": 0.0}
    assert reading.correct == {"shape": True, "hat": True}


def test_each_wrong_attribute_is_found_and_named() -> None:
    assert read(draw("box", "cap")).correct == {"shape": False, "hat": True}
    assert read(draw("box", "cap")).chosen["shape"] == "box"
    assert read(draw("disc", "none")).correct == {"shape": True, "hat": False}
    assert read(draw("box", "none")).identity == pytest.approx(1 / 3)


def test_a_wrong_colour_costs_one_mark_and_has_the_distance_of_the_two_colours() -> None:
    pink = (200, 60, 130)
    reading = read(draw("disc", "cap", pink))
    assert reading.differences["body_colour"] == pytest.approx(colour_difference(BODY, pink))
    assert reading.identity == pytest.approx(2 / 3)


def test_chance_is_the_mean_of_what_guesses_would_get() -> None:
    assert read(draw("disc", "cap")).chance == pytest.approx((1 / 3 + 1 / 2 + 0.25) / 3)


def test_the_choice_is_that_of_a_plain_loop_over_pixels() -> None:
    rng = np.random.default_rng(7)
    hypotheses = np.stack([draw(one, "cap") for one in SHAPES])
    choice = make_choice("shape", SHAPES, 0, hypotheses, SETTINGS)
    assert choice is not None
    questions = replace(TinyWorld("disc", "cap").shot_questions(0, SETTINGS)[0], choices=(choice,), colours=())
    for _ in range(20):
        frames = rng.integers(0, 256, hypotheses.shape[1:]).astype(np.uint8)
        errors = [0.0] * len(SHAPES)
        for frame, row, column in np.ndindex(choice.mask_THW.shape):
            shown = hypotheses[:, frame, row, column].astype(float)
            if np.abs(shown - shown[0]).max() > 0.25 * 255:
                for number in range(len(SHAPES)):
                    errors[number] += float(((shown[number] - frames[frame, row, column]) ** 2).sum())
        still = ReadingSettings(frames_per_shot=4, search_pixels=0)
        assert read_shot(frames, questions, still).chosen["shape"] == SHAPES[int(np.argmin(errors))]


def test_a_small_shift_of_the_whole_shot_is_forgiven_and_a_large_one_is_not() -> None:
    truth = draw("disc", "cap")
    assert read(np.roll(truth, (2, -1), axis=(1, 2))).identity == 1.0
    assert read(np.roll(truth, (11, 0), axis=(1, 2))).identity != 1.0


def test_another_size_another_shape_and_another_number_of_frames_are_read_alike() -> None:
    long = draw("box", "none", num_frames=12)
    large = np.stack([cv2.resize(one, (128, 128), interpolation=cv2.INTER_NEAREST) for one in draw("box", "none")])
    wide = np.pad(large, ((0, 0), (0, 0), (20, 20), (0, 0)), mode="edge")
    world = TinyWorld("box", "none")
    assert read(long, world).correct == {"shape": True, "hat": True}
    assert read(large, world).identity == 1.0
    assert read(wide, world).identity == 1.0


def test_blur_and_noise_keep_the_attributes() -> None:
    truth = draw("bar", "cap")
    noise = np.random.default_rng(3).normal(0, 25, truth.shape)
    noisy = np.clip(truth + noise, 0, 255).astype(np.uint8)
    blurred = np.stack([cv2.GaussianBlur(one, (3, 3), 0) for one in truth])
    world = TinyWorld("bar", "cap")
    assert read(noisy, world).correct == {"shape": True, "hat": True}
    assert read(blurred, world).correct == {"shape": True, "hat": True}


def test_a_value_that_looks_like_the_true_one_is_no_alternative_and_lowers_no_score() -> None:
    values = ("cap", "beret", "none")
    hypotheses = np.stack([draw("disc", "cap"), draw("disc", "cap"), draw("disc", "none")])
    choice = make_choice("hat", values, 1, hypotheses, SETTINGS)
    assert choice is not None
    assert (choice.values, choice.truth) == (("beret", "none"), 0)
    questions = replace(TinyWorld("disc", "cap").shot_questions(0, SETTINGS)[0], choices=(choice,), colours=())
    reading = read_shot(draw("disc", "cap"), questions, SETTINGS)
    assert (reading.identity, reading.chance) == (1.0, 0.5)


def test_what_cannot_be_seen_is_no_question() -> None:
    same = np.stack([draw("disc", "cap")] * 2)
    assert make_choice("hat", HATS, 0, same) is None
    frames = draw("disc", "cap")
    region = make_colour_region("eye", "Mo", frames, (frames, frames), ((0, 0, 0), (255, 255, 255)))
    assert region is None


def test_frames_are_cut_evenly_and_never_squeezed() -> None:
    wide = np.zeros((1, 20, 60, 3), np.uint8)
    wide[:, :, 20:40] = 255
    assert fit_frames(wide, 10, 10).min() == 255
    assert fit_frames(wide, 20, 60) is wide


def test_the_colour_distance_is_that_of_the_formula() -> None:
    def lab(rgb: tuple[int, int, int]) -> np.ndarray:
        x = np.asarray(rgb) / 255
        x = np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92)
        x = x @ np.array(
            [[0.412453, 0.212671, 0.019334], [0.357580, 0.715160, 0.119193], [0.180423, 0.072169, 0.950227]]
        )
        x = x / np.array([0.950456, 1, 1.088754])
        f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    for first, second in (((10, 200, 30), (240, 20, 90)), ((0, 0, 0), (255, 255, 255)), ((90, 90, 90), (100, 90, 80))):
        assert colour_difference(first, second) == pytest.approx(np.linalg.norm(lab(first) - lab(second)), abs=0.5)


def test_a_story_is_the_mean_of_its_shots_and_a_shot_without_an_answer_is_left_out() -> None:
    right, wrong = read(draw("disc", "cap")), read(draw("box", "none"))
    values = story_values([[right], [], [wrong]])
    assert values["identity"] == pytest.approx((1 + 1 / 3) / 2)
    assert values["shape_accuracy"] == 0.5
    assert values["agreement"] == 0.0
    assert values["body_colour_drift"] == pytest.approx(0.0)
    assert story_values([[right], [right]])["agreement"] == 1.0


def test_a_story_of_which_nothing_was_read_has_no_number() -> None:
    assert story_values([[], []]) == {"identity": None, "chance": None, "agreement": None}


def test_consistent_greyness_has_no_drift_and_no_identity() -> None:
    grey = read(np.full((4, 32, 32, 3), 128, np.uint8))
    values = story_values([[grey], [grey]])
    assert values["body_colour_drift"] == 0.0
    assert values["identity"] in (0.0, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"frames_per_shot": 0}, "at least 1"),
        ({"search_pixels": -1}, "at least 0"),
        ({"differs_by": 1.0}, "between 0 and 1"),
        ({"colour_limit": 0.0}, "above 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReadingSettings(**wrong)  # type: ignore[arg-type]


def test_hypotheses_frames_and_colours_that_do_not_fit_are_refused() -> None:
    frames = draw("disc", "cap")
    with pytest.raises(ValueError, match="a hypothesis for each"):
        make_choice("hat", HATS, 0, frames[None])
    with pytest.raises(ValueError, match="must differ"):
        make_colour_region("hat", "Mo", frames, (frames, frames), ((1, 1, 1), (1, 1, 1)))
    with pytest.raises(ValueError, match="4 frames are asked about, got 3"):
        read_shot(frames[:3], TinyWorld("disc", "cap").shot_questions(0, SETTINGS)[0], SETTINGS)
    with pytest.raises(ValueError, match="at least 1"):
        matching_frames(0, 5)
