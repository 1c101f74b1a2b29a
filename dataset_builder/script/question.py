"""The question that a segment's story script answers: frames with their time burnt in, and the form of the answer.

Two forms. In `cuts`, our default, a shot names the numbers of the candidate cuts at which it starts and ends, from an
enum: no time can lie outside the segment, and no digit is lost. In `clock` it names MM:SS, as in the paper.
Keys are those of the paper's release. The prompts are `prompts/script_*.txt`.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.annotate.prompts import load_prompt
from animeshooter_hf.dataset_builder.annotate.question import Part, Picture, Question, Text
from animeshooter_hf.dataset_builder.scan.film_scan import SampledFrame
from animeshooter_hf.dataset_builder.script.timeline import candidate_frames

__all__ = ["ScriptMode", "clock_text", "script_question", "script_schema"]

ScriptMode = Literal["cuts", "clock"]
"""How an answer states time."""

MAX_PICTURES = 96
"""Most frames that are shown. Our choice: a minute has about 60 samples and 15 shots."""

THUMBNAIL_SIDE = 384
"""Longest side of a frame that is shown, in pixels. Our choice: one tile of most models."""

_JPEG_QUALITY = 80
_MAX_OUTPUT_TOKENS = 8192
_MAX_LAST_ANSWER = 20_000
_PHRASE_WORDS = 12


def script_question(request: ScriptRequest, *, mode: ScriptMode = "cuts") -> Question:
    """Return the question for a segment; with `complaints` in the request it is the re-ask.

    Args:
        request: The segment with its cuts and sampled frames.
        mode: How the answer states time.

    Raises:
        ValueError: If the mode is neither "cuts" nor "clock".
    """
    if mode not in ("cuts", "clock"):
        raise ValueError(f'mode must be "cuts" or "clock", got {mode!r}.')
    frames = candidate_frames(request)
    seconds = [request.index.seconds_between(frames[0], frame) for frame in frames]
    prompt = load_prompt(f"script_{mode}")
    values = {"duration": f"{seconds[-1]:.1f} s", "phrase_words": _PHRASE_WORDS}
    if mode == "cuts":
        cuts = "\n".join(f"cut {number}: {clock_text(time, 1)}" for number, time in enumerate(seconds))
        text = prompt.fill(**values, cuts=cuts, last_cut=len(frames) - 1)
        pictures = _interval_parts(request, frames, seconds)
    else:
        text = prompt.fill(**values, end=clock_text(seconds[-1]))
        pictures = _sample_parts(request, frames[0])
    parts: list[Part] = [Text(text), *pictures]
    hashes = [prompt.sha256]
    if request.complaints:
        again = load_prompt("script_again")
        complaints = "\n".join(f"- {complaint}" for complaint in request.complaints)
        parts.append(
            Text(again.fill(complaints=complaints, last_answer=(request.last_answer or "")[:_MAX_LAST_ANSWER]))
        )
        hashes.append(again.sha256)
    return Question(
        name="script",
        parts=tuple(parts),
        schema=script_schema(mode, len(frames) - 1),
        max_output_tokens=_MAX_OUTPUT_TOKENS,
        attempt=1 if request.complaints else 0,
        prompt_hash=hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest(),
    )


def script_schema(mode: ScriptMode, last_cut: int) -> dict[str, Any]:
    """Return the JSON schema of an answer: every key required, no other key allowed.

    Args:
        mode: How shots state time.
        last_cut: Number of the last candidate, the segment's end.
    """
    text = {"type": "string"}
    times: dict[str, Any]
    if mode == "cuts":
        times = {
            "first_cut": {"type": "integer", "enum": list(range(last_cut))},
            "last_cut": {"type": "integer", "enum": list(range(1, last_cut + 1))},
        }
        span: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "number"}}
    else:
        clock = {"type": "string", "pattern": r"^\d{2}:\d{2}$"}
        times = {"start time": clock, "end time": clock}
        span = {"type": ["string", "null"]}
    shot = {
        **times,
        "is_prologue_or_epilogue": {"type": "boolean"},
        "main characters": {"type": "array", "items": text},
        "scene": {"type": ["string", "null"]},
        "narrative caption": text,
        "descriptive caption": text,
        "extra 4-second timestamp": span,
    }
    characters = _object({"ID": text, "appearance": text, "phrase": text})
    return _object(
        {
            "storyline": text,
            "main characters": {"type": "array", "items": characters},
            "main scenes": {"type": "array", "items": _object({"ID": text, "environment": text})},
            "shots": {"type": "array", "items": _object(shot)},
        }
    )


def clock_text(seconds: float, digits: int = 0) -> str:
    """Return MM:SS of a time, cut off (not rounded) after some decimals.

    Example:
        >>> clock_text(62.96), clock_text(62.96, 1)
        ('01:02', '01:02.9')
    """
    whole = int(seconds * 10**digits + 1e-6)
    minutes, rest = divmod(whole, 60 * 10**digits)
    second, part = divmod(rest, 10**digits)
    return f"{minutes:02d}:{second:02d}" + (f".{part:0{digits}d}" if digits else "")


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _interval_parts(request: ScriptRequest, frames: Sequence[int], seconds: Sequence[float]) -> list[Part]:
    """Return a line for each stretch between two candidates, each with the sampled frame nearest to its middle."""
    parts: list[Part] = []
    shown = set(_spread(range(len(frames) - 1)))
    for number, (start, end) in enumerate(pairwise(frames)):
        inside = [sample for sample in request.samples if start <= sample.frame < end]
        label = f"Between cut {number} ({clock_text(seconds[number], 1)}) and cut {number + 1}"
        if not inside or number not in shown:
            parts.append(Text(f"{label}: no frame."))
            continue
        best = min(inside, key=lambda sample: (abs(2 * sample.frame - start - end), sample.frame))
        parts += [Text(f"{label}:"), _thumbnail(best, request.index.seconds_between(frames[0], best.frame))]
    return parts


def _sample_parts(request: ScriptRequest, start: int) -> list[Part]:
    """Return the sampled frames in order, each with its time."""
    parts: list[Part] = []
    for sample in _spread(request.samples):
        seconds = request.index.seconds_between(start, sample.frame)
        parts += [Text(f"{clock_text(seconds, 1)}:"), _thumbnail(sample, seconds)]
    return parts


def _spread(items: Sequence[Any]) -> list[Any]:
    """Return all items, or as many as may be shown, evenly spread."""
    if len(items) <= MAX_PICTURES:
        return list(items)
    return [items[round(position)] for position in np.linspace(0, len(items) - 1, MAX_PICTURES)]


def _thumbnail(sample: SampledFrame, seconds: float) -> Picture:
    """Return a sampled frame, made smaller, with its time in the upper left corner."""
    image = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"The sample of frame {sample.frame} is no JPEG.")
    height, width = image.shape[:2]
    scale = min(1.0, THUMBNAIL_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    text, font, font_scale = clock_text(seconds, 1), cv2.FONT_HERSHEY_SIMPLEX, max(0.3, max(size) / 640)
    (wide, high), _ = cv2.getTextSize(text, font, font_scale, 1)
    cv2.rectangle(image, (0, 0), (wide + 6, high + 8), (0, 0, 0), -1)
    cv2.putText(image, text, (3, high + 4), font, font_scale, (255, 255, 255), 1, cv2.LINE_AA)
    return Picture(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
