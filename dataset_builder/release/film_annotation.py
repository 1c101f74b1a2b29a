"""What a release tells of one film, as it lies beside the film while a dataset is built.

A release is read once and in order; a film may be told of in several of its files, and the picture and the audio
release tell of it separately. So each film gets a file of its own, JSON by line: one line per segment, with the story
script as it was written and the story that was read from it, and one line for what was wrong. All text is ASCII.
"""

import filecmp
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from animeshooter_hf.dataset_builder.release.keys import SCRIPT, SEGMENT, VIDEO, fold_key
from animeshooter_hf.dataset_builder.release.names import escape_video_id
from animeshooter_hf.dataset_builder.release.problems import ProblemLog
from animeshooter_hf.dataset_builder.release.reader import ReleaseDocument, ToldVideo
from animeshooter_hf.dataset_builder.release.values import Place, read_list
from animeshooter_hf.errors import InputError
from animeshooter_hf.records import Story

__all__ = ["AnnotationWriter", "FilmAnnotation", "ToldSegment", "count_told", "read_annotation"]

_SUFFIX = ".release.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldSegment:
    """One segment of a film, as a release tells it."""

    number: int
    """Its place among the segments of the film, counted by the release."""

    is_audio: bool = False
    """Whether it is of AnimeShooter-audio, which may split the film elsewhere."""

    story: Story | None = None
    """What was read from it, with frames and masks as annotated; None if it holds no story."""

    script: Mapping[str, Any] = field(default_factory=dict)
    """The story script as it was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmAnnotation:
    """Everything that a release tells of one film."""

    segments: tuple[ToldSegment, ...]
    """In the order of the release, those of the audio release last."""

    problems: Mapping[str, int]
    """Code of `release/problems.py` -> how often it was found while reading."""


class AnnotationWriter:
    """Writes the files of many films while a release is read; holds a few words per film."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which is made when the first film is told of."""
        self._folder = folder
        self._begun: set[str] = set()

    def add(self, document: ReleaseDocument, video: ToldVideo, *, is_audio: bool) -> None:
        """Write down one video of a file.

        Raises:
            InputError: If the folder cannot be written.
        """
        told = [story for story in video.stories if story is not None]
        first = _number(told[0]) - next(n for n, story in enumerate(video.stories) if story is not None)
        segments = _segments_of(document, video)
        lines = []
        for position, story in enumerate(video.stories):
            script = _script_of(segments[position]) if position < len(segments) else {}
            row = {"number": first + position, "is_audio": is_audio, "script": script}
            try:
                lines.append(json.dumps({**row, "story": None if story is None else story.to_json()}))
            except (RecursionError, ValueError):  # a value nested too deep, under a key that nobody knows
                lines.append(json.dumps({**row, "script": {}, "story": None}))
        self._append(told[0].video_id, lines)

    def add_problems(self, video_id: str, problems: Mapping[str, int]) -> None:
        """Write down what was wrong with what a release tells of a video."""
        self._append(video_id, [json.dumps({"problems": dict(sorted(problems.items()))})])

    def finish(self, video_id: str) -> Path:
        """Return the file of a video; one that was there and says the same is left as it is."""
        partial, final = self._paths(video_id)
        if final.is_file() and filecmp.cmp(partial, final, shallow=False):
            partial.unlink()
        else:
            partial.replace(final)
        self._begun.discard(video_id)
        return final

    def drop(self, video_id: str) -> None:
        """Leave out a video, of which there is no film after all."""
        self._paths(video_id)[0].unlink(missing_ok=True)
        self._begun.discard(video_id)

    def _append(self, video_id: str, lines: list[str]) -> None:
        partial, _ = self._paths(video_id)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("a" if video_id in self._begun else "w", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in lines)
        except OSError as error:
            raise InputError(f"{self._folder} cannot be written: {error.strerror}.") from error
        self._begun.add(video_id)

    def _paths(self, video_id: str) -> tuple[Path, Path]:
        name = f"{escape_video_id(video_id)}{_SUFFIX}"
        return self._folder / f"{name}.partial", self._folder / name


def read_annotation(path: Path) -> FilmAnnotation:
    """Return what a release tells of a film; the last file that was read stays in memory.

    Raises:
        InputError: If the file is missing or damaged.
    """
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise InputError(f"The annotation {path} cannot be read: {error.strerror}.") from error


def count_told(path: Path) -> int:
    """Return how many segments of a film the picture release tells of.

    Raises:
        InputError: If the file is missing or damaged.
    """
    return sum(not one.is_audio for one in read_annotation(path).segments)


@lru_cache(maxsize=1)
def _read(path: Path, _state: int) -> FilmAnnotation:
    segments: list[ToldSegment] = []
    problems: Counter[str] = Counter()
    with path.open(encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                if "problems" in row:
                    problems.update(row["problems"])
                    continue
                story = None if row["story"] is None else Story.from_json(row["story"])
                segments.append(
                    ToldSegment(number=row["number"], is_audio=row["is_audio"], story=story, script=row["script"])
                )
            except (ValueError, LookupError, TypeError) as error:
                raise InputError(f"Line {number} of the annotation {path} is damaged: {error}.") from error
    return FilmAnnotation(segments=tuple(segments), problems=problems)


def _number(story: Story) -> int:
    return int(story.story_id.rsplit("_", 1)[1].lstrip("a"))


def _segments_of(document: ReleaseDocument, video: ToldVideo) -> list[Any]:
    """Return the segments of a video as they were written, one for each of its stories."""
    here = document.data
    for step in video.path:
        here = here[step]
    if video.shape == "segments":
        return list(here)
    if video.shape == "segment":
        return [here]
    segments = next((here[key] for key in _keys(here, VIDEO, "segments") if here[key] is not None), None)
    return read_list(segments, "the segments", Place(ProblemLog(), document.file))


def _script_of(segment: Any) -> Mapping[str, Any]:
    """Return a segment's script as it was written; its keys may also stand in the segment."""
    if not isinstance(segment, Mapping):
        return {}
    bare = {key: value for key, value in segment.items() if isinstance(key, str) and fold_key(key) in SCRIPT}
    script = next((segment[key] for key in _keys(segment, SEGMENT, "script") if segment[key] is not None), None)
    return {**bare, **script} if isinstance(script, Mapping) else bare


def _keys(row: Mapping[str, Any], table: Mapping[str, str], field_name: str) -> Iterator[str]:
    return (key for key in row if isinstance(key, str) and table.get(fold_key(key)) == field_name)
