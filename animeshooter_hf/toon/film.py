"""A film: any frame, any mask and the sound, each computed from the plan alone."""

from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from animeshooter_hf.toon.attributes import ToonCharacter
from animeshooter_hf.toon.direction import plan_film
from animeshooter_hf.toon.plan import FilmPlan, ToonShot
from animeshooter_hf.toon.settings import FilmSettings
from animeshooter_hf.toon.shot_renderer import ShotRenderer

__all__ = ["ToonFilm"]

_KEPT_RENDERERS = 3


class ToonFilm:
    """A film that is drawn when it is looked at.

    Example:
        >>> film = ToonFilm.from_seed(7, FilmSettings(width=64, height=36, seconds=2))
        >>> film.frame(0).shape, film.num_frames
        ((36, 64, 3), 48)
    """

    def __init__(self, plan: FilmPlan) -> None:
        self.plan = plan
        self._renderers: OrderedDict[int, ShotRenderer] = OrderedDict()

    @classmethod
    def from_seed(cls, seed: int, settings: FilmSettings | None = None, *, film_id: str | None = None) -> "ToonFilm":
        """Return the film of a seed; see `plan_film`."""
        return cls(plan_film(seed, settings, film_id=film_id))

    @property
    def film_id(self) -> str:
        """Return the name of the film."""
        return self.plan.film_id

    @property
    def settings(self) -> FilmSettings:
        """Return size, rate and length."""
        return self.plan.settings

    @property
    def num_frames(self) -> int:
        """Return the number of frames."""
        return self.settings.num_frames

    @cached_property
    def _shot_starts(self) -> NDArray[np.int64]:
        return np.array([shot.start_frame for shot in self.plan.shots])

    def with_character(self, character: ToonCharacter) -> "ToonFilm":
        """Return the same film with other attributes for the character of the same name.

        Raises:
            ValueError: If nobody in the film has that name.
        """
        if character.id not in self.plan.character:
            known = ", ".join(sorted(self.plan.character))
            raise ValueError(f"Nobody in {self.film_id} is called {character.id!r}. Its characters: {known}.")
        cast = tuple(character if old.id == character.id else old for old in self.plan.characters)
        return ToonFilm(replace(self.plan, characters=cast))

    def shot_at(self, index: int) -> ToonShot:
        """Return the shot that owns a frame.

        Raises:
            IndexError: If the film has no such frame.
        """
        if not 0 <= index < self.num_frames:
            raise IndexError(f"{self.film_id} has the frames 0 to {self.num_frames - 1}, not {index}.")
        return self.plan.shots[int(np.searchsorted(self._shot_starts, index, side="right")) - 1]

    def renderer(self, shot: ToonShot) -> ShotRenderer:
        """Return what draws a shot."""
        if shot.index not in self._renderers:
            self._renderers[shot.index] = ShotRenderer(self.plan, shot)
            if len(self._renderers) > _KEPT_RENDERERS:
                self._renderers.popitem(last=False)
        return self._renderers[shot.index]

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return a frame of shape (H, W, 3), RGB. The same for every order of calls.

        Raises:
            IndexError: If the film has no such frame.
        """
        shot = self.shot_at(index)
        picture = self.renderer(shot).picture(index - shot.start_frame)
        following = self.plan.shots[shot.index + 1] if shot.index + 1 < len(self.plan.shots) else None
        if following is not None and index >= following.start_frame - following.transition_half:
            return self._mixed(index, shot, following)
        if index < shot.start_frame + shot.transition_half:
            return self._mixed(index, self.plan.shots[shot.index - 1], shot)
        return picture.copy()

    def masks(self, index: int) -> dict[str, NDArray[np.bool_]]:
        """Return where characters are seen in a frame: name -> (H, W), only those of whom something is seen.

        A pixel belongs to a character if at least half of it shows the character or what it wears, after those who
        and what stand before it. Its shadow, a ball, a bell and the like are no part of it. In a fade or a dissolve
        the masks are those of the shot that owns the frame, as if there were no transition; likewise in a flash and
        in the blur of a whip pan.

        Raises:
            IndexError: If the film has no such frame.
        """
        shot = self.shot_at(index)
        return self.renderer(shot).masks(index - shot.start_frame)

    def mask_key(self, index: int) -> tuple[object, ...]:
        """Return what the masks of a frame depend on; frames with equal keys have equal masks."""
        shot = self.shot_at(index)
        return (shot.index, *self.renderer(shot).drawing_key(index - shot.start_frame))

    def audio(self) -> NDArray[np.float32]:
        """Return the sound of the whole film: shape (2, T) in [-1, 1]."""
        from animeshooter_hf.toon.soundtrack import mix_soundtrack

        return mix_soundtrack(self.plan)

    def script(self) -> dict[str, Any]:
        """Return the truth about the film, as it stands in its sidecar file; see `script.py`."""
        from animeshooter_hf.toon.script import write_script

        return write_script(self)

    def _mixed(self, index: int, before: ToonShot, after: ToonShot) -> NDArray[np.uint8]:
        """Return a frame of the transition between two shots."""
        boundary, half = after.start_frame, after.transition_half
        share = (index - (boundary - half) + 1) / (2 * half + 1)
        first = self.renderer(before).picture(index - before.start_frame)
        second = self.renderer(after).picture(index - after.start_frame)
        if after.transition == "fade":
            picture = first if index < boundary else second
            return np.asarray(cv2.convertScaleAbs(picture, alpha=abs(1 - 2 * share), beta=0), np.uint8)
        return np.asarray(cv2.addWeighted(first, 1 - share, second, share, 0), np.uint8)
