"""Windows of compact toon stories, drawn in code when they are asked for.

What a shot shows is a function of the seed, the settings and the code that draws, so its mark is made of these: a
changed painter has other marks, and nothing that was made from the old pictures is found any more.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.loading.epoch_order import SampleKey
from animeshooter_hf.modeling.training.buckets import Bucket
from animeshooter_hf.modeling.training.content_marks import mark_code, mark_of
from animeshooter_hf.modeling.training.windows import (
    MediaMark,
    Window,
    WindowPlan,
    epoch_and_position,
    window_from_plan,
)
from animeshooter_hf.records import Shot, make_shot_id
from animeshooter_hf.toon.compact import CompactSettings, CompactStory, plan_compact_story

__all__ = ["ToonWindows"]

_KEPT_STORIES = 8192
"""Plans that are kept: below 10 KB each, and 5 ms to make. Our choice."""


class _Place(NamedTuple):
    """A shot, or the reference where the shot is None."""

    seed: int
    shot: int | None


class ToonWindows:
    """Windows of compact stories, the same in every epoch; see `windows.PlannedSource`. It may be pickled."""

    num_variants: int | None = 1

    def __init__(
        self,
        seeds: Sequence[int],
        pool: str = "train",
        settings: CompactSettings | None = None,
        *,
        window: int | None = None,
        step: int = 1,
    ) -> None:
        """Count the windows; nothing is drawn.

        Args:
            seeds: Of the stories, such as a range.
            pool: Which characters: "train", "held_out" or "all".
            settings: Size and length of the stories.
            window: Shots of a window; None takes whole stories.
            step: Shots between the first shots of two windows.

        Raises:
            InputError: If there is no seed, no such pool, or a window is longer than a story.
        """
        self.settings = settings or CompactSettings()
        if pool not in ("train", "held_out", "all"):
            raise InputError(f"pool must be train, held_out or all, got {pool!r}.")
        self._length = self.settings.num_shots if window is None else window
        if not len(seeds) or step < 1 or not 1 <= self._length <= self.settings.num_shots:
            raise InputError(
                f"Toon windows need a seed, a step of at least 1 and a window of 1 to {self.settings.num_shots} shots, "
                f"got {len(seeds)} seeds, {step} and {window}."
            )
        self.pool = pool
        self._seeds = seeds
        self._starts = range(0, self.settings.num_shots - self._length + 1, step)
        self._code = mark_code("animeshooter_hf.toon")
        self._stories: OrderedDict[int, CompactStory] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_stories": OrderedDict()}

    def __len__(self) -> int:
        return len(self._seeds) * len(self._starts)

    def __getitem__(self, key: int | SampleKey) -> Window:
        """Return a window with its pixels."""
        return window_from_plan(self, self.plan(key))

    def story(self, position: int) -> CompactStory:
        """Return the story of a window."""
        return self._story(int(self._seeds[position // len(self._starts)]))

    def plan(self, key: int | SampleKey, *, with_clips: bool = True) -> WindowPlan:
        """Return what a window is made of."""
        _, position = epoch_and_position(key, len(self))
        number, start = divmod(position, len(self._starts))
        seed, first = int(self._seeds[number]), self._starts[start]
        story = self._story(seed)
        story_id = f"compact-{seed}-{self.pool}"
        taken = range(first, first + self._length)
        return WindowPlan(
            story_id=story_id,
            key=f"{story_id}:{first}-{taken[-1]}",
            shots=tuple(self._shot(story, story_id, index, place) for place, index in enumerate(taken)),
            size=Bucket(self.settings.size, self.settings.size, self.settings.frames_per_shot),
            clips=tuple(self._mark(seed, index) for index in taken) if with_clips else (),
            references=((story.character.id, self._mark(seed, None)),),
        )

    def candidates(self, position: int) -> tuple[MediaMark, ...]:
        """Return the only reference."""
        return (self._mark(int(self._seeds[position // len(self._starts)]), None),)

    def frames(self, clip: MediaMark) -> NDArray[np.uint8]:
        """Return the frames of a shot, shape (F, H, W, 3)."""
        place: _Place = clip.handle
        return self._story(place.seed).frames(place.shot or 0)

    def picture(self, reference: MediaMark) -> Image.Image:
        """Return the reference, RGBA."""
        return Image.fromarray(self._story(reference.handle.seed).reference())

    def _story(self, seed: int) -> CompactStory:
        if seed not in self._stories:
            self._stories[seed] = plan_compact_story(seed, pool=self.pool, settings=self.settings)
            if len(self._stories) > _KEPT_STORIES:
                self._stories.popitem(last=False)
        return self._stories[seed]

    def _mark(self, seed: int, shot: int | None) -> MediaMark:
        made = mark_of("compact toon", self._code, cv2.__version__, asdict(self.settings), self.pool, seed, shot)
        return MediaMark(made, _Place(seed, shot))

    def _shot(self, story: CompactStory, story_id: str, index: int, place: int) -> Shot:
        return Shot(
            shot_id=make_shot_id(story_id, index),
            index=place,
            characters=(story.character.id,),
            scene=story.plan.shots[index].scene_id,
            descriptive_caption=story.captions[index],
        )
