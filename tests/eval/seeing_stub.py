"""A judge for tests: it really looks at the pictures that it is sent, and answers as the prompt asks.

It knows the drawn world of conftest.py: figures of known colours before plain backdrops, 96 x 160 pixels a frame, and
captions that name the backdrop. Marks are shares of what it finds:

    OQ   how little grain there is on the backdrop        CRC  cells that show the colours of the reference
    MSC  shots whose backdrop is one of the world's       MCC  shots whose backdrop is the one in the caption
"""

import base64
import io
import json
import re
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH, GUTTER, COLUMNS = 96, 160, 4, 3
BACKDROPS = {"field": (150, 190, 120), "night": (30, 34, 70), "desert": (214, 190, 140), "sea": (70, 140, 190)}
DIMENSIONS = ("OQ", "CRC", "MSC", "MCC")


def look(body: dict[str, Any]) -> str:
    """Answer a request of OpenAI's interface by looking at its pictures."""
    reference, captions, sheets, question = _read(body)
    marks = {label: _marks(pages, reference, captions) for label, pages in sheets.items()}
    if '"choices"' in question:
        first, second = marks.values()
        names = list(marks)
        choices = {
            name: "tie" if first[name] == second[name] else names[first[name] < second[name]] for name in DIMENSIONS
        }
        return json.dumps({"choices": choices, "feedback": {}})
    answer = {label: {"scores": own, "feedback": {}} for label, own in marks.items()}
    if len(answer) == 1:
        return json.dumps(next(iter(answer.values())))
    return json.dumps({**answer, "comparative_analysis": "as the colours say"})


def constant(body: dict[str, Any]) -> str:
    """Give everybody a seven, or name Model_A, without looking."""
    _, _, sheets, question = _read(body)
    if '"choices"' in question:
        return json.dumps({"choices": dict.fromkeys(DIMENSIONS, "Model_A")})
    answer: dict[str, Any] = {label: {"scores": dict.fromkeys(DIMENSIONS, 7)} for label in sheets}
    return json.dumps(answer if len(answer) > 1 else next(iter(answer.values())))


def _read(body: dict[str, Any]) -> tuple[np.ndarray, list[str], dict[str, list[np.ndarray]], str]:
    """Return the first reference, the captions, label -> sheets, and all words."""
    reference, captions, sheets, before, words = None, [], {}, "", []
    for turn in body["messages"]:
        if turn["role"] != "user":
            continue
        for part in turn["content"]:
            if part["type"] == "text":
                before = part["text"]
                words.append(before)
                if before.startswith("Captions:"):
                    captions = list(json.loads(before.removeprefix("Captions:")).values())
                continue
            data = part["image_url"]["url"].removeprefix("data:image/png;base64,")
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            if before.startswith("Reference"):
                reference = picture if reference is None else reference
            elif match := re.match(r"(Model_[A-Z]+)", before):
                sheets.setdefault(match.group(1), []).append(picture)
    return reference, captions, sheets, "\n".join(words)


def _marks(pages: list[np.ndarray], reference: np.ndarray, captions: list[str]) -> dict[str, int]:
    rows = [page[top : top + HEIGHT] for page in pages for top in range(0, page.shape[0], HEIGHT + GUTTER)]
    shots = [[row[:, left : left + WIDTH] for left in range(0, row.shape[1], WIDTH + GUTTER)] for row in rows]
    ink = reference.reshape(-1, 3)[(reference.reshape(-1, 3) < 250).any(axis=1)]
    colours, counts = np.unique(ink, axis=0, return_counts=True)
    body_colour = colours[counts.argmax()].astype(float)
    grounds = [np.mean([cell[2:12, 2:22].reshape(-1, 3).mean(axis=0) for cell in shot], axis=0) for shot in shots]
    found = [
        (np.linalg.norm(cell.astype(float) - body_colour, axis=2) < 40).mean() > 0.02 for shot in shots for cell in shot
    ]
    known = [min(np.linalg.norm(ground - colour) for colour in BACKDROPS.values()) < 30 for ground in grounds]
    wanted = [BACKDROPS[caption.rstrip(".").split()[-1]] for caption in captions]
    told = [np.linalg.norm(ground - colour) < 30 for ground, colour in zip(grounds, wanted, strict=False)]
    grain = np.mean([cell[2:12, 2:22].std(axis=(0, 1)).mean() for shot in shots for cell in shot])
    shares = {"CRC": np.mean(found), "MSC": np.mean(known), "MCC": np.mean(told) if told else 0.5}
    return {
        "OQ": int(np.clip(round(11 - grain / 4), 1, 10)),
        **{name: 1 + round(9 * float(share)) for name, share in shares.items()},
    }
