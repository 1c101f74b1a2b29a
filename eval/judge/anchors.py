"""Stories with fixed marks that stand before the one in question, so that a mark means the same from day to day.

A file of anchors is a JSON list of objects: `path` (anything that `animeshooter evaluate` reads, from the file's
folder), `story_id` (may be left out if there is one story), `scores` (OQ, CRC, MSC, MCC, whole numbers 1-10), `why`
(a sentence).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from animeshooter_hf.errors import InputError
from animeshooter_hf.eval.judge.dimensions import DIMENSIONS, HIGHEST_MARK, LOWEST_MARK
from animeshooter_hf.eval.judge.grid import PictureSettings, SentPicture
from animeshooter_hf.eval.judge.layout import story_parts
from animeshooter_hf.eval.judge.prompts import prompt_text
from animeshooter_hf.eval.judge.story_pictures import StoryPictures, story_pictures
from animeshooter_hf.eval.predictions import read_predictions
from animeshooter_hf.eval.story_prediction import StoryPrediction

__all__ = ["Anchor", "anchor_parts", "make_anchor", "read_anchors"]

_KEYS = ("path", "story_id", "scores", "why")


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """One story with its marks."""

    pictures: StoryPictures = field(repr=False)
    """As it is shown."""

    captions: tuple[str, ...]
    """One per shot, or none."""

    scores: Mapping[str, int]
    """OQ, CRC, MSC, MCC, each in 1 to 10."""

    why: str = ""
    """The reason, in a sentence."""

    def __post_init__(self) -> None:
        if set(self.scores) != set(DIMENSIONS):
            raise ValueError(
                f"An anchor has the marks {', '.join(DIMENSIONS)}, got {', '.join(map(str, self.scores))}."
            )
        for name, mark in self.scores.items():
            if isinstance(mark, bool) or not isinstance(mark, int) or not LOWEST_MARK <= mark <= HIGHEST_MARK:
                raise ValueError(f"The mark {name} of an anchor must be a whole number from 1 to 10, got {mark!r}.")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is shown."""
        pictures = [*(picture for _, picture in self.pictures.references), *self.pictures.sheets]
        content = [self.captions, sorted(self.scores.items()), self.why, [one.digest for one in pictures]]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def make_anchor(
    prediction: StoryPrediction, scores: Mapping[str, int], why: str = "", settings: PictureSettings | None = None
) -> Anchor:
    """Return the anchor that a story and its marks make.

    Raises:
        InputError: If a file of the story cannot be read.
        ValueError: If a mark is missing or not in 1 to 10.
    """
    pictures = story_pictures(prediction, settings or PictureSettings())
    return Anchor(pictures=pictures, captions=prediction.captions, scores=dict(scores), why=why)


def read_anchors(path: Path, settings: PictureSettings | None = None) -> tuple[Anchor, ...]:
    """Return the anchors of a file.

    Raises:
        InputError: If it cannot be read, an entry is malformed, or a story is not there or cannot be shown.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON.") from error
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{path} must hold a list of anchors, each with {', '.join(_KEYS)}.")
    return tuple(
        _from_row(row, f"Anchor {number} of {path}", path.parent, settings) for number, row in enumerate(rows, 1)
    )


def anchor_parts(anchor: Anchor, number: int) -> list[str | SentPicture]:
    """Return an anchor as it stands in a prompt."""
    answer: dict[str, Any] = {"scores": {name: anchor.scores[name] for name in DIMENSIONS}}
    if anchor.why:
        answer["why"] = anchor.why
    marks = "Marks of this example: " + json.dumps(answer, ensure_ascii=False)
    story = story_parts(anchor.captions, [anchor.pictures], [f"Example {number}"])
    return [prompt_text("anchor", number=number), *story, marks]


def _from_row(row: Any, what: str, folder: Path, settings: PictureSettings | None) -> Anchor:
    if (
        not isinstance(row, Mapping)
        or not isinstance(row.get("path"), str)
        or not isinstance(row.get("scores"), Mapping)
    ):
        raise InputError(f"{what} must be an object with {', '.join(_KEYS)}.")
    unknown = sorted(set(row) - set(_KEYS))
    if unknown:
        raise InputError(f"Unknown key {unknown[0]!r} in {what}. Known keys: {', '.join(_KEYS)}.")
    stories = {story.story_id: story for story in read_predictions(folder / row["path"])}
    wanted = row.get("story_id") or (next(iter(stories)) if len(stories) == 1 else None)
    if wanted not in stories:
        raise InputError(f"{what}: there is no story {wanted!r} in {row['path']}; name one by story_id.")
    try:
        return make_anchor(stories[wanted], row["scores"], str(row.get("why") or ""), settings)
    except ValueError as error:
        raise InputError(f"{what}: {error}") from error
