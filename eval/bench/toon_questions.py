"""What the toon world can ask about one of its shots: the shot drawn again with each value of each attribute."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.eval.attribute_reading import (
    Choice,
    ColourRegion,
    ReadingSettings,
    ShotQuestions,
    colour_difference,
    make_choice,
    make_colour_region,
    matching_frames,
)
from animeshooter_hf.toon import ATTRIBUTES, FilmPlan, ToonCharacter, ToonStyle
from animeshooter_hf.toon.attributes import COLOURS, Colour
from animeshooter_hf.toon.shot_renderer import ShotRenderer

__all__ = ["COLOUR_ATTRIBUTES", "FORM_ATTRIBUTES", "ToonWorld"]

FORM_ATTRIBUTES = tuple(name for name in ATTRIBUTES if not name.endswith("_colour"))
"""The attributes that are read as a choice between forms."""

COLOUR_ATTRIBUTES = tuple(name for name in ATTRIBUTES if name.endswith("_colour"))
"""The attributes that are read as colours."""

_Draw = Callable[[FilmPlan], NDArray[np.uint8]]


class ToonWorld:
    """The toon world as a `World` of `attribute_reading`: one story's plan answers for its shots."""

    def __init__(self, plan: FilmPlan) -> None:
        self.plan = plan

    def shot_questions(self, shot_index: int, settings: ReadingSettings) -> Sequence[ShotQuestions]:
        """Return the questions of a shot, one set for each character that is seen in it."""
        shot = self.plan.shots[shot_index]
        truth = ShotRenderer(self.plan, shot)
        frames = matching_frames(shot.num_frames, settings.frames_per_shot)

        def draw(plan: FilmPlan) -> NDArray[np.uint8]:
            renderer = truth.with_plan(plan)
            return np.stack([renderer.picture(frame) for frame in frames])

        truth_THW3 = draw(self.plan)
        masks = [truth.masks(frame) for frame in frames]
        empty = np.zeros(truth_THW3.shape[1:3], bool)
        made = []
        for placement in shot.placements:
            name = placement.character_id
            mask_THW = np.stack([mask.get(name, empty) for mask in masks])
            if mask_THW.any():
                made.append(self._questions(self.plan.character[name], truth_THW3, mask_THW, draw, settings))
        return made

    def _questions(
        self,
        character: ToonCharacter,
        truth_THW3: NDArray[np.uint8],
        mask_THW: NDArray[np.bool_],
        draw: _Draw,
        settings: ReadingSettings,
    ) -> ShotQuestions:
        grade = self.plan.style.grade
        own = grade(COLOURS[character.body_colour])
        near = [
            colour_difference(grade(COLOURS[name]), own) < settings.colour_limit for name in ATTRIBUTES["body_colour"]
        ]
        return ShotQuestions(
            character=character.id,
            truth_THW3=truth_THW3,
            mask_THW=mask_THW,
            choices=tuple(self._choices(character, truth_THW3, draw, settings)),
            colours=tuple(self._colours(character, truth_THW3, mask_THW, draw, settings)),
            main_colour="body_colour",
            main_colour_chance=float(np.mean(near)),
        )

    def _choices(
        self, character: ToonCharacter, truth_THW3: NDArray[np.uint8], draw: _Draw, settings: ReadingSettings
    ) -> Iterator[Choice]:
        for name in FORM_ATTRIBUTES:
            values, own = ATTRIBUTES[name], getattr(character, name)
            hypotheses = np.stack(
                [
                    truth_THW3 if value == own else draw(self._with(replace(character, **{name: value})))
                    for value in values
                ]
            )
            choice = make_choice(name, values, values.index(own), hypotheses, settings)
            if choice is not None:
                yield choice

    def _colours(
        self,
        character: ToonCharacter,
        truth_THW3: NDArray[np.uint8],
        mask_THW: NDArray[np.bool_],
        draw: _Draw,
        settings: ReadingSettings,
    ) -> Iterator[ColourRegion]:
        style = self.plan.style
        for name in COLOUR_ATTRIBUTES:
            if name == "hat_colour" and character.hat == "none":
                continue
            ends = _farthest(ATTRIBUTES[name], style)
            drawn = [draw(self._with(replace(character, **{name: value}))) for value in ends]
            graded = (style.grade(COLOURS[ends[0]]), style.grade(COLOURS[ends[1]]))
            region = make_colour_region(name, character.id, truth_THW3, (drawn[0], drawn[1]), graded, settings)
            if region is not None:
                yield region
        lines: tuple[Colour, Colour] = ((0, 0, 0), (255, 255, 255))
        styles = [replace(style, line_colour=colour) for colour in lines]
        # Where other characters stand in front, lines are theirs too; they have the same colour.
        drawn = [np.where(mask_THW[..., None], draw(replace(self.plan, style=one)), truth_THW3) for one in styles]
        graded = (styles[0].grade(lines[0]), styles[1].grade(lines[1]))
        region = make_colour_region("line_colour", "style", truth_THW3, (drawn[0], drawn[1]), graded, settings)
        if region is not None:
            yield region

    def _with(self, character: ToonCharacter) -> FilmPlan:
        cast = tuple(character if one.id == character.id else one for one in self.plan.characters)
        return replace(self.plan, characters=cast)


@cache
def _farthest(names: tuple[str, ...], style: ToonStyle) -> tuple[str, str]:
    """Return the two colours of a palette that differ most in this style."""

    def apart(pair: tuple[str, str]) -> float:
        first, second = (np.array(style.grade(COLOURS[name]), dtype=np.float64) for name in pair)
        return float(np.linalg.norm(first - second))

    return max(combinations(names, 2), key=apart)
