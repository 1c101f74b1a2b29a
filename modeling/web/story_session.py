"""What one visitor makes: the story so far, its clips, its film and its project file, in a folder of its own.

A `Studio` holds the one pipeline of the server. Visitors take turns at it shot by shot, so that an event which its
visitor has left behind never holds the others up for longer than a shot.
"""

import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.film import film_metadata
from animeshooter_hf.modeling.web.project_file import open_project, pack_project
from animeshooter_hf.video import write_video

if TYPE_CHECKING:
    from animeshooter_hf.modeling.pipeline_animeshooter import AnimeShooterGenPipeline
    from animeshooter_hf.modeling.state import FinishedShot, StoryState

__all__ = ["Clip", "StorySession", "Studio"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """One finished shot, as the page shows it."""

    index: int
    """Position in the story, from 0."""

    caption: str
    """What it was made from."""

    seed: int
    """Seed of its noise."""

    path: Path
    """Its film."""

    seconds: float
    """Its length."""


class Studio:
    """The pipeline of a server, and the folder under which every visitor gets one that nobody can guess."""

    def __init__(self, pipeline: "AnimeShooterGenPipeline", root: Path, audio_scorer: Any = None) -> None:
        """Keep the pipeline, the folder, which must exist, and what makes the film's sound, if anything does."""
        self.pipeline = pipeline
        self.audio_scorer = audio_scorer
        self.root = root.resolve()
        self._turn = threading.Lock()

    def open_session(self) -> "StorySession":
        """Return the session of a new visitor."""
        folder = self.root / secrets.token_urlsafe(18)
        folder.mkdir()
        return StorySession(self, folder)

    def in_turn(self, shots: Iterator[Any]) -> Iterator[Any]:
        """Yield what an iterator yields; the pipeline is held while it works and let go between two shots."""
        while True:
            with self._turn:
                shot = next(shots, None)
            if shot is None:
                return
            yield shot

    def alone(self) -> threading.Lock:
        """Return the lock to be held while the pipeline works."""
        return self._turn


class StorySession:
    """The story of one visitor."""

    def __init__(self, studio: Studio, folder: Path) -> None:
        """Begin with nothing; the folder must exist and be empty."""
        self.state: StoryState | None = None
        self.on_step: Callable[[int, int], None] | None = None
        """Called after each denoising step with how many are done, and of how many."""
        self._studio = studio
        self._folder = folder
        self._stop = threading.Event()
        self._clips: dict[int, tuple[FinishedShot, Clip]] = {}
        """Index -> the shot that was written last, and its clip."""

    # ------------------------------------------------------------------------------------------------ making

    def begin_run(self) -> None:
        """Forget an earlier `stop`. To be called before a visitor can press the button that stops this run."""
        self._stop.clear()

    def generate(self, state: "StoryState") -> Iterator[Clip]:
        """Yield a clip for each shot that a state lacks, as soon as it is there. `stop` ends it after a shot.

        Raises:
            InputError: If another model made the state; before anything heavy.
        """
        shots = self._studio.pipeline.stream_resume(state, callback_on_step_end=self._step_done)
        self.state = state
        return self._follow(shots)

    def regenerate(
        self, index: int, *, caption: str | None = None, seed: int | None = None, keep_following: bool = True
    ) -> Iterator[Clip]:
        """Yield a clip for each shot that is made anew: one, or with it all finished ones that follow.

        Args:
            index: The shot, from 0.
            caption: Its new caption; None keeps the old one.
            seed: The seed of its noise; None draws one.
            keep_following: Keep the shots after it, frame by frame.

        Raises:
            InputError: If the shot is not there, or the caption is empty.
        """
        if self.state is None or not 0 <= index < len(self.state.shots):
            raise InputError("There is no such shot yet.")
        if caption is not None and not caption.strip():
            raise InputError("The caption must not be empty.")
        new_seed = secrets.randbelow(2**31) if seed is None else seed
        return self._remake(self.state, index, caption, new_seed, keep_following)

    def _remake(
        self, old: "StoryState", index: int, caption: str | None, seed: int, keep_following: bool
    ) -> Iterator[Clip]:
        pipeline = self._studio.pipeline
        with self._studio.alone():
            made = pipeline.regenerate_shot(
                old, index, caption=caption, seed=seed, keep_following=True, callback_on_step_end=self._step_done
            )
        self.state = made.state
        yield self.clip(made.state.shots[index])
        if keep_following or self._stop.is_set() or index + 1 == len(old.shots):
            return
        # The shots that follow come one by one, which the pipeline's own call would give only all at once.
        done = len(old.shots)
        rest = pipeline.stream_resume(made.state.cut_to(index + 1), callback_on_step_end=self._step_done)
        yield from self._follow(rest, until=done)

    def _follow(self, shots: Iterator[Any], until: int | None = None) -> Iterator[Clip]:
        """Let each shot join the story and yield its clip; old shots behind it stay until theirs come."""
        for shot in self._studio.in_turn(shots):
            behind = () if self.state is None else self.state.shots[shot.index + 1 :]
            self.state = replace(shot.state, shots=(*shot.state.shots, *behind))
            yield self.clip(shot.state.shots[shot.index])
            if self._stop.is_set() or (until is not None and shot.index + 1 >= until):
                return

    def _step_done(self, _: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Tell how far the shot is; the pipeline's callback."""
        if self.on_step is not None and self.state is not None:
            total = self.state.settings.num_inference_steps
            self.on_step(min(step + 1, total), total)
        return {}

    def stop(self) -> None:
        """Let what is under way end after the shot that is being made."""
        self._stop.set()

    # ------------------------------------------------------------------------------------------------ files

    def clip(self, shot: "FinishedShot") -> Clip:
        """Write one shot's film, unless it is there, and return what the page shows of it."""
        if self.state is None:
            raise ValueError("There is no story yet.")
        written, known = self._clips.get(shot.index, (None, None))
        if written is shot and known is not None and known.path.exists():
            return known
        rate, metadata = self._studio.pipeline.fps, self._metadata(shot)
        # A clip that changes gets another name, since browsers keep what they have seen.
        name = f"shot_{shot.index:02d}-{shot.seed:x}-{secrets.token_hex(4)}.mp4"
        path = self._fresh("clips") / name
        for stale in path.parent.glob(f"shot_{shot.index:02d}-*.mp4"):
            stale.unlink()
        write_video(path, shot.frames_FHW3, rate, metadata=metadata)
        clip = Clip(
            index=shot.index,
            caption=self.state.story.shots[shot.index].caption,
            seed=shot.seed,
            path=path,
            seconds=float(len(shot.frames_FHW3) / rate),
        )
        self._clips[shot.index] = (shot, clip)
        return clip

    def clips(self) -> list[Clip]:
        """Return what the page shows of all finished shots; films that are not there are written."""
        return [] if self.state is None else [self.clip(shot) for shot in self.state.shots]

    def write_film(self) -> Path | None:
        """Write the film of the shots that are done, with a chapter for each, and return its path."""
        if self.state is None or not self.state.shots:
            return None
        path = self._fresh("film") / f"{self._name()}.mp4"
        with self._studio.alone():
            self._studio.pipeline.film(
                self.state, path, audio_scorer=self._studio.audio_scorer, sound_folder=self._sound_folder()
            )
        return path

    def write_project(self) -> Path | None:
        """Write the project file and return its path."""
        if self.state is None:
            return None
        return pack_project(self.state, self._fresh("state"), self._fresh("film") / f"{self._name()}.zip")

    def open_project(self, path: Path) -> "StoryState":
        """Take up the story of a project file and return its state.

        Raises:
            InputError: If it is none, or another model made it; the story that was here stays then.
        """
        folder = self._fresh("opened") / secrets.token_hex(8)
        folder.mkdir()
        try:
            state = open_project(path, folder)
            self._studio.pipeline.stream_resume(state)
        finally:
            shutil.rmtree(folder)
        for name in ("clips", "film", "state", "sound"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        state.save(self._fresh("state"))
        self.state = state
        return state

    def reference_files(self) -> dict[str, list[str]]:
        """Return character's name -> files of references, as the project holds them."""
        if self.state is None:
            return {}
        folder = self._fresh("references")
        files: dict[str, list[str]] = {}
        for number, (name, images) in enumerate(self.state.references.items()):
            for turn, image in enumerate(images):
                path = folder / f"{number}_{turn}-{secrets.token_hex(4)}.png"
                image.save(path)
                files.setdefault(name, []).append(str(path))
        return files

    def close(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _fresh(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _sound_folder(self) -> Path | None:
        return None if self._studio.audio_scorer is None else self._fresh("sound")

    def _name(self) -> str:
        """Return the story's ID as a file's name."""
        name = "" if self.state is None else re.sub(r"[^A-Za-z0-9_-]+", "_", self.state.story.story_id).strip("_")
        return name[:60] or "story"

    def _metadata(self, shot: "FinishedShot") -> dict[str, str]:
        """Return the texts of a clip's file: that it is AI-generated, by what, from which weights and seed."""
        if self.state is None:
            raise ValueError("There is no story yet.")
        provenance = self._studio.pipeline.provenance(self.state)
        return film_metadata(f"shot {shot.index + 1}", {**provenance, "shot": shot.index, "shot_seed": shot.seed})
