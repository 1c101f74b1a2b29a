"""Requests for scripts of films that need no file: time, segment and cuts are made up; and a good answer to them."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from animeshooter_hf.dataset_builder.annotate.annotator import ScriptRequest
from animeshooter_hf.dataset_builder.segments import Segment
from animeshooter_hf.dataset_builder.sources.folder import FilmSource
from animeshooter_hf.video import FrameIndex, VideoInfo

CUTS = (310, 400, 431, 610)
"""Cuts of `request()`, whose segment runs from frame 240 to 720 at 24 frames per second."""


def request(
    *, start: int = 240, end: int = 720, cuts: tuple[int, ...] = CUTS, pts: np.ndarray | None = None, rate: int = 24
) -> ScriptRequest:
    """Return a request for a segment of a film of 1000 frames, or of the frames of `pts` (in 1/24000 s)."""
    stamps = np.arange(1000, dtype=np.int64) * (24000 // rate) if pts is None else pts
    index = FrameIndex(pts=stamps, time_base=Fraction(1, 24000), key_frames=np.zeros(1, np.int64))
    info = VideoInfo(
        width=320,
        height=180,
        frame_rate=Fraction(rate),
        num_frames=len(stamps),
        duration_seconds=index.seconds(len(stamps)),
        is_variable_rate=pts is not None,
        codec="h264",
        has_audio=False,
        audio_sample_rate=None,
    )
    film = FilmSource(video_id="film", path=Path("film.mp4"), info=info)
    return ScriptRequest(film=film, segment_index=2, segment=Segment(start, end), cuts=cuts, samples=(), index=index)


def shot(number: int, **times: Any) -> dict[str, Any]:
    """Return a good shot of an answer."""
    return {
        **times,
        "is_prologue_or_epilogue": False,
        "main characters": ["Mia"] if number % 2 else ["Mia", "Old Tom"],
        "scene": "Park",
        "narrative caption": f"Thing {number} happens.",
        "descriptive caption": f"Wide shot {number}: Mia runs.",
        "extra 4-second timestamp": None,
    }


def script(shots: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a good answer with these shots."""
    return {
        "storyline": "Mia meets Tom.",
        "main characters": [
            {"ID": "Mia", "appearance": "A red fox with a scarf.", "phrase": "red fox with scarf"},
            {"ID": "Old Tom", "appearance": "A grey cat.", "phrase": "grey cat"},
        ],
        "main scenes": [{"ID": "Park", "environment": "A green park."}],
        "shots": shots,
    }


def by_cuts() -> dict[str, Any]:
    """Return a good answer to `request()` in the mode "cuts": one shot from cut to cut."""
    return script([shot(number, first_cut=number, last_cut=number + 1) for number in range(5)])


def by_clock() -> dict[str, Any]:
    """Return a good answer to `request()` in the mode "clock", times cut off to the second."""
    times = ["00:00", "00:02", "00:06", "00:07", "00:15", "00:20"]
    return script([shot(n, **{"start time": times[n], "end time": times[n + 1]}) for n in range(5)])


def text(answer: Any) -> str:
    """Return an answer as a model writes it."""
    return json.dumps(answer, indent=1)
