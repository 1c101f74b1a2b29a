"""Read who is seen in a compact toon story: its five attributes as forced choices, and its three colours.

The true shots are drawn again with every other value of each attribute, and the frames that a model made are held
against them; see `attribute_reading` for how, and for what it cannot say.

Shape letters used below
    S shots    F frames of a shot    T frames looked at    H, W rows and columns
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.attribute_reading import (
    Choice,
    ColourRegion,
    ReadingSettings,
    ShotQuestions,
    colour_difference,
    fit_frames,
    make_choice,
    make_colour_region,
    matching_frames,
    read_shot,
    story_values,
)
from animeshooter_hf.toon.attributes import ATTRIBUTES, COLOURS, ToonCharacter
from animeshooter_hf.toon.compact import COMPACT_ATTRIBUTES, COMPACT_COLOURS, CompactStory
from animeshooter_hf.toon.shot_renderer import ShotRenderer

__all__ = ["COMPACT_READING", "CompactWorld", "read_compact_story"]

Frames = NDArray[np.uint8]
RGB = tuple[int, int, int]
Draw = Callable[[ToonCharacter], Frames]
"""Draws the frames of a shot with somebody in the place of its character."""

COMPACT_READING = ReadingSettings(search_pixels=2)
"""All five frames of a shot; shifts of 2 pixels of 64 are followed. Our choice."""


class CompactWorld:
    """The compact world as a `World` of `attribute_reading`: a story's plan answers for its shots."""

    def __init__(self, story: CompactStory) -> None:
        """Take the story."""
        self.story, self.plan = story, story.plan

    def shot_questions(self, shot_index: int, settings: ReadingSettings) -> Sequence[ShotQuestions]:
        """Return the questions of a shot: one set, since there is one character, who is always there."""
        character, shot = self.story.character, self.plan.shots[shot_index]
        ordinals = matching_frames(shot.num_frames, settings.frames_per_shot)
        renderer = ShotRenderer(self.plan, shot)

        def draw(who: ToonCharacter) -> Frames:
            seen = renderer.with_plan(replace(self.plan, characters=(who,)))
            return np.stack([seen.picture(ordinal) for ordinal in ordinals])

        truth_THW3 = draw(character)
        empty = np.zeros(truth_THW3.shape[1:3], bool)
        main = COLOURS[character.body_colour]
        near = [self._apart(COLOURS[name], main) < settings.colour_limit for name in ATTRIBUTES["body_colour"]]
        questions = ShotQuestions(
            character=character.id,
            truth_THW3=truth_THW3,
            mask_THW=np.stack([renderer.masks(ordinal).get(character.id, empty) for ordinal in ordinals]),
            choices=tuple(self._choices(truth_THW3, draw, settings)),
            colours=tuple(self._colours(truth_THW3, draw, settings)),
            main_colour_chance=float(np.mean(near)),
        )
        return [questions]

    def _choices(self, truth_THW3: Frames, draw: Draw, settings: ReadingSettings) -> Iterator[Choice]:
        character = self.story.character
        for name, values in COMPACT_ATTRIBUTES.items():
            own = getattr(character, name)
            drawn = [truth_THW3 if value == own else draw(replace(character, **{name: value})) for value in values]
            choice = make_choice(name, values, values.index(own), np.stack(drawn), settings)
            if choice is not None:
                yield choice

    def _colours(self, truth_THW3: Frames, draw: Draw, settings: ReadingSettings) -> Iterator[ColourRegion]:
        character, grade = self.story.character, self.plan.style.grade
        for name in COMPACT_COLOURS:
            if (name == "hat_colour" and character.hat == "none") or (
                name == "pattern_colour" and character.pattern == "plain"
            ):
                continue
            ends = max(combinations(ATTRIBUTES[name], 2), key=lambda two: self._apart(COLOURS[two[0]], COLOURS[two[1]]))
            drawn = [draw(replace(character, **{name: end})) for end in ends]
            graded = (grade(COLOURS[ends[0]]), grade(COLOURS[ends[1]]))
            region = make_colour_region(name, character.id, truth_THW3, (drawn[0], drawn[1]), graded, settings)
            if region is not None:
                yield region

    def _apart(self, first: RGB, second: RGB) -> float:
        return colour_difference(self.plan.style.grade(first), self.plan.style.grade(second))


def read_compact_story(
    clips: Sequence[Frames], story: CompactStory, *, settings: ReadingSettings = COMPACT_READING
) -> dict[str, float | None]:
    """Return what the frames of a story show of its character.

    Among the numbers are `identity` (1 for the truth, higher is better), `chance` (what guessing would get) and
    `body_colour_difference` (dE76 to the true body colour, lower is better); see `story_values`.

    Args:
        clips: For each shot its frames, uint8 of shape (F, H, W, 3); F and the size may differ from the truth's.
        story: The story that was to be told.
        settings: How frames are compared.

    Raises:
        ValueError: If there is not one clip for each shot, or one is not of that kind.
    """
    num_shots = len(story.captions)
    if len(clips) != num_shots or any(clip.ndim != 4 or clip.dtype != np.uint8 for clip in clips):
        found = ", ".join(f"{clip.dtype} {clip.shape}" for clip in clips)
        raise ValueError(f"There must be {num_shots} clips as uint8 of shape (F, H, W, 3), got {found}.")
    world = CompactWorld(story)
    readings = []
    for index, clip in enumerate(clips):
        (questions,) = world.shot_questions(index, settings)
        ordinals = list(matching_frames(len(clip), settings.frames_per_shot))
        fitted = fit_frames(clip[ordinals], *questions.mask_THW.shape[1:3])
        readings.append([read_shot(fitted, questions, settings)])
    return story_values(readings)
