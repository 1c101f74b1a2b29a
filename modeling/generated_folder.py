"""The folder that `animeshooter generate` writes.

    story.mp4                all shots, with chapters; its metadata says that it is AI-generated, and by what
    shots/shot_00.mp4 ...    one film per shot
    references/0_NAME_0.png  what the characters should look like
    predictions.json         the same as input for `animeshooter evaluate`
    contact.json             list of the files, settings, seeds, weights; written last
    sound/                   the sound of each shot, if there is any
    story.json               the story, if a model wrote it
    state/                   what is needed to go on, or to make one shot anew

Every file is written beside its place and then renamed.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.film import FilmSettings, export_film, film_metadata
from animeshooter_hf.modeling.state import FinishedShot, StoryState
from animeshooter_hf.video import write_video

__all__ = ["GENERATED_FILES", "clear_folder", "open_folder", "write_shot_film", "write_story_files"]

GENERATED_FILES = ("story.mp4", "predictions.json", "contact.json")
"""Files that are written when all shots are done."""

_FOLDERS = ("shots", "references", "state", "sound")


def open_folder(folder: Path) -> None:
    """Make the folder, and refuse a place where nothing can be written.

    Raises:
        InputError: If it is a file, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".partial-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}.") from error


def clear_folder(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    for name in GENERATED_FILES:
        (folder / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)


def write_shot_film(
    folder: Path,
    shot: FinishedShot,
    frame_rate: Fraction,
    provenance: dict[str, Any],
    sound: Mapping[str, Any] | None = None,
) -> Path:
    """Write one shot's film, with its sound as it was made, and return its path.

    Args:
        folder: Of the story.
        shot: The shot.
        frame_rate: Frames per second.
        provenance: Of the pipeline.
        sound: What `StorySound.make` gave; empty for none.
    """
    sound = sound or {}
    audio = sound["audio"][shot.index] if sound else None
    whose = {**provenance, "shot": shot.index, "shot_seed": shot.seed}
    return write_video(
        folder / "shots" / f"shot_{shot.index:02d}.mp4",
        shot.frames_FHW3,
        frame_rate,
        audio=audio,
        **({"sample_rate": sound["sample_rate"]} if sound else {}),
        metadata=film_metadata(f"shot {shot.index + 1}", whose, sound.get("sound_provenance")),
    )


def write_story_files(
    folder: Path,
    state: StoryState,
    frame_rate: Fraction,
    provenance: dict[str, Any],
    notes: tuple[str, ...],
    *,
    film: FilmSettings | None = None,
    sound: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the story's film, the references and the lists of files; return what `contact.json` holds.

    Args:
        folder: Of the story.
        state: All shots are done.
        frame_rate: Frames per second.
        provenance: Of the pipeline.
        notes: What a viewer has to know.
        film: Transitions and loudness; transitions of shots are taken where it names none.
        sound: What `StorySound.make` gave; empty for none.
    """
    story, sound, film = state.story, sound or {}, film or FilmSettings()
    if film.transitions is None:
        film = replace(film, transitions=state.transitions)
    plan = export_film(
        folder / "story.mp4",
        [shot.frames_FHW3 for shot in state.shots],
        frame_rate,
        sounds=sound.get("audio"),
        settings=film,
        scenes=[shot.scene for shot in story.shots],
        metadata=film_metadata(story.story_id, provenance, sound.get("sound_provenance")),
        **({"sample_rate": sound["sample_rate"]} if sound else {}),
    )
    references = _write_references(folder, state)
    shots = [f"shots/shot_{shot.index:02d}.mp4" for shot in state.shots]
    prediction = {
        "story_id": story.story_id,
        "ip_id": story.video_id,
        "shots": shots,
        "references": [path for _, path in references],
        "reference_characters": [name for name, _ in references],
        "captions": [shot.caption for shot in story.shots],
        "scene_ids": [shot.scene for shot in story.shots],
        "shot_characters": [list(shot.characters) for shot in story.shots],
    }
    contact = {
        "format": "animeshooter-generated-story",
        "format_version": 1,
        "notes": list(notes),
        "provenance": provenance,
        "story_id": story.story_id,
        "frame_rate": str(frame_rate),
        "settings": state.settings.to_json(),
        "film": "story.mp4",
        "film_frames": plan.num_frames,
        "transitions": [transition.kind for transition in plan.transitions],
        "sound": sound.get("sound_provenance"),
        "shots": [
            {"index": done.index, "file": file, "caption": shot.caption, "seed": done.seed,
             "num_frames": len(done.frames_FHW3), "characters": list(shot.characters)}
            for done, shot, file in zip(state.shots, story.shots, shots, strict=True)
        ],
        "references": [{"character": name, "file": path} for name, path in references],
        "predictions": "predictions.json",
        "state": "state",
    }  # fmt: skip
    _write_json(folder / "predictions.json", [prediction])
    _write_json(folder / "contact.json", contact)
    return contact


def _write_references(folder: Path, state: StoryState) -> list[tuple[str, str]]:
    """Write the reference images; return each character's name with the file, relative to the folder."""
    written = []
    (folder / "references").mkdir(exist_ok=True)
    for number, (name, images) in enumerate(state.references.items()):
        # Names are free text; the number keeps two apart that look alike once they are fit for a file.
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:40] or "character"
        for turn, image in enumerate(images):
            path = folder / "references" / f"{number}_{stem}_{turn}.png"
            partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
            image.save(partial, format="PNG")
            partial.replace(path)
            written.append((name, str(path.relative_to(folder))))
    return written


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
