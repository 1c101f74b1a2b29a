"""The part of the demo's page that tells of a new character: what was learned from, the truth, and both stories.

In:  the demo's folder; `character/` holds what was drawn, `generated/` and `enhanced/` what the model made of it.
Out: strips in OUT/report/, pixel by pixel, and one table that puts truth and stories side by side.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animeshooter_hf.loading import load_stories
from animeshooter_hf.report.page import Block, Player, Section, picture, players, table, text, warning
from animeshooter_hf.report.sheets import composite_on_white
from animeshooter_hf.video import read_frames

__all__ = ["character_section"]

_ENLARGED = 3
_GAP = 6
_COLUMNS_OF_STRIP = 10
_STORIES = {"generated": "the model as it comes", "enhanced": "enhanced by the clips"}
"""Folder -> what made the story in it."""

_COLUMNS = {
    "identity": "identity, read exactly",
    "chance": "the same by guessing",
    "agreement": "kept from shot to shot",
    "body_colour_difference": "body colour off, dE76",
}
"""Numbers of the reading -> their words."""

_SCORES = {
    "fidelity to the reference": ("reference_fidelity", "mean"),
    "worst shot": ("reference_fidelity", "min"),
    "HarMeanP": ("reference_fidelity", "harmean_p"),
    "cross-shot": ("cross_shot_consistency", "pairwise"),
}
"""Words -> metric and number."""


def character_section(out: Path, scores: dict[str, Any], reading: dict[str, Any]) -> Section:
    """Return the section, and write its pictures.

    Args:
        out: The demo's folder.
        scores: Folder of a story -> its results.
        reading: "truth" or folder of a story -> what was read of its character.
    """
    drawn = out / "character"
    facts = json.loads((drawn / "character.json").read_text(encoding="utf-8"))
    contacts = {name: json.loads((out / name / "contact.json").read_text(encoding="utf-8")) for name in _STORIES}
    reference = composite_on_white(np.asarray(Image.open(drawn / "reference.png")))
    looks = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts["attributes"].items())
    origin = contacts["generated"]["provenance"]["weights_origin"].removeprefix("trained: ")
    blocks: list[Block] = [
        *(warning(note) for note in contacts["generated"]["notes"]),
        text(
            "The library's own small model, `toon`, has never seen this character: who it is stands in the reference "
            "alone. It tells a story of it as it comes, then once more with a LoRA that learned it from five "
            "clips, none of which has a caption of the story."
        ),
        picture(_strip(out, "reference", [reference], pair=1), f"The reference: {looks}."),
        picture(
            _strip(out, "clips", _clips(drawn / "data")),
            f"The clips, first and last frames: {' '.join(facts['clip_captions'])}",
        ),
        picture(
            _strip(out, "truth", [frame for clip in np.load(drawn / "truth.npy") for frame in (clip[0], clip[-1])]),
            f"The story as it is in truth, which no model saw: {' '.join(facts['captions'])}",
        ),
    ]
    for name, words in _STORIES.items():
        shots = [out / name / shot["file"] for shot in contacts[name]["shots"]]
        counts = [shot["num_frames"] for shot in contacts[name]["shots"]]
        ends = [frame for path, count in zip(shots, counts, strict=True) for frame in read_frames(path, (0, count - 1))]
        blocks.append(picture(_strip(out, name, ends), f"The story by {words}."))
    films = [Player(f"{name}/{contacts[name]['film']}", words) for name, words in _STORIES.items()]
    blocks += [players(films), _table(scores, reading), text(f"The model's weights: {origin}.")]
    return Section("A new character, and a story of it", blocks)


def _clips(folder: Path) -> list[NDArray[np.uint8]]:
    """Return first and last frame of every clip, at the size that the model sees."""
    found = []
    for item in sorted(load_stories(folder), key=lambda one: one.story.story_id):
        ends = item.sample_frames(0, (0, item.num_frames(0) - 1))
        found += list(ends[:, ::2, ::2])
    return found


def _strip(out: Path, name: str, frames: Sequence[NDArray[np.uint8]], *, pair: int = 2) -> str:
    """Write frames enlarged without smoothing, in pairs with a gap between, and return the address."""
    height, width = (_ENLARGED * side for side in frames[0].shape[:2])
    columns = min(len(frames), _COLUMNS_OF_STRIP)
    sheet = np.full(
        (
            -(-len(frames) // columns) * (height + _GAP) - _GAP,
            columns * width + (columns - 1) // pair * _GAP,
            3,
        ),
        255,
        np.uint8,
    )
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        top, left = row * (height + _GAP), column * width + column // pair * _GAP
        sheet[top : top + height, left : left + width] = frame.repeat(_ENLARGED, 0).repeat(_ENLARGED, 1)
    path = out / "report" / f"character_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)
    return path.relative_to(out).as_posix()


def _table(scores: dict[str, Any], reading: dict[str, Any]) -> Block:
    rows: list[list[object]] = []
    for key, words in _COLUMNS.items():
        rows.append([words, *(reading[name].get(key) for name in ("truth", *_STORIES))])
    for words, (metric, key) in _SCORES.items():
        values = [scores[name]["corpus"][metric].get(key, {}).get("value") for name in _STORIES]
        rows.append([words, None, *values])
    note = (
        "Identity is read by drawing every shot again with each other value of each attribute: 1 for the truth. The "
        "scores below it know nothing of the toon world. " + "; ".join(scores["generated"]["signatures"].values())
    )
    return table(["", "truth", *_STORIES.values()], rows, note)
