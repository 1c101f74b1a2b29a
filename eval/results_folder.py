"""A folder of results: what a leaderboard shows of a system, story by story.

results.json             all numbers (`results_file.py`)
shots.parquet            a row per shot: numbers, problems
stories.parquet          a row per story: numbers, flags, the name of its strip
frames/STORY.jpg         the frames that were looked at, a row per shot, the references in front
judge.jsonl              what a judge said, if one was asked; written by `animeshooter judge`
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.atomic_files import check_writable, write_bytes_atomically
from animeshooter_hf.eval.encoding import EncodedStory
from animeshooter_hf.eval.results import Results
from animeshooter_hf.eval.results_file import RESULTS_FILE, write_results
from animeshooter_hf.eval.view_features import THUMBNAIL_HEIGHT

__all__ = ["check_results_folder", "contact_strip", "frames_name", "is_folder_path", "write_results_folder"]

_GAP = 4
"""Pixels between the rows of a strip."""

_MOST_REFERENCES = 2
"""References in front of a strip; a story with more shows its first ones. Our choice."""


def is_folder_path(text: str) -> bool:
    """Return whether `--out` names a folder: it is one, ends with a slash, or has no ending such as `.json`."""
    return text.endswith(("/", "\\")) or Path(text).is_dir() or not Path(text).suffix


def check_results_folder(folder: Path) -> None:
    """Refuse a results folder before anything is computed.

    Raises:
        InputError: If it holds other things, or cannot be made or written.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RESULTS_FILE).is_file():
        raise InputError(f"{folder} is a folder that holds other things than results; name a new one, or a file.")
    check_writable(folder / RESULTS_FILE)


def write_results_folder(results: Results, stories: Sequence[EncodedStory], folder: Path) -> None:
    """Write a results folder; `results.json` comes last, so a folder that has it is whole.

    Args:
        results: What was scored.
        stories: The same stories with their `thumbnails` feature; a story without it has no strip.
        folder: Where to write. Files of an earlier run are replaced.

    Raises:
        InputError: If it cannot be written.
    """
    strips = {}
    for story in stories:
        picture = contact_strip(story)
        if picture is not None:
            strips[story.story_id] = f"frames/{frames_name(story.story_id)}"
            write_bytes_atomically(folder / strips[story.story_id], picture)
    _write_table(folder / "shots.parquet", [_shot_row(results, index) for index in range(len(results.shots))])
    _write_table(folder / "stories.parquet", [_story_row(results, name, strips) for name in results.stories])
    write_results(results, folder / RESULTS_FILE)


def frames_name(story_id: str) -> str:
    """Return the file name of a story's strip: its ID, with characters that no file name may have written as %XX."""
    return quote(story_id, safe=" ()[]+,;=@!&'")[:200] + ".jpg"


def contact_strip(story: EncodedStory) -> bytes | None:
    """Return a JPEG of the frames looked at, one row per shot, the references in front; None if there are none."""
    rows = [_picture(shot.arrays) for shot in story.shots]
    if not any(row is not None for row in rows):
        return None
    found = [_picture(reference.arrays) for reference in story.references]
    references = [picture for picture in found if picture is not None][:_MOST_REFERENCES]
    left = sum(picture.shape[1] + _GAP for picture in references)
    width = left + max(row.shape[1] for row in rows if row is not None)
    height = len(rows) * (THUMBNAIL_HEIGHT + _GAP) - _GAP
    page_HW3 = np.full((height, width, 3), 255, np.uint8)
    column = 0
    for picture in references:
        page_HW3[:THUMBNAIL_HEIGHT, column : column + picture.shape[1]] = picture
        column += picture.shape[1] + _GAP
    for index, row in enumerate(rows):
        top = index * (THUMBNAIL_HEIGHT + _GAP)
        if row is None:
            page_HW3[top : top + THUMBNAIL_HEIGHT, left:] = 128  # a shot that could not be read is grey
        else:
            page_HW3[top : top + THUMBNAIL_HEIGHT, left : left + row.shape[1]] = row
    buffer = io.BytesIO()
    Image.fromarray(page_HW3).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _picture(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    if "thumbnails.jpeg" not in arrays:
        return None
    return np.asarray(Image.open(io.BytesIO(arrays["thumbnails.jpeg"].tobytes())).convert("RGB"), dtype=np.uint8)


def _shot_row(results: Results, index: int) -> dict[str, Any]:
    shot = results.shots[index]
    problems = "; ".join(f"{metric}: {reason}" for metric, reason in shot.problems.items())
    facts = {"story_id": shot.story_id, "ip_id": shot.ip_id, "shot_index": shot.shot_index, "caption": shot.caption}
    return {**facts, "num_frames": shot.num_frames, "problems": problems, **_numbers(shot.values)}


def _story_row(results: Results, story_id: str, strips: Mapping[str, str]) -> dict[str, Any]:
    values = {
        f"{metric}/{name}": value
        for metric, score in results.stories[story_id].items()
        for name, value in {**score.values, "n_evaluated": score.n_evaluated, "n_failed": score.n_failed}.items()
    }
    return {
        "story_id": story_id,
        "ip_id": results.ip_ids[story_id],
        "track": results.tracks.get(story_id, ""),
        "flags": list(results.flags.get(story_id, ())),
        "frames": strips.get(story_id),
        **_numbers(values),
    }


def _numbers(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else float(value) for name, value in values.items()}


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys; a column of numbers that are all missing is one of numbers still."""
    columns = {}
    for name in rows[0]:
        column = [row[name] for row in rows]
        kind = pa.float64() if "/" in name else pa.list_(pa.string()) if name == "flags" else None
        kind = pa.string() if name == "frames" else kind
        columns[name] = pa.array(column, kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    write_bytes_atomically(path, buffer.getvalue())
