"""The folder that `animeshooter generate` writes.

    story.mp4                all shots, with chapters; its metadata says that it is AI-generated, and by what
    shots/shot_00.mp4 ...    one film per shot
    references/0_NAME_0.png  what the characters should look like
    predictions.json         the same as input for `animeshooter evaluate`
    contact.json             list of the files, settings, seeds, weights; written last
    state/                   what is needed to go on, or to make one shot anew

Every file is written beside its place and then renamed.
"""

import json
import os
import re
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.modeling.state import FinishedShot, StoryState
from animeshooter_hf.video import MuxShot, mux_story, write_video

__all__ = ["GENERATED_FILES", "clear_folder", "open_folder", "write_shot_film", "write_story_files"]

GENERATED_FILES = ("story.mp4", "predictions.json", "contact.json")
"""Files that are written when all shots are done."""

_FOLDERS = ("shots", "references", "state")


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


def write_shot_film(folder: Path, shot: FinishedShot, frame_rate: Fraction, provenance: dict[str, Any]) -> Path:
    """Write one shot's film and return its path."""
    return write_video(
        folder / "shots" / f"shot_{shot.index:02d}.mp4",
        shot.frames_FHW3,
        frame_rate,
        metadata=_metadata(f"shot {shot.index + 1}", {**provenance, "shot": shot.index, "shot_seed": shot.seed}),
    )


def write_story_files(
    folder: Path, state: StoryState, frame_rate: Fraction, provenance: dict[str, Any], notes: tuple[str, ...]
) -> dict[str, Any]:
    """Write the story's film, the references and the lists of files; return what `contact.json` holds."""
    story = state.story
    mux_story(
        folder / "story.mp4",
        [MuxShot(shot.frames_FHW3, title=f"shot {shot.index + 1}") for shot in state.shots],
        frame_rate,
        metadata=_metadata(story.story_id, provenance),
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


def _metadata(title: str, provenance: dict[str, Any]) -> dict[str, str]:
    weights = provenance["weights_origin"]
    return {
        "title": title,
        "comment": f"AI-generated by {provenance['generator']}; weights: {weights}",
        "animeshooter": json.dumps(provenance, sort_keys=True),
    }


def _write_json(path: Path, data: Any) -> None:
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)
