"""The sound of what a pipeline made: asked for at once, made when the shots are there."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from animeshooter_hf.modeling.sound import SoundSettings, iter_sounds, score_story
from animeshooter_hf.modeling.sound.scorer import as_scorer
from animeshooter_hf.modeling.state import StoryState

__all__ = ["StorySound"]


class StorySound:
    """A scorer and its settings, or no sound at all."""

    def __init__(self, scorer: Any, settings: SoundSettings | None = None, folder: str | Path | None = None) -> None:
        """Take what a call was given.

        Args:
            scorer: An `AudioScorer`, or a function; None for no sound.
            settings: Rate, and what to do with long shots.
            folder: Where sounds are kept.

        Raises:
            InputError: If the scorer cannot be one.
        """
        self._scorer = None if scorer is None else as_scorer(scorer)
        self._settings = settings or SoundSettings()
        self._folder = folder

    def check(self, state: StoryState, frame_rate: Fraction, until: int | None) -> None:
        """Raise an InputError if the sound of a story of which no frame is there yet could not be made."""
        if self._scorer is None:
            return
        story = state.story.with_shots(state.story.shots[:until])
        durations = [state.settings_of(index).num_frames / frame_rate for index in range(len(story.shots))]
        iter_sounds(story, durations, self._scorer, seed=state.seed, settings=self._settings, folder=self._folder)

    def make(self, state: StoryState, frame_rate: Fraction) -> dict[str, Any]:
        """Return `audio`, `sample_rate` and `sound_provenance` of the finished shots; nothing where none is asked for.

        Sounds are (2, T) of float32, each exactly as long as its shot, rounded to samples.
        """
        if self._scorer is None or not state.shots:
            return {}
        durations = [len(shot.frames_FHW3) / frame_rate for shot in state.shots]
        audio = score_story(
            state.finished_story,
            durations,
            self._scorer,
            seed=state.seed,
            settings=self._settings,
            folder=self._folder,
        )
        return {
            "audio": audio,
            "sample_rate": self._settings.sample_rate,
            "sound_provenance": dict(self._scorer.provenance),
        }
