"""The annotator of films that bring their own script: `NAME.script.json` beside `NAME.mp4`.

The toon world writes such scripts (`animeshooter_hf.toon.script`); anybody's films can bring one. It is checked as a
whole: the right format, the film's own size and number of frames, and stories that hold.
"""

import bisect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.script.film_script import FilmScript, ScriptProblem, validate_story
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.errors import InputError
from animeshooter_hf.masks import RleMask
from animeshooter_hf.records import Story, make_story_id

__all__ = ["SCRIPT_FORMAT", "SidecarMasks", "check_script", "read_script", "script_path"]

SCRIPT_FORMAT = "animeshooter-film-script"
"""What a script says of itself."""


def script_path(film: Path) -> Path:
    """Return where a film's script is."""
    return film.with_name(f"{film.stem}.script.json")


class SidecarMasks:
    """The masks of a script: spans of frames that point to masks."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._spans = {name: [tuple(span) for span in entry["spans"]] for name, entry in data.items()}
        self._starts = {name: [span[0] for span in spans] for name, spans in self._spans.items()}
        self._masks = {name: entry["rle"] for name, entry in data.items()}

    def mask_at(self, character_id: str, frame: int) -> RleMask | None:
        """Return the mask of a character in a frame, or None if it is not seen."""
        position = bisect.bisect_right(self._starts.get(character_id, []), frame) - 1
        if position < 0:
            return None
        _, end, number = self._spans[character_id][position]
        if frame >= end:
            return None
        rle = self._masks[character_id][number]
        return RleMask(int(rle["size"][0]), int(rle["size"][1]), rle["counts"])


def check_script(film: FilmSource) -> FilmScript:
    """Return all that a film's script tells, checked as a whole.

    Raises:
        InputError: If there is no script, it is not of this film, or a part of it cannot be read.
    """
    path = script_path(film.path)
    data = read_script(path)
    size = (data.get("width"), data.get("height"), data.get("num_frames"))
    if size != (film.info.width, film.info.height, film.info.num_frames):
        raise InputError(
            f"{path} tells of {size[2]} frames of {size[0]}x{size[1]}, "
            f"but the film has {film.info.num_frames} of {film.info.width}x{film.info.height}."
        )
    stories, problems = _stories(data, film, path)
    try:
        masks = SidecarMasks(data.get("masks") or {})
        boundaries = tuple(_boundary(entry) for entry in data.get("boundaries") or ())
        music, speech = (tuple((float(a), float(b)) for a, b in data.get(key) or ()) for key in ("music", "speech"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: masks, boundaries, music or speech cannot be read.") from error
    return FilmScript(
        stories=tuple(stories),
        masks=masks,
        true_boundaries=boundaries,
        music=music,
        speech=speech,
        problems=tuple(problems),
    )


def read_script(path: Path) -> dict[str, Any]:
    """Return a film's script as it stands in the file.

    Raises:
        InputError: If there is none, or it is no script of a known version.
    """
    if not path.is_file():
        raise InputError(f"There is no script {path.name} beside the film {path.parent}.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON.") from error
    if not isinstance(data, dict) or data.get("format") != SCRIPT_FORMAT:
        raise InputError(f"{path} is JSON of another kind; a film's script says {SCRIPT_FORMAT!r}.")
    if data.get("version") != 1:
        raise InputError(f"{path} has version {data.get('version')!r}; version 1 is known.")
    return data


def _stories(data: Mapping[str, Any], film: FilmSource, path: Path) -> tuple[list[Story], list[ScriptProblem]]:
    rows = data.get("stories")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} tells no story.")
    stories: list[Story] = []
    problems: list[ScriptProblem] = []
    for number, row in enumerate(rows):
        name = make_story_id(film.video_id, number)
        try:
            story = Story.from_json(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(ScriptProblem(name, "unreadable", str(error)))
            continue
        if story.video_id != film.video_id:
            problems.append(ScriptProblem(name, "other_video", f"the story is of the video {story.video_id!r}"))
            continue
        found = validate_story(story, film.info.num_frames)
        problems += found
        if not found:
            stories.append(story)
    return stories, problems


def _boundary(entry: Mapping[str, Any]) -> tuple[int, int, str]:
    """Return (first, last, kind): the frame of a cut, or the frames that a transition touches."""
    frame = int(entry["frame"])
    if entry["kind"] == "cut":
        return frame, frame, "cut"
    return int(entry["start_frame"]), int(entry["end_frame"]), str(entry["kind"])
