"""A story while it is being made: everything that is needed to go on, or to make one shot anew, on any machine.

On disk it is a folder of JSON and PNG files, nothing that runs code when it is read:

    state.json                      story, settings, seeds, versions; written last, so what it names is complete
    references/<character>_<turn>-<mark>.png    numbered by the cast, so that any name will do
    shots/<index>-<mark>/<frame>.png            the mark is taken from the pixels

The MLLM's cache is not stored: reading the story again gives it back bit by bit.

Shape letters used below
    F frames    H, W rows and columns
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf._version import __version__
from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.generation_settings import GenerationSettings, ShotSettings, read_shot_settings
from animeshooter_hf.modeling.story_request import StoryRequest, read_image
from animeshooter_hf.modeling.transitions import Transition
from animeshooter_hf.records import AudioAnnotation, Story

__all__ = ["FinishedShot", "StoryState", "seed_for"]

_FORMAT = "animeshooter-story-state"
_FORMAT_VERSIONS = (1, 2)
"""Versions that can be read; the last one is written. The first had seeds as all that a shot had of its own."""

_LARGEST_SEED = 2**63 - 1


def seed_for(seed: int, index: int) -> int:
    """Return the seed of one shot's noise, in [0, 2**63).

    It depends on nothing but the story's seed and the shot's index, so that adding, dropping or editing a shot moves no
    other shot's noise.
    """
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True, slots=True, eq=False)
class FinishedShot:
    """One shot that is done."""

    index: int
    """Position in the story."""

    frames_FHW3: NDArray[np.uint8]
    """RGB."""

    seed: int
    """Seed of its noise."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StoryState:
    """A story, what it is made with, and the shots that are done."""

    story: Story
    """All shots, done or not."""

    references: Mapping[str, tuple[Image.Image, ...]]
    """Character's name -> reference images."""

    settings: GenerationSettings
    """What every shot is made with."""

    seed: int
    """The story's seed."""

    model_fingerprint: str
    """Tells whether a pipeline is the one that made this."""

    weights_origin: str
    """Where the pipeline's weights come from, in words."""

    shot_settings: Mapping[int, ShotSettings] = field(default_factory=dict)
    """Index -> settings of the shots that have some of their own."""

    shots: tuple[FinishedShot, ...] = ()
    """Finished shots, in order, from the first."""

    version: str = __version__
    """Version of this library that made it."""

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed <= _LARGEST_SEED:
            raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {self.seed!r}.")
        if [shot.index for shot in self.shots] != list(range(len(self.shots))) or len(self.shots) > len(
            self.story.shots
        ):
            raise ValueError("The finished shots of a state must be the story's first shots, in order.")

    @classmethod
    def begin(
        cls,
        request: StoryRequest,
        settings: GenerationSettings,
        *,
        seed: int,
        model_fingerprint: str,
        weights_origin: str,
    ) -> "StoryState":
        """Return the state of a story of which no shot is done yet."""
        return cls(
            story=request.story,
            references=request.references,
            settings=settings,
            seed=seed,
            shot_settings=request.shot_settings,
            model_fingerprint=model_fingerprint,
            weights_origin=weights_origin,
        )

    @property
    def is_complete(self) -> bool:
        """Whether every shot is done."""
        return len(self.shots) == len(self.story.shots)

    def seed_of(self, index: int) -> int:
        """Return the seed of a shot's noise."""
        own = self._own(index).seed
        return seed_for(self.seed, index) if own is None else own

    def settings_of(self, index: int) -> GenerationSettings:
        """Return what a shot is made with."""
        return self.settings.for_shot(self._own(index))

    def frame_to_continue(self, index: int) -> NDArray[np.uint8] | None:
        """Return the frame (H, W, 3) with which a shot begins, or None where it begins with a cut."""
        return self.shots[index - 1].frames_FHW3[-1] if index and self._own(index).continues else None

    @property
    def finished_story(self) -> Story:
        """The shots that are done, each with what is heard in it, where its settings say so."""
        shots = []
        for shot in self.story.shots[: len(self.shots)]:
            prompt = self._own(shot.index).audio_prompt
            shots.append(shot if prompt is None else replace(shot, audio=AudioAnnotation(audio_type=prompt)))
        return self.story.with_shots(shots)

    @property
    def all_transitions(self) -> tuple[Transition, ...]:
        """How each shot but the last goes over into the next, in the whole story."""
        return tuple(self._own(index).transition or Transition() for index in range(len(self.story.shots) - 1))

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """The same for the shots that are done."""
        return self.all_transitions[: max(0, len(self.shots) - 1)]

    def with_shot_settings(self, index: int, **changes: Any) -> "StoryState":
        """Return the state in which a shot has these settings of its own, beside those that it has already.

        Raises:
            InputError: If one is unknown or not possible.
        """
        known = {key: getattr(self._own(index), key) for key in ShotSettings.__dataclass_fields__}
        read = read_shot_settings({index: {**known, **changes}}, len(self.story.shots))
        others = {other: own for other, own in self.shot_settings.items() if other != index}
        return replace(self, shot_settings=dict(sorted({**others, **read}.items())))

    def _own(self, index: int) -> ShotSettings:
        return self.shot_settings.get(index, ShotSettings())

    def with_shot(self, shot: FinishedShot) -> "StoryState":
        """Return the state with a shot added at the end, or in place of the one with its index."""
        shots = list(self.shots)
        shots[shot.index : shot.index + 1] = [shot]
        return replace(self, shots=tuple(shots))

    def cut_to(self, num_shots: int) -> "StoryState":
        """Return the state in which only the first shots are done."""
        return replace(self, shots=self.shots[:num_shots])

    def asks_the_same(self, other: "StoryState") -> bool:
        """Return whether the other state is the same story, with the same references, settings, seeds and model."""
        return self._question() == other._question()

    def _question(self) -> tuple[Any, ...]:
        pictures = {name: [_digest(np.asarray(image)) for image in some] for name, some in self.references.items()}
        own = dict(self.shot_settings)
        return self.story.to_json(), pictures, self.settings, self.seed, own, self.model_fingerprint

    def save(self, directory: str | Path) -> Path:
        """Write the state to a folder and return it; shots that stand there already are not written again.

        It is safe to call after every shot: until `state.json` is replaced, the last step, the old state stays good.

        Raises:
            InputError: If the folder cannot be written.
        """
        folder = Path(directory)
        try:
            for part in ("references", "shots"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            references = {
                name: [_write_reference(folder, number, turn, image) for turn, image in enumerate(images)]
                for number, (name, images) in enumerate(self.references.items())
            }
            shots = [_write_shot(folder, shot) for shot in self.shots]
            _write_text(
                folder / "state.json", json.dumps(self._to_json(references, shots), indent=1, ensure_ascii=False)
            )
            kept = {Path(shot["frames"]).name for shot in shots}
            for stale in (folder / "shots").iterdir():
                if stale.name not in kept:
                    shutil.rmtree(stale)
        except OSError as error:
            raise InputError(f"The state cannot be written to {folder}: {error.strerror}.") from error
        return folder

    def _to_json(self, references: dict[str, list[str]], shots: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSIONS[-1],
            "made_by": f"animeshooter_hf {self.version}",
            "ai_generated": True,
            "weights_origin": self.weights_origin,
            "model_fingerprint": self.model_fingerprint,
            "seed": self.seed,
            "shot_settings": {str(index): own.to_json() for index, own in self.shot_settings.items()},
            "settings": self.settings.to_json(),
            "references": references,
            "shots": shots,
            "story": self.story.to_json(),
        }

    @classmethod
    def load(cls, directory: str | Path) -> "StoryState":
        """Return the state that stands in a folder.

        Raises:
            InputError: If there is none, or it is broken; the message names the file.
        """
        folder = Path(directory)
        path = folder / "state.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"There is no state.json in {folder}.") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no state that can be read.") from error
        if (
            not isinstance(data, dict)
            or data.get("format") != _FORMAT
            or data.get("format_version") not in _FORMAT_VERSIONS
        ):
            raise InputError(f"{path} is not a story's state of this version.")
        try:
            story = Story.from_json(data["story"])
            return cls(
                story=story,
                references={
                    name: tuple(read_image(_inside(folder, file), "A reference") for file in files)
                    for name, files in data["references"].items()
                },
                settings=GenerationSettings.from_json(data["settings"]),
                seed=data["seed"],
                shot_settings=read_shot_settings(_own_settings(data), len(story.shots)),
                shots=tuple(_read_shot(folder, shot) for shot in data["shots"]),
                model_fingerprint=data["model_fingerprint"],
                weights_origin=data["weights_origin"],
                version=data["made_by"].removeprefix("animeshooter_hf "),
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is broken: {error}.") from error


def _own_settings(data: Mapping[str, Any]) -> dict[int, Any]:
    if data["format_version"] == 1:
        return {int(index): {"seed": seed} for index, seed in data["shot_seeds"].items()}
    return {int(index): own for index, own in data["shot_settings"].items()}


def _digest(array: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(text + "\n", encoding="utf-8")
    partial.replace(path)


def _write_reference(folder: Path, number: int, turn: int, image: Image.Image) -> str:
    name = f"references/{number}_{turn}-{_digest(np.asarray(image))[:12]}.png"
    if not (folder / name).exists():
        partial = folder / f"{name}.partial-{os.getpid()}"
        image.save(partial, format="PNG")
        partial.replace(folder / name)
    return name


def _write_shot(folder: Path, shot: FinishedShot) -> dict[str, Any]:
    mark = _digest(shot.frames_FHW3)
    name = f"shots/{shot.index:03d}-{mark[:12]}"
    if not (folder / name).is_dir():
        partial = folder / f"{name}.partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for number, frame in enumerate(shot.frames_FHW3):
            Image.fromarray(frame).save(partial / f"{number:04d}.png", compress_level=3)
        partial.rename(folder / name)
    return {
        "index": shot.index,
        "seed": shot.seed,
        "frames": name,
        "num_frames": len(shot.frames_FHW3),
        "sha256": mark,
    }


def _read_shot(folder: Path, data: Mapping[str, Any]) -> FinishedShot:
    place = _inside(folder, data["frames"])
    what = f"Shot {data['index']} of the state"
    frames = [np.asarray(read_image(place / f"{number:04d}.png", what)) for number in range(data["num_frames"])]
    frames_FHW3 = np.stack(frames)
    if _digest(frames_FHW3) != data["sha256"]:
        raise InputError(f"{what} in {place} is not what was saved.")
    return FinishedShot(data["index"], frames_FHW3, data["seed"])


def _inside(folder: Path, name: str) -> Path:
    """Return a path in the folder; the name comes from a file that anybody may have written."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"The state in {folder} names a file outside it: {name}.")
    return path
